"""What may be called today, by whom, and when it runs out: tables to read aloud."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot import allowances
from bot.allowances import PRIORITIES, Budget
from tests.factories import at

NOON = at("2025-03-03 12:00")


def budget(limit: int = 1000, before: dict[str, list[int]] | None = None, **calls: int) -> Budget:
    return Budget("/cgi-bin/message/custom/send", limit, calls, before=before or {})


@pytest.mark.parametrize(
    ("used", "priority", "wanted", "granted"),
    [
        (0, "campaign", 100, 100),
        (899, "campaign", 100, 1),  # the last tenth is not for campaigns
        (900, "campaign", 100, 0),
        (900, "later", 100, 50),  # of which the last twentieth is not for what is sent later
        (960, "later", 100, 0),
        (960, "reply", 100, 100),
        (1000, "reply", 1, 1),  # a reply is never held: the platform decides
        (800, "sync", 1, 0),
    ],
)
def test_the_rest_of_the_day_is_for_what_matters_more(
    used: int, priority: str, wanted: int, granted: int
) -> None:
    assert allowances.granted(budget(campaign=used), priority, wanted, NOON) == granted


def test_what_replies_took_on_the_busiest_day_of_the_week_is_kept_for_them() -> None:
    usual = budget(before={"reply": [100, 300, 200]}, campaign=600, reply=50)
    assert allowances.kept_back(usual, "campaign", NOON) == 310  # 300 and a fifth, less 50
    assert allowances.granted(usual, "campaign", 100, NOON) == 40


def test_a_day_busier_than_usual_keeps_what_it_still_needs_at_its_pace() -> None:
    assert allowances.kept_back(budget(reply=400), "campaign", NOON) == 400


def test_nothing_is_kept_back_beyond_the_limit() -> None:
    assert allowances.kept_back(budget(reply=5000), "campaign", NOON) == 1000


@pytest.mark.parametrize(
    ("used", "clock"),
    [(0, None), (400, None), (600, "20:00"), (1000, "12:00"), (1100, "12:00"), (857, "14:00")],
)
def test_when_the_day_runs_out_at_its_pace(used: int, clock: str | None) -> None:
    found = allowances.runs_out_at(budget(campaign=used), NOON)
    expected = at(f"2025-03-03 {clock}") if clock else None
    assert (found is None) == (expected is None)
    if found is not None and expected is not None:
        assert abs(found - expected) < timedelta(minutes=1)


def test_a_day_that_has_just_begun_has_no_pace_yet() -> None:
    moment = at("2025-03-03 00:01")
    assert allowances.runs_out_at(budget(campaign=30), moment) is None


def test_calls_come_back_at_midnight_in_shanghai() -> None:
    assert allowances.tomorrow(NOON) == at("2025-03-04 00:00")


def test_pauses_double_to_half_an_hour() -> None:
    minutes = [allowances.pause(times).total_seconds() / 60 for times in range(1, 8)]
    assert minutes == [1, 2, 4, 8, 16, 30, 30]


@pytest.mark.parametrize(
    ("purpose", "priority"),
    [("reply", "reply"), ("agent", "reply"), ("later", "later"), ("delivery", "campaign")],
)
def test_who_waits_comes_first(purpose: str, priority: str) -> None:
    assert allowances.priority_of(purpose) == priority


@given(
    limit=st.integers(1, 10_000),
    calls=st.fixed_dictionaries({one: st.integers(0, 5000) for one in PRIORITIES}),
    wanted=st.integers(0, 1000),
    minute=st.integers(0, 1439),
)
def test_nobody_gets_more_than_who_matters_more(
    limit: int, calls: dict[str, int], wanted: int, minute: int
) -> None:
    now = at("2025-03-03 00:00") + timedelta(minutes=minute)
    found = [allowances.granted(budget(limit, **calls), one, wanted, now) for one in PRIORITIES]
    assert found == sorted(found, reverse=True)
    assert all(0 <= one <= wanted for one in found)
    assert max(found[1:]) <= max(0, limit - sum(calls.values()))
