"""Mass batches: who of a wave goes into the next one, and the outbox row that carries it.

A batch never mixes groups or variants, so that what the platform says of it (counts, not people) is known
for each of them. The one call a day of an account that cannot send by OpenID is ``single_call.py``.
"""

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from bot import db, outbox
from bot.accounts import Account
from bot.campaigns import approvals, definitions, ledger, temporary_tags, waves
from bot.campaigns.definitions import Campaign
from bot.clock import month_of
from bot.db import Session
from bot.sql import among
from bot.tables.campaigns import deliveries, mass_batches
from bot.tables.followers import followers
from bot.tables.jobs import installation

# letters of a clientmsgid: at most 32 ASCII bytes; 12 of the installation, a dash, the batch id.
# Source: docs/wechat-limits.md 8 (45067, read 2026-11)
PREFIX_BYTES = 6
ROWS = 200  # deliveries a transaction: a push never waits longer than that takes
NO_BATCH: Mapping[str, Any] = {"batch_id": None, "queued_at": None}
# who left or opted out is asked when a batch is filled; one that was left half full is filled anew
FILL_WITHIN = timedelta(minutes=10)


# scatters people whatever their age: the oldest followers are not like the others
_SCATTER, SCATTERED = 7919, 10007


@dataclass(frozen=True, slots=True)
class Cell:
    """One pair of group and variant. None where the campaign has no groups, or no experiment (yet)."""

    group: str | None
    variant: str | None

    @property
    def people(self) -> sa.ColumnElement[bool]:
        """Deliveries of this cell."""
        return sa.and_(_is(deliveries.c.group, self.group), _is(deliveries.c.variant, self.variant))


@dataclass(frozen=True, slots=True)
class Job:
    """One wave of a run that is to be cut into batches. ``content``: by variant, rendered with shared links.

    ``below``: only who is scattered below it may go, until the guard has looked again; None: everybody.
    ``decides``: who has no variant yet waits for one.
    """

    run: Any
    account: Account
    campaign: Campaign
    wave: int
    content: Callable[[str | None], Mapping[str, Any]]
    now: datetime
    below: int | None = None
    decides: bool = False
    secret_key: str = ""

    @property
    def waiting(self) -> sa.ColumnElement[bool]:
        """Who may go now."""
        found = [mass_waiting(self.run.id), deliveries.c.wave == self.wave]
        if self.decides:
            found.append(deliveries.c.variant.is_not(None))
        if self.below is not None:
            found.append(scattered() < self.below)
        return sa.and_(*found)


def mass_waiting(run_id: int) -> sa.ColumnElement[bool]:
    """Deliveries by mass of a run that are in no batch yet."""
    return sa.and_(
        deliveries.c.run_id == run_id,
        deliveries.c.status == "planned",
        deliveries.c.queued_at.is_(None),
        deliveries.c.channel == "mass",
    )


def scattered() -> sa.ColumnElement[int]:
    """A number from 0 to ``SCATTERED`` − 1 for each delivery that has nothing to do with who it is."""
    return (deliveries.c.follower_id * _SCATTER) % SCATTERED


def next_batch(session: Session, job: Job) -> tuple[int, bool]:
    """One step of forming a batch of OpenIDs: (outbox rows put, whether there is more to do at once).

    A batch is ``planned`` while it is filled, a few hundred followers a transaction, and is handed to
    the outbox in the transaction that completes it. It has 2 to 10,000 people of one group and variant,
    by follower id. One alone joins the next of the same cell; where there is none the reason is ``batch_of_one``.
    """
    ledger.in_turn(session, job.account.id)
    batch = being_filled(session, job.run.id, job.wave)
    if batch is not None and _is_stale(session, batch, job.now):
        empty(session, batch)
        return 0, True
    cell = _next_cell(session, job) if batch is None else Cell(batch.group, batch.variant)
    if cell is None:
        return 0, False
    size = 0 if batch is None else batch.size
    taken = _take_people(session, job, cell, min(ROWS, waves.LARGEST_BATCH - size))
    if taken:
        batch = batch or make(session, job, "open_ids", cell)
        size += len(taken)
        fill(session, job, batch.id, taken, size)
    waiting = people_waiting(session, sa.and_(job.waiting, cell.people), 2)
    if batch is None or (waiting and size < waves.LARGEST_BATCH):
        return 0, True  # without a batch: all of them had left meanwhile
    if len(waiting) == 1:
        size -= _leave_the_last(session, batch.id)
    return _complete(session, job, batch, size), True


def left_over(session: Session, job: Job) -> bool:
    """Whether some of the wave wait until the guard has looked again."""
    held = [mass_waiting(job.run.id), deliveries.c.wave == job.wave]
    if job.decides:
        held.append(deliveries.c.variant.is_not(None))
    return bool(people_waiting(session, sa.and_(*held), 1))


def _next_cell(session: Session, job: Job) -> Cell | None:
    """The cell of the next batch: one of which two may go, or one who has nobody to wait for."""
    for cell in _cells(job.campaign):
        here = people_waiting(session, sa.and_(job.waiting, cell.people), 2)
        if len(here) > 1 or (here and _elsewhere(session, job, cell) is None):
            return cell
    return None


def _cells(campaign: Campaign) -> list[Cell]:
    # without a group or variant: who has none yet, or a follow-up, which tests nothing
    variants = [arm["name"] for arm in (campaign.experiment or {}).get("variants", ())]
    groups = [name for name, _ in campaign.group_segments() if name is not None]
    return [Cell(group, variant) for group in (*groups, None) for variant in (*variants, None)]


def _elsewhere(session: Session, job: Job, cell: Cell) -> Any | None:
    """Somebody of the cell whom one who is alone may wait for: (wave, variant). Of a later wave, of a later
    part of this one, or of those of the group who have no variant yet."""
    later = [deliveries.c.wave > job.wave]
    if job.below is not None:
        later.append(sa.and_(deliveries.c.wave == job.wave, scattered() >= job.below))
    undecided = deliveries.c.variant.is_(None)
    same = sa.and_(cell.people, sa.or_(*later))
    if job.decides:
        same = sa.or_(same, sa.and_(undecided, _is(deliveries.c.group, cell.group)))
    return session.execute(
        sa.select(deliveries.c.wave, deliveries.c.variant)
        .where(mass_waiting(job.run.id), same)
        .order_by(undecided, deliveries.c.wave)
        .limit(1)
    ).one_or_none()


def being_filled(session: Session, run_id: int, wave: int | None = None) -> Any | None:
    """The batch of a run (and wave) that is not complete yet."""
    mine = [mass_batches.c.run_id == run_id, mass_batches.c.status == "planned"]
    if wave is not None:
        mine.append(mass_batches.c.wave == wave)
    return session.execute(
        sa.select(mass_batches).where(*mine).order_by(mass_batches.c.wave).limit(1)
    ).one_or_none()


def _take_people(session: Session, job: Job, cell: Cell, limit: int) -> list[int]:
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
        .where(job.waiting, cell.people)
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


def people_waiting(session: Session, which: sa.ColumnElement[bool], limit: int) -> list[int]:
    """The first of such deliveries, by follower."""
    rows = sa.select(deliveries.c.id).where(which).order_by(deliveries.c.follower_id)
    return list(session.execute(rows.limit(limit)).scalars())


def fill(session: Session, job: Job, batch_id: int, ids: list[int], size: int) -> None:
    """Put deliveries into a batch, which has ``size`` of them then."""
    session.execute(
        sa.update(deliveries)
        .where(among(deliveries.c.id, ids))
        .values(batch_id=batch_id, queued_at=job.now, at=job.now)
    )
    session.execute(sa.update(mass_batches).where(mass_batches.c.id == batch_id).values(size=size))


def _complete(session: Session, job: Job, batch: Any, size: int) -> int:
    """Hand a full batch to the outbox: the rows put. One of nobody, or of one, is no batch."""
    if size >= waves.SMALLEST_BATCH:
        return hand_over(session, job, batch, size, {"target": "open_ids"})
    alone = _members(session, batch.id, 1)
    joins = _elsewhere(session, job, Cell(batch.group, batch.variant))
    if joins is None:
        _skip(session, job, alone, "batch_of_one")
    else:
        session.execute(
            sa.update(deliveries)
            .where(among(deliveries.c.id, alone))
            .values(wave=max(job.wave, joins.wave), variant=joins.variant, **NO_BATCH)
        )
    session.execute(sa.delete(mass_batches).where(mass_batches.c.id == batch.id))
    return 0


def hand_over(session: Session, job: Job, batch: Any, size: int, target: Mapping[str, Any]) -> int:
    """Owe the call of a full batch: the rows put."""
    month = month_of(job.now)
    session.execute(
        sa.update(mass_batches)
        .where(mass_batches.c.id == batch.id)
        .values(status="sending", size=size, month=month, target=target["target"])
    )
    payload = {
        **target,
        "batch_id": batch.id,
        "content": dict(job.content(batch.variant)),
        "client_msg_id": batch.client_msg_id,
    }
    if target["target"] == "open_ids":
        payload["month"] = month
    if target["target"] == "all":
        payload["approval"] = approvals.order(
            job.secret_key,
            job.account.app_id,
            batch.client_msg_id,
            payload["content"],
            _approvers(job.campaign),
        )
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


def client_msg_id(session: Session, batch_id: int) -> str:
    """The id by which the platform knows a repeated call: at most 32 ASCII bytes, the same for ever."""
    key = temporary_tags.PREFIX_KEY
    found = sa.select(installation.c.value).where(installation.c.key == key)
    prefix = session.execute(found).scalar()
    if prefix is None:
        row = {"key": key, "value": secrets.token_hex(PREFIX_BYTES)}
        session.execute(db.insert(session, installation).values(row).on_conflict_do_nothing())
        prefix = session.execute(found).scalar_one()
    return f"{prefix}-{batch_id}"


def make(session: Session, job: Job, target: str, cell: Cell) -> Any:
    """A new batch, to be filled."""
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
            group=cell.group,
            variant=cell.variant,
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


def _approvers(campaign: Campaign) -> list[str]:
    """The two who approved a send to everybody; an account file stands for its author and its reviewer."""
    names: list[str] = []
    for item in campaign.approved_by:
        names += (
            ["account file", "its review"] if item == definitions.FILE_APPROVAL else [str(item)]
        )
    return names


def _is(column: sa.Column[str], value: str | None) -> sa.ColumnElement[bool]:
    return column.is_(None) if value is None else column == value
