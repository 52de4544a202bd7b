"""How Alembic reaches the database: over the connection ``bot.migrate`` hands it, in its transaction.

Types are written out plainly in migrations, so that an old one means the same when our types change.
"""

from typing import Any, Literal

import sqlalchemy as sa
from alembic import context
from alembic.autogenerate.api import AutogenContext

from bot.db import Json, UtcDateTime
from bot.tables import metadata

JSON = 'sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True), "postgresql")'
BIG_ID = 'sa.BigInteger().with_variant(sa.Integer(), "sqlite")'


def write_type(kind: str, item: Any, _autogen: AutogenContext) -> str | Literal[False]:
    """The source text of a column type in a migration; False leaves it to Alembic."""
    if kind == "server_default" and isinstance(item, sa.DefaultClause):
        # Alembic would write it as SQLite spells it; PostgreSQL takes no 0 for a boolean
        word = {sa.false(): "sa.false()", sa.true(): "sa.true()"}.get(item.arg)
        return word or False
    if kind != "type":
        return False
    if isinstance(item, UtcDateTime):
        return "sa.DateTime(timezone=True)"
    if isinstance(item, Json):
        return JSON
    if isinstance(item, sa.BigInteger) and "sqlite" in item._variant_mapping:
        return BIG_ID
    return False


connection = context.config.attributes.get("connection")
if connection is None:
    raise SystemExit("run migrations with `qunfen db upgrade`, or `python -m bot.migrate`")
context.configure(
    connection=connection,
    target_metadata=metadata,
    transactional_ddl=True,  # SQLite too: bot.db says BEGIN itself
    render_item=write_type,
    compare_type=False,  # our types are decorators; tests/test_migrations.py compares the real columns
)
with context.begin_transaction():
    context.run_migrations()
