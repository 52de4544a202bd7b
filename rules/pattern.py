"""Wildcards with captures, and regular expressions that run in linear time (RE2), both on folded text."""

import re
from dataclasses import dataclass
from functools import cache
from typing import Any

import re2

from rules.text import cut, fold, fold_words

MAX_LENGTH = 200  # characters of one pattern or expression
MAX_EXPRESSIONS = 1000  # regular expressions in one rulebook
_STAR = re.compile(r"(?<!\\)\*")
_PROGRAM_BYTES = 1 << 20  # of one compiled expression: 200 characters can ask for much more
_ASK_FOR = {
    "(?=": "look-ahead (?=",
    "(?!": "look-ahead (?!",
    "(?<=": "look-behind (?<=",
    "(?<!": "look-behind (?<!",
}


@dataclass(frozen=True, slots=True)
class Glob:
    """A folded wildcard pattern, cut at its stars."""

    parts: tuple[str, ...]

    def spans(self, text: str) -> list[tuple[int, int]] | None:
        """What each ``*`` stands for in ``text``, shortest first; None where the whole does not match."""
        first, last = self.parts[0], self.parts[-1]
        if len(self.parts) == 1:
            return [] if text == first else None
        if not text.startswith(first) or not text.endswith(last):
            return None
        position, end = len(first), len(text) - len(last)
        if position > end:
            return None
        found: list[tuple[int, int]] = []
        for part in self.parts[1:-1]:
            start = text.find(part, position, end)
            if start < 0:
                return None
            found.append((position, start))
            position = start + len(part)
        return [*found, (position, end)]

    def captures(self, text: str) -> dict[str, str] | None:
        """Captures ``1``, ``2`` … of a text that is compared as it is, or None."""
        spans = self.spans(text)
        if spans is None:
            return None
        return {str(number): text[start:end] for number, (start, end) in enumerate(spans, 1)}


def glob(pattern: str, folded: bool = True) -> Glob:
    r"""A wildcard pattern: ``*`` is any run of characters, also none; ``\*`` is a star."""
    key = fold_words(pattern) if folded else pattern
    return Glob(tuple(part.replace("\\*", "*") for part in _STAR.split(key)))


def captures_of(pattern: Glob, text: str) -> dict[str, str] | None:
    """Captures ``1``, ``2`` … in the follower's own writing, or None where the text does not match."""
    key = fold(text)
    spans = pattern.spans(key)
    if spans is None:
        return None
    return {str(number): cut(text, key, *span) for number, span in enumerate(spans, 1)}


def options(max_mem: int = _PROGRAM_BYTES) -> Any:
    """RE2 as we use it: silent, blind to case, never more than ``max_mem`` bytes."""
    found = re2.Options()
    found.log_errors = False
    found.case_sensitive = False
    found.max_mem = max_mem
    return found


def compile_regex(expression: str) -> Any:
    """The expression as RE2 runs it on folded text.

    Raises:
        ValueError: with a sentence that tells the operator what RE2 does not take.
    """
    try:
        return re2.compile(folded_expression(expression), options())
    except re2.error as error:
        raise ValueError(_refusal(error)) from None


def _refusal(error: Exception) -> str:
    reason = error.args[0] if error.args else ""
    text = reason.decode(errors="replace") if isinstance(reason, bytes) else str(reason)
    for sign, name in _ASK_FOR.items():
        if text.endswith(sign):
            return f"{name} is not supported: expressions are RE2, which takes the same time for every text"
    if re.search(r"invalid escape sequence: \\[1-9]", text):
        return (
            "back-references such as \\1 are not supported: expressions are RE2, "
            "which takes the same time for every text"
        )
    if "too large" in text:
        return "the expression is too large: use smaller repeats"
    return f"is not a regular expression RE2 takes: {text}"


def regex_captures(compiled: Any, text: str) -> dict[str, str] | None:
    """Numbered and named groups of the first match anywhere in the folded text, or None."""
    key = fold(text)
    found = compiled.search(key)
    if found is None:
        return None
    captures: dict[str, str] = {}
    for number in range(1, compiled.groups + 1):
        start, end = found.span(number)
        captures[str(number)] = cut(text, key, start, end) if start >= 0 else ""
    for name, number in compiled.groupindex.items():
        captures[name] = captures[str(number)]
    return captures


@cache
def _regex_character(character: str) -> str:
    return "".join(re.escape(one) if one.isascii() else one for one in fold_words(character))


def folded_expression(expression: str) -> str:
    """The expression with every character outside ASCII folded; what is ASCII keeps its meaning.

    A full-width （ is text and not a group, so it becomes an escaped (.
    """
    if expression.isascii():
        return expression
    found: list[str] = []
    in_class = False
    position = 0
    while position < len(expression):
        character = expression[position]
        if character == "\\":
            found.append(expression[position : position + 2])
            position += 2
            continue
        if character == "[" and not in_class:
            in_class = True
        elif character == "]" and in_class and expression[position - 1] != "[":
            in_class = False
        if character.isascii():
            found.append(character)
        elif in_class:
            found.append(_in_class(expression, position))
        else:
            key = _regex_character(character)
            found.append(key if len(fold_words(character)) == 1 else f"(?:{key})")
        position += 1
    return "".join(found)


def _in_class(expression: str, position: int) -> str:
    # the ends of a range stay: folding one could turn the range around
    if "-" in (expression[position - 1], expression[position + 1 : position + 2]):
        return expression[position]
    return _regex_character(expression[position])
