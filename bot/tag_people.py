"""Giving a tag to many and taking it off: to those chosen, or to all who match, by a job in pieces."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from bot import follower_search, jobs
from bot.db import Session, insert, reading, writing
from bot.follower_search import Wanted
from bot.sql import among
from bot.tables.followers import follower_tags, followers, tags
from bot.tag_families import Tag, by_id

TAG_FOLLOWERS = "tag_followers"
PIECE = 500  # people a transaction


def tag_matching(
    session: Session,
    account_id: int,
    tag: Tag,
    wanted: Wanted,
    *,
    remove: bool,
    whole_ids: bool,
    by: str,
    total: int,
    now: datetime,
) -> int:
    """Give a tag to all who match now, or take it off, by a job; its id. Who follows later is not among them."""
    newest = session.execute(
        sa.select(sa.func.max(followers.c.id)).where(followers.c.account_id == account_id)
    ).scalar()
    arguments = {
        "tag_id": tag.id,
        "wanted": wanted.to_json(),
        "remove": remove,
        "whole_ids": whole_ids,
        "by": by,
        "after": 0,
        "until": newest or 0,
        "done": 0,
        "changed": 0,
        "total": total,
        "at": now.isoformat(),
    }
    job_id = jobs.enqueue(session, TAG_FOLLOWERS, arguments, now=now, account_id=account_id)
    assert job_id is not None
    return job_id


def tag_piece(
    engine: sa.Engine, account_id: int, job_id: int, arguments: Mapping[str, Any], now: datetime
) -> dict[str, Any] | None:
    """One step of ``tag_matching``: the arguments of the next, None when all were seen."""
    wanted = Wanted.from_json(arguments["wanted"])
    with reading(engine) as session:
        tag = by_id(session, account_id, int(arguments["tag_id"]))
        ids = follower_search.walk(
            session,
            account_id,
            wanted,
            # as it was when somebody confirmed it: a window must not close under the job
            datetime.fromisoformat(arguments["at"]),
            whole_ids=bool(arguments["whole_ids"]),
            after=int(arguments["after"]),
            until=int(arguments["until"]),
            limit=PIECE,
        )
    if not ids or tag is None or (tag.archived_at is not None and not arguments["remove"]):
        return None
    with writing(engine) as session:
        if arguments["remove"]:
            changed = untag_people(session, account_id, tag.id, ids)
        else:
            origin = f"operator:{arguments['by']}"
            changed = tag_people(session, account_id, tag.id, ids, origin=origin, now=now)
        done = int(arguments["done"]) + len(ids)
        jobs.progress(session, job_id, done, max(done, int(arguments["total"])))
    return {
        **arguments,
        "after": ids[-1],
        "done": done,
        "changed": int(arguments["changed"]) + changed,
    }


def tag_people(
    session: Session,
    account_id: int,
    tag_id: int,
    ids: Sequence[int],
    *,
    origin: str,
    now: datetime,
) -> int:
    """Give these followers of the account a tag, in one statement; how many had it not."""
    days = session.execute(
        sa.select(tags.c.expires_after_days).where(
            tags.c.id == tag_id, tags.c.account_id == account_id
        )
    ).scalar_one()
    chosen = sa.select(
        followers.c.id,
        sa.literal(tag_id),
        followers.c.account_id,
        sa.literal(origin, sa.Text),
        sa.literal(now, follower_tags.c.added_at.type),
        sa.literal(_days_on(now, days), follower_tags.c.expires_at.type),
    ).where(
        among(followers.c.id, ids),
        followers.c.account_id + 0 == account_id,
        followers.c.erased_at.is_(None),
    )
    statement = insert(session, follower_tags).from_select(
        ["follower_id", "tag_id", "account_id", "origin", "added_at", "expires_at"], chosen
    )
    given = statement.on_conflict_do_nothing().returning(follower_tags.c.follower_id)
    return len(session.execute(given).all())


def untag_people(session: Session, account_id: int, tag_id: int, ids: Sequence[int]) -> int:
    """Take a tag from these followers; how many had it."""
    return len(
        session.execute(
            sa.delete(follower_tags)
            .where(
                follower_tags.c.tag_id == tag_id,
                follower_tags.c.account_id == account_id,
                among(follower_tags.c.follower_id, ids),
            )
            .returning(follower_tags.c.follower_id)
        ).all()
    )


def _days_on(now: datetime, days: int | None) -> datetime | None:
    return now + timedelta(days=days) if days else None
