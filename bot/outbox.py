"""Messages we owe (发件箱): put in the transaction of what caused them, drained as a job."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from bot import db
from bot.db import Session
from bot.tables.outbox import outbox

COLLECTED_BY_CAMPAIGNS = ("delivery", "batch")


def put(
    session: Session,
    *,
    account_id: int,
    channel: str,
    purpose: str,
    purpose_id: int | None,
    payload: Mapping[str, Any],
    now: datetime,
    follower_id: int | None = None,
    not_before: datetime | None = None,
    expires_at: datetime | None = None,
    key: str | None = None,
) -> int | None:
    """Owe a message, in the caller's transaction: the row's id, or None when ``key`` was used before."""
    return db.insert_first(
        session,
        outbox,
        {
            "account_id": account_id,
            "channel": channel,
            "purpose": purpose,
            "purpose_id": purpose_id,
            "follower_id": follower_id,
            "payload": dict(payload),
            "status": "waiting",
            "attempts": 0,
            "not_before": not_before or now,
            "expires_at": expires_at,
            "created_at": now,
            # nothing but a delivery or a batch is waited for by a run
            "collected": purpose not in COLLECTED_BY_CAMPAIGNS,
            "key": key,
        },
    )
