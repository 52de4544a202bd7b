"""The platform's own tags 标签: at most 100 an account, 20 a follower. Ours are in ``bot.tags``.

Source: docs/wechat-limits.md 5 (read 2026-11). Verified accounts only.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from bot.errors import Refused, WeChatError
from bot.wechat.client import WeChat
from bot.wechat.users import Page, page_of

MAX_TAGS = 100  # an account, 45056
MAX_TAGS_OF_FOLLOWER = 20  # 45059
MAX_OPEN_IDS = 50  # a call; stated for tagging only, assumed for untagging
# bytes of UTF-8; the page says 30 characters, the text of 45158 30 bytes: unsure, so the stricter
MAX_NAME_BYTES = 30
SOME_FAILED = 45171


@dataclass(frozen=True, slots=True)
class PlatformTag:
    """A tag of the platform; ids 0, 1 and 2 are its own. ``count`` is how many followers carry it."""

    id: int
    name: str
    count: int


def create(wechat: WeChat, name: str) -> int:
    """Make a tag and return its id.

    Raises:
        Refused: the name is empty or over 30 bytes of UTF-8.
        WeChatError: 45056 too many, 45157 the name exists, …
    """
    _check_name(name)
    tag = wechat.call("/cgi-bin/tags/create", {"tag": {"name": name}}).get("tag")
    tag_id = tag.get("id") if isinstance(tag, dict) else None
    if not isinstance(tag_id, int):
        raise WeChatError(
            None, "微信接口的回答里没有标签 ID", permanent=False, wait_seconds=60, action="unknown"
        )
    return tag_id


def all(wechat: WeChat) -> list[PlatformTag]:
    """Every tag of the account, the platform's own too.

    Raises:
        WeChatError: the platform said no, or did not answer.
    """
    rows = wechat.call("/cgi-bin/tags/get").get("tags")
    return [
        PlatformTag(row["id"], str(row.get("name") or ""), int(row.get("count") or 0))
        for row in (rows if isinstance(rows, list) else [])
        if isinstance(row, dict) and isinstance(row.get("id"), int)
    ]


def rename(wechat: WeChat, wechat_tag_id: int, name: str) -> None:
    """Give a tag another name.

    Raises:
        Refused, WeChatError: as ``create``.
    """
    _check_name(name)
    wechat.call("/cgi-bin/tags/update", {"tag": {"id": wechat_tag_id, "name": name}})


def delete(wechat: WeChat, wechat_tag_id: int) -> None:
    """Delete a tag.

    Raises:
        WeChatError: 45057 over 100,000 followers carry it, 45058 it is the platform's own, …
    """
    wechat.call("/cgi-bin/tags/delete", {"tag": {"id": wechat_tag_id}})


def tag(wechat: WeChat, wechat_tag_id: int, open_ids: Sequence[str]) -> list[str]:
    """Tag up to 50 followers; returns those that failed, to be tried again.

    Never run two tag changes of one follower at once (45169).

    Raises:
        Refused: more than 50.
        WeChatError: the whole call was refused, or not answered.
    """
    return _change(wechat, "batchtagging", wechat_tag_id, open_ids)


def untag(wechat: WeChat, wechat_tag_id: int, open_ids: Sequence[str]) -> list[str]:
    """Take a tag from up to 50 followers; as ``tag``."""
    return _change(wechat, "batchuntagging", wechat_tag_id, open_ids)


def members(wechat: WeChat, wechat_tag_id: int, next_open_id: str = "") -> Page:
    """A page of the followers who carry a tag.

    Raises:
        WeChatError: 45159 no such tag, …
    """
    payload = {"tagid": wechat_tag_id, "next_openid": next_open_id}
    return page_of(wechat.call("/cgi-bin/user/tag/get", payload))


def _change(wechat: WeChat, name: str, tag_id: int, open_ids: Sequence[str]) -> list[str]:
    if len(open_ids) > MAX_OPEN_IDS:
        raise Refused(f"at most {MAX_OPEN_IDS} followers can be tagged at once")
    if not open_ids:
        return []
    payload = {"openid_list": list(open_ids), "tagid": tag_id}
    try:
        wechat.call(f"/cgi-bin/tags/members/{name}", payload)
    except WeChatError as error:
        if error.errcode != SOME_FAILED:
            raise
        failed = error.body.get("fail_openid_list")
        # without a list nobody knows who failed, so everybody is tried again
        return [str(item) for item in failed] if isinstance(failed, list) else list(open_ids)
    return []


def _check_name(name: str) -> None:
    if not name.strip() or len(name.encode()) > MAX_NAME_BYTES:
        raise Refused(
            f"the platform takes tag names of 1 to {MAX_NAME_BYTES} bytes (10 Chinese characters)"
        )
