"""YAML to plain data that remembers its lines. Knows nothing of accounts.

Works on the parser's events instead of its objects: events never recurse and never expand anything,
so a hostile file costs no more than its size, and each key keeps the line it stands on. Types are those
of YAML 1.2: ``yes`` and ``20:30`` are texts, dates stay the text they were written as. The parser is
libyaml, some forty times as fast as one in Python, which stands in where a wheel has no libyaml.
"""

import re
from dataclasses import dataclass, field
from typing import Any

import yaml
from yaml.error import MarkedYAMLError, YAMLError
from yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)

MAX_BYTES = 4 * 1024 * 1024  # 10,000 rules take about one
MAX_DEPTH = 40
MAX_PROBLEMS = 200
PARSER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

_INT = re.compile(r"[-+]?[0-9]{1,18}")
_FLOAT = re.compile(r"(?=.*[.eE])[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]{1,3})?")
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]").search  # escapes in double quotes can say them
_NULLS = ("", "~", "null", "Null", "NULL")
_BOOLS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_KNOWN_TAGS = {None, "!", "tag:yaml.org,2002:str", "tag:yaml.org,2002:map", "tag:yaml.org,2002:seq"}


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong, where. ``place`` is a dotted path such as ``rules.3.when.0``, ``line`` counts from 1."""

    line: int
    place: str
    message: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.place + ': ' if self.place else ''}{self.message}"


@dataclass
class Source:
    """The data of a file, and on which line each key and list item stands."""

    data: Any = None
    lines: dict[str, int] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def line(self, place: str) -> int:
        """The line of a dotted place, or of the nearest thing around it that the file has."""
        while place:
            if place in self.lines:
                return self.lines[place]
            place = place.rpartition(".")[0]
        return 1

    def problem(self, place: str, message: str) -> Problem:
        return Problem(self.line(place), place, message)


def is_text(plain: str) -> bool:
    """Whether a value without quotes is a text, not a number, a truth value or nothing."""
    return not (
        plain in _NULLS or plain in _BOOLS or _INT.fullmatch(plain) or _FLOAT.fullmatch(plain)
    )


def read(raw: bytes) -> Source:
    """Parse a file. Whatever is wrong stands in ``problems``; then ``data`` is not to be used."""
    source = Source()
    text = _text_of(raw, source)
    if text is None:
        return source
    builder = _Builder(source)
    try:
        for event in yaml.parse(text, Loader=PARSER):
            builder.take(event)
    except _Stop as stop:
        source.problems.append(stop.problem)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark is not None else 1
        source.problems.append(Problem(line, "", _explain(error, text, line)))
    except YAMLError as error:
        source.problems.append(Problem(1, "", f"not YAML: {str(error).splitlines()[0]}"))
    if not source.problems and not isinstance(source.data, dict):
        source.problems.append(
            Problem(1, "", "the file must be a mapping that starts with version: 1")
        )
    return source


def _text_of(raw: bytes, source: Source) -> str | None:
    if len(raw) > MAX_BYTES:
        size = f"{len(raw) / 1024 / 1024:.1f} MiB"
        source.problems.append(
            Problem(1, "", f"the file has {size}, {MAX_BYTES // 1024 // 1024} MiB are allowed")
        )
        return None
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        source.problems.append(
            Problem(line, "", f"not UTF-8 text (byte {error.start}); save the file as UTF-8")
        )
        return None
    found = re.search(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ufffe\uffff]", text)
    if found:
        line = text.count("\n", 0, found.start()) + 1
        source.problems.append(
            Problem(
                line, "", f"has the control character U+{ord(found[0]):04X}; is it a text file?"
            )
        )
        return None
    return text


def _explain(error: MarkedYAMLError, text: str, line: int) -> str:
    if "alias" in (error.context or ""):
        return "a text that begins with * needs quotes"
    lines = text.splitlines()
    if line <= len(lines) and re.match(r"\s*\t", lines[line - 1]):
        return "indented with a tab; YAML wants spaces"
    return "not YAML: " + " ".join(part for part in (error.context, error.problem) if part)


class _Stop(Exception):
    def __init__(self, problem: Problem) -> None:
        super().__init__(str(problem))
        self.problem = problem


@dataclass(slots=True)
class _Open:
    """A mapping or list being filled. ``key`` is the mapping's key that waits for its value."""

    path: str
    prefix: str  # the path and its dot
    value: dict[str, Any] | list[Any]
    key: str | None = None
    skip: bool = False  # the value of a repeated key


class _Builder:
    """Turns parser events into data without recursion."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.stack: list[_Open] = []
        self.documents = 0

    def take(self, event: Any) -> None:
        line = event.start_mark.line + 1 if event.start_mark is not None else 1
        kind = type(event)
        if kind is ScalarEvent:
            self._scalar(event, line)
        elif kind is MappingStartEvent:
            self._open({}, event, line)
        elif kind is SequenceStartEvent:
            self._open([], event, line)
        elif kind is MappingEndEvent or kind is SequenceEndEvent:
            self.stack.pop()
        elif kind is DocumentStartEvent:
            self.documents += 1
            if self.documents > 1:
                raise _Stop(
                    Problem(line, "", "has a second document (---); one file is one account")
                )
        elif kind is AliasEvent:
            raise _Stop(
                Problem(
                    line,
                    self._here(),
                    "aliases (*name) are not taken; write the value out, or put it in quotes if it is a text",
                )
            )

    def _problem(self, line: int, place: str, message: str) -> None:
        self.source.problems.append(Problem(line, place, message))
        if len(self.source.problems) >= MAX_PROBLEMS:
            raise _Stop(Problem(line, "", "too many problems; the rest of the file was not read"))

    def _here(self) -> str:
        """The dotted place the next value will have."""
        if not self.stack:
            return ""
        top = self.stack[-1]
        if isinstance(top.value, list):
            return f"{top.prefix}{len(top.value)}"
        return f"{top.prefix}{top.key}" if top.key else top.path

    def _open(self, value: dict[str, Any] | list[Any], event: Any, line: int) -> None:
        self._check_tag(event, line)
        top = self.stack[-1] if self.stack else None
        if top is not None and isinstance(top.value, dict) and top.key is None:
            raise _Stop(Problem(line, top.path, "a key must be a plain text"))
        if len(self.stack) >= MAX_DEPTH:
            raise _Stop(Problem(line, "", f"nested deeper than {MAX_DEPTH} levels"))
        path = self._here()
        self._put(value, line)
        self.stack.append(_Open(path, f"{path}." if path else "", value))

    def _scalar(self, event: Any, line: int) -> None:
        self._check_tag(event, line)
        found = _UNSTORABLE(event.value)
        if found:
            self._problem(
                line, self._here(), f"has the character U+{ord(found[0]):04X}, which cannot be kept"
            )
        top = self.stack[-1] if self.stack else None
        if top is not None and isinstance(top.value, dict) and top.key is None:
            self._key(top, event, line)
            return
        text_tag = event.tag == "tag:yaml.org,2002:str"
        plain = event.implicit[0] and not text_tag
        self._put(self._plain(event.value, line) if plain else event.value, line)

    def _key(self, top: _Open, event: Any, line: int) -> None:
        key = str(event.value)
        place = f"{top.prefix}{key}" if key else top.path
        if key == "<<" and event.implicit[0]:
            raise _Stop(Problem(line, place, "merge keys (<<) are not taken; write the value out"))
        assert isinstance(top.value, dict)
        if key in top.value:
            self._problem(
                line,
                place,
                f"the key '{key[:60]}' stands twice, first in line {self.source.lines[place]}",
            )
            top.skip = True
        else:
            self.source.lines[place] = line
        top.key = key

    def _put(self, value: Any, line: int) -> None:
        if not self.stack:
            self.source.data = value
            return
        top = self.stack[-1]
        if isinstance(top.value, list):
            self.source.lines.setdefault(f"{top.prefix}{len(top.value)}", line)
            top.value.append(value)
            return
        assert top.key is not None
        if not top.skip:
            top.value[top.key] = value
        top.key, top.skip = None, False

    def _plain(self, text: str, line: int) -> Any:
        """A value without quotes, by the core schema of YAML 1.2; dates stay text."""
        if is_text(text):
            return text
        if text in _NULLS:
            return None
        if text in _BOOLS:
            return _BOOLS[text]
        if _INT.fullmatch(text):
            return int(text)
        number = float(text)
        if number in (float("inf"), float("-inf")):
            self._problem(line, self._here(), "the number is too large")
            return None
        return number

    def _check_tag(self, event: Any, line: int) -> None:
        tag = event.tag or None
        if tag not in _KNOWN_TAGS:
            self._problem(line, self._here(), f"the YAML tag {tag} is not taken")
