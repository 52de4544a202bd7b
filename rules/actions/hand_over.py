"""Pass the conversation to human service; rules stay silent until the session closes."""

from collections.abc import Mapping

from pydantic import Field

from bot.params import Params as Declared
from rules.effects import Effect, HandOver
from rules.facts import Facts

NAME = "hand_over"
LABEL = {"zh": "转人工", "en": "Hand over"}


class Params(Declared):
    agent: str = Field("", max_length=64)


def plan(params: Params, facts: Facts, captures: Mapping[str, str]) -> list[Effect]:
    return [HandOver(params.agent)]
