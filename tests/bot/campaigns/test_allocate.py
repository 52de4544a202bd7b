"""Small cases equal what trying everything finds; larger ones keep their limits and their bound."""

from itertools import product

from hypothesis import given, settings
from hypothesis import strategies as st

from bot.campaigns.allocate import (
    Allocation,
    Candidate,
    Constraints,
    allocate,
    positions,
    rules_of,
    send_to_all,
)

Values = dict[str, list[float]]


def everything(values: Values, left: list[int], constraints: Constraints) -> float:
    """The best total of all that can be tried."""
    names = list(values)
    known = {one.name: one for one in constraints.campaigns}
    campaigns = [known.get(name, Candidate(name)) for name in names]
    allowed = rules_of(campaigns, constraints).allowed
    sets = [
        [
            mask
            for mask in range(1 << len(names))
            if mask.bit_count() <= slots and (allowed is None or mask in allowed)
        ]
        for slots in left
    ]
    best = 0.0
    for masks in product(*sets):
        people = [sum(mask >> at & 1 for mask in masks) for at in range(len(names))]
        if any(
            one.most is not None and got > one.most
            for one, got in zip(campaigns, people, strict=True)
        ):
            continue
        total = sum(
            values[name][number]
            for number, mask in enumerate(masks)
            for at, name in enumerate(names)
            if mask >> at & 1
        )
        best = max(best, total)
    return best


def kept(found: Allocation, left: list[int], most: dict[str, int | None]) -> bool:
    return all(
        mask.bit_count() <= slots for mask, slots in zip(found.places, left, strict=True)
    ) and all(
        limit is None or len(list(positions(found, name))) <= limit for name, limit in most.items()
    )


@st.composite
def months(draw: st.DrawFn) -> tuple[Values, list[int], Constraints]:
    people, campaigns = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    worth = st.integers(-2, 5).map(float)
    values = {
        f"c{n}": draw(st.lists(worth, min_size=people, max_size=people)) for n in range(campaigns)
    }
    left = draw(st.lists(st.integers(0, 3), min_size=people, max_size=people))
    known = tuple(
        Candidate(
            name,
            most=draw(st.none() | st.integers(0, people)),
            kind=draw(st.sampled_from("xy")),
            day=draw(st.integers(1, 9)),
        )
        for name in values
    )
    return (
        values,
        left,
        Constraints(known, draw(st.sampled_from([{}, {"x": 1}])), draw(st.sampled_from([0, 3]))),
    )


@settings(max_examples=150)
@given(months())
def test_small_months_equal_trying_everything(
    month: tuple[Values, list[int], Constraints],
) -> None:
    values, left, constraints = month
    best = everything(values, left, constraints)
    found = allocate(values, left, constraints)
    assert found.total <= best + 1e-6 <= found.bound + 2e-6
    assert kept(found, left, {one.name: one.most for one in constraints.campaigns})
    if found.exact or all(one.most is None for one in constraints.campaigns):
        assert abs(found.total - best) < 1e-6


def test_a_planned_campaign_keeps_its_slots() -> None:
    values = {"planned": [1.0, 1.0, 0.0], "new": [5.0, 5.0, 5.0]}
    found = allocate(values, [1, 2, 1], Constraints((Candidate("planned", protected=True),)))
    assert list(positions(found, "planned")) == [0, 1]
    assert list(positions(found, "new")) == [1, 2]


def test_choosing_beats_sending_to_all() -> None:
    values = {
        f"c{n}": [float((number * (n + 3)) % 7 - 2) for number in range(50)] for n in range(6)
    }
    left = [number % 5 for number in range(50)]
    habit = send_to_all(list(values), lambda: [(list(values.values()), left)])
    assert len(habit.names) == 4
    assert allocate(values, left).total > habit.total
