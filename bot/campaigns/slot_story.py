"""Where the slots of a month went, for people: what took them, how many had how many left after each, who has which.

Counters are ``ledger.py``; here they are explained from deliveries and sends from elsewhere.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from pyroaring import BitMap

from bot.audiences import index
from bot.campaigns import external_sends, holds, losses
from bot.campaigns.budget import PER_FOLLOWER_AND_MONTH
from bot.campaigns.holds import Hold
from bot.campaigns.ledger import RESERVED, SPENT
from bot.campaigns.losses import Push
from bot.clock import day_of, month_of, next_month, start_of_day, start_of_month
from bot.db import Session
from bot.sql import among
from bot.tables.campaigns import (
    campaign_runs,
    campaigns,
    deliveries,
    external_mass_sends,
    mass_batches,
    mass_ledger,
)
from bot.tables.followers import followers
from rules.text import fold_words

MONTHS = 24  # to choose from
UNPLACED = ("unknown", "unplaced")  # results nobody said yet to whom they went
PAGE = 1000  # people a statement of ``walk``
_ONE_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Totals:
    """Slots of a month. ``external`` is part of ``spent``; ``people`` have at least one taken."""

    reserved: int
    spent: int
    external: int
    people: int


@dataclass(frozen=True, slots=True)
class Taker:
    """What took slots: a run of a campaign, or sends from elsewhere (``campaign_id`` None)."""

    at: datetime
    name: str
    campaign_id: int | None
    audience: str  # of a send from elsewhere: all | tag | listed
    reserved: int
    spent: int
    people: BitMap


@dataclass(frozen=True, slots=True)
class Kept:
    """A push still to come: who it wants, how many of them will have a slot left by then."""

    hold: Hold
    wanted: int
    gets: int


@dataclass(frozen=True, slots=True)
class Person:
    """A follower with this month's counters, and what took them: (name, campaign or None)."""

    id: int
    open_id: str
    remark: str | None
    left: int
    reserved: int
    spent: int
    external: int
    took: Sequence[tuple[str, int | None]]


@dataclass(frozen=True, slots=True)
class Day:
    """The one mass send a subscription account has each day. ``by``: what took it; None: it is free."""

    by: str | None
    at: datetime | None
    next_free: datetime


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which people are listed: with so many slots ``left``, found by ``query``, charged by ``campaign_id``."""

    left: int | None = None
    query: str = ""
    campaign_id: int | None = None


def months(session: Session, account_id: int, now: datetime) -> list[str]:
    """Months the ledger knows, newest first; the present one and those after it that hold reservations too."""
    found = {month_of(now)}
    before: str | None = None
    for _ in range(MONTHS):
        mine = sa.select(sa.func.max(mass_ledger.c.month)).where(
            mass_ledger.c.account_id == account_id
        )
        if before is not None:
            mine = mine.where(mass_ledger.c.month < before)
        before = session.execute(mine).scalar()
        if before is None:
            break
        found.add(before)
    return sorted(found, reverse=True)


def totals(session: Session, account_id: int, month: str) -> Totals:
    """The sums of a month's counters."""
    row = session.execute(
        sa.select(
            sa.func.coalesce(sa.func.sum(mass_ledger.c.reserved), 0),
            sa.func.coalesce(sa.func.sum(mass_ledger.c.spent), 0),
            sa.func.coalesce(sa.func.sum(mass_ledger.c.external), 0),
            sa.func.count(sa.case((mass_ledger.c.reserved + mass_ledger.c.spent > 0, 1))),
        ).where(mass_ledger.c.account_id == account_id, mass_ledger.c.month == month)
    ).one()
    return Totals(*(int(number) for number in row))


def takers(session: Session, account_id: int, month: str) -> list[Taker]:
    """Every run and every send from elsewhere that took slots of a month, in order of time."""
    found = [*_runs(session, account_id, month), *_elsewhere(session, account_id, month)]
    return sorted(found, key=lambda taker: taker.at)


def changes(
    session: Session, account_id: int, listed: Sequence[Taker]
) -> list[tuple[Taker | None, Mapping[int, int]]]:
    """How many had 0 to 4 left at the month's beginning, and after each taker: today's subscribers, counted back."""
    everybody = BitMap(
        session.execute(
            sa.select(followers.c.id).where(
                followers.c.account_id == account_id, followers.c.subscribed
            )
        ).scalars()
    )
    levels = [BitMap() for _ in range(PER_FOLLOWER_AND_MONTH)] + [everybody]
    story: list[tuple[Taker | None, Mapping[int, int]]] = [(None, _sizes(levels))]
    for taker in listed:
        for _ in range(max(1, _times(taker))):
            for number in range(1, len(levels)):
                taken = levels[number] & taker.people
                levels[number] -= taken
                levels[number - 1] |= taken
        story.append((taker, _sizes(levels)))
    return story


def kept(
    session: Session, account_id: int, month: str, left: Sequence[BitMap], now: datetime
) -> list[Kept]:
    """Pushes of a month still to come, in order: whom they want and who will have a slot for them."""
    coming = holds.holds(session, account_id, month, now, excluding=None)
    pushes = [Push(number, hold.people, hold.protected) for number, hold in enumerate(coming)]
    told = losses.walk(left, pushes)
    return [
        Kept(hold, len(one.got) + len(one.missed), len(one.got))
        for hold, one in zip(coming, told, strict=True)
    ]


def coming(session: Session, account_id: int, month: str, now: datetime) -> list[Kept]:
    """``kept`` by the sets of people as they were counted last."""
    return kept(session, account_id, month, index.slots(session, account_id, month, now), now)


def external(session: Session, account_id: int, month: str) -> list[Any]:
    """Rows of a month's sends from elsewhere, newest first; of unexplained ones those of every month."""
    return list(
        session.execute(
            sa.select(external_mass_sends)
            .where(
                external_mass_sends.c.account_id == account_id,
                sa.or_(
                    external_mass_sends.c.month == month,
                    external_mass_sends.c.audience.in_(UNPLACED),
                ),
            )
            .order_by(external_mass_sends.c.at.desc(), external_mass_sends.c.id.desc())
        ).all()
    )


def one_external(session: Session, account_id: int, send_id: int) -> Any | None:
    """A send from elsewhere of this account; None: there is none of this number."""
    return session.execute(
        sa.select(external_mass_sends).where(
            external_mass_sends.c.account_id == account_id, external_mass_sends.c.id == send_id
        )
    ).one_or_none()


def guess(session: Session, account_id: int, send: Any) -> str | None:
    """To whom an unexplained send probably went: ``all`` when as many got it as were there; None: no telling."""
    if not send.total:
        return None
    present = session.execute(
        sa.select(sa.func.count()).where(
            followers.c.account_id == account_id, external_sends.present(send.at)
        )
    ).scalar_one()
    # the platform counts who can receive at all: some per cent fewer than follow
    return "all" if present and 0.9 * present <= send.total <= 1.02 * present + 5 else None


def day(session: Session, account_id: int, now: datetime) -> Day:
    """Whether a subscription account's send of this Shanghai day is used, by what, and when the next is free."""
    begin = start_of_day(day_of(now))
    ours = session.execute(
        sa.select(campaigns.c.name, mass_batches.c.submitted_at)
        .join(campaign_runs, campaign_runs.c.id == mass_batches.c.run_id)
        .join(campaigns, campaigns.c.id == campaign_runs.c.campaign_id)
        .where(
            mass_batches.c.account_id == account_id,
            mass_batches.c.submitted_at >= begin,
            mass_batches.c.status.in_(("submitted", "finished", "unknown")),
        )
        .order_by(mass_batches.c.submitted_at)
    ).first()
    other = session.execute(
        sa.select(external_mass_sends.c.at)
        .where(
            external_mass_sends.c.account_id == account_id,
            external_mass_sends.c.audience.not_in(("none", "unplaced")),
            external_mass_sends.c.source != "opening",
            external_mass_sends.c.at >= begin,
        )
        .order_by(external_mass_sends.c.at)
    ).first()
    tomorrow = start_of_day(day_of(begin) + _ONE_DAY)
    if ours is not None:
        return Day(ours.name, ours.submitted_at, tomorrow)
    if other is not None:
        return Day("", other.at, tomorrow)
    return Day(None, None, now)


def people(
    session: Session,
    account_id: int,
    month: str,
    wanted: Wanted,
    *,
    after: int = 0,
    limit: int = 30,
) -> list[Person]:
    """Subscribed followers by row number, beginning behind ``after``."""
    used = sa.func.coalesce(mass_ledger.c.reserved + mass_ledger.c.spent, 0)
    asked = (
        sa.select(
            followers.c.id,
            followers.c.open_id,
            followers.c.remark,
            sa.func.coalesce(mass_ledger.c.reserved, 0).label("reserved"),
            sa.func.coalesce(mass_ledger.c.spent, 0).label("spent"),
            sa.func.coalesce(mass_ledger.c.external, 0).label("external"),
            used.label("used"),
        )
        .select_from(_with_ledger(month))
        .where(*_asked(account_id, month, wanted), followers.c.id > after)
        .order_by(followers.c.id)
        .limit(limit)
    )
    rows = session.execute(asked).all()
    took = _took(session, account_id, month, [row.id for row in rows])
    return [
        Person(
            row.id,
            row.open_id,
            row.remark,
            max(0, PER_FOLLOWER_AND_MONTH - row.used),
            row.reserved,
            row.spent,
            row.external,
            took.get(row.id, ()),
        )
        for row in rows
    ]


def count(session: Session, account_id: int, month: str, wanted: Wanted) -> int:
    """How many ``people`` lists in all."""
    return int(
        session.execute(
            sa.select(sa.func.count())
            .select_from(_with_ledger(month))
            .where(*_asked(account_id, month, wanted))
        ).scalar_one()
    )


def walk(session: Session, account_id: int, month: str, wanted: Wanted) -> Iterator[Person]:
    """All of ``people``, a page at a time."""
    after = 0
    while page := people(session, account_id, month, wanted, after=after, limit=PAGE):
        yield from page
        after = page[-1].id


def charging(session: Session, account_id: int, month: str) -> list[tuple[int, str]]:
    """Campaigns that took slots of a month, newest first: what a list may be narrowed to."""
    rows = session.execute(
        sa.select(campaigns.c.id, campaigns.c.name)
        .where(
            campaigns.c.id.in_(
                sa.select(campaign_runs.c.campaign_id).where(*_of_month(account_id, month))
            )
        )
        .order_by(campaigns.c.id.desc())
    )
    return [(row.id, row.name) for row in rows]


def _with_ledger(month: str) -> sa.FromClause:
    return followers.outerjoin(
        mass_ledger,
        sa.and_(mass_ledger.c.follower_id == followers.c.id, mass_ledger.c.month == month),
    )


def _asked(account_id: int, month: str, wanted: Wanted) -> list[sa.ColumnElement[bool]]:
    used = sa.func.coalesce(mass_ledger.c.reserved + mass_ledger.c.spent, 0)
    tests: list[sa.ColumnElement[bool]] = [
        followers.c.account_id == account_id,
        followers.c.subscribed.is_(sa.true()),
    ]
    if wanted.left == 0:
        tests.append(used >= PER_FOLLOWER_AND_MONTH)
    elif wanted.left is not None:
        tests.append(used == PER_FOLLOWER_AND_MONTH - wanted.left)
    if wanted.query:
        key = fold_words(wanted.query)
        tests.append(
            sa.or_(
                followers.c.open_id == wanted.query,
                followers.c.remark_search.contains(key, autoescape=True),
            )
        )
    if wanted.campaign_id is not None:
        charged = (
            sa.select(deliveries.c.follower_id)
            .join(campaign_runs, campaign_runs.c.id == deliveries.c.run_id)
            .where(
                campaign_runs.c.campaign_id == wanted.campaign_id,
                campaign_runs.c.account_id == account_id,
                deliveries.c.month == month,
                deliveries.c.slot.is_not(None),
            )
        )
        tests.append(followers.c.id.in_(charged))
    return tests


def _of_month(account_id: int, month: str) -> list[sa.ColumnElement[bool]]:
    begin, end = start_of_month(month), start_of_month(next_month(month))
    return [
        campaign_runs.c.account_id == account_id,
        sa.or_(
            campaign_runs.c.month == month,
            sa.and_(
                campaign_runs.c.month.is_(None),
                campaign_runs.c.due_at >= begin,
                campaign_runs.c.due_at < end,
            ),
        ),
    ]


def _runs(session: Session, account_id: int, month: str) -> Iterator[Taker]:
    runs = session.execute(
        sa.select(
            campaign_runs.c.id,
            campaign_runs.c.campaign_id,
            campaign_runs.c.due_at,
            campaigns.c.name,
        )
        .join(campaigns, campaigns.c.id == campaign_runs.c.campaign_id)
        .where(*_of_month(account_id, month))
        .order_by(campaign_runs.c.due_at, campaign_runs.c.id)
    ).all()
    for run in runs:
        charged: dict[str, BitMap] = {}
        for slot in (RESERVED, SPENT):
            charged[slot] = BitMap(
                session.execute(
                    sa.select(deliveries.c.follower_id).where(
                        deliveries.c.run_id == run.id,
                        deliveries.c.slot == slot,
                        deliveries.c.month == month,
                    )
                ).scalars()
            )
        reserved, spent = charged[RESERVED], charged[SPENT]
        if reserved or spent:
            yield Taker(
                run.due_at,
                run.name,
                run.campaign_id,
                "",
                len(reserved),
                len(spent),
                reserved | spent,
            )


def _elsewhere(session: Session, account_id: int, month: str) -> Iterator[Taker]:
    rows = session.execute(
        sa.select(external_mass_sends)
        .where(
            external_mass_sends.c.account_id == account_id,
            external_mass_sends.c.month == month,
            external_mass_sends.c.times > 0,
            external_mass_sends.c.audience.in_(("all", "tag", "listed")),
        )
        .order_by(external_mass_sends.c.at, external_mass_sends.c.id)
    ).all()
    for row in rows:
        charged = _charged(session, account_id, row)
        if charged:
            yield Taker(
                row.at, row.said or "", None, row.audience, 0, len(charged) * row.times, charged
            )


def _charged(session: Session, account_id: int, send: Any) -> BitMap:
    """Whom a send from elsewhere was charged to so far."""
    if send.people is not None:
        named = BitMap.deserialize(send.people)
        if send.covered_to is None:
            return named
        return named & BitMap(range(send.covered_to + 1))
    if send.audience != "all":
        return BitMap()
    return BitMap(
        session.execute(
            sa.select(followers.c.id).where(
                followers.c.account_id == account_id,
                followers.c.id <= (send.covered_to or 0),
                external_sends.present(send.at),
            )
        ).scalars()
    )


def _took(
    session: Session, account_id: int, month: str, ids: Sequence[int]
) -> Mapping[int, Sequence[tuple[str, int | None]]]:
    """What took slots of these few followers, in order of time."""
    if not ids:
        return {}
    found: dict[int, list[tuple[datetime, str, int | None]]] = {}
    ours = session.execute(
        sa.select(
            deliveries.c.follower_id,
            campaign_runs.c.due_at,
            campaigns.c.name,
            campaigns.c.id,
        )
        .join(campaign_runs, campaign_runs.c.id == deliveries.c.run_id)
        .join(campaigns, campaigns.c.id == campaign_runs.c.campaign_id)
        .where(
            among(deliveries.c.follower_id, ids),
            deliveries.c.account_id == account_id,
            deliveries.c.month == month,
            deliveries.c.slot.is_not(None),
        )
    )
    for follower_id, at, name, campaign_id in ours:
        found.setdefault(follower_id, []).append((at, name, campaign_id))
    shown = BitMap(ids)
    for row in external(session, account_id, month):
        if row.month != month or row.audience not in ("all", "tag", "listed") or not row.times:
            continue
        for follower_id in _charged_of(session, account_id, row, shown):
            found.setdefault(follower_id, []).append((row.at, row.said or "", None))
    return {
        follower_id: [(name, campaign_id) for _at, name, campaign_id in sorted(listed, key=_moment)]
        for follower_id, listed in found.items()
    }


def _charged_of(session: Session, account_id: int, send: Any, few: BitMap) -> BitMap:
    if send.people is not None:
        return _charged(session, account_id, send) & few
    if send.audience != "all":
        return BitMap()
    return BitMap(
        session.execute(
            sa.select(followers.c.id).where(
                among(followers.c.id, few),
                followers.c.account_id == account_id,
                followers.c.id <= (send.covered_to or 0),
                external_sends.present(send.at),
            )
        ).scalars()
    )


def _moment(entry: tuple[datetime, str, int | None]) -> datetime:
    return entry[0]


def _times(taker: Taker) -> int:
    """How often each of its people was charged: more than once only by an opening balance."""
    return round((taker.reserved + taker.spent) / len(taker.people)) if taker.people else 0


def _sizes(levels: Sequence[BitMap]) -> Mapping[int, int]:
    return {left: len(people) for left, people in enumerate(levels)}


def open_ids(session: Session, account_id: int, ids: Sequence[int]) -> Mapping[int, str]:
    """The OpenIDs of these followers."""
    if not ids:
        return {}
    rows = session.execute(
        sa.select(followers.c.id, followers.c.open_id).where(
            followers.c.account_id == account_id, among(followers.c.id, ids)
        )
    )
    return {row.id: row.open_id for row in rows}
