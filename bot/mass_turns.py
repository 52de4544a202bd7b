"""When an account may make its next mass call: 60 a minute, 100 a day, never over a month's end."""

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from bot.campaigns.budget import CALLS_A_DAY, CALLS_A_MINUTE, is_closed
from bot.clock import day_of, month_of, start_of_day

MINUTE = timedelta(minutes=1)
KEEP_CALLS = timedelta(days=2)


def key(account_id: int) -> str:
    """Where an account's calls of today are kept; also the lock that makes its calls take turns."""
    return f"mass_calls:{account_id}"


def calls_from(value: str | None) -> list[datetime]:
    """The moments of past calls, as kept."""
    return [datetime.fromisoformat(text) for text in json.loads(value)] if value else []


def calls_to(calls: list[datetime], now: datetime) -> str:
    """What to keep of ``calls``: today's and the last minute's."""
    today = day_of(now)
    useful = [call for call in calls if call > now - MINUTE or day_of(call) == today]
    return json.dumps([call.isoformat() for call in useful])


def next_call_at(calls: list[datetime], now: datetime) -> datetime:
    """``now`` when a call is allowed, else the moment (UTC) from which one is.

    At most 60 in any 60 seconds and 100 in a Shanghai day.
    """
    today = [call for call in calls if day_of(call) == day_of(now)]
    if len(today) >= CALLS_A_DAY:
        return start_of_day(day_of(now) + timedelta(days=1))
    recent = sorted(call for call in calls if call > now - MINUTE)
    if len(recent) >= CALLS_A_MINUTE:
        return recent[-CALLS_A_MINUTE] + MINUTE
    return now


def month_turned(payload: Mapping[str, Any], now: datetime) -> bool:
    """Whether the slots a call would take belong to another Shanghai month than the present one."""
    month = payload.get("month")
    return month is not None and month != month_of(now)


def held(unanswered: bool, now: datetime) -> bool:
    """Whether a month's last 30 minutes hold a call back. A repeat of unknown outcome takes no new slot and may go."""
    return is_closed(now) and not unanswered
