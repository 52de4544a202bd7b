"""Tags 标签: the four families, what the platform has of them, and making, renaming, merging, putting away."""

from collections.abc import Mapping, Sequence
from typing import Any

from flask import Response, render_template, request, url_for
from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l
from werkzeug.wrappers import Response as Answer

from bot import db, jobs, mentions, tag_families, tag_merge
from bot.as_code.apply import PUBLISH_MENU, SYNC_TAGS
from bot.console.access import Here, confirm, done, go, missing, page
from bot.console.lists import PAGE_SIZE, Asked, Column, Filter, Listing, asked, csv_file
from bot.console.telling import beside
from bot.db import Session
from bot.errors import Invalid
from bot.mentions import Mentions
from bot.tag_families import PLATFORM_TAGS, Tag
from bot.tags import DEFAULT_FAMILY, FAMILIES

MANY = 10_000  # people of a tag
COLUMNS = (
    Column("name", _l("标签"), sort=True),
    Column("family", _l("标签族"), sort=True),
    Column("people", _l("人数"), sort=True, number=True),
    Column("counted_at", _l("统计时间")),
    Column("sync", _l("同步到平台")),
    Column("expires", _l("有效期")),
)
SYNC = {
    "off": _l("只在这里"),
    "told": _l("已同步"),
    "waiting": _l("待同步"),
    "failed": _l("没有同步"),
}


@page("/tags", "tags.read")
def tags_list(here: Here) -> str | Response:
    """The tags of a family, or all of them."""
    filters = _filters()
    shown = asked(request.args, COLUMNS, filters, sort="family")
    archived = shown.has("state") == "archived"
    with db.reading(here.rt.engine) as session:
        every = tag_families.every(session, here.account.id, archived=archived)
        used, full = tag_families.on_platform(session, here.account.id)
    found = _sorted(_matching(every, shown), shown)
    if shown.format == "csv":
        return _as_csv(here, found)
    begin = (shown.page - 1) * PAGE_SIZE
    listing = Listing(
        shown,
        COLUMNS,
        filters,
        found[begin : begin + PAGE_SIZE],
        len(found),
        more=shown.page + 1 if begin + PAGE_SIZE < len(found) else None,
        unit=_("个标签"),
    )
    return render_template(
        "tags/list.html",
        listing=listing,
        archived=archived,
        families=[(name, sum(tag.family == name for tag in every)) for name in FAMILIES],
        everything=len(every),
        used=used,
        limit=PLATFORM_TAGS,
        full=full,
        refused=here.account.rights.get("tags") is False,
        state=sync_state,
        sync_words=SYNC,
    )


@page("/tags/new", "tags.write", methods=("GET", "POST"))
def tag_new(here: Here) -> Answer | str | tuple[str, int]:
    """Make a tag."""
    given: Mapping[str, Any] = {"family": DEFAULT_FAMILY}
    if request.method == "GET":
        return _form(given)
    try:
        values = _values()
        with db.writing(here.rt.engine) as session:
            tag = tag_families.add(session, here.account.id, **values)
            here.audit(session, "tag.add", _thing(tag), after=tag.to_json())
            _sync_soon(session, here, tag)
    except Invalid as problem:
        return _form(request.form, beside(problem)), 422
    return done(_("已新建标签「%(name)s」", name=tag.name), "tags_list")


@page("/tags/<int:tag_id>", "tags.write", methods=("GET", "POST"))
def tag_edit(here: Here, tag_id: int) -> Answer | str | tuple[str, int]:
    """What a tag is; a new name is written wherever the old one was."""
    with db.reading(here.rt.engine) as session:
        tag = _known(session, here, tag_id)
        named = mentions.of_tag(session, here.account.id, tag.name)
    given: Mapping[str, Any] = {**tag.to_json(), "sync": "1" if tag.sync else ""}
    if request.method == "GET":
        return _form(given, tag=tag, named=named)
    try:
        values = _values()
        with db.writing(here.rt.engine) as session:
            before = _known(session, here, tag_id)
            after = tag_families.change(
                session,
                here.account.id,
                tag_id,
                by=here.operator.name,
                now=here.now,
                **values,
            )
            here.audit(
                session,
                "tag.edit",
                _thing(before),
                before=before.to_json(),
                after=after.to_json(),
            )
            _sync_soon(session, here, after)
    except Invalid as problem:
        return _form(request.form, beside(problem), tag=tag, named=named), 422
    return done(_("已保存标签「%(name)s」", name=after.name), "tags_list")


@page("/tags/<int:tag_id>/merge", "tags.write", methods=("GET", "POST"))
def tag_merging(here: Here, tag_id: int) -> Answer | str:
    """Choose what to merge a tag into; see what that does; do it."""
    into = request.values.get("into", "").strip()
    with db.reading(here.rt.engine) as session:
        tag = _known(session, here, tag_id)
        if not into:
            others = [one for one in tag_families.every(session, here.account.id) if one != tag]
            return render_template("tags/merge.html", tag=tag, others=others)
        found = tag_merge.examine(session, here.account.id, tag.name, into, here.now)
    if request.method == "GET" or request.form.get("sure") != "1":
        return confirm(
            _("合并标签"),
            _what_a_merge_does(found),
            action=url_for(".tag_merging", tag_id=tag_id),
            button=_("合并"),
            back=url_for(".tags_list"),
            hidden={"into": into, "sure": "1"},
        )
    with db.writing(here.rt.engine) as session:
        found, job_id = tag_merge.merge(
            session, here.account.id, tag.name, into, by=here.operator.name, now=here.now
        )
        here.audit(
            session,
            "tag.merge",
            _thing(tag),
            before=tag.to_json(),
            after={"into": into, "people": found.people},
        )
        _sync_soon(session, here, found.into)
        if found.mentions.menu and job_id is None:
            _publish_menu_soon(session, here)
    if job_id is not None:
        return go(url_for(".progress", job_id=job_id, then=url_for(".tags_list")))
    told = _("已把「%(old)s」合并到「%(new)s」", old=tag.name, new=into)
    return done(told, "tags_list")


@page("/tags/<int:tag_id>/archive", "tags.write", methods=("GET", "POST"))
def tag_archive(here: Here, tag_id: int) -> Answer | str:
    """Put a tag away, or say what still needs it."""
    with db.reading(here.rt.engine) as session:
        tag = _known(session, here, tag_id)
        named = mentions.of_tag(session, here.account.id, tag.name)
        people = tag.people or 0
        if people < MANY:  # else minutes old, but counting on would take longer than the page may
            people = tag_families.count(session, here.account.id, tag_id, here.now)
    if named:
        return render_template("tags/in_use.html", tag=tag, lines=_in_words(named))
    if request.method == "GET":
        what = [
            _(
                "%(count)s 位粉丝有这个标签，归档后不再显示也不再使用；恢复后仍在。",
                count=f"{people:,}",
            ),
            _("平台上的同名标签不会删除，但会从这些粉丝身上移除。")
            if tag.wechat_id is not None
            else _("这个标签没有同步到平台。"),
        ]
        return confirm(
            _("归档标签「%(name)s」", name=tag.name),
            what,
            action=url_for(".tag_archive", tag_id=tag_id),
            button=_("归档"),
            back=url_for(".tags_list"),
        )
    with db.writing(here.rt.engine) as session:
        tag_families.archive(session, here.account.id, tag_id, here.now)
        here.audit(session, "tag.archive", _thing(tag), before=tag.to_json())
        _sync_soon(session, here, tag)
    return done(_("已归档标签「%(name)s」", name=tag.name), "tags_list")


@page("/tags/<int:tag_id>/restore", "tags.write", methods=("POST",))
def tag_restore(here: Here, tag_id: int) -> Answer:
    """Take an archived tag back into use."""
    with db.writing(here.rt.engine) as session:
        if not 0 < tag_id < 2**63:
            missing()
        tag = tag_families.restore(session, here.account.id, tag_id)
        here.audit(session, "tag.restore", _thing(tag), after=tag.to_json())
        _sync_soon(session, here, tag)
    return done(_("已恢复标签「%(name)s」", name=tag.name), "tags_list")


@page("/tags/count", "tags.read", methods=("POST",))
def tags_count(here: Here) -> Answer:
    """Count who has each tag, now, by a job."""
    with db.writing(here.rt.engine) as session:
        job_id = jobs.enqueue(
            session,
            tag_families.COUNT_TAGS,
            {"account_id": here.account.id},
            now=here.now,
            account_id=here.account.id,
        )
    return go(url_for(".progress", job_id=job_id, then=url_for(".tags_list")))


def sync_state(tag: Tag) -> str:
    """One of SYNC."""
    if not tag.sync:
        return "off"
    if tag.error:
        return "failed"
    return "told" if tag.wechat_id is not None else "waiting"


def _filters() -> list[Filter]:
    return [
        Filter("family", _("标签族"), [(name, name) for name in FAMILIES]),
        Filter("sync", _("同步"), list(SYNC.items())),
        Filter("state", _("使用中"), [("archived", _("已归档"))]),
    ]


def _matching(every: Sequence[Tag], shown: Asked) -> list[Tag]:
    q = shown.q.casefold()
    family, state = shown.has("family"), shown.has("sync")
    return [
        tag
        for tag in every
        if q in tag.name.casefold()
        and (not family or tag.family == family)
        and (not state or sync_state(tag) == state)
    ]


def _sorted(found: list[Tag], shown: Asked) -> list[Tag]:
    if shown.sort == "people":  # those never counted last, whichever way one looks
        counted = [tag for tag in found if tag.people is not None]
        counted.sort(key=lambda tag: tag.people or 0, reverse=shown.down)
        return counted + [tag for tag in found if tag.people is None]
    if shown.sort == "name":
        return sorted(found, key=lambda tag: tag.name, reverse=shown.down)
    return list(reversed(found)) if shown.down else found


def _as_csv(here: Here, found: Sequence[Tag]) -> Response:
    header = [
        _("标签"),
        _("标签族"),
        _("人数"),
        _("统计时间"),
        _("同步"),
        _("平台编号"),
        _("有效天数"),
        _("问题"),
    ]
    rows = (
        (
            tag.name,
            tag.family,
            tag.people,
            tag.counted_at,
            str(SYNC[sync_state(tag)]),
            tag.wechat_id,
            tag.expires_after_days,
            tag.error,
        )
        for tag in found
    )
    return csv_file(f"{here.account.slug}-{_('标签')}", header, rows)


def _form(
    given: Mapping[str, Any],
    errors: Mapping[str, str] | None = None,
    *,
    tag: Tag | None = None,
    named: Mentions | None = None,
) -> str:
    return render_template(
        "tags/edit.html",
        tag=tag,
        given=given,
        errors=errors or {},
        families=[(name, name) for name in FAMILIES],
        lines=_in_words(named) if named else [],
    )


def _values() -> dict[str, Any]:
    days = request.form.get("expires_after_days", "").strip()
    if days and not (days.isascii() and days.isdigit() and len(days) < 6):
        raise Invalid("expires_after_days", f"must be between 1 and {tag_families.LONGEST_DAYS}")
    return {
        "name": request.form.get("name", ""),
        "family": request.form.get("family", ""),
        "sync": request.form.get("sync") == "1",
        "expires_after_days": int(days) if days else None,
    }


def _what_a_merge_does(found: tag_merge.Merge) -> list[str]:
    old, new = found.source.name, found.into.name
    what = [
        _(
            "「%(old)s」的 %(people)s 位粉丝会改为「%(new)s」，其中 %(both)s 位两个都有；"
            "先得到的那次的来源和时间会保留。",
            old=old,
            new=new,
            people=f"{found.people:,}",
            both=f"{found.both:,}",
        ),
        _("「%(old)s」随后归档，不能撤销。", old=old),
    ]
    what += [_("会改写：%(what)s", what=line) for line in _in_words(found.mentions)]
    if found.people > tag_merge.AT_ONCE:
        what.append(_("人数较多，在后台分批进行，可以看到进度。"))
    return what


def _in_words(named: Mentions) -> list[str]:
    lines = []
    if named.rules:
        lines.append(_("规则：%(names)s", names=_listed(named.rules)))
    if named.in_force:
        lines.append(_("正在生效的规则（会以新编号发布，除这个名字外不变）"))
    if named.fallback:
        lines.append(_("兜底回复"))
    if named.segments:
        lines.append(_("人群：%(names)s", names=_listed(named.segments)))
    if named.scenes:
        lines.append(_("渠道二维码：%(names)s", names=_listed(named.scenes)))
    if named.menu:
        lines.append(_("个性化菜单"))
    return lines


def _listed(names: Sequence[str]) -> str:
    shown = str(_("、")).join(names[:10])
    return (
        shown if len(names) <= 10 else _("%(names)s 等 %(count)s 个", names=shown, count=len(names))
    )


def _known(session: Session, here: Here, tag_id: int) -> Tag:
    tag = tag_families.by_id(session, here.account.id, tag_id) if 0 < tag_id < 2**63 else None
    return tag if tag is not None and tag.archived_at is None else missing()


def _thing(tag: Tag) -> str:
    return f"tag:{tag.id}"


def _sync_soon(session: Session, here: Here, tag: Tag) -> None:
    if tag.sync or tag.wechat_id is not None:
        _soon(session, here, SYNC_TAGS)


def _publish_menu_soon(session: Session, here: Here) -> None:
    _soon(session, here, PUBLISH_MENU)


def _soon(session: Session, here: Here, name: str) -> None:
    if not jobs.open_arguments(session, name, here.account.id):
        arguments = {"account_id": here.account.id}
        jobs.enqueue(session, name, arguments, now=here.now, account_id=here.account.id)
