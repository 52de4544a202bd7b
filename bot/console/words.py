"""What operators read instead of the program's words."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from bot.campaigns.status import explain
from bot.clock import local
from bot.registry import members
from rules.model import CONDITIONS

CAMPAIGN = {
    "draft": "草稿",
    "scheduled": "已排期",
    "stopped": "已停用",
    "finished": "已结束",
    "archived": "已归档",
}
RUN = {
    "waiting": "等待审批",
    "planning": "计算中",
    "running": "发送中",
    "paused": "已暂停",
    "finished": "已完成",
    "cancelled": "已取消",
}
DELIVERY = {
    "planned": "待发",
    "sent": "已发",
    "failed": "失败",
    "unknown": "结果未知",
    "skipped": "未触达",
}
REASON = {
    "left": "已取关",
    "opted_out": "已退订",
    "holdout": "对照组",
    "cap": "超过频次上限",
    "no_window": "不在客服窗口",
    "no_consent": "未订阅通知",
    "no_slot": "本月名额用完",
    "held_for_other": "名额留给其他活动",
    "batch_of_one": "只剩一人，平台不接受",
    "expired": "窗口已过",
    "cancelled": "已取消",
}
KIND = {
    "text": "文字",
    "image": "图片",
    "voice": "语音",
    "video": "视频",
    "short_video": "小视频",
    "location": "位置",
    "link": "链接",
    "subscribe": "关注",
    "unsubscribe": "取关",
    "scan": "扫码",
    "menu_click": "点菜单",
    "menu_view": "菜单跳转",
    "menu_mini_program": "菜单小程序",
    "scancode_push": "菜单扫码",
    "scancode_wait": "菜单扫码",
    "picture_camera": "菜单拍照",
    "picture_album": "菜单选图",
    "picture_wechat": "菜单选图",
    "location_select": "菜单选位置",
    "location_report": "上报位置",
    "mass_finished": "群发结果",
    "template_finished": "模板消息结果",
    "publish_finished": "发布结果",
    "subscription_popup": "订阅通知授权",
    "subscription_changed": "订阅通知变更",
    "subscription_sent": "订阅通知结果",
    "agent_session_opened": "客服接入",
    "agent_session_closed": "客服结束",
    "agent_session_switched": "客服转接",
    "authorisation_modified": "授权资料变更",
    "authorisation_revoked": "授权撤回",
    "authorisation_cancelled": "粉丝注销",
    "verification": "认证",
    "unknown": "未知类型",
}
REPLY = {
    "image": "图片",
    "voice": "语音",
    "video": "视频",
    "music": "音乐",
    "news": "图文",
    "hand_over": "转人工",
}
HEALTH = {
    "database": "数据库连不上。",
    "scheduler": "定时任务没有动静，活动不会按时发出：请确认 qunfen run 或 qunfen scheduler 在运行。",
    "redis": "Redis 连不上，登录限速和凭据共享停了。",
    "rulebooks": "规则没有生效，仍在用旧的一版",
}


def condition(name: str) -> str:
    """A condition as operators know it; why a rule was passed over without asking its conditions."""
    if name in ("disabled", "active"):
        return {"disabled": "规则已停用", "active": "不在生效时间"}[name]
    member = members(CONDITIONS).get(name)
    return str(member.LABEL["zh"]) if member is not None else name


def said(kind: str, fields: Mapping[str, Any]) -> str:
    """What a push says, in one line."""
    if kind == "mass_finished":
        return f"{fields.get('Status', '')}，发出 {fields.get('SentCount', '?')}"
    for name in ("Content", "Recognition", "EventKey", "Title", "Label"):
        if isinstance(fields.get(name), str) and fields[name]:
            return str(fields[name])
    return ""


def replied(reply: Mapping[str, Any] | None) -> str:
    """A reply in one line: a text, or what kind of thing was sent."""
    if not reply:
        return ""
    kind, value = next(iter(reply.items()))
    return str(value) if kind == "text" else f"［{REPLY.get(kind, kind)}］"


def moment(value: datetime) -> str:
    """A moment on the Shanghai clock, as lists show it."""
    return f"{local(value):%m-%d %H:%M:%S}"


def dated(value: datetime) -> str:
    """The same with its year and without seconds: for what may be years ago."""
    return f"{local(value):%Y-%m-%d %H:%M}"


FILTERS: dict[str, Callable[..., Any]] = {
    "moment": moment,
    "dated": dated,
    "explain": explain,
    "campaign_word": lambda word: CAMPAIGN.get(word, word),
    "run_word": lambda word: RUN.get(word, word),
    "delivery_word": lambda word: DELIVERY.get(word, word),
    "reason_word": lambda word: REASON.get(word, word),
    "kind_word": lambda word: KIND.get(word, word),
}
