"""What a campaign's pages say in words: what comes next, what the guard saw, who wins, why somebody got nothing."""

from collections.abc import Mapping, Sequence
from typing import Any

from flask_babel import gettext
from flask_babel import lazy_gettext as _l

from bot.campaigns.definitions import Campaign
from bot.campaigns.live import Picture, RunPicture
from bot.campaigns.recipients import Recipient
from bot.clock import parse_moment
from bot.console.channel_words import REFUSALS, channel_label
from bot.console.words import DELIVERY, REASON, moment

STEPS = {
    "planned": _l("计划"),
    "sent": _l("发出"),
    "delivered": _l("送达"),
    "opened": _l("阅读"),
    "guided": _l("引导"),
}
# why a number is missing, in words of what WeChat gives
UNKNOWN = {
    "delivered": _l("平台的群发结果还没有回来"),
    "opened": _l("无法测量：微信不提供文字消息的阅读人数；可以把公众平台显示的人数填进来"),
}
NOT_RECORDED = _l("还没有记录：由规则「记录事件」产生，或导入名单")
VERDICTS = {
    "winner": _l("胜出，差异可信"),
    "chosen": _l("由运营人员选定"),
    "no_difference": _l("没有可信的差异"),
    "below_min_sample": _l("样本还不够，不下结论"),
    "one_arm": _l("只有一个版本送达"),
}
MASS = "mass"


def _(text: str, **values: Any) -> str:
    """A sentence in the operator's language, as plain text."""
    return str(gettext(text, **values))


def reason_words(status: str, reason: str, channels: Sequence[str]) -> str:
    """One line of the table of reasons. Where several channels were tried, none of them could reach these people."""
    if status != "skipped":
        return str(DELIVERY.get(status, status))
    if reason in ("no_window", "no_consent") and len(channels) > 1:
        return no_way(channels)
    return str(REASON.get(reason, reason))


def no_way(channels: Sequence[str]) -> str:
    """Why no channel of a campaign reaches somebody: each channel's own reason."""
    told = {
        "customer_service": _("不在客服窗口"),
        "subscription": _("没有订阅授权"),
        MASS: _("本月群发名额用完或留给其他活动"),
        "template": _("没有模板消息可发"),
    }
    return _("、").join(str(told.get(name, channel_label(name))) for name in channels)


def why(one: Recipient, campaign: Campaign, run: RunPicture) -> str:
    """A sentence on one follower of a run: how they got it, or why not."""
    if one.status == "skipped":
        return _why_not(one, campaign, run)
    name = channel_label(one.channel or "")
    if one.status == "planned":
        return _("%(channel)s，等待发送", channel=name)
    if one.status in ("failed", "unknown"):
        said = REFUSALS.get(one.errcode or 0)
        told = str(said) if said else _("平台没有收下")
        code = _("（%(said)s）", said=one.errcode) if one.errcode else ""
        return _("%(channel)s：%(said)s%(code)s", channel=name, said=told, code=code)
    if one.channel == MASS and one.batch != "finished":
        return _("%(channel)s，平台还没有回报结果", channel=name)
    return _("%(channel)s，已发出", channel=name)


def _why_not(one: Recipient, campaign: Campaign, run: RunPicture) -> str:
    channels = channels_of(campaign, run.number)
    if one.reason in ("no_window", "no_consent") and len(channels) > 1:
        told = {
            "customer_service": _("不在客服窗口"),
            "subscription": _("没有订阅授权"),
            MASS: _("本月剩余名额 %(left)s", left=one.slots_left if one.slots_left else 0),
        }
        return _("；").join(str(told.get(name, channel_label(name))) for name in channels)
    return str(REASON.get(one.reason or "", one.reason))


def channels_of(campaign: Campaign, number: int) -> Sequence[str]:
    """The channels of a round."""
    steps = campaign.follow_ups or ()
    if 2 <= number <= len(steps) + 1:
        named: Sequence[str] = steps[number - 2]["channels"]
        return named
    return campaign.channels


def next_step(picture: Picture) -> str:
    """What happens next by itself, and when."""
    run = picture.current
    if run is None:
        due = picture.campaign.next_due_at
        return _("%(at)s 开始", at=moment(due)) if due else _("还没有排期")
    if run.status == "waiting":
        return _("审批通过后开始")
    if run.status == "planning":
        return _("正在计算谁走哪个渠道")
    if run.status == "paused":
        return _("已暂停：点「继续发送」后接着发")
    if run.status == "running":
        if run.next_at is not None:
            return _("%(at)s 观察取关后放行下一批", at=moment(run.next_at))
        return _("正在发送")
    if picture.next_round is not None:
        return _(
            "第 %(number)s 波 %(at)s 开始",
            number=picture.next_round.number,
            at=moment(picture.next_round.due_at),
        )
    return _("已全部发完")


def guard_line(looks: Sequence[Mapping[str, Any]]) -> str:
    """What the guard saw at its last look, in one sentence."""
    if not looks:
        return _("还没有观察")
    look = looks[0]
    told = _(
        "%(at)s：送达 %(delivered)s 人中 %(gone)s 人取关（平时约 %(usual)s 人）；发 %(sent)s 条失败 %(errors)s 条。",
        at=moment(look["at"]),
        delivered=f"{look.get('delivered', 0):,}",
        gone=look.get("unfollows", 0),
        usual=f"{look.get('expected_unfollows', 0):.1f}",
        sent=f"{look.get('sent', 0):,}",
        errors=look.get("errors", 0),
    )
    return told + (_("超过界线，已停。") if look.get("stop") else _("在界线以内，继续。"))


def stages_line(run: RunPicture) -> str:
    """How far the guard has opened a run that goes out in parts; empty where it goes out at once."""
    stages = list((run.guard or {}).get("stages", ()))
    if len(stages) < 2:
        return ""
    stage = int((run.guard or {}).get("stage", 0))
    return _(
        "分 %(count)s 批放行：%(sizes)s 人，现在第 %(stage)s 批。",
        count=len(stages),
        sizes=" → ".join(f"{size:,}" for size in stages),
        stage=min(stage + 1, len(stages)),
    )


def decided(run: RunPicture, campaign: Campaign) -> str:
    """The verdict of an experiment, or what it waits for."""
    experiment = campaign.experiment or {}
    decision = dict(run.decision or {})
    if "reason" not in decision:
        begun = decision.get("from")
        after = experiment.get("decide_after", "24h")
        if begun:
            return _(
                "%(at)s 发出后 %(after)s 判定，每个版本至少送达 %(least)s 人",
                at=moment(parse_moment(begun)),
                after=after,
                least=experiment.get("min_sample", 400),
            )
        return _("还没有发出")
    word = str(VERDICTS.get(decision["reason"], decision["reason"]))
    if run.winner:
        return _("%(name)s %(word)s", name=run.winner, word=word)
    if decision.get("leading"):
        return _("%(word)s；%(name)s 暂时领先", word=word, name=decision["leading"])
    return word


def step_name(name: str) -> str:
    """A step of the funnel: ours in words, an event as it is called."""
    return str(STEPS.get(name, name))


def step_unknown(name: str) -> str:
    """Why a step has no number."""
    return str(UNKNOWN.get(name, NOT_RECORDED))
