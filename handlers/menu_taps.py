"""Menu taps. Buttons of type click and scancode open one minute; the others open nothing."""

from bot import events, followers
from bot.db import Session
from bot.facts import facts_of
from bot.inbox import Push
from rules.facts import Facts

# Source: docs/wechat-limits.md 9: VIEW, pic_* and location_select open no window (read 2026-11)
OPENING = ("menu_click", "scancode_push", "scancode_wait")
VIEWS = ("menu_view", "menu_mini_program")
KINDS = (
    *OPENING,
    *VIEWS,
    "picture_camera",
    "picture_album",
    "picture_wechat",
    "location_select",
)


def handle(session: Session, push: Push) -> Facts:
    message, account = push.message, push.account
    key = message.text("EventKey")
    follower = followers.seen(session, account.id, message.open_id, message.sent_at)
    followers.active(session, follower.id, message.sent_at)
    if message.kind in OPENING:
        followers.open_window(session, account.id, follower.id, "menu", message.sent_at)
    kind = "menu_view" if message.kind in VIEWS else "menu_click"
    events.record(
        session, account.id, follower.id, kind, message.sent_at, key=key, caused_by=push.id
    )
    return facts_of(session, push, follower, key=key)
