"""People and programs that work with accounts: operators, tokens, webhooks, and the audit of what they changed."""

import sqlalchemy as sa

from bot.db import BigId, Json, UtcDateTime
from bot.tables.common import account_id, metadata, row_id

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
    # false: only the accounts of operator_scopes; an administrator sees every account
    sa.Column("every_account", sa.Boolean, nullable=False, server_default=sa.true()),
    sa.Column("totp_secret", sa.Text),  # sealed by bot.secrets; null: no second factor
    sa.Column("totp_step", BigId),  # the last time step that was used: a code works once
)

# which accounts an operator sees; for a channel owner also which QR codes
operator_scopes = sa.Table(
    "operator_scopes",
    metadata,
    sa.Column("operator_id", sa.ForeignKey("operators.id"), primary_key=True),
    sa.Column("account_id", sa.ForeignKey("accounts.id"), primary_key=True),
    sa.Column("scenes", Json),  # keys of QR codes, * allowed; null: all of them
)

api_tokens = sa.Table(
    "api_tokens",
    metadata,
    row_id(),
    sa.Column("account_id", BigId, sa.ForeignKey("accounts.id")),  # null: every account
    sa.Column("name", sa.Text, nullable=False),
    sa.Column(
        "hash", sa.Text, nullable=False, unique=True
    ),  # SHA-256; the token is random and long
    sa.Column("shown", sa.Text, nullable=False),  # its first characters, to tell it by
    sa.Column("scopes", Json, nullable=False),  # names of bot.rights
    sa.Column("created_by", sa.Text, nullable=False),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Column("expires_at", UtcDateTime),
    sa.Column("last_used_at", UtcDateTime),
    sa.Column("revoked_at", UtcDateTime),
)

# what an Idempotency-Key was answered, kept for a day
api_requests = sa.Table(
    "api_requests",
    metadata,
    sa.Column("token_id", sa.ForeignKey("api_tokens.id"), primary_key=True),
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("fingerprint", sa.Text, nullable=False),  # of method, path and body
    sa.Column("status", sa.Integer),  # null: still being answered
    sa.Column("body", Json),
    sa.Column("at", UtcDateTime, nullable=False),
    sa.Index("ix_api_requests_at", "at"),
)

# outgoing: other systems told of what happened
webhooks = sa.Table(
    "webhooks",
    metadata,
    row_id(),
    account_id(),
    sa.Column("url", sa.Text, nullable=False),
    sa.Column("secret", sa.Text, nullable=False),  # sealed by bot.secrets
    sa.Column("events", Json, nullable=False),
    sa.Column("active", sa.Boolean, nullable=False),
    sa.Column("position", sa.BigInteger, nullable=False),  # the last behaviour event it was told of
    sa.Column("created_by", sa.Text, nullable=False),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Column("archived_at", UtcDateTime),
)

webhook_deliveries = sa.Table(
    "webhook_deliveries",
    metadata,
    row_id(),
    account_id(),
    sa.Column("webhook_id", sa.ForeignKey("webhooks.id"), nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("payload", Json, nullable=False),
    sa.Column("status", sa.Text, nullable=False),  # waiting | sent | failed
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("next_try_at", UtcDateTime),
    sa.Column("answer", sa.Integer),  # the HTTP status of the last try
    sa.Column("error", sa.Text),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Column("finished_at", UtcDateTime),
    sa.Column("key", sa.Text, nullable=False, unique=True),
    sa.CheckConstraint("status in ('waiting', 'sent', 'failed')", name="status"),
    sa.Index("ix_webhook_deliveries_due", "status", "next_try_at"),
    sa.Index("ix_webhook_deliveries_webhook", "webhook_id", "id"),
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
    sa.Index("ix_audit_object", "account_id", "object", "id"),  # the history of one thing
)
