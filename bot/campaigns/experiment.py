"""Stable split, holdout, and how sure a difference between two shares is. Pure arithmetic, the same everywhere.

Which formula stands where and what it cannot say: docs/statistics.md.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import combinations
from math import erfc, exp, lgamma, sqrt
from statistics import NormalDist

CONFIDENCE = 0.95

# Below this many hits (or misses) on either side the plain interval covers the truth too seldom, and
# Newcombe's takes its place. 8 of 500 is the smallest count of the documented example; exact
# coverage with this line: docs/statistics.md.
PLAIN_FROM = 8

# The normal approximation of a p value needs this many expected in every cell. Source: the usual
# rule (Cochran 1954); below it Fisher's exact test with the middle p value is asked.
EXPECTED_FROM = 5.0

# A share this close below 1 is 1: three thirds are written 0.333…
_ROUNDING = 1e-9


def fraction(seed: str, person: str) -> float:
    """A number in [0, 1) that is always the same for a person and a seed, in every installation.

    ``person`` is the UnionID or OpenID, never the number of a row.
    """
    return fractions(seed)(person)


def fractions(seed: str) -> Callable[[str], float]:
    """``fraction`` of one seed, for many people: half the time of asking for each anew."""
    begun = blake2b(f"{seed}\n".encode())
    from_bytes, unit = int.from_bytes, 2.0**-53

    def fraction_of(person: str) -> float:
        seeded = begun.copy()
        seeded.update(person.encode())
        # 53 bits are what a float holds exactly: all 64 would let the largest round up to 1
        return (from_bytes(seeded.digest()[:8], "big") >> 11) * unit

    return fraction_of


def in_holdout(seed: str, person: str, share: float) -> bool:
    """Whether a person belongs to the ``share`` of people who are left in peace for comparison."""
    return fraction(seed, person) < share


def pick(seed: str, person: str, shares: Sequence[float]) -> int:
    """The number of the arm a person falls into; ``len(shares)`` for the rest when shares sum to less than 1."""
    return arm_at(fraction(seed, person), shares)


def arm_at(place: float, shares: Sequence[float]) -> int:
    """The same by the ``fraction`` of a person."""
    end = 0.0
    for number, share in enumerate(shares):
        end += share
        if place < end:
            return number
    whole = end >= 1 - _ROUNDING
    return len(shares) - 1 if whole else len(shares)


@dataclass(frozen=True, slots=True)
class Difference:
    """Share of b minus share of a, as fractions: 0.034 are 3.4 points. ``z``, ``p``: against no difference."""

    difference: float
    low: float
    high: float
    z: float
    p: float


def difference(
    hits_a: int, people_a: int, hits_b: int, people_b: int, confidence: float = CONFIDENCE
) -> Difference:
    """How much larger b's share is, with an interval; of nobody nothing is known: −1 to 1, p 1.

    The interval is the plain one (unpooled standard errors of unbiased variances) where every count is at
    least ``PLAIN_FROM``, else Newcombe's hybrid of two Wilson intervals. ``z`` is pooled; ``p`` is its two-sided
    value, or Fisher's where a cell expects fewer than ``EXPECTED_FROM``.
    """
    _check(hits_a, people_a)
    _check(hits_b, people_b)
    if people_a == 0 or people_b == 0:
        return Difference(0.0, -1.0, 1.0, 0.0, 1.0)
    a, b = hits_a / people_a, hits_b / people_b
    quantile = NormalDist().inv_cdf((1 + confidence) / 2)
    if min(hits_a, people_a - hits_a, hits_b, people_b - hits_b) >= PLAIN_FROM:
        reach = quantile * sqrt(a * (1 - a) / (people_a - 1) + b * (1 - b) / (people_b - 1))
        low, high = b - a - reach, b - a + reach
    else:
        low, high = _newcombe(hits_a, people_a, hits_b, people_b, quantile)
    z, p = _tested(hits_a, people_a, hits_b, people_b)
    return Difference(b - a, max(-1.0, low), min(1.0, high), z, p)


def wilson(hits: int, people: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """The interval of one share after Wilson, which is right for few hits too; (0, 1) of nobody."""
    _check(hits, people)
    return _wilson(hits, people, NormalDist().inv_cdf((1 + confidence) / 2))


@dataclass(frozen=True, slots=True)
class Arm:
    """One variant of an experiment: how many it was delivered to, how many of them did what it is for."""

    name: str
    delivered: int
    hits: int

    @property
    def rate(self) -> float:
        """Share of the delivered; 0 of nobody."""
        return self.hits / self.delivered if self.delivered else 0.0


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two arms: b's share minus a's. ``adjusted_p``: after Holm's correction for the number of pairs."""

    a: str
    b: str
    difference: Difference
    adjusted_p: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """``reason``: ``winner``, ``below_min_sample``, ``no_difference`` or ``one_arm``.

    ``winner`` beats every other arm; ``leading`` is merely ahead, and is named whatever the reason (None before
    anything was delivered). ``missing``: deliveries that the arms below the minimum still need, by name.
    """

    winner: str | None
    reason: str
    differences: tuple[Comparison, ...]
    leading: str | None
    missing: dict[str, int]


def verdict(
    arms: Sequence[Arm], min_sample: int, confidence: float = CONFIDENCE, looks: int = 1
) -> Verdict:
    """The arm that beats every other for certain, or why there is none yet.

    All pairs are compared; Holm's correction keeps the chance of any false claim at ``1 − confidence``
    however many arms there are. ``looks``: how often the question is asked in all, when it is asked
    while the sends go on; each look then gets its part of that chance.
    """
    leading = max(arms, key=lambda arm: arm.rate, default=None)
    ahead = leading.name if leading is not None and leading.delivered else None
    missing = {arm.name: min_sample - arm.delivered for arm in arms if arm.delivered < min_sample}
    pairs = _compared(arms, confidence)
    if len(arms) < 2:
        return Verdict(None, "one_arm", pairs, ahead, missing)
    if missing:
        return Verdict(None, "below_min_sample", pairs, ahead, missing)
    allowed = (1 - confidence) / looks
    of_leading = [pair for pair in pairs if ahead in (pair.a, pair.b)]
    if all(pair.adjusted_p <= allowed for pair in of_leading):
        return Verdict(ahead, "winner", pairs, ahead, missing)
    return Verdict(None, "no_difference", pairs, ahead, missing)


@dataclass(frozen=True, slots=True)
class Lift:
    """What a message caused, against people who were left in peace.

    ``points``, ``low``, ``high``: percentage points (10.87). ``caused`` and its bounds: people among the
    treated who would not have done it without the message; below 0 when it kept them from it.
    """

    points: float
    low: float
    high: float
    caused: int
    caused_low: int
    caused_high: int
    p: float

    @property
    def significant(self) -> bool:
        """Whether the interval leaves out 0."""
        return self.low > 0 or self.high < 0


def lift(treated_hits: int, treated: int, held_hits: int, held: int) -> Lift:
    """The effect of a message, 95 % interval. The outcome must be possible without the message: never clicks."""
    found = difference(held_hits, held, treated_hits, treated)
    return Lift(
        points=100 * found.difference,
        low=100 * found.low,
        high=100 * found.high,
        caused=round(found.difference * treated),
        caused_low=round(found.low * treated),
        caused_high=round(found.high * treated),
        p=found.p,
    )


def minimum_sample(
    base_rate: float, detectable: float, power: float = 0.8, confidence: float = CONFIDENCE
) -> int:
    """People per arm with whom a difference of ``detectable`` (0.03: 3 points up) is seen in ``power`` of cases.

    Source: the usual formula for two shares (Fleiss), without continuity correction.
    """
    other = base_rate + detectable
    if not (0 <= base_rate <= 1 and 0 <= other <= 1) or detectable == 0:
        raise ValueError("the rates must lie between 0 and 1 and differ")
    middle = (base_rate + other) / 2
    seen, sure = NormalDist().inv_cdf(power), NormalDist().inv_cdf((1 + confidence) / 2)
    spread = base_rate * (1 - base_rate) + other * (1 - other)
    root = sure * sqrt(2 * middle * (1 - middle)) + seen * sqrt(spread)
    size = (root / detectable) ** 2
    return int(-(-size // 1))


@dataclass(frozen=True, slots=True)
class Moments:
    """Sums over the people of an arm: y the outcome, x the same measured before the campaign. A database sums them."""

    people: int
    x: float
    y: float
    xx: float
    xy: float
    yy: float


@dataclass(frozen=True, slots=True)
class Adjusted:
    """Mean of b minus mean of a after CUPED. ``kept``: the variance left (0.6: as if there were 1.67 × the people)."""

    difference: float
    low: float
    high: float
    p: float
    kept: float


def cuped(a: Moments, b: Moments, confidence: float = CONFIDENCE) -> Adjusted:
    """The difference of two means with what was known before taken out (Deng et al. 2013, CUPED).

    ``x`` must be measured before the split, or the adjustment takes part of the effect away. Without a
    spread of x it is the plain difference.
    """
    if a.people < 2 or b.people < 2:
        return Adjusted(0.0, float("-inf"), float("inf"), 1.0, 1.0)
    xx, xy = _centred(a)[0] + _centred(b)[0], _centred(a)[1] + _centred(b)[1]
    slope = xy / xx if xx > 0 else 0.0
    plain = _variance(a, 0.0) + _variance(b, 0.0)
    variance = _variance(a, slope) + _variance(b, slope)
    moved = (b.y / b.people - a.y / a.people) - slope * (b.x / b.people - a.x / a.people)
    error = sqrt(variance)
    reach = NormalDist().inv_cdf((1 + confidence) / 2) * error
    p = erfc(abs(moved) / error / sqrt(2)) if error > 0 else float(moved == 0)
    kept = variance / plain if plain > 0 else 1.0
    return Adjusted(moved, moved - reach, moved + reach, p, kept)


def moments(pairs: Sequence[tuple[float, float]]) -> Moments:
    """The sums of (before, outcome) pairs."""
    return Moments(
        len(pairs),
        sum(x for x, _ in pairs),
        sum(y for _, y in pairs),
        sum(x * x for x, _ in pairs),
        sum(x * y for x, y in pairs),
        sum(y * y for _, y in pairs),
    )


def _check(hits: int, people: int) -> None:
    if not 0 <= hits <= people:
        raise ValueError(f"{hits} of {people} is no share")


def _wilson(hits: int, people: int, quantile: float) -> tuple[float, float]:
    if people == 0:
        return 0.0, 1.0
    share, square = hits / people, quantile * quantile / people
    middle = (share + square / 2) / (1 + square)
    reach = sqrt(share * (1 - share) * square + square * square / 4) / (1 + square)
    # exact at the ends, where rounding would leave 1e-18
    low = 0.0 if hits == 0 else middle - reach
    return low, 1.0 if hits == people else middle + reach


def _newcombe(
    hits_a: int, people_a: int, hits_b: int, people_b: int, quantile: float
) -> tuple[float, float]:
    """Newcombe 1998, method 10: the square-and-add of the Wilson intervals of both sides."""
    a, b = hits_a / people_a, hits_b / people_b
    low_a, high_a = _wilson(hits_a, people_a, quantile)
    low_b, high_b = _wilson(hits_b, people_b, quantile)
    down = sqrt((b - low_b) ** 2 + (high_a - a) ** 2)
    up = sqrt((high_b - b) ** 2 + (a - low_a) ** 2)
    return b - a - down, b - a + up


def _tested(hits_a: int, people_a: int, hits_b: int, people_b: int) -> tuple[float, float]:
    """(pooled z, two-sided p)."""
    hits, people = hits_a + hits_b, people_a + people_b
    pooled = hits / people
    error = sqrt(pooled * (1 - pooled) * (1 / people_a + 1 / people_b))
    if error == 0:
        return 0.0, 1.0
    z = (hits_b / people_b - hits_a / people_a) / error
    least = min(people_a, people_b) * min(pooled, 1 - pooled)
    if least >= EXPECTED_FROM:
        return z, erfc(abs(z) / sqrt(2))
    return z, _fisher(hits_a, people_a, hits_b, people_b)


def _fisher(hits_a: int, people_a: int, hits_b: int, people_b: int) -> float:
    """Fisher's exact test, two-sided, with the middle p value: half of what is exactly as unlikely as what was seen.

    Asked only where few hits or few misses are expected on one side, so few outcomes are summed.
    """
    hits = hits_a + hits_b
    first, last = max(0, hits - people_b), min(hits, people_a)
    whole = _log_choose(people_a + people_b, hits)
    chances = [
        exp(_log_choose(people_a, at) + _log_choose(people_b, hits - at) - whole)
        for at in range(first, last + 1)
    ]
    seen = chances[hits_a - first]
    rarer = sum(chance for chance in chances if chance < seen * (1 - 1e-7))
    same = sum(chance for chance in chances if abs(chance - seen) <= seen * 1e-7)
    return min(1.0, rarer + same / 2)


def _log_choose(of: int, some: int) -> float:
    return lgamma(of + 1) - lgamma(some + 1) - lgamma(of - some + 1)


def _compared(arms: Sequence[Arm], confidence: float) -> tuple[Comparison, ...]:
    """Every pair, with Holm's step-down: the smallest p is multiplied by the number of pairs, the next by one less."""
    pairs = [
        (a.name, b.name, difference(a.hits, a.delivered, b.hits, b.delivered, confidence))
        for a, b in combinations(arms, 2)
    ]
    adjusted, so_far = [0.0] * len(pairs), 0.0
    for rank, number in enumerate(sorted(range(len(pairs)), key=lambda at: pairs[at][2].p)):
        so_far = max(so_far, min(1.0, (len(pairs) - rank) * pairs[number][2].p))
        adjusted[number] = so_far
    return tuple(
        Comparison(a, b, found, p) for (a, b, found), p in zip(pairs, adjusted, strict=True)
    )


def _centred(arm: Moments) -> tuple[float, float, float]:
    """Sums of squares and products about the means: xx, xy, yy."""
    n = arm.people
    return (
        max(0.0, arm.xx - arm.x * arm.x / n),
        arm.xy - arm.x * arm.y / n,
        max(0.0, arm.yy - arm.y * arm.y / n),
    )


def _variance(arm: Moments, slope: float) -> float:
    """Of the arm's mean of y − slope · x."""
    xx, xy, yy = _centred(arm)
    return max(0.0, yy - 2 * slope * xy + slope * slope * xx) / (arm.people - 1) / arm.people
