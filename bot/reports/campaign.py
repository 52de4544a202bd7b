"""Every run of the campaigns, or of one: who ended how, slots charged, people guided. It adds up to the audience.

Or ``by`` group, variant or channel: delivered, hits, the rate with its 95 % interval, beside the expected one.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal

import sqlalchemy as sa

from bot import overview, tracking
from bot.accounts import Account
from bot.campaigns import definitions, outcome
from bot.campaigns.experiment import wilson
from bot.clock import local
from bot.db import Session
from bot.params import CampaignName
from bot.params import Params as Base
from bot.reports._table import Table, column
from bot.tables.campaigns import campaign_runs, campaigns, deliveries

NAME = "campaign"
LABEL = {"zh": "活动效果", "en": "Campaigns"}
OUTCOMES = ("sent", "failed", "unknown", "skipped", "planned")


class Params(Base):
    name: CampaignName | None = None
    by: Literal["run", "group", "variant", "channel"] = "run"


def rows(session: Session, account: Account, params: Params, now: datetime) -> Table:
    query = (
        sa.select(campaign_runs.c.id, campaign_runs.c.due_at, campaign_runs.c.status)
        .add_columns(campaigns.c.name, campaigns.c.id.label("campaign_id"), campaigns.c.goal)
        .join(campaigns, campaigns.c.id == campaign_runs.c.campaign_id)
        .where(campaign_runs.c.account_id == account.id)
        .order_by(campaign_runs.c.due_at, campaign_runs.c.id)
    )
    if params.name is not None:
        query = query.where(campaigns.c.name == params.name)
    if params.by != "run":
        return _parts(session, query, params.by)
    found = []
    for run in session.execute(query).all():
        counts, reasons, slots = overview.run_counts(session, account.id, run.id)
        guided = tracking.guided(session, account.id, run.campaign_id, run.goal)
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


def _parts(session: Session, query: sa.Select[Any], by: str) -> Table:
    found = []
    for run in session.execute(query).all():
        campaign = definitions.by_id(session, run.campaign_id)
        delivered, hits = outcome.by(session, run.id, campaign, deliveries.c[by])
        charged: Mapping[Any, tuple[int, int]] = {
            row[0]: (row[1], row[2])
            for row in session.execute(
                sa.select(
                    deliveries.c[by],
                    sa.func.count(sa.case((deliveries.c.status == "sent", 1))),
                    sa.func.count(deliveries.c.slot),
                )
                .where(deliveries.c.run_id == run.id)
                .group_by(deliveries.c[by])
            )
        }
        expected = {group["name"]: group.get("rate") for group in campaign.groups or ()}
        for part in sorted({*charged, *delivered} - {None}):
            sent, slots = charged.get(part, (0, 0))
            # a click may be known before the platform has told how many it delivered
            reached = max(delivered.get(part, 0), hits.get(part, 0))
            low, high = wilson(hits.get(part, 0), reached)
            found.append(
                (
                    run.name,
                    f"{local(run.due_at):%Y-%m-%d %H:%M}",
                    part,
                    sent,
                    reached,
                    max(sent - reached, 0),
                    hits.get(part, 0),
                    round(hits.get(part, 0) / reached, 4) if reached else None,
                    round(low, 4) if reached else None,
                    round(high, 4) if reached else None,
                    expected.get(part) if by == "group" else None,
                    slots,
                )
            )
    return Table(
        (
            column("name", "活动", "Campaign"),
            column("due_at", "时间", "Due"),
            column("part", "部分", "Part"),
            column("sent", "已发", "Sent"),
            column("delivered", "送达", "Delivered"),
            column("shortfall", "未送达", "Shortfall"),
            column("hits", "达成", "Did it"),
            column("rate", "达成率", "Rate"),
            column("low", "下限", "From"),
            column("high", "上限", "To"),
            column("expected", "预期", "Expected"),
            column("slots", "名额", "Slots"),
        ),
        found,
    )
