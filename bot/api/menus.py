"""Menus (自定义菜单): the draft, what changes, publishing at once or at a time, who sees which, and taps."""

from datetime import date, datetime, timedelta
from typing import Annotated, Any

from pydantic import Field

from bot import followers, menu_drafts, menu_taps
from bot.api.frame import Area, Asked, Call, Day, Id, Json, Told, When
from bot.api.problems import Problem, found
from bot.clock import day_of
from bot.db import Session, reading, writing
from bot.errors import Invalid
from bot.menu_drafts import State

area = Area("menus", "Menus · 自定义菜单")
Seen = Annotated[int, Field(ge=0, le=2**31 - 1, description="the version you saw; 0: none yet")]
Button = Annotated[Json, Field(description="as in the account file: name, and click, view, sub …")]
MOST_DAYS = 366


class Personal(Asked):
    tag: str = Field(min_length=1, max_length=60)
    menu: list[Button] = Field(min_length=1, max_length=3)


class MenuTold(Told):
    menu: list[Json] = Field(description="as edited")
    personal_menus: list[Json]
    drafted: bool = Field(description="whether there are changes that nobody published")
    version: int
    changed_by: str | None
    publish_at: When | None
    published: Json | None = Field(description="what the platform was last told")
    published_at: When | None
    error: str | None
    unanswered: list[str] = Field(description="keys of buttons that no rule in force mentions")


class MenuWanted(Asked):
    menu: list[Button] = Field(min_length=1, max_length=3)
    personal_menus: list[Personal] = Field(default=[], max_length=20)
    version: Seen


class VersionSeen(Asked):
    version: Seen


class Schedule(VersionSeen):
    at: datetime = Field(description="within the next 90 days")


class MenuChange(Told):
    tag: str | None = Field(description="of a personal menu; null: the default one")
    before: list[Json] | None
    after: list[Json] | None


class MenuChanges(Told):
    items: list[MenuChange]


class PreviewAsked(Asked):
    follower: Id


class Preview(Told):
    menu: list[Json]
    tag: str | None
    told: bool = Field(description="false while the platform does not know of the tag yet")


class TapDays(Asked):
    first: Day | None = Field(None, description="a Shanghai day; 29 days before `last` if none")
    last: Day | None = Field(None, description="today if none")


class TapDay(Told):
    day: date
    times: int
    people: int


class TapsTold(Told):
    key: str
    name: str
    in_menu: bool
    times: int
    people: int = Field(description="everybody once a day")
    days: list[TapDay]


class TapReport(Told):
    first: date
    last: date
    items: list[TapsTold]


@area("GET", "/menu", "menus.read")
def menu_get(call: Call, session: Session) -> MenuTold:
    """The menus as edited, and as published."""
    return _told(call, session)


@area("PUT", "/menu", "menus.write")
def menu_update(call: Call, session: Session, body: MenuWanted) -> MenuTold:
    """Keep a draft. What was scheduled is cancelled: it was another menu."""
    personal = [one.model_dump() for one in body.personal_menus]
    problems = menu_drafts.problems(session, call.account.id, body.menu, personal)
    if problems:
        raise Problem("invalid", errors=problems[:50])
    before = menu_drafts.state(session, call.account.id)
    menu_drafts.save(session, call.account.id, body.menu, personal, seen=body.version, by=call.by)
    call.audit(
        session,
        "menu.save",
        "menu",
        before={"menu": before.menu, "personal": before.personal},
        after={"menu": body.menu, "personal": personal},
    )
    return _told(call, session)


@area("POST", "/menu/discard", "menus.write")
def menu_discard(call: Call, session: Session, body: VersionSeen) -> MenuTold:
    """Forget the draft, and what was scheduled."""
    old = menu_drafts.state(session, call.account.id)
    menu_drafts.discard(session, call.account.id, seen=body.version, by=call.by)
    before = {"menu": old.menu, "personal": old.personal}
    call.audit(session, "menu.discard", "menu", before=before)
    return _told(call, session)


@area("GET", "/menu/changes", "menus.read")
def menu_changes(call: Call, session: Session) -> MenuChanges:
    """Every menu that publishing now would change."""
    state = menu_drafts.state(session, call.account.id)
    published = state.menus.published or {}
    old = _by_tag(published.get("menu"), published.get("personal") or [])
    new = _by_tag(state.menu, state.personal)
    return MenuChanges(
        items=[
            MenuChange(tag=tag, before=old.get(tag), after=new.get(tag))
            for tag in {**new, **old}
            if old.get(tag) != new.get(tag)
        ]
    )


@area("POST", "/menu/publish", "menus.publish", calls_platform=True)
def menu_publish(call: Call, body: VersionSeen) -> MenuTold:
    """Tell the platform the menus as edited, now."""
    engine, account_id = call.rt.engine, call.account.id
    with reading(engine) as session:
        old = menu_drafts.state(session, account_id)
    menu_drafts.publish(engine, call.rt.wechat(account_id), account_id, call.now, seen=body.version)
    with writing(engine) as session:
        after = {"menu": old.menu, "personal": old.personal}
        call.audit(session, "menu.publish", "menu", before=old.menus.published, after=after)
    with reading(engine) as session:
        return _told(call, session)


@area("POST", "/menu/schedule", "menus.publish")
def menu_schedule(call: Call, session: Session, body: Schedule) -> MenuTold:
    """Publish the draft at a moment."""
    if body.at.tzinfo is None:
        raise Invalid("at", "must be a time such as 2026-11-25T20:30:00+08:00")
    menu_drafts.schedule(session, call.account.id, body.at, call.now, seen=body.version, by=call.by)
    call.audit(session, "menu.schedule", "menu", after={"at": body.at.isoformat()})
    return _told(call, session)


@area("POST", "/menu/cancel", "menus.publish")
def menu_cancel(call: Call, session: Session, body: VersionSeen) -> MenuTold:
    """Take a scheduled publication back; the draft stays."""
    menu_drafts.cancel(session, call.account.id, seen=body.version)
    call.audit(session, "menu.cancel", "menu")
    return _told(call, session)


@area("GET", "/menu/preview", "menus.read")
def menu_preview(call: Call, session: Session, query: PreviewAsked) -> Preview:
    """Which of the edited menus a follower sees."""
    found(followers.by_id(session, call.account.id, query.follower))
    state = menu_drafts.state(session, call.account.id)
    seen = menu_drafts.seen_by(session, call.account.id, query.follower, state, call.now)
    return Preview(menu=seen.menu, tag=seen.tag, told=seen.told)


@area("GET", "/menu/taps", "menus.read")
def menu_taps_report(call: Call, session: Session, query: TapDays) -> TapReport:
    """Taps on each button by day, most taps first."""
    last = query.last or day_of(call.now)
    first = query.first or last - timedelta(days=29)
    if not timedelta(0) <= last - first <= timedelta(days=MOST_DAYS):
        raise Invalid("first", f"must be at most {MOST_DAYS} days before the last day")
    rows = menu_taps.report(session, call.account.id, first, last, call.now)
    return TapReport(
        first=first,
        last=last,
        items=[
            TapsTold(
                key=row.key,
                name=row.name,
                in_menu=row.in_menu,
                times=row.times,
                people=row.people,
                days=[
                    TapDay(day=day, times=times, people=people)
                    for day, (times, people) in sorted(row.days.items())
                ],
            )
            for row in rows
        ],
    )


def _by_tag(menu: Any, personal: Any) -> dict[str | None, list[Json]]:
    default: dict[str | None, list[Json]] = {None: menu} if menu else {}
    return default | {one["tag"]: one["menu"] for one in personal}


def _told(call: Call, session: Session) -> MenuTold:
    state: State = menu_drafts.state(session, call.account.id)
    return MenuTold(
        menu=state.menu,
        personal_menus=state.personal,
        drafted=state.drafted,
        version=state.version,
        changed_by=state.changed_by,
        publish_at=state.publish_at,
        published=state.menus.published,
        published_at=state.menus.published_at,
        error=state.menus.error,
        unanswered=[key for key, _name in menu_drafts.unanswered(session, call.account.id, state)],
    )
