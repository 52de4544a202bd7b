"""What is done with a campaign under way: pause, go on, cancel, change the next wave, choose a winner, stop all."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from flask import render_template, request, url_for
from flask_babel import gettext as _
from werkzeug.wrappers import Response as Answer

from bot import accounts, db
from bot.campaigns import funnel, live, rounds, steering, trials
from bot.campaigns.definitions import Campaign
from bot.campaigns.live import Picture, RunPicture
from bot.console.access import Here, confirm, done, missing, page
from bot.console.campaigns import known
from bot.console.lists import whole
from bot.console.telling import told
from bot.db import Session
from bot.errors import Invalid, Refused

STEPS = ("pause", "resume", "cancel", "skip", "end")
LONGEST = 600  # characters of a follow-up's text. Source: docs/wechat-limits.md 8 (read 2026-11)


@page(
    "/campaigns/<int:campaign_id>/<any(pause,resume,cancel,skip,end):step>",
    "campaigns.stop",
    methods=("GET", "POST"),
)
def campaign_step(here: Here, campaign_id: int, step: str) -> Answer | str:
    """Pause, go on, cancel, leave the next wave out, or end all of it: each says first what it means."""
    with db.writing(here.rt.engine) as session:
        campaign = known(session, here, campaign_id)
        picture = live.picture(session, campaign, here.now)
        if request.method == "GET":
            return _ask(step, campaign, picture)
        _do(session, here, step, campaign, picture)
        here.audit(
            session,
            f"campaign.{step}",
            f"campaign:{campaign.name}",
            before={"status": picture.current.status if picture.current else None},
        )
    if step in ("cancel", "end"):
        steering.skip_cancelled(here.rt.engine, here.now)
    said = {
        "pause": _("已暂停，在批次之间生效；已经交给平台的照常发出。"),
        "resume": _("已继续发送。"),
        "cancel": _("已取消这次发送，没有用掉的名额退回。"),
        "skip": _("下一波不发了。"),
        "end": _("活动已终止，后续波次不再发送。"),
    }
    return done(said[step], "campaign", campaign_id=campaign_id)


@page("/campaigns/<int:campaign_id>/follow-up", "campaigns.write", methods=("GET", "POST"))
def campaign_follow_up(here: Here, campaign_id: int) -> Answer | str | tuple[str, int]:
    """Let the next wave say something else; it is reviewed again before it goes."""
    errors: Mapping[str, str] = {}
    with db.writing(here.rt.engine) as session:
        campaign = known(session, here, campaign_id)
        coming = _coming(session, here, campaign)
        step = rounds.follow_up(campaign, coming.number) or {}
        said = step.get("content") or campaign.content
        text = request.form.get("text", said.get("text", ""))
        if request.method == "POST":
            content = {"text": text.strip()}
            try:
                steering.change_round(session, here.account.id, campaign.name, content, here.now)
            except Invalid as problem:
                errors = {"text": told(problem.message)}
            else:
                here.audit(
                    session,
                    "campaign.edit",
                    f"campaign:{campaign.name}",
                    before={"content": dict(said)},
                    after={"content": content, "round": coming.number},
                )
    if request.method == "POST" and not errors:
        return done(
            _("下一波的内容已修改，发送前需要重新审批。"), "campaign", campaign_id=campaign_id
        )
    body = render_template(
        "campaigns/follow_up.html",
        campaign=campaign,
        coming=coming,
        text=text,
        plain="text" in said,
        longest=LONGEST,
        errors=errors,
    )
    return (body, 422) if errors else body


@page("/campaigns/<int:campaign_id>/winner", "campaigns.write", methods=("GET", "POST"))
def campaign_winner(here: Here, campaign_id: int) -> Answer | str:
    """An operator says which variant the rest gets: asks first."""
    variant = request.values.get("variant", "")
    with db.writing(here.rt.engine) as session:
        campaign = known(session, here, campaign_id)
        first = live.picture(session, campaign, here.now).first
        if first is None:
            missing()
        if request.method == "GET":
            return _ask_winner(campaign, first, variant)
        trials.choose_winner(session, first.id, variant, here.now)
        here.audit(
            session,
            "campaign.winner",
            f"campaign:{campaign.name}",
            after={"variant": variant, "reason": request.form.get("reason", "")[:200]},
        )
    text = _("其余的人会收到 %(name)s。", name=variant)
    return done(text, "campaign", campaign_id=campaign_id, tab="experiment")


@page("/campaigns/<int:campaign_id>/readers", "campaigns.write", methods=("POST",))
def campaign_readers(here: Here, campaign_id: int) -> Answer:
    """Write down how many read it, as the platform's own site shows; empty takes the number back."""
    given = request.form.get("people", "").replace(",", "").strip()
    people = whole(given)
    with db.writing(here.rt.engine) as session:
        campaign = known(session, here, campaign_id)
        if given and people is None:
            raise Invalid("people", "must be a whole number from 0")
        before = funnel.readers(session, campaign)
        funnel.enter_readers(session, campaign, people, here.now)
        here.audit(
            session,
            "campaign.readers",
            f"campaign:{campaign.name}",
            before={"people": before},
            after={"people": people},
        )
    return done(_("已记下阅读人数。"), "campaign", campaign_id=campaign_id, tab="funnel")


@page("/stop", "campaigns.stop", methods=("GET", "POST"))
def emergency_stop(here: Here) -> Answer | str:
    """Stop every send of the account at once, from any page; going on again is in the account's settings."""
    with db.writing(here.rt.engine) as session:
        if request.method == "GET":
            waiting = accounts.waiting_sends(session, here.account.id)
            return confirm(
                _("紧急停止"),
                [
                    _(
                        "「%(name)s」的一切主动发送马上停下：群发、客服消息、定时活动。",
                        name=here.account.name,
                    ),
                    _(
                        "发件箱里等着的 %(count)s 条留在原处，恢复后没过期的会继续发。粉丝来消息时的被动回复照常。",
                        count=waiting,
                    ),
                ],
                action=url_for("console.emergency_stop"),
                button=_("马上停止发送"),
                back=url_for("console.campaigns_list"),
            )
        reason = request.form.get("reason", "").strip()[:200] or _("在后台停止")
        accounts.stop(session, here.account.id, reason, here.now)
        here.audit(session, "account.stop", here.account.slug, after={"reason": reason})
    return done(_("已停止一切主动发送，被动回复照常。"), "campaigns_list")


def _do(session: Session, here: Here, step: str, campaign: Campaign, picture: Picture) -> None:
    if step == "skip":
        steering.skip_round(session, here.account.id, campaign.name, here.now)
        return
    if step == "end":
        steering.end(session, here.account.id, campaign.name, here.now)
        return
    current = picture.current
    if current is None or not current.open:
        raise Refused("nothing of this campaign is under way")
    work: Mapping[str, Callable[[Session, int, datetime], None]] = {
        "pause": steering.pause,
        "resume": steering.resume,
        "cancel": steering.cancel,
    }
    work[step](session, current.id, here.now)


def _ask_winner(campaign: Campaign, first: RunPicture, variant: str) -> str:
    if variant not in [arm["name"] for arm in (campaign.experiment or {}).get("variants", ())]:
        missing()
    tested = campaign.experiment_channels()
    rest = sum(line.waiting for line in first.channels if line.name in tested)
    rest -= sum(line.waiting for line in first.variants)
    return confirm(
        _("选定版本 %(name)s", name=variant),
        [_("其余还没有发的 %(count)s 人都会收到它，选定后不能再改。", count=f"{rest:,}")],
        action=url_for("console.campaign_winner", campaign_id=campaign.id),
        button=_("选定"),
        back=url_for("console.campaign", campaign_id=campaign.id, tab="experiment"),
        hidden={"variant": variant},
    )


def _coming(session: Session, here: Here, campaign: Campaign) -> Any:
    try:
        return steering.next_round(session, here.account.id, campaign.name)
    except Refused:
        missing()


def _ask(step: str, campaign: Campaign, picture: Picture) -> str:
    current = picture.current
    waiting = f"{current.total.waiting:,}" if current else "0"
    sent = f"{current.total.handed_over:,}" if current else "0"
    slots = sum(line.waiting for line in current.channels if line.name == "mass") if current else 0
    told_of: dict[str, tuple[str, list[str], str]] = {
        "pause": (
            _("暂停「%(name)s」", name=campaign.name),
            [
                _("还没有发的 %(count)s 人先不发；已经发出的 %(sent)s 人收不回来。", count=waiting, sent=sent),
                _("占用的名额留着，继续发送时照用。"),
            ],
            _("暂停"),
        ),
        "resume": (
            _("继续发送「%(name)s」", name=campaign.name),
            [_("还没有发的 %(count)s 人继续发送。", count=waiting)],
            _("继续发送"),
        ),
        "cancel": (
            _("取消「%(name)s」这一波", name=campaign.name),
            [
                _("还没有发的 %(count)s 人不再发送，不能恢复。", count=waiting),
                _("已经发出的 %(sent)s 人收不回来。", sent=sent),
                _("退回 %(count)s 个群发名额。", count=f"{slots:,}"),
            ],
            _("取消发送"),
        ),
        "skip": (
            _("跳过「%(name)s」的下一波", name=campaign.name),
            [_("下一波不再发送；再后面的波次照原计划。")],
            _("跳过"),
        ),
        "end": (
            _("终止「%(name)s」", name=campaign.name),
            [
                _("还没有发的 %(count)s 人不再发送，后续波次全部取消，不能恢复。", count=waiting),
                _("退回 %(count)s 个群发名额。", count=f"{slots:,}"),
            ],
            _("终止活动"),
        ),
    }  # fmt: skip
    title, what, button = told_of[step]
    return confirm(
        title,
        what,
        action=url_for("console.campaign_step", campaign_id=campaign.id, step=step),
        button=button,
        back=url_for("console.campaign", campaign_id=campaign.id),
    )
