"""Which rules win for the facts of one push, what they want done, and why. Pure."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from bot.registry import members
from rules.effects import Effect
from rules.facts import Facts
from rules.model import ACTIONS, CONDITIONS, Part, Rule, Rulebook
from rules.rule import in_force

MESSAGE_KINDS = frozenset({"text", "image", "voice", "video", "short_video", "location", "link"})
MATCHED, NO = "matched", "no"
FALLBACK = "fallback"
Step = dict[str, Any]
# a member's function, and whether it also takes the rule's name: the member says NEEDS_RULE = True
Call = tuple[Callable[..., Any], bool]


@dataclass(frozen=True, slots=True)
class Decision:
    """Names of the rules that won, in order, what they want done, and the trace: plain JSON.

    ``sources`` has an entry per effect: the rule that wants it, ``fallback`` for the fallback.
    """

    rules: tuple[str, ...]
    effects: tuple[Effect, ...]
    trace: dict[str, Any]
    sources: tuple[str, ...] = ()


def decide(rulebook: Rulebook, facts: Facts) -> Decision:
    """Walk the candidates of the index in order; the first that matches ends, unless it says ``continue``.

    The trace holds a step for each candidate walked; ``explain`` says it of every rule.
    """
    if facts.handed_over:
        return Decision((), (), _trace(rulebook, [], handed_over=True))
    conditions, actions = _calls(CONDITIONS), _calls(ACTIONS)
    steps: list[Step] = []
    names: list[str] = []
    effects: list[Effect] = []
    sources: list[str] = []
    for position in rulebook.index.candidates(facts):
        rule = rulebook.rules[position]
        step, captures = _try(rule, facts, conditions)
        steps.append(step)
        if captures is None:
            continue
        names.append(rule.name)
        effects += _plan(rule.then, rule.name, facts, captures, actions)
        sources += [rule.name] * (len(effects) - len(sources))
        if not rule.continue_:
            break
    fallback = not names and facts.kind in MESSAGE_KINDS and bool(rulebook.fallback)
    if fallback:
        effects += _plan(rulebook.fallback, FALLBACK, facts, {}, actions)
        sources += [FALLBACK] * (len(effects) - len(sources))
    trace = _trace(rulebook, steps, fallback=fallback)
    return Decision(tuple(names), tuple(effects), trace, tuple(sources))


def explain(rulebook: Rulebook, facts: Facts) -> list[Step]:
    """A step for every rule of the rulebook, also those behind the end: they say ``"reached": False``."""
    conditions = _calls(CONDITIONS)
    steps: list[Step] = []
    reached = not facts.handed_over
    for rule in rulebook.rules:
        step, captures = _try(rule, facts, conditions)
        if not reached:
            step["reached"] = False
        steps.append(step)
        if captures is not None and not rule.continue_:
            reached = False
    return steps


@cache
def _calls(folder: str) -> Mapping[str, Call]:
    verb = "matches" if folder == CONDITIONS else "plan"
    return {
        name: (getattr(member, verb), getattr(member, "NEEDS_RULE", False))
        for name, member in members(folder).items()
    }


def _try(
    rule: Rule, facts: Facts, conditions: Mapping[str, Call]
) -> tuple[Step, dict[str, str] | None]:
    """(the step of the trace, captures or None for no). ``why`` of a "no" is the first thing that failed."""
    if not rule.enabled:
        return {"rule": rule.name, "outcome": NO, "why": "disabled"}, None
    if rule.active is not None and not in_force(rule.active, facts.at):
        return {"rule": rule.name, "outcome": NO, "why": "active"}, None
    captures: dict[str, str] = {}
    for name, params in rule.when:
        matches, needs_rule = conditions[name]
        found = matches(params, facts, rule.name) if needs_rule else matches(params, facts)
        if found is None:
            return {"rule": rule.name, "outcome": NO, "why": name}, None
        if found:
            captures = {**found, **captures}
    step: Step = {
        "rule": rule.name,
        "outcome": MATCHED,
        "why": ", ".join([part.name for part in rule.when]),
    }
    if captures:
        step["captures"] = captures
    return step, captures


def _plan(
    parts: tuple[Part, ...],
    rule: str,
    facts: Facts,
    captures: dict[str, str],
    actions: Mapping[str, Call],
) -> list[Effect]:
    effects: list[Effect] = []
    for name, params in parts:
        plan, needs_rule = actions[name]
        effects += (
            plan(params, facts, captures, rule) if needs_rule else plan(params, facts, captures)
        )
    return effects


def _trace(
    rulebook: Rulebook, steps: list[Step], *, fallback: bool = False, handed_over: bool = False
) -> dict[str, Any]:
    trace = {"number": rulebook.number, "steps": steps, "fallback": fallback}
    if handed_over:
        trace["handed_over"] = True
    return trace
