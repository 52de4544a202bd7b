"""Who a run was for (受众名单): each follower with what became of it. Pages walk by follower, never by offset."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from bot.campaigns import outcome
from bot.campaigns.definitions import Campaign
from bot.db import Session
from bot.sql import among
from bot.tables.campaigns import deliveries, mass_batches, mass_ledger
from bot.tables.followers import followers

NARROWED_BY = ("status", "reason", "channel", "group", "variant", "wave")


@dataclass(frozen=True, slots=True)
class Search:
    """``narrow``: column -> value, of ``NARROWED_BY``. ``q``: a whole OpenID or a part of the remark."""

    q: str = ""
    narrow: Mapping[str, str] = field(default_factory=dict)
    clicked: str = ""  # yes | no


@dataclass(frozen=True, slots=True)
class Recipient:
    """``clicked_at``: the first reaction after this message. ``slots_left``: of this month, where it was skipped."""

    follower_id: int
    open_id: str
    remark: str | None
    status: str
    reason: str | None
    channel: str | None
    group: str | None
    variant: str | None
    wave: int
    slot: str | None
    errcode: int | None
    at: datetime | None
    batch: str | None
    clicked_at: datetime | None
    slots_left: int | None


def count(session: Session, campaign: Campaign, run_id: int, search: Search) -> int:
    """How many of a run match."""
    query = (
        sa.select(sa.func.count()).select_from(_joined()).where(*_which(campaign, run_id, search))
    )
    return int(session.execute(query).scalar_one())


def page(
    session: Session,
    campaign: Campaign,
    run_id: int,
    month: str | None,
    search: Search,
    *,
    after: int = 0,
    limit: int,
) -> list[Recipient]:
    """At most ``limit`` of them, by follower, behind the one with the id ``after``."""
    rows = session.execute(
        sa.select(
            deliveries,
            followers.c.open_id,
            followers.c.remark,
            mass_batches.c.status.label("batch_status"),
        )
        .select_from(_joined().outerjoin(mass_batches, mass_batches.c.id == deliveries.c.batch_id))
        .where(*_which(campaign, run_id, search), deliveries.c.follower_id > after)
        .order_by(deliveries.c.follower_id)
        .limit(limit)
    ).all()
    ids = [row.follower_id for row in rows]
    clicked = _clicked(session, campaign, ids)
    left = _left(session, campaign.account_id, month, ids)
    return [
        Recipient(
            follower_id=row.follower_id,
            open_id=row.open_id,
            remark=row.remark,
            status=row.status,
            reason=row.reason,
            channel=row.channel,
            group=row.group,
            variant=row.variant,
            wave=row.wave,
            slot=row.slot,
            errcode=row.errcode,
            at=row.at,
            batch=row.batch_status,
            clicked_at=clicked.get(row.follower_id),
            slots_left=left.get(row.follower_id) if row.status == "skipped" else None,
        )
        for row in rows
    ]


def _joined() -> Any:
    return deliveries.join(followers, followers.c.id == deliveries.c.follower_id)


def _which(campaign: Campaign, run_id: int, search: Search) -> Sequence[sa.ColumnElement[bool]]:
    wanted: list[sa.ColumnElement[bool]] = [
        deliveries.c.run_id == run_id,
        deliveries.c.account_id == campaign.account_id,
    ]
    for name, value in search.narrow.items():
        if value and name in NARROWED_BY:
            column = deliveries.c[name]
            wanted.append(column == (int(value) if name == "wave" else value))
    if search.q:
        wanted.append(
            sa.or_(
                followers.c.open_id == search.q,
                followers.c.remark.icontains(search.q, autoescape=True),
            )
        )
    if search.clicked:
        reaction = outcome.reactions(campaign).subquery()
        did = sa.exists().where(reaction.c.follower_id == deliveries.c.follower_id)
        wanted.append(did if search.clicked == "yes" else sa.not_(did))
    return wanted


def _clicked(session: Session, campaign: Campaign, ids: Sequence[int]) -> Mapping[int, datetime]:
    if not ids:
        return {}
    reaction = outcome.reactions(campaign).subquery()
    rows = session.execute(
        sa.select(reaction.c.follower_id, sa.func.min(reaction.c.at))
        .where(among(reaction.c.follower_id, ids))
        .group_by(reaction.c.follower_id)
    )
    return {row[0]: row[1] for row in rows}


def _left(
    session: Session, account_id: int, month: str | None, ids: Sequence[int]
) -> Mapping[int, int]:
    if not ids or month is None:
        return {}
    rows = session.execute(
        sa.select(mass_ledger.c.follower_id, mass_ledger.c.reserved + mass_ledger.c.spent).where(
            mass_ledger.c.account_id == account_id,
            mass_ledger.c.month == month,
            among(mass_ledger.c.follower_id, ids),
        )
    )
    found = {row[0]: max(0, 4 - row[1]) for row in rows}
    return {follower_id: found.get(follower_id, 4) for follower_id in ids}
