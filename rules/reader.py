"""Reads the JSON of a rulebook and says everything that is wrong with it: (dotted place, sentence)."""

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import TypeAdapter, ValidationError

from bot.params import Name, Params
from bot.registry import members
from rules.pattern import MAX_EXPRESSIONS
from rules.rule import Active, Part, Rule

CONDITIONS, ACTIONS = "rules.conditions", "rules.actions"
MAX_RULES = 100_000
MAX_PARTS = 50  # conditions, or actions, of one rule
KEYS = ("name", "when", "then", "active", "continue", "enabled")
Problem = tuple[str, str]
_NAME: TypeAdapter[str] = TypeAdapter(Name)


class Reader:
    """Reads one body and gathers its problems; with ``gather`` also its parts and their places."""

    def __init__(self, *, gather: bool = False) -> None:
        self.gather = gather
        self.problems: list[Problem] = []
        self.names: dict[str, int] = {}
        self.expressions = 0
        self.found: list[tuple[str, Part]] = []

    def say(self, place: str, sentence: str) -> None:
        self.problems.append((place, sentence))

    def rule(self, value: Any, place: str, position: int) -> Rule | None:
        """The rule at ``place``, or None after saying what is wrong with it."""
        if not isinstance(value, Mapping):
            self.say(place, "must be a rule: name, when, then")
            return None
        before = len(self.problems)
        for key in value:
            if key not in KEYS:
                self.say(f"{place}.{key}", f"is not a key of a rule; those are {', '.join(KEYS)}")
        name = self.name(value, place, position)
        when = self.parts(value.get("when"), f"{place}.when", CONDITIONS)
        heard = len(self.problems)
        then = self.parts(value.get("then"), f"{place}.then", ACTIONS)
        if not then and len(self.problems) == heard:
            self.say(f"{place}.then", "needs at least one action")
        active = None
        if value.get("active") is not None:
            active = self.params(Active, value["active"], f"{place}.active")
        continue_ = self.flag(value, "continue", place, default=False)
        enabled = self.flag(value, "enabled", place, default=True)
        if len(self.problems) > before:
            return None
        return Rule(name, tuple(when), tuple(then), active, continue_, enabled)

    def name(self, value: Mapping[str, Any], place: str, position: int) -> str:
        try:
            name = _NAME.validate_python(value.get("name"))
        except ValidationError:
            self.say(f"{place}.name", "must be a name of 1 to 60 characters on one line")
            return ""
        first = self.names.setdefault(name, position)
        if first != position:
            self.say(f"{place}.name", f"'{name}' is already the name of rules.{first}")
        return name

    def flag(self, value: Mapping[str, Any], key: str, place: str, *, default: bool) -> bool:
        given = value.get(key, default)
        if not isinstance(given, bool):
            self.say(f"{place}.{key}", "must be true or false")
        return bool(given)

    def parts(self, value: Any, place: str, folder: str) -> list[Part]:
        if value is None:
            return []
        if not isinstance(value, list | tuple):
            self.say(place, "must be a list, each entry beginning with - and one name")
            return []
        if len(value) > MAX_PARTS:
            self.say(place, f"has {len(value)} entries, {MAX_PARTS} are allowed")
            return []
        found = []
        for number, item in enumerate(value):
            here = f"{place}.{number}"
            if not isinstance(item, Mapping) or len(item) != 1:
                self.say(here, "must be exactly one name with its parameters")
                continue
            name, given = next(iter(item.items()))
            part = self.part(name, given, here, folder)
            if part is not None:
                found.append(part)
        return found

    def part(self, name: Any, given: Any, place: str, folder: str) -> Part | None:
        known = members(folder)
        member = known.get(name) if isinstance(name, str) else None
        if member is None:
            what = "a condition" if folder == CONDITIONS else "an action"
            self.say(f"{place}.{name}", f"is not {what}; known are {', '.join(sorted(known))}")
            return None
        if name == "text_regex":
            self.expressions += 1
            if self.expressions == MAX_EXPRESSIONS + 1:
                self.say(
                    f"{place}.{name}",
                    f"more than {MAX_EXPRESSIONS} expressions in one rulebook; use text_pattern",
                )
        params = self.params(member.Params, {} if given is None else given, f"{place}.{name}")
        if params is None:
            return None
        part = Part(name, params)
        if self.gather:
            self.found.append((f"{place}.{name}", part))
        return part

    def params(self, model: type[Params], value: Any, place: str) -> Any:
        try:
            return model.model_validate(value)
        except ValidationError as error:
            for item in error.errors(include_url=False, include_input=False):
                self.say(".".join([place, *map(str, item["loc"])]), _sentence(item, model))
            return None


def _sentence(item: Mapping[str, Any], model: type[Params]) -> str:
    if item["type"] == "extra_forbidden" and len(item["loc"]) == 1:
        known = [shown.alias or name for name, shown in model.model_fields.items()]
        return (
            f"is not known here; known are {', '.join(known)}" if known else "takes no parameters"
        )
    if item["type"] == "extra_forbidden":
        return "is not known here"
    if item["type"] == "missing":
        return "is missing"
    if item["type"] in ("model_type", "model_attributes_type"):
        return "must be parameters, each written as name: value"
    return str(item["msg"]).removeprefix("Value error, ")


def read(reader: Reader, body: Any) -> tuple[list[Rule], list[Part]]:
    """Rules and fallback of a body; problems and parts are gathered in ``reader``."""
    if not isinstance(body, Mapping):
        reader.say("", "must be rules and a fallback")
        return [], []
    for key in body:
        if key not in ("rules", "fallback"):
            reader.say(str(key), "is not known here; known are rules, fallback")
    return list(_rules(reader, body.get("rules"))), _fallback(reader, body)


def _rules(reader: Reader, value: Any) -> Iterator[Rule]:
    if value is None:
        return
    if not isinstance(value, list | tuple):
        reader.say("rules", "must be a list of rules")
        return
    if len(value) > MAX_RULES:
        reader.say("rules", f"has {len(value)} rules, {MAX_RULES} are allowed")
        return
    for position, item in enumerate(value):
        rule = reader.rule(item, f"rules.{position}", position)
        if rule is not None:
            yield rule


def _fallback(reader: Reader, body: Mapping[str, Any]) -> list[Part]:
    value = body.get("fallback")
    if value is None:
        return []
    if not isinstance(value, Mapping):
        reader.say("fallback", "must be actions, each written as name: parameters")
        return []
    # sorted, because a database's JSON need not keep the order of keys
    found = [reader.part(name, value[name], "fallback", ACTIONS) for name in sorted(value, key=str)]
    return [part for part in found if part is not None]
