"""Rules that cannot win, rules that take words from each other, rules that no push can match (规则体检). Pure.

A claim needs a proof (one box holds the other) and an example that the engine itself confirms; what
cannot be proved is not claimed. What a pair costs does not grow with the rulebook: ``rules.triggers``
finds the pairs.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from rules.boxes import Box, boxes_of
from rules.compare import narrower
from rules.engine import MATCHED, decide, explain
from rules.facts import Facts
from rules.index import Index
from rules.meetings import Pair, meetings
from rules.mentions import names_in
from rules.model import Rule, Rulebook
from rules.witness import clash, moment, witness

SHADOWED, PARTLY, CONFLICT, DEAD = "shadowed", "partly_shadowed", "conflict", "dead"
KINDS = (DEAD, SHADOWED, PARTLY, CONFLICT)
MOST_OTHERS = 20  # rules one finding names; ``count`` says of how many
TRIES = 3  # pairs of two rules for which an example is looked for
TIMES = frozenset({"hours", "days", "period"})
_NEVER = ("tag", "scene", "field", "segment")


@dataclass(frozen=True, slots=True)
class Other:
    """Another rule of a finding, and which of its words takes ours."""

    rule: str
    position: int
    word: str = ""


@dataclass(frozen=True, slots=True)
class Finding:
    """``words`` are the rule's own words, keys, scenes or kinds it is about; ``sentence`` names the explanation.

    ``example`` is a push that shows it; a dead rule has none.
    """

    kind: str
    rule: str
    position: int
    sentence: str
    values: Mapping[str, str]
    words: tuple[str, ...] = ()
    others: tuple[Other, ...] = ()
    count: int = 0
    example: Facts | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain JSON."""
        return {
            "kind": self.kind,
            "rule": self.rule,
            "position": self.position,
            "sentence": self.sentence,
            "values": dict(self.values),
            "words": list(self.words),
            "others": [
                {"rule": one.rule, "position": one.position, "word": one.word}
                for one in self.others
            ],
            "count": self.count,
            "example": None if self.example is None else self.example.to_json(),
        }


def find(
    rulebook: Rulebook, *, now: datetime, known: Mapping[str, Iterable[str]] | None = None
) -> list[Finding]:
    """What is wrong with a rulebook from ``now`` on, in the order of its rules.

    ``known`` names the things there are, by kind (tag, scene, field …): a rule that asks for another
    one is dead. A kind that is not given is not checked.
    """
    boxes: list[Box] = []
    dead: dict[int, Finding] = {}
    names = {kind: frozenset(given) for kind, given in (known or {}).items()}
    names = _given_by_rules(rulebook, names)
    for position, rule in enumerate(rulebook.rules):
        if not rule.enabled:
            continue
        made = boxes_of(rule, position)
        why = _why_dead(rule, made, now, names)
        if why is not None:
            dead[position] = Finding(DEAD, rule.name, position, why[0], why[1])
        else:
            boxes += made
    boxes = [_from_now(box, now) for box in boxes]
    found = _Pairs(rulebook, boxes, now)
    return sorted(
        [*dead.values(), *found.shadows(), *found.conflicts()],
        key=lambda one: (one.position, KINDS.index(one.kind)),
    )


def _from_now(box: Box, now: datetime) -> Box:
    """What a rule did in the past shadows nobody."""
    begins = box.guard.begins
    if begins is None or begins > now:
        return box
    return replace(box, guard=replace(box.guard, begins=None))


def _given_by_rules(
    rulebook: Rulebook, names: dict[str, frozenset[str]]
) -> dict[str, frozenset[str]]:
    """A tag or field that a rule gives exists as soon as it is given."""
    parts = [
        (f"rules.{position}", part)
        for position, rule in enumerate(rulebook.rules)
        for part in rule.then
        if part.name in ("add_tag", "set_field")
    ]
    found = defaultdict(set)
    for kind, name, _ in names_in(parts):
        found[kind].add(name)
    return {kind: given | found[kind] for kind, given in names.items()}


def _why_dead(
    rule: Rule, made: Sequence[Box], now: datetime, names: Mapping[str, frozenset[str]]
) -> tuple[str, dict[str, str]] | None:
    """(sentence, values) when no push can match the rule from now on."""
    if not made or clash(made[0].guard.fields):
        return "contradiction", {}
    guard = made[0].guard
    if moment(guard, now) is None:
        until = guard.ends
        if until is not None and until <= now:
            return "over", {"until": until.isoformat()}
        return "never_open", {}
    asked = [
        (kind, name)
        for kind, name, _ in sorted(
            names_in([(f"rules.0.{part.name}", part) for part in rule.when])
        )
        if kind in _NEVER and kind in names and name not in names[kind]
    ]
    lacking = {name for part in rule.when if (name := getattr(part.params, "lacks", None))}
    for kind, name in asked:
        if kind != "tag" or name not in lacking:
            return f"no_{kind}", {"name": name}
    return None


def _said(rule: Rule) -> str:
    return "".join(f"{part.name} {part.params.model_dump_json()}\n" for part in rule.then)


@dataclass(frozen=True, slots=True)
class _Taken:
    """``by`` leave nothing of a box, or with ``whole`` False nothing of some kinds of push."""

    by: Sequence[int]
    words: tuple[str, ...]
    whole: bool = True
    by_hours: bool = False


class _Pairs:
    """What follows from the boxes that meet."""

    def __init__(self, rulebook: Rulebook, boxes: Sequence[Box], now: datetime) -> None:
        self.rulebook = rulebook
        self.rules = rulebook.rules
        self.boxes = boxes
        self.now = now
        self.said = [_said(rule) for rule in rulebook.rules]
        self.met = meetings(rulebook.rules, boxes)

    def shadows(self) -> list[Finding]:
        """Rules of which some or all words never win."""
        by_rule: dict[int, list[int]] = defaultdict(list)
        for number, box in enumerate(self.boxes):
            by_rule[box.rule].append(number)
        found = [self._shadow(position, numbers) for position, numbers in by_rule.items()]
        return [one for one in found if one is not None]

    def _shadow(self, position: int, numbers: Sequence[int]) -> Finding | None:
        taken: list[tuple[_Taken, Facts | None]] = []
        for number in numbers:
            one = self._taken(number)
            example = self._shown(one.by, number) if one is not None else None
            if one is not None and (example is not None or self.boxes[number].guard.unknown):
                taken.append((one, example))
        if not taken:
            return None
        rule = self.rules[position]
        whole = len(taken) == len(numbers) and all(one.whole for one, _ in taken)
        words = tuple(dict.fromkeys(word for one, _ in taken for word in one.words if word))
        others = dict.fromkeys(
            Other(self.rules[box.rule].name, box.rule, box.shown)
            for one, _ in taken
            for box in (self.boxes[number] for number in one.by)
        )
        return Finding(
            SHADOWED if whole else PARTLY,
            rule.name,
            position,
            "by_hours"
            if any(one.by_hours for one, _ in taken)
            else "by_kinds"
            if not all(one.whole for one, _ in taken)
            else "earlier_wins",
            {"words": "、".join(words)},
            words,
            tuple(others)[:MOST_OTHERS],
            len({one.position for one in others}),
            next((example for _, example in taken if example is not None), None),
        )

    def _taken(self, number: int) -> "_Taken | None":
        """The earlier boxes that leave nothing to this one: one, or several by the hours or the kinds of push."""
        box = self.boxes[number]
        holder = self.met.holders.get(number)
        if holder is not None:
            return _Taken([holder], (box.shown or "、".join(sorted(box.kinds or ())),))
        left, by = box.guard.minutes, []
        for one in self.met.timed.get(number, ()):
            if left & self.boxes[one].guard.minutes:
                left &= ~self.boxes[one].guard.minutes
                by.append(one)
        if not left:
            return _Taken(by, (box.shown,), by_hours=True)
        kinds, by = box.kinds or frozenset(), []
        for one in self.met.kinded.get(number, ()):
            if kinds & (self.boxes[one].kinds or frozenset()):
                kinds -= self.boxes[one].kinds or frozenset()
                by.append(one)
        if not by:
            return None
        gone = tuple(sorted((box.kinds or frozenset()) - kinds))
        return _Taken(by, (box.shown,) if box.shown else gone, whole=not kinds)

    def _shown(self, by: Sequence[int], number: int) -> Facts | None:
        box = self.boxes[number]
        for one in by:
            facts = witness((self.boxes[one], box), self.now)
            if facts is not None and self._confirmed(self.boxes[one].rule, box.rule, facts):
                return facts
        return None

    def _confirmed(self, first: int, second: int, facts: Facts) -> bool:
        """Whether the engine, asked about the two rules alone, has both match and the first win."""
        rules = (self.rules[first], self.rules[second])
        alone = replace(self.rulebook, rules=rules, index=Index(always=(0, 1)))
        if any(step["outcome"] != MATCHED for step in explain(alone, facts)):
            return False
        won = decide(alone, facts).rules == (rules[0].name,)
        return won and rules[1].name not in decide(self.rulebook, facts).rules

    def conflicts(self) -> list[Finding]:
        """One finding a rule that crosses others: of two the one that crosses more, else the later."""
        partners: dict[int, dict[int, list[Pair]]] = defaultdict(lambda: defaultdict(list))
        for number, group in self.met.wide:
            mine = partners[self.boxes[number].rule]
            for other in group:
                partner = self.boxes[other].rule
                if partner in mine:
                    continue  # all boxes of a rule meet this one alike: one pair shows it
                pair = (number, other) if number < other else (other, number)
                if self._may_cross(pair):
                    mine[partner].append(pair)
        met: dict[tuple[int, int], list[Pair]] = defaultdict(list)
        for pair in self.met.crossed:
            if self._may_cross(pair):
                met[self.boxes[pair[0]].rule, self.boxes[pair[1]].rule].append(pair)
        often = Counter(rule for key in met for rule in key)
        often.update({rule: len(others) for rule, others in partners.items()})
        for (one, other), found in met.items():
            hub, partner = (one, other) if often[one] > often[other] else (other, one)
            partners[hub][partner] += found
        made = (self._conflict(hub, others) for hub, others in partners.items())
        return [one for one in made if one is not None]

    def _may_cross(self, pair: Pair) -> bool:
        """Not where a rule is never asked, goes on to the next, or says the same."""
        first, second = pair
        if first in self.met.holders or second in self.met.holders:
            return False
        one, other = self.boxes[first].rule, self.boxes[second].rule
        return not self.rules[one].continue_ and self.said[one] != self.said[other]

    def _conflict(self, hub: int, partners: Mapping[int, Sequence[Pair]]) -> Finding | None:
        shown: list[tuple[int, Pair, Facts]] = []
        count = len(partners)
        for partner in sorted(partners):
            found = next(
                (
                    (partner, pair, facts)
                    for pair in partners[partner][:TRIES]
                    if (facts := self._shown(pair[:1], pair[1])) is not None
                ),
                None,
            )
            if found is None:
                count -= 1
            else:
                shown.append(found)
            if len(shown) == MOST_OTHERS:
                break
        if not shown:
            return None
        others: dict[Other, None] = {}
        words: dict[str, None] = {}
        timed = False
        for partner, (first, second), _ in shown:
            ours, theirs = (first, second) if partner > hub else (second, first)
            others[Other(self.rules[partner].name, partner, self.boxes[theirs].shown)] = None
            words[self.boxes[ours].shown] = None
            one, other = self.boxes[first], self.boxes[second]
            timed |= bool((narrower(one, other) | narrower(other, one)) & TIMES)
        listed = tuple(word for word in words if word)
        return Finding(
            CONFLICT,
            self.rules[hub].name,
            hub,
            "time_conflict" if timed else "conflict",
            {"words": "、".join(listed)},
            listed,
            tuple(others),
            count,
            shown[0][2],
        )
