"""At most 60 mass calls in any minute and 100 in a Shanghai day, and none over a month's end."""

from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot import mass_turns
from bot.clock import day_of
from tests.factories import at

NOON = at("2025-03-03 12:00")


def test_sixty_calls_go_at_once_and_the_next_waits_for_the_first_to_be_a_minute_old() -> None:
    calls = [NOON + timedelta(milliseconds=number) for number in range(60)]
    assert mass_turns.next_call_at(calls[:59], calls[-1]) == calls[-1]
    assert mass_turns.next_call_at(calls, calls[-1]) == NOON + timedelta(minutes=1)


def test_the_hundred_and_first_call_waits_for_the_next_day() -> None:
    calls = [at("2025-03-03 00:00") + timedelta(minutes=5 * number) for number in range(100)]
    assert mass_turns.next_call_at(calls, NOON) == at("2025-03-04 00:00")


@given(st.lists(st.integers(min_value=0, max_value=900), min_size=1, max_size=140))
def test_no_minute_and_no_day_ever_has_too_many_calls(gaps: list[int]) -> None:
    now = at("2025-03-03 23:30")
    made: list[datetime] = []
    kept: str | None = None
    for gap in gaps:
        now += timedelta(milliseconds=gap)
        calls = mass_turns.calls_from(kept)
        now = mass_turns.next_call_at(calls, now)
        assert mass_turns.next_call_at(calls, now) == now
        made.append(now)
        kept = mass_turns.calls_to([*calls, now], now)
    for call in made:
        minute = [other for other in made if timedelta(0) <= other - call < timedelta(minutes=1)]
        assert len(minute) <= 60
        assert len([other for other in made if day_of(other) == day_of(call)]) <= 100


@pytest.mark.parametrize(
    ("moment", "unanswered", "held"),
    [
        ("2025-03-31 23:29", False, False),
        ("2025-03-31 23:30", False, True),
        ("2025-03-31 23:59", False, True),
        ("2025-03-31 23:45", True, False),
        ("2025-04-01 00:00", False, False),
    ],
)
def test_first_calls_stop_half_an_hour_before_the_month_ends(
    moment: str, unanswered: bool, held: bool
) -> None:
    assert mass_turns.held(unanswered, at(moment)) is held


def test_slots_belong_to_the_month_they_were_taken_in() -> None:
    assert not mass_turns.month_turned({"month": "2025-03"}, at("2025-03-31 23:59"))
    assert mass_turns.month_turned({"month": "2025-03"}, at("2025-04-01 00:00"))
    assert not mass_turns.month_turned({}, NOON)
