"""Content: kinds, limits, where each may go, and placeholders."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot import content
from bot.content import CUSTOMER_SERVICE, MASS, REPLY, SUBSCRIPTION, TEMPLATE, WEBHOOK
from bot.errors import Invalid

NEWS = {"news": {"title": "标题", "url": "https://example.com/"}}
MINI = {
    "mini_program": {"title": "下单", "app_id": "wx0123456789abcdef", "page": "p", "cover": {"file": "c.png"}}
}  # fmt: skip
MENU = {"menu_message": {"head": "满意吗", "items": [{"id": "1", "text": "满意"}]}}
DRAFT = {"article": {"draft": {"title": "攻略", "html": "<p>{x}</p>", "cover": {"file": "c.png"}}}}
NOTICE = {"notice": {"template": "TPL", "data": {"thing1": "{称呼|您}的券"}, "url": "{link:wb}"}}
MUSIC = {"music": {"title": "歌", "thumb": {"media_id": "T"}}}


@pytest.mark.parametrize(
    ("value", "uses"),
    [
        ({"text": "你好"}, (REPLY, CUSTOMER_SERVICE, MASS)),
        ({"image": {"file": "a.jpg"}}, (REPLY, CUSTOMER_SERVICE, MASS)),
        ({"voice": {"media_id": "M"}}, (REPLY, CUSTOMER_SERVICE, MASS)),
        ({"video": {"media_id": "M", "title": "t"}}, (REPLY, CUSTOMER_SERVICE, MASS)),
        (MUSIC, (REPLY, CUSTOMER_SERVICE)),
        (NEWS, (REPLY, CUSTOMER_SERVICE)),
        ({"text": "字" * 600}, (REPLY,)),
        ({"text": "短信"}, (WEBHOOK,)),
        (MINI, (CUSTOMER_SERVICE,)),
        (MENU, (CUSTOMER_SERVICE,)),
        (DRAFT, (CUSTOMER_SERVICE, MASS)),
        ({"article": {"article": "攻略"}}, (MASS,)),
        ({"article": {"media_id": "M"}}, (MASS,)),
        (NOTICE, (TEMPLATE,)),
        (NOTICE, (SUBSCRIPTION,)),
    ],
)
def test_what_may_be_sent(value: dict[str, Any], uses: tuple[str, ...]) -> None:
    assert content.parse(value, "here", uses) == value


@pytest.mark.parametrize(
    ("value", "uses", "place"),
    [
        ({}, (REPLY,), "here"),
        ({"text": "a", "image": {"file": "a"}}, (REPLY,), "here"),
        ({"text": "  "}, (REPLY,), "here"),
        ({"text": "字" * 601}, (REPLY,), "here"),
        ({"text": "😀" * 513}, (REPLY,), "here"),
        ({"text": "a\x00b"}, (REPLY,), "here"),
        ({"text": 7}, (REPLY,), "here.text"),
        ({"sticker": "x"}, (REPLY,), "here.sticker"),
        ({"image": {}}, (REPLY,), "here.image"),
        ({"image": {"file": "a", "media_id": "b"}}, (REPLY,), "here.image"),
        ({"news": {"title": "t", "url": "javascript:alert(1)"}}, (REPLY,), "here.news"),
        (NEWS, (MASS,), "here"),
        (MUSIC, (MASS,), "here"),
        ({"text": "{称呼|您}好"}, (MASS,), "here"),
        (MINI, (MASS,), "here"),
        (MENU, (REPLY,), "here"),
        (NOTICE, (CUSTOMER_SERVICE,), "here"),
        (MUSIC, (WEBHOOK,), "here"),
        ({"article": {}}, (MASS,), "here.article"),
        ({"article": {"media_id": "M", "article": 1}}, (MASS,), "here.article"),
        ({"notice": {"template": "T", "data": {"thing1": "{称呼}"}}}, (TEMPLATE,), "here.notice"),
        ({"notice": {"template": "T", "data": {"thing1": "字" * 21}}}, (TEMPLATE,), "here.notice"),
        ({"notice": {"template": "T", "data": {}}}, (TEMPLATE,), "here.notice.data"),
        (
            {"menu_message": {"items": [{"id": "1", "text": "a"}, {"id": "1", "text": "b"}]}},
            (CUSTOMER_SERVICE,),
            "here.menu_message",
        ),
        ("你好", (REPLY,), "here"),
        (None, (REPLY,), "here"),
    ],
)
def test_what_may_not_is_told_with_its_place(value: Any, uses: tuple[str, ...], place: str) -> None:
    with pytest.raises(Invalid) as problem:
        content.parse(value, "here", uses)
    assert problem.value.field == place
    assert problem.value.message


def test_mass_content_may_hold_shared_links() -> None:
    value = {"text": "看 {link:wb} 和 {link: go }"}
    assert content.parse(value, "here", (CUSTOMER_SERVICE, MASS)) == value
    assert content.link_names(value) == {"wb", "go"}


@pytest.mark.parametrize(
    ("text", "fields", "filled"),
    [
        ("{称呼|您}好", {}, "您好"),
        ("{称呼|您}好", {"称呼": "小林"}, "小林好"),
        ("{称呼|您}好", {"称呼": ""}, "您好"),
        ("积分 {积分}", {"积分": 0}, "积分 0"),
        ("{没有}！", {}, "！"),
        ("{{称呼|您}}", {"称呼": "林"}, "{林}"),
        ("{1} 和 {称呼|您}", {"1": "字段"}, "捕获 和 您"),
        ("{link:wb}", {}, "https://q/l/wb"),
    ],
)
def test_placeholders_are_filled(text: str, fields: dict[str, Any], filled: str) -> None:
    found = content.render(
        {"text": text}, fields, {"1": "捕获"}, lambda name: f"https://q/l/{name}"
    )
    assert found == {"text": filled}


@given(st.text(max_size=900), st.text(max_size=900))
def test_a_filled_text_never_outgrows_what_the_platform_takes(name: str, value: str) -> None:
    found = content.render({"text": f"{name}{{称呼|您}}"}, {"称呼": value})["text"]
    assert len(found) <= content.TEXT_CHARACTERS
    assert len(found.encode(errors="replace")) <= content.TEXT_BYTES


def test_files_a_content_needs() -> None:
    assert content.media_of({"image": {"file": "a.jpg"}}) == [("image", {"file": "a.jpg"})]
    assert content.media_of(MUSIC) == [("thumb", {"media_id": "T"})]
    assert content.media_of({"text": "x"}) == []


def test_short_ways_to_write_become_the_long_ones() -> None:
    written = {"notice": {"template": "T", "data": {"thing1": "券"}, "link": "wb"}}
    found = content.parse(written, "here", (TEMPLATE,))
    assert found["notice"]["url"] == "{link:wb}" and content.link_names(found) == {"wb"}
    menu = content.parse(
        {"menu_message": {"items": ["满意", "不满意"]}}, "here", (CUSTOMER_SERVICE,)
    )
    assert menu["menu_message"]["items"] == [
        {"id": "1", "text": "满意"},
        {"id": "2", "text": "不满意"},
    ]
    assert content.parse(found, "here", (TEMPLATE,)) == found


def test_values_that_grow_too_long_are_cut_to_their_place() -> None:
    filled = content.render(NOTICE, {"称呼": "名字很长很长很长很长很长很长很长的人"})
    assert len(filled["notice"]["data"]["thing1"]) == 20
    menu = content.render(
        {"menu_message": {"items": [{"id": "1", "text": "{称呼|您}满意"}]}}, {"称呼": "林"}
    )
    assert menu["menu_message"]["items"][0]["text"] == "林满意"


def test_an_article_has_no_placeholders_and_its_cover_is_a_material() -> None:
    assert content.placeholders(DRAFT) == set()
    assert content.render(DRAFT, {"x": "1"}) == DRAFT
    [(kind, reference)] = content.media_of(DRAFT)
    assert (kind, reference) == ("image", {"file": "c.png"})
    replaced = content.with_media(DRAFT, [{"media_id": "M"}])
    assert replaced["article"]["draft"]["cover"] == {"media_id": "M"}
    assert content.media_of(MINI) == [("image", {"file": "c.png"})]
