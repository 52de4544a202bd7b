"""What another rulebook would have done with pushes of the past (试运行). Pure: the caller brings the facts."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from rules.effects import AddTag, Effect, RemoveTag, Reply
from rules.engine import Decision, decide
from rules.facts import Facts
from rules.model import Rulebook

ANSWER, TAGS, OTHER, RULE = "answer", "tags", "other", "rule"
KINDS = (ANSWER, TAGS, OTHER, RULE)
MOST_STEPS = 20  # of a trace that is kept; a rulebook may try hundreds of rules
MOST_PLACES = 300  # rules, tags and ways from rule to rule that a summary keeps
Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one rulebook does with a push. ``tags`` are (given, taken) as they end up."""

    rules: tuple[str, ...]
    fallback: bool
    answers: tuple[Json, ...]
    tags: tuple[frozenset[str], frozenset[str]]
    others: tuple[Effect, ...]
    steps: tuple[Json, ...]

    def to_json(self) -> Json:
        """Plain JSON; effects other than answers and tags as their names with their values."""
        return {
            "rules": list(self.rules),
            "fallback": self.fallback,
            "answers": list(self.answers),
            "tags": [sorted(names) for names in self.tags],
            "others": [effect_json(effect) for effect in self.others],
            "steps": list(self.steps[:MOST_STEPS]),
        }


@dataclass(frozen=True, slots=True)
class Change:
    """A push that would have gone another way. ``kinds``: answer, tags, other effects; rule: only who answered."""

    facts: Facts
    before: Outcome
    after: Outcome
    kinds: tuple[str, ...]


@dataclass(slots=True)
class Tally:
    """Counts over many pushes; two people who are the same are counted once."""

    pushes: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    changed: int = 0
    people: set[int] = field(default_factory=set)
    answered: Counter[str] = field(default_factory=Counter)  # before, after: pushes with an answer
    before: Counter[str] = field(default_factory=Counter)  # by rule, all pushes
    after: Counter[str] = field(default_factory=Counter)
    fallback: Counter[str] = field(default_factory=Counter)  # before, after
    given: Counter[str] = field(
        default_factory=Counter
    )  # tags given more often, less often if below 0
    taken: Counter[str] = field(default_factory=Counter)
    ways: Counter[tuple[tuple[str, ...], tuple[str, ...]]] = field(default_factory=Counter)

    def to_json(self) -> Json:
        """Plain JSON. ``of_json`` reads it, without the people: those the caller keeps."""
        return {
            "pushes": self.pushes,
            "changed": self.changed,
            "people": len(self.people),
            "kinds": {kind: self.kinds[kind] for kind in KINDS},
            "answered": _both(self.answered),
            "fallback": _both(self.fallback),
            "before": _most(self.before),
            "after": _most(self.after),
            "given": _most(self.given),
            "taken": _most(self.taken),
            "ways": [
                [list(one), list(other), count]
                for (one, other), count in self.ways.most_common(MOST_PLACES)
            ],
        }


def of_json(value: Mapping[str, Any], people: Iterable[int] = ()) -> Tally:
    """The tally ``to_json`` wrote, to count on."""
    return Tally(
        pushes=value["pushes"],
        kinds=Counter(value["kinds"]),
        changed=value["changed"],
        people=set(people),
        answered=Counter(value["answered"]),
        before=Counter(value["before"]),
        after=Counter(value["after"]),
        fallback=Counter(value["fallback"]),
        given=Counter(value["given"]),
        taken=Counter(value["taken"]),
        ways=Counter({(tuple(one), tuple(other)): count for one, other, count in value["ways"]}),
    )


def compare(
    old: Rulebook, new: Rulebook, pushes: Iterable[Facts], tally: Tally | None = None
) -> Iterator[Change]:
    """The pushes that would have gone another way, in the order they come; ``tally`` counts all of them.

    Each push is decided as it was: tags, fields and cooldowns are those stored with it. What an earlier
    push of the replay would have changed about a follower is not carried on to a later one.
    """
    for facts in pushes:
        first, second = decide(old, facts), decide(new, facts)
        if tally is not None:
            _count(tally, first, second)
        if first.rules == second.rules and first.effects == second.effects:
            continue
        before, after = outcome(first), outcome(second)
        kinds = _kinds(before, after)
        if not kinds:
            continue
        change = Change(facts, before, after, kinds)
        if tally is not None:
            _count_change(tally, change)
        yield change


def outcome(decision: Decision) -> Outcome:
    """A decision sorted into what it answers, which tags it leaves, and the rest."""
    answers: list[Json] = []
    others: list[Effect] = []
    given: set[str] = set()
    taken: set[str] = set()
    for effect in decision.effects:
        if isinstance(effect, Reply):
            answers.append(effect.content)
        elif isinstance(effect, AddTag):
            given.add(effect.tag)
            taken.discard(effect.tag)
        elif isinstance(effect, RemoveTag):
            taken.add(effect.tag)
            given.discard(effect.tag)
        else:
            others.append(effect)
    return Outcome(
        decision.rules,
        bool(decision.trace.get("fallback")),
        tuple(answers),
        (frozenset(given), frozenset(taken)),
        tuple(others),
        tuple(decision.trace["steps"]),
    )


def effect_json(effect: Effect) -> Json:
    """An effect as plain JSON: its kind and its values."""
    values = {name: getattr(effect, name) for name in type(effect).__dataclass_fields__}
    return {"effect": type(effect).__name__, **values}


def _kinds(before: Outcome, after: Outcome) -> tuple[str, ...]:
    found = []
    if before.answers != after.answers:
        found.append(ANSWER)
    if before.tags != after.tags:
        found.append(TAGS)
    if before.others != after.others:
        found.append(OTHER)
    if not found and (before.rules, before.fallback) != (after.rules, after.fallback):
        found.append(RULE)
    return tuple(found)


def _count(tally: Tally, first: Decision, second: Decision) -> None:
    tally.pushes += 1
    for side, decision, wins in (
        ("before", first, tally.before),
        ("after", second, tally.after),
    ):
        for rule in decision.rules:
            wins[rule] += 1
        tally.fallback[side] += bool(decision.trace.get("fallback"))
        tally.answered[side] += any(isinstance(effect, Reply) for effect in decision.effects)


def _count_change(tally: Tally, change: Change) -> None:
    tally.changed += 1
    tally.kinds.update(change.kinds)
    tally.people.add(change.facts.follower_id)
    tally.ways[change.before.rules, change.after.rules] += 1
    for counter, side in ((tally.given, 0), (tally.taken, 1)):
        counter.update(change.after.tags[side])
        counter.subtract(change.before.tags[side])


def _both(counter: Counter[str]) -> dict[str, int]:
    return {"before": counter["before"], "after": counter["after"]}


def _most(counter: Counter[str]) -> dict[str, int]:
    """What counts most, up or down; names without any left out."""
    listed = sorted(counter.items(), key=lambda item: (-abs(item[1]), item[0]))
    return {name: count for name, count in listed[:MOST_PLACES] if count}
