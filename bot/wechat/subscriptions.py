"""Subscription notices 订阅通知: one accept of a follower permits one message, whenever it is sent.

How many are left cannot be asked: it is counted in ``bot.consents``. Source: docs/wechat-limits.md 10 (read 2026-11).
"""

from collections.abc import Mapping
from typing import Any

from bot.wechat.client import WeChat
from bot.wechat.templates import Template, mini_program_json, notice_json

SEND = "/cgi-bin/message/subscribe/bizsend"
LONG_TERM = 3  # ``type`` of a template; 2 is one-time


def payload(open_id: str, notice: Mapping[str, Any]) -> dict[str, Any]:
    """What is posted. ``notice`` is that of ``bot.content``, filled for this follower.

    Raises:
        Refused: no OpenID.
    """
    body = notice_json(open_id, notice)
    if notice.get("url"):
        body["page"] = notice["url"]
    mini_program = mini_program_json(notice)
    if mini_program is not None:
        body["miniprogram"] = mini_program
    return body


def every(wechat: WeChat) -> list[Template]:
    """The templates of the account.

    Raises:
        WeChatError: the platform said no, or did not answer.
    """
    rows = wechat.call("/wxaapi/newtmpl/gettemplate").get("data")
    return [
        Template(
            str(row["priTmplId"]),
            str(row.get("title") or ""),
            str(row.get("content") or ""),
            str(row.get("example") or ""),
            long_term=row.get("type") == LONG_TERM,
        )
        for row in (rows if isinstance(rows, list) else [])
        if isinstance(row, dict) and row.get("priTmplId")
    ]
