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
    sa.Column(
        "brand", sa.Text
    ),  # accounts of one brand are sisters: caps count a person across them
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
    sa.Column("size", sa.Integer),  # bytes
    sa.Column("created_at", UtcDateTime),
    sa.Column("created_by", sa.Text),
    # temporary material lives for 3 days on the platform and is uploaded again; null: permanent
    sa.Column("expires_at", UtcDateTime),
    sa.Column("archived_at", UtcDateTime),
    sa.Column("article_url", sa.Text),  # of a picture that stands inside an article
    sa.UniqueConstraint("account_id", "sha256", "kind", "name"),
)

# articles (图文): written here, kept as a draft on the platform, published there as a permanent link
articles = sa.Table(
    "articles",
    metadata,
    row_id(),
    account_id(),
    sa.Column("title", sa.Text, nullable=False),
    sa.Column("key", sa.Text),  # of one that was written inside a campaign: a hash of what it says
    sa.Column("document", Json, nullable=False),  # title, author, digest, html, cover, source_url
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("media_id", sa.Text),  # of the draft; gone once it was mass-sent
    sa.Column("told_version", sa.Integer),  # what the platform's draft says
    sa.Column("publish_id", sa.Text),
    sa.Column("article_id", sa.Text),
    sa.Column("url", sa.Text),
    sa.Column("status", sa.Text, nullable=False),  # draft | publishing | published | failed
    sa.Column("error", sa.Text),
    sa.Column("created_by", sa.Text, nullable=False),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Column("changed_at", UtcDateTime, nullable=False),
    sa.Column("published_at", UtcDateTime),
    sa.Column("checked_at", UtcDateTime),  # last time the platform was told or asked about it
    sa.Column("archived_at", UtcDateTime),
    sa.CheckConstraint("status in ('draft', 'publishing', 'published', 'failed')", name="status"),
    sa.UniqueConstraint("account_id", "key"),
    sa.Index("ix_articles_account", "account_id", "changed_at"),
)

# where the channel `webhook` of an account posts to, such as an SMS gateway
outgoing = sa.Table(
    "outgoing",
    metadata,
    sa.Column("account_id", sa.ForeignKey("accounts.id"), primary_key=True),
    sa.Column("url", sa.Text, nullable=False),
    sa.Column("secret", sa.Text, nullable=False),  # sealed by bot.secrets
    sa.Column("together", sa.Integer, nullable=False),  # messages a post: 1 to 100
    sa.Column("open_id", sa.Boolean, nullable=False),  # whether it is told OpenIDs
    sa.Column("fields", Json, nullable=False),  # names of the follower's fields it is told
    sa.Column("changed_by", sa.Text, nullable=False),
    sa.Column("changed_at", UtcDateTime, nullable=False),
)

# templates of template messages and subscription notices, as the platform lists them
templates = sa.Table(
    "templates",
    metadata,
    row_id(),
    account_id(),
    sa.Column("kind", sa.Text, nullable=False),  # template | subscription
    sa.Column("template_id", sa.Text, nullable=False),
    sa.Column("title", sa.Text, nullable=False),
    sa.Column("content", sa.Text, nullable=False),
    sa.Column("example", sa.Text, nullable=False),
    sa.Column("long_term", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("read_at", UtcDateTime, nullable=False),
    sa.Column("archived_at", UtcDateTime),  # the platform lists it no more
    sa.UniqueConstraint("account_id", "kind", "template_id"),
)

# what the platform says an API may be called a day, and how far that is used (接口额度)
api_quotas = sa.Table(
    "api_quotas",
    metadata,
    sa.Column("account_id", sa.ForeignKey("accounts.id"), primary_key=True),
    sa.Column("api", sa.Text, primary_key=True),  # its path
    sa.Column("daily_limit", sa.Integer, nullable=False),
    sa.Column("used", sa.Integer, nullable=False),
    sa.Column("counted", sa.Integer, nullable=False),  # by ourselves when it was said
    sa.Column("said_at", UtcDateTime, nullable=False),
)
# calls of one Shanghai day as we counted them
api_calls = sa.Table(
    "api_calls",
    metadata,
    sa.Column("account_id", sa.ForeignKey("accounts.id"), primary_key=True),
    sa.Column("day", sa.Date, primary_key=True),
    sa.Column("api", sa.Text, primary_key=True),
    sa.Column("priority", sa.Text, primary_key=True),  # reply | later | campaign | sync
    sa.Column("calls", sa.Integer, nullable=False),
    sa.Column("refused", sa.Integer, nullable=False),  # by the platform: 45009, 45011
    sa.Column("held", sa.Integer, nullable=False),  # by ourselves, for what matters more
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
