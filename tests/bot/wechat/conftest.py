"""A tiny platform on a socket that answers what a test tells it to, and remembers what it was asked."""

import json
import threading
from collections import defaultdict, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from werkzeug.serving import WSGIRequestHandler, make_server
from werkzeug.wrappers import Request, Response

from bot.wechat.client import WeChat
from bot.wechat.token import MemoryStore

SECRET = "s3cret-of-the-account-0123456789"
APP_ID = "wx1234567890abcdef"
LAN = "oLan_0123456789012345678901x"
MING = "oMing_012345678901234567890x"
STABLE_TOKEN = "/cgi-bin/stable_token"


@dataclass
class Asked:
    """One request the platform got."""

    method: str
    path: str
    args: dict[str, str]
    body: bytes
    form: dict[str, str]
    files: dict[str, tuple[str, bytes]]

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Scripted:
    """Answers in order per path, then ``{"errcode": 0}``; tokens are numbered."""

    url: str = ""
    asked: list[Asked] = field(default_factory=list)
    answers: dict[str, deque[Any]] = field(default_factory=lambda: defaultdict(deque))
    tokens: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def answer(self, path: str, *answers: Any) -> None:
        """A dict is sent as JSON, text as HTML, bytes as JSON written by hand, a Response as it is."""
        self.answers[path].extend(answers)

    def paths(self) -> list[str]:
        return [asked.path for asked in self.asked]

    def last(self, path: str) -> Asked:
        return [asked for asked in self.asked if asked.path == path][-1]

    def __call__(self, environ: Any, start_response: Any) -> Any:
        request = Request(environ)
        files = {
            name: (file.filename or "", file.stream.read()) for name, file in request.files.items()
        }
        with self.lock:
            self.asked.append(
                Asked(
                    request.method,
                    request.path,
                    dict(request.args),
                    b"" if files else request.get_data(),
                    dict(request.form),
                    files,
                )
            )
            answer = self._next(request.path)
        request.close()
        if callable(answer) and not isinstance(answer, Response):
            answer = answer()
        if isinstance(answer, dict):
            answer = Response(json.dumps(answer), content_type="application/json")
        elif isinstance(answer, bytes):
            answer = Response(answer, content_type="application/json")
        elif isinstance(answer, str):
            answer = Response(answer, content_type="text/html")
        return answer(environ, start_response)

    def _next(self, path: str) -> Any:
        if self.answers[path]:
            return self.answers[path].popleft()
        if path == STABLE_TOKEN:
            self.tokens += 1
            return {"access_token": f"TOKEN-{self.tokens}-" + "x" * 40, "expires_in": 7200}
        return {"errcode": 0, "errmsg": "ok"}


class _Quiet(WSGIRequestHandler):
    # kept connections, as the platform offers them
    protocol_version = "HTTP/1.1"

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Write nothing: the real platform does not write into our log either."""


@pytest.fixture(scope="session")
def _server() -> Iterator[tuple[Any, list[Scripted]]]:
    current: list[Scripted] = [Scripted()]
    server = make_server(
        "127.0.0.1",
        0,
        lambda environ, start: current[0](environ, start),
        threaded=True,
        request_handler=_Quiet,
    )
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield server, current
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def platform(_server: tuple[Any, list[Scripted]]) -> Scripted:
    server, current = _server
    current[0] = Scripted(url=f"http://127.0.0.1:{server.server_port}")
    return current[0]


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def wechat(platform: Scripted, store: MemoryStore) -> Iterator[WeChat]:
    # an answer that is late because the machine is busy is no failure; who tests lateness says how long
    gateway = WeChat(APP_ID, SECRET, api_base=platform.url, store=store, timeout=(10, 60))
    yield gateway
    gateway._http.close()
