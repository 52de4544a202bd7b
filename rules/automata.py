"""Automata of the texts an expression or a wildcard takes, and the shortest text that some take and others do not.

Texts are as ``rules.text`` folds them: never empty, without spaces at their ends, letters small.
"""

from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache

from rules.expressions import (
    ANY,
    END,
    START,
    Chain,
    Choice,
    Letter,
    Node,
    NotFollowed,
    Place,
    Ranges,
    Repeat,
)
from rules.text import fold_words

MAX_STATES = 1_500  # of one automaton
MAX_STEPS = 20_000  # of one search through several at once
_PLAIN = "plain"
_NICE = "1a好的啊在x2z"

Wanted = Callable[[tuple[bool, ...]], bool]


class TooLarge(Exception):
    """The search was given up: nothing may be claimed."""


@dataclass(slots=True)
class Automaton:
    """``moves`` and ``jumps`` by state; it begins in state 0. A jump may ask for the start or end of the text."""

    moves: list[list[tuple[Ranges, int]]] = field(default_factory=list)
    jumps: list[list[tuple[str, int]]] = field(default_factory=list)
    final: int = 0

    def state(self) -> int:
        if len(self.moves) >= MAX_STATES:
            raise NotFollowed
        self.moves.append([])
        self.jumps.append([])
        return len(self.moves) - 1

    def anything(self, state: int) -> None:
        self.moves[state].append((ANY, state))

    def closure(self, states: frozenset[int], allowed: tuple[str, ...]) -> frozenset[int]:
        found = set(states)
        waiting = list(states)
        while waiting:
            for kind, target in self.jumps[waiting.pop()]:
                if target not in found and kind in allowed:
                    found.add(target)
                    waiting.append(target)
        return frozenset(found)

    def takes(self, states: frozenset[int]) -> bool:
        """Whether a text may end here."""
        return self.final in self.closure(states, (_PLAIN, END))


def of_search(node: Node) -> Automaton:
    """Texts in which the expression is found.

    Raises:
        NotFollowed: it is too large.
    """
    made = Automaton()
    first, last = made.state(), made.state()
    made.anything(first)
    made.anything(last)
    made.final = last
    _build(made, node, first, last)
    return made


def of_glob(parts: Sequence[str]) -> Automaton:
    """Texts that are the parts in order, with anything between them."""
    made = Automaton()
    state = made.state()
    for number, part in enumerate(parts):
        if number:
            made.anything(state)
        for character in part:
            following = made.state()
            code = ord(character)
            made.moves[state].append((((code, code),), following))
            state = following
        if 0 < number < len(parts) - 1 or (number == 0 and len(parts) > 1):
            # a state of its own for what comes between: a loop here would let letters repeat
            between = made.state()
            made.jumps[state].append((_PLAIN, between))
            state = between
    made.final = state
    return made


def _build(made: Automaton, node: Node, start: int, end: int) -> None:
    if isinstance(node, Letter):
        made.moves[start].append((node.ranges, end))
    elif isinstance(node, Place):
        made.jumps[start].append((node.where, end))
    elif isinstance(node, Choice):
        for item in node.items:
            # states of its own: a loop in one branch must not be entered from another
            first, last = made.state(), made.state()
            made.jumps[start].append((_PLAIN, first))
            _build(made, item, first, last)
            made.jumps[last].append((_PLAIN, end))
    elif isinstance(node, Chain):
        state = start
        for item in node.items:
            following = made.state()
            _build(made, item, state, following)
            state = following
        made.jumps[state].append((_PLAIN, end))
    else:
        _build_repeat(made, node, start, end)


def _build_repeat(made: Automaton, node: Repeat, start: int, end: int) -> None:
    state = made.state()
    made.jumps[start].append((_PLAIN, state))
    for _ in range(node.least):
        following = made.state()
        _build(made, node.item, state, following)
        state = following
    if node.most is None:
        first, last = made.state(), made.state()
        made.jumps[state].append((_PLAIN, first))
        _build(made, node.item, first, last)
        made.jumps[last].append((_PLAIN, first))
        made.jumps[first].append((_PLAIN, end))
        return
    for _ in range(node.most - node.least):
        following = made.state()
        made.jumps[state].append((_PLAIN, end))
        _build(made, node.item, state, following)
        state = following
    made.jumps[state].append((_PLAIN, end))


def find(automata: Sequence[Automaton], wanted: Wanted) -> str | None:
    """The shortest text for which ``wanted`` holds of who takes it; None when there is none.

    Raises:
        TooLarge: given up.
    """
    return next(every(automata, wanted), None)


def every(automata: Sequence[Automaton], wanted: Wanted) -> Iterator[str]:
    """Such texts, shortest first, at most one for each way the automata can stand.

    Raises:
        TooLarge: given up.
    """
    letters, sets = _letters(automata)
    begin = tuple(one.closure(frozenset({0}), (_PLAIN, START)) for one in automata)
    seen: set[tuple[object, ...]] = {(begin, True)}
    waiting: deque[tuple[tuple[frozenset[int], ...], str]] = deque([(begin, "")])
    while waiting:
        states, text = waiting.popleft()
        for letter, among in letters:
            is_space = letter.isspace()
            if is_space and not text:
                continue
            following = tuple(
                _step(one, here, sets, among) for one, here in zip(automata, states, strict=True)
            )
            mark = (following, is_space)
            if mark in seen:
                continue
            if len(seen) > MAX_STEPS:
                raise TooLarge
            seen.add(mark)
            longer = text + letter
            if not is_space and wanted(
                tuple(one.takes(here) for one, here in zip(automata, following, strict=True))
            ):
                yield longer
            waiting.append((following, longer))


def _step(
    one: Automaton, here: frozenset[int], sets: dict[Ranges, int], among: frozenset[int]
) -> frozenset[int]:
    found = frozenset(
        target for state in here for ranges, target in one.moves[state] if sets[ranges] in among
    )
    return one.closure(found, (_PLAIN,))


def _letters(
    automata: Sequence[Automaton],
) -> tuple[list[tuple[str, frozenset[int]]], dict[Ranges, int]]:
    """One character for each way of being in or out of the automata's sets, with the numbers of those it is in."""
    listed = {ranges for one in automata for moves in one.moves for ranges, _ in moves}
    sets = {ranges: number for number, ranges in enumerate(sorted(listed))}
    known = [*sets, _spaces()]
    cuts = sorted(
        {0, *(edge for ranges in known for low, high in ranges for edge in (low, high + 1))}
    )
    found: dict[frozenset[int], str] = {}
    for nice in _NICE:
        found.setdefault(_among(known, ord(nice)), nice)
    for low, after in zip(cuts, [*cuts[1:], 0x110000], strict=True):
        if low > 0x10FFFF:
            continue
        among = _among(known, low)
        if among not in found:
            letter = _stable(low, after)
            if letter is not None:
                found[among] = letter
    last = len(known) - 1
    return [(letter, among - {last}) for among, letter in found.items()], sets


def _among(known: Sequence[Ranges], code: int) -> frozenset[int]:
    return frozenset(number for number, ranges in enumerate(known) if _has(ranges, code))


def _has(ranges: Ranges, code: int) -> bool:
    place = bisect_right(ranges, (code, 0x110000)) - 1
    return place >= 0 and ranges[place][0] <= code <= ranges[place][1]


def _stable(low: int, after: int) -> str | None:
    """A character of the interval that folding leaves as it is; None when a folded text can hold none of them."""
    return next((chr(code) for code in range(low, after) if _is_stable(code)), None)


@cache
def _is_stable(code: int) -> bool:
    if 0xD800 <= code <= 0xDFFF:
        return False
    letter = chr(code)
    return letter in "\t\n\v\f\r " or fold_words(letter) == letter


@cache
def _spaces() -> Ranges:
    return tuple((code, code) for code in range(0x3001) if chr(code).isspace())
