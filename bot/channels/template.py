"""Template messages (模板消息): service notices to followers of a verified service account. Never marketing."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from bot.campaigns.reach import Candidate
from bot.channels import Item
from bot.content import TEMPLATE
from bot.errors import Refused
from bot.wechat import templates
from bot.wechat.client import WeChat
from bot.wechat.templates import message_id

NAME = TEMPLATE
LABEL = {"zh": "模板消息", "en": "Template message"}
CONTENT_KINDS = ("notice",)
SERIAL = False
BULK = True
API = templates.SEND  # whose quota of the day it uses
# client_msg_id keeps a repeat out for 10 minutes only, and a minute's repeat is not what it is for:
# unsure, so never repeated. Source: docs/wechat-limits.md 10 (read 2026-11)
REPEAT_WITHOUT_ANSWER = False
ACCOUNT_KINDS = ("service",)
MESSAGE_CLASSES = ("service",)


def blocked(candidate: Candidate, content: Mapping[str, Any], now: datetime) -> str | None:
    """Nothing blocks it: who follows gets service notices, and who refused them is told by the platform (43101)."""
    return None


def request(item: Item) -> tuple[str, dict[str, Any]]:
    """The call that sends ``payload["content"]``.

    Raises:
        Refused: the row names no follower.
    """
    if item.open_id is None:
        raise Refused("a template message needs a follower")
    notice = item.payload["content"]["notice"]
    return templates.SEND, templates.payload(item.open_id, notice, f"q{item.id}")


def receipt(answer: Mapping[str, Any]) -> dict[str, Any]:
    """``msg_id``, the one the result of the message names later."""
    return {"msg_id": message_id(answer)}


def send(wechat: WeChat, item: Item) -> dict[str, Any]:
    """Send one.

    Raises:
        Refused: as ``request``.
        WeChatError: the platform refused, or did not answer.
    """
    path, payload = request(item)
    return receipt(wechat.call(path, payload))
