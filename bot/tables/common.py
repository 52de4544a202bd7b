"""What the table files share: the metadata and the few columns that repeat."""

from typing import Any

import sqlalchemy as sa

from bot.db import BigId

metadata = sa.MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
    }
)


def row_id() -> sa.Column[Any]:
    return sa.Column("id", BigId, primary_key=True, autoincrement=True)


def account_id() -> sa.Column[Any]:
    return sa.Column("account_id", BigId, sa.ForeignKey("accounts.id"), nullable=False)


def follower_id(**options: Any) -> sa.Column[Any]:
    return sa.Column("follower_id", BigId, sa.ForeignKey("followers.id"), **options)


def partial_index(name: str, *columns: str, where: str, unique: bool = False) -> sa.Index:
    """An index of the rows a condition holds for. On SQLite a statement must say the condition literally."""
    condition = sa.text(where)
    return sa.Index(
        name, *columns, unique=unique, sqlite_where=condition, postgresql_where=condition
    )
