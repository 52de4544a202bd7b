"""Campaigns as a list shows them (活动列表): found, narrowed and sorted, each with what it has come to so far."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from bot import overview
from bot.campaigns import definitions
from bot.campaigns.definitions import Campaign
from bot.db import Session
from bot.tables.campaigns import campaign_runs, campaigns

# what a list may be narrowed to: a status of the campaign, or what its newest run is doing
REVIEW, WAITING, RUNNING, PAUSED = "review", "waiting", "running", "paused"
BY_RUN = {WAITING: ("waiting",), RUNNING: ("planning", "running"), PAUSED: ("paused",)}
SORTS: Mapping[str, Any] = {
    "name": campaigns.c.name,
    "status": campaigns.c.status,
    "due": campaigns.c.next_due_at,
    "created": campaigns.c.id,
}


@dataclass(frozen=True, slots=True)
class Search:
    """``q``: a part of the name. ``status``: of the campaign or its run; empty: all but archived ones."""

    q: str = ""
    status: str = ""
    channel: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    campaign: Campaign
    created_by: str
    created_at: datetime
    submitted: bool
    line: overview.CampaignLine

    @property
    def rate(self) -> float | None:
        """Guided of those it was sent to: what a batch delivered is on the campaign's own page."""
        return self.line.guided / self.line.sent if self.line.sent else None

    @property
    def done(self) -> float | None:
        """Share of the goal."""
        return self.line.guided / self.line.target if self.line.target else None


def count(session: Session, account_id: int, search: Search) -> int:
    """How many campaigns match."""
    return int(
        session.execute(
            sa.select(sa.func.count()).select_from(campaigns).where(*_which(account_id, search))
        ).scalar_one()
    )


def rows(
    session: Session,
    account_id: int,
    search: Search,
    *,
    sort: str = "created",
    down: bool = True,
    offset: int = 0,
    limit: int | None = None,
) -> list[Row]:
    """Campaigns that match, each with its newest run."""
    key = SORTS.get(sort, campaigns.c.id)
    # one that is due no more comes last, whichever way one looks
    order = [key.is_(None), key.desc() if down else key.asc(), campaigns.c.id.desc()]
    query = sa.select(campaigns).where(*_which(account_id, search)).order_by(*order)
    found = session.execute(query.offset(offset).limit(limit)).all()
    named = {
        line.name: line
        for line in overview.lines_of(session, account_id, [row.id for row in found])
    }
    return [
        Row(
            definitions.by_id(session, row.id),
            row.created_by,
            row.created_at,
            row.submitted_at is not None,
            named[row.name],
        )
        for row in found
    ]


def _which(account_id: int, search: Search) -> Sequence[sa.ColumnElement[bool]]:
    wanted = [campaigns.c.account_id == account_id]
    if search.q:
        wanted.append(campaigns.c.name.icontains(search.q, autoescape=True))
    if search.channel:
        wanted.append(sa.cast(campaigns.c.channels, sa.Text).contains(f'"{search.channel}"'))
    if search.status == REVIEW:
        wanted.append(campaigns.c.submitted_at.is_not(None))
    elif search.status in BY_RUN:
        wanted.append(
            sa.exists().where(
                campaign_runs.c.campaign_id == campaigns.c.id,
                campaign_runs.c.status.in_(BY_RUN[search.status]),
            )
        )
    elif search.status:
        wanted.append(campaigns.c.status == search.status)
    if not search.status:
        wanted.append(campaigns.c.status != "archived")
    return wanted
