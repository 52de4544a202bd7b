"""Each action with the effects it wants."""

from typing import Any

import pytest

from bot.registry import members
from rules.effects import AddTag, HandOver, Record, RemoveTag, Reply, SendLater, SetField
from rules.engine import decide
from rules.facts import Facts
from rules.model import load
from tests.factories import at

NEWS = {"title": "查 {1}", "url": "https://example.com/s?q={1}"}


def effects(actions: list[dict[str, Any]], push: str = "push 1", text: str = "查 A&B") -> list[Any]:
    """What a rule with the condition ``查*`` wants done."""
    rule = {"name": "R", "when": [{"text_pattern": {"pattern": "查*"}}], "then": actions}
    facts = Facts(push, "text", at("2025-03-03 09:00"), text=text)
    return list(decide(load({"rules": [rule]}), facts).effects)


@pytest.mark.parametrize(
    ("action", "expected"),
    [
        ({"reply": {"text": "好"}}, [Reply({"text": "好"})]),
        ({"reply": {"text": "{称呼|您}查 {1}"}}, [Reply({"text": "{称呼|您}查 A&B"})]),
        ({"reply": {"text": "{ 1 |空}"}}, [Reply({"text": "A&B"})]),
        ({"reply": {"text": "{2}"}}, [Reply({"text": "{2}"})]),
        ({"reply": {"image": {"media_id": "m"}}}, [Reply({"image": {"media_id": "m"}})]),
        (
            {"reply": {"news": NEWS}},
            [Reply({"news": {"title": "查 A&B", "url": "https://example.com/s?q=A%26B"}})],
        ),
        (
            {"send_later": {"after": "10m", "content": {"text": "{1}?"}}},
            [SendLater({"text": "A&B?"}, 600)],
        ),
        ({"add_tag": {"tags": ["甲", "乙", "甲"]}}, [AddTag("甲"), AddTag("乙")]),
        ({"add_tag": {"tags": "甲"}}, [AddTag("甲")]),
        ({"remove_tag": {"tags": ["甲"]}}, [RemoveTag("甲")]),
        ({"set_field": {"name": "年龄", "value": 18}}, [SetField("年龄", 18)]),
        ({"set_field": {"name": "查", "value": "{1}"}}, [SetField("查", "A&B")]),
        ({"hand_over": {}}, [HandOver("")]),
        ({"hand_over": None}, [HandOver("")]),
        ({"hand_over": {"agent": "kf@gh_1"}}, [HandOver("kf@gh_1")]),
        ({"record": {"event": "问价"}}, [Record("问价")]),
    ],
)
def test_an_action_wants_these_effects(action: dict[str, Any], expected: list[Any]) -> None:
    assert effects([action]) == expected


def test_actions_keep_their_order() -> None:
    actions = [{"add_tag": {"tags": ["甲"]}}, {"reply": {"text": "好"}}, {"record": {"event": "e"}}]
    assert [type(effect) for effect in effects(actions)] == [AddTag, Reply, Record]


def test_an_empty_capture_gives_way_to_the_default() -> None:
    assert effects([{"reply": {"text": "查{1|什么}"}}], text="查") == [Reply({"text": "查什么"})]


def test_braces_of_a_follower_never_become_a_placeholder() -> None:
    assert effects([{"reply": {"text": "{1}"}}], text="查{手机}") == [Reply({"text": "｛手机｝"})]


def test_one_of_several_is_the_same_at_every_replay_and_all_come_up() -> None:
    choices = [{"text": str(number)} for number in range(3)]
    action = [{"reply_one_of": {"choices": choices}}]
    chosen = [effects(action, push=f"push {number}")[0].content["text"] for number in range(60)]
    again = [effects(action, push=f"push {number}")[0].content["text"] for number in range(60)]
    assert chosen == again
    assert set(chosen) == {"0", "1", "2"}


def test_effects_of_one_push_do_not_leak_into_the_next() -> None:
    action = [{"reply": {"news": NEWS}}]
    effects(action)[0].content["news"]["title"] = "spoilt"
    assert effects(action)[0].content["news"]["title"] == "查 A&B"


def test_every_action_says_what_section_4_asks_for() -> None:
    assert set(members("rules.actions")) == {
        "reply",
        "reply_one_of",
        "send_later",
        "add_tag",
        "remove_tag",
        "set_field",
        "hand_over",
        "record",
    }
    for name, member in members("rules.actions").items():
        assert name == member.NAME
        assert set(member.LABEL) == {"zh", "en"}
        assert member.Params.model_json_schema()["type"] == "object"
