"""Pictures, voices and videos that followers sent: fetched when somebody looks, and kept with their push.

The platform keeps them three days; what nobody looked at by then is gone.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from bot import db
from bot.db import Session
from bot.errors import Refused, WeChatError
from bot.tables.inbox import inbound, inbound_media
from bot.wechat import media as material
from bot.wechat.client import WeChat

# Source: docs/wechat-limits.md 8 (read 2026-11): temporary media live 3 days
KEPT_BY_PLATFORM = timedelta(days=3)
KINDS = ("image", "voice", "video", "short_video")
LARGEST = 20 * 1024 * 1024  # bytes
GONE = "the platform keeps what followers send for three days only: this is gone"
UNKNOWN_TYPE = "application/octet-stream"
# first bytes, where they stand, and the type a browser may show them as. Anything else is only downloaded:
# what a follower sent must never run as a page
_TYPES = (
    (b"\xff\xd8\xff", 0, "image/jpeg"),
    (b"\x89PNG\r\n\x1a\n", 0, "image/png"),
    (b"GIF8", 0, "image/gif"),
    (b"WEBP", 8, "image/webp"),
    (b"#!AMR", 0, "audio/amr"),
    (b"ID3", 0, "audio/mpeg"),
    (b"\xff\xfb", 0, "audio/mpeg"),
    (b"\xff\xf3", 0, "audio/mpeg"),
    (b"\xff\xf2", 0, "audio/mpeg"),
    (b"ftyp", 4, "video/mp4"),
)
# 40007: no such media id; 48001 and others are told as they are
_NOT_THERE = 40007


@dataclass(frozen=True, slots=True)
class Received:
    """A file as it may be served: ``type`` is MIME, one of a short list."""

    type: str
    data: bytes


def type_of(data: bytes) -> str:
    """The type a browser may show these bytes as; ``application/octet-stream`` where that is none."""
    for begin, place, kind in _TYPES:
        if data[place : place + len(begin)] == begin:
            return kind
    return UNKNOWN_TYPE


def gone(sent_at: datetime, now: datetime) -> bool:
    """Whether the platform has forgotten what was sent then."""
    return now - sent_at >= KEPT_BY_PLATFORM


def stored(session: Session, account_id: int, push_id: int) -> Received | None:
    """What was fetched before."""
    row = session.execute(
        sa.select(inbound_media.c.type, inbound_media.c.data).where(
            inbound_media.c.push_id == push_id, inbound_media.c.account_id == account_id
        )
    ).one_or_none()
    return Received(row.type, row.data) if row is not None else None


def media_id(session: Session, account_id: int, push_id: int) -> tuple[str, datetime] | None:
    """The platform's id of what a push of this account carries, and when it was sent."""
    row = session.execute(
        sa.select(inbound.c.kind, inbound.c.message, inbound.c.sent_at).where(
            inbound.c.id == push_id, inbound.c.account_id == account_id
        )
    ).one_or_none()
    if row is None or row.kind not in KINDS:
        return None
    found = ((row.message or {}).get("fields") or {}).get("MediaId")
    return (found, row.sent_at) if isinstance(found, str) and found else None


def fetch(engine: Engine, wechat: WeChat, account_id: int, push_id: int, now: datetime) -> Received:
    """Get it from the platform and keep it. Opens its own transactions.

    Raises:
        Refused: there is nothing to fetch, it is gone, or it is too large.
        WeChatError: the platform said no, or did not answer.
    """
    with db.reading(engine) as session:
        named = media_id(session, account_id, push_id)
    if named is None:
        raise Refused("this message has no file")
    if gone(named[1], now):
        raise Refused(GONE)
    try:
        data = material.download_received(wechat, named[0])
    except WeChatError as problem:
        if problem.errcode == _NOT_THERE:
            raise Refused(GONE) from None
        raise
    if len(data) > LARGEST:
        raise Refused("this file is too large to be shown here")
    found = Received(type_of(data), data)
    with db.writing(engine) as session:
        row = {"push_id": push_id, "account_id": account_id, "type": found.type, "data": data}
        db.upsert(session, inbound_media, {**row, "fetched_at": now}, key=["push_id"])
    return found
