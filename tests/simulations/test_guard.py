"""The guard against planted rates of leaving: stops early when 1 % leave, leaves runs at the base rate alone."""

from datetime import timedelta
from math import log
from random import Random

import pytest

from bot.campaigns.guard import GuardCounts, exposure_of, verdict
from bot.campaigns.waves import DOUBT_WAIT, may_doubt, patience, stages

EVERY = 0.25  # hours between two looks: the default of an account
AFTERWARDS = 24  # looks two hours apart, once everybody has the message
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
    """The share that had the message when the run was stopped; None: it never was. As ``guarding.look`` goes on."""
    gone: list[float] = []
    batches: list[tuple[int, float]] = []
    hours, out = 0.0, 0
    parts = stages(people)
    for stage, upto in enumerate(parts):
        batches.append((upto - out, hours))
        gone += [hours + after for after in leavers(upto - out, rate, chance)]
        out = upto
        last = upto == parts[-1]
        wait = AFTERWARDS if last else patience(parts, stage)
        most = DOUBT_WAIT if may_doubt(parts, stage) else wait
        for looks in range(1, most + 1):
            hours += 2.0 if last else EVERY
            seen = sum(moment <= hours for moment in gone)
            exposure = exposure_of((size, timedelta(hours=hours - at)) for size, at in batches)
            found = verdict(GuardCounts(people, out, seen, out, 0, exposure), base)
            if found.stop:
                return out / people
            if looks >= wait and found.evidence["evidence"] <= 0:
                break
    return None


@pytest.mark.slow  # 1.5 s: two hundred runs with all their looks
@pytest.mark.parametrize(("people", "early"), [(20_000, 0.95), (50_000, 1.0)])
def test_one_percent_is_stopped_before_a_tenth(people: int, early: float) -> None:
    chance = Random(5)
    found = [stopped_at(people, 0.01, 0.0016, chance) for _ in range(RUNS)]
    shares = [1.0 if share is None else share for share in found]
    assert sum(share <= 0.1 for share in shares) >= early * RUNS
    assert sum(share <= 0.3 for share in shares) >= 0.99 * RUNS


@pytest.mark.slow  # 1.5 s: two hundred runs with all their looks
@pytest.mark.parametrize(("people", "base"), [(20_000, 0.0016), (20_000, 0.003), (3_000, 0.0016)])
def test_the_base_rate_hardly_ever_stops_a_run(people: int, base: float) -> None:
    chance = Random(6)
    stopped = sum(stopped_at(people, base, base, chance) is not None for _ in range(RUNS))
    assert stopped < 0.01 * RUNS


def test_failed_sends_stop_a_run_only_when_it_is_certain() -> None:
    assert verdict(GuardCounts(900, 0, 0, 49, 49), 0.0016).reason is None
    assert verdict(GuardCounts(900, 40, 0, 50, 11), 0.0016).reason is None
    assert verdict(GuardCounts(900, 20, 0, 50, 30), 0.0016).reason == "errors"
