"""Any content as a phone shows it, half written ones too."""

from typing import Any

import pytest
from flask import Flask
from flask_babel import Babel
from hypothesis import given
from hypothesis import strategies as st

from bot.console.phone import Phone, phone


@pytest.fixture(autouse=True)
def _words() -> Any:
    app = Flask("phone")
    Babel(app)
    with app.test_request_context():
        yield


@pytest.mark.parametrize(
    ("content", "fields", "expected"),
    [
        ({"text": "{称呼|您}好 {link:wb}"}, {"称呼": "林"}, Phone("text", text="林好 …/l/wb")),
        ({"image": {"file": "a.png"}}, {}, Phone("media", title="图片", file="a.png")),
        (
            {"menu_message": {"head": "问", "items": [{"id": "1", "text": "答"}], "tail": "谢"}},
            {},
            Phone("menu", text="问", buttons=("答",), foot="谢"),
        ),
        (
            {
                "article": {
                    "draft": {"title": "攻略", "html": "<p>正文</p>", "cover": {"file": "c"}}
                }
            },
            {},
            Phone("card", title="攻略", text="正文", file="c", foot="图文"),
        ),
        ({"article": {"article": "攻略"}}, {}, Phone("card", title="攻略", foot="图文")),
        (
            {"notice": {"template": "T", "data": {"thing1": "{称呼|您}"}, "url": "https://e.com"}},
            {},
            Phone("notice", title="服务通知", lines=(("优惠", "您"),), foot="查看详情"),
        ),
        ({}, {}, None),
        (None, {}, None),
    ],
)
def test_how_it_looks(content: Any, fields: dict[str, Any], expected: Phone | None) -> None:
    assert phone(content, fields, {"thing1": "优惠"}) == expected


@given(
    st.sampled_from(
        ["text", "image", "news", "article", "mini_program", "menu_message", "notice", "x"]
    ),
    st.none() | st.text() | st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=3),
)
def test_what_is_half_written_never_fails(kind: str, value: Any) -> None:
    assert phone({kind: value}) is not None
