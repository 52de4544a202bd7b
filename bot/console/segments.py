"""Segments 人群: the list with sizes, their history and who uses each; putting one away."""

from collections.abc import Sequence
from typing import Any

from flask import Response, render_template, request, url_for
from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l
from werkzeug.wrappers import Response as Answer

from bot import db
from bot.audiences import catalogue, index, segments
from bot.audiences.catalogue import Line, Uses
from bot.audiences.index import Look
from bot.console.access import Here, confirm, done, missing, page
from bot.console.lists import PAGE_SIZE, Asked, Column, Filter, Listing, asked, csv_file
from bot.db import Session
from bot.errors import Invalid, Refused

COLUMNS = (
    Column("name", _l("人群"), sort=True),
    Column("size", _l("人数"), number=True),
    Column("trend", _l("近 30 天")),
    Column("where", _l("条件")),
    Column("uses", _l("用在哪里")),
    Column("created_at", _l("新建时间"), sort=True, shown=False),
)
NOBODY = Uses()
MANY = 10_000  # segments of a CSV whose sizes are known


@page("/segments", "segments.read")
def segments_list(here: Here) -> str | Response:
    """The segments in use, or those put away."""
    filters = _filters()
    wanted = asked(request.args, COLUMNS, filters, sort="name")
    archived = wanted.has("state") == "archived"
    with db.reading(here.rt.engine) as session:
        every = catalogue.every(session, here.account.id, archived=archived)
        used = catalogue.uses(session, here.account.id)
        found = _sorted(_matching(every, used, wanted), wanted)
        look = catalogue.look_for_list(session, here.account.id, here.now)
        if wanted.format == "csv":
            sizes = {line.id: catalogue.size(look, line.where) for line in found[:MANY]}
            return _as_csv(here, found, sizes, used)
        begin = (wanted.page - 1) * PAGE_SIZE
        shown = found[begin : begin + PAGE_SIZE]
        sizes = {line.id: catalogue.size(look, line.where) for line in shown}
        everybody = catalogue.size(look, segments.EVERYBODY)
        ids = [line.id for line in shown]
        histories = catalogue.histories(session, here.account.id, ids, here.now)
    index.keep(here.rt.engine, look)
    listing = Listing(
        wanted,
        COLUMNS,
        filters,
        shown,
        len(found),
        more=wanted.page + 1 if begin + PAGE_SIZE < len(found) else None,
        unit=_("个人群"),
    )
    return render_template(
        "segments/list.html",
        listing=listing,
        archived=archived,
        every=every,
        sizes=sizes,
        everybody=everybody,
        counted_at=look.counted_at,
        histories=histories,
        spark=spark,
        used=used,
        nobody=NOBODY,
    )


@page("/segments/<int:segment_id>/size", "segments.read")
def segment_size(here: Here, segment_id: int) -> str:
    """One size, counted now: the list of a large account asks for those it does not know."""
    with db.reading(here.rt.engine) as session:
        line = known(session, here, segment_id)
        look = Look(session, here.account.id, here.now)
        try:
            size: int | None = len(look.people(line.where))
        except (Invalid, Refused):
            size = None
    index.keep(here.rt.engine, look)
    return render_template("segments/_size.html", size=size)


@page("/segments/<int:segment_id>/archive", "segments.write", methods=("GET", "POST"))
def segment_archive(here: Here, segment_id: int) -> Answer | str:
    """Put a segment away, or say what still needs it."""
    with db.reading(here.rt.engine) as session:
        line = known(session, here, segment_id)
        users = catalogue.uses(session, here.account.id).get(line.name, NOBODY)
        look = catalogue.look_for_list(session, here.account.id, here.now)
        people = catalogue.size(look, line.where)
    back = url_for(".segments_list")
    if users:
        return render_template("segments/in_use.html", line=line, lines=in_words(users), back=back)
    if request.method == "GET":
        what = [
            _("现在有 %(count)s 人符合条件；粉丝和他们的标签都不变。", count=f"{people:,}")
            if people is not None
            else _("粉丝和他们的标签都不变。"),
            _("归档后不能再选用，可以随时恢复。"),
        ]
        return confirm(
            _("归档人群「%(name)s」", name=line.name),
            what,
            action=url_for(".segment_archive", segment_id=segment_id),
            button=_("归档"),
            back=back,
        )
    with db.writing(here.rt.engine) as session:
        segments.archive(session, here.account.id, line.name, here.now)
        here.audit(session, "segment.archive", f"segment:{line.id}", before=_audited(line))
    return done(_("已归档人群「%(name)s」", name=line.name), "segments_list")


@page("/segments/<int:segment_id>/restore", "segments.write", methods=("POST",))
def segment_restore(here: Here, segment_id: int) -> Answer:
    """Take a segment back into use."""
    with db.writing(here.rt.engine) as session:
        line = known(session, here, segment_id, archived=True)
        segments.save(session, here.account.id, line.name, line.definition, here.now)
        here.audit(session, "segment.restore", f"segment:{line.id}", after=_audited(line))
    return done(_("已恢复人群「%(name)s」", name=line.name), "segments_list")


def known(session: Session, here: Here, segment_id: int, *, archived: bool = False) -> Line:
    """The account's segment of this number; 404 where there is none."""
    found = catalogue.find(session, here.account.id, segment_id) if 0 < segment_id < 2**63 else None
    if found is None or (found.archived_at is not None) != archived:
        missing()
    return found


def in_words(users: Uses) -> list[str]:
    """Who uses a segment, a line a kind."""
    lines = []
    if users.segments:
        lines.append(_("人群：%(names)s", names=_("、").join(users.segments)))
    if users.campaigns:
        lines.append(_("营销活动：%(names)s", names=_("、").join(users.campaigns)))
    if users.plans:
        unnamed = _("未命名方案")
        lines.append(
            _(
                "编写中的方案：%(names)s",
                names=_("、").join(name or unnamed for name in users.plans),
            )
        )
    return lines


def spark(days: Sequence[tuple[Any, int]], width: int = 96, height: int = 24) -> str:
    """Sizes as the points of a small line, drawn by the template."""
    sizes = [size for _day, size in days]
    if len(sizes) < 2:
        return ""
    low, high = min(sizes), max(sizes)
    step = width / (len(sizes) - 1)
    span = max(1, high - low)
    return " ".join(
        f"{number * step:.1f},{height - 2 - (size - low) / span * (height - 4):.1f}"
        for number, size in enumerate(sizes)
    )


def _filters() -> list[Filter]:
    return [
        Filter("used", _("用途"), [("yes", _("在用")), ("no", _("没有用到"))]),
        Filter("kind", _("动态或静态"), [("live", _("随条件变化")), ("frozen", _("已冻结"))]),
        Filter("state", _("使用中"), [("archived", _("已归档"))]),
    ]


def _matching(every: Sequence[Line], used: Any, wanted: Asked) -> list[Line]:
    q, use, kind = wanted.q.casefold(), wanted.has("used"), wanted.has("kind")
    return [
        line
        for line in every
        if (q in line.name.casefold() or q in line.sentence.casefold())
        and (not use or bool(used.get(line.name)) == (use == "yes"))
        and (not kind or (line.frozen is not None) == (kind == "frozen"))
    ]


def _sorted(found: list[Line], wanted: Asked) -> list[Line]:
    if wanted.sort == "created_at":
        return sorted(found, key=lambda line: line.created_at, reverse=wanted.down)
    return list(reversed(found)) if wanted.down else found


def _as_csv(here: Here, found: Sequence[Line], sizes: Any, used: Any) -> Response:
    header = [
        _("人群"),
        _("人数"),
        _("条件"),
        _("用在哪里"),
        _("新建时间"),
        _("冻结时间"),
    ]
    rows = (
        (
            line.name,
            sizes.get(line.id),
            line.sentence,
            _("；").join(in_words(used.get(line.name, NOBODY))),
            line.created_at,
            line.frozen.at if line.frozen else None,
        )
        for line in found
    )
    return csv_file(f"{here.account.slug}-{_('人群')}", header, rows)


def _audited(line: Line) -> dict[str, Any]:
    return {"name": line.name, "where": line.definition}
