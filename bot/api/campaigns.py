"""Campaigns (营销活动): written as the account file writes them, reviewed, steered, and what came of them."""

from typing import Any, Literal

from pydantic import Field

from bot import followers
from bot.api import cursors
from bot.api.cursors import Listing
from bot.api.frame import Area, Asked, Call, Id, Json, Nothing, Page, Told, Version, When
from bot.api.problems import found
from bot.campaigns import (
    comparison,
    definitions,
    funnel,
    lines,
    live,
    reviews,
    sending,
    steering,
    trials,
)
from bot.campaigns.comparison import Side
from bot.campaigns.definitions import Campaign
from bot.campaigns.lines import Row, Search
from bot.campaigns.live import Line, RunPicture
from bot.campaigns.status import explain
from bot.db import Session
from bot.errors import Invalid, Refused

area = Area("campaigns", "Campaigns · 营销活动")
Status = Literal[
    "", "draft", "review", "scheduled", "waiting", "running", "paused", "stopped", "finished", "archived"
]  # fmt: skip


class CampaignTold(Told):
    id: int
    name: str
    status: str
    submitted: bool = Field(description="waits for review")
    next_due_at: When | None
    run_status: str | None
    run_reason: str | None
    sent: int
    skipped: int
    guided: int
    target: int | None
    slots: int
    created_by: str
    created_at: When


class CampaignWhole(Told):
    id: int
    version: Version
    status: str
    next_due_at: When | None
    submitted_by: str | None
    approved_by: list[Any] = Field(description="names; {file: true} is an account file, two people")
    approved_people: int | None
    approved_slots: int | None
    document: Json = Field(description="as the account file writes it")


class CampaignsAsked(Page):
    q: str = Field("", max_length=100, description="a part of the name")
    status: Status = Field("", description="of the campaign, or what its run is doing")
    channel: str = Field("", max_length=40)


class Document(Asked):
    document: Json = Field(description="as the account file writes a campaign")


class CampaignChange(Document):
    version: Version | None = Field(
        None, description="the version it was changed from; 409 when it is another now"
    )


class Bounds(Asked):
    people: int = Field(ge=1, le=2**31 - 1)
    slots: int = Field(ge=0, le=2**31 - 1)
    version: Version | None = Field(
        None, description="the version that was looked at; 409 when it is another now"
    )


class Why(Asked):
    reason: str = Field(min_length=1, max_length=500)


class To(Asked):
    open_id: str = Field(min_length=1, max_length=64, description="of a tester")


class Chosen(Asked):
    variant: str = Field(min_length=1, max_length=20)


class Said(Asked):
    content: Json = Field(description="of the next follow-up")


class Against(Asked):
    against: Id | None = Field(
        None, description="another campaign; without one a send to everybody that was not made"
    )


class ForecastTold(Told):
    people: int
    reached: int
    slots: int
    channels: dict[str, int]
    reasons: dict[str, int]
    groups: dict[str, Json]
    needs_two: bool


class RunLine(Told):
    name: str
    people: int
    waiting: int
    sent: int
    failed: int
    skipped: int
    delivered: int
    guided: int
    slots: int


class RunTold(Told):
    id: int
    round: int
    status: str
    reason: str | None
    due_at: When
    finished_at: When | None
    audience: int
    holdout: int
    total: RunLine
    reasons: list[Json] = Field(description="status, reason, people; they add up to the audience")
    channels: list[RunLine]
    waves: list[RunLine]
    groups: list[RunLine]
    variants: list[RunLine]
    winner: str | None
    decision: Json | None
    guard: Json | None
    next_at: When | None
    per_minute: float | None
    ends_at: When | None


class Progress(Told):
    runs: list[RunTold]
    delivered: int
    guided: int
    target: int | None
    reached_at: When | None
    slots: int
    next_round_at: When | None


class StepTold(Told):
    name: str
    people: int | None = Field(description="null: WeChat gives no number, or nobody recorded any")
    of: str
    share: float | None
    past: float | None


class EffectTold(Told):
    name: str
    treated: int
    treated_hits: int
    held: int
    held_hits: int
    points: float
    low: float
    high: float
    caused: int
    certain: bool


class SideTold(Told):
    name: str
    simulated_from: str | None
    planned: int
    delivered: int
    opened: int | None
    guided: int
    guide_rate: float | None
    target: int | None
    reached_at: When | None
    unfollows: int
    above_base: float
    slots: int
    slots_per_guided: float | None
    losing: int = Field(description="people who lose a planned push")
    tags: dict[str, int]
    holdout: int
    variants: int


class OutcomeTold(Told):
    outcome: SideTold
    funnel: list[StepTold]
    weakest: str | None
    effects: list[EffectTold]


class CampaignsCompared(Told):
    left: SideTold | None = Field(description="null: no send to everybody to learn from")
    right: SideTold


@area("GET", "/campaigns", "campaigns.read")
def campaigns_list(call: Call, session: Session, query: CampaignsAsked) -> Listing[CampaignTold]:
    """Campaigns, newest first; archived ones only when asked for."""
    begin = cursors.position(call, query) or 0
    search = Search(query.q, query.status, query.channel)
    rows = lines.rows(session, call.account.id, search, offset=begin, limit=query.limit + 1)
    more = cursors.made(call, query, begin + query.limit) if len(rows) > query.limit else None
    return Listing[CampaignTold](items=[_row(row) for row in rows[: query.limit]], next=more)


@area("GET", "/campaigns/<campaign_id>", "campaigns.read")
def campaign_get(call: Call, session: Session, campaign_id: Id) -> CampaignWhole:
    """One campaign: its document, and where it stands."""
    return _whole(session, found_campaign(call, session, campaign_id))


@area("POST", "/campaigns", "campaigns.write", status=201)
def campaign_create(call: Call, session: Session, body: Document) -> CampaignWhole:
    """A new campaign from its document."""
    name = body.document.get("name")
    if any(one.name == name for one in definitions.every(session, call.account.id, archived=True)):
        raise Refused(f"a campaign named '{name}' exists already")
    return _save(call, session, body)


@area("PUT", "/campaigns/<campaign_id>", "campaigns.write")
def campaign_update(
    call: Call, session: Session, campaign_id: Id, body: CampaignChange
) -> CampaignWhole:
    """Make it equal to its document; what was approved must be approved again."""
    campaign = found_campaign(call, session, campaign_id)
    if body.document.get("name") not in (None, campaign.name):
        raise Invalid("document.name", "is another campaign's: a campaign keeps its name")
    named = Document(document={**body.document, "name": campaign.name})
    return _save(call, session, named, body.version)


@area("GET", "/campaigns/<campaign_id>/forecast", "campaigns.read")
def campaign_forecast(call: Call, session: Session, campaign_id: Id) -> ForecastTold:
    """Whom it would reach now, by channel and reason, and what it would cost."""
    campaign = found_campaign(call, session, campaign_id)
    told = reviews.forecast(session, call.account, campaign, call.now)
    return ForecastTold(
        people=told.people,
        reached=told.reached,
        slots=told.slots,
        channels=dict(told.channels),
        reasons=dict(told.reasons),
        groups={
            name: {"people": one.people, "reached": one.reached, "slots": one.slots}
            for name, one in told.groups.items()
        },
        needs_two=reviews.needs_two(session, call.account, campaign, told.reached),
    )


@area("POST", "/campaigns/<campaign_id>/submit", "campaigns.write")
def campaign_submit(call: Call, session: Session, campaign_id: Id) -> CampaignWhole:
    """Hand it in for review; the approval schedules it."""
    campaign = found_campaign(call, session, campaign_id)
    reviews.submit(session, call.account, campaign, call.by, call.now)
    return _changed(call, session, campaign, "submit")


@area("POST", "/campaigns/<campaign_id>/approve", "campaigns.approve")
def campaign_approve(call: Call, session: Session, campaign_id: Id, body: Bounds) -> CampaignWhole:
    """Let it go for at most so many people and slots. Nobody approves what they handed in themselves."""
    campaign = found_campaign(call, session, campaign_id)
    reviews.approve(
        session,
        call.account,
        campaign,
        call.by,
        body.people,
        body.slots,
        call.now,
        call.rt.secret_key,
        seen_version=body.version,
    )
    after = {"people": body.people, "slots": body.slots}
    return _changed(call, session, campaign, "approve", after)


@area("POST", "/campaigns/<campaign_id>/reject", "campaigns.approve")
def campaign_reject(call: Call, session: Session, campaign_id: Id, body: Why) -> CampaignWhole:
    """Send it back, with the reason."""
    campaign = found_campaign(call, session, campaign_id)
    reviews.reject(session, campaign, body.reason)
    return _changed(call, session, campaign, "reject", body.model_dump())


@area("POST", "/campaigns/<campaign_id>/stop", "campaigns.write")
def campaign_stop(call: Call, session: Session, campaign_id: Id) -> CampaignWhole:
    """No further run becomes due; a run under way goes on until it is paused or cancelled."""
    campaign = found_campaign(call, session, campaign_id)
    definitions.stop(session, campaign)
    return _changed(call, session, campaign, "off")


@area("POST", "/campaigns/<campaign_id>/archive", "campaigns.write")
def campaign_archive(call: Call, session: Session, campaign_id: Id) -> CampaignWhole:
    """Put it away. 409 while a run of it is under way."""
    campaign = found_campaign(call, session, campaign_id)
    definitions.archive(session, campaign)
    return _changed(call, session, campaign, "archive")


@area("POST", "/campaigns/<campaign_id>/pause", "campaigns.stop")
def campaign_pause(call: Call, session: Session, campaign_id: Id) -> CampaignWhole:
    """Hand over nothing more of the run under way."""
    campaign = found_campaign(call, session, campaign_id)
    steering.pause(session, _open_run(session, campaign), call.now)
    return _changed(call, session, campaign, "pause")


@area("POST", "/campaigns/<campaign_id>/resume", "campaigns.stop")
def campaign_resume(call: Call, session: Session, campaign_id: Id) -> CampaignWhole:
    """Go on with the paused run."""
    campaign = found_campaign(call, session, campaign_id)
    steering.resume(session, _open_run(session, campaign), call.now)
    return _changed(call, session, campaign, "resume")


@area("POST", "/campaigns/<campaign_id>/cancel", "campaigns.stop")
def campaign_cancel(call: Call, session: Session, campaign_id: Id) -> CampaignWhole:
    """End the run under way. Slots that were not used come back within seconds."""
    campaign = found_campaign(call, session, campaign_id)
    steering.cancel(session, _open_run(session, campaign), call.now)
    return _changed(call, session, campaign, "cancel")


@area("POST", "/campaigns/<campaign_id>/end", "campaigns.stop")
def campaign_end(call: Call, session: Session, campaign_id: Id) -> CampaignWhole:
    """End the run under way and leave out every follow-up."""
    campaign = found_campaign(call, session, campaign_id)
    steering.end(session, call.account.id, campaign.name, call.now)
    return _changed(call, session, campaign, "end")


@area("POST", "/campaigns/<campaign_id>/follow-up/skip", "campaigns.stop")
def campaign_skip(call: Call, session: Session, campaign_id: Id) -> CampaignWhole:
    """Leave out the next follow-up."""
    campaign = found_campaign(call, session, campaign_id)
    steering.skip_round(session, call.account.id, campaign.name, call.now)
    return _changed(call, session, campaign, "skip")


@area("PUT", "/campaigns/<campaign_id>/follow-up", "campaigns.write")
def campaign_follow_up(call: Call, session: Session, campaign_id: Id, body: Said) -> CampaignWhole:
    """Let the next follow-up say something else; it is approved again before it goes."""
    campaign = found_campaign(call, session, campaign_id)
    steering.change_round(session, call.account.id, campaign.name, body.content, call.now)
    return _changed(call, session, campaign, "edit", {"content": body.content})


@area("POST", "/campaigns/<campaign_id>/winner", "campaigns.write")
def campaign_winner(call: Call, session: Session, campaign_id: Id, body: Chosen) -> CampaignWhole:
    """Choose the variant the rest gets."""
    campaign = found_campaign(call, session, campaign_id)
    first = live.picture(session, campaign, call.now).first
    if first is None:
        raise Refused("nothing of this campaign was sent yet")
    trials.choose_winner(session, first.id, body.variant, call.now)
    return _changed(call, session, campaign, "winner", body.model_dump())


@area("POST", "/campaigns/<campaign_id>/preview", "campaigns.write")
def campaign_preview(call: Call, session: Session, campaign_id: Id, body: To) -> Nothing:
    """Show the content to one tester; it takes no slot and is no delivery."""
    campaign = found_campaign(call, session, campaign_id)
    follower = followers.find(session, call.account.id, body.open_id)
    sending.preview(
        session,
        call.account,
        campaign,
        follower.id if follower is not None else 0,
        call.now,
        call.rt.secret_key,
        call.rt.config.base_url,
    )
    call.audit(session, "campaign.tester", f"campaign:{campaign.name}")
    return Nothing()


@area("GET", "/campaigns/<campaign_id>/progress", "campaigns.read")
def campaign_progress(call: Call, session: Session, campaign_id: Id) -> Progress:
    """How its newest run and follow-ups stand: by channel, wave, group and variant, and everybody's reason."""
    picture = live.picture(session, found_campaign(call, session, campaign_id), call.now)
    return Progress(
        runs=[_run(call, run) for run in picture.runs],
        delivered=picture.delivered,
        guided=picture.guided,
        target=picture.target,
        reached_at=picture.reached_at,
        slots=picture.slots,
        next_round_at=picture.next_round.due_at if picture.next_round else None,
    )


@area("GET", "/campaigns/<campaign_id>/outcome", "campaigns.read")
def campaign_outcome(call: Call, session: Session, campaign_id: Id) -> OutcomeTold:
    """What came of it: the funnel, what it caused, what it cost."""
    campaign = found_campaign(call, session, campaign_id)
    picture = live.picture(session, campaign, call.now)
    steps = funnel.steps(session, picture)
    weakest = funnel.weakest(steps)
    return OutcomeTold(
        outcome=_side(comparison.of_campaign(session, campaign, call.now)),
        funnel=[
            StepTold(
                name=step.name, people=step.people, of=step.of, share=step.share, past=step.past
            )
            for step in steps
        ],
        weakest=weakest.name if weakest else None,
        effects=[
            EffectTold(
                name=one.name,
                treated=one.treated,
                treated_hits=one.treated_hits,
                held=one.held,
                held_hits=one.held_hits,
                points=one.lift.points,
                low=one.lift.low,
                high=one.lift.high,
                caused=one.lift.caused,
                certain=one.certain,
            )
            for one in funnel.effects(session, picture)
        ],
    )


@area("GET", "/campaigns/<campaign_id>/compare", "campaigns.read")
def campaign_compare(
    call: Call, session: Session, campaign_id: Id, query: Against
) -> CampaignsCompared:
    """Beside another campaign, or a send to everybody at the same time that was not made."""
    right = comparison.of_campaign(session, found_campaign(call, session, campaign_id), call.now)
    if query.against is not None:
        other = found_campaign(call, session, query.against)
        left: Side | None = comparison.of_campaign(session, other, call.now)
    elif right.at is not None:
        left = comparison.to_everybody(session, call.account.id, right.at, call.now, right.target)
    else:
        left = None
    return CampaignsCompared(left=_side(left) if left is not None else None, right=_side(right))


def found_campaign(call: Call, session: Session, campaign_id: int) -> Campaign:
    """A campaign of this account, archived ones too. 404 where there is none."""
    every = definitions.every(session, call.account.id, archived=True)
    return found(next((one for one in every if one.id == campaign_id), None))


def _open_run(session: Session, campaign: Campaign) -> int:
    run = live.newest_run(session, campaign)
    if run is None:
        raise Refused("nothing of this campaign is under way")
    return int(run.id)


def _save(
    call: Call, session: Session, body: Document, seen_version: int | None = None
) -> CampaignWhole:
    document = dict(body.document)
    # an approval is somebody's, not a line of a document: the account file has its own door
    if "approved_for" in document:
        raise Invalid("document.approved_for", "is for account files: approve it by its own call")
    campaign = definitions.save(
        session, call.account, document, call.now, by=call.by, seen_version=seen_version
    )
    call.audit(session, "campaign.save", f"campaign:{campaign.name}", after=document)
    return _whole(session, campaign)


def _changed(
    call: Call, session: Session, campaign: Campaign, verb: str, after: Any = None
) -> CampaignWhole:
    before = {"status": campaign.status}
    call.audit(session, f"campaign.{verb}", f"campaign:{campaign.name}", before=before, after=after)
    return _whole(session, definitions.by_id(session, campaign.id))


def _row(row: Row) -> CampaignTold:
    return CampaignTold(
        id=row.campaign.id,
        name=row.campaign.name,
        status=row.campaign.status,
        submitted=row.submitted,
        next_due_at=row.line.next_due_at,
        run_status=row.line.run_status,
        run_reason=row.line.run_reason,
        sent=row.line.sent,
        skipped=row.line.counts.get("skipped", 0),
        guided=row.line.guided,
        target=row.line.target,
        slots=row.line.slots,
        created_by=row.created_by,
        created_at=row.created_at,
    )


def _whole(session: Session, campaign: Campaign) -> CampaignWhole:
    handed = reviews.handed_in(session, campaign)
    return CampaignWhole(
        id=campaign.id,
        version=campaign.version,
        status=campaign.status,
        next_due_at=campaign.next_due_at,
        submitted_by=handed.by if handed else None,
        approved_by=list(campaign.approved_by),
        approved_people=campaign.approved_people,
        approved_slots=campaign.approved_slots,
        document=definitions.document_of(campaign),
    )


def _line(line: Line) -> RunLine:
    return RunLine(**{name: getattr(line, name) for name in RunLine.model_fields})


def _run(call: Call, run: RunPicture) -> RunTold:
    return RunTold(
        id=run.id,
        round=run.number,
        status=run.status,
        reason=explain(run.reason, call.language) if run.reason else None,
        due_at=run.due_at,
        finished_at=run.finished_at,
        audience=run.audience,
        holdout=run.holdout,
        total=_line(run.total),
        reasons=[
            {"status": status, "reason": reason or None, "people": people}
            for (status, reason), people in run.reasons.items()
        ],
        channels=[_line(line) for line in run.channels],
        waves=[_line(line) for line in run.waves],
        groups=[_line(line) for line in run.groups],
        variants=[_line(line) for line in run.variants],
        winner=run.winner,
        decision=dict(run.decision) if run.decision else None,
        guard=dict(run.guard) if run.guard else None,
        next_at=run.next_at,
        per_minute=run.a_minute,
        ends_at=run.ends_at,
    )


def _side(side: Side) -> SideTold:
    return SideTold(
        name=side.name,
        simulated_from=side.simulated_from,
        planned=side.planned,
        delivered=side.delivered,
        opened=side.opened,
        guided=side.guided,
        guide_rate=side.guide_rate,
        target=side.target,
        reached_at=side.reached_at,
        unfollows=side.unfollows,
        above_base=side.above_base,
        slots=side.slots,
        slots_per_guided=side.slots_per_guided,
        losing=side.losing,
        tags=dict(side.tags),
        holdout=side.holdout,
        variants=side.variants,
    )
