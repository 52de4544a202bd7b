"""Reads a posted form back as the account file's plain JSON. What draws it is ``bot/console/forms.py``.

Names of form fields are dotted places such as ``when.0.text_is.any``; parts of one value stand behind a
colon (``after:unit``).
"""

import math
import re
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel
from werkzeug.datastructures import MultiDict

from bot.as_code import reading
from bot.console.shapes import DEPTH, Param, Shape, params_of
from bot.content import Content

Json = dict[str, Any]
Form = MultiDict[str, str]
MOST_DIGITS = 300  # of a number somebody types
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")  # PostgreSQL keeps no NUL
_FLAGS = {"true": True, "是": True, "false": False, "否": False}
_NOTHING: Any = object()


class Typed(str):
    """A text that did not parse, kept as it was typed."""


def read(model: type[BaseModel], form: Form, prefix: str = "") -> Json:
    """What was typed, as plain JSON in the account file's shape; optional parameters left empty are left out.

    Never raises: what does not parse stays a text, which the model then refuses beside its field.
    """
    return _read_model(model, form, prefix, 0)


def indexes(form: Form, name: str) -> list[str]:
    """The numbers under which items of a list were posted, in the order of the page."""
    found = re.compile(re.escape(name) + r"\.(\d{1,15})(?:[.:].*)?", re.DOTALL)
    return list(dict.fromkeys(match[1] for key in form if (match := found.fullmatch(key))))


def join(prefix: str, name: str) -> str:
    """The dotted place of a parameter inside another."""
    return f"{prefix}.{name}" if prefix else name


def _read_model(model: type[BaseModel], form: Form, prefix: str, depth: int) -> Json:
    if issubclass(model, Content):
        return _read_content(model, form, prefix, depth)
    found: Json = {}
    for param in params_of(model):
        value = _read_param(param, form, join(prefix, param.name), depth)
        if value is not _NOTHING:
            found[param.name] = value
    return found


def _read_content(model: type[BaseModel], form: Form, name: str, depth: int) -> Json:
    chosen = form.get(f"{name}:kind", "")
    for param in params_of(model):
        if param.name == chosen:
            value = _read_param(param, form, join(name, param.name), depth)
            if value is _NOTHING:
                value = "" if param.shape.model is None else {}
            return {param.name: value}
    return {}


def _read_param(param: Param, form: Form, name: str, depth: int) -> Any:
    shape = param.shape
    if f"{name}:json" in form:
        return _read_json(_typed(form, f"{name}:json"))
    if shape.model is not None and depth >= DEPTH:
        return _NOTHING
    if shape.kind == "content" and shape.model is not None:
        content = _read_content(shape.model, form, name, depth + 1)
        return content if param.required or not _is_empty(content) else _NOTHING
    if shape.kind == "group" and shape.model is not None:
        group = _read_model(shape.model, form, name, depth + 1)
        return group if param.required or not _is_blank(shape.model, group) else _NOTHING
    if shape.kind == "items" and shape.model is not None:
        items = [
            _read_model(shape.model, form, f"{name}.{number}", depth + 1)
            for number in indexes(form, name)
        ]
        return items if items or param.required else _NOTHING
    return _read_plain(shape, form, name)


def _read_plain(shape: Shape, form: Form, name: str) -> Any:
    match shape.kind:
        case "words" | "lines":
            return _lines(form, name) or _NOTHING
        case "numbers":
            return [_number(one) for one in _lines(form, name)] or _NOTHING
        case "choices":
            chosen = [one for one in shape.choices if str(one) in form.getlist(name)]
            return chosen or _NOTHING
        case "flag":
            return form.get(name, "") not in ("", "false")
        case "values":
            kind = form.get(f"{name}:type", "text")
            return [_value(one, kind) for one in _lines(form, name)] or _NOTHING
        case "hours":
            ends = [form.get(f"{name}:{end}", "").strip() for end in ("from", "until")]
            return "-".join(ends) if any(ends) else _NOTHING
    text = _typed(form, name)
    if not text or (shape.kind != "area" and not text.strip()):
        return _NOTHING
    match shape.kind:
        case "maybe":
            return text == "true"
        case "choice":
            return next((one for one in shape.choices if str(one) == text), text)
        case "value":
            return _value(text, form.get(f"{name}:type", "text"))
        case "number":
            return _number(text)
        case "seconds":
            return f"{text.strip()}{form.get(f'{name}:unit', 's')[:1]}"
        case "json":
            return _read_json(text)
    return text


def _typed(form: Form, name: str) -> str:
    """One posted text; browsers post line ends as CR LF."""
    return _UNSTORABLE.sub("", form.get(name, "").replace("\r\n", "\n").replace("\r", "\n"))


def _lines(form: Form, name: str) -> list[str]:
    texts = [_UNSTORABLE.sub("", one) for one in form.getlist(name)]
    return [line for text in texts for line in re.split(r"\r\n|\r|\n", text) if line.strip()]


def _value(text: str, kind: str) -> Any:
    if kind == "flag":
        return _FLAGS.get(text.strip().lower(), text)
    return _number(text) if kind == "number" else text


def _number(text: str) -> Any:
    short = text.strip()
    if len(short) > MOST_DIGITS or not short.isascii() or "_" in short:
        return Typed(text)
    try:
        return int(short)
    except ValueError:
        pass
    try:
        number = float(short)
    except ValueError:
        return Typed(text)
    return number if math.isfinite(number) else Typed(text)


def _read_json(text: str) -> Any:
    """YAML, which JSON is a part of; what is neither stays as typed."""
    if not text.strip():
        return _NOTHING
    source = reading.read(("value:\n " + text.replace("\n", "\n ")).encode(errors="replace"))
    if source.problems or set(source.data) != {"value"}:
        return Typed(text)
    return source.data["value"]


def _is_blank(model: type[BaseModel], value: Json) -> bool:
    """Whether a model that may be left out says nothing but its defaults."""
    known = {param.name: param.default for param in params_of(model)}
    return all(_is_empty(one) or one == known.get(name) for name, one in value.items())


def _is_empty(value: Any) -> bool:
    if isinstance(value, Mapping):
        return all(_is_empty(one) for one in value.values())
    if isinstance(value, list):
        return all(_is_empty(one) for one in value)
    return value in (None, "", False)
