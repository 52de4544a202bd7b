"""Times of day on a Shanghai clock, such as 22:00 to 08:00, which may span midnight."""

from datetime import datetime, time
from functools import lru_cache
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer, TypeAdapter, ValidationError

from bot.clock import local
from bot.params import ClockTime

_CLOCK_TIME: TypeAdapter[time] = TypeAdapter(ClockTime)


def _hours(value: Any) -> Any:
    if isinstance(value, tuple):
        return value
    parts = value.split("-") if isinstance(value, str) else []
    try:
        first, last = (_CLOCK_TIME.validate_python(part.strip()) for part in parts)
    except (ValueError, ValidationError):
        raise ValueError('must be hours in quotes such as "08:00-22:00"') from None
    return first, last


def _text(value: tuple[time, time]) -> str:
    first, last = value
    return f"{first:%H:%M}-{last:%H:%M}" if last != time(0) else f"{first:%H:%M}-24:00"


Hours = Annotated[
    tuple[time, time], BeforeValidator(_hours), PlainSerializer(_text, return_type=str)
]


@lru_cache(maxsize=8)
def clock_time(moment: datetime) -> time:
    """What a Shanghai clock shows; remembered, because every timed rule of one push asks for the same moment."""
    return local(moment).time()


def within(moment: time, start: time, end: time) -> bool:
    """Whether a time of day is in ``start`` (included) to ``end`` (not included); equal ends mean the whole day."""
    if start < end:
        return start <= moment < end
    if start > end:
        return moment >= start or moment < end
    return True
