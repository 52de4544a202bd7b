"""Publishing 发布: a draft becomes a page with an address of its own, and nobody is told.

No push to followers, no slot of the month, not on the account's home page.
Source: docs/wechat-limits.md 8 (read 2026-11).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bot.errors import WeChatError
from bot.wechat.client import WeChat

DONE, AT_WORK = 0, 1
PROBLEMS = {
    2: "原创声明没有通过",
    3: "发布失败",
    4: "平台审核没有通过",
    5: "文章发布后被删除",
    6: "文章发布后被平台封禁",
}


@dataclass(frozen=True, slots=True)
class Publication:
    """How far a publication is. ``problem``: why there is no page, or none any more."""

    publish_id: str
    status: int
    article_id: str = ""
    url: str = ""

    @property
    def problem(self) -> str | None:
        if self.status in (DONE, AT_WORK):
            return None
        return PROBLEMS.get(self.status, f"发布状态 {self.status}")


def submit(wechat: WeChat, media_id: str) -> str:
    """Publish a draft; the number of the work, whose result is pushed.

    Raises:
        WeChatError: 53503 the draft was checked and refused, 53504 only on the platform's site, …
    """
    found = wechat.call("/cgi-bin/freepublish/submit", {"media_id": media_id}).get("publish_id")
    if isinstance(found, int | str) and not isinstance(found, bool) and str(found).strip():
        return str(found).strip()
    raise WeChatError(
        None, "微信接口的回答里没有 publish_id", permanent=False, wait_seconds=60, action="unknown"
    )


def ask(wechat: WeChat, publish_id: str) -> Publication:
    """How far a publication is, where its event never came; 100 questions a day.

    Raises:
        WeChatError: 53502 no such number, …
    """
    return read(wechat.call("/cgi-bin/freepublish/get", {"publish_id": publish_id}))


def delete(wechat: WeChat, article_id: str) -> None:
    """Take a published page away. It cannot be brought back; 10 a day.

    Raises:
        WeChatError: 53600 no such page, …
    """
    wechat.call("/cgi-bin/freepublish/delete", {"article_id": article_id, "index": 0})


def read(fields: Mapping[str, Any]) -> Publication:
    """A publication as event and answer tell it; numbers may be texts, and a list of one no list."""
    detail = fields.get("article_detail")
    items = detail.get("item") if isinstance(detail, Mapping) else None
    listed = items if isinstance(items, list) else [items]
    first = next((one for one in listed if isinstance(one, Mapping)), {})
    status = str(fields.get("publish_status", "")).strip()
    return Publication(
        publish_id=str(fields.get("publish_id") or "").strip()[:100],
        status=int(status) if status.isdecimal() and len(status) < 5 else AT_WORK,
        article_id=str(fields.get("article_id") or "").strip()[:200],
        url=str(first.get("article_url") or "").strip()[:2000],
    )
