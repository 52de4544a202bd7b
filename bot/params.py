"""Field types with which members declare their parameters.

One declaration draws the console's form, gives the API its schema and checks the account file.
"""

import re
from datetime import datetime, time
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    StringConstraints,
    ValidationError,
)

from bot.clock import local, parse_moment
from bot.errors import Invalid


class Params(BaseModel):
    """The base of every member's parameters: frozen, no unknown keys, ``from`` writable as ``from_``."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", populate_by_name=True, str_strip_whitespace=False
    )


def _one_as_list(value: Any) -> Any:
    return [value] if isinstance(value, str | int | float) else value


def _unique(values: list[Any]) -> list[Any]:
    return list(dict.fromkeys(values))


def _moment(value: Any) -> Any:
    # YAML turns 2026-11-01 into a date by itself
    if hasattr(value, "isoformat"):
        value = value.isoformat()
    if not isinstance(value, str):
        raise ValueError("must be a time such as 2026-11-25T20:30:00+08:00")
    try:
        return parse_moment(value)
    except ValueError:
        raise ValueError("must be a time such as 2026-11-25T20:30:00+08:00") from None


def _clock_time(value: Any) -> Any:
    if isinstance(value, time):
        return value
    # YAML 1.1 readers turn 20:30 into the number 1230
    found = re.fullmatch(r"([01]?\d|2[0-4]):([0-5]\d)", value) if isinstance(value, str) else None
    if found is None or (found[1] == "24" and found[2] != "00"):
        raise ValueError('must be a time of day in quotes such as "08:00"')
    return time(int(found[1]) % 24, int(found[2]))


def _seconds(value: Any) -> Any:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    found = re.fullmatch(r"(\d{1,6})\s*([smhd])", value) if isinstance(value, str) else None
    if found is None:
        raise ValueError('must be a length of time such as "30s", "10m", "2h" or "1d"')
    return int(found[1]) * {"s": 1, "m": 60, "h": 3600, "d": 86400}[found[2]]


def seconds_of(text: Any) -> int:
    """``"10m"`` as 600: what ``duration_text`` wrote, or a number of seconds as it is."""
    found: int = _seconds(text)
    return found


def duration_text(seconds: int) -> str:
    """``600`` as ``10m``: the largest unit that says it exactly."""
    for size, unit in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds and seconds % size == 0:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


Word = Annotated[str, StringConstraints(min_length=1, max_length=600)]
Words = Annotated[
    list[Word],
    BeforeValidator(_one_as_list),
    AfterValidator(_unique),
    Field(min_length=1, max_length=1000),
]
Name = Annotated[
    str,
    StringConstraints(
        strip_whitespace=True, min_length=1, max_length=60, pattern=r"^[^\x00-\x1f]+$"
    ),
]
TagName = Annotated[Name, Field(json_schema_extra={"names": "tag"})]
TagNames = Annotated[
    list[TagName],
    BeforeValidator(_one_as_list),
    AfterValidator(_unique),
    Field(min_length=1, max_length=50),
]
FieldName = Annotated[Name, Field(json_schema_extra={"names": "field"})]
SegmentName = Annotated[Name, Field(json_schema_extra={"names": "segment"})]
CampaignName = Annotated[Name, Field(json_schema_extra={"names": "campaign"})]
EventName = Annotated[Name, Field(json_schema_extra={"names": "event"})]
# a scene key, or a pattern of them with *; the platform allows 1 to 64 characters
SceneKey = Annotated[
    str,
    StringConstraints(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_\-.:*]+$"),
    Field(json_schema_extra={"names": "scene"}),
]
MenuKey = Annotated[str, StringConstraints(min_length=1, max_length=128)]
FieldValue = str | int | float | bool
Moment = Annotated[
    datetime,
    BeforeValidator(_moment),
    PlainSerializer(lambda moment: local(moment).isoformat(), return_type=str),
]
ClockTime = Annotated[
    time,
    BeforeValidator(_clock_time),
    PlainSerializer(lambda value: f"{value:%H:%M}", return_type=str),
]
Seconds = Annotated[
    int,
    Field(ge=1, le=30 * 86400),  # innermost, so that a JSON schema tells it
    BeforeValidator(_seconds),
    PlainSerializer(duration_text, return_type=str),
]


def check(model: type[BaseModel], value: Any, place: str = "") -> Any:
    """``value`` as ``model``, or the first problem as ``Invalid`` with its dotted place.

    Raises:
        Invalid: it does not parse.
    """
    found = problems(model, value, place)
    if isinstance(found, list):
        raise Invalid(*found[0])
    return found


def problems(model: type[BaseModel], value: Any, place: str = "") -> Any:
    """``value`` as ``model``, or a list of (dotted place, sentence): every problem at once."""
    try:
        return model.model_validate(value)
    except ValidationError as error:
        return [
            (
                ".".join(str(part) for part in ([place] if place else []) + list(item["loc"])),
                item["msg"].removeprefix("Value error, "),
            )
            for item in error.errors(include_url=False, include_input=False)
        ]
