"""Articles (图文): written here, kept as a draft on the platform, published there as a page without a push.

An article has a version; the platform is told a version some seconds after it was saved. Sending one by mass
is a campaign's matter; a published one can be sent by customer service, or named by menus and replies.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from pydantic import ValidationError
from sqlalchemy.engine import Engine

from bot import article_html, db, logs, media
from bot.content import Draft
from bot.db import Session
from bot.errors import Invalid, Refused, WeChatError
from bot.tables.accounts import accounts, articles
from bot.tables.accounts import media as media_table
from bot.wechat import drafts, publish
from bot.wechat import media as material
from bot.wechat.client import WeChat
from bot.wechat.publish import Publication

DRAFT_GONE = 40007
TELL_LIMIT = 10  # articles a call of ``tell_pending``; a job step must stay under a minute
# the result of a publication is pushed; where it does not come we ask, at most 100 times a day.
# Source: docs/wechat-limits.md 8 and 14 (read 2026-11)
ASK_AFTER = timedelta(minutes=10)
AGAIN_AFTER = timedelta(minutes=2)  # told without an answer, or refused for now

log = logs.get()
WeChatOf = Callable[[int], WeChat]


@dataclass(frozen=True, slots=True)
class Article:
    id: int
    account_id: int
    title: str
    document: Mapping[str, Any]
    version: int
    told_version: int | None
    media_id: str | None
    article_id: str | None
    url: str | None
    status: str
    error: str | None
    created_by: str
    created_at: datetime
    changed_at: datetime
    published_at: datetime | None
    archived: bool

    @property
    def told(self) -> bool:
        """Whether the platform's draft says what is written here."""
        return self.told_version == self.version


def check(document: Any, place: str = "article") -> dict[str, Any]:
    """An article in canonical form, its HTML cleaned.

    Raises:
        Invalid: something is missing or too long, in a sentence.
    """
    try:
        found = Draft.model_validate(document)
    except ValidationError as error:
        item = error.errors(include_url=False, include_input=False)[0]
        where = ".".join([place, *(str(part) for part in item["loc"])])
        raise Invalid(where, item["msg"].removeprefix("Value error, ")) from None
    canonical = found.model_dump(mode="json", exclude_none=True, exclude_defaults=True)
    canonical["html"] = article_html.clean(canonical["html"])
    if not article_html.plain(canonical["html"]) and not article_html.pictures(canonical["html"]):
        raise Invalid(f"{place}.html", "the article has no text and no picture")
    return canonical


def create(session: Session, account_id: int, document: Any, now: datetime, *, by: str) -> int:
    """Write a new article; its id. The platform gets it as a draft by itself.

    Raises:
        Invalid: it cannot be an article.
    """
    return _insert(session, account_id, check(document), now, by=by)


def adopt(
    session: Session,
    account_id: int,
    content: Mapping[str, Any],
    now: datetime,
    *,
    by: str,
    published: bool = False,
) -> None:
    """An article written inside a campaign becomes one of the library, once; ``published``: with a page of its own.

    Any other content is left alone.
    """
    draft = (content.get("article") or {}).get("draft")
    if draft is None:
        return
    row = media.find_article(session, account_id, {"draft": draft})
    if row is None:
        document = {**draft, "html": article_html.clean(draft["html"])}
        article_id = _insert(session, account_id, document, now, by=by, key=media.draft_key(draft))
    else:
        article_id = row.id
    if published and (row is None or row.article_id is None):
        values = {"status": "publishing", "publish_id": None, "checked_at": None}
        _update(session, article_id, values)


def change(
    session: Session,
    account_id: int,
    article_id: int,
    document: Any,
    version: int,
    now: datetime,
) -> Article:
    """Write another version over ``version``.

    Raises:
        Invalid: it cannot be an article.
        Refused: there is none, it is being published, or somebody else changed it meanwhile.
    """
    before = must(session, account_id, article_id)
    wanted = check(document)
    if before.status == "publishing":
        raise Refused("the article is being published: wait for the result")
    if wanted == before.document:
        return before
    changed = session.execute(
        sa.update(articles)
        .where(
            articles.c.id == article_id,
            articles.c.version == version,
            articles.c.archived_at.is_(None),
        )
        .values(
            document=wanted,
            title=wanted["title"],
            version=version + 1,
            status="draft",
            error=None,
            checked_at=None,
            key=None,  # it says something else now than what stands in the campaign
            changed_at=now,
        )
        .returning(articles.c.id)
    ).scalar()
    if changed is None:
        raise Refused("somebody else changed the article meanwhile: look at it again")
    return must(session, account_id, article_id)


def publish_it(session: Session, account_id: int, article_id: int, now: datetime) -> None:
    """Have it published: a page with an address, without a push and without costing a slot.

    Raises:
        Refused: there is none, it is being published, or this version is already.
    """
    found = must(session, account_id, article_id)
    if found.status == "publishing":
        raise Refused("the article is being published: wait for the result")
    if found.status == "published":
        raise Refused("this version is published already")
    values = {"status": "publishing", "publish_id": None, "error": None, "checked_at": None}
    _update(session, article_id, values | {"changed_at": now})


def archive(session: Session, account_id: int, article_id: int, now: datetime) -> Article:
    """Put it away. Its page stays on the platform, and so do messages that show it.

    Raises:
        Refused: there is none, or it is being published.
    """
    found = must(session, account_id, article_id)
    if found.status == "publishing":
        raise Refused("the article is being published: wait for the result")
    _update(session, article_id, {"archived_at": now})
    return found


def restore(session: Session, account_id: int, article_id: int) -> None:
    """Take an article out of the archive again."""
    must(session, account_id, article_id)
    _update(session, article_id, {"archived_at": None})


def every(session: Session, account_id: int, *, archived: bool = False) -> list[Article]:
    """Articles, the latest changed first; archived ones only when asked for."""
    query = sa.select(articles).where(articles.c.account_id == account_id)
    if not archived:
        query = query.where(articles.c.archived_at.is_(None))
    rows = session.execute(query.order_by(articles.c.changed_at.desc(), articles.c.id.desc()))
    return [article_of(row) for row in rows]


def get(session: Session, account_id: int, article_id: int) -> Article | None:
    """One article of an account."""
    row = session.execute(
        sa.select(articles).where(articles.c.id == article_id, articles.c.account_id == account_id)
    ).one_or_none()
    return article_of(row) if row is not None else None


def must(session: Session, account_id: int, article_id: int) -> Article:
    """One article of an account.

    Raises:
        Refused: there is none.
    """
    found = get(session, account_id, article_id)
    if found is None:
        raise Refused("there is no such article")
    return found


def tell_pending(engine: Engine, wechat_of: WeChatOf, now: datetime) -> int:
    """Tell the platform about up to 10 articles it does not know as they are; how many had their pictures for it.

    1. Pictures inside the article are uploaded, each once.
    2. Its draft is made or changed; a draft that has left the box is made anew.
    3. Where somebody wants it published, the draft is handed in.

    Any of it may be repeated after a kill: at worst a draft stands in the box twice.
    """
    with db.reading(engine) as session:
        rows = session.execute(
            sa.select(articles)
            .join(accounts, accounts.c.id == articles.c.account_id)
            .where(_untold(now), accounts.c.archived_at.is_(None))
            .order_by(articles.c.id)
            .limit(TELL_LIMIT)
        ).all()
    return sum(_tell(engine, wechat_of, row, now) for row in rows)


def ask_pending(engine: Engine, wechat_of: WeChatOf, now: datetime) -> int:
    """Ask about publications whose result never came; how many were asked."""
    with db.reading(engine) as session:
        rows = session.execute(
            sa.select(articles)
            .where(
                articles.c.status == "publishing",
                articles.c.publish_id.is_not(None),
                articles.c.checked_at <= now - ASK_AFTER,
            )
            .order_by(articles.c.id)
            .limit(TELL_LIMIT)
        ).all()
    for row in rows:
        try:
            found = publish.ask(wechat_of(row.account_id), row.publish_id)
        except (WeChatError, Refused) as problem:
            log.warning("publication_not_asked", article=row.id, error=str(problem))
            with db.writing(engine) as session:
                _update(session, row.id, {"checked_at": now})
            continue
        with db.writing(engine) as session:
            _update(session, row.id, {"checked_at": now})
            published(session, row.account_id, found, now)
    return len(rows)


def published(session: Session, account_id: int, found: Publication, now: datetime) -> None:
    """Store the platform's result of a publication, by event or by answer; one of nobody's is left alone."""
    if found.status == publish.AT_WORK or not found.publish_id:
        return
    this = sa.and_(articles.c.account_id == account_id, articles.c.publish_id == found.publish_id)
    values: dict[str, Any]
    if found.problem is None:
        # a draft that was published has left the box
        values = {"status": "published", "article_id": found.article_id, "url": found.url}
        values |= {"published_at": now, "media_id": None, "error": None}
    else:
        values = {"status": "failed", "error": found.problem}
    session.execute(sa.update(articles).where(this).values(**values))


def article_of(row: Any) -> Article:
    """The article of a row."""
    return Article(
        id=row.id,
        account_id=row.account_id,
        title=row.title,
        document=row.document,
        version=row.version,
        told_version=row.told_version,
        media_id=row.media_id,
        article_id=row.article_id,
        url=row.url,
        status=row.status,
        error=row.error,
        created_by=row.created_by,
        created_at=row.created_at,
        changed_at=row.changed_at,
        published_at=row.published_at,
        archived=row.archived_at is not None,
    )


def pictures_of(document: Mapping[str, Any]) -> Sequence[str]:
    """Names of the stored pictures an article needs: those inside it, and its cover."""
    cover = document.get("cover", {}).get("file")
    inside = article_html.materials(document.get("html", ""))
    return list(dict.fromkeys([*([cover] if cover else []), *inside]))


def _untold(now: datetime) -> sa.ColumnElement[bool]:
    """Articles with something to tell: a version the platform does not have, or a publication not handed in."""
    new = sa.or_(articles.c.told_version.is_(None), articles.c.told_version != articles.c.version)
    to_hand_in = sa.and_(articles.c.status == "publishing", articles.c.publish_id.is_(None))
    rested = sa.or_(articles.c.checked_at.is_(None), articles.c.checked_at <= now - AGAIN_AFTER)
    return sa.and_(
        articles.c.archived_at.is_(None),
        articles.c.error.is_(None),
        sa.or_(new, to_hand_in),
        rested,
    )


def _tell(engine: Engine, wechat_of: WeChatOf, row: Any, now: datetime) -> bool:
    """False: a picture of it waits for its upload."""
    try:
        wechat = wechat_of(row.account_id)
        _upload_pictures(engine, wechat, row, now)
        with db.reading(engine) as session:
            body = media.wire(session, row.account_id, row.document)
        values: dict[str, Any] = {"media_id": _in_the_box(wechat, row, body)}
        values |= {"told_version": row.version, "error": None}
        # stored before it is handed in, so that a kill in between leaves no second draft
        with db.writing(engine) as session:
            _update(session, row.id, values, version=row.version)
        if row.status != "publishing":
            return True
        handed_in = _handed_in(wechat, values["media_id"], body)
        with db.writing(engine) as session:
            _update(session, row.id, handed_in | {"checked_at": now})
    except media.NotYet:
        with db.writing(engine) as session:
            _update(session, row.id, {"checked_at": now - AGAIN_AFTER})
        return False
    except (WeChatError, Refused) as problem:
        log.warning("article_not_told", article=row.id, error=str(problem))
        values = {"checked_at": now}
        if not isinstance(problem, WeChatError) or problem.permanent:
            values["error"] = logs.clean(str(problem))
            if row.status == "publishing":
                values["status"] = "failed"
        with db.writing(engine) as session:
            _update(session, row.id, values, version=row.version)
    return True


def _in_the_box(wechat: WeChat, row: Any, body: Mapping[str, Any]) -> str:
    """The media_id of a draft that says what the row says."""
    if row.media_id is not None:
        if row.told_version == row.version:
            return str(row.media_id)
        try:
            drafts.update(wechat, row.media_id, body)
            return str(row.media_id)
        except WeChatError as problem:
            if problem.errcode != DRAFT_GONE:
                raise
    return drafts.add(wechat, body)


def _handed_in(wechat: WeChat, media_id: str, body: Mapping[str, Any]) -> dict[str, str]:
    """Publish a draft, made anew where it left the box when it was sent: the work's number, and the draft's id."""
    try:
        return {"publish_id": publish.submit(wechat, media_id), "media_id": media_id}
    except WeChatError as problem:
        if problem.errcode != DRAFT_GONE:
            raise
    fresh = drafts.add(wechat, body)
    return {"publish_id": publish.submit(wechat, fresh), "media_id": fresh}


def _upload_pictures(engine: Engine, wechat: WeChat, row: Any, now: datetime) -> None:
    cover = row.document["cover"].get("file")
    if cover:
        media.upload_now(engine, lambda _account: wechat, row.account_id, cover, now)
    for name in article_html.materials(row.document["html"]):
        with db.reading(engine) as session:
            found = session.execute(
                sa.select(media_table.c.id, media_table.c.data, media_table.c.article_url)
                .where(
                    media_table.c.account_id == row.account_id,
                    media_table.c.kind == "image",
                    media_table.c.name == name,
                )
                .order_by(media_table.c.id.desc())
                .limit(1)
            ).one_or_none()
        if found is None:
            raise Refused(f"there is no image file '{name}' in this account")
        if found.article_url is None:
            url = material.upload_article_picture(wechat, name, found.data)
            with db.writing(engine) as session:
                session.execute(
                    sa.update(media_table)
                    .where(media_table.c.id == found.id)
                    .values(article_url=url)
                )


def _insert(
    session: Session,
    account_id: int,
    document: Mapping[str, Any],
    now: datetime,
    *,
    by: str,
    key: str | None = None,
) -> int:
    values = {
        "account_id": account_id,
        "title": document["title"],
        "key": key,
        "document": dict(document),
        "version": 1,
        "status": "draft",
        "created_by": by,
        "created_at": now,
        "changed_at": now,
    }
    made = db.insert_first(session, articles, values)
    if made is not None:
        return made
    return int(
        session.execute(
            sa.select(articles.c.id).where(
                articles.c.account_id == account_id, articles.c.key == key
            )
        ).scalar_one()
    )


def _update(
    session: Session, article_id: int, values: Mapping[str, Any], *, version: int | None = None
) -> None:
    """Change columns of an article; with ``version`` only while it is that one."""
    this = [articles.c.id == article_id]
    if version is not None:
        this.append(articles.c.version == version)
    session.execute(sa.update(articles).where(*this).values(**values))
