"""outbox and deliveries: indexes that give rows in their order and hold only what is asked for"""

import sqlalchemy as sa
from alembic import op

revision = "20261130c"
down_revision = "20261130b"
branch_labels = None
depends_on = None

WAITING = "status = 'waiting'"


def upgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        # a row that begins to be sent changes no index: with room on its page it stays there
        op.execute("ALTER TABLE outbox SET (fillfactor = 60)")
    op.drop_index("ix_deliveries_batch", table_name="deliveries")
    _partial("ix_deliveries_batch", ["batch_id"], "batch_id IS NOT NULL", table="deliveries")
    for name in ("ix_outbox_due", "ix_outbox_claim", "ix_outbox_collect"):
        op.drop_index(name, table_name="outbox")
    op.create_index(
        "ix_outbox_due",
        "outbox",
        ["status", "not_before", "id"],
        unique=False,
        postgresql_where=sa.text("status <> 'sent'"),
    )
    op.create_index(
        "ix_outbox_collect",
        "outbox",
        ["collected", "status", "id"],
        unique=False,
        postgresql_where=sa.text("collected IS false AND status NOT IN ('waiting', 'sending')"),
    )
    _partial(
        "ix_outbox_claim",
        ["status", "purpose", "not_before"],
        f"{WAITING} AND purpose <> 'delivery'",
    )
    _partial("ix_outbox_expires", ["status", "expires_at"], WAITING)
    _partial(
        "ix_outbox_doubt", ["status", "unanswered_at"], f"{WAITING} AND unanswered_at IS NOT NULL"
    )


def downgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.execute("ALTER TABLE outbox RESET (fillfactor)")
    added = ("ix_outbox_doubt", "ix_outbox_expires")
    for name in (*added, "ix_outbox_claim", "ix_outbox_collect", "ix_outbox_due"):
        op.drop_index(name, table_name="outbox")
    op.drop_index("ix_deliveries_batch", table_name="deliveries")
    op.create_index("ix_deliveries_batch", "deliveries", ["batch_id"], unique=False)
    op.create_index("ix_outbox_due", "outbox", ["status", "not_before"], unique=False)
    op.create_index("ix_outbox_claim", "outbox", ["status", "purpose", "not_before"], unique=False)
    op.create_index("ix_outbox_collect", "outbox", ["collected", "status"], unique=False)


def _partial(name: str, columns: list[str], where: str, table: str = "outbox") -> None:
    op.create_index(
        name,
        table,
        columns,
        unique=False,
        sqlite_where=sa.text(where),
        postgresql_where=sa.text(where),
    )
