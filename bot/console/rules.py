"""Automatic replies 自动回复: the list of rules in order, switching, moving, grouping and putting them away."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

from flask import Response, abort, render_template, request, url_for
from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l
from werkzeug.datastructures import MultiDict
from werkzeug.wrappers import Response as Answer

from bot import db, drafts, rule_hits, rulebook
from bot.clock import day_of
from bot.console import rule_words
from bot.console.access import Here, by_htmx, confirm, done, missing, page
from bot.console.lists import Asked, Column, Filter, Listing, asked, csv_file
from bot.db import Session
from bot.drafts import Draft
from bot.errors import Invalid
from bot.rule_hits import Hits
from rules.diff import ADDED, CHANGED, MOVED, REMOVED, Change

COLUMNS = (
    Column("place", _l("顺序"), number=True),
    Column("name", _l("规则")),
    Column("when", _l("条件")),
    Column("then", _l("动作")),
    Column("group", _l("分组"), shown=False),
    Column("state", _l("状态")),
    Column("week", _l("7 天命中"), sort=True, number=True),
    Column("month", _l("30 天命中"), sort=True, number=True),
    Column("last", _l("最近命中"), shown=False),
    Column("changed_at", _l("修改时间"), sort=True, shown=False),
    Column("changed_by", _l("修改人"), shown=False),
)
STATES = (("on", _l("启用")), ("off", _l("停用")))
CHANGES = (("yes", _l("有未发布的修改")), ("no", _l("与线上一致")))
BULK = (
    ("on", _l("启用")),
    ("off", _l("停用")),
    ("group", _l("设置分组")),
    ("delete", _l("删除")),
)

# a row has its handle, switch and buttons: with the navigation 30 of them pass 60 KB
PAGE_SIZE = 25
CHANGE_WORDS = {
    ADDED: _l("新规则"),
    CHANGED: _l("已修改"),
    MOVED: _l("换了顺序"),
    REMOVED: _l("已删除"),
}


@dataclass(frozen=True, slots=True)
class Line:
    """A rule of the list: its place among all rules from 1, how often it answered, what is not published."""

    draft: Draft
    place: int
    hits: Hits
    change: str

    @property
    def id(self) -> int:
        return self.draft.id

    @property
    def sorts(self) -> list[str]:
        return rule_words.sorts_of(self.draft.body)


@page("/rules", "rules.read")
def rules_list(here: Here) -> str | Response:
    """The rules in order, with hits and what is not published yet."""
    with db.reading(here.rt.engine) as session:
        found = drafts.listing(session, here.account.id)
        changes = drafts.changes(session, here.account.id, found)
        filters = _filters(found)
        wanted = asked(request.args, COLUMNS, filters)
        lines = _lines(session, here, found, changes)
        shown = {
            "number": rulebook.head(session, here.account.id),
            "order_version": drafts.order_version(session, here.account.id),
            "fallback": rule_words.fallback(rulebook.fallback(session, here.account.id)),
        }
    matching = list(_matching(lines, wanted))
    if wanted.format == "csv":
        return csv_file("rules", [str(column.label) for column in COLUMNS], _csv(matching))
    begin = (wanted.page - 1) * PAGE_SIZE
    listing = Listing(
        wanted,
        COLUMNS,
        filters,
        matching[begin : begin + PAGE_SIZE],
        len(matching),
        more=wanted.page + 1 if begin + PAGE_SIZE < len(matching) else None,
        unit=_("条规则"),
    )
    return render_template(
        "rules/list.html",
        listing=listing,
        changes=changes,
        sorts=[(name, label) for name, (label, _names) in rule_words.SORTS.items()],
        words=rule_words,
        change_words=CHANGE_WORDS,
        bulk=BULK if here.may("rules.write") else (),
        groups=_groups(found),
        movable=here.may("rules.write") and not wanted.sort,
        everything=len(found),
        **shown,
    )


@page("/rules/order", "rules.write", methods=("POST",))
def rules_order(here: Here) -> Answer | str:
    """Move rules: all that a page shows in their new ``order``, or one a ``step`` (``up:12``)."""
    version = _number(request.form.get("version", ""))
    with db.writing(here.rt.engine) as session:
        found = drafts.listing(session, here.account.id)
        step = request.form.get("step", "")
        order = _stepped(session, here, found, step) if step else _ids(request.form)
        before = [draft.name for draft in found]
        new_version = drafts.move(session, here.account.id, order, version)
        after = [draft.name for draft in drafts.listing(session, here.account.id)]
        if before != after:
            moved = [[old, new] for old, new in zip(before, after, strict=True) if old != new]
            here.audit(
                session,
                "rule.move",
                "rules",
                before=[old for old, _new in moved][:100],
                after=[new for _old, new in moved][:100],
            )
    if by_htmx() and not step:
        return render_template("rules/_version.html", order_version=new_version, moved=True)
    return done(_("已调整顺序，发布后生效"), ".rules_list", **_query())


@page("/rules/<int:rule_id>/switch", "rules.write", methods=("POST",))
def rule_switch(here: Here, rule_id: int) -> Answer | str:
    """Switch one rule on or off."""
    on = request.form.get("on") == "1"
    with db.writing(here.rt.engine) as session:
        draft = drafts.find(session, here.account.id, rule_id)
        if draft is None:
            missing()
        _switch(here, session, [draft], on)
    if by_htmx():
        draft = Draft(**{**_as_dict(draft), "body": {**draft.body, "enabled": on}})
        return render_template("rules/_switch.html", draft=draft)
    return done(_("已启用") if on else _("已停用"), ".rules_list", **_query())


@page("/rules/bulk", "rules.write", methods=("POST",))
def rules_bulk(here: Here) -> Answer | str:
    """One thing done to the chosen rules, or to all that match."""
    action = request.form.get("action", "")
    if action not in dict(BULK):
        raise Invalid("action", "is not known here")
    with db.writing(here.rt.engine) as session:
        chosen = _chosen(session, here)
        if not chosen:
            return done(_("没有选择规则"), ".rules_list", **_query())
        if action == "delete":
            return _ask_delete(here, chosen)
        if action in ("on", "off"):
            count = _switch(here, session, chosen, action == "on")
        else:
            group = request.form.get("group", "")
            ids = [draft.id for draft in chosen]
            now, by = here.now, here.operator.name
            count = drafts.set_group(session, here.account.id, ids, group, by=by, now=now)
            here.audit(
                session,
                "rule.group",
                "rules",
                before={draft.name: draft.group for draft in chosen},
                after={"group": group.strip()},
            )
    return done(_("已修改 %(count)s 条规则", count=count), ".rules_list", **_query())


@page("/rules/delete", "rules.write", methods=("POST",))
def rules_delete(here: Here) -> Answer:
    """Put away the rules that were asked about."""
    with db.writing(here.rt.engine) as session:
        chosen = _chosen(session, here)
        ids = [draft.id for draft in chosen]
        count = drafts.archive(session, here.account.id, ids, by=here.operator.name, now=here.now)
        for draft in chosen:
            here.audit(session, "rule.delete", f"rule:{draft.id}", before=draft.body)
    return done(_("已删除 %(count)s 条规则，发布后生效", count=count), ".rules_list")


@page("/rules/<int:rule_id>/delete", "rules.write")
def rule_delete(here: Here, rule_id: int) -> str:
    """Asks before one rule is put away."""
    with db.reading(here.rt.engine) as session:
        draft = drafts.find(session, here.account.id, rule_id)
    if draft is None:
        missing()
    return _ask_delete(here, [draft])


def _ask_delete(here: Here, chosen: Sequence[Draft]) -> str:
    published = sum(1 for draft in chosen if draft.published_as)
    what = [
        _("将删除 %(count)s 条规则：%(names)s", count=len(chosen), names=_named(chosen)),
        _("其中 %(count)s 条正在线上生效，会继续生效到下一次发布。", count=published)
        if published
        else _("它们还没有发布，粉丝不会察觉。"),
    ]
    return confirm(
        _("删除规则"),
        what,
        action=url_for(".rules_delete"),
        button=_("删除"),
        back=url_for(".rules_list"),
        hidden={"ids": ",".join(str(draft.id) for draft in chosen)},
    )


def _named(chosen: Sequence[Draft]) -> str:
    names = str(_("、")).join(draft.name for draft in chosen[:5])
    return names if len(chosen) <= 5 else _("%(names)s 等", names=names)


def _switch(here: Here, session: Session, chosen: Sequence[Draft], on: bool) -> int:
    ids = [draft.id for draft in chosen]
    count = drafts.switch(session, here.account.id, ids, on, by=here.operator.name, now=here.now)
    for draft in chosen:
        if draft.enabled != on:
            here.audit(
                session,
                "rule.switch",
                f"rule:{draft.id}",
                before={"name": draft.name, "enabled": draft.enabled},
                after={"name": draft.name, "enabled": on},
            )
    return count


def _lines(
    session: Session, here: Here, found: Sequence[Draft], changes: Sequence[Change]
) -> list[Line]:
    hits = rule_hits.of(session, here.account.id, day_of(here.now))
    changed = {change.name: change.kind for change in changes if change.kind != REMOVED}
    return [
        Line(
            draft,
            number,
            hits.get(draft.published_as or draft.name, rule_hits.NONE),
            changed.get(draft.name, ""),
        )
        for number, draft in enumerate(found, 1)
    ]


def _filters(found: Sequence[Draft]) -> tuple[Filter, ...]:
    groups = [(name, name) for name in _groups(found)]
    sorts = [(name, label) for name, (label, _names) in rule_words.SORTS.items()]
    return (
        Filter("sorts", _l("回复类型"), sorts),
        *([Filter("group", _l("分组"), groups)] if groups else []),
        Filter("state", _l("状态"), STATES),
        Filter("changed", _l("发布情况"), CHANGES),
    )


def _groups(found: Sequence[Draft]) -> list[str]:
    return sorted({draft.group for draft in found if draft.group})


def _matching(lines: Sequence[Line], wanted: Asked) -> Iterator[Line]:
    """Those that are looked for, in order, or by hits where that was asked."""
    query = wanted.q.casefold()
    keys = {
        "week": lambda line: line.hits.week,
        "month": lambda line: line.hits.month,
        "changed_at": lambda line: (
            line.draft.changed_at.timestamp() if line.draft.changed_at else 0
        ),
    }
    if wanted.sort in keys:
        lines = sorted(lines, key=keys[wanted.sort], reverse=wanted.down)
    for line in lines:
        draft = line.draft
        if wanted.has("sorts") and wanted.has("sorts") not in line.sorts:
            continue
        if wanted.has("group") and draft.group != wanted.has("group"):
            continue
        if wanted.has("state") and (wanted.has("state") == "on") != draft.enabled:
            continue
        if wanted.has("changed") and (wanted.has("changed") == "yes") != bool(line.change):
            continue
        if query and not any(query in text.casefold() for text in _texts(draft.body)):
            continue
        yield line


def _texts(value: Any) -> Iterator[str]:
    """Every text of a rule: its name, its words, what it replies."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for one in value.values():
            yield from _texts(one)
    elif isinstance(value, list):
        for one in value:
            yield from _texts(one)


def _csv(lines: Sequence[Line]) -> Iterator[list[Any]]:
    for line in lines:
        draft = line.draft
        yield [
            line.place,
            draft.name,
            _("；").join(
                f"{label}{_('：')}{text}" for label, text in rule_words.conditions(draft.body)
            ),
            _("；").join(
                f"{label}{_('：')}{text}" for label, text in rule_words.actions(draft.body)
            ),
            draft.group,
            _("启用") if draft.enabled else _("停用"),
            line.hits.week,
            line.hits.month,
            line.hits.last,
            draft.changed_at,
            draft.changed_by,
        ]


def _chosen(session: Session, here: Here) -> list[Draft]:
    """The rules a form names, or all that match the list it was sent from."""
    found = drafts.listing(session, here.account.id)
    if request.form.get("everything") != "1":
        ids = set(_ids(request.form))
        return [draft for draft in found if draft.id in ids]
    changes = drafts.changes(session, here.account.id, found)
    wanted = asked(_words(), COLUMNS, _filters(found))
    return [line.draft for line in _matching(_lines(session, here, found, changes), wanted)]


def _stepped(session: Session, here: Here, found: Sequence[Draft], step: str) -> list[int]:
    """The rule and its neighbour in the list that was looked at, the other way round."""
    way, _colon, number = step.partition(":")
    changes = drafts.changes(session, here.account.id, found)
    wanted = asked(_words(), COLUMNS, _filters(found))
    ids = [line.id for line in _matching(_lines(session, here, found, changes), wanted)]
    rule_id = _number(number)
    if rule_id not in ids or way not in ("up", "down"):
        abort(404)
    place = ids.index(rule_id)
    other = place - 1 if way == "up" else place + 1
    if not 0 <= other < len(ids):
        return []
    return [rule_id, ids[other]] if way == "up" else [ids[other], rule_id]


def _ids(form: Any) -> list[int]:
    listed = [
        one for text in form.getlist("order") + form.getlist("ids") for one in text.split(",")
    ]
    return [_number(one) for one in listed if one.strip()]


def _number(text: str) -> int:
    short = text.strip()
    return int(short) if short.isascii() and short.isdigit() and len(short) < 19 else 0


def _words() -> MultiDict[str, str]:
    """The address of the list a form was sent from."""
    return MultiDict(parse_qsl(request.form.get("query", "").lstrip("?")))


def _query() -> dict[str, Any]:
    """The same, to go back to it."""
    known = {"q", "sorts", "group", "state", "changed", "page", "sort", "columns"}
    return {name: values for name, values in _words().lists() if name in known}


def _as_dict(draft: Draft) -> dict[str, Any]:
    return {name: getattr(draft, name) for name in Draft.__dataclass_fields__}
