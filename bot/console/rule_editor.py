"""Automatic replies 自动回复: the editor of one rule, of the fallback, and what two editors of one rule see."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from flask import render_template, request, url_for
from flask_babel import gettext as _
from werkzeug.wrappers import Response as Answer

from bot import content, db, drafts, rulebook
from bot.console import known_names, rule_forms, rule_words
from bot.console.access import Here, by_htmx, done, missing, page
from bot.console.form_reading import Form
from bot.console.telling import beside, told
from bot.content import Content
from bot.drafts import Draft
from bot.errors import Invalid, Refused
from rules.contents import plain
from rules.diff import Difference, diff

Json = dict[str, Any]
EMPTY: Json = {"name": "", "when": [], "then": [{"reply": {"text": ""}}]}
PREFILLED = (("is", "text_is"), ("word", "text_contains"), ("key", "menu_key"))


@dataclass(frozen=True)
class Editing:
    """What the editor shows. ``theirs`` is the rule as somebody else saved it meanwhile."""

    body: Json
    group: str = ""
    version: int = 0
    draft: Draft | None = None
    problems: Sequence[tuple[str, str]] = ()
    theirs: Draft | None = None
    differences: Sequence[Difference] = field(default_factory=tuple)


@page("/rules/new", "rules.write", methods=("GET", "POST"))
def rule_new(here: Here) -> Any:
    """A new rule; ``?word=``, ``?is=``, ``?scene=``, ``?key=`` and ``?follow=1`` begin it."""
    if request.method == "GET":
        return _page(here, Editing(_prefilled(), request.args.get("group", "")))
    return _posted(here, None)


@page("/rules/<int:rule_id>", "rules.read", methods=("GET",))
def rule_edit(here: Here, rule_id: int) -> Any:
    """One rule; who may not change rules reads it."""
    with db.reading(here.rt.engine) as session:
        draft = drafts.find(session, here.account.id, rule_id)
    if draft is None:
        missing()
    return _page(here, Editing(draft.body, draft.group, draft.version, draft))


@page("/rules/<int:rule_id>", "rules.write", methods=("POST",))
def rule_save(here: Here, rule_id: int) -> Any:
    """The rule as typed: saved, or drawn again with one more part, or with what is wrong."""
    with db.reading(here.rt.engine) as session:
        draft = drafts.find(session, here.account.id, rule_id)
    if draft is None:
        missing()
    return _posted(here, draft)


@page("/rules/preview", "rules.read", methods=("POST",))
def rule_preview(here: Here) -> str:
    """The replies of the rule as typed, as a phone shows them to somebody whose fields are empty."""
    replies: list[Json] = []
    for part in rule_forms.read_parts(request.form, "then"):
        for value in part.values():
            replies += _contents(value)
    return render_template("rules/_preview.html", replies=replies)


@page("/rules/fallback", "rules.read", methods=("GET",))
def fallback_edit(here: Here) -> Any:
    """收到消息回复: what a message gets that no rule answered."""
    with db.reading(here.rt.engine) as session:
        value = rulebook.fallback(session, here.account.id)
        version = drafts.order_version(session, here.account.id)
    parts = [{name: (value or {})[name]} for name in sorted(value or {})]
    return _fallback_page(here, parts, version, ())


@page("/rules/fallback", "rules.write", methods=("POST",))
def fallback_save(here: Here) -> Any:
    """The same as typed."""
    form = request.form
    version = _whole(form.get("version", ""))
    parts = rule_forms.read_parts(form, "then")
    if form.get("do", "save") != "save":
        parts = rule_forms.changed_parts(form, {"when": [], "then": parts})["then"]
        return _fallback_page(here, parts, version, ())
    value: Json = {}
    problems: list[tuple[str, str]] = []
    for number, part in enumerate(parts):
        for name, params in part.items():
            if name in value:
                problems.append((f"then.{number}", "stands there already"))
            value[name] = params
    with db.reading(here.rt.engine) as session:
        problems += [
            (_place_of_part(place, parts), sentence)
            for place, sentence in rule_forms.missing_files(
                {"fallback": value}, known_names.files(session, here.account.id)
            )
        ]
    if problems:
        return _fallback_page(here, parts, version, problems, 422)
    try:
        with db.writing(here.rt.engine) as session:
            before = rulebook.fallback(session, here.account.id)
            drafts.save_fallback(session, here.account.id, value, version)
            after = rulebook.fallback(session, here.account.id)
            here.audit(session, "fallback.change", "fallback", before=before, after=after)
    except Invalid as problem:
        found = [(_place_of_part(problem.field, parts), problem.message)]
        return _fallback_page(here, parts, version, found, 422)
    except Refused as problem:
        with db.reading(here.rt.engine) as session:
            theirs = rulebook.fallback(session, here.account.id)
            version = drafts.order_version(session, here.account.id)
        return _fallback_page(here, parts, version, (), 409, told(str(problem)), theirs)
    return done(_("已保存收到消息回复，发布后生效"), ".rules_list")


def _posted(here: Here, draft: Draft | None) -> Any:
    form = request.form
    typed = rule_forms.read_rule(form)
    editing = Editing(typed, form.get("group", ""), _whole(form.get("version", "")), draft)
    if form.get("do", "save") == "merge" and draft is not None:
        return _page(here, _merged(editing, draft, form))
    if form.get("do", "save") != "save":
        return _page(
            here,
            Editing(rule_forms.changed_parts(form, typed), editing.group, editing.version, draft),
        )
    with db.reading(here.rt.engine) as session:
        rule_id = draft.id if draft is not None else None
        problems = drafts.problems(session, here.account.id, typed, rule_id)
        problems += rule_forms.missing_files(typed, known_names.files(session, here.account.id))
    if problems:
        return _page(here, _with(editing, problems=problems), 422)
    try:
        return _save(here, editing)
    except Invalid as problem:
        return _page(here, _with(editing, problems=[(problem.field, problem.message)]), 422)
    except drafts.SavedBetween as between:
        return _page(here, _against(editing, between.theirs), 409)


def _save(here: Here, editing: Editing) -> Answer:
    by, now, account_id = here.operator.name, here.now, here.account.id
    with db.writing(here.rt.engine) as session:
        if editing.draft is None:
            rule_id = drafts.add(
                session, account_id, editing.body, by=by, now=now, group=editing.group
            )
            after = drafts.get(session, account_id, rule_id)
            here.audit(session, "rule.add", f"rule:{rule_id}", after=_audited(after))
        else:
            rule_id = editing.draft.id
            before = drafts.get(session, account_id, rule_id)
            after = drafts.save(
                session,
                account_id,
                rule_id,
                editing.body,
                version=editing.version,
                by=by,
                now=now,
                group=editing.group,
            )
            here.audit(
                session,
                "rule.change",
                f"rule:{rule_id}",
                before=_audited(before),
                after=_audited(after),
            )
    return done(_("已保存「%(name)s」，发布后生效", name=after.name), ".rules_list")


def _audited(draft: Draft) -> Json:
    return {**draft.body, "group": draft.group} if draft.group else draft.body


def _against(editing: Editing, theirs: Draft) -> Editing:
    """My typing beside what somebody else saved; saving again writes over it knowingly."""
    found = diff(
        {"rules": [theirs.body]}, {"rules": [editing.body]}, {editing.body["name"]: theirs.name}
    )
    differences = tuple(one for change in found for one in change.differences)
    return _with(editing, theirs=theirs, version=theirs.version, differences=differences)


def _merged(editing: Editing, draft: Draft, form: Form) -> Editing:
    """My typing with theirs at the places that were chosen."""
    between = _against(editing, draft)
    taken = {
        name.removeprefix("take:")
        for name in form
        if name.startswith("take:") and form[name] == "theirs"
    }
    body = rule_forms.merged(editing.body, draft.body, between.differences, taken)
    return _with(editing, body=body, version=draft.version)


def _with(editing: Editing, **changes: Any) -> Editing:
    known = {name: getattr(editing, name) for name in Editing.__dataclass_fields__}
    return Editing(**{**known, **changes})


def _page(here: Here, editing: Editing, status: int = 200) -> Any:
    with db.reading(here.rt.engine) as session:
        names = known_names.known(session, here.account.id)
        groups = sorted(
            {draft.group for draft in drafts.listing(session, here.account.id) if draft.group}
        )
    problems = editing.problems
    shown = {
        "editing": editing,
        "body": editing.body,
        "whens": rule_forms.draw_parts("when", editing.body.get("when") or (), problems, names),
        "thens": rule_forms.draw_parts("then", editing.body.get("then") or (), problems, names),
        "active_fields": rule_forms.draw_active(editing.body, problems),
        "when_choices": rule_forms.choices("when"),
        "then_choices": rule_forms.choices("then"),
        "errors": beside(_of_rule(problems)),
        "names": names,
        "groups": groups,
        "words": rule_words,
        "url": url_for(".rule_save", rule_id=editing.draft.id)
        if editing.draft
        else url_for(".rule_new"),
    }
    partial = by_htmx() and request.method == "POST"
    template = "rules/_editor.html" if partial else "rules/edit.html"
    return render_template(template, **shown), status


def _fallback_page(
    here: Here,
    parts: Sequence[Json],
    version: int,
    problems: Sequence[tuple[str, str]],
    status: int = 200,
    refused: str = "",
    theirs: Mapping[str, Any] | None = None,
) -> Any:
    with db.reading(here.rt.engine) as session:
        names = known_names.known(session, here.account.id)
    shown = {
        "thens": rule_forms.draw_parts("then", parts, problems, names),
        "then_choices": rule_forms.choices("then"),
        "errors": beside(problems),
        "version": version,
        "names": names,
        "refused": refused,
        "theirs": rule_words.fallback(theirs),
        "url": url_for(".fallback_save"),
    }
    partial = by_htmx() and request.method == "POST"
    template = "rules/_fallback.html" if partial else "rules/fallback.html"
    return render_template(template, **shown), status


def _place_of_part(place: str, parts: Sequence[Json]) -> str:
    """``fallback.reply.text`` as the form knows it: ``then.0.reply.text``."""
    rest = place.removeprefix("fallback.")
    for number, part in enumerate(parts):
        if rest.partition(".")[0] in part:
            return f"then.{number}.{rest}"
    return "then"


def _of_rule(problems: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Problems of the rule itself, not of one of its parts; an unknown key is said above."""
    listed = ("name", "when", "then", "group")
    return [
        (place if place in listed else "", sentence)
        for place, sentence in problems
        if not place.startswith(("when.", "then.", "active"))
    ]


def _prefilled() -> Json:
    words = request.args
    when: list[Json] = [
        {member: {"any": words.getlist(name)[:1000]}}
        for name, member in PREFILLED
        if words.get(name)
    ]
    if words.get("scene"):
        when.append({"scan_scene": {"scene": words["scene"]}})
    if words.get("follow"):
        when.append({"subscribed_from": {}})
    first = (words.getlist("is") + words.getlist("word") + [""])[0]
    name = words.get("name", "") or first
    return {**EMPTY, "name": name[:60], "when": when or [{"text_contains": {}}]}


def _contents(value: Any) -> list[Json]:
    """The contents inside the parameters of an action that load, with empty fields."""
    if isinstance(value, Mapping):
        try:
            found = plain(Content.model_validate(value))
        except ValueError:
            return [one for inner in value.values() for one in _contents(inner)]
        return [content.render(found, {})]
    if isinstance(value, list):
        return [one for inner in value for one in _contents(inner)]
    return []


def _whole(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0
