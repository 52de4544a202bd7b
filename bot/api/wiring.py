"""Puts the API together: importing an area puts its endpoints into the table."""

from flask import Flask

from bot.api import account, door, me, pages

AREAS = (me, account)


def install(app: Flask) -> None:
    """Add the API to the app."""
    door.install(app)
    pages.install(app)
