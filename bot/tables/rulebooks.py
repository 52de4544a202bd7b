"""Rules as edited, and the numbered immutable rulebooks that were in force."""

import sqlalchemy as sa

from bot.db import Json, UtcDateTime
from bot.tables.common import account_id, metadata, row_id

rules = sa.Table(
    "rules",
    metadata,
    row_id(),
    account_id(),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("position", sa.Integer, nullable=False),
    sa.Column("body", Json, nullable=False),  # one rule of the account file
    sa.Column("origin", sa.Text, nullable=False),  # file | console
    sa.Column("archived_at", UtcDateTime),
    sa.UniqueConstraint("account_id", "name"),
)

rulebooks = sa.Table(
    "rulebooks",
    metadata,
    row_id(),
    account_id(),
    sa.Column("number", sa.Integer, nullable=False),
    sa.Column("body", Json, nullable=False),  # {"rules": […], "fallback": …}
    sa.Column("published_at", UtcDateTime, nullable=False),
    sa.Column("published_by", sa.Text, nullable=False),
    sa.Column("note", sa.Text, nullable=False),
    sa.UniqueConstraint("account_id", "number"),
)

rulebook_heads = sa.Table(
    "rulebook_heads",
    metadata,
    sa.Column("account_id", sa.ForeignKey("accounts.id"), primary_key=True),
    sa.Column("number", sa.Integer, nullable=False),
    sa.Column("fallback", Json),  # as edited; published together with the rules
)
