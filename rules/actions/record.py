"""Write a behaviour event of the operator's own."""

from collections.abc import Mapping
from typing import Annotated

from pydantic import AfterValidator

from bot.params import EventName
from bot.params import Params as Declared
from rules.effects import Effect, Record
from rules.facts import Facts

NAME = "record"
LABEL = {"zh": "记录事件", "en": "Record an event"}
# written by the program itself; a rule that wrote them would falsify reports
OWN_EVENTS = frozenset(
    {"subscribe", "unsubscribe", "message", "scan", "menu_click", "menu_view", "click"}
    | {"campaign_sent"}
)


def _not_ours(event: str) -> str:
    if event in OWN_EVENTS:
        raise ValueError(f"'{event}' is recorded by the program itself; choose another name")
    return event


class Params(Declared):
    event: Annotated[EventName, AfterValidator(_not_ours)]


def plan(params: Params, facts: Facts, captures: Mapping[str, str]) -> list[Effect]:
    return [Record(params.event)]
