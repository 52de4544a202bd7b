"""Folding: what counts as the same words."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rules.text import cut, fold, fold_words


@pytest.mark.parametrize(
    ("written", "key"),
    [
        ("领券", "领券"),
        ("  领券\u3000\n", "领券"),
        ("領券", "领券"),
        ("我想要優惠券", "我想要优惠券"),
        ("瞭解", "了解"),
        ("看著", "看着"),
        ("ＡＢＣ１２３", "abc123"),
        ("VIP", "vip"),
        ("Straße", "strasse"),
        ("退订！", "退订!"),  # a full-width sign becomes narrow, it does not go away
        ("退订", "退订"),
        ("a b", "a b"),
        ("①", "1"),
        ("", ""),
        ("   ", ""),
        ("😀", "😀"),
    ],
)
def test_a_text_folds_to_its_key(written: str, key: str) -> None:
    assert fold(written) == key


@pytest.mark.parametrize(("one", "other"), [("退订", "退订。"), ("领券", "领 券"), ("a", "ab")])
def test_punctuation_and_inner_spaces_count(one: str, other: str) -> None:
    assert fold(one) != fold(other)


def test_folding_a_character_twice_changes_nothing() -> None:
    characters = [chr(code) for code in range(0x10000) if not 0xD800 <= code < 0xE000]
    assert [one for one in characters if fold_words(fold_words(one)) != fold_words(one)] == []


@given(st.text())
def test_only_spaces_fold_to_nothing(text: str) -> None:
    assert (fold_words(text) == "") == (text.strip() == "")


@given(
    st.text("裏後著乾隆優惠券abＡ ", max_size=8),
    st.text("裏後著乾隆優惠券abＡ", min_size=1, max_size=4),
)
def test_a_word_inside_a_text_is_inside_its_key(around: str, word: str) -> None:
    assert fold_words(word) in fold_words(around + word + around)


def test_captures_keep_the_writing_of_the_follower() -> None:
    assert cut(" 查ABC快遞", fold(" 查ABC快遞"), 1, 4) == "ABC"


def test_where_lengths_differ_the_key_is_captured() -> None:
    assert cut("ß查", "ss查", 2, 3) == "查"
