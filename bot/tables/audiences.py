"""Segments (人群), and the sets of people that count them quickly."""

import sqlalchemy as sa

from bot.db import Json, UtcDateTime
from bot.tables.common import account_id, metadata, partial_index, row_id

segments = sa.Table(
    "segments",
    metadata,
    row_id(),
    account_id(),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("where", Json, nullable=False),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Column("archived_at", UtcDateTime),
    sa.UniqueConstraint("account_id", "name"),
)

# a segment frozen into a list (冻结): whoever was in it at a moment. One list a segment is in force; one
# that is not was never finished, or is being taken away.
frozen_lists = sa.Table(
    "frozen_lists",
    metadata,
    row_id(),
    account_id(),
    sa.Column("segment_id", sa.ForeignKey("segments.id"), nullable=False),
    sa.Column("frozen_at", UtcDateTime, nullable=False),
    sa.Column("frozen_by", sa.Text, nullable=False),
    sa.Column("size", sa.Integer, nullable=False),  # at that moment; stays when somebody is erased
    sa.Column("in_force", sa.Boolean, nullable=False),
    partial_index(
        "ix_frozen_lists_in_force",
        "segment_id",
        unique=True,
        where="in_force",
    ),
)

frozen_people = sa.Table(
    "frozen_people",
    metadata,
    sa.Column("list_id", sa.ForeignKey("frozen_lists.id"), primary_key=True),
    sa.Column("follower_id", sa.ForeignKey("followers.id"), primary_key=True),
    account_id(),
    sa.Index("ix_frozen_people_follower", "follower_id"),
)

# how large a segment was at the end of a day of Shanghai
segment_sizes = sa.Table(
    "segment_sizes",
    metadata,
    sa.Column("segment_id", sa.ForeignKey("segments.id"), primary_key=True),
    sa.Column("day", sa.Date, primary_key=True),
    account_id(),
    sa.Column("size", sa.Integer, nullable=False),
)

# who a filter selected at a moment, as a roaring bitmap of follower ids: for counts while somebody builds a
# segment. May be lost at any time; who gets a message is always asked of the tables themselves.
audience_sets = sa.Table(
    "audience_sets",
    metadata,
    sa.Column("account_id", sa.ForeignKey("accounts.id"), primary_key=True),
    sa.Column("key", sa.Text, primary_key=True),  # a hash of the filter as JSON
    sa.Column("filter", Json, nullable=False),
    sa.Column("people", sa.LargeBinary, nullable=False),
    sa.Column("size", sa.Integer, nullable=False),
    sa.Column("counted_at", UtcDateTime, nullable=False),
    sa.Column("used_at", UtcDateTime, nullable=False),
    sa.Column("seconds", sa.Float, nullable=False),  # how long the tables took to say so
)
