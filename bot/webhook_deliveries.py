"""Deliveries of webhooks: behaviour events are read behind a cursor, posts are signed, repeated and given up.

Signed as Standard Webhooks 1.0.0 says; one id a delivery, also when it is repeated. A stored payload holds
the follower's row id; the OpenID is added at the moment of sending, where the webhook may have it.
Source: www.standardwebhooks.com, version 1.0.0 (read 2026-11).
"""

import base64
import hashlib
import hmac
import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from bot import db, logs, operators, outside, webhooks
from bot.db import Session
from bot.outside import Posted
from bot.secrets import unseal
from bot.tables.accounts import accounts
from bot.tables.events import events as events_table
from bot.tables.followers import followers
from bot.tables.operators import webhook_deliveries as deliveries
from bot.tables.operators import webhooks as table
from bot.webhooks import Webhook

# an event is told when it is this old: a transaction that was slower than its neighbours has ended
LAG = timedelta(seconds=5)
READ = 2000  # rows of the event table, of all accounts, looked at in a step
LEASE = timedelta(seconds=60)
AT_ONCE = 8  # posts at the same time; eight that time out take ten seconds
WAITS = tuple(
    timedelta(seconds=seconds) for seconds in (30, 120, 600, 1800, 3600, 7200, 14400, 21600)
)
GIVE_UP = timedelta(hours=24)
SWITCH_OFF = timedelta(days=3)  # without one success
KEEP = timedelta(days=30)  # what is done with
GONE = 410

log = logs.get()
Post = Callable[..., Posted]


def read_events(engine: Engine, now: datetime) -> bool:
    """Turn behaviour events into deliveries, a step of each webhook; True while there is more to read.

    Events are read in the order of their ids, up to the first that is younger than ``LAG``.
    """
    with db.reading(engine) as session:
        newest = webhooks.newest_event(session)
        behind = [
            (webhook, position)
            for webhook, position in _active(session)
            if position < newest and set(webhook.kinds) - set(webhooks.PRODUCT_KINDS)
        ]
    more = False
    for webhook, position in behind:
        with db.reading(engine) as session:
            end = _read_to(session, position, newest, now)
            found = _events(session, webhook, position, end)
        if end == position:
            continue
        with db.writing(engine) as session:
            for row in found:
                data = {"event": row.id, "follower": row.follower_id, "key": row.key}
                data |= {"number": row.number, "at": webhooks.told(row.at)}
                webhooks.owe(session, webhook, row.kind, data, now, str(row.id))
            moved = sa.update(table).where(table.c.id == webhook.id, table.c.position < end)
            session.execute(moved.values(position=end))
        more = more or end < newest
    return more


def deliver(
    engine: Engine,
    secret_key: str,
    now: datetime,
    *,
    post: Post = outside.post,
) -> bool:
    """Post what is due, up to eight at the same time; True while there may be more.

    1. Claim deliveries by moving their next try behind the lease, and commit.
    2. Post them. A killed process loses nothing: the lease ends, and the receiver knows the id.
    3. Store what came of each, and what it means for its webhook.
    """
    claimed = _claim(engine, now)
    if not claimed:
        return False
    letters = _letters(engine, claimed, secret_key, now)
    with ThreadPoolExecutor(max_workers=AT_ONCE) as pool:
        outcomes = list(pool.map(lambda letter: letter.send(post), letters))
    with db.writing(engine) as session:
        for letter, posted in zip(letters, outcomes, strict=True):
            _settle(session, letter.row, posted, now)
    return len(claimed) == AT_ONCE


def prune(session: Session, now: datetime, limit: int) -> int:
    """Delete deliveries that were finished 30 days ago; how many went."""
    old = (
        sa.select(deliveries.c.id)
        .where(deliveries.c.status != "waiting", deliveries.c.finished_at < now - KEEP)
        .limit(limit)
    )
    gone = session.execute(
        sa.delete(deliveries)
        .where(deliveries.c.id.in_(old.scalar_subquery()))
        .returning(deliveries.c.id)
    )
    return len(gone.all())


def signature(secret: str, message_id: str, timestamp: int, body: bytes) -> str:
    """The value of ``webhook-signature``."""
    key = base64.b64decode(secret.removeprefix(webhooks.SECRET_PREFIX))
    signed = f"{message_id}.{timestamp}.".encode() + body
    return f"v1,{base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()}"


@dataclass(frozen=True)
class Letter:
    """One delivery, ready to be posted."""

    row: Any
    url: str
    body: bytes
    headers: Mapping[str, str]
    private: bool

    def send(self, post: Post) -> Posted:
        return post(self.url, self.body, self.headers, private=self.private)


def _claim(engine: Engine, now: datetime) -> Sequence[Any]:
    due = sa.and_(deliveries.c.status == "waiting", deliveries.c.next_try_at <= now)
    with db.reading(engine) as session:
        if session.execute(sa.select(deliveries.c.id).where(due).limit(1)).scalar() is None:
            return []
    with db.writing(engine) as session:
        return db.claim(
            session,
            deliveries,
            due,
            {"next_try_at": now + LEASE, "attempts": deliveries.c.attempts + 1},
            order_by=[deliveries.c.next_try_at, deliveries.c.id],
            limit=AT_ONCE,
        )


def _letters(
    engine: Engine, claimed: Sequence[Any], secret_key: str, now: datetime
) -> list[Letter]:
    with db.reading(engine) as session:
        rows = session.execute(
            sa.select(table, accounts.c.slug, accounts.c.sandbox_url)
            .join(accounts, accounts.c.id == table.c.account_id)
            .where(table.c.id.in_({row.webhook_id for row in claimed}))
        )
        known = {row.id: row for row in rows}
        open_ids = _open_ids(session, claimed, known)
    letters = []
    for row in claimed:
        webhook = known[row.webhook_id]
        data = dict(row.payload)
        if row.id in open_ids:
            data["open_id"] = open_ids[row.id]
        told = {
            "type": row.kind,
            "timestamp": webhooks.told(now),
            "account": webhook.slug,
            "data": data,
        }
        body = json.dumps(told, ensure_ascii=False, separators=(",", ":")).encode()
        message_id, timestamp = f"msg_{row.id}", int(now.timestamp())
        signed = signature(unseal(secret_key, webhook.secret), message_id, timestamp, body)
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "Qunfen",
            "webhook-id": message_id,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": signed,
        }
        letters.append(Letter(row, webhook.url, body, headers, webhook.sandbox_url is not None))
    return letters


def _open_ids(session: Session, claimed: Sequence[Any], known: Mapping[int, Any]) -> dict[int, str]:
    """OpenIDs by delivery, where the webhook may have them and the follower was not erased."""
    wanted = {
        row.id: row.payload["follower"]
        for row in claimed
        if known[row.webhook_id].events.get("open_id") and "follower" in row.payload
    }
    rows = session.execute(
        sa.select(followers.c.id, followers.c.open_id).where(
            followers.c.id.in_(set(wanted.values())), followers.c.erased_at.is_(None)
        )
    )
    found = {row.id: row.open_id for row in rows}
    return {number: found[one] for number, one in wanted.items() if one in found}


def _settle(session: Session, row: Any, posted: Posted, now: datetime) -> None:
    if posted.status is not None and 200 <= posted.status < 300:
        _finish(session, row, "sent", posted, now)
        return
    error = posted.error or f"answered {posted.status}"
    log.warning("webhook_failed", webhook=row.webhook_id, delivery=row.id, error=error)
    if posted.status == GONE:
        _finish(session, row, "failed", posted, now)
        _switch_off(session, row, "the receiver answered 410: it is gone", now)
        return
    wait = WAITS[min(row.attempts, len(WAITS)) - 1]
    if now + wait > row.created_at + GIVE_UP:
        _finish(session, row, "failed", posted, now)
        silent = _silent_since(session, row.webhook_id)
        if silent is not None and silent <= now - SWITCH_OFF:
            _switch_off(session, row, "nothing was accepted for 3 days", now)
        return
    session.execute(
        sa.update(deliveries)
        .where(deliveries.c.id == row.id)
        .values(next_try_at=now + wait, answer=posted.status, error=error)
    )
    # the others of this webhook wait as well, so that one dead receiver keeps nobody from the rest
    session.execute(
        sa.update(deliveries)
        .where(
            deliveries.c.webhook_id == row.webhook_id,
            deliveries.c.status == "waiting",
            deliveries.c.next_try_at < now + WAITS[0],
        )
        .values(next_try_at=now + WAITS[0])
    )


def _finish(session: Session, row: Any, status: str, posted: Posted, now: datetime) -> None:
    error = None if status == "sent" else posted.error or f"answered {posted.status}"
    session.execute(
        sa.update(deliveries)
        .where(deliveries.c.id == row.id)
        .values(status=status, answer=posted.status, error=error, next_try_at=None, finished_at=now)
    )


def _silent_since(session: Session, webhook_id: int) -> datetime | None:
    """When the first delivery was made since the last one that was accepted."""
    mine = deliveries.c.webhook_id == webhook_id
    accepted = session.execute(
        sa.select(sa.func.max(deliveries.c.created_at)).where(mine, deliveries.c.status == "sent")
    ).scalar()
    first = sa.select(sa.func.min(deliveries.c.created_at)).where(mine, deliveries.c.attempts > 0)
    if accepted is not None:
        first = first.where(deliveries.c.created_at > accepted)
    found: datetime | None = session.execute(first).scalar()
    return found


def _switch_off(session: Session, row: Any, why: str, now: datetime) -> None:
    found = session.execute(
        sa.select(table).where(table.c.id == row.webhook_id, table.c.active)
    ).one_or_none()
    if found is None:
        return
    webhooks.update(session, found.id, {"active": False, "events": {**found.events, "off": why}})
    webhooks.drop_waiting(session, found.id, now, why)
    operators.audit(
        session,
        "webhook.off",
        f"webhook:{found.id}",
        operator="system",
        now=now,
        account_id=found.account_id,
        after={"why": why},
    )


def _active(session: Session) -> list[tuple[Webhook, int]]:
    rows = session.execute(sa.select(table).where(table.c.active, table.c.archived_at.is_(None)))
    return [(webhooks.webhook_of(row), row.position) for row in rows]


def _read_to(session: Session, position: int, newest: int, now: datetime) -> int:
    """The last event id that may be read now: rows are looked at by their key, never by a scan."""
    end = min(newest, position + READ)
    young = session.execute(
        sa.select(sa.func.min(events_table.c.id)).where(
            events_table.c.id > position,
            events_table.c.id <= end,
            events_table.c.at > now - LAG,
            events_table.c.at <= now + LAG,  # a clock that runs ahead must not hold up the rest
        )
    ).scalar()
    return end if young is None else int(young) - 1


def _events(session: Session, webhook: Webhook, position: int, end: int) -> Sequence[Any]:
    found = sa.select(events_table).where(
        events_table.c.id > position,
        events_table.c.id <= end,
        events_table.c.account_id == webhook.account_id,
    )
    if webhooks.EVERY not in webhook.kinds:
        found = found.where(events_table.c.kind.in_(webhook.kinds))
    return session.execute(found.order_by(events_table.c.id)).all()
