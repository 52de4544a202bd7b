"""Messages we owe (发件箱): put in the transaction of what caused them, drained as a job.

Knows nothing of campaigns: they read its finished rows.
"""

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from bot import (
    accounts,
    db,
    logs,
    outbox_bulk,
    outbox_claims,
    outbox_items,
    outbox_receipts,
    outcomes,
)
from bot.channels import Item
from bot.db import Session
from bot.errors import Refused
from bot.governor import Governor
from bot.outbox_bulk import Sender
from bot.outbox_claims import PREVIEW
from bot.outbox_items import LEFT, Prepared
from bot.outbox_receipts import Ended
from bot.outcomes import Outcome
from bot.tables.outbox import outbox
from bot.wechat.client import WeChat

COLLECTED_BY_CAMPAIGNS = ("delivery", "batch")
THREADS = (
    8  # calls in flight at once; their answers take some 100 ms, the processor hardly anything
)
SERIAL_LIMIT = 10  # calls of one account a drain, so that a drain stays short

log = logs.get()
WeChatOf = Callable[[int], WeChat]
Clock = Callable[[], datetime]
Hold = Callable[[datetime], sa.ColumnElement[bool] | None]


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


def put_many(session: Session, rows: Sequence[Mapping[str, Any]], now: datetime) -> None:
    """``put`` for many rows of one shape in one statement; a row whose ``key`` was used before is left out.

    Each row has account_id, channel, purpose, purpose_id, follower_id, payload, expires_at and key.
    """
    if not rows:
        return
    fresh = {"status": "waiting", "attempts": 0, "not_before": now, "created_at": now}
    session.execute(
        db.insert(session, outbox).on_conflict_do_nothing(),
        [
            {**row, **fresh, "collected": row["purpose"] not in COLLECTED_BY_CAMPAIGNS}
            for row in rows
        ],
    )


def cancel(session: Session, purpose: str, ids: Iterable[int]) -> int:
    """Take back waiting rows; how many. What was sent without an answer cannot be taken back: it becomes unknown."""
    listed = list(ids)
    taken = 0
    for start in range(0, len(listed), 500):
        chosen = sa.and_(
            outbox.c.purpose == purpose,
            outbox.c.purpose_id.in_(listed[start : start + 500]),
            outbox.c.status == "waiting",
        )
        status = sa.case((outbox.c.unanswered_at.is_(None), "cancelled"), else_="unknown")
        changed = sa.update(outbox).where(chosen).values(status=status).returning(outbox.c.id)
        taken += len(session.execute(changed).all())
    return taken


def drain(
    engine: Engine,
    wechat_of: WeChatOf,
    clock: Clock,
    *,
    limit: int = 50,
    sender: Sender | None = None,
    governor: Governor | None = None,
) -> int:
    """Send what is due; how many rows were handled. Any number of drains may run at once.

    1. Rows of a process that died while sending, and rows past their time, get their outcome.
    2. Claim rows by conditional UPDATE and commit; nobody else sends them now. Up to ``limit``.
    3. Messages by channels with ``BULK`` leave many at once (``outbox_bulk``), other channels are
       called by threads; messages to one follower one after another. Each notes that its call
       begins, so that a process that dies leaves only calls under way in doubt.
    4. Channels that take turns claim and send one row of an account at a time.
    5. Store each outcome as soon as it is known, or with those of the next few milliseconds.

    ``sender`` keeps connections from drain to drain; while another drain has it, this one leaves
    the channels with ``BULK`` to that. ``governor`` says what the day's quotas allow. Campaigns of an
    account whose quiet hours it is wait.
    """
    now = clock()
    with db.reading(engine) as session:
        resting = accounts.in_quiet_hours(session, now)
    held = _held(governor, resting, now)
    with db.reading(engine) as session:
        if not outbox_claims.work_waits(session, now, but=held):
            return 0
    with db.writing(engine) as session:
        outbox_claims.settle_overdue(session, now)
        turns = outbox_claims.waiting_turns(session, now)
    gateway = functools.cache(wechat_of)
    work = [
        functools.partial(_send_turns, engine, gateway, clock, account_id, channel)
        for account_id, channel in turns
        if account_id not in resting
    ]
    with _Threads() as threads:
        handled = [threads.submit(step) for step in work]
        hold = functools.partial(_held, governor, resting)
        sent = _drain_claimed(engine, gateway, clock, limit, sender, governor, threads, hold)
        return sent + sum(done.result() for done in handled)


def _drain_claimed(
    engine: Engine,
    gateway: WeChatOf,
    clock: Clock,
    limit: int,
    sender: Sender | None,
    governor: Governor | None,
    threads: "_Threads",
    hold: Hold,
) -> int:
    """Claim and send rows of channels that take no turns; how many. ``hold``: what may not leave at a moment."""
    left = limit
    others: list[Future[int]] = []

    def claim(most: int, *, bulk: bool = True) -> list[Any]:
        """Rows of channels with BULK; threads send the rest meanwhile."""
        nonlocal left
        if left <= 0:
            return []
        now = clock()
        held = hold(now)
        but = held if bulk else sa.or_(outbox_claims.by_bulk(), *([] if held is None else [held]))
        rows = writer.run(
            lambda session: outbox_claims.claim_many(session, now, min(most, left), but=but)
        )
        left -= len(rows)
        if outbox_bulk.is_bulk(rows):
            return rows
        chosen: list[Any] = []
        for group in _groups(rows):
            if outbox_bulk.is_bulk(group):
                chosen += group
            else:
                others.append(
                    threads.submit(functools.partial(_send_rows, engine, gateway, clock, group))
                )
        if rows and not chosen:
            return claim(most, bulk=bulk)
        return chosen

    own = sender or Sender()
    # it asks for SQLite's one write lock every half millisecond: with plain transactions two worker
    # processes would sleep through each other's beats
    writer = db.GroupWriter(engine)
    sent = 0
    if own.turn.acquire(blocking=False):
        ended = False
        try:
            sent = outbox_bulk.Flow(engine, writer, gateway, clock, own, claim, governor).run()
            ended = True
        finally:
            if sender is None or not ended:  # after a failure calls under way are nobody's
                own.close()
            own.turn.release()
            writer.close()
        if governor is not None:
            governor.flush(engine)
    else:
        claim(limit, bulk=False)
        writer.close()
    return sent + sum(done.result() for done in others)


def prune(session: Session, before: datetime, limit: int) -> int:
    """Delete up to ``limit`` finished rows made before a moment, once they were read by their run; how many went."""
    old = (
        sa.select(outbox.c.id)
        .where(
            outbox.c.created_at < before,
            outbox.c.collected.is_(True),
            outbox.c.status.not_in(("waiting", "sending")),
        )
        .order_by(outbox.c.id)
        .limit(limit)
    )
    gone = sa.delete(outbox).where(outbox.c.id.in_(old.scalar_subquery())).returning(outbox.c.id)
    return len(session.execute(gone).all())


def _held(
    governor: Governor | None, resting: Sequence[int], now: datetime
) -> sa.ColumnElement[bool] | None:
    """Rows that are due and may not leave now, as a clause; None: there are none.

    The day's quota is for others, or their campaigns rest: what waited for a quota, an upload or the end of an
    emergency stop is not to leave at midnight.
    """
    clauses = [governor.held(now)] if governor is not None else []
    if resting:
        of_campaigns = outbox.c.purpose.in_(COLLECTED_BY_CAMPAIGNS)
        clauses.append(sa.and_(outbox.c.account_id.in_(resting), of_campaigns))
    found = [clause for clause in clauses if clause is not None]
    return sa.or_(*found) if found else None


def _groups(rows: Sequence[Any]) -> list[list[Any]]:
    groups: dict[tuple[str, int], list[Any]] = {}
    for row in sorted(rows, key=lambda row: int(row.id)):
        one = ("row", row.id) if row.follower_id is None else ("follower", row.follower_id)
        groups.setdefault(one, []).append(row)
    return list(groups.values())


class _Threads:
    """A pool that is made when the first step comes: most drains need none."""

    def __init__(self) -> None:
        self._pool: ThreadPoolExecutor | None = None

    def __enter__(self) -> "_Threads":
        return self

    def __exit__(self, *_problem: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=True)

    def submit(self, step: Callable[[], int]) -> "Future[int]":
        if self._pool is None:
            self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="outbox")
        return self._pool.submit(step)


def _send_rows(engine: Engine, gateway: WeChatOf, clock: Clock, rows: Sequence[Any]) -> int:
    for row in rows:
        _send(engine, gateway, clock, row)
    return len(rows)


def _send_turns(
    engine: Engine, gateway: WeChatOf, clock: Clock, account_id: int, channel: str
) -> int:
    handled = 0
    while handled < SERIAL_LIMIT:
        with db.writing(engine) as session:
            row = outbox_claims.claim_turn(session, account_id, channel, clock())
        if row is None:
            break
        _send(engine, gateway, clock, row)
        handled += 1
    return handled


def _send(engine: Engine, gateway: WeChatOf, clock: Clock, row: Any) -> None:
    """Send one claimed row and store what came of it."""
    with db.reading(engine) as session:
        [prepared] = outbox_items.prepare(session, [row], clock())
    # one that is not called has no first try: it keeps nobody of its account waiting
    if isinstance(prepared.found, Item) and outbox_claims.begin(engine, row, clock()) is None:
        log.warning("outbox_lost", row=row.id)  # recovered meanwhile by somebody else
        return
    outcome = _call(prepared, gateway, clock)
    with db.writing(engine) as session:
        ended = Ended(row, outcome, prepared.situation.first_try_at)
        outbox_receipts.store(session, [ended], clock())


def _call(prepared: Prepared, gateway: WeChatOf, clock: Clock) -> Outcome:
    item, situation = prepared.found, prepared.situation
    if isinstance(item, Outcome):
        return item
    if prepared.channel is None:
        return Outcome("failed", f"there is no channel '{item.channel}'")
    try:
        wechat = gateway(item.account_id)
    except Refused as problem:  # its secrets do not open: an operator's matter, not this row's
        log.error("no_gateway", account=item.account_id, error=str(problem))
        return outcomes.later(str(problem), situation, clock())
    try:
        return outcomes.succeeded(prepared.channel.send(wechat, item))
    except Exception as problem:
        return outbox_receipts.of_problem(prepared.row, problem, situation, clock())


__all__ = ["LEFT", "PREVIEW", "Item", "cancel", "drain", "put", "put_many"]
