"""Everything kept about one person, for that person (个人信息导出, 个人信息保护法): one ZIP of JSON and media."""

import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import sqlalchemy as sa

from bot.campaigns.budget import PER_FOLLOWER_AND_MONTH
from bot.clock import month_of
from bot.db import Session
from bot.secrets import short
from bot.tables.campaigns import campaign_runs, campaigns, deliveries, mass_ledger
from bot.tables.events import events
from bot.tables.followers import consents, follower_tags, followers, reply_windows, tags
from bot.tables.inbox import conversations, inbound, inbound_media
from bot.tables.outbox import outbox
from bot.tables.tracking import clicks, links

Json = dict[str, Any]
# what is ours and not theirs: keys, hashes, and how rules were walked
_INSIDE = frozenset({"account_id", "follower_id", "dedupe_key", "key", "remark_search", "data"})
_ENDINGS = {"image/jpeg": "jpg", "image/png": "png", "audio/amr": "amr", "video/mp4": "mp4"}


@dataclass(frozen=True, slots=True)
class Worn:
    """A tag somebody has, who or what gave it, and by which push."""

    id: int
    name: str
    family: str
    origin: str
    push_id: int | None
    added_at: datetime
    expires_at: datetime | None


@dataclass(frozen=True, slots=True)
class Window:
    opened_by: str
    expires_at: datetime
    left: int


@dataclass(frozen=True)
class Profile:
    """One follower as their page shows them. ``slots`` are mass messages left this month."""

    row: Any
    tags: tuple[Worn, ...]
    windows: tuple[Window, ...]
    slots: int


def profile(session: Session, account_id: int, follower_id: int, now: datetime) -> Profile | None:
    """Who a follower of the account is at this moment, or None."""
    if not 0 < follower_id < 2**63:
        return None
    row = session.execute(
        sa.select(followers).where(
            followers.c.id == follower_id, followers.c.account_id == account_id
        )
    ).one_or_none()
    if row is None:
        return None
    worn = session.execute(
        sa.select(
            tags.c.id,
            tags.c.name,
            tags.c.family,
            follower_tags.c.origin,
            follower_tags.c.caused_by,
            follower_tags.c.added_at,
            follower_tags.c.expires_at,
        )
        .select_from(follower_tags.join(tags, tags.c.id == follower_tags.c.tag_id))
        .where(
            follower_tags.c.follower_id == follower_id,
            tags.c.archived_at.is_(None),
            sa.or_(follower_tags.c.expires_at.is_(None), follower_tags.c.expires_at > now),
        )
        .order_by(follower_tags.c.added_at, tags.c.id)
    )
    opened = session.execute(
        sa.select(reply_windows.c.opened_by, reply_windows.c.expires_at, reply_windows.c.left)
        .where(
            reply_windows.c.follower_id == follower_id,
            reply_windows.c.expires_at > now,
            reply_windows.c.left > 0,
        )
        .order_by(reply_windows.c.expires_at)
    )
    charged = session.execute(
        sa.select(mass_ledger.c.reserved + mass_ledger.c.spent).where(
            mass_ledger.c.follower_id == follower_id, mass_ledger.c.month == month_of(now)
        )
    ).scalar()
    return Profile(
        row,
        tuple(Worn(*one) for one in worn),
        tuple(Window(*one) for one in opened),
        max(PER_FOLLOWER_AND_MONTH - int(charged or 0), 0),
    )


def collect(session: Session, account_id: int, follower_id: int) -> Json:
    """Every row about a follower of the account, by what it is. Moments are ISO 8601, UTC.

    The caller has seen that the follower is the account's.
    """
    who = session.execute(
        sa.select(followers).where(
            followers.c.id == follower_id, followers.c.account_id == account_id
        )
    ).one()
    mine = {
        "tags": sa.select(
            tags.c.name,
            follower_tags.c.origin,
            follower_tags.c.added_at,
            follower_tags.c.expires_at,
        )
        .select_from(follower_tags.join(tags, tags.c.id == follower_tags.c.tag_id))
        .where(follower_tags.c.follower_id == follower_id)
        .order_by(follower_tags.c.added_at),
        "reply_windows": _all(reply_windows, follower_id, reply_windows.c.opened_at),
        "consents": _all(consents, follower_id, consents.c.changed_at),
        "conversation": _all(conversations, follower_id, conversations.c.follower_id),
        "pushes": _all(inbound, follower_id, inbound.c.id),
        "messages": _all(outbox, follower_id, outbox.c.id).where(
            outbox.c.purpose != sa.literal_column("'delivery'")
        ),
        "campaigns": sa.select(
            campaigns.c.name,
            campaign_runs.c.due_at,
            deliveries.c.status,
            deliveries.c.reason,
            deliveries.c.channel,
            deliveries.c.at,
        )
        .select_from(
            deliveries.join(campaign_runs, campaign_runs.c.id == deliveries.c.run_id).join(
                campaigns, campaigns.c.id == campaign_runs.c.campaign_id
            )
        )
        .where(deliveries.c.follower_id == follower_id)
        .order_by(deliveries.c.id),
        "mass_messages": _all(mass_ledger, follower_id, mass_ledger.c.month),
        "events": sa.select(
            events.c.kind, events.c.key, events.c.number, events.c.data, events.c.at
        )
        .where(events.c.follower_id == follower_id)
        .order_by(events.c.at, events.c.id),
        "clicks": sa.select(links.c.name, links.c.target, clicks.c.at)
        .select_from(clicks.join(links, links.c.id == clicks.c.link_id))
        .where(
            clicks.c.account_id == account_id,
            clicks.c.follower_id == follower_id,
        )
        .order_by(clicks.c.at),
    }
    found: Json = {"follower": _plain(who._mapping)}
    for name, statement in mine.items():
        found[name] = [_plain(row._mapping) for row in session.execute(statement)]
    return found


def file(session: Session, account_id: int, follower_id: int, *, whole_ids: bool = True) -> bytes:
    """The same as a ZIP: ``person.json``, and the pictures and voices that were fetched, by their push.

    Without ``whole_ids`` OpenID and UnionID are shortened wherever they stand.
    """
    body = io.BytesIO()
    with zipfile.ZipFile(body, "w", zipfile.ZIP_DEFLATED) as packed:
        found = collect(session, account_id, follower_id)
        text = json.dumps(found, ensure_ascii=False, indent=1, default=_text)
        for whole in (found["follower"]["open_id"], found["follower"]["union_id"]):
            if whole and not whole_ids:
                text = text.replace(whole, short(whole))
        packed.writestr("person.json", text)
        rows = session.execute(
            sa.select(inbound_media.c.push_id, inbound_media.c.type, inbound_media.c.data)
            .select_from(inbound_media.join(inbound, inbound.c.id == inbound_media.c.push_id))
            .where(inbound.c.follower_id == follower_id, inbound_media.c.account_id == account_id)
            .order_by(inbound_media.c.push_id)
        )
        for row in rows:
            packed.writestr(f"media/{row.push_id}.{_ENDINGS.get(row.type, 'bin')}", row.data)
    return body.getvalue()


def _all(table: sa.Table, follower_id: int, order: Any) -> sa.Select[Any]:
    return sa.select(table).where(table.c.follower_id == follower_id).order_by(order)


def _plain(row: Mapping[Any, Any]) -> Json:
    # of an event ``key`` and ``data`` are what happened; of other rows they are ours
    inside = _INSIDE - {"key", "data"} if "kind" in row and "at" in row else _INSIDE
    return {str(name): value for name, value in row.items() if str(name) not in inside}


def _text(value: Any) -> str:
    return value.isoformat() if isinstance(value, datetime | date) else str(value)
