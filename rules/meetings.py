"""Which boxes of a rulebook hold each other, and which cross: the facts behind the findings of ``rules.overlap``."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from rules.boxes import Box, Guard, meet
from rules.compare import ONCE, crossing, narrower
from rules.model import Rule
from rules.triggers import broad, pairs, same_kind

Pair = tuple[int, int]  # numbers of (earlier, later) boxes
Kinds = frozenset[str] | None
PARTS = (frozenset({"kinds"}), frozenset({"voice"}))  # it holds all but some kinds of push


@dataclass(slots=True)
class Meetings:
    """``holders``: box -> the earlier box that holds it; ``timed`` and ``kinded``: box -> earlier ones that hold it
    but for some hours, or some kinds of push.

    ``crossed`` are pairs that take from each other without holding each other; ``wide`` are crossings of
    a box that names no word with all those of a group.
    """

    holders: dict[int, int] = field(default_factory=dict)
    timed: dict[int, list[int]] = field(default_factory=lambda: defaultdict(list))
    kinded: dict[int, list[int]] = field(default_factory=lambda: defaultdict(list))
    crossed: list[Pair] = field(default_factory=list)
    wide: list[tuple[int, list[int]]] = field(default_factory=list)


def meetings(rules: Sequence[Rule], boxes: Sequence[Box]) -> Meetings:
    """Every pair that matters. Boxes come in the order of their rules."""
    found = Meetings()
    loose, said = broad(boxes)
    for first, second in pairs(boxes, loose):
        _compare(rules, boxes, first, second, found)
    groups: dict[tuple[Guard, Kinds], list[int]] = defaultdict(list)
    for number in said:
        groups[(boxes[number].guard, boxes[number].kinds)].append(number)
    for number in loose:
        for group in groups.values():
            _compare_group(rules, boxes, number, group, found)
    return found


def _compare(
    rules: Sequence[Rule], boxes: Sequence[Box], first: int, second: int, found: Meetings
) -> None:
    one, other = boxes[first], boxes[second]
    if rules[one.rule].continue_:
        return
    less = narrower(one, other)
    _note(boxes, first, second, less, found)
    if not less or less <= ONCE or (less in PARTS and other.kinds is not None):
        return
    more = narrower(other, one)
    if more and not more <= ONCE and crossing(one, other, less, more):
        found.crossed.append((first, second))


def _note(
    boxes: Sequence[Box], first: int, second: int, less: frozenset[str], found: Meetings
) -> None:
    if not less:
        known = found.holders.get(second)
        if known is None or boxes[known].rule > boxes[first].rule:
            found.holders[second] = first
    elif less == {"hours"}:
        found.timed[second].append(first)
    elif less in PARTS and boxes[second].kinds is not None:
        found.kinded[second].append(first)


def _compare_group(
    rules: Sequence[Rule],
    boxes: Sequence[Box],
    number: int,
    group: Sequence[int],
    found: Meetings,
) -> None:
    """A box that names no word and boxes that do, all with one guard: they need to be laid side by side once."""
    one, other = boxes[number], boxes[group[0]]
    if not same_kind(one, other) or meet(one.guard, other.guard) is None:
        return
    less = narrower(one, other)
    if not rules[one.rule].continue_ and (not less or less == {"hours"} or less in PARTS):
        for member in group:
            if boxes[member].rule > one.rule:
                _note(boxes, number, member, less, found)
    if not less or less <= ONCE:
        return
    found.wide.append((number, list(group)))
