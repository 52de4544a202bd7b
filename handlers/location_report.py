"""The client reports where the follower is, on entering the chat or every 5 s: kept as an event, never answered."""

from bot import events, followers
from bot.db import Session
from bot.inbox import Push

KINDS = ("location_report",)


def handle(session: Session, push: Push) -> None:
    message, account = push.message, push.account
    follower = followers.seen(session, account.id, message.open_id, message.sent_at)
    place = {name.lower(): message.text(name) for name in ("Latitude", "Longitude", "Precision")}
    events.record(
        session,
        account.id,
        follower.id,
        "location_report",
        message.sent_at,
        data=place,
        caused_by=push.id,
    )
