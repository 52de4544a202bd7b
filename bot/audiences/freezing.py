"""Freezing a segment (冻结): whoever is in it now becomes a fixed list, until it is unfrozen.

The list selects instead of the tree: who would match later does not come in, who no longer matches stays in. Who
unfollows gets nothing, as from any segment, and is in again on coming back; who is erased leaves the list for good.
Lists are written and taken away a little at a time, so that a push never waits for a large one; one is in force
only when it is whole.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from bot import db
from bot.audiences import catalogue, index
from bot.audiences.segments import Frozen
from bot.db import Session
from bot.errors import Refused
from bot.sql import among
from bot.tables.audiences import frozen_lists, frozen_people
from bot.tables.followers import followers

PIECE = 500  # people a transaction
LEFT_BEHIND = timedelta(hours=1)  # a list that is not whole by then never will be: its process died


def freeze(engine: Engine, account_id: int, segment_id: int, *, by: str, now: datetime) -> Frozen:
    """Make a list of whoever the segment selects at this moment, and let it select from then on.

    Raises:
        Refused: there is no such segment, it is frozen already, or what it names is gone.
        Invalid: its tree does not parse any more.
    """
    with db.reading(engine) as session:
        line = catalogue.find(session, account_id, segment_id)
        if line is None or line.archived_at is not None:
            raise Refused("there is no such segment")
        if line.frozen is not None:
            raise Refused(f"segment '{line.name}' is frozen already")
        people = list(index.people(session, account_id, line.definition, now, fresh=True))
    with db.writing(engine) as session:
        list_id = _begin(session, account_id, segment_id, by, now)
    size = 0
    for piece in _pieces(people):
        with db.writing(engine) as session:
            size += _put(session, account_id, list_id, piece)
    with db.writing(engine) as session:
        done = _bring_into_force(session, account_id, segment_id, list_id, size)
    if not done:
        _take_away(engine, account_id, list_id)
        raise Refused(f"segment '{line.name}' is frozen already")
    return Frozen(list_id, now, by, size)


def unfreeze(engine: Engine, account_id: int, segment_id: int) -> Frozen:
    """Let the tree select again, and take the list away; returns what it was.

    Raises:
        Refused: the segment is not frozen.
    """
    with db.writing(engine) as session:
        row = session.execute(
            sa.update(frozen_lists)
            .where(
                frozen_lists.c.account_id == account_id,
                frozen_lists.c.segment_id == segment_id,
                frozen_lists.c.in_force,
            )
            .values(in_force=False)
            .returning(frozen_lists)
        ).one_or_none()
    if row is None:
        raise Refused("the segment is not frozen")
    _take_away(engine, account_id, row.id)
    return Frozen(row.id, row.frozen_at, row.frozen_by, row.size)


def prune(session: Session, now: datetime, limit: int) -> int:
    """Take away what an interrupted step left: at most ``limit`` people of a list; how many went."""
    found = session.execute(
        sa.select(frozen_lists.c.id, frozen_lists.c.account_id)
        .where(sa.not_(frozen_lists.c.in_force), frozen_lists.c.frozen_at < now - LEFT_BEHIND)
        .order_by(frozen_lists.c.id)
        .limit(1)
    ).one_or_none()
    return 0 if found is None else _drop(session, found.account_id, found.id, limit)


def _begin(session: Session, account_id: int, segment_id: int, by: str, now: datetime) -> int:
    values = {
        "account_id": account_id,
        "segment_id": segment_id,
        "frozen_at": now,
        "frozen_by": by,
        "size": 0,
        "in_force": False,
    }
    made = sa.insert(frozen_lists).values(values).returning(frozen_lists.c.id)
    return int(session.execute(made).scalar_one())


def _put(session: Session, account_id: int, list_id: int, ids: Sequence[int]) -> int:
    chosen = sa.select(sa.literal(list_id), followers.c.id, followers.c.account_id).where(
        among(followers.c.id, ids),
        followers.c.account_id + 0 == account_id,
        followers.c.erased_at.is_(None),  # since they were counted
    )
    columns = ["list_id", "follower_id", "account_id"]
    statement = sa.insert(frozen_people).from_select(columns, chosen)
    return len(session.execute(statement.returning(frozen_people.c.follower_id)).all())


def _bring_into_force(
    session: Session, account_id: int, segment_id: int, list_id: int, size: int
) -> bool:
    """False when another list was quicker: its row is locked until it is there to be seen."""
    other = frozen_lists.alias()
    taken = sa.exists().where(other.c.segment_id == segment_id, other.c.in_force)
    try:
        with session.begin_nested():
            done = session.execute(
                sa.update(frozen_lists)
                .where(
                    frozen_lists.c.id == list_id,
                    frozen_lists.c.account_id == account_id,
                    sa.not_(taken),
                )
                .values(in_force=True, size=size)
                .returning(frozen_lists.c.id)
            ).scalar()
    except sa.exc.IntegrityError:  # both asked before either had committed
        return False
    return done is not None


def _take_away(engine: Engine, account_id: int, list_id: int) -> None:
    gone = PIECE
    while gone == PIECE:
        with db.writing(engine) as session:
            gone = _drop(session, account_id, list_id, PIECE)


def _drop(session: Session, account_id: int, list_id: int, limit: int) -> int:
    """Up to ``limit`` people of a list, and with the last of them the list."""
    mine = sa.and_(frozen_people.c.list_id == list_id, frozen_people.c.account_id == account_id)
    some = (
        sa.select(frozen_people.c.follower_id)
        .where(mine)
        .order_by(frozen_people.c.follower_id)
        .limit(limit)
    )
    gone = session.execute(
        sa.delete(frozen_people)
        .where(mine, frozen_people.c.follower_id.in_(some.scalar_subquery()))
        .returning(frozen_people.c.follower_id)
    ).all()
    if len(gone) < limit:
        session.execute(
            sa.delete(frozen_lists).where(
                frozen_lists.c.id == list_id, frozen_lists.c.account_id == account_id
            )
        )
    return len(gone)


def _pieces(ids: Sequence[int]) -> Iterator[Sequence[int]]:
    for begin in range(0, len(ids), PIECE):
        yield ids[begin : begin + PIECE]
