"""Any content as a phone shows it: plain data that ``campaigns/_phone.html`` draws. Knows no database."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from flask_babel import gettext as _

from bot import article_html
from bot import content as contents

SHORTEST_DIGEST = 54  # characters of the text the platform shows where no digest is written


@dataclass(frozen=True, slots=True)
class Phone:
    """One bubble. ``shape``: text card media menu notice. ``file``: a stored picture; ``lines``: (label, value)."""

    shape: str
    title: str = ""
    text: str = ""
    file: str = ""
    lines: tuple[tuple[str, str], ...] = ()
    buttons: tuple[str, ...] = ()
    foot: str = ""
    link: str = ""


def phone(
    content: Mapping[str, Any] | None,
    fields: Mapping[str, Any] | None = None,
    places: Mapping[str, str] | None = None,
) -> Phone | None:
    """A content as a follower with these fields sees it; ``places``: the words before each value of a template.

    None: there is nothing to show.
    """
    if not content:
        return None
    kind = contents.kind_of(content)
    known = _KINDS.get(kind)
    if known is None:
        return Phone("media", title=kind)
    try:
        shown = contents.render(content, fields or {}, link=lambda name: f"…/l/{name}")
        if kind == "notice":
            return _notice(shown[kind], places or {})
        found: Phone = known(shown[kind])
    except (AttributeError, KeyError, TypeError):  # half written: whatever is there will do
        return Phone("media", title=kind)
    return found


def _text(text: Any) -> Phone:
    return Phone("text", text=str(text))


def _picture(image: Mapping[str, Any]) -> Phone:
    return Phone("media", title=_("图片"), file=image.get("file", ""))


def _voice(voice: Mapping[str, Any]) -> Phone:
    return Phone("media", title=_("语音"), text=voice.get("file", ""))


def _video(video: Mapping[str, Any]) -> Phone:
    return Phone("card", title=video.get("title") or _("视频"), text=video.get("description", ""))


def _music(music: Mapping[str, Any]) -> Phone:
    return Phone("card", title=music.get("title") or _("音乐"), text=music.get("description", ""))


def _news(news: Mapping[str, Any]) -> Phone:
    return Phone(
        "card",
        title=news.get("title", ""),
        text=news.get("description", ""),
        link=news.get("url", ""),
    )


def _article(article: Mapping[str, Any]) -> Phone:
    draft = article.get("draft")
    if not draft:
        named = article.get("article") or article.get("media_id") or ""
        return Phone("card", title=str(named), foot=_("图文"))
    digest = draft.get("digest") or article_html.plain(draft.get("html", ""))[:SHORTEST_DIGEST]
    cover = (draft.get("cover") or {}).get("file", "")
    return Phone("card", title=draft.get("title", ""), text=digest, file=cover, foot=_("图文"))


def _mini_program(card: Mapping[str, Any]) -> Phone:
    cover = (card.get("cover") or {}).get("file", "")
    return Phone("card", title=card.get("title", ""), file=cover, foot=_("小程序"))


def _menu(menu: Mapping[str, Any]) -> Phone:
    items = [item.get("text", "") for item in menu.get("items", [])]
    return Phone("menu", text=menu.get("head", ""), buttons=tuple(items), foot=menu.get("tail", ""))


def _notice(notice: Mapping[str, Any], places: Mapping[str, str]) -> Phone:
    lines = tuple((places.get(key, key), value) for key, value in notice.get("data", {}).items())
    opens = bool(notice.get("url") or notice.get("mini_program"))
    return Phone("notice", title=_("服务通知"), lines=lines, foot=_("查看详情") if opens else "")


_KINDS: Mapping[str, Any] = {
    "text": _text,
    "image": _picture,
    "voice": _voice,
    "video": _video,
    "music": _music,
    "news": _news,
    "article": _article,
    "mini_program": _mini_program,
    "menu_message": _menu,
    "notice": _notice,
}
