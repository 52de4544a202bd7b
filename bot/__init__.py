"""The application core: ground, gateway, domain and doors (docs/concepts.md has the map)."""
