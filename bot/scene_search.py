"""Which QR channels a list shows: search, filters, order, pages. Keys first, rows only of the page."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from bot.db import Session
from bot.scenes import Scene, scene_of, visible
from bot.sql import contains
from bot.tables.tracking import scenes

STATUSES = ("ready", "missing", "failed", "expired", "temporary", "archived")
ORDERS: Mapping[str, Any] = {
    "name": scenes.c.name,
    "key": scenes.c.key,
    "group": scenes.c.group,
    "cost": scenes.c.cost,
    "created_at": scenes.c.created_at,
    "expires_at": scenes.c.expires_at,
}
NO_GROUP = "-"


@dataclass(frozen=True, slots=True)
class Search:
    """``patterns`` limit a channel owner; ``group`` NO_GROUP means those without one; ``status`` see STATUSES."""

    patterns: tuple[str, ...] | None = None
    q: str = ""
    group: str = ""
    status: str = ""


def count(session: Session, account_id: int, search: Search, now: datetime) -> int:
    """How many codes match."""
    where = _where(account_id, search, now)
    return int(
        session.execute(sa.select(sa.func.count()).select_from(scenes).where(where)).scalar_one()
    )


def keys(
    session: Session,
    account_id: int,
    search: Search,
    now: datetime,
    *,
    order: str = "group",
    down: bool = False,
    offset: int = 0,
    limit: int | None = None,
) -> list[str]:
    """Keys of the codes that match, in order; ``offset`` is bounded by the number of codes."""
    column = ORDERS[order]
    statement = (
        sa.select(scenes.c.key)
        .where(_where(account_id, search, now))
        .order_by(column.is_(None), column.desc() if down else column, scenes.c.key, scenes.c.id)
        .offset(offset)
        .limit(limit)
    )
    return list(session.execute(statement).scalars())


def load(session: Session, account_id: int, wanted: Sequence[str]) -> list[Scene]:
    """The codes with these keys, in this order."""
    rows = session.execute(
        sa.select(scenes).where(scenes.c.account_id == account_id, scenes.c.key.in_(list(wanted)))
    )
    found = {row.key: scene_of(row) for row in rows}
    return [found[key] for key in wanted if key in found]


def _where(account_id: int, search: Search, now: datetime) -> sa.ColumnElement[bool]:
    archived = search.status == "archived"
    parts = [
        scenes.c.account_id == account_id,
        scenes.c.archived_at.is_not(None) if archived else scenes.c.archived_at.is_(None),
        visible(search.patterns),
    ]
    if search.q:
        folded = search.q.lower()
        parts.append(
            sa.or_(
                contains(sa.func.lower(scenes.c.name), folded),
                contains(sa.func.lower(scenes.c.key), folded),
            )
        )
    if search.group:
        parts.append(scenes.c.group == ("" if search.group == NO_GROUP else search.group))
    over = scenes.c.expires_at <= now
    match search.status:
        case "failed":
            parts.append(scenes.c.error.is_not(None))
        case "missing":
            parts += [scenes.c.url.is_(None), scenes.c.error.is_(None)]
        case "expired":
            parts.append(over)
        case "temporary":
            parts.append(scenes.c.permanent.is_(False))
        case "ready":
            parts += [
                scenes.c.url.is_not(None),
                scenes.c.error.is_(None),
                sa.or_(scenes.c.expires_at.is_(None), ~over),
            ]
    return sa.and_(*parts)
