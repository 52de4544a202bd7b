"""Today in Shanghai is one of these weekdays or dates."""

from datetime import date, datetime
from functools import cached_property
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field

from bot.clock import day_of
from bot.params import Params as Declared
from rules.facts import Facts

NAME = "days"
LABEL = {"zh": "日期或星期", "en": "Days"}
WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


def _day(value: Any) -> Any:
    # YAML turns 2026-11-11 into a date by itself
    if isinstance(value, date) and not isinstance(value, datetime):
        return value.isoformat()
    text = value.strip().lower() if isinstance(value, str) else ""
    if text in WEEKDAYS:
        return text
    try:
        return date.fromisoformat(text).isoformat()
    except ValueError:
        raise ValueError(
            f"must be a weekday ({' '.join(WEEKDAYS)}) or a date such as 2026-11-11"
        ) from None


class Params(Declared):
    on: Annotated[
        list[Annotated[str, BeforeValidator(_day)]],
        BeforeValidator(lambda value: [value] if isinstance(value, str | date) else value),
        AfterValidator(lambda days: list(dict.fromkeys(days))),
        Field(min_length=1, max_length=400),
    ]

    @cached_property
    def known(self) -> frozenset[str]:
        """The days, to look up."""
        return frozenset(self.on)


def matches(params: Params, facts: Facts) -> dict[str, str] | None:
    today = day_of(facts.at)
    known = params.known
    return {} if WEEKDAYS[today.weekday()] in known or today.isoformat() in known else None
