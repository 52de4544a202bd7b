"""What past activities achieved, for the estimate of the next: this account's campaigns, and what somebody typed in."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from functools import partial
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from bot import content as contents
from bot import db, figures, tracking
from bot.campaigns import definitions, outcome
from bot.campaigns.document import Json
from bot.campaigns.estimate import Past
from bot.clock import day_of
from bot.db import Session
from bot.errors import Invalid
from bot.tables.campaigns import campaign_runs, campaigns, deliveries, mass_batches, past_activities

MOST = 60  # campaigns that are looked at, the latest first
MOST_PEOPLE = 100_000_000
LONGEST = 60  # characters of a name or kind
FIGURE = "past:{id}"


@dataclass(frozen=True, slots=True)
class Activity:
    """One past activity. ``typed``: somebody typed it in; then ``id`` is its own, else the campaign's."""

    id: int
    name: str
    kind: str
    delivered: int
    guided: int
    day: date | None
    typed: bool
    groups: Mapping[str, tuple[int, int]]  # group -> delivered, guided

    @property
    def rate(self) -> float:
        return self.guided / self.delivered if self.delivered else 0.0

    def as_past(self) -> Past:
        """The whole of it, as ``estimate.needed`` takes it."""
        return Past(self.name, self.delivered, self.guided, self.kind)

    def by_group(self) -> list[Past]:
        """Its parts by group, or the whole where it had none."""
        if not self.groups:
            return [self.as_past()]
        return [
            Past(self.name, delivered, guided, self.kind, group)
            for group, (delivered, guided) in self.groups.items()
        ]


def recount(engine: Engine, account_id: int, now: datetime) -> None:
    """Count what campaigns achieved where that is due. Counting is kept, as it may take a second a campaign."""
    with db.reading(engine) as session:
        listed = _campaigns(session, account_id)
    for row in listed:
        name = FIGURE.format(id=row.id)
        figures.keep(engine, account_id, name, now, partial(_count, campaign_id=row.id))


def every(session: Session, account_id: int) -> list[Activity]:
    """All past activities that reached somebody, the latest first."""
    found = [
        Activity(row.id, row.name, row.kind, row.delivered, row.guided, row.day, True, {})
        for row in session.execute(
            sa.select(past_activities).where(past_activities.c.account_id == account_id)
        )
    ]
    for row in _campaigns(session, account_id):
        kept = figures.get(session, account_id, FIGURE.format(id=row.id))
        counted: Json = kept.value if kept is not None else _count(session, row.id)
        if counted["delivered"]:
            found.append(
                Activity(
                    row.id,
                    row.name,
                    str((row.brief or {}).get("form") or ""),
                    counted["delivered"],
                    counted["guided"],
                    day_of(row.due_at),
                    False,
                    {name: (one[0], one[1]) for name, one in counted["groups"].items()},
                )
            )
    return sorted(found, key=lambda one: (one.day or date.min, one.name), reverse=True)


def add(
    session: Session,
    account_id: int,
    *,
    name: str,
    kind: str,
    delivered: int,
    guided: int,
    day: date | None,
    by: str,
    now: datetime,
) -> int:
    """Type one in; its id.

    Raises:
        Invalid: no name or one that is taken, or numbers that cannot be.
    """
    name, kind = name.strip(), kind.strip()
    if not name:
        raise Invalid("past.name", "String should have at least 1 character")
    if len(name) > LONGEST or len(kind) > LONGEST:
        raise Invalid("past.name", f"String should have at most {LONGEST} characters")
    if not 1 <= delivered <= MOST_PEOPLE:
        raise Invalid("past.delivered", f"must be between 1 and {MOST_PEOPLE}")
    if not 0 <= guided <= delivered:
        raise Invalid("past.guided", "cannot be more than were reached")
    taken = sa.select(past_activities.c.id).where(
        past_activities.c.account_id == account_id, past_activities.c.name == name
    )
    of_campaigns = sa.select(campaigns.c.id).where(
        campaigns.c.account_id == account_id, campaigns.c.name == name
    )
    if session.execute(taken).first() or session.execute(of_campaigns).first():
        raise Invalid("past.name", "is taken already")
    return int(
        session.execute(
            sa.insert(past_activities)
            .values(
                account_id=account_id,
                name=name,
                kind=kind,
                delivered=delivered,
                guided=guided,
                day=day,
                created_by=by,
                created_at=now,
            )
            .returning(past_activities.c.id)
        ).scalar_one()
    )


def typed(session: Session, account_id: int, past_id: int) -> str | None:
    """The name of what somebody typed in; None where there is none."""
    found = session.execute(
        sa.select(past_activities.c.name).where(
            past_activities.c.account_id == account_id, past_activities.c.id == past_id
        )
    ).scalar()
    return str(found) if found is not None else None


def remove(session: Session, account_id: int, past_id: int) -> str | None:
    """Take back what somebody typed in; its name, None where there is none."""
    found = session.execute(
        sa.delete(past_activities)
        .where(past_activities.c.account_id == account_id, past_activities.c.id == past_id)
        .returning(past_activities.c.name)
    ).scalar()
    return str(found) if found is not None else None


def chosen(activities: Sequence[Activity], similar: Sequence[str]) -> list[Activity]:
    """Those that were ticked."""
    wanted = set(similar)
    return [one for one in activities if one.name in wanted]


def _campaigns(session: Session, account_id: int) -> Sequence[Any]:
    """The latest campaigns that began, with the time of their first run."""
    first = (
        sa.select(campaign_runs.c.campaign_id, sa.func.min(campaign_runs.c.due_at).label("due_at"))
        .where(
            campaign_runs.c.account_id == account_id,
            campaign_runs.c.status.in_(("running", "paused", "finished")),
        )
        .group_by(campaign_runs.c.campaign_id)
        .subquery()
    )
    return session.execute(
        sa.select(campaigns.c.id, campaigns.c.name, campaigns.c.brief, first.c.due_at)
        .join(first, first.c.campaign_id == campaigns.c.id)
        .where(campaigns.c.account_id == account_id)
        .order_by(first.c.due_at.desc())
        .limit(MOST)
    ).all()


def _count(session: Session, campaign_id: int) -> Json:
    """Delivered and guided of a campaign each time it was sent, and by group where it has groups.

    Follow-ups reach nobody anew: whom they moved are people of the first round.
    """
    campaign = definitions.by_id(session, campaign_id)
    first_rounds = sa.select(campaign_runs.c.id).where(
        campaign_runs.c.campaign_id == campaign_id, campaign_runs.c.round == 1
    )
    runs = list(session.execute(first_rounds).scalars())
    # of mass messages the platform tells numbers of a batch; before it told them its size stands for it
    in_batches = session.execute(
        sa.select(
            sa.func.coalesce(
                sa.func.sum(sa.func.coalesce(mass_batches.c.sent, mass_batches.c.size)), 0
            )
        ).where(
            mass_batches.c.run_id.in_(runs), mass_batches.c.status.in_(("submitted", "finished"))
        )
    ).scalar_one()
    one_by_one = session.execute(
        sa.select(sa.func.count()).where(
            deliveries.c.run_id.in_(runs),
            deliveries.c.status == "sent",
            deliveries.c.channel != contents.MASS,
        )
    ).scalar_one()
    groups: dict[str, list[int]] = {}
    for run_id in runs if campaign.groups else ():
        delivered, hits = outcome.by(session, run_id, campaign, deliveries.c.group)
        for name, people in delivered.items():
            one = groups.setdefault(name or "", [0, 0])
            one[0] += people
            one[1] += hits.get(name, 0)
    return {
        "delivered": int(in_batches) + int(one_by_one),
        "guided": tracking.guided(session, campaign.account_id, campaign_id, campaign.goal),
        "groups": groups,
    }
