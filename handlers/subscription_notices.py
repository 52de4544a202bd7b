"""Subscription notices (订阅通知): an accept permits one message, a reject ends it, a result uses one up."""

from collections.abc import Mapping
from typing import Any

from bot import followers
from bot.db import Session
from bot.inbox import Push

KINDS = ("subscription_popup", "subscription_changed", "subscription_sent")
_WRAPPERS = ("SubscribeMsgPopupEvent", "SubscribeMsgChangeEvent", "SubscribeMsgSentEvent")


def handle(session: Session, push: Push) -> None:
    message, account = push.message, push.account
    follower = followers.find(session, account.id, message.open_id)
    if follower is None:  # anybody who reads an article may accept; that makes nobody a follower
        return
    for item in _items(message.fields):
        template = item.get("TemplateId")
        if not isinstance(template, str) or not template:
            continue
        status = item.get("SubscribeStatusString")
        if message.kind == "subscription_sent":
            if item.get("ErrorCode") in ("0", 0):
                followers.consent(session, account.id, follower.id, template, -1, message.sent_at)
        elif status == "accept":
            followers.consent(session, account.id, follower.id, template, 1, message.sent_at)
        elif status == "reject":
            followers.consent(session, account.id, follower.id, template, None, message.sent_at)


def _items(fields: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    # XML wraps the items, JSON has them at the top, and one alone is no list.
    # Source: docs/wechat-limits.md 2 (read 2026-11)
    holder: Any = next((fields[name] for name in _WRAPPERS if name in fields), fields)
    found = holder.get("List", []) if isinstance(holder, Mapping) else []
    listed = found if isinstance(found, list) else [found]
    return [item for item in listed if isinstance(item, Mapping)]
