"""Content (bot.content, media already uploaded) to the JSON of customer-service, mass and preview calls. Pure."""

from collections.abc import Callable, Mapping
from typing import Any

from bot.errors import Invalid

Json = dict[str, Any]
Content = Mapping[str, Any]


def customer_service_json(content: Content) -> Json:
    """``msgtype`` and its payload. Source: docs/wechat-limits.md 9 (read 2026-11).

    Raises:
        Invalid: a kind that cannot be sent so, or media without a ``media_id``.
    """
    kind = next(iter(content), "")
    found = _CUSTOMER_SERVICE.get(kind)
    if found is None:
        raise Invalid(kind, "cannot be sent as customer_service")
    name, render = found
    return {"msgtype": name, name: render(content[kind])}


def mass_json(content: Content) -> Json:
    """``msgtype`` and its payload for sendall and send; images stand in a list.

    A video's ``media_id`` must come from ``media.mass_video``. Source: docs/wechat-limits.md 8.

    Raises:
        Invalid: as ``customer_service_json``.
    """
    if "image" in content:
        return {"msgtype": "image", "images": {"media_ids": [media_id(content["image"], "image")]}}
    if "article" in content:
        # 0, as without it: an article that is judged to be a reprint stops the send
        return {**preview_json(content), "send_ignore_reprint": 0}
    return preview_json(content)


def preview_json(content: Content) -> Json:
    """The same for the preview call, which takes one ``image``. Source: docs/wechat-limits.md 8.

    Raises:
        Invalid: as ``customer_service_json``.
    """
    kind = next(iter(content), "")
    if kind == "text":
        return {"msgtype": "text", "text": {"content": content["text"]}}
    if kind in ("image", "voice"):
        return {"msgtype": kind, kind: {"media_id": media_id(content[kind], kind)}}
    if kind == "video":
        return {"msgtype": "mpvideo", "mpvideo": {"media_id": media_id(content["video"], "video")}}
    if kind == "article":
        return {
            "msgtype": "mpnews",
            "mpnews": {"media_id": media_id(content["article"], "article")},
        }
    raise Invalid(kind, "cannot be sent as mass")


def media_id(media: Content, place: str) -> str:
    """The ``media_id`` of a material.

    Raises:
        Invalid: it has not been uploaded.
    """
    found = media.get("media_id")
    if not found:
        raise Invalid(place, "has no media_id: upload the file first")
    return str(found)


def _video(video: Content) -> Json:
    return {
        "media_id": media_id(video, "video"),
        "title": video.get("title", ""),
        "description": video.get("description", ""),
    }


def _music(music: Content) -> Json:
    return {
        "title": music.get("title", ""),
        "description": music.get("description", ""),
        "musicurl": music.get("url", ""),
        "hqmusicurl": music.get("hq_url", ""),
        "thumb_media_id": media_id(music.get("thumb") or {}, "music.thumb"),
    }


def _news(news: Content) -> Json:
    # exactly one article, or 45008
    article = {
        "title": news.get("title", ""),
        "description": news.get("description", ""),
        "url": news.get("url", ""),
        "picurl": news.get("image", ""),
    }
    return {"articles": [article]}


def _article(article: Content) -> Json:
    # mpnews with a draft is deprecated here: a customer-service message shows what is published
    found = article.get("article_id")
    if not found:
        raise Invalid(
            "article", "is not published: publish it before it is sent as customer_service"
        )
    return {"article_id": str(found)}


def _mini_program(card: Content) -> Json:
    return {
        "title": card.get("title", ""),
        "appid": card.get("app_id", ""),
        "pagepath": card.get("page", ""),
        "thumb_media_id": media_id(card.get("cover") or {}, "mini_program.cover"),
    }


def _menu(menu: Content) -> Json:
    items = [{"id": item["id"], "content": item["text"]} for item in menu.get("items", [])]
    return {
        "head_content": menu.get("head", ""),
        "list": items,
        "tail_content": menu.get("tail", ""),
    }


# our kind -> (msgtype, payload)
_CUSTOMER_SERVICE: dict[str, tuple[str, Callable[[Any], Json]]] = {
    "text": ("text", lambda text: {"content": text}),
    "image": ("image", lambda image: {"media_id": media_id(image, "image")}),
    "voice": ("voice", lambda voice: {"media_id": media_id(voice, "voice")}),
    "video": ("video", _video),
    "music": ("music", _music),
    "news": ("news", _news),
    "article": ("mpnewsarticle", _article),
    "mini_program": ("miniprogrampage", _mini_program),
    "menu_message": ("msgmenu", _menu),
}
