"""Subscription notices (订阅通知): one message for each accept a follower gave. Never marketing.

The accept is taken when the message is owed (``bot.consents``), so here nothing is counted.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from bot.campaigns.reach import Candidate
from bot.channels import Item
from bot.content import SUBSCRIPTION, template_of
from bot.errors import Refused
from bot.wechat import subscriptions
from bot.wechat.client import WeChat
from bot.wechat.templates import message_id

NAME = SUBSCRIPTION
LABEL = {"zh": "订阅通知", "en": "Subscription notice"}
CONTENT_KINDS = ("notice",)
SERIAL = False
BULK = True
API = subscriptions.SEND  # whose quota of the day it uses
REPEAT_WITHOUT_ANSWER = False  # the call has no id of its own, and an accept permits one message
ACCOUNT_KINDS = ("service",)
MESSAGE_CLASSES = ("service",)


def blocked(candidate: Candidate, content: Mapping[str, Any], now: datetime) -> str | None:
    """``no_consent`` unless an accept of this template is left."""
    return None if candidate.consents.get(template_of(content), 0) > 0 else "no_consent"


def request(item: Item) -> tuple[str, dict[str, Any]]:
    """The call that sends ``payload["content"]``.

    Raises:
        Refused: the row names no follower.
    """
    if item.open_id is None:
        raise Refused("a subscription notice needs a follower")
    notice = item.payload["content"]["notice"]
    return subscriptions.SEND, subscriptions.payload(item.open_id, notice)


def receipt(answer: Mapping[str, Any]) -> dict[str, Any]:
    """``msg_id`` where the platform names one."""
    return {"msg_id": message_id(answer)}


def send(wechat: WeChat, item: Item) -> dict[str, Any]:
    """Send one.

    Raises:
        Refused: as ``request``.
        WeChatError: the platform refused, or did not answer.
    """
    path, payload = request(item)
    return receipt(wechat.call(path, payload))
