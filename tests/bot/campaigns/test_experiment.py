"""The split is stable, and the documented figures of a campaign come out."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.campaigns.experiment import (
    Arm,
    cuped,
    difference,
    fraction,
    in_holdout,
    lift,
    minimum_sample,
    moments,
    pick,
    verdict,
)


def test_the_split_is_the_same_everywhere_and_even() -> None:
    assert fraction("holdout:naixue", "o1") == fraction("holdout:naixue", "o1")
    people = [f"o{number}" for number in range(20_000)]
    held = sum(in_holdout("holdout:a", person, 0.1) for person in people)
    assert abs(held - 2000) < 150
    arms = [pick("variant:a", person, [0.25, 0.75]) for person in people]
    assert abs(arms.count(0) - 5000) < 250
    assert {pick("v", person, [1 / 3] * 3) for person in people} == {0, 1, 2}
    assert {pick("v", person, [0.2, 0.2]) for person in people} == {0, 1, 2}


def test_the_documented_comparison() -> None:
    found = difference(282, 1659, 338, 1659)
    assert [round(100 * one, 1) for one in (found.difference, found.low, found.high)] == [
        3.4,
        0.7,
        6.0,
    ]
    assert (round(found.z, 2), round(found.p, 3)) == (2.49, 0.013)
    assert verdict([Arm("A", 1659, 282), Arm("B", 1659, 338)], 400).winner == "B"


def test_the_documented_holdout() -> None:
    found = lift(588, 4500, 11, 500)
    assert [round(one, 2) for one in (found.points, found.low, found.high)] == [10.87, 9.25, 12.49]
    assert (found.caused, found.caused_low, found.caused_high) == (489, 416, 562)
    orders = lift(96, 4500, 8, 500)
    assert [round(one, 2) for one in (orders.points, orders.low, orders.high)] == [
        0.53,
        -0.65,
        1.71,
    ]
    assert not orders.significant


@pytest.mark.parametrize(
    ("arms", "winner", "reason"),
    [
        ([Arm("A", 399, 10), Arm("B", 5000, 900)], None, "below_min_sample"),
        ([Arm("A", 1000, 200), Arm("B", 1000, 205)], None, "no_difference"),
        ([Arm("A", 1000, 200)], None, "one_arm"),
        ([Arm("A", 2000, 200), Arm("B", 2000, 400), Arm("C", 2000, 210)], "B", "winner"),
        ([Arm("A", 2000, 200), Arm("B", 2000, 400), Arm("C", 2000, 395)], None, "no_difference"),
    ],
)
def test_a_winner_beats_everybody_or_there_is_none(
    arms: list[Arm], winner: str | None, reason: str
) -> None:
    found = verdict(arms, 400)
    assert (found.winner, found.reason) == (winner, reason)


def test_many_variants_are_harder_to_beat() -> None:
    two = verdict([Arm("A", 1659, 282), Arm("B", 1659, 338)], 400)
    many = verdict([Arm("B", 1659, 338), *(Arm(str(n), 1659, 282) for n in range(7))], 400)
    assert (two.winner, many.winner) == ("B", None)


@given(st.integers(0, 60), st.integers(0, 60), st.integers(60, 400), st.integers(60, 400))
def test_intervals_hold_their_middle_and_turn_round(a: int, b: int, m: int, n: int) -> None:
    one, other = difference(a, m, b, n), difference(b, n, a, m)
    assert -1 <= one.low <= one.difference <= one.high <= 1
    assert 0 <= one.p <= 1
    assert one.low == pytest.approx(-other.high)
    assert one.p == pytest.approx(other.p)


def test_sample_sizes_and_what_was_known_before() -> None:
    assert minimum_sample(0.2, 0.03) == 2943
    a = moments([(x, 2 * x + x % 3) for x in range(300)])
    b = moments([(x, 2 * x + x % 3 + 1) for x in range(300)])
    found = cuped(a, b)
    assert found.difference == pytest.approx(1)
    assert found.kept < 0.01
    assert found.low > 0
