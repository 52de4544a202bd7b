"""The library of materials (素材库): files handed in, what they are used by, and putting them away.

Bytes and uploads are ``bot.media``; a material is the newest file of a kind and name.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import PurePosixPath
from typing import Any

import sqlalchemy as sa

from bot import article_html, db
from bot import articles as library
from bot.articles import Article
from bot.campaigns.status import OPEN_RUNS
from bot.db import Session
from bot.errors import Invalid, Refused
from bot.media import LOGO, draft_key
from bot.tables.accounts import articles, media
from bot.tables.campaigns import campaign_runs, campaigns
from bot.tables.rulebooks import rules
from bot.tables.tracking import scenes
from bot.wechat import media as material

KINDS = ("image", "voice", "video", "thumb")
NAME_CHARACTERS = 100
# parts of a campaign in which a content may stand
_PARTS = ("content", "contents", "experiment", "follow_ups")
CHANGED = ""  # of no content the hash: an approval that is there, and holds no more


@dataclass(frozen=True, slots=True)
class Material:
    """``expires_at``: when the platform forgets its copy, which is renewed before; None: kept for good."""

    id: int
    kind: str
    name: str
    size: int
    media_id: str | None
    error: str | None
    uploaded_at: datetime | None
    expires_at: datetime | None
    created_at: datetime | None
    created_by: str | None
    archived: bool

    @property
    def state(self) -> str:
        """``waiting``, ``ready`` or ``refused``, as far as the platform's copy goes."""
        if self.media_id is not None:
            return "ready"
        return "waiting" if self.error is None else "refused"


@dataclass(frozen=True, slots=True)
class Use:
    """Where something is used. ``thing``: campaign, rule, scene or article; ``live``: scheduled, sent now, in force."""

    thing: str
    name: str
    live: bool = False


def hand_in(
    session: Session,
    account_id: int,
    kind: str,
    name: str,
    data: bytes,
    now: datetime,
    *,
    by: str,
    temporary: bool = False,
) -> int:
    """Keep a file under its own name; its id. The platform gets it by itself some seconds later.

    Raises:
        Invalid: no kind, or a name that cannot be one.
        Refused: empty, too large, in another format, or the name is another file's.
    """
    if kind not in KINDS:
        raise Invalid("kind", f"must be one of {', '.join(KINDS)}")
    name = PurePosixPath(name.replace("\\", "/")).name.strip()
    if not name or len(name) > NAME_CHARACTERS or not name.isprintable() or '"' in name:
        raise Invalid("name", f"must have 1 to {NAME_CHARACTERS} visible characters")
    material.check(kind, name, data)
    digest = hashlib.sha256(data).hexdigest()
    taken = _newest(session, account_id, kind, name)
    if taken is not None and taken.sha256 != digest:
        raise Refused(f"there is another file named '{name}' already: give this one another name")
    values = {
        "account_id": account_id,
        "kind": kind,
        "name": name,
        "sha256": digest,
        "data": data,
        "size": len(data),
        "created_at": now,
        "created_by": by,
        # past: the first upload is due, and says until when it lives
        "expires_at": now if temporary else None,
    }
    made = db.insert_first(session, media, values)
    if made is not None:
        return made
    assert taken is not None
    _update(session, taken.id, {"archived_at": None})
    return int(taken.id)


def every(session: Session, account_id: int, *, archived: bool | None = False) -> list[Material]:
    """Materials, the newest first; those put away alone (True) or too (None)."""
    query = sa.select(*_COLUMNS).where(media.c.account_id == account_id, media.c.kind != LOGO)
    if archived is not None:
        there = media.c.archived_at.is_not(None) if archived else media.c.archived_at.is_(None)
        query = query.where(there)
    found: dict[tuple[str, str], Material] = {}
    for row in session.execute(query.order_by(media.c.id.desc())):
        # an account file may bring another file under a name: the newest is meant
        found.setdefault((row.kind, row.name), _material(row))
    return list(found.values())


def get(session: Session, account_id: int, material_id: int) -> Material | None:
    """One material of an account."""
    row = session.execute(
        sa.select(*_COLUMNS).where(
            media.c.id == material_id, media.c.account_id == account_id, media.c.kind != LOGO
        )
    ).one_or_none()
    return _material(row) if row is not None else None


def archive(session: Session, account_id: int, material_id: int, now: datetime) -> Material:
    """Put it away: it is offered no more. What uses it goes on using it.

    Raises:
        Refused: there is none.
    """
    found = _must(session, account_id, material_id)
    _update(session, material_id, {"archived_at": now})
    return found


def restore(session: Session, account_id: int, material_id: int) -> None:
    """Offer it again.

    Raises:
        Refused: there is none.
    """
    _must(session, account_id, material_id)
    _update(session, material_id, {"archived_at": None})


def retry(session: Session, account_id: int, material_id: int) -> None:
    """Try an upload that was refused once more.

    Raises:
        Refused: there is none.
    """
    _must(session, account_id, material_id)
    _update(session, material_id, {"error": None})


def used_by(session: Session, account_id: int, kind: str, name: str) -> list[Use]:
    """Where a file is used: campaigns that are not put away, rules, replies of QR codes, articles."""

    def holds(value: Any) -> bool:
        return any((kind, name) == one for one in _files(value))

    return [*_in_contents(session, account_id, holds), *_in_articles(session, account_id, name)]


def article_used_by(session: Session, account_id: int, article_id: int, title: str) -> list[Use]:
    """Where an article of the library is named, or stands as it was written inside a campaign."""
    key = session.execute(
        sa.select(articles.c.key).where(
            articles.c.id == article_id, articles.c.account_id == account_id
        )
    ).scalar()
    named = _names({article_id, str(article_id), title})

    def holds(value: Any) -> bool:
        inside = (one.get("draft") for one in _inside(value, "article")) if key else ()
        return named(value) or any(draft and draft_key(draft) == key for draft in inside)

    return list(_in_contents(session, account_id, holds))


def create_article(
    session: Session, account_id: int, document: Any, now: datetime, *, by: str
) -> int:
    """Write a new article; its id. Campaigns that go by its title mean it from now on, once they are approved again.

    Raises:
        Invalid: it cannot be an article.
        Refused: a campaign goes out with an article of this title.
    """
    made = library.create(session, account_id, document, now, by=by)
    title = library.must(session, account_id, made).title
    named = _names({title})
    _check_free(_in_contents(session, account_id, named))
    _ask_again(session, account_id, named)
    return made


def change_article(
    session: Session, account_id: int, article_id: int, document: Any, version: int, now: datetime
) -> Article:
    """Write another version over ``version``. Who approved a campaign with it is asked again: it said something else.

    Raises:
        Invalid: it cannot be an article.
        Refused: a campaign goes out with it; or as ``articles.change``.
    """
    before = library.must(session, account_id, article_id)
    uses = article_used_by(session, account_id, article_id, before.title)
    after = library.change(session, account_id, article_id, document, version, now)
    if after.version != before.version:
        uses += article_used_by(session, account_id, article_id, after.title)
        _check_free(uses)
        titles = {before.title, after.title}
        _ask_again(session, account_id, _names({article_id, str(article_id), *titles}))
    return after


def _names(named: set[int | str]) -> Callable[[Any], bool]:
    """Whether a content names an article by its number or title."""
    return lambda value: any(one.get("article") in named for one in _inside(value, "article"))


def _check_free(uses: Iterable[Use]) -> None:
    """Raises Refused where an article is that of a campaign that is scheduled or has a run under way."""
    for use in uses:
        if use.thing == "campaign" and use.live:
            raise Refused(
                f"the campaign '{use.name}' goes out with this article: stop it first, and its run"
            )


def _ask_again(session: Session, account_id: int, named: Callable[[Any], bool]) -> None:
    """Approvals of campaigns that name an article are for something else now."""
    found = [
        row.id
        for row in session.execute(
            sa.select(campaigns.c.id, *_columns()).where(
                campaigns.c.account_id == account_id, campaigns.c.approved_hash.is_not(None)
            )
        )
        if any(named(getattr(row, part)) for part in _PARTS)
    ]
    session.execute(
        sa.update(campaigns).where(campaigns.c.id.in_(found)).values(approved_hash=CHANGED)
    )


def _in_contents(session: Session, account_id: int, holds: Callable[[Any], bool]) -> Iterator[Use]:
    under_way = sa.exists().where(
        campaign_runs.c.campaign_id == campaigns.c.id, campaign_runs.c.status.in_(OPEN_RUNS)
    )
    live = sa.or_(campaigns.c.status == "scheduled", under_way)
    for row in session.execute(
        sa.select(campaigns.c.name, live.label("live"), *_columns())
        .where(campaigns.c.account_id == account_id, campaigns.c.status != "archived")
        .order_by(campaigns.c.id)
    ):
        if any(holds(getattr(row, part)) for part in _PARTS):
            yield Use("campaign", row.name, live=bool(row.live))
    for row in session.execute(
        sa.select(rules.c.name, rules.c.body)
        .where(rules.c.account_id == account_id, rules.c.archived_at.is_(None))
        .order_by(rules.c.id)
    ):
        if holds(row.body):
            yield Use("rule", row.name, live=True)
    for row in session.execute(
        sa.select(scenes.c.key, scenes.c.reply)
        .where(scenes.c.account_id == account_id, scenes.c.archived_at.is_(None))
        .order_by(scenes.c.key)
    ):
        if holds(row.reply):
            yield Use("scene", row.key, live=True)


def _columns() -> list[sa.Column[Any]]:
    return [campaigns.c[part] for part in _PARTS]


def _in_articles(session: Session, account_id: int, name: str) -> Iterator[Use]:
    for row in session.execute(
        sa.select(articles.c.title, articles.c.document)
        .where(articles.c.account_id == account_id, articles.c.archived_at.is_(None))
        .order_by(articles.c.id)
    ):
        cover = (row.document.get("cover") or {}).get("file")
        if name == cover or name in article_html.materials(row.document.get("html", "")):
            yield Use("article", row.title)


def _files(value: Any) -> Iterator[tuple[str, str]]:
    """(kind, name) of every stored file inside a content, a rule or a campaign."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            kind = "image" if key == "cover" else key
            if kind in KINDS and isinstance(item, Mapping) and isinstance(item.get("file"), str):
                yield kind, item["file"]
            if key == "html" and isinstance(item, str):
                yield from (("image", name) for name in article_html.materials(item))
            yield from _files(item)
    elif isinstance(value, list):
        for item in value:
            yield from _files(item)


def _inside(value: Any, wanted: str) -> Iterator[Mapping[str, Any]]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            if key == wanted and isinstance(item, Mapping):
                yield item
            yield from _inside(item, wanted)
    elif isinstance(value, list):
        for item in value:
            yield from _inside(item, wanted)


def _newest(session: Session, account_id: int, kind: str, name: str) -> Any | None:
    return session.execute(
        sa.select(media.c.id, media.c.sha256)
        .where(media.c.account_id == account_id, media.c.kind == kind, media.c.name == name)
        .order_by(media.c.id.desc())
        .limit(1)
    ).one_or_none()


def _must(session: Session, account_id: int, material_id: int) -> Material:
    found = get(session, account_id, material_id)
    if found is None:
        raise Refused("there is no such material")
    return found


def _update(session: Session, material_id: int, values: Mapping[str, Any]) -> None:
    session.execute(sa.update(media).where(media.c.id == material_id).values(**values))


_COLUMNS = (
    media.c.id,
    media.c.kind,
    media.c.name,
    sa.func.coalesce(media.c.size, sa.func.length(media.c.data)).label("size"),
    media.c.media_id,
    media.c.error,
    media.c.uploaded_at,
    media.c.expires_at,
    media.c.created_at,
    media.c.created_by,
    media.c.archived_at,
)


def _material(row: Any) -> Material:
    return Material(
        id=row.id,
        kind=row.kind,
        name=row.name,
        size=row.size or 0,
        media_id=row.media_id,
        error=row.error,
        uploaded_at=row.uploaded_at,
        expires_at=row.expires_at,
        created_at=row.created_at,
        created_by=row.created_by,
        archived=row.archived_at is not None,
    )
