"""Start what is due, and turn an audience into deliveries: each follower a channel or one reason.

One call of ``plan_run`` is one page. It decides on a snapshot that only reads, then writes in short
transactions, each of which moves the cursor ``planned_to`` together with its deliveries: a process
may be killed anywhere, and whoever comes next goes on.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from bot import accounts, db
from bot.accounts import Account
from bot.audiences import segments
from bot.campaigns import budget, candidates, definitions, external_sends, ledger
from bot.campaigns.candidates import MASS, Plan
from bot.campaigns.definitions import Campaign
from bot.campaigns.reach import Candidate, Choice
from bot.campaigns.schedule import after_quiet, next_due
from bot.campaigns.waves import CANARY_WAVE, REST_WAVE, canary_size
from bot.clock import month_of
from bot.db import Session
from bot.errors import Refused
from bot.sql import among
from bot.tables.campaigns import campaign_runs, campaigns, deliveries
from bot.tables.followers import followers

ROWS = 400  # deliveries a transaction: how long a push waits; with 200 planning took 10 s
COLUMNS = [
    "account_id", "run_id", "follower_id", "status", "reason", "channel", "wave", "slot", "month", "at",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Forecast:
    """What a run would do if it were planned now."""

    people: int  # of the audience
    reached: int
    slots: int
    channels: Mapping[str, int] = field(default_factory=dict)
    reasons: Mapping[str, int] = field(default_factory=dict)


def start_due(engine: Engine, now: datetime) -> list[int]:
    """Begin a run of every campaign that is due; the ids of all runs that ``plan_run`` has work for.

    The unique key on campaign and due time decides who starts it. After a pause of this program a
    repeating campaign catches up once, not once for every time it missed.
    """
    external_sends.catch_up_all(engine, now)
    with db.writing(engine) as session:
        due = session.execute(
            sa.select(campaigns)
            .where(campaigns.c.status == "scheduled", campaigns.c.next_due_at <= now)
            .order_by(campaigns.c.next_due_at, campaigns.c.id)
        ).all()
        for row in due:
            db.insert_first(
                session,
                campaign_runs,
                {
                    "account_id": row.account_id,
                    "campaign_id": row.id,
                    "due_at": row.next_due_at,
                    "status": "planning",
                    "content": row.content,
                    "planned_to": 0,
                    "created_at": now,
                },
            )
            session.execute(
                sa.update(campaigns)
                .where(campaigns.c.id == row.id, campaigns.c.next_due_at == row.next_due_at)
                .values(next_due_at=next_due(row.schedule, now))
            )
        return list(
            session.execute(
                sa.select(campaign_runs.c.id)
                .where(campaign_runs.c.status.in_(("waiting", "planning")))
                .order_by(campaign_runs.c.id)
            ).scalars()
        )


def plan_run(engine: Engine, run_id: int, now: datetime) -> bool:
    """Plan one page of a run; True while there is more to do at once.

    1. A run that may not go on yet waits, with the reason; the next call looks again.
    2. The first call fixes month and upper follower id, so that planning ends.
    3. Each page is decided on a snapshot and written in pieces of a few hundred.
    4. At the end the totals are held against the approval; then the waves begin.
    """
    with db.reading(engine) as session:
        seen = _open_run(session, run_id)
        if seen is None:
            return False
        # what takes long is read before the write turn is taken
        newest = (
            ledger.newest_follower(session, seen.account_id) if seen.last_follower_id is None else 0
        )
        totals = None if seen.planned_at is None else _totals(session, run_id)
    external_sends.catch_up(engine, seen.account_id, now)
    with db.writing(engine) as session:
        run = _open_run(session, run_id)
        if run is None:
            return False
        account = accounts.by_id(session, run.account_id)
        campaign = definitions.by_id(session, run.campaign_id)
        blocked = block(session, account, campaign.channels)
        if blocked is None and run.planned_at is None:
            blocked = _unfit(session, account, campaign)
        if blocked is not None:
            _wait(session, run_id, blocked)
            return False
        if run.planned_at is not None:
            if totals is None:
                return True  # somebody else came to its end this very moment
            _finish_planning(session, run, account, campaign, totals, now)
            return False
        if run.last_follower_id is None:
            run = _begin(session, run, newest, now)
        elif run.status == "waiting":
            _go_on(session, run_id)
    return _plan_page(engine, run, account, campaign, now)


def forecast(session: Session, account: Account, campaign: Campaign, now: datetime) -> Forecast:
    """Whom a run would reach now, by channel and by reason. Writes nothing.

    Raises:
        Refused: the segment does not exist.
    """
    plan = candidates.read_plan(session, account, campaign, campaign.content, now)
    last = ledger.newest_follower(session, account.id)
    channels: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    after = 0
    while True:
        page = candidates.next_page(session, plan, after, last)
        for candidate in page:
            choice = candidates.decide(plan, candidate)
            if choice.channel is not None:
                channels[choice.channel] += 1
            else:
                reasons[str(choice.reason)] += 1
        if len(page) < candidates.PAGE:
            break
        after = page[-1].follower_id
    reached = sum(channels.values())
    slots = channels[MASS] if plan.by_slots else 0
    return Forecast(reached + sum(reasons.values()), reached, slots, dict(channels), dict(reasons))


def block(session: Session, account: Account, channels: Sequence[str]) -> str | None:
    """Why nothing of a campaign may be sent now, as in ``status.BLOCKS``; None: it may."""
    if account.stopped:
        return "account_stopped" + (f": {account.stopped_reason}" if account.stopped_reason else "")
    for name in channels:
        if name != MASS and account.rights.get(name) is False:
            return f"no_right: {name}"
    if MASS not in channels:
        return None
    allowed = budget.allowance(account.kind, account.verified)
    if allowed is None or account.rights.get(MASS) is False:
        return "no_mass_right"
    if allowed.per_follower_and_month is None:
        return None
    if not account.opening_stated:
        return "opening_not_stated"
    unknown = external_sends.unexplained(session, account.id)
    return f"unknown_external_send: {', '.join(unknown)}" if unknown else None


def sums(session: Session, run_id: int) -> dict[str, int]:
    """Deliveries of a run by status, skips by ``skipped:<reason>``, and ``audience``: their sum."""
    rows = session.execute(
        sa.select(deliveries.c.status, deliveries.c.reason, sa.func.count())
        .where(deliveries.c.run_id == run_id)
        .group_by(deliveries.c.status, deliveries.c.reason)
    )
    found: Counter[str] = Counter()
    for status, reason, number in rows:
        found[f"skipped:{reason}" if status == "skipped" else status] += number
    found["audience"] = sum(found.values())
    return dict(found)


def _open_run(session: Session, run_id: int) -> Any | None:
    return session.execute(
        sa.select(campaign_runs).where(
            campaign_runs.c.id == run_id, campaign_runs.c.status.in_(("waiting", "planning"))
        )
    ).one_or_none()


def _begin(session: Session, run: Any, newest: int, now: datetime) -> Any:
    return session.execute(
        sa.update(campaign_runs)
        .where(campaign_runs.c.id == run.id)
        .values(status="planning", reason=None, month=month_of(now), last_follower_id=newest)
        .returning(*campaign_runs.c)
    ).one()


def _plan_page(
    engine: Engine, run: Any, account: Account, campaign: Campaign, now: datetime
) -> bool:
    with db.reading(engine) as session:
        plan = replace(
            candidates.read_plan(session, account, campaign, run.content, now), month=run.month
        )
        page = candidates.next_page(session, plan, run.planned_to, run.last_follower_id)
    chosen = [(candidate, candidates.decide(plan, candidate)) for candidate in page]
    done = len(page) < candidates.PAGE
    reached = run.planned_to
    for piece in _pieces(chosen):
        # the last piece of the last page carries the cursor to the end
        end = piece[-1][0].follower_id
        with db.writing(engine) as session:
            if not _move_cursor(session, run.id, reached, end):
                return False  # cancelled, or somebody else is planning it
            _write(session, plan, run.id, piece)
        reached = end
    if not done:
        return True
    with db.reading(engine) as session:
        totals = _totals(session, run.id)
        first_wave = [] if plan.to_all_at_once else _canary(session, run.id)
    with db.writing(engine) as session:
        if not _move_cursor(session, run.id, reached, run.last_follower_id):
            return False
        session.execute(
            sa.update(deliveries).where(among(deliveries.c.id, first_wave)).values(wave=CANARY_WAVE)
        )
        _finish_planning(session, run, account, campaign, totals, now)
    return False


def _totals(session: Session, run_id: int) -> tuple[int, int]:
    """How many people a planned run has, and how many slots."""
    people, slots = session.execute(
        sa.select(
            sa.func.count(),
            sa.func.count(sa.case((deliveries.c.slot.is_not(None), 1))),
        ).where(deliveries.c.run_id == run_id, deliveries.c.status == "planned")
    ).one()
    return int(people), int(slots)


def _finish_planning(
    session: Session,
    run: Any,
    account: Account,
    campaign: Campaign,
    totals: tuple[int, int],
    now: datetime,
) -> None:
    people, slots = totals
    values: dict[str, Any] = {"planned_at": run.planned_at or now}
    if people == 0:
        values |= {"status": "finished", "reason": None, "finished_at": now}
    else:
        missing = definitions.missing_approval(
            campaign,
            people,
            slots,
            approve_above=account.limits.approve_above,
            to_everybody=_to_everybody(session, account, campaign),
        )
        if missing is not None:
            values |= {"status": "waiting", "reason": missing}
        else:
            first = after_quiet(now, account.limits.quiet_hours)
            values |= {"status": "running", "reason": None, "next_wave_at": first}
    session.execute(
        sa.update(campaign_runs)
        .where(campaign_runs.c.id == run.id, campaign_runs.c.status.in_(("waiting", "planning")))
        .values(**values)
    )
    if values["status"] == "finished":
        close_campaign(session, campaign.id)


def close_campaign(session: Session, campaign_id: int) -> None:
    """A campaign that will not be due again and has no open run has finished."""
    if definitions.under_way(session, campaign_id):
        return
    session.execute(
        sa.update(campaigns)
        .where(
            campaigns.c.id == campaign_id,
            campaigns.c.status == "scheduled",
            campaigns.c.next_due_at.is_(None),
        )
        .values(status="finished")
    )


def _to_everybody(session: Session, account: Account, campaign: Campaign) -> bool:
    where = segments.get(session, account.id, campaign.segment).where
    return definitions.is_everybody(session, account.id, where)


def _unfit(session: Session, account: Account, campaign: Campaign) -> str | None:
    """Why the campaign's segment cannot be planned any more; it was checked when it was scheduled."""
    try:
        where = segments.get(session, account.id, campaign.segment).where
    except Refused:
        return "segment_gone"
    allowed = budget.allowance(account.kind, account.verified)
    if MASS not in campaign.channels or allowed is None or allowed.by_open_id:
        return None
    if definitions.is_everybody(session, account.id, where):
        return None
    return "segment_unfit" if definitions.single_tag(session, account.id, where) is None else None


def _wait(session: Session, run_id: int, reason: str) -> None:
    session.execute(
        sa.update(campaign_runs)
        .where(campaign_runs.c.id == run_id, campaign_runs.c.status.in_(("waiting", "planning")))
        .values(status="waiting", reason=reason)
    )


def _go_on(session: Session, run_id: int) -> None:
    session.execute(
        sa.update(campaign_runs)
        .where(campaign_runs.c.id == run_id, campaign_runs.c.status == "waiting")
        .values(status="planning", reason=None)
    )


def _pieces(
    chosen: Sequence[tuple[Candidate, Choice]],
) -> Iterator[Sequence[tuple[Candidate, Choice]]]:
    for start in range(0, len(chosen), ROWS):
        yield chosen[start : start + ROWS]


def _move_cursor(session: Session, run_id: int, old: int, new: int) -> bool:
    moved = session.execute(
        sa.update(campaign_runs)
        .where(
            campaign_runs.c.id == run_id,
            campaign_runs.c.status == "planning",
            campaign_runs.c.planned_to == old,
        )
        .values(planned_to=new)
    )
    return bool(moved.rowcount == 1)


def _write(
    session: Session, plan: Plan, run_id: int, piece: Sequence[tuple[Candidate, Choice]]
) -> None:
    wants_slot = (
        {candidate.follower_id for candidate, choice in piece if choice.channel == MASS}
        if plan.by_slots
        else set()
    )
    has_slot: set[int] = set()
    if wants_slot:
        ledger.in_turn(session, plan.account.id)
        has_slot = ledger.reserve(session, plan.account.id, wants_slot, plan.month)
    groups: dict[tuple[str | None, str | None], list[int]] = {}
    for candidate, decided in piece:
        choice = decided
        if candidate.follower_id in wants_slot and candidate.follower_id not in has_slot:
            # another run took the last one since the snapshot
            choice = candidates.decide(plan, replace(candidate, slots_left=0))
        groups.setdefault((choice.channel, choice.reason), []).append(candidate.follower_id)
    for (channel, reason), ids in groups.items():
        slot = ledger.RESERVED if channel == MASS and plan.by_slots else None
        # INSERT … SELECT: a third of the time of one set of parameters a row
        rows = (
            sa.select(
                followers.c.account_id,
                sa.literal(run_id),
                followers.c.id,
                sa.literal("skipped" if channel is None else "planned"),
                sa.literal(reason, sa.Text),
                sa.literal(channel, sa.Text),
                sa.literal(REST_WAVE),
                sa.literal(slot, sa.Text),
                sa.literal(plan.month if slot else None, sa.Text),
                sa.literal(plan.now, db.UtcDateTime()),
            )
            .where(among(followers.c.id, ids))
            .order_by(followers.c.id)
        )
        session.execute(sa.insert(deliveries).from_select(COLUMNS, rows))


def _canary(session: Session, run_id: int) -> list[int]:
    """Deliveries of the first wave: a small, scattered part of each channel; small runs have one wave only."""
    counts = session.execute(
        sa.select(deliveries.c.channel, sa.func.count())
        .where(deliveries.c.run_id == run_id, deliveries.c.status == "planned")
        .group_by(deliveries.c.channel)
    ).all()
    found: list[int] = []
    for channel, people in counts:
        size = canary_size(people)
        if size == 0:
            continue
        # by a multiplied id rather than by age: the oldest followers are not like the others
        chosen = (
            sa.select(deliveries.c.id)
            .where(
                deliveries.c.run_id == run_id,
                deliveries.c.status == "planned",
                deliveries.c.channel == channel,
            )
            .order_by((deliveries.c.follower_id * 7919) % 10007, deliveries.c.follower_id)
            .limit(size)
        )
        found += session.execute(chosen).scalars()
    return found
