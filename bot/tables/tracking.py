"""QR scenes, tracked links and their clicks."""

import sqlalchemy as sa

from bot.db import BigId, Json, UtcDateTime
from bot.tables.common import account_id, follower_id, metadata, row_id

scenes = sa.Table(
    "scenes",
    metadata,
    row_id(),
    account_id(),
    sa.Column("key", sa.Text, nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("group", sa.Text, nullable=False),
    sa.Column("permanent", sa.Boolean, nullable=False),
    sa.Column("expire_seconds", sa.Integer),  # temporary ones
    sa.Column("tags", Json, nullable=False),
    sa.Column("ticket", sa.Text),
    sa.Column("url", sa.Text),  # what the QR picture encodes
    sa.Column("made_at", UtcDateTime),
    sa.Column("expires_at", UtcDateTime),
    sa.Column("error", sa.Text),
    sa.Column("archived_at", UtcDateTime),
    sa.Column("reply", Json),  # the Content a scan is answered with where no rule answers
    sa.Column("cost", sa.Float),  # yuan spent on it: placing, printing
    sa.Column("created_at", UtcDateTime),
    sa.UniqueConstraint("account_id", "key"),
)

links = sa.Table(
    "links",
    metadata,
    row_id(),
    account_id(),
    sa.Column("campaign_id", BigId, sa.ForeignKey("campaigns.id")),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("target", sa.Text, nullable=False),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.UniqueConstraint("account_id", "campaign_id", "name"),
)

clicks = sa.Table(
    "clicks",
    metadata,
    row_id(),
    account_id(),
    sa.Column("link_id", sa.ForeignKey("links.id"), nullable=False),
    follower_id(),
    sa.Column("at", UtcDateTime, nullable=False),
    sa.Column("clean", sa.Boolean, nullable=False),
    sa.Column(
        "noise", sa.Text
    ),  # why it is not clean: bot | prefetch | snapshot | tester | no_identity
    sa.Index("ix_clicks_link", "link_id", "clean", "follower_id"),
)
