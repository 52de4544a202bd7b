"""Content to the platform's JSON, kind by kind."""

from typing import Any

import pytest

from bot.errors import Invalid
from bot.wechat.contents import customer_service_json, mass_json, preview_json

M = {"media_id": "M"}
VIDEO = {"media_id": "M", "title": "题", "description": "述"}


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ({"text": "好"}, {"msgtype": "text", "text": {"content": "好"}}),
        ({"image": M}, {"msgtype": "image", "image": M}),
        ({"voice": M}, {"msgtype": "voice", "voice": M}),
        (
            {"article": {"article_id": "A"}},
            {"msgtype": "mpnewsarticle", "mpnewsarticle": {"article_id": "A"}},
        ),
        (
            {"mini_program": {"title": "单", "app_id": "wx1", "page": "p", "cover": M}},
            {
                "msgtype": "miniprogrampage",
                "miniprogrampage": {
                    "title": "单",
                    "appid": "wx1",
                    "pagepath": "p",
                    "thumb_media_id": "M",
                },
            },
        ),
        (
            {"menu_message": {"head": "问", "items": [{"id": "1", "text": "答"}]}},
            {
                "msgtype": "msgmenu",
                "msgmenu": {
                    "head_content": "问",
                    "list": [{"id": "1", "content": "答"}],
                    "tail_content": "",
                },
            },
        ),
        ({"video": VIDEO}, {"msgtype": "video", "video": VIDEO}),
        (
            {"music": {"title": "歌", "url": "https://e.com/a", "thumb": {"media_id": "T"}}},
            {
                "msgtype": "music",
                "music": {
                    "title": "歌",
                    "description": "",
                    "musicurl": "https://e.com/a",
                    "hqmusicurl": "",
                    "thumb_media_id": "T",
                },
            },
        ),
        (
            {"news": {"title": "题", "url": "https://e.com", "image": "https://e.com/p"}},
            {
                "msgtype": "news",
                "news": {
                    "articles": [
                        {
                            "title": "题",
                            "description": "",
                            "url": "https://e.com",
                            "picurl": "https://e.com/p",
                        }
                    ]
                },
            },
        ),
    ],
)
def test_customer_service(content: dict[str, Any], expected: dict[str, Any]) -> None:
    assert customer_service_json(content) == expected


@pytest.mark.parametrize(
    ("content", "sent", "previewed"),
    [
        ({"text": "好"}, {"text": {"content": "好"}}, {"text": {"content": "好"}}),
        ({"image": M}, {"images": {"media_ids": ["M"]}}, {"image": M}),
        ({"voice": M}, {"voice": M}, {"voice": M}),
        ({"video": VIDEO}, {"mpvideo": M}, {"mpvideo": M}),
    ],
)
def test_mass_and_preview(
    content: dict[str, Any], sent: dict[str, Any], previewed: dict[str, Any]
) -> None:
    kind = {"video": "mpvideo"}.get(next(iter(content)), next(iter(content)))
    assert mass_json(content) == {"msgtype": kind, **sent}
    assert preview_json(content) == {"msgtype": kind, **previewed}


@pytest.mark.parametrize("content", [{}, {"hologram": 1}, {"image": {"file": "a.png"}}])
def test_what_cannot_be_sent_is_invalid(content: dict[str, Any]) -> None:
    for render in (customer_service_json, mass_json, preview_json):
        with pytest.raises(Invalid):
            render(content)
