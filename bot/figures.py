"""Figures (统计数) that take too long to count at each look: a job counts them now and then, pages read what it left.

Only for accounts of more than ``LIVE`` followers. The longer a count takes, the rarer it is made.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from bot import clock, db
from bot.db import Session
from bot.tables.events import figures
from bot.tables.followers import followers

Json = dict[str, Any]
LIVE = 20_000
SHARE = 30  # counting one figure takes at most one thirtieth of the time
LEAST = timedelta(seconds=60)


@dataclass(frozen=True, slots=True)
class Figure:
    value: Json
    counted_at: datetime


def is_large(session: Session, account_id: int) -> bool:
    """Whether an account has so many followers that its figures are kept."""
    some = sa.select(followers.c.id).where(followers.c.account_id == account_id).limit(LIVE + 1)
    found = session.execute(sa.select(sa.func.count()).select_from(some.subquery())).scalar_one()
    return found > LIVE


def get(session: Session, account_id: int, name: str) -> Figure | None:
    """What was last counted; None where nothing was."""
    row = session.execute(
        sa.select(figures.c.value, figures.c.counted_at).where(
            figures.c.account_id == account_id, figures.c.name == name
        )
    ).one_or_none()
    return None if row is None else Figure(row.value, row.counted_at)


def keep(
    engine: Engine, account_id: int, name: str, now: datetime, count: Callable[[Session], Json]
) -> bool:
    """Count a figure where it is time to; whether it was. Nobody waits for the count, only for one row's write."""
    with db.reading(engine) as session:
        last = session.execute(
            sa.select(figures.c.counted_at, figures.c.seconds).where(
                figures.c.account_id == account_id, figures.c.name == name
            )
        ).one_or_none()
        if last is not None:
            rest = max(LEAST, timedelta(seconds=SHARE * last.seconds))
            if now < last.counted_at + rest:
                return False
        started = clock.tick_seconds()
        value = count(session)
        seconds = clock.tick_seconds() - started
    row = {"account_id": account_id, "name": name, "value": value}
    with db.writing(engine) as session:
        db.upsert(
            session,
            figures,
            row | {"counted_at": now, "seconds": seconds},
            key=["account_id", "name"],
        )
    return True
