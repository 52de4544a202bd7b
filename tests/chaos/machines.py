"""The product on many machines: two web processes, two schedulers, three workers, PostgreSQL and Redis.

Every part is the command an operator starts, in a process group of its own, so that ``kill -9`` takes its
children too. Nothing shares memory; the clock is the installation's, which an outage moves on.
"""

import os
import random
import signal
import subprocess
import sys
from contextlib import ExitStack, suppress
from datetime import datetime, timedelta
from pathlib import Path

import requests

from bot import clock, db
from bot.demo.load import Control
from bot.runtime import move_clock
from tests.chaos.balancer import Balancer
from tests.chaos.processes import ROOT, free_port, pause, until
from tests.chaos.servers import Postgres, Redis

START_SECONDS = 180.0  # seven processes on two cores, maybe beside a test suite
AWAY_SECONDS = (0.0, 0.0, 0.5, 2.0)  # how long a part that was killed is away
# how often each is struck; what sends is struck most
STRIKES = (
    (8, "worker"),
    (4, "scheduler"),
    (3, "web"),
    (2, "redis"),
    (2, "flush"),
    (2, "postgresql"),
    (2, "two workers"),
    (4, "everything"),
)


class Part:
    """One process of the product, with whatever it started."""

    def __init__(self, name: str, arguments: list[str], log: Path, environ: dict[str, str]) -> None:
        self.name = name
        self._command = [sys.executable, "-m", "bot.cli", *arguments]
        self._environ = environ
        self._log = log.open("ab")
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        assert self._process is None
        self._process = subprocess.Popen(
            self._command,
            cwd=ROOT,
            env=self._environ,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            start_new_session=True,  # a group of its own
        )

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def ended(self) -> bool:
        return self._process is not None and self._process.poll() is not None

    def kill(self) -> None:
        """``kill -9`` for all of its group."""
        if self._process is None:
            return
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._process = None

    def close(self) -> None:
        self.kill()
        self._log.close()


class Machines:
    """What is killed, a part at a time or all at once."""

    def __init__(
        self, folder: Path, chance: random.Random, begin: datetime, control: Control
    ) -> None:
        self._control = control
        self._clock = clock.Clock()
        self._clock.move_to(begin)
        self._ends = ExitStack()
        self.struck: list[str] = []
        with ExitStack() as undo:
            undo.callback(self.close)
            self.postgres = Postgres(folder, chance)
            self._ends.callback(self.postgres.close)
            self.redis = Redis(folder, chance)
            self._ends.callback(self.redis.close)
            self._ports = [free_port(chance), free_port(chance)]
            self._balancer = Balancer(self._ports, chance)
            self._ends.callback(self._balancer.close)
            self.url = self._balancer.url
            undo.pop_all()
        self.parts: dict[str, Part] = {}
        self._folder = folder
        control("clock", {"now": begin.isoformat(), "frozen": False})

    def settings(self) -> dict[str, str]:
        return {
            "QUNFEN_DATABASE_URL": self.postgres.url,
            "QUNFEN_REDIS_URL": self.redis.url,
            "TZ": "UTC",  # as servers are; every month and day of the product is Shanghai's
        }

    def ready(self, environ: dict[str, str], engine: db.Engine) -> None:
        """Called once there are tables."""
        self._engine = engine
        self._store_clock()
        told = {**os.environ, **environ}
        for name, arguments in {
            **{
                f"web {port}": ["web", "--port", str(port), "--workers", "1"]
                for port in self._ports
            },
            **{f"scheduler {which}": ["scheduler"] for which in "ab"},
            **{f"worker {which}": ["worker", "--threads", "2"] for which in "abc"},
        }.items():
            log = self._folder / f"{name.replace(' ', '-')}.log"
            part = Part(name, arguments, log, told)
            self.parts[name] = part
            self._ends.callback(part.close)

    def now(self) -> datetime:
        return self._clock()

    def outage(self, seconds: float) -> None:
        """So much time passes while nothing of the product runs."""
        self._clock.offset += timedelta(seconds=seconds)
        self._store_clock()
        self._control("clock", {"now": self.now().isoformat(), "frozen": False})

    def start(self) -> None:
        """Start every part and wait until both web servers answer."""
        for part in self.parts.values():
            part.start()
        for port in self._ports:
            if not until(lambda: self._answers(port), START_SECONDS):  # noqa: B023
                raise RuntimeError(f"web {port} did not start; its log in {self._folder} says why")

    def kill(self) -> None:
        """A power cut: every part at once. PostgreSQL and Redis live elsewhere."""
        for part in self.parts.values():
            part.kill()

    def strike(self, chance: random.Random) -> str | None:
        """Hit one part at random and bring it back; its name. None: everything is to be killed."""
        for part in self.parts.values():
            if part.ended():
                raise RuntimeError(f"{part.name} ended by itself; its log says why")
        weights = [weight for weight, _ in STRIKES]
        what = chance.choices([name for _, name in STRIKES], weights)[0]
        self.struck.append(what)
        if what == "everything":
            return None
        away = chance.choice(AWAY_SECONDS)
        if what == "flush":
            self.redis.flush()
        elif what == "redis":
            self.redis.stop(signal.SIGKILL)
            pause(away)
            self.redis.start()
        elif what == "postgresql":
            self.postgres.restart(crash=chance.random() < 0.5)
        else:
            self._strike_parts(chance, what, away)
        return what

    def _strike_parts(self, chance: random.Random, what: str, away: float) -> None:
        number, kind = (2, "worker") if what == "two workers" else (1, what)
        names = [name for name in self.parts if name.startswith(kind)]
        hit = [self.parts[name] for name in chance.sample(names, number)]
        for part in hit:
            part.kill()
        pause(away)
        for part in hit:
            part.start()

    def close(self) -> None:
        self._ends.close()

    def _answers(self, port: int) -> bool:
        try:
            with requests.Session() as http:
                http.trust_env = False
                return http.get(f"http://127.0.0.1:{port}/healthz", timeout=2).status_code == 200
        except requests.RequestException:
            return False

    def _store_clock(self) -> None:
        with db.writing(self._engine) as session:
            move_clock(session, self._clock.offset)
