"""Messages of the channel ``webhook``: where an account's go, and the posts that carry them.

Rows of the outbox are claimed as the outbox claims them, posted together up to the account's number, and get
their outcome one by one. Signed as Standard Webhooks 1.0.0 says; a message's id is its row's, also when it is
posted again, so that a receiver that has it already may say so and do nothing.
"""

import json
import secrets
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from bot import accounts as account_rows
from bot import db, logs, outbox_claims, outcomes, outside, webhooks
from bot.content import WEBHOOK
from bot.db import Session
from bot.errors import Invalid, Refused, WeChatError
from bot.outcomes import Outcome, Situation
from bot.outside import Posted
from bot.secrets import seal, unseal
from bot.sql import among
from bot.tables.accounts import accounts
from bot.tables.accounts import outgoing as table
from bot.tables.followers import followers
from bot.tables.outbox import outbox
from bot.webhook_deliveries import signature

MOST_TOGETHER = 100  # messages a post
MOST_FIELDS = 20  # names of fields a receiver is told
POSTS = 20  # a call of ``send_due``; a job step must stay under a minute
LEFT = "left"
KIND = "message.send"
NOT_NOW = frozenset({408, 425, 429})  # of 4xx: the same message may be taken later

log = logs.get()
Post = Callable[..., Posted]
Clock = Callable[[], datetime]


@dataclass(frozen=True, slots=True)
class Outgoing:
    """Where an account's messages go. ``fields``: which of the follower's are told, such as a phone number."""

    account_id: int
    url: str
    together: int
    open_id: bool
    fields: tuple[str, ...]


def get(session: Session, account_id: int) -> Outgoing | None:
    """Where an account's messages go; None: nowhere yet."""
    row = session.execute(sa.select(table).where(table.c.account_id == account_id)).one_or_none()
    if row is None:
        return None
    return Outgoing(account_id, row.url, row.together, row.open_id, tuple(row.fields))


def save(
    session: Session,
    account_id: int,
    *,
    url: str,
    together: int,
    open_id: bool,
    fields: Sequence[str],
    by: str,
    secret_key: str,
    now: datetime,
    new_secret: bool = False,
) -> str | None:
    """Say where an account's messages go. The signing secret, where one was made just now: it is shown this once.

    Raises:
        Invalid: an address that may not be posted to, or a number or field that cannot be.
    """
    url = url.strip()
    outside.check_url(url, private=_on_sandbox(session, account_id))
    if not 1 <= together <= MOST_TOGETHER:
        raise Invalid("together", f"must be a number from 1 to {MOST_TOGETHER}")
    names = list(dict.fromkeys(name.strip() for name in fields if name.strip()))
    if len(names) > MOST_FIELDS or any(len(name) > 60 for name in names):
        raise Invalid("fields", f"at most {MOST_FIELDS} names of up to 60 characters")
    values: dict[str, Any] = {"url": url, "together": together, "open_id": open_id}
    values |= {"fields": names, "changed_by": by, "changed_at": now}
    secret = None
    if new_secret or get(session, account_id) is None:
        secret = _new_secret()
        values["secret"] = seal(secret_key, secret)
        db.upsert(session, table, {"account_id": account_id, **values}, ["account_id"])
    else:
        session.execute(sa.update(table).where(table.c.account_id == account_id).values(**values))
    return secret


def rotate(session: Session, account_id: int, *, by: str, secret_key: str, now: datetime) -> str:
    """A new signing secret for an account whose messages go somewhere; it is shown this once."""
    secret = _new_secret()
    values = {"secret": seal(secret_key, secret), "changed_by": by, "changed_at": now}
    session.execute(sa.update(table).where(table.c.account_id == account_id).values(**values))
    return secret


def remove(session: Session, account_id: int) -> None:
    """Messages go nowhere any more; those that wait fail at their turn."""
    session.execute(sa.delete(table).where(table.c.account_id == account_id))


def send_due(
    engine: Engine, secret_key: str, clock: Clock, *, post: Post = outside.post, posts: int = POSTS
) -> int:
    """Post what is due, account by account; how many messages were handled."""
    handled = 0
    for _ in range(posts):
        with db.reading(engine) as session:
            due = _due(session, clock())
            account_id = session.execute(
                sa.select(outbox.c.account_id).where(due).order_by(outbox.c.id).limit(1)
            ).scalar()
        if account_id is None:
            break
        handled += _send(engine, secret_key, account_id, clock, post)
    return handled


def _send(engine: Engine, secret_key: str, account_id: int, clock: Clock, post: Post) -> int:
    """One post: claim, note that it begins, post, store each message's outcome."""
    now = clock()
    with db.writing(engine) as session:
        settings = session.execute(
            sa.select(table).where(table.c.account_id == account_id)
        ).one_or_none()
        mine = sa.and_(_due(session, now), outbox.c.account_id == account_id)
        rows = db.claim(
            session,
            outbox,
            mine,
            {
                "status": "sending",
                "attempts": outbox.c.attempts + 1,
                "lease_until": now + outbox_claims.LEASE,
                "first_try_at": outbox_claims.first_moment(outbox.c.first_try_at, now),
            },
            order_by=[outbox.c.not_before, outbox.c.id],
            limit=settings.together if settings is not None else MOST_TOGETHER,
        )
        people = _people(session, account_id, rows)
        about = session.execute(
            sa.select(accounts.c.slug, accounts.c.sandbox_url).where(accounts.c.id == account_id)
        ).one()
    ready = [row for row in rows if row.follower_id is None or row.follower_id in people]
    gone = [row for row in rows if row not in ready]
    problem: Exception | None = None
    if settings is None:
        problem = Refused("no address is set for messages to other systems")
    elif ready:
        problem = _post(settings, about, ready, people, secret_key, now, post)
    with db.writing(engine) as session:
        for row in gone:
            _store(session, row, Outcome("failed", LEFT), clock())
        for row in ready:
            _store(session, row, _outcome(row, problem, clock()), clock())
    return len(rows)


def _post(
    settings: Any,
    about: Any,
    rows: Sequence[Any],
    people: Mapping[int, Any],
    secret_key: str,
    now: datetime,
    post: Post,
) -> Exception | None:
    """Post some messages; why they were not taken, or None."""
    told = {
        "type": KIND,
        "timestamp": webhooks.told(now),
        "account": about.slug,
        "data": {"messages": [_told(settings, row, people.get(row.follower_id)) for row in rows]},
    }
    body = json.dumps(told, ensure_ascii=False, separators=(",", ":")).encode()
    # of a single message its own id; of several that of the first, each has its own inside
    message_id, timestamp = f"msg_out_{rows[0].id}", int(now.timestamp())
    try:
        signed = signature(unseal(secret_key, settings.secret), message_id, timestamp, body)
    except Refused as problem:
        return problem
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "Qunfen",
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": signed,
    }
    posted = post(settings.url, body, headers, private=about.sandbox_url is not None)
    return _problem(posted)


def _told(settings: Any, row: Any, person: Any) -> dict[str, Any]:
    """What the receiver is told of one message."""
    found: dict[str, Any] = {
        "id": f"msg_out_{row.id}",
        "follower": row.follower_id,
        "text": row.payload["content"]["text"],
    }
    if person is not None:
        found["fields"] = {
            name: person.fields[name] for name in settings.fields if name in person.fields
        }
        if settings.open_id:
            found["open_id"] = person.open_id
    return found


def _problem(posted: Posted) -> Exception | None:
    """What an answer means, in the outbox's own terms: not taken for good, or for now, or nobody knows."""
    if posted.status is not None and 200 <= posted.status < 300:
        return None
    why = posted.error or f"answered {posted.status}"
    if posted.status is not None and 400 <= posted.status < 500 and posted.status not in NOT_NOW:
        return Refused(f"the other system {why}")
    # nothing says that it was not taken; the id makes a repeat harmless
    return WeChatError(None, why, permanent=False, wait_seconds=60, action="unknown")


def _outcome(row: Any, problem: Exception | None, now: datetime) -> Outcome:
    if problem is None:
        return outcomes.succeeded({"msg_id": f"msg_out_{row.id}"})
    situation = Situation(
        attempts=row.attempts,
        first_try_at=row.first_try_at or now,
        repeatable=True,
        unanswered=row.unanswered_at is not None,
        expires_at=row.expires_at,
    )
    return outcomes.after_problem(problem, situation, now)


def _store(session: Session, row: Any, outcome: Outcome, now: datetime) -> None:
    values: dict[str, Any] = {
        "status": outcome.status,
        "error": outcome.error,
        "receipt": outcome.receipt,
        "lease_until": None,
    }
    if outcome.not_before is not None:
        values["not_before"] = outcome.not_before
    if outcome.unanswered:
        values["unanswered_at"] = outbox_claims.first_moment(outbox.c.unanswered_at, now)
    if outcome.status == "sent":
        values["sent_at"] = now
    session.execute(sa.update(outbox).where(outbox_claims.claimed(row)).values(**values))


def _due(session: Session, now: datetime) -> sa.ColumnElement[bool]:
    """What may be posted now: nothing of an account that is stopped, nor of campaigns in its quiet hours."""
    resting = account_rows.in_quiet_hours(session, now)
    stopped = sa.select(accounts.c.id).where(accounts.c.stopped_at.is_not(None))
    return sa.and_(
        outbox.c.status == "waiting",
        outbox.c.channel == WEBHOOK,
        outbox.c.not_before <= now,
        sa.or_(outbox.c.expires_at.is_(None), outbox.c.expires_at > now),
        outbox.c.account_id.not_in(stopped),
        sa.or_(outbox.c.purpose != "delivery", outbox.c.account_id.not_in(resting)),
    )


def _people(session: Session, account_id: int, rows: Sequence[Any]) -> dict[int, Any]:
    """The followers of these rows who still follow."""
    ids = {row.follower_id for row in rows if row.follower_id is not None}
    found = session.execute(
        sa.select(followers.c.id, followers.c.open_id, followers.c.fields).where(
            among(followers.c.id, ids),
            followers.c.account_id == account_id,
            followers.c.subscribed,
            followers.c.erased_at.is_(None),
        )
    )
    return {row.id: row for row in found}


def _new_secret() -> str:
    return webhooks.SECRET_PREFIX + b64encode(secrets.token_bytes(32)).decode()


def _on_sandbox(session: Session, account_id: int) -> bool:
    found = sa.select(accounts.c.sandbox_url).where(accounts.c.id == account_id)
    return session.execute(found).scalar() is not None
