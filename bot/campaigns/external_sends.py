"""Mass sends that were not ours: the opening balance, what an operator states, what nobody explained yet.

A send to all is written down at once and charged to those who were there in short steps (``catch_up``).
"""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from bot import db
from bot.campaigns import ledger
from bot.clock import month_of
from bot.db import Session
from bot.errors import Refused
from bot.sql import among
from bot.tables.accounts import accounts
from bot.tables.campaigns import external_mass_sends
from bot.tables.followers import followers

CHUNK = 1000  # row ids in one IN list
STATED_LATELY = timedelta(days=1)
ROWS = 200  # followers charged a transaction: a push never waits longer than that takes


def opening(
    session: Session,
    account_id: int,
    sent_to_all: int,
    open_ids: Sequence[str] | None,
    now: datetime,
    *,
    by: str,
) -> None:
    """State what was mass-sent this month before the account was connected; mass is allowed from now on.

    ``sent_to_all`` messages count for every follower then present (``catch_up`` charges them), each
    OpenID in ``open_ids`` for one more. Stating the same again changes nothing; a higher number adds the difference.

    Raises:
        Refused: a lower number than before, a repeated list, or OpenIDs we do not know.
    """
    if sent_to_all < 0:
        raise Refused("the number of messages sent to all cannot be below 0")
    ledger.in_turn(session, account_id)
    month = month_of(now)
    earlier = session.execute(
        sa.select(
            sa.func.coalesce(
                sa.func.sum(
                    sa.case(
                        (external_mass_sends.c.audience != "listed", external_mass_sends.c.times)
                    )
                ),
                0,
            ).label("to_all"),
            sa.func.count().label("rows"),
            sa.func.max(external_mass_sends.c.month).label("month"),
            sa.func.count(sa.case((external_mass_sends.c.audience == "listed", 1))).label("lists"),
        ).where(
            external_mass_sends.c.account_id == account_id,
            external_mass_sends.c.source == "opening",
        )
    ).one()
    if earlier.rows and earlier.month != month and not open_ids:
        return  # said once, in the month the account was connected; later months began with us
    if sent_to_all < earlier.to_all:
        raise Refused(
            f"{earlier.to_all} messages to all were stated before; slots once charged are not given back"
        )
    if open_ids and earlier.lists:
        raise Refused("a list of OpenIDs was stated before; state further sends one by one")
    if sent_to_all > earlier.to_all or not earlier.rows:
        _add_external(
            session,
            account_id,
            source="opening",
            audience="all" if sent_to_all else "none",
            times=sent_to_all - earlier.to_all,
            month=month,
            now=now,
            by=by,
        )
    if open_ids:
        _charge_list(session, account_id, open_ids, month)
        _add_external(
            session,
            account_id,
            source="opening",
            audience="listed",
            times=1,
            month=month,
            now=now,
            by=by,
            total=len(open_ids),
        )
    session.execute(
        sa.update(accounts)
        .where(accounts.c.id == account_id, accounts.c.opening_stated_at.is_(None))
        .values(opening_stated_at=now)
    )


def state_external(
    session: Session,
    account_id: int,
    audience: str,
    now: datetime,
    *,
    by: str,
    msg_id: str | None = None,
    at: datetime | None = None,
    members: sa.ColumnElement[bool] | None = None,
    open_ids: Sequence[str] | None = None,
) -> None:
    """Say to whom a mass send made elsewhere went: all, tag (``members``: a clause), listed or none.

    With ``msg_id`` it explains a finish event we could not place; without, it records one more send.
    ``at`` is when it was sent. Explaining the last unknown one unblocks mass.

    Raises:
        Refused: unknown audience, a send that is explained already, or OpenIDs we do not know.
    """
    if audience not in ("all", "tag", "listed", "none"):
        raise Refused(f"'{audience}' is no audience; it went to all, tag, listed or none")
    if (audience == "tag" and members is None) or (audience == "listed" and not open_ids):
        raise Refused("say who is meant: the tag, or the list of OpenIDs")
    ledger.in_turn(session, account_id)
    moment = at or now
    if msg_id is not None:
        row = session.execute(
            sa.select(external_mass_sends).where(
                external_mass_sends.c.account_id == account_id,
                external_mass_sends.c.msg_id == msg_id,
            )
        ).one_or_none()
        if row is None:
            raise Refused(f"no unexplained mass send has the MsgID {msg_id}")
        if row.audience != "unknown":
            raise Refused(f"the mass send {msg_id} is explained already: {row.audience}")
        moment = row.at
        session.execute(sa.delete(external_mass_sends).where(external_mass_sends.c.id == row.id))
    month = month_of(moment)
    if audience == "tag" and members is not None:
        ledger.charge(session, account_id, members, month, 1)
    if open_ids:
        _charge_list(session, account_id, open_ids, month)
    _add_external(
        session,
        account_id,
        source="operator",
        audience=audience,
        times=1,
        month=month,
        now=now,
        by=by,
        msg_id=msg_id,
        at=moment,
        total=len(open_ids) if open_ids else None,
    )


def catch_up(engine: Engine, account_id: int, now: datetime) -> None:
    """Charge this month's sends to all to everybody who was there, a few hundred a transaction.

    Also to those we learnt of later: a sync may find them long after the send was stated. Planning
    calls this first.
    """
    with db.reading(engine) as session:
        more = bool(_not_covered(session, account_id, now))
    while more:
        with db.writing(engine) as session:
            more = charge_some(session, account_id, now)


def catch_up_all(engine: Engine, now: datetime) -> None:
    """``catch_up`` of every account."""
    with db.reading(engine) as session:
        known = session.execute(
            sa.select(external_mass_sends.c.account_id)
            .distinct()
            .where(external_mass_sends.c.audience == "all")
        ).scalars()
        account_ids = list(known)
    for account_id in account_ids:
        catch_up(engine, account_id, now)


def charge_some(session: Session, account_id: int, now: datetime) -> bool:
    """One step of ``catch_up``; whether there is more to do."""
    ledger.in_turn(session, account_id)
    sends = _not_covered(session, account_id, now)
    if not sends:
        return False
    send = sends[0]
    pieces = (
        sa.select(followers.c.id)
        .where(followers.c.account_id == account_id, followers.c.id > send.covered_to)
        .order_by(followers.c.id)
        .limit(ROWS)
    )
    ids = list(session.execute(pieces).scalars())
    ledger.charge(
        session,
        account_id,
        sa.and_(among(followers.c.id, ids), _present(send.at)),
        send.month,
        send.times,
    )
    session.execute(
        sa.update(external_mass_sends)
        .where(external_mass_sends.c.id == send.id)
        .values(covered_to=ids[-1])
    )
    return True


def _not_covered(session: Session, account_id: int, now: datetime) -> list[Any]:
    """Sends to all, of this month or just stated, of which followers behind ``covered_to`` may not be charged yet."""
    beyond = sa.exists().where(
        followers.c.account_id == account_id, followers.c.id > external_mass_sends.c.covered_to
    )
    return list(
        session.execute(
            sa.select(external_mass_sends)
            .where(
                external_mass_sends.c.account_id == account_id,
                external_mass_sends.c.audience == "all",
                external_mass_sends.c.times > 0,
                sa.or_(
                    external_mass_sends.c.month == month_of(now),
                    # stated in the last minutes of its month, or of a month before
                    external_mass_sends.c.stated_at > now - STATED_LATELY,
                ),
                beyond,
            )
            .order_by(external_mass_sends.c.id)
        ).all()
    )


def unexplained(session: Session, account_id: int) -> list[str]:
    """MsgIDs of mass sends from elsewhere that nobody explained yet. Any blocks mass."""
    return list(
        session.execute(
            sa.select(sa.func.coalesce(external_mass_sends.c.msg_id, "?"))
            .where(
                external_mass_sends.c.account_id == account_id,
                external_mass_sends.c.audience == "unknown",
            )
            .order_by(external_mass_sends.c.id)
        ).scalars()
    )


def _present(at: datetime) -> sa.ColumnElement[bool]:
    """Who followed at a moment, whether they left since or came back: they got what was sent to all then."""
    since_before = sa.or_(followers.c.subscribed_at.is_(None), followers.c.subscribed_at <= at)
    return sa.or_(
        sa.and_(followers.c.subscribed, since_before),
        sa.and_(
            followers.c.unsubscribed_at >= at,
            sa.or_(since_before, followers.c.first_seen_at <= at),
        ),
    )


def _charge_list(session: Session, account_id: int, open_ids: Sequence[str], month: str) -> None:
    times = Counter(open_ids)
    known: dict[str, int] = {}
    listed = sorted(times)
    for start in range(0, len(listed), CHUNK):
        rows = session.execute(
            sa.select(followers.c.open_id, followers.c.id).where(
                followers.c.account_id == account_id,
                followers.c.open_id.in_(listed[start : start + CHUNK]),
            )
        )
        known |= {row.open_id: row.id for row in rows}
    if len(known) < len(times):
        raise Refused(
            f"{len(times) - len(known)} of the OpenIDs are not known here; "
            "run `qunfen followers sync` first"
        )
    grouped: dict[int, list[int]] = {}
    for open_id, count in times.items():
        grouped.setdefault(count, []).append(known[open_id])
    for count, ids in grouped.items():
        for start in range(0, len(ids), CHUNK):
            ledger.charge(
                session, account_id, among(followers.c.id, ids[start : start + CHUNK]), month, count
            )


def _add_external(
    session: Session,
    account_id: int,
    *,
    source: str,
    audience: str,
    times: int,
    month: str,
    now: datetime,
    by: str,
    msg_id: str | None = None,
    at: datetime | None = None,
    total: int | None = None,
) -> None:
    session.execute(
        sa.insert(external_mass_sends).values(
            account_id=account_id,
            source=source,
            msg_id=msg_id,
            audience=audience,
            times=times,
            month=month,
            at=at or now,
            total=total,
            covered_to=0,
            stated_by=by,
            stated_at=now,
        )
    )
