"""Storing what became of owed messages: many receipts in one statement, each under the claim it was sent with."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from bot import accounts, logs, outbox_claims, outcomes
from bot import followers as follower_state
from bot.db import Session
from bot.outcomes import Outcome, Situation
from bot.sql import json_items, json_part, unindexed
from bot.tables.outbox import outbox

NOT_GRANTED = 48001
NOT_FOLLOWING = (43004, 50005)
NO_WINDOW = (45015, 45047)

log = logs.get()


@dataclass(frozen=True, slots=True)
class Ended:
    """A claimed row and what became of it. ``asked_at``: when the platform was first asked about it."""

    row: Any
    outcome: Outcome
    asked_at: datetime


def of_problem(row: Any, problem: Exception, situation: Situation, now: datetime) -> Outcome:
    """What a failed call means for its row, with a line of the log."""
    outcome = outcomes.after_problem(problem, situation, now)
    log.warning(
        "outbox_problem",
        row=row.id,
        channel=row.channel,
        attempts=row.attempts,
        status=outcome.status,
        errcode=outcome.errcode,
        error=outcome.error,
    )
    return outcome


def store(session: Session, ended: Sequence[Ended], now: datetime) -> None:
    """Store outcomes of claimed rows; one whose claim was lost meanwhile changes nothing but a line of the log."""
    sent = [one for one in ended if one.outcome.status == "sent"]
    if sent:
        stored = _store_sent(session, sent, now)
        for one in sent:
            if one.row.id not in stored:
                _late(one)
    for one in ended:
        if one.outcome.status != "sent":
            _store_one(session, one, now)


def _store_sent(session: Session, sent: Sequence[Ended], now: datetime) -> frozenset[int]:
    listed = json.dumps([[one.row.id, one.row.attempts, one.outcome.receipt] for one in sent])
    found = session.execute(_SENT, {"sent": listed, "moment": now})
    return frozenset(found.scalars().all())


def _store_one(session: Session, one: Ended, now: datetime) -> None:
    row, outcome = one.row, one.outcome
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
    changed = session.execute(
        sa.update(outbox).where(outbox_claims.claimed(row)).values(**values).returning(outbox.c.id)
    ).scalar()
    if outcome.errcode == NOT_GRANTED:
        accounts.forbid(session, row.account_id, row.channel)
    if row.follower_id is not None:
        _believe(session, one)
    if changed is None:
        _late(one)


def _believe(session: Session, one: Ended) -> None:
    """What a refusal says about the follower, from the moment the call began."""
    row, errcode = one.row, one.outcome.errcode
    if errcode in NOT_FOLLOWING:
        follower_state.left(
            session, row.account_id, [row.follower_id], one.asked_at, source="refusal"
        )
    elif errcode in NO_WINDOW:
        follower_state.close_windows(session, row.follower_id, one.asked_at)


def _late(one: Ended) -> None:
    outcome = one.outcome
    log.warning("outbox_late", row=one.row.id, status=outcome.status, errcode=outcome.errcode)


def _sent_statement() -> Any:
    listed = json_items(sa.bindparam("sent", type_=sa.Text)).table_valued(sa.column("value"))
    number = sa.cast(json_part(listed.c.value, 0), sa.BigInteger)
    attempts = sa.cast(json_part(listed.c.value, 1), sa.Integer)
    return (
        sa.update(outbox)
        .where(
            outbox.c.id == number,
            # else SQLite goes through all that is being sent, once for each receipt
            unindexed(outbox.c.status) == "sending",
            outbox.c.attempts == attempts,
        )
        .values(
            status="sent",
            errcode=None,
            error=None,
            receipt=json_part(listed.c.value, 2),
            lease_until=None,
            sent_at=sa.bindparam("moment", type_=outbox.c.sent_at.type),
        )
        .returning(outbox.c.id)
    )


_SENT = _sent_statement()
