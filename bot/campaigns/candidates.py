"""The audience of a campaign, page by page, with all that deciding about each follower needs. Only reads."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from bot import registry
from bot.accounts import Account
from bot.audiences import segments
from bot.campaigns import budget
from bot.campaigns.definitions import Campaign
from bot.campaigns.reach import Candidate, Choice, Policy, choose
from bot.clock import month_of
from bot.db import Session
from bot.followers import LONG_WINDOWS
from bot.tables.campaigns import deliveries, mass_ledger
from bot.tables.followers import followers, reply_windows

PAGE = 5000  # followers read and decided at once
MASS = "mass"
COUNTS_FOR_CAP = ("planned", "sent", "unknown")


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything deciding needs, read once a page."""

    account: Account
    campaign: Campaign
    content: Mapping[str, Any]
    audience: sa.ColumnElement[bool]
    channels: Sequence[Any]
    now: datetime
    month: str

    @property
    def by_slots(self) -> bool:
        """Whether mass takes a slot of each follower: on service accounts."""
        allowed = budget.allowance(self.account.kind, self.account.verified)
        return allowed is not None and allowed.per_follower_and_month is not None

    @property
    def to_all_at_once(self) -> bool:
        """A subscription account's mass: one call to everybody or a tag, which nobody can be left out of."""
        allowed = budget.allowance(self.account.kind, self.account.verified)
        return MASS in self.campaign.channels and allowed is not None and not allowed.by_open_id


def read_plan(
    session: Session,
    account: Account,
    campaign: Campaign,
    content: Mapping[str, Any],
    now: datetime,
) -> Plan:
    where = segments.get(session, account.id, campaign.segment).where
    known = registry.members("bot.channels")
    return Plan(
        account=account,
        campaign=campaign,
        content=content,
        audience=segments.clause(session, account.id, where, now),
        channels=[known[name] for name in campaign.channels],
        now=now,
        month=month_of(now),
    )


def next_page(session: Session, plan: Plan, after: int, last: int) -> list[Candidate]:
    """The next page of the audience, by follower id: an OFFSET would read everything before it again."""
    rows = session.execute(
        sa.select(followers.c.id, followers.c.opted_out_at)
        .where(
            followers.c.account_id == plan.account.id,
            followers.c.id > after,
            followers.c.id <= last,
            plan.audience,
        )
        .order_by(followers.c.id)
        .limit(PAGE)
    ).all()
    if not rows:
        return []
    first, end = rows[0].id, rows[-1].id
    windows = _windows(session, plan, first, end)
    taken = _taken(session, plan, first, end)
    recent = _recent(session, plan, first, end)
    return [
        Candidate(
            row.id,
            opted_out=row.opted_out_at is not None,
            windows=windows.get(row.id, ()),
            slots_left=budget.left(*taken.get(row.id, (0, 0))),
            recent_campaigns=recent.get(row.id, 0),
        )
        for row in rows
    ]


def _windows(
    session: Session, plan: Plan, first: int, last: int
) -> dict[int, tuple[tuple[str, datetime, int], ...]]:
    if "customer_service" not in plan.campaign.channels:
        return {}
    rows = session.execute(
        sa.select(
            reply_windows.c.follower_id,
            reply_windows.c.opened_by,
            reply_windows.c.expires_at,
            reply_windows.c.left,
        ).where(
            reply_windows.c.follower_id.between(first, last),
            reply_windows.c.account_id == plan.account.id,
            reply_windows.c.opened_by.in_(LONG_WINDOWS),
            reply_windows.c.expires_at > plan.now,
            reply_windows.c.left > 0,
        )
    )
    found: dict[int, tuple[tuple[str, datetime, int], ...]] = {}
    for row in rows:
        window = (row.opened_by, row.expires_at, row.left)
        found[row.follower_id] = (*found.get(row.follower_id, ()), window)
    return found


def _taken(session: Session, plan: Plan, first: int, last: int) -> dict[int, tuple[int, int]]:
    if MASS not in plan.campaign.channels or not plan.by_slots:
        return {}
    rows = session.execute(
        sa.select(mass_ledger.c.follower_id, mass_ledger.c.reserved, mass_ledger.c.spent).where(
            mass_ledger.c.follower_id.between(first, last),
            mass_ledger.c.month == plan.month,
            mass_ledger.c.account_id == plan.account.id,
        )
    )
    return {row.follower_id: (row.reserved, row.spent) for row in rows}


def _recent(session: Session, plan: Plan, first: int, last: int) -> dict[int, int]:
    limits = plan.account.limits
    if limits.cap_messages is None:
        return {}
    rows = session.execute(
        sa.select(deliveries.c.follower_id, sa.func.count())
        .where(
            deliveries.c.follower_id.between(first, last),
            deliveries.c.account_id == plan.account.id,
            deliveries.c.status.in_(COUNTS_FOR_CAP),
            deliveries.c.at > plan.now - timedelta(days=limits.cap_days or 1),
        )
        .group_by(deliveries.c.follower_id)
    )
    return {row[0]: row[1] for row in rows}


def decide(plan: Plan, candidate: Candidate) -> Choice:
    if plan.to_all_at_once:
        # Nobody can be left out of such a call, so the truth is that all of them get it.
        return Choice(channel=MASS)
    policy = Policy(cap=plan.account.limits.cap_messages)
    return choose(candidate, plan.channels, policy, plan.content, plan.now)
