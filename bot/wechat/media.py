"""Material 素材: upload pictures, voices, videos and thumbnails, permanent or for three days; fetch and delete.

Source: docs/wechat-limits.md 8 (read 2026-11).
"""

import json
from dataclasses import dataclass
from urllib.parse import urlsplit

from bot.errors import Refused, WeChatError
from bot.wechat.client import WeChat
from bot.wechat.transport import Timeout

UPLOAD_TIMEOUT: Timeout = (3.05, 60)  # seconds; up to 10 MB go up before the answer
_MB = 1024 * 1024
# bytes. For pictures the page says both 10 MB and 2 MB: unsure, so the stricter
LIMITS = {"image": 2 * _MB, "voice": 2 * _MB, "video": 10 * _MB, "thumb": 64 * 1024}
ARTICLE_PICTURE_BYTES = _MB
# kind -> (first bytes, where they stand, ending, content type); a mp3 without ID3 begins with a sync word
_FORMATS = {
    "image": (
        (b"\xff\xd8\xff", 0, "jpg", "image/jpeg"),
        (b"\x89PNG\r\n\x1a\n", 0, "png", "image/png"),
        (b"GIF8", 0, "gif", "image/gif"),
        (b"BM", 0, "bmp", "image/bmp"),
    ),
    "voice": (
        (b"#!AMR", 0, "amr", "audio/amr"),
        (b"ID3", 0, "mp3", "audio/mpeg"),
        (b"\xff\xfb", 0, "mp3", "audio/mpeg"),
        (b"\xff\xf3", 0, "mp3", "audio/mpeg"),
        (b"\xff\xf2", 0, "mp3", "audio/mpeg"),
        (b"WAVE", 8, "wav", "audio/wav"),
        (b"\x30\x26\xb2\x75", 0, "wma", "audio/x-ms-wma"),
    ),
    "video": ((b"ftyp", 4, "mp4", "video/mp4"),),
    "thumb": ((b"\xff\xd8\xff", 0, "jpg", "image/jpeg"),),
}


@dataclass(frozen=True, slots=True)
class Material:
    """An uploaded file. ``url`` is given for permanent pictures only and works on the platform's domains only."""

    media_id: str
    url: str


def upload(
    wechat: WeChat, kind: str, name: str, data: bytes, *, title: str = "", description: str = ""
) -> Material:
    """Upload permanent material. ``kind``: image, voice, video or thumb; a video needs a title, else its name.

    Raises:
        Refused: unknown kind or format, empty, or over the limit.
        WeChatError: the platform said no, or did not answer.
    """
    fields = None
    if kind == "video":
        about = {"title": title or name, "introduction": description}
        fields = {"description": json.dumps(about, ensure_ascii=False)}
    body = wechat.call(
        "/cgi-bin/material/add_material",
        params={"type": kind},
        files={"media": _file(kind, name, data)},
        fields=fields,
        timeout=UPLOAD_TIMEOUT,
    )
    return Material(_media_id(body, "media_id"), str(body.get("url") or ""))


def upload_temporary(wechat: WeChat, kind: str, name: str, data: bytes) -> Material:
    """Upload material that the platform forgets after 3 days.

    Raises:
        Refused, WeChatError: as ``upload``.
    """
    body = wechat.call(
        "/cgi-bin/media/upload",
        params={"type": kind},
        files={"media": _file(kind, name, data)},
        timeout=UPLOAD_TIMEOUT,
    )
    return Material(_media_id(body, "media_id", "thumb_media_id"), "")


def upload_article_picture(wechat: WeChat, name: str, data: bytes) -> str:
    """Upload a picture that stands inside an article; its address. Not counted among permanent material.

    Source: docs/wechat-limits.md 8, media/uploadimg: jpg or png below 1 MB.

    Raises:
        Refused: another format, or too large.
        WeChatError: the platform said no, or did not answer.
    """
    if len(data) >= ARTICLE_PICTURE_BYTES:
        raise Refused(f"{name} has {len(data):,} bytes, fewer than 1 MB are allowed in an article")
    file = _file("image", name, data)
    if not file[0].endswith((".jpg", ".png")):
        raise Refused(f"{name} cannot stand in an article: only jpg and png can")
    body = wechat.call("/cgi-bin/media/uploadimg", files={"media": file}, timeout=UPLOAD_TIMEOUT)
    found = body.get("url")
    if isinstance(found, str) and found:
        return found
    raise WeChatError(
        None, "微信接口的回答里没有图片地址", permanent=False, wait_seconds=60, action="unknown"
    )


def mass_video(wechat: WeChat, media_id: str, title: str, description: str) -> str:
    """The id under which an uploaded video can be mass sent. Source: docs/wechat-limits.md 8, mpvideo.

    Raises:
        WeChatError: the platform said no, or did not answer.
    """
    payload = {"media_id": media_id, "title": title, "description": description}
    return _media_id(wechat.call("/cgi-bin/media/uploadvideo", payload), "media_id")


def download(wechat: WeChat, media_id: str) -> bytes:
    """The bytes of temporary material; of a video the JSON that names its address.

    Raises:
        WeChatError: the platform said no, or did not answer.
    """
    return wechat.download("/cgi-bin/media/get", {"media_id": media_id})


def download_received(wechat: WeChat, media_id: str) -> bytes:
    """The bytes of what a follower sent: a video's too, from the address the platform names for it.

    Raises:
        WeChatError: the platform said no or did not answer, or named an address that is not its own.
    """
    data = download(wechat, media_id)
    if not data.lstrip().startswith(b'{"video_url"'):
        return data
    address = str(json.loads(data).get("video_url") or "")
    host = urlsplit(address).hostname or ""
    own = urlsplit(wechat.api_base).hostname
    if host != own and not host.endswith(".qq.com"):
        raise WeChatError(
            None, f"视频地址 {host} 不是平台的，没有下载", permanent=True, action="fix"
        )
    return wechat.fetch(address)


def check(kind: str, name: str, data: bytes) -> str:
    """The ending of a file the platform takes as this kind of material.

    Raises:
        Refused: unknown kind or format, empty, or over the limit.
    """
    return _file(kind, name, data)[0].rpartition(".")[2]


def delete(wechat: WeChat, media_id: str) -> None:
    """Delete permanent material, also what was uploaded in the platform's console.

    Raises:
        WeChatError: 48005 it is in use, …
    """
    wechat.call("/cgi-bin/material/del_material", {"media_id": media_id})


def _file(kind: str, name: str, data: bytes) -> tuple[str, bytes, str]:
    if kind not in LIMITS:
        raise Refused(f"{kind} is no kind of material: {', '.join(LIMITS)}")
    if not data:
        raise Refused(f"{name} is empty")
    if len(data) > LIMITS[kind]:
        raise Refused(f"{name} has {len(data):,} bytes, {LIMITS[kind]:,} are allowed for {kind}")
    for begin, place, ending, content_type in _FORMATS[kind]:
        if data[place : place + len(begin)] == begin:
            # the platform looks at the ending, and a name beyond ASCII breaks its form parser
            return f"{kind}.{ending}", data, content_type
    formats = ", ".join(dict.fromkeys(row[2] for row in _FORMATS[kind]))
    raise Refused(f"{name} is not in a format the platform takes for {kind}: {formats}")


def _media_id(body: dict[str, object], *names: str) -> str:
    for name in names:
        value = body.get(name)
        if isinstance(value, str) and value:
            return value
    raise WeChatError(
        None, "微信接口的回答里没有 media_id", permanent=False, wait_seconds=60, action="unknown"
    )
