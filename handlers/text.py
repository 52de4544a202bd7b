"""A follower wrote: 48 hours open, unless the text answers a menu message; opt-out words are heard here."""

from bot import events, followers
from bot.accounts import OPT_IN_WORDS
from bot.campaigns import opt_outs
from bot.db import Session
from bot.facts import facts_of
from bot.inbox import Handled, Push
from rules.facts import Facts
from rules.text import fold

KINDS = ("text",)
OPTED_OUT = "已为你退订活动消息，之后不会再收到。回复「订阅」可以恢复。"
OPTED_IN = "已恢复活动消息，欢迎回来。回复「退订」可以随时停止。"


def handle(session: Session, push: Push) -> Facts | Handled:
    message, account, now = push.message, push.account, push.received_at
    follower = followers.wrote(session, account.id, message.open_id, message.sent_at)
    # a text that answers a menu message counts as a tap: one minute, not 48 hours.
    # Source: docs/wechat-limits.md 9, "特别说明" (read 2026-11)
    opened_by = "menu" if message.text("bizmsgmenuid") else "message"
    followers.open_window(session, account.id, follower.id, opened_by, message.sent_at)
    events.record(
        session, account.id, follower.id, "message", message.sent_at, key="text", caused_by=push.id
    )
    text = message.text("Content")
    facts = facts_of(session, push, follower, text=text)
    said = fold(text)
    if said in {fold(word) for word in account.limits.opt_out}:
        opt_outs.opt_out(session, account.id, follower.id, now)
        return Handled(facts, {"text": OPTED_OUT}, "opt_out")
    if follower.opted_out and said in {fold(word) for word in OPT_IN_WORDS}:
        followers.opt_in(session, follower.id)
        return Handled(facts, {"text": OPTED_IN}, "opt_in")
    return facts
