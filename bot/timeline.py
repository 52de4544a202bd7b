"""One follower's story by time (时间线): pushes with the reason of each answer, messages, campaigns, tags, clicks.

Each source is asked for its newest few before a key, and the answers are merged: whatever the length
of a life, a page costs the same.
"""

import base64
import binascii
import heapq
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from bot.db import Session
from bot.errors import Invalid
from bot.facts import MESSAGE_KINDS
from bot.tables.campaigns import campaign_runs, campaigns, deliveries
from bot.tables.events import events
from bot.tables.followers import follower_tags, tags
from bot.tables.inbox import inbound
from bot.tables.operators import audit
from bot.tables.outbox import outbox

NO_PAGE = "is no page of this list"
# the order of what happened in the same microsecond: the cause above what it caused is read last
SOURCES = ("push", "tag", "message", "delivery", "event", "change")
# told by the push, or by the delivery, that caused them
TOLD_ELSEWHERE = ("campaign_sent",)


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that happened; ``data`` is what its source keeps. ``push_id`` is the push it came of."""

    at: datetime
    source: str
    id: int
    data: Mapping[str, Any]
    push_id: int | None = None

    @property
    def key(self) -> str:
        """The key of the page that begins after it."""
        return _key(self.at, self.source, self.id)


@dataclass(frozen=True, slots=True)
class Story:
    """``after`` is the key of the next page, None at the end."""

    entries: Sequence[Entry]
    after: str | None


@dataclass(frozen=True, slots=True)
class _Before:
    at: datetime
    rank: int
    id: int


def page(
    session: Session,
    account_id: int,
    follower_id: int,
    *,
    after: str | None = None,
    limit: int = 30,
) -> Story:
    """What happened, newest first. The caller has seen that the follower is the account's.

    Raises:
        Invalid: the key is none of this list.
    """
    before = _before(after) if after else None
    found = [
        ask(session, account_id, follower_id, before, limit + 1)
        for ask in (_pushes, _tags, _messages, _deliveries, _events, _changes)
    ]
    merged = list(
        heapq.merge(
            *found, key=lambda one: (one.at, SOURCES.index(one.source), one.id), reverse=True
        )
    )[: limit + 1]
    shown = merged[:limit]
    return Story(shown, shown[-1].key if len(merged) > limit else None)


def push(session: Session, account_id: int, follower_id: int, push_id: int) -> Entry | None:
    """One push of the follower, for the tag that names it as its cause; None when it is no longer kept."""
    row = session.execute(
        sa.select(*_PUSH).where(
            inbound.c.id == push_id,
            inbound.c.account_id == account_id,
            inbound.c.follower_id == follower_id,
        )
    ).one_or_none()
    return _push_entry(row) if row is not None else None


_PUSH = (
    inbound.c.id,
    inbound.c.kind,
    inbound.c.message,
    inbound.c.received_at,
    inbound.c.status,
    inbound.c.rules,
    inbound.c.trace,
    inbound.c.reply,
    inbound.c.rulebook_number,
)


def _pushes(
    session: Session, account_id: int, follower_id: int, before: _Before | None, limit: int
) -> list[Entry]:
    rows = session.execute(
        sa.select(*_PUSH)
        .where(
            inbound.c.follower_id == follower_id,
            inbound.c.account_id + 0 == account_id,
            *_earlier(inbound.c.received_at, inbound.c.id, "push", before),
        )
        .order_by(inbound.c.received_at.desc(), inbound.c.id.desc())
        .limit(limit)
    )
    return [_push_entry(row) for row in rows]


def _push_entry(row: Any) -> Entry:
    data = {
        "kind": row.kind,
        "message": row.message or {},
        "status": row.status,
        "rules": row.rules or [],
        "trace": row.trace or {},
        "reply": row.reply,
        "rulebook": row.rulebook_number,
    }
    return Entry(row.received_at, "push", row.id, data, row.id)


def _tags(
    session: Session, account_id: int, follower_id: int, before: _Before | None, limit: int
) -> list[Entry]:
    rows = session.execute(
        sa.select(
            tags.c.id,
            tags.c.name,
            follower_tags.c.origin,
            follower_tags.c.caused_by,
            follower_tags.c.added_at,
        )
        .select_from(follower_tags.join(tags, tags.c.id == follower_tags.c.tag_id))
        .where(
            follower_tags.c.follower_id == follower_id,
            follower_tags.c.account_id == account_id,
            *_earlier(follower_tags.c.added_at, tags.c.id, "tag", before),
        )
        .order_by(follower_tags.c.added_at.desc(), tags.c.id.desc())
        .limit(limit)
    )
    return [
        Entry(
            row.added_at,
            "tag",
            row.id,
            {"name": row.name, "origin": row.origin},
            row.caused_by,
        )
        for row in rows
    ]


def _messages(
    session: Session, account_id: int, follower_id: int, before: _Before | None, limit: int
) -> list[Entry]:
    """Messages we started for this follower alone: by rules, by agents, previews; campaigns are deliveries."""
    rows = session.execute(
        sa.select(
            outbox.c.id,
            outbox.c.purpose,
            outbox.c.purpose_id,
            outbox.c.channel,
            outbox.c.payload,
            outbox.c.status,
            outbox.c.error,
            outbox.c.created_at,
        )
        .where(
            outbox.c.follower_id == follower_id,
            # written out: the partial index is used only where the condition is seen
            outbox.c.purpose != sa.literal_column("'delivery'"),
            outbox.c.account_id == account_id,
            *_earlier(outbox.c.created_at, outbox.c.id, "message", before),
        )
        .order_by(outbox.c.created_at.desc(), outbox.c.id.desc())
        .limit(limit)
    )
    return [
        Entry(
            row.created_at,
            "message",
            row.id,
            {
                "purpose": row.purpose,
                "channel": row.channel,
                "content": (row.payload or {}).get("content"),
                "by": (row.payload or {}).get("by"),
                "status": row.status,
                "error": row.error,
            },
            row.purpose_id if row.purpose in ("reply", "later") else None,
        )
        for row in rows
    ]


def _deliveries(
    session: Session, account_id: int, follower_id: int, before: _Before | None, limit: int
) -> list[Entry]:
    at = sa.func.coalesce(deliveries.c.at, campaign_runs.c.created_at, type_=deliveries.c.at.type)
    rows = session.execute(
        sa.select(
            deliveries.c.id,
            at.label("moment"),
            deliveries.c.status,
            deliveries.c.reason,
            deliveries.c.channel,
            deliveries.c.slot,
            deliveries.c.errcode,
            campaigns.c.name,
            campaign_runs.c.content,
        )
        .select_from(
            deliveries.join(campaign_runs, campaign_runs.c.id == deliveries.c.run_id).join(
                campaigns, campaigns.c.id == campaign_runs.c.campaign_id
            )
        )
        .where(
            deliveries.c.follower_id == follower_id,
            deliveries.c.account_id + 0 == account_id,
            *_earlier(at, deliveries.c.id, "delivery", before),
        )
        .order_by(at.desc(), deliveries.c.id.desc())
        .limit(limit)
    )
    return [
        Entry(
            row.moment,
            "delivery",
            row.id,
            {
                "campaign": row.name,
                "status": row.status,
                "reason": row.reason,
                "channel": row.channel,
                "slot": row.slot,
                "errcode": row.errcode,
                "content": row.content,
            },
        )
        for row in rows
    ]


def _events(
    session: Session, account_id: int, follower_id: int, before: _Before | None, limit: int
) -> list[Entry]:
    """Behaviour that no kept push tells: clicks, goals, imports, and what came of pushes that are pruned."""
    told = (
        sa.select(sa.literal(1))
        .where(inbound.c.id == events.c.caused_by)
        .correlate(events)
        .exists()
    )
    rows = session.execute(
        sa.select(
            events.c.id,
            events.c.kind,
            events.c.key,
            events.c.number,
            events.c.data,
            events.c.at,
        )
        .where(
            events.c.follower_id == follower_id,
            events.c.account_id + 0 == account_id,
            events.c.kind.not_in(TOLD_ELSEWHERE),
            sa.or_(events.c.caused_by.is_(None), ~told),
            *_earlier(events.c.at, events.c.id, "event", before),
        )
        .order_by(events.c.at.desc(), events.c.id.desc())
        .limit(limit)
    )
    return [
        Entry(
            row.at,
            "event",
            row.id,
            {"kind": row.kind, "key": row.key, "number": row.number, "data": row.data or {}},
        )
        for row in rows
    ]


def _changes(
    session: Session, account_id: int, follower_id: int, before: _Before | None, limit: int
) -> list[Entry]:
    """What operators changed about the follower, from the audit."""
    rows = session.execute(
        sa.select(audit)
        .where(
            audit.c.account_id == account_id,
            audit.c.object == thing(follower_id),
            *_earlier(audit.c.at, audit.c.id, "change", before),
        )
        .order_by(audit.c.at.desc(), audit.c.id.desc())
        .limit(limit)
    )
    return [
        Entry(
            row.at,
            "change",
            row.id,
            {
                "action": row.action,
                "by": row.operator,
                "before": row.before or {},
                "after": row.after or {},
            },
        )
        for row in rows
    ]


def wordless(one: Entry) -> Entry:
    """The same without what was said word for word, by the follower or by whoever answered by hand."""
    if one.source == "push" and one.data["kind"] in MESSAGE_KINDS and one.data["message"]:
        message = {**one.data["message"], "fields": {}}
        return replace(one, data={**one.data, "message": message})
    if one.source == "message" and one.data["purpose"] == "agent":
        return replace(one, data={**one.data, "content": None})
    return one


def key_of_tag(at: datetime, tag_id: int) -> str:
    """The key of the page whose first entry is this tag."""
    return _key(at, "tag", tag_id + 1)


def _key(at: datetime, source: str, row_id: int) -> str:
    text = json.dumps([at.isoformat(), SOURCES.index(source), row_id])
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def thing(follower_id: int) -> str:
    """What the audit calls a follower: the row, never the OpenID."""
    return f"follower:{follower_id}"


def _earlier(
    at: Any, row_id: Any, source: str, before: _Before | None
) -> tuple[sa.ColumnElement[bool], ...]:
    if before is None:
        return ()
    rank = SOURCES.index(source)
    if rank < before.rank:
        return (at <= before.at,)
    if rank > before.rank:
        return (at < before.at,)
    return (sa.or_(at < before.at, sa.and_(at == before.at, row_id < before.id)),)


def _before(after: str) -> _Before:
    try:
        padded = after + "=" * (-len(after) % 4)
        at, rank, row_id = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
        moment = datetime.fromisoformat(at)
    except (ValueError, TypeError, binascii.Error):
        raise Invalid("after", NO_PAGE) from None
    numbers = type(rank) is int and type(row_id) is int and abs(row_id) < 2**63
    known = moment.tzinfo is not None and 2000 <= moment.year <= 9000
    if not known or not numbers or not 0 <= rank < len(SOURCES):
        raise Invalid("after", NO_PAGE)
    return _Before(moment, rank, row_id)
