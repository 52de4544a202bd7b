"""Outgoing webhook: what another system sends for us, such as an SMS gateway. Posts are made by ``bot.outgoing``.

One POST a follower or up to a hundred together, signed, with an id that a repeat carries too.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from bot.campaigns.reach import Candidate
from bot.channels import Item
from bot.content import WEBHOOK
from bot.errors import Refused
from bot.wechat.client import WeChat

NAME = WEBHOOK
LABEL = {"zh": "短信等其他系统", "en": "Other systems (webhook)"}
CONTENT_KINDS = ("text",)
SERIAL = False
REPEAT_WITHOUT_ANSWER = True  # the receiver knows a message by its id
APART = True  # its address and secret are the account's own, and many messages go in one post


def blocked(candidate: Candidate, content: Mapping[str, Any], now: datetime) -> str | None:
    """Nothing blocks it here: whether the other system can reach somebody is its own knowledge."""
    return None


def send(wechat: WeChat, item: Item) -> dict[str, Any]:
    """Never called by the outbox.

    Raises:
        Refused: always.
    """
    raise Refused("messages of this channel are posted by a task of their own")
