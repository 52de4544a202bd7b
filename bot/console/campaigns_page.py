"""One campaign: how it stands, whom it was for and why not, waves and batches, experiment, funnel, approvals."""

from collections.abc import Iterator, Sequence
from typing import Any

import sqlalchemy as sa
from flask import Response, render_template, request
from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l

from bot import db
from bot.campaigns import funnel, live, outcome, recipients, reviews, rounds, trials
from bot.campaigns.document import MIN_SAMPLE
from bot.campaigns.experiment import verdict
from bot.campaigns.live import Picture, RunPicture
from bot.campaigns.recipients import Recipient
from bot.clock import month_of
from bot.console import campaigns_words as told_words
from bot.console.access import Here, missing, page
from bot.console.audit_words import label
from bot.console.campaigns import known
from bot.console.channel_words import channel_label
from bot.console.lists import PAGE_SIZE, Asked, Column, Filter, Listing, asked, csv_file, whole
from bot.console.words import DELIVERY, REASON
from bot.db import Session
from bot.tables.campaigns import mass_batches
from bot.tables.operators import audit

TABS = {
    "overview": _l("概览"),
    "people": _l("受众与触达"),
    "waves": _l("波次与批次"),
    "experiment": _l("实验"),
    "funnel": _l("漏斗与结果"),
    "log": _l("审批与日志"),
}
COLUMNS = (
    Column("follower", _l("粉丝")),
    Column("status", _l("结果")),
    Column("why", _l("为什么")),
    Column("channel", _l("渠道")),
    Column("group", _l("分组")),
    Column("variant", _l("版本")),
    Column("wave", _l("批次"), number=True, shown=False),
    Column("slot", _l("名额"), shown=False),
    Column("clicked", _l("引导")),
    Column("at", _l("时间")),
)
MOST_BATCHES = 200
MOST_ENTRIES = 100


@page("/campaigns/<int:campaign_id>", "campaigns.read")
def campaign(here: Here, campaign_id: int) -> str | Response:
    """A campaign, one tab at a time."""
    tab = request.args.get("tab", "overview")
    if tab not in TABS:
        tab = "overview"
    with db.reading(here.rt.engine) as session:
        found = known(session, here, campaign_id)
        picture = live.picture(session, found, here.now)
        shared = _shared(session, here, picture)
        if tab == "people":
            more = _people(session, here, picture)
            if isinstance(more, Response):
                return more
        else:
            more = _TAB[tab](session, here, picture)
        return render_template(
            f"campaigns/{tab}.html",
            tab=tab,
            tabs=TABS,
            **shared,
            **more,
        )


@page("/campaigns/<int:campaign_id>/live", "campaigns.read")
def campaign_live(here: Here, campaign_id: int) -> str:
    """How it stands, as a fragment that asks again while there is something to wait for."""
    with db.reading(here.rt.engine) as session:
        found = known(session, here, campaign_id)
        picture = live.picture(session, found, here.now)
        return render_template(
            "campaigns/_live.html",
            **_shared(session, here, picture),
            **_overview(session, here, picture),
        )


def _shared(session: Session, here: Here, picture: Picture) -> dict[str, Any]:
    """What every tab shows above itself."""
    current = picture.current
    holds_until = None
    if current is not None and current.status == "waiting" and picture.campaign.approved_by:
        holds_until = reviews.countdown(session, here.account, picture.campaign, current.audience)
        if holds_until is not None and holds_until <= here.now:
            holds_until = None
    return {
        "campaign": picture.campaign,
        "picture": picture,
        "current": current,
        "handed": reviews.handed_in(session, picture.campaign),
        "rejected": reviews.last_rejection(session, picture.campaign),
        "holds_until": holds_until,
        "next_step": told_words.next_step(picture),
        "channel": channel_label,
        "reason_words": told_words.reason_words,
        "channels_of": told_words.channels_of,
    }


def _overview(session: Session, here: Here, picture: Picture) -> dict[str, Any]:
    # a follow-up without mass messages is not watched: then what the first wave showed is told
    seen = next((run for run in reversed(picture.runs) if live.guard_looks(run)), picture.current)
    looks = live.guard_looks(seen) if seen else []
    came = outcome.outcome(session, here.account.id, picture.campaign.name)
    return {
        "outcome": came,
        "guard_on": here.account.limits.guard,
        "guard_line": told_words.guard_line(looks),
        "stages_line": told_words.stages_line(seen) if seen else "",
    }


def _waves(session: Session, here: Here, picture: Picture) -> dict[str, Any]:
    ids = [run.id for run in picture.runs]
    batches = session.execute(
        sa.select(mass_batches)
        .where(mass_batches.c.run_id.in_(ids))
        .order_by(mass_batches.c.id.desc())
        .limit(MOST_BATCHES)
    ).all()
    steps = list(picture.campaign.follow_ups or ())
    return {
        "batches": batches,
        "rounds": {run.id: run.number for run in picture.runs},
        "steps": list(enumerate(steps, 2)),
        "looks": {run.id: live.guard_looks(run) for run in picture.runs},
        "stages_line": told_words.stages_line,
    }


def _experiment(session: Session, here: Here, picture: Picture) -> dict[str, Any]:
    first, experiment = picture.first, picture.campaign.experiment or {}
    least = int(experiment.get("min_sample", MIN_SAMPLE))
    if first is None or not experiment:
        return {"arms": [], "pairs": [], "least": least, "verdict": "", "may_choose": False}
    run = rounds.chain(session, first.id)[0]
    arms = trials.arms(session, run, picture.campaign)
    return {
        "arms": arms,
        # the same figures that decide: of several pairs each p is corrected for their number
        "pairs": verdict(arms, least).differences,
        "least": least,
        "verdict": told_words.decided(first, picture.campaign),
        "may_choose": here.may("campaigns.write")
        and first.status in ("running", "paused")
        and first.winner is None
        and not experiment.get("bandit"),
    }


def _funnel(session: Session, here: Here, picture: Picture) -> dict[str, Any]:
    steps = funnel.steps(session, picture)
    return {
        "steps": steps,
        "weakest": funnel.weakest(steps),
        "effects": funnel.effects(session, picture),
        "readers": funnel.readers(session, picture.campaign),
        "step_name": told_words.step_name,
        "step_unknown": told_words.step_unknown,
    }


def _log(session: Session, here: Here, picture: Picture) -> dict[str, Any]:
    name = picture.campaign.name
    entries = session.execute(
        sa.select(audit)
        .where(
            audit.c.account_id == here.account.id,
            # the command line writes the bare name
            audit.c.object.in_((f"campaign:{name}", name)),
        )
        .order_by(audit.c.id.desc())
        .limit(MOST_ENTRIES)
    ).all()
    return {"entries": entries, "label": label}


_TAB = {
    "overview": _overview,
    "waves": _waves,
    "experiment": _experiment,
    "funnel": _funnel,
    "log": _log,
}


def _people(session: Session, here: Here, picture: Picture) -> dict[str, Any] | Response:
    run = _chosen_run(picture)
    filters = _people_filters(picture, run)
    wanted = asked(request.args, COLUMNS, filters)
    if run is None:
        return {"listing": None, "run": None}
    search = _people_search(wanted)
    month = month_of(run.due_at)
    if wanted.format == "csv":
        return _people_csv(here, picture, run, search)
    after = whole(wanted.after) or 0
    rows = recipients.page(
        session, picture.campaign, run.id, month, search, after=after, limit=PAGE_SIZE + 1
    )
    listing = Listing(
        wanted,
        COLUMNS,
        filters,
        rows[:PAGE_SIZE],
        recipients.count(session, picture.campaign, run.id, search),
        more=str(rows[PAGE_SIZE - 1].follower_id) if len(rows) > PAGE_SIZE else None,
        unit=_("人"),
    )
    return {
        "listing": listing,
        "run": run,
        "why": lambda one: told_words.why(one, picture.campaign, run),
    }


def _chosen_run(picture: Picture) -> RunPicture | None:
    number = whole(request.args.get("round", "")) or 1
    return next((run for run in picture.runs if run.number == number), picture.first)


def _people_filters(picture: Picture, run: RunPicture | None) -> list[Filter]:
    def names(lines: Sequence[Any]) -> list[tuple[str, Any]]:
        return [(line.name, line.name) for line in lines]

    filters = [
        Filter("status", _("结果"), list(DELIVERY.items())),
        Filter("reason", _("原因"), list(REASON.items())),
    ]
    if run is not None:
        channels = [(line.name, channel_label(line.name)) for line in run.channels]
        filters.append(Filter("channel", _("渠道"), channels))
        if run.groups:
            filters.append(Filter("group", _("分组"), names(run.groups)))
        if run.variants:
            filters.append(Filter("variant", _("版本"), names(run.variants)))
    filters.append(Filter("clicked", _("引导"), [("yes", _("引导到了")), ("no", _("没有"))]))
    if len(picture.runs) > 1:
        rounds_ = [
            (str(one.number), _("第 %(number)s 波", number=one.number)) for one in picture.runs
        ]
        filters.append(Filter("round", _("波次"), rounds_))
    return filters


def _people_search(wanted: Asked) -> recipients.Search:
    narrow = {name: wanted.has(name) for name in recipients.NARROWED_BY if wanted.has(name)}
    return recipients.Search(wanted.q, narrow, wanted.has("clicked"))


def _people_csv(
    here: Here, picture: Picture, run: RunPicture, search: recipients.Search
) -> Response:
    if not here.may("followers.export") and not here.may("reports.read"):
        missing()
    header = [
        _("粉丝"), _("备注"), _("结果"), _("为什么"), _("渠道"), _("分组"), _("版本"), _("批次"), _("名额"),
        _("引导"), _("时间"),
    ]  # fmt: skip

    def rows() -> Iterator[Sequence[Any]]:
        after = 0
        while True:
            with db.reading(here.rt.engine) as session:
                found: list[Recipient] = recipients.page(
                    session,
                    picture.campaign,
                    run.id,
                    month_of(run.due_at),
                    search,
                    after=after,
                    limit=1000,
                )
            for one in found:
                yield (
                    here.open_id(one.open_id),
                    one.remark,
                    str(DELIVERY[one.status]),
                    told_words.why(one, picture.campaign, run),
                    channel_label(one.channel) if one.channel else "",
                    one.group,
                    one.variant,
                    one.wave,
                    _("用 1 个") if one.slot else "",
                    one.clicked_at,
                    one.at,
                )
            if len(found) < 1000:
                return
            after = found[-1].follower_id

    return csv_file(f"{here.account.slug}-{picture.campaign.name}", header, rows())
