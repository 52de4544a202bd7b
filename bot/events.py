"""Behaviour events (行为事件): append-only, who did what when. Segments, models and reports read them."""

from datetime import datetime
from typing import Any

import sqlalchemy as sa

from bot.db import Session, insert_first
from bot.prepared import Prepared
from bot.tables.events import events

# what the program itself records; whatever the action `record` names comes on top
KINDS = (
    "subscribe",
    "unsubscribe",
    "message",
    "scan",
    "menu_click",
    "menu_view",
    "click",
    "campaign_sent",
    "goal",
)
_INSERT = Prepared(sa.insert(events), [column.name for column in events.c if column.name != "id"])


def record(
    session: Session,
    account_id: int,
    follower_id: int,
    kind: str,
    at: datetime,
    *,
    key: str | None = None,
    number: float | None = None,
    data: dict[str, Any] | None = None,
    caused_by: int | None = None,
    source_key: str | None = None,
) -> bool:
    """Append one event. With a ``source_key`` a repetition changes nothing; returns whether it is new.

    ``caused_by`` is the id of the push.
    """
    row = {
        "account_id": account_id,
        "follower_id": follower_id,
        "kind": kind,
        "key": key,
        "number": number,
        "data": data,
        "at": at,
        "caused_by": caused_by,
        "source_key": source_key,
    }
    if source_key is None:
        _INSERT.run(session, row)
        return True
    return insert_first(session, events, row) is not None
