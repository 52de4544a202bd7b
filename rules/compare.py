"""How two boxes lie to each other: on which sides the one takes less than the other. Unproved is taken for less."""

from functools import lru_cache

from rules.boxes import Box, Guard
from rules.languages import Language, holds, really_meet
from rules.witness import implied

# a rule that answers only once, or after a while, leaves the rest to others on purpose; and that the
# words of a voice message may be understood surprises nobody
ONCE = frozenset({"first", "cooldown", "voice"})


def narrower(one: Box, other: Box) -> frozenset[str]:
    """The sides on which ``one`` leaves out something ``other`` takes; empty when it takes all of it."""
    found = set(_guards(one.guard, other.guard))
    if one.kinds is not None:
        missed = frozenset({"any"}) if other.kinds is None else other.kinds - one.kinds
        if missed:
            found.add("voice" if other.texts and missed == {"voice"} else "kinds")
    if one.key and one.key != other.key:
        found.add("key")
    if not _held(one.texts, other.texts):
        found.add("text")
    if not _held(one.scenes, other.scenes):
        found.add("scene")
    return frozenset(found)


def crossing(one: Box, other: Box, less: frozenset[str], more: frozenset[str]) -> bool:
    """Whether two boxes, neither of which holds the other, meet in more than a coincidence.

    Two words that may stand in one sentence, or a follower who happens to have two tags, are none.
    """
    for side, ours, theirs in (
        ("text", one.texts, other.texts),
        ("scene", one.scenes, other.scenes),
    ):
        if (
            side in less
            and side in more
            and not any(really_meet(left, right) for left in ours for right in theirs)
        ):
            return False
    says_nothing = not (
        one.texts or one.key or one.scenes or other.texts or other.key or other.scenes
    )
    who = {"tags", "fields", "unknown"} | ONCE
    return not (says_nothing and (less | more) <= who)


def _held(wide: tuple[Language, ...], narrow: tuple[Language, ...]) -> bool:
    """Whether whatever all of ``narrow`` take, all of ``wide`` take."""
    return all(any(_holds(one, other) for other in narrow) for one in wide)


@lru_cache(maxsize=200_000)
def _holds(wide: Language, narrow: Language) -> bool:
    return holds(wide, narrow)


@lru_cache(maxsize=200_000)
def _guards(one: Guard, other: Guard) -> frozenset[str]:
    found = set()
    if other.minutes & ~one.minutes:
        found.add("hours")
    if other.weekdays & ~one.weekdays or not all(one.on(day) for day in other.dates):
        found.add("days")
    if one.begins is not None and (other.begins is None or other.begins < one.begins):
        found.add("period")
    if one.ends is not None and (other.ends is None or other.ends > one.ends):
        found.add("period")
    if not (one.has <= other.has and one.lacks <= other.lacks):
        found.add("tags")
    if not all(implied(params, other.fields) for params in one.fields):
        found.add("fields")
    if one.first and not other.first:
        found.add("first")
    if one.cooldown:
        found.add("cooldown")
    if not all(part in other.unknown for part in one.unknown):
        found.add("unknown")
    return frozenset(found)
