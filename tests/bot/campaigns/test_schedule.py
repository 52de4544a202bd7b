"""Due times are Shanghai wall-clock times."""

from datetime import datetime, time, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.campaigns.schedule import after_quiet, next_due
from bot.clock import local
from tests.factories import at

WEEKLY = {"repeat": {"every": "week", "on": ["fri"], "at": "20:30"}}


@pytest.mark.parametrize(
    ("schedule", "after", "due"),
    [
        ({"at": "2025-11-25T20:30:00+08:00"}, "2025-11-25 20:29", "2025-11-25 20:30"),
        ({"at": "2025-11-25T20:30:00"}, "2025-11-25 20:29", "2025-11-25 20:30"),
        ({"at": "2025-11-25T20:30:00+08:00"}, "2025-11-25 20:30", None),
        ({"repeat": {"every": "day", "at": "09:00"}}, "2025-03-03 08:59", "2025-03-03 09:00"),
        ({"repeat": {"every": "day", "at": "09:00"}}, "2025-03-03 09:00", "2025-03-04 09:00"),
        (WEEKLY, "2025-03-03 09:00", "2025-03-07 20:30"),
        (WEEKLY, "2025-03-07 20:30", "2025-03-14 20:30"),
        (WEEKLY, "2025-03-07 20:29", "2025-03-07 20:30"),
        (
            {"repeat": {"every": "week", "on": ["mon", "wed"], "at": "08:00"}},
            "2025-03-03 09:00",
            "2025-03-05 08:00",
        ),
        (
            {"repeat": {"every": "month", "on": [1, 15], "at": "20:30"}},
            "2025-03-03 09:00",
            "2025-03-15 20:30",
        ),
        (
            {"repeat": {"every": "month", "on": [1], "at": "20:30"}},
            "2025-12-01 20:30",
            "2026-01-01 20:30",
        ),
        (
            {"repeat": {"every": "month", "on": [31], "at": "20:30"}},
            "2025-02-01 09:00",
            "2025-02-28 20:30",
        ),
        (
            {"repeat": {"every": "month", "on": [30, 31], "at": "20:30"}},
            "2025-02-28 20:30",
            "2025-03-30 20:30",
        ),
        (
            {"repeat": {"every": "month", "on": [29], "at": "00:00"}},
            "2024-02-28 12:00",
            "2024-02-29 00:00",
        ),
    ],
)
def test_the_next_due_time(schedule: dict[str, Any], after: str, due: str | None) -> None:
    assert next_due(schedule, at(after)) == (at(due) if due else None)


MOMENTS = st.integers(0, 15 * 365 * 86400).map(
    lambda seconds: at("2020-01-01 00:00") + timedelta(seconds=seconds)
)
SCHEDULES = st.one_of(
    st.just({"repeat": {"every": "day", "at": "00:00"}}),
    st.sets(st.sampled_from(["mon", "tue", "wed", "thu", "fri", "sat", "sun"]), min_size=1).map(
        lambda on: {"repeat": {"every": "week", "on": sorted(on), "at": "23:59"}}
    ),
    st.sets(st.integers(1, 31), min_size=1).map(
        lambda on: {"repeat": {"every": "month", "on": sorted(on), "at": "12:00"}}
    ),
)


@given(SCHEDULES, MOMENTS)
def test_a_repeating_campaign_is_always_due_again_within_a_month(
    schedule: dict[str, Any], after: datetime
) -> None:
    due = next_due(schedule, after)
    assert due is not None
    assert after < due <= after + timedelta(days=62)
    assert f"{local(due):%H:%M}" == schedule["repeat"]["at"]
    # nothing lies between: the due time of a moment just before is the same one
    assert next_due(schedule, due - timedelta(microseconds=1)) == due


@pytest.mark.parametrize(
    ("moment", "quiet", "goes"),
    [
        ("2025-03-03 21:59", ("22:00", "08:00"), "2025-03-03 21:59"),
        ("2025-03-03 22:00", ("22:00", "08:00"), "2025-03-04 08:00"),
        ("2025-03-03 23:59", ("22:00", "08:00"), "2025-03-04 08:00"),
        ("2025-03-04 00:00", ("22:00", "08:00"), "2025-03-04 08:00"),
        ("2025-03-04 07:59", ("22:00", "08:00"), "2025-03-04 08:00"),
        ("2025-03-04 08:00", ("22:00", "08:00"), "2025-03-04 08:00"),
        ("2025-03-04 12:30", ("12:00", "14:00"), "2025-03-04 14:00"),
        ("2025-03-04 14:00", ("12:00", "14:00"), "2025-03-04 14:00"),
        ("2025-03-04 11:59", ("12:00", "14:00"), "2025-03-04 11:59"),
        ("2025-03-04 03:00", ("00:00", "00:00"), "2025-03-04 03:00"),
        ("2025-02-28 23:00", ("22:00", "08:00"), "2025-03-01 08:00"),
    ],
)
def test_quiet_hours_delay(moment: str, quiet: tuple[str, str], goes: str) -> None:
    span = (time.fromisoformat(quiet[0]), time.fromisoformat(quiet[1]))
    assert after_quiet(at(moment), span) == at(goes)


def test_without_quiet_hours_nothing_is_delayed() -> None:
    assert after_quiet(at("2025-03-03 03:00"), None) == at("2025-03-03 03:00")


@given(MOMENTS, st.times(), st.times())
def test_quiet_hours_never_delay_by_a_day_and_delay_once(
    moment: datetime, start: time, end: time
) -> None:
    quiet = (start.replace(microsecond=0, second=0), end.replace(microsecond=0, second=0))
    later = after_quiet(moment, quiet)
    assert moment <= later < moment + timedelta(days=1)
    assert after_quiet(later, quiet) == later
