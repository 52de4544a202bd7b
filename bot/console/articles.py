"""文章: written here with a preview, kept as drafts on the platform, published as pages without a push."""

from collections.abc import Mapping
from typing import Any

from flask import Response, make_response, render_template, request, url_for
from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l
from werkzeug.wrappers import Response as Answer

from bot import article_html, articles, db, materials
from bot.articles import Article
from bot.console.access import Here, confirm, done, missing, page
from bot.console.lists import Column, Filter, Listing, asked, csv_file, whole
from bot.console.materials import said
from bot.console.telling import beside, told
from bot.db import Session
from bot.errors import Invalid, Refused

STATUS = {
    "draft": _l("草稿"),
    "publishing": _l("发布中"),
    "published": _l("已发布"),
    "failed": _l("没有发布成功"),
}
COLUMNS = (
    Column("title", _l("标题"), sort=True),
    Column("status", _l("状态"), sort=True),
    Column("told", _l("草稿箱")),
    Column("version", _l("版本"), sort=True, number=True),
    Column("changed_at", _l("修改时间"), sort=True),
    Column("published_at", _l("发布时间")),
    Column("created_by", _l("作者"), shown=False),
)
FILTERS = (
    Filter("status", _l("全部状态"), tuple(STATUS.items())),
    Filter("archived", _l("使用中"), (("yes", _l("已归档")),)),
)
PAGE = 30
# the article stands in a frame of its own: looks only, no script, and pictures of ours and the platform's
FRAME = (
    "default-src 'none'; img-src 'self' http://mmbiz.qpic.cn https://mmbiz.qpic.cn; "
    "style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'; sandbox allow-same-origin"
)


@page("/articles", "materials.read")
def articles_list(here: Here) -> str | Response:
    """Every article of the account."""
    wanted = asked(request.args, COLUMNS, FILTERS, sort="-changed_at")
    away = wanted.has("archived") == "yes"
    with db.reading(here.rt.engine) as session:
        every = articles.every(session, here.account.id, archived=True)
    q = wanted.q.casefold()
    rows = [
        one
        for one in every
        if one.archived == away and q in one.title.casefold() and wanted.has("status") in ("", one.status)
    ]  # fmt: skip
    if wanted.sort != "changed_at":
        rows.sort(key=lambda one: getattr(one, wanted.sort), reverse=wanted.down)
    elif not wanted.down:
        rows.reverse()
    if wanted.format == "csv":
        header = [column.label for column in COLUMNS]
        return csv_file("articles", header, ([_cell(one, c.name) for c in COLUMNS] for one in rows))
    begin = (wanted.page - 1) * PAGE
    more = wanted.page + 1 if len(rows) > begin + PAGE else None
    listing = Listing(
        wanted, COLUMNS, FILTERS, rows[begin : begin + PAGE], len(rows), more, unit=_("篇文章")
    )
    return render_template(
        "articles/list.html", listing=listing, any=bool(every), status=STATUS, told=told
    )


@page("/articles/new", "materials.write")
def article_new(here: Here) -> str:
    """The form of a new one."""
    return _form(here, None, {}, {})


@page("/articles/new", "materials.write", methods=("POST",))
def article_create(here: Here) -> Answer | tuple[str, int]:
    """Keep it; the platform gets it as a draft."""
    given = _given()
    try:
        with db.writing(here.rt.engine) as session:
            made = materials.create_article(
                session, here.account.id, _document(given), here.now, by=here.operator.name
            )
            here.audit(
                session, "article.create", f"article:{made}", after={"title": given["title"]}
            )
    except Invalid as problem:
        return _form(here, None, given, _beside(problem)), 422
    return done(
        _("已保存，几秒后存入平台的草稿箱"), "article", article_id=made, slug=here.account.slug
    )


@page("/articles/<int:article_id>", "materials.read")
def article(here: Here, article_id: int) -> str:
    """One article: how a phone shows it, how far it is, and where it is used."""
    with db.reading(here.rt.engine) as session:
        found = _found(session, here, article_id)
        uses = materials.article_used_by(session, here.account.id, article_id, found.title)
    return render_template(
        "articles/article.html",
        one=found,
        content={"article": {"draft": found.document}},
        uses=uses,
        used=said(uses),
        status=STATUS,
        warnings=[told(each) for each in article_html.warnings(found.document["html"])],
        told=told,
    )


@page("/articles/<int:article_id>/page", "materials.read")
def article_page(here: Here, article_id: int) -> Answer:
    """The article itself, for the frame of its preview."""
    with db.reading(here.rt.engine) as session:
        found = _found(session, here, article_id)

    def address(source: str) -> str | None:
        if source.startswith(article_html.OURS):
            return url_for("console.material_file", name=source.removeprefix(article_html.OURS))
        return source

    html = article_html.with_pictures(article_html.clean(found.document["html"]), address)
    answer = make_response(render_template("articles/page.html", one=found, html=html))
    answer.headers["Content-Security-Policy"] = FRAME
    return answer


@page("/articles/<int:article_id>/edit", "materials.write")
def article_edit(here: Here, article_id: int) -> str:
    """Its form."""
    with db.reading(here.rt.engine) as session:
        found = _found(session, here, article_id)
    return _form(here, found, _typed(found), {})


@page("/articles/<int:article_id>/edit", "materials.write", methods=("POST",))
def article_save(here: Here, article_id: int) -> Answer | tuple[str, int]:
    """Write another version. While a campaign goes out with it, nobody changes what was approved."""
    given = _given()
    with db.reading(here.rt.engine) as session:
        before = _found(session, here, article_id)
    try:
        with db.writing(here.rt.engine) as session:
            version = whole(request.form.get("version", "")) or 0
            after = materials.change_article(
                session, here.account.id, article_id, _document(given), version, here.now
            )
            told_before = {"title": before.title, "version": before.version}
            told_after = {"title": after.title, "version": after.version}
            here.audit(
                session, "article.change", f"article:{article_id}", before=told_before, after=told_after
            )  # fmt: skip
    except Invalid as problem:
        return _form(here, before, given, _beside(problem)), 422
    except Refused as problem:
        return _form(here, before, given, {"": told(str(problem))}), 409
    saved = _("已保存第 %(version)s 版", version=after.version)
    return done(saved, "article", article_id=article_id, slug=here.account.slug)


@page("/articles/<int:article_id>/publish", "materials.write")
def article_ask_publish(here: Here, article_id: int) -> str:
    """What publishing is, and is not."""
    with db.reading(here.rt.engine) as session:
        found = _found(session, here, article_id)
    return confirm(
        _("发布“%(title)s”", title=found.title),
        [
            _("发布后有一个长期有效的链接，可用于菜单、自动回复和客服消息。"),
            _("不会推送给任何粉丝，不占群发名额，也不出现在公众号主页。"),
        ],
        action=url_for("console.article_publish", article_id=article_id),
        button=_("发布"),
        back=url_for("console.article", article_id=article_id),
    )


@page("/articles/<int:article_id>/publish", "materials.write", methods=("POST",))
def article_publish(here: Here, article_id: int) -> Answer:
    """Have it published."""
    with db.writing(here.rt.engine) as session:
        found = _found(session, here, article_id)
        articles.publish_it(session, here.account.id, article_id, here.now)
        here.audit(
            session, "article.publish", f"article:{article_id}", after={"version": found.version}
        )
    return done(
        _("已提交发布，平台审核后显示结果"),
        "article",
        article_id=article_id,
        slug=here.account.slug,
    )


@page("/articles/<int:article_id>/archive", "materials.write")
def article_ask_archive(here: Here, article_id: int) -> str:
    """What putting it away means, and what uses it."""
    with db.reading(here.rt.engine) as session:
        found = _found(session, here, article_id)
        uses = materials.article_used_by(session, here.account.id, article_id, found.title)
    what = [_("归档后不再出现在选择列表里。平台上的草稿和已发布的页面都保留，以后可以恢复。")]
    if uses:
        what.append(_("有 %(count)s 处在用：%(where)s", count=len(uses), where=said(uses)))
    return confirm(
        _("归档“%(name)s”", name=found.title),
        what,
        action=url_for("console.article_archive", article_id=article_id),
        button=_("归档"),
        back=url_for("console.article", article_id=article_id),
    )


@page("/articles/<int:article_id>/archive", "materials.write", methods=("POST",))
def article_archive(here: Here, article_id: int) -> Answer:
    """Put it away."""
    with db.writing(here.rt.engine) as session:
        found = _found(session, here, article_id)
        articles.archive(session, here.account.id, article_id, here.now)
        here.audit(
            session, "article.archive", f"article:{article_id}", before={"title": found.title}
        )
    return done(_("已归档"), "articles_list", slug=here.account.slug)


@page("/articles/<int:article_id>/restore", "materials.write", methods=("POST",))
def article_restore(here: Here, article_id: int) -> Answer:
    """Offer it again."""
    with db.writing(here.rt.engine) as session:
        _found(session, here, article_id)
        articles.restore(session, here.account.id, article_id)
        here.audit(session, "article.restore", f"article:{article_id}")
    return done(_("已恢复"), "article", article_id=article_id, slug=here.account.slug)


def _form(
    here: Here, found: Article | None, given: Mapping[str, Any], problems: Mapping[str, str]
) -> str:
    with db.reading(here.rt.engine) as session:
        pictures = [
            one.name
            for one in materials.every(session, here.account.id)
            if one.kind == "image" and one.expires_at is None
        ]
    cover = given.get("cover")
    if cover and cover not in pictures:  # put away since, and still this article's
        pictures.append(cover)
    return render_template(
        "articles/form.html",
        one=found,
        given=given,
        problems=problems,
        pictures=pictures,
        choices=[(name, name) for name in pictures],
    )


def _given() -> dict[str, str]:
    names = ("title", "author", "digest", "html", "cover", "source_url")
    return {name: request.form.get(name, "").replace("\r\n", "\n") for name in names}


def _document(given: Mapping[str, str]) -> dict[str, Any]:
    document: dict[str, Any] = {
        name: given[name].strip() for name in ("title", "author", "digest", "html")
    }
    document["cover"] = {"file": given["cover"]} if given["cover"] else {}
    if given["source_url"].strip():
        document["source_url"] = given["source_url"].strip()
    return document


def _typed(found: Article) -> dict[str, Any]:
    return {**found.document, "cover": (found.document.get("cover") or {}).get("file", "")}


def _beside(problem: Invalid) -> dict[str, str]:
    found = beside(problem)
    return {name.removeprefix("article.").partition(".")[0]: text for name, text in found.items()}


def _cell(one: Article, name: str) -> Any:
    return STATUS[one.status] if name == "status" else getattr(one, name)


def _found(session: Session, here: Here, article_id: int) -> Article:
    found = articles.get(session, here.account.id, article_id)
    if found is None:
        missing()
    return found
