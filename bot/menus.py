"""Menus (自定义菜单): the default one and personal ones by tag, as in the account file, told to the platform.

The platform cannot edit a personal menu, and tries the newest first. So when they change, the old
ones are deleted, and the new ones are added in reverse: the file's first is tried first.
Source: docs/wechat-limits.md 7 (menu service of MudWechat; read 2026-11).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

import sqlalchemy as sa

from bot import accounts, tag_sync, webhooks
from bot.db import Session, reading, upsert, writing
from bot.errors import Invalid, Refused, WeChatError
from bot.tables.accounts import menus
from bot.wechat import menu as gateway
from bot.wechat.client import WeChat

FEATURE = "menu"
PUBLISH = "publish_menu"  # the job that tells the platform
MOST_HOSTS = 3  # all personal menus together, 65316
MOST_PERSONAL = 20  # our own bound, the account file's too: each is a call at every change


@dataclass(frozen=True, slots=True)
class Menus:
    """What the account should have, and what the platform was last told."""

    menu: list[dict[str, Any]] | None
    personal: list[dict[str, Any]]
    published: dict[str, Any] | None
    published_at: datetime | None
    error: str | None

    @property
    def waiting(self) -> bool:
        """Whether the platform has something else than what is wanted."""
        return self.menu is not None and _told(self.published) != _wanted(self)


NONE = Menus(None, [], None, None, None)


def problems(menu: Any, personal: Any = ()) -> list[tuple[str, str]]:
    """Every problem of the keys ``menu`` and ``personal_menus`` of an account file: (place, sentence)."""
    found = [] if menu is None else gateway.problems(menu, "menu")
    if not isinstance(personal, list | tuple):
        return [*found, ("personal_menus", "must be a list of {tag, menu}")]
    if personal and menu is None:
        found.append(("personal_menus", "personal menus need a default menu first (65303)"))
    if len(personal) > MOST_PERSONAL:
        found.append(("personal_menus", f"at most {MOST_PERSONAL}"))
    seen: set[str] = set()
    for number, one in enumerate(personal):
        place = f"personal_menus.{number}"
        if not isinstance(one, Mapping) or set(one) != {"tag", "menu"}:
            found.append((place, "must have exactly the keys tag and menu"))
            continue
        if not isinstance(one["tag"], str) or not one["tag"]:
            found.append((f"{place}.tag", "must be the name of a tag"))
        elif one["tag"] in seen:
            found.append((f"{place}.tag", "this tag has a menu already; only the first would show"))
        else:
            seen.add(one["tag"])
        found += gateway.problems(one["menu"], f"{place}.menu")
    if not found and len(hosts := _hosts(personal)) > MOST_HOSTS:
        listed = ", ".join(sorted(hosts))
        found.append(
            ("personal_menus", f"may open at most {MOST_HOSTS} domains together: {listed}")
        )
    return found


def save(session: Session, account_id: int, menu: Any, personal: Any = ()) -> None:
    """Store what the menus should be; ``publish`` tells the platform. None: not managed by us.

    Raises:
        Invalid: the first problem, beyond the platform's limits or of another shape.
    """
    wrong = problems(menu, personal)
    if wrong:
        raise Invalid(*wrong[0])
    upsert(
        session,
        menus,
        {"account_id": account_id, "menu": menu, "personal": list(personal)},
        ["account_id"],
    )
    # who edits a draft in the console meanwhile is told
    mine = menus.c.account_id == account_id
    session.execute(sa.update(menus).where(mine).values(version=menus.c.version + 1))


def get(session: Session, account_id: int) -> Menus:
    """The menus of an account; nothing is wanted where none were saved."""
    row = session.execute(sa.select(menus).where(menus.c.account_id == account_id)).one_or_none()
    if row is None:
        return NONE
    return Menus(row.menu, row.personal or [], row.published, row.published_at, row.error)


def publish(engine: sa.Engine, wechat: WeChat, account_id: int, now: datetime) -> bool:
    """Tell the platform what changed; returns whether anything was told. A failure is stored and shown.

    1. Tags of personal menus get their platform ids (made on the platform where missing).
    2. The default menu is replaced.
    3. Old personal menus are deleted, then the new ones added from last to first.

    Each step is stored as soon as it is done, so that a retry goes on from there.

    Raises:
        Refused: a tag of a personal menu cannot be on the platform.
        WeChatError: the platform said no or did not answer.
    """
    with reading(engine) as session:
        found = get(session, account_id)
    if not found.waiting:
        return False
    try:
        _tell(engine, wechat, account_id, found, now)
    except (WeChatError, Refused) as problem:
        with writing(engine) as session:
            if isinstance(problem, WeChatError) and problem.errcode == 48001:
                accounts.forbid(session, account_id, FEATURE)
            _change(session, account_id, error=str(problem))
        raise
    with writing(engine) as session:
        webhooks.emit(session, account_id, "menu.published", {}, now)
    return True


def _tell(engine: sa.Engine, wechat: WeChat, account_id: int, found: Menus, now: datetime) -> None:
    names = [one["tag"] for one in found.personal]
    tag_ids = tag_sync.platform_ids(engine, wechat, account_id, names) if names else {}
    before = found.published or {}
    if before.get("menu") != found.menu:
        gateway.publish(wechat, found.menu or [])
        _store(engine, account_id, {**before, "menu": found.menu}, now)
    if _told(before)["personal"] != found.personal:
        # whatever is there: also what a run that was killed had added without storing it
        for menu_id in gateway.personal_ids(wechat):
            gateway.delete_personal(wechat, menu_id)
        _store(engine, account_id, {"menu": found.menu, "personal": None}, now)
        for one in reversed(found.personal):
            gateway.publish_personal(wechat, one["menu"], tag_ids[one["tag"]])
    _store(engine, account_id, {"menu": found.menu, "personal": found.personal}, now)


def _store(engine: sa.Engine, account_id: int, published: dict[str, Any], now: datetime) -> None:
    with writing(engine) as session:
        _change(session, account_id, published=published, published_at=now, error=None)


def _change(session: Session, account_id: int, **values: Any) -> None:
    session.execute(sa.update(menus).where(menus.c.account_id == account_id).values(**values))


def _hosts(personal: Iterable[Mapping[str, Any]]) -> set[str]:
    """Every domain that personal menus open."""
    buttons = [button for one in personal for button in one["menu"]]
    buttons += [inner for button in buttons for inner in button.get("sub", ())]
    return {urlsplit(button["view"]).hostname or "" for button in buttons if "view" in button}


def _told(published: Mapping[str, Any] | None) -> dict[str, Any]:
    known = published or {}
    # a first publication has nothing to delete; None means that they were left half done
    return {"menu": known.get("menu"), "personal": known.get("personal", [])}


def _wanted(found: Menus) -> dict[str, Any]:
    return {"menu": found.menu, "personal": found.personal}
