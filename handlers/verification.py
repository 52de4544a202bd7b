"""The account's verification changed: API rights learnt from refusals are asked anew."""

from bot import accounts, logs
from bot.db import Session
from bot.inbox import Push

KINDS = ("verification",)


def handle(session: Session, push: Push) -> None:
    event = push.message.text("Event").lower()
    # rights start with the first success; a failed naming keeps them.
    # Source: docs/wechat-limits.md 2 (read 2026-11)
    if event == "qualification_verify_success":
        accounts.forget_refusals(session, push.account.id)
    elif event in ("verify_expired", "qualification_verify_fail"):
        logs.get().warning("account_verification", account=push.account.slug, outcome=event)
