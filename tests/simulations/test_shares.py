"""Planted truths of experiments, hours and past campaigns, and how often the answers cover them."""

from random import Random

import pytest

from bot.campaigns.bandit import shares
from bot.campaigns.estimate import GroupEstimate, Past, group_estimates, needed, odds
from bot.campaigns.experiment import Arm, difference
from bot.campaigns.hours import best_hour

RUNS = 500


def hits(people: int, rate: float, chance: Random) -> int:
    if people * rate > 60:
        return round(chance.gauss(people * rate, (people * rate * (1 - rate)) ** 0.5))
    return sum(chance.random() < rate for _ in range(people))


@pytest.mark.parametrize(
    ("people_a", "a", "people_b", "b"),
    [(1659, 0.17, 1659, 0.204), (500, 0.02, 4500, 0.13), (500, 0.02, 4500, 0.02)],
    ids=["two contents", "holdout of 500 at 2 %", "no effect"],
)
def test_intervals_cover_the_truth(people_a: int, a: float, people_b: int, b: float) -> None:
    chance = Random(11)
    covered = 0
    for _ in range(RUNS):
        found = difference(hits(people_a, a, chance), people_a, hits(people_b, b, chance), people_b)
        covered += found.low <= b - a <= found.high
    assert covered >= 0.93 * RUNS


def test_the_planted_hour_is_found() -> None:
    chance = Random(12)
    found = 0
    for _ in range(200):
        counts = {
            hour: (1500, hits(1500, 0.26 if hour == 21 else 0.2, chance))
            for hour in (9, 12, 18, 21)
        }
        found += best_hour(counts, 400).hour == 21
    assert found >= 0.9 * 200
    assert best_hour({9: (100, 5), 21: (100, 40)}, 400).reason == "below_min_sample"
    assert best_hour({9: (1000, 200), 21: (1000, 201)}, 400).reason == "no_difference"


def test_the_better_arm_gets_more_and_no_arm_nothing() -> None:
    found = shares([Arm("A", 500, 60), Arm("B", 500, 110)], Random(1), draws=500)
    assert found[1] > 0.9
    assert min(found) >= 0.05
    assert sum(found) == pytest.approx(1)


def test_needed_reach_is_the_documented_one() -> None:
    past = [Past("抽小样", 2000, 420), Past("投票", 2500, 600), Past("暗号", 1500, 390)]
    found = needed(1000, past)
    assert (found.expected, found.cautious, found.worst) == (4256, 4456, 4762)


def test_four_of_five_results_lie_within_the_interval() -> None:
    """Histories of six campaigns with three groups; each campaign has its luck, half of it its groups' own."""
    chance = Random(13)
    truth = {"G1": 0.32, "G2": 0.24, "G3": 0.2}
    reach = {"G1": 1170, "G2": 810, "G3": 2520}

    def played(size: dict[str, int]) -> dict[str, int]:
        luck = chance.gauss(0, 0.07)
        return {
            group: hits(size[group], rate * (1 + luck + chance.gauss(0, 0.07)), chance)
            for group, rate in truth.items()
        }

    inside = 0
    for _ in range(100):
        past = []
        for number in range(6):
            size = dict.fromkeys(truth, 400)
            past += [
                Past(str(number), 400, guided, "微博", group)
                for group, guided in played(size).items()
            ]
        groups: list[GroupEstimate] = group_estimates(past, "微博", reach)
        found = odds(1000, groups, chance, draws=200)
        inside += found.low <= sum(played(reach).values()) <= found.high
    assert inside >= 75
