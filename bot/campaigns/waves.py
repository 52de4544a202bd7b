"""How a run's people are cut: a small canary first, then batches of 2 to 10,000, never one. Pure arithmetic."""

from datetime import timedelta

# mass/send takes 2 to 10,000 OpenIDs; fewer than two is 40130.
# Source: docs/wechat-limits.md 8 (read 2026-11).
SMALLEST_BATCH = 2
LARGEST_BATCH = 10_000

# The first wave is 2 % of a channel's people, at least 100 and at most 500: enough to see a failure,
# few enough to bear it. Source: our choice. Below CANARY_FROM people a run is one wave.
CANARY_SHARE = 0.02
CANARY_SMALLEST = 100
CANARY_LARGEST = 500
CANARY_FROM = 500
# how long the rest waits at most for the platform's result of the canary
CANARY_PATIENCE = timedelta(minutes=10)

CANARY_WAVE, REST_WAVE = 0, 1


def canary_size(people: int) -> int:
    """How many of ``people`` on one channel go first; 0: one wave for all."""
    if people < CANARY_FROM:
        return 0
    return min(CANARY_LARGEST, max(CANARY_SMALLEST, round(people * CANARY_SHARE)))


def waves(people: int) -> list[int]:
    """The sizes of the waves of one channel, in order. They sum to ``people``; no wave is empty."""
    first = canary_size(people)
    return [size for size in (first, people - first) if size > 0]


def batches(people: int) -> list[int]:
    """Sizes of mass batches, each of 2 to 10,000, that sum to ``people``.

    One person alone makes no batch: the list is empty and the reason is ``batch_of_one``. A leftover
    person is merged by taking one more from the batch before.
    """
    if people < SMALLEST_BATCH:
        return []
    whole, rest = divmod(people, LARGEST_BATCH)
    sizes = [LARGEST_BATCH] * whole
    if rest >= SMALLEST_BATCH:
        return [*sizes, rest]
    if rest == 1:
        sizes[-1] -= 1
        return [*sizes, rest + 1]
    return sizes
