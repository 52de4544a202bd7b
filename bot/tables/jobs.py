"""Work to do later, and the small things several processes share when there is no Redis."""

import sqlalchemy as sa

from bot.db import BigId, Json, UtcDateTime
from bot.tables.common import metadata, row_id

jobs = sa.Table(
    "jobs",
    metadata,
    row_id(),
    sa.Column("account_id", BigId, sa.ForeignKey("accounts.id")),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("arguments", Json, nullable=False),
    sa.Column("unique_key", sa.Text, unique=True),
    sa.Column("run_at", UtcDateTime, nullable=False),
    sa.Column("state", sa.Text, nullable=False),  # waiting | running | done | dead
    sa.Column("lease_until", UtcDateTime),
    sa.Column("lease_owner", sa.Text),
    sa.Column("tries", sa.Integer, nullable=False),
    sa.Column("error", sa.Text),
    sa.Column("progress", Json),  # {"done": n, "total": n}
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Column("finished_at", UtcDateTime),
    sa.CheckConstraint("state in ('waiting', 'running', 'done', 'dead')", name="state"),
    sa.Index("ix_jobs_due", "state", "run_at"),
)

# tokens, counters, throttles, ticks: may be lost at any time
kept = sa.Table(
    "kept",
    metadata,
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("value", sa.Text),
    sa.Column("lease_until", UtcDateTime),
    sa.Column("expires_at", UtcDateTime),
)

# how far a job has read an append-only table
cursors = sa.Table(
    "cursors",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("account_id", sa.ForeignKey("accounts.id"), primary_key=True),
    sa.Column("position", sa.BigInteger, nullable=False),
)

# what belongs to this installation and must not be lost: the prefix of clientmsgids
installation = sa.Table(
    "installation",
    metadata,
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("value", sa.Text, nullable=False),
)
