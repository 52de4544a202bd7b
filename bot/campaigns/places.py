"""Where in a run each of its people stands: group, variant, wave; and which small part goes first.

Variants and staggered parts are stable splits (``experiment.py``), so a person stands in the same place however
often it is planned. What a winner or a bandit decides later is left open: the variant is None.
"""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from bot.campaigns import experiment
from bot.campaigns.candidates import MASS, Plan
from bot.campaigns.definitions import Campaign
from bot.campaigns.reach import Candidate, Choice
from bot.campaigns.schedule import next_clock_time
from bot.campaigns.waves import REST_WAVE, SMALLEST_BATCH, canary_size
from bot.db import Session
from bot.params import seconds_of
from bot.tables.campaigns import deliveries

Place = tuple[
    str | None, str | None, str | None, str | None, int
]  # channel reason group variant wave
Placing = Callable[[Candidate, Choice], Place]


def placing(plan: Plan) -> Placing:
    """A function that puts a decided follower in their place."""
    first = plan.number == 1 and not plan.one_call
    variant_of = _variants(plan) if first else None
    wave_of = _waves(plan) if first else None

    def place(candidate: Candidate, choice: Choice) -> Place:
        if choice.channel is None:
            return None, choice.reason, candidate.group, None, REST_WAVE
        variant = variant_of(candidate, choice.channel) if variant_of is not None else None
        wave = wave_of(candidate, choice.channel, variant) if wave_of is not None else REST_WAVE
        return choice.channel, None, candidate.group, variant, wave

    return place


def shares_of(tested: Mapping[str, Any]) -> list[float]:
    """The share of the audience each variant gets by the split alone; what is missing to 1 waits for the winner."""
    count = len(tested["variants"])
    shares = tested.get("shares") or [1 / count] * count
    test_share = float(tested.get("test_share", 1.0))
    return [share * test_share for share in shares]


def waves_of(campaign: Campaign, first: datetime) -> list[dict[str, Any]] | None:
    """When each wave of a run begins that begins at ``first``, as ``campaign_runs.waves`` holds it; None: one wave.

    Hours: wave 1 is whoever is not tested, then one a variant; who waits for the winner comes last, at the
    earliest when it is decided.
    """
    if campaign.pace:
        every = timedelta(seconds=seconds_of(campaign.pace["every"]))
        return [
            {"wave": REST_WAVE + number, "at": (first + number * every).isoformat()}
            for number in range(campaign.pace["batches"])
        ]
    tested = campaign.experiment
    if not tested or tested["of"] != "hour":
        return None
    found: list[dict[str, Any]] = [{"wave": REST_WAVE, "at": first.isoformat()}]
    moments = []
    for number, variant in enumerate(tested["variants"], REST_WAVE + 1):
        moments.append(next_clock_time(variant["at"], first))
        found.append({"wave": number, "at": moments[-1].isoformat(), "variant": variant["name"]})
    if float(tested.get("test_share", 1.0)) < 1 or tested.get("bandit"):
        decided = max(moments) + timedelta(seconds=seconds_of(tested.get("decide_after", "1d")))
        found.append({"wave": len(found) + REST_WAVE, "at": decided.isoformat()})
    return found


def canary(session: Session, run_id: int, plan: Plan) -> list[int]:
    """Deliveries of the first wave: a small, scattered part of each channel; small runs have one wave only.

    Of every group and variant its part, and never one alone: a call of mass messages takes two, and none mixes
    them. Who waits for a winner or an hour is not among them.
    """
    tested = plan.campaign.experiment if plan.number == 1 else None
    waiting = plan.campaign.experiment_channels() if tested else ()
    of_hour = tested is not None and tested["of"] == "hour"
    bandit = tested is not None and tested.get("bandit")
    cells: dict[str, list[Any]] = {}
    for row in session.execute(
        sa.select(
            deliveries.c.channel,
            deliveries.c.group,
            deliveries.c.variant,
            sa.func.count().label("n"),
        )
        .where(deliveries.c.run_id == run_id, deliveries.c.status == "planned")
        .group_by(deliveries.c.channel, deliveries.c.group, deliveries.c.variant)
    ):
        if row.channel in waiting and (of_hour or (row.variant is None and not bandit)):
            continue
        cells.setdefault(row.channel, []).append(row)
    found: list[int] = []
    for channel, parts in cells.items():
        people = sum(part.n for part in parts)
        size = canary_size(people)
        for part in parts if size else ():
            share = round(size * part.n / people)
            if share < SMALLEST_BATCH or part.n - share < SMALLEST_BATCH:
                continue
            # by a multiplied id rather than by age: the oldest followers are not like the others
            chosen = (
                sa.select(deliveries.c.id)
                .where(
                    deliveries.c.run_id == run_id,
                    deliveries.c.status == "planned",
                    deliveries.c.channel == channel,
                    deliveries.c.group.is_not_distinct_from(part.group),
                    deliveries.c.variant.is_not_distinct_from(part.variant),
                )
                .order_by((deliveries.c.follower_id * 7919) % 10007, deliveries.c.follower_id)
                .limit(share)
            )
            found += session.execute(chosen).scalars()
    return found


def lonely(session: Session, run_id: int, plan: Plan) -> dict[int, int]:
    """Mass deliveries that would stand alone in their part, with the wave in which they have company."""
    if not plan.campaign.pace or plan.number > 1:
        return {}
    rows = session.execute(
        sa.select(
            deliveries.c.group,
            deliveries.c.variant,
            deliveries.c.wave,
            sa.func.count().label("n"),
            sa.func.min(deliveries.c.id).label("delivery_id"),
        )
        .where(
            deliveries.c.run_id == run_id,
            deliveries.c.status == "planned",
            deliveries.c.channel == MASS,
        )
        .group_by(deliveries.c.group, deliveries.c.variant, deliveries.c.wave)
        .order_by(deliveries.c.wave)
    ).all()
    found: dict[int, int] = {}
    for alone in [row for row in rows if row.n == 1]:
        same = [row for row in rows if (row.group, row.variant) == (alone.group, alone.variant)]
        largest = max(same, key=lambda row: int(row.n))
        if largest is not alone and largest.wave != alone.wave:
            found[alone.delivery_id] = largest.wave
    return found


def _variants(plan: Plan) -> Callable[[Candidate, str], str | None] | None:
    tested = plan.campaign.experiment
    if not tested or tested.get("bandit"):
        return None
    channels = frozenset(plan.campaign.experiment_channels())
    names = [variant["name"] for variant in tested["variants"]]
    shares = shares_of(tested)
    seed = plan.split.variant

    def variant_of(candidate: Candidate, channel: str) -> str | None:
        if channel not in channels:
            return None
        place = experiment.pick(seed, candidate.person, shares)
        return names[place] if place < len(names) else None

    return variant_of


def _waves(plan: Plan) -> Callable[[Candidate, str, str | None], int] | None:
    pace, tested = plan.campaign.pace, plan.campaign.experiment
    if pace:
        batches, seed = pace["batches"], plan.split.pace
        return lambda candidate, _channel, _variant: (
            REST_WAVE + int(experiment.fraction(seed, candidate.person) * batches)
        )
    if not tested or tested["of"] != "hour":
        return None
    channels = frozenset(plan.campaign.experiment_channels())
    names = [variant["name"] for variant in tested["variants"]]
    of: dict[str | None, int] = {}
    of |= {name: number for number, name in enumerate(names, REST_WAVE + 1)}
    of[None] = len(names) + REST_WAVE + 1  # waits for the winner
    return lambda _candidate, channel, variant: of[variant] if channel in channels else REST_WAVE
