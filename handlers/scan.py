"""A follower scanned a parameter QR code: the last touch, the code's tags, one minute."""

from bot import events, followers, scenes, tags
from bot.db import Session
from bot.facts import facts_of
from bot.inbox import Push
from rules.facts import Facts

KINDS = ("scan",)


def handle(session: Session, push: Push) -> Facts:
    message, account = push.message, push.account
    scene = message.scene
    follower = followers.seen(session, account.id, message.open_id, message.sent_at)
    followers.touched(session, follower.id, message.sent_at, scene)
    followers.open_window(session, account.id, follower.id, "scan", message.sent_at)
    events.record(
        session, account.id, follower.id, "scan", message.sent_at, key=scene, caused_by=push.id
    )
    facts = facts_of(session, push, follower, scene=scene)
    names = scenes.tags_given(session, account.id, scene)
    tags.add(session, account.id, follower.id, names, f"scene:{scene}", push.received_at, push.id)
    return facts
