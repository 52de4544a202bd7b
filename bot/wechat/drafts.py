"""The draft box 草稿箱: articles of the account before they are sent or published. A draft that was leaves the box.

Source: docs/wechat-limits.md 8 (read 2026-11).
"""

from collections.abc import Mapping
from typing import Any

from bot.errors import WeChatError
from bot.wechat.client import WeChat


def article_json(document: Mapping[str, Any], html: str, cover_media_id: str) -> dict[str, Any]:
    """An article as the platform takes it. ``html`` names pictures by the platform's own addresses."""
    return {
        "article_type": "news",
        "title": document["title"],
        "author": document.get("author", ""),
        "digest": document.get("digest", ""),
        "content": html,
        "content_source_url": document.get("source_url") or "",
        "thumb_media_id": cover_media_id,
    }


def add(wechat: WeChat, article: Mapping[str, Any]) -> str:
    """Put an article of ``article_json`` into the box; its media_id, which ends when it is sent or published.

    Raises:
        WeChatError: 45003 the title, 40007 the cover, 45166 the text, …
    """
    found = wechat.call("/cgi-bin/draft/add", {"articles": [dict(article)]}).get("media_id")
    if isinstance(found, str) and found:
        return found
    raise WeChatError(
        None, "微信接口的回答里没有 media_id", permanent=False, wait_seconds=60, action="unknown"
    )


def update(wechat: WeChat, media_id: str, article: Mapping[str, Any]) -> None:
    """Change the one article of a draft.

    Raises:
        WeChatError: 40007 it is not in the box any more; others as ``add``.
    """
    payload = {"media_id": media_id, "index": 0, "articles": dict(article)}
    wechat.call("/cgi-bin/draft/update", payload)


def delete(wechat: WeChat, media_id: str) -> None:
    """Take a draft out of the box for good.

    Raises:
        WeChatError: 40007 it is not there, …
    """
    wechat.call("/cgi-bin/draft/delete", {"media_id": media_id})
