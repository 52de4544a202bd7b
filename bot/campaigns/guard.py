"""Stop a run while most people can still be spared: unfollows beyond the base rate, sends that fail. Pure.

Unfollows are judged by a sequential test that may be asked as often as one likes: before every batch,
every minute. What it can see and how early: docs/statistics.md.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from math import exp, log
from typing import Any

from bot.campaigns.experiment import wilson

UNFOLLOWS, ERRORS = "unfollows", "errors"

# The window in which an unfollow is laid to a message's charge, as in the comparison of campaigns.
WINDOW = timedelta(hours=48)

# Of those who leave within 48 hours because of a message, most leave when they read it: this share
# with a half-life of 40 minutes, the rest evenly. Source: our assumption, the platform gives no such figure. It is
# used only to say how many unfollows should have been seen by now, never to foretell.
AT_ONCE = 0.7
HALF_LIFE = timedelta(minutes=40)


@dataclass(frozen=True, slots=True)
class GuardCounts:
    """What is known of a run at this moment.

    ``planned``: people of the run that a message is meant for. ``delivered``: people it reached, as far as the
    platform has said. ``unfollows``: those of them who left since, within 48 hours of it. ``sent``: messages
    with an outcome, failed ones included; ``errors``: those that failed. ``exposure``: which share of their
    48-hour unfollows the delivered have had time for, 0 to 1: ``exposure_of`` their ages. 1 is the careful
    answer when ages are unknown: it stops later, never wrongly.
    """

    planned: int
    delivered: int
    unfollows: int
    sent: int
    errors: int
    exposure: float = 1.0


@dataclass(frozen=True, slots=True)
class GuardLimits:
    """Where the lines are. The defaults are ours, held by simulation (tests/simulations/test_guard.py).

    ``tolerated``: times the base rate that a message may cost; some leave because they are reminded that
    they follow. ``suspected``: the multiples of the tolerated rate looked for, each alike. ``false_stops``: how
    often a run at the tolerated rate may be stopped at all. ``least_unfollows``: fewer never stop a run, whatever
    the test says: two friends who leave are no evidence. ``errors_share``, ``errors_from``: failed sends are judged
    from so many outcomes on, and stop the run when their share is surely above.
    """

    tolerated: float = 1.25
    suspected: tuple[float, ...] = (2.0, 4.0)
    false_stops: float = 0.05
    least_unfollows: int = 5
    errors_share: float = 0.2
    errors_from: int = 50


@dataclass(frozen=True, slots=True)
class GuardVerdict:
    """``evidence`` holds the figures behind the answer, for the page and the audit; plain numbers only."""

    stop: bool
    reason: str | None
    evidence: Mapping[str, Any] = field(default_factory=dict)


def verdict(
    counts: GuardCounts, base_rate_48h: float, limits: GuardLimits | None = None
) -> GuardVerdict:
    """Whether a run must stop now, and why: errors first, since they are seen first.

    Unfollows: the likelihood ratio of each suspected rate against the tolerated one, averaged (a mixture
    SPRT); the run stops when it passes ``1 / false_stops``. By Ville's inequality that happens in at most
    that share of runs at the tolerated rate, however often one looks, and far more seldom at the base rate.
    """
    limits = limits or GuardLimits()
    tries = max(counts.sent, counts.errors)
    surely = wilson(counts.errors, tries, confidence=0.98)[0] if tries else 0.0
    tolerated = base_rate_48h * limits.tolerated
    expected = counts.delivered * min(1.0, max(0.0, counts.exposure)) * tolerated
    ratio = _evidence(counts.unfollows, expected, limits.suspected)
    needed = log(1 / limits.false_stops)
    evidence = {
        "planned": counts.planned,
        "delivered": counts.delivered,
        "unfollows": counts.unfollows,
        "expected_unfollows": round(expected / limits.tolerated, 3),
        "tolerated_unfollows": round(expected, 3),
        "exposure": round(counts.exposure, 4),
        "evidence": round(ratio, 3),
        "evidence_needed": round(needed, 3),
        "sent": counts.sent,
        "errors": counts.errors,
        "errors_share": round(counts.errors / tries, 4) if tries else 0.0,
        "errors_limit": limits.errors_share,
    }
    if tries >= limits.errors_from and surely > limits.errors_share:
        return GuardVerdict(True, ERRORS, evidence)
    if counts.unfollows >= limits.least_unfollows and ratio >= needed:
        return GuardVerdict(True, UNFOLLOWS, evidence)
    return GuardVerdict(False, None, evidence)


def seen_after(age: timedelta) -> float:
    """Which share of the unfollows of 48 hours has been seen so long after delivery. 0 to 1, rising."""
    if age <= timedelta(0):
        return 0.0
    passed = min(age, WINDOW)
    at_once = 1 - exp(-log(2) * (passed / HALF_LIFE))
    return AT_ONCE * at_once + (1 - AT_ONCE) * (passed / WINDOW)


def exposure_of(batches: Iterable[tuple[int, timedelta]]) -> float:
    """The ``exposure`` of (people delivered, time since) of every batch; 1 of nobody."""
    people, seen = 0, 0.0
    for size, age in batches:
        people += size
        seen += size * seen_after(age)
    return seen / people if people else 1.0


def sees_from(rate_48h: float, base_rate_48h: float, limits: GuardLimits | None = None) -> int:
    """Roughly how many people with all their 48 hours behind them show a rate: where the mean count would stop.

    For the wizard: an audience smaller than this cannot be guarded against so small a rate.
    """
    limits = limits or GuardLimits()
    if rate_48h <= base_rate_48h * limits.tolerated:
        raise ValueError("a tolerated rate is never seen")
    low, high = 1, 1
    while not _mean_stops(high, rate_48h, base_rate_48h, limits):
        low, high = high, high * 2
    while low < high:
        middle = (low + high) // 2
        if _mean_stops(middle, rate_48h, base_rate_48h, limits):
            high = middle
        else:
            low = middle + 1
    return high


def _mean_stops(people: int, rate: float, base: float, limits: GuardLimits) -> bool:
    counts = GuardCounts(people, people, int(people * rate), people, 0)
    return verdict(counts, base, limits).stop


def _evidence(found: int, expected: float, multiples: tuple[float, ...]) -> float:
    """The logarithm of the mean likelihood ratio of Poisson counts at ``multiples`` of the expected."""
    logs = [found * log(multiple) - expected * (multiple - 1) for multiple in multiples]
    highest = max(logs)
    return highest + log(sum(exp(one - highest) for one in logs) / len(logs))
