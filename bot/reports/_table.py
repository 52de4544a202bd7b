"""What a report gives back, and what several of them share."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Any

from pydantic import Field

from bot.clock import day_of, start_of_day
from bot.params import Params

Days = Annotated[int, Field(ge=1, le=366)]


@dataclass(frozen=True, slots=True)
class Column:
    """``key`` for programs, ``label`` for people."""

    key: str
    label: dict[str, str]


@dataclass(frozen=True, slots=True)
class Table:
    columns: Sequence[Column]
    rows: Sequence[Sequence[Any]]


class Span(Params):
    """The last ``days`` Shanghai days, today included."""

    days: Days = 30


def column(key: str, zh: str, en: str) -> Column:
    return Column(key, {"zh": zh, "en": en})


def begins(days: int, now: datetime) -> datetime:
    """The moment at which the first of the last ``days`` Shanghai days begins."""
    return start_of_day(day_of(now) - timedelta(days=days - 1))
