"""The callback's envelope: signatures, AES, parsing and sealing. Pure; nothing here calls the platform."""

import base64
import binascii
import hashlib
import hmac
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC

from bot.errors import BadPush
from bot.wechat.message import Message, from_fields
from bot.wechat.parsing import parse_body
from bot.wechat.replies import reply_xml

MAX_BODY = 65536  # bytes; ours: the largest documented push is far below 10 KB
# PKCS#7 with blocks of 32 bytes although AES has 16. Source: docs/wechat-limits.md 1 (read 2026-11)
_BLOCK = 32
_PADDING = [bytes([size]) * size for size in range(_BLOCK + 1)]
# 16 random bytes and 4 of length stand before the message
_HEAD = 20
SUCCESS = b"success"


@dataclass(frozen=True)
class Credentials:
    """What the callback of one account needs. ``mode`` is plain, compatible or safe."""

    token: str = field(repr=False)
    aes_key: str | None = field(repr=False)
    app_id: str
    mode: str

    @cached_property
    def cipher(self) -> Cipher[CBC] | None:
        """AES-256-CBC, kept because making it costs more than using it; None without a usable key.

        Source: docs/wechat-limits.md 1: 43 characters whose last two bits may be anything; IV is half the key.
        """
        try:
            key = base64.b64decode((self.aes_key or "") + "=", validate=True)
        except (binascii.Error, ValueError):
            return None
        return Cipher(AES(key), CBC(key[:16])) if len(key) == 32 else None


def verify_url(credentials: Credentials, args: Mapping[str, str]) -> str:
    """What to answer when the platform verifies the address: exactly this text, as text/plain.

    Source: docs/wechat-limits.md 1: ``echostr`` is plain text in every mode of an Official Account.

    Raises:
        BadPush: ``unsigned`` or ``bad_signature``, both 403.
    """
    _check_signature(credentials, args)
    return _arg(args, "echostr")


def encrypted(credentials: Credentials, args: Mapping[str, str]) -> bool:
    """Whether a request claims to be encrypted, and so whether its reply must be."""
    return (
        credentials.mode == "safe" or args.get("encrypt_type") == "aes" or "msg_signature" in args
    )


def open_push(
    credentials: Credentials, args: Mapping[str, str], body: bytes, now: datetime, max_age: int
) -> Message:
    """Verify, decrypt and parse one push. ``args`` is the query string; ``max_age`` counts seconds, both ways.

    1. Size, then ``signature`` over token, timestamp and nonce, then the age of the timestamp.
    2. Safe mode and requests that claim encryption: ``msg_signature``, decrypt, padding, length, AppID.
    3. Parse, strictly, XML or JSON. Odd and missing fields are no reason to refuse.

    Source: docs/wechat-limits.md 1 (read 2026-11).

    Raises:
        BadPush: too_large (413), unsigned, bad_signature, stale, wrong_app_id (403), not_encrypted,
            bad_cipher, bad_xml (400). Never anything else, whatever the input.
    """
    if len(body) > MAX_BODY:
        raise BadPush("too_large", 413)
    _check_signature(credentials, args)
    _check_age(args["timestamp"], now, max_age)
    fields = parse_body(body)
    sealed = fields.get("Encrypt")
    if sealed is not None or encrypted(credentials, args):
        fields = parse_body(_decrypt(credentials, args, sealed))
    return from_fields(fields, now)


def seal_reply(
    credentials: Credentials,
    message: Message,
    content: Mapping[str, Any] | None,
    now: datetime,
    nonce: str,
    encrypt: bool,
) -> bytes:
    """The body that answers a push; no content means the word ``success``, which is never encrypted.

    Raises:
        Invalid: the content cannot be a reply, or its media has not been uploaded.
    """
    if content is None:
        return SUCCESS
    seconds = int(now.timestamp())
    xml = reply_xml(message.open_id, message.to, seconds, content)
    if not encrypt:
        return xml.encode()
    return seal(credentials, xml.encode(), str(seconds), nonce, os.urandom(16)).encode()


def seal(
    credentials: Credentials, message: bytes, timestamp: str, nonce: str, random16: bytes
) -> str:
    """Wrap a message in the platform's envelope. The caller has checked that there is a key."""
    sealed = encrypt_text(credentials, message, random16)
    signature = sign(credentials.token, timestamp, nonce, sealed)
    return (
        f"<xml><Encrypt><![CDATA[{sealed}]]></Encrypt>"
        f"<MsgSignature><![CDATA[{signature}]]></MsgSignature>"
        f"<TimeStamp>{timestamp}</TimeStamp><Nonce><![CDATA[{nonce}]]></Nonce></xml>"
    )


def encrypt_text(credentials: Credentials, message: bytes, random16: bytes) -> str:
    """The Base64 text of an ``Encrypt`` element.

    Raises:
        ValueError: the account has no usable AES key.
    """
    if credentials.cipher is None:
        raise ValueError("an encrypted reply needs the account's AES key")
    plain = random16 + len(message).to_bytes(4, "big") + message + credentials.app_id.encode()
    plain += _PADDING[_BLOCK - len(plain) % _BLOCK]
    encryptor = credentials.cipher.encryptor()
    return base64.b64encode(encryptor.update(plain) + encryptor.finalize()).decode()


def sign(*parts: str) -> str:
    """The platform's signature: SHA-1 of the sorted parts. Source: docs/wechat-limits.md 1."""
    # code point order of str is byte order of UTF-8
    return hashlib.sha1(
        "".join(sorted(parts)).encode("utf-8", "replace"), usedforsecurity=False
    ).hexdigest()


def _check_signature(credentials: Credentials, args: Mapping[str, str]) -> None:
    signature, timestamp, nonce = (
        _arg(args, "signature"),
        _arg(args, "timestamp"),
        _arg(args, "nonce"),
    )
    # an empty token would let anybody sign
    expected = sign(credentials.token, timestamp, nonce)
    if not credentials.token or not _same(expected, signature):
        raise BadPush("bad_signature", 403)


def _check_age(timestamp: str, now: datetime, max_age: int) -> None:
    # 12 digits are the year 33658; more would only feed int()
    if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= 12):
        raise BadPush("stale", 403)
    if abs(now.timestamp() - int(timestamp)) > max_age:
        raise BadPush("stale", 403)


def _decrypt(credentials: Credentials, args: Mapping[str, str], sealed: Any) -> bytes:
    if not sealed or not isinstance(sealed, str):
        raise BadPush("not_encrypted")
    expected = sign(credentials.token, args["timestamp"], args["nonce"], sealed)
    # before anything is decrypted, so that padding errors tell a stranger nothing
    if not _same(expected, _arg(args, "msg_signature")):
        raise BadPush("bad_signature", 403)
    if credentials.cipher is None:
        raise BadPush("bad_cipher")
    try:
        data = base64.b64decode(sealed, validate=True)
    except (binascii.Error, ValueError):
        raise BadPush("bad_cipher") from None
    if not data or len(data) % _BLOCK:
        raise BadPush("bad_cipher")
    decryptor = credentials.cipher.decryptor()
    plain = decryptor.update(data) + decryptor.finalize()
    padding = plain[-1]
    if not 1 <= padding <= _BLOCK or not plain.endswith(_PADDING[padding]):
        raise BadPush("bad_cipher")
    end = _HEAD + int.from_bytes(plain[16:_HEAD], "big")
    if end > len(plain) - padding:
        raise BadPush("bad_cipher")
    if not hmac.compare_digest(plain[end : len(plain) - padding], credentials.app_id.encode()):
        raise BadPush("wrong_app_id", 403)
    return plain[_HEAD:end]


def _arg(args: Mapping[str, str], name: str) -> str:
    value = args.get(name)
    if not value or not isinstance(value, str):
        raise BadPush("unsigned", 403)
    return value


def _same(expected: str, given: str) -> bool:
    # compare_digest takes only ASCII text, so bytes
    return hmac.compare_digest(expected.encode(), given.encode("utf-8", "replace"))
