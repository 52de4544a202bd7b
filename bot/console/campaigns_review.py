"""Review 审核 of a campaign: what it would reach and cost, what its words say, who loses what; approve or send back."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from flask import render_template, request, url_for
from flask_babel import gettext as _
from werkzeug.wrappers import Response as Answer

from bot import db
from bot.campaigns import (
    comparison,
    content_review,
    definitions,
    ledger,
    plan_checks,
    reviews,
)
from bot.campaigns.definitions import Campaign
from bot.campaigns.planning import Forecast
from bot.checks import Finding
from bot.clock import month_of
from bot.console.access import Here, confirm, done, go, page
from bot.console.campaigns import known
from bot.console.campaigns_words import reason_words
from bot.console.channel_words import channel_label
from bot.console.lists import whole
from bot.console.look import language
from bot.db import Session
from bot.errors import Invalid, Refused


@page("/campaigns/<int:campaign_id>/review", "campaigns.read")
def campaign_review(here: Here, campaign_id: int) -> str:
    """Everything whoever approves must know, on one page."""
    with db.reading(here.rt.engine) as session:
        campaign = known(session, here, campaign_id)
        return _page(session, here, campaign)


@page("/campaigns/<int:campaign_id>/submit", "campaigns.write", methods=("POST",))
def campaign_submit(here: Here, campaign_id: int) -> Answer:
    """Hand it in: it waits for somebody else, whose approval schedules it."""
    with db.writing(here.rt.engine) as session:
        campaign = known(session, here, campaign_id)
        reviews.submit(session, here.account, campaign, here.operator.name, here.now)
        here.audit(session, "campaign.submit", f"campaign:{campaign.name}")
    return done(_("已提交审核，需要另一个人批准。"), "campaign", campaign_id=campaign_id)


@page("/campaigns/<int:campaign_id>/approve", "campaigns.approve", methods=("GET", "POST"))
def campaign_approve(here: Here, campaign_id: int) -> Answer | str:
    """Let it go for the people and slots of the forecast; a send to everybody wants the number typed."""
    with db.writing(here.rt.engine) as session:
        campaign = known(session, here, campaign_id)
        # what the page of review showed, all the way to the button
        seen = whole(request.values.get("version", ""))
        reviews.check_seen(campaign, seen)
        found = reviews.forecast(session, here.account, campaign, here.now)
        everybody = reviews.to_everybody(session, campaign)
        typed = str(found.reached) if everybody else None
        if request.method == "GET":
            return _ask(here, campaign, found, typed)
        if typed is not None and request.form.get("typed", "").strip() != typed:
            return _ask(here, campaign, found, typed, _("人数不对，没有批准"))
        people, slots = reviews.bounds(found)
        changed = reviews.approve(
            session,
            here.account,
            campaign,
            here.operator.name,
            people,
            slots,
            here.now,
            here.rt.secret_key,
            seen_version=seen,
        )
        here.audit(
            session,
            "campaign.approve",
            f"campaign:{campaign.name}",
            after={"people": people, "slots": slots, "names": list(changed.approved_by)},
        )
    return done(
        _(
            "已批准：最多 %(people)s 人、%(slots)s 个名额。",
            people=f"{people:,}",
            slots=f"{slots:,}",
        ),
        "campaign",
        campaign_id=campaign_id,
    )


@page("/campaigns/<int:campaign_id>/reject", "campaigns.approve", methods=("POST",))
def campaign_reject(here: Here, campaign_id: int) -> Answer:
    """Send it back, with the reason."""
    reason = request.form.get("reason", "").strip()[:500]
    with db.writing(here.rt.engine) as session:
        campaign = known(session, here, campaign_id)
        if not reason:
            raise Invalid("reason", "say why, so that it can be mended")
        reviews.reject(session, campaign, reason)
        here.audit(
            session, "campaign.reject", f"campaign:{campaign.name}", after={"reason": reason}
        )
    return done(_("已驳回。"), "campaign", campaign_id=campaign_id)


@page("/campaigns/<int:campaign_id>/allow", "campaigns.approve", methods=("POST",))
def campaign_allow(here: Here, campaign_id: int) -> Answer:
    """Let content go that the checks stopped, with a reason; changed content is checked anew."""
    reason = request.form.get("reason", "").strip()[:500]
    with db.writing(here.rt.engine) as session:
        campaign = known(session, here, campaign_id)
        if not reason:
            raise Invalid("reason", "say why this content may go")
        content_review.override(session, campaign, reason, here.operator.name, here.now)
    return done(_("已放行：改过内容要重新放行。"), "campaign_review", campaign_id=campaign_id)


@page("/campaigns/<int:campaign_id>/withdraw", "campaigns.stop", methods=("POST",))
def campaign_withdraw(here: Here, campaign_id: int) -> Answer:
    """Stop a campaign that is approved but has not gone out: during the countdown, or before its time."""
    with db.writing(here.rt.engine) as session:
        campaign = known(session, here, campaign_id)
        if definitions.under_way(session, campaign.id):
            return go(url_for("console.campaign_step", campaign_id=campaign_id, step="end"))
        definitions.stop(session, campaign)
        here.audit(session, "campaign.off", f"campaign:{campaign.name}")
    return done(_("已撤回，到点不会发送。"), "campaign", campaign_id=campaign_id)


def findings(campaign: Campaign) -> list[tuple[Finding, Sequence[str]]]:
    """What the content checks say of everything a campaign says, with the channels it is said on."""
    listed = list(plan_checks.said(definitions.document_of(campaign)))

    def said_by(finding: Finding) -> Sequence[str]:
        here = f"{finding.place}."
        return next((one.channels for one in listed if here.startswith(f"{one.place}.")), ())

    return [(finding, said_by(finding)) for finding in content_review.findings(campaign)]


def _page(session: Session, here: Here, campaign: Campaign) -> str:
    problem, found = "", None
    try:
        found = reviews.forecast(session, here.account, campaign, here.now)
    except Refused as refusal:
        problem = str(refusal)
    handed = reviews.handed_in(session, campaign)
    needs_two = found is not None and reviews.needs_two(
        session, here.account, campaign, found.reached
    )
    due = campaign.next_due_at or here.now
    left = ledger.histogram(session, here.account.id, month_of(due))
    planned = (
        comparison.would_lose(session, here.account, campaign, due, here.now)
        if found and found.slots
        else ()
    )
    mine = here.operator.name in reviews.owners(session, campaign)
    return render_template(
        "campaigns/review.html",
        campaign=campaign,
        forecast=found,
        problem=problem,
        handed=handed,
        needs_two=needs_two,
        everybody=reviews.to_everybody(session, campaign),
        at_once=reviews.at_once(campaign) and campaign.status in ("draft", "stopped"),
        own=mine and needs_two,
        findings=findings(campaign),
        stopping=len(content_review.errors(campaign)),
        let_go=content_review.let_go(session, campaign),
        planned=planned,
        left=left,
        bounds=reviews.bounds(found) if found else (0, 0),
        hold=here.account.limits.all_send_hold,
        holds_until=_still_waits(
            reviews.countdown(session, here.account, campaign, found.reached), here
        )
        if found
        else None,
        contents=list(_said(campaign)),
        channel=channel_label,
        reason_words=reason_words,
        english=language() == "en",
        approve_above=here.account.limits.approve_above,
    )


def _still_waits(until: datetime | None, here: Here) -> datetime | None:
    """The end of a countdown that still runs."""
    return until if until is not None and until > here.now else None


def _said(campaign: Campaign) -> Iterator[tuple[str, Mapping[str, Any], str]]:
    """Everything a campaign says: (place, content, channel)."""
    tested = campaign.experiment_channels()
    variants = (campaign.experiment or {}).get("variants", ())
    for channel in campaign.channels:
        arms = [arm for arm in variants if channel in tested and arm.get("content")]
        for arm in arms:
            yield f"{arm['name']}", arm["content"], channel
        if not arms:
            yield "", campaign.content_for(channel), channel
    for number, step in enumerate(campaign.follow_ups or (), 2):
        for channel in step["channels"]:
            yield f"{number}", campaign.content_for(channel, None, number), channel


def _ask(
    here: Here, campaign: Campaign, found: Forecast, typed: str | None, problem: str | None = None
) -> str:
    people, slots = reviews.bounds(found)
    what = [
        _(
            "现在会发给 %(reached)s 人，用 %(slots)s 个群发名额。",
            reached=f"{found.reached:,}",
            slots=f"{found.slots:,}",
        ),
        _(
            "批准最多 %(people)s 人、%(slots)s 个名额：再多就要重新审批。",
            people=f"{people:,}",
            slots=f"{slots:,}",
        ),
    ]
    if typed is not None:
        minutes = int(here.account.limits.all_send_hold.total_seconds() // 60)
        what.append(
            _(
                "这是发给全体粉丝的群发，发出去收不回来。批准后还有 %(minutes)s 分钟可以撤回。",
                minutes=minutes,
            )
        )
    return confirm(
        _("批准「%(name)s」", name=campaign.name),
        what,
        action=url_for("console.campaign_approve", campaign_id=campaign.id),
        button=_("批准"),
        back=url_for("console.campaign_review", campaign_id=campaign.id),
        typed=typed,
        hidden={"version": campaign.version},
        problem=problem,
    )
