"""What is different between two rulebooks, as plain JSON bodies. Nothing is checked: any two bodies compare."""

import json
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

ADDED, REMOVED, CHANGED, MOVED, FALLBACK = "added", "removed", "changed", "moved", "fallback"
Body = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Difference:
    """One value that is not the same: its dotted place in the rule, and both values; None where there is none."""

    place: str
    before: Any
    after: Any


@dataclass(frozen=True, slots=True)
class Change:
    """One rule that is not the same. ``was`` is its old name where that changed; ``moved`` says it also moved.

    ``kind`` is added, removed, changed, moved (nothing else changed) or fallback.
    """

    kind: str
    name: str
    was: str = ""
    moved: bool = False
    differences: tuple[Difference, ...] = ()


def diff(old: Body, new: Body, renamed: Mapping[str, str] | None = None) -> list[Change]:
    """Changes from ``old`` to ``new`` in the order of the new rules, then what was removed, then the fallback.

    ``renamed`` maps a new name to the old one. A rule moved if others that stay were overtaken; as few as
    possible are said to have.
    """
    before = {str(rule.get("name", "")): rule for rule in old.get("rules") or ()}
    after = {str(rule.get("name", "")): rule for rule in new.get("rules") or ()}
    known = renamed or {}
    taken = {was for name, was in known.items() if name in after and name != was}
    origin = {name: _origin(name, before, known, taken) for name in after}
    kept = [name for name in after if origin[name] is not None]
    moved = _moved(list(before), [str(origin[name]) for name in kept])
    found = []
    for name, rule in after.items():
        was = origin[name]
        if was is None:
            found.append(Change(ADDED, name, differences=tuple(_differences({}, rule))))
            continue
        differences = tuple(_differences(before[was], rule))
        if differences or was in moved:
            kind = CHANGED if differences else MOVED
            found.append(Change(kind, name, was if was != name else "", was in moved, differences))
    gone = before.keys() - {origin[name] for name in kept}
    for name, rule in before.items():
        if name in gone:
            found.append(Change(REMOVED, name, differences=tuple(_differences(rule, {}))))
    fallback = tuple(_differences(old.get("fallback") or {}, new.get("fallback") or {}))
    if fallback:
        found.append(Change(FALLBACK, "", differences=fallback))
    return found


def _origin(name: str, before: Body, renamed: Mapping[str, str], taken: Set[str]) -> str | None:
    """The old name of a rule, None for a new one. A name that another rule gave up is not its own."""
    was = renamed.get(name)
    if was is not None and was in before:
        return was
    return name if name in before and name not in taken else None


def _moved(before: Sequence[str], after: Sequence[str]) -> frozenset[str]:
    """Those of ``after`` outside the longest run that kept its order. n log n."""
    places = {name: place for place, name in enumerate(before)}
    ends: list[int] = []  # places at which the best run of each length ends
    at: list[int] = []  # indexes into ``after`` of those ends
    previous: list[int] = []
    for index, name in enumerate(after):
        length = bisect_left(ends, places[name])
        previous.append(at[length - 1] if length else -1)
        ends[length : length + 1] = [places[name]]
        at[length : length + 1] = [index]
    kept = set()
    index = at[-1] if at else -1
    while index >= 0:
        kept.add(after[index])
        index = previous[index]
    return frozenset(after) - kept


def _differences(before: Any, after: Any, place: str = "") -> Iterator[Difference]:
    if _same(before, after):
        return
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for key in [*after, *(key for key in before if key not in after)]:
            here = f"{place}.{key}" if place else str(key)
            yield from _differences(before.get(key), after.get(key), here)
        return
    if _is_list_of_parts(before) and _is_list_of_parts(after):
        for number in range(max(len(before or ()), len(after or ()))):
            one, other = (list(parts or ())[number : number + 1] for parts in (before, after))
            same = bool(one) and bool(other) and one[0].keys() == other[0].keys()
            if same:
                yield from _differences(one[0], other[0], f"{place}.{number}")
            else:
                yield from _whole(one, other, f"{place}.{number}")
        return
    yield Difference(place, before, after)


def _whole(before: Sequence[Any], after: Sequence[Any], place: str) -> Iterator[Difference]:
    first, second = (parts[0] if parts else None for parts in (before, after))
    if not _same(first, second):
        yield Difference(place, first, second)


def _same(one: Any, other: Any) -> bool:
    """Equal, and of the same kinds: 1 and true are equal to Python, not to a reader."""
    if one != other:
        return False
    return str(one) == str(other) or json.dumps(one, sort_keys=True) == json.dumps(
        other, sort_keys=True
    )


def _is_list_of_parts(value: Any) -> bool:
    if value is None:
        return True
    return isinstance(value, list | tuple) and all(isinstance(one, Mapping) for one in value)
