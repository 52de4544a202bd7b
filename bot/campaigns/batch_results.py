"""What became of a batch, for each of its followers: status, slot and event, a few hundred a transaction.

The batch's status is the aim and the rows show how far it came, so that any of it may be repeated.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from bot import db
from bot.campaigns import ledger
from bot.db import Session
from bot.sql import among
from bot.tables.campaigns import campaign_runs, campaigns, deliveries, mass_batches
from bot.tables.events import events
from bot.tables.outbox import outbox as outbox_rows

ROWS = 200  # deliveries a transaction: a push never waits longer than that takes
AIMS = {"submitted": "sent", "finished": "sent", "failed": "failed", "unknown": "unknown"}


@dataclass(frozen=True, slots=True)
class _Job:
    batch: Any
    aim: str  # sent | failed | unknown | skipped | waiting
    errcode: int | None
    now: datetime

    @property
    def out_of_line(self) -> sa.ColumnElement[bool]:
        status, slot = deliveries.c.status, deliveries.c.slot
        wrong = {
            "sent": sa.or_(status.in_(("planned", "unknown", "failed")), slot == ledger.RESERVED),
            "unknown": sa.or_(status == "planned", slot == ledger.RESERVED),
            "failed": sa.or_(status.in_(("planned", "sent", "unknown")), slot.is_not(None)),
        }
        mine = deliveries.c.batch_id == self.batch.id
        return sa.and_(mine, wrong.get(self.aim, status == "planned"))


def align(engine: Engine, row: Any, now: datetime) -> bool:
    """Bring all followers of the batch of an outbox row in line; False: the batch changed meanwhile."""
    with db.reading(engine) as session:
        job = _job(session, row, now)
        ids = list(session.execute(sa.select(deliveries.c.id).where(job.out_of_line)).scalars())
    for start in range(0, len(ids), ROWS):
        with db.writing(engine) as session:
            ledger.in_turn(session, job.batch.account_id)
            if not _is_still(session, job):
                return False
            these = sa.and_(
                among(deliveries.c.id, ids[start : start + ROWS]),
                deliveries.c.batch_id == job.batch.id,
            )
            _STEPS[job.aim](session, job, sa.and_(these, job.out_of_line), these)
    with db.writing(engine) as session:
        return _close(session, job, row)


def record_sent(session: Session, which: sa.ColumnElement[bool], at: datetime) -> None:
    """The behaviour event ``campaign_sent`` of each of these deliveries, in one statement, once."""
    rows = (
        sa.select(
            deliveries.c.account_id,
            deliveries.c.follower_id,
            sa.literal("campaign_sent"),
            campaigns.c.name,
            sa.literal(at, db.UtcDateTime()),
            _sent_key(),
        )
        .select_from(
            deliveries.join(campaign_runs, campaign_runs.c.id == deliveries.c.run_id).join(
                campaigns, campaigns.c.id == campaign_runs.c.campaign_id
            )
        )
        .where(which, deliveries.c.status == "sent")
    )
    statement = db.insert(session, events).from_select(
        ["account_id", "follower_id", "kind", "key", "at", "source_key"], rows
    )
    session.execute(statement.on_conflict_do_nothing())


def _job(session: Session, row: Any, now: datetime) -> _Job:
    batch = session.execute(
        sa.select(mass_batches).where(mass_batches.c.id == row.purpose_id)
    ).one()
    run_status = session.execute(
        sa.select(campaign_runs.c.status).where(campaign_runs.c.id == batch.run_id)
    ).scalar_one()
    aim = AIMS.get(batch.status)
    if aim is None:
        # its month was over: back to waiting; the next wave takes slots of the new month
        again = row.status == "expired" and run_status != "cancelled"
        aim = "waiting" if again else "skipped"
    return _Job(batch, aim, row.errcode, now)


def _is_still(session: Session, job: _Job) -> bool:
    """Whether the batch is what it was when its followers were listed."""
    found = sa.select(mass_batches.c.status).where(mass_batches.c.id == job.batch.id)
    return bool(AIMS.get(session.execute(found).scalar_one()) == AIMS.get(job.batch.status))


def _close(session: Session, job: _Job, row: Any) -> bool:
    """The row is collected, unless the batch became something else since."""
    this = sa.update(outbox_rows).where(outbox_rows.c.id == row.id)
    # first the row, then the question: who changes the batch writes both in the other order
    session.execute(this.values(collected=True))
    if _is_still(session, job):
        return True
    session.execute(this.values(collected=False))
    return False


def _sent(session: Session, job: _Job, wrong: Any, these: Any) -> None:
    at = job.batch.submitted_at or job.now
    _charge_again(session, job, these)
    ledger.spend(session, job.batch.account_id, wrong)
    status = deliveries.c.status.in_(("planned", "unknown", "failed"))
    session.execute(sa.update(deliveries).where(these, status).values(status="sent", at=at))
    record_sent(session, these, at)


def _charge_again(session: Session, job: _Job, these: Any) -> None:
    """A batch that was called failed went out after all: its people are charged for the month it went out in.

    Who spent the slot on something else meanwhile is at four already, and the platform delivered no fifth.
    """
    failed = sa.and_(these, deliveries.c.status == "failed", deliveries.c.month.is_not(None))
    people = list(session.execute(sa.select(deliveries.c.follower_id).where(failed)).scalars())
    got = ledger.reserve(session, job.batch.account_id, people, job.batch.month)
    session.execute(
        sa.update(deliveries)
        .where(failed, among(deliveries.c.follower_id, got))
        .values(slot=ledger.RESERVED, month=job.batch.month)
    )


def _unknown(session: Session, job: _Job, wrong: Any, these: Any) -> None:
    """Nobody knows whether it went out: the slots stay charged."""
    ledger.spend(session, job.batch.account_id, wrong)
    _planned_to(session, these, {"status": "unknown", "at": job.now})


def _failed(session: Session, job: _Job, wrong: Any, these: Any) -> None:
    """Nobody got it: the slots go back, the deliveries failed."""
    ledger.release(session, job.batch.account_id, wrong)
    session.execute(
        sa.update(deliveries)
        .where(these, deliveries.c.status.in_(("planned", "sent", "unknown")))
        .values(status="failed", errcode=job.errcode, at=job.now)
    )
    session.execute(
        sa.delete(events).where(events.c.source_key.in_(sa.select(_sent_key()).where(these)))
    )


def _skipped(session: Session, job: _Job, wrong: Any, these: Any) -> None:
    ledger.release(session, job.batch.account_id, wrong)
    values = {"status": "skipped", "reason": "cancelled", "batch_id": None, "at": job.now}
    _planned_to(session, these, values)


def _waiting(session: Session, job: _Job, wrong: Any, these: Any) -> None:
    _planned_to(session, these, {"batch_id": None, "queued_at": None, "at": job.now})


def _planned_to(session: Session, these: Any, values: Mapping[str, Any]) -> None:
    session.execute(
        sa.update(deliveries).where(these, deliveries.c.status == "planned").values(**values)
    )


_STEPS = {
    "sent": _sent,
    "unknown": _unknown,
    "failed": _failed,
    "skipped": _skipped,
    "waiting": _waiting,
}


def _sent_key() -> sa.ColumnElement[str]:
    return sa.literal("campaign_sent:") + sa.cast(deliveries.c.id, sa.Text)
