"""Who gets which campaign when the month allows few: the highest total value within everybody's slots. Pure.

A value is what a message to a follower is worth: chance of a click × its worth − chance of an unfollow × the
follower's worth. Without limits on a campaign's people each follower decides alone and the answer is exact.
With such limits every campaign gets a price, everybody chooses at those prices, and a bound says what could be
missing at most (Lagrange; docs/statistics.md). Rows are read in pages and kept as two bytes a follower.
"""

from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import chain, combinations
from math import ceil

# a set of campaigns is a bit mask of two bytes
MOST_CAMPAIGNS = 16

# Prices are fitted on at most so many followers, taken evenly: 1 % of a campaign's people is then told from
# 1.1 %. Source: the error of a share of 8,192 (measured in benchmarks/allocate.py).
SAMPLE = 8192
ROUNDS = 40

# equal rows are answered from memory; values from groups come in few levels, those of models do not
_REMEMBERED = 16384

_NEARLY = 1e-9


@dataclass(frozen=True, slots=True)
class Candidate:
    """A campaign that wants slots of the month.

    ``most``, ``least``: people it may and must have. ``kind``: for limits such as one 促销 a follower. ``day``: of the
    month, for gaps and for the order in which sends to all would go out. ``protected``: planned already; its
    audience (value above 0) keeps its slots before anybody else is asked, so ``most`` and ``least`` are not looked at.
    """

    name: str
    most: int | None = None
    least: int = 0
    kind: str = ""
    day: int = 0
    protected: bool = False


@dataclass(frozen=True, slots=True)
class Constraints:
    """``campaigns``: what is known of them, those left out have no limits. ``per_kind``: at most so many campaigns
    of a kind for one follower. ``gap_days``: two messages to one follower lie so many days apart."""

    campaigns: tuple[Candidate, ...] = ()
    per_kind: Mapping[str, int] = field(default_factory=dict)
    gap_days: int = 0


@dataclass(frozen=True, slots=True)
class Allocation:
    """``places``: a bit mask for each follower in the order given, bit n is the campaign ``names[n]``.

    ``total``: the value reached. ``bound``: no allocation that keeps the rules is worth more. ``exact``: none is worth
    more than this one. ``people``: by campaign. ``short``: campaigns that did not get their ``least``.
    """

    names: tuple[str, ...]
    places: Sequence[int]
    total: float
    bound: float
    exact: bool
    people: Mapping[str, int]
    short: tuple[str, ...] = ()


Page = tuple[Sequence[Sequence[float]], Sequence[int]]
"""Values by campaign, each as long as the slots left: a stretch of followers."""

Pages = Callable[[], Iterable[Page]]
"""Gives the same pages again each time it is called."""

Row = tuple[float, ...]
"""The values of one follower, then the slots left."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What one follower may get, worked out once. ``steps``: for every number of slots the sets allowed, each as
    (set, the set without its last campaign, that campaign), smaller sets first; empty where all are."""

    size: int
    protected: tuple[int, ...]
    allowed: frozenset[int] | None
    steps: tuple[tuple[int, int, int], ...]


def allocate(
    values: Mapping[str, Sequence[float]],
    slots_left: Sequence[int],
    constraints: Constraints | None = None,
) -> Allocation:
    """Divide the slots of followers, who stand in the same order everywhere. Equal input gives equal places."""
    page = (list(values.values()), slots_left)
    return allocate_pages(list(values), lambda: [page], constraints)


def allocate_pages(
    names: Sequence[str], pages: Pages, constraints: Constraints | None = None
) -> Allocation:
    """``allocate`` for followers that come in pages, read once without limits on people, else four times."""
    constraints = constraints or Constraints()
    known = {one.name: one for one in constraints.campaigns}
    campaigns = [known.get(name, Candidate(name)) for name in names]
    rules = rules_of(campaigns, constraints)
    limited = [
        at
        for at, one in enumerate(campaigns)
        if not one.protected and (one.most is not None or one.least > 0)
    ]
    if not limited:
        return _each_alone(campaigns, pages, rules)
    return _at_prices(campaigns, pages, rules, limited)


def rules_of(campaigns: Sequence[Candidate], constraints: Constraints | None = None) -> Rules:
    """What one follower may get, for ``choose_for``.

    Raises:
        ValueError: more campaigns than a bit mask holds.
    """
    constraints = constraints or Constraints()
    size = len(campaigns)
    if size > MOST_CAMPAIGNS:
        raise ValueError(f"at most {MOST_CAMPAIGNS} campaigns share a month's slots")
    protected = tuple(at for at, one in enumerate(campaigns) if one.protected)
    kinds = {one.kind for one in campaigns} & set(constraints.per_kind)
    if not kinds and constraints.gap_days <= 0:
        return Rules(size, protected, None, ())
    apart = {
        (a, b)
        for a, b in combinations(range(size), 2)
        if abs(campaigns[a].day - campaigns[b].day) < constraints.gap_days
    }
    found: list[tuple[int, int, int]] = []
    smaller: list[tuple[int, tuple[int, ...]]] = [(0, ())]
    while smaller:
        larger = []
        for mask, members in smaller:
            for at in range(members[-1] + 1 if members else 0, size):
                kind = campaigns[at].kind
                same = sum(campaigns[one].kind == kind for one in members)
                if kind in kinds and same >= constraints.per_kind[kind]:
                    continue
                if any((one, at) in apart for one in members):
                    continue
                found.append((mask | 1 << at, mask, at))
                larger.append((mask | 1 << at, (*members, at)))
        smaller = larger
    return Rules(size, protected, frozenset({0, *(mask for mask, _, _ in found)}), tuple(found))


def choose_for(
    values: Sequence[float],
    left: int,
    rules: Rules,
    prices: Sequence[float] = (),
    closed: int = 0,
) -> int:
    """The best set of campaigns for one follower as a bit mask: positive values only, at most ``left`` of them.

    ``prices`` are taken off the values when sets are compared. ``closed``: campaigns that are full. Of equal values the
    campaign written first wins.
    """
    if left <= 0:
        return 0
    taken = 0
    for at in rules.protected:
        if values[at] > 0:
            taken |= 1 << at
    if taken:
        taken = _best(values, taken, left, rules, 0)
        left -= taken.bit_count()
        if left == 0:
            return taken
    open_ = 0
    worth = [value - price for value, price in zip(values, prices)] if prices else values  # noqa: B905 - values may carry the slots left behind them
    for at in range(rules.size):
        if values[at] > 0 and worth[at] > 0 and not (closed | taken) >> at & 1:
            open_ |= 1 << at
    for at in rules.protected:
        open_ &= ~(1 << at)
    return taken | _best(worth, open_, left, rules, taken)


def positions(allocation: Allocation, name: str) -> Iterator[int]:
    """The places in the order given of those who get a campaign."""
    bit = 1 << allocation.names.index(name)
    return (at for at, mask in enumerate(allocation.places) if mask & bit)


@dataclass(frozen=True, slots=True)
class SentToAll:
    """What sending to everybody would be worth. ``names``: the campaigns, in the order sent."""

    total: float
    names: tuple[str, ...]
    people: Mapping[str, int]


def send_to_all(
    names: Sequence[str], pages: Pages, constraints: Constraints | None = None, times: int = 4
) -> SentToAll:
    """The habit to compare with: the ``times`` campaigns with most value over everybody, each to all, day by day.

    Who has no slot left when its day comes misses it. Values below 0 count: who is sent to all may leave.
    """
    known = {one.name: one for one in (constraints or Constraints()).campaigns}
    sums = [0.0] * len(names)
    for columns, _ in pages():
        for at, column in enumerate(columns):
            sums[at] += sum(column)
    best = sorted(range(len(names)), key=lambda at: -sums[at])[:times]
    order = sorted(best, key=lambda at: (known[names[at]].day if names[at] in known else 0, at))
    total, people = 0.0, [0] * len(names)
    for columns, left in pages():
        for turn, at in enumerate(order):
            got = [value for value, slots in zip(columns[at], left, strict=True) if slots > turn]
            total += sum(got)
            people[at] += len(got)
    return SentToAll(
        total, tuple(names[at] for at in order), {names[at]: people[at] for at in order}
    )


def _best(worth: Sequence[float], open_: int, left: int, rules: Rules, taken: int) -> int:
    """The most valuable allowed subset of ``open_`` beside ``taken``; all of ``open_`` are worth something."""
    top = open_
    if open_.bit_count() > left:
        members = sorted(_bits(open_), key=worth.__getitem__, reverse=True)[:left]
        top = sum(1 << at for at in members)
    if rules.allowed is None or top | taken in rules.allowed:
        return top
    # the few who want what does not go together: every set allowed is asked
    best, best_worth = 0, 0.0
    totals, largest = {0: 0.0}, left + taken.bit_count()
    for mask, before, at in rules.steps:
        if mask & ~(open_ | taken):
            continue
        if mask.bit_count() > largest:
            break
        # sets grow in the order of campaigns, so what was taken joins along the way and is worth nothing more
        total = totals[before] + (worth[at] if open_ >> at & 1 else 0.0)
        totals[mask] = total
        if total > best_worth and mask & taken == taken and (mask & ~taken).bit_count() <= left:
            best, best_worth = mask & ~taken, total
    return best


@lru_cache(maxsize=1 << 16)
def _bits(mask: int) -> tuple[int, ...]:
    return tuple(at for at in range(mask.bit_length()) if mask >> at & 1)


def _rows(page: Page) -> Iterator[Row]:
    columns, left = page
    return zip(*columns, left, strict=True)


def _each_alone(campaigns: Sequence[Candidate], pages: Pages, rules: Rules) -> Allocation:
    places, size, total = array("H"), rules.size, 0.0
    people = [0] * size
    for page in pages():
        masks = _chosen(page, rules)
        places.extend(masks)
        for mask, times in Counter(masks).items():
            for at in _bits(mask):
                people[at] += times
        total += _value(page, masks)
    return _told(campaigns, places, total, total, people)


def _chosen(page: Page, rules: Rules) -> "array[int]":
    size = rules.size
    remembered: dict[Row, int] = {}
    masks = array("H")
    for row in _rows(page):
        mask = remembered.get(row)
        if mask is None:
            mask = choose_for(row, int(row[size]), rules)
            if len(remembered) < _REMEMBERED:
                remembered[row] = mask
        masks.append(mask)
    return masks


def _value(page: Page, masks: Sequence[int]) -> float:
    columns, _ = page
    return sum(
        sum(value for value, mask in zip(column, masks, strict=True) if mask >> at & 1)
        for at, column in enumerate(columns)
    )


def _told(
    campaigns: Sequence[Candidate],
    places: Sequence[int],
    total: float,
    bound: float,
    people: Sequence[int],
) -> Allocation:
    short = [
        one.name
        for one, got in zip(campaigns, people, strict=True)
        if got < one.least and not one.protected
    ]
    near = _NEARLY * max(1.0, abs(bound))
    return Allocation(
        names=tuple(one.name for one in campaigns),
        places=places,
        total=total,
        bound=max(total, bound),
        exact=bound - total <= near and not short,
        people={one.name: got for one, got in zip(campaigns, people, strict=True)},
        short=tuple(short),
    )


def _at_prices(
    campaigns: Sequence[Candidate], pages: Pages, rules: Rules, limited: Sequence[int]
) -> Allocation:
    sample, weight = _sample(pages)
    prices = _fitted(campaigns, sample, weight, rules, limited)
    room = [one.most if one.most is not None and not one.protected else None for one in campaigns]
    places, bound = _taken(pages, rules, prices, room)
    _filled(pages, rules, places, room)
    people = [0] * rules.size
    for mask, times in Counter(places).items():
        for at in _bits(mask):
            people[at] += times
    total, start = 0.0, 0
    for page in pages():
        size = len(page[1])
        total += _value(page, places[start : start + size])
        start += size
    for at in limited:
        edge = campaigns[at].most if prices[at] > 0 else campaigns[at].least
        bound += prices[at] * (edge or 0)
    return _told(campaigns, places, total, bound, people)


def _sample(pages: Pages) -> tuple[Counter[Row], int]:
    """At most ``SAMPLE`` followers taken evenly, equal ones counted, and how many people each stands for."""
    kept: list[Row] = []
    step = 1
    for number, row in enumerate(chain.from_iterable(_rows(page) for page in pages())):
        if number % step == 0:
            kept.append(row)
            if len(kept) > SAMPLE:
                kept, step = kept[::2], step * 2
    return Counter(kept), step


def _fitted(
    campaigns: Sequence[Candidate],
    sample: Counter[Row],
    weight: int,
    rules: Rules,
    limited: Sequence[int],
) -> list[float]:
    """The price of each campaign at which as many want it as it may have.

    One price after the other is put where the demand at the others' prices fits, as in an auction that only
    rises: where a follower's campaigns stand in for each other it ends at the best prices there are.
    """
    prices = [0.0] * rules.size
    for _ in range(ROUNDS):
        before = list(prices)
        for at in limited:
            prices[at] = _price(campaigns[at], at, sample, weight, rules, prices)
        if all(abs(a - b) <= _NEARLY for a, b in zip(before, prices, strict=True)):
            break
    return prices


def _price(
    campaign: Candidate,
    at: int,
    sample: Counter[Row],
    weight: int,
    rules: Rules,
    prices: list[float],
) -> float:
    """Where the demand for one campaign meets its ``most`` or ``least``, the others' prices given."""
    worth: list[tuple[float, int]] = []
    bit, without = 1 << at, list(prices)
    for row, times in sample.items():
        left = int(row[rules.size])
        if left <= 0 or not row[at] > 0:
            continue
        # so cheap that whoever may have it takes it: what it displaces is its worth to them
        without[at] = -1 - sum(map(abs, row)) - 2 * sum(map(abs, prices))
        with_it = choose_for(row, left, rules, without)
        if not with_it & bit:
            continue
        other = choose_for(row, left, rules, prices, bit)
        gain = _net(row, with_it & ~bit, prices) + row[at] - _net(row, other, prices)
        worth.append((gain, times * weight))
    worth.sort(reverse=True)
    if campaign.most is not None:
        first_out = _worth_at(worth, campaign.most)
        if first_out is not None and first_out > 0:
            return first_out
    if campaign.least > 0:
        # a sample may be some people off, and one too few is worse than a few too many
        least = campaign.least if weight == 1 else ceil(campaign.least * 1.03)
        last_in = _worth_at(worth, least - 1)
        lowest = worth[-1][0] if worth else 0.0
        last_in = lowest if last_in is None else last_in
        # a little below, so that the last one takes it
        if last_in <= 0:
            return last_in - _NEARLY * max(1.0, abs(last_in)) - _NEARLY
    return 0.0


def _worth_at(worth: Sequence[tuple[float, int]], people: int) -> float | None:
    """What it is worth to the one after the first ``people``; None when there are no more."""
    so_far = 0
    for gain, times in worth:
        so_far += times
        if so_far > people:
            return gain
    return None


def _net(row: Row, mask: int, prices: Sequence[float]) -> float:
    return sum(row[at] - prices[at] for at in _bits(mask))


def _taken(
    pages: Pages, rules: Rules, prices: Sequence[float], room: list[int | None]
) -> tuple["array[int]", float]:
    """Everybody chooses at the prices while there is room; and the value of what all would choose, room or not."""
    size, closed, dual = rules.size, 0, 0.0
    watched = sum(1 << at for at, free in enumerate(room) if free is not None)
    # whoever finds it worth exactly its price waits for what is left
    strict = [price + _NEARLY * abs(price) for price in prices]
    closed = sum(1 << at for at, free in enumerate(room) if free == 0)
    places = array("H")
    wished: dict[Row, tuple[int, float]] = {}
    for row in chain.from_iterable(_rows(page) for page in pages()):
        found = wished.get(row)
        if found is None:
            wish = choose_for(row, int(row[size]), rules, prices)
            found = (
                choose_for(row, int(row[size]), rules, strict),
                _net_of(row, wish, prices, rules),
            )
            if len(wished) < _REMEMBERED:
                wished[row] = found
        mask, net = found
        dual += net
        if mask & closed:
            mask = choose_for(row, int(row[size]), rules, strict, closed)
        for at in _bits(mask & watched):
            free = room[at]
            if free is not None:
                room[at] = free - 1
                if free == 1:
                    closed |= 1 << at
        places.append(mask)
    return places, dual


def _net_of(row: Row, mask: int, prices: Sequence[float], rules: Rules) -> float:
    """At the prices; what is protected pays none."""
    kept = sum(1 << at for at in rules.protected)
    return _net(row, mask & ~kept, prices) + sum(row[at] for at in _bits(mask & kept))


def _filled(pages: Pages, rules: Rules, places: "array[int]", room: list[int | None]) -> None:
    """What is left of a campaign goes to those who still have a slot and value it, in order."""
    size = rules.size
    open_ = [at for at, free in enumerate(room) if free]
    if not open_:
        return
    for number, row in enumerate(chain.from_iterable(_rows(page) for page in pages())):
        mask = places[number]
        if mask.bit_count() >= row[size]:
            continue
        for at in sorted(open_, key=row.__getitem__, reverse=True):
            bit, free = 1 << at, room[at]
            if not free or mask & bit or not row[at] > 0 or mask.bit_count() >= row[size]:
                continue
            if rules.allowed is not None and mask | bit not in rules.allowed:
                continue
            mask |= bit
            room[at] = free - 1
        places[number] = mask
