"""Followers 粉丝: the list, what is done to many at once, and the list as a file."""

from collections.abc import Iterator, Mapping
from datetime import date
from typing import Any
from urllib.parse import parse_qsl

import sqlalchemy as sa
from flask import Response, abort, render_template, request, url_for
from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l
from werkzeug.datastructures import MultiDict
from werkzeug.wrappers import Response as Answer

from bot import db, follower_pages, follower_search, tag_families, tag_people
from bot.console import follower_words
from bot.console.access import Here, confirm, done, go, page
from bot.console.lists import Asked, Column, Filter, Listing, asked, csv_file, xlsx_file
from bot.console.words import moment
from bot.db import Session
from bot.errors import Invalid, Refused
from bot.follower_files import FIELD
from bot.follower_search import ACTIVE_DAYS, Line, Wanted
from bot.logs import clean
from bot.tables.followers import followers as table
from bot.tables.tracking import scenes as scenes_table

PAGE_SIZE = 30
CHOICES = 100  # a filter with more to choose from is a field to type into
MOST_IDS = 200  # of one form
XLSX_LINES = 200_000  # an Excel file is built before it is sent
COLUMNS = (
    Column("who", _l("粉丝")),
    Column("remark", _l("备注")),
    Column("tags", _l("标签")),
    Column("source", _l("首次来源")),
    Column("followed", _l("关注时间"), sort=True),
    Column("active", _l("最后互动")),
    Column("window", _l("可下发")),
    Column("status", _l("状态")),
    Column("messages", _l("消息数"), number=True, shown=False),
    Column("last_scene", _l("最近扫码"), shown=False),
    Column("fields", _l("字段"), shown=False),
    Column("id", _l("编号"), sort=True, number=True, shown=False),
)
STATUS = {"subscribed": _l("关注中"), "left": _l("已取关"), "all": _l("全部")}


@page("/followers", "followers.read")
def followers_list(here: Here) -> str | Response:
    """Who follows, by what was asked; or the same as a file."""
    with db.reading(here.rt.engine) as session:
        scenes = scene_names(session, here.account.id)
        tags = [tag.name for tag in tag_families.every(session, here.account.id)]
        filters = _filters(tags, scenes)
        shown = asked(request.args, COLUMNS, filters, sort="-followed")
        wanted = wanted_of(shown)
        if shown.format:
            return _file(here, session, shown, wanted, scenes)
        found = follower_pages.page(
            session,
            here.account.id,
            wanted,
            here.now,
            sort=shown.sort,
            down=shown.down,
            after=shown.after or None,
            limit=PAGE_SIZE,
            whole_ids=here.may("followers.open_id"),
        )
        listing = Listing(
            shown,
            COLUMNS,
            filters,
            found.lines,
            found.total.people,
            more=found.after,
            unit=_("位粉丝"),
            about=_about(found.total),
            exports=("csv", "xlsx") if here.may("followers.export") else (),
        )
        return render_template(
            "followers/list.html",
            listing=listing,
            tags=tags[:CHOICES],
            source=lambda key: follower_words.source(key, scenes),
        )


def _about(total: follower_pages.Total) -> str:
    if total.more:
        return str(_("以上"))
    return _("统计于 %(at)s", at=moment(total.counted_at)) if total.counted_at else ""


@page("/followers/bulk", "followers.write", methods=("POST",))
def followers_bulk(here: Here) -> Answer | str:
    """A tag for the chosen or taken off them; whoever means all who match is told first how many that are."""
    form = request.form
    action, name = form.get("action", ""), form.get("tag", "").strip()
    if action not in ("tag", "untag"):
        raise Invalid("action", "is not known")
    if not name:
        return done(_("请先填一个标签"), "followers_list")
    everything = form.get("everything") == "1"
    with db.reading(here.rt.engine) as session:
        tag = tag_families.get(session, here.account.id, name)
        wanted = _asked_before(here, session) if everything else None
        ids = [] if everything else _chosen(session, here)
        count = (
            follower_search.count(
                session, here.account.id, wanted, here.now, whole_ids=_whole(here)
            )
            if wanted is not None
            else len(ids)
        )
    if not count:
        return done(_("没有选择粉丝"), "followers_list")
    if form.get("sure") != "1" and (everything or action == "untag"):
        return _ask(here, action, tag.name, count, everything)
    with db.writing(here.rt.engine) as session:
        if wanted is not None:
            job_id = tag_people.tag_matching(
                session,
                here.account.id,
                tag,
                wanted,
                remove=action == "untag",
                whole_ids=_whole(here),
                by=here.operator.name,
                total=count,
                now=here.now,
            )
            after = {"tag": tag.name, "people": count, "wanted": _audited(wanted)}
            here.audit(session, f"followers.{action}", "followers", after=after)
            return go(url_for(".progress", job_id=job_id, then=url_for(".followers_list")))
        changed = tag_one_by_one(session, here, tag, ids, remove=action == "untag")
    told = _("已为 %(count)s 位粉丝添加标签「%(tag)s」", count=changed, tag=tag.name)
    if action == "untag":
        told = _("已从 %(count)s 位粉丝移除标签「%(tag)s」", count=changed, tag=tag.name)
    return done(told, "followers_list")


def tag_one_by_one(
    session: Session, here: Here, tag: tag_families.Tag, ids: list[int], *, remove: bool
) -> int:
    """Give a tag to a few people or take it off, each with an audit row of their own; how many changed."""
    action = "follower.untag" if remove else "follower.tag"
    changed = 0
    for follower_id in ids:
        if remove:
            did = tag_people.untag_people(session, here.account.id, tag.id, [follower_id])
        else:
            origin = f"operator:{here.operator.name}"
            did = tag_people.tag_people(
                session, here.account.id, tag.id, [follower_id], origin=origin, now=here.now
            )
        if did:
            values = {"tag": tag.name}
            here.audit(
                session,
                action,
                f"follower:{follower_id}",
                before=values if remove else None,
                after=None if remove else values,
            )
        changed += did
    return changed


def scene_names(session: Session, account_id: int) -> dict[str, str]:
    """Key to name of the account's QR codes."""
    rows = session.execute(
        sa.select(scenes_table.c.key, scenes_table.c.name)
        .where(scenes_table.c.account_id == account_id)
        .order_by(scenes_table.c.name)
        .limit(5000)
    )
    return {row.key: row.name for row in rows}


def wanted_of(shown: Asked) -> Wanted:
    """What an address asks of the list.

    Raises:
        Invalid: a day that is none.
    """
    out = shown.has("opted_out")
    active = shown.has("active")
    return Wanted(
        query=shown.q,
        status=shown.has("status") or "subscribed",
        tag=shown.has("tag") or None,
        scene=shown.has("scene") or None,
        opted_out=None if not out else out == "1",
        window=shown.has("window") == "1",
        followed_from=_day("from", shown.has("from")),
        followed_until=_day("until", shown.has("until")),
        active_days=int(active) if active else None,
    )


def _audited(wanted: Wanted) -> dict[str, Any]:
    """What was asked, as the audit keeps it: a search may be for a whole OpenID."""
    return wanted.to_json() | {"query": clean(wanted.query)}


def _day(name: str, text: str) -> date | None:
    if not text:
        return None
    try:
        found = date.fromisoformat(text)
    except ValueError:
        raise Invalid(name, "must be a day such as 2026-11-25") from None
    if not 2000 <= found.year <= 9000:
        raise Invalid(name, "must be a day such as 2026-11-25")
    return found


def _filters(tags: list[str], scenes: Mapping[str, str]) -> list[Filter]:
    sources = [(key, name) for key, name in scenes.items()]
    sources += [(key, name) for key, name in follower_words.SOURCES.items()]
    days = [(str(n), _("%(days)s 天内互动过", days=n)) for n in ACTIVE_DAYS]
    days += [(str(-n), _("%(days)s 天没有互动", days=n)) for n in ACTIVE_DAYS[1:]]
    return [
        Filter("status", _("关注中"), [(key, STATUS[key]) for key in ("left", "all")]),
        Filter("tag", _("标签"), [(one, one) for one in tags] if len(tags) <= CHOICES else None),
        Filter("scene", _("首次来源"), sources if len(sources) <= CHOICES else None),
        Filter("window", _("可下发"), [("1", _("48 小时内可下发"))]),
        Filter("opted_out", _("营销"), [("1", _("已退订")), ("0", _("未退订"))]),
        Filter("active", _("互动"), days),
        Filter("from", _("关注从（年-月-日）")),
        Filter("until", _("关注到（年-月-日）")),
    ]


def _whole(here: Here) -> bool:
    return here.may("followers.open_id")


def _asked_before(here: Here, session: Session) -> Wanted:
    """What the list asked whose bulk form was sent."""
    query = MultiDict(parse_qsl(request.form.get("query", "")[:4000]))
    tags = [tag.name for tag in tag_families.every(session, here.account.id)]
    filters = _filters(tags, scene_names(session, here.account.id))
    return wanted_of(asked(query, COLUMNS, filters, sort="-followed"))


def _chosen(session: Session, here: Here) -> list[int]:
    """The ids a bulk form names, of this account."""
    listed = request.form.getlist("ids")
    if len(listed) > MOST_IDS or not all(one.isascii() and one.isdigit() for one in listed):
        raise Invalid("ids", "are none of this list")
    numbers = [int(one) for one in listed if len(one) < 19]
    return list(
        session.execute(
            sa.select(table.c.id).where(
                table.c.account_id == here.account.id,
                table.c.id.in_(numbers),
                table.c.erased_at.is_(None),
            )
        ).scalars()
    )


def _ask(here: Here, action: str, tag: str, count: int, everything: bool) -> str:
    hidden: dict[str, Any] = {
        "action": action,
        "tag": tag,
        "sure": "1",
        "query": request.form.get("query", ""),
        "ids": request.form.getlist("ids"),
    }
    if everything:
        hidden["everything"] = "1"
    told = _("%(count)s 位粉丝会获得标签「%(tag)s」。", count=f"{count:,}", tag=tag)
    if action == "untag":
        told = _("%(count)s 位粉丝会失去标签「%(tag)s」。", count=f"{count:,}", tag=tag)
    effects = _("按这个标签回复的规则、人群和个性化菜单会随之变化。")
    return confirm(
        _("添加标签") if action == "tag" else _("移除标签"),
        [told, effects],
        action=url_for(".followers_bulk"),
        button=_("添加标签") if action == "tag" else _("移除标签"),
        back=url_for(".followers_list"),
        hidden=hidden,
    )


def _file(
    here: Here, session: Session, shown: Asked, wanted: Wanted, scenes: Mapping[str, str]
) -> Response:
    """All who match as CSV or XLSX. OpenIDs are whole only for those who may see them."""
    if not here.may("followers.export"):
        abort(403)
    if shown.format not in ("csv", "xlsx"):
        raise Invalid("format", "must be csv or xlsx")
    follower_search.clause(session, here.account.id, wanted, here.now, whole_ids=_whole(here))
    if shown.format == "xlsx":
        count = follower_search.count(
            session, here.account.id, wanted, here.now, whole_ids=_whole(here)
        )
        if count > XLSX_LINES:
            raise Refused("more than 200,000 followers do not fit one Excel file; take CSV")
    fields = follower_search.field_names(session, here.account.id)
    with db.writing(here.rt.engine) as writing:
        after = {"wanted": _audited(wanted), "format": shown.format}
        here.audit(writing, "followers.export", "followers", after=after)
    header = ["OpenID", "备注", "标签", "状态", "首次来源", "最近扫码", "关注时间", "取关时间"]
    header += ["最后互动", "消息数", "退订", "可下发", *(f"{FIELD}{name}" for name in fields)]
    name = f"{here.account.slug}-{_('粉丝')}"
    made = csv_file if shown.format == "csv" else xlsx_file
    return made(name, header, _file_rows(here, wanted, fields, scenes))


def _file_rows(
    here: Here, wanted: Wanted, fields: list[str], scenes: Mapping[str, str]
) -> Iterator[tuple[Any, ...]]:
    words = {True: str(STATUS["subscribed"]), False: str(STATUS["left"])}
    for line in follower_search.every(
        here.rt.engine, here.account.id, wanted, here.now, whole_ids=_whole(here)
    ):
        yield (*_facts(here, line, words, scenes), *(line.fields.get(one) for one in fields))


def _facts(
    here: Here, line: Line, words: Mapping[bool, str], scenes: Mapping[str, str]
) -> tuple[Any, ...]:
    return (
        here.open_id(line.open_id),
        line.remark,
        line.tags,
        words[line.subscribed],
        follower_words.source(line.first_source, scenes),
        follower_words.source(line.last_scene, scenes),
        line.subscribed_at,
        line.unsubscribed_at,
        line.last_active_at,
        line.messages,
        line.opted_out,
        line.window,
    )
