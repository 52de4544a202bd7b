"""What came of a campaign, in the words of the trade: delivered, guided, 导量率, unfollows, slots spent."""

from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from bot import tracking
from bot.campaigns.candidates import MASS
from bot.campaigns.definitions import Campaign
from bot.clock import day_of
from bot.db import Session
from bot.errors import Refused
from bot.tables.campaigns import campaign_runs, campaigns, deliveries, mass_batches
from bot.tables.events import events
from bot.tables.followers import followers

# an unfollow within so long after a message is put down to it. Source: our definition
UNFOLLOW_WINDOW = timedelta(hours=48)
BASE_DAYS = 14  # before the first send; their unfollows are what would have happened anyway
LEAST_DAYS = 3  # of own history before it is believed. Source: our choice
# about 8 of 10,000 followers leave on a day without a message. Source: a survey of 8,464 accounts by 新榜,
# niaogebiji.com/article-38451-1.html (read 2026-11)
USUAL_RATE = 0.0008 * UNFOLLOW_WINDOW.days


@dataclass(frozen=True, slots=True)
class Outcome:
    """Counts of people over all times a campaign was sent; rates are of the delivered.

    Who got follow-ups too counts once: they reach nobody whom the first round did not. Slots are of all rounds.
    """

    name: str
    planned: int
    sent: int
    delivered: int
    guided: int
    target: int | None
    unfollows: int
    base_unfollows: float
    slots: int
    first_sent_at: datetime | None

    @property
    def guide_rate(self) -> float | None:
        """导量率: guided unique visitors of the delivered."""
        return self.guided / self.delivered if self.delivered else None

    @property
    def unfollow_rate(self) -> float | None:
        return self.unfollows / self.delivered if self.delivered else None

    @property
    def unfollows_above_base(self) -> float:
        return max(self.unfollows - self.base_unfollows, 0.0)

    @property
    def slots_per_guided(self) -> float | None:
        return self.slots / self.guided if self.guided else None


def outcome(session: Session, account_id: int, name: str) -> Outcome:
    """The outcome of a campaign so far.

    Raises:
        Refused: the account has no campaign of this name.
    """
    campaign = session.execute(
        sa.select(campaigns).where(campaigns.c.account_id == account_id, campaigns.c.name == name)
    ).one_or_none()
    if campaign is None:
        raise Refused(f"there is no campaign '{name}'")
    runs = sa.select(campaign_runs.c.id).where(campaign_runs.c.campaign_id == campaign.id)
    first_rounds = runs.where(campaign_runs.c.round == 1).scalar_subquery()
    mine = sa.and_(
        deliveries.c.account_id == account_id, deliveries.c.run_id.in_(runs.scalar_subquery())
    )
    of_first = deliveries.c.run_id.in_(first_rounds)
    was_sent = sa.and_(of_first, deliveries.c.status == "sent")
    by_channel = session.execute(
        sa.select(
            sa.func.count(sa.case((of_first, 1))).label("planned"),
            sa.func.sum(sa.case((was_sent, 1), else_=0)).label("sent"),
            sa.func.sum(
                sa.case((sa.and_(was_sent, deliveries.c.channel != "mass"), 1), else_=0)
            ).label("one_by_one"),
            sa.func.count(deliveries.c.slot).label("slots"),
            sa.func.min(sa.case((was_sent, deliveries.c.at))).label("first"),
        ).where(mine)
    ).one()
    # the platform tells a batch's numbers, never whose they are; before it told them we know nothing
    in_batches = session.execute(
        sa.select(sa.func.coalesce(sa.func.sum(mass_batches.c.sent), 0)).where(
            mass_batches.c.run_id.in_(first_rounds)
        )
    ).scalar_one()
    delivered = int(by_channel.one_by_one or 0) + int(in_batches)
    return Outcome(
        name=name,
        planned=by_channel.planned,
        sent=int(by_channel.sent or 0),
        delivered=delivered,
        guided=tracking.guided(session, account_id, campaign.id, campaign.goal),
        target=(campaign.goal or {}).get("target"),
        unfollows=unfollows(session, mine),
        base_unfollows=_base(session, account_id, by_channel.first, delivered),
        slots=by_channel.slots,
        first_sent_at=by_channel.first,
    )


def unfollows(session: Session, mine: sa.ColumnElement[bool]) -> int:
    """How many of these deliveries' people left within 48 hours of their message."""
    rows = session.execute(
        sa.select(deliveries.c.follower_id, deliveries.c.at, events.c.at.label("gone_at"))
        .select_from(deliveries.join(events, events.c.follower_id == deliveries.c.follower_id))
        .where(mine, deliveries.c.status == "sent", events.c.kind == "unsubscribe")
    )
    return len(
        {
            row.follower_id
            for row in rows
            if row.at is not None and row.at <= row.gone_at <= row.at + UNFOLLOW_WINDOW
        }
    )


def base_rate(session: Session, account_id: int, first: datetime) -> float:
    """The share of followers who leave within 48 hours without any message, from the days before ``first``.

    Where the account's own history is shorter than ``LEAST_DAYS`` the trade's figure stands in for it.
    """
    since = first - timedelta(days=BASE_DAYS)
    begun = session.execute(
        sa.select(sa.func.min(events.c.at)).where(
            events.c.account_id == account_id, events.c.at >= since
        )
    ).scalar()
    if begun is None or first - begun < timedelta(days=LEAST_DAYS):
        return USUAL_RATE
    own = _base(session, account_id, first, 1)
    return max(own, USUAL_RATE / 4)


def by(
    session: Session, run_id: int, campaign: Campaign, part: sa.Column[Any]
) -> tuple[dict[Any, int], dict[Any, int]]:
    """Delivered and hits of a run by ``group``, ``variant`` or ``channel`` of its deliveries."""
    one_by_one = session.execute(
        sa.select(part, sa.func.count())
        .where(
            deliveries.c.run_id == run_id,
            deliveries.c.status == "sent",
            deliveries.c.channel != MASS,
        )
        .group_by(part)
    )
    delivered: Counter[Any] = Counter({row[0]: row[1] for row in one_by_one})
    of_batch = sa.literal(MASS) if part.name == "channel" else mass_batches.c[part.name]
    # the platform tells a batch's numbers, never whose they are; before it told them its size stands for it
    in_batches = session.execute(
        sa.select(
            of_batch.label("part"),
            sa.func.sum(sa.func.coalesce(mass_batches.c.sent, mass_batches.c.size)),
        )
        .where(
            mass_batches.c.run_id == run_id,
            mass_batches.c.status.in_(("submitted", "finished")),
        )
        .group_by(*([] if part.name == "channel" else [of_batch]))
    )
    for row in in_batches:
        delivered[row[0]] += int(row[1] or 0)
    reaction = reactions(campaign).subquery()
    hits = session.execute(
        sa.select(part, sa.func.count(sa.distinct(deliveries.c.follower_id)))
        .select_from(reaction.join(deliveries, deliveries.c.follower_id == reaction.c.follower_id))
        .where(
            deliveries.c.run_id == run_id,
            deliveries.c.status == "sent",
            reaction.c.at >= deliveries.c.at,
        )
        .group_by(part)
    )
    return {name: people for name, people in delivered.items() if people}, {
        row[0]: row[1] for row in hits
    }


def reactions(campaign: Campaign) -> sa.Select[Any]:
    """(follower_id, at) of everything that counts towards the campaign's goal: ``tracking.reactions``."""
    return tracking.reactions(campaign.account_id, campaign.id, campaign.goal)


def clean_clicks(campaign: Campaign) -> sa.Select[Any]:
    """(follower_id, at) of every clean click on a link of the campaign."""
    return tracking.clean_clicks(campaign.account_id, campaign.id)


def _base(session: Session, account_id: int, first: datetime | None, delivered: int) -> float:
    if first is None:
        return 0.0
    since = first - timedelta(days=BASE_DAYS)
    gone = session.execute(
        sa.select(sa.func.count(), sa.func.min(events.c.at)).where(
            events.c.account_id == account_id,
            events.c.kind == "unsubscribe",
            events.c.at >= since,
            events.c.at < first,
        )
    ).one()
    present = session.execute(
        sa.select(sa.func.count()).where(
            followers.c.account_id == account_id, followers.c.subscribed
        )
    ).scalar_one()
    begun = session.execute(
        sa.select(sa.func.min(events.c.at)).where(
            events.c.account_id == account_id, events.c.at >= since
        )
    ).scalar()
    days = max((day_of(first) - day_of(begun)).days, 1) if begun else BASE_DAYS
    a_day = gone[0] / days / max(present, 1)
    return float(a_day * UNFOLLOW_WINDOW.days * delivered)
