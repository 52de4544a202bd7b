"""The database models: SQLAlchemy Core tables without behaviour, one file per domain.

Every row that belongs to an official account carries ``account_id``, and every query takes it.
Importing this package defines them all on ``metadata``, which migrations and tests compare with.
"""

from bot.tables import (
    accounts,
    audiences,
    campaigns,
    events,
    followers,
    inbox,
    jobs,
    operators,
    outbox,
    rulebooks,
    tracking,
)
from bot.tables.common import metadata

__all__ = [
    "accounts",
    "audiences",
    "campaigns",
    "events",
    "followers",
    "inbox",
    "jobs",
    "metadata",
    "operators",
    "outbox",
    "rulebooks",
    "tracking",
]
