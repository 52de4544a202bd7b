"""What several filters share."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Annotated, Any

import sqlalchemy as sa
from pydantic import BaseModel, Field

from bot.sql import unindexed
from bot.tables.events import events
from bot.tables.followers import followers

Resolve = Callable[[str], sa.ColumnElement[bool]]  # the clause of another segment, by its name
Days = Annotated[int, Field(ge=1, le=3650)]  # of 24 hours each, back from now


def exactly_one(params: BaseModel, *names: str) -> None:
    """Refuse parameters that give none or several of the alternatives.

    Raises:
        ValueError: for pydantic, which turns it into a problem with its place.
    """
    given = [name for name in names if getattr(params, name) is not None]
    if len(given) != 1:
        listed = ", ".join(name.rstrip("_") for name in names)
        raise ValueError(f"give exactly one of: {listed}")


def back(now: datetime, days: int) -> datetime:
    """``days`` × 24 hours before ``now``; not calendar days."""
    return now - timedelta(days=days)


def did_event(
    account_id: int, kind: str, times: int, within_days: int | None, now: datetime
) -> sa.ColumnElement[bool]:
    """Whether the follower has at least ``times`` events of a kind; reads no more rows than that."""
    tests = [
        events.c.follower_id == followers.c.id,
        unindexed(events.c.account_id) == account_id,
        unindexed(events.c.kind) == kind,
        events.c.at <= now,
    ]
    if within_days is not None:
        tests.append(events.c.at >= back(now, within_days))
    found = sa.select(sa.literal(1)).select_from(events).where(*tests).correlate(followers)
    return sa.exists(found.limit(1).offset(times - 1) if times > 1 else found)


def who_did(
    account_id: int, kind: str, times: int, within_days: int | None, now: datetime
) -> sa.Select[Any]:
    """The same as ids of followers, by the kind rather than one follower after another; some more than once."""
    tests = [events.c.account_id == account_id, events.c.kind == kind, events.c.at <= now]
    if within_days is not None:
        tests.append(events.c.at >= back(now, within_days))
    found = sa.select(events.c.follower_id).where(*tests)
    if times == 1:
        return found
    return found.group_by(events.c.follower_id).having(sa.func.count() >= times)


def quoted(names: list[str]) -> str:
    """``「甲」、「乙」``"""
    return "、".join(f"「{name}」" for name in names)
