"""Which tags, scenes, events and fields the parts of a rulebook mention, read from their declared parameters."""

from collections.abc import Iterable
from functools import cache
from typing import Any

from bot.content import Content, placeholders
from bot.params import Params
from rules.contents import plain
from rules.rule import Part

Mention = tuple[str, str, str]


def names_in(parts: Iterable[tuple[str, Part]]) -> set[Mention]:
    """(kind, name, dotted place) of (dotted place, part). Placeholders of contents count as fields."""
    found: set[Mention] = set()
    listed = list(parts)
    groups = {(_owner(place), name) for place, part in listed for name in _groups(part.params)}
    for place, part in listed:
        for attribute, shown, kind in _declared(type(part.params)):
            found |= {(kind, name, f"{place}.{shown}") for name in _texts(part.params, attribute)}
        for name in _fields_of(part.params):
            if (_owner(place), name) not in groups:
                found.add(("field", name, place))
    return found


def _owner(place: str) -> str:
    """``rules.3`` of ``rules.3.then.0.reply``: what a rule captures is known in its own actions only."""
    return ".".join(place.split(".")[:2])


def _groups(params: Params) -> Iterable[str]:
    compiled = getattr(params, "compiled", None)
    return compiled.groupindex if compiled is not None else ()


@cache
def _declared(model: type[Params]) -> tuple[tuple[str, str, str], ...]:
    """(attribute, written name, kind) of the parameters that hold names of things."""
    shown = {field.alias or name: name for name, field in model.model_fields.items()}
    schema = model.model_json_schema(by_alias=True).get("properties", {})
    return tuple(
        (attribute, alias, kind)
        for alias, attribute in shown.items()
        if (kind := _kind(schema.get(alias, {}))) is not None
    )


def _kind(schema: dict[str, Any]) -> str | None:
    if "names" in schema:
        return str(schema["names"])
    inner = [schema["items"]] if isinstance(schema.get("items"), dict) else schema.get("anyOf", [])
    return next((kind for one in inner if (kind := _kind(one)) is not None), None)


def _texts(params: Params, attribute: str) -> list[str]:
    value = getattr(params, attribute)
    values = value if isinstance(value, list) else [value]
    return [one for one in values if isinstance(one, str) and one and "*" not in one]


def _fields_of(params: Params) -> set[str]:
    found: set[str] = set()
    for content in _contents(params):
        found |= {
            name
            for name in placeholders(plain(content))
            if not name.isdigit() and not name.startswith("link:")
        }
    return found


def _contents(params: Params) -> Iterable[Content]:
    if isinstance(params, Content):
        return [params]
    values = [getattr(params, name) for name in type(params).model_fields]
    flat = [one for value in values for one in (value if isinstance(value, list) else [value])]
    return [one for one in flat if isinstance(one, Content)]
