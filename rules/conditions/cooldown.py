"""This rule has not won for this follower within so many hours."""

from datetime import timedelta
from typing import Annotated

from pydantic import Field

from bot.params import Params as Declared
from rules.facts import Facts

NAME = "cooldown"
LABEL = {"zh": "冷却", "en": "Cooldown"}
NEEDS_RULE = True


class Params(Declared):
    hours: Annotated[float, Field(gt=0, le=8784)]


def matches(params: Params, facts: Facts, rule: str) -> dict[str, str] | None:
    last = facts.fired.get(rule)
    if last is None:
        return {}
    return {} if facts.at - last >= timedelta(hours=params.hours) else None
