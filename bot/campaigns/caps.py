"""Frequency caps (频控): how often a follower, and a person across sister accounts, was written to lately.

Counted from deliveries, so that nothing has to be kept in step. What a cap means for one follower decides
``reach.py``. Two runs that plan at once would both find room, so each write asks whether another wrote since
its page was read (``last_writer``), and counts again when one did.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from bot import db
from bot.accounts import Account, Cap
from bot.campaigns.reach import Limit
from bot.db import Session
from bot.sql import unindexed
from bot.tables.accounts import accounts
from bot.tables.campaigns import campaign_runs, campaigns, deliveries
from bot.tables.followers import followers
from bot.tables.jobs import kept

COUNTS = ("planned", "sent", "unknown")  # what certainly never left does not tire anybody
PERSON = "person"
Counted = Mapping[int, Mapping[str, int]]


@dataclass(frozen=True, slots=True)
class Caps:
    """The caps that bind one run. ``sisters``: the accounts of the brand, for the cap of a person."""

    account_id: int
    caps: tuple[Cap, ...] = ()
    person: Cap | None = None
    sisters: tuple[int, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.caps) or self.person is not None

    @property
    def keyed(self) -> tuple[tuple[str, Cap], ...]:
        """Every cap with the key it is counted under; caps of the same days, channel and class share one."""
        found = [(_key(cap), cap) for cap in self.caps]
        return (*found, (PERSON, self.person)) if self.person is not None else tuple(found)

    @property
    def limits(self) -> tuple[Limit, ...]:
        """The same as ``reach.choose`` takes them."""
        return tuple(Limit(key, cap.messages, cap.channel) for key, cap in self.keyed)


def read(session: Session, account: Account, message_class: str, channels: Sequence[str]) -> Caps:
    """The caps that bind a run of this class on these channels."""
    limits = account.limits
    found = tuple(
        cap
        for cap in limits.every_cap
        if cap.message_class in (None, message_class)
        and (cap.channel is None or cap.channel in channels)
    )
    sisters: tuple[int, ...] = ()
    if limits.person_cap is not None and account.brand is not None:
        sisters = tuple(
            session.execute(
                sa.select(accounts.c.id)
                .where(accounts.c.brand == account.brand, accounts.c.archived_at.is_(None))
                .order_by(accounts.c.id)
            ).scalars()
        )
    return Caps(account.id, found, limits.person_cap, sisters)


def recent(session: Session, caps: Caps, first: int, last: int, now: datetime) -> Counted:
    """Of followers with ids from ``first`` to ``last``: messages within each cap's days, by its key."""
    if not caps:
        return {}
    keys = [key for key, _cap in caps.keyed]
    found: dict[int, dict[str, int]] = {
        row[0]: dict(zip(keys, row[1:], strict=True))
        for row in session.execute(_own(caps, first, last, now)).all()
    }
    if caps.person is not None and len(caps.sisters) > 1:
        # who has no UnionID is one person on this account alone: counted above
        for follower_id, count in session.execute(_people(caps, caps.person, first, last, now)):
            found.setdefault(follower_id, {})[PERSON] = count
    return found


def take_turn(session: Session, caps: Caps) -> None:
    """Until this transaction ends, nobody else plans under these caps; on SQLite a writer is alone anyway."""
    statement = db.insert(session, kept).values(key=_turn(caps), value="")
    session.execute(
        statement.on_conflict_do_update(index_elements=["key"], set_={"value": kept.c.value})
    )


def last_writer(session: Session, caps: Caps) -> str:
    """Who planned under these caps last."""
    found = session.execute(sa.select(kept.c.value).where(kept.c.key == _turn(caps))).scalar()
    return str(found or "")


def sign(session: Session, caps: Caps, run_id: int, last: str) -> None:
    """Say that this run plans under these caps now; ``last`` is what ``last_writer`` said.

    The number behind the run counts how often the turn went from one run to another: a page that was read
    before such a change is told by it, however many pieces of either were written since.
    """
    run, _, turns = last.partition(":")
    if run != str(run_id):
        value = f"{run_id}:{int(turns or 0) + 1}"
        session.execute(sa.update(kept).where(kept.c.key == _turn(caps)).values(value=value))


def _turn(caps: Caps) -> str:
    return f"caps:{min(caps.sisters, default=caps.account_id)}"


def _key(cap: Cap) -> str:
    return f"{cap.channel or '*'}/{cap.message_class or '*'}/{cap.days}"


def _own(caps: Caps, first: int, last: int, now: datetime) -> sa.Select[Any]:
    wanted = [cap for _key, cap in caps.keyed]
    longest = max(cap.days for cap in wanted)
    source: sa.FromClause = deliveries
    if any(cap.message_class is not None for cap in wanted):
        # from the followers' few deliveries to their runs, not from every run to its followers
        run_id = unindexed(deliveries.c.run_id)
        source = deliveries.join(campaign_runs, campaign_runs.c.id == run_id).join(
            campaigns, campaigns.c.id == campaign_runs.c.campaign_id
        )
    return (
        sa.select(deliveries.c.follower_id, *(_count(cap, now) for cap in wanted))
        .select_from(source)
        .where(
            deliveries.c.follower_id.between(first, last),
            deliveries.c.account_id == caps.account_id,
            deliveries.c.status.in_(COUNTS),
            deliveries.c.at > now - timedelta(days=longest),
        )
        .group_by(deliveries.c.follower_id)
    )


def _count(cap: Cap, now: datetime) -> sa.ColumnElement[int]:
    counts = [deliveries.c.at > now - timedelta(days=cap.days)]
    if cap.channel is not None:
        counts.append(deliveries.c.channel == cap.channel)
    if cap.message_class is not None:
        counts.append(campaigns.c.message_class == cap.message_class)
    return sa.func.count(sa.case((sa.and_(*counts), 1)))


def _people(caps: Caps, cap: Cap, first: int, last: int, now: datetime) -> sa.Select[Any]:
    sister = followers.alias("sister")
    return (
        sa.select(followers.c.id, sa.func.count())
        .join(
            sister,
            sa.and_(
                sister.c.union_id == followers.c.union_id,
                unindexed(sister.c.account_id).in_(caps.sisters),
            ),
        )
        .join(deliveries, deliveries.c.follower_id == sister.c.id)
        .where(
            followers.c.id.between(first, last),
            # from the page's few followers: an index of an account would read all its followers at each page
            unindexed(followers.c.account_id) == caps.account_id,
            followers.c.union_id.is_not(None),
            deliveries.c.status.in_(COUNTS),
            deliveries.c.at > now - timedelta(days=cap.days),
        )
        .group_by(followers.c.id)
    )
