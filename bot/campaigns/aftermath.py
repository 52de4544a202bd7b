"""Behaviour enriches tags (S0-15): once a campaign's runs are over, who clicked, who did not, and who gave up.

Clicked and not clicked are everybody the platform was asked to send it to, refused or not, so the two add up
to the number sent. Giving up is for those it reached who did not do what the campaign is for after their last wave.
Done once for a run and its follow-ups together.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from bot import db, tags
from bot.campaigns import definitions, outcome, rounds
from bot.campaigns.definitions import Campaign
from bot.db import Session
from bot.one_by_one import one_by_one
from bot.params import seconds_of
from bot.tables.campaigns import campaign_runs, campaigns, deliveries

ROWS = 200  # followers a transaction: a push never waits longer than that takes
WAIT = "3d"


def tag_due(engine: Engine, now: datetime) -> int:
    """Give the tags of every run, with its follow-ups, that is over for long enough; how many runs.

    Followers are tagged a few hundred a transaction and the run is marked at the end: after a kill it
    begins anew, and whoever has a tag already keeps its origin. What people did counts up to the moment it
    was due, so that nobody who clicks between two beginnings gets the tags of both.
    """
    done = 0
    with db.reading(engine) as session:
        roots = session.execute(
            sa.select(campaign_runs)
            .join(campaigns, campaigns.c.id == campaign_runs.c.campaign_id)
            .where(
                campaign_runs.c.status.in_(("finished", "cancelled")),
                campaign_runs.c.parent_id.is_(None),
                campaign_runs.c.tagged_at.is_(None),
                campaigns.c.after.is_not(None),
            )
            .order_by(campaign_runs.c.id)
        ).all()
    with one_by_one() as one:
        for root in roots:
            with one(run=root.id):
                with db.reading(engine) as session:
                    campaign = definitions.by_id(session, root.campaign_id)
                    runs = rounds.chain(session, root.id)
                    due = _due_at(session, campaign, runs)
                if due is not None and due <= now:
                    _tag(engine, campaign, runs, due, now)
                    done += 1
    return done


def paths(
    session: Session, campaign: Campaign, runs: Sequence[Any], until: datetime | None = None
) -> dict[str, set[int]]:
    """Where everybody a chain of runs reached stands: ``converted``, ``next_wave`` or ``given_up``, each in one.

    Converted is who did what the coming wave asks for, or the last one where none is to come. Whoever did not
    has the next wave before them if the wave before it reached them. A wave that left somebody out, for a cap or
    for want of a slot, was their last: nobody asks them again, nor anybody when the waves are over or stopped.
    """
    everybody = _reached(session, [run.id for run in runs])
    ahead, step = _ahead(session, campaign, runs)
    converted = everybody & _moved(session, campaign, runs, step, until)
    left = everybody - converted
    return {"converted": converted, "next_wave": left & ahead, "given_up": left - ahead}


def _due_at(session: Session, campaign: Campaign, runs: Sequence[Any]) -> datetime | None:
    """When the tags of a chain of runs are given; None: it goes on, or gives none."""
    if not campaign.after or not rounds.is_over(session, runs):
        return None
    ended = max((run.finished_at for run in runs if run.finished_at is not None), default=None)
    wait = timedelta(seconds=seconds_of(campaign.after.get("wait", WAIT)))
    return ended + wait if ended is not None else None


def _tag(
    engine: Engine, campaign: Campaign, runs: Sequence[Any], due: datetime, now: datetime
) -> None:
    with db.reading(engine) as session:
        given = _given(session, campaign, runs, due)
    origin = f"campaign:{campaign.name}"
    for name, people in given.items():
        listed = sorted(people)
        for start in range(0, len(listed), ROWS):
            with db.writing(engine) as session:
                for follower_id in listed[start : start + ROWS]:
                    tags.add(session, campaign.account_id, follower_id, [name], origin, now)
    with db.writing(engine) as session:
        session.execute(
            sa.update(campaign_runs)
            .where(
                campaign_runs.c.id.in_([run.id for run in runs]),
                campaign_runs.c.tagged_at.is_(None),
            )
            .values(tagged_at=now)
        )


def _given(
    session: Session, campaign: Campaign, runs: Sequence[Any], until: datetime
) -> dict[str, set[int]]:
    """Followers by the tag they get. One tag may stand for two results."""
    wanted: Mapping[str, Any] = campaign.after or {}
    asked = _with(session, [run.id for run in runs], ("sent", "failed", "unknown"))
    clicked = asked & _since(session, runs, outcome.clean_clicks(campaign), until)
    found: dict[str, set[int]] = {}
    for key, people in (
        ("clicked", clicked),
        ("not_clicked", asked - clicked),
        ("gave_up", paths(session, campaign, runs, until)["given_up"]),
    ):
        if wanted.get(key):
            found.setdefault(wanted[key], set()).update(people)
    return found


def _ahead(
    session: Session, campaign: Campaign, runs: Sequence[Any]
) -> tuple[set[int], Mapping[str, Any] | None]:
    """Whom another wave may still reach unless they convert, and what that wave says; else what the last one says."""
    # one that an operator skipped reached nobody and left nobody out
    run = [one for one in runs if one.reason != rounds.SKIPPED][-1]
    final = (campaign.follow_ups or (None,))[-1]
    if rounds.is_over(session, runs):
        return set(), final
    if run.planned_at is None and run.parent_id is not None:
        undecided = _reached(session, [run.parent_id]) - _with(session, [run.id], ("skipped",))
        return undecided, rounds.follow_up(campaign, run.round)
    planned = _with(session, [run.id], ("planned",))
    step = rounds.follow_up(campaign, runs[-1].round + 1)
    if step is None:
        return planned, final
    return planned | _reached(session, [run.id]), step


def _reached(session: Session, run_ids: Sequence[int]) -> set[int]:
    return _with(session, run_ids, ("sent",))


def _with(session: Session, run_ids: Sequence[int], statuses: Sequence[str]) -> set[int]:
    rows = session.execute(
        sa.select(deliveries.c.follower_id).where(
            deliveries.c.run_id.in_(run_ids), deliveries.c.status.in_(statuses)
        )
    )
    return set(rows.scalars())


def _moved(
    session: Session,
    campaign: Campaign,
    runs: Sequence[Any],
    step: Mapping[str, Any] | None,
    until: datetime | None,
) -> set[int]:
    """Who did what a follow-up is ``to``; where there is none, the campaign's goal."""
    if step is not None and step.get("to", "not_clicked") == "not_clicked":
        return _since(session, runs, outcome.clean_clicks(campaign), until)
    return _since(session, runs, outcome.reactions(campaign), until)


def _since(
    session: Session, runs: Sequence[Any], reactions: sa.Select[Any], until: datetime | None
) -> set[int]:
    """Who reacted since the first run of a chain began; whom it reached is asked beside it."""
    reaction = reactions.subquery()
    query = sa.select(reaction.c.follower_id).where(reaction.c.at >= runs[0].created_at).distinct()
    if until is not None:
        query = query.where(reaction.c.at <= until)
    return set(session.execute(query).scalars())
