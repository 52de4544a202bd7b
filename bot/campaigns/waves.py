"""How a run's people are cut: a small canary first, then batches of 2 to 10,000, never one. Pure arithmetic."""

from collections.abc import Sequence
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

# Between two looks of the guard at most this share of the people goes out, until a tenth has them; then
# all up to a third, then the rest. A message that 1 % leave for is seen with some hundred deliveries, so
# large audiences are stopped before the tenth. Source: our choice (bot/campaigns/guard.py has the figures).
LOOK_STEPS = (0.025, 0.05, 0.08)
LOOKED_UNTIL, THEN = 0.10, 0.30
# times the usual wait before more than a tenth go. A tenth of fewer than 10,000 people shows 1 % seldom however
# long one waits. Source: our choice, by simulation (tests/bot/campaigns/test_waves.py)
LONG_WAIT_FROM, LONG_WAIT, SHORT_WAIT = 10_000, 6, 2
# times the usual wait that pass at the most before more than a tenth of such an audience go, while the evidence
# speaks rather for people leaving than against it. At the base rate that is one run in twenty.
# Source: our choice, by simulation (tests/simulations/test_guard.py)
DOUBT_WAIT = 24
# each part of a run needs a call for every group and variant, and an account has 100 calls a day.
# Source: docs/wechat-limits.md 8 (read 2026-11); the rest is for other campaigns
MOST_CALLS = 60


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


def stages(people: int, cells: int = 1) -> list[int]:
    """How many of ``people`` may be out before each look of the guard, the last being everybody.

    The first is the canary; below ``CANARY_FROM`` people there is one stage and nothing waits. ``cells``: pairs
    of group and variant, of which each stage needs a call of its own; with many of them the steps get larger.
    """
    first = canary_size(people)
    if first == 0:
        return [people]
    found: list[int] = []
    for share in LOOK_STEPS:
        found = _stages(people, first, max(SMALLEST_BATCH, int(people * share)))
        if len(found) * cells <= MOST_CALLS:
            break
    return found


def patience(parts: Sequence[int], stage: int) -> int:
    """How many times the usual wait passes between a part (by its number) and the look that opens the next.

    Before more than a tenth go, people get longer to show what they think: after an hour about half of those
    who leave have left, and of a large audience's tenth that is enough to see 1 %.
    """
    small = [size for size in parts[:-1] if size <= parts[-1] * LOOKED_UNTIL]
    if len(parts) < 3 or stage != len(small) - 1:
        return 1
    return LONG_WAIT if parts[-1] >= LONG_WAIT_FROM else SHORT_WAIT


def may_doubt(parts: Sequence[int], stage: int) -> bool:
    """Whether the look after this part waits on while it is in doubt: the last before more than a tenth go."""
    return parts[-1] >= LONG_WAIT_FROM and patience(parts, stage) == LONG_WAIT


def _stages(people: int, first: int, step: int) -> list[int]:
    small = range(first, max(first, int(people * LOOKED_UNTIL)) + 1, step)
    then = int(people * THEN)
    return [*small, *([then] if then > small[-1] else []), people]
