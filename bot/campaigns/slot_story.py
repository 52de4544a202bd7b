"""Where the slots of a month went, for people: what took them, and how many had how many left after each.

Counters are ``ledger.py``; here they are explained from deliveries and sends from elsewhere. Who has how many left
is ``slot_people.py``.
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

MONTHS = 24  # to choose from
UNPLACED = ("unknown", "unplaced")  # results nobody said yet to whom they went
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
class Day:
    """The one mass send a subscription account has each day. ``by``: what took it; None: it is free."""

    by: str | None
    at: datetime | None
    next_free: datetime


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


def of_month(account_id: int, month: str) -> list[sa.ColumnElement[bool]]:
    """Runs that may have taken slots of a month."""
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
        .where(*of_month(account_id, month))
        .order_by(campaign_runs.c.due_at, campaign_runs.c.id)
    ).all()
    for run in runs:
        held: dict[str, BitMap] = {}
        for slot in (RESERVED, SPENT):
            held[slot] = BitMap(
                session.execute(
                    sa.select(deliveries.c.follower_id).where(
                        deliveries.c.run_id == run.id,
                        deliveries.c.slot == slot,
                        deliveries.c.month == month,
                    )
                ).scalars()
            )
        reserved, spent = held[RESERVED], held[SPENT]
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
        got = charged(session, account_id, row)
        if got:
            yield Taker(row.at, row.said or "", None, row.audience, 0, len(got) * row.times, got)


def charged(session: Session, account_id: int, send: Any, few: BitMap | None = None) -> BitMap:
    """Whom a send from elsewhere was charged to so far; of these ``few`` alone, where they are given."""
    if send.people is not None:
        named = BitMap.deserialize(send.people)
        if send.covered_to is not None:
            named &= BitMap(range(send.covered_to + 1))
        return named if few is None else named & few
    if send.audience != "all":
        return BitMap()
    asked = [] if few is None else [among(followers.c.id, few)]
    return BitMap(
        session.execute(
            sa.select(followers.c.id).where(
                followers.c.account_id == account_id,
                followers.c.id <= (send.covered_to or 0),
                external_sends.present(send.at),
                *asked,
            )
        ).scalars()
    )


def _times(taker: Taker) -> int:
    """How often each of its people was charged: more than once only by an opening balance."""
    return round((taker.reserved + taker.spent) / len(taker.people)) if taker.people else 0


def _sizes(levels: Sequence[BitMap]) -> Mapping[int, int]:
    return {left: len(people) for left, people in enumerate(levels)}
