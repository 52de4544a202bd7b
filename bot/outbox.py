"""Messages we owe (发件箱): put in the transaction of what caused them, drained as a job.

Knows nothing of campaigns: they read its finished rows.
"""

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from types import ModuleType
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from bot import accounts, db, logs, media, outbox_claims, outcomes
from bot import followers as follower_state
from bot.channels import Item
from bot.db import Session
from bot.errors import Refused
from bot.outbox_claims import PREVIEW, channels
from bot.outcomes import Outcome, Situation
from bot.tables.accounts import accounts as accounts_table
from bot.tables.campaigns import deliveries
from bot.tables.followers import followers
from bot.tables.outbox import outbox
from bot.wechat.client import WeChat

COLLECTED_BY_CAMPAIGNS = ("delivery", "batch")
THREADS = (
    8  # calls in flight at once; their answers take some 100 ms, the processor hardly anything
)
SERIAL_LIMIT = 10  # calls of one account a drain, so that a drain stays short
NOT_GRANTED = 48001
NOT_FOLLOWING = (43004, 50005)
NO_WINDOW = (45015, 45047)
LEFT = "left"  # the follower unsubscribed or was erased before the message left

log = logs.get()
WeChatOf = Callable[[int], WeChat]
Clock = Callable[[], datetime]


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


def drain(engine: Engine, wechat_of: WeChatOf, clock: Clock, *, limit: int = 50) -> int:
    """Send what is due; how many rows were handled. Any number of drains may run at once.

    1. Rows of a process that died while sending, and rows past their time, get their outcome.
    2. Claim up to ``limit`` rows by conditional UPDATE and commit; nobody else sends them now.
    3. Call their channels, several at once; messages to one follower one after another. Each notes
       that its call begins, so that a process that dies leaves only calls under way in doubt.
    4. Channels that take turns claim and send one row of an account at a time.
    5. Store each outcome by itself, as soon as it is known.
    """
    now = clock()
    with db.reading(engine) as session:
        if not outbox_claims.work_waits(session, now):
            return 0
    with db.writing(engine) as session:
        outbox_claims.settle_overdue(session, now)
        rows = outbox_claims.claim_many(session, now, limit)
        turns = outbox_claims.waiting_turns(session, now)
    gateway = functools.cache(wechat_of)
    work = [functools.partial(_send_rows, engine, gateway, clock, group) for group in _groups(rows)]
    work += [
        functools.partial(_send_turns, engine, gateway, clock, account_id, channel)
        for account_id, channel in turns
    ]
    if len(work) <= 1:
        return sum(step() for step in work)
    with ThreadPoolExecutor(min(THREADS, len(work)), thread_name_prefix="outbox") as pool:
        return sum(done.result() for done in [pool.submit(step) for step in work])


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


def _groups(rows: Sequence[Any]) -> list[list[Any]]:
    groups: dict[tuple[str, int], list[Any]] = {}
    for row in sorted(rows, key=lambda row: int(row.id)):
        one = ("row", row.id) if row.follower_id is None else ("follower", row.follower_id)
        groups.setdefault(one, []).append(row)
    return list(groups.values())


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
    begun = outbox_claims.begin(engine, row, clock())
    if begun is None:
        log.warning("outbox_lost", row=row.id)  # recovered meanwhile by somebody else
        return
    row = begun
    channel = channels().get(row.channel)
    with db.reading(engine) as session:
        kind = session.execute(
            sa.select(accounts_table.c.kind).where(accounts_table.c.id == row.account_id)
        ).scalar_one()
        situation = Situation(
            attempts=row.attempts,
            first_try_at=row.first_try_at,
            repeatable=outbox_claims.repeatable(channel, row.purpose),
            account_kind=kind,
            unanswered=row.unanswered_at is not None,
            expires_at=row.expires_at,
        )
        prepared = _prepared(session, row, situation, clock())
    if isinstance(prepared, Outcome):
        outcome = prepared
    elif channel is None:
        outcome = Outcome("failed", f"there is no channel '{row.channel}'")
    else:
        outcome = _call(channel, gateway, prepared, situation, clock)
    _store(engine, row, outcome, clock())


def _call(
    channel: ModuleType, gateway: WeChatOf, item: Item, situation: Situation, clock: Clock
) -> Outcome:
    try:
        wechat = gateway(item.account_id)
    except Refused as problem:  # its secrets do not open: an operator's matter, not this row's
        log.error("no_gateway", account=item.account_id, error=str(problem))
        return outcomes.later(str(problem), situation, clock())
    try:
        return outcomes.succeeded(channel.send(wechat, item))
    except Exception as problem:
        outcome = outcomes.after_problem(problem, situation, clock())
        log.warning(
            "outbox_problem",
            row=item.id,
            channel=item.channel,
            attempts=item.attempts,
            status=outcome.status,
            errcode=outcome.errcode,
            error=outcome.error,
        )
        return outcome


def _prepared(session: Session, row: Any, situation: Situation, now: datetime) -> Item | Outcome:
    """The item to send, with OpenIDs and media ids looked up; or what becomes of a row that cannot be sent now."""
    if situation.expires_at is not None and situation.expires_at <= now:
        return Outcome("unknown" if situation.unanswered else "expired")
    try:
        open_id = _open_id(session, row)
        payload = dict(row.payload)
        if payload.get("content"):
            payload["content"] = media.resolve(session, row.account_id, payload["content"])
        if payload.get("target") == "open_ids" and "open_ids" not in payload:
            batch_id = payload.get("batch_id", row.purpose_id)
            payload["open_ids"] = _open_ids(session, row.account_id, batch_id)
    except media.NotYet as problem:
        return outcomes.later(str(problem), situation, now)
    except Refused as problem:
        return outcomes.after_problem(problem, situation, now)
    return Item(
        id=row.id,
        account_id=row.account_id,
        channel=row.channel,
        purpose=row.purpose,
        purpose_id=row.purpose_id,
        follower_id=row.follower_id,
        open_id=open_id,
        payload=payload,
        attempts=row.attempts,
        first_try_at=row.first_try_at,
        expires_at=row.expires_at,
    )


def _open_id(session: Session, row: Any) -> str | None:
    if row.follower_id is None:
        return None
    found = session.execute(
        sa.select(followers.c.open_id, followers.c.subscribed, followers.c.erased_at).where(
            followers.c.id == row.follower_id, followers.c.account_id == row.account_id
        )
    ).one_or_none()
    if found is None or not found.subscribed or found.erased_at is not None:
        raise Refused(LEFT)
    return str(found.open_id)


def _open_ids(session: Session, account_id: int, batch_id: int) -> list[str]:
    """Everybody of a batch by follower id: the same list at every repeat, whoever left since.

    Only an erased follower is missing, because nobody knows their OpenID any more.
    """
    return list(
        session.execute(
            sa.select(followers.c.open_id)
            .join(deliveries, deliveries.c.follower_id == followers.c.id)
            .where(
                deliveries.c.account_id == account_id,
                deliveries.c.batch_id == batch_id,
                followers.c.erased_at.is_(None),
            )
            .order_by(followers.c.id)
        ).scalars()
    )


def _store(engine: Engine, row: Any, outcome: Outcome, now: datetime) -> None:
    values: dict[str, Any] = {
        "status": outcome.status,
        "errcode": outcome.errcode,
        "error": outcome.error,
        "receipt": outcome.receipt,
        "lease_until": None,
    }
    if outcome.not_before is not None:
        values["not_before"] = outcome.not_before
    if outcome.unanswered:
        values["unanswered_at"] = outbox_claims.first_moment(outbox.c.unanswered_at, now)
    if outcome.status == "sent":
        values["sent_at"] = now
    with db.writing(engine) as session:
        changed = session.execute(
            sa.update(outbox)
            .where(outbox_claims.claimed(row))
            .values(**values)
            .returning(outbox.c.id)
        ).scalar()
        if outcome.errcode == NOT_GRANTED:
            accounts.forbid(session, row.account_id, row.channel)
        if row.follower_id is not None:
            _believe(session, row, outcome.errcode)
    if changed is None:
        log.warning("outbox_late", row=row.id, status=outcome.status, errcode=outcome.errcode)


def _believe(session: Session, row: Any, errcode: int | None) -> None:
    """What a refusal says about the follower, from the moment the call began."""
    if errcode in NOT_FOLLOWING:
        follower_state.left(
            session, row.account_id, [row.follower_id], row.first_try_at, source="refusal"
        )
    elif errcode in NO_WINDOW:
        follower_state.close_windows(session, row.follower_id, row.first_try_at)


__all__ = ["LEFT", "PREVIEW", "Item", "cancel", "drain", "put", "put_many"]
