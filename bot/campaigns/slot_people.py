"""Who has how many slots of a month left, and what took the others: a list to search, page by page."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from pyroaring import BitMap

from bot.campaigns import slot_story
from bot.campaigns.budget import PER_FOLLOWER_AND_MONTH
from bot.db import Session
from bot.sql import among
from bot.tables.campaigns import campaign_runs, campaigns, deliveries, mass_ledger
from bot.tables.followers import followers
from rules.text import fold_words

PAGE = 1000  # people a statement of ``walk``


@dataclass(frozen=True, slots=True)
class Person:
    """A follower with this month's counters, and what took them: (name, campaign or None)."""

    id: int
    open_id: str
    remark: str | None
    left: int
    reserved: int
    spent: int
    external: int
    took: Sequence[tuple[str, int | None]]


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which people are listed: with so many slots ``left``, found by ``query``, charged by ``campaign_id``."""

    left: int | None = None
    query: str = ""
    campaign_id: int | None = None


def people(
    session: Session,
    account_id: int,
    month: str,
    wanted: Wanted,
    *,
    after: int = 0,
    limit: int = 30,
) -> list[Person]:
    """Subscribed followers by row number, beginning behind ``after``."""
    used = sa.func.coalesce(mass_ledger.c.reserved + mass_ledger.c.spent, 0)
    asked = (
        sa.select(
            followers.c.id,
            followers.c.open_id,
            followers.c.remark,
            sa.func.coalesce(mass_ledger.c.reserved, 0).label("reserved"),
            sa.func.coalesce(mass_ledger.c.spent, 0).label("spent"),
            sa.func.coalesce(mass_ledger.c.external, 0).label("external"),
            used.label("used"),
        )
        .select_from(_with_ledger(month))
        .where(*_asked(account_id, month, wanted), followers.c.id > after)
        .order_by(followers.c.id)
        .limit(limit)
    )
    rows = session.execute(asked).all()
    took = _took(session, account_id, month, [row.id for row in rows])
    return [
        Person(
            row.id,
            row.open_id,
            row.remark,
            max(0, PER_FOLLOWER_AND_MONTH - row.used),
            row.reserved,
            row.spent,
            row.external,
            took.get(row.id, ()),
        )
        for row in rows
    ]


def count(session: Session, account_id: int, month: str, wanted: Wanted) -> int:
    """How many ``people`` lists in all."""
    return int(
        session.execute(
            sa.select(sa.func.count())
            .select_from(_with_ledger(month))
            .where(*_asked(account_id, month, wanted))
        ).scalar_one()
    )


def walk(session: Session, account_id: int, month: str, wanted: Wanted) -> Iterator[Person]:
    """All of ``people``, a page at a time."""
    after = 0
    while page := people(session, account_id, month, wanted, after=after, limit=PAGE):
        yield from page
        after = page[-1].id


def charging(session: Session, account_id: int, month: str) -> list[tuple[int, str]]:
    """Campaigns that took slots of a month, newest first: what a list may be narrowed to."""
    rows = session.execute(
        sa.select(campaigns.c.id, campaigns.c.name)
        .where(
            campaigns.c.id.in_(
                sa.select(campaign_runs.c.campaign_id).where(
                    *slot_story.of_month(account_id, month)
                )
            )
        )
        .order_by(campaigns.c.id.desc())
    )
    return [(row.id, row.name) for row in rows]


def _with_ledger(month: str) -> sa.FromClause:
    return followers.outerjoin(
        mass_ledger,
        sa.and_(mass_ledger.c.follower_id == followers.c.id, mass_ledger.c.month == month),
    )


def _asked(account_id: int, month: str, wanted: Wanted) -> list[sa.ColumnElement[bool]]:
    used = sa.func.coalesce(mass_ledger.c.reserved + mass_ledger.c.spent, 0)
    tests: list[sa.ColumnElement[bool]] = [
        followers.c.account_id == account_id,
        followers.c.subscribed.is_(sa.true()),
    ]
    if wanted.left == 0:
        tests.append(used >= PER_FOLLOWER_AND_MONTH)
    elif wanted.left is not None:
        tests.append(used == PER_FOLLOWER_AND_MONTH - wanted.left)
    if wanted.query:
        key = fold_words(wanted.query)
        tests.append(
            sa.or_(
                followers.c.open_id == wanted.query,
                followers.c.remark_search.contains(key, autoescape=True),
            )
        )
    if wanted.campaign_id is not None:
        charged = (
            sa.select(deliveries.c.follower_id)
            .join(campaign_runs, campaign_runs.c.id == deliveries.c.run_id)
            .where(
                campaign_runs.c.campaign_id == wanted.campaign_id,
                campaign_runs.c.account_id == account_id,
                deliveries.c.month == month,
                deliveries.c.slot.is_not(None),
            )
        )
        tests.append(followers.c.id.in_(charged))
    return tests


def _took(
    session: Session, account_id: int, month: str, ids: Sequence[int]
) -> Mapping[int, Sequence[tuple[str, int | None]]]:
    """What took slots of these few followers, in order of time."""
    if not ids:
        return {}
    found: dict[int, list[tuple[datetime, str, int | None]]] = {}
    ours = session.execute(
        sa.select(
            deliveries.c.follower_id,
            campaign_runs.c.due_at,
            campaigns.c.name,
            campaigns.c.id,
        )
        .join(campaign_runs, campaign_runs.c.id == deliveries.c.run_id)
        .join(campaigns, campaigns.c.id == campaign_runs.c.campaign_id)
        .where(
            among(deliveries.c.follower_id, ids),
            deliveries.c.account_id == account_id,
            deliveries.c.month == month,
            deliveries.c.slot.is_not(None),
        )
    )
    for follower_id, at, name, campaign_id in ours:
        found.setdefault(follower_id, []).append((at, name, campaign_id))
    shown = BitMap(ids)
    for row in slot_story.external(session, account_id, month):
        if row.month != month or row.audience not in ("all", "tag", "listed") or not row.times:
            continue
        for follower_id in slot_story.charged(session, account_id, row, shown):
            found.setdefault(follower_id, []).append((row.at, row.said or "", None))
    return {
        follower_id: [(name, campaign_id) for _at, name, campaign_id in sorted(listed, key=_moment)]
        for follower_id, listed in found.items()
    }


def _moment(entry: tuple[datetime, str, int | None]) -> datetime:
    return entry[0]


def open_ids(session: Session, account_id: int, ids: Sequence[int]) -> Mapping[int, str]:
    """The OpenIDs of these followers."""
    if not ids:
        return {}
    rows = session.execute(
        sa.select(followers.c.id, followers.c.open_id).where(
            followers.c.account_id == account_id, among(followers.c.id, ids)
        )
    )
    return {row.id: row.open_id for row in rows}
