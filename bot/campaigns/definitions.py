"""Campaigns as an operator writes them (docs/account-file.md): check, save, approve, schedule, stop, archive.

Due runs are ``planning.py``; which status may follow which is ``status.py``.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal

import sqlalchemy as sa
from pydantic import AfterValidator, Field, StringConstraints, model_validator

from bot import content as contents
from bot import params, registry, tracking
from bot.accounts import Account
from bot.audiences import segments
from bot.campaigns import status as statuses
from bot.campaigns.budget import allowance
from bot.campaigns.schedule import WEEKDAYS, next_due
from bot.clock import local, parse_moment
from bot.db import Session
from bot.errors import Invalid, Refused
from bot.params import CampaignName, ClockTime, Moment, Name, Params, SegmentName
from bot.tables.campaigns import campaign_runs, campaigns
from bot.tables.followers import tags

Json = dict[str, Any]
LATE = timedelta(minutes=10)  # a single time further in the past is an error (docs/account-file.md)
FILE_APPROVAL = {"file": True}  # an account file was reviewed: it counts as two people
WebAddress = Annotated[str, StringConstraints(pattern=r"^https?://[^\s<>\"']+$", max_length=1024)]


class Repeat(Params):
    every: Literal["day", "week", "month"]
    on: list[str | int] = Field(default_factory=list, max_length=31)
    at: ClockTime

    @model_validator(mode="after")
    def _days_fit(self) -> "Repeat":
        if self.every == "day" and self.on:
            raise ValueError("on is for week and month; every day needs none")
        if self.every == "week" and (not self.on or not set(self.on) <= set(WEEKDAYS)):
            raise ValueError(f"on needs days of the week: {', '.join(WEEKDAYS)}")
        if self.every == "month" and (
            not self.on or not all(isinstance(day, int) and 1 <= day <= 31 for day in self.on)
        ):
            raise ValueError("on needs days of the month: 1 to 31")
        return self


class Goal(Params):
    metric: Literal["guided"]
    target: int = Field(ge=1)


class ApprovedFor(Params):
    people: int = Field(ge=1)
    slots: int = Field(ge=0)


def _known_channels(names: list[str]) -> list[str]:
    known = registry.members("bot.channels")
    for name in names:
        if name not in known:
            raise ValueError(f"there is no channel '{name}'; there are {', '.join(sorted(known))}")
    if len(set(names)) < len(names):
        raise ValueError("a channel is named twice")
    return names


class Definition(Params):
    name: CampaignName
    segment: SegmentName
    at: Moment | None = None
    repeat: Repeat | None = None
    channels: Annotated[list[str], Field(min_length=1), AfterValidator(_known_channels)]
    content: dict[str, Any]
    links: dict[Name, WebAddress] = Field(default_factory=dict)
    goal: Goal | None = None
    approved_for: ApprovedFor | None = None
    status: Literal["draft", "scheduled"] = "draft"

    @model_validator(mode="after")
    def _one_time(self) -> "Definition":
        if (self.at is None) == (self.repeat is None):
            raise ValueError("needs exactly one of at and repeat")
        return self


@dataclass(frozen=True, slots=True)
class Campaign:
    id: int
    account_id: int
    name: str
    segment: str
    schedule: Mapping[str, Any]
    channels: Sequence[str]
    content: Mapping[str, Any]
    links: Mapping[str, str]
    goal: Mapping[str, Any] | None
    status: str
    next_due_at: datetime | None
    approved_people: int | None
    approved_slots: int | None
    approved_hash: str | None
    approved_by: Sequence[Any]


def problems(document: Any, place: str = "") -> list[tuple[str, str]]:
    """Every problem of one campaign of an account file as (dotted place, sentence)."""
    found = params.problems(Definition, document, place)
    if isinstance(found, list):
        return found
    wrong: list[tuple[str, str]] = []
    try:
        checked = _content(found, place)
    except Invalid as problem:
        wrong.append((problem.field, problem.message))
    else:
        here = _at(place, "content")
        kind = contents.kind_of(checked)
        for name in found.channels:
            if kind not in registry.members("bot.channels")[name].CONTENT_KINDS:
                wrong.append((here, f"{kind} cannot be sent by {name}"))
        for name in sorted(contents.link_names(checked) - set(found.links)):
            wrong.append((here, f"{{link:{name}}} is not among the links"))
    return wrong


def parse(document: Any, place: str = "") -> Json:
    """One campaign of an account file in canonical form.

    Raises:
        Invalid: the first of ``problems``.
    """
    wrong = problems(document, place)
    if wrong:
        raise Invalid(*wrong[0])
    definition = Definition.model_validate(document)
    found: Json = definition.model_dump(
        mode="json", by_alias=True, exclude_none=True, exclude_defaults=True
    )
    found["content"] = _content(definition, place)
    found["status"] = definition.status
    return found


def documents(session: Session, account_id: int) -> list[Json]:
    """Every campaign that is not archived, as the account file writes it, in the order they were made."""
    return [document_of(campaign) for campaign in every(session, account_id)]


def document_of(campaign: Campaign) -> Json:
    """A stored campaign as the account file writes it; saving it again changes nothing."""
    found: Json = {"name": campaign.name, "segment": campaign.segment, **campaign.schedule}
    found |= {"channels": list(campaign.channels), "content": dict(campaign.content)}
    if campaign.links:
        found["links"] = dict(campaign.links)
    if campaign.goal:
        found["goal"] = dict(campaign.goal)
    if FILE_APPROVAL in campaign.approved_by and campaign.approved_hash == content_hash(campaign):
        found["approved_for"] = {
            "people": campaign.approved_people,
            "slots": campaign.approved_slots,
        }
    # a file knows two statuses: what is stopped waits like a draft, what has finished was scheduled
    found["status"] = "draft" if campaign.status in ("draft", "stopped") else "scheduled"
    return found


def every(session: Session, account_id: int, *, archived: bool = False) -> list[Campaign]:
    """Campaigns in the order they were made; archived ones only when asked for."""
    query = sa.select(campaigns).where(campaigns.c.account_id == account_id)
    if not archived:
        query = query.where(campaigns.c.status != "archived")
    return [_campaign(row) for row in session.execute(query.order_by(campaigns.c.id))]


def get(session: Session, account_id: int, name: str) -> Campaign:
    """The campaign of this name.

    Raises:
        Refused: there is none.
    """
    row = session.execute(
        sa.select(campaigns).where(campaigns.c.account_id == account_id, campaigns.c.name == name)
    ).one_or_none()
    if row is None:
        raise Refused(f"there is no campaign '{name}'")
    return _campaign(row)


def by_id(session: Session, campaign_id: int) -> Campaign:
    """The campaign with this row id."""
    return _campaign(
        session.execute(sa.select(campaigns).where(campaigns.c.id == campaign_id)).one()
    )


def save(
    session: Session,
    account: Account,
    document: Any,
    now: datetime,
    *,
    by: str,
    place: str = "",
) -> Campaign:
    """Make a campaign equal to its document, new or by name; the same document again changes nothing.

    ``status: draft`` stops a scheduled one, ``scheduled`` schedules it; ``approved_for`` approves it as two people.

    Raises:
        Invalid: it does not parse, names no segment, is too long past, or the account cannot send it.
        Refused: it has finished, or a run of it is under way.
    """
    wanted = parse(document, place)
    _check_segment_exists(session, account.id, wanted, place)
    row = session.execute(
        sa.select(campaigns).where(
            campaigns.c.account_id == account.id, campaigns.c.name == wanted["name"]
        )
    ).one_or_none()
    schedule = {key: wanted[key] for key in ("at", "repeat") if key in wanted}
    values: Json = {
        "segment": wanted["segment"],
        "schedule": schedule,
        "channels": wanted["channels"],
        "content": wanted["content"],
        "links": wanted.get("links", {}),
        "goal": wanted.get("goal"),
    }
    if row is None:
        campaign_id = session.execute(
            sa.insert(campaigns)
            .values(
                account_id=account.id,
                name=wanted["name"],
                status="draft",
                created_at=now,
                created_by=by,
                **values,
            )
            .returning(campaigns.c.id)
        ).scalar_one()
    else:
        campaign_id = row.id
        _change(session, row, values)
    for name, target in values["links"].items():
        tracking.link_id(session, account.id, campaign_id, name, target, now)
    campaign = by_id(session, campaign_id)
    if "approved_for" in wanted:
        _approve_by_file(session, campaign, wanted["approved_for"])
    return _to_wanted_status(session, account, campaign, wanted["status"], now, place)


def schedule(
    session: Session, account: Account, campaign: Campaign, now: datetime, place: str = ""
) -> Campaign:
    """Let a campaign become due. Scheduling it again after a change moves its next due time.

    Raises:
        Invalid: its only time is more than 10 minutes past, or the account cannot send it.
        Refused: its status does not allow it.
    """
    statuses.check_campaign(campaign.status, "scheduled")
    check_sendable(session, account, campaign, place)
    # next_due is strictly later than what it is given; exactly ten minutes past is not too late
    earliest = now - LATE - timedelta(microseconds=1) if "at" in campaign.schedule else now
    due = next_due(campaign.schedule, earliest)
    if due is None:
        raise Invalid(_at(place, "at"), "is more than 10 minutes past")
    session.execute(
        sa.update(campaigns)
        .where(campaigns.c.id == campaign.id)
        .values(status="scheduled", next_due_at=due)
    )
    return by_id(session, campaign.id)


def stop(session: Session, campaign: Campaign) -> Campaign:
    """No further run becomes due. A run under way goes on until it is paused or cancelled.

    Raises:
        Refused: it is not scheduled.
    """
    statuses.check_campaign(campaign.status, "stopped")
    session.execute(
        sa.update(campaigns)
        .where(campaigns.c.id == campaign.id)
        .values(status="stopped", next_due_at=None)
    )
    return by_id(session, campaign.id)


def archive(session: Session, campaign: Campaign) -> None:
    """Put a campaign away; a scheduled one is stopped first.

    Raises:
        Refused: a run of it is under way.
    """
    if under_way(session, campaign.id):
        raise Refused(f"a run of '{campaign.name}' is under way: finish or cancel it first")
    if campaign.status == "scheduled":
        campaign = stop(session, campaign)
    statuses.check_campaign(campaign.status, "archived")
    session.execute(
        sa.update(campaigns).where(campaigns.c.id == campaign.id).values(status="archived")
    )


def rename(session: Session, account_id: int, old: str, new: str) -> None:
    """Give a campaign another name.

    Raises:
        Refused: there is none of the old name, or the new one is taken.
    """
    campaign = get(session, account_id, old)
    taken = session.execute(
        sa.select(campaigns.c.id).where(
            campaigns.c.account_id == account_id, campaigns.c.name == new
        )
    ).first()
    if taken is not None:
        raise Refused(f"a campaign named '{new}' exists already")
    session.execute(sa.update(campaigns).where(campaigns.c.id == campaign.id).values(name=new))


def approve(
    session: Session, campaign: Campaign, by: str, people: int, slots: int, now: datetime
) -> Campaign:
    """Approve what the campaign says now, for at most so many people and slots a run.

    A second, different operator who approves no more than the first joins them; any other approval
    begins anew. Waiting runs look at it by themselves.

    Raises:
        Refused: nobody's approval, or an archived campaign.
    """
    del now  # when is in the audit, which the door writes
    if people < 1 or slots < 0:
        raise Refused("approve at least one person, and slots from 0 up")
    if campaign.status == "archived":
        statuses.check_campaign("archived", "scheduled")
    current = content_hash(campaign)
    first = list(campaign.approved_by)
    joins = (
        campaign.approved_hash == current
        and bool(first)
        and people <= (campaign.approved_people or 0)
        and slots <= (campaign.approved_slots or 0)
    )
    names = [*first, by] if joins and by not in first else first if joins else [by]
    session.execute(
        sa.update(campaigns)
        .where(campaigns.c.id == campaign.id)
        .values(
            approved_people=people,
            approved_slots=slots,
            approved_hash=current,
            approved_by=names,
        )
    )
    return by_id(session, campaign.id)


def approvers(approved_by: Sequence[Any]) -> int:
    """How many people an approval counts as; an account file is two."""
    return sum(2 if item == FILE_APPROVAL else 1 for item in approved_by)


def missing_approval(
    campaign: Campaign, people: int, slots: int, *, approve_above: int, to_everybody: bool
) -> str | None:
    """Why a run of so many people and slots must wait, as in ``status.RUN_REASONS``; None: it may go."""
    if campaign.approved_hash is None or not campaign.approved_by:
        return "no_approval"
    if campaign.approved_hash != content_hash(campaign):
        return "changed"
    if people > (campaign.approved_people or 0):
        return f"too_many_people: {people} > {campaign.approved_people or 0}"
    if slots > (campaign.approved_slots or 0):
        return f"too_many_slots: {slots} > {campaign.approved_slots or 0}"
    needed = 2 if people > approve_above or to_everybody else 1
    return "second_approval" if approvers(campaign.approved_by) < needed else None


def content_hash(campaign: Campaign) -> str:
    """What an approval is bound to: content, links, channels and the segment's name."""
    said = [campaign.content, campaign.links, list(campaign.channels), campaign.segment]
    text = json.dumps(said, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def is_everybody(session: Session, account_id: int, where: Mapping[str, Any]) -> bool:
    """Whether a segment is, by its definition, every subscribed follower."""
    key, value = next(iter(where.items()))
    if key == "all":
        return all(is_everybody(session, account_id, part) for part in value)
    if key == "any":
        return any(is_everybody(session, account_id, part) for part in value)
    if key == "in_segment":
        inner = segments.get(session, account_id, value["name"])
        return is_everybody(session, account_id, inner.where)
    return False


def single_tag(session: Session, account_id: int, where: Mapping[str, Any]) -> int | None:
    """The platform's id of the one synced tag a segment consists of; None for any other segment."""
    key, value = next(iter(where.items()))
    if key in ("all", "any") and len(value) == 1:
        return single_tag(session, account_id, value[0])
    if key == "in_segment":
        inner = segments.get(session, account_id, value["name"])
        return single_tag(session, account_id, inner.where)
    if key != "tag":
        return None
    named = [value["has"]] if "has" in value else list(value.get("any", []))
    if len(named) != 1 or "lacks" in value:
        return None
    found: int | None = session.execute(
        sa.select(tags.c.wechat_id).where(
            tags.c.account_id == account_id,
            tags.c.name == named[0],
            tags.c.sync,
            tags.c.archived_at.is_(None),
        )
    ).scalar()
    return found


def check_sendable(session: Session, account: Account, campaign: Campaign, place: str = "") -> None:
    """Whether this kind of account can send this campaign at all.

    Raises:
        Invalid: mass without the interface, or on a subscription account to anything but everybody or one synced tag.
    """
    if "mass" not in campaign.channels:
        return
    allowed = allowance(account.kind, account.verified)
    if allowed is None:
        raise Invalid(
            _at(place, "channels"), "an unverified account has no mass interface (errcode 48001)"
        )
    if allowed.by_open_id:
        return
    if len(campaign.channels) > 1:
        # one call reaches all of them: whoever got it by another channel would get it twice
        raise Invalid(
            _at(place, "channels"), "a subscription account sends a campaign by mass alone"
        )
    where = segments.get(session, account.id, campaign.segment).where
    if not is_everybody(session, account.id, where) and (
        single_tag(session, account.id, where) is None
    ):
        raise Invalid(
            _at(place, "segment"),
            "a subscription account sends to everybody or to exactly one tag with sync: true "
            "that is on the platform already",
        )


def under_way(session: Session, campaign_id: int) -> bool:
    """Whether a run of the campaign is waiting, planned, being sent or paused."""
    return (
        session.execute(
            sa.select(campaign_runs.c.id)
            .where(
                campaign_runs.c.campaign_id == campaign_id,
                campaign_runs.c.status.in_(statuses.OPEN_RUNS),
            )
            .limit(1)
        ).first()
        is not None
    )


def _change(session: Session, row: Any, values: Json) -> None:
    changed = {key: value for key, value in values.items() if getattr(row, key) != value}
    if not changed:
        return
    if row.status in ("finished", "archived"):
        raise Refused(
            f"campaign '{row.name}' is {row.status} and does not change: make one of another name"
        )
    if under_way(session, row.id):
        raise Refused(f"a run of '{row.name}' is under way: finish or cancel it first")
    session.execute(sa.update(campaigns).where(campaigns.c.id == row.id).values(**changed))
    if "schedule" in changed and row.status == "scheduled":
        # scheduled again below, by its new time
        session.execute(
            sa.update(campaigns)
            .where(campaigns.c.id == row.id)
            .values(status="stopped", next_due_at=None)
        )


def _to_wanted_status(
    session: Session, account: Account, campaign: Campaign, wanted: str, now: datetime, place: str
) -> Campaign:
    if wanted == "scheduled" and campaign.status in ("draft", "stopped"):
        return schedule(session, account, campaign, now, place)
    if wanted == "scheduled" and campaign.status == "scheduled":
        check_sendable(session, account, campaign, place)
    if wanted == "draft" and campaign.status == "scheduled":
        return stop(session, campaign)
    return campaign


def _approve_by_file(session: Session, campaign: Campaign, wanted: Mapping[str, int]) -> None:
    session.execute(
        sa.update(campaigns)
        .where(campaigns.c.id == campaign.id)
        .values(
            approved_people=wanted["people"],
            approved_slots=wanted["slots"],
            approved_hash=content_hash(campaign),
            approved_by=[FILE_APPROVAL],
        )
    )


def _check_segment_exists(
    session: Session, account_id: int, wanted: Mapping[str, Any], place: str
) -> None:
    try:
        segments.get(session, account_id, wanted["segment"])
    except Refused as problem:
        raise Invalid(_at(place, "segment"), str(problem)) from None


def _content(definition: Definition, place: str) -> Json:
    uses = tuple(
        name for name in (contents.CUSTOMER_SERVICE, contents.MASS) if name in definition.channels
    )
    return contents.parse(definition.content, _at(place, "content"), uses)


def _at(place: str, key: str) -> str:
    return f"{place}.{key}" if place else key


def _campaign(row: Any) -> Campaign:
    return Campaign(
        id=row.id,
        account_id=row.account_id,
        name=row.name,
        segment=row.segment,
        schedule=_shown(row.schedule),
        channels=tuple(row.channels),
        content=row.content,
        links=row.links,
        goal=row.goal,
        status=row.status,
        next_due_at=row.next_due_at,
        approved_people=row.approved_people,
        approved_slots=row.approved_slots,
        approved_hash=row.approved_hash,
        approved_by=tuple(row.approved_by or ()),
    )


def _shown(stored: Mapping[str, Any]) -> Mapping[str, Any]:
    if "at" in stored:
        return {"at": local(parse_moment(stored["at"])).isoformat()}
    return stored
