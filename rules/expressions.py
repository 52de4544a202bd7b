"""Reads the part of RE2 that can be reasoned about. What it does not follow it refuses: nothing is claimed then.

Letters are read as blind to case, as ``rules.pattern`` runs them, and texts are folded: capital letters never come.
"""

import re
from dataclasses import dataclass

Ranges = tuple[tuple[int, int], ...]  # code points, both ends included, in order, apart
LAST = 0x10FFFF
START, END = "start", "end"
MAX_REPEAT = 200
_REPEAT = re.compile(r"\{(\d{1,4})(,(\d{0,4}))?\}")
_GROUP = re.compile(r"\((?:\?(?:P?<\w+>|[is]*:))?")
_FLAGS = re.compile(r"\(\?([is]+)\)")
_CONTROLS = {"t": 9, "n": 10, "v": 11, "f": 12, "r": 13, "a": 7}
_DIGITS: Ranges = ((48, 57),)
_WORD: Ranges = ((48, 57), (65, 90), (95, 95), (97, 122))
_SPACE: Ranges = ((9, 10), (12, 13), (32, 32))
_CLASSES = {"d": _DIGITS, "w": _WORD, "s": _SPACE}
ANY: Ranges = ((0, LAST),)


class NotFollowed(Exception):
    """The expression uses something this reader does not follow."""


@dataclass(frozen=True, slots=True)
class Letter:
    """One character out of ``ranges``."""

    ranges: Ranges


@dataclass(frozen=True, slots=True)
class Place:
    """No character, but the start or the end of the text."""

    where: str


@dataclass(frozen=True, slots=True)
class Chain:
    items: tuple["Node", ...]


@dataclass(frozen=True, slots=True)
class Choice:
    items: tuple["Node", ...]


@dataclass(frozen=True, slots=True)
class Repeat:
    """``least`` to ``most`` times; None is without end."""

    item: "Node"
    least: int
    most: int | None


Node = Letter | Place | Chain | Choice | Repeat


def read(expression: str) -> Node:
    """The tree of an expression.

    Raises:
        NotFollowed: it uses boundaries, classes of Unicode, or another thing left to RE2.
    """
    reader = _Reader(expression)
    node = reader.choice(0)
    if reader.position != len(expression):
        raise NotFollowed
    return node


def complement(ranges: Ranges) -> Ranges:
    """Every other character."""
    found: list[tuple[int, int]] = []
    first = 0
    for low, high in ranges:
        if low > first:
            found.append((first, low - 1))
        first = high + 1
    if first <= LAST:
        found.append((first, LAST))
    return tuple(found)


def joined(ranges: list[tuple[int, int]]) -> Ranges:
    """The same characters in order and apart."""
    found: list[tuple[int, int]] = []
    for low, high in sorted(ranges):
        if found and low <= found[-1][1] + 1:
            found[-1] = (found[-1][0], max(found[-1][1], high))
        else:
            found.append((low, high))
    return tuple(found)


class _Reader:
    def __init__(self, expression: str) -> None:
        self.text = expression
        self.position = 0
        self.dot = complement(((10, 10),))

    def peek(self) -> str:
        return self.text[self.position : self.position + 1]

    def choice(self, depth: int) -> Node:
        if depth > 30:
            raise NotFollowed
        branches = [self.chain(depth)]
        while self.peek() == "|":
            self.position += 1
            branches.append(self.chain(depth))
        return branches[0] if len(branches) == 1 else Choice(tuple(branches))

    def chain(self, depth: int) -> Node:
        items: list[Node] = []
        while self.peek() and self.peek() not in "|)":
            flags = _FLAGS.match(self.text, self.position)
            if flags is not None:
                if self.position:
                    raise NotFollowed
                self.position = flags.end()
                if "s" in flags[1]:
                    self.dot = ANY
                continue
            items.append(self.repeated(self.item(depth)))
        return items[0] if len(items) == 1 else Chain(tuple(items))

    def item(self, depth: int) -> Node:
        character = self.peek()
        if character == "(":
            return self.group(depth)
        if character == "[":
            return Letter(self.letters())
        self.position += 1
        if character == "\\":
            return self.escape()
        if character == ".":
            return Letter(self.dot)
        if character in "^$":
            return Place(START if character == "^" else END)
        if character in "*+?":
            raise NotFollowed
        return Letter(_both_cases(((ord(character), ord(character)),)))

    def group(self, depth: int) -> Node:
        opened = _GROUP.match(self.text, self.position)
        if opened is None or self.text[opened.end() : opened.end() + 1] == "?":
            raise NotFollowed
        if opened[0].startswith("(?") and "s" in opened[0].split("<")[0]:
            raise NotFollowed  # a dot that means something else inside
        self.position = opened.end()
        node = self.choice(depth + 1)
        if self.peek() != ")":
            raise NotFollowed
        self.position += 1
        return node

    def escape(self) -> Node:
        following = self.peek()
        self.position += 1
        if following in ("A", "z"):
            return Place(START if following == "A" else END)
        return Letter(_both_cases(self.escaped(following)))

    def escaped(self, following: str) -> Ranges:
        if following in _CLASSES:
            return _CLASSES[following]
        if following and following in "DWS":
            return complement(_CLASSES[following.lower()])
        if following in _CONTROLS:
            return ((_CONTROLS[following], _CONTROLS[following]),)
        if not following or following.isalnum() or not following.isascii():
            raise NotFollowed
        return ((ord(following), ord(following)),)

    def repeated(self, node: Node) -> Node:
        while True:
            found = _REPEAT.match(self.text, self.position)
            if found is not None:
                least = int(found[1])
                most = least if found[2] is None else int(found[3]) if found[3] else None
                if max(least, most or 0) > MAX_REPEAT:
                    raise NotFollowed
                self.position = found.end()
            elif self.peek() and self.peek() in "*+?":
                least = int(self.peek() == "+")
                most = 1 if self.peek() == "?" else None
                self.position += 1
            else:
                return node
            if self.peek() == "?":  # as few as possible: the same texts
                self.position += 1
            node = Repeat(node, least, most)

    def letters(self) -> Ranges:
        """A class in brackets."""
        self.position += 1
        negated = self.peek() == "^"
        self.position += int(negated)
        found: list[tuple[int, int]] = []
        first = self.position
        while self.peek() != "]" or self.position == first:
            if not self.peek() or self.text.startswith("[:", self.position):
                raise NotFollowed
            low = self.one_of_class()
            behind = self.text[self.position + 1 : self.position + 2]
            if self.peek() == "-" and behind not in ("]", ""):
                self.position += 1
                high = self.one_of_class()
                if len(low) != 1 or len(high) != 1 or low[0][0] != low[0][1]:
                    raise NotFollowed
                low = ((low[0][0], high[0][1]),)
            found += low
        self.position += 1
        ranges = _both_cases(joined(found))
        return complement(ranges) if negated else ranges

    def one_of_class(self) -> Ranges:
        character = self.peek()
        self.position += 1
        if character == "\\":
            following = self.peek()
            self.position += 1
            return self.escaped(following)
        return ((ord(character), ord(character)),)


def _both_cases(ranges: Ranges) -> Ranges:
    """With the other case of each letter of ASCII; other alphabets with two cases are not followed."""
    found = list(ranges)
    for low, high in ranges:
        if low < 128:
            for code in range(low, min(high, 127) + 1):
                other = ord(chr(code).swapcase())
                found.append((other, other))
        if high < 128 or (low >= 0x2E80 and high <= 0xD7FF) or high - low > 60_000:
            continue  # one letter of one case, or nearly everything: \D, [^x]
        for code in range(max(low, 128), min(high, 0x1E943) + 1):
            if chr(code).swapcase() != chr(code):
                raise NotFollowed
    return joined(found)
