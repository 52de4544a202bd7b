"""Wildcards, expressions, and the words an expression needs."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from rules.literals import needed_literals
from rules.pattern import captures_of, compile_regex, folded_expression, glob, regex_captures
from rules.text import fold


@pytest.mark.parametrize(
    ("pattern", "text", "captures"),
    [
        ("领券", "領券", {}),
        ("领券", "领券了", None),
        ("查*快递", "查 ABC 快递", {"1": "ABC"}),
        ("查*快递", "查快递", {"1": ""}),
        ("查＊快遞", "查ＡＢ快递", {"1": "ＡＢ"}),
        ("*", "什么都行", {"1": "什么都行"}),
        ("我叫*，我*岁", "我叫 Lan，我 3 岁", {"1": "Lan", "2": "3"}),
        ("*券*", "优惠券过期", {"1": "优惠", "2": "过期"}),
        ("a*a", "a", None),  # the two ends may not share a letter
        ("a*a", "aa", {"1": ""}),
        ("a*b*b", "a1b2b3b", {"1": "1", "2": "2b3"}),
        (r"五\*好评*", "五*好评!", {"1": "!"}),
        ("订单*", "查订单", None),
    ],
)
def test_a_pattern_captures_what_its_stars_stand_for(
    pattern: str, text: str, captures: dict[str, str] | None
) -> None:
    assert captures_of(glob(pattern), text) == captures


@given(st.lists(st.text("abc", max_size=3), min_size=1, max_size=5), st.data())
def test_a_text_made_from_a_pattern_fits_it(parts: list[str], data: st.DataObject) -> None:
    fills = [data.draw(st.text("abc", max_size=3)) for _ in parts[1:]]
    text = parts[0] + "".join(fill + part for fill, part in zip(fills, parts[1:], strict=True))
    spans = glob("*".join(parts)).spans(text)
    assert spans is not None
    found = [text[start:end] for start, end in spans]
    assert text == parts[0] + "".join(
        fill + part for fill, part in zip(found, parts[1:], strict=True)
    )


@pytest.mark.parametrize(
    ("expression", "text", "captures"),
    [
        (r"订单\s*(\d+)", "我的订单 12", {"1": "12"}),
        (r"(?P<who>[我你])的號碼(\d+)", "你的号码１２", {"1": "你", "2": "１２", "who": "你"}),
        (r"^vip$", "VIP", {}),
        (r"^VIP$", "ＶＩＰ", {}),
        (r"（(\d+)）", "(12)", {"1": "12"}),
        (r"(a)|(b)", "b", {"1": "", "2": "b"}),
        (r"ＡＢ[Ｃ-Ｅ]?", "ab", {}),
        (r"[優惠]券", "惠券", {}),
        (r"…", "等...", {}),
        (r"\d{6}", "12345", None),
        (r"^$", "领券", None),
    ],
)
def test_an_expression_captures_numbered_and_named_groups(
    expression: str, text: str, captures: dict[str, str] | None
) -> None:
    assert regex_captures(compile_regex(expression), text) == captures


@pytest.mark.parametrize(
    ("expression", "sentence"),
    [
        ("(?=a)", "look-ahead"),
        ("(?!a)", "look-ahead"),
        ("(?<=a)b", "look-behind"),
        (r"(a)\1", "back-references"),
        ("(a", "missing )"),
        ("a**", "bad repetition"),
        ("a{1001}", "invalid repetition size"),
        ("((a{100}){100}){100}", "repetition size"),
        (r"(\pL{100}){10}", "too large"),
    ],
)
def test_a_refused_expression_is_told_in_a_sentence(expression: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=r"RE2|too large") as refusal:
        compile_regex(expression)
    assert sentence in str(refusal.value)


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("优惠券", ("优惠券",)),
        ("ABC", ("abc",)),
        (r"订单\d+", ("订单",)),
        (r"(?:领|拿)优惠券", ("优惠券",)),
        (r"(领券|优惠)\d", ("优惠", "领券")),
        (r"领券|优惠", ("优惠", "领券")),
        (r"领券|\d+", ()),
        (r"ab?cd", ("cd",)),
        (r"ab+cd", ("ab",)),
        (r"(ab)?\d", ()),
        (r"(ab)*cd", ("cd",)),
        (r"ab{0,2}", ("a",)),
        (r"[abc]\d", ()),
        (r"[]a]券", ("券",)),
        (r"a\.b", ("a.b",)),
        (r"(?i)abc", ("abc",)),
        (r"aa(?i)?", ()),  # RE2 reads a? behind the flags
        (r"(?P<x>abc)", ("abc",)),
        (r"\Qabc\E", ()),
        (r"\x41bc", ()),
        (r"\pNabc", ()),
        (r"[[:alpha:]]abc", ()),
        (r"^\d{6}$", ()),
    ],
)
def test_an_expression_needs_these_words(expression: str, words: tuple[str, ...]) -> None:
    assert needed_literals(expression) == words


PIECES = [
    "a",
    "B",
    "券",
    "優",
    "（",
    "。",
    ".",
    r"\d",
    r"\.",
    "[ab]",
    "[^券]",
    "(a|券)",
    "(?:ab)",
    "(?i)",
]
PIECES += [
    "(B",
    ")",
    "|",
    "?",
    "*",
    "+",
    "{0,2}",
    "{2}",
    "^",
    "$",
    r"\b",
    "(?P<n>a",
    "{",
    "[",
    "]",
    "-",
]


@given(
    st.lists(st.sampled_from(PIECES), min_size=1, max_size=8).map("".join),
    st.text("aAbB券优優(。.1 ", max_size=10),
)
def test_no_text_matches_without_a_needed_word(expression: str, text: str) -> None:
    try:
        compiled = compile_regex(expression)
    except ValueError:
        assume(False)
    words = needed_literals(folded_expression(expression))
    if words and regex_captures(compiled, text) is not None:
        assert any(word in fold(text) for word in words)
