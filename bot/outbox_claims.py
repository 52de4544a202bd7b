"""Which outbox rows may be sent now, by whom, and what becomes of those nobody came back for."""

import functools
import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from types import ModuleType
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from bot import db, kept, mass_turns, registry
from bot.content import SHARED
from bot.db import Session, UtcDateTime
from bot.outcomes import REPEAT_FOR, REPEAT_WAIT
from bot.sql import among, among_given, unindexed
from bot.tables.accounts import accounts
from bot.tables.outbox import outbox

# longer than the slowest call (a token, the call, a new token, the call again: 13 s each) and what
# a claimed row may wait for its turn among the threads
LEASE = timedelta(seconds=90)
PREVIEW = "preview"  # has no clientmsgid and takes no slot: never repeated, and nobody's turn
BATCH = "batch"
FIRST_PURPOSES = ("reply", "later", "agent", PREVIEW)  # somebody waits for these: before campaigns
# what sending a row takes
NEEDED = (
    outbox.c.id,
    outbox.c.account_id,
    outbox.c.channel,
    outbox.c.purpose,
    outbox.c.purpose_id,
    outbox.c.follower_id,
    outbox.c.payload,
    outbox.c.attempts,
    outbox.c.expires_at,
    outbox.c.first_try_at,
    outbox.c.unanswered_at,
)
EXPIRE = 2000  # rows a drain: some 50 ms of SQLite's one writer
# said literally, because SQLite knows of a partial index only then; by any other index it would read
# all that waits, a million rows a drain
_WAITS = outbox.c.status == sa.literal_column("'waiting'")
_NO_DELIVERY = outbox.c.purpose != sa.literal_column("'delivery'")
DIED = "no answer: the program ended while sending"


def channels() -> Mapping[str, ModuleType]:
    """Every channel by name, built-in and plug-ins."""
    return registry.members("bot.channels")


def repeatable(channel: ModuleType | None, purpose: str) -> bool:
    """Whether the same call may be made again when no answer came."""
    return bool(getattr(channel, "REPEAT_WITHOUT_ANSWER", False)) and purpose != PREVIEW


def work_waits(
    session: Session, now: datetime, *, but: sa.ColumnElement[bool] | None = None
) -> bool:
    """Whether a drain would find anything but those; only reads, so that an idle drain is in nobody's way."""
    ours = outbox.c.channel.not_in(_names("APART"))
    due = sa.and_(outbox.c.status == "waiting", outbox.c.not_before <= now, _not_stopped(), ours)
    if but is not None:
        due = sa.and_(due, sa.not_(but))
    questions = (due, _abandoned(now), _expired(now), _given_up(now))
    return any(
        session.execute(sa.select(outbox.c.id).where(question).limit(1)).scalar() is not None
        for question in questions
    )


def settle_overdue(session: Session, now: datetime) -> None:
    """Rows without a sender, or past their time, get their outcome. A lost lease counts as no answer.

    1. Claimed, but its call never began: it waits again as if nothing had been.
    2. Not repeatable: unknown for good. Repeatable: the same call again, 60 s after the lease ended.
    3. Of unknown outcome for 20 hours, or past its expiry: unknown for good.
    4. Never called and past its expiry: expired. The first thousands; none of the others is sent.
    """
    session.execute(
        sa.update(outbox)
        .where(_abandoned(now), outbox.c.first_try_at.is_(None))
        .values(status="waiting", lease_until=None)
    )
    died = {
        "lease_until": None,
        "error": DIED,
        "unanswered_at": first_moment(outbox.c.unanswered_at, now),
    }
    again = sa.and_(
        outbox.c.channel.in_(_names("REPEAT_WITHOUT_ANSWER")), outbox.c.purpose != PREVIEW
    )
    session.execute(
        sa.update(outbox).where(_abandoned(now), sa.not_(again)).values(status="unknown", **died)
    )
    for row in session.execute(
        sa.select(outbox.c.id, outbox.c.lease_until).where(_abandoned(now), again)
    ).all():
        repeat_at = row.lease_until + timedelta(seconds=REPEAT_WAIT)
        session.execute(
            sa.update(outbox)
            .where(outbox.c.id == row.id, _abandoned(now))
            .values(status="waiting", not_before=repeat_at, **died)
        )
    session.execute(sa.update(outbox).where(_given_up(now)).values(status="unknown"))
    over = sa.select(outbox.c.id).where(_expired(now), outbox.c.unanswered_at.is_(None))
    session.execute(
        sa.update(outbox)
        .where(outbox.c.id.in_(over.order_by(outbox.c.expires_at).limit(EXPIRE)))
        .values(status="expired")
    )


def claim_many(
    session: Session, now: datetime, limit: int, *, but: sa.ColumnElement[bool] | None = None
) -> list[Any]:
    """Take due rows of channels that take no turns: what somebody waits for first, then the rest.

    ``but`` names rows that are left to wait.
    """
    taken: list[Any] = []
    for first in (True, False):
        if len(taken) < limit:
            given = {"now": now, "lease": now + LEASE, "most": limit - len(taken)}
            names = tuple(_names("SERIAL")), tuple(_names("APART"))
            # what is held back differs from time to time: such a statement is not worth keeping
            build = _claiming if but is None else _claiming.__wrapped__
            statement = build(session.dialect.name, first, *names, but)
            taken += session.execute(statement, given).all()
    return taken


# kept: building one takes longer than sending ten rows
@functools.cache
def _claiming(
    dialect: str,
    first: bool,
    serial: tuple[str, ...],
    apart: tuple[str, ...],
    but: sa.ColumnElement[bool] | None,
) -> Any:
    """With the parameters ``now``, ``lease`` and ``most``."""
    now = sa.bindparam("now", type_=UtcDateTime())
    earlier = outbox.alias("earlier")
    # two messages to one follower must not overtake each other in two drains at once
    in_flight = sa.select(earlier.c.follower_id).where(
        earlier.c.status == "sending", earlier.c.follower_id.is_not(None)
    )
    somebody_waits = outbox.c.purpose.in_(FIRST_PURPOSES)
    # by purpose SQLite finds the few that somebody waits for, by time the first of a campaign's many;
    # with one order for both, one of the two would read all that waits
    due = unindexed(outbox.c.not_before) if first else outbox.c.not_before
    free = sa.and_(
        _WAITS,
        due <= now,
        _not_stopped(),
        sa.or_(outbox.c.channel.not_in(serial), outbox.c.purpose == PREVIEW),
        outbox.c.channel.not_in(apart),
        # read once a statement; a question a row would go through all that is being sent each time
        sa.or_(outbox.c.follower_id.is_(None), outbox.c.follower_id.not_in(in_flight)),
        *([_NO_DELIVERY, somebody_waits] if first else [sa.not_(somebody_waits)]),
        *([] if but is None else [sa.not_(but)]),
    )
    return db.claiming(
        dialect,
        outbox,
        free,
        _claim_values(sa.bindparam("lease", type_=UtcDateTime())),
        order_by=[due, outbox.c.id],
        limit=sa.bindparam("most", type_=sa.Integer),
        columns=NEEDED,
    )


def by_bulk() -> sa.ColumnElement[bool]:
    """Rows of channels that send many at once."""
    return sa.and_(outbox.c.channel.in_(_names("BULK")), outbox.c.purpose != PREVIEW)


def waiting_turns(session: Session, now: datetime) -> list[tuple[int, str]]:
    """Accounts and channels that take turns and have something due."""
    names = _names("SERIAL")
    rows = session.execute(
        sa.select(outbox.c.account_id, outbox.c.channel)
        .distinct()
        .where(
            _waits_for_turn(names),
            unindexed(outbox.c.not_before) <= now,
            outbox.c.channel.in_(names),
            outbox.c.purpose != PREVIEW,
            _not_stopped(),
        )
    )
    return [(row.account_id, row.channel) for row in rows]


def claim_turn(session: Session, account_id: int, channel: str, now: datetime) -> Any | None:
    """Take the one row of a serial channel whose turn it is, or nothing.

    1. Hold the account's calls, so that two drains cannot both find it free.
    2. Nothing while one is being sent.
    3. The first by id goes first; one that waits for its repeat keeps the others waiting. One that was never
       called, because its material is not there yet, is passed until it is due.
    4. Slots of a past month are not spent in this one: expired, or unknown if it was called before.
    5. Not in a month's last 30 minutes, nor beyond 60 calls a minute and 100 a day; ``begin`` counts them.
    """
    calls = mass_turns.calls_from(kept.lock(session, mass_turns.key(account_id)))
    mine = sa.and_(
        outbox.c.account_id == account_id,
        outbox.c.channel == channel,
        outbox.c.purpose != PREVIEW,
    )
    sending = sa.select(outbox.c.id).where(mine, outbox.c.status == "sending").limit(1)
    if session.execute(sending).scalar() is not None:
        return None
    called_or_due = sa.or_(outbox.c.first_try_at.is_not(None), outbox.c.not_before <= now)
    first = (
        sa.select(outbox)
        .where(mine, _waits_for_turn([channel]), _not_stopped(), called_or_due)
        .order_by(unindexed(outbox.c.id))  # else SQLite reads the outbox from its beginning
        .limit(1)
    )
    while (row := session.execute(first).one_or_none()) is not None:
        unanswered = row.unanswered_at is not None
        this = sa.and_(outbox.c.id == row.id, outbox.c.status == "waiting")
        if mass_turns.month_turned(row.payload, now):
            status = "unknown" if unanswered else "expired"
            session.execute(
                sa.update(outbox).where(this).values(status=status, error="month_turned")
            )
            continue
        if row.not_before > now or mass_turns.held(unanswered, now):
            return None
        allowed_at = mass_turns.next_call_at(calls, now)
        if allowed_at > now:
            session.execute(sa.update(outbox).where(this).values(not_before=allowed_at))
            return None
        taken = db.claim(
            session, outbox, this, _claim_values(now + LEASE), order_by=[outbox.c.id], limit=1
        )
        if not taken:
            return None  # cancelled this very moment
        return taken[0]
    return None


def claimed(row: Any) -> sa.ColumnElement[bool]:
    """That a row is still in the claim it was taken with: every claim counts one attempt more."""
    return sa.and_(
        outbox.c.id == row.id, outbox.c.status == "sending", outbox.c.attempts == row.attempts
    )


def begin(engine: Engine, row: Any, now: datetime) -> Any | None:
    """The claimed row as it is when its call begins, with a new lease; None when the claim was lost meanwhile.

    None too when the account was stopped since: then the row waits again. ``first_try_at`` is written here: a
    row without it was claimed, but never called. A call of a channel that takes turns is counted for its account.
    """
    with db.writing(engine) as session:
        takes_turns = row.channel in _names("SERIAL") and row.purpose != PREVIEW
        # held before the row, as in ``claim_turn``
        key = mass_turns.key(row.account_id)
        calls = mass_turns.calls_from(kept.lock(session, key)) if takes_turns else []
        begun = session.execute(
            sa.update(outbox)
            .where(claimed(row), outbox.c.lease_until > now, _not_stopped())
            .values(lease_until=now + LEASE, first_try_at=first_moment(outbox.c.first_try_at, now))
            .returning(*outbox.c)
        ).one_or_none()
        if begun is None:
            give_back_stopped(session, [row])
        elif takes_turns:
            told = mass_turns.calls_to([*calls, now], now)
            kept.write(session, key, told, now + mass_turns.KEEP_CALLS)
        return begun


@functools.cache
def _begin_many() -> Any:
    now = sa.bindparam("now", type_=UtcDateTime())
    return (
        sa.update(outbox)
        .where(
            among_given(outbox.c.id),
            outbox.c.status == "sending",
            outbox.c.attempts == sa.bindparam("taken"),
            outbox.c.lease_until > now,
            _not_stopped(),
        )
        .values(
            lease_until=sa.bindparam("lease", type_=UtcDateTime()),
            first_try_at=sa.func.coalesce(outbox.c.first_try_at, now),
        )
        .returning(outbox.c.id)
    )


def begin_many(session: Session, rows: Sequence[Any], now: datetime) -> frozenset[int]:
    """``begin`` for many claimed rows at once: those whose calls may begin now.

    Left out are rows whose claim was lost, and those of an account that was stopped meanwhile.
    """
    begun: set[int] = set()
    for attempts in {row.attempts for row in rows}:
        ids = sorted(row.id for row in rows if row.attempts == attempts)
        given = {"ids": json.dumps(ids), "taken": attempts, "now": now, "lease": now + LEASE}
        begun.update(session.execute(_begin_many(), given).scalars().all())
    if len(begun) < len(rows):
        give_back_stopped(session, [row for row in rows if row.id not in begun])
    return frozenset(begun)


def give_back_stopped(session: Session, rows: Sequence[Any]) -> None:
    """Claimed rows of accounts that were stopped before their calls began wait again; the others stay as they are."""
    accounts_of = {row.account_id for row in rows}
    stopped = set(
        session.execute(
            sa.select(accounts.c.id).where(
                accounts.c.id.in_(accounts_of), accounts.c.stopped_at.is_not(None)
            )
        ).scalars()
    )
    if stopped:
        give_back(session, [row for row in rows if row.account_id in stopped])


def give_back(session: Session, rows: Sequence[Any]) -> None:
    """Claimed rows whose calls did not begin wait again as if they had not been claimed."""
    for attempts in {row.attempts for row in rows}:
        ids = [row.id for row in rows if row.attempts == attempts]
        session.execute(
            sa.update(outbox)
            .where(
                among(outbox.c.id, ids),
                outbox.c.status == "sending",
                outbox.c.attempts == attempts,
            )
            .values(status="waiting", attempts=outbox.c.attempts - 1, lease_until=None)
        )


def first_moment(column: sa.Column[Any], now: datetime) -> sa.ColumnElement[Any]:
    """What the column says already, else ``now``."""
    return sa.func.coalesce(column, sa.literal(now, UtcDateTime()))


def _claim_values(lease_until: Any) -> dict[str, Any]:
    return {
        "status": "sending",
        "attempts": outbox.c.attempts + 1,
        "lease_until": lease_until,
    }


def _names(trait: str) -> list[str]:
    return [name for name, channel in channels().items() if getattr(channel, trait, False)]


def _not_stopped() -> sa.ColumnElement[bool]:
    stopped = sa.select(accounts.c.id).where(accounts.c.stopped_at.is_not(None))
    return outbox.c.account_id.not_in(stopped)


def _waits_for_turn(channels: Sequence[str]) -> sa.ColumnElement[bool]:
    """Waiting rows of channels that take turns. Calls for whole batches are no delivery, and few among many."""
    if set(channels) - set(SHARED):
        return _WAITS
    return sa.and_(_WAITS, _NO_DELIVERY, outbox.c.purpose.in_((BATCH, *FIRST_PURPOSES)))


def _abandoned(now: datetime) -> sa.ColumnElement[bool]:
    return sa.and_(outbox.c.status == "sending", outbox.c.lease_until <= now)


def _expired(now: datetime) -> sa.ColumnElement[bool]:
    return sa.and_(_WAITS, outbox.c.expires_at <= now)


def _given_up(now: datetime) -> sa.ColumnElement[bool]:
    return sa.and_(
        _WAITS,
        outbox.c.unanswered_at.is_not(None),
        outbox.c.unanswered_at <= now,  # always so; it leads SQLite to the index
        sa.or_(outbox.c.first_try_at <= now - REPEAT_FOR, outbox.c.expires_at <= now),
    )
