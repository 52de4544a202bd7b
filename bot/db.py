"""The database: engine, transactions, and every difference between SQLite and PostgreSQL.

``Session`` is a SQLAlchemy connection inside one transaction. Doors open it with ``reading`` or
``writing`` and commit by leaving the block; domain functions are handed it and never commit.
"""

import contextlib
import json
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Connection, Engine, make_url
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.pool import StaticPool

from bot import clock

Session = Connection
Result = TypeVar("Result")

BUSY_SECONDS = 5.0  # how long a writer waits for another process's write before giving up
ASK_AGAIN_SECONDS = 0.0005
GROUP_LIMIT = 64  # pushes that may share one commit; bounds how long the first of them waits


class UtcDateTime(sa.TypeDecorator[datetime]):
    """Aware UTC on both databases. SQLite keeps it as text that sorts in time order."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, _dialect: sa.Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a moment without a zone must not reach the database")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, _dialect: sa.Dialect) -> datetime | None:
        return None if value is None else value.astimezone(UTC)

    # a push binds nine moments: SQLite's text is made and read in one step, in the same format
    def bind_processor(self, dialect: sa.Dialect) -> Any:
        return _moment_text if dialect.name == "sqlite" else super().bind_processor(dialect)

    def result_processor(self, dialect: sa.Dialect, coltype: object) -> Any:
        if dialect.name == "sqlite":
            return _moment_of
        return super().result_processor(dialect, coltype)


def _moment_text(value: datetime | None) -> str | None:
    if value is None:
        return None
    if value.tzinfo is None:
        raise ValueError("a moment without a zone must not reach the database")
    return value.astimezone(UTC).replace(tzinfo=None).isoformat(" ", "microseconds")


def _moment_of(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text).replace(tzinfo=UTC)


class Json(sa.TypeDecorator[Any]):
    """JSON as readable text: SQLite's JSON functions and PostgreSQL's jsonb both see it."""

    impl = sa.JSON
    cache_ok = True

    def load_dialect_impl(self, dialect: sa.Dialect) -> sa.types.TypeEngine[Any]:
        if dialect.name == "postgresql":
            return dialect.type_descriptor(postgresql.JSONB(none_as_null=True))
        return dialect.type_descriptor(sqlite.JSON(none_as_null=True))

    def coerce_compared_value(self, op: Any, value: Any) -> Any:
        return self.impl_instance.coerce_compared_value(op, value)

    def bind_processor(self, dialect: sa.Dialect) -> Any:
        return _json_text if dialect.name == "sqlite" else super().bind_processor(dialect)

    def result_processor(self, dialect: sa.Dialect, coltype: object) -> Any:
        if dialect.name == "sqlite":
            return _json_of
        return super().result_processor(dialect, coltype)


def _json_text(value: Any) -> str | None:
    return None if value is None else _dump_json(value)


def _json_of(text: str | None) -> Any:
    return None if text is None else json.loads(text)


# 64 bits everywhere; SQLite numbers rows by itself only for a column that is exactly INTEGER
BigId = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def make_engine(url: str) -> Engine:
    """An engine for SQLite or PostgreSQL, ready for ``reading`` and ``writing``. Creates the folder of a file."""
    parsed = make_url(url)
    options: dict[str, Any] = {
        "json_serializer": _dump_json,
        "json_deserializer": json.loads,
        "hide_parameters": True,  # errors are logged and stored; OpenIDs and secrets must not be
    }
    if parsed.get_backend_name() != "sqlite":
        return sa.create_engine(
            parsed, pool_pre_ping=True, pool_size=10, max_overflow=20, pool_timeout=5, **options
        )
    if parsed.database in (None, "", ":memory:"):
        options |= {"poolclass": StaticPool, "connect_args": {"check_same_thread": False}}
    else:
        Path(str(parsed.database)).parent.mkdir(parents=True, exist_ok=True)
        options |= {"pool_size": 32, "max_overflow": 64}
        options |= {"connect_args": {"check_same_thread": False, "timeout": BUSY_SECONDS}}
    engine = sa.create_engine(parsed, **options)
    sa.event.listen(engine, "connect", _prepare_sqlite)
    sa.event.listen(engine, "begin", _begin_sqlite)
    return engine


@contextlib.contextmanager
def reading(engine: Engine) -> Iterator[Session]:
    """A transaction that only reads: one consistent view, and on SQLite never in a writer's way."""
    with engine.connect() as session, session.begin():
        yield session


@contextlib.contextmanager
def writing(engine: Engine) -> Iterator[Session]:
    """A transaction that may write; leaving the block commits, an exception rolls back.

    On SQLite it starts by taking the write lock (a transaction that reads first and writes later
    fails at once when somebody else wrote in between), and threads of one process queue fairly
    instead of polling the file lock.
    """
    if engine.dialect.name != "sqlite":
        with engine.begin() as session:
            yield session
        return
    with _write_lock(engine), engine.connect() as plain:
        session = plain.execution_options(qunfen_immediate=True)
        with session.begin():
            yield session


@contextlib.contextmanager
def unanswered(session: Session) -> Iterator[None]:
    """Statements in here are sent one behind the other, and only the end waits for their answers (PostgreSQL).

    For many small writes whose results nobody reads. SQLite has no way to wait.
    """
    if session.dialect.name == "sqlite":
        yield
        return
    driver: Any = session.connection.dbapi_connection
    failure = session.dialect.loaded_dbapi.Error
    try:
        with driver.pipeline():
            yield
    except failure as problem:
        # callers tell a lost database from a bug by SQLAlchemy's families of exceptions
        raise DBAPIError.instance(
            "(several)", None, problem, failure, hide_parameters=True, dialect=session.dialect
        ) from problem


@dataclass(slots=True)
class _Unit:
    """Work that waits for its turn, and what came of it."""

    work: Callable[[Session], Any]
    done: bool = False
    result: Any = None
    problem: BaseException | None = None


class GroupWriter:
    """Work that arrives together on SQLite shares one transaction, a savepoint each.

    SQLite has one writer, and a commit costs as much as half a push. Whoever gets the turn does the
    work of all who wait: no thread of its own, so that a lone push is handed to nobody. The
    connection is kept, because taking one from the pool and giving it back costs as much again. On
    PostgreSQL each unit of work keeps a transaction of its own.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._waiting: deque[_Unit] = deque()
        self._turn = threading.Lock()
        self._session: Session | None = None

    def run(self, work: Callable[[Session], Result]) -> Result:
        """Run ``work`` in a transaction and return, after the commit, what it returned.

        Whatever ``work`` raises rolls back its part alone and is raised here.
        """
        if self._engine.dialect.name != "sqlite":
            with writing(self._engine) as session:
                return work(session)
        unit = _Unit(work)
        self._waiting.append(unit)
        while not unit.done:
            with self._turn:
                if not unit.done:
                    self._commit_together()
        if unit.problem is not None:
            raise unit.problem
        result: Result = unit.result
        return result

    def close(self) -> None:
        """Wait for the work at hand and let the connection go."""
        with self._turn:
            self._drop()

    def _commit_together(self) -> None:
        group = [self._waiting.popleft() for _ in range(min(len(self._waiting), GROUP_LIMIT))]
        try:
            with _write_lock(self._engine):
                self._transaction(group)
        except BaseException as problem:  # begin or commit failed: nothing of the group is stored
            self._drop()
            for unit in group:
                unit.problem = problem
        finally:
            for unit in group:
                unit.done = True

    def _transaction(self, group: Sequence[_Unit]) -> None:
        session = self._session if self._session is not None else self._open()
        driver: Any = session.connection.dbapi_connection
        _take_turn(driver, session.dialect.loaded_dbapi.Error)
        if len(group) == 1:  # nobody to protect from: what fails rolls all back
            group[0].result = group[0].work(session)
        else:
            for unit in group:
                _run_protected(session, driver, unit)
        if session.in_transaction():
            session.commit()
        else:  # nobody asked SQLAlchemy for anything, so it knows of no transaction
            driver.commit()

    def _open(self) -> Session:
        session = self._engine.connect()
        session.detach()  # its settings are not the pool's
        session = session.execution_options(qunfen_begun=True)
        driver: Any = session.connection.dbapi_connection
        driver.execute("PRAGMA busy_timeout=0")  # _take_turn waits instead
        self._session = session
        return session

    def _drop(self) -> None:
        if self._session is not None:
            self._session.close()
            self._session = None


def _take_turn(driver: Any, error: type[Exception]) -> None:
    """Begin as the one writer. SQLite itself asks again after 1, 2, 5 … 100 ms: two web processes would starve."""
    deadline = clock.tick_seconds() + BUSY_SECONDS
    while True:
        try:
            driver.execute("BEGIN IMMEDIATE")
        except error as problem:
            if "locked" not in str(problem) or clock.tick_seconds() > deadline:
                raise OperationalError("BEGIN IMMEDIATE", None, problem) from problem
            clock.pause(ASK_AGAIN_SECONDS)
        else:
            return


def _run_protected(session: Session, driver: Any, unit: _Unit) -> None:
    driver.execute("SAVEPOINT unit")
    try:
        unit.result = unit.work(session)
    except BaseException as problem:
        driver.execute("ROLLBACK TO unit")
        unit.problem = problem
    driver.execute("RELEASE unit")


def insert(session: Session, table: sa.Table) -> Any:
    """The dialect's INSERT, which knows ON CONFLICT."""
    return insert_of(session.dialect.name, table)


def insert_of(dialect: str, table: sa.Table) -> Any:
    """The same by the dialect's name, for statements that are built once: building one takes longer than running it."""
    return (sqlite.insert if dialect == "sqlite" else postgresql.insert)(table)


def insert_first(session: Session, table: sa.Table, values: Mapping[str, Any]) -> int | None:
    """Insert unless a unique key is taken: the new row's id, or None when somebody was first.

    On PostgreSQL this waits for a first that is not committed yet. Read by RETURNING, never by
    rowcount: psycopg says −1 for such an INSERT. ``values`` are plain values, no SQL.
    """
    statement = _insert_first(session.dialect.name, table)
    found: int | None = session.execute(statement, dict(values)).scalar()
    return found


@cache
def _insert_first(dialect: str, table: sa.Table) -> Any:
    return insert_of(dialect, table).on_conflict_do_nothing().returning(table.c.id)


def upsert(
    session: Session,
    table: sa.Table,
    rows: Mapping[str, Any] | Sequence[Mapping[str, Any]],
    key: Sequence[str],
    change: Sequence[str] | None = None,
) -> None:
    """Insert rows; where ``key`` is taken, set the columns ``change`` (all but the key, when None) instead."""
    listed = [rows] if isinstance(rows, Mapping) else list(rows)
    if not listed:
        return
    columns = [name for name in listed[0] if name not in key] if change is None else change
    statement = _upsert(session.dialect.name, table, tuple(key), tuple(columns))
    session.execute(statement, [dict(row) for row in listed])


@cache
def _upsert(dialect: str, table: sa.Table, key: tuple[str, ...], change: tuple[str, ...]) -> Any:
    # kept: what ``excluded`` needs takes longer to build than the statement to run
    statement = insert_of(dialect, table)
    if not change:
        return statement.on_conflict_do_nothing(index_elements=list(key))
    return statement.on_conflict_do_update(
        index_elements=list(key), set_={name: statement.excluded[name] for name in change}
    )


def claim(
    session: Session,
    table: sa.Table,
    free: sa.ColumnElement[bool],
    values: Mapping[str, Any],
    *,
    order_by: Sequence[Any],
    limit: int,
    columns: Sequence[sa.ColumnElement[Any]] | None = None,
) -> Sequence[sa.Row[Any]]:
    """Take up to ``limit`` free rows by one conditional UPDATE, so that two takers never share one.

    ``columns`` of them are returned, all when None: reading moments and JSON costs more than taking a row.

    SKIP LOCKED is PostgreSQL's, which asks ``free`` again of a row that changed before it was locked;
    SQLite drops the words silently and needs none, its writers take turns. So the UPDATE goes by id
    alone: asked for more, either may go through the whole table to find a few rows. MATERIALIZED:
    PostgreSQL may run a plain subquery once a row, and each run skips what the last one locked, so
    that everything is taken.
    """
    dialect = session.dialect.name
    statement = claiming(
        dialect, table, free, values, order_by=order_by, limit=limit, columns=columns
    )
    return session.execute(statement).all()


def claiming(
    dialect: str,
    table: sa.Table,
    free: sa.ColumnElement[bool],
    values: Mapping[str, Any],
    *,
    order_by: Sequence[Any],
    limit: int | sa.ColumnElement[int],
    columns: Sequence[sa.ColumnElement[Any]] | None = None,
) -> Any:
    """The statement of ``claim``, for one that is built once and given its parameters each time."""
    chosen = sa.select(table.c.id).where(free).order_by(*order_by).limit(limit)
    if dialect == "postgresql":
        chosen = chosen.with_for_update(skip_locked=True)
    picked = chosen.cte("picked").prefix_with("MATERIALIZED", dialect="postgresql")
    return (
        sa.update(table)
        .where(table.c.id.in_(sa.select(picked.c.id)))
        .values(**values)
        .returning(*(table.c if columns is None else columns))
    )


def is_unavailable(problem: BaseException) -> bool:
    """Whether an exception says the database is locked or gone, rather than that we are wrong."""
    if isinstance(problem, sa.exc.TimeoutError):
        return True  # no connection came free
    if isinstance(problem, DBAPIError) and problem.connection_invalidated:
        return True
    return isinstance(problem, OperationalError | InterfaceError)


# kept: json.dumps would make one at each call
_dump_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


_locks: dict[int, threading.RLock] = {}  # one a process and engine: SQLite has one writer
_locks_guard = threading.Lock()


def _write_lock(engine: Engine) -> "threading.RLock":
    pool_id = id(engine.pool)
    lock = _locks.get(pool_id)
    if lock is None:
        with _locks_guard:
            lock = _locks.setdefault(pool_id, threading.RLock())
    return lock


def optimize(engine: Engine) -> None:
    """Refresh the statistics by which SQLite chooses indexes; PostgreSQL does so by itself.

    The limit makes it a matter of milliseconds for any size: some rows of each index are looked at.
    """
    if engine.dialect.name == "sqlite":
        with writing(engine) as session:
            session.exec_driver_sql("PRAGMA analysis_limit=1000")
            session.exec_driver_sql("ANALYZE")


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # we say BEGIN ourselves, see _begin_sqlite
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    # in WAL mode a commit survives a killed process; NORMAL may lose the last ones at a power cut
    cursor.execute("PRAGMA synchronous=NORMAL")
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.execute("PRAGMA temp_store=MEMORY")
    cursor.execute("PRAGMA cache_size=-16000")
    # 16 MB of log between checkpoints: the same pages are written many times in a row
    cursor.execute("PRAGMA wal_autocheckpoint=4000")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    options = connection.get_execution_options()
    if not options.get("qunfen_begun"):
        immediate = options.get("qunfen_immediate")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")
