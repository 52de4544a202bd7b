"""What an ``Idempotency-Key`` was answered: a request that is repeated gets the same answer, and does nothing twice.

A claim is a row without a status; the answer is stored in the transaction of the change itself.
Source: draft-ietf-httpapi-idempotency-key-header-07 (datatracker.ietf.org; read 2026-11).
"""

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from bot import db
from bot.db import Session
from bot.errors import Invalid, Refused
from bot.tables.operators import api_requests

KEEP = timedelta(days=1)
# a process that was killed while it answered never stores anything: after this the key is free again
ABANDONED = timedelta(minutes=5)
KEY_CHARACTERS = 200
PRUNE_ROWS = 2000


@dataclass(frozen=True, slots=True)
class Answer:
    """A stored answer: the HTTP status and the JSON."""

    status: int
    body: Any


def checked(key: str) -> str:
    """A usable key: 1 to 200 visible ASCII characters.

    Raises:
        Invalid: it is not.
    """
    if not 1 <= len(key) <= KEY_CHARACTERS or not all("!" <= letter <= "~" for letter in key):
        raise Invalid("Idempotency-Key", "must have 1 to 200 visible ASCII characters")
    return key


def fingerprint(method: str, path: str, body: bytes) -> str:
    """What makes two requests the same one."""
    return hashlib.sha256(b"\n".join((method.encode(), path.encode(), body))).hexdigest()


def claim(session: Session, token_id: int, key: str, mark: str, now: datetime) -> Answer | None:
    """Take a key for a request: None when it is ours now, else the stored answer of the first one.

    Raises:
        Invalid: the key was used for another request.
        Refused: the first request is still being answered.
    """
    statement = db.insert(session, api_requests).values(
        token_id=token_id, key=key, fingerprint=mark, at=now
    )
    new = statement.excluded
    over = sa.or_(
        api_requests.c.at <= now - KEEP,
        sa.and_(api_requests.c.status.is_(None), api_requests.c.at <= now - ABANDONED),
    )
    taken = session.execute(
        statement.on_conflict_do_update(
            index_elements=["token_id", "key"],
            set_={"fingerprint": new.fingerprint, "at": new.at, "status": None, "body": None},
            where=over,
        ).returning(api_requests.c.key)
    ).scalar()
    if taken is not None:
        return None
    row = session.execute(sa.select(api_requests).where(*_ours(token_id, key))).one()
    if row.fingerprint != mark:
        raise Invalid("Idempotency-Key", "this key was used for another request")
    if row.status is None:
        raise Refused("a request with this Idempotency-Key is still being answered")
    return Answer(row.status, row.body)


def store(session: Session, token_id: int, key: str, answer: Answer) -> None:
    """Keep the answer of a claimed request."""
    session.execute(
        sa.update(api_requests)
        .where(*_ours(token_id, key))
        .values(status=answer.status, body=answer.body)
    )


def release(session: Session, token_id: int, key: str) -> None:
    """Give a claimed key back: nothing was done, and a repetition may try again."""
    session.execute(
        sa.delete(api_requests).where(*_ours(token_id, key), api_requests.c.status.is_(None))
    )


def prune(session: Session, now: datetime) -> int:
    """Delete up to 2,000 answers older than a day; how many went."""
    old = (
        sa.select(api_requests.c.token_id, api_requests.c.key)
        .where(api_requests.c.at <= now - KEEP)
        .limit(PRUNE_ROWS)
    )
    gone = session.execute(
        sa.delete(api_requests)
        .where(sa.tuple_(api_requests.c.token_id, api_requests.c.key).in_(old))
        .returning(api_requests.c.key)
    )
    return len(gone.all())


def _ours(token_id: int, key: str) -> tuple[sa.ColumnElement[bool], ...]:
    return api_requests.c.token_id == token_id, api_requests.c.key == key
