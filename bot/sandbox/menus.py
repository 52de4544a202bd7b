"""The menu a follower sees: the newest personal one that fits, else the default one."""

import json
from collections.abc import Iterator
from typing import Any

from bot.sandbox.accounts import Account
from bot.sandbox.world import World

DEFAULT_MENU_ID = 208_396_938
Button = dict[str, Any]


def flat(buttons: list[Button]) -> Iterator[Button]:
    """First-level and second-level buttons in order."""
    for button in buttons:
        yield button
        yield from button.get("sub_button") or []


def default(world: World, account: Account) -> list[Button] | None:
    text = world.store.value("SELECT menu FROM accounts WHERE id = ?", account.id)
    buttons: list[Button] | None = json.loads(text) if text else None
    return buttons


def seen_by(world: World, account: Account, open_id: str) -> list[Button] | None:
    """Source: docs/wechat-limits.md 7 (newest first, the tag added last decides; read 2026-11)"""
    tags = [
        row["tag_id"]
        for row in world.store.all(
            "SELECT tag_id FROM follower_tags WHERE account_id = ? AND open_id = ? ORDER BY added DESC",
            account.id,
            open_id,
        )
    ]
    personal = world.store.all(
        "SELECT * FROM menus WHERE account_id = ? ORDER BY id DESC", account.id
    )
    for tag_id in [*tags, None]:
        for row in personal:
            wanted = json.loads(row["matchrule"]).get("tag_id")
            if wanted is not None and tag_id is not None and int(wanted) == tag_id:
                buttons: list[Button] = json.loads(row["button"])
                return buttons
    return default(world, account)


def type_of_key(world: World, account: Account, open_id: str, key: str) -> str | None:
    """The type of the button with this key in the follower's menu."""
    for button in flat(seen_by(world, account, open_id) or []):
        if button.get("key") == key:
            return str(button["type"])
    return None


def names_media(world: World, account: Account, media_id: str) -> bool:
    """Whether a button of any menu sends this material."""
    personal = world.store.all("SELECT button FROM menus WHERE account_id = ?", account.id)
    every = [default(world, account) or [], *(json.loads(row["button"]) for row in personal)]
    return any(button.get("media_id") == media_id for buttons in every for button in flat(buttons))
