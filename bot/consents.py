"""Consents to subscription notices (订阅授权): one accept permits one message, counted from entries.

The platform tells no number, so accepts are counted as they are pushed, and a message takes its accept in
the transaction that owes it: two sends can never share one. What provably never left gives it back.
Source: docs/wechat-limits.md 10 (read 2026-11).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from bot import db
from bot.content import SUBSCRIPTION
from bot.db import Session
from bot.sql import among
from bot.tables.accounts import templates
from bot.tables.campaigns import deliveries
from bot.tables.events import events
from bot.tables.followers import consent_entries, consents

# accepted: in the notice's own window or later in a list of them; rejected likewise. sent: taken for a delivery;
# back: given back, it never left; refused: the platform knew of none (43101); delivered, undelivered: what the
# platform said of a delivery later; reported: sent by somebody else; opening: counted before there were entries
CAUSES = (
    "accepted", "rejected", "sent", "back", "refused", "delivered", "undelivered", "reported", "opening",
)  # fmt: skip
NOTHING_LEFT = 43101
_ENDED = ("back", "refused", "delivered", "undelivered")
NEVER_LEFT = ("failed", "expired", "cancelled")


@dataclass(frozen=True, slots=True)
class Total:
    """Of one template: ``people`` may still get ``left`` notices between them; the rest counts entries."""

    template_id: str
    people: int
    left: int
    accepted: int
    sent: int
    rejected: int


def accepted(
    session: Session,
    account_id: int,
    follower_id: int,
    template_id: str,
    at: datetime,
    source_key: str,
) -> None:
    """The follower allowed one more notice. The same push again changes nothing."""
    if _enter(session, account_id, follower_id, template_id, 1, "accepted", at, source_key):
        _count(session, account_id, follower_id, template_id, 1, at, rejected_at=None)


def rejected(
    session: Session,
    account_id: int,
    follower_id: int,
    template_id: str,
    at: datetime,
    source_key: str,
) -> None:
    """The follower wants no notice of this template any more: nothing is left."""
    had = _held(session, follower_id, template_id)
    if _enter(session, account_id, follower_id, template_id, -had, "rejected", at, source_key):
        _count(session, account_id, follower_id, template_id, -had, at, rejected_at=at)


def take(
    session: Session,
    account_id: int,
    template_id: str,
    wanted: Mapping[int, int],
    now: datetime,
) -> set[int]:
    """Take one accept of each follower for their delivery (``wanted``: delivery to follower); whose was there.

    A long-term template is permitted once for any number of notices: its accept stays.
    """
    if not wanted or not template_id:
        return set()
    lasts = _long_term(session, account_id, template_id)
    change = 0 if lasts else -1
    got = set(
        session.execute(
            sa.update(consents)
            .where(
                consents.c.account_id == account_id,
                consents.c.template_id == template_id,
                among(consents.c.follower_id, set(wanted.values())),
                consents.c.accepted > 0,
            )
            .values(accepted=consents.c.accepted + change, changed_at=now)
            .returning(consents.c.follower_id)
        ).scalars()
    )
    rows = [
        {
            "account_id": account_id,
            "follower_id": follower_id,
            "template_id": template_id,
            "change": change,
            "cause": "sent",
            "delivery_id": delivery_id,
            "at": now,
        }
        for delivery_id, follower_id in wanted.items()
        if follower_id in got
    ]
    if rows:
        session.execute(sa.insert(consent_entries), rows)
    return got


def settle(session: Session, rows: Sequence[Any], now: datetime) -> None:
    """What finished outbox rows of deliveries mean for the accepts they took; rows of other channels mean nothing.

    1. 43101: the platform knows of no accept, so the counter was wrong: none is left.
    2. Refused otherwise, expired or cancelled: it never left, and the accept is given back, unless the follower
       wanted no more of them since.
    3. Sent, or of unknown outcome: used.
    """
    mine = [row for row in rows if row.channel == SUBSCRIPTION and row.status in NEVER_LEFT]
    if not mine:
        return
    taken = _open_entries(session, [row.purpose_id for row in mine])
    for row in mine:
        entry = taken.get(row.purpose_id)
        if entry is None:
            continue
        if row.status == "failed" and row.errcode == NOTHING_LEFT:
            had = _held(session, entry.follower_id, entry.template_id)
            _close(session, entry, -had, "refused", now)
        else:
            given = 0 if _rejected_since(session, entry) else -entry.change
            _close(session, entry, given, "back", now)


def told(
    session: Session,
    account_id: int,
    follower_id: int,
    template_id: str,
    message_id: str,
    problem: str | None,
    at: datetime,
) -> None:
    """The platform's result of one notice; ``problem`` is why it did not arrive.

    It names no call of ours, so it belongs to the oldest one of this follower and template without a
    result. Without such a one somebody else sent it, and an accept is gone.
    """
    entry = _oldest_open(session, account_id, follower_id, template_id)
    if entry is None:
        if problem is None:
            _reported(session, account_id, follower_id, template_id, message_id, at)
        return
    cause = "delivered" if problem is None else "undelivered"
    _close(session, entry, 0, cause, at)
    store_result(session, entry.delivery_id, problem, at)


def store_result(session: Session, delivery_id: int, problem: str | None, at: datetime) -> None:
    """What the platform said of a delivery after it had taken it. One that did not arrive failed after all."""
    this = deliveries.c.id == delivery_id
    if problem is None:
        session.execute(sa.update(deliveries).where(this).values(result="success"))
        return
    session.execute(sa.update(deliveries).where(this).values(result=problem))
    failed = session.execute(
        sa.update(deliveries)
        .where(this, deliveries.c.status.in_(("planned", "sent", "unknown")))
        .values(status="failed", at=at)
        .returning(deliveries.c.id)
    ).scalar()
    if failed is not None:
        session.execute(sa.delete(events).where(events.c.source_key == f"campaign_sent:{failed}"))


def left(
    session: Session, account_id: int, template_id: str, first: int, last: int
) -> dict[int, int]:
    """How many notices followers with ids from ``first`` to ``last`` still permit; who permits none is missing."""
    rows = session.execute(
        sa.select(consents.c.follower_id, consents.c.accepted).where(
            consents.c.follower_id.between(first, last),
            consents.c.account_id == account_id,
            consents.c.template_id == template_id,
            consents.c.accepted > 0,
        )
    )
    return {row.follower_id: row.accepted for row in rows}


def of_follower(session: Session, account_id: int, follower_id: int) -> dict[str, int]:
    """What one follower still permits, by template."""
    rows = session.execute(
        sa.select(consents.c.template_id, consents.c.accepted).where(
            consents.c.account_id == account_id,
            consents.c.follower_id == follower_id,
            consents.c.accepted > 0,
        )
    )
    return {row.template_id: row.accepted for row in rows}


def used(session: Session, account_id: int, template_id: str, since: datetime) -> int:
    """How many accepts of a template were used since a moment and not given back."""
    sends = sa.case((consent_entries.c.cause == "back", -1), else_=1)
    found = session.execute(
        sa.select(sa.func.coalesce(sa.func.sum(sends), 0)).where(
            consent_entries.c.account_id == account_id,
            consent_entries.c.template_id == template_id,
            consent_entries.c.cause.in_(("sent", "back", "reported")),
            consent_entries.c.at >= since,
        )
    ).scalar_one()
    return int(found)


def totals(session: Session, account_id: int) -> dict[str, Total]:
    """Every template anybody ever accepted, rejected or got, by its id."""
    held = {
        row.template_id: row
        for row in session.execute(
            sa.select(
                consents.c.template_id,
                sa.func.count(sa.case((consents.c.accepted > 0, 1))).label("people"),
                sa.func.sum(consents.c.accepted).label("left"),
                sa.func.count(consents.c.rejected_at).label("rejected"),
            )
            .where(consents.c.account_id == account_id)
            .group_by(consents.c.template_id)
        )
    }
    counted: dict[str, dict[str, int]] = {}
    for row in session.execute(
        sa.select(
            consent_entries.c.template_id, consent_entries.c.cause, sa.func.count().label("count")
        )
        .where(consent_entries.c.account_id == account_id)
        .group_by(consent_entries.c.template_id, consent_entries.c.cause)
    ):
        counted.setdefault(row.template_id, {})[row.cause] = row[2]
    return {
        template_id: Total(
            template_id,
            people=held[template_id].people if template_id in held else 0,
            left=int(held[template_id].left or 0) if template_id in held else 0,
            accepted=counted.get(template_id, {}).get("accepted", 0)
            + counted.get(template_id, {}).get("opening", 0),
            sent=counted.get(template_id, {}).get("sent", 0)
            + counted.get(template_id, {}).get("reported", 0)
            - counted.get(template_id, {}).get("back", 0),
            rejected=held[template_id].rejected if template_id in held else 0,
        )
        for template_id in sorted({*held, *counted})
    }


def differences(session: Session, account_id: int) -> list[tuple[int, str, int, int]]:
    """(follower, template, entries add up to, counter says) wherever the two are not the same."""
    entries = (
        sa.select(
            consent_entries.c.follower_id,
            consent_entries.c.template_id,
            sa.func.sum(consent_entries.c.change).label("total"),
        )
        .where(consent_entries.c.account_id == account_id)
        .group_by(consent_entries.c.follower_id, consent_entries.c.template_id)
        .subquery()
    )
    same = sa.and_(
        entries.c.follower_id == consents.c.follower_id,
        entries.c.template_id == consents.c.template_id,
    )
    rows = session.execute(
        sa.select(
            consents.c.follower_id,
            consents.c.template_id,
            sa.func.coalesce(entries.c.total, 0).label("total"),
            consents.c.accepted,
        )
        .select_from(consents.outerjoin(entries, same))
        .where(
            consents.c.account_id == account_id,
            sa.func.coalesce(entries.c.total, 0) != consents.c.accepted,
        )
        .order_by(consents.c.follower_id, consents.c.template_id)
    )
    return [(row.follower_id, row.template_id, int(row.total), row.accepted) for row in rows]


def forget(session: Session, follower_id: int) -> None:
    """Everything about one follower, who is being erased."""
    for table in (consent_entries, consents):
        session.execute(sa.delete(table).where(table.c.follower_id == follower_id))


def _reported(
    session: Session,
    account_id: int,
    follower_id: int,
    template_id: str,
    message_id: str,
    at: datetime,
) -> None:
    lasts = _long_term(session, account_id, template_id)
    change = 0 if lasts or _held(session, follower_id, template_id) == 0 else -1
    key = f"reported:{account_id}:{message_id}" if message_id else None
    if _enter(session, account_id, follower_id, template_id, change, "reported", at, key):
        _count(session, account_id, follower_id, template_id, change, at)


def _enter(
    session: Session,
    account_id: int,
    follower_id: int,
    template_id: str,
    change: int,
    cause: str,
    at: datetime,
    source_key: str | None,
    delivery_id: int | None = None,
) -> bool:
    """Append one entry; False: it stands there already."""
    row = {
        "account_id": account_id,
        "follower_id": follower_id,
        "template_id": template_id,
        "change": change,
        "cause": cause,
        "delivery_id": delivery_id,
        "at": at,
        "source_key": source_key,
    }
    return db.insert_first(session, consent_entries, row) is not None


def _close(session: Session, entry: Any, change: int, cause: str, at: datetime) -> None:
    """What became of an accept that was taken, once."""
    key = f"{cause}:{entry.id}"
    about = (entry.account_id, entry.follower_id, entry.template_id)
    if _enter(session, *about, change, cause, at, key, entry.delivery_id) and change:
        _count(session, *about, change, at)


_AS_IT_WAS = object()


def _count(
    session: Session,
    account_id: int,
    follower_id: int,
    template_id: str,
    change: int,
    at: datetime,
    rejected_at: Any = _AS_IT_WAS,
) -> None:
    statement = db.insert(session, consents).values(
        account_id=account_id,
        follower_id=follower_id,
        template_id=template_id,
        accepted=max(change, 0),
        rejected_at=None if rejected_at is _AS_IT_WAS else rejected_at,
        changed_at=at,
    )
    values: dict[str, Any] = {"accepted": consents.c.accepted + change, "changed_at": at}
    if rejected_at is not _AS_IT_WAS:
        values["rejected_at"] = rejected_at
    session.execute(
        statement.on_conflict_do_update(index_elements=["follower_id", "template_id"], set_=values)
    )


def _held(session: Session, follower_id: int, template_id: str) -> int:
    """What the counter says, with its row held: nobody changes it before this transaction ends."""
    found = session.execute(
        sa.update(consents)
        .where(consents.c.follower_id == follower_id, consents.c.template_id == template_id)
        .values(accepted=consents.c.accepted)
        .returning(consents.c.accepted)
    ).scalar()
    return int(found or 0)


def _rejected_since(session: Session, entry: Any) -> bool:
    found = sa.select(consent_entries.c.id).where(
        consent_entries.c.follower_id == entry.follower_id,
        consent_entries.c.template_id == entry.template_id,
        consent_entries.c.cause == "rejected",
        consent_entries.c.id > entry.id,
    )
    return session.execute(found.limit(1)).first() is not None


def _long_term(session: Session, account_id: int, template_id: str) -> bool:
    found = sa.select(templates.c.long_term).where(
        templates.c.account_id == account_id,
        templates.c.kind == SUBSCRIPTION,
        templates.c.template_id == template_id,
    )
    return bool(session.execute(found).scalar())


def _without_result() -> sa.ColumnElement[bool]:
    later = consent_entries.alias("later")
    ended = sa.exists().where(
        later.c.delivery_id == consent_entries.c.delivery_id,
        later.c.id > consent_entries.c.id,
        later.c.cause.in_(_ENDED),
    )
    return sa.and_(consent_entries.c.cause == "sent", sa.not_(ended))


def _open_entries(session: Session, delivery_ids: Iterable[int]) -> dict[int, Any]:
    rows = session.execute(
        sa.select(consent_entries).where(
            among(consent_entries.c.delivery_id, delivery_ids), _without_result()
        )
    )
    return {row.delivery_id: row for row in rows}


def _oldest_open(
    session: Session, account_id: int, follower_id: int, template_id: str
) -> Any | None:
    return session.execute(
        sa.select(consent_entries)
        .where(
            consent_entries.c.follower_id == follower_id,
            consent_entries.c.template_id == template_id,
            consent_entries.c.account_id == account_id,
            _without_result(),
        )
        .order_by(consent_entries.c.id)
        .limit(1)
    ).one_or_none()
