"""Plans 推广方案: the list, the table per segment, the document as page and file, files read back, past activities."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flask import Response, render_template, request, url_for
from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l
from pyroaring import BitMap
from werkzeug.wrappers import Response as Answer

from bot import db
from bot.audiences import catalogue, index, segments
from bot.audiences.index import Look
from bot.campaigns import (
    definitions,
    estimates,
    outcome,
    pasts,
    plan_files,
    plan_table,
    plans,
    playbooks,
)
from bot.campaigns.definitions import Campaign
from bot.campaigns.document import check_shape
from bot.campaigns.estimates import Estimate
from bot.campaigns.outcome import Outcome
from bot.campaigns.plans import Plan
from bot.console import wizard_forms, wizard_steps
from bot.console.access import Here, confirm, done, missing, page
from bot.console.channel_words import channel_label
from bot.console.lists import (
    PAGE_SIZE,
    Asked,
    Column,
    Filter,
    Listing,
    asked,
    attachment,
    csv_file,
    xlsx_file,
)
from bot.console.segment_page import portrait_fragment
from bot.console.telling import told
from bot.console.wizard_words import STEPS
from bot.db import Session
from bot.errors import Invalid, Refused

Json = dict[str, Any]
COLUMNS = (
    Column("name", _l("方案"), sort=True),
    Column("state", _l("写到哪里")),
    Column("groups", _l("人群")),
    Column("goal", _l("目标"), number=True),
    Column("at", _l("时间"), sort=True),
    Column("owner", _l("负责人")),
    Column("changed", _l("最近修改"), sort=True),
    Column("created_by", _l("谁建的"), shown=False),
)
# the table's columns on the page; its file names them as they are read in again
TABLE = {
    "name": _l("名称"),
    "segment": _l("人群"),
    "size": _l("人数"),
    "product": _l("产品"),
    "content": _l("内容"),
    "channels": _l("渠道"),
    "at": _l("时间"),
    "stage": _l("生命周期阶段"),
    "goal": _l("目标"),
    "owner": _l("负责人"),
}
STATES = {
    "writing": _l("编写中"),
    "submitted": _l("已提交"),
    "archived": _l("已归档"),
}
LARGEST_FILE = 2_000_000  # bytes of an upload


@dataclass(frozen=True)
class Line:
    """One plan of the list, with the campaign it became."""

    plan: Plan
    campaign: Campaign | None

    @property
    def groups(self) -> list[str]:
        return [str(group.get("name")) for group in wizard_forms.groups_of(self.plan.document)]


@page("/plans", "campaigns.brief")
def plans_list(here: Here) -> str | Response:
    """The plans that are being written and those handed in."""
    filters = [Filter("state", _("状态"), list(STATES.items()))]
    wanted = asked(request.args, COLUMNS, filters, sort="-changed")
    state = wanted.has("state")
    with db.reading(here.rt.engine) as session:
        every = plans.every(session, here.account.id, archived=state == "archived")
        lines = [_line(session, plan) for plan in every]
    found = _sorted(_matching(lines, wanted), wanted)
    if wanted.format == "csv":
        return _list_csv(here, found)
    begin = (wanted.page - 1) * PAGE_SIZE
    listing = Listing(
        wanted,
        COLUMNS,
        filters,
        found[begin : begin + PAGE_SIZE],
        len(found),
        more=wanted.page + 1 if begin + PAGE_SIZE < len(found) else None,
        unit=_("个方案"),
    )
    return render_template(
        "plans/list.html", listing=listing, every=every, archived=state == "archived", steps=STEPS
    )


@page("/plans/table", "campaigns.read")
def plans_table(here: Here) -> str | Response:
    """One row a plan, as it is handed round: by segment, with size, product, content, channel, time …"""
    with db.reading(here.rt.engine) as session:
        every = plans.every(session, here.account.id)
        look = catalogue.look_for_list(session, here.account.id, here.now)
        rows = [(plan, plan_table.row(plan.document, _size(look, plan.document))) for plan in every]
    index.keep(here.rt.engine, look)
    if request.args.get("format") == "csv":
        name = f"{here.account.slug}-{_('计划表')}"
        return _text_file(
            plan_table.to_csv([row for _plan, row in rows]), f"{name}.csv", "text/csv"
        )
    if request.args.get("format") == "xlsx":
        header = [label for _key, label in plan_table.COLUMNS]
        cells = [[row[key] for key, _label in plan_table.COLUMNS] for _plan, row in rows]
        return xlsx_file(f"{here.account.slug}-{_('计划表')}", header, cells)
    labels = [(key, TABLE[key]) for key, _label in plan_table.COLUMNS]
    shown = [(plan, row | _in_words(plan.document)) for plan, row in rows]
    return render_template("plans/table.html", rows=shown, columns=labels)


def _in_words(document: Json) -> dict[str, str]:
    """Whom a plan is for, and by which channels, as the page says it."""
    names = [name for _group, name in estimates.group_segments(document) if name]
    channels = document.get("channels") or ()
    return {
        "segment": _("、").join(names),
        "channels": plan_table.ARROW.join(channel_label(name) for name in channels),
    }


@page("/plans/import", "campaigns.write", methods=("GET", "POST"))
def plans_import(here: Here) -> Any:
    """Plans from a CSV: the document of one, or a table with one a row."""
    if request.method == "GET":
        return render_template("plans/import.html", problem="")
    upload = request.files.get("file")
    raw = upload.read(LARGEST_FILE + 1) if upload is not None else b""
    try:
        text = _decoded(raw)
        listed = _plans_of(text)
        for given in listed:
            check_shape(given)
    except Invalid as problem:
        words = told(problem.message)
        return render_template("plans/import.html", problem=words), 422
    ids = []
    with db.writing(here.rt.engine) as session:
        for given in listed:
            name = plans.free_name(
                session, here.account.id, str(given.get("name") or _("导入的方案"))
            )
            given = {**given, "name": name}
            plan_id = plans.create(session, here.account.id, given, here.now, by=here.operator.name)
            here.audit(session, "plan.import", f"plan:{plan_id}", after=given)
            ids.append(plan_id)
    if len(ids) == 1:
        return done(_("已导入，接着写完就可以提交。"), ".plan_step", plan_id=ids[0], step=1)
    return done(_("已导入 %(count)s 个方案", count=len(ids)), ".plans_list")


@page("/plans/<int:plan_id>", "campaigns.brief")
def plan(here: Here, plan_id: int) -> Any:
    """The plan document 人群 / 推广 / 数据; once the campaign ran, beside what came of it. Also as a file."""
    found = known(here, plan_id, archived=None)
    document, sentences, estimate, campaign, result = _read(here, found)
    if campaign is None:
        document = wizard_steps.filled(here, document)
    kind = request.args.get("format", "")
    name = str(document.get("name") or _("方案"))
    if kind == "csv":
        return _text_file(plan_files.to_csv(document), f"{name}.csv", "text/csv")
    if kind == "md":
        text = plan_files.markdown(document, sentences)
        return _text_file(text, f"{name}.md", "text/markdown")
    if kind == "xlsx":
        listed = [
            (part, item, value if isinstance(value, int | float | str) else str(value), key)
            for part, item, value, key in plan_files.rows(document)
        ]
        return xlsx_file(name, plan_files.HEADER, listed)
    return render_template(
        "plans/plan.html",
        plan=found,
        document=document,
        brief=document.get("brief") or {},
        parts_of=plan_files.summary(document, sentences),
        groups=wizard_forms.groups_of(document),
        sentences=sentences,
        estimate=estimate,
        campaign=campaign,
        result=result,
        expected=expected_and_actual(document, result),
        label=wizard_steps.channel_label,
        about=lambda reason: "",
        goal=document.get("goal") or {},
        playbooks=_playbook_names(here),
    )


@page("/plans/<int:plan_id>/portrait", "campaigns.read")
def plan_portrait(here: Here, plan_id: int) -> str:
    """The portrait of all groups of a plan together."""
    found = known(here, plan_id)
    names = [segment for _group, segment in estimates.group_segments(found.document)]
    parts: list[Json] = [{"in_segment": {"name": name}} for name in names]
    if not parts:
        missing()
    return portrait_fragment(here, parts[0] if len(parts) == 1 else {"any": parts})


@page("/plans/<int:plan_id>/archive", "campaigns.write", methods=("GET", "POST"))
def plan_archive(here: Here, plan_id: int) -> Answer | str:
    """Put a plan away; the campaign it became stays."""
    found = known(here, plan_id)
    if request.method == "GET":
        what = [_("方案从列表里收起，可以随时恢复。")]
        if found.campaign_id is not None:
            what.append(_("由它提交的营销活动不受影响。"))
        return confirm(
            _("归档方案「%(name)s」", name=found.name or _("未命名方案")),
            what,
            action=url_for(".plan_archive", plan_id=plan_id),
            button=_("归档"),
            back=url_for(".plans_list"),
        )
    with db.writing(here.rt.engine) as session:
        plans.archive(session, here.account.id, plan_id, here.now)
        here.audit(session, "plan.archive", f"plan:{plan_id}", before=found.document)
    return done(_("已归档"), ".plans_list")


@page("/plans/<int:plan_id>/restore", "campaigns.write", methods=("POST",))
def plan_restore(here: Here, plan_id: int) -> Answer:
    """Take a plan back."""
    found = known(here, plan_id, archived=True)
    with db.writing(here.rt.engine) as session:
        plans.archive(session, here.account.id, plan_id, None)
        here.audit(session, "plan.restore", f"plan:{plan_id}", after=found.document)
    return done(_("已恢复"), ".plans_list")


@page("/plans/<int:plan_id>/copy", "campaigns.write", methods=("POST",))
def plan_copy(here: Here, plan_id: int) -> Answer:
    """A new plan that begins as this one."""
    found = known(here, plan_id, archived=None)
    with db.writing(here.rt.engine) as session:
        name = plans.free_name(session, here.account.id, found.name or _("未命名方案"))
        given = {**found.document, "name": name}
        copy_id = plans.create(session, here.account.id, given, here.now, by=here.operator.name)
        here.audit(session, "plan.add", f"plan:{copy_id}", after=given)
    return done(_("已复制为「%(name)s」", name=name), ".plan_step", plan_id=copy_id, step=1)


@page("/plans/past/<int:past_id>/remove", "campaigns.write", methods=("POST",))
def past_remove(here: Here, past_id: int) -> Answer:
    """Take back an activity somebody typed in."""
    with db.writing(here.rt.engine) as session:
        name = pasts.remove(session, here.account.id, past_id) if past_id < 2**63 else None
        if name is None:
            missing()
        here.audit(session, "past.remove", f"past:{past_id}", before={"name": name})
    return done(_("已删除「%(name)s」", name=name), ".plans_list")


def expected_and_actual(
    document: Mapping[str, Any], result: Outcome | None
) -> list[tuple[str, float | None, float | None]]:
    """(what, expected, actual) of each number the plan named, once there is a result."""
    if result is None:
        return []
    brief = document.get("brief") or {}
    goal = document.get("goal") or {}
    return [
        (_("触达人数"), _number(brief.get("reached")), result.sent),
        (_("送达"), None, result.delivered),
        (_("引导人数"), _number(brief.get("expected")), result.guided),
        (_("目标人数"), goal.get("target"), result.guided),
        (_("群发名额"), _number(brief.get("slots")), result.slots),
        (_("48 小时内取关"), round(result.base_unfollows, 1), result.unfollows),
    ]


def known(here: Here, plan_id: int, *, archived: bool | None = False) -> Plan:
    """The account's plan of this number; 404 where there is none. ``archived`` None: either."""
    with db.reading(here.rt.engine) as session:
        found = plans.find(session, here.account.id, plan_id) if 0 < plan_id < 2**63 else None
    if found is None or archived not in (None, found.archived_at is not None):
        missing()
    return found


def _read(
    here: Here, found: Plan
) -> tuple[Json, dict[str, str], Estimate | None, Campaign | None, Outcome | None]:
    """The document as it was last written, its sentences, the estimate while nothing was sent, and the result after."""
    estimate, result, campaign = None, None, None
    document = dict(found.document)
    with db.reading(here.rt.engine) as session:
        if found.campaign_id is not None:
            campaign = definitions.by_id(session, found.campaign_id)
            counted = outcome.outcome(session, here.account.id, campaign.name)
            result = counted if counted.sent or counted.planned else None
        sentences = wizard_steps.segment_sentences(session, here.account.id, document)
        look = Look(session, here.account.id, here.now)
        if result is None:
            at = wizard_forms.moment_of(document.get("at"))
            try:
                estimate = estimates.estimate(
                    look,
                    here.account,
                    document,
                    at=at if at and at > here.now else here.now,
                    campaign_id=found.campaign_id,
                )
            except (Refused, Invalid):
                estimate = None
    index.keep(here.rt.engine, look)
    return document, sentences, estimate, campaign, result


def _playbook_names(here: Here) -> list[str]:
    with db.reading(here.rt.engine) as session:
        return [one.name for one in playbooks.every(session, here.account.id)]


def _line(session: Session, plan: Plan) -> Line:
    campaign = definitions.by_id(session, plan.campaign_id) if plan.campaign_id else None
    return Line(plan, campaign)


def _matching(lines: Sequence[Line], wanted: Asked) -> list[Line]:
    q, state = wanted.q.casefold(), wanted.has("state")
    return [
        line
        for line in lines
        if q
        in f"{line.plan.name} {' '.join(line.groups)} {line.plan.brief.get('owner', '')}".casefold()
        and (state != "writing" or line.campaign is None)
        and (state != "submitted" or line.campaign is not None)
    ]


def _sorted(lines: list[Line], wanted: Asked) -> list[Line]:
    keys = {
        "name": lambda line: line.plan.name,
        "at": lambda line: str(line.plan.document.get("at") or ""),
        "changed": lambda line: line.plan.changed_at,
    }
    key: Any = keys.get(wanted.sort, keys["changed"])
    return sorted(lines, key=key, reverse=wanted.down)


def _list_csv(here: Here, lines: Sequence[Line]) -> Response:
    header = [_("方案"), _("写到哪里"), _("人群"), _("目标"), _("时间"), _("负责人"), _("最近修改")]
    rows = (
        (
            line.plan.name,
            str(STATES["submitted"]) if line.campaign else str(STEPS[line.plan.step - 1]),
            line.groups,
            (line.plan.document.get("goal") or {}).get("target"),
            wizard_forms.moment_of(line.plan.document.get("at")),
            line.plan.brief.get("owner"),
            line.plan.changed_at,
        )
        for line in lines
    )
    return csv_file(f"{here.account.slug}-{_('推广方案')}", header, rows)


def _size(look: Look, document: Mapping[str, Any]) -> int | None:
    """How many the groups of a plan hold together, where that is known."""
    found = BitMap()
    for _group, name in estimates.group_segments(document):
        try:
            where = segments.get(look.session, look.account_id, name).where
        except Refused:
            return None
        people = catalogue.people(look, where)
        if people is None:
            return None
        found |= people
    return len(found)


def _plans_of(text: str) -> list[Json]:
    """The document of one plan, or one a row of a table."""
    first = text.removeprefix("\ufeff").split("\n", 1)[0]
    if first.startswith(",".join(plan_files.HEADER)):
        return [plan_files.from_csv(text)]
    found = plan_table.from_csv(text)
    if not found:
        raise Invalid("file", "has no rows")
    return found


def _decoded(raw: bytes) -> str:
    if not raw:
        raise Invalid("file", "Field required")
    if len(raw) > LARGEST_FILE:
        raise Invalid("file", "is larger than 2 MB")
    for encoding in ("utf-8-sig", "gb18030"):  # what Excel writes on a Chinese Windows
        try:
            text = raw.decode(encoding)
        except UnicodeDecodeError:
            continue
        return text.replace("\x00", "")
    raise Invalid("file", "is neither UTF-8 nor GB 18030")


def _text_file(text: str, name: str, kind: str) -> Response:
    return Response(text, mimetype=f"{kind}; charset=utf-8", headers=attachment(name))


def _number(text: Any) -> float | None:
    try:
        return float(text) if text not in (None, "") else None
    except (TypeError, ValueError):
        return None


def _whole(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0
