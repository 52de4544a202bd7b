"""What is looked up for owed messages just before they are sent: OpenIDs, material, account; many in a few queries."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import ModuleType
from typing import Any

import sqlalchemy as sa

from bot import media, outbox_claims, outcomes
from bot.channels import Item
from bot.db import Session
from bot.errors import Refused
from bot.outcomes import Outcome, Situation
from bot.sql import among_given
from bot.tables.accounts import accounts
from bot.tables.campaigns import deliveries
from bot.tables.followers import followers

LEFT = "left"  # the follower unsubscribed or was erased before the message left


@dataclass(frozen=True, slots=True)
class Prepared:
    """One claimed row: the item to send, or what becomes of a row that cannot be sent now."""

    row: Any
    channel: ModuleType | None
    situation: Situation
    found: Item | Outcome


def prepare(session: Session, rows: Sequence[Any], now: datetime) -> list[Prepared]:
    """Claimed rows with OpenIDs and media ids looked up, in the order given."""
    if not rows:
        return []
    kinds = _kinds(session, {row.account_id for row in rows})
    people = _people(session, {row.follower_id for row in rows if row.follower_id is not None})
    known: dict[tuple[int, str], dict[str, Any] | Refused] = {}
    channels = outbox_claims.channels()
    prepared = []
    for row in rows:
        channel = channels.get(row.channel)
        situation = Situation(
            attempts=row.attempts,
            first_try_at=row.first_try_at or now,
            repeatable=outbox_claims.repeatable(channel, row.purpose),
            account_kind=kinds[row.account_id],
            unanswered=row.unanswered_at is not None,
            expires_at=row.expires_at,
        )
        found = _item(session, row, situation, people, known, now)
        prepared.append(Prepared(row, channel, situation, found))
    return prepared


def _item(
    session: Session,
    row: Any,
    situation: Situation,
    people: Mapping[tuple[int, int], str],
    known: dict[tuple[int, str], dict[str, Any] | Refused],
    now: datetime,
) -> Item | Outcome:
    if situation.expires_at is not None and situation.expires_at <= now:
        return Outcome("unknown" if situation.unanswered else "expired")
    try:
        open_id = _open_id(row, people)
        payload = dict(row.payload)
        if payload.get("content"):
            payload["content"] = _resolved(session, row.account_id, payload["content"], known)
        if payload.get("target") == "open_ids" and "open_ids" not in payload:
            batch_id = payload.get("batch_id", row.purpose_id)
            payload["open_ids"] = _open_ids(session, row.account_id, batch_id)
    except media.NotYet as problem:
        return outcomes.without_material(str(problem), situation, now)
    except Refused as problem:
        return outcomes.after_problem(problem, situation, now)
    return Item(
        id=row.id,
        account_id=row.account_id,
        channel=row.channel,
        purpose=row.purpose,
        purpose_id=row.purpose_id,
        follower_id=row.follower_id,
        open_id=open_id,
        payload=payload,
        attempts=row.attempts,
        first_try_at=situation.first_try_at,
        expires_at=row.expires_at,
    )


def _kinds(session: Session, account_ids: Iterable[int]) -> dict[int, str]:
    found = session.execute(_KINDS, {"ids": json.dumps(sorted(account_ids))}).all()
    return {row.id: row.kind for row in found}


def _people(session: Session, follower_ids: Iterable[int]) -> dict[tuple[int, int], str]:
    """OpenIDs of those who follow, by account and follower."""
    found = session.execute(_PEOPLE, {"ids": json.dumps(sorted(follower_ids))}).all()
    return {(account_id, follower_id): open_id for account_id, follower_id, open_id in found}


def _open_id(row: Any, people: Mapping[tuple[int, int], str]) -> str | None:
    if row.follower_id is None:
        return None
    found = people.get((row.account_id, row.follower_id))
    if found is None:
        raise Refused(LEFT)
    return found


def _resolved(
    session: Session,
    account_id: int,
    content: Mapping[str, Any],
    known: dict[tuple[int, str], dict[str, Any] | Refused],
) -> Mapping[str, Any]:
    """``media.resolve``, asked once for all messages of the same content.

    Raises:
        Refused: as ``media.resolve``.
    """
    if not media.needs(content):
        return content
    mark = (account_id, json.dumps(content, sort_keys=True))
    if mark not in known:
        try:
            known[mark] = media.resolve(session, account_id, content)
        except Refused as problem:
            known[mark] = problem
    found = known[mark]
    if isinstance(found, Refused):
        raise found
    return found


def _open_ids(session: Session, account_id: int, batch_id: int) -> list[str]:
    """Everybody of a batch by follower id: the same list at every repeat, whoever left since.

    Only an erased follower is missing, because nobody knows their OpenID any more.
    """
    return list(
        session.execute(
            sa.select(followers.c.open_id)
            .join(deliveries, deliveries.c.follower_id == followers.c.id)
            .where(
                deliveries.c.account_id == account_id,
                deliveries.c.batch_id == batch_id,
                followers.c.erased_at.is_(None),
            )
            .order_by(followers.c.id)
        ).scalars()
    )


# kept: building them takes longer than looking up a few
_KINDS = sa.select(accounts.c.id, accounts.c.kind).where(among_given(accounts.c.id))
_PEOPLE = sa.select(followers.c.account_id, followers.c.id, followers.c.open_id).where(
    among_given(followers.c.id), followers.c.subscribed.is_(True), followers.c.erased_at.is_(None)
)
