"""What an operator does with a run under way, or with the follow-up to come: pause, resume, cancel, skip, change."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from bot import accounts, db
from bot.campaigns import batches, definitions, document, guarding, ledger, planning, rounds, trials
from bot.campaigns import status as statuses
from bot.campaigns.rounds import Round
from bot.db import Session
from bot.errors import Refused
from bot.one_by_one import one_by_one
from bot.sql import among
from bot.tables.campaigns import campaign_runs, campaigns, deliveries, mass_batches
from bot.tables.outbox import outbox as outbox_rows

ROWS = 100  # deliveries a transaction: a push never waits longer than that takes


def pause(session: Session, run_id: int, now: datetime, reason: str = "by_operator") -> None:
    """Hand over nothing more. Takes effect between batches: what is in the outbox still goes.

    Raises:
        Refused: the run is not running.
    """
    run = _run(session, run_id)
    statuses.check_run(run.status, "paused")
    change(session, run_id, {"status": "paused", "reason": reason}, run.status)


def resume(session: Session, run_id: int, now: datetime) -> None:
    """Go on with a paused run. After a failed canary, or a stop by the guard, this is an operator's word that the
    rest may go: what was seen up to now does not stop it again.

    Raises:
        Refused: the run is not paused, or its cause is not gone.
    """
    run = _run(session, run_id)
    statuses.check_run(run.status, "running")
    if run.status == "waiting":
        raise Refused("还在等待审批，请先审批 (it waits for approval: approve it)")
    if run.status == "planning":  # planning itself makes it running; before that nobody is in it
        raise Refused(
            "还在规划，没有什么可继续发送 (it is being planned: there is nothing to resume)"
        )
    account = accounts.by_id(session, run.account_id)
    campaign = definitions.by_id(session, run.campaign_id)
    blocked = planning.block(session, account, rounds.channels(campaign, run.round))
    if blocked is not None:
        raise Refused(statuses.explain(blocked))
    if run.reason == trials.DECIDING:
        raise Refused(
            "先选择胜出的版本，其余的人才会收到 (choose the winner first: the rest gets it)"
        )
    guarding.excuse(session, run, now)
    change(session, run_id, {"status": "running", "reason": None, "next_wave_at": now}, run.status)


def cancel(session: Session, run_id: int, now: datetime) -> None:
    """End a run, and take back what still waits in the outbox. ``skip_cancelled`` does the rest.

    What is being sent, or was sent without an answer, keeps its course and its slot.

    Raises:
        Refused: the run has ended.
    """
    run = _run(session, run_id)
    if run.status == "cancelled":
        return
    statuses.check_run(run.status, "cancelled")
    ended = {"status": "cancelled", "reason": "by_operator", "finished_at": now}
    change(session, run_id, ended, run.status)
    _take_back(
        session,
        "delivery",
        sa.select(deliveries.c.id).where(
            deliveries.c.run_id == run_id, deliveries.c.status == "planned"
        ),
    )
    _take_back(
        session,
        "batch",
        sa.select(mass_batches.c.id).where(
            mass_batches.c.run_id == run_id, mass_batches.c.status == "sending"
        ),
    )
    rounds.close_campaign(session, run.campaign_id)


def skip_cancelled(engine: Engine, now: datetime) -> int:
    """Skip who of cancelled runs was not handed over, slots back, a few hundred a transaction; how many.

    What was taken back from the outbox is settled as everything that comes back from it.
    """
    with db.reading(engine) as session:
        left = sa.exists().where(waiting(campaign_runs.c.id))
        half = sa.exists().where(
            mass_batches.c.run_id == campaign_runs.c.id, mass_batches.c.status == "planned"
        )
        runs = session.execute(
            sa.select(campaign_runs.c.id, campaign_runs.c.account_id).where(
                campaign_runs.c.status == "cancelled", sa.or_(left, half)
            )
        ).all()
    skipped = 0
    with one_by_one() as one:
        for run in runs:
            with one(run=run.id):
                skipped += _skip_all(engine, run, now)
    return skipped


def next_round(session: Session, account_id: int, name: str) -> Round:
    """The follow-up that comes next in a campaign and was not made yet.

    Raises:
        Refused: there is none.
    """
    campaign = definitions.get(session, account_id, name)
    runs = session.execute(
        sa.select(campaign_runs)
        .where(campaign_runs.c.campaign_id == campaign.id)
        .order_by(campaign_runs.c.id.desc())
    ).all()
    for run in runs:
        found = rounds.coming(session, run)
        if found is not None:
            return found
    raise Refused(f"no follow-up of '{name}' is to come")


def skip_round(session: Session, account_id: int, name: str, now: datetime) -> Round:
    """Leave the next follow-up out; the one after it, if there is one, goes to the people of the run before.

    Raises:
        Refused: none is to come, or it begins this very moment.
    """
    found = next_round(session, account_id, name)
    if rounds.make(session, found, now, skipped=True) is None:
        raise Refused("this follow-up begins this very moment: pause it instead")
    rounds.close_campaign(session, found.campaign_id)
    return found


def change_round(
    session: Session, account_id: int, name: str, content: Mapping[str, Any], now: datetime
) -> Round:
    """Let the next follow-up say something else. It needs a new approval before it goes.

    Raises:
        Refused: none is to come.
        Invalid: the content cannot be sent on the follow-up's channels.
    """
    found = next_round(session, account_id, name)
    campaign = definitions.get(session, account_id, name)
    steps = [dict(step) for step in campaign.follow_ups or ()]
    steps[found.number - 2]["content"] = dict(content)
    changed = document.parse(definitions.document_of(campaign) | {"follow_ups": steps})
    session.execute(
        sa.update(campaigns)
        .where(campaigns.c.id == campaign.id)
        .values(follow_ups=changed["follow_ups"], version=campaigns.c.version + 1)
    )
    definitions.adopt_articles(session, account_id, changed, now, f"campaign:{name}")
    return found


def end(session: Session, account_id: int, name: str, now: datetime) -> list[int]:
    """Force-stop (强制停止): cancel every run under way and leave all follow-ups out; the runs that were cancelled.

    Raises:
        Refused: nothing is under way and nothing is to come.
    """
    campaign = definitions.get(session, account_id, name)
    rows = session.execute(
        sa.select(campaign_runs.c.id).where(
            campaign_runs.c.campaign_id == campaign.id,
            campaign_runs.c.status.in_(statuses.OPEN_RUNS),
        )
    ).scalars()
    ended = list(rows)
    for run_id in ended:
        cancel(session, run_id, now)
    skipped = 0
    while rounds.more_to_come(session, campaign.id):
        skip_round(session, account_id, name, now)
        skipped += 1
    if not ended and not skipped:
        raise Refused(f"nothing of '{name}' is under way or to come")
    return ended


def _skip_all(engine: Engine, run: Any, now: datetime) -> int:
    skipped, more = 0, True
    while more:
        with db.writing(engine) as session:
            count, more = _skip_some(session, run, now)
        skipped += count
    return skipped


def _skip_some(session: Session, run: Any, now: datetime) -> tuple[int, bool]:
    ledger.in_turn(session, run.account_id)
    half = batches.being_filled(session, run.id)
    if half is not None:
        batches.empty(session, half)
        return 0, True
    next_ids = sa.select(deliveries.c.id).where(waiting(run.id)).limit(ROWS)
    ids = list(session.execute(next_ids).scalars())
    skip(session, run.account_id, among(deliveries.c.id, ids), "cancelled", now)
    return len(ids), len(ids) == ROWS


def skip(
    session: Session,
    account_id: int,
    which: sa.ColumnElement[bool],
    reason: str,
    now: datetime,
) -> None:
    """End deliveries of one run as skipped with a reason, and give their slots back."""
    ledger.release(session, account_id, which)
    session.execute(
        sa.update(deliveries)
        .where(which)
        .values(status="skipped", reason=reason, batch_id=None, at=now)
    )


def _take_back(session: Session, purpose: str, ids: sa.Select[Any]) -> None:
    """Cancel outbox rows that nobody tried to send yet."""
    session.execute(
        sa.update(outbox_rows)
        .where(
            outbox_rows.c.purpose == purpose,
            outbox_rows.c.purpose_id.in_(ids.scalar_subquery()),
            outbox_rows.c.status == "waiting",
            outbox_rows.c.unanswered_at.is_(None),
        )
        .values(status="cancelled")
    )


def waiting(run_id: int | sa.ColumnElement[int]) -> sa.ColumnElement[bool]:
    """Deliveries of a run that were not handed to the outbox yet."""
    return sa.and_(
        deliveries.c.run_id == run_id,
        deliveries.c.status == "planned",
        deliveries.c.queued_at.is_(None),
    )


def _run(session: Session, run_id: int) -> Any:
    row = session.execute(
        sa.select(campaign_runs).where(campaign_runs.c.id == run_id)
    ).one_or_none()
    if row is None:
        raise Refused(f"there is no run {run_id}")
    return row


def change(session: Session, run_id: int, values: Mapping[str, Any], old: str) -> None:
    """Change a run whose status is still ``old``.

    Raises:
        Refused: somebody else was first.
    """
    changed = session.execute(
        sa.update(campaign_runs)
        .where(campaign_runs.c.id == run_id, campaign_runs.c.status == old)
        .values(**values)
    )
    if changed.rowcount != 1:
        raise Refused("somebody else changed this run: look again")
