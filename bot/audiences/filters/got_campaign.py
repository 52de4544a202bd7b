"""Got a campaign: a delivery of any of its runs was sent, or may have been (unknown)."""

from datetime import datetime
from typing import Any

import sqlalchemy as sa

from bot.audiences.filters._shared import Resolve
from bot.params import CampaignName
from bot.params import Params as Base
from bot.tables.campaigns import campaign_runs, campaigns, deliveries
from bot.tables.followers import followers

NAME = "got_campaign"
LABEL = {"zh": "收到过活动", "en": "Got campaign"}


class Params(Base):
    name: CampaignName


def where(
    params: Params, account_id: int, now: datetime, resolve: Resolve
) -> sa.ColumnElement[bool]:
    return sa.exists(
        sa.select(sa.literal(1))
        .select_from(deliveries)
        .where(
            deliveries.c.follower_id == followers.c.id,
            deliveries.c.account_id == account_id,
            deliveries.c.status.in_(("sent", "unknown")),
            deliveries.c.run_id.in_(_runs(params, account_id)),
        )
        .correlate(followers)
    )


def ids(params: Params, account_id: int, now: datetime) -> sa.Select[Any]:
    """Who got it, run by run."""
    return (
        sa.select(deliveries.c.follower_id)
        .where(
            deliveries.c.run_id.in_(_runs(params, account_id)),
            deliveries.c.status.in_(("sent", "unknown")),
        )
        .distinct()
    )


def sentence(params: Params) -> str:
    return f"收到过活动「{params.name}」"


def _runs(params: Params, account_id: int) -> sa.Select[Any]:
    return (
        sa.select(campaign_runs.c.id)
        .join(campaigns, campaigns.c.id == campaign_runs.c.campaign_id)
        .where(
            campaign_runs.c.account_id == account_id,
            campaigns.c.account_id == account_id,
            campaigns.c.name == params.name,
        )
    )
