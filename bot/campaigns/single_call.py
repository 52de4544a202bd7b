"""A subscription account's one call a day: to everybody, to one tag, or to a tag made for it.

Such a call reaches whoever is there when it is made, so what was approved is asked once more just before.
"""

from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from bot.audiences import segments
from bot.campaigns import batches, definitions, ledger, temporary_tags
from bot.campaigns.batches import Cell, Job
from bot.campaigns.budget import SENDS_A_DAY
from bot.campaigns.schedule import after_quiet
from bot.clock import day_of, start_of_day
from bot.db import Session
from bot.errors import Refused
from bot.tables.campaigns import campaign_runs, deliveries, external_mass_sends, mass_batches


def step(session: Session, job: Job) -> tuple[int, bool]:
    """One step towards the call of a run: (outbox rows put, whether there is more to do at once)."""
    ledger.in_turn(session, job.account.id)
    if _sent_today(session, job.account.id, job.now) >= SENDS_A_DAY:
        tomorrow = start_of_day(day_of(job.now) + timedelta(days=1))
        first = after_quiet(tomorrow, job.account.limits.quiet_hours)
        session.execute(
            sa.update(campaign_runs)
            .where(campaign_runs.c.id == job.run.id)
            .values(next_wave_at=first)
        )
        return 0, False
    batch = batches.being_filled(session, job.run.id, job.wave)
    try:
        target = _target(session, job, batch)
    except Refused:
        return _pause(session, job, "segment_gone")
    to_all = target is not None and target["target"] == "all"
    kind = "tag" if target is None else str(target["target"])
    if batch is not None and batch.target != kind:
        return _pause(session, job, "changed")
    batch = batch or batches.make(session, job, kind, Cell(None, None))
    people = batches.people_waiting(session, job.waiting, batches.ROWS)
    size = batch.size + len(people)
    batches.fill(session, job, batch.id, people, size)
    if batches.people_waiting(session, job.waiting, 1):
        return 0, True
    if target is None:
        return _by_temporary_tag(session, job, batch)
    missing = _missing_approval(session, job, to_everybody=to_all)
    if missing is not None:
        return _pause(session, job, missing)
    batches.hand_over(session, job, batch, size, target)
    return 1, False


def _missing_approval(session: Session, job: Job, *, to_everybody: bool) -> str | None:
    """What the approval does not cover of a call that reaches whoever the segment holds now, planned or not.

    The segment may have been written anew since it was planned, and a call by tag leaves nobody out.
    """
    where = segments.get(session, job.account.id, job.campaign.segment).where
    return definitions.missing_approval(
        job.campaign,
        segments.count(session, job.account.id, where, job.now),
        0,
        approve_above=job.account.limits.approve_above,
        to_everybody=to_everybody,
    )


def _by_temporary_tag(session: Session, job: Job, batch: Any) -> tuple[int, bool]:
    """Hand a full batch over once a tag of its own is on all its people; the next tick looks again."""
    tag = temporary_tags.of_batch(session, batch.id)
    if tag is not None and tag.error is not None and not tag.told:
        temporary_tags.told(session, batch.id, job.now)
        return _pause(session, job, f"no_tag: {tag.error}")
    if tag is None or tag.error is not None:
        temporary_tags.ask(session, job.account.id, job.run.id, batch, job.now)
        return 0, False
    if tag.wechat_id is None:
        return 0, False
    size = session.execute(
        sa.select(sa.func.count()).where(deliveries.c.batch_id == batch.id)
    ).scalar_one()
    if size == 0:  # all of them left or opted out meanwhile
        session.execute(sa.delete(mass_batches).where(mass_batches.c.id == batch.id))
        return 0, True
    batches.hand_over(session, job, batch, size, {"target": "tag", "tag_id": tag.wechat_id})
    temporary_tags.used(session, batch.id)
    return 1, False


def _pause(session: Session, job: Job, reason: str) -> tuple[int, bool]:
    session.execute(
        sa.update(campaign_runs)
        .where(campaign_runs.c.id == job.run.id)
        .values(status="paused", reason=reason)
    )
    return 0, False


def _target(session: Session, job: Job, batch: Any | None) -> dict[str, Any] | None:
    """To whom the call goes; None: the segment is neither everybody nor one tag, so a tag is made for it.

    Once one is being made, its people stay those who were planned, whatever the segment became.

    Raises:
        Refused: there is no such segment any more.
    """
    if batch is not None and temporary_tags.of_batch(session, batch.id) is not None:
        return None
    where = segments.get(session, job.account.id, job.campaign.segment).where
    if segments.is_everybody(session, job.account.id, where):
        return {"target": "all"}
    tag_id = segments.single_tag(session, job.account.id, where)
    return None if tag_id is None else {"target": "tag", "tag_id": tag_id}


def _sent_today(session: Session, account_id: int, now: datetime) -> int:
    start = start_of_day(day_of(now))
    ours = session.execute(
        sa.select(sa.func.count()).where(
            mass_batches.c.account_id == account_id,
            mass_batches.c.status.in_(("sending", "submitted", "finished", "unknown")),
            sa.or_(mass_batches.c.submitted_at >= start, mass_batches.c.submitted_at.is_(None)),
        )
    ).scalar_one()
    theirs = session.execute(
        sa.select(sa.func.count()).where(
            external_mass_sends.c.account_id == account_id,
            external_mass_sends.c.audience.not_in(("none", "unplaced")),
            external_mass_sends.c.source != "opening",
            external_mass_sends.c.at >= start,
        )
    ).scalar_one()
    return int(ours) + int(theirs)
