"""Behaviour events (行为事件): append-only, what segments, models and reports read. And their roll-ups."""

import sqlalchemy as sa

from bot.db import Json, UtcDateTime
from bot.tables.common import account_id, follower_id, metadata, partial_index, row_id

events = sa.Table(
    "events",
    metadata,
    row_id(),
    account_id(),
    follower_id(nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("key", sa.Text),  # menu key, scene, link name, campaign name …
    sa.Column("number", sa.Float),
    sa.Column("data", Json),
    sa.Column("at", UtcDateTime, nullable=False),
    sa.Column("caused_by", sa.BigInteger),  # the push
    sa.Column("source_key", sa.Text),  # makes an import or a click safe to repeat
    # partial: most events have none, and a push should not pay for an index of nothing
    partial_index(
        "uq_events_source_key",
        "source_key",
        unique=True,
        where="source_key IS NOT NULL",
    ),
    sa.Index("ix_events_kind_at", "account_id", "kind", "at"),
    sa.Index("ix_events_follower_at", "follower_id", "at"),
    # scans and follows of one QR scene, answered from the index alone; the other kinds pay nothing
    partial_index(
        "ix_events_scene",
        "account_id",
        "key",
        "at",
        "kind",
        "follower_id",
        where="kind IN ('subscribe', 'scan') AND key IS NOT NULL",
    ),
)

# what stays when raw rows are pruned
daily_counts = sa.Table(
    "daily_counts",
    metadata,
    sa.Column("account_id", sa.ForeignKey("accounts.id"), primary_key=True),
    sa.Column("day", sa.Date, primary_key=True),  # of Shanghai
    sa.Column("kind", sa.Text, primary_key=True),
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("times", sa.Integer, nullable=False),
    sa.Column("people", sa.Integer, nullable=False),
    # some keys over many days; all keys of some days are found by the primary key
    sa.Index("ix_daily_counts_key", "account_id", "key", "kind", "day", "times"),
)

# what a job counted because counting it takes too long for a page
figures = sa.Table(
    "figures",
    metadata,
    sa.Column("account_id", sa.ForeignKey("accounts.id"), primary_key=True),
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("value", Json, nullable=False),
    sa.Column("counted_at", UtcDateTime, nullable=False),
    sa.Column("seconds", sa.Float, nullable=False),  # how long the count took
)
