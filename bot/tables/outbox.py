"""Messages we owe (发件箱): stored calls to make, put in the transaction of what caused them."""

import sqlalchemy as sa

from bot.db import Json, UtcDateTime
from bot.tables.common import account_id, follower_id, metadata, partial_index, row_id

outbox = sa.Table(
    "outbox",
    metadata,
    row_id(),
    account_id(),
    sa.Column("channel", sa.Text, nullable=False),
    sa.Column("purpose", sa.Text, nullable=False),  # reply | later | delivery | batch | preview
    sa.Column("purpose_id", sa.BigInteger),  # the push, delivery or batch it is for
    follower_id(),
    sa.Column("payload", Json, nullable=False),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("not_before", UtcDateTime, nullable=False),
    sa.Column("expires_at", UtcDateTime),
    sa.Column("lease_until", UtcDateTime),
    sa.Column("first_try_at", UtcDateTime),
    # first call that brought no answer: whether it went through is unknown from then on
    sa.Column("unanswered_at", UtcDateTime),
    sa.Column("sent_at", UtcDateTime),
    sa.Column("receipt", Json),
    sa.Column("errcode", sa.Integer),
    sa.Column("error", sa.Text),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Column("collected", sa.Boolean, nullable=False),  # read into deliveries and batches
    sa.Column("key", sa.Text, unique=True),
    sa.CheckConstraint(
        "status in ('waiting', 'sending', 'sent', 'failed', 'unknown', 'expired', 'cancelled')",
        name="status",
    ),
    # each change of a row's status writes every index anew that it is in, and most rows are sent and stay
    # so: an index holds what it is asked for. ``id`` makes the order complete: all messages of a campaign
    # are due at one moment
    sa.Index(
        "ix_outbox_due", "status", "not_before", "id", postgresql_where=sa.text("status <> 'sent'")
    ),
    # replies before campaigns, and calls that take turns
    partial_index(
        "ix_outbox_claim",
        "status",
        "purpose",
        "not_before",
        where="status = 'waiting' AND purpose <> 'delivery'",
    ),
    partial_index("ix_outbox_expires", "status", "expires_at", where="status = 'waiting'"),
    partial_index(
        "ix_outbox_doubt",
        "status",
        "unanswered_at",
        where="status = 'waiting' AND unanswered_at IS NOT NULL",
    ),
    sa.Index("ix_outbox_purpose", "purpose", "purpose_id"),
    sa.Index(
        "ix_outbox_collect",
        "collected",
        "status",
        "id",
        postgresql_where=sa.text("collected IS false AND status NOT IN ('waiting', 'sending')"),
    ),
    # a follower's own messages; those of campaigns are found by their deliveries
    partial_index("ix_outbox_follower", "follower_id", "id", where="purpose <> 'delivery'"),
)
