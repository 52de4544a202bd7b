"""What operators read instead of the program's words."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from flask_babel import get_locale
from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l

from bot.campaigns import status
from bot.clock import local
from bot.params import seconds_of
from bot.registry import members
from rules.model import CONDITIONS

CAMPAIGN = {
    "draft": _l("草稿"),
    "scheduled": _l("已排期"),
    "stopped": _l("已停用"),
    "finished": _l("已结束"),
    "archived": _l("已归档"),
}
RUN = {
    "waiting": _l("等待审批"),
    "planning": _l("计算中"),
    "running": _l("发送中"),
    "paused": _l("已暂停"),
    "finished": _l("已完成"),
    "cancelled": _l("已取消"),
}
DELIVERY = {
    "planned": _l("待发"),
    "sent": _l("已发"),
    "failed": _l("失败"),
    "unknown": _l("结果未知"),
    "skipped": _l("未触达"),
}
REASON = {
    "left": _l("已取关"),
    "opted_out": _l("已退订"),
    "holdout": _l("对照组"),
    "cap": _l("超过频次上限"),
    "no_window": _l("不在客服窗口"),
    "no_consent": _l("未订阅通知"),
    "no_slot": _l("本月名额用完"),
    "held_for_other": _l("名额留给其他活动"),
    "batch_of_one": _l("只剩一人，平台不接受"),
    "expired": _l("窗口已过"),
    "cancelled": _l("已取消"),
    "no_channel": _l("选的渠道都到不了"),
}
KIND = {
    "text": _l("文字"),
    "image": _l("图片"),
    "voice": _l("语音"),
    "video": _l("视频"),
    "short_video": _l("小视频"),
    "location": _l("位置"),
    "link": _l("链接"),
    "subscribe": _l("关注"),
    "unsubscribe": _l("取关"),
    "scan": _l("扫码"),
    "menu_click": _l("点菜单"),
    "menu_view": _l("菜单跳转"),
    "menu_mini_program": _l("菜单小程序"),
    "scancode_push": _l("菜单扫码"),
    "scancode_wait": _l("菜单扫码"),
    "picture_camera": _l("菜单拍照"),
    "picture_album": _l("菜单选图"),
    "picture_wechat": _l("菜单选图"),
    "location_select": _l("菜单选位置"),
    "location_report": _l("上报位置"),
    "mass_finished": _l("群发结果"),
    "template_finished": _l("模板消息结果"),
    "publish_finished": _l("发布结果"),
    "subscription_popup": _l("订阅通知授权"),
    "subscription_changed": _l("订阅通知变更"),
    "subscription_sent": _l("订阅通知结果"),
    "agent_session_opened": _l("客服接入"),
    "agent_session_closed": _l("客服结束"),
    "agent_session_switched": _l("客服转接"),
    "authorisation_modified": _l("授权资料变更"),
    "authorisation_revoked": _l("授权撤回"),
    "authorisation_cancelled": _l("粉丝注销"),
    "verification": _l("认证"),
    "unknown": _l("未知类型"),
}
REPLY = {
    "image": _l("图片"),
    "voice": _l("语音"),
    "video": _l("视频"),
    "music": _l("音乐"),
    "news": _l("图文"),
    "hand_over": _l("转人工"),
}
# what the program itself notes beside a published version
NOTES = {"account file": _l("公众号文件")}
HEALTH = {
    "database": _l("数据库连不上。"),
    "scheduler": _l(
        "定时任务没有动静，活动不会按时发出：请确认 qunfen run 或 qunfen scheduler 在运行。"
    ),
    "workers": _l("后台任务没有人执行，消息不会发出：请确认 qunfen run 或 qunfen worker 在运行。"),
    "redis": _l("Redis 连不上：凭据和任务改走数据库，会慢一些，什么都不会丢。"),
    "rulebooks": _l("规则没有生效，仍在用旧的一版"),
}


def condition(name: str) -> str:
    """A condition as operators know it; why a rule was passed over without asking its conditions."""
    if name in ("disabled", "active"):
        return str({"disabled": _("规则已停用"), "active": _("不在生效时间")}[name])
    member = members(CONDITIONS).get(name)
    return str(member.LABEL[_language()]) if member is not None else name


def _language() -> str:
    locale = get_locale()
    return "en" if locale is not None and locale.language == "en" else "zh"


def said(kind: str, fields: Mapping[str, Any]) -> str:
    """What a push says, in one line."""
    if kind == "mass_finished":
        sent = fields.get("SentCount", "?")
        return str(_("%(status)s，发出 %(count)s", status=fields.get("Status", ""), count=sent))
    for name in ("Content", "Recognition", "EventKey", "Title", "Label"):
        if isinstance(fields.get(name), str) and fields[name]:
            return str(fields[name]).removeprefix("qrscene_" if kind == "subscribe" else "")
    return ""


def replied(reply: Mapping[str, Any] | None) -> str:
    """A reply in one line: a text, or what kind of thing was sent."""
    if not reply:
        return ""
    kind, value = next(iter(reply.items()))
    return str(value) if kind == "text" else boxed(REPLY.get(kind, kind))


def boxed(kind: Any) -> str:
    """What kind of thing stands there, where it cannot be shown itself."""
    return str(_("［%(kind)s］", kind=kind))


def moment(value: datetime) -> str:
    """A moment on the Shanghai clock, as lists show it."""
    return f"{local(value):%m-%d %H:%M:%S}"


def dated(value: datetime) -> str:
    """The same with its year and without seconds: for what may be years ago."""
    return f"{local(value):%Y-%m-%d %H:%M}"


def span(text: str) -> str:
    """``48h``, ``2d`` or ``30m`` in words, in the largest unit that needs no fraction."""
    seconds = seconds_of(text)
    if seconds % 86400 == 0:
        return str(_("%(count)s 天", count=seconds // 86400))
    if seconds % 3600 == 0:
        return str(_("%(count)s 小时", count=seconds // 3600))
    return str(_("%(minutes)s 分钟", minutes=seconds // 60))


def by_whom(name: str | None) -> str:
    """An operator, or what wrote it where nobody was logged in."""
    doors = {"file": _("公众号文件"), "cli": _("命令行")}
    return str(doors.get(name or "", name or "—"))


FILTERS: dict[str, Callable[..., Any]] = {
    "moment": moment,
    "dated": dated,
    "second": lambda moment: f"{local(moment):%H:%M:%S}",
    "explain": lambda reason: status.explain(reason, _language()),
    "campaign_word": lambda word: CAMPAIGN.get(word, word),
    "run_word": lambda word: RUN.get(word, word),
    "delivery_word": lambda word: DELIVERY.get(word, word),
    "reason_word": lambda word: REASON.get(word, word),
    "kind_word": lambda word: KIND.get(word, word),
    "approver": lambda name: _("公众号文件") if name == {"file": True} else str(name),
    "span": span,
    "by_whom": by_whom,
    "note_word": lambda note: NOTES.get(note, note),
}
