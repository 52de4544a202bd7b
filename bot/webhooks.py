"""Outgoing webhooks: which other systems are told of what followers did and operators published.

Here they are made, changed and listed, and deliveries are owed; ``bot.webhook_deliveries`` posts them.
"""

import base64
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from bot import db, events, outside
from bot.clock import local
from bot.db import Session
from bot.errors import Invalid, Refused
from bot.secrets import seal
from bot.tables.accounts import accounts
from bot.tables.events import events as events_table
from bot.tables.operators import webhook_deliveries as deliveries
from bot.tables.operators import webhooks

PRODUCT_KINDS = ("rulebook.published", "menu.published", "follower.erased")
KINDS = (*events.KINDS, *PRODUCT_KINDS)
PING = "webhook.ping"
EVERY = "*"  # whatever happens, also what rules `record` under names of their own
KIND_CHARACTERS = 60
MOST = 20  # webhooks of an account
SECRET_PREFIX = "whsec_"  # noqa: S105 - the word that Standard Webhooks puts before a secret


@dataclass(frozen=True, slots=True)
class Webhook:
    """``kinds`` are what it is told of; ``off`` says why the machine switched it off."""

    id: int
    account_id: int
    url: str
    kinds: tuple[str, ...]
    open_id: bool
    active: bool
    off: str | None
    created_by: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Delivery:
    id: int
    webhook_id: int
    kind: str
    payload: Mapping[str, Any]
    status: str
    attempts: int
    next_try_at: datetime | None
    answer: int | None
    error: str | None
    created_at: datetime
    finished_at: datetime | None


def create(
    session: Session,
    account_id: int,
    url: str,
    kinds: Iterable[str],
    now: datetime,
    *,
    by: str,
    secret_key: str,
    open_id: bool = False,
) -> tuple[int, str]:
    """Make a webhook; its id and its secret, which is shown this once. It is told of what happens from now on.

    Raises:
        Invalid: address or kinds cannot be used.
        Refused: the account has as many as it may.
    """
    url, chosen = url.strip(), _kinds(kinds)
    outside.check_url(url, private=_on_sandbox(session, account_id))
    if len(every(session, account_id)) >= MOST:
        raise Refused(f"an account has at most {MOST} webhooks")
    secret = _new_secret()
    made = session.execute(
        sa.insert(webhooks)
        .values(
            account_id=account_id,
            url=url,
            secret=seal(secret_key, secret),
            events={"kinds": chosen, "open_id": open_id},
            active=True,
            position=newest_event(session),
            created_by=by,
            created_at=now,
        )
        .returning(webhooks.c.id)
    ).scalar_one()
    return int(made), secret


def change(
    session: Session,
    account_id: int,
    webhook_id: int,
    *,
    url: str,
    kinds: Iterable[str],
    open_id: bool,
    active: bool,
    now: datetime,
) -> Webhook:
    """Change a webhook. Switched on again, it is told of what happens from then on.

    Raises:
        Invalid: address or kinds cannot be used.
        Refused: there is no such webhook.
    """
    before = _must(session, account_id, webhook_id)
    url, chosen = url.strip(), _kinds(kinds)
    outside.check_url(url, private=_on_sandbox(session, account_id))
    values: dict[str, Any] = {"url": url, "active": active}
    values["events"] = {"kinds": chosen, "open_id": open_id}
    if active and not before.active:
        values["position"] = newest_event(session)
    if not active and before.off:
        values["events"]["off"] = before.off
    update(session, webhook_id, values)
    if not active:
        drop_waiting(session, webhook_id, now, "switched off")
    return _must(session, account_id, webhook_id)


def rotate(session: Session, account_id: int, webhook_id: int, secret_key: str) -> str:
    """A new secret, shown this once; the old one signs nothing any more.

    Raises:
        Refused: there is no such webhook.
    """
    _must(session, account_id, webhook_id)
    secret = _new_secret()
    update(session, webhook_id, {"secret": seal(secret_key, secret)})
    return secret


def archive(session: Session, account_id: int, webhook_id: int, now: datetime) -> None:
    """Take a webhook away; what still waits is given up.

    Raises:
        Refused: there is no such webhook.
    """
    _must(session, account_id, webhook_id)
    update(session, webhook_id, {"active": False, "archived_at": now})
    drop_waiting(session, webhook_id, now, "the webhook was deleted")


def every(session: Session, account_id: int) -> list[Webhook]:
    """The webhooks of an account, the oldest first."""
    rows = session.execute(
        sa.select(webhooks)
        .where(webhooks.c.account_id == account_id, webhooks.c.archived_at.is_(None))
        .order_by(webhooks.c.id)
    )
    return [webhook_of(row) for row in rows]


def get(session: Session, account_id: int, webhook_id: int) -> Webhook | None:
    """One webhook of an account."""
    row = session.execute(
        sa.select(webhooks).where(
            webhooks.c.id == webhook_id,
            webhooks.c.account_id == account_id,
            webhooks.c.archived_at.is_(None),
        )
    ).one_or_none()
    return webhook_of(row) if row is not None else None


def deliveries_of(
    session: Session,
    account_id: int,
    webhook_id: int,
    *,
    before: int | None = None,
    limit: int = 50,
) -> list[Delivery]:
    """What a webhook was told, the newest first; ``before`` is the id a page begins after."""
    found = sa.select(deliveries).where(
        deliveries.c.account_id == account_id, deliveries.c.webhook_id == webhook_id
    )
    if before is not None:
        found = found.where(deliveries.c.id < before)
    rows = session.execute(found.order_by(deliveries.c.id.desc()).limit(limit))
    return [_delivery(row) for row in rows]


def count(session: Session, account_id: int, webhook_id: int, status: str | None = None) -> int:
    """How many deliveries a webhook has, of one status when given."""
    found = sa.select(sa.func.count()).where(
        deliveries.c.account_id == account_id, deliveries.c.webhook_id == webhook_id
    )
    if status is not None:
        found = found.where(deliveries.c.status == status)
    return int(session.execute(found).scalar_one())


def emit(
    session: Session, account_id: int, kind: str, data: Mapping[str, Any], now: datetime
) -> None:
    """Owe a delivery to every webhook of the account that wants to hear of this, in the caller's transaction."""
    for webhook in every(session, account_id):
        if webhook.active and _wants(webhook, kind):
            owe(session, webhook, kind, {**data, "at": told(now)}, now, secrets.token_hex(12))


def ping(session: Session, account_id: int, webhook_id: int, now: datetime) -> None:
    """A delivery that only tries the way.

    Raises:
        Refused: there is no such webhook, or it is switched off.
    """
    webhook = _must(session, account_id, webhook_id)
    if not webhook.active:
        raise Refused("the webhook is switched off; switch it on first")
    owe(session, webhook, PING, {"at": told(now)}, now, secrets.token_hex(12))


def has_delivery(session: Session, account_id: int, delivery_id: int) -> bool:
    """Whether a delivery of this number is this account's."""
    query = sa.select(deliveries.c.id).where(
        deliveries.c.account_id == account_id, deliveries.c.id == delivery_id
    )
    return session.execute(query).scalar() is not None


def retry(session: Session, account_id: int, delivery_id: int, now: datetime) -> None:
    """Try a delivery once more, at once, with the same id.

    Raises:
        Refused: there is none to try again.
    """
    changed = session.execute(
        sa.update(deliveries)
        .where(
            deliveries.c.id == delivery_id,
            deliveries.c.account_id == account_id,
            deliveries.c.webhook_id.in_(
                sa.select(webhooks.c.id).where(
                    webhooks.c.account_id == account_id,
                    webhooks.c.active,
                    webhooks.c.archived_at.is_(None),
                )
            ),
        )
        .values(status="waiting", next_try_at=now, finished_at=None)
        .returning(deliveries.c.id)
    ).scalar()
    if changed is None:
        raise Refused("there is no such delivery, or its webhook is switched off")


def drop_waiting(session: Session, webhook_id: int, now: datetime, why: str) -> None:
    """Give up what still waits for a webhook."""
    session.execute(
        sa.update(deliveries)
        .where(deliveries.c.webhook_id == webhook_id, deliveries.c.status == "waiting")
        .values(status="failed", next_try_at=None, finished_at=now, error=why)
    )


def owe(
    session: Session, webhook: Webhook, kind: str, data: Mapping[str, Any], now: datetime, key: str
) -> None:
    """Write a delivery down; once for each ``key`` of a webhook."""
    db.insert_first(
        session,
        deliveries,
        {
            "account_id": webhook.account_id,
            "webhook_id": webhook.id,
            "kind": kind,
            "payload": dict(data),
            "status": "waiting",
            "attempts": 0,
            "next_try_at": now,
            "created_at": now,
            "key": f"{webhook.id}:{key}",
        },
    )


def newest_event(session: Session) -> int:
    """The highest id of a behaviour event; 0 before the first."""
    return int(session.execute(sa.select(sa.func.max(events_table.c.id))).scalar() or 0)


def _kinds(kinds: Iterable[str]) -> list[str]:
    chosen = list(dict.fromkeys(kind.strip() for kind in kinds if kind.strip()))
    if not chosen:
        raise Invalid("events", "choose at least one event")
    if len(chosen) > 100 or not all(
        len(kind) <= KIND_CHARACTERS and kind.isprintable() for kind in chosen
    ):
        raise Invalid("events", "an event has a name of 1 to 60 characters")
    return [EVERY] if EVERY in chosen else chosen


def _wants(webhook: Webhook, kind: str) -> bool:
    return EVERY in webhook.kinds or kind in webhook.kinds


def _on_sandbox(session: Session, account_id: int) -> bool:
    found = sa.select(accounts.c.sandbox_url).where(accounts.c.id == account_id)
    return session.execute(found).scalar() is not None


def _must(session: Session, account_id: int, webhook_id: int) -> Webhook:
    found = get(session, account_id, webhook_id)
    if found is None:
        raise Refused("there is no such webhook")
    return found


def update(session: Session, webhook_id: int, values: Mapping[str, Any]) -> None:
    """Change columns of a webhook."""
    session.execute(sa.update(webhooks).where(webhooks.c.id == webhook_id).values(**values))


def _new_secret() -> str:
    return SECRET_PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()


def told(moment: datetime) -> str:
    """A moment as payloads say it."""
    return local(moment).isoformat()


def webhook_of(row: Any) -> Webhook:
    """The webhook of a row."""
    return Webhook(
        id=row.id,
        account_id=row.account_id,
        url=row.url,
        kinds=tuple(row.events["kinds"]),
        open_id=bool(row.events.get("open_id")),
        active=row.active,
        off=row.events.get("off"),
        created_by=row.created_by,
        created_at=row.created_at,
    )


def _delivery(row: Any) -> Delivery:
    return Delivery(
        id=row.id,
        webhook_id=row.webhook_id,
        kind=row.kind,
        payload=row.payload,
        status=row.status,
        attempts=row.attempts,
        next_try_at=row.next_try_at,
        answer=row.answer,
        error=row.error,
        created_at=row.created_at,
        finished_at=row.finished_at,
    )
