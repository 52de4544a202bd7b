"""Leaves of the sets of people: a filter with its parameters or one of our own, and who is in one by the tables.

Ids come from the database as one text, for a million rows take three times as long.
"""

import hashlib
import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from pyroaring import BitMap

from bot.audiences import segments
from bot.campaigns.budget import PER_FOLLOWER_AND_MONTH as SLOTS
from bot.db import Session
from bot.followers import LONG_WINDOWS
from bot.sql import commas, unindexed
from bot.tables.audiences import frozen_people
from bot.tables.campaigns import campaign_runs, campaigns, deliveries, mass_ledger
from bot.tables.followers import consents as consents_table
from bot.tables.followers import followers, reply_windows

COUNTS_FOR_CAP = ("planned", "sent", "unknown")  # deliveries, as the planner counts them
ACTIVE_DAYS = (1, 7, 30, 90)  # since the last sign of life; sets that are counted in one pass
FOLLOWED_DAYS = (30, 90, 180, 365)  # since following
MOST_SOURCES = 3000  # of an account, the most common ones, have sets

SOURCE = ":source"  # the leaf of one source, counted with all of them

Leaf = Mapping[str, Any]
SUBSCRIBED: Leaf = {":subscribed": {}}
ACTIVE: Leaf = {":active": {}}  # did something, ever
SOURCES: Leaf = {":sources": {}}  # everybody, counted together with the set of each source
OPTED_OUT: Leaf = {":opted_out": {}}
WINDOW: Leaf = {":window": {}}


def active_leaves() -> list[Leaf]:
    """Who did something within each of ``ACTIVE_DAYS``, and who ever did: the last holds all before it."""
    return [*({"last_active": {"within_days": days}} for days in ACTIVE_DAYS), ACTIVE]


def followed_leaves() -> list[Leaf]:
    """Who follows since at most each of ``FOLLOWED_DAYS``, and of whom it is known at all."""
    return [*(_followed_leaf(days) for days in FOLLOWED_DAYS), _followed_leaf(None)]


def _followed_leaf(days: int | None) -> Leaf:
    return {":followed": {} if days is None else {"within_days": days}}


def consent_leaf(template_id: str) -> Leaf:
    """Who accepted at least one more notice of a template."""
    return {":consent": {"template": template_id}}


def taken_leaf(month: str, times: int) -> Leaf:
    """Of whom at least so many slots of a month are reserved or spent."""
    return {":taken": {"month": month, "times": times}}


def reached_leaf(
    messages: int, days: int, channel: str | None = None, message_class: str | None = None
) -> Leaf:
    """Who got at least so many campaigns within so many times 24 hours: of a channel, of a class, or of any."""
    given = {"messages": messages, "days": days, "channel": channel, "class": message_class}
    return {":reached": {key: value for key, value in given.items() if value is not None}}


def frozen_leaf(list_id: int) -> Leaf:
    """Who is on the list of a frozen segment, whether they still follow or not."""
    return {":frozen": {"list": list_id}}


def key_of(leaf: Leaf) -> str:
    """The key a set is stored under."""
    text = json.dumps(leaf, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def is_ours(leaf: Leaf) -> bool:
    """Whether it is no filter of a segment; its people are subscribed, or of no use where they are not."""
    return next(iter(leaf)).startswith(":")


def count(
    session: Session, account_id: int, leaf: Leaf, now: datetime
) -> list[tuple[Leaf, BitMap]]:
    """Who is in a leaf, and in those the same pass says. People of a filter may have unsubscribed."""
    key, value = next(iter(leaf.items()))
    if key in _AT_ONCE:
        return _AT_ONCE[key](session, account_id, value, now)
    return [(leaf, _ids(session, _select(account_id, key, value, now)))]


def _ids(session: Session, select: sa.Select[Any]) -> BitMap:
    """The ids a query selects, handed over as one text."""
    (only,) = select.subquery().c
    return _parsed(session.execute(sa.select(commas(only))).scalar())


def _parsed(text: str | None) -> BitMap:
    return BitMap(json.loads(f"[{text or ''}]"))


def _select(account_id: int, key: str, value: Any, now: datetime) -> sa.Select[Any]:
    if key in _OURS:
        return _OURS[key](account_id, value, now)
    member, parsed = segments.filter_of(key, value)
    ids: Callable[..., sa.Select[Any] | None] | None = getattr(member, "ids", None)
    found = ids(parsed, account_id, now) if ids is not None else None
    if found is not None:
        return found
    return sa.select(followers.c.id).where(
        followers.c.account_id == account_id,
        followers.c.subscribed.is_(sa.true()),
        member.where(parsed, account_id, now, _no_segment),
    )


def _no_segment(name: str) -> sa.ColumnElement[bool]:
    raise AssertionError(f"in_segment is no leaf: {name}")


def _subscribed(account_id: int, _value: Any, _now: datetime) -> sa.Select[Any]:
    return sa.select(followers.c.id).where(
        followers.c.account_id == account_id, followers.c.subscribed.is_(sa.true())
    )


def _opted_out(account_id: int, _value: Any, _now: datetime) -> sa.Select[Any]:
    return sa.select(followers.c.id).where(
        # the index of those who opted out is short; SQLite would take one of all followers of the account
        unindexed(followers.c.account_id) == account_id,
        followers.c.opted_out_at.is_not(None),
    )


def _window(account_id: int, _value: Any, now: datetime) -> sa.Select[Any]:
    return (
        sa.select(reply_windows.c.follower_id)
        .where(
            reply_windows.c.account_id == account_id,
            reply_windows.c.opened_by.in_(LONG_WINDOWS),
            reply_windows.c.expires_at > now,
            reply_windows.c.left > 0,
        )
        .distinct()
    )


def _consent(account_id: int, value: Any, _now: datetime) -> sa.Select[Any]:
    return sa.select(consents_table.c.follower_id).where(
        consents_table.c.account_id == account_id,
        consents_table.c.template_id == value["template"],
        consents_table.c.accepted > 0,
    )


def _reached(account_id: int, value: Any, now: datetime) -> sa.Select[Any]:
    tests = [
        deliveries.c.account_id == account_id,
        deliveries.c.status.in_(COUNTS_FOR_CAP),
        deliveries.c.at > now - timedelta(days=value["days"]),
    ]
    if "channel" in value:
        tests.append(deliveries.c.channel == value["channel"])
    source: sa.FromClause = deliveries
    if "class" in value:
        source = deliveries.join(campaign_runs, campaign_runs.c.id == deliveries.c.run_id).join(
            campaigns, campaigns.c.id == campaign_runs.c.campaign_id
        )
        tests.append(campaigns.c.message_class == value["class"])
    return (
        sa.select(deliveries.c.follower_id)
        .select_from(source)
        .where(*tests)
        .group_by(deliveries.c.follower_id)
        .having(sa.func.count() >= value["messages"])
    )


def _frozen(account_id: int, value: Any, _now: datetime) -> sa.Select[Any]:
    return sa.select(frozen_people.c.follower_id).where(
        frozen_people.c.list_id == value["list"],
        unindexed(frozen_people.c.account_id) == account_id,
    )


_OURS: Mapping[str, Callable[[int, Any, datetime], sa.Select[Any]]] = {
    ":subscribed": _subscribed,
    ":opted_out": _opted_out,
    ":window": _window,
    ":consent": _consent,
    ":reached": _reached,
    ":frozen": _frozen,
}


def _taken(
    session: Session, account_id: int, value: Any, now: datetime
) -> list[tuple[Leaf, BitMap]]:
    """Of a month's ledger who spent at least one slot, two, three, four: one pass."""
    month = value["month"]
    used = mass_ledger.c.reserved + mass_ledger.c.spent
    row = session.execute(
        sa.select(
            *(
                commas(mass_ledger.c.follower_id).filter(
                    used >= SLOTS if times == SLOTS else used == times
                )
                for times in range(1, SLOTS + 1)
            )
        ).where(mass_ledger.c.account_id == account_id, mass_ledger.c.month == month)
    ).one()
    found = [_parsed(text) for text in row]
    for times in range(SLOTS - 1, 0, -1):
        found[times - 1] |= found[times]
    return [(taken_leaf(month, times), found[times - 1]) for times in range(1, SLOTS + 1)]


def _active(
    session: Session, account_id: int, _value: Any, now: datetime
) -> list[tuple[Leaf, BitMap]]:
    """Who was active since when: one pass over the followers."""
    row = session.execute(
        sa.select(
            *(
                commas(followers.c.id).filter(span)
                for span in _spans(followers.c.last_active_at, now, ACTIVE_DAYS)
            )
        ).where(followers.c.account_id == account_id, followers.c.subscribed.is_(sa.true()))
    ).one()
    return _growing(active_leaves(), [_parsed(text) for text in row])


def _followed(
    session: Session, account_id: int, _value: Any, now: datetime
) -> list[tuple[Leaf, BitMap]]:
    """Who follows since when, also those who left: each span from the index of moments alone."""
    found = [
        _ids(session, sa.select(followers.c.id).where(followers.c.account_id == account_id, span))
        for span in _spans(followers.c.subscribed_at, now, FOLLOWED_DAYS)
    ]
    return _growing(followed_leaves(), found)


def _growing(named: Sequence[Leaf], spans: Sequence[BitMap]) -> list[tuple[Leaf, BitMap]]:
    """Each with all before it."""
    together = itertools.accumulate(spans, lambda before, span: before | span)
    return list(zip(named, together, strict=True))


def _spans(
    column: sa.ColumnElement[datetime], now: datetime, days: Sequence[int]
) -> list[sa.ColumnElement[bool]]:
    """Within the first bound; within the second and not the first; …; before all of them."""
    bounds = [now - timedelta(days=bound) for bound in days]
    between = [
        sa.and_(column < newer, column >= older) for newer, older in itertools.pairwise(bounds)
    ]
    return [column >= bounds[0], *between, column < bounds[-1]]


def _by_source(
    session: Session, account_id: int, _value: Any, now: datetime
) -> list[tuple[Leaf, BitMap]]:
    """Everybody, and of each source whom it brought first: one pass over the followers."""
    rows = session.execute(
        sa.select(followers.c.first_source, commas(followers.c.id))
        .where(followers.c.account_id == account_id, followers.c.subscribed.is_(sa.true()))
        .group_by(followers.c.first_source)
        .order_by(sa.func.count().desc())
        .limit(MOST_SOURCES)
    )
    # no source and an empty one are the same
    found: dict[str, BitMap] = {}
    for source, text in rows:
        found[source or ""] = found.get(source or "", BitMap()) | _parsed(text)
    everybody = BitMap.union(BitMap(), *found.values())
    return [(SOURCES, everybody), *(({SOURCE: {"is": name}}, who) for name, who in found.items())]


_AT_ONCE: Mapping[str, Callable[[Session, int, Any, datetime], list[tuple[Leaf, BitMap]]]] = {
    ":taken": _taken,
    ":active": _active,
    ":followed": _followed,
    ":sources": _by_source,
}
