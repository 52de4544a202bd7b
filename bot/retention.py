"""What is kept for how long (保留期): raw rows go, what they counted stays as roll-ups (汇总).

Old pushes, finished outbox rows, jobs and events are deleted a little at a time. An event goes only
when its Shanghai day is rolled up in ``daily_counts``: times and people per kind and key.
"""

from collections.abc import Callable
from datetime import date, datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from bot import db, idempotency, inbox, jobs, kept, outbox, webhook_deliveries
from bot.audiences import freezing
from bot.clock import day_of, start_of_day
from bot.db import Session
from bot.sql import shanghai_day
from bot.tables.accounts import accounts
from bot.tables.events import daily_counts, events
from bot.tables.jobs import installation

ROWS = 500  # deleted a transaction; a push never waits longer than that takes
SPAN = timedelta(days=31)  # rolled up in one transaction
# pushes repeat for seconds and imports come within days: these days are counted again every night
LATE = timedelta(days=3)
KEY_CHARACTERS = 200  # of a key that followers can make as long as a push; part of a primary key


def rollup(engine: Engine, now: datetime) -> bool:
    """Count the Shanghai days that are over; True while there is more to do. Safe to repeat and to stop.

    A span of days of one account is read first and written in one short transaction with the mark
    how far it came. A count never falls: events that were erased or pruned since had been counted.
    """
    for account_id in _account_ids(engine):
        with db.reading(engine) as session:
            begins = _next_day(session, account_id, now)
        if begins is None or begins >= day_of(now):
            continue
        ends = min(begins + SPAN, day_of(now))
        roll_days(engine, account_id, begins, ends)
        with db.writing(engine) as session:
            _mark(session, account_id, ends)
        if ends < day_of(now):
            return True
    return False


def roll_days(engine: Engine, account_id: int, begins: date, ends: date) -> None:
    """Count the events of the days from ``begins`` until before ``ends``."""
    day = shanghai_day(events.c.at)
    key = sa.func.substr(sa.func.coalesce(events.c.key, ""), 1, KEY_CHARACTERS)
    with db.reading(engine) as session:
        found = session.execute(
            sa.select(day, events.c.kind, key, sa.func.count())
            .add_columns(sa.func.count(sa.distinct(events.c.follower_id)))
            .where(
                events.c.account_id == account_id,
                events.c.at >= start_of_day(begins),
                events.c.at < start_of_day(ends),
            )
            .group_by(day, events.c.kind, key)
        ).all()
    if not found:
        return
    with db.writing(engine) as session:
        statement = db.insert(session, daily_counts)
        new = statement.excluded
        more = {
            name: sa.case((new[name] > daily_counts.c[name], new[name]), else_=daily_counts.c[name])
            for name in ("times", "people")
        }
        session.execute(
            statement.on_conflict_do_update(
                index_elements=["account_id", "day", "kind", "key"], set_=more
            ),
            [
                {
                    "account_id": account_id,
                    "day": date.fromisoformat(str(when)),
                    "kind": kind,
                    "key": name,
                    "times": times,
                    "people": people,
                }
                for when, kind, name, times, people in found
            ],
        )


def prune(engine: Engine, now: datetime, *, keep_pushes: int, keep_events: int) -> bool:
    """Delete what is past its retention (days), a little of everything; True while there is more."""
    pushes = now - timedelta(days=keep_pushes)
    steps: tuple[Callable[[Session], int], ...] = (
        lambda session: inbox.prune(session, pushes, ROWS),
        lambda session: outbox.prune(session, pushes, ROWS),
        lambda session: 0 * jobs.prune(session, now),
        lambda session: 0 * kept.prune(session, now),
        lambda session: 0 * idempotency.prune(session, now),
        lambda session: webhook_deliveries.prune(session, now, ROWS),
        lambda session: freezing.prune(session, now, ROWS),
    )
    more = False
    for step in steps:
        with db.writing(engine) as session:
            more = step(session) >= ROWS or more
    oldest_kept = day_of(now - timedelta(days=keep_events))
    for account_id in _account_ids(engine):
        more = _prune_events(engine, account_id, oldest_kept) or more
    return more


def rolled_until(session: Session, account_id: int) -> date | None:
    """The first Shanghai day of an account that is not rolled up; None before the first roll-up."""
    found = session.execute(
        sa.select(installation.c.value).where(installation.c.key == _key(account_id))
    ).scalar()
    return date.fromisoformat(found) if found else None


def _prune_events(engine: Engine, account_id: int, oldest_kept: date) -> bool:
    """Delete events of whole days before ``oldest_kept``, and none of a day that is not rolled up."""
    with db.reading(engine) as session:
        rolled = rolled_until(session, account_id)
        oldest = _oldest(session, account_id)
    if rolled is None or oldest is None or oldest >= min(oldest_kept, rolled):
        return False
    # what came late, long after its day was counted, is counted before it goes
    ends = min(oldest_kept, rolled, oldest + SPAN)
    roll_days(engine, account_id, oldest, ends)
    old = (
        sa.select(events.c.id)
        .where(events.c.account_id == account_id, events.c.at < start_of_day(ends))
        .order_by(events.c.id)
        .limit(ROWS)
    )
    while True:
        with db.writing(engine) as session:
            gone = session.execute(
                sa.delete(events)
                .where(events.c.id.in_(old.scalar_subquery()))
                .returning(events.c.id)
            ).all()
        if len(gone) < ROWS:
            return ends < min(oldest_kept, rolled)


def _account_ids(engine: Engine) -> list[int]:
    """All accounts: the events of an archived one are kept no longer."""
    with db.reading(engine) as session:
        return list(session.execute(sa.select(accounts.c.id).order_by(accounts.c.id)).scalars())


def _next_day(session: Session, account_id: int, now: datetime) -> date | None:
    rolled = rolled_until(session, account_id)
    if rolled is None:
        return _oldest(session, account_id)
    # the last days once more, but only once a day
    return rolled - LATE if rolled < day_of(now) else None


def _oldest(session: Session, account_id: int) -> date | None:
    found = session.execute(
        sa.select(sa.func.min(events.c.at)).where(events.c.account_id == account_id)
    ).scalar()
    return day_of(found) if found is not None else None


def _mark(session: Session, account_id: int, until: date) -> None:
    row = {"key": _key(account_id), "value": until.isoformat()}
    db.upsert(session, installation, row, key=["key"])


def _key(account_id: int) -> str:
    return f"rolled_until:{account_id}"
