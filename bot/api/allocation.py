"""Dividing a month's slots among its campaigns (预算分配)."""

from typing import Any

from pydantic import Field

from bot import jobs
from bot.api.cursors import page, position
from bot.api.frame import Area, Asked, Call, Id, Json, Page, Told, When
from bot.api.ledger import Month
from bot.api.problems import found
from bot.campaigns import allocation
from bot.campaigns.allocation import DIVIDE, Divided
from bot.campaigns.month_values import FOLLOWER_WORTH, Choice, Settings
from bot.clock import month_of
from bot.db import Session

area = Area("allocation", "Allocation · 预算分配")


class AllocationsAsked(Page):
    month: Month | None = Field(None, description="the present month without one")


class OfferTold(Told):
    campaign_id: int
    name: str
    at: When
    rate: float = Field(description="of clicks, as the past says")
    rate_of: str = Field(description="groups | similar | past | usual: where the rate comes from")
    click: float = Field(description="what a click is worth")
    protected: bool


class AllocationTold(Told):
    id: int
    month: str
    status: str = Field(description="proposed | in_force | replaced")
    made_by: str
    made_at: When
    figures: Json = Field(description="per campaign, the total, the bound, the send to all")


class AllocationsTold(Told):
    month: str
    offers: list[OfferTold]
    allocations: list[AllocationTold]
    next: str | None = Field(description="the cursor of the page with older divisions")


class ChoiceAsked(Asked):
    campaign_id: Id
    rate: float | None = Field(None, ge=0, le=1)
    click: float = Field(1.0, ge=0, le=1e6)
    least: int = Field(0, ge=0, le=10**8)
    most: int | None = Field(None, ge=0, le=10**8)
    kind: str = Field("", max_length=40)


class DivideAsked(Asked):
    month: Month
    campaigns: list[ChoiceAsked] = Field(min_length=1, max_length=16)
    follower_worth: float = Field(FOLLOWER_WORTH, ge=0, le=1e6, description="in clicks")
    risk: float | None = Field(None, ge=0, le=1, description="of an unfollow; as measured without")
    gap_days: int = Field(0, ge=0, le=31)
    per_kind: int = Field(0, ge=0, le=4)


class Begun(Told):
    job_id: int | None


@area("GET", "/allocations", "ledger.read")
def allocations_list(call: Call, session: Session, query: AllocationsAsked) -> AllocationsTold:
    """The campaigns of a month that may take part, and the divisions made so far, newest first."""
    month = query.month or month_of(call.now)
    made = allocation.page(
        session, call.account.id, month, limit=query.limit + 1, before=position(call, query)
    )
    listed = page(call, query, made, _told, lambda one: one.id)
    return AllocationsTold(
        month=month,
        offers=[
            OfferTold(
                campaign_id=one.campaign.id,
                name=one.campaign.name,
                at=one.at,
                rate=one.rate,
                rate_of=one.rate_of,
                click=one.click,
                protected=one.protected,
            )
            for one in allocation.offers(session, call.account, month, call.now)
        ],
        allocations=listed.items,
        next=listed.next,
    )


@area("GET", "/allocations/<allocation_id>", "ledger.read")
def allocation_get(call: Call, session: Session, allocation_id: Id) -> AllocationTold:
    """One division with its figures."""
    return _told(found(allocation.find(session, call.account.id, allocation_id)))


@area("POST", "/allocations", "campaigns.write", status=202)
def allocation_make(call: Call, session: Session, body: DivideAsked) -> Begun:
    """Divide the month's slots, in the background; the division is listed when it is done."""
    settings = Settings(
        body.month,
        tuple(Choice(**one.model_dump()) for one in body.campaigns),
        body.follower_worth,
        body.risk,
        body.gap_days,
        body.per_kind,
    )
    allocation.check(session, call.account, settings, call.now)
    arguments: dict[str, Any] = {"settings": settings.to_json(), "by": call.by}
    return Begun(
        job_id=jobs.enqueue(session, DIVIDE, arguments, now=call.now, account_id=call.account.id)
    )


@area("POST", "/allocations/<allocation_id>/enforce", "campaigns.write")
def allocation_enforce(call: Call, session: Session, allocation_id: Id) -> AllocationTold:
    """Keep its places: no other campaign takes such a slot. The division in force before is replaced."""
    one = found(allocation.find(session, call.account.id, allocation_id))
    changed = allocation.put_in_force(session, call.account.id, one.id, call.now)
    call.audit(
        session,
        "allocation.enforce",
        f"allocation:{one.id}",
        after={"month": one.month, "count": one.figures["slots"]},
    )
    return _told(changed)


@area("POST", "/allocations/<allocation_id>/lift", "campaigns.write")
def allocation_lift(call: Call, session: Session, allocation_id: Id) -> AllocationTold:
    """Take the division in force back: slots go to who comes first again. What was sent stays sent."""
    one = found(allocation.find(session, call.account.id, allocation_id))
    changed = allocation.lift(session, call.account.id, one.id)
    call.audit(session, "allocation.lift", f"allocation:{one.id}")
    return _told(changed)


def _told(one: Divided) -> AllocationTold:
    return AllocationTold(
        id=one.id,
        month=one.month,
        status=one.status,
        made_by=one.made_by,
        made_at=one.made_at,
        figures=dict(one.figures),
    )
