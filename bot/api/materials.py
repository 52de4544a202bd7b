"""Materials, articles, templates, and what followers still permit of notices."""

import base64
import binascii
from typing import Annotated, Any, Literal

from pydantic import Field

from bot import articles, consents, materials, templates
from bot.api.cursors import Listing, slice_of
from bot.api.frame import Area, Asked, Call, Id, Json, Nothing, Page, Told, Version, When
from bot.api.problems import found
from bot.articles import Article
from bot.db import Session
from bot.errors import Invalid
from bot.materials import Material, Use

area = Area("materials", "Materials and articles · 素材与文章")
Kind = Literal["image", "voice", "video", "thumb"]


class MaterialTold(Told):
    id: Id
    kind: Kind
    name: str = Field(description="`file` of a content; inside an article `material:<name>`")
    bytes: int
    state: Literal["ready", "waiting", "refused"] = Field(description="of the platform's copy")
    error: str | None
    expires_at: When | None = Field(description="of temporary material; it is renewed before")
    created_at: When | None
    archived: bool


class UseTold(Told):
    thing: Literal["campaign", "rule", "scene", "article"]
    name: str
    live: bool = Field(description="scheduled, or in force")


class MaterialSeen(MaterialTold):
    used_by: list[UseTold]


class MaterialWanted(Asked):
    kind: Kind
    name: Annotated[str, Field(min_length=1, max_length=100)]
    data: Annotated[
        str,
        Field(min_length=1, description="the file in base64; a body of the API has 1 MB at most"),
    ]
    temporary: bool = Field(False, description="the platform keeps it 3 days, renewed before")


class MaterialsAsked(Page):
    archived: bool = Field(False, description="those that were put away instead")


class ArticleTold(Told):
    id: Id
    title: str
    version: Version
    status: Literal["draft", "publishing", "published", "failed"]
    told: bool = Field(description="whether the platform's draft says this version")
    url: str | None = Field(description="the page, once it is published")
    error: str | None
    changed_at: When
    published_at: When | None
    archived: bool


class ArticleSeen(ArticleTold):
    document: Json = Field(description="title, author, digest, html, cover, source_url")
    used_by: list[UseTold]


class ArticleWanted(Asked):
    document: Json = Field(description="title, author, digest, html, cover, source_url")


class ArticleChange(ArticleWanted):
    version: Version = Field(description="the version it was changed from")


class TemplateTold(Told):
    id: str
    kind: Literal["template", "subscription"]
    title: str
    places: dict[str, str] = Field(description="key of each value, with the words before it")
    long_term: bool
    people: int = Field(description="followers who still permit a notice")
    left: int = Field(description="notices they permit together")
    sent: int


@area("GET", "/materials", "materials.read")
def materials_list(call: Call, session: Session, query: MaterialsAsked) -> Listing[MaterialTold]:
    """Materials, the newest first."""
    every = materials.every(session, call.account.id, archived=query.archived)
    return slice_of(call, query, every, _material)


@area("GET", "/materials/<material_id>", "materials.read")
def material_get(call: Call, session: Session, material_id: Id) -> MaterialSeen:
    """One material, and where it is used."""
    one = found(materials.get(session, call.account.id, material_id))
    uses = materials.used_by(session, call.account.id, one.kind, one.name)
    return MaterialSeen(**_material(one).model_dump(), used_by=_uses(uses))


@area("POST", "/materials", "materials.write", status=201)
def material_create(call: Call, session: Session, body: MaterialWanted) -> MaterialTold:
    """Hand a file in. The platform gets it some seconds later."""
    try:
        data = base64.b64decode(body.data, validate=True)
    except (binascii.Error, ValueError):
        raise Invalid("data", "is no base64") from None
    made = materials.hand_in(
        session,
        call.account.id,
        body.kind,
        body.name,
        data,
        call.now,
        by=call.by,
        temporary=body.temporary,
    )
    after = {"name": body.name, "kind": body.kind, "bytes": len(data)}
    call.audit(session, "material.create", f"material:{made}", after=after)
    return _material(found(materials.get(session, call.account.id, made)))


@area("DELETE", "/materials/<material_id>", "materials.write")
def material_archive(call: Call, session: Session, material_id: Id) -> Nothing:
    """Put a material away. What uses it goes on using it."""
    one = found(materials.get(session, call.account.id, material_id))
    materials.archive(session, call.account.id, material_id, call.now)
    call.audit(session, "material.archive", f"material:{material_id}", before={"name": one.name})
    return Nothing()


@area("GET", "/articles", "materials.read")
def articles_list(call: Call, session: Session, query: MaterialsAsked) -> Listing[ArticleTold]:
    """Articles, the latest changed first."""
    every = articles.every(session, call.account.id, archived=query.archived)
    shown = [one for one in every if one.archived == query.archived]
    return slice_of(call, query, shown, _article)


@area("GET", "/articles/<article_id>", "materials.read")
def article_get(call: Call, session: Session, article_id: Id) -> ArticleSeen:
    """One article, whole, and where it is used."""
    return _seen(call, session, article_id)


@area("POST", "/articles", "materials.write", status=201)
def article_create(call: Call, session: Session, body: ArticleWanted) -> ArticleSeen:
    """Write an article. It stands in the platform's draft box some seconds later."""
    made = materials.create_article(session, call.account.id, body.document, call.now, by=call.by)
    call.audit(session, "article.create", f"article:{made}")
    return _seen(call, session, made)


@area("PUT", "/articles/<article_id>", "materials.write")
def article_update(
    call: Call, session: Session, article_id: Id, body: ArticleChange
) -> ArticleSeen:
    """Write another version. Not while a campaign goes out with it; others that name it need a new approval."""
    before = found(articles.get(session, call.account.id, article_id))
    after = materials.change_article(
        session, call.account.id, article_id, body.document, body.version, call.now
    )
    call.audit(
        session,
        "article.change",
        f"article:{article_id}",
        before={"title": before.title, "version": before.version},
        after={"title": after.title, "version": after.version},
    )
    return _seen(call, session, article_id)


@area("POST", "/articles/<article_id>/publish", "materials.write")
def article_publish(call: Call, session: Session, article_id: Id) -> ArticleSeen:
    """Publish it as a page: nobody is told, and no slot is spent. `status` says how far it is."""
    found(articles.get(session, call.account.id, article_id))
    articles.publish_it(session, call.account.id, article_id, call.now)
    call.audit(session, "article.publish", f"article:{article_id}")
    return _seen(call, session, article_id)


@area("DELETE", "/articles/<article_id>", "materials.write")
def article_archive(call: Call, session: Session, article_id: Id) -> Nothing:
    """Put an article away. Its draft and its page stay on the platform."""
    found(articles.get(session, call.account.id, article_id))
    articles.archive(session, call.account.id, article_id, call.now)
    call.audit(session, "article.archive", f"article:{article_id}")
    return Nothing()


@area("GET", "/templates", "materials.read")
def templates_list(call: Call, session: Session, query: Page) -> Listing[TemplateTold]:
    """Templates of template messages and subscription notices, with what followers still permit."""
    totals = consents.totals(session, call.account.id)

    def told(one: templates.Template) -> TemplateTold:
        total = totals.get(one.id) if one.kind == "subscription" else None
        counts: dict[str, Any] = {
            name: getattr(total, name) if total is not None else 0
            for name in ("people", "left", "sent")
        }
        return TemplateTold(
            id=one.id,
            kind="template" if one.kind == "template" else "subscription",
            title=one.title,
            places=dict(one.places),
            long_term=one.long_term,
            **counts,
        )

    return slice_of(call, query, templates.every(session, call.account.id), told)


def _material(one: Material) -> MaterialTold:
    return MaterialTold.model_validate(
        {
            "id": one.id,
            "kind": one.kind,
            "name": one.name,
            "bytes": one.size,
            "state": one.state,
            "error": one.error,
            "expires_at": one.expires_at,
            "created_at": one.created_at,
            "archived": one.archived,
        }
    )


def _article(one: Article) -> ArticleTold:
    return ArticleTold.model_validate(
        {name: getattr(one, name) for name in ArticleTold.model_fields}
    )


def _seen(call: Call, session: Session, article_id: int) -> ArticleSeen:
    one = found(articles.get(session, call.account.id, article_id))
    uses = materials.article_used_by(session, call.account.id, one.id, one.title)
    return ArticleSeen(
        **_article(one).model_dump(), document=dict(one.document), used_by=_uses(uses)
    )


def _uses(uses: list[Use]) -> list[UseTold]:
    return [
        UseTold.model_validate({"thing": use.thing, "name": use.name, "live": use.live})
        for use in uses
    ]
