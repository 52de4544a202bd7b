"""Many calls at once over kept connections, for channels that send one message a follower.

One thread drives them all through libcurl's multi interface: 80 µs of processor a call, where a pool
of ``requests`` threads needs 1,700 (docs/decisions/0015-pycurl-for-bulk.md). Where libcurl is missing,
and for a platform inside this process, threads make the same calls. What an answer means is as in
``WeChat.call``; nothing is repeated here but a call whose token was refused.
"""

import io
import queue
from collections import defaultdict
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import certifi

from bot import clock
from bot.errors import WeChatError
from bot.wechat import transport
from bot.wechat.client import WeChat
from bot.wechat.errcodes import TOKEN, verdict

try:
    import pycurl
except ImportError:  # no wheel for this machine, or a libcurl without TLS: threads do
    pycurl = None

THREADS = 32  # calls at once where threads make them
# of one call, from the beginning: connecting 3.05 s and 10 s more, as a single call waits at most
CONNECT_MILLISECONDS = 3050
CALL_MILLISECONDS = 13050
# seconds a token is used without asking the store again; it is given up 120 s before its end anyway
TOKEN_SECONDS = 30.0
# libcurl cannot watch descriptors above 1023, so it is asked at least that often; seconds
ASK_AGAIN = 0.01


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of one call: the platform's answer, or what went wrong with it."""

    key: int
    body: Mapping[str, Any] | None
    problem: Exception | None = None


@dataclass(slots=True)
class _Call:
    key: int
    wechat: WeChat
    path: str
    payload: Mapping[str, Any]
    token: str = ""
    repeated: bool = False


@dataclass(slots=True)
class _Token:
    """One gateway's token, and who waits for it."""

    value: str | None = None
    read_at: float = 0.0
    asked: "Future[str] | None" = None
    waiting: list[_Call] = field(default_factory=list)


class Lines:
    """Calls under way. Of one thread; connections are kept until ``close``."""

    def __init__(self) -> None:
        self._busy = 0
        self._ready: list[Answer] = []
        self._done: queue.SimpleQueue[tuple[int, Future[Any]]] = queue.SimpleQueue()
        self._pool: ThreadPoolExecutor | None = None
        self._tokens: dict[int, _Token] = defaultdict(_Token)
        # keeps gateways alive, so that an id means one
        self._kept: dict[int, WeChat] = {}
        # whether a gateway's calls go by curl, as was found since answers were last asked for
        self._curled: dict[int, bool] = {}
        self._curl = _Curl() if pycurl is not None else None

    @property
    def busy(self) -> int:
        """Calls begun whose answers were not fetched."""
        return self._busy

    def start(self, key: int, wechat: WeChat, path: str, payload: Mapping[str, Any]) -> None:
        """Begin a call; its answer comes from ``answers`` under ``key``."""
        self._busy += 1
        if not self._by_curl(wechat):
            made = self._threads().submit(wechat.call, path, payload, counted=False)
            made.add_done_callback(lambda done: self._done.put((key, done)))
            return
        self._with_token(_Call(key, wechat, path, payload))

    def answers(self, seconds: float) -> list[Answer]:
        """Answers that are there, after waiting at most so long for the first."""
        deadline = clock.tick_seconds() + seconds
        # a platform inside this process may be away for a while, and nobody listens at its address then
        self._curled.clear()
        while True:
            self._move()
            found, self._ready = self._ready, []
            left = deadline - clock.tick_seconds()
            if found or not self._busy or left <= 0:
                self._busy -= len(found)
                return found
            self._wait(left)

    def close(self) -> None:
        """Hang up. Calls under way are lost to us, not to the platform."""
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
        if self._curl is not None:
            self._curl.close()

    def _by_curl(self, wechat: WeChat) -> bool:
        known = self._curled.get(id(wechat))
        if known is None:
            self._kept[id(wechat)] = wechat
            known = self._curl is not None and isinstance(wechat, WeChat) and wechat.is_networked
            self._curled[id(wechat)] = known
        return known

    def _threads(self) -> ThreadPoolExecutor:
        if self._pool is None:
            self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="call")
        return self._pool

    def _wait(self, seconds: float) -> None:
        if self._curl is not None and self._curl.under_way:
            self._curl.wait(min(seconds, ASK_AGAIN))
            return
        if any(token.asked for token in self._tokens.values()):
            clock.pause(min(seconds, 0.001))
            return
        try:
            self._take(*self._done.get(timeout=seconds))
        except queue.Empty:
            return

    def _move(self) -> None:
        while not self._done.empty():
            self._take(*self._done.get())
        for token in self._tokens.values():
            if token.asked is not None and token.asked.done():
                self._have_token(token)
        if self._curl is not None:
            for call, got in self._curl.finished():
                self._finish(call, got)

    def _take(self, key: int, done: "Future[Any]") -> None:
        problem = done.exception()
        if problem is None:
            self._ready.append(Answer(key, done.result()))
        elif isinstance(problem, Exception):
            self._ready.append(Answer(key, None, problem))
        else:
            raise problem  # the end of the program, wherever it arrived

    def _with_token(self, call: _Call, failed: str | None = None) -> None:
        """Begin a call with the token in force; a thread fetches one, since that may take seconds."""
        assert self._curl is not None
        token = self._tokens[id(call.wechat)]
        if failed is not None and token.value == failed:
            token.value = None
        fresh = clock.tick_seconds() - token.read_at < TOKEN_SECONDS
        if token.value is not None and fresh:
            self._dial(call, token.value)
            return
        token.waiting.append(call)
        if token.asked is None:
            token.asked = self._threads().submit(call.wechat.token_after, failed)

    def _have_token(self, token: _Token) -> None:
        asked, token.asked = token.asked, None
        waiting, token.waiting = token.waiting, []
        assert asked is not None
        problem = asked.exception()
        if problem is not None and not isinstance(problem, Exception):
            raise problem
        if problem is not None:
            self._ready += [Answer(call.key, None, problem) for call in waiting]
            return
        token.value, token.read_at = asked.result(), clock.tick_seconds()
        for call in waiting:
            self._dial(call, token.value)

    def _dial(self, call: _Call, token: str) -> None:
        assert self._curl is not None
        call.token = token
        try:
            self._curl.start(call)
        except (TypeError, ValueError) as problem:  # a payload that is no JSON: nothing was sent
            self._ready.append(Answer(call.key, None, problem))

    def _finish(self, call: _Call, got: "_Got") -> None:
        try:
            if got.problem is not None:
                raise got.problem
            transport.check_status(got.status)
            body = transport.read_json(got.content, got.status)
            code = transport.errcode_of(body)
            if code and not call.repeated and verdict(code).action == TOKEN:
                call.repeated = True
                self._with_token(call, call.token)
                return
            self._ready.append(
                Answer(call.key, call.wechat.checked(body, call.path, call.payload, call.token))
            )
        except WeChatError as problem:
            self._ready.append(Answer(call.key, None, problem))


@dataclass(frozen=True, slots=True)
class _Got:
    status: int
    content: bytes
    problem: WeChatError | None = None


class _Curl:
    """libcurl's handles: one a call under way, used again for the same account and path."""

    def __init__(self) -> None:
        self._multi = pycurl.CurlMulti()
        self._idle: dict[tuple[int, str], list[Any]] = defaultdict(list)
        self._networks: dict[int, tuple[str, str | bool]] = {}
        self.under_way = 0

    def start(self, call: _Call) -> None:
        body = transport.json_bytes(call.payload)
        mark = (id(call.wechat), call.path)
        idle = self._idle[mark]
        handle = idle.pop() if idle else self._new(call)
        if handle.token != call.token:
            handle.setopt(
                pycurl.URL, f"{call.wechat.api_base}{call.path}?access_token={quote(call.token)}"
            )
            handle.token = call.token
        handle.call, handle.mark, handle.chunks = call, mark, []
        # read by a function and not seekable: libcurl silently repeats a request when a kept
        # connection ends without an answer, and this makes it give up instead
        handle.body = io.BytesIO(body)
        handle.setopt(pycurl.READFUNCTION, handle.body.read)
        handle.setopt(pycurl.POSTFIELDSIZE, len(body))
        handle.setopt(pycurl.WRITEFUNCTION, handle.chunks.append)
        self._multi.add_handle(handle)
        self.under_way += 1

    def wait(self, seconds: float) -> None:
        if self._multi.select(seconds) < 0:
            clock.pause(0.0005)  # nothing to watch yet, such as while a name is looked up

    def finished(self) -> list[tuple[_Call, _Got]]:
        if not self.under_way:
            return []
        self._multi.perform()
        found: list[tuple[Any, WeChatError | None]] = []
        while True:
            left, good, bad = self._multi.info_read()
            found += [(handle, None) for handle in good]
            found += [(handle, _problem(handle, number)) for handle, number, _text in bad]
            if not left:
                break
        return [self._free(handle, problem) for handle, problem in found]

    def close(self) -> None:
        self._multi.close()
        self._idle.clear()

    def _free(self, handle: Any, problem: WeChatError | None) -> tuple[_Call, _Got]:
        call = handle.call
        got = _Got(handle.getinfo(pycurl.RESPONSE_CODE), b"".join(handle.chunks), problem)
        self._multi.remove_handle(handle)
        self.under_way -= 1
        handle.call, handle.chunks = None, []
        self._idle[handle.mark].append(handle)
        return call, got

    def _new(self, call: _Call) -> Any:
        mark = id(call.wechat)
        proxy, trusted = self._networks.get(mark) or call.wechat.network()
        self._networks[mark] = proxy, trusted
        handle: Any = pycurl.Curl()
        handle.token = ""
        handle.setopt(pycurl.POST, 1)
        handle.setopt(pycurl.NOSIGNAL, 1)
        handle.setopt(pycurl.FOLLOWLOCATION, 0)
        handle.setopt(pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_1_1)
        handle.setopt(pycurl.CONNECTTIMEOUT_MS, CONNECT_MILLISECONDS)
        handle.setopt(pycurl.TIMEOUT_MS, CALL_MILLISECONDS)
        handle.setopt(pycurl.HTTPHEADER, [f"Content-Type: {transport.JSON_TYPE}", "Expect:"])
        handle.setopt(pycurl.PROXY, proxy)
        handle.setopt(pycurl.SSL_VERIFYPEER, 1 if trusted else 0)
        handle.setopt(pycurl.SSL_VERIFYHOST, 2 if trusted else 0)
        handle.setopt(pycurl.CAINFO, trusted if isinstance(trusted, str) else certifi.where())
        return handle


def _problem(handle: Any, number: int) -> WeChatError:
    """libcurl's own texts are left out: they are English and may name addresses."""
    if handle.body.tell() == 0:  # a request without its body is none to the platform
        return transport.never_left()
    if number == pycurl.E_OPERATION_TIMEDOUT:
        return transport.timed_out()
    return transport.unusable(f"与微信接口的连接中断（curl {number}）")
