"""Set a field of the follower; a text value may hold captures."""

from collections.abc import Mapping

from bot.params import FieldName, FieldValue
from bot.params import Params as Declared
from rules.captures import fill_text
from rules.effects import Effect, SetField
from rules.facts import Facts

NAME = "set_field"
LABEL = {"zh": "设置字段", "en": "Set a field"}


class Params(Declared):
    name: FieldName
    value: FieldValue


def plan(params: Params, facts: Facts, captures: Mapping[str, str]) -> list[Effect]:
    value = params.value
    if captures and isinstance(value, str):
        value = fill_text(value, captures)
    return [SetField(params.name, value)]
