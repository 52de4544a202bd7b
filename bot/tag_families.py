"""Looking after tags (标签族): make, rename, set, archive, restore, count. ``tag_merge`` makes one of two."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from bot import jobs, mentions, tag_sync
from bot.db import Session, reading, writing
from bot.errors import Invalid, Refused, WeChatError
from bot.tables.accounts import menus
from bot.tables.followers import follower_tags, followers, platform_tags, tags
from bot.tables.jobs import jobs as jobs_table
from bot.tags import FAMILIES
from bot.wechat import tags as gateway
from bot.wechat.client import WeChat

MERGE_TAGS, RENAME_TAG, COUNT_TAGS = "merge_tags", "rename_tag", "count_tags"
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


def rename_there(engine: sa.Engine, wechat: WeChat, account_id: int, tag_id: int) -> None:
    """Tell the platform the name a tag has now. What it refuses is written on the tag.

    Raises:
        WeChatError: the platform did not answer or wants us to wait.
    """
    with reading(engine) as session:
        tag = by_id(session, account_id, tag_id)
    if tag is None or tag.wechat_id is None:
        return
    error = None
    try:
        gateway.rename(wechat, tag.wechat_id, tag.name)
    except Refused:
        error = tag_sync.NAME_TOO_LONG
    except WeChatError as problem:
        known = {
            45056: tag_sync.TOO_MANY_TAGS,
            45157: tag_sync.NAME_REFUSED,
            45158: tag_sync.NAME_TOO_LONG,
            45058: tag_sync.SYSTEM_TAG,
        }
        if problem.errcode not in known:
            raise
        error = known[problem.errcode]
    with writing(engine) as session:
        session.execute(
            sa.update(tags)
            .where(tags.c.id == tag_id, tags.c.account_id == account_id)
            .values(error=error)
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


def _in_use(session: Session, account_id: int, tag_id: int) -> Tag:
    tag = by_id(session, account_id, tag_id)
    if tag is None or tag.archived_at is not None:
        raise Refused(NO_SUCH_TAG.format(name=tag.name if tag else tag_id))
    if tag_id in merging(session, account_id):
        raise Refused("one of the two tags is being merged just now")
    return tag


def merging(session: Session, account_id: int) -> set[int]:
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
