"""Shares of the next batch by Thompson sampling: an arm gets as much as it is likely to be best. Pure."""

from collections.abc import Sequence
from random import Random

from bot.campaigns.experiment import Arm

# Every arm keeps at least this share, so that one unlucky batch is never the end of it. Source: our choice.
FLOOR = 0.05

# 2,000 draws put a share within about one point. Source: the error of a share of 2,000.
DRAWS = 2000


def shares(
    arms: Sequence[Arm], chance: Random, draws: int = DRAWS, floor: float = FLOOR
) -> list[float]:
    """The share of the next batch for each arm, in the order given; they sum to 1, none is below ``floor``.

    Each draw takes a rate for every arm from what is known of it (a beta distribution that begins
    even between 0 and 1); the share is how often the arm drew the highest. With nothing delivered all are equal.
    A floor that the arms cannot all have is lowered until they can.
    """
    if not arms:
        return []
    wins = [0] * len(arms)
    known = [(1 + arm.hits, 1 + arm.delivered - arm.hits) for arm in arms]
    if len(set(known)) == 1:
        return [1 / len(arms)] * len(arms)
    for _ in range(draws):
        drawn = [chance.betavariate(hits, misses) for hits, misses in known]
        wins[drawn.index(max(drawn))] += 1
    floor = min(floor, 1 / len(arms))
    free = 1 - floor * len(arms)
    return [floor + free * won / draws for won in wins]


def sizes(people: int, parts: Sequence[float]) -> list[int]:
    """``people`` cut by shares into whole numbers that sum to it: the largest remainders are rounded up."""
    whole = sum(parts)
    if not parts or whole <= 0:
        return [0] * len(parts)
    exact = [people * part / whole for part in parts]
    found = [int(size) for size in exact]
    by_remainder = sorted(range(len(parts)), key=lambda at: (found[at] - exact[at], at))
    for at in by_remainder[: people - sum(found)]:
        found[at] += 1
    return found
