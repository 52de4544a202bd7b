"""What is different between two rulebooks."""

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rules.diff import Difference, diff


def rule(name: str, *words: str, **more: Any) -> dict[str, Any]:
    return {
        "name": name,
        "when": [{"text_is": {"any": list(words) or [name]}}],
        "then": [{"reply": {"text": name}}],
        **more,
    }


def body(*rules: dict[str, Any], fallback: Any = None) -> dict[str, Any]:
    return {"rules": list(rules), "fallback": fallback}


A, B, C, D = (rule(name) for name in "ABCD")


def told(changes: Any) -> list[tuple[str, str]]:
    return [(change.kind, change.name) for change in changes]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (body(A, B), body(A, B), []),
        (body(), body(A), [("added", "A")]),
        (body(A, B), body(B), [("removed", "A")]),
        (body(A, B, C), body(A, rule("B", "b"), C), [("changed", "B")]),
        (body(A, B, C, D), body(D, A, B, C), [("moved", "D")]),
        (body(A, B, C, D), body(B, C, D, A), [("moved", "A")]),
        (body(A, B), body(C, A, B), [("added", "C")]),
        (body(A), body(A, fallback={"reply": {"text": "?"}}), [("fallback", "")]),
        ({}, body(A), [("added", "A")]),
        (body(A), {}, [("removed", "A")]),
    ],
)
def test_changes_between_two_rulebooks(old: Any, new: Any, expected: Any) -> None:
    assert told(diff(old, new)) == expected


def test_a_rule_may_change_and_move() -> None:
    found = diff(body(A, B, C), body(rule("C", "c"), A, B))
    assert [(change.kind, change.moved) for change in found] == [("changed", True)]


def test_differences_are_said_field_by_field() -> None:
    old = rule("A", "x", "y", active={"hours": "08:00-20:00"})
    new = {**rule("A", "x"), "continue": True, "active": {"hours": "09:00-20:00"}}
    (change,) = diff(body(old), body(new))
    assert change.differences == (
        Difference("when.0.text_is.any", ["x", "y"], ["x"]),
        Difference("continue", None, True),
        Difference("active.hours", "08:00-20:00", "09:00-20:00"),
    )


def test_a_part_of_another_kind_is_another_part() -> None:
    new = {**A, "when": [{"text_contains": {"any": ["A"]}}, {"first_message": {}}]}
    (change,) = diff(body(A), body(new))
    assert change.differences == (
        Difference("when.0", {"text_is": {"any": ["A"]}}, {"text_contains": {"any": ["A"]}}),
        Difference("when.1", None, {"first_message": {}}),
    )


def test_one_and_true_are_not_the_same() -> None:
    one, true = (
        {**A, "then": [{"set_field": {"name": "n", "value": value}}]} for value in (1, True)
    )
    (change,) = diff(body(one), body(true))
    assert [item.place for item in change.differences] == ["then.0.set_field.value"]


def test_a_renamed_rule_is_the_same_rule() -> None:
    (change,) = diff(body(A, B), body(rule("A2", "A"), B), {"A2": "A"})
    assert (change.kind, change.name, change.was) == ("changed", "A2", "A")
    # somebody made a new rule with the name that was given up
    found = diff(body(A), body({**A, "name": "A2"}, A), {"A2": "A"})
    assert [(c.kind, c.name, c.was) for c in found] == [("changed", "A2", "A"), ("added", "A", "")]
    # two rules that swapped their names
    found = diff(body(A, B), body({**A, "name": "B"}, {**B, "name": "A"}), {"A": "B", "B": "A"})
    assert [(c.name, c.was) for c in found] == [("B", "A"), ("A", "B")]


@given(st.permutations("ABCDEFG"), st.integers(0, 6))
def test_as_few_rules_as_possible_moved(order: list[str], seed: int) -> None:
    """Putting back exactly the moved ones gives the old order."""
    random.Random(seed).shuffle(order)
    names = "ABCDEFG"
    found = diff(body(*(rule(n) for n in names)), body(*(rule(n) for n in order)))
    moved = {change.name for change in found}
    assert all(change.kind == "moved" for change in found)
    stayed = [name for name in order if name not in moved]
    assert stayed == sorted(stayed)
    if len(moved) == 1:
        assert order != list(names)
