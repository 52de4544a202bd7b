"""One file per kind of push. A handler reads like a story: follower seen, window opened, what happened, facts.

``handle(session, push)`` returns facts for the rules, ``Handled`` when it answered by itself, or
None when there is nothing to answer. It never calls the platform: WeChat is waiting.
"""

from bot import registry
from bot.db import Session
from bot.inbox import Handled, Push
from bot.wechat.message import UNKNOWN
from rules.facts import Facts

__all__ = ["dispatch"]


def dispatch(session: Session, push: Push) -> Facts | Handled | None:
    """Call the one handler of this kind of push; a kind nobody knows is only recorded."""
    members = registry.members("handlers")
    member = members.get(push.message.kind) or members[UNKNOWN]
    result: Facts | Handled | None = member.handle(session, push)
    return result
