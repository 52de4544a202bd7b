"""Campaigns, their runs, deliveries and batches; and the ledger of mass slots."""

import sqlalchemy as sa

from bot.db import BigId, Json, UtcDateTime
from bot.tables.common import account_id, follower_id, metadata, partial_index, row_id

campaigns = sa.Table(
    "campaigns",
    metadata,
    row_id(),
    account_id(),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("segment", sa.Text, nullable=False),
    sa.Column("schedule", Json, nullable=False),  # {"at": …} or {"repeat": …}
    sa.Column("channels", Json, nullable=False),
    sa.Column("content", Json, nullable=False),
    sa.Column("links", Json, nullable=False),
    sa.Column("goal", Json),
    sa.Column(
        "message_class", sa.Text, nullable=False, server_default="marketing"
    ),  # marketing | service
    # the rest of the document, each as the account file writes it (docs/account-file.md)
    sa.Column("groups", Json),  # [{name, segment, rate}]: who is in two belongs to the first
    sa.Column("contents", Json),  # {channel: content} where a channel says something of its own
    sa.Column("experiment", Json),
    sa.Column("holdout", sa.Float),  # share of the audience, 0 to 0.5
    sa.Column("pace", Json),  # staggered batches
    sa.Column("follow_ups", Json),  # [{after, channels, content, to}]: waves 2, 3 …
    sa.Column("after", Json),  # tags by result
    sa.Column("brief", Json),  # the five factors and the words of the plan document
    sa.Column("worth", Json),  # {click, protect}: for dividing the month's slots
    sa.Column("version", sa.Integer, nullable=False, server_default="1"),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("next_due_at", UtcDateTime),
    # approval: bound to the content's hash and to at most so many people and slots
    sa.Column("approved_people", sa.Integer),
    sa.Column("approved_slots", sa.Integer),
    sa.Column("approved_hash", sa.Text),
    sa.Column("approved_by", Json),  # names, in order; {"file": true} counts as two
    sa.Column("approved_at", UtcDateTime),  # of the last of them: a countdown begins then
    sa.Column("approval_seal", sa.Text),  # signs who approved what, checked again in the gateway
    sa.Column("submitted_at", UtcDateTime),  # waits for 审核
    sa.Column("submitted_by", sa.Text),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Column("created_by", sa.Text, nullable=False),
    sa.UniqueConstraint("account_id", "name"),
    sa.CheckConstraint(
        "status in ('draft', 'scheduled', 'stopped', 'finished', 'archived')", name="status"
    ),
    sa.Index("ix_campaigns_due", "status", "next_due_at"),
)

campaign_runs = sa.Table(
    "campaign_runs",
    metadata,
    row_id(),
    account_id(),
    sa.Column("campaign_id", sa.ForeignKey("campaigns.id"), nullable=False),
    sa.Column("due_at", UtcDateTime, nullable=False),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("reason", sa.Text),  # why it waits, is paused or was cancelled
    sa.Column("content", Json, nullable=False),  # as it was when the run began
    # a follow-up is a run of its own, of the same campaign, about whom the run before it left over;
    # it is due so many seconds later as its round says, so that it never takes an ordinary run's key
    sa.Column("parent_id", BigId),
    sa.Column("round", sa.Integer, nullable=False, server_default="1"),
    # the waves of this run after the canary: [{"wave": 2, "at": …, "variant": …}]; null: one wave, at once
    sa.Column("waves", Json),
    sa.Column("winner", sa.Text),  # the variant the rest gets, once decided
    sa.Column("decided_at", UtcDateTime),
    sa.Column("decision", Json),  # the figures it was decided on
    sa.Column("guard", Json),  # what the guard counted at its last look
    sa.Column("tagged_at", UtcDateTime),  # tags by result were given
    sa.Column("month", sa.Text),  # whose slots it takes
    sa.Column("last_follower_id", sa.BigInteger),  # upper end of the audience, fixed when planning
    sa.Column("planned_to", sa.BigInteger, nullable=False),  # planning has come this far
    sa.Column("next_wave_at", UtcDateTime),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Column("planned_at", UtcDateTime),
    sa.Column("finished_at", UtcDateTime),
    sa.UniqueConstraint("campaign_id", "due_at"),
    sa.CheckConstraint(
        "status in ('waiting', 'planning', 'running', 'paused', 'finished', 'cancelled')",
        name="status",
    ),
    sa.Index("ix_campaign_runs_status", "status"),
)

deliveries = sa.Table(
    "deliveries",
    metadata,
    row_id(),
    account_id(),
    sa.Column("run_id", sa.ForeignKey("campaign_runs.id"), nullable=False),
    follower_id(nullable=False),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("reason", sa.Text),  # of a skip, one of bot.campaigns.reach.REASONS
    sa.Column("channel", sa.Text),
    sa.Column("wave", sa.Integer, nullable=False),  # 0 the canary, 1 … the rest
    sa.Column("group", sa.Text),  # which group of the campaign
    sa.Column("variant", sa.Text),  # of the experiment; null: none, or not decided yet
    sa.Column("batch_id", BigId),
    sa.Column("queued_at", UtcDateTime),  # handed to the outbox
    sa.Column("slot", sa.Text),  # reserved | spent: the truth behind the ledger
    sa.Column("month", sa.Text),
    sa.Column("errcode", sa.Integer),
    sa.Column("result", sa.Text),  # of a notice, as the platform told it later: success, or why not
    sa.Column("at", UtcDateTime),  # of the last change of status
    sa.UniqueConstraint("run_id", "follower_id"),
    sa.CheckConstraint(
        "status in ('planned', 'sent', 'failed', 'unknown', 'skipped')", name="status"
    ),
    sa.Index("ix_deliveries_run_status", "run_id", "status", "channel", "wave", "follower_id"),
    # who is still to be handed over: asked for at every step of a wave
    partial_index(
        "ix_deliveries_waiting",
        "run_id",
        "status",
        "wave",
        "channel",
        "group",
        "variant",
        "follower_id",
        where="queued_at IS NULL",
    ),
    sa.Index("ix_deliveries_follower", "follower_id", "at"),
    partial_index(
        "ix_deliveries_batch",
        "batch_id",
        where="batch_id IS NOT NULL",
    ),
)

mass_batches = sa.Table(
    "mass_batches",
    metadata,
    row_id(),
    account_id(),
    sa.Column("run_id", sa.ForeignKey("campaign_runs.id"), nullable=False),
    sa.Column("wave", sa.Integer, nullable=False),
    sa.Column("number", sa.Integer, nullable=False),
    sa.Column("group", sa.Text),  # a batch never mixes groups or variants
    sa.Column("variant", sa.Text),
    sa.Column("target", sa.Text, nullable=False),  # open_ids | tag | all
    sa.Column("client_msg_id", sa.Text, nullable=False, unique=True),
    sa.Column("size", sa.Integer, nullable=False),
    sa.Column("month", sa.Text, nullable=False),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("msg_id", sa.Text),  # 64-bit: text
    sa.Column("msg_data_id", sa.Text),
    sa.Column("submitted_at", UtcDateTime),
    sa.Column("finished_at", UtcDateTime),
    sa.Column("result", sa.Text),  # the platform's Status
    sa.Column("total", sa.Integer),
    sa.Column("filtered", sa.Integer),  # FilterCount: what was left after filtering
    sa.Column("sent", sa.Integer),
    sa.Column("errors", sa.Integer),
    sa.Column("shortfall", sa.Integer),  # charged but not delivered
    sa.Column("error", sa.Text),
    sa.Column("checked_at", UtcDateTime),  # last time mass/get was asked
    sa.UniqueConstraint("run_id", "wave", "number"),
    sa.CheckConstraint(
        "status in ('planned', 'sending', 'submitted', 'finished', 'failed', 'unknown', 'cancelled')",
        name="status",
    ),
    sa.CheckConstraint("target in ('open_ids', 'tag', 'all')", name="target"),
    sa.Index("ix_mass_batches_msg_id", "account_id", "msg_id"),
    sa.Index("ix_mass_batches_status", "status"),
)

mass_ledger = sa.Table(
    "mass_ledger",
    metadata,
    sa.Column("follower_id", sa.ForeignKey("followers.id"), primary_key=True),
    sa.Column("month", sa.Text, primary_key=True),  # 2025-11, of Shanghai
    account_id(),
    sa.Column("reserved", sa.Integer, nullable=False),
    sa.Column("spent", sa.Integer, nullable=False),
    # what came from outside our own deliveries; part of spent, so that a recount can tell
    sa.Column("external", sa.Integer, nullable=False),
    sa.CheckConstraint("reserved >= 0", name="reserved"),
    sa.CheckConstraint("spent >= 0", name="spent"),
    sa.Index("ix_mass_ledger_account_month", "account_id", "month"),
)

external_mass_sends = sa.Table(
    "external_mass_sends",
    metadata,
    row_id(),
    account_id(),
    sa.Column("source", sa.Text, nullable=False),  # opening | event | operator
    sa.Column("msg_id", sa.Text),
    # unplaced: a result that may still turn out to be ours | unknown | all | tag | listed | none
    sa.Column("audience", sa.Text, nullable=False),
    sa.Column("event", Json),  # the platform's result as it came, until it is placed
    sa.Column("times", sa.Integer, nullable=False),
    sa.Column("month", sa.Text, nullable=False),
    sa.Column("at", UtcDateTime, nullable=False),
    sa.Column("total", sa.Integer),
    sa.Column("sent", sa.Integer),
    # followers up to this row id are charged; those we learn of later but who followed before `at` are not yet
    sa.Column("covered_to", sa.BigInteger),
    # of a tag, a segment or a list: whom it went to, a roaring bitmap of follower ids. All are charged when
    # covered_to is null
    sa.Column("people", sa.LargeBinary),
    sa.Column("said", sa.Text),  # the name of the tag or segment
    sa.Column("stated_by", sa.Text),
    sa.Column("stated_at", UtcDateTime),
    sa.UniqueConstraint("account_id", "msg_id"),
)

# slots of this month of followers who were erased, under a keyed hash of their OpenID
erased_slots = sa.Table(
    "erased_slots",
    metadata,
    sa.Column("account_id", sa.ForeignKey("accounts.id"), primary_key=True),
    sa.Column("open_id_hash", sa.Text, primary_key=True),
    sa.Column("month", sa.Text, primary_key=True),
    sa.Column("spent", sa.Integer, nullable=False),
    sa.Column("opted_out", sa.Boolean, nullable=False),
)

# what the console's wizard is still writing: the same document as a campaign, possibly incomplete
plans = sa.Table(
    "plans",
    metadata,
    row_id(),
    account_id(),
    sa.Column("document", Json, nullable=False),
    sa.Column("step", sa.Integer, nullable=False),  # 1 to 5: how far it came
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("campaign_id", BigId, sa.ForeignKey("campaigns.id")),  # what became of it
    sa.Column("created_by", sa.Text, nullable=False),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Column("changed_by", sa.Text, nullable=False),
    sa.Column("changed_at", UtcDateTime, nullable=False),
    sa.Column("archived_at", UtcDateTime),
    sa.Index("ix_plans_account", "account_id", "changed_at"),
)

# what an account achieved before, or outside this program: somebody typed it in, so that estimates have a past
past_activities = sa.Table(
    "past_activities",
    metadata,
    row_id(),
    account_id(),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),  # of activity: similar ones have the same
    sa.Column("delivered", sa.Integer, nullable=False),
    sa.Column("guided", sa.Integer, nullable=False),
    sa.Column("day", sa.Date),
    sa.Column("created_by", sa.Text, nullable=False),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.UniqueConstraint("account_id", "name"),
)

# a plan kept for reuse (策略模板): versions never change
playbooks = sa.Table(
    "playbooks",
    metadata,
    row_id(),
    account_id(),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("document", Json, nullable=False),
    sa.Column("results", Json),  # what the campaign it came from achieved
    sa.Column("note", sa.Text, nullable=False, server_default=""),
    sa.Column("created_by", sa.Text, nullable=False),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Column("archived_at", UtcDateTime),
    sa.UniqueConstraint("account_id", "name", "version"),
)

# who gets which of the month's slots, as divided among the campaigns of a month
allocations = sa.Table(
    "allocations",
    metadata,
    row_id(),
    account_id(),
    sa.Column("month", sa.Text, nullable=False),
    sa.Column("status", sa.Text, nullable=False),  # proposed | in_force | replaced
    sa.Column(
        "figures", Json, nullable=False
    ),  # per campaign, the total, the bound, the comparison
    sa.Column("made_by", sa.Text, nullable=False),
    sa.Column("made_at", UtcDateTime, nullable=False),
    sa.CheckConstraint("status in ('proposed', 'in_force', 'replaced')", name="status"),
    sa.Index("ix_allocations_month", "account_id", "month", "status"),
)
allocation_places = sa.Table(
    "allocation_places",
    metadata,
    sa.Column("allocation_id", sa.ForeignKey("allocations.id"), primary_key=True),
    sa.Column("campaign_id", sa.ForeignKey("campaigns.id"), primary_key=True),
    account_id(),
    sa.Column("people", sa.LargeBinary, nullable=False),  # a roaring bitmap of follower ids
    sa.Column("size", sa.Integer, nullable=False),
)

# a tag of the platform that lives for one send: its people are put on, sent to, taken off
temporary_tags = sa.Table(
    "temporary_tags",
    metadata,
    row_id(),
    account_id(),
    sa.Column("run_id", sa.ForeignKey("campaign_runs.id"), nullable=False),
    sa.Column("batch_id", BigId),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("wechat_id", sa.Integer),
    sa.Column(
        "state", sa.Text, nullable=False
    ),  # making | filling | ready | used | clearing | gone
    sa.Column("filled_to", sa.BigInteger, nullable=False),  # follower id: so far they have the tag
    sa.Column("cleared_to", sa.BigInteger, nullable=False),
    sa.Column("size", sa.Integer, nullable=False),
    sa.Column("error", sa.Text),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Column("ended_at", UtcDateTime),
    sa.Index("ix_temporary_tags_run", "run_id"),
    sa.Index("ix_temporary_tags_state", "state"),
)
