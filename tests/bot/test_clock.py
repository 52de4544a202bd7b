"""The calendar of Shanghai, whatever the server's own zone."""

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot import clock
from tests.factories import at

MOMENTS = st.datetimes(
    min_value=datetime(2020, 1, 1),  # noqa: DTZ001 -- hypothesis adds the zone
    max_value=datetime(2035, 1, 1),  # noqa: DTZ001
    timezones=st.just(UTC),
)


@pytest.mark.parametrize(
    ("moment", "month", "day"),
    [
        (datetime(2025, 10, 31, 15, 59, 59, tzinfo=UTC), "2025-10", date(2025, 10, 31)),
        (datetime(2025, 10, 31, 16, 0, tzinfo=UTC), "2025-11", date(2025, 11, 1)),
        (datetime(2025, 12, 31, 16, 0, tzinfo=UTC), "2026-01", date(2026, 1, 1)),
        (datetime(2024, 2, 28, 16, 0, tzinfo=UTC), "2024-02", date(2024, 2, 29)),
    ],
)
def test_months_and_days_turn_at_midnight_in_shanghai(
    moment: datetime, month: str, day: date
) -> None:
    assert clock.month_of(moment) == month
    assert clock.day_of(moment) == day


@given(MOMENTS)
def test_a_moment_lies_in_its_own_day_and_month(moment: datetime) -> None:
    day, month = clock.day_of(moment), clock.month_of(moment)
    assert clock.start_of_day(day) <= moment < clock.start_of_day(day + timedelta(days=1))
    assert clock.start_of_month(month) <= moment < clock.start_of_month(clock.next_month(month))


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-11-25T20:30:00+08:00", at("2026-11-25 20:30")),
        ("2026-11-25T12:30:00Z", at("2026-11-25 20:30")),
        ("2026-11-25 20:30", at("2026-11-25 20:30")),
        ("2026-11-25", at("2026-11-25 00:00")),
    ],
)
def test_a_time_without_a_zone_is_shanghais(text: str, moment: datetime) -> None:
    assert clock.parse_moment(text) == moment


def test_what_is_no_time_is_refused() -> None:
    with pytest.raises(ValueError, match="Invalid isoformat"):
        clock.parse_moment("next friday")


def test_a_frozen_clock_stands_and_a_moved_one_runs() -> None:
    frozen = clock.Clock(frozen_at=at("2025-11-01 08:00"))
    assert frozen() == frozen() == at("2025-11-01 08:00")
    frozen.move_to(at("2025-11-02 08:00"))
    assert frozen() == at("2025-11-02 08:00")
    moved = clock.Clock()
    moved.move_to(clock.now() + timedelta(days=30))
    assert timedelta(days=29) < moved() - clock.now() < timedelta(days=31)


@pytest.mark.parametrize("text", ["0001-01-01", "1969-12-31", "9999-12-31T23:59-12:00", "soon", ""])
def test_a_moment_no_clock_can_count_from_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"isoformat|must be a time"):
        clock.parse_moment(text)
