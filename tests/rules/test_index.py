"""The index never loses a rule: deciding with it is deciding by asking every rule in turn."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rules.engine import decide
from rules.facts import Facts
from rules.index import Index
from rules.model import Rulebook, load
from tests.factories import at

NOON = at("2026-11-22 12:00")
WORDS = st.sampled_from(["券", "優惠", "优惠券", "A", "ab", "Ｂ", "查", "12", "查券", "ß", "。"])
STARS = st.lists(st.sampled_from(["*", "券", "查", "a", "12", " "]), min_size=1, max_size=4)
EXPRESSIONS = st.sampled_from(
    [
        r"券\d*",
        r"^\d+$",
        r"(优惠|查)券",
        r"[ab]+",
        r"優惠.?券",
        r"A|B",
        r"(?i)ab",
        r"^$",
        r".*",
        r"查?券{2}",
    ]
)
SCENES = ["wb_*", "wb_a", "*", "*_a", "wb_a*", "s"]
MANY = st.lists(WORDS, min_size=1, max_size=3)
CONDITIONS = st.one_of(
    MANY.map(lambda words: {"text_is": {"any": words}}),
    MANY.map(lambda words: {"text_contains": {"any": words}}),
    MANY.map(lambda words: {"text_starts": {"any": words}}),
    STARS.map("".join).filter(str.strip).map(lambda text: {"text_pattern": {"pattern": text}}),
    EXPRESSIONS.map(lambda text: {"text_regex": {"pattern": text}}),
    st.sampled_from(["text", "image"]).map(lambda kind: {"message_kind": {"any": kind}}),
    st.sampled_from(["M", "N"]).map(lambda key: {"menu_key": {"any": [key, "O"]}}),
    st.sampled_from(SCENES).map(lambda scene: {"scan_scene": {"scene": scene}}),
    st.sampled_from([*SCENES, ""]).map(lambda scene: {"subscribed_from": {"scene": scene}}),
    st.sampled_from(["has", "lacks"]).map(lambda verb: {"follower_tag": {verb: "甲"}}),
    st.sampled_from(["is", "gte"]).map(lambda verb: {"follower_field": {"name": "f", verb: 1}}),
    st.just({"first_message": {}}),
    st.just({"time_of_day": {"from": "11:00", "until": "13:00"}}),
    st.just({"cooldown": {"hours": 1}}),
)
RULES = st.lists(
    st.tuples(st.lists(CONDITIONS, max_size=3), st.booleans(), st.integers(0, 9)), max_size=12
)
FACTS = st.builds(
    Facts,
    push_key=st.just("push 1"),
    kind=st.sampled_from(["text", "text", "text", "image", "menu_click", "scan", "subscribe"]),
    at=st.just(NOON),
    text=st.one_of(
        st.just(""),
        st.lists(WORDS | st.sampled_from([" ", "1"]), max_size=5).map("".join),
    ),
    key=st.sampled_from(["", "M", "O", "X"]),
    scene=st.sampled_from(["", "wb_a", "wb_ab", "s", "x_a"]),
    first_message=st.booleans(),
    tags=st.sampled_from([frozenset(), frozenset({"甲", "乙"})]),
    fields=st.sampled_from([{}, {"f": 1, "g": 2}, {"f": "0"}]),
    fired=st.sampled_from([{}, {"R0": NOON, "R1": NOON}]),
)


def book(rows: list[tuple[list[dict[str, Any]], bool, int]]) -> Rulebook:
    rules = [
        {
            "name": f"R{number}",
            "when": when,
            "then": [{"reply": {"text": f"{number} {{1}}"}}],
            "continue": continue_,
            "enabled": luck > 0,
        }
        for number, (when, continue_, luck) in enumerate(rows)
    ]
    return load({"rules": rules, "fallback": {"reply": {"text": "?"}}})


@settings(max_examples=80, deadline=None)
@given(RULES, st.lists(FACTS, min_size=1, max_size=4))
def test_deciding_with_the_index_is_deciding_by_a_linear_scan(
    rows: list[tuple[list[dict[str, Any]], bool, int]], pushes: list[Facts]
) -> None:
    rulebook = book(rows)
    linear = replace(rulebook, index=Index(always=tuple(range(len(rulebook.rules)))))
    for facts in pushes:
        found, expected = decide(rulebook, facts), decide(linear, facts)
        assert (found.rules, found.effects) == (expected.rules, expected.effects)
        shown = found.trace["steps"]
        assert [step for step in expected.trace["steps"] if step in shown] == shown


@pytest.mark.parametrize(
    ("when", "text", "expected"),
    [
        ({"text_is": {"any": ["领券"]}}, "领优惠券", 0),
        ({"text_contains": {"any": ["领券"]}}, "领优惠券", 0),
        ({"text_starts": {"any": ["优惠"]}}, "领优惠券", 0),
        ({"text_pattern": {"pattern": "退*"}}, "领优惠券", 0),
        ({"text_regex": {"pattern": r"退(\d+)"}}, "领优惠券", 0),
        ({"text_regex": {"pattern": r"^\d+$"}}, "领优惠券", 0),
        ({"menu_key": {"any": "M"}}, "领优惠券", 0),
        ({"scan_scene": {"scene": "a*"}}, "领优惠券", 0),
        ({"text_contains": {"any": ["优惠"]}}, "领优惠券", 1),
        ({"days": {"on": ["mon"]}}, "领优惠券", 1),
    ],
)
def test_rules_that_cannot_match_are_not_asked(
    when: dict[str, Any], text: str, expected: int
) -> None:
    rulebook = load({"rules": [{"name": "R", "when": [when], "then": [{"hand_over": {}}]}]})
    assert len(rulebook.index.candidates(Facts("p", "text", NOON, text=text))) == expected


def test_a_rule_with_several_conditions_is_found_by_the_most_selective() -> None:
    when = [{"message_kind": {"any": "text"}}, {"text_contains": {"any": "券"}}]
    when += [{"text_contains": {"any": "优惠券过期"}}]
    rulebook = load({"rules": [{"name": "R", "when": when, "then": [{"hand_over": {}}]}]})
    assert rulebook.index.candidates(Facts("p", "text", NOON, text="券")) == []
    assert rulebook.index.candidates(Facts("p", "text", NOON, text="优惠券过期")) == [0]


def test_candidates_come_once_and_in_the_order_of_the_rules() -> None:
    whens = [{"text_contains": {"any": ["券", "优惠"]}}, {"text_is": {"any": "优惠券"}}]
    whens += [{"text_regex": {"pattern": "^.惠"}}, {"message_kind": {"any": "text"}}]
    rules = [
        {"name": f"R{number}", "when": [when], "then": [{"hand_over": {}}]}
        for number, when in enumerate(whens)
    ]
    found = load({"rules": rules}).index.candidates(Facts("p", "text", NOON, text="优惠券"))
    assert found == [0, 1, 2, 3]


def test_hundreds_of_expressions_without_literals_lose_nobody() -> None:
    rules = [
        {
            "name": f"R{n}",
            "when": [{"text_regex": {"pattern": rf"^\d{{{n}}}$"}}],
            "then": [{"hand_over": {}}],
        }
        for n in range(1, 250)
    ]
    rulebook = load({"rules": rules})
    for length in (1, 99, 100, 101, 249):
        facts = Facts("p", "text", NOON, text="7" * length)
        assert rulebook.index.candidates(facts) == [length - 1]
