"""The calendar of sends 群发日历: a month at a glance, moving a send to another day, and what a send would cost."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime, timedelta

from flask import Response, render_template, request
from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l
from werkzeug.wrappers import Response as Answer

from bot import db
from bot.audiences import index
from bot.audiences.index import Look
from bot.campaigns import calendar, plans
from bot.campaigns.calendar import Entry, WhatIf
from bot.clock import day_of, local, month_of, next_month, parse_moment, start_of_month
from bot.console import known_names
from bot.console.access import Here, done, page
from bot.console.campaigns import known
from bot.console.channel_words import channel_label
from bot.console.ledger import asked_month
from bot.console.lists import csv_file
from bot.console.telling import told
from bot.errors import Invalid, Refused

KINDS = {
    "sent": _l("已发"),
    "running": _l("发送中"),
    "planned": _l("已排期"),
    "draft": _l("草稿"),
    "external": _l("站外群发"),
}
NOTES = {
    "past": _l("这个时间已经过去。"),
    "closed": _l("月末最后 30 分钟不群发，会等到下个月 0 点，用下个月的名额。"),
    "quiet": _l("落在免打扰时段，会推迟到时段结束再发。"),
    "one_a_day": _l("订阅号一天只能群发一次，这一天已经有别的群发。"),
}
WEEKDAYS = (_l("周一"), _l("周二"), _l("周三"), _l("周四"), _l("周五"), _l("周六"), _l("周日"))


@page("/calendar", "ledger.read")
def calendar_page(here: Here) -> str | Response:
    """A month of sends: past, planned, drafts, and those made elsewhere."""
    month = asked_month(here)
    with db.reading(here.rt.engine) as session:
        look = Look(session, here.account.id, here.now)
        entries = calendar.entries(look, here.account, month)
    index.keep(here.rt.engine, look)
    if request.args.get("format") == "csv":
        return _as_csv(here, month, entries)
    by_day: dict[date, list[Entry]] = {}
    for entry in entries:
        by_day.setdefault(entry.day, []).append(entry)
    first = day_of(start_of_month(month))
    quiet = here.account.limits.quiet_hours
    return render_template(
        "calendar/month.html",
        month=month,
        before=_month_before(month),
        after=next_month(month),
        weeks=_weeks(first),
        by_day=by_day,
        entries=entries,
        today=day_of(here.now),
        last=day_of(start_of_month(next_month(month)) - timedelta(hours=1)),
        kinds=KINDS,
        weekdays=WEEKDAYS,
        quiet=f"{quiet[0]:%H:%M}–{quiet[1]:%H:%M}" if quiet else "",
        may_move=here.may("campaigns.write"),
        conflicts=_conflicts(here, by_day),
        counted_at=look.counted_at,
    )


@page("/calendar/move/<int:campaign_id>", "campaigns.write", methods=("GET", "POST"))
def calendar_move(here: Here, campaign_id: int) -> Answer | Response | str | tuple[str, int]:
    """Send a campaign on another day: says first what that takes from the others, or from itself."""
    problem, found, plan = "", None, None
    with db.reading(here.rt.engine) as session:
        campaign = known(session, here, campaign_id)
        look = Look(session, here.account.id, here.now)
        try:
            day = _day(campaign.next_due_at or here.now)
            at = calendar.moment_on(campaign, day)
            plan = plans.of_campaign(session, here.account.id, campaign.id)
            if plan is not None:
                plans.check_moves(plan)
            found = calendar.what_if_moved(look, here.account, campaign, at)
        except (Refused, Invalid) as refusal:
            problem = told(refusal.message if isinstance(refusal, Invalid) else str(refusal))
            day = day_of(campaign.next_due_at or here.now)
        if found is not None and request.args.get("format") == "csv":
            names = {who: (open_id, remark) for who, open_id, remark in calendar.names(
                session, here.account.id, found.people
            )}  # fmt: skip
            return _losers_csv(here, found, names)
    index.keep(here.rt.engine, look)
    if request.method == "POST" and found is not None:
        try:
            with db.writing(here.rt.engine) as session:
                moved = calendar.move(
                    session, here.account, campaign, day, here.now, by=here.operator.name
                )
                here.audit(
                    session,
                    "campaign.move",
                    f"campaign:{campaign.name}",
                    before={"schedule": dict(campaign.schedule)},
                    after={"schedule": dict(moved.schedule), "count": len(found.people)},
                )
        except (Refused, Invalid) as refusal:
            problem = told(refusal.message if isinstance(refusal, Invalid) else str(refusal))
        else:
            text = _(
                "「%(name)s」改到 %(when)s。",
                name=campaign.name,
                when=f"{local(at):%Y-%m-%d %H:%M}",
            )
            return done(text, "calendar_page", month=month_of(at))
    shown = render_template(
        "calendar/move.html",
        campaign=campaign,
        day=day,
        found=found,
        problem=problem,
        notes=NOTES,
        old=campaign.next_due_at,
        plan=plan,
    )
    return (shown, 422) if problem else shown


@page("/calendar/what-if", "ledger.read")
def calendar_what_if(here: Here) -> str | Response | tuple[str, int]:
    """A push that is only thought of: a segment and a moment; what it would take from the planned ones."""
    segment, given = request.args.get("segment", ""), request.args.get("at", "")
    problem, found = "", None
    with db.reading(here.rt.engine) as session:
        names = known_names.known(session, here.account.id)["segment"]
        look = Look(session, here.account.id, here.now)
        if segment:
            try:
                at = parse_moment(given) if given else here.now + timedelta(hours=1)
                found = calendar.what_if(look, here.account, segment, at)
            except ValueError:
                problem = _("时间写得不对")
            except Refused as refusal:
                problem = told(str(refusal))
        if found is not None and request.args.get("format") == "csv":
            listed = {who: (open_id, remark) for who, open_id, remark in calendar.names(
                session, here.account.id, found.people
            )}  # fmt: skip
            return _losers_csv(here, found, listed)
    index.keep(here.rt.engine, look)
    shown = render_template(
        "calendar/what_if.html",
        segments=[(name, name) for name in names],
        segment=segment,
        at=given or f"{local(here.now + timedelta(hours=1)):%Y-%m-%dT%H:%M}",
        found=found,
        problem=problem,
        notes=NOTES,
    )
    return (shown, 422) if problem else shown


def _day(usual: datetime) -> date:
    given = request.values.get("day", "")
    try:
        found = date.fromisoformat(given) if given else day_of(usual)
    except ValueError:
        raise Invalid("day", "must be a date") from None
    if not 2000 <= found.year <= 8999:
        raise Invalid("day", "must be a date")
    return found


def _weeks(first: date) -> list[list[date]]:
    """The weeks a month touches, Monday first."""
    day = first - timedelta(days=first.weekday())
    weeks = []
    while day.month == first.month or day < first:
        weeks.append([day + timedelta(days=number) for number in range(7)])
        day += timedelta(days=7)
    return weeks


def _month_before(month: str) -> str:
    return month_of(start_of_month(month) - timedelta(hours=1))


def _conflicts(here: Here, by_day: Mapping[date, Sequence[Entry]]) -> set[date]:
    """Days on which a subscription account would send by mass more than once."""
    if here.account.kind == "service":
        return set()
    return {
        day
        for day, listed in by_day.items()
        if sum(
            one.kind == "external" or "mass" in one.channels
            for one in listed
            if one.kind != "draft"
        )
        > 1
    }


def _as_csv(here: Here, month: str, entries: Iterable[Entry]) -> Response:
    header = [
        _("时间"), _("活动"), _("状态"), _("渠道"), _("人数"), _("名额"), _("到时没有名额"),
    ]  # fmt: skip
    rows = (
        (
            entry.at,
            entry.name or KINDS[entry.kind],
            KINDS[entry.kind],
            [channel_label(name) for name in entry.channels],
            entry.people,
            entry.slots,
            entry.missing,
        )
        for entry in entries
    )
    return csv_file(f"{here.account.slug}-{_('群发日历')}-{month}", header, rows)


def _losers_csv(here: Here, found: WhatIf, names: Mapping[int, tuple[str, str | None]]) -> Response:
    header = [_("粉丝"), _("备注"), _("收不到的活动"), _("时间")]
    rows = (
        (here.open_id(names[who][0]), names[who][1], one.name, one.at)
        for one in found.lost
        for who in one.people
        if who in names
    )
    return csv_file(f"{here.account.slug}-{_('会失去的推送')}", header, rows)
