"""Experiments under way: what each variant achieved, which one the rest gets, what later parts draw.

The judgement is ``experiment.verdict``, the shares are ``bandit.shares``. What was decided, and on which
figures, is on the run (``winner``, ``decision``), so that it is decided once whoever asks.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, time, timedelta
from random import Random
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from bot import accounts, db
from bot.accounts import Account
from bot.campaigns import bandit, batches, definitions, guarding, outcome, rounds
from bot.campaigns.candidates import MASS
from bot.campaigns.definitions import Campaign
from bot.campaigns.document import MIN_SAMPLE
from bot.campaigns.experiment import Arm, Verdict, pick, verdict
from bot.campaigns.schedule import next_due
from bot.clock import parse_moment
from bot.db import Session
from bot.errors import Refused
from bot.one_by_one import one_by_one
from bot.params import seconds_of
from bot.sql import among
from bot.tables.campaigns import campaign_runs, deliveries, mass_batches
from bot.tables.followers import followers

Json = dict[str, Any]
DECIDING = "deciding"
DECIDE_AFTER = "24h"
ROWS = 400  # deliveries a transaction: a push never waits longer than that takes


def look(engine: Engine, run_id: int, now: datetime) -> None:
    """Decide what can be decided in a run now, and give whoever waits for it a variant.

    1. With a bandit, each part that is opened draws its shares and its people get their variants.
    2. Else the winner is decided once ``decide_after`` has passed and every variant was delivered to
       ``min_sample`` people; before, nobody says anything.
    3. Where no variant is better for certain, the rest gets the one that is ahead. Where the sample never
       comes together, or an operator wants to choose, the run waits: ``deciding``.
    """
    with db.reading(engine) as session:
        run = _run(session, run_id)
        if run is None or run.status != "running" or run.round != 1:
            return
        campaign = definitions.by_id(session, run.campaign_id)
        if not campaign.experiment:
            return
        account = accounts.by_id(session, run.account_id)
    if rounds.draws(campaign):
        _draw(engine, run, account, campaign, now)
        return
    winner = run.winner if run.decided_at is not None else _decide(engine, run, campaign, now)
    if winner is not None:
        _give_the_rest(engine, run_id, campaign, winner, now)


def look_at_all(engine: Engine, now: datetime) -> int:
    """``look`` at every running run, and decide those that have ended since; how many were looked at."""
    with db.reading(engine) as session:
        run_ids = list(
            session.execute(
                sa.select(campaign_runs.c.id).where(
                    campaign_runs.c.status == "running", campaign_runs.c.round == 1
                )
            ).scalars()
        )
        ended = session.execute(
            sa.select(campaign_runs).where(
                campaign_runs.c.status == "finished",
                campaign_runs.c.round == 1,
                campaign_runs.c.decided_at.is_(None),
                # noted when the first variant went out: others have nothing to decide
                campaign_runs.c.decision.is_not(None),
            )
        ).all()
    with one_by_one() as one:
        for run_id in run_ids:
            with one(run=run_id):
                look(engine, run_id, now)
        for run in ended:
            with one(run=run.id):
                with db.reading(engine) as session:
                    campaign = definitions.by_id(session, run.campaign_id)
                if campaign.experiment and not rounds.draws(campaign):
                    _decide(engine, run, campaign, now)
    return len(run_ids) + len(ended)


def arms(session: Session, run: Any, campaign: Campaign) -> list[Arm]:
    """Each variant of a run: how many it was delivered to, how many of them did what it is for."""
    delivered, hits = outcome.by(session, run.id, campaign, deliveries.c.variant)
    names = [arm["name"] for arm in (campaign.experiment or {}).get("variants", ())]
    return [
        # a click may be known before the platform has told how many it delivered
        Arm(name, max(delivered.get(name, 0), hits.get(name, 0)), hits.get(name, 0))
        for name in names
    ]


def choose_winner(session: Session, run_id: int, variant: str, now: datetime) -> None:
    """An operator says which variant the rest gets. The door writes who, and why.

    Raises:
        Refused: the run tests nothing, has no such variant, or was decided already.
    """
    run = _run(session, run_id)
    if run is None:
        raise Refused(f"there is no run {run_id}")
    campaign = definitions.by_id(session, run.campaign_id)
    if not campaign.experiment or run.round != 1 or rounds.draws(campaign):
        raise Refused("nothing is tested in this run, so there is nothing to choose")
    found = arms(session, run, campaign)
    if variant not in [arm.name for arm in found]:
        raise Refused(f"the experiment has no variant '{variant}'")
    figures = _figures(found, None) | {"reason": "chosen"}
    waits = run.status == "paused" and run.reason == DECIDING
    values: Json = {"winner": variant, "decided_at": now, "decision": figures}
    if waits:
        values |= {"status": "running", "reason": None, "next_wave_at": now}
    changed = session.execute(
        sa.update(campaign_runs)
        .where(
            campaign_runs.c.id == run_id,
            campaign_runs.c.winner.is_(None),
            campaign_runs.c.status.in_(("running", "paused")),
            campaign_runs.c.status == run.status,
        )
        .values(**values)
    )
    if changed.rowcount != 1:
        raise Refused("the rest has its variant already, or the run has ended")


def _decide(engine: Engine, run: Any, campaign: Campaign, now: datetime) -> str | None:
    """The winner, if it can be said now; stored, with the figures it was decided on."""
    experiment = campaign.experiment or {}
    with db.reading(engine) as session:
        begun = _begun(session, run)
        if begun is None:
            return None
        after = timedelta(seconds=seconds_of(experiment.get("decide_after", DECIDE_AFTER)))
        if begun + after > now:
            if run.decision is None:
                _store(engine, run, {"decision": {"from": begun.isoformat()}})
            return None
        found = arms(session, run, campaign)
        said = verdict(found, experiment.get("min_sample", MIN_SAMPLE))
        tested = campaign.experiment_channels()
        rest = _waits(session, run.id, tested, deliveries.c.variant.is_(None))
        others = _waits(session, run.id, campaign.channels, deliveries.c.variant.is_not(None))
        under_way = others or _under_way(session, run.id)
    if said.reason == "below_min_sample" and under_way:
        return None  # the sample may still come together
    enough = said.reason != "below_min_sample"
    figures = _figures(found, said)
    if rest and (experiment.get("winner") == "manual" or not enough):
        if not others:
            asked = {"status": "paused", "reason": DECIDING, "decision": figures}
            _store(engine, run, asked)
        return None
    # without a rest nothing hangs on it: only what is certain is called a winner
    winner = (said.winner or said.leading) if rest else said.winner
    decided = {"winner": winner, "decided_at": now, "decision": figures}
    return winner if _store(engine, run, decided) else None


def _figures(found: Sequence[Arm], said: Verdict | None) -> Json:
    figures: Json = {
        "arms": [{"name": arm.name, "delivered": arm.delivered, "hits": arm.hits} for arm in found]
    }
    if said is None:
        return figures
    return figures | {
        "reason": said.reason,
        "leading": said.leading,
        "differences": [
            {
                "a": one.a,
                "b": one.b,
                "difference": round(one.difference.difference, 6),
                "low": round(one.difference.low, 6),
                "high": round(one.difference.high, 6),
                "p": round(one.adjusted_p, 6),
            }
            for one in said.differences
        ],
        "missing": dict(said.missing),
    }


def _give_the_rest(
    engine: Engine, run_id: int, campaign: Campaign, winner: str, now: datetime
) -> None:
    """Everybody without a variant gets the winner, a few hundred a transaction; of hours, at its next time."""
    tested = campaign.experiment_channels()
    with db.reading(engine) as session:
        if not _waits(session, run_id, tested, deliveries.c.variant.is_(None)):
            return
    values = _placed(engine, run_id, campaign, winner, now)
    after = 0
    while True:
        with db.writing(engine) as session:
            rows = _undecided(session, run_id, tested, after)
            session.execute(
                sa.update(deliveries)
                .where(among(deliveries.c.id, [row.id for row in rows]))
                .values(**values)
            )
        if len(rows) < ROWS:
            return
        after = rows[-1].follower_id


def _placed(engine: Engine, run_id: int, campaign: Campaign, variant: str, now: datetime) -> Json:
    """What a delivery becomes that gets a variant late: of hours, one of a wave at that hour."""
    at = _hour_of(campaign, variant)
    if at is None:
        return {"variant": variant}
    with db.writing(engine) as session:
        return {"variant": variant, "wave": _wave_at(session, run_id, at, variant, now)}


def _hour_of(campaign: Campaign, variant: str) -> str | None:
    for arm in (campaign.experiment or {}).get("variants", ()):
        if arm["name"] == variant and arm.get("at"):
            return str(arm["at"])
    return None


def _wave_at(session: Session, run_id: int, at: str, variant: str, now: datetime) -> int:
    """The wave of the rest: of the next time it is that hour. Made once, also by who comes after a kill."""
    run = session.execute(
        sa.update(campaign_runs)
        .where(campaign_runs.c.id == run_id)
        .values(status=campaign_runs.c.status)
        .returning(campaign_runs.c.waves)
    ).one()
    parts = list(run.waves or ())
    for part in parts:
        if part.get("rest") and part["variant"] == variant:
            return int(part["wave"])
    highest = session.execute(
        sa.select(sa.func.max(deliveries.c.wave)).where(deliveries.c.run_id == run_id)
    ).scalar_one()
    wave = max([int(highest), *(int(part["wave"]) for part in parts)]) + 1
    moment = next_due({"repeat": {"every": "day", "at": time.fromisoformat(at).isoformat()}}, now)
    assert moment is not None  # every day has that hour
    made = {"wave": wave, "at": moment.isoformat(), "variant": variant, "rest": True}
    session.execute(
        sa.update(campaign_runs).where(campaign_runs.c.id == run_id).values(waves=[*parts, made])
    )
    return wave


def _draw(engine: Engine, run: Any, account: Account, campaign: Campaign, now: datetime) -> None:
    """Give the part that is open its variants, by shares drawn once for it from what is known so far."""
    tested = campaign.experiment_channels()
    later = list(guarding.future_waves(run, now))
    with db.reading(engine) as session:
        wave = session.execute(
            sa.select(sa.func.min(deliveries.c.wave)).where(
                _without_variant(run.id, tested), deliveries.c.wave.not_in(later)
            )
        ).scalar()
        if wave is None:
            return
        fresh = _run(session, run.id)
        below = guarding.open_below(fresh, wave)
        part = sa.and_(deliveries.c.wave == wave, _in_part(below))
        if not _waits(session, run.id, tested, sa.and_(part, deliveries.c.variant.is_(None))):
            return
        key = f"{wave}:{'all' if below is None else below}"
        draws: Mapping[str, list[float]] = ((fresh.decision if fresh else None) or {}).get(
            "draws", {}
        )
        found = arms(session, run, campaign)
    seed = f"{account.slug}:{campaign.name}:{run.due_at.isoformat()}:{key}"
    # the same run and part draw the same, so that a kill between the two writes changes nothing
    shares = draws.get(key) or bandit.shares(found, Random(seed))  # noqa: S311 - no secret
    if key not in draws:
        figures = _figures(found, None) | {"reason": "bandit", "draws": {**draws, key: shares}}
        if not _store(engine, fresh, {"decision": figures}):
            return
    names = [arm.name for arm in found]
    after = 0
    while True:
        with db.writing(engine) as session:
            rows = _undecided(session, run.id, tested, after, part)
            chosen: dict[str, list[int]] = {}
            for row in rows:
                arm = pick(f"bandit:{seed}", row.union_id or row.open_id, shares)
                chosen.setdefault(names[min(arm, len(names) - 1)], []).append(row.id)
            for name, ids in chosen.items():
                session.execute(
                    sa.update(deliveries).where(among(deliveries.c.id, ids)).values(variant=name)
                )
        if len(rows) < ROWS:
            return
        after = rows[-1].follower_id


def _in_part(below: int | None) -> sa.ColumnElement[bool]:
    if below is None:
        return sa.true()
    return sa.or_(deliveries.c.channel != MASS, batches.scattered() < below)


def _undecided(
    session: Session,
    run_id: int,
    tested: Sequence[str],
    after: int,
    which: sa.ColumnElement[bool] | None = None,
) -> Sequence[Any]:
    """The next deliveries without a variant, by follower id, with what a person is split by."""
    query = (
        sa.select(
            deliveries.c.id, deliveries.c.follower_id, followers.c.union_id, followers.c.open_id
        )
        .join(followers, followers.c.id == deliveries.c.follower_id)
        .where(_without_variant(run_id, tested), deliveries.c.follower_id > after)
        .order_by(deliveries.c.follower_id)
        .limit(ROWS)
    )
    if which is not None:
        query = query.where(which)
    return session.execute(query).all()


def _without_variant(run_id: int, tested: Sequence[str]) -> sa.ColumnElement[bool]:
    return sa.and_(
        deliveries.c.run_id == run_id,
        deliveries.c.status == "planned",
        deliveries.c.queued_at.is_(None),
        deliveries.c.channel.in_(list(tested)),
        deliveries.c.variant.is_(None),
    )


def _waits(
    session: Session, run_id: int, channels: Sequence[str], which: sa.ColumnElement[bool]
) -> bool:
    found = sa.select(deliveries.c.id).where(
        deliveries.c.run_id == run_id,
        deliveries.c.status == "planned",
        deliveries.c.queued_at.is_(None),
        deliveries.c.channel.in_(list(channels)),
        which,
    )
    return session.execute(found.limit(1)).first() is not None


def _under_way(session: Session, run_id: int) -> bool:
    """Whether something of a run was handed over and has no outcome yet."""
    batch = sa.select(mass_batches.c.id).where(
        mass_batches.c.run_id == run_id,
        mass_batches.c.status.in_(("planned", "sending", "submitted")),
    )
    message = sa.select(deliveries.c.id).where(
        deliveries.c.run_id == run_id,
        deliveries.c.status == "planned",
        deliveries.c.queued_at.is_not(None),
    )
    return any(session.execute(one.limit(1)).first() is not None for one in (batch, message))


def _begun(session: Session, run: Any) -> datetime | None:
    """When the first message with a variant went out."""
    if run.decision is not None and run.decision.get("from"):
        return parse_moment(run.decision["from"])
    by_mass = sa.select(sa.func.min(mass_batches.c.submitted_at)).where(
        mass_batches.c.run_id == run.id, mass_batches.c.variant.is_not(None)
    )
    one_by_one = sa.select(sa.func.min(deliveries.c.at)).where(
        deliveries.c.run_id == run.id,
        deliveries.c.status == "sent",
        deliveries.c.variant.is_not(None),
    )
    found = [session.execute(one).scalar() for one in (by_mass, one_by_one)]
    return min((moment for moment in found if moment is not None), default=None)


def _run(session: Session, run_id: int) -> Any | None:
    return session.execute(
        sa.select(campaign_runs).where(campaign_runs.c.id == run_id)
    ).one_or_none()


def _store(engine: Engine, run: Any, values: Mapping[str, Any]) -> bool:
    """Write a decision unless somebody else decided, or changed the run, meanwhile."""
    with db.writing(engine) as session:
        changed = session.execute(
            sa.update(campaign_runs)
            .where(
                campaign_runs.c.id == run.id,
                campaign_runs.c.status == run.status,
                campaign_runs.c.decided_at.is_(None),
            )
            .values(**values)
        )
    return bool(changed.rowcount == 1)
