"""Followers (粉丝), their tags, reply windows and consents."""

import sqlalchemy as sa

from bot.db import Json, UtcDateTime
from bot.tables.common import account_id, metadata, partial_index, row_id

followers = sa.Table(
    "followers",
    metadata,
    row_id(),
    account_id(),
    sa.Column("open_id", sa.Text, nullable=False),  # "erased:<random>" after erasure
    sa.Column("union_id", sa.Text),
    sa.Column("subscribed", sa.Boolean, nullable=False),
    sa.Column("subscribed_at", UtcDateTime),
    sa.Column("unsubscribed_at", UtcDateTime),
    sa.Column("first_seen_at", UtcDateTime, nullable=False),
    sa.Column("last_active_at", UtcDateTime),
    # what brought the follower the first time: a scene key, else the platform's ADD_SCENE_… word
    sa.Column("first_source", sa.Text),
    sa.Column("first_scene", sa.Text),
    sa.Column("last_scene", sa.Text),
    sa.Column("subscribe_scene", sa.Text),  # of the present subscription
    sa.Column("remark", sa.Text),
    sa.Column("fields", Json, nullable=False),
    sa.Column("opted_out_at", UtcDateTime),
    sa.Column("handed_over_until", UtcDateTime),  # rules stay silent for a human agent
    sa.Column("messages", sa.Integer, nullable=False, server_default="0"),
    sa.Column("tester", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("synced_at", UtcDateTime),
    sa.Column("erased_at", UtcDateTime),
    # the remark folded, the initials of its pinyin, its pinyin: what a search looks into
    sa.Column("remark_search", sa.Text),
    sa.UniqueConstraint("account_id", "open_id"),
    # one person across sister accounts
    partial_index(
        "ix_followers_union_id",
        "union_id",
        "account_id",
        where="union_id IS NOT NULL",
    ),
    sa.Index("ix_followers_account_subscribed", "account_id", "subscribed", "id"),
    sa.Index("ix_followers_unsubscribed", "unsubscribed_at"),
    sa.Index("ix_followers_first_scene", "account_id", "first_scene", "subscribed_at"),
    partial_index(
        "ix_followers_remark",
        "account_id",
        "remark_search",
        "id",  # so that PostgreSQL finds the ids without reading the rows
        where="remark_search IS NOT NULL",
    ),
    # the beginning of an OpenID: PostgreSQL's unique index has the order of a language, SQLite's that of the bytes,
    # where this one stays empty
    sa.Index(
        "ix_followers_open_id",
        "account_id",
        "open_id",
        postgresql_ops={"open_id": "text_pattern_ops"},
        sqlite_where=sa.text("open_id IS NULL"),
    ),
    # the orders of the list of followers
    sa.Index("ix_followers_followed", "account_id", "subscribed_at", "id"),
    partial_index(
        "ix_followers_opted_out",
        "account_id",
        "id",
        where="opted_out_at IS NOT NULL",
    ),
)

tags = sa.Table(
    "tags",
    metadata,
    row_id(),
    account_id(),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("family", sa.Text, nullable=False),
    sa.Column("sync", sa.Boolean, nullable=False),
    sa.Column("wechat_id", sa.Integer),  # the platform's tag id, once mirrored
    sa.Column("expires_after_days", sa.Integer),
    sa.Column("error", sa.Text),  # why it cannot be mirrored
    sa.Column("archived_at", UtcDateTime),
    sa.Column("people", sa.Integer),  # how many have it, counted at
    sa.Column("counted_at", UtcDateTime),
    sa.UniqueConstraint("account_id", "name"),
)

follower_tags = sa.Table(
    "follower_tags",
    metadata,
    sa.Column("follower_id", sa.ForeignKey("followers.id"), primary_key=True),
    sa.Column("tag_id", sa.ForeignKey("tags.id"), primary_key=True),
    account_id(),
    sa.Column("origin", sa.Text, nullable=False),  # rule:<name> scene:<key> platform import …
    sa.Column("caused_by", sa.BigInteger),  # the push, where there was one
    sa.Column("added_at", UtcDateTime, nullable=False),
    sa.Column("expires_at", UtcDateTime),
    # who has a tag, answered from the index alone
    sa.Index("ix_follower_tags_tag", "tag_id", "follower_id", "expires_at"),
    sa.Index("ix_follower_tags_expires", "expires_at"),
)

# what the platform was told about synced tags; the difference to follower_tags is what is still to say
platform_tags = sa.Table(
    "platform_tags",
    metadata,
    sa.Column("tag_id", sa.ForeignKey("tags.id"), primary_key=True),
    sa.Column("follower_id", sa.ForeignKey("followers.id"), primary_key=True),
    account_id(),
)

reply_windows = sa.Table(
    "reply_windows",
    metadata,
    sa.Column("follower_id", sa.ForeignKey("followers.id"), primary_key=True),
    sa.Column("opened_by", sa.Text, primary_key=True),  # message | menu | follow | scan
    account_id(),
    sa.Column("opened_at", UtcDateTime, nullable=False),
    sa.Column("expires_at", UtcDateTime, nullable=False),
    sa.Column("left", sa.Integer, nullable=False),
    sa.CheckConstraint('"left" >= 0', name="left"),
    # whose window ends next, and who wrote last
    sa.Index("ix_reply_windows_ending", "account_id", "opened_by", "expires_at", "follower_id"),
)

consents = sa.Table(
    "consents",
    metadata,
    sa.Column("follower_id", sa.ForeignKey("followers.id"), primary_key=True),
    sa.Column("template_id", sa.Text, primary_key=True),
    account_id(),
    sa.Column("accepted", sa.Integer, nullable=False),  # accepts minus sends
    sa.Column("rejected_at", UtcDateTime),
    sa.Column("changed_at", UtcDateTime, nullable=False),
)

# every accept, reject and send behind ``consents``: append-only, and its changes add up to the counter
consent_entries = sa.Table(
    "consent_entries",
    metadata,
    row_id(),
    account_id(),
    sa.Column("follower_id", sa.ForeignKey("followers.id"), nullable=False),
    sa.Column("template_id", sa.Text, nullable=False),
    sa.Column("change", sa.Integer, nullable=False),
    sa.Column("cause", sa.Text, nullable=False),  # one of bot.consents.CAUSES
    sa.Column("delivery_id", sa.BigInteger),
    sa.Column("at", UtcDateTime, nullable=False),
    sa.Column("source_key", sa.Text, unique=True),  # makes a repeated push the same entry
    sa.Index("ix_consent_entries_follower", "follower_id", "template_id", "id"),
    sa.Index("ix_consent_entries_delivery", "delivery_id"),
)

# results of template messages as they were pushed, until their delivery is found: a result may overtake
# the receipt of its own call
notice_results = sa.Table(
    "notice_results",
    metadata,
    row_id(),
    account_id(),
    sa.Column("follower_id", sa.ForeignKey("followers.id"), nullable=False),
    sa.Column("msg_id", sa.Text, nullable=False),
    sa.Column("result", sa.Text, nullable=False),  # success, or why not in the platform's words
    sa.Column("at", UtcDateTime, nullable=False),
    sa.UniqueConstraint("account_id", "msg_id"),
)

follower_syncs = sa.Table(
    "follower_syncs",
    metadata,
    row_id(),
    account_id(),
    sa.Column("next_open_id", sa.Text, nullable=False),
    sa.Column("state", sa.Text, nullable=False),  # listing | reading | done | failed
    sa.Column("total", sa.Integer, nullable=False),
    sa.Column("done", sa.Integer, nullable=False),
    sa.Column("error", sa.Text),
    sa.Column("started_at", UtcDateTime, nullable=False),
    sa.Column("finished_at", UtcDateTime),
)

rule_firings = sa.Table(
    "rule_firings",
    metadata,
    sa.Column("follower_id", sa.ForeignKey("followers.id"), primary_key=True),
    sa.Column("rule", sa.Text, primary_key=True),  # only rules with a cooldown
    account_id(),
    sa.Column("fired_at", UtcDateTime, nullable=False),
)
