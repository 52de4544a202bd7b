"""Each condition with the pushes it holds for, and those it does not."""

from datetime import timedelta
from typing import Any

import pytest

from bot.registry import members
from rules.engine import decide
from rules.facts import Facts
from rules.model import load
from tests.factories import at

MONDAY = at("2025-03-03 09:00")


def facts(kind: str = "text", **known: Any) -> Facts:
    return Facts("push 1", kind, known.pop("at", MONDAY), **known)


def captures(condition: dict[str, Any], known: Facts) -> dict[str, str] | None:
    """What one condition captures as the only one of a rule, through load, index and engine."""
    rule = {"name": "R", "when": [condition], "then": [{"record": {"event": "hit"}}]}
    decision = decide(load({"rules": [rule]}), known)
    if not decision.rules:
        return None
    found: dict[str, str] = decision.trace["steps"][0].get("captures", {})
    return found


def holds(condition: dict[str, Any], known: Facts) -> bool:
    return captures(condition, known) is not None


TEXTS = [
    ({"text_is": {"any": ["领券", "优惠"]}}, "領券 ", True),
    ({"text_is": {"any": "领券"}}, "领券", True),
    ({"text_is": {"any": ["领券"]}}, "领券！", False),
    ({"text_is": {"any": ["领券"]}}, "", False),
    ({"text_contains": {"any": ["券"]}}, "优惠券过期", True),
    ({"text_contains": {"any": ["VIP"]}}, "我是ｖｉｐ吗", True),
    ({"text_contains": {"any": ["券", "奶茶"]}}, "一杯奶茶", True),
    ({"text_contains": {"any": ["券"]}}, "你好", False),
    ({"text_starts": {"any": ["查"]}}, " 查快递", True),
    ({"text_starts": {"any": ["查", "找"]}}, "帮我查", False),
    ({"text_pattern": {"pattern": "*"}}, "在吗", True),
    ({"text_regex": {"pattern": r"^\d+$"}}, "１２", True),
    ({"text_regex": {"pattern": r".*"}}, "在吗", True),
]


@pytest.mark.parametrize(("condition", "text", "expected"), TEXTS)
def test_text(condition: dict[str, Any], text: str, expected: bool) -> None:
    assert holds(condition, facts(text=text)) is expected


@pytest.mark.parametrize(
    "condition", [{"text_pattern": {"pattern": "*"}}, {"text_regex": {"pattern": ".*"}}]
)
@pytest.mark.parametrize("known", [facts("subscribe"), facts("image"), facts(text="  ")])
def test_what_has_no_text_fits_no_pattern(condition: dict[str, Any], known: Facts) -> None:
    assert not holds(condition, known)


@pytest.mark.parametrize(
    ("condition", "known", "expected"),
    [
        ({"message_kind": {"any": ["image", "voice"]}}, facts("voice"), True),
        ({"message_kind": {"any": "image"}}, facts("text", text="a"), False),
        ({"menu_key": {"any": ["M_COUPON"]}}, facts("menu_click", key="M_COUPON"), True),
        ({"menu_key": {"any": "M_COUPON"}}, facts("scancode_wait", key="M_COUPON"), True),
        ({"menu_key": {"any": "M_COUPON"}}, facts("location_select", key="M_COUPON"), True),
        ({"menu_key": {"any": "M_COUPON"}}, facts("menu_view", key="M_COUPON"), False),
        ({"menu_key": {"any": "M_COUPON"}}, facts("menu_click", key="m_coupon"), False),
        ({"scan_scene": {"scene": "store_1"}}, facts("scan", scene="store_1"), True),
        ({"scan_scene": {"scene": "store_1"}}, facts("subscribe", scene="store_1"), True),
        ({"scan_scene": {"scene": "store_*"}}, facts("scan", scene="store_1"), True),
        ({"scan_scene": {"scene": "*_1"}}, facts("scan", scene="store_1"), True),
        ({"scan_scene": {"scene": "*"}}, facts("subscribe"), False),
        ({"scan_scene": {"scene": "store"}}, facts("scan", scene="store_1"), False),
        ({"subscribed_from": {"scene": "wb_*"}}, facts("subscribe", scene="wb_bio"), True),
        ({"subscribed_from": {"scene": "wb_*"}}, facts("subscribe"), False),
        ({"subscribed_from": {"scene": "wb_*"}}, facts("scan", scene="wb_bio"), False),
        ({"subscribed_from": {}}, facts("subscribe"), True),
        ({"subscribed_from": {"scene": ""}}, facts("subscribe", scene="wb_bio"), True),
        ({"subscribed_from": None}, facts("scan", scene="wb_bio"), False),
        ({"follower_tag": {"has": "甲"}}, facts(tags=frozenset({"甲"})), True),
        ({"follower_tag": {"has": "甲"}}, facts(tags=frozenset({"乙"})), False),
        ({"follower_tag": {"lacks": "甲"}}, facts(tags=frozenset({"乙"})), True),
        ({"follower_tag": {"lacks": "甲"}}, facts(tags=frozenset({"甲"})), False),
        ({"first_message": {}}, facts(first_message=True), True),
        ({"first_message": None}, facts(), False),
    ],
)
def test_kinds_menus_scenes_and_tags(
    condition: dict[str, Any], known: Facts, expected: bool
) -> None:
    assert holds(condition, known) is expected


def test_a_star_in_a_scene_is_captured() -> None:
    condition = {"scan_scene": {"scene": "store_*"}}
    assert captures(condition, facts("scan", scene="store_上海")) == {"1": "上海"}


@pytest.mark.parametrize(
    ("params", "value", "expected"),
    [
        ({"is": "上海"}, "上海", True),
        ({"is": "上海"}, " 上海 ", True),
        ({"is": "VIP"}, "vip", True),
        ({"is": 18}, "18", True),
        ({"is": "18"}, 18.0, True),
        ({"is": 18}, "十八", False),
        ({"is": "007"}, "7", False),  # two texts are compared as texts
        ({"is": True}, True, True),
        ({"is": True}, "true", True),
        ({"is": True}, 1, False),
        ({"in": ["北京", "上海"]}, "上海", True),
        ({"in": ["北京"]}, "上海", False),
        ({"in": "上海"}, "上海", True),
        ({"gte": 18}, 18, True),
        ({"gte": 18}, "9", False),
        ({"gte": "18"}, 100, True),
        ({"gte": 18, "lte": 30}, 31, False),
        ({"gte": 18, "lte": 30}, 30, True),
        ({"lte": "2026-06-30"}, "2026-05-01", True),
        ({"gte": "2026-06-30"}, "2026-05-01", False),
        ({"gte": 1}, "很多", False),
        ({"gte": 1}, True, False),
        ({"gte": 0.1}, 0.1, True),
        ({"lte": 5}, "1_0", False),
        ({"is": "x"}, None, False),
        ({"is": "x"}, "", False),
        ({"is": 1}, ["1"], False),
    ],
)
def test_follower_field(params: dict[str, Any], value: Any, expected: bool) -> None:
    condition = {"follower_field": {"name": "城市", **params}}
    assert holds(condition, facts(fields={"城市": value})) is expected


def test_a_missing_field_never_matches() -> None:
    assert not holds({"follower_field": {"name": "城市", "is": "上海"}}, facts())


@pytest.mark.parametrize(
    ("start", "end", "moment", "expected"),
    [
        ("09:00", "18:00", "2025-03-03 09:00", True),
        ("09:00", "18:00", "2025-03-03 17:59", True),
        ("09:00", "18:00", "2025-03-03 18:00", False),
        ("22:00", "08:00", "2025-03-03 23:59", True),
        ("22:00", "08:00", "2025-03-03 00:00", True),
        ("22:00", "08:00", "2025-03-03 08:00", False),
        ("20:00", "24:00", "2025-03-03 23:59", True),
        ("20:00", "24:00", "2025-03-03 00:00", False),
        ("00:00", "24:00", "2025-03-03 12:00", True),
    ],
)
def test_time_of_day_is_the_clock_of_shanghai(
    start: str, end: str, moment: str, expected: bool
) -> None:
    condition = {"time_of_day": {"from": start, "until": end}}
    assert holds(condition, facts(text="a", at=at(moment))) is expected


@pytest.mark.parametrize(
    ("on", "moment", "expected"),
    [
        (["mon", "fri"], "2025-03-03 00:00", True),
        ("MON", "2025-03-03 23:59", True),
        (["tue"], "2025-03-03 12:00", False),
        (["2025-03-03"], "2025-03-03 00:30", True),
        (["2025-03-03", "tue"], "2025-03-04 00:30", True),
        (["2025-03-03"], "2025-03-02 23:59", False),
    ],
)
def test_days_are_days_of_shanghai(on: Any, moment: str, expected: bool) -> None:
    assert holds({"days": {"on": on}}, facts(text="a", at=at(moment))) is expected


@pytest.mark.parametrize(
    ("fired", "expected"),
    [
        ({}, True),
        ({"R": MONDAY - timedelta(hours=1)}, False),
        ({"R": MONDAY - timedelta(hours=2)}, True),
        ({"another": MONDAY}, True),
    ],
)
def test_cooldown_is_of_this_rule(fired: dict[str, Any], expected: bool) -> None:
    assert holds({"cooldown": {"hours": 2}}, facts(text="a", fired=fired)) is expected


def test_every_condition_says_what_section_4_asks_for() -> None:
    assert set(members("rules.conditions")) == {
        "text_is",
        "text_contains",
        "text_starts",
        "text_pattern",
        "text_regex",
        "message_kind",
        "menu_key",
        "scan_scene",
        "subscribed_from",
        "follower_tag",
        "follower_field",
        "first_message",
        "time_of_day",
        "days",
        "cooldown",
    }
    for name, member in members("rules.conditions").items():
        assert name == member.NAME
        assert set(member.LABEL) == {"zh", "en"}
        assert member.Params.model_json_schema()["type"] == "object"
