"""Draws any declared parameters as a form, and reads a posted form back as the account file's plain JSON.

Names of form fields are dotted places such as ``when.0.text_is.any``, so a problem finds its field. Parts
of one value stand behind a colon (``after:unit``). A list of models is numbered; what counts is the order on
the page, so the browser may move and remove items without renaming. What does not parse stays as typed.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pydantic import BaseModel

from bot.clock import local, parse_moment
from bot.console import form_words as words
from bot.console.form_reading import Typed, indexes, join, read
from bot.console.shapes import DEPTH, Param, Shape, params_of
from bot.console.telling import told
from bot.content import Content

__all__ = ["Field", "Names", "Problems", "draw", "indexes", "read"]

Problems = Iterable[tuple[str, str]]
Names = Mapping[str, Sequence[Any]]
NUMBER = "__n{depth}__"  # stands for the number of an item that is not on the page yet
_CONTAINERS = frozenset({"content", "group", "items", "item", "option"})


@dataclass(frozen=True)
class Field:
    """One field of a form, ready to be drawn by ``_form.html``.

    ``kind`` is one of ``bot.console.shapes``, or ``note`` (only an error), ``item`` (of ``items``) or
    ``option`` (of ``content``). The ``value`` of ``items`` is the item to copy when one is added.
    """

    name: str
    label: str
    kind: str
    value: Any = None
    required: bool = False
    hint: str = ""
    choices: tuple[tuple[str, str], ...] = ()
    error: str = ""
    children: tuple["Field", ...] = ()
    names: str = ""
    low: float | None = None
    high: float | None = None
    whole: bool = False


def draw(
    model: type[BaseModel],
    value: Any,
    problems: Problems = (),
    prefix: str = "",
    names: Names | None = None,
) -> list[Field]:
    """The fields of a model. ``problems`` are (dotted place, our English sentence); they stand beside their fields.

    ``names`` has what may be chosen, by kind: ``{"tag": ["新客"], "scene": [("store_1", "一店")]}``.
    A problem of the whole, or of a key nobody draws, becomes a ``note`` in front.
    """
    found = [item for item in problems if _under(item[0], prefix)]
    found = [(place, told(sentence)) for place, sentence in found]
    drawer = _Drawer(tuple(found), names or {})
    fields = drawer.model(model, value, prefix, 0)
    places = list(_claiming(fields))
    rest = [text for place, text in found if not any(_claims(field, place) for field in places)]
    notes = [Field(prefix, "", "note", error=text) for text in dict.fromkeys(rest)]
    return [*notes, *fields]


# drawing


@dataclass(frozen=True)
class _Drawer:
    problems: tuple[tuple[str, str], ...]
    names: Names

    def model(self, model: type[BaseModel], value: Any, prefix: str, depth: int) -> list[Field]:
        if issubclass(model, Content):
            return [self.content(model, value, prefix, "", depth)]
        given = value if isinstance(value, Mapping) else {}
        return [
            self.param(model, param, given.get(param.name, given.get(param.attribute)), name, depth)
            for param in params_of(model)
            for name in [join(prefix, param.name)]
        ]

    def param(
        self, model: type[BaseModel], param: Param, value: Any, name: str, depth: int
    ) -> Field:
        shape, label = param.shape, words.label(model, param)
        if value is None and param.default not in (None, "") and shape.model is None:
            value = param.default
        kind = _kind(shape, value, depth)
        field = Field(
            name,
            label,
            kind,
            required=param.required,
            hint=str(words.HINTS_BY_KIND["json"])
            if kind == "json" != shape.kind
            else words.hint(model, param),
            choices=tuple((str(one), words.choice(one)) for one in shape.choices)
            or self._choices(shape.names),
            error=self.error(name, exact=kind in _CONTAINERS),
            names=shape.names,
            low=shape.low,
            high=shape.high,
            whole=shape.whole,
        )
        if kind == "content" and shape.model is not None:
            content = self.content(shape.model, value, name, label, depth + 1)
            return replace(content, required=param.required)
        if kind == "group" and shape.model is not None:
            return replace(field, children=tuple(self.model(shape.model, value, name, depth + 1)))
        if kind == "items" and shape.model is not None:
            return self.items(field, shape.model, value, depth + 1)
        if kind == "words" and shape.form == "days":
            return _days(field, value)
        return replace(field, value=_shown(kind, value))

    def items(self, field: Field, model: type[BaseModel], value: Any, depth: int) -> Field:
        listed = value if isinstance(value, list | tuple) else [value] if value else []
        found = [
            self.item(field, model, one, str(number), depth) for number, one in enumerate(listed)
        ]
        if not found and field.required:
            found = [self.item(field, model, None, "0", depth)]
        copied = _Drawer((), self.names).item(field, model, None, NUMBER.format(depth=depth), depth)
        return replace(field, children=tuple(found), value=copied)

    def item(
        self, field: Field, model: type[BaseModel], value: Any, number: str, depth: int
    ) -> Field:
        name = f"{field.name}.{number}"
        children = tuple(self.model(model, value, name, depth))
        error = self.error(name, exact=True)
        return Field(name, "", "item", children=children, error=error)

    def content(
        self, model: type[BaseModel], value: Any, name: str, label: str, depth: int
    ) -> Field:
        """Kind and body: every kind is on the page, the chosen one counts."""
        given = value if isinstance(value, Mapping) else {}
        listed = params_of(model)
        chosen = next((one.name for one in listed if given.get(one.name) is not None), "text")
        options = []
        for param in listed:
            inner = self.param(model, param, given.get(param.name), join(name, param.name), depth)
            if inner.kind != "group":
                inner = Field(
                    inner.name, inner.label, "option", children=(replace(inner, hint=""),)
                )
            children = tuple(_of_material(child, param.name) for child in inner.children)
            options.append(replace(inner, kind="option", value=param.name, children=children))
        return Field(
            name,
            label,
            "content",
            value=chosen,
            choices=tuple((option.value, option.label) for option in options),
            error=self.error(name, exact=True),
            children=tuple(options),
        )

    def error(self, name: str, *, exact: bool) -> str:
        for place, sentence in self.problems:
            if place == name or (not exact and place.startswith(f"{name}.")):
                return sentence
        return ""

    def _choices(self, names: str) -> tuple[tuple[str, str], ...]:
        return tuple(
            (str(one), str(one)) if isinstance(one, str) else (str(one[0]), str(one[1]))
            for one in self.names.get(names, ())
        )


def _kind(shape: Shape, value: Any, depth: int) -> str:
    """The shape's kind, or a wider one where the value would not survive it."""
    if shape.model is not None and depth >= DEPTH:
        return "json"
    kind = shape.kind
    if kind in ("words", "lines") and not _fits_lines(value):
        return "json"
    if kind == "values" and isinstance(value, list) and len({_type(one) for one in value}) > 1:
        return "json"
    if kind == "text" and isinstance(value, str) and "\n" in value:
        return "area"
    return kind


def _fits_lines(value: Any) -> bool:
    listed = value if isinstance(value, list | tuple | set | frozenset) else [value]
    return value is None or all(isinstance(one, str) and not _breaks(one) for one in listed)


def _breaks(text: str) -> bool:
    return not text.strip() or "\n" in text or "\r" in text


def _shown(kind: str, value: Any) -> Any:
    """A stored or typed value as its field holds it."""
    match kind:
        case "words" | "lines" | "numbers":
            listed = value if isinstance(value, list | tuple) else [] if value is None else [value]
            return "\n".join(str(one) for one in listed)
        case "number" if isinstance(value, float) and value.is_integer():
            return f"{value:.0f}"
        case "flag":
            return value is True
        case "maybe":
            return "" if value is None else "true" if value is True else "false"
        case "choices":
            listed = value if isinstance(value, list | tuple) else [] if value is None else [value]
            return [str(one) for one in listed]
        case "value":
            return {"text": _text(value), "type": _type(value)}
        case "values":
            listed = value if isinstance(value, list | tuple) else [] if value is None else [value]
            kinds = [_type(one) for one in listed]
            return {
                "text": "\n".join(_text(one) for one in listed),
                "type": kinds[0] if kinds else "text",
            }
        case "moment":
            return _wall_clock(value)
        case "time":
            return _text(value)[:5]
        case "hours":
            first, _dash, last = _text(value).partition("-")
            return {"from": first.strip(), "until": last.strip()}
        case "seconds":
            found = re.fullmatch(r"(.*?)\s*([smhd]?)", _text(value), re.DOTALL)
            return {"number": found[1] if found else "", "unit": (found and found[2]) or "m"}
        case "json":
            if value is None or isinstance(value, Typed):
                return value or ""
            return json.dumps(value, ensure_ascii=False, indent=1, default=str)
    return _text(value)


def _days(field: Field, value: Any) -> Field:
    listed = value if isinstance(value, list) else [value] if isinstance(value, str) else []
    known = {day for day, _label in words.WEEKDAYS}
    dates = [str(one) for one in listed if one not in known]
    return replace(
        field,
        kind="days",
        value={"chosen": [one for one in listed if one in known], "dates": "\n".join(dates)},
        choices=tuple((day, str(label)) for day, label in words.WEEKDAYS),
    )


def _of_material(field: Field, kind: str) -> Field:
    """The file of a content is chosen among the account's files of its kind."""
    return replace(field, names=f"file:{kind}") if field.name.endswith(".file") else field


def _type(value: Any) -> str:
    if isinstance(value, bool):
        return "flag"
    return "number" if isinstance(value, int | float) else "text"


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else str(value)


def _wall_clock(value: Any) -> str:
    """A moment as ``datetime-local`` wants it, on a Shanghai clock; what is none stays as typed."""
    text = _text(value)
    try:
        moment = local(parse_moment(text)).replace(tzinfo=None)
    except (ValueError, OverflowError):
        return text
    return moment.isoformat(timespec="auto" if moment.second or moment.microsecond else "minutes")


def _claiming(fields: Iterable[Field]) -> Iterable[Field]:
    for field in fields:
        yield field
        yield from _claiming(field.children)


def _claims(field: Field, place: str) -> bool:
    inside = field.kind not in _CONTAINERS and place.startswith(f"{field.name}.")
    return place == field.name or inside


def _under(place: str, prefix: str) -> bool:
    return not prefix or place == prefix or place.startswith(f"{prefix}.")
