"""What a push must have for a condition to hold: the one thing the index asks a condition."""

from dataclasses import dataclass

EXACT = "exact"  # the folded text is one of the values
STARTS = "starts"  # the folded text starts with one of the values
CONTAINS = "contains"  # the folded text contains one of the values
REGEX = "regex"  # the folded text may match the expression, and no literal of it is known
KIND = "kind"  # the push is of one of these kinds
KEY = "key"  # the menu key is one of the values
SCENE = "scene"  # the scene is one of the values, which may hold *
TAG = "tag"  # the follower has one of the values
FIELD = "field"  # the follower has one of these fields
FIRST = "first"  # it is the follower's first message; the value is ""

# how much of all traffic a need lets through, from little to much
_ORDER = {
    EXACT: 0,
    KEY: 0,
    SCENE: 1,
    STARTS: 2,
    CONTAINS: 2,
    FIRST: 3,
    TAG: 4,
    REGEX: 5,
    FIELD: 6,
    KIND: 7,
}


@dataclass(frozen=True, slots=True)
class Needs:
    """The condition cannot hold unless one of ``values`` is found ``how``. More may be needed; never less."""

    how: str
    values: tuple[str, ...]

    @property
    def width(self) -> tuple[int, int]:
        """Smaller is more selective; among contained words the longest is."""
        shortest = min(map(len, self.values), default=0)
        if self.how == SCENE:
            shortest = min(len(value.split("*")[0]) for value in self.values)
        return _ORDER[self.how], -shortest
