"""Followers (粉丝): seen, subscribed, gone; fields, opt-out, reply windows."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from bot.db import Session, insert, insert_of
from bot.prepared import Prepared
from bot.sql import among
from bot.tables.events import events
from bot.tables.followers import (
    follower_tags,
    followers,
    platform_tags,
    reply_windows,
    rule_firings,
    tags,
)

# (how long, how many customer-service messages) each act of a follower opens. A new message is read
# as a reset to 5, not as 5 more: the page does not say, and this is the cautious reading.
# Source: developers.weixin.qq.com/doc/subscription/guide/product/kf/intro.md (docs/wechat-limits.md 9,
# read 2026-11); doubt 3 of its section 16.
WINDOWS: Mapping[str, tuple[timedelta, int]] = {
    "message": (timedelta(hours=48), 5),
    "menu": (timedelta(minutes=1), 3),
    "follow": (timedelta(minutes=1), 3),
    "scan": (timedelta(minutes=1), 3),
}
LONG_WINDOWS = ("message",)  # what a campaign may use; a minute is over before a batch is
HAND_OVER = timedelta(minutes=30)


@dataclass(frozen=True, slots=True)
class Follower:
    id: int
    open_id: str
    subscribed: bool
    first_seen_at: datetime
    subscribed_at: datetime | None = None
    unsubscribed_at: datetime | None = None
    first_source: str | None = None
    fields: Mapping[str, Any] = field(default_factory=dict)
    messages: int = 0
    opted_out: bool = False
    handed_over_until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Window:
    opened_by: str
    expires_at: datetime


_COLUMNS = (
    followers.c.id,
    followers.c.open_id,
    followers.c.subscribed,
    followers.c.first_seen_at,
    followers.c.subscribed_at,
    followers.c.unsubscribed_at,
    followers.c.first_source,
    followers.c.fields,
    followers.c.messages,
    followers.c.opted_out_at,
    followers.c.handed_over_until,
)
_FIND = Prepared(
    sa.select(*_COLUMNS).where(
        followers.c.account_id == sa.bindparam("account"),
        followers.c.open_id == sa.bindparam("open_id"),
    )
)
_BY_ID = Prepared(
    sa.select(*_COLUMNS).where(
        followers.c.account_id == sa.bindparam("account"),
        followers.c.id == sa.bindparam("follower"),
    )
)
_TAGS = Prepared(
    sa.select(tags.c.name)
    .select_from(follower_tags.join(tags, tags.c.id == follower_tags.c.tag_id))
    .where(
        follower_tags.c.follower_id == sa.bindparam("follower"),
        sa.or_(
            follower_tags.c.expires_at.is_(None), follower_tags.c.expires_at > sa.bindparam("at")
        ),
    )
)
_FIRED = Prepared(
    sa.select(rule_firings.c.rule, rule_firings.c.fired_at).where(
        rule_firings.c.follower_id == sa.bindparam("follower")
    )
)
_ACTIVE = Prepared(
    sa.update(followers)
    .where(followers.c.id == sa.bindparam("follower"))
    .values(last_active_at=sa.bindparam("moment"))
)
_WROTE = Prepared(
    sa.update(followers)
    .where(
        followers.c.account_id == sa.bindparam("account"),
        followers.c.open_id == sa.bindparam("open_id"),
    )
    .values(last_active_at=sa.bindparam("moment"), messages=followers.c.messages + 1)
    .returning(*_COLUMNS)
)


def _opening(dialect: str) -> Any:
    statement = insert_of(dialect, reply_windows)
    new = statement.excluded
    return statement.on_conflict_do_update(
        index_elements=["follower_id", "opened_by"],
        set_={name: new[name] for name in ("opened_at", "expires_at", "left")},
        where=reply_windows.c.opened_at <= new.opened_at,
    )


_CREATE_COLUMNS = (
    "account_id",
    "open_id",
    "subscribed",
    "subscribed_at",
    "unsubscribed_at",
    "first_seen_at",
    "fields",
)
_CREATE = Prepared(
    lambda dialect: (
        insert_of(dialect, followers).on_conflict_do_nothing().returning(followers.c.id)
    ),
    _CREATE_COLUMNS,
)
_OPEN_WINDOW = Prepared(_opening, reply_windows.c.keys())


def find(session: Session, account_id: int, open_id: str) -> Follower | None:
    """The follower with this OpenID, or None."""
    row = _FIND.first(session, {"account": account_id, "open_id": open_id})
    return _follower(row) if row is not None else None


def by_id(session: Session, account_id: int, follower_id: int) -> Follower | None:
    """The account's follower with this row id, or None."""
    row = _BY_ID.first(session, {"account": account_id, "follower": follower_id})
    return _follower(row) if row is not None else None


def seen(session: Session, account_id: int, open_id: str, at: datetime) -> Follower:
    """The follower behind a push, made if unknown: whoever writes, scans or taps follows the account.

    A push that is older than an unsubscribe (no order is guaranteed) does not bring anybody back.
    """
    follower = find(session, account_id, open_id)
    if follower is None:
        follower = _create(session, account_id, open_id, at)
    _come_back(session, follower, at)
    return follower


def _come_back(session: Session, follower: Follower, at: datetime) -> None:
    if not follower.subscribed and (
        follower.unsubscribed_at is None or at > follower.unsubscribed_at
    ):
        session.execute(
            sa.update(followers)
            .where(followers.c.id == follower.id)
            .values(subscribed=True, subscribed_at=at)
        )


def subscribe(
    session: Session, account_id: int, open_id: str, at: datetime, scene: str = ""
) -> Follower:
    """A follow: first source once and for all, last touch, and subscribed unless a later unsubscribe is known."""
    follower = find(session, account_id, open_id)
    if follower is None:
        follower = _create(session, account_id, open_id, at)
    values: dict[str, Any] = {"last_active_at": at}
    if follower.unsubscribed_at is None or at >= follower.unsubscribed_at:
        values |= {"subscribed": True, "subscribed_at": at, "subscribe_scene": None}
        # the platform's own word for where this follow came from is learnt by the next sync
        values |= {"synced_at": None}
    if scene:
        values["last_scene"] = scene
        if follower.first_source is None:
            values |= {"first_source": scene, "first_scene": scene}
    session.execute(sa.update(followers).where(followers.c.id == follower.id).values(**values))
    return follower


def unsubscribe(session: Session, account_id: int, open_id: str, at: datetime) -> Follower:
    """A follower left; windows close. One that followed again later (pushes overtake) stays."""
    follower = find(session, account_id, open_id)
    if follower is None:
        follower = _create(session, account_id, open_id, at, subscribed=False)
    if follower.subscribed_at is None or at >= follower.subscribed_at:
        session.execute(
            sa.update(followers)
            .where(followers.c.id == follower.id)
            .values(subscribed=False, unsubscribed_at=at, handed_over_until=None)
        )
        session.execute(sa.delete(reply_windows).where(reply_windows.c.follower_id == follower.id))
    return follower


def left(
    session: Session,
    account_id: int,
    follower_ids: Sequence[int],
    at: datetime,
    *,
    source: str = "sync",
) -> int:
    """The platform says these do not follow, though no push told us; how many that was news about.

    Who followed after ``at``, the moment the platform was asked, stays. ``source`` is what told us.
    """
    gone = list(
        session.execute(
            sa.update(followers)
            .where(
                followers.c.account_id == account_id,
                followers.c.id.in_(list(follower_ids)),
                followers.c.subscribed.is_(sa.true()),
                sa.or_(followers.c.subscribed_at.is_(None), followers.c.subscribed_at < at),
            )
            .values(subscribed=False, unsubscribed_at=at, handed_over_until=None)
            .returning(followers.c.id)
        ).scalars()
    )
    if gone:
        session.execute(sa.delete(reply_windows).where(reply_windows.c.follower_id.in_(gone)))
        session.execute(sa.delete(platform_tags).where(platform_tags.c.follower_id.in_(gone)))
        session.execute(
            sa.insert(events),
            [
                {
                    "account_id": account_id,
                    "follower_id": follower,
                    "kind": "unsubscribe",
                    "at": at,
                    "data": {"source": source},
                }
                for follower in gone
            ],
        )
    return len(gone)


def touched(session: Session, follower_id: int, at: datetime, scene: str) -> None:
    """A scan by somebody who follows already: the last touch, never the first source."""
    session.execute(
        sa.update(followers)
        .where(followers.c.id == follower_id)
        .values(last_active_at=at, last_scene=scene)
    )


def active(session: Session, follower_id: int, at: datetime) -> None:
    """The follower did something."""
    _ACTIVE.run(session, {"follower": follower_id, "moment": at})


def wrote(session: Session, account_id: int, open_id: str, at: datetime) -> Follower:
    """``seen`` for a message: counts it, and returns the follower as they were before it."""
    values = {"account": account_id, "open_id": open_id, "moment": at}
    row = _WROTE.first(session, values)
    if row is None:
        seen(session, account_id, open_id, at)
        row = _WROTE.first(session, values)
        assert row is not None
    follower = _follower(row, row.messages - 1)
    _come_back(session, follower, at)
    return follower


def tag_names(session: Session, follower_id: int, at: datetime) -> frozenset[str]:
    """Names of the tags the follower has at a moment."""
    return frozenset(row.name for row in _TAGS.rows(session, {"follower": follower_id, "at": at}))


def last_fired(session: Session, follower_id: int) -> dict[str, datetime]:
    """When each rule with a cooldown last won for this follower."""
    return {row.rule: row.fired_at for row in _FIRED.rows(session, {"follower": follower_id})}


def fired(
    session: Session, account_id: int, follower_id: int, rules: Sequence[str], at: datetime
) -> None:
    """Remember that rules with a cooldown won for this follower."""
    for rule in rules:
        statement = insert(session, rule_firings).values(
            account_id=account_id, follower_id=follower_id, rule=rule, fired_at=at
        )
        session.execute(
            statement.on_conflict_do_update(
                index_elements=["follower_id", "rule"],
                set_={"fired_at": statement.excluded.fired_at},
            )
        )


def open_window(
    session: Session, account_id: int, follower_id: int, opened_by: str, at: datetime
) -> None:
    """Open or reset the reply window that an act opens. A push older than the window we know changes nothing."""
    length, allowance = WINDOWS[opened_by]
    _OPEN_WINDOW.run(
        session,
        {
            "account_id": account_id,
            "follower_id": follower_id,
            "opened_by": opened_by,
            "opened_at": at,
            "expires_at": at + length,
            "left": allowance,
        },
    )


def take_window(
    session: Session, follower_id: int, now: datetime, *, long_only: bool
) -> Window | None:
    """Use up one message of an open window, the one that ends first; None when there is none.

    ``long_only`` leaves the one-minute windows alone.
    """
    usable = sa.and_(
        reply_windows.c.follower_id == follower_id,
        reply_windows.c.expires_at > now,
        reply_windows.c.left > 0,
    )
    if long_only:
        usable = sa.and_(usable, reply_windows.c.opened_by.in_(LONG_WINDOWS))
    first = (
        sa.select(reply_windows.c.opened_by)
        .where(usable)
        .order_by(reply_windows.c.expires_at)
        .limit(1)
    )
    row = session.execute(
        sa.update(reply_windows)
        .where(usable, reply_windows.c.opened_by == first.scalar_subquery())
        .values(left=reply_windows.c.left - 1)
        .returning(reply_windows.c.opened_by, reply_windows.c.expires_at)
    ).one_or_none()
    return Window(row.opened_by, row.expires_at) if row is not None else None


def take_windows(session: Session, follower_ids: Iterable[int], now: datetime) -> dict[int, Window]:
    """``take_window`` with ``long_only`` for many followers in one statement; who is missing has none.

    Right as long as only one act opens a long window.
    """
    assert len(LONG_WINDOWS) == 1
    rows = session.execute(
        sa.update(reply_windows)
        .where(
            among(reply_windows.c.follower_id, follower_ids),
            reply_windows.c.opened_by == LONG_WINDOWS[0],
            reply_windows.c.expires_at > now,
            reply_windows.c.left > 0,
        )
        .values(left=reply_windows.c.left - 1)
        .returning(
            reply_windows.c.follower_id, reply_windows.c.opened_by, reply_windows.c.expires_at
        )
    )
    return {row.follower_id: Window(row.opened_by, row.expires_at) for row in rows}


def close_windows(session: Session, follower_id: int, at: datetime) -> None:
    """The platform said there is no window (45015) or nothing left in it (45047): believe it.

    Those opened after ``at``, the moment it was asked, stay.
    """
    session.execute(
        sa.update(reply_windows)
        .where(reply_windows.c.follower_id == follower_id, reply_windows.c.opened_at <= at)
        .values(left=0)
    )


def set_fields(
    session: Session, follower_id: int, fields: Mapping[str, Any], changes: Mapping[str, Any]
) -> None:
    """Write ``changes`` over the ``fields`` that were read in this transaction; None removes a field."""
    merged = {key: value for key, value in {**fields, **changes}.items() if value is not None}
    session.execute(sa.update(followers).where(followers.c.id == follower_id).values(fields=merged))


def clear_fields(session: Session, follower_id: int) -> None:
    """Remove every field and the UnionID of a follower, at their own wish."""
    session.execute(
        sa.update(followers).where(followers.c.id == follower_id).values(fields={}, union_id=None)
    )


def opt_out(session: Session, follower_id: int, at: datetime) -> None:
    """No campaign for this follower until ``opt_in``."""
    session.execute(
        sa.update(followers).where(followers.c.id == follower_id).values(opted_out_at=at)
    )


def opt_in(session: Session, follower_id: int) -> None:
    session.execute(
        sa.update(followers).where(followers.c.id == follower_id).values(opted_out_at=None)
    )


def hand_over(session: Session, follower_id: int, until: datetime | None) -> None:
    """Rules stay silent for this follower until a moment; None: they answer again."""
    session.execute(
        sa.update(followers).where(followers.c.id == follower_id).values(handed_over_until=until)
    )


def _create(
    session: Session, account_id: int, open_id: str, at: datetime, *, subscribed: bool = True
) -> Follower:
    subscribed_at, unsubscribed_at = (at, None) if subscribed else (None, at)
    values: Sequence[Any] = (
        account_id,
        open_id,
        subscribed,
        subscribed_at,
        unsubscribed_at,
        at,
        {},
    )
    created = _CREATE.scalar(session, dict(zip(_CREATE_COLUMNS, values, strict=True)))
    if created is None:  # another process was first; its row is committed by now
        found = find(session, account_id, open_id)
        assert found is not None
        return found
    return Follower(
        id=created,
        open_id=open_id,
        subscribed=subscribed,
        first_seen_at=at,
        subscribed_at=subscribed_at,
        unsubscribed_at=unsubscribed_at,
    )


def _follower(row: Any, messages: int | None = None) -> Follower:
    return Follower(
        id=row.id,
        open_id=row.open_id,
        subscribed=row.subscribed,
        first_seen_at=row.first_seen_at,
        subscribed_at=row.subscribed_at,
        unsubscribed_at=row.unsubscribed_at,
        first_source=row.first_source,
        fields=row.fields,
        messages=row.messages if messages is None else messages,
        opted_out=row.opted_out_at is not None,
        handed_over_until=row.handed_over_until,
    )
