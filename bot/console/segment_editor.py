"""Segments 人群: building one from conditions, with the number of people and the sentence beside it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flask import render_template, request, url_for
from flask_babel import gettext as _

from bot import db, mentions
from bot.audiences import catalogue, index, segments
from bot.audiences.catalogue import Line
from bot.audiences.index import Look
from bot.console import known_names, segment_forms
from bot.console.access import Here, by_htmx, done, page
from bot.console.form_reading import Form
from bot.console.segments import known
from bot.console.telling import beside, told
from bot.db import Session
from bot.errors import Invalid, Refused
from bot.params import Params, SegmentName
from bot.params import check as check_params

Json = dict[str, Any]
Problems = Sequence[tuple[str, str]]


class Named(Params):
    """What a segment is called."""

    name: SegmentName


@dataclass(frozen=True)
class Editing:
    """What the editor shows. ``seen``: the stored tree it began from; ``theirs``: as somebody else saved it since."""

    name: str
    where: Json
    seen: str = ""
    bare: bool = False
    line: Line | None = None
    problems: Problems = ()
    theirs: Line | None = None


@dataclass(frozen=True)
class Step:
    """One condition of the outermost group: how many it selects alone, and how many are left after it."""

    sentence: str
    alone: int
    left: int


@page("/segments/new", "segments.write", methods=("GET", "POST"))
def segment_new(here: Here) -> Any:
    """A new segment; ``?tag=`` begins it."""
    if request.method == "POST":
        return _posted(here, None)
    parts = [{"tag": {"has": name}} for name in request.args.getlist("tag") if name]
    return _page(here, Editing(request.args.get("name", "")[:60], {"all": parts}))


@page("/segments/<int:segment_id>/edit", "segments.write", methods=("GET", "POST"))
def segment_edit(here: Here, segment_id: int) -> Any:
    """Change one."""
    with db.reading(here.rt.engine) as session:
        line = known(session, here, segment_id)
    if request.method == "POST":
        return _posted(here, line)
    where = dict(line.definition)
    editing = Editing(line.name, where, line.version, segment_forms.is_bare(where), line)
    return _page(here, editing)


@page("/segments/count", "segments.read", methods=("POST",))
def segment_count(here: Here) -> str:
    """How many the conditions as typed select, and each of them alone."""
    return count_fragment(here, segment_forms.read(request.form), request.form.get("fresh") == "1")


def count_fragment(here: Here, typed: Json, fresh: bool = False) -> str:
    """The number, the sentence and the steps of a tree that may be unfinished."""
    where, missing = segment_forms.complete(typed)
    where = where or dict(segments.EVERYBODY)
    problem = ""
    with db.reading(here.rt.engine) as session:
        look = Look(session, here.account.id, here.now, fresh)
        try:
            unknown = catalogue.unknown_names(session, here.account.id, where)
            size, everybody = len(look.people(where)), len(look.everybody())
            steps = _steps(look, where)
        except (Invalid, Refused) as refused:
            problem, unknown = told(getattr(refused, "message", str(refused))), []
            size, everybody, steps = 0, 0, []
    index.keep(here.rt.engine, look)
    return render_template(
        "segments/_count.html",
        size=size,
        everybody=everybody,
        steps=steps,
        sentence="" if problem else segments.sentence(where),
        missing=missing,
        unknown=[told(text) for _place, text in unknown],
        problem=problem,
        counted_at=look.counted_at,
    )


def _steps(look: Look, where: Mapping[str, Any]) -> list[Step]:
    parts = where.get("all")
    if not isinstance(parts, list) or len(parts) < 2:
        return []
    found, left = [], look.everybody()
    for part in parts:
        people = look.people(part)
        left = left & people
        found.append(Step(segments.sentence(part), len(people), len(left)))
    return found


def _posted(here: Here, line: Line | None) -> Any:
    form = request.form
    editing = Editing(
        form.get("name", "").strip(),
        segment_forms.read(form),
        form.get("seen", ""),
        bool(form.get("where:bare")),
        line,
    )
    if form.get("do", "save") != "save":
        return _page(here, editing)
    problems = _name_problems(editing.name) + segments.problems(editing.where)
    if not problems:
        with db.reading(here.rt.engine) as session:
            problems = _stored_problems(session, here, editing)
    if problems:
        return _page(here, _with(editing, problems=problems), 422)
    if line is not None and editing.seen != line.version:
        return _page(here, _with(editing, seen=line.version, theirs=line), 409)
    try:
        segment_id = _save(here, editing)
    except Invalid as problem:
        return _page(here, _with(editing, problems=[(problem.field, problem.message)]), 422)
    return done(_("已保存人群「%(name)s」", name=editing.name), "segment", segment_id=segment_id)


def _name_problems(name: str) -> list[tuple[str, str]]:
    try:
        check_params(Named, {"name": name})
    except Invalid as problem:
        return [("name", problem.message)]
    return []


def _stored_problems(session: Session, here: Here, editing: Editing) -> list[tuple[str, str]]:
    found = catalogue.unknown_names(session, here.account.id, editing.where)
    old = editing.line.name if editing.line is not None else None
    if editing.name != old and catalogue.is_taken(session, here.account.id, editing.name):
        found.append(("name", f"a segment named '{editing.name}' exists already"))
    return found


def _save(here: Here, editing: Editing) -> int:
    account_id, line = here.account.id, editing.line
    with db.writing(here.rt.engine) as session:
        if line is not None and line.name != editing.name:
            segments.rename(session, account_id, line.name, editing.name)
            mentions.replace(session, account_id, "segment", line.name, editing.name)
        segment_id = segments.save(session, account_id, editing.name, editing.where, here.now)
        after = catalogue.find(session, account_id, segment_id)
        here.audit(
            session,
            "segment.add" if line is None else "segment.change",
            f"segment:{segment_id}",
            before={"name": line.name, "where": line.definition} if line is not None else None,
            after={"name": editing.name, "where": after.definition if after else editing.where},
        )
    return segment_id


def _with(editing: Editing, **changes: Any) -> Editing:
    given = {name: getattr(editing, name) for name in Editing.__dataclass_fields__}
    return Editing(**{**given, **changes})


def _page(here: Here, editing: Editing, status: int = 200) -> Any:
    with db.reading(here.rt.engine) as session:
        names = known_names.known(session, here.account.id)
    if editing.line is not None:  # a segment of itself would be a circle
        own = editing.line.name
        names = {**names, "segment": [name for name in names["segment"] if name != own]}
    tree_problems = [one for one in editing.problems if one[0] != "name"]
    shown = {
        "editing": editing,
        "root": segment_forms.draw(editing.where, tree_problems, names),
        "choices": segment_forms.choices(),
        "names": names,
        "errors": beside(one for one in editing.problems if one[0] in ("name", "")),
        "url": url_for(".segment_edit", segment_id=editing.line.id)
        if editing.line
        else url_for(".segment_new"),
    }
    partial = by_htmx() and request.method == "POST"
    return render_template(
        "segments/_editor.html" if partial else "segments/edit.html", **shown
    ), status


def typed_tree(form: Form) -> Json:
    """The tree a form holds, for other pages that draw the same builder."""
    return segment_forms.read(form)
