"""Stored pushes (收件箱): what came, what was decided, what was answered."""

import sqlalchemy as sa

from bot.db import Json, UtcDateTime
from bot.tables.common import account_id, follower_id, metadata, row_id

inbound = sa.Table(
    "inbound",
    metadata,
    row_id(),
    account_id(),
    sa.Column("dedupe_key", sa.Text, nullable=False, unique=True),
    follower_id(),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("message", Json, nullable=False),  # the parsed push, as bot.wechat.message dumps it
    sa.Column("sent_at", UtcDateTime, nullable=False),
    sa.Column("received_at", UtcDateTime, nullable=False),
    sa.Column("status", sa.Text, nullable=False),  # new | done | failed
    sa.Column("facts", Json),
    sa.Column("rulebook_number", sa.Integer),
    sa.Column("rules", Json),  # names of the rules that matched, in order
    sa.Column("trace", Json),
    sa.Column("reply", Json),  # the Content of the passive reply
    sa.Column("milliseconds", sa.Float),
    sa.Column("error", sa.Text),
    sa.Column("deliveries", sa.Integer, nullable=False, server_default="1"),
    sa.CheckConstraint("status in ('new', 'done', 'failed')", name="status"),
    sa.Index("ix_inbound_account_id", "account_id", "id"),
    sa.Index("ix_inbound_follower", "follower_id", "id"),
    sa.Index(
        "ix_inbound_failed",
        "account_id",
        "id",
        sqlite_where=sa.text("status = 'failed'"),
        postgresql_where=sa.text("status = 'failed'"),
    ),
)
