"""Stored campaigns (docs/account-file.md): save, approve, schedule, stop, archive.

What a document may say is ``document.py``, due runs are ``planning.py``, which status may follow which is
``status.py``.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from bot import articles, db, registry, tracking
from bot import content as contents
from bot.accounts import Account
from bot.audiences import segments
from bot.campaigns import status as statuses
from bot.campaigns.budget import allowance
from bot.campaigns.document import MORE, RESULT_TAGS, contents_of, experiment_channels
from bot.campaigns.document import parse as parse
from bot.campaigns.document import problems as problems
from bot.campaigns.schedule import next_due
from bot.channels import unfit
from bot.clock import local, parse_moment
from bot.db import Session
from bot.errors import Invalid, Refused
from bot.tables.campaigns import campaign_runs, campaigns
from bot.tables.followers import tags

Json = dict[str, Any]
BY_DEFAULT: Mapping[str, Any] = {"message_class": "marketing"}
# what an approval is bound to beside content, links, channels and segment
APPROVED = ("message_class", "groups", "contents", "experiment", "holdout", "follow_ups")
LATE = timedelta(minutes=10)  # a single time further in the past is an error (docs/account-file.md)
FILE_APPROVAL = {"file": True}  # an account file was reviewed: it counts as two people


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
    message_class: str = "marketing"
    groups: Sequence[Mapping[str, Any]] | None = None
    contents: Mapping[str, Any] | None = None
    experiment: Mapping[str, Any] | None = None
    holdout: float | None = None
    pace: Mapping[str, Any] | None = None
    follow_ups: Sequence[Mapping[str, Any]] | None = None
    after: Mapping[str, Any] | None = None
    brief: Mapping[str, Any] | None = None
    worth: Mapping[str, Any] | None = None
    version: int = 1
    approved_at: datetime | None = None
    approval_seal: str | None = None

    def group_segments(self) -> tuple[tuple[str | None, str], ...]:
        """(group, segment): who is in two belongs to the first. One without a name where there are no groups."""
        if not self.groups:
            return ((None, self.segment),)
        return tuple((group["name"], group["segment"]) for group in self.groups)

    def channels_of(self, number: int) -> tuple[str, ...]:
        """The channels of a run of this round: from 2 on those of its follow-up."""
        steps = self.follow_ups or ()
        if 2 <= number <= len(steps) + 1:
            return tuple(steps[number - 2]["channels"])
        return tuple(self.channels)

    def experiment_channels(self) -> tuple[str, ...]:
        """The channels whose deliveries get a variant."""
        return experiment_channels(self.channels, self.contents, self.experiment)

    def content_for(
        self, channel: str, variant: str | None = None, number: int = 1
    ) -> Mapping[str, Any]:
        """What is said on a channel: of this variant, else the channel's own, else the campaign's.

        ``number`` is the round of the run: from 2 on the follow-up of that round says it, where it says anything.
        """
        if number > 1 and self.follow_ups and number - 2 < len(self.follow_ups):
            said: Mapping[str, Any] | None = self.follow_ups[number - 2].get("content")
            if said:
                return said
        if variant is not None and self.experiment and channel in self.experiment_channels():
            for arm in self.experiment["variants"]:
                if arm["name"] == variant and arm.get("content"):
                    found: Mapping[str, Any] = arm["content"]
                    return found
        own: Mapping[str, Any] = (self.contents or {}).get(channel) or self.content
        return own


def documents(session: Session, account_id: int) -> list[Json]:
    """Every campaign that is not archived, as the account file writes it, in the order they were made."""
    return [document_of(campaign) for campaign in every(session, account_id)]


def document_of(campaign: Campaign) -> Json:
    """A stored campaign as the account file writes it; saving it again changes nothing."""
    found: Json = {"name": campaign.name}
    if not campaign.groups:
        found["segment"] = campaign.segment
    found |= campaign.schedule
    found |= {"channels": list(campaign.channels), "content": dict(campaign.content)}
    if campaign.links:
        found["links"] = dict(campaign.links)
    if campaign.goal:
        found["goal"] = dict(campaign.goal)
    for key in MORE:
        value = getattr(campaign, key)
        if value and value != BY_DEFAULT.get(key):
            found[key] = value
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
    seen_version: int | None = None,
) -> Campaign:
    """Make a campaign equal to its document, new or by name; the same document again changes nothing.

    ``status: draft`` stops a scheduled one, ``scheduled`` schedules it; ``approved_for`` approves it as two people.
    ``seen_version``: the version the writer began from; None takes whatever there is.

    Raises:
        Invalid: it does not parse, names a segment or tag that is not there, is too long past, or the account
            cannot send it.
        Refused: it has finished, a run of it is under way, or somebody else changed it meanwhile.
    """
    wanted = parse(document, place)
    _check_names(session, account.id, wanted, place)
    row = session.execute(
        sa.select(campaigns).where(
            campaigns.c.account_id == account.id, campaigns.c.name == wanted["name"]
        )
    ).one_or_none()
    schedule = {key: wanted[key] for key in ("at", "repeat") if key in wanted}
    values: Json = {
        # who reads one segment reads the first group's
        "segment": wanted["segment"] if "segment" in wanted else wanted["groups"][0]["segment"],
        "schedule": schedule,
        "channels": wanted["channels"],
        "content": wanted["content"],
        "links": wanted.get("links", {}),
        "goal": wanted.get("goal"),
        **{key: wanted.get(key, BY_DEFAULT.get(key)) for key in MORE},
    }
    if seen_version is not None and (row is None or row.version != seen_version):
        raise Refused(f"somebody else changed '{wanted['name']}' while you were editing it")
    if row is None:
        first = {"account_id": account.id, "name": wanted["name"], "status": "draft"}
        made = {**first, "created_at": now, "created_by": by, **values}
        campaign_id = db.insert_first(session, campaigns, made)
        if campaign_id is None:  # made by somebody else this very moment
            raise Refused(f"somebody else changed '{wanted['name']}' while you were editing it")
    else:
        campaign_id = row.id
        _change(session, row, values)
    for name, target in values["links"].items():
        tracking.link_id(session, account.id, campaign_id, name, target, now)
    adopt_articles(session, account.id, wanted, now, by)
    campaign = by_id(session, campaign_id)
    if "approved_for" in wanted:
        _approve_by_file(session, campaign, wanted["approved_for"], now)
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
    # somebody may have changed in the library what was written here
    adopt_articles(session, account.id, document_of(campaign), now, f"campaign:{campaign.name}")
    session.execute(
        sa.update(campaigns)
        .where(campaigns.c.id == campaign.id)
        .values(status="scheduled", next_due_at=due)
    )
    return by_id(session, campaign.id)


def move(session: Session, campaign: Campaign, at: datetime) -> Campaign:
    """Give a single time another. What was approved stays so: it says the same to the same."""
    session.execute(
        sa.update(campaigns)
        .where(campaigns.c.id == campaign.id)
        .values(schedule={"at": at.isoformat()}, version=campaigns.c.version + 1)
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
    session.execute(
        sa.update(campaigns)
        .where(campaigns.c.id == campaign.id)
        .values(name=new, version=campaigns.c.version + 1)
    )


def approve(
    session: Session, campaign: Campaign, by: str, people: int, slots: int, now: datetime
) -> Campaign:
    """Approve what the campaign says now, for at most so many people and slots a run.

    A second, different operator who approves no more than the first joins them; any other approval
    begins anew. Waiting runs look at it by themselves.

    Raises:
        Refused: nobody's approval, or an archived campaign.
    """
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
            approved_at=now,
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
    """What an approval is bound to: who gets which words on which channel, and as what kind of message."""
    said: list[Any] = [campaign.content, campaign.links, list(campaign.channels), campaign.segment]
    more = {
        key: value
        for key in APPROVED
        if (value := getattr(campaign, key)) and value != BY_DEFAULT.get(key)
    }
    if more:  # without any of it an approval given before these existed stays good
        said.append(more)
    text = json.dumps(said, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def check_sendable(session: Session, account: Account, campaign: Campaign, place: str = "") -> None:
    """Whether this kind of account can send this campaign at all.

    Raises:
        Invalid: a channel this kind of account does not have; mass without the interface, or on a subscription
            account in parts.
    """
    for name in campaign.channels:
        channel = registry.members("bot.channels").get(name)
        reason = channel and unfit(channel, account.kind, campaign.message_class)
        if reason:
            raise Invalid(_at(place, "channels"), reason)
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
    for key in ("groups", "experiment", "pace"):
        if getattr(campaign, key):
            raise Invalid(
                _at(place, key),
                "a subscription account sends one mass message a day: it cannot go out in parts",
            )
    if campaign.holdout and not needs_temporary_tag(session, account, campaign):
        raise Invalid(
            _at(place, "holdout"),
            "a send to everybody or to a whole tag is one call that nobody can be left out of: "
            "choose a narrower segment",
        )


def needs_temporary_tag(session: Session, account: Account, campaign: Campaign) -> bool:
    """Whether mass to this audience goes by a tag made for it: any but everybody and one synced tag, where the
    account cannot send by OpenID."""
    allowed = allowance(account.kind, account.verified)
    if "mass" not in campaign.channels or allowed is None or allowed.by_open_id:
        return False
    where = segments.get(session, account.id, campaign.segment).where
    everybody = segments.is_everybody(session, account.id, where)
    return not everybody and segments.single_tag(session, account.id, where) is None


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


def adopt_articles(
    session: Session, account_id: int, document: Mapping[str, Any], now: datetime, by: str
) -> None:
    """What a campaign's document writes inside itself stands in the library too: the platform is told from there."""
    for said, channels in contents_of(document):
        # what customer service shows is a published page; mass takes the draft
        page = contents.CUSTOMER_SERVICE in channels
        articles.adopt(session, account_id, said, now, by=by, published=page)


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
    session.execute(
        sa.update(campaigns)
        .where(campaigns.c.id == row.id)
        .values(**changed, version=campaigns.c.version + 1)
    )
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


def _approve_by_file(
    session: Session, campaign: Campaign, wanted: Mapping[str, int], now: datetime
) -> None:
    current = content_hash(campaign)
    given = (wanted["people"], wanted["slots"], current, (FILE_APPROVAL,))
    if given == (
        campaign.approved_people,
        campaign.approved_slots,
        campaign.approved_hash,
        tuple(campaign.approved_by),
    ):
        return  # the same approval again: its moment stays
    session.execute(
        sa.update(campaigns)
        .where(campaigns.c.id == campaign.id)
        .values(
            approved_people=wanted["people"],
            approved_slots=wanted["slots"],
            approved_hash=current,
            approved_by=[FILE_APPROVAL],
            approved_at=now,
        )
    )


def _check_names(session: Session, account_id: int, wanted: Mapping[str, Any], place: str) -> None:
    """The segments and tags a document names are there; further names the account file checks itself."""
    named = [("segment", wanted.get("segment"))]
    named += [
        (f"groups.{index}.segment", group["segment"])
        for index, group in enumerate(wanted.get("groups", ()))
    ]
    for here, name in named:
        if name is None:
            continue
        try:
            segments.get(session, account_id, name)
        except Refused as problem:
            raise Invalid(_at(place, here), str(problem)) from None
    given = {
        key: name for key, name in wanted.get("after", {}).items() if key in RESULT_TAGS and name
    }
    if not given:
        return
    known = set(
        session.execute(
            sa.select(tags.c.name).where(
                tags.c.account_id == account_id,
                tags.c.name.in_(list(given.values())),
                tags.c.archived_at.is_(None),
            )
        ).scalars()
    )
    for key, name in given.items():
        if name not in known:
            raise Invalid(_at(place, f"after.{key}"), f"there is no tag '{name}'")


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
        version=row.version,
        approved_at=row.approved_at,
        approval_seal=row.approval_seal,
        **{key: getattr(row, key) for key in MORE},
    )


def _shown(stored: Mapping[str, Any]) -> Mapping[str, Any]:
    if "at" in stored:
        return {"at": local(parse_moment(stored["at"])).isoformat()}
    return stored
