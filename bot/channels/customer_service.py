"""Customer-service messages (客服消息): free, to one follower, while a reply window is open."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from bot.campaigns.reach import Candidate
from bot.channels import Item
from bot.content import CUSTOMER_SERVICE
from bot.errors import Refused
from bot.followers import LONG_WINDOWS
from bot.wechat import customer_service
from bot.wechat.client import WeChat

NAME = CUSTOMER_SERVICE
LABEL = {"zh": "客服消息", "en": "Customer-service message"}
CONTENT_KINDS = (
    "text", "image", "voice", "video", "music", "news", "article", "mini_program", "menu_message",
)  # fmt: skip
SERIAL = False
BULK = True
API = customer_service.SEND  # whose quota of the day it uses
REPEAT_WITHOUT_ANSWER = (
    False  # the call has no id of its own: a repeat may reach the follower twice
)


def blocked(candidate: Candidate, content: Mapping[str, Any], now: datetime) -> str | None:
    """``no_window`` unless a 48-hour window is open with a message left; campaigns use no one-minute windows."""
    for opened_by, expires_at, left in candidate.windows:
        if opened_by in LONG_WINDOWS and expires_at > now and left > 0:
            return None
    return "no_window"


def request(item: Item) -> tuple[str, dict[str, Any]]:
    """The call that sends ``payload["content"]``.

    Raises:
        Refused: the row names no follower.
        Invalid: the content cannot be sent so.
    """
    if item.open_id is None:
        raise Refused("a customer-service message needs a follower")
    return customer_service.SEND, customer_service.payload(item.open_id, item.payload["content"])


def receipt(answer: Mapping[str, Any]) -> dict[str, Any]:
    """The platform's receipt has no id, so it is empty."""
    return {}


def send(wechat: WeChat, item: Item) -> dict[str, Any]:
    """Send one.

    Raises:
        Refused, Invalid: as ``request``.
        WeChatError: the platform refused, or did not answer.
    """
    path, payload = request(item)
    return receipt(wechat.call(path, payload))
