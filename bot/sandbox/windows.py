"""How many customer-service messages a follower still allows. Source: docs/wechat-limits.md 9 (read 2026-11)."""

from bot.sandbox.limits import (
    LONG_WINDOW_MESSAGES,
    LONG_WINDOW_SECONDS,
    SHORT_WINDOW_MESSAGES,
    SHORT_WINDOW_SECONDS,
)
from bot.sandbox.refusal import Refusal
from bot.sandbox.state import Row, Store


def open_long(store: Store, account_id: int, open_id: str, now: float, *, used: int = 0) -> None:
    """A message from the follower: 5 within 48 hours, not 5 more; ``used`` of them elsewhere."""
    store.run(
        "UPDATE followers SET long_left = ?, long_until = ?, wrote_at = ?"
        " WHERE account_id = ? AND open_id = ?",
        max(0, LONG_WINDOW_MESSAGES - used),
        now + LONG_WINDOW_SECONDS,
        now,
        account_id,
        open_id,
    )


def open_short(store: Store, account_id: int, open_id: str, now: float) -> None:
    """A tap, a follow, a scan or a click on a message menu: 3 within a minute."""
    store.run(
        "UPDATE followers SET short_left = ?, short_until = ? WHERE account_id = ? AND open_id = ?",
        SHORT_WINDOW_MESSAGES,
        now + SHORT_WINDOW_SECONDS,
        account_id,
        open_id,
    )


def close(store: Store, account_id: int, open_id: str) -> None:
    """Leaving closes both."""
    store.run(
        "UPDATE followers SET long_left = 0, long_until = 0, short_left = 0, short_until = 0"
        " WHERE account_id = ? AND open_id = ?",
        account_id,
        open_id,
    )


def take(store: Store, follower: Row, now: float) -> None:
    """Spend one message of the window that ends first.

    Raises:
        Refusal: 45015 no window is open, 45047 the open ones are used up.
    """
    opened = [
        (follower[f"{name}_until"], name, follower[f"{name}_left"])
        for name in ("short", "long")
        if follower[f"{name}_until"] > now
    ]
    if not opened:
        raise Refusal(45015)
    left = sorted((until, name) for until, name, count in opened if count > 0)
    if not left:
        raise Refusal(45047)
    column = f"{left[0][1]}_left"
    store.run(
        f"UPDATE followers SET {column} = {column} - 1 WHERE id = ?",  # noqa: S608 one of two names
        follower["id"],
    )
