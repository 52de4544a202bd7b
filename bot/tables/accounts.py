"""Official accounts (公众号). One program serves many."""

import sqlalchemy as sa

from bot.db import Json, UtcDateTime
from bot.tables.common import account_id, metadata, row_id

accounts = sa.Table(
    "accounts",
    metadata,
    row_id(),
    sa.Column("slug", sa.Text, nullable=False, unique=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),  # service | subscription
    sa.Column("verified", sa.Boolean, nullable=False),
    sa.Column("mode", sa.Text, nullable=False),  # plain | compatible | safe
    sa.Column("app_id", sa.Text, nullable=False, unique=True),
    sa.Column("original_id", sa.Text, nullable=False, server_default=""),
    sa.Column("app_secret", sa.Text, nullable=False),  # these three sealed by bot.secrets
    sa.Column("token", sa.Text, nullable=False),
    sa.Column("aes_key", sa.Text),
    # set once when the account is made: it lives on a sandbox and never talks to the real platform
    sa.Column("sandbox_url", sa.Text),
    sa.Column("limits", Json, nullable=False),
    sa.Column("rights", Json, nullable=False),  # feature -> false, learnt from errcode 48001
    # mass is blocked until somebody said what was sent this month before connecting
    sa.Column("opening_stated_at", UtcDateTime),
    sa.Column("stopped_at", UtcDateTime),  # emergency stop of every send
    sa.Column("stopped_reason", sa.Text),
    sa.Column("last_push_at", UtcDateTime),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Column("archived_at", UtcDateTime),
    sa.CheckConstraint("kind in ('service', 'subscription')", name="kind"),
    sa.CheckConstraint("mode in ('plain', 'compatible', 'safe')", name="mode"),
)

media = sa.Table(
    "media",
    metadata,
    row_id(),
    account_id(),
    sa.Column("kind", sa.Text, nullable=False),  # image | voice | video | thumb
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("sha256", sa.Text, nullable=False),
    sa.Column("data", sa.LargeBinary, nullable=False),
    sa.Column("media_id", sa.Text),  # permanent material; null until uploaded
    sa.Column("url", sa.Text),
    sa.Column("error", sa.Text),
    sa.Column("uploaded_at", UtcDateTime),
    sa.UniqueConstraint("account_id", "sha256", "kind", "name"),
)

menus = sa.Table(
    "menus",
    metadata,
    sa.Column("account_id", sa.ForeignKey("accounts.id"), primary_key=True),
    sa.Column("menu", Json),  # as in the account file; null: not managed by us
    sa.Column("personal", Json),
    sa.Column("published", Json),  # what the platform was last told
    sa.Column("published_at", UtcDateTime),
    sa.Column("error", sa.Text),
    sa.Column("version", sa.Integer, nullable=False, server_default="1"),
    sa.Column("changed_by", sa.Text),
    sa.Column("publish_at", UtcDateTime),  # scheduled; cleared when done
    sa.Column("publish_by", sa.Text),
    # what an operator is editing, with the version it began from; null: nothing
    sa.Column("draft", Json),
)
