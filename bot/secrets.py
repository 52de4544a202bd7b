"""Encrypts account secrets at rest, signs links, hashes OpenIDs; and shortens both kinds for logs.

Keys are derived from ``QUNFEN_SECRET_KEY`` with HKDF, one per purpose, so that none can stand in for another.
"""

import base64
import hashlib
import hmac
from functools import lru_cache

from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from bot.errors import Refused


@lru_cache(maxsize=32)
def _key(secret_key: str, purpose: str) -> bytes:
    return HKDF(SHA256(), 32, salt=b"qunfen", info=purpose.encode()).derive(secret_key.encode())


def seal(secret_key: str, plain: str) -> str:
    """Encrypt one account secret for the database."""
    fernet = Fernet(base64.urlsafe_b64encode(_key(secret_key, "accounts")))
    return fernet.encrypt(plain.encode()).decode()


def unseal(secret_key: str, sealed: str) -> str:
    """Decrypt what ``seal`` made.

    Raises:
        Refused: ``QUNFEN_SECRET_KEY`` is not the one the secret was stored with.
    """
    fernet = Fernet(base64.urlsafe_b64encode(_key(secret_key, "accounts")))
    try:
        return fernet.decrypt(sealed.encode()).decode()
    except InvalidToken:
        raise Refused(
            "a stored account secret does not open: QUNFEN_SECRET_KEY is not the one it was stored with"
        ) from None


def sign(secret_key: str, purpose: str, message: bytes, size: int = 10) -> bytes:
    """A keyed signature of ``size`` bytes, for links and states."""
    return hmac.new(_key(secret_key, purpose), message, hashlib.sha256).digest()[:size]


def signed(secret_key: str, purpose: str, message: bytes, signature: bytes, size: int = 10) -> bool:
    """Whether ``signature`` is the one ``sign`` gives, in constant time. A shorter one never is."""
    return hmac.compare_digest(sign(secret_key, purpose, message, size), signature)


def keyed_hash(secret_key: str, account_id: int, open_id: str) -> str:
    """What stays of an erased follower: a hash nobody can compute without the key."""
    return sign(secret_key, "erased", f"{account_id}:{open_id}".encode(), 16).hex()


def short(open_id: str | None) -> str:
    """An OpenID as logs and error texts may show it: enough to tell two apart, not enough to use."""
    if not open_id:
        return "-"
    return f"{open_id[:2]}…{open_id[-4:]}" if len(open_id) > 8 else "…"
