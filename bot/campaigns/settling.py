"""Settle (对账): bring deliveries, batches and slots in line with what the outbox and WeChat say.

WeChat reports counts, not people: a follower of an accepted batch is ``sent``, how many it *delivered*
belongs to the batch, and what it charged but did not deliver is the batch's shortfall. Slots stay
charged unless a whole batch failed.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from bot import consents, db, followers, logs, outbox
from bot.campaigns import batch_results, opt_outs, rounds
from bot.clock import month_of
from bot.db import Session
from bot.errors import Refused, WeChatError
from bot.one_by_one import one_by_one
from bot.sql import among, unindexed
from bot.tables.campaigns import (
    campaign_runs,
    deliveries,
    external_mass_sends,
    mass_batches,
)
from bot.tables.outbox import outbox as outbox_rows
from bot.wechat import mass
from bot.wechat.client import WeChat

ROWS = 200  # personal results a transaction
ENDED = ("sent", "failed", "unknown", "expired", "cancelled")
UNPLACED = "unplaced"
EVENT_FIELDS = ("Status", "TotalCount", "FilterCount", "SentCount", "ErrorCount")
# no window at all, or its messages used up. Source: docs/wechat-limits.md 9 (read 2026-11)
WINDOW_CLOSED = (45015, 45047)

# group-send protection alone may hold a job for 30 minutes.
# Source: docs/wechat-limits.md 8 (O1, O3, read 2026-11)
LATE = timedelta(minutes=45)
ASK_AGAIN = timedelta(minutes=30)
# the platform speaks within hours if it ever does: a run must not stay open for a word that never comes.
# Source: our choice.
GIVE_UP = timedelta(days=3)
# an event we cannot place may belong to a batch whose receipt is not stored yet: wait that long
# before it is held to be a send from elsewhere
PLACE_LATER = timedelta(minutes=2)

log = logs.get()
WeChatOf = Callable[[int], WeChat]


def collect(engine: Engine, now: datetime) -> int:
    """Read finished outbox rows into deliveries and batches, settle waiting results, finish runs.

    Returns how many outbox rows were read. Any number of collectors may run at once.
    """
    done = 0
    with one_by_one() as one:
        with one(step="personal"):
            while _anything(engine, "delivery"):
                with db.writing(engine) as session:
                    done += _collect_personal(session, now)
        with one():
            _store_outcomes(engine, now)
        with one():
            retry_results(engine, now)
        with one():
            done += settle_batches(engine, now)
        with one():
            finish_runs(engine, now)
    return done


def settle_batch(
    session: Session, account_id: int, fields: Mapping[str, Any], now: datetime
) -> bool:
    """Store the platform's result of a mass send (MASSSENDJOBFINISH) on its batch.

    What it means for the followers of the batch is done by ``settle_batches``.
    False: no batch has this MsgID yet; it is remembered, and ``retry_results`` looks again.
    """
    # 64 bits, 19 digits; what is longer is no id, and no index would take it
    msg_id = str(fields.get("MsgID") or fields.get("MsgId") or "").strip()[:100]
    if not msg_id:
        return True  # nothing it could belong to
    batch = session.execute(
        sa.select(mass_batches).where(
            mass_batches.c.account_id == account_id, mass_batches.c.msg_id == msg_id
        )
    ).one_or_none()
    if batch is None:
        _remember(session, account_id, msg_id, fields, now)
        return False
    if batch.finished_at is not None and batch.total is not None:
        return True
    status = str(fields.get("Status", ""))
    total, filtered = _number(fields, "TotalCount"), _number(fields, "FilterCount")
    sent, errors = _number(fields, "SentCount"), _number(fields, "ErrorCount")
    failed = _failed(status, sent)
    session.execute(
        sa.update(mass_batches)
        .where(mass_batches.c.id == batch.id)
        .values(
            status="failed" if failed else "finished",
            result=status,
            total=total,
            filtered=filtered,
            sent=sent,
            errors=errors,
            shortfall=None if failed or sent is None else max(0, batch.size - sent),
            finished_at=now,
        )
    )
    if failed or batch.status in ("unknown", "failed"):
        # the followers of the batch are not what it is now
        _look_again(session, batch.id)
    return True


def retry_results(engine: Engine, now: datetime) -> int:
    """Settle results that overtook our own commit; what belongs to no batch of ours came from elsewhere.

    An unplaced MsgID becomes an external send of unknown audience, which blocks mass until an operator
    says what it was. Not before every mass call of the account has its outcome. Returns how many were placed.
    """
    with db.reading(engine) as session:
        rows = session.execute(
            sa.select(external_mass_sends)
            .where(external_mass_sends.c.audience == UNPLACED)
            .order_by(external_mass_sends.c.id)
        ).all()
    placed = 0
    with one_by_one() as one:
        for row in rows:
            with one(external_send=row.id), db.writing(engine) as session:
                placed += _place(session, row, now)
    return placed


def late(engine: Engine, wechat_of: WeChatOf, now: datetime) -> int:
    """Ask the platform about batches without a result after 45 minutes; how many were asked.

    Its answer is a status without counts: a batch that went out has no known shortfall. One of which it says
    nothing for three days is held to have gone out too.
    """
    _give_up(engine, now)
    with db.reading(engine) as session:
        batches = session.execute(
            sa.select(mass_batches)
            .where(
                mass_batches.c.status == "submitted",
                mass_batches.c.msg_id.is_not(None),
                mass_batches.c.submitted_at <= now - LATE,
                sa.or_(
                    mass_batches.c.checked_at.is_(None),
                    mass_batches.c.checked_at <= now - ASK_AGAIN,
                ),
            )
            .order_by(mass_batches.c.id)
            .limit(50)
        ).all()
    with one_by_one() as one:
        for batch in batches:
            with one(batch=batch.id):
                _ask(engine, wechat_of, batch, now)
        if batches:
            with one():
                settle_batches(engine, now)
            with one():
                finish_runs(engine, now)
    return len(batches)


def _ask(engine: Engine, wechat_of: WeChatOf, batch: Any, now: datetime) -> None:
    try:
        answer = mass.job_status(wechat_of(batch.account_id), batch.msg_id)
    except (WeChatError, Refused) as problem:
        log.warning("mass_status", batch=batch.id, error=str(problem))
        answer = ""
    with db.writing(engine) as session:
        _store_answer(session, batch, answer, now)


def finish_runs(engine: Engine, now: datetime) -> int:
    """Finish running runs in which nothing is planned any more and no batch is open; how many."""
    open_delivery = sa.exists().where(
        deliveries.c.run_id == campaign_runs.c.id, deliveries.c.status == "planned"
    )
    open_batch = sa.exists().where(
        mass_batches.c.run_id == campaign_runs.c.id,
        mass_batches.c.status.in_(("planned", "sending", "submitted")),
    )
    open_result = sa.exists().where(
        mass_batches.c.run_id == campaign_runs.c.id,
        outbox_rows.c.purpose == "batch",
        outbox_rows.c.purpose_id == mass_batches.c.id,
        _finished(),
    )
    done = sa.and_(
        campaign_runs.c.status == "running",
        sa.not_(open_delivery),
        sa.not_(open_batch),
        sa.not_(open_result),
    )
    with db.reading(engine) as session:
        found = list(session.execute(sa.select(campaign_runs.c.id).where(done)).scalars())
    with one_by_one() as one:
        for run_id in found:
            with one(run=run_id), db.writing(engine) as session:
                campaign_id = session.execute(
                    sa.update(campaign_runs)
                    .where(campaign_runs.c.id == run_id, done)
                    .values(status="finished", reason=None, finished_at=now)
                    .returning(campaign_runs.c.campaign_id)
                ).scalar()
                if campaign_id is not None:
                    rounds.close_campaign(session, campaign_id)
    return len(found)


def settle_batches(engine: Engine, now: datetime) -> int:
    """Bring the followers of batches in line with what became of each, slots included; how many batches.

    A batch's outbox row stays uncollected until that is done: whoever comes after a kill goes on.
    """
    rows = _finished_calls(engine, mass_batches.c.status != "sending")
    with one_by_one() as one:
        for row in rows:
            with one(batch=row.purpose_id):
                while not batch_results.align(engine, row, now):
                    pass  # its result came meanwhile: once more, for what it is now
    return len(rows)


def _store_outcomes(engine: Engine, now: datetime) -> None:
    with one_by_one() as one:
        for row in _finished_calls(engine, mass_batches.c.status == "sending"):
            with one(batch=row.purpose_id), db.writing(engine) as session:
                _store_outcome(session, row, now)


def _finished_calls(engine: Engine, which: sa.ColumnElement[bool]) -> Sequence[Any]:
    with db.reading(engine) as session:
        return session.execute(
            sa.select(outbox_rows)
            .join(mass_batches, mass_batches.c.id == outbox_rows.c.purpose_id)
            .where(_finished(), outbox_rows.c.purpose == "batch", which)
            .order_by(outbox_rows.c.id)
        ).all()


def _anything(engine: Engine, purpose: str) -> bool:
    with db.reading(engine) as session:
        found = sa.select(outbox_rows.c.id).where(
            _finished(), unindexed(outbox_rows.c.purpose) == purpose
        )
        return session.execute(found.limit(1)).first() is not None


def _collect_personal(session: Session, now: datetime) -> int:
    """Results of messages to one follower each. A refusal never falls over to mass by itself."""
    rows = db.claim(
        session,
        outbox_rows,
        sa.and_(_finished(), unindexed(outbox_rows.c.purpose) == "delivery"),
        {"collected": True},
        order_by=[outbox_rows.c.status, outbox_rows.c.id],  # as the index gives them
        limit=ROWS,
    )
    consents.settle(session, rows, now)
    sent = [row.purpose_id for row in rows if row.status == "sent"]
    if sent:
        _planned_to(session, among(deliveries.c.id, sent), {"status": "sent", "at": now})
        batch_results.record_sent(session, among(deliveries.c.id, sent), now)
    others: dict[tuple[tuple[str, Any], ...], list[int]] = {}  # what becomes of them -> deliveries
    for row in rows:
        if row.status == "sent":
            continue
        others.setdefault(_came_to(row), []).append(row.purpose_id)
        if row.status == "failed" and row.errcode in WINDOW_CLOSED and row.follower_id is not None:
            followers.close_windows(session, row.follower_id, row.first_try_at or now)
    for values, ids in others.items():
        _planned_to(session, among(deliveries.c.id, ids), {**dict(values), "at": now})
    return len(rows)


def _came_to(row: Any) -> tuple[tuple[str, Any], ...]:
    """What a message that was not sent means for its delivery."""
    if row.status == "cancelled" and row.error == opt_outs.OPTED_OUT:
        return (("status", "skipped"), ("reason", opt_outs.OPTED_OUT))
    if row.status in ("expired", "cancelled"):
        return (("status", "skipped"), ("reason", row.status))
    if row.status == "unknown":
        return (("status", "unknown"),)
    if row.error == outbox.LEFT:
        return (("status", "skipped"), ("reason", "left"))
    return (("status", "failed"), ("errcode", row.errcode))


def _store_outcome(session: Session, row: Any, now: datetime) -> None:
    """Write on a batch what became of its one call, the first time it is looked at."""
    batch = session.execute(
        sa.select(mass_batches).where(mass_batches.c.id == row.purpose_id)
    ).one()
    if batch.status != "sending":
        return
    # the run's row before others, as everywhere: two orders could stop each other
    run_status = session.execute(
        sa.update(campaign_runs)
        .where(campaign_runs.c.id == batch.run_id)
        .values(status=campaign_runs.c.status)
        .returning(campaign_runs.c.status)
    ).scalar_one()
    values = _outcome(session, batch, row, now)
    session.execute(
        sa.update(mass_batches)
        .where(mass_batches.c.id == batch.id, mass_batches.c.status == "sending")
        .values(**values)
    )
    if values.get("error") == "batch_conflict" and run_status == "running":
        session.execute(
            sa.update(campaign_runs)
            .where(campaign_runs.c.id == batch.run_id)
            .values(status="paused", reason="batch_conflict")
        )


def _outcome(session: Session, batch: Any, row: Any, now: datetime) -> dict[str, Any]:
    if row.status == "sent":
        return _accepted(session, batch, row, now)
    if row.status == "failed":
        return {"status": "failed", "error": row.error, "finished_at": now}
    if row.status == "unknown":
        return {"status": "unknown", "error": row.error, "submitted_at": now, "finished_at": now}
    return {"status": "cancelled", "error": row.error, "finished_at": now}


def _accepted(session: Session, batch: Any, row: Any, now: datetime) -> dict[str, Any]:
    receipt = row.receipt or {}
    values: dict[str, Any] = {"submitted_at": row.sent_at or now}
    msg_id = receipt.get("msg_id")
    if not msg_id:
        # without a number no result can ever be matched to it
        return values | {"status": "finished", "finished_at": now, "error": "no msg_id"}
    taken = session.execute(
        sa.select(mass_batches.c.id).where(
            mass_batches.c.account_id == batch.account_id,
            mass_batches.c.msg_id == msg_id,
            mass_batches.c.id != batch.id,
        )
    ).first()
    if taken is not None:
        return values | {"status": "unknown", "finished_at": now, "error": "batch_conflict"}
    data_id = receipt.get("msg_data_id")
    return values | {"status": "submitted", "msg_id": msg_id, "msg_data_id": data_id}


def _look_again(session: Session, batch_id: int) -> None:
    session.execute(
        sa.update(outbox_rows)
        .where(outbox_rows.c.purpose == "batch", outbox_rows.c.purpose_id == batch_id)
        .values(collected=False)
    )


def _planned_to(session: Session, which: sa.ColumnElement[bool], values: Mapping[str, Any]) -> None:
    session.execute(
        sa.update(deliveries).where(which, deliveries.c.status == "planned").values(**values)
    )


def _give_up(engine: Engine, now: datetime) -> None:
    silent = sa.and_(
        mass_batches.c.status == "submitted", mass_batches.c.submitted_at <= now - GIVE_UP
    )
    with db.reading(engine) as session:
        ids = list(session.execute(sa.select(mass_batches.c.id).where(silent)).scalars())
    if ids:
        log.warning("mass_result_never_came", batches=ids)
        with db.writing(engine) as session:
            session.execute(
                sa.update(mass_batches)
                .where(among(mass_batches.c.id, ids), silent)
                .values(status="finished", error="no result", finished_at=now)
            )
        finish_runs(engine, now)


def _store_answer(session: Session, batch: Any, answer: str, now: datetime) -> None:
    still = sa.and_(mass_batches.c.id == batch.id, mass_batches.c.status == "submitted")
    values: dict[str, Any] = {"checked_at": now}
    if answer in ("SEND_SUCCESS", "DELETE"):  # what was deleted had gone out
        values |= {"status": "finished", "result": answer, "finished_at": now}
    elif answer == "SEND_FAIL":
        values |= {"status": "failed", "result": answer, "finished_at": now}
    changed = session.execute(sa.update(mass_batches).where(still).values(**values))
    if changed.rowcount == 1 and values.get("status") == "failed":
        _look_again(session, batch.id)


def _finished() -> sa.ColumnElement[bool]:
    return sa.and_(outbox_rows.c.collected.is_(sa.false()), outbox_rows.c.status.in_(ENDED))


def _remember(
    session: Session, account_id: int, msg_id: str, fields: Mapping[str, Any], now: datetime
) -> None:
    db.insert_first(
        session,
        external_mass_sends,
        {
            "account_id": account_id,
            "source": "event",
            "msg_id": msg_id,
            "audience": UNPLACED,
            "event": {"MsgID": msg_id, **{name: fields.get(name) for name in EVENT_FIELDS}},
            "times": 1,
            "month": month_of(now),
            "at": now,
            "total": _number(fields, "TotalCount"),
            "sent": _number(fields, "SentCount"),
        },
    )


def _place(session: Session, row: Any, now: datetime) -> bool:
    """Settle a remembered result on its batch, or hold it to be a send from elsewhere when it cannot be ours."""
    this = sa.and_(external_mass_sends.c.id == row.id, external_mass_sends.c.audience == UNPLACED)
    batch = session.execute(
        sa.select(mass_batches.c.id).where(
            mass_batches.c.account_id == row.account_id, mass_batches.c.msg_id == row.msg_id
        )
    ).first()
    if batch is not None:
        session.execute(sa.delete(external_mass_sends).where(this))
        return settle_batch(session, row.account_id, row.event, now)
    if row.at > now - PLACE_LATER or _open_calls(session, row.account_id):
        return False
    # a send that reached nobody charged nobody
    failed = _failed(str(row.event.get("Status", "")), row.sent)
    session.execute(
        sa.update(external_mass_sends)
        .where(this)
        .values(audience="none" if failed else "unknown", event=None)
    )
    return True


def _open_calls(session: Session, account_id: int) -> bool:
    """Whether a mass call of the account has no outcome yet, so that a result may still turn out ours."""
    return (
        session.execute(
            sa.select(outbox_rows.c.id)
            .where(
                outbox_rows.c.account_id == account_id,
                outbox_rows.c.purpose == "batch",
                sa.or_(
                    outbox_rows.c.status == "sending",
                    outbox_rows.c.collected.is_(sa.false()),
                ),
                outbox_rows.c.attempts > 0,
            )
            .limit(1)
        ).first()
        is not None
    )


def _failed(status: str, sent: int | None) -> bool:
    """Whether a whole send failed: ``send fail``, ``err(n)``, or nobody was sent to.

    Source: docs/wechat-limits.md 2 (read 2026-11).
    """
    lowered = status.strip().lower()
    return lowered.startswith("err") or lowered in ("send fail", "sendfail") or sent == 0


def _number(fields: Mapping[str, Any], name: str) -> int | None:
    text = str(fields.get(name, "")).strip()
    return int(text) if text.isdecimal() and len(text) < 10 else None
