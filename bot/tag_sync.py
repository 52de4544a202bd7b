"""Mirrors tags marked ``sync`` to the platform; we are the truth, the platform follows.

What is still to say is the difference of ``follower_tags`` and ``platform_tags``, so a run that is
killed goes on where it was. One run an account at a time: the platform refuses two tag changes of
one follower at once (45169).

Limits: 100 tags an account, 20 a follower, 50 followers a call, names of 30 bytes (the page says
characters, the text of 45158 bytes: the smaller is kept). Platform tags are never deleted here.
Source: docs/wechat-limits.md 5 (tag service of MudWechat, WxJava; read 2026-11).
"""

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa

from bot import accounts, followers, logs
from bot.db import Session, insert, reading, upsert, writing
from bot.errors import Refused, WeChatError
from bot.sql import among
from bot.tables.followers import follower_tags, platform_tags, tags
from bot.tables.followers import followers as followers_table
from bot.tables.jobs import kept
from bot.wechat import tags as gateway
from bot.wechat.client import WeChat

SYSTEM_TAGS = (0, 1, 2)  # cannot be edited; 45058
APIS = ("/cgi-bin/tags/members/batchtagging", "/cgi-bin/tags/members/batchuntagging")
LEASE = timedelta(minutes=5)  # longer than any run of CALLS calls
CALLS = 50
ROWS = 200  # followers a transaction: a push never waits longer than that takes

NAME_TOO_LONG = "标签名超过平台的 30 字节（约 10 个汉字），不能同步"
TOO_MANY_TAGS = "平台每个公众号最多 100 个标签，这个标签没有同步"
NAME_REFUSED = "平台拒绝这个标签名（非法或与系统标签重名）"
SYSTEM_TAG = "这是平台的系统标签，不能修改"
FEATURE = "tags"
TEMPORARY = "群发-"  # of a tag that lives for one send; then the send's clientmsgid
_TEMPORARY_NAME = re.compile(rf"{TEMPORARY}[0-9a-f]{{12}}-\d+")

log = logs.get()


@dataclass(frozen=True, slots=True)
class _Group:
    """Followers to tell the platform about, of one tag."""

    tag_id: int
    wechat_id: int
    open_ids: dict[str, int]  # OpenID -> follower id


def run(
    engine: sa.Engine, wechat: WeChat, account_id: int, now: datetime, *, calls: int = CALLS
) -> bool:
    """Tell the platform about at most about ``calls`` batches; returns whether another run has more to do.

    1. Tags without a platform tag get one: adopted by name, else created.
    2. Tags that followers lost are taken off, then tags they got are put on.
    3. What cannot be mirrored is written on the tag.

    Raises:
        WeChatError: the platform did not answer or wants us to wait; what was done is stored.
    """
    with writing(engine) as session:
        if accounts.by_id(session, account_id).rights.get(FEATURE) is False:
            return False
        if not _take_lease(session, account_id, now):
            return False
    try:
        _forget_who_left(engine, account_id)
        with _learning_rights(engine, account_id):
            _make_missing(engine, wechat, account_id)
            left = _Left(calls)
            _walk(engine, wechat, account_id, now, left, adding=False)
            _walk(engine, wechat, account_id, now, left, adding=True)
            if left.calls > 0:
                _write_errors(engine, account_id, now)
            # without any success another run would only repeat the same refusals
            return left.calls <= 0 and left.told > 0
    except _NoRight:
        return False
    finally:
        with writing(engine) as session:
            let_go(session, account_id)


def start_over(session: Session, account_id: int) -> None:
    """Forget why tags could not be mirrored, so that the next run tries again. Nightly, and after an edit."""
    session.execute(
        sa.update(tags)
        .where(tags.c.account_id == account_id, tags.c.error.is_not(None))
        .values(error=None)
    )


def platform_ids(
    engine: sa.Engine, wechat: WeChat, account_id: int, names: Sequence[str]
) -> dict[str, int]:
    """The platform's tag ids of our tags, made on the platform where they are missing.

    Raises:
        Refused: a tag does not exist, is not marked sync, or the platform will not have it.
        WeChatError: the platform said no or did not answer.
    """
    found = _known_ids(engine, account_id, names)
    if None in found.values():
        with writing(engine) as session:
            start_over(session, account_id)
        try:
            with _learning_rights(engine, account_id):
                _make_missing(engine, wechat, account_id)
        except _NoRight as problem:
            raise Refused("平台没有给这个公众号标签接口的权限（48001）") from problem
        found = _known_ids(engine, account_id, names)
    missing = [name for name, wechat_id in found.items() if wechat_id is None]
    if missing:
        with reading(engine) as session:
            why = session.execute(
                sa.select(tags.c.error).where(
                    tags.c.account_id == account_id, tags.c.name == missing[0]
                )
            ).scalar()
        raise Refused(f"标签「{missing[0]}」在平台上没有：{why or '没有标记 sync'}")
    return {name: wechat_id for name, wechat_id in found.items() if wechat_id is not None}


def hold(session: Session, account_id: int, now: datetime) -> bool:
    """Take the account's turn for changes of tags, unless somebody else has it: two at once are refused (45169)."""
    return _take_lease(session, account_id, now)


def let_go(session: Session, account_id: int) -> None:
    """Give the turn back."""
    session.execute(sa.delete(kept).where(kept.c.key == _lease_key(account_id)))


def temporary_name(client_msg_id: str) -> str:
    """What a tag is called that lives for one send. It is never taken for one of ours."""
    return f"{TEMPORARY}{client_msg_id}"


def adopt(session: Session, account_id: int, listing: Sequence[gateway.PlatformTag]) -> None:
    """Make tags of ours for the platform's, by name, so that what was there before us is kept."""
    rows = [
        {
            "account_id": account_id,
            "name": tag.name,
            "family": "客户信息",
            "sync": True,
            "wechat_id": tag.id,
        }
        for tag in listing
        if tag.id not in SYSTEM_TAGS and not _TEMPORARY_NAME.fullmatch(tag.name)
    ]
    upsert(session, tags, rows, ["account_id", "name"], ["wechat_id"])


class _NoRight(Exception):
    """48001: learnt and stored; there is nothing to do until somebody changes it."""


class _Left:
    """How many calls this run may still make, and how many worked."""

    def __init__(self, calls: int) -> None:
        self.calls = calls
        self.told = 0


@contextmanager
def _learning_rights(engine: sa.Engine, account_id: int) -> Iterator[None]:
    try:
        yield
    except WeChatError as problem:
        if problem.errcode != 48001:
            raise
        with writing(engine) as session:
            accounts.forbid(session, account_id, FEATURE)
        raise _NoRight from problem


def _lease_key(account_id: int) -> str:
    return f"tag_sync:{account_id}"


def _take_lease(session: Session, account_id: int, now: datetime) -> bool:
    statement = insert(session, kept).values(key=_lease_key(account_id), lease_until=now + LEASE)
    statement = statement.on_conflict_do_update(
        index_elements=["key"],
        set_={"lease_until": now + LEASE},
        where=kept.c.lease_until < now,
    )
    return session.execute(statement.returning(kept.c.key)).first() is not None


def _forget_who_left(engine: sa.Engine, account_id: int) -> None:
    """The platform takes the tags off who leaves; a few hundred a transaction, as after a long silence."""
    gone = (
        sa.select(platform_tags.c.follower_id)
        .distinct()
        .join(followers_table, followers_table.c.id == platform_tags.c.follower_id)
        .where(
            platform_tags.c.account_id == account_id, followers_table.c.subscribed.is_(sa.false())
        )
    )
    with reading(engine) as session:
        ids = list(session.execute(gone).scalars())
    for start in range(0, len(ids), ROWS):
        # asked again: somebody may have come back meanwhile
        still = sa.select(followers_table.c.id).where(
            among(followers_table.c.id, ids[start : start + ROWS]),
            followers_table.c.subscribed.is_(sa.false()),
        )
        with writing(engine) as session:
            session.execute(sa.delete(platform_tags).where(platform_tags.c.follower_id.in_(still)))


def _known_ids(engine: sa.Engine, account_id: int, names: Sequence[str]) -> dict[str, int | None]:
    with reading(engine) as session:
        rows = session.execute(
            sa.select(tags.c.name, tags.c.wechat_id, tags.c.sync).where(
                tags.c.account_id == account_id, tags.c.name.in_(list(names))
            )
        ).all()
    known = {row.name: row.wechat_id if row.sync else None for row in rows}
    return {name: known.get(name) for name in names}


def _make_missing(engine: sa.Engine, wechat: WeChat, account_id: int) -> None:
    """Give every synced tag its platform tag: adopt one of the same name, else create it."""
    with reading(engine) as session:
        wanted = session.execute(
            sa.select(tags.c.id, tags.c.name)
            .where(
                tags.c.account_id == account_id,
                tags.c.sync.is_(sa.true()),
                tags.c.archived_at.is_(None),
                tags.c.wechat_id.is_(None),
                tags.c.error.is_(None),
            )
            .order_by(tags.c.id)
        ).all()
    if not wanted:
        return
    listing = {tag.name: tag.id for tag in gateway.all(wechat) if tag.id not in SYSTEM_TAGS}
    taken = len(listing)
    for tag_id, name in wanted:
        wechat_id, error = listing.get(name), None
        if wechat_id is None:
            wechat_id, error = _create(wechat, name, taken)
            taken += wechat_id is not None
        with writing(engine) as session:
            session.execute(
                sa.update(tags).where(tags.c.id == tag_id).values(wechat_id=wechat_id, error=error)
            )


def _create(wechat: WeChat, name: str, taken: int) -> tuple[int | None, str | None]:
    if len(name.encode()) > gateway.MAX_NAME_BYTES:
        return None, NAME_TOO_LONG
    if taken >= gateway.MAX_TAGS:
        return None, TOO_MANY_TAGS
    try:
        return gateway.create(wechat, name), None
    except WeChatError as problem:
        texts = {45056: TOO_MANY_TAGS, 45157: NAME_REFUSED, 45158: NAME_TOO_LONG}
        if problem.errcode not in texts:
            raise
        return None, texts[problem.errcode]


def _walk(
    engine: sa.Engine,
    wechat: WeChat,
    account_id: int,
    now: datetime,
    left: _Left,
    *,
    adding: bool,
) -> None:
    """All differences of one direction, tag by tag and by follower id, so that none is tried twice in a run."""
    with reading(engine) as session:
        synced = session.execute(
            sa.select(tags.c.id)
            .where(tags.c.account_id == account_id, tags.c.wechat_id.is_not(None))
            .order_by(tags.c.id)
        ).scalars()
        tag_ids = list(synced)
    for tag_id in tag_ids:
        after = 0
        while left.calls > 0:
            with reading(engine) as session:
                find = _to_add if adding else _to_remove
                group = find(session, account_id, tag_id, after, now)
            if not group.open_ids:
                break
            after = max(group.open_ids.values())
            _tell(engine, wechat, account_id, now, group, left, adding=adding)


def _to_add(session: Session, account_id: int, tag_id: int, after: int, now: datetime) -> _Group:
    """The next followers who have the tag here and not there, and whose 20 oldest it belongs to."""
    older, other = follower_tags.alias("older"), tags.alias("other")
    before = (
        sa.select(sa.func.count())
        .select_from(older.join(other, other.c.id == older.c.tag_id))
        .where(
            older.c.follower_id == follower_tags.c.follower_id,
            other.c.sync.is_(sa.true()),
            other.c.archived_at.is_(None),
            other.c.wechat_id.is_not(None),
            sa.or_(older.c.expires_at.is_(None), older.c.expires_at > now),
            sa.or_(
                older.c.added_at < follower_tags.c.added_at,
                sa.and_(
                    older.c.added_at == follower_tags.c.added_at,
                    older.c.tag_id < follower_tags.c.tag_id,
                ),
            ),
        )
        .correlate(follower_tags)
        .scalar_subquery()
    )
    return _group(
        session,
        tag_id,
        _missing_there(account_id, now)
        .where(follower_tags.c.tag_id == tag_id, follower_tags.c.follower_id > after)
        .where(before < gateway.MAX_TAGS_OF_FOLLOWER)
        .order_by(follower_tags.c.follower_id),
    )


def _missing_there(account_id: int, now: datetime) -> sa.Select[tuple[int, str, int]]:
    told = (
        sa.select(sa.literal(1))
        .select_from(platform_tags)
        .where(
            platform_tags.c.tag_id == follower_tags.c.tag_id,
            platform_tags.c.follower_id == follower_tags.c.follower_id,
        )
    )
    return (
        sa.select(followers_table.c.id, followers_table.c.open_id, tags.c.wechat_id)
        .select_from(
            follower_tags.join(
                followers_table, followers_table.c.id == follower_tags.c.follower_id
            ).join(tags, tags.c.id == follower_tags.c.tag_id)
        )
        .where(
            tags.c.account_id == account_id,
            tags.c.sync.is_(sa.true()),
            tags.c.archived_at.is_(None),
            tags.c.wechat_id.is_not(None),
            followers_table.c.subscribed.is_(sa.true()),
            sa.or_(follower_tags.c.expires_at.is_(None), follower_tags.c.expires_at > now),
            ~sa.exists(told),
        )
    )


def _to_remove(session: Session, account_id: int, tag_id: int, after: int, now: datetime) -> _Group:
    """The next followers who have the tag there and no longer here."""
    held = (
        sa.select(sa.literal(1))
        .select_from(follower_tags)
        .where(
            follower_tags.c.tag_id == platform_tags.c.tag_id,
            follower_tags.c.follower_id == platform_tags.c.follower_id,
            tags.c.sync.is_(sa.true()),
            tags.c.archived_at.is_(None),
            sa.or_(follower_tags.c.expires_at.is_(None), follower_tags.c.expires_at > now),
        )
        .correlate(platform_tags, tags)
    )
    return _group(
        session,
        tag_id,
        sa.select(followers_table.c.id, followers_table.c.open_id, tags.c.wechat_id)
        .select_from(
            platform_tags.join(
                followers_table, followers_table.c.id == platform_tags.c.follower_id
            ).join(tags, tags.c.id == platform_tags.c.tag_id)
        )
        .where(
            platform_tags.c.account_id == account_id,
            platform_tags.c.tag_id == tag_id,
            platform_tags.c.follower_id > after,
            tags.c.wechat_id.is_not(None),
            ~sa.exists(held),
        )
        .order_by(platform_tags.c.follower_id),
    )


def _group(session: Session, tag_id: int, found: sa.Select[tuple[int, str, int]]) -> _Group:
    rows = session.execute(found.limit(gateway.MAX_OPEN_IDS)).all()
    return _Group(
        tag_id, rows[0].wechat_id if rows else 0, {row.open_id: int(row.id) for row in rows}
    )


def _tell(
    engine: sa.Engine,
    wechat: WeChat,
    account_id: int,
    now: datetime,
    group: _Group,
    left: _Left,
    *,
    adding: bool,
    again: bool = True,
) -> None:
    """One call, and what its answer means. A refusal that names nobody is narrowed down by halves."""
    call: Callable[[WeChat, int, list[str]], list[str]] = gateway.tag if adding else gateway.untag
    left.calls -= 1
    try:
        failed = set(call(wechat, group.wechat_id, list(group.open_ids)))
    except WeChatError as problem:
        code = problem.errcode
        if code == 45159 and again:
            if _still_there(engine, wechat, group):
                _tell(engine, wechat, account_id, now, group, left, adding=adding, again=False)
            return
        if code == 45058:
            _write_error(engine, group.tag_id, SYSTEM_TAG)
            return
        if code not in (40003, 43004, 45059, 45159, 45169, 49003, 50005):
            raise
        log.info("tag_refused", account_id=account_id, tag_id=group.tag_id, errcode=code)
        if code in (45159, 45169):
            return  # the difference stays for the next run
        if len(group.open_ids) > 1:
            for half in _halves(group):
                _tell(engine, wechat, account_id, now, half, left, adding=adding)
        elif code != 45059:
            with writing(engine) as session:
                followers.left(session, account_id, list(group.open_ids.values()), now)
        return
    told = [follower for open_id, follower in group.open_ids.items() if open_id not in failed]
    left.told += len(told)
    with writing(engine) as session:
        _store(session, account_id, group.tag_id, told, adding=adding)
    if failed and again:
        rest = {one: group.open_ids[one] for one in failed if one in group.open_ids}
        if rest:
            _tell(
                engine,
                wechat,
                account_id,
                now,
                _Group(group.tag_id, group.wechat_id, rest),
                left,
                adding=adding,
                again=False,
            )


def _halves(group: _Group) -> Iterator[_Group]:
    listed = list(group.open_ids.items())
    middle = len(listed) // 2
    for part in (listed[:middle], listed[middle:]):
        yield _Group(group.tag_id, group.wechat_id, dict(part))


def _store(
    session: Session, account_id: int, tag_id: int, told: list[int], *, adding: bool
) -> None:
    if adding:
        rows = [
            {"tag_id": tag_id, "follower_id": follower, "account_id": account_id}
            for follower in told
        ]
        upsert(session, platform_tags, rows, ["tag_id", "follower_id"], [])
        return
    session.execute(
        sa.delete(platform_tags).where(
            platform_tags.c.tag_id == tag_id, platform_tags.c.follower_id.in_(told)
        )
    )


def _still_there(engine: sa.Engine, wechat: WeChat, group: _Group) -> bool:
    """45159 is sometimes said of valid tags: ask. A tag that is gone there is made anew by the next run."""
    if any(tag.id == group.wechat_id for tag in gateway.all(wechat)):
        return True
    with writing(engine) as session:
        session.execute(sa.delete(platform_tags).where(platform_tags.c.tag_id == group.tag_id))
        session.execute(
            sa.update(tags).where(tags.c.id == group.tag_id).values(wechat_id=None, error=None)
        )
    return False


def _write_error(engine: sa.Engine, tag_id: int, text: str) -> None:
    with writing(engine) as session:
        session.execute(sa.update(tags).where(tags.c.id == tag_id).values(error=text))


def _write_errors(engine: sa.Engine, account_id: int, now: datetime) -> None:
    """Say on each mirrored tag how many followers could not get it; clear it where all could."""
    missing = _missing_there(account_id, now).with_only_columns(
        follower_tags.c.tag_id, sa.func.count().label("people")
    )
    with reading(engine) as session:
        counted = session.execute(missing.group_by(follower_tags.c.tag_id))
        people = {row.tag_id: row.people for row in counted}
        rows = session.execute(
            sa.select(tags.c.id, tags.c.error).where(
                tags.c.account_id == account_id, tags.c.wechat_id.is_not(None)
            )
        ).all()
    with writing(engine) as session:
        for row in rows:
            count = people.get(row.id, 0)
            text = f"{count} 位粉丝没有同步：同步标签超过 20 个，或平台暂时拒绝" if count else None
            if row.error != text and row.error != SYSTEM_TAG:
                session.execute(sa.update(tags).where(tags.c.id == row.id).values(error=text))
