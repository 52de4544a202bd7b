"""Followers (粉丝): found, read, changed, tagged."""

from typing import Annotated, Any, Literal

from pydantic import Field

from bot import (
    follower_edits,
    follower_pages,
    follower_search,
    followers,
    tag_families,
    tag_people,
    timeline,
)
from bot.api import cursors
from bot.api.cursors import Listing
from bot.api.frame import OPEN_ID, Area, Asked, Call, Day, Id, Json, Page, Told, When
from bot.api.problems import found
from bot.campaigns import opt_outs
from bot.db import Session
from bot.errors import Invalid
from bot.follower_search import Line, Wanted
from bot.followers import Follower

area = Area("followers", "Followers · 粉丝")
Name = Annotated[str, Field(min_length=1, max_length=60)]
Whole = Annotated[int, Field(ge=-(2**53), le=2**53)]
FieldValue = Annotated[str, Field(max_length=200)] | bool | Whole | float | None


class FollowerTold(Told):
    id: Id
    open_id: str | None = Field(description="shortened without the scope `followers.open_id`")
    remark: str | None
    subscribed: bool
    subscribed_at: When | None
    unsubscribed_at: When | None
    last_active_at: When | None
    first_source: str | None
    last_scene: str | None
    opted_out: bool
    messages: int
    fields: Json
    tags: list[str]
    reply_window: bool = Field(description="whether a customer-service message may be sent now")


class FollowersTold(Listing[FollowerTold]):
    total: int
    at_least: bool = Field(description="whether there are more than `total`")


class FollowersAsked(Page):
    q: str = Field(
        "",
        max_length=100,
        description="a part of the remark or its pinyin, the beginning of an OpenID, or field=value",
    )
    status: Literal["subscribed", "left", "all"] = "subscribed"
    tag: Name | None = None
    scene: Annotated[str, Field(max_length=64)] | None = Field(
        None, description="of the first follow"
    )
    opted_out: bool | None = None
    window: bool = Field(False, description="only those who may be written to now")
    followed_from: Day | None = None
    followed_until: Day | None = None
    active_days: Annotated[int, Field(ge=-3650, le=3650)] | None = Field(
        None, description="did something within so many days; negative: did nothing for so many"
    )
    sort: Literal["followed", "id"] = "followed"
    down: bool = True


class FollowerChange(Asked):
    remark: Annotated[str, Field(max_length=30)] | None = Field(
        None, description="empty removes it"
    )
    fields: dict[Name, FieldValue] | None = Field(
        None, max_length=50, description="only those to change; null removes one"
    )
    opted_out: bool | None = None


class TagsWanted(Asked):
    add: list[Name] = Field(default=[], max_length=50)
    remove: list[Name] = Field(default=[], max_length=50)


@area("GET", "/followers", "followers.read")
def followers_list(call: Call, session: Session, query: FollowersAsked) -> FollowersTold:
    """Followers that match every filter."""
    wanted = Wanted(
        query.q,
        query.status,
        query.tag,
        query.scene,
        query.opted_out,
        query.window,
        query.followed_from,
        query.followed_until,
        query.active_days,
    )
    page = follower_pages.page(
        session,
        call.account.id,
        wanted,
        call.now,
        sort=query.sort,
        down=query.down,
        after=cursors.position(call, query),
        limit=query.limit,
        whole_ids=call.may(OPEN_ID),
    )
    return FollowersTold(
        items=[_told(call, line) for line in page.lines],
        next=cursors.made(call, query, page.after) if page.after else None,
        total=page.total.people,
        at_least=page.total.more,
    )


@area("GET", "/followers/<follower_id>", "followers.read")
def follower_get(call: Call, session: Session, follower_id: Id) -> FollowerTold:
    """One follower."""
    return _one(call, session, follower_id)


@area("PATCH", "/followers/<follower_id>", "followers.write")
def follower_change(
    call: Call, session: Session, follower_id: Id, body: FollowerChange
) -> FollowerTold:
    """Change remark, fields or opt-out; what is not given stays."""
    old = _one(call, session, follower_id)
    before: Json = {}
    after: Json = {}
    if body.remark is not None and body.remark.strip() != (old.remark or ""):
        follower_edits.set_remark(session, call.account.id, follower_id, body.remark, call.now)
        before["remark"], after["remark"] = old.remark, body.remark.strip()
    if body.fields:
        _set_fields(session, call.account.id, follower_id, body.fields)
        new = _one(call, session, follower_id).fields
        changed = [name for name in body.fields if old.fields.get(name) != new.get(name)]
        before |= {name: old.fields.get(name) for name in changed}
        after |= {name: new.get(name) for name in changed}
    if after:
        thing = timeline.thing(follower_id)
        call.audit(session, "follower.edit", thing, before=before, after=after)
    if body.opted_out is not None:
        _opt(call, session, follower_id, out=body.opted_out)
    return _one(call, session, follower_id)


@area("POST", "/followers/<follower_id>/tags", "followers.write")
def follower_tags(call: Call, session: Session, follower_id: Id, body: TagsWanted) -> FollowerTold:
    """Give and take tags; they must exist."""
    known(call, session, follower_id)
    there = {tag.name: tag for tag in tag_families.every(session, call.account.id)}
    for place, names in (("add", body.add), ("remove", body.remove)):
        for name in names:
            if name not in there:
                raise Invalid(place, f"there is no tag '{name}'")
    account_id, ids, thing = call.account.id, [follower_id], timeline.thing(follower_id)
    for name in body.add:
        if tag_people.tag_people(
            session, account_id, there[name].id, ids, origin=f"operator:{call.by}", now=call.now
        ):
            call.audit(session, "follower.tag", thing, after={"tag": name})
    for name in body.remove:
        if tag_people.untag_people(session, account_id, there[name].id, ids):
            call.audit(session, "follower.untag", thing, before={"tag": name})
    return _one(call, session, follower_id)


def known(call: Call, session: Session, follower_id: int) -> Follower:
    """The follower, unless there is none or they were erased."""
    follower = found(followers.by_id(session, call.account.id, follower_id))
    return found(None if follower.open_id.startswith("erased:") else follower)


def _one(call: Call, session: Session, follower_id: int) -> FollowerTold:
    known(call, session, follower_id)
    return _told(
        call, found(next(iter(follower_search.lines(session, [follower_id], call.now)), None))
    )


def _opt(call: Call, session: Session, follower_id: int, *, out: bool) -> None:
    if out:
        opt_outs.opt_out(session, call.account.id, follower_id, call.now)
    else:
        followers.opt_in(session, follower_id)
    action = "follower.opt_out" if out else "follower.opt_in"
    call.audit(session, action, timeline.thing(follower_id))


def _set_fields(
    session: Session, account_id: int, follower_id: int, wanted: dict[str, Any]
) -> None:
    """Texts are read as an operator's typing is; numbers and truth values are kept as they are."""
    typed = {name: "" if value is None else str(value) for name, value in wanted.items()}
    follower_edits.set_fields(session, account_id, follower_id, typed)
    exact = {name: value for name, value in wanted.items() if isinstance(value, bool | int | float)}
    if exact:
        follower = found(followers.by_id(session, account_id, follower_id))
        followers.set_fields(session, follower_id, follower.fields, exact)


def _told(call: Call, line: Line) -> FollowerTold:
    return FollowerTold(
        id=line.id,
        open_id=call.open_id(line.open_id),
        remark=line.remark,
        subscribed=line.subscribed,
        subscribed_at=line.subscribed_at,
        unsubscribed_at=line.unsubscribed_at,
        last_active_at=line.last_active_at,
        first_source=line.first_source,
        last_scene=line.last_scene,
        opted_out=line.opted_out,
        messages=line.messages,
        fields=dict(line.fields),
        tags=list(line.tags),
        reply_window=line.window,
    )
