"""The platform's side of the callback, built with wechatpy's own crypto: an independent second opinion."""

import hashlib
from datetime import datetime
from typing import Any
from xml.etree import ElementTree

from flask.testing import FlaskClient
from wechatpy.crypto import WeChatCrypto
from werkzeug.test import TestResponse

from tests import factories

GH = "gh_0123456789ab"


def xml(
    kind: str, follower: int | str = 1, *, created: int | None = None, at: datetime, **fields: Any
) -> str:
    """One push as the platform writes it. ``fields`` are further elements; strings become CDATA."""
    open_id = factories.open_id(follower) if isinstance(follower, int) else follower
    common = {
        "ToUserName": GH,
        "FromUserName": open_id,
        "CreateTime": created if created is not None else int(at.timestamp()),
        "MsgType": kind,
    }
    return f"<xml>{''.join(_element(key, value) for key, value in (common | fields).items())}</xml>"


def text(content: str, follower: int | str = 1, *, number: int = 1, at: datetime) -> str:
    return xml("text", follower, at=at, Content=content, MsgId=24_000_000_000_000_000 + number)


def event(name: str, follower: int | str = 1, *, at: datetime, **fields: Any) -> str:
    return xml("event", follower, at=at, Event=name, **fields)


def signature(*parts: str) -> str:
    return hashlib.sha1("".join(sorted(parts)).encode()).hexdigest()


def post(
    client: FlaskClient,
    body: str,
    *,
    at: datetime,
    slug: str = "muyan",
    mode: str = "safe",
    app_id: str = factories.APP_ID,
    **query: str,
) -> TestResponse:
    """Post a push the way an account in this mode gets it."""
    timestamp, nonce = str(int(at.timestamp())), "1372623149"
    given = {
        "signature": signature(factories.TOKEN, timestamp, nonce),
        "timestamp": timestamp,
        "nonce": nonce,
    }
    data = body
    if mode != "plain":
        crypto = WeChatCrypto(factories.TOKEN, factories.AES_KEY, app_id)
        sealed = ElementTree.fromstring(crypto.encrypt_message(body, nonce, timestamp))
        cipher_text = sealed.findtext("Encrypt") or ""
        given |= {"encrypt_type": "aes", "msg_signature": sealed.findtext("MsgSignature") or ""}
        data = (
            f"<xml><ToUserName>{GH}</ToUserName><Encrypt><![CDATA[{cipher_text}]]></Encrypt></xml>"
        )
    return client.post(
        f"/callback/{slug}", query_string=given | query, data=data.encode(), content_type="text/xml"
    )


def opened(response: TestResponse) -> ElementTree.Element | str:
    """What the platform reads in an answer: the reply's XML, decrypted, or the bare text."""
    body = response.get_data(as_text=True)
    if not body.startswith("<"):
        return body
    sealed = ElementTree.fromstring(body)
    if sealed.find("Encrypt") is None:
        return sealed
    crypto = WeChatCrypto(factories.TOKEN, factories.AES_KEY, factories.APP_ID)
    plain = crypto.decrypt_message(
        body,
        sealed.findtext("MsgSignature"),
        sealed.findtext("TimeStamp"),
        sealed.findtext("Nonce"),
    )
    return ElementTree.fromstring(plain)


def said(response: TestResponse) -> str:
    """The text of a reply; ``success`` and error texts as they are."""
    answer = opened(response)
    return answer if isinstance(answer, str) else answer.findtext("Content") or ""


def _element(key: str, value: Any) -> str:
    if isinstance(value, dict):
        inner = "".join(_element(name, item) for name, item in value.items())
        return f"<{key}>{inner}</{key}>"
    if isinstance(value, list):
        return "".join(_element(key, item) for item in value)
    return (
        f"<{key}>{value}</{key}>"
        if isinstance(value, int)
        else f"<{key}><![CDATA[{value}]]></{key}>"
    )
