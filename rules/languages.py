"""Which texts a text condition takes, and how two such sets of texts lie to each other. Nothing unproved is claimed."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from typing import Any

from rules.automata import Automaton, TooLarge, every, find, of_glob, of_search
from rules.expressions import NotFollowed, read
from rules.needs import CONTAINS, EXACT, REGEX, STARTS, Needs
from rules.pattern import Glob, compile_regex, folded_expression
from rules.text import fold_words

FRESH = "\ue0ff"  # a letter no rule names: what a star stands for when anything may stand there
FILLERS = ("", "好", "1", "x")


@dataclass(frozen=True, slots=True)
class Words:
    """Texts that fit a folded wildcard; words that are equal to, start or stand in a text are such."""

    glob: Glob

    @property
    def exact(self) -> bool:
        return len(self.glob.parts) == 1

    def takes(self, text: str) -> bool:
        return bool(text) and self.glob.spans(text) is not None


@dataclass(frozen=True, slots=True)
class Expression:
    """Texts in which an expression is found."""

    pattern: str

    @property
    def exact(self) -> bool:
        return False

    def takes(self, text: str) -> bool:
        return bool(text) and _compiled(self.pattern).search(text) is not None


Language = Words | Expression


def is_word(word: str) -> Words:
    return Words(Glob((word,)))


def starts(word: str) -> Words:
    return Words(Glob((word, "")))


def contains(word: str) -> Words:
    return Words(Glob(("", word, "")))


def needs(language: Language) -> Needs | None:
    """What the index must know of it."""
    if isinstance(language, Expression):
        return Needs(REGEX, (folded_expression(language.pattern),))
    parts = language.glob.parts
    if len(parts) == 1:
        return Needs(EXACT, parts)
    longest = max(parts, key=len)
    if not longest:
        return None
    return Needs(STARTS if longest is parts[0] else CONTAINS, (longest,))


def holds(wide: Language, narrow: Language) -> bool:
    """Whether every text of ``narrow`` is one of ``wide``; False where that is not proved."""
    if wide == narrow:
        return True
    if isinstance(narrow, Words):
        if narrow.exact:
            return wide.takes(narrow.glob.parts[0])
        filled = FRESH.join(narrow.glob.parts)
        if isinstance(wide, Words):
            # a star of ours may stand where one of theirs does, and nothing else may
            return wide.takes(filled)
        if not wide.takes(filled):
            return False
    text = shortest(narrow)
    if text is not None and not wide.takes(text):
        return False
    return _proved(wide, narrow)


def common(languages: Sequence[Language]) -> str | None:
    """A text that all of them take, or None where none was found."""
    for one in languages:
        if isinstance(one, Words):
            for filler in FILLERS:
                text = filler.join(one.glob.parts)
                if _is_folded(text) and all(other.takes(text) for other in languages):
                    return text
    found = _automata(languages)
    if found is None:
        return None
    try:
        return next(
            (
                text
                for text in islice(every(found, all), 20)
                if all(other.takes(text) for other in languages)
            ),
            None,
        )
    except TooLarge:
        return None


def apart(languages: Sequence[Language]) -> bool:
    """Whether it is proved that no text is taken by all of them."""
    exact = next((one for one in languages if one.exact), None)
    if isinstance(exact, Words):
        return not all(one.takes(exact.glob.parts[0]) for one in languages)
    found = _automata(languages)
    if found is None:
        return False
    try:
        return find(found, all) is None
    except TooLarge:
        return False


def really_meet(one: Language, other: Language) -> bool:
    """Whether they meet in more than a text that says both things one after the other, as 券 and 奶茶 in a sentence."""
    left, right = _open_ends(one), _open_ends(other)
    if (left[0] and right[1]) or (left[1] and right[0]):
        return False
    text, first, second = common((one, other)), shortest(one), shortest(other)
    if text is None or first is None or second is None:
        return False
    return len(text) < len(first) + len(second)


@lru_cache(maxsize=20_000)
def shortest(language: Language) -> str | None:
    """A shortest text it takes."""
    return common((language,))


def samples(language: Language, count: int) -> Iterator[str]:
    """Some texts it takes, as different as its automaton's states."""
    found = _automata((language,))
    if found is None:
        return
    try:
        for text in islice(every(found, all), count):
            if language.takes(text):
                yield text
    except TooLarge:
        return


def _open_ends(language: Language) -> tuple[bool, bool]:
    """Whether anything may stand before what it takes, and behind."""
    if isinstance(language, Words):
        parts = language.glob.parts
        return (len(parts) > 1 and not parts[0], len(parts) > 1 and not parts[-1])
    pattern = language.pattern
    return "^" not in pattern and "\\A" not in pattern, "$" not in pattern and "\\z" not in pattern


def _proved(wide: Language, narrow: Language) -> bool:
    found = _automata((wide, narrow))
    if found is None:
        return False
    try:
        return find(found, _only_second) is None
    except TooLarge:
        return False


def _only_second(takes: tuple[bool, ...]) -> bool:
    return takes[1] and not takes[0]


def _is_folded(text: str) -> bool:
    return bool(text) and fold_words(text) == text


def _automata(languages: Sequence[Language]) -> list[Automaton] | None:
    found = [_automaton(one) for one in languages]
    made = [one for one in found if one is not None]
    return made if len(made) == len(found) else None


@lru_cache(maxsize=20_000)
def _automaton(language: Language) -> Automaton | None:
    """None where the expression is not followed."""
    try:
        if isinstance(language, Words):
            return of_glob(language.glob.parts)
        return of_search(read(folded_expression(language.pattern)))
    except NotFollowed:
        return None


@lru_cache(maxsize=2_000)
def _compiled(pattern: str) -> Any:
    return compile_regex(pattern)
