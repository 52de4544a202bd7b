"""Every run of the campaigns, or of one: who ended how, slots charged, people guided. It adds up to the audience."""

from datetime import datetime

import sqlalchemy as sa

from bot import overview, tracking
from bot.accounts import Account
from bot.clock import local
from bot.db import Session
from bot.params import CampaignName
from bot.params import Params as Base
from bot.reports._table import Table, column
from bot.tables.campaigns import campaign_runs, campaigns

NAME = "campaign"
LABEL = {"zh": "活动效果", "en": "Campaigns"}
OUTCOMES = ("sent", "failed", "unknown", "skipped", "planned")


class Params(Base):
    name: CampaignName | None = None


def rows(session: Session, account: Account, params: Params, now: datetime) -> Table:
    query = (
        sa.select(campaign_runs.c.id, campaign_runs.c.due_at, campaign_runs.c.status)
        .add_columns(campaigns.c.name, campaigns.c.id.label("campaign_id"))
        .join(campaigns, campaigns.c.id == campaign_runs.c.campaign_id)
        .where(campaign_runs.c.account_id == account.id)
        .order_by(campaign_runs.c.due_at, campaign_runs.c.id)
    )
    if params.name is not None:
        query = query.where(campaigns.c.name == params.name)
    found = []
    for run in session.execute(query).all():
        counts, reasons, slots = overview.run_counts(session, account.id, run.id)
        guided = tracking.guided(session, account.id, run.campaign_id)
        skipped = " ".join(f"{reason}={people}" for reason, people in sorted(reasons.items()))
        found.append(
            (
                run.name,
                f"{local(run.due_at):%Y-%m-%d %H:%M}",
                run.status,
                sum(counts.values()),
                *(counts.get(outcome, 0) for outcome in OUTCOMES),
                skipped,
                slots,
                guided,
                round(slots / guided, 2) if guided else None,
            )
        )
    return Table(
        (
            column("name", "活动", "Campaign"),
            column("due_at", "时间", "Due"),
            column("status", "状态", "Status"),
            column("audience", "受众", "Audience"),
            column("sent", "已发", "Sent"),
            column("failed", "失败", "Failed"),
            column("unknown", "未知", "Unknown"),
            column("skipped", "跳过", "Skipped"),
            column("planned", "待发", "Planned"),
            column("reasons", "跳过原因", "Skipped because"),
            column("slots", "名额", "Slots"),
            column("guided", "引导", "Guided"),
            column("slots_per_guided", "每引导一人的名额", "Slots per guided person"),
        ),
        found,
    )
