"""When a campaign is due: once, daily, weekly or monthly on a Shanghai wall clock; and quiet hours. Pure.

A schedule is the account file's JSON: ``{"at": ISO 8601}`` or ``{"repeat": {"every": "day" | "week" |
"month", "on": [...], "at": "20:30"}}``. A month without the wanted day uses its last day, so that
"on the 31st" happens twelve times a year; two days that fall together happen once.
"""

import calendar
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from bot.clock import SHANGHAI, day_of, local, parse_moment

WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
Quiet = tuple[time, time]


def next_due(schedule: Mapping[str, Any], after: datetime) -> datetime | None:
    """The first moment strictly later than ``after``, aware UTC; None when there is none any more."""
    if "at" in schedule:
        once = parse_moment(schedule["at"])
        return once if once > after else None
    repeat = schedule["repeat"]
    at = time.fromisoformat(repeat["at"])
    for day in _days(repeat["every"], repeat.get("on") or (), day_of(after)):
        moment = datetime.combine(day, at, tzinfo=SHANGHAI).astimezone(UTC)
        if moment > after:
            return moment
    return None


def after_quiet(moment: datetime, quiet: Quiet | None) -> datetime:
    """``moment``, or the end of the quiet hours it falls into. Quiet hours delay and never skip.

    The first minute of the span is quiet, its end is not. A span may pass midnight.
    """
    if quiet is None or quiet[0] == quiet[1]:
        return moment
    start, end = quiet
    here = local(moment)
    now = here.time()
    if start < end:
        if not start <= now < end:
            return moment
        day = here.date()
    elif now >= start:
        day = here.date() + timedelta(days=1)
    elif now < end:
        day = here.date()
    else:
        return moment
    return datetime.combine(day, end, tzinfo=SHANGHAI).astimezone(UTC)


def next_clock_time(text: str, after: datetime) -> datetime:
    """The first moment from ``after`` on, in UTC, at which Shanghai clocks show ``text`` such as ``12:30``."""
    at = time.fromisoformat(text)
    day = day_of(after)
    moment = datetime.combine(day, at, tzinfo=SHANGHAI)
    if moment < after:
        moment = datetime.combine(day + timedelta(days=1), at, tzinfo=SHANGHAI)
    return moment.astimezone(UTC)


def _days(every: str, on: Sequence[Any], first: date) -> Iterator[date]:
    if every == "month":
        yield from _month_days([int(day) for day in on] or [1], first)
        return
    wanted = {WEEKDAYS.index(str(day)) for day in on} if every == "week" else set(range(7))
    # today may be over already, so the same weekday of next week must be in reach
    for ahead in range(8):
        day = first + timedelta(days=ahead)
        if day.weekday() in wanted:
            yield day


def _month_days(on: Sequence[int], first: date) -> Iterator[date]:
    year, month = first.year, first.month
    for _ in range(2):
        last = calendar.monthrange(year, month)[1]
        for day in sorted({min(number, last) for number in on}):
            yield date(year, month, day)
        year, month = year + month // 12, month % 12 + 1
