"""The mass budget: how much an account kind may send, and when a month is closed. Pure numbers.

Who has how much left is ``ledger.py``; these constants live nowhere else.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from bot.clock import month_of, next_month, start_of_month

# Each follower of a verified service account receives at most 4 mass messages in a natural month,
# website and API together; further ones silently fail for that follower.
# Source: docs/wechat-limits.md 8 (O1, O2, read 2026-11).
PER_FOLLOWER_AND_MONTH = 4

# The mass interface of a verified subscription account succeeds once a day, to all or to one tag.
# Source: docs/wechat-limits.md 8 (O1, read 2026-11).
SENDS_A_DAY = 1

# Calls of mass/send and mass/sendall together. Source: docs/wechat-limits.md 8 (O7; O1, O2).
CALLS_A_DAY = 100
CALLS_A_MINUTE = 60

# A job that starts in the last minutes may be counted in the next month; the platform does not say
# which moment counts, so no mass call is made then. Source: our caution.
CLOSED_BEFORE_MONTH_END = timedelta(minutes=30)


@dataclass(frozen=True, slots=True)
class Allowance:
    """What mass sending an account may do. None where the platform sets no such limit."""

    per_follower_and_month: int | None
    sends_a_day: int | None
    by_open_id: bool  # mass/send to a list of OpenIDs is for verified service accounts only


SERVICE = Allowance(PER_FOLLOWER_AND_MONTH, None, by_open_id=True)
SUBSCRIPTION = Allowance(None, SENDS_A_DAY, by_open_id=False)


def allowance(kind: str, verified: bool) -> Allowance | None:
    """The allowance of an account kind; None: no mass interface at all (errcode 48001).

    Source: docs/wechat-limits.md 8, "unverified account" (O18, read 2026-11).
    """
    if not verified:
        return None
    return SERVICE if kind == "service" else SUBSCRIPTION


def left(reserved: int, spent: int) -> int:
    """Slots a follower of a service account has left in a month. Never below 0."""
    return max(0, PER_FOLLOWER_AND_MONTH - reserved - spent)


def is_closed(moment: datetime) -> bool:
    """Whether a moment lies in the last 30 minutes of its Shanghai month."""
    return opens_at(moment) != moment


def opens_at(moment: datetime) -> datetime:
    """``moment``, or the start of the next Shanghai month (UTC) when this one is closed already."""
    end = start_of_month(next_month(month_of(moment)))
    return end if moment >= end - CLOSED_BEFORE_MONTH_END else moment
