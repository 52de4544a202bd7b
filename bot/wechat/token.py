"""The access token of one account: cached in a store all processes share, renewed by one of them at a time.

Source: docs/wechat-limits.md 4 (stable_token in normal mode, read 2026-11).
"""

import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Protocol

from bot import clock
from bot.errors import Refused, WeChatError

# seconds the cached token is given up before the platform's date; it renews 5 minutes early and the
# former token lives on for about 5 more. Source: docs/wechat-limits.md 4
MARGIN = 120
LEASE_SECONDS = 30  # one fetch takes at most its two timeouts, 13 s by default
# how long the others wait for whoever renews, and in which steps; seconds
PATIENCE = 20.0
STEP = 0.1


class TokenStore(Protocol):
    """What the gateway asks of a shared store: the database, Redis, or memory in tests."""

    def get(self, key: str) -> str | None:
        """The value, None when there is none or its time is over."""
        ...

    def put(self, key: str, value: str, seconds: int) -> None:
        """Keep a value for so many seconds."""
        ...

    def lease(self, key: str, seconds: int) -> bool:
        """Take a name for so many seconds unless somebody holds it; True for who got it."""
        ...

    def release(self, key: str) -> None:
        """Give a lease back early."""
        ...


class MemoryStore:
    """A TokenStore for one process and for tests."""

    def __init__(self, now: Callable[[], datetime] = clock.now) -> None:
        self._now = now
        self._kept: dict[str, tuple[str, datetime]] = {}
        self._lock = threading.Lock()

    def get(self, key: str) -> str | None:
        with self._lock:
            value, ends_at = self._kept.get(key, ("", self._now()))
            return value if ends_at > self._now() else None

    def put(self, key: str, value: str, seconds: int) -> None:
        with self._lock:
            self._kept[key] = (value, self._now() + timedelta(seconds=seconds))

    def lease(self, key: str, seconds: int) -> bool:
        with self._lock:
            held = self._kept.get(f"lease:{key}")
            if held is not None and held[1] > self._now():
                return False
            self._kept[f"lease:{key}"] = ("", self._now() + timedelta(seconds=seconds))
            return True

    def release(self, key: str) -> None:
        with self._lock:
            self._kept.pop(f"lease:{key}", None)


def pause(seconds: float) -> None:
    """Wait. Tests pass their own."""
    threading.Event().wait(seconds)


def as_is(text: str) -> str:
    """The seal of a store that needs none."""
    return text


class AccessToken:
    """One account's token. ``fetch`` asks the platform and returns (token, seconds it lives).

    ``seal`` and ``unseal`` encrypt what the store keeps.
    """

    def __init__(
        self,
        key: str,
        store: TokenStore,
        fetch: Callable[[], tuple[str, int]],
        *,
        wait: Callable[[float], None] = pause,
        seal: Callable[[str], str] = as_is,
        unseal: Callable[[str], str] = as_is,
    ) -> None:
        self._key = key
        self._store = store
        self._fetch = fetch
        self._wait = wait
        self._seal = seal
        self._unseal = unseal
        self._lock = threading.Lock()

    def current(self) -> str:
        """The cached token, or a new one.

        Raises:
            WeChatError: the platform gives none, or whoever renews it takes too long.
        """
        return self._cached(None) or self._renew(None)

    def replace(self, failed: str) -> str:
        """A token after the platform refused ``failed``: the one somebody renewed meanwhile, or a new one.

        Raises:
            WeChatError: as ``current``.
        """
        return self._cached(failed) or self._renew(failed)

    def _cached(self, failed: str | None) -> str | None:
        sealed = self._store.get(self._key)
        if not sealed:
            return None
        try:
            token = self._unseal(sealed)
        except Refused:  # kept under a secret key that has changed
            return None
        return token if token != failed else None

    def _renew(self, failed: str | None) -> str:
        # 1. one thread of this process; 2. one process by the store's lease; 3. the rest read its result
        if not self._lock.acquire(timeout=PATIENCE):
            raise _busy()
        try:
            waited = 0.0
            while True:
                token = self._cached(failed)
                if token:
                    return token
                if self._store.lease(f"{self._key}:renew", LEASE_SECONDS):
                    return self._fetch_and_keep(failed)
                if waited >= PATIENCE:
                    raise _busy()
                self._wait(STEP)
                waited += STEP
        finally:
            self._lock.release()

    def _fetch_and_keep(self, failed: str | None) -> str:
        try:
            # between our look and the lease somebody may have finished
            token = self._cached(failed)
            if token:
                return token
            token, seconds = self._fetch()
            kept_for = seconds - MARGIN if seconds > 2 * MARGIN else max(1, seconds // 2)
            self._store.put(self._key, self._seal(token), kept_for)
            return token
        finally:
            self._store.release(f"{self._key}:renew")


def _busy() -> WeChatError:
    return WeChatError(
        None,
        "access_token 正在刷新，尚未完成，稍后自动重试",
        permanent=False,
        wait_seconds=10,
        action="retry",
    )
