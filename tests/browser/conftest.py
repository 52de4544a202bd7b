"""The whole product as somebody starts it, in a folder of its own, and a browser in front of it."""

import os
import queue
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests

from bot.clock import tick_seconds
from tests.conftest import CHROMIUM

START_SECONDS = 90.0
STOP_SECONDS = 30.0
ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Product:
    """A running ``qunfen run --sandbox``."""

    process: "subprocess.Popen[str]"
    url: str
    sandbox: str
    password: str

    def control(self, name: str, **words: Any) -> dict[str, Any]:
        """Tell the sandbox something, as its followers or its clock."""
        with requests.Session() as http:
            http.trust_env = False
            answer = http.post(f"{self.sandbox}/sandbox/{name}", json=words, timeout=30)
        assert answer.status_code == 200, answer.text
        told: dict[str, Any] = answer.json()
        return told

    def stop(self) -> int:
        """End it as a service manager does; its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(STOP_SECONDS)


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


@pytest.fixture(scope="session")
def product(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    """Started by the command of ``make run``, with nothing of the caller's environment. One for all browser tests."""
    with running(tmp_path_factory.mktemp("product")) as started:
        yield started


@contextmanager
def running(folder: Path) -> Iterator[Product]:
    """The product and its sandbox, in a folder of their own."""
    port, sandbox_port = free_ports(2)
    command = [sys.executable, "-m", "bot.cli", "run", "--sandbox"]
    command += ["--port", str(port), "--sandbox-port", str(sandbox_port)]
    process = subprocess.Popen(
        command,
        cwd=folder,
        env={
            "PATH": os.defpath,
            "HOME": str(folder),
            "PYTHONPATH": str(ROOT),
            "PYTHONUTF8": "1",
            "PYTHONUNBUFFERED": "1",
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
    )
    try:
        password = _password(process)
        yield Product(
            process, f"http://127.0.0.1:{port}", f"http://127.0.0.1:{sandbox_port}", password
        )
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def log_in(page: Any, product: Product) -> None:
    """As the administrator of the first start, to the demo brand's home page."""
    page.goto(f"{product.url}/console/login")
    page.get_by_label("用户名").fill("admin")
    page.get_by_label("密码").fill(product.password)
    page.get_by_role("button", name="登录").click()
    page.get_by_role("heading", name="沐颜集会员中心").wait_for()


def _password(process: "subprocess.Popen[str]") -> str:
    """The first password, from what the command prints before it is ready."""
    lines: queue.Queue[str] = queue.Queue()
    stream = process.stdout
    assert stream is not None

    def read() -> None:
        with stream:  # read on to the end: a full pipe would stop the product
            for line in stream:
                lines.put(line)
        lines.put("")

    threading.Thread(target=read, daemon=True).start()
    said, password = "", ""
    deadline = tick_seconds() + START_SECONDS
    while "Ctrl-C" not in said:
        line = lines.get(timeout=max(0.1, deadline - tick_seconds()))
        assert line, f"the product ended before it was ready:\n{said}"
        said += line
        found = re.search(r"admin，密码 (\S+?)（", line)
        password = found[1] if found else password
    assert password, said
    return password


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    # the extra e2e may be missing; then these tests are skipped, and nobody asks for this
    from playwright.sync_api import sync_playwright

    with sync_playwright() as tool:
        browser = tool.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def page(product: Product, chromium: Any) -> Iterator[Any]:
    """A fresh browser's page. A request to another host or a complaint in its console fails the test."""
    complaints: list[str] = []

    def asked(request: Any) -> None:
        if not request.url.startswith(product.url + "/"):
            complaints.append(f"asked for {request.url}")

    def told(message: Any) -> None:
        if message.type in ("error", "warning"):
            complaints.append(f"console: {message.text}")

    context = chromium.new_context(locale="zh-CN")
    opened = context.new_page()
    opened.set_default_timeout(120_000)
    opened.on("request", asked)
    opened.on("console", told)
    opened.on("pageerror", lambda problem: complaints.append(f"error: {problem}"))
    yield opened
    context.close()
    assert complaints == []
