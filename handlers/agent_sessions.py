"""A human agent takes a conversation, passes it on or closes it: rules are silent in between."""

from bot import followers
from bot.db import Session
from bot.inbox import Push

KINDS = ("agent_session_opened", "agent_session_switched", "agent_session_closed")


def handle(session: Session, push: Push) -> None:
    message = push.message
    follower = followers.seen(session, push.account.id, message.open_id, message.sent_at)
    until = None
    if message.kind != "agent_session_closed":
        until = push.received_at + followers.HAND_OVER
    followers.hand_over(session, follower.id, until)
