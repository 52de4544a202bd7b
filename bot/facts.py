"""Builds the facts of a push from what is stored about its follower."""

from bot import followers
from bot.db import Session
from bot.followers import Follower
from bot.inbox import Push
from rules.facts import Facts


def facts_of(
    session: Session,
    push: Push,
    follower: Follower,
    *,
    text: str = "",
    key: str = "",
    scene: str = "",
) -> Facts:
    """What rules may look at, as it was before this push changed anything."""
    message = push.message
    until = follower.handed_over_until
    return Facts(
        push_key=message.dedupe_key(push.account.id),
        kind=message.kind,
        at=push.received_at,
        follower_id=follower.id,
        text=text,
        key=key,
        scene=scene,
        first_message=follower.messages == 0 and message.kind in MESSAGE_KINDS,
        handed_over=until is not None and until > push.received_at,
        tags=followers.tag_names(session, follower.id, push.received_at),
        fields=follower.fields,
        fired=followers.last_fired(session, follower.id) if push.with_cooldowns else {},
    )


MESSAGE_KINDS = frozenset({"text", "image", "voice", "video", "short_video", "location", "link"})
