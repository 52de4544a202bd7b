"""A follower left: windows close, no campaign reaches them, erasure starts to count."""

from bot import events, followers
from bot.db import Session
from bot.inbox import Push

KINDS = ("unsubscribe",)


def handle(session: Session, push: Push) -> None:
    message, account = push.message, push.account
    follower = followers.unsubscribe(session, account.id, message.open_id, message.sent_at)
    events.record(
        session, account.id, follower.id, "unsubscribe", message.sent_at, caused_by=push.id
    )
