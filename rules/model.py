"""A rulebook: rules in order and a fallback, read from the JSON of the account file and written back to it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bot.errors import Invalid
from bot.params import Params
from bot.registry import members
from rules.index import Index, build
from rules.mentions import names_in
from rules.needs import Needs
from rules.reader import ACTIONS, CONDITIONS, Problem, Reader, read
from rules.rule import Active, Part, Rule

__all__ = [
    "ACTIONS",
    "CONDITIONS",
    "Active",
    "Examined",
    "Part",
    "Rule",
    "Rulebook",
    "dump",
    "examine",
    "load",
    "names",
    "problems",
]


@dataclass(frozen=True, slots=True)
class Rulebook:
    """A checked, indexed set of rules. ``cooldowns`` names the rules that ask ``Facts.fired``."""

    number: int = field(compare=False)
    rules: tuple[Rule, ...]
    fallback: tuple[Part, ...]
    cooldowns: frozenset[str]
    index: Index = field(compare=False, repr=False)

    @property
    def has_cooldown(self) -> bool:
        """Whether any rule asks when it last won."""
        return bool(self.cooldowns)


def load(body: Mapping[str, Any], number: int = 0) -> Rulebook:
    """The rulebook of ``{"rules": [...], "fallback": {...}}``, with its index.

    Raises:
        Invalid: the first problem, with its dotted place such as ``rules.3.when.0.text_is.any``.
    """
    reader = Reader()
    rules, fallback = read(reader, body)
    if reader.problems:
        raise Invalid(*reader.problems[0])
    return Rulebook(
        number=number,
        rules=tuple(rules),
        fallback=tuple(fallback),
        cooldowns=frozenset(
            rule.name for rule in rules for part in rule.when if part.name == "cooldown"
        ),
        index=build(
            (position, _needs(rule)) for position, rule in enumerate(rules) if rule.enabled
        ),
    )


def problems(body: Mapping[str, Any]) -> list[Problem]:
    """Every problem of a rulebook: (dotted place, sentence). Empty when it loads."""
    reader = Reader()
    read(reader, body)
    return reader.problems


@dataclass(frozen=True, slots=True)
class Examined:
    """What one reading of a body shows. ``canonical`` is as ``dump`` writes it, None with problems."""

    problems: list[Problem]
    canonical: dict[str, Any] | None
    names: set[tuple[str, str, str]]


def examine(body: Mapping[str, Any]) -> Examined:
    """``problems``, ``dump`` and ``names`` in one reading: a large rulebook takes seconds to read."""
    reader = Reader(gather=True)
    rules, fallback = read(reader, body)
    canonical = None if reader.problems else _dump(rules, fallback)
    return Examined(reader.problems, canonical, names_in(reader.found))


def dump(rulebook: Rulebook) -> dict[str, Any]:
    """Canonical JSON; loading it gives an equal rulebook."""
    return _dump(rulebook.rules, rulebook.fallback)


def _dump(rules: Sequence[Rule], fallback: Sequence[Part]) -> dict[str, Any]:
    return {
        "rules": [_dump_rule(rule) for rule in rules],
        "fallback": {part.name: _dump_params(part) for part in fallback} or None,
    }


def names(body: Mapping[str, Any]) -> set[tuple[str, str, str]]:
    """(kind, name, dotted place) of every tag, scene, event and field a rulebook mentions.

    Scenes with ``*`` name none. Parts that do not parse are left out: ``problems`` says so.
    """
    reader = Reader(gather=True)
    read(reader, body)
    return names_in(reader.found)


def _dump_rule(rule: Rule) -> dict[str, Any]:
    found: dict[str, Any] = {
        "name": rule.name,
        "when": [{part.name: _dump_params(part)} for part in rule.when],
        "then": [{part.name: _dump_params(part)} for part in rule.then],
    }
    if rule.active is not None:
        found["active"] = _plain(rule.active)
    if rule.continue_:
        found["continue"] = True
    if not rule.enabled:
        found["enabled"] = False
    return found


def _dump_params(part: Part) -> Any:
    return _plain(part.params)


def _plain(params: Params) -> Any:
    return params.model_dump(mode="json", by_alias=True, exclude_none=True, exclude_defaults=True)


def _needs(rule: Rule) -> list[Needs]:
    conditions = members(CONDITIONS)
    found = []
    for name, params in rule.when:
        ask = getattr(conditions[name], "words", None)
        needs = ask(params) if ask is not None else None
        if needs is not None:
            found.append(needs)
    return found
