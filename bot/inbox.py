"""The inbox (收件箱): every verified push is a row before anything is done about it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from bot.accounts import Account
from bot.db import Session, insert_of
from bot.prepared import Prepared
from bot.tables.inbox import inbound, inbound_media
from bot.wechat.message import Message
from rules.facts import Facts

NEW, DONE, FAILED = "new", "done", "failed"
ERROR_LENGTH = 8000  # characters of a stored traceback; the end is what tells

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Push:
    """A stored push on its way to a handler. ``passive`` is False when it is replayed: nobody waits."""

    id: int
    account: Account
    message: Message
    received_at: datetime
    with_cooldowns: bool = False
    passive: bool = True


@dataclass(frozen=True, slots=True)
class Handled:
    """What a handler returns when it answered by itself: rules are not asked. ``why`` goes to the trace."""

    facts: Facts
    reply: Json
    why: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What the platform is told: a rendered content or None, and the moment the first answer was given."""

    content: Json | None
    at: datetime
    repeated: bool = False


_RECORD_COLUMNS = (
    "account_id",
    "dedupe_key",
    "kind",
    "message",
    "sent_at",
    "received_at",
    "status",
)
_RECORD = Prepared(
    lambda dialect: insert_of(dialect, inbound).on_conflict_do_nothing().returning(inbound.c.id),
    _RECORD_COLUMNS,
)
_FINISH = Prepared(
    sa.update(inbound)
    .where(inbound.c.id == sa.bindparam("push"))
    .values(
        status=DONE,
        error=None,
        follower_id=sa.bindparam("follower"),
        facts=sa.bindparam("known"),
        rulebook_number=sa.bindparam("number"),
        rules=sa.bindparam("matched"),
        trace=sa.bindparam("why"),
        reply=sa.bindparam("content"),
        milliseconds=sa.bindparam("took"),
        unmatched=sa.bindparam("nobody"),
    )
)


def record(
    session: Session, account: Account, message: Message, received_at: datetime
) -> int | None:
    """Insert a push first: its id, or None when the same push is here already (or just being handled)."""
    values = (
        account.id,
        message.dedupe_key(account.id),
        message.kind,
        message.to_json(),
        message.sent_at,
        received_at,
        NEW,
    )
    return _RECORD.scalar(session, dict(zip(_RECORD_COLUMNS, values, strict=True)))


def answer_again(session: Session, account: Account, message: Message) -> Answer:
    """The stored answer of a repeated push: same question, same answer."""
    key = message.dedupe_key(account.id)
    row = session.execute(
        sa.update(inbound)
        .where(inbound.c.dedupe_key == key)
        .values(deliveries=inbound.c.deliveries + 1)
        .returning(inbound.c.reply, inbound.c.received_at)
    ).one()
    return Answer(row.reply, row.received_at, repeated=True)


def finish(
    session: Session,
    push_id: int,
    *,
    follower_id: int | None,
    facts: Json | None,
    number: int | None,
    rules: Sequence[str],
    trace: Json | None,
    reply: Json | None,
    milliseconds: float,
    unmatched: bool = False,
) -> None:
    """Store what was decided about a push and what was answered. ``unmatched``: a text, and no rule had an answer."""
    _FINISH.run(
        session,
        {
            "push": push_id,
            "follower": follower_id,
            "known": facts,
            "number": number,
            "matched": list(rules),
            "why": trace,
            "content": reply,
            "took": milliseconds,
            "nobody": unmatched or None,
        },
    )


def record_failure(
    session: Session, account: Account, message: Message, received_at: datetime, error: str
) -> int:
    """Store a push whose handling failed, with the reason, so that it can be replayed. Its row's id."""
    push_id = record(session, account, message, received_at)
    if push_id is None:
        push_id = session.execute(
            sa.select(inbound.c.id).where(inbound.c.dedupe_key == message.dedupe_key(account.id))
        ).scalar_one()
    fail(session, push_id, error)
    return push_id


def fail(session: Session, push_id: int, error: str) -> None:
    """Mark a push as failed; what an earlier handling stored about it stays."""
    session.execute(
        sa.update(inbound)
        .where(inbound.c.id == push_id, inbound.c.status != DONE)
        .values(status=FAILED, error=error[-ERROR_LENGTH:])
    )


def stored(session: Session, account: Account, push_id: int) -> Push | None:
    """A failed push, ready to be handled again; None if it is none of this account's or erased."""
    row = session.execute(
        sa.select(inbound).where(
            inbound.c.id == push_id,
            inbound.c.account_id == account.id,
            inbound.c.status == FAILED,
        )
    ).one_or_none()
    if row is None or not row.message:
        return None
    return Push(row.id, account, Message.from_json(row.message), row.received_at, passive=False)


def failed_ids(session: Session, account_id: int, limit: int = 1000) -> list[int]:
    """Ids of pushes whose handling failed, oldest first."""
    return list(
        session.execute(
            sa.select(inbound.c.id)
            .where(inbound.c.account_id == account_id, inbound.c.status == FAILED)
            .order_by(inbound.c.id)
            .limit(limit)
        ).scalars()
    )


def latest(session: Session, account_id: int, limit: int = 20) -> Sequence[sa.Row[Any]]:
    """The newest pushes of an account, newest first."""
    return session.execute(
        sa.select(inbound)
        .where(inbound.c.account_id == account_id)
        .order_by(inbound.c.id.desc())
        .limit(limit)
    ).all()


def last_push_at(session: Session, account_id: int) -> datetime | None:
    """When the platform last pushed anything for an account."""
    found: datetime | None = session.execute(
        sa.select(inbound.c.received_at)
        .where(inbound.c.account_id == account_id)
        .order_by(inbound.c.id.desc())
        .limit(1)
    ).scalar()
    return found


def prune(session: Session, before: datetime, limit: int) -> int:
    """Delete pushes received before a moment, ``limit`` rows at the most; how many went."""
    chosen = (
        sa.select(inbound.c.id)
        .where(inbound.c.received_at < before)
        .order_by(inbound.c.id)
        .limit(limit)
    )
    ids = list(session.execute(chosen).scalars())
    session.execute(sa.delete(inbound_media).where(inbound_media.c.push_id.in_(ids)))
    return session.execute(sa.delete(inbound).where(inbound.c.id.in_(ids))).rowcount
