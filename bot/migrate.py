"""Migrations from inside the program: ``upgrade``, ``current``, and drafting a new one.

Works from a source tree and from an installed wheel: the folder ``migrations`` lies beside ``bot``.
"""

import sys
import threading
from collections.abc import Callable
from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from bot import clock, db

FOLDER = Path(__file__).resolve().parent.parent / "migrations"
LOCK = 0x71756E66  # "qunf": the advisory lock of PostgreSQL that migrations share
WAIT_SECONDS = 120.0  # how long a process waits for another that migrates


def head() -> str:
    """The newest revision this program knows."""
    found = ScriptDirectory.from_config(_config()).get_current_head()
    assert found is not None, "no migrations beside the program"
    return found


def current(engine: sa.Engine) -> str | None:
    """The revision of the database; None for an empty one."""
    with db.reading(engine) as session:
        return MigrationContext.configure(session).get_current_revision()


def is_known(revision: str) -> bool:
    """Whether this program knows a revision; an older program does not know a newer database's."""
    return revision in {
        found.revision for found in ScriptDirectory.from_config(_config()).walk_revisions()
    }


def upgrade(engine: sa.Engine, revision: str = "head") -> None:
    """Bring the database to ``revision`` in one transaction.

    Processes that start together take turns: the second finds the work done.
    """
    _in_turn(engine, lambda config: command.upgrade(config, revision))


def downgrade(engine: sa.Engine, revision: str) -> None:
    """Go back to ``revision`` (``base``: no tables). For tests and rescue; rows are lost."""
    _in_turn(engine, lambda config: command.downgrade(config, revision))


def draft(message: str, revision: str | None = None, folder: Path = FOLDER) -> Path:
    """Write a migration from the last one to ``bot.tables``, compared on an empty SQLite database."""
    engine = db.make_engine("sqlite://")
    if ScriptDirectory.from_config(_config(folder=folder)).get_current_head() is not None:
        upgrade(engine)
    with engine.connect() as connection:
        made = command.revision(
            _config(connection, folder),
            message,
            autogenerate=True,
            rev_id=revision or f"{clock.local(clock.now()):%Y%m%d}",
        )
    assert not isinstance(made, list)
    assert made is not None
    return Path(made.path)


def _config(connection: sa.Connection | None = None, folder: Path = FOLDER) -> Config:
    config = Config()
    config.set_main_option("script_location", str(folder).replace("%", "%%"))
    config.set_main_option("file_template", "%%(rev)s_%%(slug)s")
    config.set_main_option("path_separator", "os")
    if connection is not None:
        config.attributes["connection"] = connection
    return config


def _in_turn(engine: sa.Engine, work: Callable[[Config], None]) -> None:
    start = clock.tick_seconds()
    while True:
        try:
            with db.writing(engine) as session:
                if session.dialect.name == "postgresql":
                    session.execute(sa.select(sa.func.pg_advisory_xact_lock(LOCK)))
                work(_config(session))
            return
        except sa.exc.OperationalError as problem:
            # SQLite: somebody else holds the write lock longer than a statement may wait
            if "locked" not in str(problem.orig) or clock.tick_seconds() - start > WAIT_SECONDS:
                raise
            threading.Event().wait(0.1)


def main(arguments: list[str]) -> int:
    """``python -m bot.migrate draft "what changed" [REVISION]``, for developers."""
    if len(arguments) not in (2, 3) or arguments[0] != "draft":
        sys.stderr.write('usage: python -m bot.migrate draft "what changed" [REVISION]\n')
        return 2
    sys.stdout.write(f"{draft(arguments[1], arguments[2] if arguments[2:] else None)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
