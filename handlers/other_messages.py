"""Messages that are not text: picture, voice, video, position, link. Each opens 48 hours."""

from bot import events, followers
from bot.db import Session
from bot.facts import facts_of
from bot.inbox import Push
from rules.facts import Facts

KINDS = ("image", "voice", "video", "short_video", "location", "link")


def handle(session: Session, push: Push) -> Facts:
    message, account = push.message, push.account
    follower = followers.wrote(session, account.id, message.open_id, message.sent_at)
    followers.open_window(session, account.id, follower.id, "message", message.sent_at)
    events.record(
        session,
        account.id,
        follower.id,
        "message",
        message.sent_at,
        key=message.kind,
        caused_by=push.id,
    )
    # speech recognition is going away and often empty: rules may use it where it comes.
    # Source: docs/wechat-limits.md 2 (read 2026-11)
    return facts_of(session, push, follower, text=message.text("Recognition"))
