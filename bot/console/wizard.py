"""The campaign wizard 营销活动新建: five steps that write one plan, each saved before the next begins."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flask import abort, render_template, request, url_for
from flask_babel import gettext as _
from werkzeug.wrappers import Response as Answer

from bot import db
from bot.audiences import segments
from bot.campaigns import pasts, plans
from bot.campaigns.plans import Plan, SavedBetween
from bot.console import wizard_forms, wizard_steps
from bot.console.access import Here, confirm, done, go, missing, page
from bot.console.form_reading import Form
from bot.console.plan_words import differences, part
from bot.console.telling import beside, told
from bot.console.wizard_words import STEPS
from bot.db import Session
from bot.errors import Invalid, Refused

Json = dict[str, Any]
Problems = Sequence[tuple[str, str]]
STAYS = ("save", "stay")  # buttons after which the same step is shown again


@dataclass(frozen=True)
class Editing:
    """What a step shows: the plan's document as stored or typed, and what is wrong or has come between."""

    plan: Plan | None
    given: Json
    step: int
    version: int = 0
    problems: Problems = ()
    theirs: Plan | None = None


@page("/plans/new", "campaigns.brief", methods=("GET", "POST"))
def plan_new(here: Here) -> Any:
    """Step 1 of a plan that is not stored yet."""
    if request.method == "GET":
        given: Json = {"name": request.args.get("name", "")[: plans.LONGEST_NAME]}
        if request.args.get("segment"):
            name = request.args["segment"]
            given["groups"] = [{"name": name[:20], "segment": name}]
        return _page(here, Editing(None, given, 1))
    typed = wizard_forms.read(1, request.form, _carried(request.form), here.now)
    with db.writing(here.rt.engine) as session:
        plan_id = plans.create(session, here.account.id, typed, here.now, by=here.operator.name)
        here.audit(session, "plan.add", f"plan:{plan_id}", after=typed)
        plan = plans.find(session, here.account.id, plan_id)
    assert plan is not None
    return _after(here, Editing(plan, typed, 1, plan.version), request.form.get("do", "next"))


@page("/plans/<int:plan_id>/<int(min=1, max=5):step>", "campaigns.brief", methods=("GET", "POST"))
def plan_step(here: Here, plan_id: int, step: int) -> Any:
    """One step of a plan: drawn, or saved and on to where its button leads."""
    plan = _known(here, plan_id)
    _allowed(here, step)
    if request.method == "GET":
        if step > 1 and plans.missing_factors(plan.document):
            return go(url_for(".plan_step", plan_id=plan_id, step=1, missing=1))
        problems: Problems = ()
        if request.args.get("missing"):
            problems = _first_problems(plan.document)
        elif request.args.get("check"):
            problems = plans.problems(plan.document)
        return _page(here, Editing(plan, plan.document, step, plan.version, problems))
    typed = wizard_forms.read(step, request.form, plan.document, here.now)
    version = _whole(request.form.get("version", ""))
    editing = Editing(plan, typed, step, version)
    try:
        saved = _save(here, editing)
    except SavedBetween as between:
        theirs = between.theirs
        return _page(here, Editing(plan, typed, step, theirs.version, (), theirs), 409)
    return _after(
        here, Editing(saved, saved.document, step, saved.version), request.form.get("do", "next")
    )


@page("/plans/<int:plan_id>/<int(min=1, max=5):step>/kept", "campaigns.brief", methods=("POST",))
def plan_kept(here: Here, plan_id: int, step: int) -> Any:
    """What is typed, kept by the page itself while somebody works on it."""
    plan = _known(here, plan_id)
    _allowed(here, step)
    typed = wizard_forms.read(step, _without_button(request.form), plan.document, here.now)
    version = _whole(request.form.get("version", ""))
    try:
        with db.writing(here.rt.engine) as session:
            plan = plans.save(
                session,
                here.account.id,
                plan_id,
                typed,
                here.now,
                version=version,
                step=step,
                by=here.operator.name,
                unasked=True,
            )
    except SavedBetween as between:
        return render_template("plans/_kept.html", theirs=between.theirs, version=version, now=None)
    return render_template("plans/_kept.html", theirs=None, version=plan.version, now=here.now)


@page("/plans/<int:plan_id>/live/<name>", "campaigns.brief", methods=("POST",))
def plan_live(here: Here, plan_id: int, name: str) -> str:
    """A part of a step that follows what is typed: ``crowd``, ``odds``, ``reach``, ``phones``, ``findings``."""
    plan = _known(here, plan_id)
    step = wizard_steps.LIVE.get(name)
    if step is None:
        missing()
    _allowed(here, step)
    typed = wizard_forms.read(step, _without_button(request.form), plan.document, here.now)
    return wizard_steps.live(here, name, typed, plan.id)


@page("/plans/burst", "campaigns.brief", methods=("POST",))
def plan_burst(here: Here) -> str:
    """Whether the activity as typed bursts, and why."""
    typed = wizard_forms.read(1, _without_button(request.form), {}, here.now)
    return render_template("plans/_burst.html", burst=wizard_steps.burst_of(typed))


@page("/plans/<int:plan_id>/groups", "campaigns.write", methods=("POST",))
def plan_group(here: Here, plan_id: int) -> Any:
    """A group built in place from tags: a segment is made of them, and becomes a group of the plan."""
    plan = _known(here, plan_id)
    typed = wizard_forms.read(2, _without_button(request.form), plan.document, here.now)
    names = [name for name in request.form.getlist("new.tags") if name][:20]
    name = request.form.get("new.name", "").strip() or "·".join(names)[:60]
    parts: list[Json] = [{"tag": {"has": one}} for one in names]
    version = _whole(request.form.get("version", ""))
    if not names:
        problems = [("new.tags", "Field required")]
        return _page(here, Editing(plan, typed, 2, plan.version, problems), 422)
    try:
        with db.writing(here.rt.engine) as session:
            where: Json = parts[0] if len(parts) == 1 else {"all": parts}
            name = _segment_name(session, here, name, where)
            groups = [*wizard_forms.groups_of(typed), {"name": name[:20], "segment": name}]
            plans.save(
                session,
                here.account.id,
                plan_id,
                {**typed, "groups": groups},
                here.now,
                version=version,
                step=2,
                by=here.operator.name,
            )
    except SavedBetween as between:
        theirs = between.theirs
        return _page(here, Editing(plan, typed, 2, theirs.version, (), theirs), 409)
    except Invalid as problem:
        problems = [("new.name", problem.message)]
        return _page(here, Editing(plan, typed, 2, plan.version, problems), 422)
    return go(url_for(".plan_step", plan_id=plan_id, step=2))


@page("/plans/<int:plan_id>/past", "campaigns.write", methods=("POST",))
def plan_past(here: Here, plan_id: int) -> Any:
    """Type in a past activity: it is ticked, and the step is shown again."""
    plan = _known(here, plan_id)
    form = request.form
    typed = wizard_forms.read(3, _without_button(form), plan.document, here.now)
    version = _whole(form.get("version", ""))
    name = form.get("past.name", "").strip()
    try:
        with db.writing(here.rt.engine) as session:
            past_id = pasts.add(
                session,
                here.account.id,
                name=name,
                kind=form.get("past.kind", ""),
                delivered=_whole(form.get("past.delivered", "")),
                guided=_whole(form.get("past.guided", "")),
                day=None,
                by=here.operator.name,
                now=here.now,
            )
            here.audit(session, "past.add", f"past:{past_id}", after={"name": name})
            brief = dict(typed.get("brief") or {})
            brief["similar"] = [*(brief.get("similar") or ()), name]
            plans.save(
                session,
                here.account.id,
                plan_id,
                {**typed, "brief": brief},
                here.now,
                version=version,
                step=3,
                by=here.operator.name,
            )
    except Invalid as problem:
        problems = [(problem.field, problem.message)]
        return _page(here, Editing(plan, typed, 3, plan.version, problems), 422)
    except SavedBetween as between:
        theirs = between.theirs
        return _page(here, Editing(plan, typed, 3, theirs.version, (), theirs), 409)
    return go(url_for(".plan_step", plan_id=plan_id, step=3))


@page("/plans/<int:plan_id>/past/<int:past_id>/remove", "campaigns.write", methods=("GET", "POST"))
def plan_past_remove(here: Here, plan_id: int, past_id: int) -> Any:
    """Take back a past activity that was typed in, for this plan and every other."""
    _known(here, plan_id)
    with db.writing(here.rt.engine) as session:
        name = pasts.typed(session, here.account.id, past_id)
        if name is None:
            missing()
        if request.method == "GET":
            return confirm(
                _("删除「%(name)s」", name=name),
                [_("这条手工录入的过去活动从所有方案里去掉，推算时不再用它；已发的活动不受影响。")],
                action=url_for(".plan_past_remove", plan_id=plan_id, past_id=past_id),
                button=_("删除"),
                back=url_for(".plan_step", plan_id=plan_id, step=3),
            )
        pasts.remove(session, here.account.id, past_id)
        here.audit(session, "past.remove", f"past:{past_id}", before={"name": name})
    return done(_("已删除「%(name)s」。", name=name), ".plan_step", plan_id=plan_id, step=3)


@page("/plans/<int:plan_id>/submit", "campaigns.write", methods=("POST",))
def plan_submit(here: Here, plan_id: int) -> Any:
    """Hand the plan in: it becomes a campaign that waits for approval."""
    plan = _known(here, plan_id)
    typed = wizard_forms.read(5, _without_button(request.form), plan.document, here.now)
    typed = wizard_steps.filled(here, typed)
    version = _whole(request.form.get("version", ""))
    editing = Editing(plan, typed, 5, version)
    try:
        saved = _save(here, editing)
    except SavedBetween as between:
        theirs = between.theirs
        return _page(here, Editing(plan, typed, 5, theirs.version, (), theirs), 409)
    editing = Editing(saved, saved.document, 5, saved.version)
    problems = plans.problems(saved.document) + wizard_steps.late_problems(saved.document, here.now)
    if problems:
        return _page(here, _with(editing, problems), 422)
    try:
        with db.writing(here.rt.engine) as session:
            campaign = plans.submit(
                session,
                here.account,
                plan_id,
                here.now,
                by=here.operator.name,
                version=saved.version,
            )
            here.audit(session, "plan.submit", f"plan:{plan_id}", after={"name": campaign.name})
    except Invalid as problem:
        return _page(here, _with(editing, [(problem.field, problem.message)]), 422)
    except SavedBetween as between:
        theirs = between.theirs
        return _page(here, Editing(plan, typed, 5, theirs.version, (), theirs), 409)
    except Refused as problem:
        return _page(here, _with(editing, [("", str(problem))]), 409)
    return done(
        _("「%(name)s」已提交，等待审核；审核通过后按时发出。", name=campaign.name),
        ".plan",
        plan_id=plan_id,
    )


@page("/plans/<int:plan_id>/preview", "campaigns.write", methods=("POST",))
def plan_preview(here: Here, plan_id: int) -> Answer:
    """Send every content to the testers, which takes no slot."""
    plan = _known(here, plan_id)
    count = wizard_steps.send_previews(here, plan)
    return done(
        _("已发给测试人员 %(count)s 条预览，几秒后到达。", count=count),
        ".plan_step",
        plan_id=plan_id,
        step=5,
    )


def _page(here: Here, editing: Editing, status: int = 200) -> Any:
    problems = [(place, told(text)) for place, text in editing.problems]
    shown: Json = {
        "editing": editing,
        "given": editing.given,
        "brief": editing.given.get("brief") or {},
        "goal": editing.given.get("goal") or {},
        "step": editing.step,
        "steps": STEPS,
        "furthest": editing.plan.step if editing.plan else 1,
        "errors": beside(editing.problems),
        "problems": problems,
        "step_of": wizard_steps.step_of,
        "part": part,
        "differences": differences(editing.theirs.document, editing.given)
        if editing.theirs
        else (),
        "url": url_for(".plan_step", plan_id=editing.plan.id, step=editing.step)
        if editing.plan
        else url_for(".plan_new"),
    }
    shown |= wizard_steps.context(here, editing.step, editing.given, editing.problems, editing.plan)
    return render_template("plans/wizard.html", **shown), status


def _after(here: Here, editing: Editing, button: str) -> Any:
    """Where a button leads; 下一步 of the first step only once the activity is described."""
    assert editing.plan is not None
    verb, _colon, place = button.partition(":")
    step = editing.step
    if verb == "next":
        problems = (
            _first_problems(editing.given)
            if step == 1
            else wizard_steps.unfinished(step, editing.given)
        )
        if problems:
            return _page(here, _with(editing, problems), 422)
        if step == 1 and not here.may("campaigns.write"):
            return done(_("需求已提交，运营同事会接着做。"), ".plans_list")
        step = min(plans.STEPS, step + 1)
    elif verb == "back":
        step = max(1, step - 1)
    elif verb == "goto" and place.isdigit():
        step = min(plans.STEPS, max(1, int(place)))
    elif verb == "leave":
        return done(_("已保存，随时可以接着写。"), ".plans_list")
    elif verb == "save":
        return done(_("已保存"), ".plan_step", plan_id=editing.plan.id, step=step)
    return go(url_for(".plan_step", plan_id=editing.plan.id, step=step))


def _save(here: Here, editing: Editing) -> Plan:
    assert editing.plan is not None
    with db.writing(here.rt.engine) as session:
        saved = plans.save(
            session,
            here.account.id,
            editing.plan.id,
            editing.given,
            here.now,
            version=editing.version,
            step=editing.step,
            by=here.operator.name,
        )
        if saved.version != editing.version:
            before = editing.plan.document
            here.audit(
                session, "plan.change", f"plan:{saved.id}", before=before, after=saved.document
            )
    return saved


def _segment_name(session: Session, here: Here, name: str, where: Json) -> str:
    """A segment of this name that says this: one that is there already, or a new one."""
    for one in segments.every(session, here.account.id):
        if one.where == segments.normal(where):
            return one.name
    known = {one.name for one in segments.every(session, here.account.id)}
    found, number = name, 2
    while found in known:
        found = f"{name[:56]} {number}"
        number += 1
    segment_id = segments.save(session, here.account.id, found, where, here.now)
    after = {"name": found, "where": where}
    here.audit(session, "segment.add", f"segment:{segment_id}", after=after)
    return found


def _first_problems(given: Mapping[str, Any]) -> list[tuple[str, str]]:
    found = [(f"brief.{name}", "Field required") for name in plans.missing_factors(given)]
    if not str(given.get("name") or "").strip():
        found.insert(0, ("name", "Field required"))
    return found


def _known(here: Here, plan_id: int) -> Plan:
    with db.reading(here.rt.engine) as session:
        plan = plans.find(session, here.account.id, plan_id) if 0 < plan_id < 2**63 else None
    if plan is None or plan.archived_at is not None:
        missing()
    return plan


def _allowed(here: Here, step: int) -> None:
    """Whoever may only hand in a brief sees the first step."""
    if step > 1 and not here.may("campaigns.write"):
        abort(403)


def _carried(form: Form) -> Json:
    """What the address of a new plan began it with."""
    name = form.get("from.segment", "")
    return {"groups": [{"name": name[:20], "segment": name}]} if name else {}


def _without_button(form: Form) -> Form:
    found = form.copy()
    found.pop("do", None)
    return found


def _with(editing: Editing, problems: Problems) -> Editing:
    return Editing(editing.plan, editing.given, editing.step, editing.version, problems)


def _whole(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0
