"""The list of followers and their details 用户管理. Nicknames and pictures are no longer given by the platform."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bot.errors import Refused, WeChatError
from bot.wechat.client import WeChat

PAGE = 10_000  # OpenIDs a page of user/get
MAX_DETAILS = 100  # OpenIDs a call of batchget, else 40032


@dataclass(frozen=True, slots=True)
class Page:
    """One page of OpenIDs. ``next_open_id`` is "" on the last one."""

    total: int
    open_ids: tuple[str, ...]
    next_open_id: str


def list_open_ids(wechat: WeChat, next_open_id: str = "") -> Page:
    """A page of followers, at most 10,000, that begins after ``next_open_id`` ("" is the start).

    Not a snapshot: who leaves or comes meanwhile may be missed. 500 calls a day.
    Source: docs/wechat-limits.md 5 (read 2026-11).

    Raises:
        WeChatError: the platform said no, or did not answer.
    """
    body = wechat.call("/cgi-bin/user/get", params={"next_openid": next_open_id})
    return page_of(body)


def details(wechat: WeChat, open_ids: Sequence[str]) -> list[dict[str, Any]]:
    """What the platform tells of up to 100 followers: subscribe, subscribe_time, tagid_list, scenes, remark.

    Source: docs/wechat-limits.md 5: one foreign OpenID refuses the whole call with 40003.

    Raises:
        Refused: more than 100.
        WeChatError: the platform said no, or did not answer.
    """
    if len(open_ids) > MAX_DETAILS:
        raise Refused(f"details of at most {MAX_DETAILS} followers can be asked at once")
    if not open_ids:
        return []
    users = [{"openid": open_id, "lang": "zh_CN"} for open_id in open_ids]
    body = wechat.call("/cgi-bin/user/info/batchget", {"user_list": users})
    rows = body.get("user_info_list")
    return [
        row
        for row in (rows if isinstance(rows, list) else [])
        if isinstance(row, dict) and row.get("openid")
    ]


def set_remark(wechat: WeChat, open_id: str, remark: str) -> None:
    """Set the remark of one follower, at most 30 characters; "" removes it.

    Source: docs/wechat-limits.md 5 (user service of MudWechat; read 2026-11).
    """
    wechat.call("/cgi-bin/user/info/updateremark", {"openid": open_id, "remark": remark})


def page_of(body: dict[str, Any]) -> Page:
    """A page from an answer of user/get or user/tag/get; ``data`` is absent where it is empty.

    Raises:
        WeChatError: the answer has another shape.
    """
    data = body.get("data") or {}
    open_ids = data.get("openid") if isinstance(data, dict) else None
    found = [item for item in open_ids or [] if isinstance(item, str) and item]
    count = body.get("count", len(found))
    if not isinstance(open_ids or [], list) or (isinstance(count, int) and count > len(found)):
        # a page that lost its list must not look like the end of the followers
        raise WeChatError(
            None, "粉丝列表的回答不完整", permanent=False, wait_seconds=10, action="retry"
        )
    total = body.get("total", len(found))
    following = body.get("next_openid")
    return Page(
        total if isinstance(total, int) else len(found),
        tuple(found),
        following if found and isinstance(following, str) else "",
    )
