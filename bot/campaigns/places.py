"""Where in a run each of its people stands: group, variant, wave; and which small part goes first.

Variants and staggered parts are stable splits (``experiment.py``), so a person stands in the same place however
often it is planned. What a winner or a bandit decides later is left open: the variant is None.
"""

import math
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, NamedTuple

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
SPREAD, SPREAD_OVER = 7919, 10007  # two primes: ids that follow each other fall far apart


class Cell(NamedTuple):
    """People of a run that are sent to together."""

    channel: str
    group: str | None
    variant: str | None
    wave: int


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
    if float(tested.get("test_share", 1.0)) < 1:
        decided = max(moments) + timedelta(seconds=seconds_of(tested.get("decide_after", "1d")))
        found.append({"wave": len(found) + REST_WAVE, "at": decided.isoformat()})
    return found


def cells(session: Session, run_id: int) -> Counter[Cell]:
    """How many people of a run that was just planned stand in each place; answered from an index alone."""
    rows = session.execute(
        sa.select(
            deliveries.c.channel, deliveries.c.group, deliveries.c.variant, deliveries.c.wave,
            sa.func.count(),
        )
        .where(*_waiting(run_id))
        .group_by(
            deliveries.c.wave, deliveries.c.channel, deliveries.c.group, deliveries.c.variant
        )
    )  # fmt: skip
    return Counter({Cell(*row[:-1]): row[-1] for row in rows})


def canary(session: Session, run_id: int, plan: Plan, people: Counter[Cell]) -> dict[int, Cell]:
    """Deliveries of the first wave: a small, scattered part of each channel; small runs have one wave only.

    Of every group and variant its part, and never one alone: a call of mass messages takes two, and none mixes
    them. Who waits for a winner or an hour is not among them. ``people``: who stands where.
    """
    tested = plan.campaign.experiment if plan.number == 1 else None
    waiting = plan.campaign.experiment_channels() if tested else ()
    of_hour = tested is not None and tested["of"] == "hour"
    bandit = tested is not None and tested.get("bandit")
    parts: Counter[tuple[str, str | None, str | None]] = Counter()
    for cell, count in people.items():
        if cell.channel in waiting and (of_hour or (cell.variant is None and not bandit)):
            continue
        parts[cell.channel, cell.group, cell.variant] += count
    channels: Counter[str] = Counter()
    for (channel, _group, _variant), count in parts.items():
        channels[channel] += count
    wanted: dict[tuple[str, str | None, str | None], int] = {}
    for part, count in parts.items():
        share = round(canary_size(channels[part[0]]) * count / channels[part[0]])
        if share >= SMALLEST_BATCH and count - share >= SMALLEST_BATCH:
            wanted[part] = share
    if not wanted:
        return {}
    # by a multiplied id rather than by age: the oldest followers are not like the others. Of each part three
    # times as many as needed are looked at, so that the order of a million is not asked for.
    scattered = (deliveries.c.follower_id * SPREAD) % SPREAD_OVER
    most = max(share / parts[part] for part, share in wanted.items())
    rows = session.execute(
        sa.select(
            deliveries.c.id, deliveries.c.channel, deliveries.c.group, deliveries.c.variant,
            deliveries.c.wave,
        )
        .where(*_waiting(run_id), scattered < math.ceil(SPREAD_OVER * min(1.0, 3 * most)))
        .order_by(scattered, deliveries.c.follower_id)
    )  # fmt: skip
    found: dict[int, Cell] = {}
    for delivery_id, *stands in rows:
        cell = Cell(*stands)
        part = (cell.channel, cell.group, cell.variant)
        if wanted.get(part, 0) > 0:
            wanted[part] -= 1
            found[delivery_id] = cell
    return found


def lonely(
    session: Session, run_id: int, plan: Plan, people: Counter[Cell], first: Mapping[int, Cell]
) -> dict[int, int]:
    """Mass deliveries that would stand alone in their part, with the wave in which they have company.

    ``first``: who goes before all others and stands there no more.
    """
    if not plan.campaign.pace or plan.number > 1:
        return {}
    left = people - Counter(first.values())
    found: dict[int, int] = {}
    for alone in [cell for cell, count in left.items() if count == 1 and cell.channel == MASS]:
        same = {
            cell.wave: count
            for cell, count in left.items()
            if cell._replace(wave=0) == alone._replace(wave=0) and cell != alone
        }
        if not same:
            continue
        delivery_id = session.execute(
            sa.select(sa.func.min(deliveries.c.id)).where(
                *_waiting(run_id),
                deliveries.c.wave == alone.wave,
                deliveries.c.channel == alone.channel,
                deliveries.c.group.is_not_distinct_from(alone.group),
                deliveries.c.variant.is_not_distinct_from(alone.variant),
                deliveries.c.id.not_in(
                    [one for one, cell in first.items() if cell == alone] or [0]
                ),
            )
        ).scalar_one()
        found[delivery_id] = max(same, key=lambda wave: (same[wave], -wave))
    return found


def _waiting(run_id: int) -> tuple[sa.ColumnElement[bool], ...]:
    return (
        deliveries.c.run_id == run_id,
        deliveries.c.status == "planned",
        deliveries.c.queued_at.is_(None),
    )


def _variants(plan: Plan) -> Callable[[Candidate, str], str | None] | None:
    tested = plan.campaign.experiment
    if not tested or tested.get("bandit"):
        return None
    channels = frozenset(plan.campaign.experiment_channels())
    names = [variant["name"] for variant in tested["variants"]]
    shares = shares_of(tested)
    fraction = experiment.fractions(plan.split.variant)

    def variant_of(candidate: Candidate, channel: str) -> str | None:
        if channel not in channels:
            return None
        place = experiment.arm_at(fraction(candidate.person), shares)
        return names[place] if place < len(names) else None

    return variant_of


def _waves(plan: Plan) -> Callable[[Candidate, str, str | None], int] | None:
    pace, tested = plan.campaign.pace, plan.campaign.experiment
    if pace:
        batches, fraction = pace["batches"], experiment.fractions(plan.split.pace)
        return lambda candidate, _channel, _variant: (
            REST_WAVE + int(fraction(candidate.person) * batches)
        )
    if not tested or tested["of"] != "hour":
        return None
    channels = frozenset(plan.campaign.experiment_channels())
    names = [variant["name"] for variant in tested["variants"]]
    of: dict[str | None, int] = {}
    of |= {name: number for number, name in enumerate(names, REST_WAVE + 1)}
    of[None] = len(names) + REST_WAVE + 1  # waits for the winner
    return lambda _candidate, channel, variant: of[variant] if channel in channels else REST_WAVE
