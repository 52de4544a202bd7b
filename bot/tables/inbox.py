"""Stored pushes (收件箱): what came, what was decided, what was answered."""

import sqlalchemy as sa

from bot.db import Json, UtcDateTime
from bot.tables.common import account_id, follower_id, metadata, partial_index, row_id

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
    sa.Column("unmatched", sa.Boolean),  # a text no rule answered; null: anything else
    sa.CheckConstraint("status in ('new', 'done', 'failed')", name="status"),
    sa.Index("ix_inbound_account_id", "account_id", "id"),
    sa.Index("ix_inbound_follower", "follower_id", "id"),
    partial_index(
        "ix_inbound_failed",
        "account_id",
        "id",
        where="status = 'failed'",
    ),
    partial_index(
        "ix_inbound_unmatched",
        "account_id",
        "id",
        where="unmatched",
    ),
)

# pictures and voices followers sent, fetched when somebody looks: the platform keeps them three days
inbound_media = sa.Table(
    "inbound_media",
    metadata,
    sa.Column("push_id", sa.ForeignKey("inbound.id"), primary_key=True),
    account_id(),
    sa.Column("type", sa.Text, nullable=False),  # MIME
    sa.Column("data", sa.LargeBinary, nullable=False),
    sa.Column("fetched_at", UtcDateTime, nullable=False),
)

# what agents have read and who takes care; a row is made by the first agent who looks
conversations = sa.Table(
    "conversations",
    metadata,
    sa.Column("follower_id", sa.ForeignKey("followers.id"), primary_key=True),
    account_id(),
    sa.Column("read_to", sa.BigInteger, nullable=False),  # push id
    sa.Column("agent", sa.Text),  # the operator who took it
    sa.Column("closed_at", UtcDateTime),
    sa.Index("ix_conversations_account", "account_id", "agent"),
)

canned_answers = sa.Table(
    "canned_answers",
    metadata,
    row_id(),
    account_id(),
    sa.Column("title", sa.Text, nullable=False),
    sa.Column("text", sa.Text, nullable=False),
    sa.Column("position", sa.Integer, nullable=False),
    sa.UniqueConstraint("account_id", "title"),
)
