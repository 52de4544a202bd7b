"""Merging one tag into another: the people, and every place that names it.

It copies first and puts away last, so that at no moment somebody is missing from a segment. Many
people go in pieces by follower id, so that it may be interrupted and never keeps a push waiting.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from bot import jobs, mentions
from bot.db import Session, insert, reading, writing
from bot.errors import Refused
from bot.mentions import Mentions
from bot.sql import among
from bot.tables.followers import follower_tags, tags
from bot.tag_families import MERGE_TAGS, Tag, by_id, count, get, merging

AT_ONCE = 5000  # people above which a merge is a job
PIECE = 500  # people a transaction


@dataclass(frozen=True, slots=True)
class Merge:
    """What merging would do. ``people`` get ``into`` who have ``from``; ``both`` of them have it already."""

    source: Tag
    into: Tag
    people: int
    both: int
    mentions: Mentions


def examine(session: Session, account_id: int, source: str, into: str, now: datetime) -> Merge:
    """What merging ``source`` into ``into`` would do.

    Raises:
        Refused: they are one tag, one of them does not exist or was put away, or is being merged.
    """
    if source == into:
        raise Refused("a tag cannot be merged with itself")
    old, new = get(session, account_id, source), get(session, account_id, into)
    if {old.id, new.id} & merging(session, account_id):
        raise Refused("one of the two tags is being merged just now")
    has, other = follower_tags.alias("has"), follower_tags.alias("other")
    people, both = session.execute(
        sa.select(sa.func.count(), sa.func.count(other.c.follower_id))
        .select_from(
            has.outerjoin(
                other,
                sa.and_(other.c.follower_id == has.c.follower_id, other.c.tag_id == new.id),
            )
        )
        .where(has.c.tag_id == old.id)
    ).one()
    return Merge(old, new, people, both, mentions.of_tag(session, account_id, old.name))


def merge(
    session: Session, account_id: int, source: str, into: str, *, by: str, now: datetime
) -> tuple[Merge, int | None]:
    """Merge a tag into another at once, or by a job when more than AT_ONCE people have it: then the job's id.

    Raises:
        Refused: as ``examine``.
    """
    found = examine(session, account_id, source, into, now)
    arguments = {"from": found.source.id, "into": found.into.id, "by": by, "after": 0, "done": 0}
    if found.people > AT_ONCE:
        arguments["total"] = found.people
        job_id = jobs.enqueue(session, MERGE_TAGS, arguments, now=now, account_id=account_id)
        return found, job_id
    _copy(session, account_id, found.source.id, found.into.id)
    _finish(session, account_id, found.source.id, found.into.id, by, now)
    session.execute(sa.delete(follower_tags).where(follower_tags.c.tag_id == found.source.id))
    return found, None


def merge_piece(
    engine: sa.Engine, account_id: int, job_id: int, arguments: Mapping[str, Any], now: datetime
) -> dict[str, Any] | None:
    """One step of a merge by job: the arguments of the next step, None when it is done.

    1. Copy the source's people to the other tag, a piece at a time by follower id.
    2. Copy who came meanwhile, rename what names the source, and archive it, in one transaction.
    3. Take the source off its people, a piece at a time.
    """
    source, into = int(arguments["from"]), int(arguments["into"])
    if arguments.get("copied"):
        with writing(engine) as session:
            more = _take_off(session, source)
        return dict(arguments) if more else None
    with reading(engine) as session:
        ids = list(
            session.execute(
                sa.select(follower_tags.c.follower_id)
                .where(
                    follower_tags.c.tag_id == source,
                    follower_tags.c.follower_id > int(arguments["after"]),
                )
                .order_by(follower_tags.c.follower_id)
                .limit(PIECE)
            ).scalars()
        )
    with writing(engine) as session:
        if not ids:
            _copy(session, account_id, source, into, missing_only=True)
            _finish(session, account_id, source, into, str(arguments["by"]), now)
            return {**arguments, "copied": True}
        _copy(session, account_id, source, into, ids)
        done = int(arguments["done"]) + len(ids)
        jobs.progress(session, job_id, done, max(int(arguments["total"]), done))
    return {**arguments, "after": ids[-1], "done": done}


def _copy(
    session: Session,
    account_id: int,
    source: int,
    into: int,
    ids: Sequence[int] | None = None,
    *,
    missing_only: bool = False,
) -> None:
    """The earlier of the two tells when and by what somebody got the tag; the longer-lived how long they keep it."""
    columns = (
        "follower_id",
        "tag_id",
        "account_id",
        "origin",
        "caused_by",
        "added_at",
        "expires_at",
    )
    has = follower_tags.alias("has")
    chosen = sa.select(
        has.c.follower_id,
        sa.literal(into),
        has.c.account_id,
        has.c.origin,
        has.c.caused_by,
        has.c.added_at,
        has.c.expires_at,
    ).where(has.c.tag_id == source, has.c.account_id == account_id)
    if ids is not None:
        chosen = chosen.where(among(has.c.follower_id, ids))
    if missing_only:
        have = follower_tags.alias("have")
        chosen = chosen.where(
            ~sa.exists(
                sa.select(sa.literal(1)).where(
                    have.c.tag_id == into, have.c.follower_id == has.c.follower_id
                )
            )
        )
    statement = insert(session, follower_tags).from_select(list(columns), chosen)
    new, old = statement.excluded, follower_tags.c
    earlier = new.added_at < old.added_at
    forever = sa.or_(new.expires_at.is_(None), old.expires_at.is_(None))
    later = sa.case((new.expires_at > old.expires_at, new.expires_at), else_=old.expires_at)
    session.execute(
        statement.on_conflict_do_update(
            index_elements=["follower_id", "tag_id"],
            set_={
                "origin": sa.case((earlier, new.origin), else_=old.origin),
                "caused_by": sa.case((earlier, new.caused_by), else_=old.caused_by),
                "added_at": sa.case((earlier, new.added_at), else_=old.added_at),
                "expires_at": sa.case((forever, sa.null()), else_=later),
            },
        )
    )


def _finish(
    session: Session, account_id: int, source: int, into: int, by: str, now: datetime
) -> None:
    old, new = by_id(session, account_id, source), by_id(session, account_id, into)
    assert old is not None
    assert new is not None
    mentions.replace(session, account_id, "tag", old.name, new.name)
    mentions.replace_in_force(session, account_id, "tag", old.name, new.name, by=by, now=now)
    session.execute(
        sa.update(tags).where(tags.c.id == source).values(archived_at=now, people=0, counted_at=now)
    )
    session.execute(
        sa.update(tags)
        .where(tags.c.id == into)
        # what menus or sends of the platform needed the one for, they need the other for now
        .values(sync=new.sync or old.sync, error=None, people=count(session, account_id, into, now))
    )
    session.execute(sa.update(tags).where(tags.c.id == into).values(counted_at=now))


def _take_off(session: Session, tag_id: int) -> bool:
    some = (
        sa.select(follower_tags.c.follower_id)
        .where(follower_tags.c.tag_id == tag_id)
        .order_by(follower_tags.c.follower_id)
        .limit(PIECE)
    )
    gone = session.execute(
        sa.delete(follower_tags)
        .where(
            follower_tags.c.tag_id == tag_id,
            follower_tags.c.follower_id.in_(some.scalar_subquery()),
        )
        .returning(follower_tags.c.follower_id)
    ).all()
    return len(gone) == PIECE
