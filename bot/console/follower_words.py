"""Followers in words: where somebody came from, what gave a tag, and each entry of a timeline."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l

from bot.console import why, words
from bot.console.telling import told
from bot.timeline import Entry

# the platform's words for where a follow came from
# Source: docs/wechat-limits.md 5 (page userinfo; read 2026-11).
SOURCES = {
    "ADD_SCENE_SEARCH": _l("公众号搜索"),
    "ADD_SCENE_ACCOUNT_MIGRATION": _l("公众号迁移"),
    "ADD_SCENE_PROFILE_CARD": _l("名片分享"),
    "ADD_SCENE_QR_CODE": _l("扫描二维码"),
    "ADD_SCENE_PROFILE_LINK": _l("图文页内名称点击"),
    "ADD_SCENE_PROFILE_ITEM": _l("图文页右上角菜单"),
    "ADD_SCENE_PAID": _l("支付后关注"),
    "ADD_SCENE_WECHAT_ADVERTISEMENT": _l("微信广告"),
    "ADD_SCENE_REPRINT": _l("他人转载"),
    "ADD_SCENE_LIVESTREAM": _l("视频号直播"),
    "ADD_SCENE_CHANNELS": _l("视频号"),
    "ADD_SCENE_WXA": _l("小程序关注"),
    "ADD_SCENE_OTHERS": _l("其他"),
}
OPENED_BY = {
    "message": _l("发消息"),
    "menu": _l("点菜单"),
    "follow": _l("关注"),
    "scan": _l("扫码"),
}
CHANNEL = {"customer_service": _l("客服消息"), "mass": _l("群发")}
EVENT = {
    "subscribe": _l("关注"),
    "unsubscribe": _l("取消关注"),
    "message": _l("发来消息"),
    "scan": _l("扫码"),
    "menu_click": _l("点菜单"),
    "menu_view": _l("打开菜单网页"),
    "click": _l("点击链接"),
    "goal": _l("达成活动目标"),
    "hand_over": _l("转人工"),
}
ICON = {
    "subscribe": "person",
    "unsubscribe": "x-lg",
    "scan": "qr-code",
    "click": "link-45deg",
    "goal": "check-lg",
    "message": "chat-left-text",
    "menu_click": "menu-button-wide",
    "menu_view": "menu-button-wide",
}
ACTION = {
    "follower.edit": _l("修改资料"),
    "follower.tag": _l("添加标签"),
    "follower.untag": _l("移除标签"),
    "follower.opt_out": _l("设为不接收营销"),
    "follower.opt_in": _l("恢复接收营销"),
    "follower.export": _l("导出个人资料"),
    "follower.erase": _l("删除个人资料"),
}
PURPOSE = {
    "reply": _l("规则的追加回复"),
    "later": _l("规则的延时消息"),
    "agent": _l("客服回复"),
    "preview": _l("预览"),
}
OUTBOX = {
    "waiting": _l("待发送"),
    "sending": _l("发送中"),
    "sent": _l("已送达"),
    "failed": _l("没有送达"),
    "unknown": _l("结果未知"),
    "expired": _l("窗口已过，没有发出"),
    "cancelled": _l("已取消"),
}


@dataclass(frozen=True, slots=True)
class Told:
    """One entry of a timeline as its template draws it. ``push_id``: what it came of, where that is another entry."""

    at: datetime
    anchor: str
    icon: str
    title: str
    level: str = ""
    text: str = ""
    answer: Mapping[str, Any] | None = None
    rules: tuple[str, ...] = ()
    why: str = ""
    steps: tuple[str, ...] = ()
    push_id: int | None = None


def source(key: str | None, scenes: Mapping[str, str]) -> str:
    """Where a follow came from: the QR code's name, or the platform's word."""
    if not key:
        return ""
    return str(scenes.get(key) or SOURCES.get(key) or key)


def origin(text: str, scenes: Mapping[str, str]) -> str:
    """What gave a tag, as ``follower_tags.origin`` keeps it."""
    kind, _colon, name = text.partition(":")
    if kind == "rule":
        return str(_("规则「%(name)s」", name=name))
    if kind == "scene":
        return str(_("扫码「%(name)s」", name=scenes.get(name, name)))
    if kind == "operator":
        return str(_("%(name)s 手工添加", name=name))
    if kind == "import":
        return str(_("%(name)s 导入", name=name) if name else _("导入"))
    if kind == "platform":
        return str(_("来自公众平台"))
    return text


def entry(one: Entry, scenes: Mapping[str, str]) -> Told:
    """One thing that happened, in words."""
    return _TELL[one.source](one, scenes)


def _push(one: Entry, scenes: Mapping[str, str]) -> Told:
    data = one.data
    kind = data["kind"]
    fields = data["message"].get("fields") or {}
    reason = why.told(data["trace"])
    said = words.said(kind, fields)
    if kind in ("subscribe", "scan"):
        said = source(said.removeprefix("qrscene_"), scenes)
    failed = data["status"] == "failed"
    return Told(
        one.at,
        f"push-{one.id}",
        "chat-left-text" if kind == "text" else "broadcast",
        str(words.KIND.get(kind, kind)),
        level="bad" if failed else "",
        text=said if data["message"] else _("内容已删除"),
        answer=data["reply"],
        rules=tuple(data["rules"]),
        why=_("处理失败") if failed else reason["why"],
        steps=tuple(reason["steps"]),
    )


def _tag(one: Entry, scenes: Mapping[str, str]) -> Told:
    return Told(
        one.at,
        f"tag-{one.id}",
        "tag",
        _("获得标签「%(name)s」", name=one.data["name"]),
        text=origin(one.data["origin"], scenes),
        push_id=one.push_id,
    )


def _message(one: Entry, _scenes: Mapping[str, str]) -> Told:
    data = one.data
    by = f" · {data['by']}" if data.get("by") else ""
    status = str(OUTBOX.get(data["status"], data["status"]))
    if data["error"] and data["status"] != "sent":
        status = f"{status}{_('：')}{told(data['error'])}"
    return Told(
        one.at,
        f"message-{one.id}",
        "send",
        f"{PURPOSE.get(data['purpose'], data['purpose'])}{by}",
        level="" if data["status"] == "sent" else "warn",
        text=status,
        answer=data["content"],
        push_id=one.push_id,
    )


def _delivery(one: Entry, _scenes: Mapping[str, str]) -> Told:
    data = one.data
    status = words.DELIVERY.get(data["status"], data["status"])
    reason = words.REASON.get(data["reason"], data["reason"]) if data["reason"] else ""
    channel = str(CHANNEL.get(data["channel"], data["channel"] or ""))
    slot = _("占用 1 个名额") if data["slot"] else ""
    told_by = [
        f"{status}{_('：')}{reason}" if reason else str(status),
        channel,
        slot,
        f"errcode {data['errcode']}" if data["errcode"] else "",
    ]
    return Told(
        one.at,
        f"delivery-{one.id}",
        "megaphone",
        _("活动「%(name)s」", name=data["campaign"]),
        level="good" if data["status"] == "sent" else "warn",
        text=" · ".join(part for part in told_by if part),
        answer=data["content"] if data["status"] == "sent" else None,
    )


def _event(one: Entry, scenes: Mapping[str, str]) -> Told:
    data = one.data
    key = data["key"] or ""
    if data["kind"] in ("subscribe", "scan"):
        key = source(key, scenes)
    number = "" if data["number"] is None else f"{data['number']:g}"
    return Told(
        one.at,
        f"event-{one.id}",
        ICON.get(data["kind"], "clock-history"),
        str(EVENT.get(data["kind"], data["kind"])),
        text=" · ".join(part for part in (str(key), number) if part),
    )


def _change(one: Entry, _scenes: Mapping[str, str]) -> Told:
    data = one.data
    title = str(ACTION.get(data["action"], data["action"]))
    return Told(
        one.at,
        f"change-{one.id}",
        "pencil",
        _("%(by)s：%(what)s", by=data["by"], what=title),
        text=_differences(data["before"], data["after"]),
    )


def _differences(before: Any, after: Any) -> str:
    if not isinstance(before, dict) or not isinstance(after, dict):
        return ""
    parts = []
    for name in {**before, **after}:
        old, new = before.get(name), after.get(name)
        label = {"remark": _("备注"), "tag": _("标签")}.get(name, name)
        parts.append(
            f"{label}{_('：')}{_shown(old)} → {_shown(new)}"
            if old
            else f"{label}{_('：')}{_shown(new)}"
        )
    return str(_("；")).join(parts)


def _shown(value: Any) -> str:
    return "—" if value in (None, "") else str(value)


_TELL = {
    "push": _push,
    "tag": _tag,
    "message": _message,
    "delivery": _delivery,
    "event": _event,
    "change": _change,
}
