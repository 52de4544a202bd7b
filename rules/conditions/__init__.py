"""Conditions: one file each, found by ``bot.registry.members("rules.conditions")``. See docs/rules.md."""
