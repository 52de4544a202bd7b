"""The calendar of sends (群发日历), and what is lost when one is added or moved to another day.

Slots are counted on sets of people (``audiences.index``): whom a push wants are the people of its segments, whether or
not another channel reaches some of them first. So a loss told here is the most that can be lost.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

import sqlalchemy as sa
from pyroaring import BitMap

from bot.accounts import Account
from bot.audiences import index, segments
from bot.audiences.index import Look
from bot.audiences.leaves import OPTED_OUT
from bot.campaigns import budget, definitions, holds, losses, plans
from bot.campaigns.definitions import Campaign
from bot.campaigns.holds import MASS, MOST_OCCURRENCES, Hold
from bot.campaigns.losses import Push
from bot.campaigns.schedule import after_quiet, next_due
from bot.clock import SHANGHAI, day_of, local, month_of, next_month, start_of_month
from bot.db import Session
from bot.errors import Invalid, Refused
from bot.sql import among
from bot.tables.campaigns import campaign_runs, deliveries, external_mass_sends
from bot.tables.followers import followers

ADDED = "added"  # the key of a push that does not exist yet
COUNTED = (
    "planned",
    "sent",
    "failed",
    "unknown",
)  # deliveries of people, leaving out who got nothing


@dataclass(frozen=True, slots=True)
class Entry:
    """Something on the calendar. ``kind``: sent | running | planned | draft | external.

    ``people`` and ``slots`` are None where nobody counted them yet. ``missing``: of a planned push, who will have
    no slot left by then.
    """

    kind: str
    at: datetime
    name: str
    campaign_id: int | None
    channels: Sequence[str]
    people: int | None
    slots: int | None
    missing: int = 0
    movable: bool = False
    protected: bool = False

    @property
    def day(self) -> date:
        return day_of(self.at)


@dataclass(frozen=True, slots=True)
class Lost:
    """A planned push, and who loses it. ``wanted``: how many people it wants."""

    name: str
    campaign_id: int
    at: datetime
    wanted: int
    people: BitMap


@dataclass(frozen=True, slots=True)
class WhatIf:
    """What comes of a push at a moment. ``gets``: how many of its ``wanted`` people have a slot for it.

    ``notes`` are words: ``closed`` (the last minutes of a month), ``quiet`` (it is delayed), ``past``,
    ``one_a_day`` (a subscription account sends something else that day).
    """

    at: datetime
    wanted: int
    gets: int
    lost: Sequence[Lost]
    notes: Sequence[str]
    counted_at: datetime

    @property
    def people(self) -> BitMap:
        """Everybody who loses at least one planned push."""
        return BitMap.union(BitMap(), *(one.people for one in self.lost))


def entries(look: Look, account: Account, month: str) -> list[Entry]:
    """Everything of a Shanghai month, in order of time."""
    session, now = look.session, look.now
    found = [*_runs(session, account.id, month), *_external(session, account.id, month)]
    if month >= month_of(now):
        found += _coming(look, account, month)
    return sorted(found, key=lambda entry: (entry.at, entry.name))


def what_if(look: Look, account: Account, segment: str, at: datetime) -> WhatIf:
    """What a push to a segment at a moment would take from the planned ones.

    Raises:
        Refused: there is no such segment.
    """
    where = segments.get(look.session, account.id, segment).where
    people = look.people(where) - look.leaf(OPTED_OUT)
    month = month_of(at)
    before = _pushes(look, account, month)
    return _told(
        look, account, {month: before}, {month: _with(before, ADDED, at, people)}, ADDED, at
    )


def what_if_moved(look: Look, account: Account, campaign: Campaign, at: datetime) -> WhatIf:
    """What changes when a campaign is sent at another moment; of a draft, what comes of it at all."""
    old = campaign.next_due_at if campaign.status == "scheduled" else None
    months = {month_of(at), *([month_of(old)] if old is not None else [])}
    before = {month: _pushes(look, account, month) for month in sorted(months)}
    mine = [
        hold for listed in before.values() for hold in listed if hold.campaign_id == campaign.id
    ]
    people = next((hold.people for hold in mine if hold.at == old), None)
    if people is None:
        people = wanted(look, campaign) if MASS in campaign.channels else BitMap()
    firm = any(hold.protected for hold in mine) or bool((campaign.worth or {}).get("protect"))
    after = {
        month: [hold for hold in listed if (hold.campaign_id, hold.at) != (campaign.id, old)]
        for month, listed in before.items()
    }
    after[month_of(at)] = _with(after[month_of(at)], campaign.id, at, people, firm)
    return _told(look, account, before, after, campaign.id, at, old)


def moment_on(campaign: Campaign, day: date) -> datetime:
    """The moment a campaign would be sent on another day: its time of day stays.

    Raises:
        Refused: it repeats.
    """
    if "at" not in campaign.schedule:
        raise Refused("a campaign that repeats moves by its schedule, not by one of its days")
    clock = local(next_due(campaign.schedule, _BEFORE_ALL) or _BEFORE_ALL).time()
    return datetime.combine(day, clock, tzinfo=SHANGHAI)


def move(
    session: Session, account: Account, campaign: Campaign, day: date, now: datetime, *, by: str
) -> Campaign:
    """Send a campaign on another day at the same time of day. What was approved stays so: it says the same to the same.

    The plan it came from (推广方案) is moved with it.

    Raises:
        Refused: it repeats, has begun, is over, or somebody else changed it or its plan meanwhile.
        Invalid: the day is past.
    """
    at = moment_on(campaign, day)
    if at <= now:
        raise Invalid("day", "must lie in the future")
    if campaign.status not in ("draft", "scheduled", "stopped"):
        raise Refused(f"campaign '{campaign.name}' is {campaign.status} and does not move")
    document = plans.sent_at(definitions.document_of(campaign), at)
    plan = plans.of_campaign(session, account.id, campaign.id)
    if plan is not None:
        plans.move(session, account.id, plan, at, now, by=by)
    return definitions.save(session, account, document, now, by=by, seen_version=campaign.version)


def wanted(look: Look, campaign: Campaign) -> BitMap:
    """The people of a campaign's segments; a segment that is gone has none."""
    found = BitMap()
    for _name, segment in campaign.group_segments():
        try:
            where = segments.get(look.session, look.account_id, segment).where
        except Refused:
            continue
        found |= look.people(where)
    return found


def names(
    session: Session, account_id: int, people: BitMap
) -> Iterator[tuple[int, str, str | None]]:
    """(row, OpenID, remark) of these followers, a thousand a statement."""
    ids = list(people)
    for begin in range(0, len(ids), _PAGE):
        rows = session.execute(
            sa.select(followers.c.id, followers.c.open_id, followers.c.remark)
            .where(
                followers.c.account_id == account_id,
                among(followers.c.id, ids[begin : begin + _PAGE]),
            )
            .order_by(followers.c.id)
        )
        for row in rows:
            yield row.id, row.open_id, row.remark


_PAGE = 1000
_BEFORE_ALL = start_of_month("2000-01")


def _pushes(look: Look, account: Account, month: str) -> list[Hold]:
    """Planned pushes of a month that take slots of followers; none where there are no such slots."""
    allowed = budget.allowance(account.kind, account.verified)
    if allowed is None or allowed.per_follower_and_month is None:
        return []
    return holds.holds(look.session, account.id, month, look.now, excluding=None)


def _with(
    listed: Sequence[Hold], key: Any, at: datetime, people: BitMap, firm: bool = False
) -> list[Hold]:
    new = Hold(0 if key == ADDED else key, "", at, people, firm)
    return sorted([*listed, new], key=lambda hold: (hold.at, hold.campaign_id))


def _told(
    look: Look,
    account: Account,
    before: Mapping[str, Sequence[Hold]],
    after: Mapping[str, Sequence[Hold]],
    key: Any,
    at: datetime,
    old: datetime | None = None,
) -> WhatIf:
    """Walk both and compare. A campaign's own push is compared with itself at its new moment."""
    mine = 0 if key == ADDED else key
    got: dict[tuple[int, datetime], BitMap] = {}
    then: dict[tuple[int, datetime], BitMap] = {}
    about: dict[tuple[int, datetime], Hold] = {}
    for month in before:
        left = index.slots_left(look, month)
        for listed, found, own in ((before[month], got, old), (after[month], then, at)):
            pushes = [
                Push(number, hold.people, hold.protected) for number, hold in enumerate(listed)
            ]
            for hold, told in zip(listed, losses.walk(left, pushes), strict=True):
                moved = hold.campaign_id == mine and hold.at == own
                place = (mine, at) if moved else (hold.campaign_id, hold.at)
                found[place] = told.got
                if found is got or place not in about:
                    about[place] = hold
    lost = [
        Lost(about[place].name, place[0], about[place].at, len(about[place].people), people)
        for place in sorted(got, key=lambda one: (about[one].at, one[0]))
        if (people := got[place] - then.get(place, BitMap()))
    ]
    gets = then.get((mine, at), BitMap())
    pushed = next(
        (hold.people for hold in after[month_of(at)] if (hold.campaign_id, hold.at) == (mine, at)),
        BitMap(),
    )
    everybody = look.everybody()
    return WhatIf(
        at,
        len(pushed & everybody),
        len(gets),
        lost,
        _notes(look, account, mine, at),
        look.counted_at,
    )


def _notes(look: Look, account: Account, mine: int, at: datetime) -> list[str]:
    found = []
    if at <= look.now:
        found.append("past")
    if budget.is_closed(at):
        found.append("closed")
    if after_quiet(at, account.limits.quiet_hours) != at:
        found.append("quiet")
    allowed = budget.allowance(account.kind, account.verified)
    if allowed is not None and allowed.sends_a_day is not None:
        same = [
            entry
            for entry in entries(look, account, month_of(at))
            if entry.day == day_of(at)
            and entry.kind != "draft"
            and entry.campaign_id != (mine or None)
        ]
        if any(MASS in entry.channels or entry.kind == "external" for entry in same):
            found.append("one_a_day")
    return found


def _coming(look: Look, account: Account, month: str) -> Iterator[Entry]:
    """Planned and drafted campaigns: every moment of the month that is still to come."""
    session, now = look.session, look.now
    begin, end = start_of_month(month), start_of_month(next_month(month))
    listed = _pushes(look, account, month)
    walked = losses.walk(
        index.slots_left(look, month),
        [Push(number, hold.people, hold.protected) for number, hold in enumerate(listed)],
    )
    told = {
        (hold.campaign_id, hold.at): (hold, outcome)
        for hold, outcome in zip(listed, walked, strict=True)
    }
    for campaign in definitions.every(session, account.id):
        if campaign.status not in ("scheduled", "draft", "stopped"):
            continue
        kind = "planned" if campaign.status == "scheduled" else "draft"
        once = "at" in campaign.schedule
        for moment in _moments(campaign, max(begin - timedelta(microseconds=1), now), end):
            found = told.get((campaign.id, moment))
            if found is None:
                size = _known(look, campaign)
                yield Entry(
                    kind, moment, campaign.name, campaign.id, campaign.channels, size, None,
                    movable=once,
                )  # fmt: skip
                continue
            hold, outcome = found
            yield Entry(
                kind, moment, campaign.name, campaign.id, campaign.channels,
                len(outcome.got) + len(outcome.missed), len(outcome.got), len(outcome.missed),
                movable=once, protected=hold.protected,
            )  # fmt: skip


def _moments(campaign: Campaign, after: datetime, end: datetime) -> Iterator[datetime]:
    moment = next_due(campaign.schedule, after)
    for _ in range(MOST_OCCURRENCES):
        if moment is None or moment >= end:
            return
        yield moment
        moment = next_due(campaign.schedule, moment)


def _known(look: Look, campaign: Campaign) -> int | None:
    """How many people its segments have, where that was counted before."""
    found = BitMap()
    for _name, segment in campaign.group_segments():
        try:
            people = look.known(segments.get(look.session, look.account_id, segment).where)
        except (Refused, Invalid):
            continue
        if people is None:
            return None
        found |= people
    return len(found)


def _runs(session: Session, account_id: int, month: str) -> Iterator[Entry]:
    begin, end = start_of_month(month), start_of_month(next_month(month))
    known = {
        campaign.id: campaign for campaign in definitions.every(session, account_id, archived=True)
    }
    runs = session.execute(
        sa.select(campaign_runs)
        .where(
            campaign_runs.c.account_id == account_id,
            campaign_runs.c.due_at >= begin,
            campaign_runs.c.due_at < end,
            campaign_runs.c.status != "cancelled",
        )
        .order_by(campaign_runs.c.due_at)
    ).all()
    counted = {
        row.run_id: (row.people, row.slots)
        for row in session.execute(
            sa.select(
                deliveries.c.run_id,
                sa.func.count(sa.case((deliveries.c.status.in_(COUNTED), 1))).label("people"),
                sa.func.count(deliveries.c.slot).label("slots"),
            )
            .where(deliveries.c.run_id.in_([run.id for run in runs]))
            .group_by(deliveries.c.run_id)
        )
    }
    for run in runs:
        campaign = known[run.campaign_id]
        people, slots = counted.get(run.id, (0, 0))
        yield Entry(
            "sent" if run.status == "finished" else "running",
            run.due_at,
            campaign.name,
            campaign.id,
            campaign.channels_of(run.round),
            people,
            slots,
        )


def _external(session: Session, account_id: int, month: str) -> Iterator[Entry]:
    rows = session.execute(
        sa.select(external_mass_sends)
        .where(
            external_mass_sends.c.account_id == account_id,
            external_mass_sends.c.month == month,
            external_mass_sends.c.source != "opening",
            external_mass_sends.c.audience.not_in(("none", "unplaced")),
        )
        .order_by(external_mass_sends.c.at)
    )
    for row in rows:
        yield Entry("external", row.at, row.said or "", None, (), row.total, row.total)
