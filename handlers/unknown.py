"""A kind nobody told us of: stored, answered ``success``, nobody becomes a follower by it."""

from bot.db import Session
from bot.inbox import Push
from bot.wechat.message import UNKNOWN

KINDS = (UNKNOWN,)


def handle(_session: Session, _push: Push) -> None:
    return None
