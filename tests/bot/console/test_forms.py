"""Forms drawn from declared parameters: every kind is drawn, read back the same, and errors stand beside fields."""

from datetime import datetime, time
from enum import Enum
from typing import Annotated, Any, Literal

import pytest
from flask import Flask, render_template_string
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import Field
from werkzeug.datastructures import MultiDict

from bot import params
from bot.console import forms
from bot.console.shapes import params_of
from bot.content import Content
from bot.params import Params
from bot.registry import members
from rules.model import ACTIONS, CONDITIONS, dump, load
from rules.rule import Active
from tests.bot.console import pages

PAGE = '{% import "_form.html" as form with context %}{{ form.fields(fields) }}'


class Size(Enum):
    SMALL = "s"
    LARGE = "l"


class Inner(Params):
    tag: params.TagName
    times: int = 1


class Strange(Params):
    """What a plug-in may come up with."""

    table: dict[str, int] = {}
    nested: Inner | None = None
    several: list[Inner] = []
    deep: "Strange | None" = None
    size: Size | None = None
    level: Literal[1, 2, 3] = 1
    share: Annotated[float, Field(ge=0, le=1, title="比例", description="0 到 1")] = 0.5
    whole_day: bool = False
    either: bool | None = None
    at: params.Moment | None = None
    when: params.ClockTime | None = None
    one_or_more: str | list[str] = []
    pair: tuple[int, str] | None = None
    values: list[params.FieldValue] = []
    scores: list[float] = []


@pytest.fixture(scope="module")
def page() -> Any:
    app = Flask("bot.console", root_path="bot/console")
    app.jinja_env.globals["_"] = lambda text, **values: text % values

    def draw(fields: list[forms.Field]) -> str:
        with app.app_context():
            return render_template_string(PAGE, fields=fields)

    return draw


def again(page: Any, model: Any, value: Any, prefix: str = "then.0.it") -> Any:
    """Drawn, posted untouched, read."""
    return forms.read(model, pages.form(page(forms.draw(model, value, prefix=prefix))), prefix)


WRITTEN: list[tuple[str, str, Any]] = [
    (CONDITIONS, "text_is", {"any": ["优惠券", " 两端 ", "<b>&\"'"]}),
    (CONDITIONS, "text_contains", {"any": ["一行\n两行", "甲"]}),
    (CONDITIONS, "text_starts", {"any": ["券"]}),
    (CONDITIONS, "text_pattern", {"pattern": "我想要*"}),
    (CONDITIONS, "text_regex", {"pattern": "^(?P<n>\\d+)$"}),
    (CONDITIONS, "message_kind", {"any": ["image", "voice"]}),
    (CONDITIONS, "menu_key", {"any": ["M_COUPON"]}),
    (CONDITIONS, "scan_scene", {"scene": "store_*"}),
    (CONDITIONS, "subscribed_from", {}),
    (CONDITIONS, "subscribed_from", {"scene": "weibo"}),
    (CONDITIONS, "follower_tag", {"has": "新客"}),
    (CONDITIONS, "follower_tag", {"lacks": "黑名单"}),
    (CONDITIONS, "follower_field", {"name": "年龄", "gte": 18, "lte": 25.5}),
    (CONDITIONS, "follower_field", {"name": "编号", "is": "007"}),
    (CONDITIONS, "follower_field", {"name": "会员", "is": True}),
    (CONDITIONS, "follower_field", {"name": "城市", "in": ["上海", "杭州"]}),
    (CONDITIONS, "follower_field", {"name": "城市", "in": ["上海", 2]}),
    (CONDITIONS, "first_message", {}),
    (CONDITIONS, "time_of_day", {"from": "22:00", "until": "08:00"}),
    (CONDITIONS, "days", {"on": ["mon", "sun", "2026-11-11"]}),
    (CONDITIONS, "cooldown", {"hours": 0.5}),
    (ACTIONS, "reply", {"text": "\n你好 {昵称|你}\n\n第二行"}),
    (ACTIONS, "reply", {"image": {"file": "一.png"}}),
    (ACTIONS, "reply", {"video": {"media_id": "m1", "title": "片"}}),
    (ACTIONS, "reply", {"music": {"title": "歌", "thumb": {"file": "c.png"}}}),
    (ACTIONS, "reply", {"news": {"title": "一", "url": "{link:coupon}", "description": "a\nb"}}),
    (ACTIONS, "reply_one_of", {"choices": [{"text": "一"}, {"image": {"media_id": "m"}}]}),
    (ACTIONS, "send_later", {"after": "10m", "content": {"text": "稍后"}}),
    (ACTIONS, "send_later", {"after": "90s", "content": {"text": "稍后"}}),
    (ACTIONS, "add_tag", {"tags": ["新客", "a,b"]}),
    (ACTIONS, "remove_tag", {"tags": ["新客"]}),
    (ACTIONS, "set_field", {"name": "城市", "value": "{1}"}),
    (ACTIONS, "set_field", {"name": "次数", "value": 3}),
    (ACTIONS, "set_field", {"name": "会员", "value": False}),
    (ACTIONS, "hand_over", {}),
    (ACTIONS, "record", {"event": "看直播"}),
]


def test_the_table_below_has_every_member() -> None:
    named = {(folder, name) for folder, name, _value in WRITTEN}
    assert named == {(folder, name) for folder in (CONDITIONS, ACTIONS) for name in members(folder)}


@pytest.mark.parametrize(("folder", "name", "value"), WRITTEN)
def test_parameters_posted_untouched_are_the_same(
    page: Any, folder: str, name: str, value: Any
) -> None:
    body = _rule(folder, name, value)
    read = again(page, members(folder)[name].Params, value)
    assert dump(load(_rule(folder, name, read))) == dump(load(body))


@pytest.mark.parametrize(
    "value",
    [
        {},
        {"from": "2026-11-01T00:00:00+08:00", "until": "2026-11-20T23:59:59+08:00"},
        {"hours": "22:00-08:00"},
        {"hours": "00:00-24:00"},
    ],
)
def test_when_a_rule_is_in_force_survives_the_form(page: Any, value: Any) -> None:
    read = again(page, Active, value, "active")
    assert Active.model_validate(read) == Active.model_validate(value)


def test_parameters_of_any_plug_in_can_be_edited(page: Any) -> None:
    value = {
        "table": {"a": 1},
        "nested": {"tag": "新客", "times": 2},
        "several": [{"tag": "一"}, {"tag": "二", "times": 5}],
        "deep": {"deep": {"deep": {"deep": {"size": "l"}}}},
        "size": "s",
        "level": 2,
        "share": 0.25,
        "whole_day": True,
        "either": False,
        "at": "2026-11-25T20:30:00+08:00",
        "when": "08:05",
        "one_or_more": ["a", "b"],
        "pair": [1, "x"],
        "values": [1, 2.5],
        "scores": [1, 0.5],
    }
    read = again(page, Strange, value)
    assert Strange.model_validate(read) == Strange.model_validate(value)
    assert Strange.model_validate(again(page, Strange, {})) == Strange()


def test_what_is_not_known_is_written_as_yaml() -> None:
    form = MultiDict({"table:json": "a: 1\nb: 2", "pair:json": '[1, "x"]'})
    assert forms.read(Strange, form)["table"] == {"a": 1, "b": 2}
    assert forms.read(Strange, form)["pair"] == [1, "x"]


def test_labels_are_chinese_and_a_plug_ins_are_its_own() -> None:
    field = forms.draw(members(CONDITIONS)["text_is"].Params, None)[0]
    assert (field.label, field.kind, field.required) == ("关键词", "words", True)
    share = next(field for field in forms.draw(Strange, None) if field.name == "share")
    assert (share.label, share.hint, share.low, share.high) == ("比例", "0 到 1", 0.0, 1.0)
    assert next(f for f in forms.draw(Strange, None) if f.name == "one_or_more").label


def test_every_built_in_parameter_has_a_chinese_label() -> None:
    for folder in (CONDITIONS, ACTIONS, "bot.audiences.filters"):
        for name, member in members(folder).items():
            for field in forms.draw(member.Params, None):
                assert not field.label or not field.label.isascii(), (name, field.name)


def test_names_of_the_account_may_be_chosen(page: Any) -> None:
    known = {"tag": ["新客"], "scene": [("store_1", "一店")]}
    field = forms.draw(members(CONDITIONS)["scan_scene"].Params, None, names=known)[0]
    assert (field.names, field.choices) == ("scene", (("store_1", "一店"),))
    assert 'list="names-scene"' in page([field])
    assert 'data-names="tag"' in page(forms.draw(members(ACTIONS)["add_tag"].Params, None))


def test_each_problem_stands_beside_its_field_and_what_was_typed_is_kept(page: Any) -> None:
    form = MultiDict({"p.hours": "many"})
    model = members(CONDITIONS)["cooldown"].Params
    value = forms.read(model, form, "p")
    field = forms.draw(model, value, params.problems(model, value, "p"), "p")[0]
    assert field.value == "many" and field.error
    html = page([field])
    assert 'value="many"' in html and field.error in html and 'aria-invalid="true"' in html


@pytest.mark.parametrize(
    ("folder", "name", "form", "place"),
    [
        (CONDITIONS, "text_is", {}, "p.any"),
        (CONDITIONS, "follower_tag", {}, "p"),
        (CONDITIONS, "time_of_day", {"p.from": "25:00", "p.until": "08:00"}, "p.from"),
        (CONDITIONS, "follower_field", {"p.name": "a\x01"}, "p.name"),
        (ACTIONS, "reply", {"p:kind": "text", "p.text": "  "}, "p"),
        (ACTIONS, "reply", {"p:kind": "news", "p.news.title": "一"}, "p.news.url"),
        (ACTIONS, "reply", {"p:kind": "image"}, "p.image"),
        (ACTIONS, "send_later", {"p.after": "x", "p.after:unit": "m"}, "p.after"),
        (ACTIONS, "reply_one_of", {"p.choices.3:kind": "voice"}, "p.choices.0.voice"),
    ],
)
def test_a_problem_finds_its_field(folder: str, name: str, form: Any, place: str) -> None:
    model = members(folder)[name].Params
    value = forms.read(model, MultiDict(form), "p")
    drawn = forms.draw(model, value, params.problems(model, value, "p"), "p")
    assert place in [field.name for field in _every(drawn) if field.error]


def test_a_problem_of_no_field_is_said_in_front() -> None:
    drawn = forms.draw(Active, {}, [("active.bogus", "is not known here"), ("when", "x")], "active")
    assert [field.error for field in drawn if field.kind == "note"] == ["不认识这一项"]


def test_items_are_read_in_the_order_of_the_page() -> None:
    form = MultiDict(
        [
            ("choices.7:kind", "text"), ("choices.7.text", "先"),
            ("choices.2:kind", "text"), ("choices.2.text", "后"),
        ]
    )  # fmt: skip
    read = forms.read(members(ACTIONS)["reply_one_of"].Params, form)
    assert [item["text"] for item in read["choices"]] == ["先", "后"]


@pytest.mark.parametrize(
    ("typed", "read"),
    [
        ("3", 3), ("0.5", 0.5), ("-2", -2), ("1e999", "1e999"), ("nan", "nan"), ("9" * 400, "9" * 400),
        ("１", "１"), ("1_0", "1_0"), ("x", "x"),
    ],
)  # fmt: skip
def test_only_plain_numbers_are_numbers(typed: str, read: Any) -> None:
    assert forms.read(members(CONDITIONS)["cooldown"].Params, MultiDict({"hours": typed})) == {
        "hours": read
    }


def test_a_choice_nobody_offered_is_refused_by_the_model() -> None:
    read = forms.read(Strange, MultiDict({"level": "9", "size": "xl"}))
    assert {place for place, _ in params.problems(Strange, read)} == {"level", "size"}


MODELS = [
    member.Params for folder in (CONDITIONS, ACTIONS) for member in members(folder).values()
] + [Strange, Active, Content]


def _names(model: Any, prefix: str, depth: int = 0) -> list[str]:
    found = [prefix, f"{prefix}:kind", f"{prefix}:json"]
    if depth > 2:
        return found
    for param in params_of(model):
        name = f"{prefix}.{param.name}"
        found += [name, *(f"{name}:{part}" for part in ("json", "type", "unit", "from", "until"))]
        if param.shape.model is not None:
            found += _names(param.shape.model, name, depth + 1)
            found += _names(param.shape.model, f"{name}.1", depth + 1)
    return found


@settings(max_examples=80, deadline=None)
@given(data=st.data())
def test_no_posted_form_breaks_the_reader_or_the_drawing(data: st.DataObject) -> None:
    """Whatever is posted is read, checked and drawn again with what was typed; it can be stored as JSON."""
    model = data.draw(st.sampled_from(MODELS))
    texts = st.text(max_size=12) | st.sampled_from(
        ["text", "image", "true", "number", "flag", "{", "a: [", "1e5", "9" * 5000, "24:00", "\x00"]
    )
    pairs = st.tuples(st.sampled_from(_names(model, "p")), texts)
    form = MultiDict(data.draw(st.lists(pairs, max_size=12)))
    value = forms.read(model, form, "p")
    found = params.problems(model, value, "p")
    drawn = forms.draw(model, value, found if isinstance(found, list) else (), "p")
    assert "\x00" not in repr(value)
    if isinstance(found, list):
        assert {text for field in _every(drawn) if (text := field.error)}


def _every(fields: Any) -> list[forms.Field]:
    return [one for field in fields for one in (field, *_every(field.children))]


def _rule(folder: str, name: str, value: Any) -> dict[str, Any]:
    when = [{name: value}] if folder == CONDITIONS else []
    then = [{name: value}] if folder == ACTIONS else [{"record": {"event": "x"}}]
    return {"rules": [{"name": "r", "when": when, "then": then}], "fallback": None}


def test_a_moment_is_typed_on_the_shanghai_clock() -> None:
    value = {"at": datetime.fromisoformat("2026-11-25T12:30:00+00:00").isoformat()}
    field = next(one for one in forms.draw(Strange, value) if one.name == "at")
    assert field.value == "2026-11-25T20:30"
    read = Strange.model_validate(forms.read(Strange, MultiDict({"at": field.value})))
    assert read.at is not None and read.at.isoformat() == "2026-11-25T12:30:00+00:00"
    assert Strange.model_validate({"when": "08:05"}).when == time(8, 5)
