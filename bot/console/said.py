"""What was said in a conversation, in words: one line of the inbox, one bubble of the page."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l

from bot import received_media
from bot.console import words
from bot.console.telling import told
from bot.conversations import MESSAGES, Bubble
from bot.wechat.errcodes import verdict

LONGEST = 80  # characters of a line in the inbox
WHO = {
    "reply": _l("规则"),
    "later": _l("规则（延时）"),
    "preview": _l("预览"),
    "fallback": _l("兜底回复"),
    "system": _l("系统"),
}


@dataclass(frozen=True, slots=True)
class Drawn:
    """A bubble as its template draws it. ``note``: no bubble, but a line between them.

    ``media``: picture, voice, video or "" ; ``push_id`` is whose file it is; ``file`` is an agent's.
    """

    at: datetime
    ours: bool
    note: str = ""
    text: str = ""
    media: str = ""
    push_id: int | None = None
    file: str = ""
    who: str = ""
    status: str = ""
    bad: bool = False


def in_line(kind: str, fields: Mapping[str, Any]) -> str:
    """The newest message in one line."""
    text = words.said(kind, fields)
    if kind == "text":
        return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"
    return f"{words.boxed(words.KIND.get(kind, kind))}{text[:LONGEST]}" if kind else _("已删除")


def remaining(ends_at: datetime | None, now: datetime) -> str:
    """How long a window stays open, to the minute."""
    if ends_at is None or ends_at <= now:
        return ""
    minutes = int((ends_at - now).total_seconds()) // 60
    if minutes < 1:
        return str(_("不到 1 分钟"))
    hours, minutes = divmod(minutes, 60)
    if not hours:
        return str(_("%(minutes)s 分钟", minutes=minutes))
    return str(_("%(hours)s 小时 %(minutes)s 分", hours=hours, minutes=minutes))


def drawn(bubble: Bubble, now: datetime) -> Drawn:
    """A bubble in words."""
    if bubble.kind == "erased":
        return Drawn(bubble.at, bubble.ours, note=_("内容已删除"))
    return _ours(bubble) if bubble.ours else _theirs(bubble, now)


def _theirs(bubble: Bubble, now: datetime) -> Drawn:
    fields = bubble.content
    if bubble.kind not in MESSAGES:
        text = words.said(bubble.kind, fields)
        kind = words.KIND.get(bubble.kind, bubble.kind)
        return Drawn(bubble.at, False, note=f"{kind} {text[:60]}".strip())
    if bubble.kind in received_media.KINDS:
        kept = not received_media.gone(bubble.at, now)
        media = "video" if bubble.kind == "short_video" else bubble.kind
        text = words.said(bubble.kind, fields)
        if not kept:
            lost = _(
                "［%(kind)s］平台只保留 3 天，没有看过的取不到了。", kind=words.KIND[bubble.kind]
            )
            return Drawn(bubble.at, False, text=text, media=media, push_id=bubble.id, status=lost)
        return Drawn(bubble.at, False, text=text, media=media, push_id=bubble.id)
    if bubble.kind == "location":
        place = [
            fields.get("Label"),
            f"{fields.get('Location_X', '')}, {fields.get('Location_Y', '')}",
        ]
        return Drawn(
            bubble.at, False, text=_("位置：") + " ".join(str(one) for one in place if one)
        )
    if bubble.kind == "link":
        parts = [fields.get("Title"), fields.get("Description"), fields.get("Url")]
        return Drawn(bubble.at, False, text="\n".join(str(one) for one in parts if one))
    return Drawn(bubble.at, False, text=str(fields.get("Content", "")))


def _ours(bubble: Bubble) -> Drawn:
    content = bubble.content
    text = words.replied(content)
    file = ""
    if bubble.kind == "image":
        file = str(content["image"].get("file") or "")
    elif bubble.kind == "news":
        news = content["news"]
        text = "\n".join(
            str(news[part]) for part in ("title", "description", "url") if news.get(part)
        )
    status, bad = _status(bubble)
    return Drawn(
        bubble.at,
        True,
        text="" if file else text,
        file=file,
        who=_who(bubble.who),
        status=status,
        bad=bad,
    )


def _who(who: str) -> str:
    kind, _colon, name = who.partition(":")
    if kind == "agent":
        return name
    if kind == "rule":
        return str(_("规则「%(name)s」", name=name))
    if kind == "campaign":
        return str(_("活动「%(name)s」", name=name))
    return str(WHO.get(who, who))


def _status(bubble: Bubble) -> tuple[str, bool]:
    """What became of a message, in words, and whether it did not arrive."""
    if bubble.status == "sent":
        return "", False
    if bubble.status in ("waiting", "sending"):
        return (_("待发送"), False) if bubble.status == "waiting" else (_("发送中"), False)
    if bubble.status == "failed":
        if bubble.errcode is not None:
            why = f"{verdict(bubble.errcode).text_zh} ({bubble.errcode})"
        else:
            why = told(bubble.error or "")
        return _("没有送达：%(why)s", why=why), True
    known = {
        "unknown": _("平台没有回答，不知道是否送达"),
        "expired": _("窗口已过，没有发出"),
        "cancelled": _("已取消"),
    }
    return known.get(bubble.status, bubble.status), True
