"""One page of the list of followers in its order, with the count; made for accounts of a million.

Pages go by key, never by OFFSET. Where few match, all of them are gathered and sorted. Where many do,
the next few thousand of the order are looked through; only when those do not fill a page (everybody
with a tag came years ago) all that match are sorted.
"""

import base64
import binascii
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from bot import db, figures
from bot.db import Session
from bot.errors import Invalid
from bot.follower_search import Line, Looked, Wanted, in_row_order, lines, looked
from bot.sql import among
from bot.tables.followers import followers

# not by the last activity: its index would be rewritten by every push, a seventh of what a push costs
SORTS: Mapping[str, Any] = {
    "followed": followers.c.subscribed_at,
    "id": followers.c.id,
}
GATHER = 8_000  # up to so many are sorted at once: a twentieth of a second for both databases
PROBE = 5_000  # of the order that are looked through first
COUNTED = 10_000  # above it a filtered count stops: counting on would take longer than the page
PRESENT = "present"  # how many follow and how many left, kept for large accounts
STALE = timedelta(hours=1)  # nobody counts any more: better slow than wrong
NO_PAGE = "is no page of this list"


@dataclass(frozen=True, slots=True)
class Total:
    """How many match; ``more``: at least so many. ``counted_at``: when, if not at this moment."""

    people: int
    more: bool = False
    counted_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class FollowerPage:
    """``after`` is the key of the next page, None on the last one."""

    lines: Sequence[Line]
    total: Total
    after: str | None


@dataclass(frozen=True, slots=True)
class _Order:
    """By ``column`` and id; those without a value come last. ``value`` and ``id`` are of the last line shown."""

    column: Any
    down: bool
    started: bool = False
    value: datetime | None = None
    id: int = 0

    @property
    def by_id(self) -> bool:
        return self.column is followers.c.id


def page(
    session: Session,
    account_id: int,
    wanted: Wanted,
    now: datetime,
    *,
    sort: str = "followed",
    down: bool = True,
    after: str | None = None,
    limit: int = 50,
    whole_ids: bool = False,
) -> FollowerPage:
    """One page and the count of all that match. ``whole_ids``: may look for OpenIDs.

    Raises:
        Invalid: the sort, the key of the page or the query is none of ours.
    """
    if sort not in SORTS:
        raise Invalid("sort", "cannot be sorted by this")
    order = _order(sort, down, after)
    found = looked(session, account_id, wanted, now, whole_ids=whole_ids)
    total, ids = _found(session, account_id, wanted, now, found, order, limit + 1)
    shown = {line.id: line for line in lines(session, ids[:limit], now)}
    listed = [shown[one] for one in ids[:limit] if one in shown]
    more = len(ids) > limit and listed
    return FollowerPage(listed, total, _key(listed[-1], sort) if more else None)


def _found(
    session: Session,
    account_id: int,
    wanted: Wanted,
    now: datetime,
    found: Looked,
    order: _Order,
    limit: int,
) -> tuple[Total, list[int]]:
    """How many match, and the ids of the page."""
    if wanted == Wanted(status=wanted.status):
        total = _everybody(session, account_id, wanted.status, now)
    else:
        some = sa.select(followers.c.id).where(found.clause()).limit(COUNTED + 1)
        ids = list(session.execute(some).scalars())
        if len(ids) <= GATHER:
            known = Looked({"ids": among(followers.c.id, ids)}, {})
            return Total(len(ids)), _sorted(session, known, order, limit)
        total = Total(min(len(ids), COUNTED), len(ids) > COUNTED)
    if total.people > GATHER:
        near = _near(session, account_id, wanted.status, found, order, limit)
        if near is not None:
            return total, near
    return total, _sorted(session, found, order, limit)


def _sorted(session: Session, found: Looked, order: _Order, limit: int) -> list[int]:
    """Gather all that match, and sort them for the page.

    MATERIALIZED: else both databases walk the order's index and ask a million rows one by one.
    """
    value = sa.null() if order.by_id else order.column
    which = sa.select(followers.c.id, value.label("value")).where(found.clause())
    hits = which.cte("hits").prefix_with("MATERIALIZED")
    asked = sa.select(hits.c.id)
    if order.started:
        asked = asked.where(_beyond(hits.c.value, hits.c.id, order))
    # those without a value last, said aloud: the databases disagree about NULL
    ends = (hits.c.value.is_(None), *_ends(hits.c.value, hits.c.id, order))
    return list(session.execute(asked.order_by(*ends).limit(limit)).scalars())


def _near(
    session: Session,
    account_id: int,
    status: str,
    found: Looked,
    order: _Order,
    limit: int,
) -> list[int] | None:
    """The page out of the next PROBE of the order; None where those do not fill it and more come after them."""
    ids: list[int] = []
    walks = [_by_id(account_id, status, order)] if order.by_id else []
    if not order.by_id and (not order.started or order.value is not None):
        walks.append(_by_value(account_id, order))
    if not order.by_id:
        walks.append(_without_value(account_id, order))
    for walk in walks:
        missing = limit - len(ids)
        for most in (PROBE // 10, PROBE):  # a tenth of them fills most pages
            rows, ended = _probed(session, walk.limit(most), most, found, order, missing)
            if ended or len(rows) == missing:
                break
        ids += rows
        if len(ids) == limit:
            return ids
        if not ended:
            return None
    return ids


def _probed(
    session: Session, walk: sa.Select[Any], most: int, found: Looked, order: _Order, limit: int
) -> tuple[list[int], bool]:
    """Those of a walk's first ``most`` that match, and whether the walk ended with them."""
    near = walk.cte("near").prefix_with("MATERIALIZED")
    rows = session.execute(
        sa.select(followers.c.id)
        .select_from(followers.join(near, near.c.id == followers.c.id))
        .where(*found.each.values())
        .order_by(*_ends(near.c.value, near.c.id, order))
        .limit(limit)
    ).scalars()
    ids = list(rows)
    if len(ids) == limit:
        return ids, False
    return ids, session.execute(sa.select(sa.func.count()).select_from(near)).scalar_one() < most


def _by_id(account_id: int, status: str, order: _Order) -> sa.Select[Any]:
    near = followers.alias("walked")
    found = sa.select(near.c.id, sa.null().label("value"))
    if status == "all":  # SQLite would sort the account
        found = found.where(in_row_order(near, account_id))
    else:
        here = sa.true() if status == "subscribed" else sa.false()
        found = found.where(near.c.account_id == account_id, near.c.subscribed.is_(here))
    if order.started:
        found = found.where(near.c.id < order.id if order.down else near.c.id > order.id)
    return found.order_by(near.c.id.desc() if order.down else near.c.id)


def _by_value(account_id: int, order: _Order) -> sa.Select[Any]:
    near = followers.alias("walked")
    own = near.c[order.column.name]
    found = sa.select(near.c.id, own.label("value")).where(
        near.c.account_id == account_id, own.is_not(None)
    )
    if order.started:
        key, here = sa.tuple_(own, near.c.id), sa.tuple_(order.value, order.id)
        found = found.where(key < here if order.down else key > here)
    return found.order_by(*_ends(own, near.c.id, order))


def _without_value(account_id: int, order: _Order) -> sa.Select[Any]:
    near = followers.alias("walked")
    own = near.c[order.column.name]
    found = sa.select(near.c.id, sa.null().label("value")).where(
        near.c.account_id == account_id, own.is_(None)
    )
    if order.started and order.value is None:
        found = found.where(near.c.id < order.id if order.down else near.c.id > order.id)
    return found.order_by(near.c.id.desc() if order.down else near.c.id)


def _ends(value: Any, follower_id: Any, order: _Order) -> tuple[Any, Any]:
    return (value.desc(), follower_id.desc()) if order.down else (value, follower_id)


def _beyond(value: Any, follower_id: Any, order: _Order) -> sa.ColumnElement[bool]:
    if order.value is None:
        further = follower_id < order.id if order.down else follower_id > order.id
        return sa.and_(value.is_(None), further)
    key, here = sa.tuple_(value, follower_id), sa.tuple_(order.value, order.id)
    return sa.or_(value.is_(None), key < here if order.down else key > here)


def recount(engine: sa.Engine, account_id: int, now: datetime) -> None:
    """Count who follows and who left where it is time to; nothing for a small account."""
    with db.reading(engine) as session:
        if not figures.is_large(session, account_id):
            return
    figures.keep(engine, account_id, PRESENT, now, lambda session: _present(session, account_id))


def _everybody(session: Session, account_id: int, status: str, now: datetime) -> Total:
    kept = figures.get(session, account_id, PRESENT)
    if kept is not None and now - kept.counted_at > STALE:
        kept = None
    counts = kept.value if kept else _present(session, account_id, status)
    people = sum(counts.values()) if status == "all" else counts[status]
    return Total(people, counted_at=kept.counted_at if kept else None)


def _present(session: Session, account_id: int, status: str = "all") -> dict[str, int]:
    ours = followers.c.account_id == account_id
    found = {}
    if status != "left":
        here = sa.select(sa.func.count()).where(ours, followers.c.subscribed.is_(sa.true()))
        found["subscribed"] = session.execute(here).scalar_one()
    if status != "subscribed":
        gone = sa.select(sa.func.count()).where(
            ours, followers.c.subscribed.is_(sa.false()), followers.c.erased_at.is_(None)
        )
        found["left"] = session.execute(gone).scalar_one()
    return found


def _key(line: Line, sort: str) -> str:
    value = None if sort == "id" else getattr(line, SORTS[sort].name)
    text = json.dumps([sort, value.isoformat() if value else None, line.id])
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _order(sort: str, down: bool, after: str | None) -> _Order:
    if not after:
        return _Order(SORTS[sort], down)
    try:
        padded = after + "=" * (-len(after) % 4)
        told, value, follower_id = json.loads(
            base64.b64decode(padded, altchars=b"-_", validate=True)
        )
        moment = datetime.fromisoformat(value) if value is not None else None
    except (ValueError, TypeError, binascii.Error):
        raise Invalid("after", NO_PAGE) from None
    if told != sort or type(follower_id) is not int or not 0 <= follower_id < 2**63:
        raise Invalid("after", NO_PAGE)
    if moment is not None and (moment.tzinfo is None or sort == "id"):
        raise Invalid("after", NO_PAGE)
    return _Order(SORTS[sort], down, True, moment, follower_id)
