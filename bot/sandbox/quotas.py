"""Calls counted by Shanghai day, minute and month. Source: docs/wechat-limits.md 4, 8 and 14 (read 2026-11)."""

from datetime import datetime

from bot.clock import day_of, local, month_of
from bot.sandbox.limits import DAILY, PER_MINUTE
from bot.sandbox.refusal import Refusal
from bot.sandbox.state import Store


def periods(moment: datetime) -> tuple[str, str, str]:
    """The day, the minute and the month a moment falls into, in Shanghai."""
    return day_of(moment).isoformat(), f"{local(moment):%Y-%m-%dT%H:%M}", month_of(moment)


def used(store: Store, account_id: int, api: str, period: str) -> int:
    return int(
        store.value(
            "SELECT count FROM used WHERE account_id = ? AND api = ? AND period = ?",
            account_id,
            api,
            period,
        )
        or 0
    )


def add(store: Store, account_id: int, api: str, period: str) -> int:
    """Count one call; how many there were before it."""
    return (
        int(
            store.value(
                "INSERT INTO used VALUES (?, ?, ?, 1)"
                " ON CONFLICT DO UPDATE SET count = count + 1 RETURNING count",
                account_id,
                period,
                api,
            )
        )
        - 1
    )


def spend(store: Store, account_id: int, api: str, moment: datetime, daily: int | None) -> None:
    """Count a call of ``api``; ``daily`` overrides the default limit of a day.

    Raises:
        Refusal: 45009 the day is used up, 45011 the minute is.
    """
    day, minute, _ = periods(moment)
    per_minute = PER_MINUTE.get(api)
    if per_minute is not None and add(store, account_id, api, minute) >= per_minute:
        raise Refusal(45011)
    limit = DAILY.get(api) if daily is None else daily
    if limit is None:
        return
    if used(store, account_id, api, day) >= limit:
        raise Refusal(45009)
    add(store, account_id, api, day)
