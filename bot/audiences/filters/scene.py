"""Which parameter QR code brought the follower first, was scanned last, or at any time. ``*`` stands for anything."""

from datetime import datetime
from typing import Any, Self

import sqlalchemy as sa
from pydantic import model_validator

from bot.audiences.filters._shared import Resolve, exactly_one
from bot.params import Params as Base
from bot.params import SceneKey
from bot.sql import matches_wildcard, unindexed
from bot.tables.events import events
from bot.tables.followers import followers

NAME = "scene"
LABEL = {"zh": "渠道二维码", "en": "QR scene"}
ALTERNATIVES = (("first",), ("last",), ("ever",))


class Params(Base):
    first: SceneKey | None = None
    last: SceneKey | None = None
    ever: SceneKey | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        exactly_one(self, "first", "last", "ever")
        return self


def where(
    params: Params, account_id: int, now: datetime, resolve: Resolve
) -> sa.ColumnElement[bool]:
    if params.first is not None:
        return _is(followers.c.first_scene, params.first)
    if params.last is not None:
        return _is(followers.c.last_scene, params.last)
    wanted = params.ever or ""
    # the two columns are asked as well: old events are pruned, and synced followers have none
    return sa.or_(
        _is(followers.c.first_scene, wanted),
        _is(followers.c.last_scene, wanted),
        sa.exists(
            sa.select(sa.literal(1))
            .select_from(events)
            .where(
                events.c.follower_id == followers.c.id,
                unindexed(events.c.account_id) == account_id,
                unindexed(events.c.kind).in_(("subscribe", "scan")),
                events.c.at <= now,
                _is(events.c.key, wanted),
            )
            .correlate(followers)
        ),
    )


def ids(params: Params, account_id: int, now: datetime) -> sa.Select[Any] | None:
    """Who scanned it at any time, from the index of scans; the other two are columns of the follower."""
    if params.ever is None:
        return None
    noted = sa.select(followers.c.id).where(
        followers.c.account_id == account_id,
        followers.c.subscribed.is_(sa.true()),  # by an index in the order of the rows
        sa.or_(_is(followers.c.first_scene, params.ever), _is(followers.c.last_scene, params.ever)),
    )
    did = sa.select(events.c.follower_id).where(
        events.c.account_id == account_id,
        events.c.kind.in_(("subscribe", "scan")),
        events.c.at <= now,
        _is(events.c.key, params.ever),
    )
    return sa.select(sa.union_all(noted, did).subquery())  # a set holds nobody twice


def sentence(params: Params) -> str:
    if params.first is not None:
        return f"首次来自二维码「{params.first}」"
    if params.last is not None:
        return f"最近扫的二维码是「{params.last}」"
    return f"扫过二维码「{params.ever}」"


def _is(column: sa.ColumnElement[str], wanted: str) -> sa.ColumnElement[bool]:
    test = matches_wildcard(column, wanted) if "*" in wanted else column == wanted
    return sa.and_(column.is_not(None), test)
