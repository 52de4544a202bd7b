"""How often each rule answered: counted from the inbox every minute, a row a rule and Shanghai day."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from bot import accounts, db
from bot.clock import day_of
from bot.db import Session, insert
from bot.tables.inbox import inbound
from bot.tables.jobs import cursors
from bot.tables.rulebooks import rule_hits

CURSOR = "rule_hits"
PUSHES = 5000  # read a step
# ids are given out before their transactions commit: what is younger may still get an earlier neighbour
SETTLED = timedelta(seconds=30)
WEEK, MONTH = 7, 30  # days, today among them


@dataclass(frozen=True, slots=True)
class Hits:
    """How often a rule answered in the last 7 and 30 days, and the last day of those it did."""

    week: int = 0
    month: int = 0
    last: date | None = None


NONE = Hits()


def count(engine: Engine, now: datetime) -> bool:
    """Count what came since the last time, a step of each account; whether there is more.

    A push that failed and is replayed later is not counted. Safe to run twice at once: who finds that the
    cursor has moved leaves it.
    """
    with db.reading(engine) as session:
        account_ids = [account.id for account in accounts.every(session)]
    more = False
    for account_id in account_ids:
        more = _step(engine, account_id, now) or more
    return more


def of(session: Session, account_id: int, today: date) -> Mapping[str, Hits]:
    """The hits of every rule of an account that answered in the last 30 days, by name."""
    week = sa.case((rule_hits.c.day > today - timedelta(days=WEEK), rule_hits.c.times), else_=0)
    rows = session.execute(
        sa.select(
            rule_hits.c.rule,
            sa.func.sum(week).label("week"),
            sa.func.sum(rule_hits.c.times).label("month"),
            sa.func.max(rule_hits.c.day).label("last"),
        )
        .where(
            rule_hits.c.account_id == account_id,
            rule_hits.c.day > today - timedelta(days=MONTH),
        )
        .group_by(rule_hits.c.rule)
    )
    return {row.rule: Hits(int(row.week), int(row.month), row.last) for row in rows}


def _step(engine: Engine, account_id: int, now: datetime) -> bool:
    with db.reading(engine) as session:
        begin = _position(session, account_id)
        rows = session.execute(
            sa.select(inbound.c.id, inbound.c.received_at, inbound.c.rules)
            .where(inbound.c.account_id == account_id, inbound.c.id > begin)
            .order_by(inbound.c.id)
            .limit(PUSHES)
        ).all()
    found: Counter[tuple[str, date]] = Counter()
    end = begin
    for row in rows:
        if row.received_at > now - SETTLED:
            break
        end = row.id
        day = day_of(row.received_at)
        found.update((rule, day) for rule in row.rules or ())
    if end == begin:
        return False
    with db.writing(engine) as session:
        if _moved(session, account_id, begin, end) and found:
            _add(session, account_id, found)
    return len(rows) == PUSHES and end == rows[-1].id


def _position(session: Session, account_id: int) -> int:
    found = session.execute(
        sa.select(cursors.c.position).where(
            cursors.c.name == CURSOR, cursors.c.account_id == account_id
        )
    ).scalar()
    return int(found or 0)


def _moved(session: Session, account_id: int, begin: int, end: int) -> bool:
    """Move the cursor from ``begin`` to ``end``; False when somebody else moved it."""
    row = {"name": CURSOR, "account_id": account_id, "position": 0}
    session.execute(insert(session, cursors).values(row).on_conflict_do_nothing())
    moved = session.execute(
        sa.update(cursors)
        .where(
            cursors.c.name == CURSOR,
            cursors.c.account_id == account_id,
            cursors.c.position == begin,
        )
        .values(position=end)
        .returning(cursors.c.position)
    ).scalar()
    return moved is not None


def _add(session: Session, account_id: int, found: Counter[tuple[str, date]]) -> None:
    statement = insert(session, rule_hits)
    session.execute(
        statement.on_conflict_do_update(
            index_elements=["account_id", "rule", "day"],
            set_={"times": rule_hits.c.times + statement.excluded.times},
        ),
        [
            {"account_id": account_id, "rule": rule, "day": day, "times": times}
            for (rule, day), times in sorted(found.items())
        ],
    )
