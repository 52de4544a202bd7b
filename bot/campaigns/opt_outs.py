"""Opting out (退订) of campaigns: from now on nothing more, what already waits in the outbox included.

Who is in a call by tag or to everybody cannot be taken out any more, nor who is in one that may have been taken.
"""

from datetime import datetime
from typing import Any

import sqlalchemy as sa

from bot import followers
from bot.campaigns import ledger, waves
from bot.db import Session
from bot.tables.campaigns import deliveries, mass_batches
from bot.tables.outbox import outbox

OPTED_OUT = "opted_out"  # the reason of their deliveries
TOO_FEW = "too few are left for a call"


def opt_out(session: Session, account_id: int, follower_id: int, now: datetime) -> None:
    """No campaign for this follower until ``followers.opt_in``."""
    followers.opt_out(session, follower_id, now)
    mine = sa.and_(
        deliveries.c.account_id == account_id,
        deliveries.c.follower_id == follower_id,
        deliveries.c.status == "planned",
    )
    # those of campaigns have no index by follower
    own = sa.select(deliveries.c.id).where(mine, deliveries.c.queued_at.is_not(None))
    session.execute(
        sa.update(outbox)
        .where(outbox.c.purpose == "delivery", outbox.c.purpose_id.in_(own), _waits())
        .values(status="cancelled", error=OPTED_OUT)
    )
    in_batches = sa.and_(mine, deliveries.c.batch_id.is_not(None))
    if session.execute(sa.select(deliveries.c.id).where(in_batches).limit(1)).first() is None:
        return
    # a batch that is being filled is read and written in the same turn
    ledger.in_turn(session, account_id)
    rows = session.execute(
        sa.select(deliveries.c.id.label("delivery_id"), mass_batches)
        .join(mass_batches, mass_batches.c.id == deliveries.c.batch_id)
        .where(in_batches, mass_batches.c.target == "open_ids")
    ).all()
    for row in rows:
        if row.status == "planned" or (row.status == "sending" and _holds(session, row)):
            _take_out(session, row, now)


def _waits() -> sa.ColumnElement[bool]:
    """Nobody sends it now, and nobody may have got it."""
    return sa.and_(outbox.c.status == "waiting", outbox.c.unanswered_at.is_(None))


def _holds(session: Session, batch: Any) -> bool:
    """Whether a batch still waits for its call, which begins no sooner than this transaction ends.

    One that would be left with fewer people than a call takes is taken back whole.
    """
    too_few = batch.size - 1 < waves.SMALLEST_BATCH
    values = {"status": "expired", "error": TOO_FEW} if too_few else {"status": "waiting"}
    held = session.execute(
        sa.update(outbox)
        .where(outbox.c.purpose == "batch", outbox.c.purpose_id == batch.id, _waits())
        .values(**values)
        .returning(outbox.c.id)
    )
    return held.first() is not None


def _take_out(session: Session, row: Any, now: datetime) -> None:
    this = deliveries.c.id == row.delivery_id
    ledger.release(session, row.account_id, this)
    session.execute(
        sa.update(deliveries)
        .where(this)
        .values(status="skipped", reason=OPTED_OUT, batch_id=None, at=now)
    )
    session.execute(
        sa.update(mass_batches)
        .where(mass_batches.c.id == row.id)
        .values(size=mass_batches.c.size - 1)
    )
