"""Which words must stand in a text for an expression to match: the cheap filter in front of RE2.

Errs on the safe side: what it does not understand needs nothing, and RE2 itself is asked.
"""

import re

_REPEAT = re.compile(r"\{\d*,?\d*\}")
_GROUP = re.compile(r"\((?:\?(?:P?<\w+>|[imsU-]*:))?")
_FLAGS = re.compile(r"\(\?[imsU-]+\)")
_CLASS_ESCAPES = frozenset("dDwWsSbBAz")


class _Unsure(Exception):
    """The expression uses something this reader does not follow."""


def needed_literals(expression: str) -> tuple[str, ...]:
    """Words of which one stands in every folded text the expression matches; () where none is known."""
    try:
        found, end = _alternatives(expression, 0, 0)
    except _Unsure:
        return ()
    return tuple(sorted(found)) if end == len(expression) else ()


def _alternatives(expression: str, position: int, depth: int) -> tuple[frozenset[str], int]:
    """The needed words of ``a|b|c`` up to a closing bracket: one of each branch, or none at all."""
    if depth > 20:
        raise _Unsure
    branches: list[frozenset[str]] = []
    while True:
        best, position = _branch(expression, position, depth)
        branches.append(best)
        if position >= len(expression) or expression[position] == ")":
            break
        position += 1
    if not all(branches):
        return frozenset(), position
    return frozenset().union(*branches), position


def _branch(expression: str, position: int, depth: int) -> tuple[frozenset[str], int]:
    best: frozenset[str] = frozenset()
    run = ""

    def close() -> None:
        nonlocal best, run
        best, run = _better(best, frozenset({run} if run else ())), ""

    while position < len(expression) and expression[position] not in "|)":
        word, found, after = _item(expression, position, depth)
        position, optional, repeated = _quantifier(expression, after)
        if optional:
            close()
            continue
        if word:
            run += word
            if repeated:
                close()
            continue
        close()
        best = _better(best, found)
    close()
    return best, position


def _item(expression: str, position: int, depth: int) -> tuple[str, frozenset[str], int]:
    """One item: (its letter, or the words its group needs, where it ends)."""
    character = expression[position]
    if character == "\\":
        following = expression[position + 1 : position + 2]
        if following in _CLASS_ESCAPES and following:
            return "", frozenset(), position + 2
        if not following or following.isalnum() or not following.isascii():
            raise _Unsure  # \Q..\E, \pN, \x41, octal: longer than two characters
        return following, frozenset(), position + 2
    if character == "[":
        return "", frozenset(), _end_of_class(expression, position)
    if character == "(":
        flags = _FLAGS.match(expression, position)
        if flags is not None and position > 0:
            raise _Unsure  # a repeat behind it would mean what stands before it
        if flags is not None:
            return "", frozenset(), flags.end()
        start = _start_of_group(expression, position)
        found, end = _alternatives(expression, start, depth + 1)
        if end >= len(expression):
            raise _Unsure
        return "", found, end + 1
    if character in ".^$*+?{" or not (" " <= character <= "~" or "\u4e00" <= character <= "\u9fff"):
        return "", frozenset(), position + 1
    return character.lower(), frozenset(), position + 1


def _start_of_group(expression: str, position: int) -> int:
    found = _GROUP.match(expression, position)
    if found is None or expression[found.end() : found.end() + 1] == "?":
        raise _Unsure
    return found.end()


def _end_of_class(expression: str, position: int) -> int:
    position += 1
    if expression[position : position + 1] == "^":
        position += 1
    first = position
    while position < len(expression):
        character = expression[position]
        if character == "\\":
            position += 2
            continue
        if character == "[" and expression[position : position + 2] == "[:":
            raise _Unsure
        if character == "]" and position > first:
            return position + 1
        position += 1
    raise _Unsure


def _quantifier(expression: str, position: int) -> tuple[int, bool, bool]:
    """(where it ends, may the item be missing, may it stand more than once)."""
    optional = repeated = False
    while position < len(expression):
        found = _REPEAT.match(expression, position)
        if found is not None:
            optional, position = True, found.end()
        elif expression[position] in "*?":
            optional, position = True, position + 1
        elif expression[position] == "+":
            repeated, position = True, position + 1
        else:
            break
    return position, optional, repeated


def _better(one: frozenset[str], other: frozenset[str]) -> frozenset[str]:
    """Of two sets of needed words the one that lets less through: its shortest word is longer."""
    return max(one, other, key=lambda words: (min(map(len, words), default=0), -len(words)))
