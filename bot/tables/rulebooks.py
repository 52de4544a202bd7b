"""Rules as edited, and the numbered immutable rulebooks that were in force."""

import sqlalchemy as sa

from bot.db import Json, UtcDateTime
from bot.tables.common import account_id, metadata, row_id

rules = sa.Table(
    "rules",
    metadata,
    row_id(),
    account_id(),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("position", sa.Integer, nullable=False),
    sa.Column("body", Json, nullable=False),  # one rule of the account file
    sa.Column("origin", sa.Text, nullable=False),  # file | console
    sa.Column("archived_at", UtcDateTime),
    sa.Column("group", sa.Text, nullable=False, server_default=""),
    # grows with each change: who saves over a version they did not see is refused
    sa.Column("version", sa.Integer, nullable=False, server_default="1"),
    sa.Column("changed_at", UtcDateTime),
    sa.Column("changed_by", sa.Text),
    # its name in the rulebook in force; null: it is not in it. A rename takes what is known by the
    # name along when it is published
    sa.Column("published_as", sa.Text),
    sa.UniqueConstraint("account_id", "name"),
)

# how often a rule answered, a Shanghai day: rolled up from the inbox every minute
rule_hits = sa.Table(
    "rule_hits",
    metadata,
    sa.Column("account_id", sa.ForeignKey("accounts.id"), primary_key=True),
    sa.Column("rule", sa.Text, primary_key=True),
    sa.Column("day", sa.Date, primary_key=True),
    sa.Column("times", sa.Integer, nullable=False),
)

# a draft rulebook tried on stored pushes
dry_runs = sa.Table(
    "dry_runs",
    metadata,
    row_id(),
    account_id(),
    sa.Column("body", Json, nullable=False),  # the candidate
    sa.Column("against", sa.Integer, nullable=False),  # the number it is compared with
    sa.Column("state", sa.Text, nullable=False),  # running | done | failed
    sa.Column("last", sa.Integer, nullable=False),  # how many pushes were asked for
    sa.Column("from_id", sa.BigInteger),  # the newest push of the run
    sa.Column("done", sa.Integer, nullable=False),
    sa.Column("total", sa.Integer, nullable=False),
    sa.Column("summary", Json),
    sa.Column("error", sa.Text),
    sa.Column("created_by", sa.Text, nullable=False),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Column("finished_at", UtcDateTime),
    sa.CheckConstraint("state in ('running', 'done', 'failed')", name="state"),
    sa.Index("ix_dry_runs_account", "account_id", "id"),
)

dry_run_changes = sa.Table(
    "dry_run_changes",
    metadata,
    row_id(),
    account_id(),
    sa.Column("dry_run_id", sa.ForeignKey("dry_runs.id"), nullable=False),
    sa.Column("push_id", sa.BigInteger, nullable=False),
    sa.Column("follower_id", sa.BigInteger),
    sa.Column("change", Json, nullable=False),
    sa.Index("ix_dry_run_changes_run", "dry_run_id", "id"),
    sa.Index("ix_dry_run_changes_follower", "follower_id"),  # for erasure
)

# words nobody answers that an operator does not want to see again
ignored_words = sa.Table(
    "ignored_words",
    metadata,
    sa.Column("account_id", sa.ForeignKey("accounts.id"), primary_key=True),
    sa.Column("folded", sa.Text, primary_key=True),
    sa.Column("by", sa.Text, nullable=False),
    sa.Column("at", UtcDateTime, nullable=False),
)

rulebooks = sa.Table(
    "rulebooks",
    metadata,
    row_id(),
    account_id(),
    sa.Column("number", sa.Integer, nullable=False),
    sa.Column("body", Json, nullable=False),  # {"rules": […], "fallback": …}
    sa.Column("published_at", UtcDateTime, nullable=False),
    sa.Column("published_by", sa.Text, nullable=False),
    sa.Column("note", sa.Text, nullable=False),
    sa.UniqueConstraint("account_id", "number"),
)

rulebook_heads = sa.Table(
    "rulebook_heads",
    metadata,
    sa.Column("account_id", sa.ForeignKey("accounts.id"), primary_key=True),
    sa.Column("number", sa.Integer, nullable=False),
    sa.Column("fallback", Json),  # as edited; published together with the rules
    sa.Column(
        "order_version", sa.Integer, nullable=False, server_default="1"
    ),  # of order and fallback
)
