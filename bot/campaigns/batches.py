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
# Source: wechat-platform.md 8.2, 8.6 (45067, read 2026-11)
PREFIX_KEY = "client_msg_id_prefix"
PREFIX_BYTES = 6
ROWS = 500  # slots taken anew a transaction when the month turned


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
    """Form one batch of OpenIDs: (outbox rows put, whether there is more to do at once).

    1. Slots of a month that is over are taken anew in this one, 500 at a time.
    2. Who left or opted out since planning is skipped, and the slot goes back.
    3. 2 to 10,000 of the rest, by follower id, become a batch. One alone joins the next wave; in the
       last wave the reason is ``batch_of_one``.
    """
    ledger.in_turn(session, job.account.id)
    if take_slots_anew(session, job):
        return 0, True
    for reason, gone in (
        ("left", followers.c.subscribed.is_(sa.false())),
        ("opted_out", followers.c.opted_out_at.is_not(None)),
    ):
        who = sa.select(followers.c.id).where(followers.c.account_id == job.account.id, gone)
        _skip(session, job, deliveries.c.follower_id.in_(who), reason)
    people = session.execute(sa.select(sa.func.count()).where(job.waiting)).scalar_one()
    if people == 0:
        return 0, True  # another channel or wave may have more
    sizes = waves.batches(people)
    if not sizes:
        if job.wave == waves.CANARY_WAVE:
            session.execute(sa.update(deliveries).where(job.waiting).values(wave=waves.REST_WAVE))
        else:
            _skip(session, job, sa.true(), "batch_of_one")
        return 0, True
    batch_id, client_msg_id = _make(session, job, "open_ids", sizes[0])
    chosen = (
        sa.select(deliveries.c.id)
        .where(job.waiting)
        .order_by(deliveries.c.follower_id)
        .limit(sizes[0])
    )
    session.execute(
        sa.update(deliveries)
        .where(deliveries.c.id.in_(chosen.scalar_subquery()))
        .values(batch_id=batch_id, queued_at=job.now, at=job.now)
    )
    payload = {
        "target": "open_ids",
        "batch_id": batch_id,
        "content": dict(job.content),
        "client_msg_id": client_msg_id,
        "month": month_of(job.now),
    }
    _put(session, job, batch_id, payload)
    return 1, True


def single_call(session: Session, job: Job) -> tuple[int, bool]:
    """A subscription account's one call a day, to everybody or to one tag: (rows put, more at once)."""
    if _sent_today(session, job.account.id, job.now) >= SENDS_A_DAY:
        tomorrow = start_of_day(day_of(job.now) + timedelta(days=1))
        first = after_quiet(tomorrow, job.account.limits.quiet_hours)
        session.execute(
            sa.update(campaign_runs)
            .where(campaign_runs.c.id == job.run.id)
            .values(next_wave_at=first)
        )
        return 0, False
    where = segments.get(session, job.account.id, job.campaign.segment).where
    people = session.execute(sa.select(sa.func.count()).where(job.waiting)).scalar_one()
    payload: dict[str, Any] = {"content": dict(job.content)}
    if definitions.is_everybody(session, job.account.id, where):
        payload |= {"target": "all", "approval": _approval(job.campaign)}
    else:
        tag_id = definitions.single_tag(session, job.account.id, where)
        if tag_id is None:
            session.execute(
                sa.update(campaign_runs)
                .where(campaign_runs.c.id == job.run.id)
                .values(status="paused", reason="segment_unfit")
            )
            return 0, False
        payload |= {"target": "tag", "tag_id": tag_id}
    batch_id, client_msg_id = _make(session, job, payload["target"], people)
    session.execute(
        sa.update(deliveries)
        .where(job.waiting)
        .values(batch_id=batch_id, queued_at=job.now, at=job.now)
    )
    payload |= {"batch_id": batch_id, "client_msg_id": client_msg_id}
    _put(session, job, batch_id, payload)
    return 1, False


def take_slots_anew(session: Session, job: Job) -> bool:
    """When the month turned between planning and sending: give the old slots back, take new ones.

    A slot belongs to the Shanghai month of submission. True while there were any to change.
    """
    month = month_of(job.now)
    rows = session.execute(
        sa.select(deliveries.c.id, deliveries.c.follower_id)
        .where(job.waiting, sa.or_(deliveries.c.month != month, deliveries.c.month.is_(None)))
        .order_by(deliveries.c.follower_id)
        .limit(ROWS)
    ).all()
    if not rows:
        return False
    ids = [row.id for row in rows]
    ledger.release(session, job.account.id, among(deliveries.c.id, ids))
    got = ledger.reserve(session, job.account.id, [row.follower_id for row in rows], month)
    these = among(deliveries.c.id, ids)
    session.execute(
        sa.update(deliveries)
        .where(these, among(deliveries.c.follower_id, got))
        .values(slot=ledger.RESERVED, month=month)
    )
    session.execute(
        sa.update(deliveries)
        .where(these, deliveries.c.slot.is_(None))
        .values(status="skipped", reason="no_slot", month=month, at=job.now)
    )
    return True


def client_msg_id(session: Session, batch_id: int) -> str:
    """The id by which the platform knows a repeated call: at most 32 ASCII bytes, the same for ever."""
    found = sa.select(installation.c.value).where(installation.c.key == PREFIX_KEY)
    prefix = session.execute(found).scalar()
    if prefix is None:
        row = {"key": PREFIX_KEY, "value": secrets.token_hex(PREFIX_BYTES)}
        session.execute(db.insert(session, installation).values(row).on_conflict_do_nothing())
        prefix = session.execute(found).scalar_one()
    return f"{prefix}-{batch_id}"


def _make(session: Session, job: Job, target: str, size: int) -> tuple[int, str]:
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
            size=size,
            month=month_of(job.now),
            status="sending",
        )
        .returning(mass_batches.c.id)
    ).scalar_one()
    named = client_msg_id(session, batch_id)
    session.execute(
        sa.update(mass_batches).where(mass_batches.c.id == batch_id).values(client_msg_id=named)
    )
    return int(batch_id), named


def _put(session: Session, job: Job, batch_id: int, payload: Mapping[str, Any]) -> None:
    outbox.put(
        session,
        account_id=job.account.id,
        channel="mass",
        purpose="batch",
        purpose_id=batch_id,
        payload=payload,
        now=job.now,
        key=f"batch:{batch_id}",
    )


def _skip(session: Session, job: Job, who: sa.ColumnElement[bool], reason: str) -> None:
    ids = list(session.execute(sa.select(deliveries.c.id).where(job.waiting, who)).scalars())
    for start in range(0, len(ids), ledger.CHUNK):
        these = among(deliveries.c.id, ids[start : start + ledger.CHUNK])
        ledger.release(session, job.account.id, these)
        session.execute(
            sa.update(deliveries).where(these).values(status="skipped", reason=reason, at=job.now)
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
