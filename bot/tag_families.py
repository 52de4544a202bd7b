"""Looking after tags (标签族): make, rename, merge, set, archive, restore, count.

A merge copies first and puts away last, so that at no moment somebody is missing from a segment. It
goes in pieces by follower id, so that it may be interrupted and never keeps a push waiting.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from bot import jobs, mentions
from bot.db import Session, insert, reading, writing
from bot.errors import Invalid, Refused
from bot.sql import among
from bot.tables.accounts import menus
from bot.tables.followers import follower_tags, followers, platform_tags, tags
from bot.tables.jobs import jobs as jobs_table
from bot.tags import FAMILIES

MERGE_TAGS, RENAME_TAG, COUNT_TAGS, TAG_FOLLOWERS = (
    "merge_tags",
    "rename_tag",
    "count_tags",
    "tag_followers",
)
AT_ONCE = 5000  # people above which a merge is a job
PIECE = 500  # people a transaction
LONGEST_NAME = 60
LONGEST_DAYS = 3650
PLATFORM_TAGS = 100  # an account has; a follower has 20
NO_SUCH_TAG = "there is no tag '{name}'"


@dataclass(frozen=True, slots=True)
class Tag:
    """``people`` were counted at ``counted_at`` and may have changed since."""

    id: int
    name: str
    family: str
    sync: bool
    wechat_id: int | None
    expires_after_days: int | None
    error: str | None
    archived_at: datetime | None
    people: int | None
    counted_at: datetime | None

    def to_json(self) -> dict[str, Any]:
        """What an audit keeps of it."""
        return {
            "name": self.name,
            "family": self.family,
            "sync": self.sync,
            "expires_after_days": self.expires_after_days,
        }


@dataclass(frozen=True, slots=True)
class Merge:
    """What merging would do. ``people`` get ``into`` who have ``from``; ``both`` of them have it already."""

    source: Tag
    into: Tag
    people: int
    both: int
    mentions: mentions.Mentions


def every(session: Session, account_id: int, *, archived: bool = False) -> list[Tag]:
    """The tags of an account by family and name, or those that were put away."""
    order = sa.case({family: number for number, family in enumerate(FAMILIES)}, value=tags.c.family)
    which = tags.c.archived_at.is_not(None) if archived else tags.c.archived_at.is_(None)
    rows = session.execute(
        sa.select(tags)
        .where(tags.c.account_id == account_id, which)
        .order_by(order, tags.c.name, tags.c.id)
    )
    return [_tag(row) for row in rows]


def by_id(session: Session, account_id: int, tag_id: int) -> Tag | None:
    """The account's tag with this row id, or None."""
    row = session.execute(
        sa.select(tags).where(tags.c.account_id == account_id, tags.c.id == tag_id)
    ).one_or_none()
    return _tag(row) if row is not None else None


def get(session: Session, account_id: int, name: str) -> Tag:
    """The tag of this name that is in use.

    Raises:
        Refused: there is none, or it was put away.
    """
    row = session.execute(
        sa.select(tags).where(tags.c.account_id == account_id, tags.c.name == name)
    ).one_or_none()
    if row is None or row.archived_at is not None:
        raise Refused(NO_SUCH_TAG.format(name=name))
    return _tag(row)


def add(
    session: Session,
    account_id: int,
    *,
    name: str,
    family: str,
    sync: bool,
    expires_after_days: int | None,
) -> Tag:
    """Make a tag.

    Raises:
        Invalid: a value is none a tag can have, or the name is taken (also by one that was put away).
    """
    name = _checked_name(name)
    _check(family, expires_after_days)
    if _by_name(session, account_id, name) is not None:
        raise Invalid("name", "is taken by another tag")
    row = session.execute(
        sa.insert(tags)
        .values(
            account_id=account_id,
            name=name,
            family=family,
            sync=sync,
            expires_after_days=expires_after_days,
        )
        .returning(*tags.c)
    ).one()
    return _tag(row)


def change(
    session: Session,
    account_id: int,
    tag_id: int,
    *,
    name: str,
    family: str,
    sync: bool,
    expires_after_days: int | None,
    by: str,
    now: datetime,
) -> Tag:
    """Set what a tag is, its name too: then also wherever it is named, and on the platform by a job.

    Raises:
        Invalid: a value is none a tag can have, or the name is taken.
        Refused: there is no such tag, it was put away, or it is being merged.
    """
    before = _in_use(session, account_id, tag_id)
    name = _checked_name(name)
    _check(family, expires_after_days)
    if name != before.name:
        _rename(session, account_id, before, name, by, now)
    row = session.execute(
        sa.update(tags)
        .where(tags.c.id == tag_id, tags.c.account_id == account_id)
        .values(
            name=name,
            family=family,
            sync=sync,
            expires_after_days=expires_after_days,
            error=None,  # the next sync tries again
        )
        .returning(*tags.c)
    ).one()
    return _tag(row)


def archive(session: Session, account_id: int, tag_id: int, now: datetime) -> Tag:
    """Put a tag away: nobody gets it any more; the platform's members are taken off by the next sync.

    Raises:
        Refused: there is no such tag, it is being merged, or something in use names it.
    """
    tag = _in_use(session, account_id, tag_id)
    if mentions.of_tag(session, account_id, tag.name):
        raise Refused(f"tag '{tag.name}' is still in use by rules, segments, QR codes or menus")
    session.execute(sa.update(tags).where(tags.c.id == tag.id).values(archived_at=now))
    return tag


def restore(session: Session, account_id: int, tag_id: int) -> Tag:
    """Take an archived tag back into use, with everybody who had it.

    Raises:
        Refused: there is no such archived tag.
    """
    row = session.execute(
        sa.update(tags)
        .where(
            tags.c.id == tag_id, tags.c.account_id == account_id, tags.c.archived_at.is_not(None)
        )
        .values(archived_at=None, error=None)
        .returning(*tags.c)
    ).one_or_none()
    if row is None:
        raise Refused("there is no such archived tag")
    return _tag(row)


def count(session: Session, account_id: int, tag_id: int, now: datetime) -> int:
    """How many people who follow have a tag at this moment."""
    return int(
        session.execute(
            sa.select(sa.func.count())
            .select_from(
                follower_tags.join(followers, followers.c.id == follower_tags.c.follower_id)
            )
            .where(
                follower_tags.c.tag_id == tag_id,
                follower_tags.c.account_id == account_id,
                followers.c.subscribed.is_(sa.true()),
                _lasting(now),
            )
        ).scalar_one()
    )


def recount(engine: sa.Engine, account_id: int, now: datetime) -> int:
    """Count every tag that is in use and keep the number and its time; how many tags."""
    with reading(engine) as session:
        ids = [tag.id for tag in every(session, account_id)]
    for tag_id in ids:  # one at a time: a million people take a second, and nobody waits for it
        with reading(engine) as session:
            people = count(session, account_id, tag_id, now)
        with writing(engine) as session:
            session.execute(
                sa.update(tags).where(tags.c.id == tag_id).values(people=people, counted_at=now)
            )
    return len(ids)


def examine(session: Session, account_id: int, source: str, into: str, now: datetime) -> Merge:
    """What merging ``source`` into ``into`` would do.

    Raises:
        Refused: they are one tag, one of them does not exist or was put away, or is being merged.
    """
    if source == into:
        raise Refused("a tag cannot be merged with itself")
    old, new = get(session, account_id, source), get(session, account_id, into)
    merging = _merging(session, account_id)
    if {old.id, new.id} & merging:
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


def on_platform(session: Session, account_id: int) -> tuple[int, int]:
    """(tags with a tag on the platform, people with all 20 of theirs): what the limits leave."""
    used = session.execute(
        sa.select(sa.func.count()).where(
            tags.c.account_id == account_id, tags.c.wechat_id.is_not(None)
        )
    ).scalar_one()
    full = (
        sa.select(platform_tags.c.follower_id)
        .where(platform_tags.c.account_id == account_id)
        .group_by(platform_tags.c.follower_id)
        .having(sa.func.count() >= 20)
        .subquery()
    )
    return used, session.execute(sa.select(sa.func.count()).select_from(full)).scalar_one()


def _rename(
    session: Session, account_id: int, before: Tag, name: str, by: str, now: datetime
) -> None:
    if _by_name(session, account_id, name) is not None:
        raise Invalid("name", "is taken by another tag")
    mentions.replace(session, account_id, "tag", before.name, name)
    mentions.replace_in_force(session, account_id, "tag", before.name, name, by=by, now=now)
    if before.wechat_id is None:
        return
    # its id there stays: menus by it need not be published again
    _rename_published(session, account_id, before.name, name)
    jobs.enqueue(session, RENAME_TAG, {"tag_id": before.id}, now=now, account_id=account_id)


def _rename_published(session: Session, account_id: int, old: str, new: str) -> None:
    published = session.execute(
        sa.select(menus.c.published).where(menus.c.account_id == account_id)
    ).scalar()
    if not published or not published.get("personal"):
        return
    told = [
        {**one, "tag": new if one["tag"] == old else one["tag"]} for one in published["personal"]
    ]
    session.execute(
        sa.update(menus)
        .where(menus.c.account_id == account_id)
        .values(published={**published, "personal": told})
    )


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


def _in_use(session: Session, account_id: int, tag_id: int) -> Tag:
    tag = by_id(session, account_id, tag_id)
    if tag is None or tag.archived_at is not None:
        raise Refused(NO_SUCH_TAG.format(name=tag.name if tag else tag_id))
    if tag_id in _merging(session, account_id):
        raise Refused("one of the two tags is being merged just now")
    return tag


def _merging(session: Session, account_id: int) -> set[int]:
    """Tags that a job is merging."""
    found = session.execute(
        sa.select(jobs_table.c.arguments).where(
            jobs_table.c.name == MERGE_TAGS,
            jobs_table.c.account_id == account_id,
            jobs_table.c.state.in_(("waiting", "running")),
        )
    ).scalars()
    return {int(arguments[end]) for arguments in found for end in ("from", "into")}


def _by_name(session: Session, account_id: int, name: str) -> int | None:
    return session.execute(
        sa.select(tags.c.id).where(tags.c.account_id == account_id, tags.c.name == name)
    ).scalar()


def _lasting(now: datetime) -> sa.ColumnElement[bool]:
    return sa.or_(follower_tags.c.expires_at.is_(None), follower_tags.c.expires_at > now)


def _checked_name(name: str) -> str:
    name = name.strip()
    if not 1 <= len(name) <= LONGEST_NAME or not name.isprintable():
        raise Invalid("name", f"must have 1 to {LONGEST_NAME} characters")
    return name


def _check(family: str, days: int | None) -> None:
    if family not in FAMILIES:
        raise Invalid("family", "must be one of the four families")
    if days is not None and not 1 <= days <= LONGEST_DAYS:
        raise Invalid("expires_after_days", f"must be between 1 and {LONGEST_DAYS}")


def _days_on(now: datetime, days: int | None) -> datetime | None:
    return now + timedelta(days=days) if days else None


def _tag(row: sa.Row[Any]) -> Tag:
    return Tag(
        id=row.id,
        name=row.name,
        family=row.family,
        sync=row.sync,
        wechat_id=row.wechat_id,
        expires_after_days=row.expires_after_days,
        error=row.error,
        archived_at=row.archived_at,
        people=row.people,
        counted_at=row.counted_at,
    )
