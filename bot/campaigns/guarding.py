"""The guard (熔断) of a run: what it counts, when it looks, which part of the people it lets go next.

A mass run on a service account goes out in parts (``waves.stages``). After each part it waits for people to
leave, if they will, and only a look that finds nothing opens the next. The judgement itself is ``guard.py``.
All of it is on the run: ``campaign_runs.guard``, so that whoever comes after a kill goes on.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from bot import accounts, db
from bot.accounts import Account
from bot.campaigns import batches, definitions, guard, outcome, rounds
from bot.campaigns.budget import allowance
from bot.campaigns.candidates import MASS
from bot.campaigns.definitions import Campaign
from bot.campaigns.guard import GuardCounts, GuardVerdict
from bot.campaigns.waves import (
    CANARY_PATIENCE,
    CANARY_WAVE,
    DOUBT_WAIT,
    may_doubt,
    patience,
    stages,
)
from bot.clock import parse_moment
from bot.db import Session
from bot.one_by_one import one_by_one
from bot.tables.campaigns import campaign_runs, deliveries, mass_batches
from bot.tables.events import events

Json = dict[str, Any]
KEEP_LOOKS = 20  # of one run, for its page
OUTCOMES = ("sent", "failed", "unknown")


def is_on(account: Account, campaign: Campaign, number: int = 1) -> bool:
    """Whether a run of this round goes out in parts: mass by OpenIDs, unless the account says otherwise."""
    allowed = allowance(account.kind, account.verified)
    by_open_id = allowed is not None and allowed.by_open_id
    return account.limits.guard and by_open_id and MASS in rounds.channels(campaign, number)


def look(engine: Engine, run_id: int, now: datetime) -> GuardVerdict | None:
    """What must happen before the next step of a run: look, if it is time, and open what may go next.

    1. The first call cuts the run's people into parts.
    2. When a part is out, and ``guard_every`` has passed since, people who left are counted. Past the line
       the run is paused with the evidence; else the next part is opened.
    3. Which of the present wave's people belong to the part is fixed once, so that everybody agrees.
    """
    with db.reading(engine) as session:
        run = _running(session, run_id)
        if run is None:
            return None
        account = accounts.by_id(session, run.account_id)
        campaign = definitions.by_id(session, run.campaign_id)
        if not is_on(account, campaign, run.round):
            return None
        state = dict(run.guard or {})
        if "stages" not in state:
            state |= _first_state(session, run, campaign)
        found = None
        if _is_out(state) and _look_due(session, run, account, now):
            found = judge(session, account, run, now)
            if found.stop or not _says_the_same(state, found):
                state = _seen(state, found, now)
            if not found.stop and not _in_doubt(state, found, account, now):
                state |= {"stage": state["stage"] + 1, "out_at": None, "wave": None, "below": None}
        if found is None or not found.stop:
            state = _opened(session, run, campaign, state, now)
    if state != run.guard:
        _store(engine, run, state, found)
    return found


def watch(engine: Engine, now: datetime) -> int:
    """Look at every run from which anybody may still be spared, whether a part is out or not; how many were paused."""
    with db.reading(engine) as session:
        left = sa.exists().where(
            deliveries.c.run_id == campaign_runs.c.id,
            deliveries.c.status == "planned",
            deliveries.c.queued_at.is_(None),
        )
        run_ids = list(
            session.execute(
                sa.select(campaign_runs.c.id).where(campaign_runs.c.status == "running", left)
            ).scalars()
        )
    paused = 0
    with one_by_one() as one:
        for run_id in run_ids:
            with one(run=run_id):
                paused += _watch(engine, run_id, now)
    return paused


def _watch(engine: Engine, run_id: int, now: datetime) -> bool:
    """Whether the run was paused."""
    with db.reading(engine) as session:
        run = _running(session, run_id)
        if run is None:
            return False
        account = accounts.by_id(session, run.account_id)
        if not account.limits.guard:
            return False
        found = judge(session, account, run, now)
    state = dict(run.guard or {})
    if found.stop or not _says_the_same(state, found):
        return _store(engine, run, _seen(state, found, now), found)
    return False


def judge(session: Session, account: Account, run: Any, now: datetime) -> GuardVerdict:
    """What the guard says of a run now. Only reads."""
    counted, first = _counts(session, run, now)
    base = outcome.base_rate(session, account.id, first or now)
    return guard.verdict(counted, base)


def excuse(session: Session, run: Any, now: datetime) -> None:
    """An operator goes on with a run that was paused: what was seen up to now stops it no more.

    Only those who are sent to from now on are counted. After a failed canary the rest may go.
    """
    word = (run.reason or "").partition(":")[0]
    state = dict(run.guard or {})
    if word == "canary_failed":
        state["canary_excused"] = True
    elif word in ("guard_unfollows", "guard_errors"):
        state["since"] = now.isoformat()
    else:
        return
    session.execute(
        sa.update(campaign_runs).where(campaign_runs.c.id == run.id).values(guard=state)
    )


def canary_is_excused(run: Any) -> bool:
    """Whether an operator said that the rest may go although the first wave failed."""
    return bool((run.guard or {}).get("canary_excused"))


def open_below(run: Any, wave: int) -> int | None:
    """Who of a wave may go: those scattered below this number, 0: nobody yet, None: everybody."""
    state = run.guard
    if not state or "stages" not in state or wave == CANARY_WAVE:
        return None
    if state["stage"] >= len(state["stages"]) - 1:
        return None
    if (state["stage"] == 0 and state["canary"]) or state.get("wave") != wave:
        return 0
    return int(state["below"])


def stage_is_out(session: Session, run: Any, wave: int, now: datetime) -> None:
    """All of the present part in a wave were handed over: the next look comes ``guard_every`` later."""
    state = run.guard
    if not state or "stages" not in state or state.get("out_at"):
        return
    waits_for_canary = state["stage"] == 0 and state["canary"]
    if not waits_for_canary and state.get("wave") != wave:
        return  # nobody cut this wave yet: ``look`` does, before the next step
    session.execute(
        sa.update(campaign_runs)
        .where(campaign_runs.c.id == run.id)
        .values(guard={**state, "out_at": now.isoformat()})
    )


def next_look(session: Session, run_id: int, account: Account) -> datetime | None:
    """When the guard of a run will look again; None: no part of it is out."""
    found = sa.select(campaign_runs.c.guard).where(campaign_runs.c.id == run_id)
    state = session.execute(found).scalar() or {}
    return _look_at(state, account) if _is_out(state) else None


def future_waves(run: Any, now: datetime) -> dict[int, datetime]:
    """The waves of a run whose time has not come, and when it will."""
    found = {part["wave"]: parse_moment(part["at"]) for part in run.waves or () if part.get("at")}
    return {wave: at for wave, at in found.items() if at > now}


def _running(session: Session, run_id: int) -> Any | None:
    return session.execute(
        sa.select(campaign_runs).where(
            campaign_runs.c.id == run_id, campaign_runs.c.status == "running"
        )
    ).one_or_none()


def _first_state(session: Session, run: Any, campaign: Campaign) -> Json:
    people = session.execute(
        sa.select(sa.func.count()).where(
            deliveries.c.run_id == run.id,
            deliveries.c.channel == MASS,
            deliveries.c.status.in_(("planned", *OUTCOMES)),
        )
    ).scalar_one()
    tested = rounds.is_tested(campaign, run.round, MASS)
    variants = len((campaign.experiment or {}).get("variants", ())) if tested else 1
    parts = stages(int(people), max(1, len(campaign.groups or ())) * max(1, variants))
    first = sa.select(deliveries.c.id).where(
        deliveries.c.run_id == run.id,
        deliveries.c.channel == MASS,
        deliveries.c.wave == CANARY_WAVE,
    )
    # an experiment of hours has no canary: its first part is cut out of the first hour
    canary = session.execute(first.limit(1)).first() is not None
    return {
        "stages": parts, "stage": 0, "canary": canary, "out_at": None, "wave": None, "below": None
    }  # fmt: skip


def _is_out(state: Mapping[str, Any]) -> bool:
    return bool(state.get("out_at")) and state["stage"] < len(state["stages"]) - 1


def _look_at(state: Mapping[str, Any], account: Account) -> datetime:
    """When the part that is out has had its time."""
    times = patience(state["stages"], state["stage"])
    return parse_moment(state["out_at"]) + times * account.limits.guard_every


def _in_doubt(
    state: Mapping[str, Any], found: GuardVerdict, account: Account, now: datetime
) -> bool:
    """Whether the last look before more than a tenth go should wait for more: the evidence points at people leaving."""
    if not may_doubt(state["stages"], state["stage"]) or found.evidence["evidence"] <= 0:
        return False
    return now < parse_moment(state["out_at"]) + DOUBT_WAIT * account.limits.guard_every


def _look_due(session: Session, run: Any, account: Account, now: datetime) -> bool:
    """Whether people had their time to leave, and the platform its time to say how many it delivered."""
    if now < _look_at(run.guard, account):
        return False
    if now >= parse_moment(run.guard["out_at"]) + CANARY_PATIENCE:
        return True
    open_batch = sa.select(mass_batches.c.id).where(
        mass_batches.c.run_id == run.id,
        mass_batches.c.status.in_(("planned", "sending", "submitted")),
    )
    return session.execute(open_batch.limit(1)).first() is None


def _opened(session: Session, run: Any, campaign: Campaign, state: Json, now: datetime) -> Json:
    """The part as it is cut out of the present wave: ``below``, once for each wave it goes through."""
    by_canary = state["stage"] == 0 and state["canary"]
    if by_canary or state["stage"] >= len(state["stages"]) - 1 or state["out_at"]:
        return state
    later = list(future_waves(run, now))
    tested = rounds.is_tested(campaign, run.round, MASS)
    decided = [deliveries.c.variant.is_not(None)] if tested and not rounds.draws(campaign) else []
    waiting = [batches.mass_waiting(run.id), deliveries.c.wave > CANARY_WAVE, *decided]
    wave = session.execute(
        sa.select(sa.func.min(deliveries.c.wave)).where(*waiting, deliveries.c.wave.not_in(later))
    ).scalar()
    if wave is None or (state["wave"] == wave and state["below"] is not None):
        return state
    out = session.execute(
        sa.select(sa.func.count()).where(
            deliveries.c.run_id == run.id,
            deliveries.c.channel == MASS,
            deliveries.c.queued_at.is_not(None),
        )
    ).scalar_one()
    room = max(0, state["stages"][state["stage"]] - int(out))
    # the number below which exactly so many stand; once a part, so that sorting them all is no matter
    after = session.execute(
        sa.select(batches.scattered())
        .where(*waiting, deliveries.c.wave == wave)
        .order_by(batches.scattered())
        .offset(room)
        .limit(1)
    ).scalar()
    return {**state, "wave": wave, "below": batches.SCATTERED if after is None else int(after)}


def _says_the_same(state: Mapping[str, Any], found: GuardVerdict) -> bool:
    last = (state.get("looks") or [{}])[-1]
    return all(last.get(name) == found.evidence[name] for name in ("sent", "errors", "unfollows"))


def _seen(state: Json, found: GuardVerdict, now: datetime) -> Json:
    looks = [*state.get("looks", ())][1 - KEEP_LOOKS :]
    seen = {"at": now.isoformat(), "stop": found.stop, "reason": found.reason}
    return {**state, "looks": [*looks, {**seen, **found.evidence}]}


def _store(engine: Engine, run: Any, state: Json, found: GuardVerdict | None) -> bool:
    """Write what was seen, unless somebody else did meanwhile; whether the run was paused."""
    with db.writing(engine) as session:
        fresh = session.execute(
            sa.update(campaign_runs)
            .where(campaign_runs.c.id == run.id, campaign_runs.c.status == "running")
            .values(status="running")
            .returning(campaign_runs.c.guard)
        ).one_or_none()
        if fresh is None or fresh.guard != run.guard:
            return False
        values: Json = {"guard": state}
        stops = found is not None and found.stop
        if found is not None and found.stop:
            values |= {"status": "paused", "reason": f"guard_{found.reason}"}
        session.execute(
            sa.update(campaign_runs).where(campaign_runs.c.id == run.id).values(**values)
        )
    return stops


@dataclass(slots=True)
class _Sum:
    """What is added up over batches and messages."""

    delivered: int = 0
    sent: int = 0
    errors: int = 0


def _counts(session: Session, run: Any, now: datetime) -> tuple[GuardCounts, datetime | None]:
    """What is known of a run since an operator last went on with it; and when its first message went out."""
    since_text = (run.guard or {}).get("since")
    since = parse_moment(since_text) if since_text else None
    total = _Sum()
    ages: list[tuple[int, timedelta]] = []
    first: datetime | None = None
    for people, at in _personal(session, run.id, since, total) + _mass(
        session, run.id, since, total
    ):
        ages.append((people, now - at))
        first = at if first is None else min(first, at)
    planned = session.execute(
        sa.select(sa.func.count()).where(
            deliveries.c.run_id == run.id, deliveries.c.status.in_(("planned", *OUTCOMES))
        )
    ).scalar_one()
    gone = 0 if first is None else _unfollows(session, run, since, first, now)
    counted = GuardCounts(
        planned=int(planned),
        delivered=total.delivered,
        unfollows=gone,
        sent=total.sent,
        errors=total.errors,
        exposure=guard.exposure_of(ages),
    )
    return counted, first


def _personal(
    session: Session, run_id: int, since: datetime | None, total: _Sum
) -> list[tuple[int, datetime]]:
    ended = [
        deliveries.c.run_id == run_id,
        deliveries.c.status.in_(OUTCOMES),
        deliveries.c.channel != MASS,
    ]
    if since is not None:
        ended.append(deliveries.c.at >= since)
    rows = session.execute(
        # messages collected together have one moment: few rows for many people
        sa.select(deliveries.c.status, deliveries.c.at, sa.func.count().label("people"))
        .where(*ended)
        .group_by(deliveries.c.status, deliveries.c.at)
    ).all()
    found = []
    for row in rows:
        total.sent += row.people
        if row.status == "sent":
            total.delivered += row.people
            found.append((row.people, row.at))
        else:
            total.errors += row.people
    return found


def _mass(
    session: Session, run_id: int, since: datetime | None, total: _Sum
) -> list[tuple[int, datetime]]:
    """Batches with an outcome; before the platform said how many it delivered, its size is taken."""
    rows = session.execute(
        sa.select(mass_batches).where(
            mass_batches.c.run_id == run_id,
            mass_batches.c.status.in_(("submitted", "finished", "failed", "unknown")),
        )
    ).all()
    found = []
    for row in rows:
        at = row.submitted_at or row.finished_at
        if at is None or (since is not None and at < since):
            continue
        total.sent += row.size
        if row.status in ("failed", "unknown"):
            total.errors += row.size
            continue
        delivered = row.size if row.sent is None else row.sent
        total.delivered += delivered
        total.errors += row.errors or 0
        found.append((delivered, at))
    return found


def _unfollows(
    session: Session, run: Any, since: datetime | None, first: datetime, now: datetime
) -> int:
    """People of the run who left within 48 hours of its message: from the few who left, not all it was sent to."""
    mine = [
        deliveries.c.run_id == run.id,
        deliveries.c.status == "sent",
        deliveries.c.at >= (since or first),
    ]
    rows = session.execute(
        sa.select(events.c.follower_id, events.c.at.label("gone_at"), deliveries.c.at)
        .select_from(events.join(deliveries, deliveries.c.follower_id == events.c.follower_id))
        .where(
            events.c.account_id == run.account_id,
            events.c.kind == "unsubscribe",
            events.c.at >= first,
            events.c.at <= now,
            *mine,
        )
    )
    return len({row.follower_id for row in rows if row.at <= row.gone_at <= row.at + guard.WINDOW})
