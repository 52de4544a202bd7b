"""One token for all: fetched once, renewed once, whoever asks."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from bot.clock import Clock, now
from bot.errors import Refused, WeChatError
from bot.wechat.token import MARGIN, PATIENCE, AccessToken, MemoryStore


class Platform:
    """Counts fetches; each gives another token."""

    def __init__(self, seconds: int = 7200) -> None:
        self.fetched = 0
        self.seconds = seconds
        self.busy = threading.Event()
        self.go_on = threading.Event()
        self.go_on.set()

    def fetch(self) -> tuple[str, int]:
        self.fetched += 1
        found = f"token {self.fetched}"
        self.busy.set()
        self.go_on.wait(5)
        return found, self.seconds


def test_twenty_threads_fetch_once() -> None:
    platform, token_of = Platform(), MemoryStore()
    token = AccessToken("t", token_of, platform.fetch)
    with ThreadPoolExecutor(20) as threads:
        found = list(threads.map(lambda _: token.current(), range(200)))
    assert set(found) == {"token 1"}
    assert platform.fetched == 1


def test_twenty_threads_whose_token_failed_renew_it_once() -> None:
    platform = Platform()
    token = AccessToken("t", MemoryStore(), platform.fetch)
    failed = token.current()
    with ThreadPoolExecutor(20) as threads:
        found = list(threads.map(lambda _: token.replace(failed), range(200)))
    assert set(found) == {"token 2"}
    assert platform.fetched == 2


def test_processes_that_share_a_store_fetch_once() -> None:
    platform, store = Platform(), MemoryStore()
    # one AccessToken each, so that only the lease holds them apart
    processes = [AccessToken("t", store, platform.fetch, wait=lambda _: None) for _ in range(8)]
    platform.go_on.clear()
    with ThreadPoolExecutor(8) as threads:
        first = threads.submit(processes[0].current)
        assert platform.busy.wait(5)
        waits = [0.0]

        def step(seconds: float) -> None:
            waits[0] += seconds
            platform.go_on.set()
            first.result(5)

        late = AccessToken("t", store, platform.fetch, wait=step)
        assert late.current() == "token 1"
    assert waits[0] > 0
    assert {process.current() for process in processes} == {"token 1"}
    assert platform.fetched == 1


def test_waiting_for_another_process_has_an_end() -> None:
    platform, store = Platform(), MemoryStore()
    assert store.lease("t:renew", 3600)
    waited: list[float] = []
    token = AccessToken("t", store, platform.fetch, wait=waited.append)
    with pytest.raises(WeChatError) as caught:
        token.current()
    assert (caught.value.errcode, caught.value.action, caught.value.permanent) == (
        None,
        "retry",
        False,
    )
    assert sum(waited) == pytest.approx(PATIENCE, rel=0.02)
    assert platform.fetched == 0


def test_lease_of_a_process_that_died_ends() -> None:
    clock = Clock(frozen_at=now())
    store = MemoryStore(clock)
    assert store.lease("t:renew", 30)

    def wait(_: float) -> None:
        clock.move_to(clock() + timedelta(seconds=10))

    assert AccessToken("t", store, Platform().fetch, wait=wait).current() == "token 1"


def test_token_that_somebody_renewed_meanwhile_is_taken() -> None:
    platform, store = Platform(), MemoryStore()
    one, other = (AccessToken("t", store, platform.fetch) for _ in range(2))
    failed = one.current()
    assert other.replace(failed) == "token 2"
    assert one.replace(failed) == "token 2"
    assert platform.fetched == 2


@pytest.mark.parametrize(
    ("seconds", "kept"), [(7200, 7200 - MARGIN), (241, 121), (100, 50), (1, 1)]
)
def test_cached_token_ends_before_the_platforms_date(seconds: int, kept: int) -> None:
    clock = Clock(frozen_at=now())
    platform = Platform(seconds)
    token = AccessToken("t", MemoryStore(clock), platform.fetch)
    token.current()
    clock.move_to(clock() + timedelta(seconds=kept - 0.5))
    token.current()
    assert platform.fetched == 1
    clock.move_to(clock() + timedelta(seconds=1))
    token.current()
    assert platform.fetched == 2


def test_failed_fetch_gives_the_lease_back_and_the_next_try_works() -> None:
    failures = [WeChatError(None, "down", permanent=False)]

    def fetch() -> tuple[str, int]:
        if failures:
            raise failures.pop()
        return "token 9", 7200

    token = AccessToken("t", MemoryStore(), fetch)
    with pytest.raises(WeChatError, match="down"):
        token.current()
    assert token.current() == "token 9"


def test_store_holds_only_what_seal_makes_of_it() -> None:
    store = MemoryStore()

    def unseal(text: str) -> str:
        if not text.startswith("sealed "):
            raise Refused("another key")
        return text.removeprefix("sealed ")[::-1]

    def seal(text: str) -> str:
        return "sealed " + text[::-1]

    token = AccessToken("t", store, Platform().fetch, seal=seal, unseal=unseal)
    assert token.current() == "token 1"
    assert store.get("t") == "sealed 1 nekot"
    assert token.current() == "token 1"
    # kept under a key that has changed since
    store.put("t", "rubbish", 100)
    assert token.current().startswith("token")
