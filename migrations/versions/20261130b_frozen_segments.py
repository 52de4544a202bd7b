"""frozen segments: the lists a segment can be frozen into, and who is on them"""

import sqlalchemy as sa
from alembic import op

revision = "20261130b"
down_revision = "20261130"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "frozen_lists",
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
            "segment_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False
        ),
        sa.Column("frozen_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("frozen_by", sa.Text(), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("in_force", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id"], ["accounts.id"], name=op.f("fk_frozen_lists_account_id")
        ),
        sa.ForeignKeyConstraint(
            ["segment_id"], ["segments.id"], name=op.f("fk_frozen_lists_segment_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_frozen_lists")),
    )
    op.create_index(
        "ix_frozen_lists_in_force",
        "frozen_lists",
        ["segment_id"],
        unique=True,
        sqlite_where=sa.text("in_force"),
        postgresql_where=sa.text("in_force"),
    )
    op.create_table(
        "frozen_people",
        sa.Column("list_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column(
            "follower_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False
        ),
        sa.Column(
            "account_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False
        ),
        sa.ForeignKeyConstraint(
            ["account_id"], ["accounts.id"], name=op.f("fk_frozen_people_account_id")
        ),
        sa.ForeignKeyConstraint(
            ["follower_id"], ["followers.id"], name=op.f("fk_frozen_people_follower_id")
        ),
        sa.ForeignKeyConstraint(
            ["list_id"], ["frozen_lists.id"], name=op.f("fk_frozen_people_list_id")
        ),
        sa.PrimaryKeyConstraint("list_id", "follower_id", name=op.f("pk_frozen_people")),
    )
    op.create_index("ix_frozen_people_follower", "frozen_people", ["follower_id"], unique=False)


def downgrade() -> None:
    op.drop_index("ix_frozen_people_follower", table_name="frozen_people")
    op.drop_table("frozen_people")
    op.drop_index(
        "ix_frozen_lists_in_force",
        table_name="frozen_lists",
        sqlite_where=sa.text("in_force"),
        postgresql_where=sa.text("in_force"),
    )
    op.drop_table("frozen_lists")
