"""Plans (推广方案): written in steps, estimated, handed in; and as the files that are handed round."""

import contextlib
from typing import Any

from pydantic import Field

from bot.api.campaign_checks import ContentFinding, finding
from bot.api.cursors import Listing, slice_of
from bot.api.frame import Area, Asked, Call, Id, Json, Page, Told, Version, When
from bot.api.problems import found
from bot.audiences import segments
from bot.audiences.index import Look
from bot.campaigns import estimates, plan_checks, plan_files, plans
from bot.campaigns.estimates import Estimate
from bot.campaigns.plans import Plan
from bot.clock import parse_moment
from bot.db import Session
from bot.errors import Invalid, Refused

area = Area("plans", "Plans · 推广方案")


class PlanTold(Told):
    id: Id
    name: str
    step: int = Field(description="1 to 5: how far it came")
    version: Version
    campaign_id: int | None = Field(description="what became of it")
    document: Json = Field(description="as the account file writes a campaign; may be incomplete")
    problems: list[dict[str, str]] = Field(description="what keeps it from being handed in")
    changed_by: str
    changed_at: When
    archived_at: When | None


class PlanWanted(Asked):
    document: Json = Field(description="as the account file writes a campaign; may be incomplete")
    step: int = Field(1, ge=1, le=5)


class PlanChanged(PlanWanted):
    version: Version = Field(description="the version that was read; 409 when it is another now")


class PlanRead(Asked):
    version: Version = Field(description="the version that was read")


class CsvWanted(Asked):
    csv: str = Field(max_length=2_000_000, description="the document of one plan")


class CsvTold(Told):
    csv: str


class PlansAsked(Page):
    archived: bool = Field(False, description="those that were put away instead")


class GroupTold(Told):
    name: str
    segment: str
    people: int
    held_out: int
    reached: int
    rate: float | None
    expected: float | None
    by_channel: dict[str, int]


class ChannelTold(Told):
    name: str
    considered: int
    people: int
    slots: int
    blocked: dict[str, int]


class EstimateTold(Told):
    people: int
    reached: int
    slots: int
    expected: float | None
    groups: list[GroupTold]
    channels: list[ChannelTold]
    skipped: dict[str, int] = Field(description="reason to people")
    slots_left: list[int] = Field(description="of the audience: how many have 0, 1, … 4 slots left")
    month: str
    exact: bool = Field(description="false: the holdout was taken off by its share")
    counted_at: When


class Submitted(Told):
    campaign_id: int
    name: str


class AnswerTold(Told):
    word: str
    rule: str | None
    fallback: bool
    opted_out: bool
    others: list[str]


class PlanChecks(Told):
    findings: list[ContentFinding]
    answers: list[AnswerTold] = Field(
        description="what the words it invites would be answered with"
    )


@area("GET", "/plans", "campaigns.read")
def plans_list(call: Call, session: Session, query: PlansAsked) -> Listing[PlanTold]:
    """Plans, the last changed first."""
    every = plans.every(session, call.account.id, archived=query.archived)
    return slice_of(call, query, every, told)


@area("GET", "/plans/<plan_id>", "campaigns.read")
def plan_get(call: Call, session: Session, plan_id: Id) -> PlanTold:
    """One plan."""
    return told(_found(call, session, plan_id))


@area("POST", "/plans", "campaigns.write", status=201)
def plan_create(call: Call, session: Session, body: PlanWanted) -> PlanTold:
    """Begin a plan."""
    plan_id = plans.create(session, call.account.id, body.document, call.now, by=call.by)
    call.audit(session, "plan.add", f"plan:{plan_id}", after=body.document)
    return told(_found(call, session, plan_id))


@area("PUT", "/plans/<plan_id>", "campaigns.write")
def plan_update(call: Call, session: Session, plan_id: Id, body: PlanChanged) -> PlanTold:
    """Write on. Refused when somebody else wrote since the version that was read."""
    before = _found(call, session, plan_id)
    after = plans.save(
        session,
        call.account.id,
        plan_id,
        body.document,
        call.now,
        version=body.version,
        step=body.step,
        by=call.by,
    )
    call.audit(
        session, "plan.change", f"plan:{plan_id}", before=before.document, after=after.document
    )
    return told(after)


@area("GET", "/plans/<plan_id>/estimate", "campaigns.read")
def plan_estimate(call: Call, session: Session, plan_id: Id) -> EstimateTold:
    """Who would get it by which channel, who would not and why."""
    plan = _found(call, session, plan_id)
    return _estimate_told(_estimate(call, session, plan))


@area("GET", "/plans/<plan_id>/checks", "campaigns.read")
def plan_checked(call: Call, session: Session, plan_id: Id) -> PlanChecks:
    """What the content checks find, and how invited words would be answered."""
    plan = _found(call, session, plan_id)
    return PlanChecks(
        findings=[finding(call, one) for one in plan_checks.findings(plan.document)],
        answers=[
            AnswerTold(
                word=one.word,
                rule=one.rule,
                fallback=one.fallback,
                opted_out=one.opted_out,
                others=list(one.others),
            )
            for one in plan_checks.answers(session, call.account, plan.document, call.now)
        ],
    )


@area("POST", "/plans/<plan_id>/submit", "campaigns.write")
def plan_submit(call: Call, session: Session, plan_id: Id, body: PlanRead) -> Submitted:
    """Hand it in with what is expected of it: it becomes a campaign that waits for approval."""
    plan, version = _found(call, session, plan_id), body.version
    if plan.version == version:
        filled = _filled(call, session, plan)
        given: dict[str, Any] = {"version": version, "step": plans.STEPS, "by": call.by}
        version = plans.save(session, call.account.id, plan_id, filled, call.now, **given).version
    campaign = plans.submit(session, call.account, plan_id, call.now, by=call.by, version=version)
    call.audit(session, "plan.submit", f"plan:{plan_id}", after={"name": campaign.name})
    return Submitted(campaign_id=campaign.id, name=campaign.name)


@area("GET", "/plans/<plan_id>/csv", "campaigns.read")
def plan_csv(call: Call, session: Session, plan_id: Id) -> CsvTold:
    """The plan document 人群 / 推广 / 数据 as CSV."""
    plan = _found(call, session, plan_id)
    return CsvTold(csv=plan_files.to_csv(_filled(call, session, plan)))


@area("POST", "/plans/csv", "campaigns.write", status=201)
def plan_from_csv(call: Call, session: Session, body: CsvWanted) -> PlanTold:
    """A plan from such a CSV. Its own CSV is the same, byte for byte."""
    document = plan_files.from_csv(body.csv)
    plan_id = plans.create(session, call.account.id, document, call.now, by=call.by)
    call.audit(session, "plan.import", f"plan:{plan_id}", after=document)
    return told(_found(call, session, plan_id))


@area("POST", "/plans/<plan_id>/archive", "campaigns.write")
def plan_archive(call: Call, session: Session, plan_id: Id) -> PlanTold:
    """Put it away; the campaign it became stays."""
    before = _found(call, session, plan_id)
    plans.archive(session, call.account.id, plan_id, call.now)
    call.audit(session, "plan.archive", f"plan:{plan_id}", before=before.document)
    return told(found(plans.find(session, call.account.id, plan_id)))


def _found(call: Call, session: Session, plan_id: int) -> Plan:
    plan = found(plans.find(session, call.account.id, plan_id))
    return found(plan if plan.archived_at is None else None)


def _filled(call: Call, session: Session, plan: Plan) -> dict[str, Any]:
    """The document with what is computed of it now, so that a report can hold it against the result."""
    try:
        estimate: Estimate | None = _estimate(call, session, plan)
    except (Refused, Invalid):
        estimate = None
    return plan_files.filled(plan.document, estimate, _sentences(call, session, plan.document))


def _estimate(call: Call, session: Session, plan: Plan) -> Estimate:
    at = call.now
    if isinstance(plan.document.get("at"), str):
        with contextlib.suppress(ValueError):
            at = max(at, parse_moment(plan.document["at"]))
    look = Look(session, call.account.id, call.now)
    return estimates.estimate(
        look, call.account, plan.document, at=at, campaign_id=plan.campaign_id
    )


def _sentences(call: Call, session: Session, document: dict[str, Any]) -> dict[str, str]:
    found_sentences = {}
    for _group, name in estimates.group_segments(document):
        try:
            found_sentences[name] = segments.get(session, call.account.id, name).sentence
        except (Refused, Invalid):
            found_sentences[name] = ""
    return found_sentences


def _estimate_told(one: Estimate) -> EstimateTold:
    return EstimateTold(
        people=one.people,
        reached=one.reached,
        slots=one.slots,
        expected=one.expected,
        groups=[
            GroupTold(
                name=group.name,
                segment=group.segment,
                people=group.people,
                held_out=group.held_out,
                reached=group.reached,
                rate=group.rate,
                expected=group.expected,
                by_channel=dict(group.by_channel),
            )
            for group in one.groups
        ],
        channels=[
            ChannelTold(
                name=channel.name,
                considered=channel.considered,
                people=channel.people,
                slots=channel.slots,
                blocked=dict(channel.blocked),
            )
            for channel in one.channels
        ],
        skipped=dict(one.skipped),
        slots_left=list(one.slots_left),
        month=one.month,
        exact=one.exact,
        counted_at=one.counted_at,
    )


def told(plan: Plan) -> PlanTold:
    """A plan as the API tells it."""
    return PlanTold(
        id=plan.id,
        name=plan.name,
        step=plan.step,
        version=plan.version,
        campaign_id=plan.campaign_id,
        document=plan.document,
        problems=[
            {"place": place, "message": sentence}
            for place, sentence in plans.problems(plan.document)
        ],
        changed_by=plan.changed_by,
        changed_at=plan.changed_at,
        archived_at=plan.archived_at,
    )
