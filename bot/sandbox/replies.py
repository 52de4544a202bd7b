"""What the platform accepts as the answer to a push, and what the follower then sees."""

import xml.etree.ElementTree as ET
from typing import Any

from bot.sandbox import crypto
from bot.sandbox.accounts import Account
from bot.sandbox.limits import REPLY_ARTICLES, REPLY_ARTICLES_TO_EVENT, TEXT_BYTES

MESSAGES = {"text", "image", "voice", "video", "shortvideo", "location", "link"}
MEDIA = {"image": "Image", "voice": "Voice", "video": "Video"}


class BadReply(ValueError):
    """The answer is not one: the follower reads that the account is out of service."""


def _parse(body: bytes) -> ET.Element:
    if b"<!DOCTYPE" in body[:200]:
        raise BadReply("a document type is not allowed")
    try:
        return ET.fromstring(body)  # noqa: S314 documents without a DTD cannot expand
    except ET.ParseError as error:
        raise BadReply(f"not XML: {error}") from error


def _text(node: ET.Element, path: str) -> str:
    return node.findtext(path) or ""


def _opened(account: Account, body: bytes) -> ET.Element:
    """The reply's XML, decrypted where it is encrypted, after checking its signature.

    Source: docs/wechat-limits.md 1 (read 2026-11)
    """
    node = _parse(body)
    if node.tag != "xml":
        raise BadReply("the root is not <xml>")
    sealed = node.findtext("Encrypt")
    if sealed is None:
        if account.mode == "safe":
            raise BadReply("safe mode wants an encrypted reply")
        return node
    if account.mode == "plain":
        raise BadReply("plain mode cannot read an encrypted reply")
    signature = crypto.sign(account.token, _text(node, "TimeStamp"), _text(node, "Nonce"), sealed)
    if not crypto.same(signature, _text(node, "MsgSignature")):
        raise BadReply("MsgSignature is wrong")
    try:
        return _parse(crypto.decrypt(account.aes_key or "", account.app_id, sealed))
    except crypto.BadCipher as error:
        raise BadReply(f"does not decrypt: {error}") from error


def _articles(node: ET.Element, to_event: bool) -> dict[str, Any]:
    items = node.findall("Articles/item")
    if not items or _text(node, "ArticleCount") != str(len(items)):
        raise BadReply("ArticleCount does not match")
    allowed = REPLY_ARTICLES_TO_EVENT if to_event else REPLY_ARTICLES
    names = {"Title": "title", "Description": "description", "PicUrl": "picurl", "Url": "url"}
    shown = [{key: _text(item, name) for name, key in names.items()} for item in items[:allowed]]
    if any(not article["title"] for article in shown):
        raise BadReply("an article without a title")
    return {"articles": shown}  # further ones are ignored. Source: docs/wechat-limits.md 3


def read(account: Account, push: dict[str, Any], body: bytes) -> dict[str, Any] | None:
    """The passive reply in an answer, or None for ``success`` and an empty body.

    Raises:
        BadReply: malformed, not decryptable, wrong names, unknown type, too long.
        Source: docs/wechat-limits.md 1 and 3 (read 2026-11)
    """
    if body.strip() in (b"", b"success"):
        return None
    node = _opened(account, body)
    if _text(node, "ToUserName") != push["FromUserName"]:
        raise BadReply("ToUserName is not the follower")
    if _text(node, "FromUserName") != account.original_id:
        raise BadReply("FromUserName is not the account")
    if not _text(node, "CreateTime").isdigit():
        raise BadReply("CreateTime is not a number")
    kind = _text(node, "MsgType")
    if kind == "text":
        text = _text(node, "Content")
        if not text or len(text.encode()) > TEXT_BYTES:
            raise BadReply("text is empty or over 2048 bytes")
        return {"type": kind, "text": text}
    if kind in MEDIA:
        media_id = _text(node, f"{MEDIA[kind]}/MediaId")
        if not media_id:
            raise BadReply("no MediaId")
        video = {
            "title": _text(node, "Video/Title"),
            "description": _text(node, "Video/Description"),
        }
        return {"type": kind, "media_id": media_id, **(video if kind == "video" else {})}
    if kind == "music":
        thumb = _text(node, "Music/ThumbMediaId")
        if not thumb:
            raise BadReply("no ThumbMediaId")
        return {
            "type": kind,
            "media_id": thumb,
            "title": _text(node, "Music/Title"),
            "url": _text(node, "Music/MusicUrl"),
        }
    if kind == "news":
        return {"type": kind, **_articles(node, push["MsgType"] not in MESSAGES)}
    if kind == "transfer_customer_service":
        return {"type": kind, "agent": _text(node, "TransInfo/KfAccount")}
    raise BadReply(f"MsgType {kind!r} is not a reply")
