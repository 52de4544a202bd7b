"""Loading, dumping and refusing rulebooks."""

import json
from typing import Any

import pytest

from bot.errors import Invalid
from rules.model import dump, load, names, problems
from rules.pattern import MAX_EXPRESSIONS

THEN = [{"record": {"event": "hit"}}]
EVERYTHING: dict[str, Any] = {
    "rules": [
        {
            "name": "领券",
            "when": [{"text_is": {"any": ["我想要优惠券", "领券"]}}, {"cooldown": {"hours": 24}}],
            "then": [
                {"add_tag": {"tags": ["活动敏感"]}},
                {"reply": {"text": "{称呼|您}好，回复 1 领取 8 元券"}},
            ],
            "active": {"from": "2026-11-01", "until": "2026-12-01", "hours": "08:00-22:00"},
        },
        {
            "name": "微博新粉",
            "when": [{"subscribed_from": {"scene": "wb_*"}}],
            "then": [{"add_tag": {"tags": ["微博来源"]}}, {"reply": {"text": "欢迎"}}],
            "continue": True,
        },
        {
            "name": "都有",
            "when": [
                {"text_contains": {"any": "券"}},
                {"text_starts": {"any": "查"}},
                {"text_pattern": {"pattern": "查*"}},
                {"text_regex": {"pattern": r"(?P<no>\d+)"}},
                {"message_kind": {"any": "text"}},
                {"menu_key": {"any": "M"}},
                {"scan_scene": {"scene": "store_1"}},
                {"follower_tag": {"has": "甲"}},
                {"follower_tag": {"lacks": "乙"}},
                {"follower_field": {"name": "城市", "in": ["上海", 1]}},
                {"follower_field": {"name": "年龄", "gte": 18, "lte": 30.5}},
                {"first_message": None},
                {"time_of_day": {"from": "22:00", "until": "24:00"}},
                {"days": {"on": ["mon", "2026-11-11"]}},
            ],
            "then": [
                {"reply_one_of": {"choices": [{"text": "{no}{1}"}, {"image": {"file": "a.jpg"}}]}},
                {"send_later": {"after": "90s", "content": {"text": "{积分}"}}},
                {"remove_tag": {"tags": "丙"}},
                {"set_field": {"name": "来过", "value": True}},
                {"hand_over": {}},
                {"record": {"event": "看过"}},
            ],
            "enabled": False,
        },
    ],
    "fallback": {"reply": {"text": "没有听懂"}, "add_tag": {"tags": ["未命中"]}},
}


def rule(**changes: Any) -> dict[str, Any]:
    return {"name": "R", "when": [], "then": THEN} | changes


def test_what_is_dumped_loads_equal_through_json() -> None:
    rulebook = load(EVERYTHING, 7)
    document = json.loads(json.dumps(dump(rulebook), ensure_ascii=False, sort_keys=True))
    assert load(document) == rulebook
    assert dump(load(document)) == dump(rulebook)


def test_the_canonical_form_says_no_more_than_needed() -> None:
    found = dump(load({"rules": [rule(enabled=True, active={"hours": "22:00-24:00"})]}))
    assert found == {
        "rules": [{"name": "R", "when": [], "then": THEN, "active": {"hours": "22:00-24:00"}}],
        "fallback": None,
    }


def test_only_a_rulebook_with_a_cooldown_asks_who_fired() -> None:
    assert load(EVERYTHING).has_cooldown
    assert load(EVERYTHING).cooldowns == {"领券"}
    assert not load({"rules": [rule()]}).has_cooldown


@pytest.mark.parametrize("body", [{}, {"rules": None}, {"rules": [], "fallback": None}])
def test_an_empty_rulebook_is_one(body: dict[str, Any]) -> None:
    assert load(body).rules == ()


BAD: list[tuple[dict[str, Any], str, str]] = [
    ({"rules": {}}, "rules", "list of rules"),
    ({"rules": [], "other": 1}, "other", "not known"),
    ({"rules": ["领券"]}, "rules.0", "must be a rule"),
    ({"rules": [rule(), {}]}, "rules.1.name", "1 to 60 characters"),
    ({"rules": [rule(name="x" * 61)]}, "rules.0.name", "1 to 60 characters"),
    ({"rules": [rule(), rule()]}, "rules.1.name", "already the name of rules.0"),
    ({"rules": [rule(whn=[])]}, "rules.0.whn", "not a key of a rule"),
    ({"rules": [rule(then=[])]}, "rules.0.then", "at least one action"),
    ({"rules": [rule(then=None)]}, "rules.0.then", "at least one action"),
    ({"rules": [rule(when={"text_is": "a"})]}, "rules.0.when", "must be a list"),
    ({"rules": [rule(when=["first_message"])]}, "rules.0.when.0", "exactly one name"),
    ({"rules": [rule(when=[{"a": 1, "b": 2}])]}, "rules.0.when.0", "exactly one name"),
    ({"rules": [rule(when=[{"text_iz": {}}])]}, "rules.0.when.0.text_iz", "known are cooldown"),
    ({"rules": [rule(then=[{"reply_": {}}])]}, "rules.0.then.0.reply_", "not an action"),
    ({"rules": [rule(when=[{"first_message": {}}] * 51)]}, "rules.0.when", "50 are allowed"),
    ({"rules": [rule(enabled="yes")]}, "rules.0.enabled", "true or false"),
    ({"rules": [rule(**{"continue": 1})]}, "rules.0.continue", "true or false"),
    ({"rules": [rule(active=3)]}, "rules.0.active", "parameters"),
    ({"rules": [rule(active={"form": "x"})]}, "rules.0.active.form", "known are from, until"),
    ({"rules": [rule(active={"from": "soon"})]}, "rules.0.active.from", "must be a time"),
    ({"rules": [rule(active={"hours": "8-22"})]}, "rules.0.active.hours", "08:00-22:00"),
    ({"rules": [rule(active={"hours": 1230})]}, "rules.0.active.hours", "08:00-22:00"),
    (
        {"rules": [rule(active={"from": "2026-12-01", "until": "2026-11-01"})]},
        "rules.0.active",
        "until must be after from",
    ),
    ({"fallback": []}, "fallback", "must be actions"),
    ({"fallback": {"reply": {"text": ""}}}, "fallback.reply", "empty"),
    ({"fallback": {"text_is": {}}}, "fallback.text_is", "not an action"),
]
CONDITIONS: list[tuple[dict[str, Any], str, str]] = [
    ({"text_is": {}}, "text_is.any", "is missing"),
    ({"text_is": {"any": []}}, "text_is.any", "at least 1"),
    ({"text_is": {"any": [" "]}}, "text_is.any", "only spaces"),
    ({"text_is": {"any": ["a", ""]}}, "text_is.any.1", "at least 1 character"),
    ({"text_is": {"any": "a", "all": "b"}}, "text_is.all", "known are any"),
    ({"text_is": "a"}, "text_is", "written as name: value"),
    ({"text_pattern": {"pattern": "a" * 201}}, "text_pattern.pattern", "200"),
    ({"text_pattern": {"pattern": " "}}, "text_pattern.pattern", "only spaces"),
    ({"text_regex": {"pattern": "a" * 201}}, "text_regex.pattern", "200"),
    ({"text_regex": {"pattern": "(?=a)"}}, "text_regex.pattern", "look-ahead"),
    ({"text_regex": {"pattern": "("}}, "text_regex.pattern", "missing )"),
    ({"message_kind": {"any": "event"}}, "message_kind.any.0", "'text'"),
    ({"menu_key": {"any": []}}, "menu_key.any", "at least 1"),
    ({"scan_scene": {"scene": ""}}, "scan_scene.scene", "at least 1"),
    ({"subscribed_from": {"scene": "微博"}}, "subscribed_from.scene", "pattern"),
    ({"follower_tag": {}}, "follower_tag", "exactly one of has and lacks"),
    ({"follower_tag": {"has": "a", "lacks": "b"}}, "follower_tag", "exactly one"),
    ({"follower_field": {"name": "a"}}, "follower_field", "needs is, or in, or bounds"),
    ({"follower_field": {"name": "a", "is": 1, "gte": 1}}, "follower_field", "needs is, or in"),
    ({"first_message": {"x": 1}}, "first_message.x", "takes no parameters"),
    ({"time_of_day": {"from": "9"}}, "time_of_day.from", "time of day in quotes"),
    ({"time_of_day": {"from": 540, "until": "10:00"}}, "time_of_day.from", "time of day"),
    ({"days": {"on": ["monday"]}}, "days.on.0", "must be a weekday"),
    ({"cooldown": {"hours": 0}}, "cooldown.hours", "greater than 0"),
]
ACTIONS: list[tuple[dict[str, Any], str, str]] = [
    ({"reply": {"text": "字" * 601}}, "reply", "600 are allowed"),
    ({"reply": {}}, "reply", "exactly one of"),
    ({"reply": {"txt": "a"}}, "reply.txt", "known are text, image"),
    ({"reply": {"image": {"fil": "a"}}}, "reply.image.fil", "not known"),
    ({"reply_one_of": {"choices": []}}, "reply_one_of.choices", "at least 1"),
    ({"reply_one_of": {"choices": [{"text": ""}]}}, "reply_one_of.choices.0", "empty"),
    ({"send_later": {"after": "soon", "content": {"text": "a"}}}, "send_later.after", "length of"),
    ({"add_tag": {"tags": []}}, "add_tag.tags", "at least 1"),
    ({"set_field": {"name": "a"}}, "set_field.value", "is missing"),
    ({"record": {"event": "subscribe"}}, "record.event", "program itself"),
]
BAD += [
    ({"rules": [rule(when=[given])]}, f"rules.0.when.0.{place}", sentence)
    for given, place, sentence in CONDITIONS
]
BAD += [
    ({"rules": [rule(then=[given])]}, f"rules.0.then.0.{place}", sentence)
    for given, place, sentence in ACTIONS
]


@pytest.mark.parametrize(("body", "place", "sentence"), BAD)
def test_a_problem_has_its_place_and_a_sentence(
    body: dict[str, Any], place: str, sentence: str
) -> None:
    found = problems(body)
    assert place in dict(found)
    assert sentence in dict(found)[place]
    with pytest.raises(Invalid) as refusal:
        load(body)
    assert (refusal.value.field, refusal.value.message) == found[0]


def test_every_problem_is_told_at_once() -> None:
    body = {
        "rules": [rule(when=[{"text_is": {"any": []}}, {"x": 1}]), rule(name=""), rule(then=[{}])],
        "fallback": {"y": {}},
    }
    assert [place for place, _ in problems(body)] == [
        "rules.0.when.0.text_is.any",
        "rules.0.when.1.x",
        "rules.1.name",
        "rules.2.name",
        "rules.2.then.0",
        "fallback.y",
    ]


@pytest.mark.parametrize("body", [None, [], "rules", 3])
def test_what_is_no_mapping_is_refused(body: Any) -> None:
    assert problems(body) == [("", "must be rules and a fallback")]


def test_more_than_1000_expressions_are_refused_once() -> None:
    many = [
        rule(name=f"R{number}", when=[{"text_regex": {"pattern": f"a{number}"}}])
        for number in range(MAX_EXPRESSIONS + 2)
    ]
    assert problems({"rules": many[:MAX_EXPRESSIONS]}) == []
    assert [place for place, _ in problems({"rules": many})] == ["rules.1000.when.0.text_regex"]


def test_names_are_found_with_their_places() -> None:
    assert names(EVERYTHING) == {
        ("tag", "活动敏感", "rules.0.then.0.add_tag.tags"),
        ("field", "称呼", "rules.0.then.1.reply"),
        ("tag", "微博来源", "rules.1.then.0.add_tag.tags"),
        ("scene", "store_1", "rules.2.when.6.scan_scene.scene"),
        ("tag", "甲", "rules.2.when.7.follower_tag.has"),
        ("tag", "乙", "rules.2.when.8.follower_tag.lacks"),
        ("field", "城市", "rules.2.when.9.follower_field.name"),
        ("field", "年龄", "rules.2.when.10.follower_field.name"),
        ("field", "积分", "rules.2.then.1.send_later"),
        ("tag", "丙", "rules.2.then.2.remove_tag.tags"),
        ("field", "来过", "rules.2.then.3.set_field.name"),
        ("event", "看过", "rules.2.then.5.record.event"),
        ("tag", "未命中", "fallback.add_tag.tags"),
    }
