"""Erasure of followers who left (删除个人信息): nothing keeps who they were; counts and this month's slots stay."""

import secrets
from datetime import datetime

import sqlalchemy as sa

from bot import consents, followers, webhooks
from bot.clock import month_of, start_of_month
from bot.db import Session, insert
from bot.followers import Follower
from bot.prepared import Prepared
from bot.secrets import keyed_hash
from bot.tables.audiences import frozen_people
from bot.tables.campaigns import deliveries, erased_slots, mass_ledger
from bot.tables.events import events
from bot.tables.followers import (
    follower_tags,
    notice_results,
    platform_tags,
    reply_windows,
    rule_firings,
)
from bot.tables.followers import followers as table
from bot.tables.inbox import conversations, inbound, inbound_media
from bot.tables.operators import audit
from bot.tables.outbox import outbox
from bot.tables.rulebooks import dry_run_changes

_ANY_ERASED = Prepared(
    sa.select(erased_slots.c.month)
    .where(erased_slots.c.account_id == sa.bindparam("account"))
    .limit(1)
)


def due(session: Session, left_before: datetime, limit: int) -> list[tuple[int, int]]:
    """(account id, follower id) of followers who left before a moment and are not erased yet."""
    rows = session.execute(
        sa.select(table.c.account_id, table.c.id)
        .where(
            table.c.unsubscribed_at < left_before,
            table.c.subscribed.is_(False),
            table.c.erased_at.is_(None),
        )
        .order_by(table.c.id)
        .limit(limit)
    )
    return [(row.account_id, row.id) for row in rows]


def forget(
    session: Session, account_id: int, follower_id: int, secret_key: str, now: datetime
) -> None:
    """Anonymise one follower: no table keeps the OpenID, a text, a field or a tag; counts stay.

    This month's slots stay under a keyed hash, so that coming back gives no fifth message, and so
    does an opt-out, so that coming back is no consent.
    Source of the duty: docs/wechat-limits.md 1 (on unsubscribe the user's data must be deleted).
    """
    row = session.execute(
        sa.select(table.c.open_id, table.c.opted_out_at).where(
            table.c.id == follower_id, table.c.account_id == account_id
        )
    ).one()
    month = month_of(now)
    charged = session.execute(
        sa.select(mass_ledger.c.reserved + mass_ledger.c.spent).where(
            mass_ledger.c.follower_id == follower_id, mass_ledger.c.month == month
        )
    ).scalar()
    if charged or row.opted_out_at is not None:
        statement = insert(session, erased_slots).values(
            account_id=account_id,
            open_id_hash=keyed_hash(secret_key, account_id, row.open_id),
            month=month,
            spent=charged or 0,
            opted_out=row.opted_out_at is not None,
        )
        session.execute(
            statement.on_conflict_do_update(
                index_elements=["account_id", "open_id_hash", "month"],
                set_={"spent": statement.excluded.spent, "opted_out": statement.excluded.opted_out},
            )
        )
    for kept in (
        follower_tags,
        platform_tags,
        reply_windows,
        rule_firings,
        notice_results,
        conversations,
        frozen_people,
    ):
        session.execute(sa.delete(kept).where(kept.c.follower_id == follower_id))
    consents.forget(session, follower_id)
    pushes = sa.select(inbound.c.id).where(inbound.c.follower_id == follower_id)
    session.execute(sa.delete(inbound_media).where(inbound_media.c.push_id.in_(pushes)))
    session.execute(
        sa.update(inbound)
        .where(inbound.c.follower_id == follower_id)
        .values(
            message={}, facts=None, reply=None, error=None, dedupe_key=_erased_key(inbound.c.id)
        )
    )
    session.execute(sa.update(events).where(events.c.follower_id == follower_id).values(data=None))
    session.execute(
        sa.update(dry_run_changes)
        .where(dry_run_changes.c.follower_id == follower_id)
        .values(change={})
    )
    for theirs in _messages(follower_id):
        # what still waits has nothing to say any more
        session.execute(
            sa.update(outbox)
            .where(theirs, outbox.c.status == "waiting")
            .values(status="cancelled", sent_at=None)
        )
        session.execute(sa.update(outbox).where(theirs).values(payload={}, receipt=None))
    session.execute(
        sa.update(table)
        .where(table.c.id == follower_id)
        .values(
            open_id=f"erased:{secrets.token_hex(12)}",
            union_id=None,
            remark=None,
            remark_search=None,
            fields={},
            subscribed=False,
            handed_over_until=None,
            erased_at=now,
        )
    )
    # who changed something stays, what it was does not
    session.execute(
        sa.update(audit)
        .where(audit.c.account_id == account_id, audit.c.object == f"follower:{follower_id}")
        .values(before=None, after=None)
    )
    webhooks.emit(session, account_id, "follower.erased", {"follower": follower_id}, now)


def recall(
    session: Session, account_id: int, follower: Follower, secret_key: str, now: datetime
) -> None:
    """Somebody new: if they were here this month and were erased, they keep their charged slots."""
    if _ANY_ERASED.first(session, {"account": account_id}) is None:
        return
    hashed = keyed_hash(secret_key, account_id, follower.open_id)
    month = month_of(now)
    rows = session.execute(
        sa.select(erased_slots).where(
            erased_slots.c.account_id == account_id, erased_slots.c.open_id_hash == hashed
        )
    ).all()
    for row in rows:
        if row.month == month and row.spent:
            insert_first_slot = insert(session, mass_ledger).values(
                follower_id=follower.id,
                month=month,
                account_id=account_id,
                reserved=0,
                spent=row.spent,
                external=row.spent,
            )
            session.execute(insert_first_slot.on_conflict_do_nothing())
        if row.opted_out:
            followers.opt_out(session, follower.id, now)
            # told once: whoever subscribes again later must not be opted out by the next sync
            session.execute(
                sa.update(erased_slots)
                .where(
                    erased_slots.c.account_id == account_id,
                    erased_slots.c.open_id_hash == hashed,
                )
                .values(opted_out=False)
            )


def recall_new(session: Session, account_id: int, secret_key: str, now: datetime) -> int:
    """The same for everybody who became known this month, however: a sync finds followers too. How many."""
    month = month_of(now)
    erased = set(
        session.execute(
            sa.select(erased_slots.c.open_id_hash).where(
                erased_slots.c.account_id == account_id,
                sa.or_(erased_slots.c.month == month, erased_slots.c.opted_out),
            )
        ).scalars()
    )
    if not erased:
        return 0
    newcomers = session.execute(
        sa.select(table.c.id, table.c.open_id).where(
            table.c.account_id == account_id,
            table.c.first_seen_at >= start_of_month(month),
            table.c.subscribed,
        )
    ).all()
    known = [
        row.id for row in newcomers if keyed_hash(secret_key, account_id, row.open_id) in erased
    ]
    for follower_id in known:
        follower = followers.by_id(session, account_id, follower_id)
        if follower is not None:
            recall(session, account_id, follower, secret_key, now)
    return len(known)


def _messages(follower_id: int) -> tuple[sa.ColumnElement[bool], sa.ColumnElement[bool]]:
    """Messages to one follower: their own by the partial index, those of campaigns by their deliveries."""
    sent = sa.select(deliveries.c.id).where(deliveries.c.follower_id == follower_id)
    own = sa.and_(
        outbox.c.follower_id == follower_id, outbox.c.purpose != sa.literal_column("'delivery'")
    )
    return own, sa.and_(outbox.c.purpose == "delivery", outbox.c.purpose_id.in_(sent))


def _erased_key(column: sa.ColumnElement[int]) -> sa.ColumnElement[str]:
    return sa.literal("erased:") + sa.cast(column, sa.Text)
