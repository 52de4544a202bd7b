"""The ledger of mass slots: a counter per follower and Shanghai month, beside the truth on ``deliveries``.

Every change is set-based and in the same transaction as the deliveries it belongs to. ``reserved`` is
taken by a run, ``spent`` was submitted to the platform; ``external`` is the part of ``spent`` that came
from outside our own deliveries. What may be left at all is ``budget.py``.
"""

import json
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from bot import db
from bot.campaigns.budget import PER_FOLLOWER_AND_MONTH
from bot.db import Session
from bot.prepared import Prepared
from bot.sql import among, numbers
from bot.tables.campaigns import deliveries, mass_ledger
from bot.tables.followers import followers
from bot.tables.jobs import kept

RESERVED, SPENT = "reserved", "spent"
MENDED = (
    200  # followers a transaction of a recount: nobody waits longer for the ledger than that takes
)

_taken = mass_ledger.c.reserved + mass_ledger.c.spent


@dataclass(frozen=True, slots=True)
class Difference:
    """A follower whose counter is not what deliveries and external sends say."""

    follower_id: int
    reserved: int
    spent: int
    reserved_should_be: int
    spent_should_be: int


def in_turn(session: Session, account_id: int) -> None:
    """Until this transaction ends, nobody else changes this account's ledger.

    Call it before other writes: two runs that lock the same followers in different orders would
    stop each other on PostgreSQL. On SQLite a writer is alone anyway.
    """
    db.upsert(session, kept, {"key": f"ledger:{account_id}", "value": ""}, ["key"])


def reserve(
    session: Session, account_id: int, follower_ids: Collection[int], month: str
) -> set[int]:
    """Take one slot of ``month`` for each follower that has one: who got it. Everybody else has none.

    One statement for all of them, so that no two runs together take a fifth.
    """
    if not follower_ids:
        return set()
    given = {"ids": json.dumps(sorted(follower_ids)), "account": account_id, "slots_month": month}
    return {row[0] for row in _RESERVE.rows(session, given)}


def _reserve(dialect: str) -> Any:
    chosen = (
        sa.select(
            followers.c.id,
            sa.bindparam("slots_month", type_=sa.Text),
            followers.c.account_id,
            sa.literal_column("1"),
            sa.literal_column("0"),
            sa.literal_column("0"),
        )
        .where(
            followers.c.id.in_(sa.select(numbers(sa.bindparam("ids", type_=sa.Text)))),
            # "+ 0" keeps SQLite from walking the account's whole index for a few hundred ids
            followers.c.account_id + sa.literal_column("0")
            == sa.bindparam("account", type_=sa.BigInteger),
        )
        .order_by(followers.c.id)
    )
    statement = db.insert_of(dialect, mass_ledger).from_select(
        ["follower_id", "month", "account_id", "reserved", "spent", "external"], chosen
    )
    return statement.on_conflict_do_update(
        index_elements=["follower_id", "month"],
        set_={"reserved": mass_ledger.c.reserved + sa.literal_column("1")},
        where=_taken < sa.literal_column(str(PER_FOLLOWER_AND_MONTH)),
    ).returning(mass_ledger.c.follower_id)


_RESERVE = Prepared(_reserve)


def release(session: Session, account_id: int, which: sa.ColumnElement[bool]) -> None:
    """Give back the slots of the deliveries ``which`` (of one run), whether reserved or spent."""
    in_turn(session, account_id)
    _count(session, which, RESERVED, {"reserved": mass_ledger.c.reserved - 1})
    _count(session, which, SPENT, {"spent": mass_ledger.c.spent - 1})
    session.execute(
        sa.update(deliveries).where(which, deliveries.c.slot.is_not(None)).values(slot=None)
    )


def spend(session: Session, account_id: int, which: sa.ColumnElement[bool]) -> None:
    """Turn the reserved slots of the deliveries ``which`` (of one run) into spent ones."""
    in_turn(session, account_id)
    _count(
        session,
        which,
        RESERVED,
        {"reserved": mass_ledger.c.reserved - 1, "spent": mass_ledger.c.spent + 1},
    )
    session.execute(
        sa.update(deliveries).where(which, deliveries.c.slot == RESERVED).values(slot=SPENT)
    )


def _count(
    session: Session,
    which: sa.ColumnElement[bool],
    slot: str,
    values: Mapping[str, sa.ColumnElement[int]],
) -> None:
    charged = sa.select(deliveries.c.follower_id, deliveries.c.month).where(
        which, deliveries.c.slot == slot
    )
    session.execute(
        sa.update(mass_ledger)
        .where(sa.tuple_(mass_ledger.c.follower_id, mass_ledger.c.month).in_(charged))
        .values(**values)
    )


def carry(session: Session, account_id: int, follower_id: int, month: str, spent: int) -> None:
    """A follower who was erased this month is back under a new row: they keep what was charged."""
    if spent > 0:
        in_turn(session, account_id)
        charge(session, account_id, sa.and_(followers.c.id == follower_id), month, spent)


def check(
    session: Session, account_id: int, month: str, only: Collection[int] | None = None
) -> list[Difference]:
    """Recount a month from deliveries and external sends; every follower whose counter differs.

    ``only``: look at these followers alone.
    """
    mine: list[sa.ColumnElement[bool]] = []
    if only is not None:
        mine = [among(deliveries.c.follower_id, only)]
    counted = (
        sa.select(
            deliveries.c.follower_id,
            sa.func.count(sa.case((deliveries.c.slot == RESERVED, 1))).label("reserved"),
            sa.func.count(sa.case((deliveries.c.slot == SPENT, 1))).label("spent"),
        )
        .where(
            deliveries.c.account_id == account_id,
            deliveries.c.month == month,
            deliveries.c.slot.is_not(None),
            *mine,
        )
        .group_by(deliveries.c.follower_id)
        .subquery()
    )
    if only is not None:
        mine = [among(mass_ledger.c.follower_id, only)]
    ledger = (
        sa.select(mass_ledger)
        .where(mass_ledger.c.account_id == account_id, mass_ledger.c.month == month, *mine)
        .subquery()
    )
    should_reserve = sa.func.coalesce(counted.c.reserved, 0)
    should_spend = sa.func.coalesce(counted.c.spent, 0) + ledger.c.external
    wrong = session.execute(
        sa.select(
            ledger.c.follower_id,
            ledger.c.reserved,
            ledger.c.spent,
            should_reserve.label("should_reserve"),
            should_spend.label("should_spend"),
        )
        .select_from(ledger.outerjoin(counted, counted.c.follower_id == ledger.c.follower_id))
        .where(sa.or_(ledger.c.reserved != should_reserve, ledger.c.spent != should_spend))
        .order_by(ledger.c.follower_id)
    )
    found = [Difference(*row) for row in wrong]
    missing = session.execute(
        sa.select(counted)
        .select_from(counted.outerjoin(ledger, ledger.c.follower_id == counted.c.follower_id))
        .where(ledger.c.follower_id.is_(None))
        .order_by(counted.c.follower_id)
    )
    found += [Difference(row.follower_id, 0, 0, row.reserved, row.spent) for row in missing]
    return found


def recount(engine: Engine, account_id: int, month: str) -> int:
    """Set every counter of a month to what deliveries and external sends say; how many were wrong.

    A few hundred followers a transaction, each of them compared again in it: sends go on meanwhile.
    """
    with db.reading(engine) as session:
        wrong = [one.follower_id for one in check(session, account_id, month)]
    mended = 0
    for start in range(0, len(wrong), MENDED):
        with db.writing(engine) as session:
            in_turn(session, account_id)
            still = check(session, account_id, month, wrong[start : start + MENDED])
            _mend(session, account_id, month, still)
        mended += len(still)
    return mended


def _mend(session: Session, account_id: int, month: str, wrong: Sequence[Difference]) -> None:
    db.upsert(
        session,
        mass_ledger,
        [
            {
                "follower_id": one.follower_id,
                "month": month,
                "account_id": account_id,
                "reserved": one.reserved_should_be,
                "spent": one.spent_should_be,
                "external": 0,
            }
            for one in wrong
        ],
        ["follower_id", "month"],
        ["reserved", "spent"],
    )


def histogram(session: Session, account_id: int, month: str) -> dict[int, int]:
    """How many subscribed followers have 0, 1 … 4 slots left in a month."""
    taken = sa.func.coalesce(_taken, 0)
    rows = session.execute(
        sa.select(taken, sa.func.count())
        .select_from(
            followers.outerjoin(
                mass_ledger,
                sa.and_(mass_ledger.c.follower_id == followers.c.id, mass_ledger.c.month == month),
            )
        )
        .where(followers.c.account_id == account_id, followers.c.subscribed)
        .group_by(taken)
    )
    found: Counter[int] = Counter()
    for used, people in rows:
        found[max(0, PER_FOLLOWER_AND_MONTH - int(used))] += int(people)
    return {left: found[left] for left in range(PER_FOLLOWER_AND_MONTH + 1)}


def newest_follower(session: Session, account_id: int) -> int:
    found = session.execute(
        sa.select(sa.func.max(followers.c.id)).where(followers.c.account_id == account_id)
    ).scalar()
    return int(found or 0)


def charge(
    session: Session, account_id: int, who: sa.ColumnElement[bool], month: str, times: int
) -> None:
    """Count ``times`` sends from elsewhere for these followers, beyond the month's allowance if need be."""
    chosen = (
        sa.select(
            followers.c.id,
            sa.literal(month),
            followers.c.account_id,
            sa.literal(0),
            sa.literal(times),
            sa.literal(times),
        )
        .where(followers.c.account_id == account_id, who)
        .order_by(followers.c.id)
    )
    statement = db.insert(session, mass_ledger).from_select(
        ["follower_id", "month", "account_id", "reserved", "spent", "external"], chosen
    )
    session.execute(
        statement.on_conflict_do_update(
            index_elements=["follower_id", "month"],
            set_={
                "spent": mass_ledger.c.spent + times,
                "external": mass_ledger.c.external + times,
            },
        )
    )
