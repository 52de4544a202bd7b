"""The callback's signatures and AES, written apart from the product's so that both check each other.

Source: docs/wechat-limits.md 1 (read 2026-11).
"""

import base64
import hashlib
import hmac
import struct

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

BLOCK = 32  # PKCS#7 pads to 32, not to the 16 of AES


class BadCipher(ValueError):
    """The text does not decrypt to a message of this account."""


def sign(*parts: str) -> str:
    """sha1 of the sorted parts, in hex; parts include the account's Token."""
    return hashlib.sha1("".join(sorted(parts)).encode()).hexdigest()  # noqa: S324 the platform's


def same(left: str, right: str) -> bool:
    return hmac.compare_digest(left.encode(), right.encode())


def _cipher(aes_key: str) -> Cipher[modes.CBC]:
    key = base64.b64decode(aes_key + "=")
    return Cipher(algorithms.AES(key), modes.CBC(key[:16]))


def encrypt(aes_key: str, app_id: str, message: bytes, random16: bytes) -> str:
    """Base64 of the encrypted message, as it stands in ``<Encrypt>``."""
    plain = random16 + struct.pack(">I", len(message)) + message + app_id.encode()
    pad = BLOCK - len(plain) % BLOCK
    encryptor = _cipher(aes_key).encryptor()
    return base64.b64encode(
        encryptor.update(plain + bytes([pad]) * pad) + encryptor.finalize()
    ).decode()


def decrypt(aes_key: str, app_id: str, text: str) -> bytes:
    """The message inside.

    Raises:
        BadCipher: not base64, not whole blocks, bad padding, bad length or another AppID.
    """
    try:
        cipher_text = base64.b64decode(text, validate=True)
        decryptor = _cipher(aes_key).decryptor()
        plain = decryptor.update(cipher_text) + decryptor.finalize()
    except ValueError as error:
        raise BadCipher(str(error)) from error
    if not plain or not 1 <= plain[-1] <= BLOCK or len(plain) < 20 + plain[-1]:
        raise BadCipher("padding")
    plain = plain[: -plain[-1]]
    (length,) = struct.unpack(">I", plain[16:20])
    if len(plain) < 20 + length:
        raise BadCipher("length")
    if plain[20 + length :] != app_id.encode():
        raise BadCipher("app_id")
    return plain[20 : 20 + length]
