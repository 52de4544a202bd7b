"""Slots of a month kept for campaigns still to come (占用): softly by every one, firmly where somebody says so.

Firm are the places of an allocation in force, and campaigns with ``worth: {protect: true}``. Planning refuses
a slot that is firmly held (``held_for_other``); soft ones may be lost, and the page of losses lists them.
Which of two comes first is decided once and for all: an allocation's places fit together by themselves,
and of two protected campaigns the earlier one has the right of way.

Planning asks for sets no older than ``AT_MOST`` of the people whose slots are firmly held; pages believe what
the job counted lately, and soft holds, which decide nothing, are as old as that everywhere.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from pyroaring import BitMap

from bot.audiences import segments
from bot.audiences.index import Look
from bot.campaigns.schedule import next_due
from bot.clock import month_of, next_month, start_of_month
from bot.db import Session
from bot.errors import Refused
from bot.tables.campaigns import allocation_places, allocations, campaign_runs, campaigns

MASS = "mass"
MOST_OCCURRENCES = 31  # of a repeating campaign in a month
AT_MOST = timedelta(minutes=1)  # planning a million takes that long, and counts them once


@dataclass(frozen=True, slots=True)
class Hold:
    """What one coming occurrence of a campaign wants: a slot of each of ``people``.

    ``protected``: those slots are not given to the campaign that is asking.
    """

    campaign_id: int
    name: str
    at: datetime
    people: BitMap
    protected: bool


def holds(
    session: Session,
    account_id: int,
    month: str,
    now: datetime,
    *,
    excluding: int | None,
    firm_look: Look | None = None,
) -> list[Hold]:
    """What mass campaigns planned for later in a Shanghai month want, in order of time.

    ``excluding``: the campaign that asks; None: nobody, so that every firm hold is firm. A run that
    is due and not planned to its end still wants the slots of whoever it has not come to.
    ``firm_look``: where to look for people whose slots are firmly held; None: where all others are looked for.
    """
    look = Look(session, account_id, now)
    firm_look = firm_look or look
    rows = session.execute(
        sa.select(campaigns)
        .where(
            campaigns.c.account_id == account_id,
            campaigns.c.status.in_(("scheduled", "stopped", "finished")),
            campaigns.c.id != (excluding or 0),
        )
        .order_by(campaigns.c.id)
    ).all()
    wanted = [row for row in rows if MASS in row.channels]
    if not wanted:
        return []
    places = _places(session, account_id, month)
    asks_protected = excluding is not None and _is_protected(session, excluding)
    open_runs = [
        run
        for run in _open_runs(session, [row.id for row in wanted])
        # one whose planning has not begun takes slots of the month it begins in
        if (run.month or month_of(now)) == month
    ]
    # midnight of the first is of the month
    after = max(now, start_of_month(month) - timedelta(microseconds=1))
    end = start_of_month(next_month(month))
    found: list[Hold] = []
    for row in wanted:
        moments = list(_moments(row, after, end)) if row.status == "scheduled" else []
        runs = [run for run in open_runs if run.campaign_id == row.id]
        if not moments and not runs:
            continue
        people, firm = places.get(row.id), True
        if people is not None:
            # an allocation gives a campaign one slot of a person, however often it repeats
            moments = [] if runs else moments[:1]
        else:
            firm = bool((row.worth or {}).get("protect")) and not asks_protected
            people = _audience(firm_look if firm else look, row)
        for run in runs:
            left = people - BitMap(range(run.planned_to + 1))
            found.append(Hold(row.id, row.name, run.due_at, left, firm))
        for moment in moments:
            found.append(Hold(row.id, row.name, moment, people, firm))
    return sorted(found, key=lambda hold: (hold.at, hold.campaign_id))


def protected_counts(holds: Sequence[Hold]) -> Callable[[int], int]:
    """How many slots of a follower are firmly held, as a function of the follower's id."""
    firm = [hold.people for hold in holds if hold.protected and hold.people]
    if not firm:
        return lambda _follower_id: 0
    return lambda follower_id: sum(follower_id in people for people in firm)


def _moments(row: Any, after: datetime, end: datetime) -> Iterator[datetime]:
    """When a scheduled campaign is due after a moment and before the month ends."""
    moment: datetime | None = row.next_due_at
    if moment is not None and moment <= after:
        moment = next_due(row.schedule, after)
    for _ in range(MOST_OCCURRENCES):
        if moment is None or moment >= end:
            return
        yield moment
        moment = next_due(row.schedule, moment)


def _places(session: Session, account_id: int, month: str) -> Mapping[int, BitMap]:
    """Whom each campaign may write to, by the allocation in force; empty without one."""
    rows = session.execute(
        sa.select(allocation_places.c.campaign_id, allocation_places.c.people)
        .join(allocations, allocations.c.id == allocation_places.c.allocation_id)
        .where(
            allocations.c.account_id == account_id,
            allocations.c.month == month,
            allocations.c.status == "in_force",
        )
    )
    return {row.campaign_id: BitMap.deserialize(row.people) for row in rows}


def _is_protected(session: Session, campaign_id: int) -> bool:
    worth = session.execute(
        sa.select(campaigns.c.worth).where(campaigns.c.id == campaign_id)
    ).scalar()
    return bool((worth or {}).get("protect"))


def _open_runs(session: Session, campaign_ids: Sequence[int]) -> Sequence[Any]:
    """Runs that are due and not planned to their end; a follow-up takes what its own rounds leave."""
    return session.execute(
        sa.select(
            campaign_runs.c.campaign_id,
            campaign_runs.c.due_at,
            campaign_runs.c.planned_to,
            campaign_runs.c.month,
        ).where(
            campaign_runs.c.campaign_id.in_(campaign_ids),
            campaign_runs.c.status.in_(("waiting", "planning")),
            campaign_runs.c.planned_at.is_(None),
            campaign_runs.c.parent_id.is_(None),
        )
    ).all()


def _audience(look: Look, row: Any) -> BitMap:
    names = [group["segment"] for group in row.groups] if row.groups else [row.segment]
    found = BitMap()
    for name in names:
        try:
            where = segments.get(look.session, row.account_id, name).where
        except Refused:
            continue  # it will not be planned either
        found |= look.people(where)
    return found
