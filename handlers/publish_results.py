"""The result of a publication: the article has a page now, or why not."""

from collections.abc import Mapping
from typing import Any

from bot import articles
from bot.db import Session
from bot.inbox import Push
from bot.wechat import publish

KINDS = ("publish_finished",)


def handle(session: Session, push: Push) -> None:
    fields: Mapping[str, Any] = push.message.fields
    # XML wraps it, JSON has it at the top. Source: docs/wechat-limits.md 2 (read 2026-11)
    found = fields.get("PublishEventInfo", fields)
    if isinstance(found, Mapping):
        articles.published(session, push.account.id, publish.read(found), push.received_at)
