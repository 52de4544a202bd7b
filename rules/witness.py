"""Makes the push that shows a finding: one that several boxes match, at a moment when all are in force."""

from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, timedelta
from itertools import chain
from typing import Any

from bot.clock import day_of, local, start_of_day
from rules.boxes import Box, Guard, meet
from rules.conditions import follower_field
from rules.conditions.menu_key import MENU_KINDS
from rules.facts import Facts
from rules.languages import common

NOON = 12 * 60
ANY_TIME = datetime(2000, 1, 1, tzinfo=UTC)
AHEAD = 9  # days: every weekday, whole, whatever the hour it begins
_FIRST_KINDS = ("text", "scan", "subscribe", "menu_click", "image")


def witness(boxes: Sequence[Box], now: datetime) -> Facts | None:
    """A push all the boxes match from ``now`` on, or None where none was found."""
    guard: Guard | None = Guard()
    for box in boxes:
        guard = meet(guard, box.guard) if guard is not None else None
    if guard is None:
        return None
    at = moment(guard, now)
    fields = values(guard.fields)
    kind = _kind(boxes)
    keys = {box.key for box in boxes if box.key}
    if at is None or fields is None or kind is None or len(keys) > 1:
        return None
    text = _text([one for box in boxes for one in box.texts])
    scene = _text([one for box in boxes for one in box.scenes])
    if text is None or scene is None:
        return None
    if not text and kind == "text":
        text = "你好"
    key = next(iter(keys), "M_KEY" if kind in MENU_KINDS else "")
    return Facts(
        push_key="example",
        kind=kind,
        at=at,
        text=text if kind in ("text", "voice") else "",
        key=key,
        scene=scene,
        first_message=guard.first,
        tags=guard.has,
        fields=fields,
    )


def moment(guard: Guard, now: datetime) -> datetime | None:
    """The first moment from ``now`` on at which the guard is open, at noon of that day if it can be; None: never."""
    begins = now if guard.begins is None else max(now, guard.begins)
    if guard.ends is not None and guard.ends <= begins:
        return None
    first = day_of(begins)
    ahead = [first + timedelta(days=number) for number in range(AHEAD)]
    for day in sorted({*ahead, *(day for day in guard.dates if day >= first)}):
        if guard.on(day):
            found = _within(guard, day, begins)
            if found is not None:
                return found
    return None


def _within(guard: Guard, day: date, begins: datetime) -> datetime | None:
    midnight = start_of_day(day)
    for minute in chain((NOON,), _open_minutes(guard.minutes)):
        at = midnight + timedelta(minutes=minute)
        if guard.minutes >> minute & 1 and at >= begins and _before(at, guard.ends):
            return at
    # the beginning itself need not be a full minute
    clock = local(begins)
    is_open = guard.minutes >> (clock.hour * 60 + clock.minute) & 1
    return begins if is_open and day_of(begins) == day else None


def _before(moment: datetime, ends: datetime | None) -> bool:
    return ends is None or moment < ends


def _open_minutes(minutes: int) -> Iterable[int]:
    number = 0
    while minutes >> number:
        left = minutes >> number
        number += (left & -left).bit_length() - 1
        yield number
        number += 1


def values(asked: Sequence[Any]) -> dict[str, Any] | None:
    """A value for every field the conditions ask for, or None where none of those they name will do."""
    found: dict[str, Any] = {}
    for params in asked:
        if params.name in found:
            continue
        same = [one for one in asked if one.name == params.name]
        tried = [value for one in same for value in _named(one)]
        fits = next((value for value in tried if _fits(same, params.name, value)), None)
        if fits is None:
            return None
        found[params.name] = fits
    return found


def clash(asked: Sequence[Any]) -> bool:
    """Whether it is proved that no value of a field will do: other plain values, numbers out of order."""
    for number, one in enumerate(asked):
        for other in asked[:number]:
            if one.name == other.name and _apart(one, other):
                return True
    return False


def implied(wide: Any, narrow: Sequence[Any]) -> bool:
    """Whether who fulfils ``narrow`` surely fulfils ``wide``: the same condition, or wider bounds of numbers."""
    return any(wide == one or (wide.name == one.name and _is_wider(wide, one)) for one in narrow)


def _named(params: Any) -> list[Any]:
    if params.is_ is not None:
        return [params.is_]
    if params.in_ is not None:
        return list(params.in_)
    return [value for value in (params.gte, params.lte) if value is not None]


def _fits(asked: Sequence[Any], name: str, value: Any) -> bool:
    facts = Facts("example", "text", ANY_TIME, fields={name: value})
    return all(follower_field.matches(params, facts) is not None for params in asked)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_plain(value: Any) -> bool:
    """A number, or letters that are neither a number nor yes or no: such values equal only themselves."""
    if _is_number(value):
        return True
    if not isinstance(value, str):
        return False
    return value.strip().lower() not in ("true", "false") and not any(
        sign.isnumeric() for sign in value
    )


def _equals(params: Any) -> list[Any] | None:
    return _named(params) if params.is_ is not None or params.in_ is not None else None


def _apart(one: Any, other: Any) -> bool:
    first, second = _equals(one), _equals(other)
    if first is not None and second is not None:
        plain = all(_is_plain(value) for value in (*first, *second))
        return plain and not any(
            follower_field.same(left, right) for left in first for right in second
        )
    if first is None and second is None:
        return _out_of_order(one.gte, other.lte) or _out_of_order(other.gte, one.lte)
    named, bounds = (first, other) if first is not None else (second or [], one)
    return all(
        _out_of_order(bounds.gte, value) or _out_of_order(value, bounds.lte) for value in named
    )


def _out_of_order(low: Any, high: Any) -> bool:
    return _is_number(low) and _is_number(high) and low > high


def _is_wider(wide: Any, narrow: Any) -> bool:
    ours, theirs = _equals(wide), _equals(narrow)
    if ours is not None:
        return theirs is not None and all(
            any(type(value) is type(one) and value == one for one in ours) for value in theirs
        )
    if theirs is not None:
        return all(_is_number(value) and _in_bounds(wide, value) for value in theirs)
    return _no_further(wide.gte, narrow.gte, 1) and _no_further(wide.lte, narrow.lte, -1)


def _in_bounds(bounds: Any, value: Any) -> bool:
    low, high = bounds.gte, bounds.lte
    return (low is None or (_is_number(low) and low <= value)) and (
        high is None or (_is_number(high) and value <= high)
    )


def _no_further(wide: Any, narrow: Any, sign: int) -> bool:
    if wide is None:
        return True
    return _is_number(wide) and _is_number(narrow) and sign * wide <= sign * narrow


def _kind(boxes: Sequence[Box]) -> str | None:
    kinds: frozenset[str] | None = None
    for box in boxes:
        if box.kinds is not None:
            kinds = box.kinds if kinds is None else kinds & box.kinds
    if kinds is None:
        return "text"
    return next((kind for kind in _FIRST_KINDS if kind in kinds), min(kinds, default=None))


def _text(languages: Sequence[Any]) -> str | None:
    """A text all take; empty where nothing is asked, None where none was found."""
    return common(tuple(dict.fromkeys(languages))) if languages else ""
