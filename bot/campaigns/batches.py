"""Mass batches: who of a wave goes into the next one, and the outbox row that carries it."""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from bot import db, outbox
from bot.accounts import Account
from bot.audiences import segments
from bot.campaigns import definitions, ledger, waves
from bot.campaigns.budget import SENDS_A_DAY
from bot.campaigns.definitions import Campaign
from bot.campaigns.schedule import after_quiet
from bot.clock import day_of, month_of, start_of_day
from bot.db import Session
from bot.sql import among
from bot.tables.campaigns import campaign_runs, deliveries, external_mass_sends, mass_batches
from bot.tables.followers import followers
from bot.tables.jobs import installation

# letters of a clientmsgid: at most 32 ASCII bytes; 12 of the installation, a dash, the batch id.
# Source: docs/wechat-limits.md 8 (45067, read 2026-11)
PREFIX_KEY = "client_msg_id_prefix"
PREFIX_BYTES = 6
ROWS = 200  # deliveries a transaction: a push never waits longer than that takes
NO_BATCH: Mapping[str, Any] = {"batch_id": None, "queued_at": None}
# who left or opted out is asked when a batch is filled; one that was left half full is filled anew
FILL_WITHIN = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class Job:
    """One wave of a run that is to be cut into batches. ``content`` is rendered with shared links."""

    run: Any
    account: Account
    campaign: Campaign
    wave: int
    content: Mapping[str, Any]
    now: datetime

    @property
    def waiting(self) -> sa.ColumnElement[bool]:
        return sa.and_(
            deliveries.c.run_id == self.run.id,
            deliveries.c.status == "planned",
            deliveries.c.queued_at.is_(None),
            deliveries.c.channel == "mass",
            deliveries.c.wave == self.wave,
        )


def next_batch(session: Session, job: Job) -> tuple[int, bool]:
    """One step of forming a batch of OpenIDs: (outbox rows put, whether there is more to do at once).

    A batch is ``planned`` while it is filled, a few hundred followers a transaction, and is handed to
    the outbox in the transaction that completes it. It has 2 to 10,000 people, by follower id. One
    alone joins the next wave; in the last wave the reason is ``batch_of_one``.
    """
    ledger.in_turn(session, job.account.id)
    batch = being_filled(session, job.run.id, job.wave)
    if batch is not None and _is_stale(session, batch, job.now):
        empty(session, batch)
        return 0, True
    size = 0 if batch is None else batch.size
    taken = _take_people(session, job, min(ROWS, waves.LARGEST_BATCH - size))
    if taken:
        batch = batch or _make(session, job, "open_ids")
        size += len(taken)
        _fill(session, job, batch.id, taken, size)
    waiting = _waiting(session, job, 2)
    if batch is None or (waiting and size < waves.LARGEST_BATCH):
        return 0, True  # without a batch: another channel or wave may have more
    if len(waiting) == 1:
        size -= _leave_the_last(session, batch.id)
    return _complete(session, job, batch, size), True


def single_call(session: Session, job: Job) -> tuple[int, bool]:
    """A subscription account's one call a day, to everybody or to one tag: (rows put, more at once)."""
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
    target = _single_target(session, job)
    if target is None:
        session.execute(
            sa.update(campaign_runs)
            .where(campaign_runs.c.id == job.run.id)
            .values(status="paused", reason="segment_unfit")
        )
        return 0, False
    batch = being_filled(session, job.run.id, job.wave)
    batch = batch or _make(session, job, str(target["target"]))
    people = _waiting(session, job, ROWS)
    size = batch.size + len(people)
    _fill(session, job, batch.id, people, size)
    if _waiting(session, job, 1):
        return 0, True
    _hand_over(session, job, batch, size, target)
    return 1, False


def being_filled(session: Session, run_id: int, wave: int | None = None) -> Any | None:
    """The batch of a run (and wave) that is not complete yet."""
    mine = [mass_batches.c.run_id == run_id, mass_batches.c.status == "planned"]
    if wave is not None:
        mine.append(mass_batches.c.wave == wave)
    return session.execute(
        sa.select(mass_batches).where(*mine).order_by(mass_batches.c.wave).limit(1)
    ).one_or_none()


def _take_people(session: Session, job: Job, limit: int) -> list[int]:
    """Deliveries of the next people who may be sent to now; who may not is skipped, with the slot back.

    A slot belongs to the Shanghai month of submission: one of a month that is over is taken anew.
    """
    month = month_of(job.now)
    rows = session.execute(
        sa.select(
            deliveries.c.id,
            deliveries.c.follower_id,
            deliveries.c.month,
            followers.c.subscribed,
            followers.c.opted_out_at,
        )
        .join(followers, followers.c.id == deliveries.c.follower_id)
        .where(job.waiting)
        .order_by(deliveries.c.follower_id)
        .limit(limit)
    ).all()
    gone: dict[str, list[int]] = {"left": [], "opted_out": []}
    stay, old = [], []
    for row in rows:
        if not row.subscribed or row.opted_out_at is not None:
            gone["opted_out" if row.subscribed else "left"].append(row.id)
        elif row.month != month:
            old.append(row)
        else:
            stay.append(row.id)
    for reason, ids in gone.items():
        _skip(session, job, ids, reason)
    return stay + _take_slots_anew(session, job, old, month)


def _take_slots_anew(session: Session, job: Job, rows: list[Any], month: str) -> list[int]:
    """Give slots of a month that is over back and take new ones: the deliveries that got one."""
    if not rows:
        return []
    these = among(deliveries.c.id, [row.id for row in rows])
    ledger.release(session, job.account.id, these)
    got = ledger.reserve(session, job.account.id, [row.follower_id for row in rows], month)
    stay = [row.id for row in rows if row.follower_id in got]
    session.execute(
        sa.update(deliveries)
        .where(among(deliveries.c.id, stay))
        .values(slot=ledger.RESERVED, month=month)
    )
    session.execute(
        sa.update(deliveries)
        .where(these, deliveries.c.slot.is_(None))
        .values(status="skipped", reason="no_slot", month=month, at=job.now)
    )
    return stay


def _waiting(session: Session, job: Job, limit: int) -> list[int]:
    rows = sa.select(deliveries.c.id).where(job.waiting).order_by(deliveries.c.follower_id)
    return list(session.execute(rows.limit(limit)).scalars())


def _fill(session: Session, job: Job, batch_id: int, ids: list[int], size: int) -> None:
    session.execute(
        sa.update(deliveries)
        .where(among(deliveries.c.id, ids))
        .values(batch_id=batch_id, queued_at=job.now, at=job.now)
    )
    session.execute(sa.update(mass_batches).where(mass_batches.c.id == batch_id).values(size=size))


def _complete(session: Session, job: Job, batch: Any, size: int) -> int:
    """Hand a full batch to the outbox: the rows put. One of nobody, or of one, is no batch."""
    if size >= waves.SMALLEST_BATCH:
        return _hand_over(session, job, batch, size, {"target": "open_ids"})
    alone = _members(session, batch.id, 1)
    if job.wave == waves.CANARY_WAVE:
        session.execute(
            sa.update(deliveries)
            .where(among(deliveries.c.id, alone))
            .values(wave=waves.REST_WAVE, **NO_BATCH)
        )
    else:
        _skip(session, job, alone, "batch_of_one")
    session.execute(sa.delete(mass_batches).where(mass_batches.c.id == batch.id))
    return 0


def _hand_over(session: Session, job: Job, batch: Any, size: int, target: Mapping[str, Any]) -> int:
    month = month_of(job.now)
    session.execute(
        sa.update(mass_batches)
        .where(mass_batches.c.id == batch.id)
        .values(status="sending", size=size, month=month, target=target["target"])
    )
    payload = {
        **target,
        "batch_id": batch.id,
        "content": dict(job.content),
        "client_msg_id": batch.client_msg_id,
    }
    if target["target"] == "open_ids":
        payload["month"] = month
    outbox.put(
        session,
        account_id=job.account.id,
        channel="mass",
        purpose="batch",
        purpose_id=batch.id,
        payload=payload,
        now=job.now,
        key=f"batch:{batch.id}",
    )
    return 1


def _members(session: Session, batch_id: int, limit: int) -> list[int]:
    rows = sa.select(deliveries.c.id).where(deliveries.c.batch_id == batch_id).limit(limit)
    return list(session.execute(rows).scalars())


def _leave_the_last(session: Session, batch_id: int) -> int:
    """Take one out again, so that the one person who is left over is not alone."""
    last = (
        sa.select(deliveries.c.id)
        .where(deliveries.c.batch_id == batch_id)
        .order_by(deliveries.c.follower_id.desc())
        .limit(1)
    )
    session.execute(
        sa.update(deliveries).where(deliveries.c.id.in_(last.scalar_subquery())).values(**NO_BATCH)
    )
    return 1


def _is_stale(session: Session, batch: Any, now: datetime) -> bool:
    """Whether a batch was left half full for so long that its people must be looked at again."""
    if batch.month != month_of(now):
        return True
    filled = sa.select(deliveries.c.queued_at).where(deliveries.c.batch_id == batch.id).limit(1)
    began = session.execute(filled).scalar()
    return began is not None and began < now - FILL_WITHIN


def empty(session: Session, batch: Any) -> None:
    """Let some of a batch wait again; one that is empty goes."""
    ids = _members(session, batch.id, ROWS)
    if not ids:
        session.execute(sa.delete(mass_batches).where(mass_batches.c.id == batch.id))
        return
    session.execute(sa.update(deliveries).where(among(deliveries.c.id, ids)).values(**NO_BATCH))
    session.execute(
        sa.update(mass_batches)
        .where(mass_batches.c.id == batch.id)
        .values(
            size=sa.case((mass_batches.c.size > len(ids), mass_batches.c.size - len(ids)), else_=0)
        )
    )


def _single_target(session: Session, job: Job) -> dict[str, Any] | None:
    """To whom a single call goes; None: the segment is neither everybody nor one tag."""
    where = segments.get(session, job.account.id, job.campaign.segment).where
    if definitions.is_everybody(session, job.account.id, where):
        return {"target": "all", "approval": _approval(job.campaign)}
    tag_id = definitions.single_tag(session, job.account.id, where)
    return None if tag_id is None else {"target": "tag", "tag_id": tag_id}


def client_msg_id(session: Session, batch_id: int) -> str:
    """The id by which the platform knows a repeated call: at most 32 ASCII bytes, the same for ever."""
    found = sa.select(installation.c.value).where(installation.c.key == PREFIX_KEY)
    prefix = session.execute(found).scalar()
    if prefix is None:
        row = {"key": PREFIX_KEY, "value": secrets.token_hex(PREFIX_BYTES)}
        session.execute(db.insert(session, installation).values(row).on_conflict_do_nothing())
        prefix = session.execute(found).scalar_one()
    return f"{prefix}-{batch_id}"


def _make(session: Session, job: Job, target: str) -> Any:
    number = session.execute(
        sa.select(sa.func.coalesce(sa.func.max(mass_batches.c.number), 0)).where(
            mass_batches.c.run_id == job.run.id, mass_batches.c.wave == job.wave
        )
    ).scalar_one()
    batch_id = session.execute(
        sa.insert(mass_batches)
        .values(
            account_id=job.account.id,
            run_id=job.run.id,
            wave=job.wave,
            number=number + 1,
            target=target,
            # its own id is known only afterwards
            client_msg_id=f"new-{job.run.id}-{job.wave}-{number + 1}",
            size=0,
            month=month_of(job.now),
            status="planned",
        )
        .returning(mass_batches.c.id)
    ).scalar_one()
    return session.execute(
        sa.update(mass_batches)
        .where(mass_batches.c.id == batch_id)
        .values(client_msg_id=client_msg_id(session, batch_id))
        .returning(*mass_batches.c)
    ).one()


def _skip(session: Session, job: Job, ids: list[int], reason: str) -> None:
    if not ids:
        return
    these = among(deliveries.c.id, ids)
    ledger.release(session, job.account.id, these)
    session.execute(
        sa.update(deliveries)
        .where(these)
        .values(status="skipped", reason=reason, batch_id=None, at=job.now)
    )


def _approval(campaign: Campaign) -> dict[str, str]:
    """The two who approved a send to everybody; an account file stands for its author and its reviewer."""
    names: list[str] = []
    for item in campaign.approved_by:
        names += (
            ["account file", "its review"] if item == definitions.FILE_APPROVAL else [str(item)]
        )
    asked_by, approved_by = [*names, "", ""][:2]  # fewer than two: the gateway refuses
    return {"asked_by": asked_by, "approved_by": approved_by}


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
