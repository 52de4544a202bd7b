"""Many calls at once mean what single calls mean: tokens, refusals, and whether a request left at all."""

import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from werkzeug.wrappers import Response

from bot.errors import WeChatError
from bot.wechat import bulk
from bot.wechat.bulk import Answer, Lines
from bot.wechat.client import WeChat
from bot.wechat.token import MemoryStore
from tests.bot.wechat.conftest import APP_ID, LAN, SECRET, STABLE_TOKEN, Scripted
from tests.bot.wechat.test_client import closed_port

SEND = "/cgi-bin/message/custom/send"


@pytest.fixture(params=["curl", "threads"])
def lines(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lines]:
    if request.param == "threads":
        monkeypatch.setattr(bulk, "pycurl", None)  # as on a machine without libcurl
    opened = Lines()
    yield opened
    opened.close()


def all_of(lines: Lines, wechat: WeChat, *payloads: dict[str, Any]) -> list[Answer]:
    for key, payload in enumerate(payloads):
        lines.start(key, wechat, SEND, payload)
    found: list[Answer] = []
    while lines.busy:
        found += lines.answers(5)
    return sorted(found, key=lambda answer: answer.key)


def problem_of(lines: Lines, wechat: WeChat) -> WeChatError:
    [answer] = all_of(lines, wechat, {"touser": LAN})
    assert isinstance(answer.problem, WeChatError)
    for secret in (SECRET, "TOKEN-", LAN):
        assert secret not in str(answer.problem)
    return answer.problem


def test_many_calls_share_a_token_and_connections(
    lines: Lines, wechat: WeChat, platform: Scripted
) -> None:
    platform.answer(SEND, {"errcode": 0, "更多": "好"})
    found = all_of(lines, wechat, *[{"text": f"你好😀{n}"} for n in range(40)])
    assert [answer.key for answer in found] == list(range(40))
    assert sum(answer.body == {"errcode": 0, "更多": "好"} for answer in found) == 1
    assert platform.paths().count(STABLE_TOKEN) == 1
    asked = [one for one in platform.asked if one.path == SEND]
    assert {one.json["text"] for one in asked} == {f"你好😀{n}" for n in range(40)}
    assert {one.method for one in asked} == {"POST"}
    assert {one.args["access_token"][:8] for one in asked} == {"TOKEN-1-"}


def test_a_refused_token_is_renewed_once_and_the_call_repeated_once(
    lines: Lines, wechat: WeChat, platform: Scripted
) -> None:
    platform.answer(SEND, *[{"errcode": 42001, "errmsg": "no"}] * 3)
    found = all_of(lines, wechat, *[{"n": n} for n in range(3)])
    assert [answer.problem for answer in found] == [None] * 3
    assert platform.paths().count(SEND) == 6
    assert platform.paths().count(STABLE_TOKEN) == 2
    platform.answer(SEND, *[{"errcode": 40001, "errmsg": "no"}] * 9)
    assert problem_of(lines, wechat).errcode == 40001
    assert platform.paths().count(SEND) == 8


def test_a_refusal_is_what_a_single_call_raises(
    lines: Lines, wechat: WeChat, platform: Scripted
) -> None:
    platform.answer(SEND, *[{"errcode": 45015, "errmsg": f"out of time {LAN}"}] * 2)
    found = problem_of(lines, wechat)
    with pytest.raises(WeChatError) as single:
        wechat.call(SEND, {"touser": LAN})
    for name in ("errcode", "message", "permanent", "action", "wait_seconds"):
        assert getattr(found, name) == getattr(single.value, name)


@pytest.mark.parametrize(
    "answer",
    [
        Response("busy", status=502),
        Response("", status=302, headers={"Location": "http://127.0.0.1:1/"}),
        "<html>busy</html>",
        {"errcode": "many"},
    ],
)
def test_no_usable_answer_leaves_the_outcome_open(
    lines: Lines, wechat: WeChat, platform: Scripted, answer: Any
) -> None:
    platform.answer(SEND, answer)
    found = problem_of(lines, wechat)
    assert (found.errcode, found.action, found.permanent) == (None, "unknown", False)
    assert platform.paths().count(SEND) == 1


def test_without_a_connection_nothing_left(
    lines: Lines, wechat: WeChat, platform: Scripted
) -> None:
    assert wechat.access_token
    wechat.api_base = f"http://127.0.0.1:{closed_port()}"
    assert problem_of(lines, wechat).action == "retry"


def test_without_a_token_nothing_left(lines: Lines, wechat: WeChat, platform: Scripted) -> None:
    platform.answer(STABLE_TOKEN, Response("busy", status=503))
    found = problem_of(lines, wechat)
    assert (found.errcode, found.action) == (None, "retry")
    assert platform.paths().count(SEND) == 0


def test_an_answer_that_does_not_come_in_time_leaves_the_outcome_open(
    lines: Lines, platform: Scripted, store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk, "CALL_MILLISECONDS", 150)  # thirteen seconds are too long for a test
    wechat = WeChat(APP_ID, SECRET, api_base=platform.url, store=store, timeout=(1, 0.15))
    hung = threading.Event()
    platform.answer(SEND, lambda: {"errcode": 0, "waited": hung.wait(5)})
    found = problem_of(lines, wechat)
    hung.set()
    assert (found.errcode, found.action, "超时" in found.message) == (None, "unknown", True)
    wechat._http.close()


class Cutting:
    """Answers the first request of a connection, and hangs up on the second once it has read it whole."""

    def __init__(self) -> None:
        self.requests = 0
        self.connections = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            with connection, connection.makefile("rb") as stream:
                for turn in range(2):
                    length = 0
                    while (line := stream.readline()) not in (b"\r\n", b""):
                        name, _, value = line.partition(b":")
                        length = int(value) if name.lower() == b"content-length" else length
                    if len(stream.read(length)) == length and length:
                        self.requests += 1
                    if turn == 0:
                        body = b'{"errcode":0}'
                        head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body)
                        connection.sendall(head + body)

    def close(self) -> None:
        self._listener.close()


def test_a_kept_connection_that_ends_without_an_answer_is_no_reason_to_send_again(
    lines: Lines, wechat: WeChat
) -> None:
    assert wechat.access_token
    cutting = Cutting()
    wechat.api_base = cutting.url
    [first] = all_of(lines, wechat, {"n": 1})
    assert first.body == {"errcode": 0}
    assert problem_of(lines, wechat).action == "unknown"
    assert (cutting.connections, cutting.requests) == (1, 2)
    cutting.close()


def test_proxies_and_certificates_are_those_of_single_calls(
    wechat: WeChat, monkeypatch: pytest.MonkeyPatch
) -> None:
    wechat.api_base = "https://api.weixin.qq.com"
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.test:3128")  # the environment is the question
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/etc/own.pem")
    assert wechat.network() == ("http://proxy.test:3128", "/etc/own.pem")
    monkeypatch.setenv("NO_PROXY", "weixin.qq.com")
    monkeypatch.delenv("REQUESTS_CA_BUNDLE")
    monkeypatch.delenv("CURL_CA_BUNDLE", raising=False)
    assert wechat.network() == ("", True)
