"""Follow-up waves (多波触达): whom the run before reached and did not move gets the next message, until nobody is left.

The audience of wave n + 1 is whom wave n was delivered to, less who converted, less who is capped. Whoever a wave
left out (频控, no slot, no reply window …) comes to no later wave of the chain; one that was skipped left out nobody.

A follow-up is a run of the same campaign: ``parent_id`` says which it follows, ``round`` is 2, 3 …. It is
due ``after`` the one before, and so many seconds later as its round says, so that it never takes an ordinary
run's place. Its audience is planned by ``planning.py``; this module decides when there is a next round.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from bot import db
from bot.campaigns import definitions, planning
from bot.campaigns.definitions import Campaign
from bot.db import Session
from bot.one_by_one import one_by_one
from bot.params import seconds_of
from bot.tables.campaigns import campaign_runs, campaigns

SKIPPED = "skipped"  # why a follow-up that was left out is cancelled


@dataclass(frozen=True, slots=True)
class Round:
    """The next round of a chain of runs. ``parent_id``: the last run that was sent."""

    campaign_id: int
    parent_id: int
    number: int
    due_at: datetime


def channels(campaign: Campaign, number: int) -> Sequence[str]:
    """The channels of a run of this round."""
    return tuple(campaign.channels_of(number))


def follow_up(campaign: Campaign, number: int) -> Mapping[str, Any] | None:
    """What the campaign says of round 2, 3 …; None of the first, or where there is none."""
    steps = campaign.follow_ups or ()
    return steps[number - 2] if 2 <= number <= len(steps) + 1 else None


def is_tested(campaign: Campaign, number: int, channel: str) -> bool:
    """Whether deliveries of a run of this round on a channel have a variant. A follow-up tests nothing."""
    return number == 1 and channel in campaign.experiment_channels()


def draws(campaign: Campaign) -> bool:
    """Whether later parts draw the shares of their variants from what came of the earlier ones."""
    return bool((campaign.experiment or {}).get("bandit"))


def start_due(engine: Engine, now: datetime) -> list[int]:
    """Begin every follow-up whose time has come; the ids of the runs that were made.

    The unique key on campaign and due time decides who makes it, so that any number may ask at once.
    """
    made = []
    with one_by_one() as one:
        due = []
        with db.reading(engine) as session:
            for run in _ended_with_follow_ups(session):
                with one(run=run.id):
                    following = coming(session, run)
                    if following is not None and following.due_at <= now:
                        due.append(following)
        for following in due:
            with one(run=following.parent_id), db.writing(engine) as session:
                run_id = make(session, following, now)
                if run_id is not None:
                    made.append(run_id)
    return made


def coming(session: Session, run: Any) -> Round | None:
    """The round that follows a run; None: it was the last, it is made already, or the run was stopped by somebody.

    A round that was skipped on purpose counts as made, and the one after it follows the same run.
    """
    if run.status == "cancelled" and run.reason != SKIPPED:
        return None
    campaign = definitions.by_id(session, run.campaign_id)
    sent_id = run.parent_id if run.reason == SKIPPED else run.id
    number = run.round + 1
    step = follow_up(campaign, number)
    if step is None:
        return None
    # from the run's own due time, not from when it happened to end: a plan's days stay what they were
    due_at = run.due_at + timedelta(seconds=seconds_of(step["after"]) + number)
    found = sa.select(campaign_runs.c.id).where(
        campaign_runs.c.campaign_id == run.campaign_id, campaign_runs.c.due_at == due_at
    )
    if session.execute(found).first() is not None:
        return None
    return Round(run.campaign_id, sent_id, number, due_at)


def make(session: Session, one: Round, now: datetime, *, skipped: bool = False) -> int | None:
    """Make the run of a round, or the mark that it was left out; None when somebody was first."""
    campaign = definitions.by_id(session, one.campaign_id)
    values: dict[str, Any] = {
        "account_id": campaign.account_id,
        "campaign_id": campaign.id,
        "due_at": one.due_at,
        "status": "planning",
        "content": campaign.content_for(channels(campaign, one.number)[0], None, one.number),
        "parent_id": one.parent_id,
        "round": one.number,
        "planned_to": 0,
        "created_at": now,
    }
    if skipped:
        values |= {"status": "cancelled", "reason": SKIPPED, "finished_at": now}
    return db.insert_first(session, campaign_runs, values)


def chain(session: Session, root_id: int) -> list[Any]:
    """A run and its follow-ups, first to last, left-out ones among them."""
    rows = session.execute(sa.select(campaign_runs).where(campaign_runs.c.id == root_id)).all()
    found = list(rows)
    known = {root_id}
    while rows:
        rows = session.execute(
            sa.select(campaign_runs)
            .where(campaign_runs.c.parent_id.in_(known), campaign_runs.c.id.not_in(known))
            .order_by(campaign_runs.c.id)
        ).all()
        known |= {row.id for row in rows}
        found += rows
    return sorted(found, key=lambda row: (int(row.round), int(row.id)))


def root_of(session: Session, run: Any) -> Any:
    """The first run of the chain a run belongs to."""
    while run.parent_id is not None:
        run = session.execute(
            sa.select(campaign_runs).where(campaign_runs.c.id == run.parent_id)
        ).one()
    return run


def is_over(session: Session, runs: Sequence[Any]) -> bool:
    """Whether every run of a chain has ended and none will follow."""
    if any(run.status not in ("finished", "cancelled") for run in runs):
        return False
    return coming(session, runs[-1]) is None


def more_to_come(session: Session, campaign_id: int) -> bool:
    """Whether a campaign has a round that is not made yet."""
    return any(
        coming(session, run) is not None
        for run in _ended_with_follow_ups(session, campaign_runs.c.campaign_id == campaign_id)
    )


def close_campaign(session: Session, campaign_id: int) -> None:
    """As ``planning.close_campaign``, but not while a follow-up is to come."""
    if not more_to_come(session, campaign_id):
        planning.close_campaign(session, campaign_id)


def _ended_with_follow_ups(
    session: Session, which: sa.ColumnElement[bool] | None = None
) -> list[Any]:
    """Ended runs nothing follows yet, of campaigns that have follow-ups."""
    child = campaign_runs.alias("child")
    query = (
        sa.select(campaign_runs)
        .join(campaigns, campaigns.c.id == campaign_runs.c.campaign_id)
        .where(
            campaigns.c.follow_ups.is_not(None),
            sa.or_(
                campaign_runs.c.status == "finished",
                sa.and_(campaign_runs.c.status == "cancelled", campaign_runs.c.reason == SKIPPED),
            ),
            campaign_runs.c.tagged_at.is_(None),
            sa.not_(sa.exists().where(child.c.parent_id == campaign_runs.c.id)),
        )
        .order_by(campaign_runs.c.id)
    )
    if which is not None:
        query = query.where(which)
    return list(session.execute(query).all())
