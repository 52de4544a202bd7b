"""What the wizard explains: its steps, the five factors, channels with their limits, reasons in a sentence."""

from collections.abc import Mapping
from typing import Any

from flask_babel import lazy_gettext as _l

STEPS = (
    _l("活动评估"),
    _l("锁定人群"),
    _l("预估触达"),
    _l("匹配渠道"),
    _l("综合排期"),
)
# factor -> label, what to write, an example
FACTORS: Mapping[str, tuple[Any, Any, Any]] = {
    "participation": (
        _l("参与方式"),
        _l("粉丝要做什么才算参加。"),
        _l("在品牌微博下留言"),
    ),
    "benefit": (_l("核心利益"), _l("粉丝得到什么。"), _l("奈雪の茶 8 元券")),
    "strength": (
        _l("优惠力度"),
        _l("值多少、有多少份、人人有还是抽。"),
        _l("8 元，人人有，共 3,000 份"),
    ),
    "time": (_l("活动时间"), _l("从什么时候到什么时候，有没有截止。"), _l("11-14 到 11-19")),
    "path": (
        _l("用户路径"),
        _l("从看到消息到完成，一步一步写；每多一步，少一些人。"),
        _l("消息 → 点链接 → 微博留言 → 领券"),
    ),
}
# channel -> what it is good for, what limits it (docs/wechat-limits.md 8, 9, 10; read 2026-11)
CHANNELS: Mapping[str, tuple[Any, Any]] = {
    "customer_service": (
        _l("像聊天一样到达，打开率最高，不占群发名额，可以写称呼和每人不同的链接。"),
        _l("只有 48 小时内给我们发过消息的粉丝，每人最多 5 条；窗口一过就发不了。"),
    ),
    "subscription": (
        _l("粉丝自己要的提醒，不占群发名额。"),
        _l("同意一次发一条；只能发他同意的那个模板的服务通知，不能写营销内容。"),
    ),
    "template": (
        _l("到达所有关注者，不占群发名额。"),
        _l("只给已认证的服务号，只能是服务通知；用来营销会被平台收回接口。"),
    ),
    "mass": (
        _l("到达所有还有名额的粉丝，是唯一能一次告诉很多人的渠道。"),
        _l("每人每月最多 4 条，和公众平台官网一起算；所有人内容相同，不能写称呼和每人的链接。"),
    ),
    "article": (
        _l("发布文章，不推送，不占名额；之后可以从菜单、自动回复里打开。"),
        _l("没有人会收到提醒，要靠别的入口带去。"),
    ),
    "webhook": (
        _l("交给短信等别的系统去发。"),
        _l("发没发到由对方告诉我们；要先在公众号设置里填好对方的地址。"),
    ),
}
# reason -> why these people get nothing, and what would help
REASONS: Mapping[str, Any] = {
    "left": _l("已经取消关注。"),
    "opted_out": _l("发过退订，回复订阅之前不再打扰。"),
    "holdout": _l("随机留下不发，用来看清活动本身带来多少；换一次计算也还是这些人。"),
    "cap": _l("最近收到的活动已经到了频次上限。"),
    "no_window": _l("48 小时内没有给我们发过消息，也没有别的渠道能到。"),
    "no_consent": _l("没有订阅这个通知。"),
    "no_slot": _l("这个月的 4 次群发已经用完或被占用。"),
    "held_for_other": _l("剩下的名额已经留给排在后面的活动。"),
    "no_channel": _l("选的渠道都到不了他们。"),
}


def channel_about(name: str) -> tuple[Any, Any]:
    """(what a channel is good for, what limits it); a plug-in's has no words here."""
    return CHANNELS.get(name, ("", ""))


def reason_about(name: str) -> Any:
    """A reason in a sentence."""
    return REASONS.get(name, "")
