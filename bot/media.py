"""Material (素材) of an account: files by name, uploaded once, and the media ids the platform gave them."""

import hashlib
import json
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from bot import article_html, db, logs
from bot.content import media_of, with_media
from bot.db import Session
from bot.errors import Refused, WeChatError
from bot.tables.accounts import accounts, articles, media
from bot.wechat import drafts
from bot.wechat import media as material
from bot.wechat.client import WeChat

UPLOAD_LIMIT = 20  # files a call of ``upload_pending``; a job step must stay under a minute
# temporary material is forgotten after 3 days; it is uploaded again half a day before.
# Source: docs/wechat-limits.md 8 (read 2026-11)
TEMPORARY_FOR = timedelta(days=3)
RENEW_BEFORE = timedelta(hours=12)
LOGO = "logo"  # stands in the middle of QR codes; the platform never gets it

log = logs.get()
_FILE = (
    media.c.id,
    media.c.account_id,
    media.c.kind,
    media.c.name,
    media.c.data,
    media.c.expires_at,
)


class NotYet(Refused):
    """The file is stored here but the platform has no copy yet: worth another try soon."""


def needs(content: Mapping[str, Any]) -> bool:
    """Whether anything of a content must be looked up before it is sent."""
    return "article" in content or any(
        reference.get("file") for _kind, reference in media_of(content)
    )


def resolve(session: Session, account_id: int, content: Mapping[str, Any]) -> dict[str, Any]:
    """``content`` with every ``file`` replaced by the ``media_id`` of its upload.

    An article gets ``media_id``, its draft's id, ``article_id`` where it is published, and ``wire``, what the
    platform is told to make another draft, because one that was sent is gone.

    Raises:
        NotYet: the file waits for its upload, or the article for its draft.
        Refused: no such file or article is stored, or the platform refused it.
    """
    if "article" in content:
        return {"article": _article(session, account_id, content["article"])}
    references = [
        reference
        if not reference.get("file")
        else {
            **{key: value for key, value in reference.items() if key != "file"},
            "media_id": media_id(session, account_id, kind, reference["file"]),
        }
        for kind, reference in media_of(content)
    ]
    return with_media(content, references)


def draft_key(draft: Mapping[str, Any]) -> str:
    """By what an article is known that was written inside a campaign: what it says."""
    text = json.dumps(draft, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def wire(session: Session, account_id: int, document: Mapping[str, Any]) -> dict[str, Any]:
    """An article as the platform takes it.

    Raises:
        NotYet: a picture waits for its upload.
        Refused: a picture is not stored, or was refused.
    """
    cover = document["cover"]
    cover_id = cover.get("media_id") or media_id(session, account_id, "image", cover["file"])
    html = article_html.clean(document["html"])
    addresses = {}
    for name in article_html.materials(html):
        addresses[name] = _article_url(session, account_id, name)
    return drafts.article_json(document, article_html.with_addresses(html, addresses), cover_id)


def find_article(session: Session, account_id: int, reference: Mapping[str, Any]) -> Any | None:
    """The row of an article a content names: what was written inside it, one of the library by id or by title."""
    named = str(reference.get("article"))
    which: sa.ColumnElement[bool] = articles.c.title == named
    if reference.get("draft"):
        which = articles.c.key == draft_key(reference["draft"])
    elif named.isdecimal() and len(named) < 19:
        which = articles.c.id == int(named)
    return session.execute(
        sa.select(articles)
        .where(articles.c.account_id == account_id, which)
        # the newest of a title; one that was put away only where there is no other
        .order_by(articles.c.archived_at.is_not(None), articles.c.id.desc())
        .limit(1)
    ).one_or_none()


def _article(session: Session, account_id: int, reference: Mapping[str, Any]) -> dict[str, Any]:
    if reference.get("media_id"):
        return dict(reference)
    row = find_article(session, account_id, reference)
    if row is None:
        named = reference.get("article") or reference.get("draft", {}).get("title")
        raise Refused(f"there is no article '{named}' in this account")
    # a draft of the version before says what that said; a page that is published is shown as it is
    is_told = row.told_version == row.version
    if not is_told and row.article_id is None and row.error is not None:
        raise Refused(f"the article '{row.title}' was refused by the platform: {row.error}")
    if not is_told and row.article_id is None:
        raise NotYet(f"the article '{row.title}' is not on the platform yet")
    if row.status == "publishing":
        raise NotYet(f"the article '{row.title}' is being published")
    return {
        **reference,  # what was approved is checked by it
        "media_id": row.media_id if is_told else None,
        "article_id": row.article_id,
        "wire": wire(session, account_id, row.document),
    }


def _article_url(session: Session, account_id: int, name: str) -> str:
    row = session.execute(
        sa.select(media.c.article_url, media.c.error)
        .where(media.c.account_id == account_id, media.c.kind == "image", media.c.name == name)
        .order_by(media.c.id.desc())
        .limit(1)
    ).one_or_none()
    if row is None:
        raise Refused(f"there is no image file '{name}' in this account")
    if row.article_url is None:
        raise NotYet(f"the picture '{name}' is not uploaded yet")
    return str(row.article_url)


def upload_pending(engine: Engine, wechat_of: Callable[[int], WeChat], now: datetime) -> int:
    """Upload up to 20 files the platform does not have; of how many it said yes or no for good.

    A refusal is stored on the row and the file not tried again; what failed for now is tried by the next call.
    Uploading twice is harmless, so no row is claimed.
    """
    waiting = (
        sa.select(*_FILE)
        .join(accounts, accounts.c.id == media.c.account_id)
        .where(
            sa.or_(media.c.media_id.is_(None), media.c.expires_at <= now + RENEW_BEFORE),
            media.c.error.is_(None),
            media.c.kind != LOGO,
            media.c.archived_at.is_(None),
            accounts.c.archived_at.is_(None),
        )
        .order_by(media.c.id)
        .limit(UPLOAD_LIMIT)
    )
    with db.reading(engine) as session:
        rows = session.execute(waiting).all()
    return sum(_upload(engine, wechat_of, row, now) for row in rows)


def keep(session: Session, account_id: int, kind: str, data: bytes) -> str:
    """Keep a file that somebody handed in, named after its bytes; the same file is kept once. Its name.

    Raises:
        Refused: empty, too large, or in a format the platform does not take.
    """
    ending = material.check(kind, "the file", data)
    digest = hashlib.sha256(data).hexdigest()
    name = f"{digest[:20]}.{ending}"
    statement = db.insert(session, media).values(
        account_id=account_id, kind=kind, name=name, sha256=digest, data=data
    )
    session.execute(statement.on_conflict_do_nothing())
    return name


def upload_now(
    engine: Engine, wechat_of: Callable[[int], WeChat], account_id: int, name: str, now: datetime
) -> None:
    """Upload one kept file while somebody waits; what fails for now is left to ``upload_pending``."""
    with db.reading(engine) as session:
        row = session.execute(
            sa.select(*_FILE)
            .where(
                media.c.account_id == account_id, media.c.name == name, media.c.media_id.is_(None)
            )
            .order_by(media.c.id.desc())
            .limit(1)
        ).one_or_none()
    if row is not None:
        _upload(engine, wechat_of, row, now)


def bytes_of(session: Session, account_id: int, name: str) -> bytes | None:
    """A kept file of this account."""
    found: bytes | None = session.execute(
        sa.select(media.c.data)
        .where(media.c.account_id == account_id, media.c.name == name)
        .order_by(media.c.id.desc())
        .limit(1)
    ).scalar()
    return found


def _upload(engine: Engine, wechat_of: Callable[[int], WeChat], row: Any, now: datetime) -> bool:
    """Whether the platform said yes or no for good."""
    values: dict[str, Any]
    try:
        put = material.upload if row.expires_at is None else material.upload_temporary
        uploaded = put(wechat_of(row.account_id), row.kind, row.name, row.data)
        values = {"media_id": uploaded.media_id, "url": uploaded.url, "uploaded_at": now}
        if row.expires_at is not None:
            values["expires_at"] = now + TEMPORARY_FOR
    except (WeChatError, Refused) as problem:
        log.warning("upload_failed", media=row.id, kind=row.kind, error=str(problem))
        if isinstance(problem, WeChatError) and not problem.permanent:
            return False
        values = {"error": logs.clean(str(problem))}
    with db.writing(engine) as session:
        session.execute(sa.update(media).where(media.c.id == row.id).values(**values))
    return True


def media_id(session: Session, account_id: int, kind: str, name: str) -> str:
    """The platform's id of a stored file.

    Raises:
        NotYet: it waits for its upload.
        Refused: there is none, or the platform refused it.
    """
    # a changed file is a new row under the same name: the latest is meant
    row = session.execute(
        sa.select(media.c.media_id, media.c.error)
        .where(media.c.account_id == account_id, media.c.kind == kind, media.c.name == name)
        .order_by(media.c.id.desc())
        .limit(1)
    ).one_or_none()
    if row is None:
        raise Refused(f"there is no {kind} file '{name}' in this account")
    if row.media_id is None and row.error is not None:
        raise Refused(f"the file '{name}' was refused by the platform: {row.error}")
    if row.media_id is None:
        raise NotYet(f"the file '{name}' is not uploaded yet")
    return str(row.media_id)
