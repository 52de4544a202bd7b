"""A field of the follower is a value, one of several, or within bounds. A missing field never matches."""

import re
from decimal import Decimal
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, model_validator

from bot.params import FieldName, FieldValue
from bot.params import Params as Declared
from rules.facts import Facts
from rules.needs import FIELD, Needs
from rules.text import fold_words

NAME = "follower_field"
LABEL = {"zh": "粉丝字段", "en": "Follower's field"}
_NUMBER = re.compile(r"[+-]?\d{1,30}(\.\d{1,30})?", re.ASCII)


class Params(Declared):
    name: FieldName
    is_: FieldValue | None = Field(None, alias="is")
    in_: Annotated[
        list[FieldValue] | None,
        BeforeValidator(lambda value: [value] if isinstance(value, str | int | float) else value),
    ] = Field(None, alias="in", min_length=1, max_length=1000)
    gte: FieldValue | None = None
    lte: FieldValue | None = None

    @model_validator(mode="after")
    def _one_way(self) -> "Params":
        bounds = self.gte is not None or self.lte is not None
        if [self.is_ is not None, self.in_ is not None, bounds].count(True) != 1:
            raise ValueError("needs is, or in, or bounds (gte, lte)")
        return self


def matches(params: Params, facts: Facts) -> dict[str, str] | None:
    value = facts.fields.get(params.name)
    if value is None or value == "":
        return None
    if params.is_ is not None:
        return {} if same(value, params.is_) else None
    if params.in_ is not None:
        return {} if any(same(value, one) for one in params.in_) else None
    if params.gte is not None and not _ordered(params.gte, value):
        return None
    if params.lte is not None and not _ordered(value, params.lte):
        return None
    return {}


def words(params: Params) -> Needs:
    return Needs(FIELD, (params.name,))


def same(one: Any, other: Any) -> bool:
    """Two texts are the same when they fold alike; 18 and "18" are the same number; yes and no stay themselves."""
    if isinstance(one, str) and isinstance(other, str):
        return fold_words(one) == fold_words(other)
    if isinstance(one, bool) or isinstance(other, bool):
        return str(one).lower() == str(other).lower()
    first, second = _number(one), _number(other)
    return first is not None and first == second


def _ordered(low: Any, high: Any) -> bool:
    """Numbers by size; two texts that are not both numbers by their letters, which orders ISO dates."""
    first, second = _number(low), _number(high)
    if first is not None and second is not None:
        return first <= second
    if isinstance(low, str) and isinstance(high, str):
        return fold_words(low) <= fold_words(high)
    return False


def _number(value: Any) -> Decimal | None:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    text = fold_words(value) if isinstance(value, str) else format(Decimal(str(value)), "f")
    return Decimal(text) if _NUMBER.fullmatch(text) else None
