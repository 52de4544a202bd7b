"""Rows of campaigns for these tests, with good defaults."""

from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from bot.clock import month_of
from bot.db import Session
from bot.tables.campaigns import campaign_runs, campaigns, deliveries, mass_ledger
from bot.tables.followers import reply_windows


def make_campaign(session: Session, account_id: int, *, now: datetime, **values: Any) -> int:
    given = {
        "account_id": account_id,
        "name": "奈雪8元券",
        "segment": "everybody",
        "schedule": {"at": now.isoformat()},
        "channels": ["mass"],
        "content": {"text": "请你喝奶茶"},
        "links": {},
        "status": "scheduled",
        "created_at": now,
        "created_by": "Ann",
    } | values
    return int(
        session.execute(sa.insert(campaigns).values(**given).returning(campaigns.c.id)).scalar_one()
    )


def make_run(
    session: Session, account_id: int, campaign_id: int, *, now: datetime, **values: Any
) -> int:
    given = {
        "account_id": account_id,
        "campaign_id": campaign_id,
        "due_at": now,
        "status": "running",
        "content": {"text": "请你喝奶茶"},
        "month": month_of(now),
        "planned_to": 0,
        "created_at": now,
    } | values
    return int(
        session.execute(
            sa.insert(campaign_runs).values(**given).returning(campaign_runs.c.id)
        ).scalar_one()
    )


def make_delivery(
    session: Session, account_id: int, run_id: int, follower_id: int, **values: Any
) -> int:
    given = {
        "account_id": account_id,
        "run_id": run_id,
        "follower_id": follower_id,
        "status": "planned",
        "channel": "mass",
        "wave": 1,
    } | values
    return int(
        session.execute(
            sa.insert(deliveries).values(**given).returning(deliveries.c.id)
        ).scalar_one()
    )


def open_window(
    session: Session, account_id: int, follower_id: int, *, until: datetime, **values: Any
) -> None:
    given = {
        "account_id": account_id,
        "follower_id": follower_id,
        "opened_by": "message",
        "opened_at": until - timedelta(hours=48),
        "expires_at": until,
        "left": 5,
    } | values
    session.execute(sa.insert(reply_windows).values(**given))


def slots(session: Session, follower_id: int, month: str) -> tuple[int, int, int]:
    """(reserved, spent, external) of one follower; zeros where there is no row."""
    row = session.execute(
        sa.select(mass_ledger.c.reserved, mass_ledger.c.spent, mass_ledger.c.external).where(
            mass_ledger.c.follower_id == follower_id, mass_ledger.c.month == month
        )
    ).one_or_none()
    return (row.reserved, row.spent, row.external) if row else (0, 0, 0)
