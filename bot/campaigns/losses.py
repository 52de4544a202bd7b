"""Who loses a push when the month's pushes change: set algebra over who has how many slots left. Pure.

``left`` is five sets, who has 0 to 4 slots left. Pushes take theirs one after the other; a slot that a firm one
wants later is not given to one before it that is not firm. A loss is a person who would have got a push and
now does not, so that nobody is counted for a push they would have missed anyway.
"""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

from pyroaring import BitMap


@dataclass(frozen=True, slots=True)
class Push:
    """One push: a slot of each of ``people``. ``firm``: kept for it; pushes before it leave those slots alone."""

    key: Hashable
    people: BitMap
    firm: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """Who of a push's people gets it, and who does not."""

    got: BitMap
    missed: BitMap


def walk(left: Sequence[BitMap], pushes: Sequence[Push]) -> list[Outcome]:
    """Let pushes take their slots in the order given. Who stands in none of ``left`` gets nothing."""
    levels = [BitMap(people) for people in left]
    present = BitMap.union(BitMap(), *levels)
    found = []
    for push, kept in zip(pushes, _kept_after(pushes, len(levels)), strict=True):
        wanting = push.people & present
        blocked = BitMap(levels[0])
        if not push.firm:
            for number in range(1, len(levels)):
                blocked |= levels[number] & kept[number]
        got = wanting - blocked
        for number in range(1, len(levels)):
            taken = levels[number] & got
            levels[number] -= taken
            levels[number - 1] |= taken
        found.append(Outcome(got, wanting - got))
    return found


def losses(
    left: Sequence[BitMap], before: Sequence[Push], after: Sequence[Push]
) -> Mapping[Hashable, BitMap]:
    """Of each push, by its key: who would get it as things stand, and does not as they would be.

    A push that is only in one of the two loses nobody.
    """
    got = {push.key: told.got for push, told in zip(before, walk(left, before), strict=True)}
    then = {push.key: told.got for push, told in zip(after, walk(left, after), strict=True)}
    return {key: people - then[key] for key, people in got.items() if key in then}


def _kept_after(pushes: Sequence[Push], levels: int) -> list[list[BitMap]]:
    """For each push: ``[n]`` is who is wanted by at least ``n`` firm pushes after it; of 0 nobody is asked."""
    wanted = [BitMap() for _ in range(levels)]
    found = []
    for push in reversed(pushes):
        found.append([BitMap(people) for people in wanted])
        if push.firm:
            for number in range(levels - 1, 1, -1):
                wanted[number] |= wanted[number - 1] & push.people
            if levels > 1:
                wanted[1] |= push.people
    return found[::-1]
