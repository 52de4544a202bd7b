"""Playbooks 策略库: plans and campaigns kept with what they achieved, to begin the next one from."""

from collections.abc import Sequence
from datetime import date
from typing import Any

from flask import Response, render_template, request, url_for
from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l
from werkzeug.wrappers import Response as Answer

from bot import db
from bot.campaigns import definitions, outcome, plan_files, playbooks
from bot.campaigns.playbooks import Playbook
from bot.clock import day_of
from bot.console.access import Here, confirm, done, missing, page
from bot.console.lists import Asked, Column, Filter, Listing, asked, csv_file
from bot.console.plan_pages import known
from bot.console.telling import told
from bot.console.wizard_steps import segment_sentences
from bot.db import Session
from bot.errors import Invalid, Refused

Json = dict[str, Any]
COLUMNS = (
    Column("name", _l("策略"), sort=True),
    Column("version", _l("版本"), number=True),
    Column("form", _l("活动形式")),
    Column("rate", _l("导量率"), sort=True, number=True),
    Column("result", _l("做到了")),
    Column("note", _l("说明")),
    Column("created_at", _l("保存时间"), sort=True),
    Column("created_by", _l("谁存的"), shown=False),
)


@page("/playbooks", "campaigns.read")
def playbooks_list(here: Here) -> str | Response:
    """The latest version of each."""
    filters = [Filter("state", _("使用中"), [("archived", _("已归档"))])]
    wanted = asked(request.args, COLUMNS, filters, sort="name")
    archived = wanted.has("state") == "archived"
    with db.reading(here.rt.engine) as session:
        every = playbooks.every(session, here.account.id, archived=archived)
    found = _sorted(_matching(every, wanted), wanted)
    if wanted.format == "csv":
        return _as_csv(here, found)
    listing = Listing(wanted, COLUMNS, filters, found, len(found), unit=_("个策略"))
    return render_template(
        "playbooks/list.html", listing=listing, every=every, archived=archived, rate=rate
    )


@page("/playbooks/<int:playbook_id>", "campaigns.read")
def playbook(here: Here, playbook_id: int) -> str:
    """One version: what it says, what it achieved, the versions beside it, and a plan begun from it."""
    found = _known(here, playbook_id)
    with db.reading(here.rt.engine) as session:
        versions = playbooks.versions(session, here.account.id, found.name)
        sentences = segment_sentences(session, here.account.id, found.document)
    return render_template(
        "playbooks/playbook.html",
        playbook=found,
        versions=versions,
        parts_of=plan_files.summary(found.document, sentences),
        rate=rate,
        tomorrow=day_of(here.now).isoformat(),
    )


@page("/plans/<int:plan_id>/playbook", "campaigns.write", methods=("POST",))
def plan_keep(here: Here, plan_id: int) -> Answer:
    """Keep a plan as a playbook, with what its campaign achieved so far."""
    plan = known(here, plan_id, archived=None)
    results = None
    with db.reading(here.rt.engine) as session:
        if plan.campaign_id is not None:
            campaign = definitions.by_id(session, plan.campaign_id)
            results = results_of(session, here.account.id, campaign.name)
    return _keep(here, plan.document, results, plan.name)


@page("/campaigns/<int:campaign_id>/playbook", "campaigns.write", methods=("POST",))
def campaign_keep(here: Here, campaign_id: int) -> Answer:
    """Keep a campaign as a playbook, with what it achieved so far."""
    with db.reading(here.rt.engine) as session:
        campaign = next(
            (
                one
                for one in definitions.every(session, here.account.id, archived=True)
                if one.id == campaign_id
            ),
            None,
        )
        if campaign is None:
            missing()
        document = definitions.document_of(campaign)
        results = results_of(session, here.account.id, campaign.name)
    return _keep(here, document, results, campaign.name)


@page("/playbooks/<int:playbook_id>/begin", "campaigns.write", methods=("POST",))
def playbook_begin(here: Here, playbook_id: int) -> Answer:
    """A new plan from a playbook with new dates."""
    found = _known(here, playbook_id)
    begins = _day(request.form.get("begins", ""))
    if begins is None:
        raise Invalid("begins", "must be a day")
    with db.writing(here.rt.engine) as session:
        plan_id = playbooks.begin_plan(
            session,
            here.account.id,
            playbook_id,
            here.now,
            by=here.operator.name,
            begins=begins,
            name=request.form.get("name", ""),
        )
        after = {"playbook": found.name, "version": found.version, "begins": begins.isoformat()}
        here.audit(session, "plan.add", f"plan:{plan_id}", after=after)
    return done(
        _("已按「%(name)s」新建方案", name=found.name), ".plan_step", plan_id=plan_id, step=1
    )


@page("/playbooks/<int:playbook_id>/archive", "campaigns.write", methods=("GET", "POST"))
def playbook_archive(here: Here, playbook_id: int) -> Answer | str:
    """Put all versions of a playbook away."""
    found = _known(here, playbook_id)
    if request.method == "GET":
        return confirm(
            _("归档策略「%(name)s」", name=found.name),
            [_("它的全部版本从策略库收起，可以恢复。由它新建的方案和活动不变。")],
            action=url_for(".playbook_archive", playbook_id=playbook_id),
            button=_("归档"),
            back=url_for(".playbooks_list"),
        )
    with db.writing(here.rt.engine) as session:
        playbooks.archive(session, here.account.id, found.name, here.now)
        here.audit(session, "playbook.archive", f"playbook:{found.id}", before={"name": found.name})
    return done(_("已归档策略「%(name)s」", name=found.name), ".playbooks_list")


@page("/playbooks/<int:playbook_id>/restore", "campaigns.write", methods=("POST",))
def playbook_restore(here: Here, playbook_id: int) -> Answer:
    """Take a playbook back."""
    found = _known(here, playbook_id, archived=True)
    with db.writing(here.rt.engine) as session:
        playbooks.archive(session, here.account.id, found.name, None)
        here.audit(session, "playbook.restore", f"playbook:{found.id}", after={"name": found.name})
    return done(_("已恢复策略「%(name)s」", name=found.name), ".playbooks_list")


def results_of(session: Session, account_id: int, name: str) -> Json | None:
    """What a campaign achieved so far; None before anything was sent."""
    try:
        found = outcome.outcome(session, account_id, name)
    except Refused:
        return None
    if not found.sent:
        return None
    return {
        "campaign": name,
        "sent": found.sent,
        "delivered": found.delivered,
        "guided": found.guided,
        "slots": found.slots,
        "unfollows": found.unfollows,
        "target": found.target,
    }


def rate(one: Playbook) -> float | None:
    """The 导量率 it came with."""
    results = one.results or {}
    return results["guided"] / results["delivered"] if results.get("delivered") else None


def _keep(here: Here, document: Json, results: Json | None, name: str) -> Answer:
    wanted = request.form.get("name", "").strip() or name
    note = request.form.get("note", "")
    try:
        with db.writing(here.rt.engine) as session:
            kept = playbooks.save(
                session,
                here.account.id,
                wanted,
                document,
                here.now,
                by=here.operator.name,
                results=results,
                note=note,
            )
            after = {"name": kept.name, "version": kept.version}
            here.audit(session, "playbook.add", f"playbook:{kept.id}", after=after)
    except Invalid as problem:
        raise Refused(told(problem.message)) from None
    return done(
        _("已存入策略库：「%(name)s」第 %(version)s 版", name=kept.name, version=kept.version),
        ".playbook",
        playbook_id=kept.id,
    )


def _matching(every: Sequence[Playbook], wanted: Asked) -> list[Playbook]:
    q = wanted.q.casefold()
    return [one for one in every if q in f"{one.name} {one.note}".casefold()]


def _sorted(found: list[Playbook], wanted: Asked) -> list[Playbook]:
    if wanted.sort == "rate":
        return sorted(found, key=lambda one: rate(one) or -1.0, reverse=wanted.down)
    if wanted.sort == "created_at":
        return sorted(found, key=lambda one: one.created_at, reverse=wanted.down)
    return list(reversed(found)) if wanted.down else found


def _as_csv(here: Here, found: Sequence[Playbook]) -> Response:
    header = [
        _("策略"),
        _("版本"),
        _("活动形式"),
        _("送达"),
        _("引导"),
        _("名额"),
        _("说明"),
        _("保存时间"),
    ]
    rows = (
        (
            one.name,
            one.version,
            (one.document.get("brief") or {}).get("form"),
            (one.results or {}).get("delivered"),
            (one.results or {}).get("guided"),
            (one.results or {}).get("slots"),
            one.note,
            one.created_at,
        )
        for one in found
    )
    return csv_file(f"{here.account.slug}-{_('策略库')}", header, rows)


def _known(here: Here, playbook_id: int, *, archived: bool = False) -> Playbook:
    with db.reading(here.rt.engine) as session:
        found = (
            playbooks.find(session, here.account.id, playbook_id)
            if 0 < playbook_id < 2**63
            else None
        )
    if found is None or (found.archived_at is not None) != archived:
        missing()
    return found


def _day(text: str) -> date | None:
    try:
        found = date.fromisoformat(text)
    except ValueError:
        return None
    return found if 2000 <= found.year <= 8999 else None
