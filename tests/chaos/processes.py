"""The platform, the product in one process, and the clock they share. What was started here is ended here."""

import os
import random
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path

import requests

from bot import clock, db
from bot.demo.load import Control, http_control

ROOT = Path(__file__).resolve().parents[2]
START_SECONDS = 120.0
PORT_TRIES = 200


def until(true: Callable[[], bool], seconds: float, every: float = 0.05) -> bool:
    """Ask until it is true, at most so many seconds; whether it became true."""
    deadline = clock.tick_seconds() + seconds
    while not true():
        if clock.tick_seconds() > deadline:
            return False
        pause(every)
    return True


def pause(seconds: float) -> None:
    """Let time pass: a kill needs a moment to come at."""
    threading.Event().wait(seconds)


def free_port(chance: random.Random) -> int:
    """A port below those the system lends to callers, so that it stays free while the product is down."""
    for _ in range(PORT_TRIES):
        port = chance.randrange(20_000, 32_000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise RuntimeError("no free port")


class Sandbox:
    """The platform, which nobody kills."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "sandbox.db"
        self._log = (folder / "sandbox.log").open("ab")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bot.sandbox.serve", "--port", "0", "--path", str(self.file)],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
        )
        assert self._process.stdout is not None
        self.url = self._process.stdout.readline().strip()
        self._process.stdout.close()
        if not self.url:
            self.stop()
            raise RuntimeError("the sandbox did not start; sandbox.log says why")
        self.control = self.new_control()

    def new_control(self) -> Control:
        """A connection of its own: one a thread."""
        return http_control(self.url)

    def stop(self) -> None:
        self._process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(20)
        self._process.kill()
        self._process.wait()
        self._log.close()


class Product:
    """The one process, on SQLite. ``now`` is the time of both processes, which an outage moves on."""

    def __init__(self, folder: Path, port: int, begin: datetime, control: Control) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self._folder = folder
        self._port = port
        self._environ: dict[str, str] = {}
        self._control = control
        self._log_file = folder / "product.log"
        self._log = self._log_file.open("ab")
        self._process: subprocess.Popen[bytes] | None = None
        self._clock = clock.Clock()
        self._clock.move_to(begin)
        control("clock", {"now": begin.isoformat(), "frozen": False})

    def settings(self) -> dict[str, str]:
        return {"QUNFEN_DATABASE_URL": f"sqlite:///{self._folder / 'product.db'}"}

    def ready(self, environ: dict[str, str], engine: db.Engine) -> None:
        """Called once there are tables."""
        self._environ = {**os.environ, **environ}

    def strike(self, chance: random.Random) -> str | None:
        """There is but one part: everything is to be killed."""
        return None

    def now(self) -> datetime:
        return self._clock()

    def outage(self, seconds: float) -> None:
        """So much time passes while the product is down."""
        assert self._process is None
        self._clock.offset += timedelta(seconds=seconds)
        self._control("clock", {"now": self.now().isoformat(), "frozen": False})

    def start(self) -> None:
        """Start it and wait until it answers."""
        assert self._process is None
        self._process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "tests.chaos.product",
                str(self._port),
                str(self._clock.offset.total_seconds()),
            ],
            cwd=ROOT,
            env=self._environ,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
        )
        if not until(self._answers, START_SECONDS):
            self.kill()
            raise RuntimeError(f"the product did not start; {self._log_file} says why")

    def _answers(self) -> bool:
        if self._process is None or self._process.poll() is not None:
            raise RuntimeError(f"the product ended by itself; {self._log_file} says why")
        try:
            with requests.Session() as http:
                http.trust_env = False
                return http.get(f"{self.url}/healthz", timeout=2).status_code == 200
        except requests.RequestException:
            return False

    def kill(self) -> None:
        """``kill -9``."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def close(self) -> None:
        self.kill()
        self._log.close()
