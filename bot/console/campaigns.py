"""Campaigns 营销活动: the list with what each came to, what is done to many at once, and putting them away."""

from collections.abc import Sequence
from urllib.parse import parse_qsl

from flask import Response, current_app, render_template, request, url_for
from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l
from werkzeug.datastructures import MultiDict
from werkzeug.wrappers import Response as Answer

from bot import db
from bot.campaigns import definitions, lines, steering
from bot.campaigns.definitions import Campaign
from bot.campaigns.lines import Row, Search
from bot.console.access import Here, confirm, done, missing, page
from bot.console.channel_words import channel_choices, channel_label
from bot.console.lists import PAGE_SIZE, Asked, Column, Filter, Listing, asked, csv_file
from bot.console.telling import told
from bot.console.words import CAMPAIGN, RUN
from bot.db import Session
from bot.errors import Refused

MOST = 500  # campaigns one bulk action changes
COLUMNS = (
    Column("name", _l("活动"), sort=True),
    Column("status", _l("状态"), sort=True),
    Column("due", _l("时间"), sort=True),
    Column("channels", _l("渠道"), shown=False),
    Column("sent", _l("已发"), number=True),
    Column("skipped", _l("未触达"), number=True, shown=False),
    Column("guided", _l("引导人数"), number=True),
    Column("rate", _l("引导 / 已发"), number=True),
    Column("goal", _l("目标完成"), number=True),
    Column("slots", _l("名额"), number=True),
    Column("created_by", _l("建立人"), shown=False),
    Column("created", _l("建立时间"), sort=True, shown=False),
)
STATUS = {
    "draft": CAMPAIGN["draft"],
    lines.REVIEW: _l("待审核"),
    "scheduled": CAMPAIGN["scheduled"],
    lines.WAITING: RUN["waiting"],
    lines.RUNNING: RUN["running"],
    lines.PAUSED: RUN["paused"],
    "stopped": CAMPAIGN["stopped"],
    "finished": CAMPAIGN["finished"],
    "archived": CAMPAIGN["archived"],
}


@page("/campaigns", "campaigns.read")
def campaigns_list(here: Here) -> str | Response:
    """All campaigns but archived ones, newest first."""
    filters = _filters()
    wanted = asked(request.args, COLUMNS, filters, sort="-created")
    search = _search(wanted)
    with db.reading(here.rt.engine) as session:
        if wanted.format == "csv":
            return _as_csv(here, _rows(session, here, wanted, search, None))
        total = lines.count(session, here.account.id, search)
        rows = _rows(session, here, wanted, search, PAGE_SIZE)
    listing = Listing(
        wanted,
        COLUMNS,
        filters,
        rows,
        total,
        more=wanted.page + 1 if wanted.page * PAGE_SIZE < total else None,
        unit=_("个活动"),
    )
    return render_template(
        "campaigns/list.html",
        listing=listing,
        channel=channel_label,
        status_of=status_of,
        new_url=new_url(here),
    )


@page("/campaigns/bulk", "campaigns.write", methods=("POST",))
def campaigns_bulk(here: Here) -> Answer | str:
    """Stop or put away the chosen campaigns, or all that match: asks first."""
    action = request.form.get("action", "")
    if action not in ("stop", "archive"):
        missing()
    with db.reading(here.rt.engine) as session:
        if request.form.get("everything") == "1":
            found = _rows(session, here, asked_again(), _search(asked_again()), MOST)
            chosen = [row.campaign for row in found]
        else:
            chosen = _chosen(session, here, request.form.getlist("ids"))
    if not chosen:
        return done(_("没有选择活动"), "campaigns_list")
    return _ask(action, chosen)


@page("/campaigns/bulk/<any(stop,archive):action>", "campaigns.write", methods=("GET", "POST"))
def campaigns_many(here: Here, action: str) -> Answer | str:
    """What the bulk form asked for: GET asks, POST does it, leaving out those that do not allow it."""
    ids = request.values.get("ids", "").split(",")
    with db.writing(here.rt.engine) as session:
        chosen = _chosen(session, here, ids)
        if not chosen:
            missing()
        if request.method == "GET":
            return _ask(action, chosen)
        changed, problem = 0, ""
        for campaign in chosen:
            try:
                _apply(session, here, action, campaign)
                changed += 1
            except Refused as refusal:
                problem = problem or f"{campaign.name}{_('：')}{told(str(refusal))}"
    text = (
        _("已停止 %(count)s 个活动", count=changed)
        if action == "stop"
        else _("已归档 %(count)s 个活动", count=changed)
    )
    if problem:
        text += _("；%(count)s 个没有改：%(why)s", count=len(chosen) - changed, why=problem)
    return done(text, "campaigns_list")


def known(session: Session, here: Here, campaign_id: int) -> Campaign:
    """A campaign of this account; 404 for any other."""
    found = _chosen(session, here, [str(campaign_id)])
    return found[0] if found else missing()


def status_of(row: Row) -> tuple[str, str]:
    """What a campaign is doing, in words, and how that looks."""
    run = row.line.run_status
    if row.submitted and row.line.run_status in (None, "waiting"):
        return str(STATUS[lines.REVIEW]), "warn"
    if run in ("waiting", "planning", "running", "paused"):
        return str(RUN[run]), "warn" if run in ("waiting", "paused") else "good"
    looks = {"scheduled": "blue", "finished": "good", "stopped": "warn"}
    return str(CAMPAIGN[row.campaign.status]), looks.get(row.campaign.status, "")


def new_url(here: Here) -> str | None:
    """Where a campaign is begun: the wizard, for who may."""
    if not here.may("campaigns.write") and not here.may("campaigns.brief"):
        return None
    for endpoint in ("plan_new", "plans_list"):
        if f"console.{endpoint}" in current_app.view_functions:
            return url_for(f"console.{endpoint}")
    return None


def asked_again() -> Asked:
    """What the list showed whose bulk form was sent."""
    from_form = request.form.get("query", "")
    return asked(MultiDict(parse_qsl(from_form)), COLUMNS, _filters(), sort="-created")


def _rows(
    session: Session, here: Here, wanted: Asked, search: Search, limit: int | None
) -> list[Row]:
    return lines.rows(
        session,
        here.account.id,
        search,
        sort=wanted.sort,
        down=wanted.down,
        offset=(wanted.page - 1) * PAGE_SIZE if limit == PAGE_SIZE else 0,
        limit=limit,
    )


def _filters() -> list[Filter]:
    return [
        Filter("status", _("状态"), list(STATUS.items())),
        Filter("channel", _("渠道"), channel_choices()),
    ]


def _search(wanted: Asked) -> Search:
    return Search(wanted.q, wanted.has("status"), wanted.has("channel"))


def _chosen(session: Session, here: Here, ids: Sequence[str]) -> list[Campaign]:
    numbers = {int(one) for one in ids if one.isascii() and one.isdigit() and len(one) < 19}
    if not numbers:
        return []
    every = definitions.every(session, here.account.id, archived=True)
    return [campaign for campaign in every if campaign.id in numbers][:MOST]


def _ask(action: str, chosen: Sequence[Campaign]) -> str:
    names = _("、").join(campaign.name for campaign in chosen[:5])
    more = _(" 等") if len(chosen) > 5 else ""
    title, button, what = (
        (
            _("停止 %(count)s 个活动", count=len(chosen)),
            _("停止"),
            _("已排期的活动不再到点发送；正在进行的发送和后续波次也会取消，没有用掉的名额退回。"),
        )
        if action == "stop"
        else (
            _("归档 %(count)s 个活动", count=len(chosen)),
            _("归档"),
            _("它们不再出现在列表里，结果和名单都保留；正在进行的活动不会归档。"),
        )
    )
    return confirm(
        title,
        [f"{names}{more}", what],
        action=url_for("console.campaigns_many", action=action),
        button=button,
        back=url_for("console.campaigns_list"),
        hidden={"ids": ",".join(str(campaign.id) for campaign in chosen)},
    )


def _apply(session: Session, here: Here, action: str, campaign: Campaign) -> None:
    before = {"status": campaign.status}
    if action == "archive":
        definitions.archive(session, campaign)
        here.audit(session, "campaign.archive", f"campaign:{campaign.name}", before=before)
        return
    if definitions.under_way(session, campaign.id):
        steering.end(session, here.account.id, campaign.name, here.now)
    if definitions.by_id(session, campaign.id).status == "scheduled":
        definitions.stop(session, definitions.by_id(session, campaign.id))
    elif campaign.status != "scheduled":
        definitions.stop(session, campaign)
    here.audit(session, "campaign.off", f"campaign:{campaign.name}", before=before)


def _as_csv(here: Here, rows: Sequence[Row]) -> Response:
    header = [
        _("活动"), _("状态"), _("人群"), _("渠道"), _("时间"), _("计划人数"), _("已发"), _("失败"),
        _("未触达"), _("引导人数"), _("目标"), _("名额"), _("建立人"), _("建立时间"),
    ]  # fmt: skip
    table = [
        (
            row.campaign.name,
            status_of(row)[0],
            [segment for _name, segment in row.campaign.group_segments()],
            [channel_label(name) for name in row.campaign.channels],
            row.line.next_due_at or row.line.run_due_at,
            sum(row.line.counts.values()),
            row.line.sent,
            row.line.counts.get("failed", 0) + row.line.counts.get("unknown", 0),
            row.line.counts.get("skipped", 0),
            row.line.guided,
            row.line.target,
            row.line.slots,
            row.created_by,
            row.created_at,
        )
        for row in rows
    ]
    return csv_file(f"{here.account.slug}-{_('营销活动')}", header, table)
