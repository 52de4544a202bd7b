"""Retention: old events go, what they counted stays."""

from datetime import date, timedelta

import sqlalchemy as sa

from bot import db, events, retention, scheduler
from bot.accounts import Account
from bot.clock import day_of
from bot.reports import channel, daily
from bot.reports._table import Span, Table
from bot.runtime import Runtime
from bot.tables.events import daily_counts
from bot.tables.events import events as events_table
from bot.tables.followers import followers
from tests import factories
from tests.factories import at

NOW = at("2025-03-03 09:00")


def happened(engine: sa.Engine, account: Account, *moments: tuple[str, str, str | None]) -> None:
    """Each (moment, kind, key), alternating between two followers."""
    with db.writing(engine) as session:
        known = session.execute(sa.select(sa.func.count()).select_from(followers)).scalar_one()
        people = [factories.make_follower(session, account.id, known + n, now=NOW) for n in (1, 2)]
        for number, (moment, kind, key) in enumerate(moments):
            events.record(session, account.id, people[number % 2], kind, at(moment), key=key)


def rolled(engine: sa.Engine) -> list[tuple[date, str, str, int, int]]:
    with db.reading(engine) as session:
        rows = session.execute(sa.select(daily_counts).order_by(*daily_counts.primary_key))
        return [(row.day, row.kind, row.key, row.times, row.people) for row in rows]


def left(engine: sa.Engine) -> int:
    with db.reading(engine) as session:
        count = sa.select(sa.func.count()).select_from(events_table)
        return int(session.execute(count).scalar_one())


def test_days_that_are_over_are_counted_by_kind_and_key_in_shanghai_days(
    engine: sa.Engine, account: Account
) -> None:
    happened(
        engine,
        account,
        ("2025-03-01 23:59", "scan", "a"),
        ("2025-03-02 00:00", "scan", "a"),
        ("2025-03-02 12:00", "message", None),
        ("2025-03-02 13:00", "scan", "a"),
        ("2025-03-02 14:00", "scan", "a"),
        ("2025-03-03 08:00", "message", None),
    )
    expected = [
        (date(2025, 3, 1), "scan", "a", 1, 1),
        (date(2025, 3, 2), "message", "", 1, 1),
        (date(2025, 3, 2), "scan", "a", 3, 2),
    ]
    assert retention.rollup(engine, NOW) is False
    assert rolled(engine) == expected
    retention.rollup(engine, NOW)
    retention.rollup(engine, NOW + timedelta(hours=3))
    assert rolled(engine) == expected


def test_a_long_past_is_counted_in_steps(engine: sa.Engine, account: Account) -> None:
    moments = [f"2024-{month:02d}-15 12:00" for month in range(1, 13)]
    happened(engine, account, *((moment, "message", None) for moment in moments))
    steps = 1
    while retention.rollup(engine, NOW):
        steps += 1
    assert steps > 5
    assert len(rolled(engine)) == 12
    with db.reading(engine) as session:
        assert retention.rolled_until(session, account.id) == day_of(NOW)


def test_no_day_is_deleted_before_it_is_counted(engine: sa.Engine, account: Account) -> None:
    happened(engine, account, ("2024-01-01 12:00", "message", None))
    assert retention.prune(engine, NOW, keep_pushes=180, keep_events=30) is False
    assert left(engine) == 1
    while retention.rollup(engine, NOW):
        pass
    while retention.prune(engine, NOW, keep_pushes=180, keep_events=30):
        pass
    assert left(engine) == 0
    assert rolled(engine) == [(date(2024, 1, 1), "message", "", 1, 1)]


def test_what_came_late_is_counted_before_it_goes_and_counts_never_fall(
    engine: sa.Engine, account: Account
) -> None:
    happened(engine, account, ("2025-01-10 12:00", "scan", "a"), ("2025-01-10 13:00", "scan", "a"))
    while retention.rollup(engine, NOW):
        pass
    happened(engine, account, ("2025-01-10 14:00", "scan", "b"))
    with db.writing(engine) as session:  # as an erasure does
        session.execute(sa.delete(events_table).where(events_table.c.key == "a"))
    while retention.prune(engine, NOW, keep_pushes=180, keep_events=30):
        pass
    assert left(engine) == 0
    assert rolled(engine) == [
        (date(2025, 1, 10), "scan", "a", 2, 2),
        (date(2025, 1, 10), "scan", "b", 1, 1),
    ]


def test_reports_say_the_same_after_the_events_are_gone(
    rt: Runtime, engine: sa.Engine, account: Account
) -> None:
    happened(
        engine,
        account,
        ("2025-01-10 12:00", "subscribe", "wb_bio"),
        ("2025-01-10 13:00", "subscribe", None),
        ("2025-01-11 12:00", "scan", "wb_bio"),
        ("2025-03-03 08:00", "scan", "wb_bio"),
    )

    def reports() -> tuple[Table, Table]:
        with db.reading(engine) as session:
            span = Span(days=100)
            return (
                daily.rows(session, account, span, NOW),
                channel.rows(session, account, span, NOW),
            )

    before = reports()
    scheduler.tick(rt, "rollup", NOW)
    assert reports() == before
    with db.writing(engine) as session:
        session.execute(sa.delete(events_table).where(events_table.c.at < at("2025-02-01")))
    assert reports() == before
    assert before[1].rows[0][2:5] == ("wb_bio", 1, 2)
