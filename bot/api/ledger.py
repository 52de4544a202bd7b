"""The ledger of mass slots (额度账本): what is left, who has which, sends made elsewhere, the recount."""

from typing import Annotated, Any, Literal

from pydantic import Field

from bot import db
from bot.api import cursors
from bot.api.cursors import Listing
from bot.api.frame import Area, Asked, Call, Id, Page, Told, When
from bot.campaigns import external_sends, ledger, slot_people, slot_story
from bot.campaigns.slot_people import Person, Wanted
from bot.clock import month_of, parse_moment
from bot.db import Session
from bot.errors import Invalid

area = Area("ledger", "Ledger · 额度账本")
Month = Annotated[
    str, Field(pattern=r"^20\d\d-(0[1-9]|1[0-2])$", description="of Shanghai, such as 2026-11")
]


class OfMonth(Asked):
    month: Month | None = Field(None, description="the present month without one")


class PageOfMonth(Page):
    month: Month | None = Field(None, description="the present month without one")


class TookTold(Told):
    at: When
    name: str = Field(description="of the campaign; of a send from elsewhere its tag or segment")
    campaign_id: int | None = Field(description="null: a send from elsewhere")
    reserved: int
    spent: int
    people: int


class HoldTold(Told):
    campaign_id: int
    name: str
    at: When
    wanted: int
    gets: int = Field(description="of them, how many will have a slot left by then")
    protected: bool = Field(description="nobody else gets these slots")


class LedgerTold(Told):
    month: str
    people_by_slots_left: dict[str, int]
    reserved: int
    spent: int
    external: int = Field(description="part of spent: sends that were not made here")
    unexplained: list[str] = Field(description="MsgIDs; while there are any, mass is blocked")
    took: list[TookTold]
    planned: list[HoldTold]


class PeopleAsked(Page):
    month: Month | None = None
    left: int | None = Field(None, ge=0, le=4)
    q: str = Field("", max_length=100, description="a part of the remark, or a whole OpenID")
    campaign_id: Id | None = Field(None, description="charged by this campaign")


class PersonTold(Told):
    follower_id: int
    open_id: str | None
    left: int
    reserved: int
    spent: int
    external: int
    took: list[str]


class ExternalTold(Told):
    id: int
    at: When
    month: str
    source: str
    audience: str
    said: str | None
    times: int
    msg_id: str | None
    total: int | None
    sent: int | None
    stated_by: str | None


class ExternalAsked(Asked):
    went_to: Literal["all", "tag", "segment", "listed", "none"]
    name: str | None = Field(None, max_length=100, description="of the tag or segment")
    open_ids: list[Annotated[str, Field(min_length=1, max_length=64)]] | None = Field(
        None, max_length=10_000
    )
    at: str | None = Field(None, max_length=40, description="ISO 8601; now without")
    msg_id: str | None = Field(None, max_length=40, description="explains this unknown send")


class DifferenceTold(Told):
    follower_id: int
    reserved: int
    spent: int
    reserved_should_be: int
    spent_should_be: int


class RecountTold(Told):
    month: str
    differences: list[DifferenceTold]
    next: str | None


class Mended(Told):
    month: str
    people: int


@area("GET", "/ledger", "ledger.read")
def ledger_get(call: Call, session: Session, query: OfMonth) -> LedgerTold:
    """One month: how many followers have 0 to 4 slots left, what took the others, what is planned."""
    account, month = call.account, _month(call, query.month)
    totals = slot_story.totals(session, account.id, month)
    coming = (
        slot_story.coming(session, account.id, month, call.now)
        if month >= month_of(call.now)
        else []
    )
    people = ledger.histogram(session, account.id, month)
    return LedgerTold(
        month=month,
        people_by_slots_left={str(left): count for left, count in people.items()},
        reserved=totals.reserved,
        spent=totals.spent,
        external=totals.external,
        unexplained=external_sends.unexplained(session, account.id),
        took=[
            TookTold(
                at=one.at,
                name=one.name or one.audience,
                campaign_id=one.campaign_id,
                reserved=one.reserved,
                spent=one.spent,
                people=len(one.people),
            )
            for one in slot_story.takers(session, account.id, month)
        ],
        planned=[
            HoldTold(
                campaign_id=one.hold.campaign_id,
                name=one.hold.name,
                at=one.hold.at,
                wanted=one.wanted,
                gets=one.gets,
                protected=one.hold.protected,
            )
            for one in coming
        ],
    )


@area("GET", "/ledger/followers", "ledger.read")
def ledger_followers(call: Call, session: Session, query: PeopleAsked) -> Listing[PersonTold]:
    """Followers with their slots of a month, and what took them."""
    month = _month(call, query.month)
    rows = slot_people.people(
        session,
        call.account.id,
        month,
        Wanted(query.left, query.q, query.campaign_id),
        after=cursors.position(call, query) or 0,
        limit=query.limit + 1,
    )
    return cursors.page(call, query, rows, lambda row: _person(call, row), lambda row: row.id)


@area("GET", "/ledger/external-sends", "ledger.read")
def external_list(call: Call, session: Session, query: PageOfMonth) -> Listing[ExternalTold]:
    """Mass messages of a month that were not sent from here; unexplained ones of any month too."""
    rows = slot_story.external(session, call.account.id, _month(call, query.month))
    return cursors.slice_of(call, query, rows, _external)


@area("POST", "/ledger/external-sends", "ledger.write", status=201)
def external_state(call: Call, session: Session, body: ExternalAsked) -> Listing[ExternalTold]:
    """Say to whom a mass message went that was not sent from here. Its slots are charged within a minute."""
    named = body.went_to in ("tag", "segment")
    if named and not body.name:
        raise Invalid("name", "choose which one")
    try:
        at = parse_moment(body.at) if body.at else None
    except ValueError:
        raise Invalid("at", "must be a time") from None
    external_sends.state_external(
        session,
        call.account.id,
        "tag" if body.went_to == "segment" else body.went_to,
        call.now,
        by=call.by,
        msg_id=body.msg_id,
        at=at,
        members=external_sends.members(
            session, call.account.id, body.went_to, body.name or "", call.now
        )
        if named
        else None,
        open_ids=body.open_ids,
        said=body.name,
    )
    call.audit(
        session,
        "ledger.external",
        f"ledger:{body.msg_id}" if body.msg_id else "ledger",
        after={
            "went_to": body.went_to,
            "name": body.name,
            "count": len(body.open_ids or ()),
            "at": body.at,
        },
    )
    rows = slot_story.external(session, call.account.id, month_of(at or call.now))
    return Listing[ExternalTold](items=[_external(row) for row in rows], next=None)


@area("GET", "/ledger/recount", "ledger.read")
def recount_compare(call: Call, session: Session, query: PageOfMonth) -> RecountTold:
    """Compare a month's counters with the deliveries: every follower whose counter differs."""
    month = _month(call, query.month)
    every = sorted(ledger.check(session, call.account.id, month), key=lambda one: one.follower_id)
    page = cursors.slice_of(call, query, every, _difference)
    return RecountTold(month=month, differences=page.items, next=page.next)


@area("POST", "/ledger/recount", "ledger.write")
def recount_repair(call: Call, body: OfMonth) -> Mended:
    """Set the counters of a month to what the deliveries say, in short steps beside which sends go on."""
    month = _month(call, body.month)
    people = ledger.recount(call.rt.engine, call.account.id, month)
    with db.writing(call.rt.engine) as session:
        call.audit(session, "ledger.recount", "ledger", after={"month": month, "people": people})
    return Mended(month=month, people=people)


def _month(call: Call, given: str | None) -> str:
    return given or month_of(call.now)


def _difference(one: ledger.Difference) -> DifferenceTold:
    return DifferenceTold(
        follower_id=one.follower_id,
        reserved=one.reserved,
        spent=one.spent,
        reserved_should_be=one.reserved_should_be,
        spent_should_be=one.spent_should_be,
    )


def _person(call: Call, row: Person) -> PersonTold:
    return PersonTold(
        follower_id=row.id,
        open_id=call.open_id(row.open_id),
        left=row.left,
        reserved=row.reserved,
        spent=row.spent,
        external=row.external,
        took=[name for name, _campaign_id in row.took],
    )


def _external(row: Any) -> ExternalTold:
    return ExternalTold(**{name: getattr(row, name) for name in ExternalTold.model_fields})
