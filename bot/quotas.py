"""The day's API quotas (接口额度) as an operator sees them, and learning the platform's own figures."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from bot import allowances, db, governor, logs, outbox_claims
from bot.allowances import CAMPAIGN, PRIORITIES, Budget, Rate
from bot.clock import day_of
from bot.db import Session
from bot.errors import WeChatError
from bot.governor import UNLIMITED, Governor, Pause, Store
from bot.tables.accounts import api_calls, api_quotas
from bot.tables.campaigns import campaign_runs, deliveries
from bot.tables.outbox import outbox
from bot.wechat import quota
from bot.wechat.client import WeChat

# asked about whatever was called: what campaigns and replies use
ALWAYS = (
    "/cgi-bin/message/custom/send",
    "/cgi-bin/message/template/send",
    "/cgi-bin/message/mass/send",
    "/cgi-bin/user/get",
)
MOST_ASKED = 40  # APIs of an account, so that learning is no burden itself
RUNS_AT_WORK = ("planning", "running", "paused")

log = logs.get()


@dataclass(frozen=True, slots=True)
class Quota:
    """One API today. ``limit`` None: none is published.

    ``owed``: messages that wait for it; ``late``: how many of them do not fit into today.
    """

    api: str
    limit: int | None
    said_at: datetime | None  # when the platform told the limit; None: the published default
    used: int
    calls: Mapping[str, int]  # by priority
    refused: int  # by the platform
    held: int  # by ourselves, for what matters more
    runs_out_at: datetime | None
    pause: Pause | None
    held_back: tuple[str, ...]  # priorities whose calls wait now
    kept: int  # calls a campaign leaves to replies
    owed: int
    late: int
    rate: Rate | None = None  # as the platform told it

    @property
    def left(self) -> int | None:
        return None if self.limit is None else max(0, self.limit - self.used)

    @property
    def share(self) -> float:
        """Used, 0 to 1."""
        return min(1.0, self.used / self.limit) if self.limit else 0.0


def today(session: Session, store: Store, account_id: int, now: datetime) -> list[Quota]:
    """Every API that was called lately or told about: the fullest first."""
    said = {
        row.api: row.said_at
        for row in session.execute(
            sa.select(api_quotas).where(api_quotas.c.account_id == account_id)
        )
    }
    counted = _counted(session, account_id, now)
    owed = owing(session, account_id)
    listed = set(said) | set(counted) | {api for api, number in owed.items() if number}
    found = [
        replace(
            _quota(
                budget, said, counted, owed, governor.read_pause(store, account_id, budget.api), now
            ),
            rate=governor.read_rate(store, account_id, budget.api),
        )
        for budget in governor.budgets(session, account_id, now, sorted(listed))
    ]
    return sorted(found, key=lambda one: (-one.share, one.api))


def owing(session: Session, account_id: int) -> dict[str, int]:
    """Messages of campaigns that are still to go, by API: those of the outbox and those of runs at work."""
    apis = {
        name: channel.API
        for name, channel in outbox_claims.channels().items()
        if getattr(channel, "API", None)
    }
    waiting = (
        sa.select(outbox.c.channel, sa.func.count().label("number"))
        .where(
            outbox.c.account_id == account_id,
            outbox.c.status == "waiting",
            outbox.c.purpose == "delivery",
        )
        .group_by(outbox.c.channel)
    )
    planned = (
        sa.select(deliveries.c.channel, sa.func.count().label("number"))
        .join(campaign_runs, campaign_runs.c.id == deliveries.c.run_id)
        .where(
            deliveries.c.account_id == account_id,
            campaign_runs.c.status.in_(RUNS_AT_WORK),
            deliveries.c.status == "planned",
            deliveries.c.queued_at.is_(None),
        )
        .group_by(deliveries.c.channel)
    )
    found: dict[str, int] = {}
    for statement in (waiting, planned):
        for row in session.execute(statement):
            if row.channel in apis:
                api = apis[row.channel]
                found[api] = found.get(api, 0) + row.number
    return found


def learn(engine: Engine, wechat: WeChat, minder: Governor, account_id: int, now: datetime) -> int:
    """Ask the platform for its figure of each API the account uses; how many it told.

    An API it has calls left for is left alone no longer. An API it does not know of is skipped.
    """
    with db.reading(engine) as session:
        known = {budget.api for budget in governor.budgets(session, account_id, now)}
    told = 0
    for api in sorted(known | set(ALWAYS))[:MOST_ASKED]:
        try:
            found = quota.of(wechat, api)
        except WeChatError as problem:
            if not problem.permanent:
                raise
            log.info("quota_not_told", account=account_id, api=api, errcode=problem.errcode)
            continue
        minder.told_rate(account_id, api, found.calls, found.seconds)
        if found.daily_limit <= 0:
            continue
        minder.flush(engine)
        with db.writing(engine) as session:
            _keep(session, account_id, api, found, now)
        if found.remain > 0:
            minder.lift(account_id, api, now)
        told += 1
    return told


def _keep(session: Session, account_id: int, api: str, found: quota.Quota, now: datetime) -> None:
    ours = session.execute(
        sa.select(sa.func.coalesce(sa.func.sum(api_calls.c.calls), 0)).where(
            api_calls.c.account_id == account_id,
            api_calls.c.api == api,
            api_calls.c.day == day_of(now),
        )
    ).scalar_one()
    row = {
        "account_id": account_id,
        "api": api,
        "daily_limit": found.daily_limit,
        "used": found.used,
        "counted": ours,
        "said_at": now,
    }
    db.upsert(session, api_quotas, row, key=["account_id", "api"])


def _counted(session: Session, account_id: int, now: datetime) -> dict[str, Any]:
    rows = session.execute(
        sa.select(
            api_calls.c.api,
            sa.func.sum(api_calls.c.refused).label("refused"),
            sa.func.sum(api_calls.c.held).label("held"),
        )
        .where(api_calls.c.account_id == account_id, api_calls.c.day == day_of(now))
        .group_by(api_calls.c.api)
    )
    return {row.api: row for row in rows}


def _quota(
    budget: Budget,
    said: Mapping[str, datetime],
    counted: Mapping[str, Any],
    owed: Mapping[str, int],
    pause: Pause | None,
    now: datetime,
) -> Quota:
    row = counted.get(budget.api)
    paused = pause if pause is not None and pause.until > now else None
    governed = budget.limit < UNLIMITED
    fits = allowances.granted(budget, CAMPAIGN, UNLIMITED, now)
    waiting = owed.get(budget.api, 0)
    return Quota(
        api=budget.api,
        limit=budget.limit if governed else None,
        said_at=said.get(budget.api),
        used=budget.used,
        calls=budget.calls,
        refused=int(row.refused) if row is not None else 0,
        held=int(row.held) if row is not None else 0,
        runs_out_at=allowances.runs_out_at(budget, now) if governed else None,
        pause=paused,
        held_back=PRIORITIES
        if paused is not None
        else tuple(one for one in PRIORITIES if not allowances.granted(budget, one, 1, now)),
        kept=allowances.kept_back(budget, CAMPAIGN, now) if governed else 0,
        owed=waiting,
        late=max(0, waiting - fits),
    )
