"""reach: groups, experiments, follow-ups, plans, consents, articles, quotas"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "20261130"
down_revision = "20261122b"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "allocations",
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=True,
            nullable=False,
        ),
        sa.Column(
            "account_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False
        ),
        sa.Column("month", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column(
            "figures",
            sa.JSON(none_as_null=True).with_variant(
                postgresql.JSONB(none_as_null=True), "postgresql"
            ),
            nullable=False,
        ),
        sa.Column("made_by", sa.Text(), nullable=False),
        sa.Column("made_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "status in ('proposed', 'in_force', 'replaced')", name=op.f("ck_allocations_status")
        ),
        sa.ForeignKeyConstraint(
            ["account_id"], ["accounts.id"], name=op.f("fk_allocations_account_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_allocations")),
    )
    op.create_index(
        "ix_allocations_month", "allocations", ["account_id", "month", "status"], unique=False
    )
    op.create_table(
        "api_calls",
        sa.Column(
            "account_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False
        ),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("api", sa.Text(), nullable=False),
        sa.Column("priority", sa.Text(), nullable=False),
        sa.Column("calls", sa.Integer(), nullable=False),
        sa.Column("refused", sa.Integer(), nullable=False),
        sa.Column("held", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id"], ["accounts.id"], name=op.f("fk_api_calls_account_id")
        ),
        sa.PrimaryKeyConstraint("account_id", "day", "api", "priority", name=op.f("pk_api_calls")),
    )
    op.create_table(
        "api_quotas",
        sa.Column(
            "account_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False
        ),
        sa.Column("api", sa.Text(), nullable=False),
        sa.Column("daily_limit", sa.Integer(), nullable=False),
        sa.Column("used", sa.Integer(), nullable=False),
        sa.Column("counted", sa.Integer(), nullable=False),
        sa.Column("said_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id"], ["accounts.id"], name=op.f("fk_api_quotas_account_id")
        ),
        sa.PrimaryKeyConstraint("account_id", "api", name=op.f("pk_api_quotas")),
    )
    op.create_table(
        "articles",
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=True,
            nullable=False,
        ),
        sa.Column(
            "account_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False
        ),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=True),
        sa.Column(
            "document",
            sa.JSON(none_as_null=True).with_variant(
                postgresql.JSONB(none_as_null=True), "postgresql"
            ),
            nullable=False,
        ),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("media_id", sa.Text(), nullable=True),
        sa.Column("told_version", sa.Integer(), nullable=True),
        sa.Column("publish_id", sa.Text(), nullable=True),
        sa.Column("article_id", sa.Text(), nullable=True),
        sa.Column("url", sa.Text(), nullable=True),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("published_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("checked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("archived_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "status in ('draft', 'publishing', 'published', 'failed')",
            name=op.f("ck_articles_status"),
        ),
        sa.ForeignKeyConstraint(
            ["account_id"], ["accounts.id"], name=op.f("fk_articles_account_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_articles")),
        sa.UniqueConstraint("account_id", "key", name=op.f("uq_articles_account_id_key")),
    )
    op.create_index("ix_articles_account", "articles", ["account_id", "changed_at"], unique=False)
    op.create_table(
        "past_activities",
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=True,
            nullable=False,
        ),
        sa.Column(
            "account_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False
        ),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("delivered", sa.Integer(), nullable=False),
        sa.Column("guided", sa.Integer(), nullable=False),
        sa.Column("day", sa.Date(), nullable=True),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id"], ["accounts.id"], name=op.f("fk_past_activities_account_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_past_activities")),
        sa.UniqueConstraint("account_id", "name", name=op.f("uq_past_activities_account_id_name")),
    )
    op.create_table(
        "segment_sizes",
        sa.Column(
            "segment_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False
        ),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column(
            "account_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False
        ),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id"], ["accounts.id"], name=op.f("fk_segment_sizes_account_id")
        ),
        sa.ForeignKeyConstraint(
            ["segment_id"], ["segments.id"], name=op.f("fk_segment_sizes_segment_id")
        ),
        sa.PrimaryKeyConstraint("segment_id", "day", name=op.f("pk_segment_sizes")),
    )
    op.create_table(
        "audience_sets",
        sa.Column(
            "account_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False
        ),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column(
            "filter",
            sa.JSON(none_as_null=True).with_variant(
                postgresql.JSONB(none_as_null=True), "postgresql"
            ),
            nullable=False,
        ),
        sa.Column("people", sa.LargeBinary(), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("counted_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("used_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("seconds", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id"], ["accounts.id"], name=op.f("fk_audience_sets_account_id")
        ),
        sa.PrimaryKeyConstraint("account_id", "key", name=op.f("pk_audience_sets")),
    )
    op.create_table(
        "playbooks",
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=True,
            nullable=False,
        ),
        sa.Column(
            "account_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False
        ),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column(
            "document",
            sa.JSON(none_as_null=True).with_variant(
                postgresql.JSONB(none_as_null=True), "postgresql"
            ),
            nullable=False,
        ),
        sa.Column(
            "results",
            sa.JSON(none_as_null=True).with_variant(
                postgresql.JSONB(none_as_null=True), "postgresql"
            ),
            nullable=True,
        ),
        sa.Column("note", sa.Text(), server_default="", nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("archived_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["account_id"], ["accounts.id"], name=op.f("fk_playbooks_account_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_playbooks")),
        sa.UniqueConstraint(
            "account_id", "name", "version", name=op.f("uq_playbooks_account_id_name_version")
        ),
    )
    op.create_table(
        "templates",
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=True,
            nullable=False,
        ),
        sa.Column(
            "account_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False
        ),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("template_id", sa.Text(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("example", sa.Text(), nullable=False),
        sa.Column("long_term", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("read_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("archived_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["account_id"], ["accounts.id"], name=op.f("fk_templates_account_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_templates")),
        sa.UniqueConstraint(
            "account_id",
            "kind",
            "template_id",
            name=op.f("uq_templates_account_id_kind_template_id"),
        ),
    )
    op.create_table(
        "allocation_places",
        sa.Column(
            "allocation_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False
        ),
        sa.Column(
            "campaign_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False
        ),
        sa.Column(
            "account_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False
        ),
        sa.Column("people", sa.LargeBinary(), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id"], ["accounts.id"], name=op.f("fk_allocation_places_account_id")
        ),
        sa.ForeignKeyConstraint(
            ["allocation_id"], ["allocations.id"], name=op.f("fk_allocation_places_allocation_id")
        ),
        sa.ForeignKeyConstraint(
            ["campaign_id"], ["campaigns.id"], name=op.f("fk_allocation_places_campaign_id")
        ),
        sa.PrimaryKeyConstraint("allocation_id", "campaign_id", name=op.f("pk_allocation_places")),
    )
    op.create_table(
        "consent_entries",
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=True,
            nullable=False,
        ),
        sa.Column(
            "account_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False
        ),
        sa.Column(
            "follower_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False
        ),
        sa.Column("template_id", sa.Text(), nullable=False),
        sa.Column("change", sa.Integer(), nullable=False),
        sa.Column("cause", sa.Text(), nullable=False),
        sa.Column("delivery_id", sa.BigInteger(), nullable=True),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("source_key", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["account_id"], ["accounts.id"], name=op.f("fk_consent_entries_account_id")
        ),
        sa.ForeignKeyConstraint(
            ["follower_id"], ["followers.id"], name=op.f("fk_consent_entries_follower_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_consent_entries")),
        sa.UniqueConstraint("source_key", name=op.f("uq_consent_entries_source_key")),
    )
    op.create_index(
        "ix_consent_entries_follower",
        "consent_entries",
        ["follower_id", "template_id", "id"],
        unique=False,
    )
    op.create_index("ix_consent_entries_delivery", "consent_entries", ["delivery_id"], unique=False)
    # what was counted before there were entries
    op.execute(
        "INSERT INTO consent_entries (account_id, follower_id, template_id, change, cause, at)"
        " SELECT account_id, follower_id, template_id, accepted, 'opening', changed_at FROM consents"
        " WHERE accepted > 0"
    )
    op.create_table(
        "notice_results",
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=True,
            nullable=False,
        ),
        sa.Column(
            "account_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False
        ),
        sa.Column(
            "follower_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False
        ),
        sa.Column("msg_id", sa.Text(), nullable=False),
        sa.Column("result", sa.Text(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id"], ["accounts.id"], name=op.f("fk_notice_results_account_id")
        ),
        sa.ForeignKeyConstraint(
            ["follower_id"], ["followers.id"], name=op.f("fk_notice_results_follower_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_notice_results")),
        sa.UniqueConstraint(
            "account_id", "msg_id", name=op.f("uq_notice_results_account_id_msg_id")
        ),
    )
    op.create_table(
        "outgoing",
        sa.Column(
            "account_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False
        ),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("secret", sa.Text(), nullable=False),
        sa.Column("together", sa.Integer(), nullable=False),
        sa.Column("open_id", sa.Boolean(), nullable=False),
        sa.Column(
            "fields",
            sa.JSON(none_as_null=True).with_variant(
                postgresql.JSONB(none_as_null=True), "postgresql"
            ),
            nullable=False,
        ),
        sa.Column("changed_by", sa.Text(), nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id"], ["accounts.id"], name=op.f("fk_outgoing_account_id")
        ),
        sa.PrimaryKeyConstraint("account_id", name=op.f("pk_outgoing")),
    )
    op.add_column("deliveries", sa.Column("result", sa.Text(), nullable=True))
    op.add_column("media", sa.Column("article_url", sa.Text(), nullable=True))
    op.create_table(
        "plans",
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=True,
            nullable=False,
        ),
        sa.Column(
            "account_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False
        ),
        sa.Column(
            "document",
            sa.JSON(none_as_null=True).with_variant(
                postgresql.JSONB(none_as_null=True), "postgresql"
            ),
            nullable=False,
        ),
        sa.Column("step", sa.Integer(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column(
            "campaign_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True
        ),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("changed_by", sa.Text(), nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("archived_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_plans_account_id")),
        sa.ForeignKeyConstraint(
            ["campaign_id"], ["campaigns.id"], name=op.f("fk_plans_campaign_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_plans")),
    )
    op.create_index("ix_plans_account", "plans", ["account_id", "changed_at"], unique=False)
    op.create_table(
        "temporary_tags",
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=True,
            nullable=False,
        ),
        sa.Column(
            "account_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False
        ),
        sa.Column("run_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("batch_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("wechat_id", sa.Integer(), nullable=True),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("filled_to", sa.BigInteger(), nullable=False),
        sa.Column("cleared_to", sa.BigInteger(), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["account_id"], ["accounts.id"], name=op.f("fk_temporary_tags_account_id")
        ),
        sa.ForeignKeyConstraint(
            ["run_id"], ["campaign_runs.id"], name=op.f("fk_temporary_tags_run_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_temporary_tags")),
    )
    op.create_index("ix_temporary_tags_run", "temporary_tags", ["run_id"], unique=False)
    op.create_index("ix_temporary_tags_state", "temporary_tags", ["state"], unique=False)
    op.add_column("accounts", sa.Column("brand", sa.Text(), nullable=True))
    op.add_column(
        "campaign_runs",
        sa.Column("parent_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
    )
    op.add_column(
        "campaign_runs", sa.Column("round", sa.Integer(), server_default="1", nullable=False)
    )
    op.add_column(
        "campaign_runs",
        sa.Column(
            "waves",
            sa.JSON(none_as_null=True).with_variant(
                postgresql.JSONB(none_as_null=True), "postgresql"
            ),
            nullable=True,
        ),
    )
    op.add_column("campaign_runs", sa.Column("winner", sa.Text(), nullable=True))
    op.add_column(
        "campaign_runs", sa.Column("decided_at", sa.DateTime(timezone=True), nullable=True)
    )
    op.add_column(
        "campaign_runs",
        sa.Column(
            "decision",
            sa.JSON(none_as_null=True).with_variant(
                postgresql.JSONB(none_as_null=True), "postgresql"
            ),
            nullable=True,
        ),
    )
    op.add_column(
        "campaign_runs",
        sa.Column(
            "guard",
            sa.JSON(none_as_null=True).with_variant(
                postgresql.JSONB(none_as_null=True), "postgresql"
            ),
            nullable=True,
        ),
    )
    op.add_column(
        "campaign_runs", sa.Column("tagged_at", sa.DateTime(timezone=True), nullable=True)
    )
    op.add_column(
        "campaigns",
        sa.Column("message_class", sa.Text(), server_default="marketing", nullable=False),
    )
    op.add_column(
        "campaigns",
        sa.Column(
            "groups",
            sa.JSON(none_as_null=True).with_variant(
                postgresql.JSONB(none_as_null=True), "postgresql"
            ),
            nullable=True,
        ),
    )
    op.add_column(
        "campaigns",
        sa.Column(
            "contents",
            sa.JSON(none_as_null=True).with_variant(
                postgresql.JSONB(none_as_null=True), "postgresql"
            ),
            nullable=True,
        ),
    )
    op.add_column(
        "campaigns",
        sa.Column(
            "experiment",
            sa.JSON(none_as_null=True).with_variant(
                postgresql.JSONB(none_as_null=True), "postgresql"
            ),
            nullable=True,
        ),
    )
    op.add_column("campaigns", sa.Column("holdout", sa.Float(), nullable=True))
    op.add_column(
        "campaigns",
        sa.Column(
            "pace",
            sa.JSON(none_as_null=True).with_variant(
                postgresql.JSONB(none_as_null=True), "postgresql"
            ),
            nullable=True,
        ),
    )
    op.add_column(
        "campaigns",
        sa.Column(
            "follow_ups",
            sa.JSON(none_as_null=True).with_variant(
                postgresql.JSONB(none_as_null=True), "postgresql"
            ),
            nullable=True,
        ),
    )
    op.add_column(
        "campaigns",
        sa.Column(
            "after",
            sa.JSON(none_as_null=True).with_variant(
                postgresql.JSONB(none_as_null=True), "postgresql"
            ),
            nullable=True,
        ),
    )
    op.add_column(
        "campaigns",
        sa.Column(
            "brief",
            sa.JSON(none_as_null=True).with_variant(
                postgresql.JSONB(none_as_null=True), "postgresql"
            ),
            nullable=True,
        ),
    )
    op.add_column(
        "campaigns",
        sa.Column(
            "worth",
            sa.JSON(none_as_null=True).with_variant(
                postgresql.JSONB(none_as_null=True), "postgresql"
            ),
            nullable=True,
        ),
    )
    op.add_column(
        "campaigns", sa.Column("version", sa.Integer(), server_default="1", nullable=False)
    )
    op.add_column("campaigns", sa.Column("approved_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("campaigns", sa.Column("approval_seal", sa.Text(), nullable=True))
    op.add_column("campaigns", sa.Column("submitted_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("campaigns", sa.Column("submitted_by", sa.Text(), nullable=True))
    op.add_column("external_mass_sends", sa.Column("people", sa.LargeBinary(), nullable=True))
    op.add_column("external_mass_sends", sa.Column("said", sa.Text(), nullable=True))
    op.add_column("deliveries", sa.Column("group", sa.Text(), nullable=True))
    op.add_column("deliveries", sa.Column("variant", sa.Text(), nullable=True))
    op.drop_index(
        op.f("ix_deliveries_waiting"),
        table_name="deliveries",
        sqlite_where=sa.text("queued_at IS NULL"),
    )
    op.create_index(
        "ix_deliveries_waiting",
        "deliveries",
        ["run_id", "status", "wave", "channel", "group", "variant", "follower_id"],
        unique=False,
        sqlite_where=sa.text("queued_at IS NULL"),
        postgresql_where=sa.text("queued_at IS NULL"),
    )
    op.create_index(
        "ix_followers_union_id",
        "followers",
        ["union_id", "account_id"],
        unique=False,
        sqlite_where=sa.text("union_id IS NOT NULL"),
        postgresql_where=sa.text("union_id IS NOT NULL"),
    )
    op.add_column("mass_batches", sa.Column("group", sa.Text(), nullable=True))
    op.add_column("mass_batches", sa.Column("variant", sa.Text(), nullable=True))
    op.add_column("media", sa.Column("size", sa.Integer(), nullable=True))
    op.add_column("media", sa.Column("created_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("media", sa.Column("created_by", sa.Text(), nullable=True))
    op.add_column("media", sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("media", sa.Column("archived_at", sa.DateTime(timezone=True), nullable=True))


def downgrade() -> None:
    op.drop_table("segment_sizes")
    op.drop_table("past_activities")
    op.drop_column("external_mass_sends", "said")
    op.drop_column("external_mass_sends", "people")
    op.drop_column("media", "article_url")
    op.drop_column("deliveries", "result")
    op.drop_table("outgoing")
    op.drop_table("notice_results")
    op.drop_index("ix_consent_entries_delivery", table_name="consent_entries")
    op.drop_column("media", "archived_at")
    op.drop_column("media", "expires_at")
    op.drop_column("media", "created_by")
    op.drop_column("media", "created_at")
    op.drop_column("media", "size")
    op.drop_column("mass_batches", "variant")
    op.drop_column("mass_batches", "group")
    op.drop_index(
        "ix_followers_union_id",
        table_name="followers",
        sqlite_where=sa.text("union_id IS NOT NULL"),
        postgresql_where=sa.text("union_id IS NOT NULL"),
    )
    op.drop_index(
        "ix_deliveries_waiting",
        table_name="deliveries",
        sqlite_where=sa.text("queued_at IS NULL"),
        postgresql_where=sa.text("queued_at IS NULL"),
    )
    op.create_index(
        op.f("ix_deliveries_waiting"),
        "deliveries",
        ["run_id", "status", "wave", "channel", "follower_id"],
        unique=False,
        sqlite_where=sa.text("queued_at IS NULL"),
        postgresql_where=sa.text("queued_at IS NULL"),
    )
    op.drop_column("deliveries", "variant")
    op.drop_column("deliveries", "group")
    op.drop_column("campaigns", "submitted_by")
    op.drop_column("campaigns", "submitted_at")
    op.drop_column("campaigns", "approval_seal")
    op.drop_column("campaigns", "approved_at")
    op.drop_column("campaigns", "version")
    op.drop_column("campaigns", "worth")
    op.drop_column("campaigns", "brief")
    op.drop_column("campaigns", "after")
    op.drop_column("campaigns", "follow_ups")
    op.drop_column("campaigns", "pace")
    op.drop_column("campaigns", "holdout")
    op.drop_column("campaigns", "experiment")
    op.drop_column("campaigns", "contents")
    op.drop_column("campaigns", "groups")
    op.drop_column("campaigns", "message_class")
    op.drop_column("campaign_runs", "tagged_at")
    op.drop_column("campaign_runs", "guard")
    op.drop_column("campaign_runs", "decision")
    op.drop_column("campaign_runs", "decided_at")
    op.drop_column("campaign_runs", "winner")
    op.drop_column("campaign_runs", "waves")
    op.drop_column("campaign_runs", "round")
    op.drop_column("campaign_runs", "parent_id")
    op.drop_column("accounts", "brand")
    op.drop_index("ix_temporary_tags_state", table_name="temporary_tags")
    op.drop_index("ix_temporary_tags_run", table_name="temporary_tags")
    op.drop_table("temporary_tags")
    op.drop_index("ix_plans_account", table_name="plans")
    op.drop_table("plans")
    op.drop_index("ix_consent_entries_follower", table_name="consent_entries")
    op.drop_table("consent_entries")
    op.drop_table("allocation_places")
    op.drop_table("templates")
    op.drop_table("playbooks")
    op.drop_table("audience_sets")
    op.drop_index("ix_articles_account", table_name="articles")
    op.drop_table("articles")
    op.drop_table("api_quotas")
    op.drop_table("api_calls")
    op.drop_index("ix_allocations_month", table_name="allocations")
    op.drop_table("allocations")
