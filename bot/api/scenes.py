"""QR channels (渠道二维码): the codes, made one by one or from a list, their pictures and what they brought."""

from datetime import date, timedelta
from typing import Annotated, Literal

from pydantic import Field

from bot import scene_files, scene_lists, scene_reports, scene_search, scenes, tag_families
from bot.api.cursors import Listing, made, position
from bot.api.frame import Area, Asked, Call, ContentBody, Day, File, Page, Told, When
from bot.api.problems import Problem, found
from bot.clock import day_of
from bot.db import Session
from bot.errors import Invalid, Refused
from bot.scene_search import Search
from bot.scenes import Scene

area = Area("scenes", "QR channels · 渠道二维码")
Key = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_\-.:]+$")]
TagName = Annotated[str, Field(min_length=1, max_length=60)]
MOST_DAYS = 366
BATCH = 1000


class SceneTold(Told):
    key: str
    name: str
    group: str
    permanent: bool
    expire_seconds: int | None
    expires_at: When | None
    tags: list[str]
    reply: ContentBody | None
    cost: float | None = Field(description="yuan")
    status: Literal["ready", "missing", "failed", "expired"]
    url: str | None = Field(description="what the picture encodes")
    error: str | None
    created_at: When | None


class SceneValues(Asked):
    name: str = Field(min_length=1, max_length=60)
    group: str = Field("", max_length=60)
    permanent: bool = True
    expire_seconds: int | None = Field(None, ge=60, le=2_592_000)
    tags: list[TagName] = Field(default=[], max_length=20)
    reply: ContentBody | None = None
    cost: float | None = Field(None, ge=0, le=1e9)


class SceneNew(SceneValues):
    key: Key


class SceneRow(Asked):
    name: str = Field(min_length=1, max_length=60)
    key: Key | None = Field(None, description="without one it is made of the prefix or the name")
    group: str = Field("", max_length=60)
    tags: list[TagName] = Field(default=[], max_length=20)


class SceneBatch(Asked):
    prefix: str = Field("", max_length=40, pattern=r"^[A-Za-z0-9_\-.:]*$")
    scenes: list[SceneRow] = Field(min_length=1, max_length=BATCH)


class Batched(Told):
    keys: list[str]
    job: int | None = Field(description="the background job that makes them on the platform")


class ScenesAsked(Page):
    q: str = Field("", max_length=100, description="a part of the name or key")
    group: str = Field("", max_length=60)
    status: Literal["", "ready", "missing", "failed", "expired", "temporary", "archived"] = ""


class Picture(Asked):
    form: Literal["png", "svg"] = "png"


class Span(Asked):
    first: Day | None = Field(None, description="a Shanghai day; 29 days before `last` if none")
    last: Day | None = Field(None, description="today if none")


class KeptTold(Told):
    followed: int
    stayed: int


class DayTold(Told):
    day: date
    follows: int
    rescans: int
    people: int
    left: int


class Report(Told):
    first: date
    last: date
    follows: int
    rescans: int
    people: int | None
    left: int
    kept_7: KeptTold | None
    kept_30: KeptTold | None
    cost: float | None
    cost_per_follow: float | None
    days: list[DayTold]


@area("GET", "/scenes", "scenes.read")
def scenes_list(call: Call, session: Session, query: ScenesAsked) -> Listing[SceneTold]:
    """QR channels by group and key."""
    begin = position(call, query) or 0
    search = Search(q=query.q, group=query.group, status=query.status)
    keys = scene_search.keys(
        session, call.account.id, search, call.now, offset=begin, limit=query.limit + 1
    )
    shown = scene_search.load(session, call.account.id, keys[: query.limit])
    more = made(call, query, begin + query.limit) if len(keys) > query.limit else None
    return Listing[SceneTold](items=[_told(call, one) for one in shown], next=more)


@area("GET", "/scenes/<key>", "scenes.read")
def scene_get(call: Call, session: Session, key: Key) -> SceneTold:
    """One QR channel."""
    return _told(call, _found(call, session, key))


@area("POST", "/scenes", "scenes.write", status=201)
def scene_create(call: Call, session: Session, body: SceneNew) -> SceneTold:
    """A new QR channel; a background job makes it on the platform."""
    if scenes.exists(session, call.account.id, body.key):
        raise Refused(f"the key '{body.key}' is taken already")
    return _save(call, session, body.key, body)


@area("POST", "/scenes/batch", "scenes.write", status=201)
def scene_batch(call: Call, session: Session, body: SceneBatch) -> Batched:
    """Many at once, such as one for each shop: all of them or, with a problem in one, none."""
    rows = [
        scene_lists.Row(
            number,
            {
                "name": row.name,
                "key": row.key or "",
                "group": row.group,
                "tags": "、".join(row.tags),
            },
        )
        for number, row in enumerate(body.scenes)
    ]
    checked = scene_lists.check(session, call.account.id, rows, prefix=body.prefix)
    if checked.problems:
        told = [(f"scenes.{one.line}.{one.field}", one.message) for one in checked.problems[:50]]
        raise Problem("invalid", errors=told)
    job = scene_lists.create(session, call.account.id, checked.new, call.now)
    keys = [one.key for one in checked.new]
    call.audit(session, "scene.batch", f"scenes:{len(keys)}", after={"keys": keys})
    return Batched(keys=keys, job=job)


@area("PUT", "/scenes/<key>", "scenes.write")
def scene_update(call: Call, session: Session, key: Key, body: SceneValues) -> SceneTold:
    """Change a QR channel. Its key stands in the printed picture and stays."""
    _found(call, session, key)
    return _save(call, session, key, body)


@area("POST", "/scenes/<key>/archive", "scenes.write")
def scene_archive(call: Call, session: Session, key: Key) -> SceneTold:
    """Put a QR channel away. Printed codes go on working on the platform."""
    scene = _found(call, session, key)
    scenes.archive(session, call.account.id, key, call.now)
    call.audit(session, "scene.archive", f"scene:{key}", before={"name": scene.name})
    return _told(call, scene)


@area("GET", "/scenes/<key>/picture", "scenes.read", files=("image/png", "image/svg+xml"))
def scene_picture(call: Call, session: Session, key: Key, query: Picture) -> File:
    """The picture with the channel's name. 409 while the platform has not made the code."""
    scene = _found(call, session, key)
    logo = scene_files.logo_of(session, call.account.id)
    data = scene_files.picture(scene, query.form, logo)
    return File(data, "image/png" if query.form == "png" else "image/svg+xml")


@area("GET", "/scenes/<key>/report", "scenes.read")
def scene_report(call: Call, session: Session, key: Key, query: Span) -> Report:
    """What it brought by day: new follows, scans of those who followed already, who left, who stayed."""
    scene = _found(call, session, key)
    last = query.last or day_of(call.now)
    first = query.first or last - timedelta(days=29)
    if not timedelta(0) <= last - first <= timedelta(days=MOST_DAYS):
        raise Invalid("first", f"must be at most {MOST_DAYS} days before the last day")
    whole, days = scene_reports.one(session, call.account.id, scene, first, last, call.now)
    kept = {
        length: KeptTold(followed=one.followed, stayed=one.stayed)
        for length, one in (whole.kept or {}).items()
    }
    return Report(
        first=first,
        last=last,
        follows=whole.follows,
        rescans=whole.rescans,
        people=whole.people,
        left=whole.left,
        kept_7=kept.get(7),
        kept_30=kept.get(30),
        cost=whole.cost,
        cost_per_follow=whole.cost_per_follow,
        days=[
            DayTold(
                day=one.day,
                follows=one.follows,
                rescans=one.rescans,
                people=one.people,
                left=one.left,
            )
            for one in days
        ],
    )


def _save(call: Call, session: Session, key: str, body: SceneValues) -> SceneTold:
    known = {tag.name for tag in tag_families.every(session, call.account.id)}
    old = next(iter(scene_search.load(session, call.account.id, [key])), None)
    for name in body.tags:
        if name not in known:
            raise Invalid("tags", f"there is no tag '{name}'")
    values = body.model_dump(exclude={"key"})
    scenes.save(session, call.account.id, key=key, **values, now=call.now)
    scene_lists.make_soon(session, call.account.id, call.now)
    before = {name: getattr(old, name) for name in values} if old is not None else None
    call.audit(session, "scene.save", f"scene:{key}", before=before, after=values)
    return _told(call, scenes.get(session, call.account.id, key))


def _found(call: Call, session: Session, key: str) -> Scene:
    return found(next(iter(scene_search.load(session, call.account.id, [key])), None))


def _told(call: Call, scene: Scene) -> SceneTold:
    return SceneTold(
        key=scene.key,
        name=scene.name,
        group=scene.group,
        permanent=scene.permanent,
        expire_seconds=scene.expire_seconds,
        expires_at=scene.expires_at,
        tags=list(scene.tags),
        reply=dict(scene.reply) if scene.reply else None,
        cost=scene.cost,
        status=scene.status(call.now),
        url=scene.url,
        error=scene.error,
        created_at=scene.created_at,
    )
