"""Fixtures every test may ask for. Databases are real; the platform is our sandbox; time is given."""

import os
import shutil
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest
import sqlalchemy as sa

from bot import accounts, db
from bot.accounts import Account
from bot.tables import metadata
from tests import factories

POSTGRES_URL = os.environ.get("TEST_DATABASE_URL", "")


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One SQLite file with every table; each test gets a copy."""
    path = tmp_path_factory.mktemp("template") / "template.db"
    engine = db.make_engine(f"sqlite:///{path}")
    metadata.create_all(engine)
    engine.dispose()
    return path


@pytest.fixture
def database_url(sqlite_template: Path, tmp_path: Path) -> str:
    path = tmp_path / "qunfen.db"
    shutil.copyfile(sqlite_template, path)
    return f"sqlite:///{path}"


@pytest.fixture
def engine(database_url: str) -> Iterator[sa.Engine]:
    engine = db.make_engine(database_url)
    yield engine
    engine.dispose()


@pytest.fixture
def session(engine: sa.Engine) -> Iterator[db.Session]:
    """A writing transaction that is rolled back. Tests that need commits open their own on ``engine``."""
    with engine.connect() as plain:
        connection = plain.execution_options(qunfen_immediate=True)
        transaction = connection.begin()
        yield connection
        transaction.rollback()


@pytest.fixture
def now() -> datetime:
    """A quiet Monday morning in Shanghai: 2025-03-03 09:00."""
    return factories.at("2025-03-03 09:00")


@pytest.fixture
def account(engine: sa.Engine, now: datetime) -> Account:
    """A verified service account in safe mode, committed."""
    with db.writing(engine) as session:
        return accounts.by_id(session, factories.make_account(session, now=now))
