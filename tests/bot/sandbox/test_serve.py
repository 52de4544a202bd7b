"""The platform as a process: sockets, hang-ups, restarts. Ports are the system's choice."""

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import requests

from bot.sandbox.serve import Server, open_platform
from tests.bot.sandbox.api import AES_KEY, LAN, SECRET, SERVICE, TOKEN, WEI

STABLE = {"grant_type": "client_credential", "appid": SERVICE, "secret": SECRET}


class Running:
    """A sandbox process on a file."""

    def __init__(self, path: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "bot.sandbox.serve", "--path", str(path), "--port", "0"],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        self.url = self.process.stdout.readline().strip()

    def ask(self, name: str, **words: Any) -> Any:
        return requests.post(f"{self.url}/sandbox/{name}", json=words, timeout=10).json()

    def api(self, path: str, body: dict[str, Any], **params: str) -> Any:
        return requests.post(self.url + path, params=params, json=body, timeout=10).json()

    def end(self, number: int) -> int:
        self.process.send_signal(number)
        code = self.process.wait(15)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return code


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "sandbox.db"


def set_up(running: Running, callback: str | None = None) -> None:
    account = {"app_id": SERVICE, "app_secret": SECRET, "token": TOKEN, "aes_key": AES_KEY}
    running.ask("accounts", **account, callback_url=callback, options={"mass_seconds": 0})
    people = [{"open_id": LAN}, {"open_id": WEI}]
    assert running.ask("followers", app_id=SERVICE, people=people) == {"added": 2}


def test_everything_survives_a_kill_and_a_term_ends_it_cleanly(file: Path) -> None:
    first = Running(file)
    set_up(first)
    first.ask("clock", now="2025-03-03 09:00", frozen=True)
    token = first.api("/cgi-bin/stable_token", STABLE)["access_token"]
    send = {"touser": [LAN, WEI], "msgtype": "text", "text": {"content": "hi"}, "clientmsgid": "c1"}
    sent = first.api("/cgi-bin/message/mass/send", send, access_token=token)
    assert sent["errcode"] == 0
    first.end(signal.SIGKILL)

    second = Running(file)
    assert second.ask("clock")["now"].startswith("2025-03-03T01:00"), "the clock comes back"
    again = second.api("/cgi-bin/message/mass/send", send, access_token=token)
    assert (again["errcode"], again["msg_id"]) == (45065, sent["msg_id"])
    second.ask("run_due")
    histogram = second.ask("histogram", app_id=SERVICE)
    assert histogram == {"month": "2025-03", "histogram": {"1": 2}}
    assert second.end(signal.SIGTERM) == 0


class Product(BaseHTTPRequestHandler):
    """A callback that calls the platform back while it answers."""

    sandbox = ""
    seen: list[str] = []

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        answer = requests.post(
            f"{self.sandbox}/cgi-bin/stable_token", json=STABLE, timeout=5
        ).json()
        self.seen.append(answer.get("access_token", ""))
        self.send_response(200)
        self.send_header("Content-Length", "7")
        self.end_headers()
        self.wfile.write(b"success")

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""


@pytest.fixture
def product() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Product)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    Product.seen = []
    yield f"http://127.0.0.1:{server.server_port}/callback"
    server.shutdown()
    server.server_close()


def test_a_callback_may_call_the_platform_while_it_answers(file: Path, product: str) -> None:
    server = Server(open_platform(str(file)))
    server.start()
    Product.sandbox = server.url
    server.platform.add_account(SERVICE, SECRET, TOKEN, AES_KEY, callback_url=product)
    server.platform.add_followers(SERVICE, [{"open_id": LAN}])
    act = {"act": "say", "app_id": SERVICE, "open_id": LAN, "text": "你好"}
    answer = requests.post(f"{server.url}/sandbox/act", json=act, timeout=10).json()
    assert (answer["outcome"], len(Product.seen)) == ("empty", 1)
    assert Product.seen[0]
    server.stop()


def test_a_hang_up_is_felt_on_the_socket_and_the_work_is_done(file: Path) -> None:
    server = Server(open_platform(str(file)))
    server.start()
    server.platform.add_account(SERVICE, SECRET, TOKEN, AES_KEY, options={"mass_seconds": 0})
    server.platform.add_followers(SERVICE, [{"open_id": LAN}, {"open_id": WEI}])
    token = requests.post(f"{server.url}/cgi-bin/stable_token", json=STABLE, timeout=5).json()
    server.platform.fault("/cgi-bin/message/mass/send", "drop")
    send = {"touser": [LAN, WEI], "msgtype": "text", "text": {"content": "hi"}}
    with pytest.raises(requests.ConnectionError):
        requests.post(
            f"{server.url}/cgi-bin/message/mass/send",
            params={"access_token": token["access_token"]},
            data=json.dumps(send),
            timeout=5,
        )
    deadline = time.monotonic() + 10  # the server's own thread finishes the job
    month = server.platform.stats(SERVICE)["month"]
    while not server.platform.mass_count(SERVICE, LAN, month) and time.monotonic() < deadline:
        threading.Event().wait(0.05)
    assert server.platform.mass_count(SERVICE, LAN, month) == 1
    server.stop()
