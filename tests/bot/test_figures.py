"""What a large account's home page shows was counted by a job; a small account's is counted at each look."""

from datetime import datetime, timedelta

import pytest
import sqlalchemy as sa

from bot import db, figures, overview
from bot.accounts import Account
from tests import factories


@pytest.fixture
def large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Five followers are many."""
    monkeypatch.setattr(figures, "LIVE", 5)


def _followers(engine: sa.Engine, account: Account, now: datetime) -> int:
    with db.reading(engine) as session:
        return overview.numbers(session, account.id, now).followers


def test_a_small_account_is_counted_at_each_look(
    engine: sa.Engine, account: Account, now: datetime, large: None
) -> None:
    with db.writing(engine) as session:
        factories.make_followers(session, account.id, 5, now=now)
    overview.recount(engine, account.id, now)
    with db.reading(engine) as session:
        assert overview.numbers(session, account.id, now).counted_at is None
    with db.writing(engine) as session:
        factories.make_follower(session, account.id, 99, now=now)
    assert _followers(engine, account, now) == 6


def test_a_large_account_is_counted_by_the_job_and_not_at_each_look(
    engine: sa.Engine, account: Account, now: datetime, large: None
) -> None:
    with db.writing(engine) as session:
        factories.make_followers(session, account.id, 6, now=now)
    overview.recount(engine, account.id, now)
    with db.writing(engine) as session:
        factories.make_follower(session, account.id, 99, now=now)
    with db.reading(engine) as session:
        seen = overview.numbers(session, account.id, now)
    assert (seen.followers, seen.counted_at) == (6, now)
    overview.recount(engine, account.id, now + timedelta(seconds=30))
    assert _followers(engine, account, now) == 6  # too soon to count again
    overview.recount(engine, account.id, now + timedelta(seconds=90))
    assert _followers(engine, account, now) == 7


def test_what_nobody_counted_for_an_hour_or_since_last_month_is_counted_now(
    engine: sa.Engine, account: Account, now: datetime, large: None
) -> None:
    with db.writing(engine) as session:
        factories.make_followers(session, account.id, 6, now=now)
    overview.recount(engine, account.id, now)
    with db.writing(engine) as session:
        factories.make_follower(session, account.id, 99, now=now)
    assert _followers(engine, account, now + timedelta(minutes=59)) == 6
    assert _followers(engine, account, now + timedelta(minutes=61)) == 7
    overview.recount(engine, account.id, now + timedelta(days=40))
    with db.reading(engine) as session:
        seen = overview.numbers(session, account.id, now)
    assert seen.counted_at is None


def test_a_count_that_takes_long_is_made_rarely(
    engine: sa.Engine, account: Account, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticks = iter([0.0, 10.0, 20.0, 20.1])
    # how long a count took is not the business of the injected clock
    monkeypatch.setattr(figures.clock, "tick_seconds", lambda: next(ticks))
    assert figures.keep(engine, account.id, "x", now, lambda _: {"people": 1})
    assert not figures.keep(
        engine, account.id, "x", now + timedelta(seconds=299), lambda _: {"people": 2}
    )
    assert figures.keep(
        engine, account.id, "x", now + timedelta(seconds=300), lambda _: {"people": 3}
    )
    with db.reading(engine) as session:
        found = figures.get(session, account.id, "x")
        assert found is not None and found.value == {"people": 3}
        assert figures.get(session, account.id + 1, "x") is None


@pytest.mark.sqlite
def test_statistics_are_kept_for_sqlite(engine: sa.Engine, account: Account) -> None:
    db.optimize(engine)
    with db.reading(engine) as session:
        counted = session.execute(sa.text("SELECT count(*) FROM sqlite_stat1")).scalar_one()
    assert counted > 0
