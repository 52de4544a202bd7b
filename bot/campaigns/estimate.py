"""People needed for a goal, how likely the goal is, and which groups to add. Pure: chance comes in.

The past tells the rate: campaigns of one kind differ from each other more than chance, groups differ within a
campaign. Both spreads are estimated and carried into every interval (docs/statistics.md).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil, sqrt
from random import Random

from bot.campaigns.experiment import wilson

DRAWS = 2000

# The odds an operator asks for before a campaign is called safe. Source: our choice, shown beside the answer.
WANTED = 0.8

# Two campaigns of one kind have rates that differ beyond chance: the correlation of two people of one
# campaign. 0.005 at a rate of 23 % are 3 points up or down. Believed like 4 pairs of past campaigns, so
# that three campaigns that happen to agree do not promise what the fourth cannot keep.
# Source: our assumption; the documented history (21, 24, 26 %) gives 0.003.
USUAL_SPREAD, BELIEVED = 0.005, 4.0

# A group of which little is known is given its kind's rate, as if that were seen on this many people.
# Source: our choice.
BORROWED = 200.0

# How much of a new campaign's luck all its groups share: a weak content is weak everywhere. Source: our assumption.
SHARED_LUCK = 0.5


@dataclass(frozen=True, slots=True)
class Past:
    """One past campaign, or its part in one group: how many it reached, how many of them were guided (导量)."""

    name: str
    delivered: int
    guided: int
    kind: str = ""
    group: str = ""

    @property
    def rate(self) -> float:
        """The 导量率; 0 of nobody."""
        return self.guided / self.delivered if self.delivered else 0.0


@dataclass(frozen=True, slots=True)
class Needed:
    """People to reach. ``expected`` at the pooled rate, ``cautious`` at its lower 95 % bound, ``worst`` at the
    worst past campaign's. None where the past has no such rate above 0."""

    rate: float
    low: float
    high: float
    expected: int | None
    cautious: int | None
    worst: int | None
    campaigns: int = 0


def needed(goal: int, past: Sequence[Past]) -> Needed:
    """How many people must be reached for ``goal`` guided ones, after similar past campaigns."""
    known = [one for one in past if one.delivered > 0]
    delivered, guided = sum(one.delivered for one in known), sum(one.guided for one in known)
    low, high = wilson(guided, delivered)
    weakest = min(known, key=lambda one: (one.rate, -one.delivered), default=None)
    return Needed(
        rate=guided / delivered if delivered else 0.0,
        low=low,
        high=high,
        expected=_people(goal, guided, delivered),
        cautious=ceil(goal / low) if low > 0 else None,
        worst=_people(goal, weakest.guided, weakest.delivered) if weakest else None,
        campaigns=len(known),
    )


@dataclass(frozen=True, slots=True)
class GroupEstimate:
    """A group to reach and what is known of its rate.

    ``reach``: people a message is expected to reach, holdout and skips taken off. ``strength``: as if the rate had been
    seen on so many people, the spread between campaigns included. ``slots``: people in it who can be reached at all
    (a slot left, or a free channel open); None: all of them.
    """

    name: str
    reach: int
    rate: float
    strength: float
    slots: int | None = None

    @property
    def people(self) -> int:
        """Who can be reached."""
        return self.reach if self.slots is None else min(self.reach, self.slots)


@dataclass(frozen=True, slots=True)
class Odds:
    """How likely the goal is; ``low`` to ``high`` holds the result in 80 of 100 cases."""

    probability: float
    low: int
    expected: float
    high: int


def odds(
    goal: int,
    groups: Sequence[GroupEstimate],
    chance: Random,
    draws: int = DRAWS,
    shared: float = SHARED_LUCK,
) -> Odds:
    """Play the campaign ``draws`` times: a rate for every group from its beta, then people by that rate."""
    results = sorted(_played(groups, chance, draws, shared))
    reached = sum(result >= goal for result in results)
    return Odds(
        probability=reached / draws,
        low=results[int(0.1 * (draws - 1))],
        expected=sum(group.people * group.rate for group in groups),
        high=results[ceil(0.9 * (draws - 1))],
    )


@dataclass(frozen=True, slots=True)
class Added:
    """Groups to add, in order, and the odds with them; ``enough``: whether those reach what was wanted."""

    groups: tuple[str, ...]
    odds: Odds
    enough: bool


def groups_to_add(
    goal: int,
    chosen: Sequence[GroupEstimate],
    others: Sequence[GroupEstimate],
    chance: Random,
    wanted: float = WANTED,
    draws: int = DRAWS,
) -> Added:
    """The fewest groups that bring the odds to ``wanted``, those with the best rate first: they cost fewest messages.

    Once one group alone would do, the best of those that do is taken; else the best rate is added and asked again.
    """
    state = chance.getstate()

    def asked(groups: Sequence[GroupEstimate]) -> Odds:
        # the same dice for every question, so that answers differ by the groups alone
        chance.setstate(state)
        return odds(goal, groups, chance, draws)

    left = sorted((one for one in others if one.people), key=lambda one: (-one.rate, one.name))
    have, added = list(chosen), list[str]()
    now = asked(have)
    while now.probability < wanted and left:
        each = ((one, asked([*have, one])) for one in left)
        enough = next((found for found in each if found[1].probability >= wanted), None)
        one, now = enough or (left[0], asked([*have, left[0]]))
        have.append(one)
        left.remove(one)
        added.append(one.name)
    return Added(tuple(added), now, now.probability >= wanted)


def group_estimates(
    past: Sequence[Past],
    kind: str,
    reach: Mapping[str, int],
    slots: Mapping[str, int] | None = None,
) -> list[GroupEstimate]:
    """The rate of each group in the next campaign of a kind, from every campaign there was.

    Beta-binomial on two levels: what a group did in campaigns of this kind, drawn towards what the kind and the
    group give elsewhere, the more the less is known. ``strength`` holds the doubt about the rate and the
    spread between campaigns.
    """
    known = [one for one in past if one.delivered > 0]
    spread = spread_between(known)
    overall = _weighted(known, spread)
    of_kind = _weighted([one for one in known if one.kind == kind], spread, overall)
    found = []
    for name, people in reach.items():
        of_group = _weighted([one for one in known if one.group == name], spread, overall)
        parent = _clipped(of_kind.rate * of_group.rate / overall.rate if overall.rate else 0.0)
        own = [one for one in known if one.kind == kind and one.group == name]
        rate = _weighted(own, spread, replace(overall, rate=parent))
        doubt = 1 / (rate.strength + 1) + spread
        found.append(
            GroupEstimate(
                name,
                people,
                rate.rate,
                max(1.0, 1 / min(0.5, doubt) - 1),
                None if slots is None else slots.get(name, 0),
            )
        )
    return found


def spread_between(past: Iterable[Past]) -> float:
    """The correlation of two people of one campaign, by the method of moments over (kind, group) cells.

    Few campaigns say little of it, so ``USUAL_SPREAD`` is mixed in with the weight of ``BELIEVED`` more.
    """
    cells: dict[tuple[str, str], list[Past]] = {}
    for one in past:
        if one.delivered > 0:
            cells.setdefault((one.kind, one.group), []).append(one)
    found, degrees = 0.0, 0
    for cell in cells.values():
        whole = sum(one.delivered for one in cell)
        mean = sum(one.guided for one in cell) / whole
        noise = mean * (1 - mean)
        size = whole - sum(one.delivered**2 for one in cell) / whole
        if len(cell) < 2 or noise == 0 or size <= 0:
            continue
        unlike = sum(one.delivered * (one.rate - mean) ** 2 for one in cell) / noise
        found += unlike / size * (len(cell) - 1) - (len(cell) - 1) ** 2 / size
        degrees += len(cell) - 1
    mixed = (found + BELIEVED * USUAL_SPREAD) / (degrees + BELIEVED)
    return min(0.5, max(USUAL_SPREAD / 10, mixed))


@dataclass(frozen=True, slots=True)
class _Rate:
    rate: float
    strength: float


def _weighted(past: Sequence[Past], spread: float, parent: _Rate | None = None) -> _Rate:
    """The mean rate of campaigns, each worth what it says beyond the luck its people share."""
    weights = [one.delivered / (1 + (one.delivered - 1) * spread) for one in past]
    hits = sum(weight * one.rate for weight, one in zip(weights, past, strict=True))
    whole = sum(weights)
    if parent is None:
        return _Rate(_clipped(hits / whole) if whole else 0.0, whole)
    borrowed = min(BORROWED, max(1.0, parent.strength))
    return _Rate(_clipped((hits + borrowed * parent.rate) / (whole + borrowed)), whole + borrowed)


def _clipped(rate: float) -> float:
    return min(0.999, max(0.0005, rate))


def _people(goal: int, guided: int, delivered: int) -> int | None:
    return -(-goal * delivered // guided) if guided else None


def _played(
    groups: Sequence[GroupEstimate], chance: Random, draws: int, shared: float
) -> list[int]:
    """The guided of every draw, over all groups."""
    totals = [0] * draws
    luck = [chance.gauss(0, 1) for _ in range(draws)]
    own = sqrt(1 - shared)
    for group in groups:
        a = max(1e-6, group.rate * group.strength)
        b = max(1e-6, (1 - group.rate) * group.strength)
        rates = sorted(chance.betavariate(a, b) for _ in range(draws))
        # rates are dealt out in the order of luck that is partly everybody's (Iman and Conover 1982):
        # every group keeps its own beta, and they rise and fall together
        mixed = [sqrt(shared) * one + own * chance.gauss(0, 1) for one in luck]
        order = sorted(range(draws), key=mixed.__getitem__)
        for rate, number in zip(rates, order, strict=True):
            totals[number] += _binomial(group.people, rate, chance)
    return totals


def _binomial(people: int, rate: float, chance: Random) -> int:
    """People of ``people`` who do something at a rate; by the normal curve where that is right to a person or so."""
    mean = people * rate
    if min(mean, people - mean) > 25:
        drawn = chance.gauss(mean, sqrt(mean * (1 - rate)))
        return min(people, max(0, round(drawn)))
    if rate > 0.5:
        return people - _binomial(people, 1 - rate, chance)
    # few: walk up the distribution function
    if rate <= 0 or people == 0:
        return 0
    place, found = chance.random(), 0
    part = (1 - rate) ** people
    reached = part
    while place > reached and found < people:
        found += 1
        part *= (people - found + 1) / found * rate / (1 - rate)
        reached += part
        if part < 1e-18 and found > mean:
            break
    return found
