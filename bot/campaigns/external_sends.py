"""Mass sends that were not ours: the opening balance, what an operator states, what nobody explained yet.

Each is written down at once, with its people where they were named, and charged in short steps (``catch_up``).
"""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import sqlalchemy as sa
from pyroaring import BitMap
from sqlalchemy.engine import Engine

from bot import db
from bot.audiences import catalogue, segments
from bot.campaigns import ledger
from bot.clock import month_of
from bot.db import Session
from bot.errors import Invalid, Refused
from bot.one_by_one import one_by_one
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
    before = _stated_before(session, account_id)
    if before.month not in (None, month) and not open_ids:
        return  # said once, in the month the account was connected; later months began with us
    if sent_to_all < before.to_all:
        raise Refused(
            f"{before.to_all} messages to all were stated before; slots once charged are not given back"
        )
    if open_ids and before.lists:
        raise Refused("a list of OpenIDs was stated before; state further sends one by one")
    add = partial(_add_external, session, account_id, source="opening", month=month, now=now, by=by)
    if sent_to_all > before.to_all or before.month is None:
        add(audience="all" if sent_to_all else "none", times=sent_to_all - before.to_all)
    for times, people in _by_times(session, account_id, open_ids or ()).items():
        add(audience="listed", times=times, people=people)
    session.execute(
        sa.update(accounts)
        .where(accounts.c.id == account_id, accounts.c.opening_stated_at.is_(None))
        .values(opening_stated_at=now)
    )


def _stated_before(session: Session, account_id: int) -> Any:
    """Of earlier opening balances: messages ``to_all``, ``lists``, and the last ``month`` (None: there was none)."""
    listed = external_mass_sends.c.audience == "listed"
    to_all = sa.func.sum(sa.case((sa.not_(listed), external_mass_sends.c.times)))
    return session.execute(
        sa.select(
            sa.func.coalesce(to_all, 0).label("to_all"),
            sa.func.max(external_mass_sends.c.month).label("month"),
            sa.func.count(sa.case((listed, 1))).label("lists"),
        ).where(
            external_mass_sends.c.account_id == account_id,
            external_mass_sends.c.source == "opening",
        )
    ).one()


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
    said: str | None = None,
) -> None:
    """Say to whom a mass send made elsewhere went: all, tag (``members``: a clause), listed or none.

    With ``msg_id`` it explains a finish event we could not place; without, it records one more send.
    ``at`` is when it was sent, ``said`` the name of the tag or segment. Explaining the last unknown one
    unblocks mass; ``catch_up`` charges it.

    Raises:
        Refused: unknown audience, a send that is explained already or may be ours, or OpenIDs we do not know.
    """
    if audience not in ("all", "tag", "listed", "none"):
        raise Refused(f"'{audience}' is no audience; it went to all, tag, listed or none")
    if (audience == "tag" and members is None) or (audience == "listed" and not open_ids):
        raise Refused("say who is meant: the tag, or the list of OpenIDs")
    ledger.in_turn(session, account_id)
    moment = at or now
    if moment > now:
        raise Refused("a send that was made lies in the past")
    total, sent = None, None
    if msg_id is not None:
        row = session.execute(
            sa.select(external_mass_sends).where(
                external_mass_sends.c.account_id == account_id,
                external_mass_sends.c.msg_id == msg_id,
            )
        ).one_or_none()
        if row is None:
            raise Refused(f"no unexplained mass send has the MsgID {msg_id}")
        if row.audience == "unplaced":
            raise Refused(f"the mass send {msg_id} may still be one of ours: ask again in a while")
        if row.audience != "unknown":
            raise Refused(f"the mass send {msg_id} is explained already: {row.audience}")
        moment, total, sent = row.at, row.total, row.sent
        session.execute(sa.delete(external_mass_sends).where(external_mass_sends.c.id == row.id))
    given: dict[int, BitMap | None] = {1: None}
    if audience == "tag" and members is not None:
        given = {1: _members(session, account_id, members)}
    if audience == "listed" and open_ids:
        given = dict(_by_times(session, account_id, open_ids))
    for number, (times, people) in enumerate(given.items()):
        _add_external(
            session,
            account_id,
            source="operator",
            audience=audience,
            times=times,
            month=month_of(moment),
            now=now,
            by=by,
            # a list with repeated OpenIDs is several rows; the event's number stands on the first
            msg_id=msg_id if number == 0 else None,
            at=moment,
            people=people,
            total=total,
            sent=sent,
            said=said,
        )


def members(
    session: Session, account_id: int, kind: str, name: str, now: datetime, place: str = "name"
) -> sa.ColumnElement[bool]:
    """Who is in a ``tag`` or ``segment``, for ``state_external``.

    Raises:
        Invalid: there is none of this name; charging nobody in silence would unblock mass.
    """
    where = {"tag": {"has": name}} if kind == "tag" else {"in_segment": {"name": name}}
    for _place, problem in catalogue.unknown_names(session, account_id, where):
        raise Invalid(place, problem)
    return segments.clause(session, account_id, where, now)


def catch_up(engine: Engine, account_id: int, now: datetime) -> None:
    """Charge sends from elsewhere to whom they went, a few hundred a transaction.

    This month's sends to all also to those we learnt of later: a sync may find them long after the send was
    stated. Planning calls this first.
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
            .where(sa.or_(external_mass_sends.c.audience == "all", _NAMED_AND_OPEN))
        ).scalars()
        account_ids = list(known)
    with one_by_one() as one:
        for account_id in account_ids:
            with one(account=account_id):
                catch_up(engine, account_id, now)


def charge_some(session: Session, account_id: int, now: datetime) -> bool:
    """One step of ``catch_up``; whether there is more to do."""
    ledger.in_turn(session, account_id)
    sends = _not_covered(session, account_id, now)
    if not sends:
        return False
    send = sends[0]
    if send.people is not None:
        return _charge_named(session, account_id, send)
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
        sa.and_(among(followers.c.id, ids), present(send.at)),
        send.month,
        send.times,
    )
    session.execute(
        sa.update(external_mass_sends)
        .where(external_mass_sends.c.id == send.id)
        .values(covered_to=ids[-1])
    )
    return True


def _charge_named(session: Session, account_id: int, send: Any) -> bool:
    """The next few hundred of a send whose people are known one by one."""
    people = BitMap.deserialize(send.people)
    begin = people.rank(send.covered_to)
    ids = list(people[begin : begin + ROWS])
    ledger.charge(session, account_id, among(followers.c.id, ids), send.month, send.times)
    session.execute(
        sa.update(external_mass_sends)
        .where(external_mass_sends.c.id == send.id)
        .values(covered_to=ids[-1] if begin + ROWS < len(people) else None)
    )
    return True


# people were named and not all are charged; covered_to is null once they are
_NAMED_AND_OPEN = sa.and_(
    external_mass_sends.c.people.is_not(None), external_mass_sends.c.covered_to.is_not(None)
)


def _not_covered(session: Session, account_id: int, now: datetime) -> list[Any]:
    """Sends of which followers behind ``covered_to`` may not be charged yet; to all: of this month, or just stated."""
    beyond = sa.exists().where(
        followers.c.account_id == account_id, followers.c.id > external_mass_sends.c.covered_to
    )
    return list(
        session.execute(
            sa.select(external_mass_sends)
            .where(
                external_mass_sends.c.account_id == account_id,
                sa.or_(
                    sa.and_(
                        external_mass_sends.c.audience == "all",
                        external_mass_sends.c.times > 0,
                        sa.or_(
                            external_mass_sends.c.month == month_of(now),
                            # stated in the last minutes of its month, or of a month before
                            external_mass_sends.c.stated_at > now - STATED_LATELY,
                        ),
                        beyond,
                    ),
                    _NAMED_AND_OPEN,
                ),
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


def present(at: datetime) -> sa.ColumnElement[bool]:
    """Who followed at a moment, whether they left since or came back: they got what was sent to all then."""
    since_before = sa.or_(followers.c.subscribed_at.is_(None), followers.c.subscribed_at <= at)
    return sa.or_(
        sa.and_(followers.c.subscribed, since_before),
        sa.and_(
            followers.c.unsubscribed_at >= at,
            sa.or_(since_before, followers.c.first_seen_at <= at),
        ),
    )


def _members(session: Session, account_id: int, members: sa.ColumnElement[bool]) -> BitMap:
    return BitMap(
        session.execute(
            sa.select(followers.c.id).where(followers.c.account_id == account_id, members)
        ).scalars()
    )


def _by_times(session: Session, account_id: int, open_ids: Sequence[str]) -> dict[int, BitMap]:
    """How often each OpenID is listed -> the rows of those who are.

    Raises:
        Refused: OpenIDs we do not know.
    """
    times = Counter(open_ids)
    found: dict[int, BitMap] = {}
    known, listed = 0, sorted(times)
    for start in range(0, len(listed), CHUNK):
        rows = session.execute(
            sa.select(followers.c.open_id, followers.c.id).where(
                followers.c.account_id == account_id,
                followers.c.open_id.in_(listed[start : start + CHUNK]),
            )
        )
        for open_id, follower_id in rows:
            found.setdefault(times[open_id], BitMap()).add(follower_id)
            known += 1
    if known < len(times):
        raise Refused(
            f"{len(times) - known} of the OpenIDs are not known here; "
            "run `qunfen followers sync` first"
        )
    return dict(sorted(found.items()))


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
    people: BitMap | None = None,
    total: int | None = None,
    sent: int | None = None,
    said: str | None = None,
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
            total=len(people) if total is None and people is not None else total,
            sent=sent,
            people=people.serialize() if people else None,
            said=said,
            covered_to=0,
            stated_by=by,
            stated_at=now,
        )
    )
