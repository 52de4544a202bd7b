"""A segment's tree as a form: groups of conditions, each drawn from what its filter declares, and read back.

A node stands at a dotted place: ``where`` is the outermost group, ``where.0`` its first part. Beside it stand
``:join`` (all, any) of a group, ``:member`` of a condition, ``:not`` where the node is turned round, and ``:alt``
where a filter asks for one of several things. The order on the page counts, not the numbers.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bot.audiences import segments
from bot.audiences.segments import FOLDER
from bot.console import form_words, forms
from bot.console.form_reading import Form
from bot.console.forms import Field, Names
from bot.console.rule_words import member_label
from bot.console.shapes import params_of
from bot.console.telling import told
from bot.registry import members

Json = dict[str, Any]
Problems = Sequence[tuple[str, str]]
ROOT = "where"
DEEPEST = 5  # groups inside groups that are drawn; deeper ones are written as text
MOST_PARTS = 60  # of one group
COMMON = ("tag", "did", "did_not", "last_active", "subscribed_between", "scene", "field")
GROUP = "group"
JOINS = ("all", "any")


@dataclass(frozen=True)
class Alternative:
    """One of the things a filter may be asked."""

    number: int
    label: str
    fields: Sequence[Field]


@dataclass(frozen=True)
class Node:
    """One group or condition on the page. ``part`` is what it says, for counting it alone."""

    place: str
    part: Json
    negated: bool = False
    join: str = ""
    children: tuple["Node", ...] = ()
    member: str = ""
    label: str = ""
    fields: Sequence[Field] = ()
    alternatives: Sequence[Alternative] = ()
    chosen: int = 0
    error: str = ""

    @property
    def is_text(self) -> bool:
        """What nobody can draw is written as text."""
        return not self.join and not self.member


def read(form: Form) -> Json:
    """The tree as it was typed, after the button that changes it (``add:…``, ``remove:…``, ``up:…``). Never raises."""
    verb, _colon, place = form.get("do", "").partition(":")
    found = _read_group(form, ROOT, verb, place)
    if form.get(f"{ROOT}:bare"):
        return _unwrapped(found)
    return found


def draw(where: Mapping[str, Any], problems: Problems, names: Names) -> Node:
    """The tree as nodes; the outermost is always a group."""
    drawn = where if next(iter(where), "") in JOINS else {"all": [where]}
    prefix = "" if drawn is where else "all.0."
    return _draw(drawn, ROOT, "", [(prefix + at, text) for at, text in problems], names, 1)


def is_bare(where: Mapping[str, Any]) -> bool:
    """Whether the tree is one condition without a group around it: it is saved as it came."""
    return next(iter(where), "") not in JOINS


def choices() -> list[tuple[str, str]]:
    """(name, label) of every filter, the common ones first."""
    known = members(FOLDER)
    listed = [name for name in COMMON if name in known]
    listed += [name for name in known if name not in listed]
    return [(name, member_label(FOLDER, name)) for name in listed]


def complete(where: Mapping[str, Any]) -> tuple[Json, int]:
    """The tree without the conditions that are not filled in yet, and how many those are."""
    key, value = next(iter(where.items()), ("", None))
    if key in JOINS and isinstance(value, list):
        parts = [complete(part) for part in value]
        kept = [part for part, _missing in parts if part]
        missing = sum(number for _part, number in parts)
        return ({key: kept} if kept or not value else {}), missing
    if key == "not" and isinstance(value, Mapping):
        inner, missing = complete(value)
        return ({"not": inner} if inner else {}), missing
    return ({}, 1) if segments.problems(where) else (dict(where), 0)


def _unwrapped(found: Json) -> Json:
    parts = found.get("all", [])
    return parts[0] if len(parts) == 1 else found


def _read_group(form: Form, place: str, verb: str, target: str) -> Json:
    join = form.get(f"{place}:join", "all")
    numbers = forms.indexes(form, place)[:MOST_PARTS]
    parts: list[tuple[str, Json]] = [
        (f"{place}.{number}", _read_node(form, f"{place}.{number}", verb, target))
        for number in numbers
    ]
    places = [at for at, _part in parts]
    if target in places:
        here = places.index(target)
        if verb == "remove":
            del parts[here]
        other = {"up": here - 1, "down": here + 1}.get(verb)
        if other is not None and 0 <= other < len(parts):
            parts[here], parts[other] = parts[other], parts[here]
    listed = [part for _at, part in parts]
    if target == place:
        listed += _added(form, place, verb)
    return {join if join in JOINS else "all": listed}


def _added(form: Form, place: str, verb: str) -> Iterator[Json]:
    if verb == "tags":
        yield from ({"tag": {"has": name}} for name in form.getlist(f"tags:{place}") if name)
    if verb == "add":
        chosen = form.get(f"add:{place}", "")
        if chosen == GROUP:
            yield {"any": []}
        elif chosen in members(FOLDER):
            yield {chosen: {}}


def _read_node(form: Form, place: str, verb: str, target: str) -> Json:
    if f"{place}:join" in form:
        found = _read_group(form, place, verb, target)
    else:
        found = _read_condition(form, place)
    return {"not": found} if form.get(f"{place}:not") else found


def _read_condition(form: Form, place: str) -> Json:
    name = form.get(f"{place}:member", "")
    member = members(FOLDER).get(name)
    if member is None:
        return _read_text(form.get(f"{place}:text", ""))
    values = forms.read(member.Params, form, f"{place}.{name}")
    alternatives = getattr(member, "ALTERNATIVES", ())
    chosen = form.get(f"{place}:alt", "")
    if alternatives and chosen.isdigit() and int(chosen) < len(alternatives):
        left_out = {one for group in alternatives for one in group} - set(alternatives[int(chosen)])
        values = {key: value for key, value in values.items() if key not in left_out}
    return {name: values}


def _read_text(text: str) -> Json:
    try:
        found = json.loads(text)
    except ValueError:
        return {text[:60]: None}
    return found if isinstance(found, dict) else {text[:60]: None}


def _draw(
    where: Mapping[str, Any], place: str, tree: str, problems: Problems, names: Names, depth: int
) -> Node:
    key, value = next(iter(where.items()), ("", None))
    part = dict(where)
    negated = False
    if key == "not" and isinstance(value, Mapping):
        negated, tree = True, _join(tree, "not")
        inner_key, inner = next(iter(value.items()), ("", None))
        if inner_key == "not":  # twice round: a group holds the inner one
            inner_key, inner = "all", [value]
        key, value = inner_key, inner
    if key in JOINS and isinstance(value, list) and depth <= DEEPEST:
        children = tuple(
            _draw(child, f"{place}.{number}", f"{tree}.{key}.{number}".lstrip("."), problems, names, depth + 1)
            for number, child in enumerate(value)
        )  # fmt: skip
        error = _error(problems, _join(tree, key))
        return Node(place, part, negated, join=key, children=children, error=error)
    member = members(FOLDER).get(key)
    here = _join(tree, key)
    if member is None or depth > DEEPEST + 1:
        found = [text for at, text in problems if at == here or at.startswith(f"{here}.")]
        text = json.dumps({key: value}, ensure_ascii=False)
        fields = [Field(f"{place}:text", "", "area", value=text)]
        return Node(place, part, negated, fields=fields, error=told(found[0]) if found else "")
    return _condition(member, key, value, part, negated, place, here, problems, names)


def _condition(
    member: Any,
    key: str,
    value: Any,
    part: Json,
    negated: bool,
    place: str,
    tree: str,
    problems: Problems,
    names: Names,
) -> Node:
    prefix = f"{place}.{key}"
    mine = [
        (prefix + at.removeprefix(tree), text)
        for at, text in problems
        if at == tree or at.startswith(f"{tree}.")
    ]
    drawn = forms.draw(member.Params, value, mine, prefix, names)
    groups = getattr(member, "ALTERNATIVES", ())
    alternatives = [
        Alternative(number, _alternative_label(member, group), _of(drawn, prefix, group))
        for number, group in enumerate(groups)
    ]
    listed = {field.name for one in alternatives for field in one.fields}
    given = value if isinstance(value, Mapping) else {}
    chosen = next(
        (number for number, group in enumerate(groups) if any(name in given for name in group)), 0
    )
    return Node(
        place,
        part,
        negated,
        member=key,
        label=member_label(FOLDER, key),
        fields=[field for field in drawn if field.name not in listed],
        alternatives=alternatives,
        chosen=chosen,
    )


def _of(drawn: Sequence[Field], prefix: str, group: Sequence[str]) -> list[Field]:
    wanted = {f"{prefix}.{name}" for name in group}
    return [field for field in drawn if field.name in wanted]


def _alternative_label(member: Any, group: Sequence[str]) -> str:
    known = {param.name: param for param in params_of(member.Params)}
    return " / ".join(form_words.label(member.Params, known[name]) for name in group)


def _error(problems: Problems, place: str) -> str:
    return next((told(text) for at, text in problems if at == place), "")


def _join(tree: str, key: str) -> str:
    return f"{tree}.{key}" if tree else key
