"""Puts the API together: importing an area puts its endpoints into the table."""

from flask import Flask

from bot.api import (
    account,
    allocation,
    audit,
    calendar,
    campaign_checks,
    campaigns,
    door,
    followers,
    ledger,
    materials,
    me,
    menus,
    messages,
    outgoing,
    pages,
    people,
    plans,
    playbooks,
    quotas,
    rulebooks,
    rules,
    scenes,
    segments,
    tags,
    trials,
    unmatched,
    webhooks,
)

AREAS = (
    me,
    account,
    rules,
    trials,
    rulebooks,
    unmatched,
    menus,
    scenes,
    followers,
    people,
    tags,
    segments,
    messages,
    campaigns,
    campaign_checks,
    calendar,
    ledger,
    allocation,
    plans,
    playbooks,
    materials,
    webhooks,
    outgoing,
    quotas,
    audit,
)


def install(app: Flask) -> None:
    """Add the API to the app."""
    door.install(app)
    pages.install(app)
