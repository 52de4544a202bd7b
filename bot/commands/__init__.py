"""The command ``qunfen``, one module an area. ``bot.cli`` puts them together."""
