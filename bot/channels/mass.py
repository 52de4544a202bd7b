"""Mass messages (群发): one call to many, by OpenIDs, to one tag or to all; paid with slots of the month.

The payload: ``target`` (open_ids | tag | all | preview), ``content``, ``client_msg_id``, ``month`` whose slots
it takes, and by target ``open_ids``, ``tag_id`` or ``approval``.
"""

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any

from bot.campaigns.reach import Candidate
from bot.channels import Item
from bot.content import MASS
from bot.errors import Refused
from bot.wechat import mass
from bot.wechat.client import WeChat
from bot.wechat.mass import Approval

NAME = MASS
LABEL = {"zh": "群发", "en": "Mass message"}
CONTENT_KINDS = ("text", "image", "voice", "video", "article")
SERIAL = True
REPEAT_WITHOUT_ANSWER = True  # the platform remembers clientmsgid for 24 hours


def blocked(candidate: Candidate, content: Mapping[str, Any], now: datetime) -> str | None:
    """``no_slot`` when the month's mass messages of this follower are used up or reserved, else ``held_for_other``."""
    if candidate.slots_left <= 0:
        return "no_slot"
    return None if candidate.slots_left > candidate.held else "held_for_other"


def send(wechat: WeChat, item: Item) -> dict[str, Any]:
    """Submit one call. The receipt holds ``msg_id``, ``msg_data_id`` and ``repeated`` (45065: it was submitted before).

    Raises:
        Refused: the target is empty, of one person, or not approved by two.
        WeChatError: the platform refused, or did not answer.
    """
    payload = item.payload
    content = payload["content"]
    if payload["target"] == "preview":
        if item.open_id is None:
            raise Refused("a preview needs a tester")
        mass.preview(wechat, item.open_id, content)
        return {}
    client_msg_id = payload["client_msg_id"]
    if payload["target"] == "open_ids":
        receipt = mass.send_to_open_ids(wechat, payload["open_ids"], content, client_msg_id)
    elif payload["target"] == "tag":
        receipt = mass.send_to_tag(wechat, payload["tag_id"], content, client_msg_id)
    elif payload["target"] == "all":
        approval = payload.get("approval")
        if approval is None:
            raise Refused("a send to everybody needs an approval by two operators")
        receipt = mass.send_to_all(wechat, content, client_msg_id, Approval(**approval))
    else:
        raise Refused(f"a mass message has no target '{payload['target']}'")
    return asdict(receipt)
