"""Media and material of an account, and the check that a media_id may be used. Source: docs/wechat-limits.md 8."""

import json
from typing import Any

from bot.sandbox.accounts import Account
from bot.sandbox.limits import MEDIA_SECONDS
from bot.sandbox.refusal import Refusal
from bot.sandbox.state import Row
from bot.sandbox.world import World, secret

FOREVER = 1e12
# a picture serves as thumb too; every other kind must fit exactly
FITTING = {"thumb": ("thumb", "image"), "mpvideo": ("mpvideo",)}


def put(
    world: World,
    account: Account,
    kind: str,
    name: str,
    body: bytes,
    *,
    permanent: bool,
    extra: dict[str, Any] | None = None,
) -> str:
    """Keep a file; its media_id."""
    now = world.now()
    media_id = f"{kind[0].upper()}{secret(42)}"
    world.store.run(
        "INSERT INTO media VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        media_id,
        account.id,
        kind,
        permanent,
        name,
        now,
        FOREVER if permanent else now + MEDIA_SECONDS,
        json.dumps(extra or {}, ensure_ascii=False),
        body,
    )
    return media_id


def end(world: World, media_id: str, at: float) -> None:
    """From a moment on nobody knows this id any more."""
    world.store.run(
        "UPDATE media SET expires_at = min(expires_at, ?) WHERE media_id = ?", at, media_id
    )


def find(world: World, account: Account, media_id: Any) -> Row:
    """A living medium of this account.

    Raises:
        Refusal: 40007 unknown, of another account, or expired.
    """
    row = world.store.one(
        "SELECT * FROM media WHERE media_id = ? AND account_id = ? AND expires_at > ?",
        str(media_id),
        account.id,
        world.now(),
    )
    if row is None:
        raise Refusal(40007, "invalid media_id")
    return row


def need(world: World, account: Account, payload: Any, field: str, kind: str) -> Row:
    """The medium that ``payload[field]`` names.

    Raises:
        Refusal: 40008 the payload is missing, 40007 no such medium of that kind.
    """
    if not isinstance(payload, dict):
        raise Refusal(40008, "invalid message type")
    row = find(world, account, payload.get(field, ""))
    if row["kind"] not in FITTING.get(kind, (kind,)):
        raise Refusal(40007, "invalid media_id")
    return row
