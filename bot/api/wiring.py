"""Puts the API together: importing an area puts its endpoints into the table."""

from flask import Flask

from bot.api import (
    account,
    audit,
    door,
    followers,
    me,
    messages,
    pages,
    people,
    rulebooks,
    rules,
    scenes,
    tags,
    trials,
    webhooks,
)

AREAS = (
    me,
    account,
    rules,
    trials,
    rulebooks,
    scenes,
    followers,
    people,
    tags,
    messages,
    webhooks,
    audit,
)


def install(app: Flask) -> None:
    """Add the API to the app."""
    door.install(app)
    pages.install(app)
