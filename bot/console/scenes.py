"""QR channels 渠道二维码: the list with its figures, what is done to many at once, and putting them away."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qsl

from flask import Response, abort, render_template, request, stream_with_context, url_for
from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l
from werkzeug.datastructures import MultiDict
from werkzeug.wrappers import Response as Answer

from bot import db, scene_files, scene_lists, scene_reports, scene_search, scenes
from bot.clock import day_of
from bot.console.access import Here, confirm, done, missing, page
from bot.console.lists import (
    Asked,
    Column,
    Filter,
    Listing,
    asked,
    attachment,
    csv_file,
    csv_text,
)
from bot.console.telling import told
from bot.db import Session
from bot.errors import Invalid
from bot.scene_reports import Figures
from bot.scene_search import Search
from bot.scenes import Scene
from bot.tables.followers import tags as tags_table

SPANS = (7, 30, 90)  # days that figures may cover
USUAL_SPAN = 30
MOST_PICTURES = 5000  # of one download
MOST_AUDITED = 200  # codes whose old values one audit row keeps
STATUS = {
    "ready": _l("可用"),
    "missing": _l("待生成"),
    "failed": _l("生成失败"),
    "expired": _l("已过期"),
    "temporary": _l("临时二维码"),
    "archived": _l("已归档"),
}
PAGE_SIZE = 25  # its rows are long: 30 would be over 60 KB of HTML
COLUMNS = (
    Column("name", _l("名称"), sort=True),
    Column("group", _l("分组"), sort=True),
    Column("status", _l("状态")),
    Column("scans", _l("扫码次数"), sort=True, number=True),
    Column("follows", _l("新关注"), sort=True, number=True),
    Column("rescans", _l("再次扫码"), sort=True, number=True, shown=False),
    Column("left", _l("取关"), sort=True, number=True),
    Column("kept_7", _l("7 日留存"), sort=True, number=True),
    Column("kept_30", _l("30 日留存"), sort=True, number=True, shown=False),
    Column("cost", _l("成本（元）"), sort=True, number=True, shown=False),
    Column("cost_per_follow", _l("单个关注成本（元）"), number=True),
    Column("tags", _l("标签"), shown=False),
    Column("expires_at", _l("到期"), sort=True, shown=False),
    Column("created_at", _l("新建时间"), sort=True, shown=False),
)
_BY_FIGURES = ("scans", "follows", "rescans", "left", "kept_7", "kept_30")


@dataclass(frozen=True, slots=True)
class Line:
    """A code with what it brought."""

    scene: Scene
    status: str
    found: Figures

    @property
    def key(self) -> str:
        return self.scene.key


@page("/scenes", "scenes.read")
def scenes_list(here: Here) -> str | Response:
    """The codes with their figures of 7, 30 or 90 days."""
    with db.reading(here.rt.engine) as session:
        filters = _filters(session, here)
        wanted = asked(request.args, COLUMNS, filters, sort="group")
        span = _span(wanted)
        search = _search(here, wanted)
        if wanted.format == "csv":
            return _as_csv(session, here, wanted, search, span)
        lines = _lines(session, here, wanted, search, span, PAGE_SIZE)
        total = scene_search.count(session, here.account.id, search, here.now)
        listing = Listing(
            wanted,
            COLUMNS,
            filters,
            lines[:PAGE_SIZE],
            total,
            more=str(wanted.page + 1) if wanted.page * PAGE_SIZE < total else None,
            unit=_("个二维码"),
        )
        return render_template(
            "scenes/list.html",
            listing=listing,
            span=span,
            notices=scene_reports.warnings(session, here.account.id, here.now, here.scenes),
            groups=scenes.groups(session, here.account.id, here.scenes),
            unmade=scenes.unmade(session, here.account.id) if here.may("scenes.write") else 0,
            refused=here.account.rights.get(scenes.FEATURE) is False,
            told=told,
            status_words=STATUS,
        )


@page("/scenes/zip", "scenes.read")
def scenes_zip(here: Here) -> Response:
    """Every code that matches the address, as pictures in one ZIP."""
    with db.reading(here.rt.engine) as session:
        wanted = asked(request.args, COLUMNS, _filters(session, here), sort="group")
        found = scene_search.keys(
            session, here.account.id, _search(here, wanted), here.now, limit=MOST_PICTURES + 1
        )
    return _zip(here, found, request.args.getlist("form"))


@page("/scenes/bulk", "scenes.read", methods=("POST",))
def scenes_bulk(here: Here) -> Answer | str:
    """One thing done to the chosen codes, or to all that match."""
    action = request.form.get("action", "")
    keys = _chosen(here)
    if not keys:
        return done(_("没有选择二维码"), "scenes_list")
    if action in ("png", "svg", "both"):
        return _zip(here, keys, ["png", "svg"] if action == "both" else [action])
    if not here.may("scenes.write"):
        abort(403)
    if action == "archive":
        return _ask_archive(here, keys)
    if action not in ("group", "tags"):
        raise Invalid("action", "is not known")
    with db.writing(here.rt.engine) as session:
        given: dict[str, Any] = {}
        old = scene_search.load(session, here.account.id, keys[:MOST_AUDITED])
        if action == "group":
            given["group"] = request.form.get("group", "").strip()
        else:
            known = dict(tag_choices(session, here))
            given["tags"] = scene_lists.tag_names(request.form.get("tags", ""))
            unknown = [name for name in given["tags"] if name not in known]
            if unknown:
                raise Invalid("tags", f"there is no tag '{unknown[0][:60]}'")
        changed = scenes.change_many(session, here.account.id, keys, **given)
        before = {scene.key: values_of(scene)[action] for scene in old}
        here.audit(session, f"scene.{action}", _several(keys), before=before, after=given)
    return done(_("已修改 %(count)s 个二维码", count=changed), "scenes_list")


@page("/scenes/archive", "scenes.write", methods=("GET", "POST"))
def scene_archive(here: Here) -> Answer | str:
    """Put codes away, after saying what that means."""
    keys = [key for key in request.values.get("keys", "").split(",") if key][:MOST_PICTURES]
    if request.method == "GET":
        return _ask_archive(here, keys)
    with db.writing(here.rt.engine) as session:
        found = scene_search.load(session, here.account.id, keys)
        if not found:
            missing()
        for scene in found:
            scenes.archive(session, here.account.id, scene.key, here.now)
        here.audit(session, "scene.archive", _several([scene.key for scene in found]))
    return done(_("已归档 %(count)s 个二维码", count=len(found)), "scenes_list")


def known_scene(session: Session, here: Here, key: str) -> Scene:
    """The code with this key, if this operator sees it; 404 else."""
    if not scenes.may_see(here.scenes, key):
        missing()
    found = scene_search.load(session, here.account.id, [key])
    return found[0] if found else missing()


def tag_choices(session: Session, here: Here) -> list[tuple[str, str]]:
    """The account's tags, to choose from."""
    rows = session.execute(
        tags_table.select()
        .where(tags_table.c.account_id == here.account.id, tags_table.c.archived_at.is_(None))
        .order_by(tags_table.c.name)
        .limit(2000)
    )
    return [(row.name, row.name) for row in rows]


def span_of(text: str) -> int:
    """7, 30 or 90 days, as the address says."""
    return int(text) if text in map(str, SPANS) else USUAL_SPAN


def _filters(session: Session, here: Here) -> list[Filter]:
    listed = scenes.groups(session, here.account.id, here.scenes)
    groups = [(name, name) for name in listed] + [(scene_search.NO_GROUP, _("没有分组"))]
    return [
        Filter("group", _("分组"), groups),
        Filter("status", _("状态"), list(STATUS.items())),
        Filter(
            "days",
            _("近 30 天"),
            [(str(days), _("近 %(days)s 天", days=days)) for days in SPANS if days != USUAL_SPAN],
        ),
    ]


def _search(here: Here, wanted: Asked) -> Search:
    return Search(here.scenes, wanted.q, wanted.has("group"), wanted.has("status"))


def _span(wanted: Asked) -> int:
    return span_of(wanted.has("days"))


def _lines(
    session: Session, here: Here, wanted: Asked, search: Search, span: int, limit: int | None
) -> list[Line]:
    account_id, last = here.account.id, day_of(here.now)
    first = last - timedelta(days=span - 1)
    start = (wanted.page - 1) * PAGE_SIZE if limit else 0
    by_figures = wanted.sort in _BY_FIGURES
    chosen = scene_search.keys(
        session,
        account_id,
        search,
        here.now,
        order="group" if by_figures else wanted.sort,
        down=wanted.down and not by_figures,
        offset=0 if by_figures else start,
        limit=None if by_figures else limit,
    )
    everything = by_figures or limit is None
    found = scene_reports.figures(
        session, account_id, first, last, here.now, keys=None if everything else chosen
    )
    if by_figures:
        # a code without a figure comes last, whichever way one looks
        measured = [(key, _figure(found.get(key), wanted.sort)) for key in chosen]
        known = [(key, value) for key, value in measured if value is not None]
        known.sort(key=lambda each: each[1], reverse=wanted.down)
        chosen = [key for key, _value in known] + [key for key, value in measured if value is None]
        chosen = chosen[start : start + limit] if limit else chosen
    listed = scene_search.load(session, account_id, chosen)
    full = scene_reports.costs(session, account_id, listed, found, here.now)
    archived = search.status == "archived"
    return [
        Line(scene, "archived" if archived else scene.status(here.now), full[scene.key])
        for scene in listed
    ]


def _figure(found: Figures | None, name: str) -> float | None:
    if name.startswith("kept_"):
        return found.rate(int(name.removeprefix("kept_"))) if found else None
    return getattr(found, name) if found else 0


def _as_csv(session: Session, here: Here, wanted: Asked, search: Search, span: int) -> Response:
    lines = _lines(session, here, wanted, search, span, None)
    header = [
        _("名称"), _("场景值"), _("分组"), _("状态"), _("标签"), _("天数"), _("扫码次数"), _("新关注"),
        _("再次扫码"), _("取关"), _("7 日留存"), _("30 日留存"), _("成本（元）"), _("单个关注成本（元）"), _("网址"),
    ]  # fmt: skip
    rows = [
        (
            line.scene.name,
            line.key,
            line.scene.group,
            str(STATUS[line.status]),
            line.scene.tags,
            span,
            line.found.scans,
            line.found.follows,
            line.found.rescans,
            line.found.left,
            _share(line.found.rate(7)),
            _share(line.found.rate(30)),
            line.found.cost,
            _yuan(line.found.cost_per_follow),
            line.scene.url,
        )
        for line in lines
    ]
    return csv_file(f"{here.account.slug}-{_('渠道二维码')}", header, rows)


def _share(rate: float | None) -> str:
    return "" if rate is None else f"{rate:.4f}"


def _yuan(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _chosen(here: Here) -> list[str]:
    """The keys a bulk form means, of those this operator sees."""
    with db.reading(here.rt.engine) as session:
        if request.form.get("everything") == "1":
            query = MultiDict(parse_qsl(request.form.get("query", "")))
            wanted = asked(query, COLUMNS, _filters(session, here), sort="group")
            return scene_search.keys(session, here.account.id, _search(here, wanted), here.now)
        ids = request.form.getlist("ids")[:MOST_PICTURES]
        keys = [key for key in ids if scenes.may_see(here.scenes, key)]
        return [scene.key for scene in scene_search.load(session, here.account.id, keys)]


def _zip(here: Here, keys: Sequence[str], forms: Sequence[str]) -> Response:
    if len(keys) > MOST_PICTURES:
        raise Invalid("form", f"at most {MOST_PICTURES} codes in one download")
    wanted = [form for form in forms if form in scene_files.FORMS] or ["png"]
    with db.reading(here.rt.engine) as session:
        logo = scene_files.logo_of(session, here.account.id)
        found = scene_search.load(session, here.account.id, keys)
    header = [_("场景值"), _("名称"), _("分组"), _("网址"), _("文件")]
    made = [scene for scene in found if scene.url is not None]
    names = dict(zip((scene.key for scene in made), scene_files.file_names(made), strict=True))
    rows = [
        (scene.key, scene.name, scene.group, scene.url, names.get(scene.key, "")) for scene in found
    ]
    table = csv_text(header, rows)
    pieces: Iterator[bytes] = scene_files.archive(
        found, wanted, logo, {f"{_('渠道二维码')}.csv": table.encode("utf-8")}
    )
    name = f"{here.account.slug}-{_('渠道二维码')}.zip"
    return Response(
        stream_with_context(pieces), mimetype="application/zip", headers=attachment(name)
    )


def _ask_archive(here: Here, keys: Sequence[str]) -> str:
    with db.reading(here.rt.engine) as session:
        found = scene_search.load(session, here.account.id, keys)
        if not found:
            missing()
        last = day_of(here.now)
        counted = scene_reports.figures(
            session,
            here.account.id,
            last - timedelta(days=29),
            last,
            here.now,
            keys=[scene.key for scene in found],
        )
    scans = sum(one.scans for one in counted.values())
    names = _("、").join(scene.name for scene in found[:5])
    more = _(" 等") if len(found) > 5 else ""
    return confirm(
        _("归档 %(count)s 个二维码", count=len(found)),
        [
            f"{names}{more}",
            _("最近 30 天它们被扫了 %(count)s 次。", count=f"{scans:,}"),
            _("印出去的二维码在平台上仍然有效：扫码的人还会打上标签、收到回复，也还会计数。"),
            _("它们不再出现在列表和下载里；以后可以在“已归档”里找到，重新保存就恢复。"),
        ],
        action=url_for(".scene_archive"),
        button=_("归档"),
        back=url_for(".scenes_list"),
        hidden={"keys": ",".join(scene.key for scene in found)},
    )


def _several(keys: Sequence[str]) -> str:
    shown = ", ".join(keys[:20])
    return f"scene:{shown}" + (f" … ({len(keys)})" if len(keys) > 20 else "")


def values_of(scene: Scene) -> Mapping[str, Any]:
    """What the audit keeps of a code."""
    return {
        "name": scene.name,
        "group": scene.group,
        "permanent": scene.permanent,
        "expire_seconds": scene.expire_seconds,
        "tags": list(scene.tags),
        "reply": scene.reply,
        "cost": scene.cost,
    }
