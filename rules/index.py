"""Which rules can match a push at all. What a message costs does not grow with the number of rules.

One table for exact words, one automaton for contained words, one RE2 set for expressions without a known
literal, and tables for kinds, menu keys, scenes and tags. Candidates are a superset: ``rules.engine`` asks
their conditions.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import ahocorasick_rs
import re2

from rules.facts import Facts
from rules.needs import CONTAINS, EXACT, FIELD, FIRST, KEY, KIND, REGEX, SCENE, STARTS, TAG, Needs
from rules.pattern import options
from rules.text import fold

Positions = tuple[int, ...]
Table = dict[str, Positions]
NONE: Positions = ()
_SET_BYTES = 64 << 20  # an RE2 set that runs out of memory says "no match", so give it plenty
_SET_SIZE = 100  # expressions in one set: its states multiply


@dataclass(frozen=True, slots=True)
class Index:
    """Positions of rules by what they need. Built by ``build``."""

    always: Positions = NONE
    exact: Table = field(default_factory=dict)
    automaton: Any = None
    starts: tuple[Positions, ...] = ()  # by number of the automaton's word
    contains: tuple[Positions, ...] = ()  # by number of the automaton's word
    sets: tuple[tuple[Any, Positions], ...] = ()
    kinds: Table = field(default_factory=dict)
    keys: Table = field(default_factory=dict)
    scenes: Table = field(default_factory=dict)
    scene_starts: Table = field(default_factory=dict)
    scene_lengths: tuple[int, ...] = ()
    tags: Table = field(default_factory=dict)
    fields: Table = field(default_factory=dict)
    first: Positions = NONE

    def candidates(self, facts: Facts) -> list[int]:
        """Positions of the rules that can match, in order."""
        found = set(self.always)
        found.update(self.kinds.get(facts.kind, NONE))
        if facts.text:
            self._by_text(fold(facts.text), found)
        if facts.key:
            found.update(self.keys.get(facts.key, NONE))
        if facts.scene:
            self._by_scene(facts.scene, found)
        if facts.first_message:
            found.update(self.first)
        if self.tags and facts.tags:
            for tag in self.tags.keys() & facts.tags:
                found.update(self.tags[tag])
        if self.fields and facts.fields:
            for name in self.fields.keys() & facts.fields.keys():
                found.update(self.fields[name])
        return sorted(found)

    def _by_text(self, text: str, found: set[int]) -> None:
        found.update(self.exact.get(text, NONE))
        if self.automaton is not None:
            starts, contains = self.starts, self.contains
            for word, start, _ in self.automaton.find_matches_as_indexes(text, overlapping=True):
                found.update(contains[word])
                if start == 0:
                    found.update(starts[word])
        for expressions, positions in self.sets:
            for number in expressions.Match(text) or NONE:
                found.add(positions[number])

    def _by_scene(self, scene: str, found: set[int]) -> None:
        found.update(self.scenes.get(scene, NONE))
        for length in self.scene_lengths:
            found.update(self.scene_starts.get(scene[:length], NONE))


def build(needs: Iterable[tuple[int, Sequence[Needs]]]) -> Index:
    """An index of (position of a rule, what its conditions need), of which the most selective is used."""
    tables: dict[str, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    always: list[int] = []
    for position, wanted in needs:
        if not wanted:
            always.append(position)
            continue
        best = min(wanted, key=_width) if len(wanted) > 1 else wanted[0]
        table = tables[best.how]
        for value in best.values:
            table[value].append(position)
    scenes, scene_starts = _split_scenes(tables[SCENE])
    automaton, starts, contains = _automaton(tables[STARTS], tables[CONTAINS])
    return Index(
        always=tuple(always),
        exact=_frozen(tables[EXACT]),
        automaton=automaton,
        starts=starts,
        contains=contains,
        sets=_sets(tables[REGEX]),
        kinds=_frozen(tables[KIND]),
        keys=_frozen(tables[KEY]),
        scenes=scenes,
        scene_starts=scene_starts,
        scene_lengths=tuple(sorted({len(prefix) for prefix in scene_starts})),
        tags=_frozen(tables[TAG]),
        fields=_frozen(tables[FIELD]),
        first=tuple(tables[FIRST][""]),
    )


def _width(needs: Needs) -> tuple[int, int]:
    return needs.width


def _frozen(table: Mapping[str, list[int]]) -> Table:
    return {value: tuple(positions) for value, positions in table.items()}


def _split_scenes(table: Mapping[str, list[int]]) -> tuple[Table, Table]:
    exact: Table = {}
    starts: dict[str, list[int]] = defaultdict(list)
    for scene, positions in table.items():
        if "*" in scene:
            starts[scene.split("*")[0]].extend(positions)
        else:
            exact[scene] = tuple(positions)
    return exact, _frozen(starts)


def _automaton(
    starts: Mapping[str, list[int]], contains: Mapping[str, list[int]]
) -> tuple[Any, tuple[Positions, ...], tuple[Positions, ...]]:
    words = list(dict.fromkeys([*contains, *starts]))
    if not words:
        return None, (), ()
    return (
        ahocorasick_rs.AhoCorasick(words, store_patterns=False),
        tuple(tuple(starts.get(word, NONE)) for word in words),
        tuple(tuple(contains.get(word, NONE)) for word in words),
    )


def _sets(table: Mapping[str, list[int]]) -> tuple[tuple[Any, Positions], ...]:
    pairs = [(expression, position) for expression, found in table.items() for position in found]
    sets = []
    for first in range(0, len(pairs), _SET_SIZE):
        chunk = pairs[first : first + _SET_SIZE]
        expressions = re2.Set.SearchSet(options(_SET_BYTES))
        for expression, _ in chunk:
            expressions.Add(expression)
        expressions.Compile()
        sets.append((expressions, tuple(position for _, position in chunk)))
    return tuple(sets)
