"""What a form needs to know of a declared parameter: its kind, read from the annotation. No Flask, no values.

A shape is found for every annotation; what is not known by heart becomes ``json``, a field of plain text,
so that any plug-in's parameters can be edited.
"""

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from datetime import date, datetime, time
from enum import Enum
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from bot import params
from bot.content import Content

DEPTH = 4  # of models inside models; a deeper one, or one inside itself, is written as text
_SECONDS = get_args(params.Seconds)[1]
_VALUES = frozenset({str, int, float, bool})
_LISTS = (list, set, frozenset, Sequence, Set)


@dataclass(frozen=True)
class Shape:
    """``kind`` is one of text area lines words number numbers flag maybe choice choices value values moment date
    time hours seconds content group items json.

    ``words`` are a list of texts, one a line; ``lines`` the same for names of things. ``names`` says of
    what: tag, field, scene … ``model`` is the inner model of a group or of items.
    """

    kind: str
    names: str = ""
    choices: tuple[Any, ...] = ()
    model: type[BaseModel] | None = None
    whole: bool = False
    low: float | None = None
    high: float | None = None
    form: str = ""


@dataclass(frozen=True)
class Param:
    """One declared parameter: the name it is written under, its shape, and what the declaration says of it."""

    name: str
    attribute: str
    shape: Shape
    required: bool
    default: Any
    title: str
    hint: str


@cache
def params_of(model: type[BaseModel]) -> tuple[Param, ...]:
    """The parameters of a model in the order they are declared."""
    return tuple(_params(model))


def _params(model: type[BaseModel]) -> Iterator[Param]:
    for attribute, field in model.model_fields.items():
        extra = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
        shape = _extra(_shape(field.annotation, tuple(field.metadata)), extra)
        default = None if field.default is PydanticUndefined else field.default
        yield Param(
            name=field.alias or attribute,
            attribute=attribute,
            shape=shape,
            required=field.is_required(),
            default=default,
            title=field.title or "",
            hint=field.description or "",
        )


def _shape(annotation: Any, metadata: tuple[Any, ...] = ()) -> Shape:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _shape(arguments[0], (*arguments[1:], *metadata))
    if origin in (Union, UnionType):
        return _union(arguments, metadata)
    shape = _listed(arguments, metadata) if origin in _LISTS else _plain(annotation, metadata)
    for item in metadata:
        if isinstance(item, FieldInfo) and isinstance(item.json_schema_extra, dict):
            shape = _extra(shape, item.json_schema_extra)
    return shape


def _union(arguments: tuple[Any, ...], metadata: tuple[Any, ...]) -> Shape:
    inner = [argument for argument in arguments if argument is not NoneType]
    if len(inner) == 1:
        shape = _shape(inner[0], metadata)
        # nothing said is not the same as no
        return replace(shape, kind="maybe") if shape.kind == "flag" else shape
    if set(inner) <= _VALUES:
        return Shape("value")
    # one text or several
    lists = [one for one in inner if get_origin(one) in _LISTS]
    others = [one for one in inner if one not in lists]
    if len(lists) == 1 and all(_shape(one).kind in ("text", "area") for one in others):
        return _shape(lists[0], metadata)
    return Shape("json")


def _listed(arguments: tuple[Any, ...], metadata: tuple[Any, ...]) -> Shape:
    if len(arguments) != 1:
        return Shape("json")
    inner = _shape(arguments[0])
    if inner.kind in ("text", "area"):
        return Shape("lines" if inner.names else "words", names=inner.names, form=inner.form)
    if inner.kind == "choice":
        return replace(inner, kind="choices")
    if inner.kind == "value":
        return Shape("values")
    if inner.kind == "number":
        return replace(inner, kind="numbers")
    if inner.kind in ("group", "content"):
        return Shape("items", model=inner.model)
    return Shape("json")


def _plain(annotation: Any, metadata: tuple[Any, ...]) -> Shape:
    if get_origin(annotation) is Literal:
        return Shape("choice", choices=get_args(annotation))
    if annotation == tuple[time, time]:
        return Shape("hours")
    if not isinstance(annotation, type):
        return Shape("json")
    if annotation is str:
        return Shape("text" if any(_one_line(item) for item in metadata) else "area")
    if annotation is bool:
        return Shape("flag")
    if annotation is int and _SECONDS in metadata:
        return Shape("seconds")
    if annotation in (int, float):
        low, high = (_bound(metadata, names) for names in (("ge", "gt"), ("le", "lt")))
        return Shape("number", whole=annotation is int, low=low, high=high)
    if issubclass(annotation, Enum):
        return Shape("choice", choices=tuple(item.value for item in annotation))
    if issubclass(annotation, datetime):
        return Shape("moment")
    if issubclass(annotation, date):
        return Shape("date")
    if issubclass(annotation, time):
        return Shape("time")
    if issubclass(annotation, Content):
        return Shape("content", model=annotation)
    if issubclass(annotation, BaseModel):
        return Shape("group", model=annotation)
    return Shape("json")


def _one_line(item: Any) -> bool:
    """Whether a text is kept short or to a pattern: such a text has one line."""
    if isinstance(item, FieldInfo):
        return any(_one_line(inner) for inner in item.metadata)
    return getattr(item, "max_length", None) is not None or bool(getattr(item, "pattern", None))


def _bound(metadata: tuple[Any, ...], names: tuple[str, ...]) -> float | None:
    for item in metadata:
        if isinstance(item, FieldInfo):
            inner = _bound(tuple(item.metadata), names)
            if inner is not None:
                return inner
        for name in names:
            value = getattr(item, name, None)
            if isinstance(value, int | float):
                return float(value)
    return None


def _extra(shape: Shape, extra: Mapping[str, Any]) -> Shape:
    """What a declaration says for forms: ``names`` of which things, ``form`` for another way to draw it."""
    names, form = extra.get("names"), extra.get("form")
    if isinstance(names, str) and shape.kind in ("text", "area", "words", "lines"):
        kind = {"area": "text", "words": "lines"}.get(shape.kind, shape.kind)
        shape = replace(shape, names=names, kind=kind)
    return replace(shape, form=form) if isinstance(form, str) else shape
