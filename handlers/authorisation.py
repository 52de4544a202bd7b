"""A user changed, revoked or ended what they authorised: their data goes. Creates no follower."""

from bot import followers, jobs
from bot.db import Session
from bot.inbox import Push

KINDS = ("authorisation_modified", "authorisation_revoked", "authorisation_cancelled")


def handle(session: Session, push: Push) -> None:
    message, account = push.message, push.account
    # the platform's own name stands in FromUserName; the case of this element differs by event.
    # Source: docs/wechat-limits.md 2 (read 2026-11)
    open_id = message.text("OpenID") or message.text("openid")
    follower = followers.find(session, account.id, open_id) if open_id else None
    if follower is None:
        return
    if message.kind == "authorisation_cancelled":
        jobs.enqueue(
            session,
            "erase_follower",
            {"follower_id": follower.id},
            now=push.received_at,
            unique_key=f"erase:{follower.id}",
            account_id=account.id,
        )
    elif message.kind == "authorisation_revoked":
        # which field came from what they revoked is not known here, so all of them go
        followers.clear_fields(session, follower.id)
