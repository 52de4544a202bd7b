"""Migrations: one head, the upgraded schema is what the tables say, and there is a way back."""

import multiprocessing
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from bot import db, migrate
from bot.tables import metadata

POSTGRES_URL = os.environ.get("TEST_DATABASE_URL", "")


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def empty(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of a database without tables."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'empty.db'}"
        return
    if not POSTGRES_URL:
        pytest.skip("TEST_DATABASE_URL is not set")
    name = f"qunfen_migrations_{os.getpid()}"
    server = sa.create_engine(POSTGRES_URL, isolation_level="AUTOCOMMIT")
    with server.connect() as connection:
        connection.execute(sa.text(f"drop database if exists {name}"))
        connection.execute(sa.text(f"create database {name}"))
    yield sa.make_url(POSTGRES_URL).set(database=name).render_as_string(hide_password=False)
    with server.connect() as connection:
        connection.execute(sa.text(f"drop database {name} with (force)"))
    server.dispose()


def shape(engine: sa.Engine) -> dict[str, Any]:
    """Everything the database itself says about its tables."""
    inspector = sa.inspect(engine)
    return {
        table: {
            # by name: a column that was added later stands last in the database, where it belongs in the code
            "columns": sorted(
                (c["name"], str(c["type"]), c["nullable"], str(c["default"]))
                for c in inspector.get_columns(table)
            ),
            "primary": inspector.get_pk_constraint(table)["constrained_columns"],
            "indexes": sorted(
                (str(i["name"]), i["unique"], i["column_names"], _conditions(i))
                for i in inspector.get_indexes(table)
            ),
            "unique": sorted(str(u) for u in inspector.get_unique_constraints(table)),
            "foreign": sorted(str(f) for f in inspector.get_foreign_keys(table)),
            "checks": sorted(str(c) for c in inspector.get_check_constraints(table)),
        }
        for table in inspector.get_table_names()
        if table != "alembic_version"
    }


def _conditions(index: Any) -> list[tuple[str, str]]:
    return sorted((key, str(value)) for key, value in index.get("dialect_options", {}).items())


def test_there_is_one_head() -> None:
    config = Config()
    config.set_main_option("script_location", str(migrate.FOLDER))
    assert len(ScriptDirectory.from_config(config).get_heads()) == 1


def test_the_upgraded_schema_is_what_the_tables_say(empty: str) -> None:
    engine = db.make_engine(empty)
    assert migrate.current(engine) is None
    migrate.upgrade(engine)
    assert migrate.current(engine) == migrate.head()
    with db.reading(engine) as session:
        context = MigrationContext.configure(session, opts={"compare_type": False})
        assert compare_metadata(context, metadata) == []
    migrated = shape(engine)
    migrate.downgrade(engine, "base")
    assert shape(engine) == {}
    metadata.create_all(engine)
    assert shape(engine) == migrated
    engine.dispose()


def test_a_second_upgrade_changes_nothing_and_after_a_downgrade_it_works_again(empty: str) -> None:
    engine = db.make_engine(empty)
    migrate.upgrade(engine)
    before = shape(engine)
    migrate.upgrade(engine)
    migrate.downgrade(engine, "base")
    assert migrate.current(engine) is None
    migrate.upgrade(engine)
    assert shape(engine) == before
    engine.dispose()


def _upgrade(url: str) -> None:
    migrate.upgrade(db.make_engine(url))


@pytest.mark.slow  # starts three processes
def test_processes_that_start_together_do_not_break_each_other(empty: str) -> None:
    context = multiprocessing.get_context("spawn")
    starters = [context.Process(target=_upgrade, args=(empty,)) for _ in range(3)]
    for process in starters:
        process.start()
    for process in starters:
        process.join(60)
    assert [process.exitcode for process in starters] == [0, 0, 0]
    engine = db.make_engine(empty)
    assert migrate.current(engine) == migrate.head()
    engine.dispose()


def test_a_revision_from_a_newer_program_is_not_known() -> None:
    assert migrate.is_known(migrate.head())
    assert not migrate.is_known("99999999")
