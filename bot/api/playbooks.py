"""Playbooks (策略库): plans and campaigns kept for reuse, with what they achieved."""

from pydantic import Field

from bot.api.cursors import Listing, slice_of
from bot.api.frame import Area, Asked, Call, Day, Id, Json, Page, Told, When
from bot.api.plans import PlanTold
from bot.api.plans import told as plan_told
from bot.api.problems import found
from bot.campaigns import plans, playbooks
from bot.campaigns.playbooks import Playbook
from bot.db import Session

area = Area("playbooks", "Playbooks · 策略库")


class PlaybookTold(Told):
    id: Id
    name: str
    version: int
    document: Json
    results: Json | None = Field(
        description="of the campaign it came from: delivered, guided, slots …"
    )
    note: str
    created_by: str
    created_at: When
    archived_at: When | None


class PlaybookWanted(Asked):
    name: str = Field(min_length=1, max_length=60, description="an existing one gets a new version")
    document: Json = Field(description="as the account file writes a campaign")
    note: str = Field("", max_length=1000)


class Begin(Asked):
    begins: Day = Field(description="the first day; its other dates move by as many days")
    name: str = Field("", max_length=60)


class PlaybooksAsked(Page):
    archived: bool = Field(False, description="those that were put away instead")


@area("GET", "/playbooks", "campaigns.read")
def playbooks_list(call: Call, session: Session, query: PlaybooksAsked) -> Listing[PlaybookTold]:
    """The latest version of each, by name."""
    every = playbooks.every(session, call.account.id, archived=query.archived)
    return slice_of(call, query, every, _told)


@area("GET", "/playbooks/<playbook_id>", "campaigns.read")
def playbook_get(call: Call, session: Session, playbook_id: Id) -> PlaybookTold:
    """One version."""
    return _told(_found(call, session, playbook_id))


@area("POST", "/playbooks", "campaigns.write", status=201)
def playbook_create(call: Call, session: Session, body: PlaybookWanted) -> PlaybookTold:
    """Keep a document; versions never change."""
    kept = playbooks.save(
        session,
        call.account.id,
        body.name,
        body.document,
        call.now,
        by=call.by,
        note=body.note,
    )
    after = {"name": kept.name, "version": kept.version}
    call.audit(session, "playbook.add", f"playbook:{kept.id}", after=after)
    return _told(kept)


@area("POST", "/playbooks/<playbook_id>/begin", "campaigns.write", status=201)
def playbook_begin(call: Call, session: Session, playbook_id: Id, body: Begin) -> PlanTold:
    """A new plan from a playbook, with new dates."""
    playbook = _found(call, session, playbook_id)
    plan_id = playbooks.begin_plan(
        session,
        call.account.id,
        playbook_id,
        call.now,
        by=call.by,
        begins=body.begins,
        name=body.name,
    )
    after = {"playbook": playbook.name, "version": playbook.version}
    call.audit(session, "plan.add", f"plan:{plan_id}", after=after)
    return plan_told(found(plans.find(session, call.account.id, plan_id)))


@area("POST", "/playbooks/<playbook_id>/archive", "campaigns.write")
def playbook_archive(call: Call, session: Session, playbook_id: Id) -> PlaybookTold:
    """Put all its versions away."""
    playbook = _found(call, session, playbook_id)
    playbooks.archive(session, call.account.id, playbook.name, call.now)
    call.audit(
        session, "playbook.archive", f"playbook:{playbook.id}", before={"name": playbook.name}
    )
    return _told(found(playbooks.find(session, call.account.id, playbook_id)))


def _found(call: Call, session: Session, playbook_id: int) -> Playbook:
    playbook = found(playbooks.find(session, call.account.id, playbook_id))
    return found(playbook if playbook.archived_at is None else None)


def _told(one: Playbook) -> PlaybookTold:
    return PlaybookTold(
        id=one.id,
        name=one.name,
        version=one.version,
        document=one.document,
        results=one.results,
        note=one.note,
        created_by=one.created_by,
        created_at=one.created_at,
        archived_at=one.archived_at,
    )
