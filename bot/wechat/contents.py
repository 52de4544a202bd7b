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
    render = _CUSTOMER_SERVICE.get(kind)
    if render is None:
        raise Invalid(kind, "cannot be sent as customer_service")
    return {"msgtype": kind, kind: render(content[kind])}


def mass_json(content: Content) -> Json:
    """``msgtype`` and its payload for sendall and send; images stand in a list.

    A video's ``media_id`` must come from ``media.mass_video``. Source: docs/wechat-limits.md 8.

    Raises:
        Invalid: as ``customer_service_json``.
    """
    if "image" in content:
        return {"msgtype": "image", "images": {"media_ids": [media_id(content["image"], "image")]}}
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


_CUSTOMER_SERVICE: dict[str, Callable[[Any], Json]] = {
    "text": lambda text: {"content": text},
    "image": lambda image: {"media_id": media_id(image, "image")},
    "voice": lambda voice: {"media_id": media_id(voice, "voice")},
    "video": _video,
    "music": _music,
    "news": _news,
}
