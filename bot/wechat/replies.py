"""The XML of a passive reply, one function per kind of content. Pure."""

from collections.abc import Callable, Mapping
from typing import Any

from bot.errors import Invalid
from bot.wechat.parsing import NOT_XML

Json = Mapping[str, Any]


def reply_xml(follower: str, account: str, seconds: int, content: Json) -> str:
    """A reply to one push; ``seconds`` is unix time. ``follower`` is an OpenID, ``account`` the gh_… name.

    Content is that of ``bot.content`` with media already uploaded, or ``{"hand_over": {"agent": ""}}``.
    Source: docs/wechat-limits.md 3 (read 2026-11).

    Raises:
        Invalid: a kind that cannot be a reply, or media without a ``media_id``.
    """
    kind = next(iter(content), "")
    render = KINDS.get(kind)
    if render is None:
        raise Invalid(kind, "cannot be sent as a reply")
    # image, voice and the like are the platform's own words; hand_over is ours
    name = "transfer_customer_service" if kind == "hand_over" else kind
    return (
        f"<xml><ToUserName>{cdata(follower)}</ToUserName><FromUserName>{cdata(account)}</FromUserName>"
        f"<CreateTime>{seconds}</CreateTime><MsgType><![CDATA[{name}]]></MsgType>"
        f"{render(content[kind])}</xml>"
    )


def cdata(text: str) -> str:
    """Text inside CDATA: ``]]>`` is split over two sections, characters XML cannot say are dropped."""
    if "]]>" in text:
        text = text.replace("]]>", "]]]]><![CDATA[>")
    if not text.isprintable():
        text = NOT_XML.sub("", text)
    return f"<![CDATA[{text}]]>"


def _text(text: str) -> str:
    return f"<Content>{cdata(text)}</Content>"


def _image(image: Json) -> str:
    return f"<Image><MediaId>{_media_id(image, 'image')}</MediaId></Image>"


def _voice(voice: Json) -> str:
    return f"<Voice><MediaId>{_media_id(voice, 'voice')}</MediaId></Voice>"


def _video(video: Json) -> str:
    return (
        f"<Video><MediaId>{_media_id(video, 'video')}</MediaId>"
        f"<Title>{_part(video, 'title')}</Title>"
        f"<Description>{_part(video, 'description')}</Description></Video>"
    )


def _music(music: Json) -> str:
    # the table of the page says MusicURL, its XML says MusicUrl; the latter works
    return (
        f"<Music><Title>{_part(music, 'title')}</Title>"
        f"<Description>{_part(music, 'description')}</Description>"
        f"<MusicUrl>{_part(music, 'url')}</MusicUrl>"
        f"<HQMusicUrl>{_part(music, 'hq_url')}</HQMusicUrl>"
        f"<ThumbMediaId>{_media_id(music.get('thumb') or {}, 'music.thumb')}</ThumbMediaId></Music>"
    )


def _news(news: Json) -> str:
    # always one article: more are ignored in answers to a message
    return (
        f"<ArticleCount>1</ArticleCount><Articles><item><Title>{_part(news, 'title')}</Title>"
        f"<Description>{_part(news, 'description')}</Description>"
        f"<PicUrl>{_part(news, 'image')}</PicUrl><Url>{_part(news, 'url')}</Url></item></Articles>"
    )


def _hand_over(hand_over: Json) -> str:
    agent = hand_over.get("agent")
    return f"<TransInfo><KfAccount>{cdata(str(agent))}</KfAccount></TransInfo>" if agent else ""


def _part(content: Json, name: str) -> str:
    return cdata(str(content.get(name) or ""))


def _media_id(media: Json, place: str) -> str:
    media_id = media.get("media_id")
    if not media_id:
        raise Invalid(place, "has no media_id: upload the file first")
    return cdata(str(media_id))


KINDS: dict[str, Callable[[Any], str]] = {
    "text": _text,
    "image": _image,
    "voice": _voice,
    "video": _video,
    "music": _music,
    "news": _news,
    "hand_over": _hand_over,
}
