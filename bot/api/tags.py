"""Tags (标签): what an account has, made, changed, merged, put away."""

from typing import Literal

from pydantic import Field

from bot import jobs, tag_families, tag_merge
from bot.api.cursors import Listing, slice_of
from bot.api.frame import Area, Asked, Call, Id, Page, Told, When
from bot.api.problems import found
from bot.as_code.apply import PUBLISH_MENU, SYNC_TAGS
from bot.db import Session
from bot.tag_families import Tag

area = Area("tags", "Tags · 标签")
Family = Literal["客户信息", "价值", "消费互动", "营销互动"]


class TagTold(Told):
    id: Id
    name: str
    family: str
    sync: bool = Field(description="also kept as a tag on the platform")
    expires_after_days: int | None
    people: int | None = Field(description="who follow and have it, counted at `counted_at`")
    counted_at: When | None
    platform_id: int | None
    error: str | None = Field(description="why the platform does not have it")
    archived_at: When | None


class TagWanted(Asked):
    name: str = Field(min_length=1, max_length=60)
    family: Family
    sync: bool = False
    expires_after_days: int | None = Field(None, ge=1, le=3650)


class TagsAsked(Page):
    archived: bool = Field(False, description="those that were put away instead")


class MergeWanted(Asked):
    into: str = Field(min_length=1, max_length=60, description="the name of the tag that stays")


class Merged(Told):
    people: int = Field(description="who had the tag that goes")
    both: int = Field(description="who had the other one already")
    job: int | None = Field(description="the background job that does it, when there are many")


@area("GET", "/tags", "tags.read")
def tags_list(call: Call, session: Session, query: TagsAsked) -> Listing[TagTold]:
    """Tags by family and name."""
    every = tag_families.every(session, call.account.id, archived=query.archived)
    return slice_of(call, query, every, _told)


@area("GET", "/tags/<tag_id>", "tags.read")
def tag_get(call: Call, session: Session, tag_id: Id) -> TagTold:
    """One tag."""
    return _told(_found(call, session, tag_id))


@area("POST", "/tags", "tags.write", status=201)
def tag_create(call: Call, session: Session, body: TagWanted) -> TagTold:
    """Make a tag."""
    tag = tag_families.add(session, call.account.id, **body.model_dump())
    call.audit(session, "tag.add", f"tag:{tag.id}", after=tag.to_json())
    _sync_soon(call, session, tag)
    return _told(tag)


@area("PUT", "/tags/<tag_id>", "tags.write")
def tag_update(call: Call, session: Session, tag_id: Id, body: TagWanted) -> TagTold:
    """Change a tag. A new name is used wherever the old one was named."""
    before = _found(call, session, tag_id)
    wanted = body.model_dump()
    tag = tag_families.change(session, call.account.id, tag_id, **wanted, by=call.by, now=call.now)
    call.audit(session, "tag.edit", f"tag:{tag.id}", before=before.to_json(), after=tag.to_json())
    _sync_soon(call, session, tag)
    return _told(tag)


@area("POST", "/tags/<tag_id>/merge", "tags.write")
def tag_merge_into(call: Call, session: Session, tag_id: Id, body: MergeWanted) -> Merged:
    """Merge this tag into another: whoever has it gets the other, rules and segments name the other, it goes."""
    source = _found(call, session, tag_id)
    merge, job = tag_merge.merge(
        session, call.account.id, source.name, body.into, by=call.by, now=call.now
    )
    after = {"into": body.into, "people": merge.people}
    call.audit(session, "tag.merge", f"tag:{source.id}", before=source.to_json(), after=after)
    _sync_soon(call, session, merge.into)
    if merge.mentions.menu and job is None:
        _soon(call, session, PUBLISH_MENU)
    return Merged(people=merge.people, both=merge.both, job=job)


@area("POST", "/tags/<tag_id>/archive", "tags.write")
def tag_archive(call: Call, session: Session, tag_id: Id) -> TagTold:
    """Put a tag away. Refused while a rule, segment, QR code or menu names it."""
    _found(call, session, tag_id)
    tag = tag_families.archive(session, call.account.id, tag_id, call.now)
    call.audit(session, "tag.archive", f"tag:{tag.id}", before=tag.to_json())
    _sync_soon(call, session, tag)
    return _told(_found(call, session, tag_id))


@area("POST", "/tags/<tag_id>/restore", "tags.write")
def tag_restore(call: Call, session: Session, tag_id: Id) -> TagTold:
    """Take an archived tag back into use, with everybody who had it."""
    _found(call, session, tag_id)
    tag = tag_families.restore(session, call.account.id, tag_id)
    call.audit(session, "tag.restore", f"tag:{tag.id}", after=tag.to_json())
    _sync_soon(call, session, tag)
    return _told(tag)


def _sync_soon(call: Call, session: Session, tag: Tag) -> None:
    """The platform is told in a moment, where it has the tag or is to have it."""
    if tag.sync or tag.wechat_id is not None:
        _soon(call, session, SYNC_TAGS)


def _soon(call: Call, session: Session, name: str) -> None:
    if not jobs.open_arguments(session, name, call.account.id):
        arguments = {"account_id": call.account.id}
        jobs.enqueue(session, name, arguments, now=call.now, account_id=call.account.id)


def _found(call: Call, session: Session, tag_id: int) -> Tag:
    return found(tag_families.by_id(session, call.account.id, tag_id))


def _told(tag: Tag) -> TagTold:
    return TagTold(
        id=tag.id,
        name=tag.name,
        family=tag.family,
        sync=tag.sync,
        expires_after_days=tag.expires_after_days,
        people=tag.people,
        counted_at=tag.counted_at,
        platform_id=tag.wechat_id,
        error=tag.error,
        archived_at=tag.archived_at,
    )
