"""Brings our followers in line with the platform's list, in steps that a kill may interrupt.

A full sync lists every OpenID (pages of 10,000), makes the followers we did not know, then reads
everybody's details (100 a call). Whoever does not follow any more is recognised by the details
(``subscribe`` 0), not by absence from the list: the list is no snapshot, people come and go while
it is read. An incremental sync reads only details that were never read or are stale.

Source: docs/wechat-limits.md 5 (user service of MudWechat, page userinfo; read 2026-11).
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa

from bot import accounts, followers, tag_sync
from bot.db import Session, insert, reading, upsert, writing
from bot.errors import WeChatError
from bot.follower_search import remark_key
from bot.tables.followers import follower_syncs, follower_tags, platform_tags, tags
from bot.tables.followers import followers as table
from bot.wechat import tags as tags_gateway
from bot.wechat import users as gateway
from bot.wechat.client import WeChat

CHUNK = 200  # rows a transaction, so that pushes never wait long for SQLite's one writer
STALE = timedelta(days=30)
GIVE_UP = timedelta(days=2)  # an unfinished sync older than this is begun anew
FEATURE = "users"
OPEN = ("listing", "reading", "refreshing")


LIST, DETAILS = "/cgi-bin/user/get", "/cgi-bin/user/info/batchget"


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a sync is. ``total`` is of the present state: listed OpenIDs, then details to read."""

    id: int
    state: str  # listing | reading | refreshing | done | failed
    done: int
    total: int
    error: str | None = None

    @property
    def more(self) -> bool:
        return self.state in OPEN

    @property
    def api(self) -> str:
        """What the next step calls."""
        return LIST if self.state == "listing" else DETAILS


def begin(session: Session, account_id: int, now: datetime, *, full: bool = True) -> Progress:
    """Start a sync, or go on with the one that was interrupted. A full one replaces an incremental one."""
    row = session.execute(
        sa.select(follower_syncs)
        .where(
            follower_syncs.c.account_id == account_id,
            follower_syncs.c.state.in_(OPEN),
            follower_syncs.c.started_at > now - GIVE_UP,
        )
        .order_by(follower_syncs.c.id.desc())
        .limit(1)
    ).one_or_none()
    if row is not None and not (full and row.state == "refreshing"):
        return _progress(row)
    session.execute(
        sa.update(follower_syncs)
        .where(follower_syncs.c.account_id == account_id, follower_syncs.c.state.in_(OPEN))
        .values(state="failed", error="被新的同步取代", finished_at=now)
    )
    values: dict[str, Any] = {"state": "listing", "next_open_id": "", "total": 0}
    if not full:
        total = _count(session, account_id, now - STALE)
        values = {"state": "refreshing", "next_open_id": "0", "total": total}
    found = session.execute(
        sa.insert(follower_syncs)
        .values(account_id=account_id, done=0, started_at=now, **values)
        .returning(*follower_syncs.c)
    ).one()
    return _progress(found)


def by_id(session: Session, sync_id: int) -> Progress:
    """How far a sync is."""
    return _progress(
        session.execute(sa.select(follower_syncs).where(follower_syncs.c.id == sync_id)).one()
    )


def last(session: Session, account_id: int) -> Progress | None:
    """The latest sync of an account, for pages that show it."""
    row = session.execute(
        sa.select(follower_syncs)
        .where(follower_syncs.c.account_id == account_id)
        .order_by(follower_syncs.c.id.desc())
        .limit(1)
    ).one_or_none()
    return _progress(row) if row is not None else None


def step(engine: sa.Engine, wechat: WeChat, sync_id: int, now: datetime) -> Progress:
    """One unit of work: a page of the list, or one call of details. ``more`` says whether to call again.

    Raises:
        WeChatError: the platform did not answer or wants us to wait; the place is kept, call again later.
    """
    with reading(engine) as session:
        row = session.execute(sa.select(follower_syncs).where(follower_syncs.c.id == sync_id)).one()
    if row.state not in OPEN:
        return _progress(row)
    with _failures_kept(engine, row, now):
        if row.state == "listing":
            _list_page(engine, wechat, row, now)
        else:
            _read_details(engine, wechat, row, now)
    with reading(engine) as session:
        return by_id(session, sync_id)


@contextmanager
def _failures_kept(engine: sa.Engine, row: Any, now: datetime) -> Iterator[None]:
    """Write a refusal on the sync; a permanent one ends it, another is raised for the caller to wait."""
    try:
        yield
    except WeChatError as problem:
        with writing(engine) as session:
            if problem.errcode == 48001:
                accounts.forbid(session, row.account_id, FEATURE)
            values: dict[str, Any] = {"error": str(problem)}
            if problem.permanent:
                values |= {"state": "failed", "finished_at": now}
            _change(session, row.id, **values)
        if not problem.permanent:
            raise


def _list_page(engine: sa.Engine, wechat: WeChat, row: Any, now: datetime) -> None:
    """1. Ask for the page behind the last one. 2. Store it in chunks; the place moves with the last."""
    page = gateway.list_open_ids(wechat, row.next_open_id)
    listed = list(page.open_ids)
    for start in range(0, len(listed), CHUNK):
        with writing(engine) as session:
            _store_listed(session, row.account_id, listed[start : start + CHUNK], now)
    if listed and page.next_open_id:
        with writing(engine) as session:
            _change(
                session,
                row.id,
                next_open_id=page.next_open_id,
                total=page.total,
                done=row.done + len(listed),
                error=None,
            )
        return
    with reading(engine) as session:
        total = _count(session, row.account_id, row.started_at)
    with writing(engine) as session:
        _change(session, row.id, state="reading", next_open_id="0", total=total, done=0, error=None)


def _store_listed(
    session: Session, account_id: int, open_ids: Sequence[str], asked_at: datetime
) -> None:
    """Make who is unknown; bring back who left before we asked. Their details are read afterwards."""
    statement = insert(session, table)
    statement = statement.on_conflict_do_update(
        index_elements=["account_id", "open_id"],
        set_={"subscribed": True, "synced_at": None},
        where=sa.and_(
            table.c.subscribed.is_(sa.false()),
            sa.or_(table.c.unsubscribed_at.is_(None), table.c.unsubscribed_at < asked_at),
        ),
    )
    session.execute(
        statement,
        [
            {
                "account_id": account_id,
                "open_id": open_id,
                "subscribed": True,
                "first_seen_at": asked_at,
                "fields": {},
            }
            for open_id in open_ids
        ],
    )


def _read_details(engine: sa.Engine, wechat: WeChat, row: Any, now: datetime) -> None:
    before = row.started_at if row.state == "reading" else row.started_at - STALE
    with reading(engine) as session:
        # by id, never by OFFSET; also past those whose details could not be had
        people = session.execute(
            _unread(row.account_id, before)
            .with_only_columns(table.c.id, table.c.open_id)
            .where(table.c.id > int(row.next_open_id))
            .order_by(table.c.id)
            .limit(gateway.MAX_DETAILS)
        ).all()
    if not people:
        with writing(engine) as session:
            _change(session, row.id, state="done", finished_at=now, error=None, done=row.total)
        return
    ids = {person.open_id: int(person.id) for person in people}
    details, foreign = _details(wechat, list(ids))
    names = _platform_names(engine, wechat, row.account_id, details)
    with writing(engine) as session:
        tag_sync.adopt(session, row.account_id, names)
        _store_details(session, row.account_id, ids, details, foreign, now)
        done = row.done + len(ids)
        _change(
            session,
            row.id,
            next_open_id=str(max(ids.values())),
            done=done,
            total=max(done, row.total),
            error=None,
        )


def _details(wechat: WeChat, open_ids: list[str]) -> tuple[list[Mapping[str, Any]], list[str]]:
    """Details, and the OpenIDs the platform does not know; one of those fails a whole call (40003)."""
    try:
        return list(gateway.details(wechat, open_ids)), []
    except WeChatError as problem:
        if problem.errcode not in (40003, 49003):
            raise
    if len(open_ids) == 1:
        return [], open_ids
    middle = len(open_ids) // 2
    first, first_foreign = _details(wechat, open_ids[:middle])
    second, second_foreign = _details(wechat, open_ids[middle:])
    return first + second, first_foreign + second_foreign


def _platform_names(
    engine: sa.Engine, wechat: WeChat, account_id: int, details: Sequence[Mapping[str, Any]]
) -> list[tags_gateway.PlatformTag]:
    """The platform's tags, asked for only when somebody wears one we do not know."""
    worn = {int(tag) for person in details for tag in person.get("tagid_list") or ()} - set(
        tag_sync.SYSTEM_TAGS
    )
    with reading(engine) as session:
        known = set(_tag_ids(session, account_id))
    return list(tags_gateway.all(wechat)) if worn - known else []


def _store_details(
    session: Session,
    account_id: int,
    ids: Mapping[str, int],
    details: Sequence[Mapping[str, Any]],
    foreign: Sequence[str],
    asked_at: datetime,
) -> None:
    found = {str(person["openid"]): person for person in details if person.get("openid") in ids}
    gone = [ids[open_id] for open_id, person in found.items() if not int(person["subscribe"])]
    followers.left(session, account_id, gone + [ids[open_id] for open_id in foreign], asked_at)
    present = {
        ids[open_id]: person for open_id, person in found.items() if int(person["subscribe"])
    }
    _store_tags(session, account_id, present, asked_at)
    session.execute(
        sa.update(table).where(table.c.id.in_(list(ids.values()))).values(synced_at=asked_at)
    )
    if present:
        rows = [_values(one, person) for one, person in present.items()]
        session.execute(_CHANGE, [{**row, "asked_at": asked_at} for row in rows])


_CHANGE = (
    sa.update(table)
    .where(
        table.c.id == sa.bindparam("follower"),
        # a follow that was pushed after we asked is newer than the answer
        sa.or_(table.c.subscribed_at.is_(None), table.c.subscribed_at <= sa.bindparam("asked_at")),
    )
    .values(
        union_id=sa.func.coalesce(sa.bindparam("union", type_=sa.Text), table.c.union_id),
        # the platform says "" of who has none there; what was written here stays
        remark=sa.func.coalesce(sa.bindparam("remarked", type_=sa.Text), table.c.remark),
        remark_search=sa.func.coalesce(
            sa.bindparam("found_by", type_=sa.Text), table.c.remark_search
        ),
        subscribe_scene=sa.bindparam("came_by", type_=sa.Text),
        subscribed_at=sa.func.coalesce(
            sa.bindparam("since", type_=table.c.subscribed_at.type), table.c.subscribed_at
        ),
        first_source=sa.func.coalesce(table.c.first_source, sa.bindparam("source", type_=sa.Text)),
        first_scene=sa.case(
            (
                table.c.first_source.is_(None),
                sa.func.coalesce(table.c.first_scene, sa.bindparam("scene", type_=sa.Text)),
            ),
            else_=table.c.first_scene,
        ),
    )
)


def _values(follower_id: int, person: Mapping[str, Any]) -> dict[str, Any]:
    scene = person.get("qr_scene_str") or (
        str(person["qr_scene"]) if person.get("qr_scene") else ""
    )
    since = person.get("subscribe_time")
    came_by = person.get("subscribe_scene") or None
    return {
        "follower": follower_id,
        "union": person.get("unionid") or None,
        "remarked": person.get("remark") or None,
        "found_by": remark_key(person.get("remark")),
        "came_by": came_by,
        "since": datetime.fromtimestamp(int(since), UTC) if since else None,
        "source": scene or came_by,
        "scene": scene or None,
    }


def _store_tags(
    session: Session, account_id: int, present: Mapping[int, Mapping[str, Any]], now: datetime
) -> None:
    """What the platform has becomes what it was told, so that tag sync mends every difference.

    Only for followers read for the first time who have no tag here are its tags taken over.
    """
    if not present:
        return
    tag_ids = _tag_ids(session, account_id)
    rows = [
        {"tag_id": tag_ids[int(tag)], "follower_id": follower, "account_id": account_id}
        for follower, person in present.items()
        for tag in person.get("tagid_list") or ()
        if int(tag) in tag_ids
    ]
    session.execute(sa.delete(platform_tags).where(platform_tags.c.follower_id.in_(list(present))))
    if not rows:
        return
    upsert(session, platform_tags, rows, ["tag_id", "follower_id"], [])
    untouched = set(
        session.execute(
            sa.select(table.c.id).where(
                table.c.id.in_(list(present)),
                table.c.synced_at.is_(None),
                ~sa.exists(
                    sa.select(sa.literal(1))
                    .select_from(follower_tags)
                    .where(follower_tags.c.follower_id == table.c.id)
                ),
            )
        ).scalars()
    )
    taken_over = [
        {**row, "origin": "platform", "added_at": now}
        for row in rows
        if row["follower_id"] in untouched
    ]
    upsert(session, follower_tags, taken_over, ["follower_id", "tag_id"], [])


def _tag_ids(session: Session, account_id: int) -> dict[int, int]:
    """Our tag ids by the platform's."""
    rows = session.execute(
        sa.select(tags.c.wechat_id, tags.c.id).where(
            tags.c.account_id == account_id, tags.c.wechat_id.is_not(None)
        )
    )
    return {row.wechat_id: int(row.id) for row in rows}


def _unread(account_id: int, before: datetime) -> sa.Select[Any]:
    return sa.select(table.c.id).where(
        table.c.account_id == account_id,
        table.c.subscribed.is_(sa.true()),
        sa.or_(table.c.synced_at.is_(None), table.c.synced_at < before),
    )


def _count(session: Session, account_id: int, before: datetime) -> int:
    unread = _unread(account_id, before).with_only_columns(sa.func.count())
    return int(session.execute(unread).scalar_one())


def _change(session: Session, sync_id: int, **values: Any) -> None:
    session.execute(
        sa.update(follower_syncs).where(follower_syncs.c.id == sync_id).values(**values)
    )


def _progress(row: Any) -> Progress:
    return Progress(int(row.id), row.state, row.done, row.total, row.error)
