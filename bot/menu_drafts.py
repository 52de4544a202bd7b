"""Menus as they are being edited: a draft beside what is published, published at once or at a time.

Each change raises the version; whoever saves over a version they did not see is refused and sees both.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from bot import jobs, menus, rulebook
from bot.db import Session, insert, reading, writing
from bot.errors import Invalid, Refused, WeChatError
from bot.menus import Menus
from bot.tables.accounts import menus as table
from bot.tables.followers import follower_tags, platform_tags, tags
from bot.wechat.client import WeChat

Menu = list[dict[str, Any]]
PUBLISH_DUE = "publish_menu_due"  # the job of a scheduled publication
LATEST = timedelta(days=90)
# what a button does -> whether its push carries the key an operator gave it
KEYED = (
    "click",
    "scancode_push",
    "scancode_wait",
    "picture_camera",
    "picture_album",
    "picture_wechat",
    "location",
)


@dataclass(frozen=True, slots=True)
class State:
    """``menu`` and ``personal`` are what is edited: the draft, else what is wanted. ``version`` 0: nothing yet."""

    menus: Menus
    menu: Menu
    personal: list[dict[str, Any]]
    drafted: bool
    version: int
    changed_by: str | None = None
    publish_at: datetime | None = None
    publish_by: str | None = None


@dataclass(frozen=True, slots=True)
class Seen:
    """The menu one follower sees: the personal one of ``tag``, or the default one.

    ``told`` is False while the platform does not know of the tag yet.
    """

    menu: Menu
    tag: str | None
    told: bool = True


def state(session: Session, account_id: int) -> State:
    """What is published, what is being edited, and when it is due."""
    row = session.execute(sa.select(table).where(table.c.account_id == account_id)).one_or_none()
    if row is None:
        return State(menus.NONE, [], [], False, 0)
    draft = row.draft
    return State(
        menus.get(session, account_id),
        (draft["menu"] if draft else row.menu) or [],
        (draft["personal"] if draft else row.personal) or [],
        draft is not None,
        row.version,
        row.changed_by,
        row.publish_at,
        row.publish_by,
    )


def save(
    session: Session,
    account_id: int,
    menu: Menu,
    personal: Sequence[Mapping[str, Any]],
    *,
    seen: int,
    by: str,
) -> int:
    """Keep a draft; the new version. What was scheduled is cancelled: it was another menu.

    Raises:
        Invalid: the first problem.
        Refused: the version is no longer the one that was ``seen``.
    """
    wrong = problems(session, account_id, menu, personal)
    if wrong:
        raise Invalid(*wrong[0])
    return _change(
        session,
        account_id,
        seen,
        draft={"menu": menu, "personal": [dict(one) for one in personal]},
        changed_by=by,
        publish_at=None,
        publish_by=None,
    )


def problems(
    session: Session, account_id: int, menu: Any, personal: Sequence[Any]
) -> list[tuple[str, str]]:
    """Every reason why the platform, or a tag, would not let these menus be published: (place, sentence)."""
    found = menus.problems(menu, personal)
    known = session.execute(
        sa.select(tags.c.name, tags.c.sync).where(
            tags.c.account_id == account_id, tags.c.archived_at.is_(None)
        )
    )
    synced = {row.name: row.sync for row in known}
    for number, one in enumerate(personal):
        name = one.get("tag") if isinstance(one, Mapping) else None
        if isinstance(name, str) and name and not synced.get(name):
            told = (
                f"the tag '{name}' is not kept on the platform; switch its sync on first"
                if name in synced
                else f"there is no tag '{name[:60]}'"
            )
            found.append((f"personal_menus.{number}.tag", told))
    return found


def discard(session: Session, account_id: int, *, seen: int, by: str) -> None:
    """Forget the draft and what was scheduled.

    Raises:
        Refused: somebody else changed it meanwhile.
    """
    cleared = {"draft": None, "publish_at": None, "publish_by": None}
    _change(session, account_id, seen, **cleared, changed_by=by)


def publish(
    engine: sa.Engine, wechat: WeChat, account_id: int, now: datetime, *, seen: int
) -> None:
    """Tell the platform what is being edited. A draft stays until the platform took it.

    Raises:
        Refused: there is nothing to publish, or somebody else changed it meanwhile.
        WeChatError: the platform said no or did not answer.
    """
    with writing(engine) as session:
        found = state(session, account_id)
        if found.version != seen:
            raise Refused("somebody else changed the menu in the meantime")
        if not found.menu:
            raise Refused("there is no menu to publish")
        if found.drafted:
            menus.save(session, account_id, found.menu, found.personal)
        now_at = state(session, account_id).version
    menus.publish(engine, wechat, account_id, now)
    with writing(engine) as session:
        done = {"draft": None, "publish_at": None, "publish_by": None}
        session.execute(
            sa.update(table)
            .where(table.c.account_id == account_id, table.c.version == now_at)
            .values(**done)
        )


def schedule(
    session: Session, account_id: int, at: datetime, now: datetime, *, seen: int, by: str
) -> None:
    """Publish the draft at a moment of the next 90 days.

    Raises:
        Invalid: the moment is past or too far away.
        Refused: there is no draft, or somebody else changed it meanwhile.
    """
    if not now < at <= now + LATEST:
        raise Invalid("publish_at", "must be within the next 90 days")
    if not state(session, account_id).drafted:
        raise Refused("there is no menu to publish")
    _change(session, account_id, seen, publish_at=at, publish_by=by)
    arguments = {"account_id": account_id, "at": at.isoformat()}
    jobs.enqueue(session, PUBLISH_DUE, arguments, now=now, run_at=at, account_id=account_id)


def cancel(session: Session, account_id: int, *, seen: int) -> None:
    """Take a scheduled publication back; the draft stays.

    Raises:
        Refused: somebody else changed it meanwhile.
    """
    _change(session, account_id, seen, publish_at=None, publish_by=None)


def publish_due(engine: sa.Engine, wechat: WeChat, account_id: int, at: str, now: datetime) -> bool:
    """The job behind ``schedule``: publishes unless it was cancelled or moved; whether it did.

    A refusal for good ends the schedule; it is stored with the menus, and the draft stays.

    Raises:
        WeChatError: the platform did not answer; the job tries again.
    """
    with reading(engine) as session:
        found = state(session, account_id)
    if found.publish_at is None or found.publish_at.isoformat() != at:
        return False
    try:
        publish(engine, wechat, account_id, now, seen=found.version)
    except (Refused, WeChatError) as problem:
        if isinstance(problem, WeChatError) and not problem.permanent:
            raise
        with writing(engine) as session:
            mine = table.c.account_id == account_id
            session.execute(
                sa.update(table).where(mine).values(publish_at=None, error=str(problem))
            )
        return False
    return True


def seen_by(
    session: Session, account_id: int, follower_id: int, found: State, now: datetime
) -> Seen:
    """Which of the edited menus a follower sees: the tag they got last decides.

    Source: docs/wechat-limits.md 7 (read 2026-11)
    """
    by_tag = {one["tag"]: one["menu"] for one in found.personal}
    rows = session.execute(
        sa.select(tags.c.name, platform_tags.c.tag_id)
        .select_from(
            follower_tags.join(tags, tags.c.id == follower_tags.c.tag_id).outerjoin(
                platform_tags,
                sa.and_(
                    platform_tags.c.tag_id == follower_tags.c.tag_id,
                    platform_tags.c.follower_id == follower_tags.c.follower_id,
                ),
            )
        )
        .where(
            follower_tags.c.account_id == account_id,
            follower_tags.c.follower_id == follower_id,
            sa.or_(follower_tags.c.expires_at.is_(None), follower_tags.c.expires_at > now),
            tags.c.name.in_(list(by_tag)),
        )
        .order_by(follower_tags.c.added_at.desc(), follower_tags.c.tag_id.desc())
    ).all()
    if not rows:
        return Seen(found.menu, None)
    return Seen(by_tag[rows[0].name], rows[0].name, rows[0].tag_id is not None)


def buttons(menu: Sequence[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    """Every button that does something, in order: those with others below them only open them."""
    for button in menu:
        yield from button.get("sub", (button,))


def key_of(button: Mapping[str, Any]) -> str | None:
    """The key by which rules know a tap on this button; None for the kinds that have none."""
    return next((str(button[kind]) for kind in KEYED if kind in button), None)


def unanswered(session: Session, account_id: int, found: State) -> list[tuple[str, str]]:
    """(key, name) of buttons whose key no rule in force mentions. In the order of the menus."""
    number = rulebook.head(session, account_id)
    body = rulebook.snapshot(session, account_id, number) if number else {"rules": []}
    known = {
        key
        for rule in body["rules"]
        if rule.get("enabled", True)
        for condition in rule.get("when", ())
        for key in condition.get("menu_key", {}).get("any", ())
    }
    every = [found.menu, *(one["menu"] for one in found.personal)]
    keys = {
        key: str(button["name"])
        for menu in every
        for button in buttons(menu)
        if (key := key_of(button)) and key not in known
    }
    return list(keys.items())


def _change(session: Session, account_id: int, seen: int, **values: Any) -> int:
    if seen == 0:
        first = insert(session, table).values(account_id=account_id, version=0)
        session.execute(first.on_conflict_do_nothing())
    version = session.execute(
        sa.update(table)
        .where(table.c.account_id == account_id, table.c.version == seen)
        .values(version=table.c.version + 1, **values)
        .returning(table.c.version)
    ).scalar()
    if version is None:
        raise Refused("somebody else changed the menu in the meantime")
    return int(version)
