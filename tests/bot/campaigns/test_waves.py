"""Batches are 2 to 10,000, never one, and nobody is lost."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.campaigns.waves import batches, canary_size, waves

EXHAUSTIVE = [*range(201), *range(9_995, 10_010), *range(19_995, 20_010), 30_001, 100_000]


@pytest.mark.parametrize("people", EXHAUSTIVE)
def test_batches_hold_everybody_and_never_one(people: int) -> None:
    sizes = batches(people)
    assert all(2 <= size <= 10_000 for size in sizes)
    assert sum(sizes) == (people if people > 1 else 0)
    assert len(sizes) == (-(-people // 10_000) if people > 1 else 0)


@pytest.mark.parametrize(
    ("people", "sizes"),
    [
        (0, []),
        (1, []),
        (2, [2]),
        (9_999, [9_999]),
        (10_000, [10_000]),
        (10_001, [9_999, 2]),
        (10_002, [10_000, 2]),
        (20_000, [10_000, 10_000]),
        (20_001, [10_000, 9_999, 2]),
        (20_003, [10_000, 10_000, 3]),
    ],
)
def test_the_edges_of_a_batch(people: int, sizes: list[int]) -> None:
    assert batches(people) == sizes


@pytest.mark.parametrize(
    ("people", "first"),
    [
        (0, 0),
        (1, 0),
        (499, 0),
        (500, 100),
        (5_000, 100),
        (10_000, 200),
        (25_000, 500),
        (10**6, 500),
    ],
)
def test_the_canary_is_small(people: int, first: int) -> None:
    assert canary_size(people) == first


@given(st.integers(0, 2_000_000))
def test_waves_hold_everybody(people: int) -> None:
    sizes = waves(people)
    assert sum(sizes) == people
    assert all(size > 0 for size in sizes)
    assert len(sizes) <= 2
    assert all(size > 1 for size in sizes) or people == 1
