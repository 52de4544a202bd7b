"""The hour at which people answer best, from few sends: hours pooled over groups and shrunk to the mean. Pure.

An hour is any whole number: 0 to 23, or ``weekday * 24 + hour``. Hours are compared after a send, never by a
bandit while it goes on (``document.Experiment`` says why). Counts say how many people a message
reached in it and how many of them did what it was for.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist

Counts = Mapping[int, tuple[int, int]]  # hour -> (people, hits)

# hours that differ less than chance would in 1 of 20 cases are said to be the same
SURE = 0.05


@dataclass(frozen=True, slots=True)
class Hour:
    """``index``: response against what its groups answer on average, 1.0 is average; shrunk. ``raw``: before."""

    hour: int
    people: int
    hits: int
    index: float
    raw: float


@dataclass(frozen=True, slots=True)
class HourChoice:
    """``hour``: the best, None where ``reason`` is ``below_min_sample`` or ``no_difference``.

    ``leading``: ahead whatever the reason; ``p``: how often chance alone makes hours differ so much;
    ``hours``: all with enough people, best first; ``missing``: people the others lack.
    """

    hour: int | None
    reason: str
    leading: int | None
    p: float
    hours: tuple[Hour, ...]
    missing: dict[int, int]


def best_hour(counts: Counts, min_sample: int) -> HourChoice:
    """The best hour of one group; hours with fewer than ``min_sample`` people are not compared."""
    return best_hour_of_groups({"": counts}, min_sample)


def best_hour_of_groups(groups: Mapping[str, Counts], min_sample: int) -> HourChoice:
    """The hour that is best within groups, so that an hour is not best because its group always answers.

    Each hour's hits are held against what its people would give at their group's mean (indirect
    standardisation); the ratio is shrunk towards 1 by the spread between hours that chance does not explain.
    """
    people, hits, expected, spread = _pooled(groups)
    missing = {hour: min_sample - sent for hour, sent in people.items() if sent < min_sample}
    able = sorted(hour for hour in people if hour not in missing and expected[hour] > 0)
    if len(able) < 2:
        return HourChoice(None, "below_min_sample", None, 1.0, (), missing)
    raw = {hour: hits[hour] / expected[hour] for hour in able}
    # what an hour's ratio varies by chance
    noise = {hour: spread[hour] / expected[hour] ** 2 for hour in able}
    middle = _weighted(raw, noise)
    unlike = sum((raw[hour] - middle) ** 2 / noise[hour] for hour in able)
    between = _between(unlike, [1 / noise[hour] for hour in able])
    index = {
        hour: middle + (raw[hour] - middle) * between / (between + noise[hour]) for hour in able
    }
    table = tuple(
        Hour(hour, people[hour], hits[hour], index[hour], raw[hour])
        for hour in sorted(able, key=lambda hour: (-index[hour], -raw[hour], hour))
    )
    p = _chi_square_tail(unlike, len(able) - 1)
    if p > SURE:
        return HourChoice(None, "no_difference", table[0].hour, p, table, missing)
    return HourChoice(table[0].hour, "best", table[0].hour, p, table, missing)


def in_blocks(counts: Counts, hours: int) -> dict[int, tuple[int, int]]:
    """Hours put together by ``hours``, named by the first: of 2, 13 belongs to 12. For few sends."""
    found: dict[int, tuple[int, int]] = {}
    for hour, (people, hits) in counts.items():
        block = hour - hour % hours
        before = found.get(block, (0, 0))
        found[block] = (before[0] + people, before[1] + hits)
    return found


def _pooled(
    groups: Mapping[str, Counts],
) -> tuple[dict[int, int], dict[int, int], dict[int, float], dict[int, float]]:
    """By hour: people, hits, hits expected at each group's mean, and the variance of those."""
    people: dict[int, int] = {}
    hits: dict[int, int] = {}
    expected: dict[int, float] = {}
    spread: dict[int, float] = {}
    for counts in groups.values():
        whole = sum(sent for sent, _ in counts.values())
        mean = sum(did for _, did in counts.values()) / whole if whole else 0.0
        for hour, (sent, did) in counts.items():
            people[hour] = people.get(hour, 0) + sent
            hits[hour] = hits.get(hour, 0) + did
            expected[hour] = expected.get(hour, 0.0) + sent * mean
            spread[hour] = spread.get(hour, 0.0) + sent * mean * (1 - mean)
    return people, hits, expected, {hour: max(found, 1e-12) for hour, found in spread.items()}


def _weighted(values: Mapping[int, float], noise: Mapping[int, float]) -> float:
    weights = {hour: 1 / noise[hour] for hour in values}
    return sum(weights[hour] * values[hour] for hour in values) / sum(weights.values())


def _between(unlike: float, weights: Sequence[float]) -> float:
    """The variance between hours beyond chance (DerSimonian and Laird 1986); 0 when chance explains it all."""
    whole = sum(weights)
    return max(
        0.0, (unlike - (len(weights) - 1)) / (whole - sum(one * one for one in weights) / whole)
    )


def _chi_square_tail(value: float, degrees: int) -> float:
    """The chance of a larger value (Wilson and Hilferty 1931, right to about a thousandth)."""
    shrink = 2 / (9 * degrees)
    return 1 - NormalDist().cdf(((value / degrees) ** (1 / 3) - (1 - shrink)) / sqrt(shrink))
