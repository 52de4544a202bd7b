"""WeChat played by us over HTTP: a platform that says no when the real one does. Imports only bot.clock."""

from bot.sandbox.app import create_app
from bot.sandbox.platform import Platform

__all__ = ["Platform", "create_app"]
