"""The numbers of an account's home page, and its campaigns at a glance."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from bot import db, figures, tracking
from bot.clock import day_of, month_of, start_of_day
from bot.db import Session
from bot.tables.campaigns import (
    campaign_runs,
    campaigns,
    deliveries,
    mass_batches,
    mass_ledger,
)
from bot.tables.events import events
from bot.tables.followers import followers, reply_windows
from bot.tables.outbox import outbox

SHOWN = 20  # campaigns
HOME = "home"
STALE = timedelta(hours=1)  # nobody counts any more: better slow than wrong
SETTLED = timedelta(days=3)


@dataclass(frozen=True, slots=True)
class Numbers:
    """Today is the Shanghai day of ``now``. ``slots_left`` counts followers by mass messages left, 0 to 4."""

    followers: int
    new_today: int
    left_today: int
    messages_today: int
    scans_today: int
    reachable_free: int
    opted_out: int
    slots_left: Mapping[int, int]
    counted_at: datetime | None = None  # None: now
    # the whole of yesterday: subscribe, unsubscribe, message, scan
    yesterday: Mapping[str, int] = field(default_factory=dict)

    @property
    def net_today(self) -> int:
        return self.new_today - self.left_today


@dataclass(frozen=True, slots=True)
class CampaignLine:
    """``counts`` and ``reasons`` are of the latest run; ``sent`` people, ``slots`` and ``guided`` of all its runs."""

    name: str
    status: str
    segment: str
    next_due_at: datetime | None
    run_due_at: datetime | None
    run_status: str | None
    run_reason: str | None
    counts: Mapping[str, int]
    reasons: Mapping[str, int]
    slots: int
    guided: int
    target: int | None
    sent: int = 0


def numbers(session: Session, account_id: int, now: datetime, slots: int = 4) -> Numbers:
    """The account's numbers. ``slots`` is what a follower gets a month.

    Today's are of this moment. The others too, but for a large account: those are at most minutes
    old, ``counted_at`` says when.
    """
    since = start_of_day(day_of(now))
    today = _happened(session, account_id, since, now + timedelta(seconds=1))
    month = month_of(now)
    kept = figures.get(session, account_id, HOME)
    if kept is not None and (now - kept.counted_at > STALE or kept.value["month"] != month):
        kept = None
    slow = kept.value if kept else _slow_numbers(session, account_id, now, slots)
    return Numbers(
        followers=slow["followers"],
        new_today=today["subscribe"],
        left_today=today["unsubscribe"],
        messages_today=today["message"],
        scans_today=today["scan"],
        reachable_free=slow["reachable_free"],
        opted_out=slow["opted_out"],
        slots_left={int(left): people for left, people in slow["slots_left"].items()},
        counted_at=kept.counted_at if kept else None,
        yesterday=_happened(session, account_id, since - timedelta(days=1), since),
    )


def _happened(
    session: Session, account_id: int, begins: datetime, ends: datetime
) -> dict[str, int]:
    return {
        kind: session.execute(
            sa.select(sa.func.count()).where(
                events.c.account_id == account_id,
                events.c.kind == kind,
                events.c.at >= begins,
                events.c.at < ends,
            )
        ).scalar_one()
        for kind in ("subscribe", "unsubscribe", "message", "scan")
    }


def _slow_numbers(session: Session, account_id: int, now: datetime, slots: int) -> dict[str, Any]:
    subscribed = sa.and_(followers.c.account_id == account_id, followers.c.subscribed)
    count, opted_out = (
        session.execute(sa.select(sa.func.count()).select_from(followers).where(which)).scalar_one()
        for which in (subscribed, sa.and_(subscribed, followers.c.opted_out_at.is_not(None)))
    )
    free = session.execute(
        sa.select(sa.func.count(sa.distinct(reply_windows.c.follower_id)))
        .select_from(reply_windows.join(followers, followers.c.id == reply_windows.c.follower_id))
        .where(
            subscribed,
            followers.c.opted_out_at.is_(None),
            reply_windows.c.account_id == account_id,
            reply_windows.c.opened_by == "message",
            reply_windows.c.expires_at > now,
            reply_windows.c.left > 0,
        )
    ).scalar_one()
    month = month_of(now)
    left = slots_left(session, account_id, month, count, slots)
    return {
        "month": month,
        "followers": count,
        "opted_out": opted_out,
        "reachable_free": free,
        "slots_left": {str(number): people for number, people in left.items()},
    }


def recount(engine: Engine, account_id: int, now: datetime, slots: int = 4) -> None:
    """Count what the home page of a large account shows, where it is time to; nothing for a small one."""
    with db.reading(engine) as session:
        if not figures.is_large(session, account_id):
            return
        runs = [
            run for row in _newest(session, account_id, SHOWN) if (run := _latest(session, row))
        ]
    figures.keep(engine, account_id, HOME, now, lambda s: _slow_numbers(s, account_id, now, slots))
    for run in runs:
        with db.reading(engine) as session:
            kept = figures.get(session, account_id, _name(run))
        # receipts and results come for days after the last message
        if kept and run.finished_at and kept.counted_at > run.finished_at + SETTLED:
            continue
        figures.keep(
            engine,
            account_id,
            _name(run),
            now,
            partial(_result_row, account_id=account_id, run=run),
        )


def _name(run: Any) -> str:
    return f"run:{run.id}"


def _result_row(session: Session, account_id: int, run: Any) -> dict[str, Any]:
    counts, reasons, slots = run_counts(session, account_id, run.id)
    sent = counts.get("sent", 0)
    runs = sa.select(campaign_runs.c.id).where(
        campaign_runs.c.account_id == account_id, campaign_runs.c.campaign_id == run.campaign_id
    )
    if len(session.execute(runs.limit(2)).all()) > 1:
        sent, slots = _of_all_runs(session, account_id, runs)
    goal = sa.select(campaigns.c.goal).where(campaigns.c.id == run.campaign_id)
    people = tracking.guided(
        session, account_id, run.campaign_id, session.execute(goal).scalar_one()
    )
    return {"counts": counts, "reasons": reasons, "slots": slots, "guided": people, "sent": sent}


def _of_all_runs(session: Session, account_id: int, runs: sa.Select[Any]) -> tuple[int, int]:
    """(people it was sent to, each once; slots charged)."""
    went = sa.case((deliveries.c.status == "sent", deliveries.c.follower_id))
    row = session.execute(
        sa.select(sa.func.count(sa.distinct(went)), sa.func.count(deliveries.c.slot)).where(
            deliveries.c.account_id == account_id, deliveries.c.run_id.in_(runs)
        )
    ).one()
    return row[0], row[1]


def slots_left(
    session: Session, account_id: int, month: str, present: int, slots: int
) -> dict[int, int]:
    """How many present followers have 0, 1 … ``slots`` mass messages left in a month."""
    charged = mass_ledger.c.reserved + mass_ledger.c.spent
    used = session.execute(
        sa.select(charged, sa.func.count())
        .select_from(mass_ledger.join(followers, followers.c.id == mass_ledger.c.follower_id))
        .where(
            mass_ledger.c.account_id == account_id,
            mass_ledger.c.month == month,
            followers.c.subscribed,
            charged > 0,
        )
        .group_by(charged)
    ).all()
    left = dict.fromkeys(range(slots + 1), 0)
    for spent, people in used:
        left[max(slots - spent, 0)] += people
    left[slots] += present - sum(people for _spent, people in used)
    return left


def campaign_lines(
    session: Session, account_id: int, limit: int = SHOWN, *, kept: bool = False
) -> list[CampaignLine]:
    """The newest campaigns with their latest run: how many ended how, and why not.

    ``kept``: of a large account as last counted, instead of counting now.
    """
    return [
        _line(session, account_id, row, kept=kept) for row in _newest(session, account_id, limit)
    ]


def lines_of(session: Session, account_id: int, campaign_ids: Sequence[int]) -> list[CampaignLine]:
    """The same of chosen campaigns, archived ones among them; of a large account as last counted."""
    if not campaign_ids:
        return []
    kept = figures.is_large(session, account_id)
    chosen = session.execute(
        sa.select(campaigns).where(
            campaigns.c.account_id == account_id, campaigns.c.id.in_(campaign_ids)
        )
    ).all()
    return [_line(session, account_id, row, kept=kept) for row in chosen]


def _line(session: Session, account_id: int, row: Any, *, kept: bool) -> CampaignLine:
    run = _latest(session, row)
    found = figures.get(session, account_id, _name(run)) if kept and run else None
    if found is not None:
        result = found.value
    elif run is not None:
        result = _result_row(session, account_id, run)
    else:
        people = tracking.guided(session, account_id, row.id, row.goal)
        result = {"counts": {}, "reasons": {}, "slots": 0, "guided": people}
    return CampaignLine(
        name=row.name,
        status=row.status,
        segment=row.segment,
        next_due_at=row.next_due_at,
        run_due_at=run.due_at if run else None,
        run_status=run.status if run else None,
        run_reason=run.reason if run else None,
        target=(row.goal or {}).get("target"),
        **result,
    )


def _newest(session: Session, account_id: int, limit: int) -> Sequence[Any]:
    return session.execute(
        sa.select(campaigns)
        .where(campaigns.c.account_id == account_id, campaigns.c.status != "archived")
        .order_by(campaigns.c.id.desc())
        .limit(limit)
    ).all()


def _latest(session: Session, campaign: Any) -> Any:
    return session.execute(
        sa.select(campaign_runs)
        .where(
            campaign_runs.c.campaign_id == campaign.id,
            campaign_runs.c.account_id == campaign.account_id,
        )
        .order_by(campaign_runs.c.due_at.desc())
        .limit(1)
    ).one_or_none()


def run_counts(
    session: Session, account_id: int, run_id: int
) -> tuple[dict[str, int], dict[str, int], int]:
    """(deliveries by status, skips by reason, slots charged) of one run."""
    rows = session.execute(
        sa.select(
            deliveries.c.status,
            deliveries.c.reason,
            sa.func.count(),
            sa.func.count(deliveries.c.slot),
        )
        .where(deliveries.c.run_id == run_id, deliveries.c.account_id == account_id)
        .group_by(deliveries.c.status, deliveries.c.reason)
    ).all()
    counts: dict[str, int] = {}
    reasons: dict[str, int] = {}
    for status, reason, people, _charged in rows:
        counts[status] = counts.get(status, 0) + people
        if status == "skipped" and reason:
            reasons[reason] = reasons.get(reason, 0) + people
    return counts, reasons, sum(row[3] for row in rows)


def run_errors(session: Session, run_id: int, limit: int = 20) -> dict[str, int]:
    """What the platform answered to the calls of one run that failed or are tried again: text -> calls."""
    personal = sa.select(deliveries.c.id).where(
        deliveries.c.run_id == run_id, deliveries.c.queued_at.is_not(None)
    )
    whole = sa.select(mass_batches.c.id).where(mass_batches.c.run_id == run_id)
    rows = session.execute(
        sa.select(outbox.c.error, sa.func.count().label("calls"))
        .where(
            outbox.c.error.is_not(None),
            outbox.c.status != "sent",
            sa.or_(
                sa.and_(outbox.c.purpose == "delivery", outbox.c.purpose_id.in_(personal)),
                sa.and_(outbox.c.purpose == "batch", outbox.c.purpose_id.in_(whole)),
            ),
        )
        .group_by(outbox.c.error)
        .order_by(sa.func.count().desc(), outbox.c.error)
        .limit(limit)
    )
    return {row.error: row.calls for row in rows}


@dataclass(frozen=True, slots=True)
class Troubles:
    """Calls to the platform that went wrong; ``latest`` is what it said to the latest of each kind."""

    given_up: int
    latest_given_up: str
    waiting: int
    latest_waiting: str


def troubles(session: Session, account_id: int, now: datetime) -> Troubles:
    """Messages of the last 24 hours that failed or whose fate is unknown, and those that wait to be tried again."""
    told: dict[bool, tuple[int, str]] = {}
    since = outbox.c.created_at >= now - timedelta(hours=24)
    for waits, which in (
        (False, sa.and_(outbox.c.status.in_(("failed", "unknown")), since)),
        (True, sa.and_(outbox.c.status == "waiting", outbox.c.attempts > 0)),
    ):
        here = sa.and_(outbox.c.account_id == account_id, outbox.c.error.is_not(None), which)
        count = session.execute(sa.select(sa.func.count()).where(here)).scalar_one()
        latest = session.execute(
            sa.select(outbox.c.error).where(here).order_by(outbox.c.id.desc()).limit(1)
        ).scalar()
        told[waits] = (count, latest or "")
    return Troubles(*told[False], *told[True])
