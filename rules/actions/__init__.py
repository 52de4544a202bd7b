"""Actions: one file each, found by ``bot.registry.members("rules.actions")``. See docs/rules.md."""
