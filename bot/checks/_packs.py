"""Packs of words: TOML files in ``packs/``, found in a text in one pass (Aho and Corasick), each with its place.

A pack has ``source`` and a list of ``rules``, each with ``severity``, ``words``, ``except``, ``why``, ``suggestion``.
A ``*`` in a word stands for up to ``gap`` letters of the same sentence. What stands under ``except`` is no
finding where it covers the word: 最近 where 最 is looked for.
"""

import tomllib
from bisect import bisect_left
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import ahocorasick_rs

from bot.checks import ERROR, WARNING, Finding
from bot.checks._texts import Text, texts
from rules.text import fold_words

FOLDER = Path(__file__).parent / "packs"
GAP = 12
_SENTENCE_ENDS = "。！？；!?;\n"

Spans = list[tuple[int, int]]


@dataclass(frozen=True, slots=True)
class _Rule:
    severity: str
    why: str
    suggestion: str
    why_en: str
    suggestion_en: str
    words: tuple[tuple[int, ...], ...]  # each word as the numbers of its parts
    exceptions: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class _Pack:
    source: str
    gap: int
    rules: tuple[_Rule, ...]
    parts: tuple[str, ...]
    automaton: Any


def found(check: str, content: Mapping[str, Any], place: str) -> list[Finding]:
    """The findings of the pack that is named like its check."""
    return [one for text in texts(content, place) for one in _in_text(check, text)]


def words(check: str) -> list[tuple[str, str]]:
    """(severity, word) of a pack as written, for pages and tests."""
    return [(rule["severity"], word) for rule in _written(check)["rules"] for word in rule["words"]]


@cache
def _written(check: str) -> dict[str, Any]:
    return tomllib.loads((FOLDER / f"{check}.toml").read_text(encoding="utf-8"))


@cache
def _pack(check: str) -> _Pack:
    written = _written(check)
    numbers: dict[str, int] = {}

    def number(part: str) -> int:
        return numbers.setdefault(_key(part), len(numbers))

    rules = tuple(
        _Rule(
            rule["severity"],
            rule["why"],
            rule["suggestion"],
            rule["why_en"],
            rule["suggestion_en"],
            tuple(tuple(number(part) for part in word.split("*")) for word in rule["words"]),
            tuple(number(word) for word in rule.get("except", [])),
        )
        for rule in written["rules"]
    )
    parts = tuple(numbers)
    return _Pack(
        written["source"],
        written.get("gap", GAP),
        rules,
        parts,
        ahocorasick_rs.AhoCorasick(parts, store_patterns=False),
    )


def _key(part: str) -> str:
    """As texts are folded: letter by letter, without spaces."""
    return "".join(fold_words(letter) for letter in part if not letter.isspace())


def _in_text(check: str, text: Text) -> Iterator[Finding]:
    pack = _pack(check)
    places: dict[int, Spans] = {}
    for part, start, end in pack.automaton.find_matches_as_indexes(text.letters, overlapping=True):
        places.setdefault(part, []).append((start, end))
    if not places:
        return
    hits: list[tuple[int, int, _Rule]] = []
    for rule in pack.rules:
        spared = [span for part in rule.exceptions for span in places.get(part, ())]
        for word in rule.words:
            if word[0] not in places:
                continue
            for start, end in _chains(word, places, text.letters, pack.gap):
                # 无需转发 spares 转发*领 wherever the reward stands
                if not any(a <= start < b and (end <= b or len(word) > 1) for a, b in spared):
                    hits.append((start, end, rule))
    for start, end, rule in _outermost(hits):
        first, last = text.span(start, end)
        yield Finding(
            check,
            rule.severity,
            text.place,
            text.written[first:last],
            rule.why,
            rule.suggestion,
            first,
            last,
            pack.source,
            rule.why_en,
            rule.suggestion_en,
        )


def _chains(
    word: tuple[int, ...], places: Mapping[int, Spans], letters: str, gap: int
) -> Iterator[tuple[int, int]]:
    """Where the parts of a word stand one after the other, each with the nearest next."""
    for start, first_end in places[word[0]]:
        end = first_end
        for part in word[1:]:
            following = places.get(part, [])
            at = bisect_left(following, (end, 0))
            if at == len(following) or following[at][0] - end > gap:
                break
            between = letters[end : following[at][0]]
            if any(mark in between for mark in _SENTENCE_ENDS):
                break
            end = following[at][1]
        else:
            yield start, end


def _outermost(hits: list[tuple[int, int, _Rule]]) -> Iterator[tuple[int, int, _Rule]]:
    """One hit per place: errors before warnings; of those that overlap the longest speaks for all they cover."""
    told: list[tuple[int, int, _Rule]] = []
    for severity in (ERROR, WARNING):
        mine = sorted(
            (hit for hit in hits if hit[2].severity == severity),
            key=lambda hit: (hit[0], -hit[1]),
        )
        joined: list[tuple[int, int, int, _Rule]] = []  # start, end, longest, its rule
        for start, end, rule in mine:
            if joined and start < joined[-1][1]:
                first, last, longest, speaks = joined[-1]
                if end - start > longest:
                    longest, speaks = end - start, rule
                joined[-1] = first, max(last, end), longest, speaks
            else:
                joined.append((start, end, end - start, rule))
        errors = list(told)
        told += [
            (start, end, rule)
            for start, end, _, rule in joined
            if not any(start < b and a < end for a, b, _ in errors)
        ]
    yield from sorted(told, key=lambda hit: hit[:2])
