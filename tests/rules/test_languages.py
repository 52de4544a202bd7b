"""What is claimed about texts: automata take what RE2 takes, and a set said to hold another one does."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rules.automata import Automaton, every, of_glob, of_search
from rules.expressions import LAST, NotFollowed, complement, joined, read
from rules.languages import (
    Expression,
    Language,
    Words,
    apart,
    common,
    contains,
    holds,
    is_word,
    really_meet,
    samples,
    shortest,
    starts,
)
from rules.pattern import glob

PATTERNS = [
    r"^a+b*$", r"a(b|1)*好", r"[^a]b", r"a.b", r"(ab|ba){2}", r"^(a|^b)1?$", r"\d\D", r"好?$", r"(a$|b)1",
    r"\s好|\w{3}",
    r"^[^\d]*$", r"a{2,}b{0,1}", r"(|a)b", r"(a*)*b", r"(a+|b?)+1$", r"(?i)A[B-Z]", r"(?:券|好)+?", r"\Aa\z",
    r"[a\]b-]1",
    r"(?s)a.b", r"x{0}a", r"(?P<n>\d+)号", r"\.", r"a\|b", r"^$|b",
]  # fmt: skip
TEXTS = st.text("abAB1好券 .]-|\n", min_size=1, max_size=6).map(str.strip).filter(bool)
LANGUAGES: list[Language] = [
    *(Expression(pattern) for pattern in PATTERNS),
    *(Words(glob(pattern)) for pattern in ("a*", "*b", "a*b", "*a*b*", "*")),
    *(make(word) for make in (is_word, starts, contains) for word in ("a", "ab", "好")),
]


def takes(automaton: Automaton, text: str) -> bool:
    here = automaton.closure(frozenset({0}), ("plain", "start"))
    for letter in text:
        code = ord(letter)
        moved = frozenset(
            target
            for state in here
            for ranges, target in automaton.moves[state]
            if any(low <= code <= high for low, high in ranges)
        )
        here = automaton.closure(moved, ("plain",))
    return automaton.takes(here)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(PATTERNS), TEXTS)
def test_an_automaton_takes_what_re2_takes(pattern: str, text: str) -> None:
    text = text.lower()
    assert takes(of_search(read(pattern)), text) == Expression(pattern).takes(text)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(["a*", "*b", "a*b", "a*b*a", "*a*b*", "ab", "*"]), TEXTS)
def test_an_automaton_takes_what_a_wildcard_takes(pattern: str, text: str) -> None:
    parts = glob(pattern).parts
    assert takes(of_glob(parts), text.lower()) == Words(glob(pattern)).takes(text.lower())


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(LANGUAGES), st.sampled_from(LANGUAGES), TEXTS)
def test_claims_about_two_sets_hold_for_every_text(
    one: Language, other: Language, text: str
) -> None:
    text = text.lower()
    if holds(one, other):
        assert one.takes(text) or not other.takes(text)
    if apart((one, other)):
        assert not (one.takes(text) and other.takes(text))
    met = common((one, other))
    if met is not None:
        assert one.takes(met) and other.takes(met)


@pytest.mark.parametrize("pattern", PATTERNS)
def test_samples_are_taken_and_the_shortest_is_none_longer(pattern: str) -> None:
    language = Expression(pattern)
    found = list(samples(language, 5))
    assert all(language.takes(text) for text in found)
    first = shortest(language)
    assert first is not None and all(len(first) <= len(text) for text in found)


@pytest.mark.parametrize(
    "pattern",
    [r"\bvip", r"\pN", r"[[:alpha:]]", r"\x41", r"\Qa\E", "a(?i)b", "(?s:a)", "é", "a{201}", "(" * 40 + ")" * 40],
)  # fmt: skip
def test_what_is_not_followed_is_claimed_nothing_of(pattern: str) -> None:
    with pytest.raises(NotFollowed):
        read(pattern)


def test_an_expression_that_is_not_followed_still_holds_a_word_re2_finds() -> None:
    boundary = Expression(r"\bvip\b")
    assert holds(boundary, is_word("vip"))
    assert holds(boundary, boundary)
    assert not holds(boundary, contains("vip"))
    assert not apart((boundary, contains("券")))


def test_words_side_by_side_are_no_meeting() -> None:
    assert not really_meet(contains("券"), contains("面膜"))
    assert not really_meet(starts("查"), contains("快递"))
    assert really_meet(Expression(r"^\d{4}$"), Expression(r"^1\d*$"))


def test_ranges() -> None:
    assert joined([(5, 9), (1, 3), (4, 4)]) == ((1, 9),)
    assert complement(((0, 4), (6, LAST))) == ((5, 5),)
    assert next(every([of_glob(("a", ""))], all)) == "a"
