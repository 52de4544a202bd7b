"""A rule as a form: its conditions and actions drawn from what their members declare, and read back."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bot.as_code import files as content_files
from bot.console import forms, rule_words
from bot.console.form_reading import Form
from bot.console.forms import Field, Names
from bot.console.telling import told
from bot.registry import members
from rules.diff import Difference
from rules.model import ACTIONS, CONDITIONS, Active

Json = dict[str, Any]
Problems = Sequence[tuple[str, str]]
FOLDERS = {"when": CONDITIONS, "then": ACTIONS}
MOST_PARTS = 100  # of one form; a rule allows 50
COMMON = (
    "text_contains",
    "text_is",
    "subscribed_from",
    "scan_scene",
    "menu_key",
    "follower_tag",
    "reply",
    "add_tag",
)
RAW = "raw"  # what a member that is gone wrote, as text


@dataclass(frozen=True)
class PartForm:
    """One condition or action on the page."""

    number: int
    member: str
    label: str
    fields: Sequence[Field]


def read_rule(form: Form) -> Json:
    """One rule of the account file as it was typed. Never raises: what is wrong the rule's check says."""
    body: Json = {
        "name": form.get("name", "").strip(),
        "when": read_parts(form, "when"),
        "then": read_parts(form, "then"),
    }
    active = forms.read(Active, form, "active")
    if active:
        body["active"] = active
    if form.get("continue"):
        body["continue"] = True
    if not form.get("enabled"):
        body["enabled"] = False
    return body


def read_parts(form: Form, section: str) -> list[Json]:
    """The conditions (``when``) or actions (``then``) of a form, in the order of the page."""
    return [
        read_part(form, section, number) for number in forms.indexes(form, section)[:MOST_PARTS]
    ]


def read_part(form: Form, section: str, number: str) -> Json:
    """One of them: the member's name and its parameters."""
    member = form.get(f"{section}.{number}:member", "")
    module = members(FOLDERS[section]).get(member)
    if module is None:
        return {member: form.get(f"{section}.{number}.{RAW}:json", "")}
    return {member: forms.read(module.Params, form, f"{section}.{number}.{member}")}


def changed_parts(form: Form, body: Json) -> Json:
    """The rule after the button that adds, removes or moves a part: ``add:when``, ``remove:then:7`` …"""
    verb, _colon, rest = form.get("do", "").partition(":")
    section, _colon, number = rest.partition(":")
    if section not in FOLDERS:
        return body
    listed = list(body[section])
    if verb == "add" and form.get(f"add:{section}", "") in members(FOLDERS[section]):
        listed.append({form[f"add:{section}"]: {}})
        return {**body, section: listed}
    numbers = forms.indexes(form, section)[:MOST_PARTS]
    if number not in numbers[: len(listed)]:
        return body
    place = numbers.index(number)
    other = {"up": place - 1, "down": place + 1}.get(verb)
    if verb == "remove":
        del listed[place]
    elif other is not None and 0 <= other < len(listed):
        listed[place], listed[other] = listed[other], listed[place]
    return {**body, section: listed}


def draw_parts(
    section: str, listed: Iterable[Any], problems: Problems, names: Names
) -> list[PartForm]:
    """The parts of a rule as forms, with what is wrong beside each field."""
    found = []
    for number, part in enumerate(listed or ()):
        member, params = (
            next(iter(part.items())) if isinstance(part, Mapping) and part else ("", {})
        )
        module = members(FOLDERS[section]).get(member)
        place = f"{section}.{number}"
        if module is None:
            wrong = [told(text) for at, text in problems if at.startswith(f"{place}.")]
            typed = params if isinstance(params, str) else json.dumps(params, ensure_ascii=False)
            error = wrong[0] if wrong else ""
            fields = [Field(f"{place}.{RAW}", "", "json", value=typed, error=error)]
        else:
            name = f"{place}.{member}"
            mine = [(name if at == place else at, text) for at, text in problems]
            fields = forms.draw(module.Params, params, mine, name, names)
        label = rule_words.member_label(FOLDERS[section], member)
        found.append(PartForm(number, member, label, fields))
    return found


def draw_active(body: Mapping[str, Any], problems: Problems) -> list[Field]:
    """When the rule is in force, as a form."""
    return forms.draw(Active, body.get("active"), problems, "active")


def choices(section: str) -> list[tuple[str, str]]:
    """(name, label) of every condition or action there is, the common ones first."""
    folder = FOLDERS[section]
    known = members(folder)
    listed = [name for name in COMMON if name in known]
    listed += [name for name in known if name not in listed]
    return [(name, rule_words.member_label(folder, name)) for name in listed]


def missing_files(body: Any, known: frozenset[tuple[str, str]]) -> list[tuple[str, str]]:
    """Problems of contents that name a file the account does not have: (place, sentence)."""
    return [
        (place.removeprefix("."), f"there is no file {name}")
        for kind, name, place in content_files.named(body, "")
        if (kind, name) not in known
    ]


def merged(mine: Json, theirs: Json, differences: Iterable[Difference], taken: set[str]) -> Json:
    """My rule with theirs at the places that were chosen. ``differences`` are from theirs to mine."""
    found: Json = _copied(mine)
    # from the back, so that a part that goes does not move those before it
    for one in reversed(list(differences)):
        if one.place in taken:
            _put(found, one.place.split("."), one.before)
    return found


def _put(value: Any, path: Sequence[str], theirs: Any) -> None:
    *outer, last = path
    for step in outer:
        if isinstance(value, list):
            value = value[int(step)]
        elif isinstance(value, dict):
            value = value.setdefault(step, {})
    if isinstance(value, list):
        place = int(last)
        value[place : place + 1] = [] if theirs is None else [theirs]
    elif isinstance(value, dict) and theirs is None:
        value.pop(last, None)
    elif isinstance(value, dict):
        value[last] = theirs


def _copied(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _copied(one) for name, one in value.items()}
    return [_copied(one) for one in value] if isinstance(value, list) else value
