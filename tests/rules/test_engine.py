"""Order, continue, fallback, silence and the trace."""

import json
from typing import Any

import pytest

from rules.effects import Reply
from rules.engine import MESSAGE_KINDS, decide, explain
from rules.facts import Facts
from rules.model import load
from tests.factories import at

NOON = at("2026-11-22 12:00")


def rule(name: str, word: str, **more: Any) -> dict[str, Any]:
    when = [{"text_contains": {"any": word}}]
    return {"name": name, "when": when, "then": [{"reply": {"text": name}}]} | more


def said(text: str = "领优惠券", **known: Any) -> Facts:
    return Facts("push 1", known.pop("kind", "text"), known.pop("at", NOON), text=text, **known)


def replies(rules: list[dict[str, Any]], facts: Facts, fallback: Any = None) -> list[str]:
    effects = decide(load({"rules": rules, "fallback": fallback}), facts).effects
    return [effect.content["text"] for effect in effects if isinstance(effect, Reply)]


def test_the_first_rule_that_matches_ends() -> None:
    assert replies([rule("一", "没有"), rule("二", "券"), rule("三", "优惠")], said()) == ["二"]


def test_continue_lets_the_next_rule_speak() -> None:
    rules = [rule("一", "券", **{"continue": True}), rule("二", "优惠"), rule("三", "领")]
    assert replies(rules, said()) == ["一", "二"]


def test_a_rule_without_conditions_matches_every_push() -> None:
    always = {"name": "总是", "then": [{"reply": {"text": "总是"}}]}
    assert replies([always], said()) == ["总是"]
    assert replies([always], said("", kind="menu_click")) == ["总是"]


def test_all_conditions_must_hold() -> None:
    both = rule("二", "券")
    both["when"].append({"follower_tag": {"has": "甲"}})
    assert replies([both], said()) == []
    assert replies([both], said(tags=frozenset({"甲"}))) == ["二"]


def test_a_disabled_rule_is_silent() -> None:
    assert replies([rule("一", "券", enabled=False)], said()) == []


@pytest.mark.parametrize(
    ("active", "moment", "expected"),
    [
        ({"from": "2026-11-01"}, "2026-10-31 23:59", False),
        ({"from": "2026-11-01"}, "2026-11-01 00:00", True),
        ({"until": "2026-12-01"}, "2026-11-30 23:59", True),
        ({"until": "2026-12-01"}, "2026-12-01 00:00", False),
        ({"hours": "08:00-22:00"}, "2026-11-22 22:00", False),
        ({"hours": "22:00-08:00"}, "2026-11-22 23:00", True),
        ({"hours": "22:00-08:00"}, "2026-11-22 12:00", False),
        ({"from": "2026-11-01", "hours": "08:00-22:00"}, "2026-11-22 09:00", True),
    ],
)
def test_a_rule_is_in_force_only_while_active(
    active: dict[str, str], moment: str, expected: bool
) -> None:
    found = replies([rule("一", "券", active=active)], said(at=at(moment)))
    assert found == (["一"] if expected else [])


FALLBACK = {"reply": {"text": "没有听懂"}}


@pytest.mark.parametrize("kind", sorted(MESSAGE_KINDS))
def test_the_fallback_answers_messages_nobody_answered(kind: str) -> None:
    assert replies([rule("一", "没有")], said(kind=kind), FALLBACK) == ["没有听懂"]


@pytest.mark.parametrize(
    "kind", ["subscribe", "scan", "menu_click", "menu_view", "location_report"]
)
def test_the_fallback_is_silent_at_events(kind: str) -> None:
    assert replies([rule("一", "没有")], said("", kind=kind), FALLBACK) == []


def test_the_fallback_is_silent_when_a_rule_won_even_without_a_reply() -> None:
    tagging = rule("一", "券", then=[{"add_tag": {"tags": ["甲"]}}], **{"continue": True})
    assert replies([tagging], said(), FALLBACK) == []


def test_nobody_answers_a_conversation_that_was_handed_over() -> None:
    rulebook = load({"rules": [rule("一", "券")], "fallback": FALLBACK}, 3)
    decision = decide(rulebook, said(handed_over=True))
    assert (decision.rules, decision.effects) == ((), ())
    assert decision.trace == {"number": 3, "steps": [], "fallback": False, "handed_over": True}


def test_captures_of_several_conditions_meet_and_the_earlier_one_keeps_its_name() -> None:
    asked = rule("查", "查", then=[{"reply": {"text": "{1} {no}"}}])
    asked["when"] += [
        {"text_pattern": {"pattern": "查*号"}},
        {"text_regex": {"pattern": r"(?P<no>\d)\d"}},
    ]
    assert replies([asked], said("查 A12 号")) == ["A12 1"]


def test_the_trace_says_which_candidate_did_what_and_why() -> None:
    timed = rule("二", "券")
    timed["when"].append({"time_of_day": {"from": "01:00", "until": "02:00"}})
    asked = rule("三", "券", when=[{"text_pattern": {"pattern": "领*"}}, {"days": {"on": ["sun"]}}])
    rules = [rule("一", "没有"), timed, rule("停", "券", active={"until": "2026-11-01"}), asked]
    trace = decide(load({"rules": rules}, 9), said()).trace
    assert trace == {
        "number": 9,
        "steps": [
            {"rule": "二", "outcome": "no", "why": "time_of_day"},
            {"rule": "停", "outcome": "no", "why": "active"},
            {
                "rule": "三",
                "outcome": "matched",
                "why": "text_pattern, days",
                "captures": {"1": "优惠券"},
            },
        ],
        "fallback": False,
    }
    assert json.loads(json.dumps(trace)) == trace


def test_explaining_says_it_of_every_rule() -> None:
    rules = [
        rule("一", "没有"),
        rule("二", "券"),
        rule("三", "券"),
        rule("四", "券", enabled=False),
    ]
    assert explain(load({"rules": rules}), said()) == [
        {"rule": "一", "outcome": "no", "why": "text_contains"},
        {"rule": "二", "outcome": "matched", "why": "text_contains"},
        {"rule": "三", "outcome": "matched", "why": "text_contains", "reached": False},
        {"rule": "四", "outcome": "no", "why": "disabled", "reached": False},
    ]


def test_facts_survive_json() -> None:
    facts = said(
        tags=frozenset({"甲"}), fields={"城市": "上海"}, fired={"一": NOON}, first_message=True
    )
    assert Facts.from_json(json.loads(json.dumps(facts.to_json()))) == facts
