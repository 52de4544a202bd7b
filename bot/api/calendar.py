"""The calendar of sends (群发日历): a month, what a send would cost, and a move to another day."""

from typing import Annotated

from pydantic import Field

from bot.api.frame import Area, Asked, Call, Day, Id, Told, When
from bot.api.ledger import Month
from bot.api.problems import found
from bot.audiences.index import Look
from bot.campaigns import calendar, definitions
from bot.campaigns.calendar import Entry, WhatIf
from bot.campaigns.definitions import Campaign
from bot.clock import month_of, parse_moment
from bot.db import Session
from bot.errors import Invalid

area = Area("calendar", "Calendar · 群发日历")


class MonthAsked(Asked):
    month: Month | None = Field(None, description="the present month without one")


class EntryTold(Told):
    kind: str = Field(description="sent | running | planned | draft | external")
    at: When
    name: str
    campaign_id: int | None
    channels: list[str]
    people: int | None = Field(description="null: nobody counted them yet")
    slots: int | None
    missing: int = Field(description="of a planned push: who will have no slot left by then")
    protected: bool


class MonthTold(Told):
    month: str
    entries: list[EntryTold]
    counted_at: When


class WhatIfAsked(Asked):
    segment: str | None = Field(None, max_length=100, description="a push to these people")
    campaign_id: Id | None = Field(None, description="or this campaign, at another moment")
    at: Annotated[str, Field(max_length=40, description="ISO 8601")]


class LostTold(Told):
    campaign_id: int
    name: str
    at: When
    wanted: int
    people: int = Field(description="who would get it as things stand, and would not then")


class WhatIfTold(Told):
    at: When
    wanted: int
    gets: int
    people: int = Field(description="everybody who loses a planned push")
    lost: list[LostTold]
    notes: list[str] = Field(description="past | closed | quiet | one_a_day")
    counted_at: When


class MoveAsked(Asked):
    day: Day = Field(description="the time of day stays")


@area("GET", "/calendar", "ledger.read")
def calendar_month(call: Call, session: Session, query: MonthAsked) -> MonthTold:
    """What was sent, is planned or drafted in a month, in order of time."""
    month = query.month or month_of(call.now)
    look = Look(session, call.account.id, call.now)
    entries = [_entry(one) for one in calendar.entries(look, call.account, month)]
    return MonthTold(month=month, entries=entries, counted_at=look.counted_at)


@area("GET", "/calendar/what-if", "ledger.read")
def calendar_what_if(call: Call, session: Session, query: WhatIfAsked) -> WhatIfTold:
    """Which planned pushes lose how many people if a segment is written to, or a campaign moved."""
    try:
        at = parse_moment(query.at)
    except ValueError:
        raise Invalid("at", "must be a time") from None
    look = Look(session, call.account.id, call.now)
    if query.campaign_id is not None:
        campaign = _campaign(call, session, query.campaign_id)
        return _what_if(calendar.what_if_moved(look, call.account, campaign, at))
    if not query.segment:
        raise Invalid("segment", "name a segment or a campaign")
    return _what_if(calendar.what_if(look, call.account, query.segment, at))


@area("POST", "/calendar/<campaign_id>/move", "campaigns.write")
def calendar_move(call: Call, session: Session, campaign_id: Id, body: MoveAsked) -> WhatIfTold:
    """Send a campaign on another day at the same time of day; what that takes from the others is the answer."""
    campaign = _campaign(call, session, campaign_id)
    look = Look(session, call.account.id, call.now)
    at = calendar.moment_on(campaign, body.day)
    told = calendar.what_if_moved(look, call.account, campaign, at)
    moved = calendar.move(session, call.account, campaign, body.day, call.now, by=call.by)
    call.audit(
        session,
        "campaign.move",
        f"campaign:{campaign.name}",
        before={"schedule": dict(campaign.schedule)},
        after={"schedule": dict(moved.schedule), "count": len(told.people)},
    )
    return _what_if(told)


def _campaign(call: Call, session: Session, campaign_id: int) -> Campaign:
    every = definitions.every(session, call.account.id, archived=True)
    return found(next((one for one in every if one.id == campaign_id), None))


def _entry(entry: Entry) -> EntryTold:
    return EntryTold(
        kind=entry.kind,
        at=entry.at,
        name=entry.name,
        campaign_id=entry.campaign_id,
        channels=list(entry.channels),
        people=entry.people,
        slots=entry.slots,
        missing=entry.missing,
        protected=entry.protected,
    )


def _what_if(told: WhatIf) -> WhatIfTold:
    return WhatIfTold(
        at=told.at,
        wanted=told.wanted,
        gets=told.gets,
        people=len(told.people),
        lost=[
            LostTold(
                campaign_id=one.campaign_id,
                name=one.name,
                at=one.at,
                wanted=one.wanted,
                people=len(one.people),
            )
            for one in told.lost
        ],
        notes=list(told.notes),
        counted_at=told.counted_at,
    )
