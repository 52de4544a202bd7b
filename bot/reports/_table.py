"""What a report gives back, and what several of them share."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Any

import sqlalchemy as sa
from pydantic import Field

from bot.clock import day_of, start_of_day
from bot.db import Session
from bot.params import Params
from bot.sql import shanghai_day
from bot.tables.events import daily_counts, events

Days = Annotated[int, Field(ge=1, le=366)]


@dataclass(frozen=True, slots=True)
class Column:
    """``key`` for programs, ``label`` for people."""

    key: str
    label: dict[str, str]


@dataclass(frozen=True, slots=True)
class Table:
    columns: Sequence[Column]
    rows: Sequence[Sequence[Any]]


class Span(Params):
    """The last ``days`` Shanghai days, today included."""

    days: Days = 30


def column(key: str, zh: str, en: str) -> Column:
    return Column(key, {"zh": zh, "en": en})


def begins(days: int, now: datetime) -> datetime:
    """The moment at which the first of the last ``days`` Shanghai days begins."""
    return start_of_day(day_of(now) - timedelta(days=days - 1))


def counts_by_day(
    session: Session, account_id: int, kinds: Sequence[str], since: datetime
) -> dict[tuple[str, str, str], int]:
    """(Shanghai day, kind, key) -> times, key "" where an event has none.

    From the events, and from the roll-ups for days whose events were pruned or erased: the larger counts.
    """
    day, key = shanghai_day(events.c.at), sa.func.coalesce(events.c.key, "")
    found: dict[tuple[str, str, str], int] = {
        (str(row[0]), row[1], row[2]): row[3]
        for row in session.execute(
            sa.select(day, events.c.kind, key, sa.func.count())
            .where(
                events.c.account_id == account_id,
                events.c.kind.in_(kinds),
                events.c.at >= since,
            )
            .group_by(day, events.c.kind, key)
        )
    }
    for row in session.execute(
        sa.select(daily_counts).where(
            daily_counts.c.account_id == account_id,
            daily_counts.c.kind.in_(kinds),
            daily_counts.c.day >= day_of(since),
        )
    ):
        place = (row.day.isoformat(), row.kind, row.key)
        found[place] = max(found.get(place, 0), row.times)
    return found
