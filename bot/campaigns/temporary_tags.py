"""Tags of the platform that live for one send: how an account that cannot send by OpenID reaches any segment.

A subscription account sends to everybody or to one tag. For any other audience a tag is made, put on its people
fifty at a time, sent to, and taken away again. Each step leaves what it did in the row, so that whoever comes
after a kill goes on; a call that is made twice changes nothing.

Nothing here sends, and nothing ever falls back to everybody: without a tag that is ready no batch is handed over,
and a tag that has vanished since is refused by the platform (40152) and ends the batch.
Source of the limits: docs/wechat-limits.md 5 and 8 (read 2026-11).
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from bot import accounts, db, logs, tag_sync
from bot.db import Session
from bot.errors import Refused, WeChatError
from bot.sql import among
from bot.tables.campaigns import campaign_runs, deliveries, mass_batches, temporary_tags
from bot.tables.followers import followers
from bot.tables.jobs import installation
from bot.wechat import tags as gateway
from bot.wechat.client import WeChat

PREFIX_KEY = "client_msg_id_prefix"  # of the installation, made with the first batch
CALLS = 50  # a step; the lease of tag changes is longer than so many take
# a tag with more people than this is not deleted (45057); they are taken off first
DELETABLE = 100_000
MAKING, FILLING, READY, USED, CLEARING, GONE = (
    "making", "filling", "ready", "used", "clearing", "gone",
)  # fmt: skip
AT_WORK = (MAKING, FILLING, CLEARING)
OVER = ("finished", "failed", "unknown", "cancelled")
NO_SUCH_TAG = (40152, 45159)
TOO_MANY_TAGS, TOO_MANY_OF_FOLLOWER = 45056, 45059
# who cannot be tagged because they do not follow, are on the blacklist, or are nobody of this account
NOBODY = (40003, 43004, 49003, 50005)
FULL = f"平台上的标签已满 {gateway.MAX_TAGS} 个：删掉一个不用的，再继续这次执行"
VANISHED = "平台上的临时标签被删掉了，没有发送；继续执行会重新建立"

log = logs.get()
WeChatOf = Callable[[int], WeChat]


@dataclass(frozen=True, slots=True)
class Tag:
    """Where the tag of a batch is. ``wechat_id`` is set once it may be sent to; ``told``: its run was paused for
    ``error``, so that whoever goes on wants another try."""

    state: str
    wechat_id: int | None
    size: int
    error: str | None
    told: bool


class _Vanished(Exception):
    """Somebody deleted the tag on the platform meanwhile."""


def of_batch(session: Session, batch_id: int) -> Tag | None:
    """The tag that was asked for this batch; None: none was."""
    row = _row_of(session, batch_id)
    if row is None:
        return None
    ready = row.state == READY and row.error is None
    told = row.error is not None and row.ended_at is not None
    return Tag(row.state, row.wechat_id if ready else None, row.size, row.error, told)


def ask(session: Session, account_id: int, run_id: int, batch: Any, now: datetime) -> None:
    """Have a tag made for a full batch, in the caller's transaction. Asked again, a failed one is begun anew."""
    row = _row_of(session, batch.id)
    if row is None:
        session.execute(
            sa.insert(temporary_tags).values(
                account_id=account_id,
                run_id=run_id,
                batch_id=batch.id,
                name=tag_sync.temporary_name(batch.client_msg_id),
                state=MAKING,
                filled_to=0,
                cleared_to=0,
                size=0,
                created_at=now,
            )
        )
    elif row.error is not None:
        _change(session, row.id, state=MAKING, error=None, ended_at=None, filled_to=0, size=0)


def told(session: Session, batch_id: int, now: datetime) -> None:
    """Its error was shown as the reason of a pause."""
    row = _row_of(session, batch_id)
    if row is not None:
        _change(session, row.id, ended_at=now)


def used(session: Session, batch_id: int) -> None:
    """The batch was handed over: the tag goes once its result is there."""
    session.execute(
        sa.update(temporary_tags)
        .where(temporary_tags.c.batch_id == batch_id, temporary_tags.c.state == READY)
        .values(state=USED)
    )


def accounts_at_work(engine: Engine, now: datetime) -> list[int]:
    """Accounts with a tag to make, fill or take away; what a send has used up is given to clearing first."""
    with db.reading(engine) as session:
        over = list(session.execute(sa.select(temporary_tags.c.id).where(_over())).scalars())
    if over:
        with db.writing(engine) as session:
            session.execute(
                sa.update(temporary_tags)
                .where(among(temporary_tags.c.id, over), _over())
                .values(state=CLEARING)
            )
    with db.reading(engine) as session:
        return list(
            session.execute(
                sa.select(temporary_tags.c.account_id)
                .where(temporary_tags.c.state.in_(AT_WORK), temporary_tags.c.error.is_(None))
                .distinct()
                .order_by(temporary_tags.c.account_id)
            ).scalars()
        )


def step(engine: Engine, wechat: WeChat, account_id: int, now: datetime) -> bool:
    """Up to 50 calls for the tags of one account; whether there is more to do at once.

    One process at a time, and not while tags are being mirrored: the platform refuses two changes of one
    follower's tags at once (45169).
    """
    with db.writing(engine) as session:
        stopped = accounts.by_id(session, account_id).stopped
        if stopped or not tag_sync.hold(session, account_id, now):
            return False
    try:
        return _work(engine, wechat, account_id, now)
    finally:
        with db.writing(engine) as session:
            tag_sync.let_go(session, account_id)


def ever(engine: Engine, account_id: int) -> bool:
    """Whether the account ever had such a tag."""
    mine = sa.select(temporary_tags.c.id).where(temporary_tags.c.account_id == account_id)
    with db.reading(engine) as session:
        return session.execute(mine.limit(1)).first() is not None


def sweep(engine: Engine, wechat: WeChat, account_id: int) -> int:
    """Delete tags of ours on the platform that no send needs any more, as after a restored backup; how many."""
    with db.reading(engine) as session:
        mine = session.execute(
            sa.select(temporary_tags.c.name).where(
                temporary_tags.c.account_id == account_id, temporary_tags.c.state != GONE
            )
        ).scalars()
        needed = set(mine)
        ours = re.escape(tag_sync.temporary_name(_prefix(session)))
    gone = 0
    for tag in gateway.all(wechat):
        if re.fullmatch(rf"{ours}-\d+", tag.name) and tag.name not in needed:
            try:
                gateway.delete(wechat, tag.id)
                gone += 1
            except WeChatError as problem:  # more than 100,000 wear it: somebody must look
                log.warning("orphan_tag", account=account_id, tag=tag.id, error=str(problem))
    return gone


def _work(engine: Engine, wechat: WeChat, account_id: int, now: datetime) -> bool:
    calls = CALLS
    while calls > 0:
        with db.reading(engine) as session:
            row = session.execute(
                sa.select(temporary_tags)
                .where(
                    temporary_tags.c.account_id == account_id,
                    temporary_tags.c.state.in_(AT_WORK),
                    temporary_tags.c.error.is_(None),
                )
                # first what goes, which makes room for what comes
                .order_by(temporary_tags.c.state != CLEARING, temporary_tags.c.id)
                .limit(1)
            ).one_or_none()
        if row is None:
            return False
        try:
            calls -= _STEPS[row.state](engine, wechat, row, now)
        except _Vanished:
            _fail(engine, row, VANISHED)
        except WeChatError as problem:
            if not problem.permanent:
                log.warning("temporary_tag_waits", tag=row.id, error=str(problem))
                return False  # the next tick goes on
            _fail(engine, row, logs.clean(str(problem)))
        except Refused as problem:
            _fail(engine, row, str(problem))
    return True


def _made(engine: Engine, wechat: WeChat, row: Any, now: datetime) -> int:
    """Make the tag, or find the one that was made before a kill. Then its people are next."""
    listing = [tag for tag in gateway.all(wechat) if tag.id not in tag_sync.SYSTEM_TAGS]
    found = next((tag.id for tag in listing if tag.name == row.name), None)
    if found is None:
        if len(listing) >= gateway.MAX_TAGS:
            raise Refused(FULL)
        try:
            found = gateway.create(wechat, row.name)
        except WeChatError as problem:
            if problem.errcode == TOO_MANY_TAGS:
                raise Refused(FULL) from problem
            raise
    with db.writing(engine) as session:
        _change(session, row.id, state=FILLING, wechat_id=found, filled_to=0, size=0)
    return 2


def _filled(engine: Engine, wechat: WeChat, row: Any, now: datetime) -> int:
    """Put the tag on the next fifty; without any the tag is looked at once more, and may be sent to."""
    with db.reading(engine) as session:
        people = _next_people(session, row, row.filled_to)
    if not people:
        _still_there(wechat, row)
        with db.writing(engine) as session:
            _change(session, row.id, state=READY)
        return 1
    stay = {one.open_id: one for one in people if one.subscribed and one.opted_out_at is None}
    refused = _tell(wechat, row.wechat_id, list(stay)) if stay else {}
    gone: dict[str, list[int]] = {"left": [], "opted_out": []}
    for one in people:
        if one.open_id not in stay:
            gone["opted_out" if one.subscribed else "left"].append(one.id)
    failed: dict[int, list[int]] = {}
    for open_id, errcode in refused.items():
        delivery = stay[open_id].id
        if errcode in NOBODY:
            gone["left"].append(delivery)
        else:
            failed.setdefault(errcode, []).append(delivery)
    with db.writing(engine) as session:
        for reason, ids in gone.items():
            _leave_out(session, ids, {"status": "skipped", "reason": reason, "at": now})
        for code, ids in failed.items():
            _leave_out(session, ids, {"status": "failed", "errcode": code, "at": now})
        _change(
            session,
            row.id,
            filled_to=people[-1].follower_id,
            size=temporary_tags.c.size + len(stay) - len(refused),
        )
    return 1 + len(refused)


def _cleared(engine: Engine, wechat: WeChat, row: Any, now: datetime) -> int:
    """Take the tag away. One that too many wear is taken off fifty at a time before."""
    if row.wechat_id is None:
        with db.writing(engine) as session:
            _change(session, row.id, state=GONE, ended_at=now)
        return 1
    if row.size > DELETABLE:
        with db.reading(engine) as session:
            people = _next_people(session, row, row.cleared_to)
        if people:
            gateway.untag(wechat, row.wechat_id, [one.open_id for one in people])
            with db.writing(engine) as session:
                left = temporary_tags.c.size - len(people)
                _change(session, row.id, cleared_to=people[-1].follower_id, size=left)
            return 1
    try:
        gateway.delete(wechat, row.wechat_id)
    except WeChatError as problem:
        if problem.errcode not in NO_SUCH_TAG:
            raise
    with db.writing(engine) as session:
        _change(session, row.id, state=GONE, ended_at=now)
    return 1


_STEPS: Mapping[str, Callable[[Engine, WeChat, Any, datetime], int]] = {
    MAKING: _made,
    FILLING: _filled,
    CLEARING: _cleared,
}


def _tell(wechat: WeChat, tag_id: int, open_ids: Sequence[str]) -> dict[str, int]:
    """Tag up to fifty; who could not be, and why. A refusal that names nobody is narrowed down by halves."""
    try:
        failed = gateway.tag(wechat, tag_id, open_ids)
    except WeChatError as problem:
        if problem.errcode in NO_SUCH_TAG:
            raise _Vanished from problem
        if not problem.permanent or problem.errcode is None:
            raise
        if len(open_ids) == 1:
            return {open_ids[0]: problem.errcode}
        middle = len(open_ids) // 2
        return _tell(wechat, tag_id, open_ids[:middle]) | _tell(wechat, tag_id, open_ids[middle:])
    if not failed:
        return {}
    if len(open_ids) == 1:
        return {open_ids[0]: gateway.SOME_FAILED}
    found: dict[str, int] = {}
    for one in failed:
        found |= _tell(wechat, tag_id, [one])
    return found


def _still_there(wechat: WeChat, row: Any) -> None:
    """Raises _Vanished when the tag is not on the platform any more, or its id is another tag's by now."""
    if not any(tag.id == row.wechat_id and tag.name == row.name for tag in gateway.all(wechat)):
        raise _Vanished


def _next_people(session: Session, row: Any, after: int) -> Sequence[Any]:
    return session.execute(
        sa.select(
            deliveries.c.id,
            deliveries.c.follower_id,
            followers.c.open_id,
            followers.c.subscribed,
            followers.c.opted_out_at,
        )
        .join(followers, followers.c.id == deliveries.c.follower_id)
        .where(
            deliveries.c.batch_id == row.batch_id,
            deliveries.c.follower_id > after,
            followers.c.erased_at.is_(None),
        )
        .order_by(deliveries.c.follower_id)
        .limit(gateway.MAX_OPEN_IDS)
    ).all()


def _leave_out(session: Session, ids: Sequence[int], values: Mapping[str, Any]) -> None:
    """Deliveries that are in the batch no more."""
    if ids:
        session.execute(
            sa.update(deliveries)
            .where(among(deliveries.c.id, ids), deliveries.c.status == "planned")
            .values(batch_id=None, **values)
        )


def _fail(engine: Engine, row: Any, error: str) -> None:
    log.error("temporary_tag_failed", tag=row.id, state=row.state, error=error)
    with db.writing(engine) as session:
        _change(session, row.id, error=error[:500])


def _over() -> sa.ColumnElement[bool]:
    """Tags whose send is over, or will never come."""
    batch = mass_batches.c.id == temporary_tags.c.batch_id
    ended = sa.exists().where(batch, mass_batches.c.status.in_(OVER))
    there = sa.exists().where(batch)
    cancelled = sa.exists().where(
        campaign_runs.c.id == temporary_tags.c.run_id, campaign_runs.c.status == "cancelled"
    )
    waiting = temporary_tags.c.state.in_((MAKING, FILLING, READY))
    return sa.or_(
        sa.and_(temporary_tags.c.state == USED, sa.or_(ended, ~there)),
        sa.and_(waiting, sa.or_(cancelled, ended, ~there)),
    )


def _row_of(session: Session, batch_id: int) -> Any | None:
    return session.execute(
        sa.select(temporary_tags)
        .where(temporary_tags.c.batch_id == batch_id, temporary_tags.c.state != GONE)
        .order_by(temporary_tags.c.id.desc())
        .limit(1)
    ).one_or_none()


def _change(session: Session, tag_id: int, **values: Any) -> None:
    session.execute(sa.update(temporary_tags).where(temporary_tags.c.id == tag_id).values(**values))


def _prefix(session: Session) -> str:
    """What the names of this installation's tags go on with: several may serve one account."""
    found = sa.select(installation.c.value).where(installation.c.key == PREFIX_KEY)
    return session.execute(found).scalar() or "none"
