"""The result of a template message: whether it arrived. Kept, and found its delivery by a tick."""

from bot import followers, templates
from bot.db import Session
from bot.inbox import Push

KINDS = ("template_finished",)


def handle(session: Session, push: Push) -> None:
    message, account = push.message, push.account
    follower = followers.find(session, account.id, message.open_id)
    if follower is None:
        return
    # 64 bits; what is longer is no id
    message_id = str(message.fields.get("MsgID") or "").strip()[:100]
    status = str(message.fields.get("Status") or "").strip()[:200]
    if message_id:
        templates.told(session, account.id, follower.id, message_id, status, message.sent_at)
