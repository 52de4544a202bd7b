"""Parameter QR codes (渠道二维码): kept here, made on the platform, drawn by us, counted by day.

A temporary code ends and is then shown as expired; ``make`` makes it anew when somebody asks for
it. A permanent one can never be deleted on the platform, which has room for 100,000 of them.
Source: docs/wechat-limits.md 6 (QR code service of MudWechat, FlurlHttpClient; read 2026-11).
"""

import io
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

import segno
import sqlalchemy as sa

from bot import accounts, content
from bot.clock import start_of_day
from bot.db import Session, insert, reading, writing
from bot.errors import Invalid, Refused, WeChatError
from bot.prepared import Prepared
from bot.sql import matches_wildcard, shanghai_day
from bot.tables.events import events
from bot.tables.tracking import scenes
from bot.wechat import qrcodes as gateway
from bot.wechat.client import WeChat

SHORTEST_SECONDS = 60
FEATURE = "qrcodes"
MAKE = "make_scenes"  # the job that makes what was never made
KEY = re.compile(r"[A-Za-z0-9_\-.:]{1,64}")
LONGEST_NAME = 60  # characters, of a group too
MOST_TAGS = 20
MOST_COST = 1_000_000_000.0  # yuan
# Source: docs/wechat-limits.md 6: permanent codes of an account, for ever
MOST_PERMANENT = 100_000
PIXELS = 12  # of one module in a PNG: about 400 pixels in all, sharp when printed small

_TAGS_GIVEN = Prepared(
    sa.select(scenes.c.tags).where(
        scenes.c.account_id == sa.bindparam("account"), scenes.c.key == sa.bindparam("scene")
    )
)
_REPLY = Prepared(
    sa.select(scenes.c.reply).where(
        scenes.c.account_id == sa.bindparam("account"), scenes.c.key == sa.bindparam("scene")
    )
)


@dataclass(frozen=True, slots=True)
class Scene:
    id: int
    key: str
    name: str
    group: str
    permanent: bool
    expire_seconds: int | None
    tags: tuple[str, ...]
    ticket: str | None
    url: str | None
    made_at: datetime | None
    expires_at: datetime | None
    error: str | None
    reply: Mapping[str, Any] | None = None
    cost: float | None = None
    created_at: datetime | None = None

    def status(self, now: datetime) -> str:
        """``failed``, ``missing`` (not made yet), ``expired`` or ``ready``."""
        if self.error:
            return "failed"
        if self.url is None:
            return "missing"
        if self.expires_at is not None and self.expires_at <= now:
            return "expired"
        return "ready"


@dataclass(frozen=True, slots=True)
class DayOfScene:
    """What one code brought on one Shanghai day: ``follows`` by it, ``scans`` by those who followed already."""

    key: str
    day: date
    follows: int
    scans: int
    people: int


def save(
    session: Session,
    account_id: int,
    *,
    key: str,
    name: str,
    group: str = "",
    permanent: bool = True,
    expire_seconds: int | None = None,
    tags: Sequence[str] = (),
    reply: Mapping[str, Any] | None = None,
    cost: float | None = None,
    now: datetime | None = None,
) -> int:
    """Store a scene, new or changed; returns its id. A code of another kind or length is made anew.

    ``reply`` is the Content that answers a scan which no rule answers; ``cost`` is in yuan.

    Raises:
        Invalid: the key or the length is beyond what the platform takes, or a value is not allowed.
        Refused: a permanent code became temporary; the printed one would go on working.
    """
    check(key=key, name=name, group=group, tags=tags, reply=reply, cost=cost)
    if permanent and expire_seconds is not None:
        raise Invalid("expire_seconds", "a permanent code does not expire")
    if (
        not permanent
        and not SHORTEST_SECONDS <= (expire_seconds or gateway.MAX_SECONDS) <= gateway.MAX_SECONDS
    ):
        raise Invalid(
            "expire_seconds",
            f"must be between {SHORTEST_SECONDS} and {gateway.MAX_SECONDS} (30 days)",
        )
    seconds = None if permanent else expire_seconds or gateway.MAX_SECONDS
    values: dict[str, Any] = {
        "name": name,
        "group": group,
        "permanent": permanent,
        "expire_seconds": seconds,
        "tags": list(tags),
        "reply": content.parse(reply, "reply") if reply else None,
        "cost": cost,
        "archived_at": None,
    }
    old = _find(session, account_id, key)
    if old is not None and (old.permanent, old.expire_seconds) != (permanent, seconds):
        if old.permanent and old.url is not None:
            raise Refused(f"二维码「{key}」已经是永久的，平台不能收回；请换一个 key")
        nothing = dict.fromkeys(("ticket", "url", "made_at", "expires_at", "error"))
        values |= nothing
    row = {"account_id": account_id, "key": key, "created_at": now, **values}
    statement = insert(session, scenes).values(**row)
    statement = statement.on_conflict_do_update(index_elements=["account_id", "key"], set_=values)
    return int(session.execute(statement.returning(scenes.c.id)).scalar_one())


def check(
    *,
    key: str,
    name: str,
    group: str = "",
    tags: Sequence[str] = (),
    reply: Mapping[str, Any] | None = None,
    cost: float | None = None,
) -> None:
    """What ``save`` asks of the values that do not depend on what is stored.

    Raises:
        Invalid: the first that is not allowed.
    """
    if not KEY.fullmatch(key):
        raise Invalid("key", "must have 1 to 64 letters, digits and _ - . :")
    for field, text, least in (("name", name, 1), ("group", group, 0)):
        if not least <= len(text) <= LONGEST_NAME or not text.isprintable():
            raise Invalid(field, f"must have {least} to {LONGEST_NAME} characters")
    if len(tags) > MOST_TAGS:
        raise Invalid("tags", f"at most {MOST_TAGS} tags")
    if cost is not None and not (math.isfinite(cost) and 0 <= cost <= MOST_COST):
        raise Invalid("cost", "must be a number from 0 up")
    if reply:
        content.parse(reply, "reply")


def exists(session: Session, account_id: int, key: str) -> bool:
    """Whether the key is taken, by an archived scene too."""
    return _find(session, account_id, key) is not None


def every(session: Session, account_id: int) -> list[Scene]:
    """All scenes that are not archived, by group and key."""
    rows = session.execute(
        sa.select(scenes)
        .where(scenes.c.account_id == account_id, scenes.c.archived_at.is_(None))
        .order_by(scenes.c.group, scenes.c.key)
    )
    return [scene_of(row) for row in rows]


def visible(patterns: Sequence[str] | None) -> sa.ColumnElement[bool]:
    """The scenes a channel owner is limited to: keys that match a pattern (``*`` is anything). None: all."""
    if patterns is None:
        return sa.true()
    return sa.or_(sa.false(), *(matches_wildcard(scenes.c.key, each) for each in patterns))


def may_see(patterns: Sequence[str] | None, key: str) -> bool:
    """The same of one key."""
    return patterns is None or any(
        re.fullmatch(".*".join(map(re.escape, each.split("*"))), key, re.DOTALL)
        for each in patterns
    )


def change_many(
    session: Session,
    account_id: int,
    keys: Iterable[str],
    *,
    group: str | None = None,
    tags: Sequence[str] | None = None,
) -> int:
    """Set the group, or add tags, of several scenes; how many there were.

    Raises:
        Invalid: the group or the number of tags is not allowed.
    """
    changed = 0
    for key in keys:
        row = _find(session, account_id, key)
        if row is None or row.archived_at is not None:
            continue
        values: dict[str, Any] = {}
        if group is not None:
            if len(group) > LONGEST_NAME or not group.isprintable():
                raise Invalid("group", f"must have 0 to {LONGEST_NAME} characters")
            values["group"] = group
        if tags is not None:
            values["tags"] = list(dict.fromkeys([*row.tags, *tags]))
            if len(values["tags"]) > MOST_TAGS:
                raise Invalid("tags", f"at most {MOST_TAGS} tags")
        _change(session, row.id, **values)
        changed += 1
    return changed


def groups(session: Session, account_id: int, patterns: Sequence[str] | None = None) -> list[str]:
    """The groups in use, in order; without the nameless one."""
    found = (
        sa.select(scenes.c.group)
        .distinct()
        .where(
            scenes.c.account_id == account_id,
            scenes.c.archived_at.is_(None),
            scenes.c.group != "",
            visible(patterns),
        )
    )
    return sorted(session.execute(found).scalars())


def unmade(session: Session, account_id: int) -> int:
    """How many codes the job ``MAKE`` has still to make."""
    return int(
        session.execute(
            sa.select(sa.func.count()).select_from(scenes).where(_never_made(account_id))
        ).scalar_one()
    )


def get(session: Session, account_id: int, key: str) -> Scene:
    """The scene with this key.

    Raises:
        Refused: there is none.
    """
    row = _find(session, account_id, key)
    if row is None or row.archived_at is not None:
        raise Refused(f"there is no scene '{key}'")
    return scene_of(row)


def archive(session: Session, account_id: int, key: str, now: datetime) -> None:
    """Put a scene away. Its printed codes go on working on the platform."""
    session.execute(
        sa.update(scenes)
        .where(scenes.c.account_id == account_id, scenes.c.key == key)
        .values(archived_at=now)
    )


def make(engine: sa.Engine, wechat: WeChat, account_id: int, key: str, now: datetime) -> Scene:
    """Make the code on the platform unless there is one that still works. A refusal is written on the scene.

    Raises:
        Refused: there is no such scene.
        WeChatError: the platform did not answer or wants us to wait; permanent refusals are on the result.
    """
    with reading(engine) as session:
        scene = get(session, account_id, key)
    if scene.status(now) == "ready":
        return scene
    try:
        ticket = gateway.create(
            wechat,
            key,
            permanent=scene.permanent,
            expire_seconds=scene.expire_seconds or gateway.MAX_SECONDS,
        )
    except WeChatError as problem:
        with writing(engine) as session:
            if problem.errcode == 48001:
                accounts.forbid(session, account_id, FEATURE)
            _change(session, scene.id, error=str(problem))
            scene = get(session, account_id, key)
        if not problem.permanent:
            raise
        return scene
    seconds = ticket.expire_seconds  # None: for ever
    with writing(engine) as session:
        _change(
            session,
            scene.id,
            ticket=ticket.ticket,
            url=ticket.url,
            made_at=now,
            expires_at=now + timedelta(seconds=seconds) if seconds else None,
            error=None,
        )
        return get(session, account_id, key)


def make_missing(
    engine: sa.Engine, wechat: WeChat, account_id: int, now: datetime, *, limit: int = 20
) -> bool:
    """Make up to ``limit`` codes that were never made; returns whether more are missing.

    Raises:
        WeChatError: the platform did not answer or wants us to wait.
    """
    with reading(engine) as session:
        if accounts.by_id(session, account_id).rights.get(FEATURE) is False:
            return False
        keys = list(
            session.execute(
                sa.select(scenes.c.key)
                .where(_never_made(account_id))
                .order_by(scenes.c.id)
                .limit(limit + 1)
            ).scalars()
        )
    for key in keys[:limit]:
        if make(engine, wechat, account_id, key, now).error:
            with reading(engine) as session:
                if accounts.by_id(session, account_id).rights.get(FEATURE) is False:
                    return False
    return len(keys) > limit


def image(scene: Scene, form: str = "png") -> bytes:
    """The QR code as a ``png`` or ``svg`` file, drawn here from its address.

    Raises:
        Refused: the code was not made yet.
        Invalid: another form.
    """
    if scene.url is None:
        raise Refused(f"二维码「{scene.key}」还没有在平台上生成")
    if form not in ("png", "svg"):
        raise Invalid("form", "must be png or svg")
    # M: a sixth of the code may be smudged, as printed codes are
    code = segno.make(scene.url, error="m", micro=False)
    file = io.BytesIO()
    code.save(file, kind=form, scale=PIXELS if form == "png" else 4, border=4)
    return file.getvalue()


def report(session: Session, account_id: int, first: date, last: date) -> list[DayOfScene]:
    """Follows and scans of every scene key on each Shanghai day from ``first`` to ``last``, both included.

    Keys nobody defined here (codes made elsewhere) are counted too.
    """
    day = shanghai_day(events.c.at)
    rows = session.execute(
        sa.select(
            events.c.key,
            day.label("day"),
            sa.func.count().filter(events.c.kind == "subscribe").label("follows"),
            sa.func.count().filter(events.c.kind == "scan").label("scans"),
            sa.func.count(events.c.follower_id.distinct()).label("people"),
        )
        .where(
            events.c.account_id == account_id,
            events.c.kind.in_(("subscribe", "scan")),
            events.c.key.is_not(None),
            events.c.at >= start_of_day(first),
            events.c.at < start_of_day(last + timedelta(days=1)),
        )
        .group_by(events.c.key, day)
        .order_by(day, events.c.key)
    )
    return [
        DayOfScene(row.key, date.fromisoformat(row.day), row.follows, row.scans, row.people)
        for row in rows
    ]


def reply_of(session: Session, account_id: int, key: str) -> dict[str, Any] | None:
    """The Content a scene answers with where no rule does."""
    return _REPLY.scalar(session, {"account": account_id, "scene": key})


def _never_made(account_id: int) -> sa.ColumnElement[bool]:
    return sa.and_(
        scenes.c.account_id == account_id,
        scenes.c.archived_at.is_(None),
        scenes.c.url.is_(None),
        scenes.c.error.is_(None),
    )


def _find(session: Session, account_id: int, key: str) -> Any:
    return session.execute(
        sa.select(scenes).where(scenes.c.account_id == account_id, scenes.c.key == key)
    ).one_or_none()


def _change(session: Session, scene_id: int, **values: Any) -> None:
    session.execute(sa.update(scenes).where(scenes.c.id == scene_id).values(**values))


def scene_of(row: Any) -> Scene:
    """A row of the table as a scene."""
    return Scene(
        id=row.id,
        key=row.key,
        name=row.name,
        group=row.group,
        permanent=row.permanent,
        expire_seconds=row.expire_seconds,
        tags=tuple(row.tags),
        ticket=row.ticket,
        url=row.url,
        made_at=row.made_at,
        expires_at=row.expires_at,
        error=row.error,
        reply=row.reply,
        cost=row.cost,
        created_at=row.created_at,
    )


def tags_given(session: Session, account_id: int, key: str) -> list[str]:
    """Names of the tags a QR scene gives; a scene nobody defined gives none."""
    if not key:
        return []
    found = _TAGS_GIVEN.scalar(session, {"account": account_id, "scene": key})
    return list(found or [])
