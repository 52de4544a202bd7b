"""Customer-service messages 客服消息: one message to one follower inside an open window."""

from collections.abc import Mapping
from typing import Any

from bot.errors import Refused
from bot.wechat.client import WeChat
from bot.wechat.contents import customer_service_json

SEND = "/cgi-bin/message/custom/send"


def send(wechat: WeChat, open_id: str, content: Mapping[str, Any]) -> None:
    """Send one message. The platform gives no id and knows no idempotency key: without an answer never repeat it.

    Source: docs/wechat-limits.md 9 (read 2026-11).

    Raises:
        WeChatError: 45015 window closed, 45047 allowance used up, 48002 messages off, …
        Invalid: the content cannot be sent so.
        Refused: no OpenID.
    """
    wechat.call(SEND, payload(open_id, content))


def payload(open_id: str, content: Mapping[str, Any]) -> dict[str, Any]:
    """What is posted.

    Raises:
        Invalid: the content cannot be sent so.
        Refused: no OpenID.
    """
    if not open_id.strip():
        raise Refused("a customer-service message needs an OpenID")
    return {"touser": open_id, **customer_service_json(content)}
