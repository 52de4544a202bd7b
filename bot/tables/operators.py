"""People who work in the console, and the audit of what they changed."""

import sqlalchemy as sa

from bot.db import BigId, Json, UtcDateTime
from bot.tables.common import metadata, row_id

operators = sa.Table(
    "operators",
    metadata,
    row_id(),
    sa.Column("name", sa.Text, nullable=False, unique=True),
    sa.Column("password_hash", sa.Text, nullable=False),
    sa.Column("role", sa.Text, nullable=False),
    sa.Column("active", sa.Boolean, nullable=False),
    sa.Column("session_number", sa.Integer, nullable=False),  # a new password ends old sessions
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Column("last_login_at", UtcDateTime),
)

audit = sa.Table(
    "audit",
    metadata,
    row_id(),
    sa.Column("account_id", BigId, sa.ForeignKey("accounts.id")),
    sa.Column("operator", sa.Text, nullable=False),
    sa.Column("action", sa.Text, nullable=False),
    sa.Column("object", sa.Text, nullable=False),
    sa.Column("before", Json),
    sa.Column("after", Json),
    sa.Column("at", UtcDateTime, nullable=False),
    sa.Index("ix_audit_account_at", "account_id", "at"),
)
