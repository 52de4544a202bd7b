"""Subscription notices (订阅通知): an accept permits one message, a reject ends it, a result says what came of one."""

from collections.abc import Mapping
from typing import Any

from bot import consents, followers
from bot.db import Session
from bot.inbox import Push

KINDS = ("subscription_popup", "subscription_changed", "subscription_sent")
_WRAPPERS = ("SubscribeMsgPopupEvent", "SubscribeMsgChangeEvent", "SubscribeMsgSentEvent")


def handle(session: Session, push: Push) -> None:
    message, account = push.message, push.account
    follower = followers.find(session, account.id, message.open_id)
    if follower is None:  # anybody who reads an article may accept; that makes nobody a follower
        return
    for number, item in enumerate(_items(message.fields)):
        template = item.get("TemplateId")
        if not isinstance(template, str) or not template:
            continue
        about = (session, account.id, follower.id, template)
        status = item.get("SubscribeStatusString")
        key = f"push:{push.id}:{number}"
        if message.kind == "subscription_sent":
            message_id = str(item.get("MsgID") or "")
            consents.told(*about, message_id, _problem(item), message.sent_at)
        elif status == "accept":
            consents.accepted(*about, message.sent_at, key)
        elif status == "reject":
            consents.rejected(*about, message.sent_at, key)


def _problem(item: Mapping[str, Any]) -> str | None:
    """Why a notice did not arrive, in the platform's words; None: it did."""
    if item.get("ErrorCode") in ("0", 0):
        return None
    return f"{item.get('ErrorCode')} {item.get('ErrorStatus') or ''}".strip()


def _items(fields: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    # XML wraps the items, JSON has them at the top, and one alone is no list.
    # Source: docs/wechat-limits.md 2 (read 2026-11)
    holder: Any = next((fields[name] for name in _WRAPPERS if name in fields), fields)
    found = holder.get("List", []) if isinstance(holder, Mapping) else []
    listed = found if isinstance(found, list) else [found]
    return [item for item in listed if isinstance(item, Mapping)]
