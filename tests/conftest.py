"""Fixtures every test may ask for. Databases are real; the platform is our sandbox; time is given.

A test that uses a database runs on SQLite and, where ``TEST_DATABASE_URL`` names a server, once more
on PostgreSQL. Tests of Redis need ``TEST_REDIS_URL``, browser tests a Chromium (``TEST_CHROMIUM`` or
one on the path) and the extra ``e2e``. With ``REQUIRE_ALL=1`` a skip is a failure.
"""

import importlib.util
import os
import shutil
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import redis
import sqlalchemy as sa
from argon2 import PasswordHasher
from flask import Flask
from flask.testing import FlaskClient
from jinja2.bccache import Bucket, BytecodeCache
from pydantic import SecretStr
from werkzeug.routing import Rule

from bot import accounts, db, logs, operators
from bot.accounts import Account
from bot.app import create_app
from bot.clock import Clock
from bot.config import Config
from bot.kept import DatabaseStore
from bot.runtime import Runtime
from tests import databases, factories

# whoever runs the suite may have settings of their own; they are not the tests'
for _name in [name for name in os.environ if name.startswith("QUNFEN_")]:
    del os.environ[_name]

POSTGRES_URL = os.environ.get("TEST_DATABASE_URL", "")
REDIS_URL = os.environ.get("TEST_REDIS_URL", "")
CHROMIUM = os.environ.get("TEST_CHROMIUM") or shutil.which("chromium") or ""
REQUIRE_ALL = os.environ.get("REQUIRE_ALL") == "1"
WORKER = os.environ.get("PYTEST_XDIST_WORKER", "gw0")

MISSING = {
    "postgres": "" if POSTGRES_URL else "PostgreSQL: TEST_DATABASE_URL is not set",
    "redis": "" if REDIS_URL else "Redis: TEST_REDIS_URL is not set",
    "browser": (
        "browser: no Chromium; install one or set TEST_CHROMIUM"
        if not CHROMIUM
        else ""
        if importlib.util.find_spec("playwright")
        else "browser: the extra e2e is not installed (make e2e)"
    ),
}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """The second pass: whatever reaches ``database_url`` runs once a database."""
    if "database_url" not in metafunc.fixturenames:
        return
    kinds = ["sqlite"]
    if POSTGRES_URL and metafunc.definition.get_closest_marker("sqlite") is None:
        kinds.append("postgresql")
    if metafunc.definition.get_closest_marker("postgres") is not None:
        kinds = ["postgresql"]
    metafunc.parametrize("database_url", kinds, indirect=True)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        for marker, reason in MISSING.items():
            if reason and item.get_closest_marker(marker) is not None:
                item.add_marker(pytest.mark.skip(reason=reason))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Any:
    report = yield
    return _must_run(report)


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Any:
    report = yield
    return _must_run(report)


def _must_run(report: Any) -> Any:
    if REQUIRE_ALL and report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"REQUIRE_ALL=1 and this was skipped: {reason}"
    return report


class _Compiled(BytecodeCache):
    """Templates compiled once a test process: each test makes an application of its own, which compiles anew."""

    kept: dict[str, bytes] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        if bucket.key in self.kept:
            bucket.bytecode_from_string(self.kept[bucket.key])

    def dump_bytecode(self, bucket: Bucket) -> None:
        self.kept[bucket.key] = bucket.bytecode_to_string()


Flask.jinja_options = {**Flask.jinja_options, "bytecode_cache": _Compiled()}

# as are addresses: nine tenths of the time that making an application takes
_rules: dict[tuple[Any, ...], tuple[Any, ...]] = {}
_compile_rule = Rule.compile


def _compiled_once(rule: Rule) -> None:
    """What an address is compiled to is the same in each application; its builders are bound to the rule."""
    key = (rule.rule, rule.subdomain, rule.merge_slashes, repr(rule.defaults))
    if key not in _rules:
        _compile_rule(rule)
        builders = [each.__func__ for each in (rule._build, rule._build_unknown)]  # type: ignore[attr-defined]
        _rules[key] = (rule.arguments, rule._parts, rule._trace, rule._converters, builders)
        return
    rule.arguments, rule._parts, rule._trace, rule._converters, (known, unknown) = _rules[key]
    rule._build, rule._build_unknown = known.__get__(rule), unknown.__get__(rule)


Rule.compile = _compiled_once  # type: ignore[method-assign]


# passwords are hashed by real argon2 with light parameters: the real ones take 64 MB and a tenth of a second each time
STRONG_HASHES = operators._hasher
operators._hasher = PasswordHasher(time_cost=1, memory_cost=256, parallelism=1)


@pytest.fixture(autouse=True)
def _log_lines() -> None:
    """They go to this test's standard error, whatever the last one did; a console's tracebacks take seconds to draw."""
    logs.configure()


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One SQLite file with every table; each test gets a copy."""
    path = tmp_path_factory.mktemp("template") / "template.db"
    databases.build(f"sqlite:///{path}")
    return path


@pytest.fixture(scope="session")
def postgresql_url() -> Iterator[str]:
    """A PostgreSQL database of this test process."""
    with databases.postgresql(POSTGRES_URL, WORKER) as url:
        yield url


@pytest.fixture(scope="session")
def empty_postgresql(postgresql_url: str) -> Iterator[databases.Emptier]:
    emptier = databases.Emptier(postgresql_url)
    yield emptier
    emptier.close()


@pytest.fixture
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty, migrated database."""
    if getattr(request, "param", "sqlite") == "postgresql":
        request.getfixturevalue("empty_postgresql")()
        return str(request.getfixturevalue("postgresql_url"))
    return databases.copy_of(request.getfixturevalue("sqlite_template"), tmp_path)


@pytest.fixture
def engine(database_url: str) -> Iterator[sa.Engine]:
    engine = databases.compiled_once(db.make_engine(database_url))
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
def redis_url() -> str:
    """An emptied Redis database of this test process: the number in the URL, less one a worker."""
    base, _, number = REDIS_URL.rpartition("/")
    worker = int(WORKER.removeprefix("gw") or 0)
    url = f"{base}/{max(0, int(number) - worker)}" if number.isdigit() else REDIS_URL
    with redis.Redis.from_url(url) as client:
        client.flushdb()
    return url


@pytest.fixture
def now() -> datetime:
    """A quiet Monday morning in Shanghai: 2025-03-03 09:00."""
    return factories.at("2025-03-03 09:00")


@pytest.fixture
def account(engine: sa.Engine, now: datetime) -> Account:
    """A verified service account in safe mode, committed."""
    with db.writing(engine) as session:
        return accounts.by_id(session, factories.make_account(session, now=now))


@pytest.fixture
def rt(engine: sa.Engine, database_url: str, now: datetime) -> Iterator[Runtime]:
    """The runtime of a product that lives on the test's database, its clock stopped at ``now``."""
    config = Config(
        database_url=database_url,
        secret_key=SecretStr(factories.SECRET_KEY),
        base_url="http://product.test",
    )
    clock = Clock(frozen_at=now)
    writer = db.GroupWriter(engine)
    yield Runtime(config, engine, writer, clock, DatabaseStore(engine, clock))
    writer.close()


@pytest.fixture
def client(rt: Runtime) -> FlaskClient:
    """The product's HTTP doors."""
    return create_app(rt.config, rt).test_client()
