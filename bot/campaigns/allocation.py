"""Dividing a month's slots among its campaigns (预算分配): what may take part, the division, and putting it in force.

What a campaign is worth to whom is read by ``month_values``; ``allocate`` decides.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from pyroaring import BitMap
from sqlalchemy.engine import Engine

from bot import accounts, db
from bot.accounts import Account
from bot.audiences import index, segments
from bot.audiences.index import Look
from bot.campaigns import definitions, ledger, pasts
from bot.campaigns.allocate import Candidate, Constraints
from bot.campaigns.definitions import Campaign
from bot.campaigns.estimate import needed
from bot.campaigns.holds import MASS
from bot.campaigns.month_values import USUAL_RATE, Month, Offer, Settings
from bot.campaigns.pasts import Activity
from bot.campaigns.schedule import next_due
from bot.clock import day_of, month_of, next_month, start_of_month
from bot.db import Session
from bot.errors import Refused
from bot.tables.campaigns import allocation_places, allocations
from bot.tables.followers import followers

DIVIDE = "divide_slots"  # the job of a large account
MOST_CAMPAIGNS = 16  # of one division: two bytes a follower
TO_ALL = 0.5  # of the followers: a past send that reached so many was one to everybody

Tell = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Divided:
    """A division as stored. ``figures`` is what the page shows; see ``propose``."""

    id: int
    month: str
    status: str
    made_by: str
    made_at: datetime
    figures: Mapping[str, Any]


def offers(session: Session, account: Account, month: str, now: datetime) -> list[Offer]:
    """Mass campaigns of a month, planned and drafted, that may take part, in order of time."""
    begin, end = start_of_month(month), start_of_month(next_month(month))
    known = pasts.every(session, account.id)
    present = session.execute(
        sa.select(sa.func.count()).where(
            followers.c.account_id == account.id, followers.c.subscribed
        )
    ).scalar_one()
    found = []
    for campaign in definitions.every(session, account.id):
        if MASS not in campaign.channels or campaign.status not in (
            "scheduled",
            "draft",
            "stopped",
        ):
            continue
        at = next_due(campaign.schedule, max(begin, now))
        if at is None or at >= end:
            continue
        # a send to everybody does as sends to everybody did, one to some as those to some did
        to_all = _to_all(session, campaign)
        like = [one for one in known if (one.delivered >= TO_ALL * present) == to_all]
        rate, rate_of = _rate(campaign, known, like or known)
        worth = campaign.worth or {}
        found.append(
            Offer(
                campaign,
                at,
                rate,
                rate_of,
                float(worth.get("click", 1.0)),
                bool(worth.get("protect")),
                str((campaign.brief or {}).get("product") or ""),
            )
        )
    return sorted(found, key=lambda offer: (offer.at, offer.campaign.id))


def propose(
    engine: Engine,
    account_id: int,
    settings: Settings,
    now: datetime,
    *,
    by: str,
    tell: Tell | None = None,
) -> int:
    """Divide a month's slots and store it as a proposal; its id.

    Raises:
        Refused: nothing was chosen, too much was, one campaign twice, or one that is not of this month.
    """
    tell = tell or _silent
    with db.reading(engine) as session:
        account = accounts.by_id(session, account_id)
        known = {one.campaign.id: one for one in offers(session, account, settings.month, now)}
        chosen = _chosen(settings, known)
        tell(1, 10)
        look = Look(session, account_id, now)
        asked = {one.campaign.id for one in chosen}
        others = [
            one
            for one in known.values()
            if one.protected and one.campaign.status == "scheduled" and one.campaign.id not in asked
        ]
        month = Month(session, look, settings, chosen, others)
    tell(4, 10)
    names = [str(one.campaign.id) for one in chosen]
    result = month.divide(names, _constraints(settings, chosen))
    tell(8, 10)
    places = month.places(result)
    figures = month.figures(result, places, month.habit())
    index.keep(engine, look)
    proposal = {"account_id": account_id, "month": settings.month, "figures": figures}
    proposal |= {"status": "proposed", "made_by": by, "made_at": now}
    with db.writing(engine) as session:
        allocation_id = _store(session, proposal, chosen, places)
    tell(10, 10)
    return allocation_id


def check(session: Session, account: Account, settings: Settings, now: datetime) -> None:
    """Whether ``propose`` would begin; for who hands it to a job.

    Raises:
        Refused: as ``propose``.
    """
    _chosen(
        settings, {one.campaign.id: one for one in offers(session, account, settings.month, now)}
    )


def _chosen(settings: Settings, known: Mapping[int, Offer]) -> list[Offer]:
    """The campaigns that were chosen, in order."""
    asked = [choice.campaign_id for choice in settings.choices]
    if any(campaign_id not in known for campaign_id in asked):
        raise Refused("a chosen campaign is not of this month any more; look again")
    if not 1 <= len(asked) <= MOST_CAMPAIGNS or len(set(asked)) < len(asked):
        raise Refused(f"choose from 1 to {MOST_CAMPAIGNS} campaigns")
    return [known[campaign_id] for campaign_id in asked]


def _constraints(settings: Settings, chosen: Sequence[Offer]) -> Constraints:
    candidates = tuple(
        Candidate(
            str(choice.campaign_id),
            most=choice.most,
            least=choice.least,
            kind=choice.kind,
            day=day_of(offer.at).day,
            protected=offer.protected,
        )
        for choice, offer in zip(settings.choices, chosen, strict=True)
    )
    kinds = {choice.kind for choice in settings.choices if choice.kind} if settings.per_kind else ()
    return Constraints(candidates, dict.fromkeys(kinds, settings.per_kind), settings.gap_days)


def _store(
    session: Session,
    proposal: Mapping[str, Any],
    chosen: Sequence[Offer],
    places: Sequence[BitMap],
) -> int:
    allocation_id = int(
        session.execute(
            sa.insert(allocations).values(**proposal).returning(allocations.c.id)
        ).scalar_one()
    )
    for offer, people in zip(chosen, places, strict=True):
        session.execute(
            sa.insert(allocation_places).values(
                allocation_id=allocation_id,
                campaign_id=offer.campaign.id,
                account_id=proposal["account_id"],
                people=people.serialize(),
                size=len(people),
            )
        )
    return allocation_id


def page(
    session: Session, account_id: int, month: str, *, limit: int, before: int | None = None
) -> list[Divided]:
    """The divisions of a month, newest first, at most ``limit``; ``before``: older than the one of this id."""
    query = sa.select(allocations).where(
        allocations.c.account_id == account_id, allocations.c.month == month
    )
    if before is not None:
        query = query.where(allocations.c.id < before)
    rows = session.execute(query.order_by(allocations.c.id.desc()).limit(limit))
    return [_divided(row) for row in rows]


def find(session: Session, account_id: int, allocation_id: int) -> Divided | None:
    """A division of this account; None: there is none of this number."""
    row = session.execute(
        sa.select(allocations).where(
            allocations.c.account_id == account_id, allocations.c.id == allocation_id
        )
    ).one_or_none()
    return _divided(row) if row is not None else None


def people(session: Session, account_id: int, allocation_id: int) -> dict[int, BitMap]:
    """Who gets which campaign."""
    rows = session.execute(
        sa.select(allocation_places.c.campaign_id, allocation_places.c.people).where(
            allocation_places.c.account_id == account_id,
            allocation_places.c.allocation_id == allocation_id,
        )
    )
    return {row.campaign_id: BitMap.deserialize(row.people) for row in rows}


def put_in_force(session: Session, account_id: int, allocation_id: int, now: datetime) -> Divided:
    """From now on planning keeps these places: nobody else's campaign takes such a slot. The one before is replaced.

    Raises:
        Refused: its month is over, or it is no proposal.
    """
    ledger.in_turn(session, account_id)  # two at once would both find none in force
    found = find(session, account_id, allocation_id)
    if found is None or found.status != "proposed":
        raise Refused("only a proposal is put in force")
    if found.month < month_of(now):
        raise Refused("the month of this division is over")
    _set_aside(session, account_id, found.month)
    session.execute(
        sa.update(allocations).where(allocations.c.id == allocation_id).values(status="in_force")
    )
    return replace(found, status="in_force")


def lift(session: Session, account_id: int, allocation_id: int) -> Divided:
    """Take a division back: slots go to who comes first again.

    Raises:
        Refused: it is not the one in force.
    """
    ledger.in_turn(session, account_id)
    found = find(session, account_id, allocation_id)
    if found is None or found.status != "in_force":
        raise Refused("this division is not in force")
    _set_aside(session, account_id, found.month)
    return replace(found, status="replaced")


def _set_aside(session: Session, account_id: int, month: str) -> None:
    session.execute(
        sa.update(allocations)
        .where(
            allocations.c.account_id == account_id,
            allocations.c.month == month,
            allocations.c.status == "in_force",
        )
        .values(status="replaced")
    )


def _to_all(session: Session, campaign: Campaign) -> bool:
    for _name, segment in campaign.group_segments():
        try:
            where = segments.get(session, campaign.account_id, segment).where
        except Refused:
            continue
        if segments.is_everybody(session, campaign.account_id, where):
            return True
    return False


def _rate(
    campaign: Campaign, known: Sequence[Activity], like: Sequence[Activity]
) -> tuple[float, str]:
    known_of = [group.get("rate") for group in campaign.groups or ()]
    rates = [float(rate) for rate in known_of if rate is not None]
    if rates:
        return sum(rates) / len(rates), "groups"
    similar = pasts.chosen(known, list((campaign.brief or {}).get("similar") or ()))
    for listed, name in ((similar, "similar"), (like, "past")):
        told = needed(1, [one.as_past() for one in listed])
        if told.rate > 0:
            return told.rate, name
    return USUAL_RATE, "usual"


def _divided(row: Any) -> Divided:
    return Divided(row.id, row.month, row.status, row.made_by, row.made_at, row.figures)


def _silent(_done: int, _total: int) -> None:
    pass
