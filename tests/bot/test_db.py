"""Transactions: who writes when, what a failure takes with it, and conversions both ways."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone

import pytest
import sqlalchemy as sa

from bot import db
from bot.db import Session
from bot.prepared import Prepared
from bot.tables.jobs import installation, kept

NAMES = ["key", "value"]
PUT = Prepared(sa.insert(installation), NAMES)


def put(session: Session, key: str) -> str:
    PUT.run(session, {"key": key, "value": "x"})
    return key


def keys(engine: sa.Engine) -> set[str]:
    with db.reading(engine) as session:
        return set(session.execute(sa.select(installation.c.key)).scalars())


def test_work_of_many_threads_is_all_stored_and_each_gets_its_own_result(engine: sa.Engine) -> None:
    writer = db.GroupWriter(engine)
    with ThreadPoolExecutor(8) as pool:
        names = [f"k{number}" for number in range(200)]
        found = list(pool.map(lambda name: writer.run(lambda session: put(session, name)), names))
    writer.close()
    assert found == names
    assert keys(engine) == set(names)


def test_work_that_fails_takes_nobody_elses_with_it(engine: sa.Engine) -> None:
    writer = db.GroupWriter(engine)
    together = threading.Barrier(4)

    def one(number: int) -> str:
        def work(session: Session) -> str:
            put(session, f"k{number}")
            if number == 2:
                raise ZeroDivisionError("planted")
            return "stored"

        together.wait()
        try:
            return writer.run(work)
        except ZeroDivisionError:
            return "failed"

    # the lock is held until all four wait for it, so that they share one transaction on SQLite
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(one, range(4)))
    assert found == ["stored", "stored", "failed", "stored"]
    assert keys(engine) == {"k0", "k1", "k3"}
    assert writer.run(lambda session: put(session, "after")) == "after"
    writer.close()


def test_a_writer_goes_on_after_its_only_work_failed(engine: sa.Engine) -> None:
    writer = db.GroupWriter(engine)
    writer.run(lambda session: put(session, "taken"))
    with pytest.raises(sa.exc.IntegrityError):
        writer.run(lambda session: put(session, "taken"))
    assert writer.run(lambda session: put(session, "next")) == "next"
    writer.close()
    assert keys(engine) == {"taken", "next"}


def test_an_exception_rolls_a_writing_transaction_back(engine: sa.Engine) -> None:
    with pytest.raises(ZeroDivisionError), db.writing(engine) as session:
        put(session, "half")
        raise ZeroDivisionError("planted")
    assert keys(engine) == set()


def test_insert_first_says_who_was_first(session: Session, now: datetime) -> None:
    table = sa.Table(
        "first",
        sa.MetaData(),
        sa.Column("id", db.BigId, primary_key=True),
        sa.Column("k", sa.Text, unique=True),
    )
    table.create(session)
    assert db.insert_first(session, table, {"k": "a"}) == 1
    assert db.insert_first(session, table, {"k": "a"}) is None


def test_a_statements_own_values_and_missing_ones(session: Session) -> None:
    empty = Prepared(
        sa.update(installation)
        .where(installation.c.key == sa.bindparam("wanted"))
        .values(value="own")
        .returning(installation.c.key, installation.c.value)
    )
    put(session, "k")
    row = empty.first(session, {"wanted": "k"})
    assert row is not None
    assert (row.key, row.value) == ("k", "own")
    assert empty.first(session, {"wanted": "nobody"}) is None
    with pytest.raises(KeyError):
        empty.run(session, {})


def test_an_error_of_the_driver_is_sqlalchemys_and_shows_no_values(session: Session) -> None:
    put(session, "hush")
    with pytest.raises(sa.exc.IntegrityError) as problem:
        put(session, "hush")
    assert "hush" not in str(problem.value).replace("Key (key)=(hush)", "")
    assert not db.is_unavailable(problem.value)


MOMENTS = [
    datetime(2025, 3, 3, 1, 0, tzinfo=UTC),
    datetime(2025, 3, 3, 1, 0, 0, 123456, tzinfo=UTC),
    datetime(2025, 3, 3, 9, 0, tzinfo=timezone(timedelta(hours=8))),
    datetime(1999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
]


@pytest.mark.parametrize("moment", MOMENTS)
def test_moments_come_back_as_the_same_instant_in_utc(session: Session, moment: datetime) -> None:
    session.execute(sa.insert(kept).values(key="k", expires_at=moment))
    found = session.execute(sa.select(kept.c.expires_at)).scalar_one()
    assert found == moment
    assert found.tzinfo is UTC
    fast = Prepared(sa.select(kept.c.expires_at).where(kept.c.expires_at == sa.bindparam("at")))
    assert fast.scalar(session, {"at": moment}) == moment


def test_moments_sort_in_time_order_whatever_their_microseconds(session: Session) -> None:
    for number, moment in enumerate(MOMENTS):
        session.execute(sa.insert(kept).values(key=str(number), expires_at=moment))
    rows = session.execute(sa.select(kept.c.expires_at).order_by(kept.c.expires_at)).scalars()
    assert list(rows) == sorted(MOMENTS)


def test_a_moment_without_a_zone_never_reaches_the_database(session: Session) -> None:
    with pytest.raises((ValueError, sa.exc.StatementError), match="without a zone"):
        session.execute(sa.insert(kept).values(key="k", expires_at=datetime(2025, 3, 3)))  # noqa: DTZ001


def test_upsert_changes_what_is_there(session: Session) -> None:
    for value in ("one", "two"):
        db.upsert(session, installation, {"key": "k", "value": value}, key=["key"])
    assert session.execute(sa.select(installation.c.value)).scalar_one() == "two"


@pytest.mark.sqlite
def test_a_lock_that_is_not_given_back_is_told_as_unavailable(
    engine: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(db, "BUSY_SECONDS", 0.05)  # nobody wants to wait five seconds in a test
    writer = db.GroupWriter(engine)
    with engine.connect() as other:
        other.exec_driver_sql("COMMIT")
        other.exec_driver_sql("BEGIN IMMEDIATE")
        with pytest.raises(sa.exc.OperationalError) as problem:
            writer.run(lambda session: put(session, "k"))
        other.exec_driver_sql("ROLLBACK")
        other.exec_driver_sql("BEGIN")
    assert db.is_unavailable(problem.value)
    assert writer.run(lambda session: put(session, "k")) == "k"
    writer.close()
