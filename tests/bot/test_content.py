"""Content: kinds, limits, where each may go, and placeholders."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot import content
from bot.content import CUSTOMER_SERVICE, MASS, REPLY
from bot.errors import Invalid

NEWS = {"news": {"title": "标题", "url": "https://example.com/"}}
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
