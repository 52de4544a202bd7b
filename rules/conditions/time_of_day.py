"""The Shanghai clock stands between two times; it may span midnight."""

from pydantic import Field

from bot.params import ClockTime
from bot.params import Params as Declared
from rules.facts import Facts
from rules.hours import clock_time, within

NAME = "time_of_day"
LABEL = {"zh": "时段", "en": "Time of day"}


class Params(Declared):
    from_: ClockTime = Field(alias="from")
    until: ClockTime


def matches(params: Params, facts: Facts) -> dict[str, str] | None:
    return {} if within(clock_time(facts.at), params.from_, params.until) else None
