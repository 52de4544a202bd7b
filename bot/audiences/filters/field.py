"""A field of the follower. Types are kept apart: the text "3" is not the number 3, and true is neither.

Numbers compare by size, texts by code point (so ISO dates compare by time). A field that is not
there, or null, fulfils only ``missing: true``.
"""

import math
from datetime import datetime
from typing import Annotated, Self

import sqlalchemy as sa
from pydantic import AfterValidator, Field, model_validator

from bot.audiences.filters._shared import Resolve, exactly_one
from bot.params import FieldName, FieldValue
from bot.params import Params as Base
from bot.sql import json_kind, json_number, json_text
from bot.tables.followers import followers

NAME = "field"
LABEL = {"zh": "字段", "en": "Field"}
ALTERNATIVES = (("is",), ("in",), ("gte", "lte"), ("missing",))


def _path_safe(name: str) -> str:
    # SQLite's JSON paths know no escape for these two
    if '"' in name or "\\" in name:
        raise ValueError("a field's name has neither quotes nor backslashes")
    return name


def _finite(value: FieldValue) -> FieldValue:
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("must be a finite number")
    if isinstance(value, int) and abs(value) > 2**53:
        raise ValueError("a number of more than 15 digits must be written as text")
    return value


def _sizable(value: FieldValue) -> FieldValue:
    if isinstance(value, bool):
        raise ValueError("must be a number or a text")
    return value


Value = Annotated[FieldValue, AfterValidator(_finite)]
Size = Annotated[FieldValue, AfterValidator(_finite), AfterValidator(_sizable)]


class Params(Base):
    name: Annotated[FieldName, AfterValidator(_path_safe)]
    is_: Value | None = Field(None, alias="is")
    in_: Annotated[list[Value], Field(min_length=1, max_length=1000)] | None = Field(
        None, alias="in"
    )
    gte: Size | None = None
    lte: Size | None = None
    missing: bool | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        if self.gte is not None and self.lte is not None:  # a span is one test
            exactly_one(self, "is_", "in_", "gte", "missing")
            if isinstance(self.gte, str) != isinstance(self.lte, str):
                raise ValueError("gte and lte must both be numbers or both be texts")
            return self
        exactly_one(self, "is_", "in_", "gte", "lte", "missing")
        return self


def where(
    params: Params, account_id: int, now: datetime, resolve: Resolve
) -> sa.ColumnElement[bool]:
    kind = json_kind(followers.c.fields, params.name)
    if params.missing is not None:
        there = sa.and_(kind.is_not(None), kind != "null")
        return sa.not_(there) if params.missing else there
    if params.is_ is not None:
        return _one_of(params.name, [params.is_])
    if params.in_ is not None:
        return _one_of(params.name, params.in_)
    text = isinstance(params.lte if params.gte is None else params.gte, str)
    found = (json_text if text else json_number)(followers.c.fields, params.name)
    tests: list[sa.ColumnElement[bool]] = [found.is_not(None)]
    if params.gte is not None:
        tests.append(found >= _bound(params.gte))
    if params.lte is not None:
        tests.append(found <= _bound(params.lte))
    return sa.and_(*tests)


def sentence(params: Params) -> str:
    name = f"字段「{params.name}」"
    if params.missing is not None:
        return f"{name}没有值" if params.missing else f"{name}有值"
    if params.is_ is not None:
        return f"{name}是 {_shown(params.is_)}"
    if params.in_ is not None:
        return f"{name}是 {'、'.join(_shown(value) for value in params.in_)} 之一"
    parts = []
    if params.gte is not None:
        parts.append(f"不小于 {_shown(params.gte)}")
    if params.lte is not None:
        parts.append(f"不大于 {_shown(params.lte)}")
    return name + "且".join(parts)


def _one_of(name: str, values: list[FieldValue]) -> sa.ColumnElement[bool]:
    truths = ["true" if value else "false" for value in values if isinstance(value, bool)]
    texts = [value for value in values if isinstance(value, str)]
    numbers = [
        _bound(value)
        for value in values
        if isinstance(value, int | float) and not isinstance(value, bool)
    ]
    tests: list[sa.ColumnElement[bool]] = []
    for found, wanted in (
        (json_kind(followers.c.fields, name), truths),
        (json_text(followers.c.fields, name), texts),
        (json_number(followers.c.fields, name), numbers),
    ):
        if wanted:
            tests.append(sa.and_(found.is_not(None), found.in_(wanted)))
    return sa.or_(*tests)


def _bound(value: FieldValue) -> str | float:
    return value if isinstance(value, str) else float(value)


def _shown(value: FieldValue) -> str:
    if isinstance(value, bool):
        return "是" if value else "否"
    return f"「{value}」" if isinstance(value, str) else f"{value}"
