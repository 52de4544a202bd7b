"""The guard against planted rates of leaving: stops early when 1 % leave, leaves runs at the base rate alone."""

from datetime import timedelta
from math import log
from random import Random

import pytest

from bot.campaigns.guard import GuardCounts, exposure_of, verdict
from bot.campaigns.waves import stages

GAP = 2.0  # hours between the parts of a run
RUNS = 200


def leavers(people: int, rate: float, chance: Random) -> list[float]:
    """Hours after the message at which somebody leaves: most in the first hours, the rest within 48."""
    found, at = [], 0
    while True:
        at += int(log(1 - chance.random()) / log(1 - rate)) + 1
        if at > people:
            return found
        at_once = chance.random() < 0.7
        found.append(chance.expovariate(log(2) * 1.5) if at_once else chance.uniform(0, 48))


def stopped_at(people: int, rate: float, base: float, chance: Random) -> float | None:
    """The share that had the message when the run was stopped; None: it never was."""
    gone: list[float] = []
    batches: list[tuple[int, float]] = []
    hours, out = 0.0, 0
    steps = stages(people)
    for upto in steps:
        batches.append((upto - out, hours))
        gone += [hours + after for after in leavers(upto - out, rate, chance)]
        out = upto
        looks = 1 if upto < steps[-1] else 12
        for _ in range(looks):
            hours += GAP
            seen = sum(moment <= hours for moment in gone)
            exposure = exposure_of((size, timedelta(hours=hours - at)) for size, at in batches)
            counts = GuardCounts(people, out, seen, out, 0, exposure)
            if verdict(counts, base).stop:
                return out / people
    return None


def test_one_percent_is_stopped_before_a_tenth() -> None:
    chance = Random(5)
    found = [stopped_at(20_000, 0.01, 0.0016, chance) for _ in range(RUNS)]
    shares = [1.0 if share is None else share for share in found]
    assert sum(share <= 0.1 for share in shares) >= 0.9 * RUNS
    assert sum(share <= 0.3 for share in shares) == RUNS


@pytest.mark.parametrize("base", [0.0016, 0.003])
def test_the_base_rate_hardly_ever_stops_a_run(base: float) -> None:
    chance = Random(6)
    stopped = sum(stopped_at(20_000, base, base, chance) is not None for _ in range(RUNS))
    assert stopped < 0.01 * RUNS


def test_failed_sends_stop_a_run_only_when_it_is_certain() -> None:
    assert verdict(GuardCounts(900, 0, 0, 49, 49), 0.0016).reason is None
    assert verdict(GuardCounts(900, 40, 0, 50, 11), 0.0016).reason is None
    assert verdict(GuardCounts(900, 20, 0, 50, 30), 0.0016).reason == "errors"
