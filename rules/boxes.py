"""A rule as the pushes it can match: one box for each word or key it names, all with one guard.

A condition nobody here knows stands in the box as it is: a box holds another only if it has the same one.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, time
from itertools import product
from typing import Any

from bot.params import Params
from rules.conditions.days import WEEKDAYS
from rules.conditions.menu_key import MENU_KINDS
from rules.conditions.scan_scene import NAME as SCAN_SCENE
from rules.languages import Expression, Language, Words, apart, contains, is_word, starts
from rules.rule import Part, Rule

DAY = (1 << 1440) - 1  # a bit a minute of the Shanghai day
WEEK = (1 << 7) - 1  # a bit a weekday, Monday first
WRITTEN = frozenset({"text", "voice"})  # the kinds of push that carry words
ARRIVALS = frozenset({"scan", "subscribe"})
MOST_BOXES = 1_000  # of one rule; beyond it the further text conditions are kept whole


@dataclass(frozen=True, slots=True)
class Guard:
    """Everything a rule asks beside what the push says."""

    minutes: int = DAY
    weekdays: int = WEEK
    dates: frozenset[date] = frozenset()  # beside the weekdays
    begins: datetime | None = None
    ends: datetime | None = None
    has: frozenset[str] = frozenset()
    lacks: frozenset[str] = frozenset()
    fields: tuple[Params, ...] = field(default=(), hash=False)  # parameters may hold lists
    first: bool = False
    cooldown: bool = False
    unknown: tuple[Part, ...] = field(default=(), hash=False)

    def on(self, day: date) -> bool:
        """Whether the guard is open at some time of this day of the Shanghai calendar."""
        return bool(self.weekdays >> day.weekday() & 1) or day in self.dates


@dataclass(frozen=True, slots=True)
class Box:
    """``rule`` is a position; ``shown`` the word, key or scene the box stands for, if any."""

    rule: int
    shown: str
    guard: Guard
    texts: tuple[Language, ...] = ()
    kinds: frozenset[str] | None = None
    key: str = ""
    scenes: tuple[Words, ...] = ()


@dataclass(slots=True)
class _Draft:
    """A rule while its conditions are read; ``texts`` and ``scenes`` have an entry a condition."""

    guard: Guard = Guard()
    texts: list[list[tuple[str, Language]]] = field(default_factory=list)
    ways: int = 1
    kinds: frozenset[str] | None = None
    keys: frozenset[str] | None = None
    order: tuple[str, ...] = ()
    scenes: list[tuple[str, Words]] = field(default_factory=list)

    def only(self, kinds: frozenset[str]) -> None:
        self.kinds = kinds if self.kinds is None else self.kinds & kinds


def boxes_of(rule: Rule, position: int) -> list[Box]:
    """The boxes of a rule; none when its conditions contradict each other."""
    draft = _Draft()
    for part in rule.when:
        read = _READ.get(part.name)
        if read is None or not _has_room(draft, part):
            draft.guard = replace(draft.guard, unknown=(*draft.guard.unknown, part))
        else:
            read(draft, part.params)
    if rule.active is not None:
        _active(draft, rule)
    if draft.texts:
        draft.only(WRITTEN)
    if _is_empty(draft):
        return []
    return _boxes(draft, position)


def _has_room(draft: _Draft, part: Part) -> bool:
    """Whether one more condition on the text can be taken apart word by word."""
    if part.name in ("text_is", "text_contains", "text_starts"):
        draft.ways *= len(getattr(part.params, "folded", ()))
        return draft.ways <= MOST_BOXES or not draft.texts
    return True


def meet(one: Guard, other: Guard) -> Guard | None:
    """What both guards ask together; None where they cannot both be open."""
    both = Guard(
        minutes=one.minutes & other.minutes,
        weekdays=one.weekdays & other.weekdays,
        dates=frozenset(day for day in one.dates | other.dates if one.on(day) and other.on(day)),
        begins=_later(one.begins, other.begins),
        ends=_earlier(one.ends, other.ends),
        has=one.has | other.has,
        lacks=one.lacks | other.lacks,
        fields=(*one.fields, *other.fields),
        first=one.first or other.first,
        cooldown=one.cooldown or other.cooldown,
        unknown=(*one.unknown, *other.unknown),
    )
    return None if _is_closed(both) else both


def _is_closed(guard: Guard) -> bool:
    if not guard.minutes or not (guard.weekdays or guard.dates) or guard.has & guard.lacks:
        return True
    return guard.begins is not None and guard.ends is not None and guard.begins >= guard.ends


def _is_empty(draft: _Draft) -> bool:
    return (
        _is_closed(draft.guard)
        or (draft.kinds is not None and not draft.kinds)
        or (draft.keys is not None and not draft.keys)
    )


def _boxes(draft: _Draft, position: int) -> list[Box]:
    box = Box(position, "", draft.guard, kinds=draft.kinds)
    if draft.scenes:
        scenes = tuple(scene for _, scene in draft.scenes)
        box = replace(box, shown=draft.scenes[0][0], scenes=scenes)
        if len(scenes) > 1 and apart(scenes):
            return []
    if draft.texts:
        return [replace(box, shown=shown, texts=texts) for shown, texts in _texts(draft.texts)]
    if draft.keys is not None:
        return [replace(box, shown=key, key=key) for key in draft.order if key in draft.keys]
    return [box]


def _texts(asked: Sequence[list[tuple[str, Language]]]) -> list[tuple[str, tuple[Language, ...]]]:
    """Each way to fulfil one word of every condition; ways that no text can go are left out."""
    if len(asked) == 1:
        return [(shown, (language,)) for shown, language in asked[0]]
    exact = next((words for words in asked if all(language.exact for _, language in words)), None)
    if exact is not None:
        return [
            (shown, (language,))
            for shown, language in exact
            if all(any(not apart((language, one)) for _, one in words) for words in asked)
        ]
    found = []
    for way in product(*asked):
        texts = tuple(dict.fromkeys(language for _, language in way))
        if not apart(texts):
            found.append((" + ".join(shown for shown, _ in way), texts))
    return found


def _active(draft: _Draft, rule: Rule) -> None:
    active = rule.active
    assert active is not None
    guard = replace(
        draft.guard,
        begins=_later(draft.guard.begins, active.from_),
        ends=_earlier(draft.guard.ends, active.until),
    )
    if active.hours is not None:
        guard = replace(guard, minutes=guard.minutes & _minutes(*active.hours))
    draft.guard = guard


def _minutes(first: time, last: time) -> int:
    begin, end = first.hour * 60 + first.minute, last.hour * 60 + last.minute
    if begin == end:
        return DAY
    if begin < end:
        return (1 << end) - (1 << begin)
    return DAY & ~((1 << begin) - (1 << end))


def _later(one: datetime | None, other: datetime | None) -> datetime | None:
    return max((moment for moment in (one, other) if moment is not None), default=None)


def _earlier(one: datetime | None, other: datetime | None) -> datetime | None:
    return min((moment for moment in (one, other) if moment is not None), default=None)


def _text_is(draft: _Draft, params: Any) -> None:
    draft.texts.append([(word, is_word(word)) for word in params.folded])


def _text_contains(draft: _Draft, params: Any) -> None:
    draft.texts.append([(word, contains(word)) for word in params.folded])


def _text_starts(draft: _Draft, params: Any) -> None:
    draft.texts.append([(word, starts(word)) for word in params.folded])


def _text_pattern(draft: _Draft, params: Any) -> None:
    draft.texts.append([(params.pattern, Words(params.glob))])


def _text_regex(draft: _Draft, params: Any) -> None:
    draft.texts.append([(params.pattern, Expression(params.pattern))])


def _message_kind(draft: _Draft, params: Any) -> None:
    draft.only(frozenset(params.any))


def _menu_key(draft: _Draft, params: Any) -> None:
    draft.only(MENU_KINDS)
    keys = frozenset(params.any)
    draft.keys = keys if draft.keys is None else draft.keys & keys
    draft.order = tuple(params.any)


def _scan_scene(draft: _Draft, params: Any) -> None:
    draft.only(ARRIVALS)
    draft.scenes.append((params.scene, Words(params.glob)))


def _subscribed_from(draft: _Draft, params: Any) -> None:
    draft.only(frozenset({"subscribe"}))
    if params.scene:
        draft.scenes.append((params.scene, Words(params.glob)))


def _time_of_day(draft: _Draft, params: Any) -> None:
    minutes = draft.guard.minutes & _minutes(params.from_, params.until)
    draft.guard = replace(draft.guard, minutes=minutes)


def _days(draft: _Draft, params: Any) -> None:
    known = params.known
    asked = Guard(
        weekdays=sum(1 << number for number, name in enumerate(WEEKDAYS) if name in known),
        dates=frozenset(date.fromisoformat(day) for day in known if day not in WEEKDAYS),
    )
    guard = draft.guard
    draft.guard = replace(
        guard,
        weekdays=guard.weekdays & asked.weekdays,
        dates=frozenset(
            day for day in guard.dates | asked.dates if guard.on(day) and asked.on(day)
        ),
    )


def _follower_tag(draft: _Draft, params: Any) -> None:
    guard = draft.guard
    if params.has is not None:
        draft.guard = replace(guard, has=guard.has | {params.has})
    else:
        draft.guard = replace(guard, lacks=guard.lacks | {params.lacks})


def _follower_field(draft: _Draft, params: Any) -> None:
    draft.guard = replace(draft.guard, fields=(*draft.guard.fields, params))


def _first_message(draft: _Draft, params: Any) -> None:
    draft.guard = replace(draft.guard, first=True)


def _cooldown(draft: _Draft, params: Any) -> None:
    draft.guard = replace(draft.guard, cooldown=True)


_READ: dict[str, Callable[[_Draft, Any], None]] = {
    "text_is": _text_is,
    "text_contains": _text_contains,
    "text_starts": _text_starts,
    "text_pattern": _text_pattern,
    "text_regex": _text_regex,
    "message_kind": _message_kind,
    "menu_key": _menu_key,
    SCAN_SCENE: _scan_scene,
    "subscribed_from": _subscribed_from,
    "time_of_day": _time_of_day,
    "days": _days,
    "follower_tag": _follower_tag,
    "follower_field": _follower_field,
    "first_message": _first_message,
    "cooldown": _cooldown,
}
