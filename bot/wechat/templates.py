"""Template messages 模板消息: service notices of verified service accounts. Never marketing (40249).

Source: docs/wechat-limits.md 10 (read 2026-11).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bot.errors import Refused
from bot.wechat.client import WeChat

SEND = "/cgi-bin/message/template/send"
# of one follower and one client_msg_id the platform takes one message in 10 minutes
MAX_CLIENT_MSG_ID = 32


@dataclass(frozen=True, slots=True)
class Template:
    """A template of the account. ``long_term``: one accept permits any number of notices."""

    id: str
    title: str
    content: str
    example: str
    long_term: bool = False


def payload(open_id: str, notice: Mapping[str, Any], client_msg_id: str) -> dict[str, Any]:
    """What is posted. ``notice`` is that of ``bot.content``, filled for this follower.

    Raises:
        Refused: no OpenID.
    """
    body = notice_json(open_id, notice)
    if notice.get("url"):
        body["url"] = notice["url"]
    mini_program = mini_program_json(notice)
    if mini_program is not None:
        body["miniprogram"] = mini_program
    return {**body, "client_msg_id": client_msg_id[:MAX_CLIENT_MSG_ID]}


def message_id(answer: Mapping[str, Any]) -> str:
    """The 64-bit id of an answer as text; "" where it names none."""
    found = answer.get("msgid")
    return "" if found is None or isinstance(found, bool) else str(found)


def notice_json(open_id: str, notice: Mapping[str, Any]) -> dict[str, Any]:
    """The part that template messages and subscription notices share.

    Raises:
        Refused: no OpenID.
    """
    if not open_id.strip():
        raise Refused("a notice needs an OpenID")
    return {
        "touser": open_id,
        "template_id": notice["template"],
        "data": {key: {"value": value} for key, value in notice["data"].items()},
    }


def mini_program_json(notice: Mapping[str, Any]) -> dict[str, str] | None:
    """The page of a mini program that opens, where one is named."""
    page = notice.get("mini_program")
    if not page:
        return None
    return {"appid": page["app_id"], "pagepath": page.get("page", "")}


def every(wechat: WeChat) -> list[Template]:
    """The templates of the account.

    Raises:
        WeChatError: the platform said no, or did not answer.
    """
    rows = wechat.call("/cgi-bin/template/get_all_private_template").get("template_list")
    return [
        Template(
            str(row["template_id"]),
            str(row.get("title") or ""),
            str(row.get("content") or ""),
            str(row.get("example") or ""),
        )
        for row in (rows if isinstance(rows, list) else [])
        if isinstance(row, dict) and row.get("template_id")
    ]
