"""The funnel of a campaign (漏斗): people at each step from planned to what it was for, and what nobody can measure.

Steps after the click are events the plan names under monitoring (监测项): rules record them, lists import them.
How many read a text in the chat no interface of WeChat tells; the number its own site shows may be entered by hand.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa

from bot import db, figures
from bot import events as behaviour
from bot.campaigns import definitions, experiment, live
from bot.campaigns.definitions import Campaign
from bot.campaigns.experiment import Lift
from bot.campaigns.live import HOLDOUT, Picture
from bot.db import Session
from bot.errors import Invalid
from bot.tables.campaigns import campaign_runs, deliveries
from bot.tables.events import events
from bot.tables.events import figures as figures_table

PLANNED, SENT, DELIVERED, OPENED, GUIDED = "planned", "sent", "delivered", "opened", "guided"
READS = "campaign_reads:{}"  # name of a figure: readers in the chat, by a campaign's id
# what happens so long after the first message is still put down to the campaign. Source: our definition
COUNTS_FOR = timedelta(days=7)
MOST_OUTCOMES = 6
FEW = 5  # past people at a step below which their share says nothing
_ITSELF = frozenset({*behaviour.KINDS, "campaign_sent", "consent"})


@dataclass(frozen=True, slots=True)
class Step:
    """One step: ``people`` None where WeChat gives no number, or nobody recorded any.

    ``share`` is of the step named by ``of``; ``past`` the same share over similar campaigns before this one.
    """

    name: str
    people: int | None
    of: str = ""
    share: float | None = None
    past: float | None = None
    event: bool = False

    @property
    def shortfall(self) -> float | None:
        """How far below past campaigns, as a fraction of people; below 0: better than they were."""
        if self.share is None or self.past is None:
            return None
        return self.past - self.share


@dataclass(frozen=True, slots=True)
class Effect:
    """An outcome of those who were sent to, against those who were left in peace."""

    name: str
    treated: int
    treated_hits: int
    held: int
    held_hits: int
    lift: Lift

    @property
    def certain(self) -> bool:
        """Whether the 95 % interval leaves 0 out."""
        return self.lift.low > 0 or self.lift.high < 0


def steps(session: Session, picture: Picture) -> list[Step]:
    """The funnel of a campaign's newest chain, each share beside that of past campaigns."""
    found = counts(session, picture)
    names = list(found)
    past = _past_shares(session, picture.campaign, names)
    told = []
    for name in names:
        of = _base(names, name)
        people = found[name]
        below = found.get(of) if of else None
        share = people / below if people is not None and below else None
        told.append(Step(name, people, of, share, past.get(name), name not in _OWN))
    return told


def counts(session: Session, picture: Picture) -> dict[str, int | None]:
    """People at each step, in order; None: not measurable."""
    first = picture.first
    campaign = picture.campaign
    kinds = monitored(campaign)
    if first is None:
        return dict.fromkeys((PLANNED, SENT, DELIVERED, OPENED, GUIDED, *kinds))
    found: dict[str, int | None] = {
        PLANNED: first.planned,
        SENT: first.total.handed_over,
        DELIVERED: picture.delivered,
        OPENED: readers(session, campaign),
        GUIDED: picture.guided,
    }
    known = _events_of(session, campaign, first.id, first.due_at, held=False)
    for kind in kinds:
        found[kind] = known.get(kind)
    return found


def monitored(campaign: Campaign) -> list[str]:
    """The events the plan says are watched, in the order it says them."""
    listed = (campaign.brief or {}).get("monitoring") or ()
    return list(dict.fromkeys(str(name).strip() for name in listed if str(name).strip()))


def weakest(told: Sequence[Step]) -> Step | None:
    """The step that falls furthest behind past campaigns; None where none does, or nothing is known of them."""
    behind = [step for step in told if step.shortfall is not None and step.shortfall > 0]
    return max(behind, key=lambda step: step.shortfall or 0.0, default=None)


def effects(session: Session, picture: Picture) -> list[Effect]:
    """What the campaign caused: every event its people did within a week, against the holdout.

    Empty without a holdout. Clicks are no outcome: who got no message has no link.
    """
    first = picture.first
    if first is None or not first.holdout:
        return []
    campaign = picture.campaign
    treated = _events_of(session, campaign, first.id, first.due_at, held=False)
    held = _events_of(session, campaign, first.id, first.due_at, held=True)
    names = sorted(treated, key=lambda name: -treated[name])[:MOST_OUTCOMES]
    return [
        Effect(
            name,
            first.planned,
            treated[name],
            first.holdout,
            held.get(name, 0),
            experiment.lift(treated[name], first.planned, held.get(name, 0), first.holdout),
        )
        for name in names
    ]


def readers(session: Session, campaign: Campaign) -> int | None:
    """Who read it in the chat, as somebody entered it; None: nobody did."""
    kept = figures.get(session, campaign.account_id, READS.format(campaign.id))
    return int(kept.value["people"]) if kept else None


def enter_readers(session: Session, campaign: Campaign, people: int | None, now: datetime) -> None:
    """Write down the readers the platform's own site shows; None takes the number back.

    Raises:
        Invalid: a number below 0.
    """
    if people is not None and people < 0:
        raise Invalid("people", "must be a whole number from 0")
    name = READS.format(campaign.id)
    if people is None:
        session.execute(
            sa.delete(figures_table).where(
                figures_table.c.account_id == campaign.account_id, figures_table.c.name == name
            )
        )
        return
    row = {
        "account_id": campaign.account_id,
        "name": name,
        "value": {"people": people},
        "counted_at": now,
        "seconds": 0.0,
    }
    db.upsert(session, figures_table, row, ["account_id", "name"], ["value", "counted_at"])


_OWN = (PLANNED, SENT, DELIVERED, OPENED, GUIDED)


def _base(names: Sequence[str], name: str) -> str:
    """The step a share is of. A click is of the delivered, read or not: reading is measured by nobody alone."""
    if name == GUIDED:
        return DELIVERED
    place = names.index(name)
    return names[place - 1] if place else ""


def _events_of(
    session: Session, campaign: Campaign, run_id: int, since: datetime, *, held: bool
) -> dict[str, int]:
    """Kind of event -> people of the run who did it within a week of its beginning."""
    was_held = sa.and_(deliveries.c.status == "skipped", deliveries.c.reason == HOLDOUT)
    rows = session.execute(
        sa.select(events.c.kind, sa.func.count(sa.distinct(events.c.follower_id)))
        .select_from(events.join(deliveries, deliveries.c.follower_id == events.c.follower_id))
        .where(
            events.c.account_id == campaign.account_id,
            deliveries.c.run_id == run_id,
            was_held if held else sa.or_(deliveries.c.reason.is_(None), sa.not_(was_held)),
            events.c.at >= since,
            events.c.at < since + COUNTS_FOR,
            events.c.kind.not_in(_ITSELF),
        )
        .group_by(events.c.kind)
    )
    return {row[0]: row[1] for row in rows}


def _past_shares(session: Session, campaign: Campaign, names: Sequence[str]) -> Mapping[str, float]:
    """Each step's share over similar campaigns before: those the plan names, else those that watched the same."""
    sums: dict[str, list[int]] = {name: [0, 0] for name in names}
    for other in _similar(session, campaign):
        found = _kept_counts(session, other)
        for name in names:
            of = _base(names, name)
            people, below = found.get(name), found.get(of) if of else None
            if people is not None and below:
                sums[name][0] += people
                sums[name][1] += below
    return {name: hits / below for name, (hits, below) in sums.items() if below >= FEW}


def _kept_counts(session: Session, campaign: Campaign) -> dict[str, int | None]:
    at = session.execute(
        sa.select(sa.func.max(campaign_runs.c.created_at)).where(
            campaign_runs.c.campaign_id == campaign.id
        )
    ).scalar()
    return counts(session, live.picture(session, campaign, at)) if at is not None else {}


def _similar(session: Session, campaign: Campaign) -> list[Campaign]:
    named = set((campaign.brief or {}).get("similar") or ())
    kinds = set(monitored(campaign))
    others = [
        other
        for other in definitions.every(session, campaign.account_id, archived=True)
        if other.id != campaign.id and other.status in ("finished", "archived")
    ]
    if named:
        return [other for other in others if other.name in named]
    same = [other for other in others if kinds and kinds & set(monitored(other))]
    return same[-10:]
