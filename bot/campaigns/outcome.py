"""What came of a campaign, in the words of the trade: delivered, guided, 导量率, unfollows, slots spent."""

from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa

from bot import tracking
from bot.clock import day_of
from bot.db import Session
from bot.errors import Refused
from bot.tables.campaigns import campaign_runs, campaigns, deliveries, mass_batches
from bot.tables.events import events
from bot.tables.followers import followers

# an unfollow within so long after a message is put down to it. Source: our definition
UNFOLLOW_WINDOW = timedelta(hours=48)
BASE_DAYS = 14  # before the first send; their unfollows are what would have happened anyway


@dataclass(frozen=True, slots=True)
class Outcome:
    """Counts of people over all runs of one campaign; rates are of the delivered."""

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
    mine = sa.and_(
        deliveries.c.account_id == account_id, deliveries.c.run_id.in_(runs.scalar_subquery())
    )
    was_sent = deliveries.c.status == "sent"
    by_channel = session.execute(
        sa.select(
            sa.func.count().label("planned"),
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
            mass_batches.c.run_id.in_(runs.scalar_subquery())
        )
    ).scalar_one()
    delivered = int(by_channel.one_by_one or 0) + int(in_batches)
    return Outcome(
        name=name,
        planned=by_channel.planned,
        sent=int(by_channel.sent or 0),
        delivered=delivered,
        guided=tracking.guided(session, account_id, campaign.id),
        target=(campaign.goal or {}).get("target"),
        unfollows=_unfollows(session, mine),
        base_unfollows=_base(session, account_id, by_channel.first, delivered),
        slots=by_channel.slots,
        first_sent_at=by_channel.first,
    )


def _unfollows(session: Session, mine: sa.ColumnElement[bool]) -> int:
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
