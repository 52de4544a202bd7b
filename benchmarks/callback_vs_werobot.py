"""How much faster is a durable callback of ours than WeRoBot without a database?

Both run in safe mode with the same keywords under the same load: half of the texts match nothing, the
others match the keywords uniformly. Ours also de-duplicates, records, tags and commits every push;
WeRoBot (gunicorn, 2 workers of 8 threads, no session storage, no logging) only answers.

The sides take turns and each shows its best round, because whatever else runs on the machine only slows.

    python -m benchmarks.callback_vs_werobot [--rules 1000,10000] [--seconds 8] [--rounds 2]
"""

import argparse
import json
import os
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks import _load
from benchmarks._load import Outcome, PushMaker, Target

TOKEN = "benchToken2026"
AES_KEY = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG"
APP_ID = "wx1234567890abcdef"
PEER = ["WeRoBot==1.13.1", "gunicorn==27.0.1", "cryptography>=45"]
WORKERS = 2  # processes of each side
CONNECTIONS = 32  # WeRoBot's 16 threads always have work
ROOT = Path(__file__).resolve().parent.parent

WEROBOT_APP = f'''
import logging, os
from werobot import WeRoBot

robot = WeRoBot(token="{TOKEN}", SESSION_STORAGE=False, APP_ID="{APP_ID}", ENCODING_AES_KEY="{AES_KEY}")
robot.logger.setLevel(logging.CRITICAL)  # it would write a line for every text without an answer


def answer(number):
    text = f"回答{{number}}"
    return lambda message: text


for number in range(int(os.environ["RULES"])):
    robot.add_filter(func=answer(number), rules=[f"关键词{{number}}"])
application = robot.wsgi
'''


@dataclass(frozen=True)
class Server:
    """A running server and how to reach it."""

    target: Target
    pids: list[int]
    start_seconds: float


@dataclass(frozen=True)
class Side:
    """One side's figures at one number of rules."""

    closed: Outcome
    open: Outcome
    memory_mb: float
    start_seconds: float


def texts(rules: int) -> Callable[[random.Random], str]:
    """Half match nothing, half one of the keywords."""

    def choose(chance: random.Random) -> str:
        if chance.random() < 0.5:
            return f"随便说说{chance.randrange(1_000_000)}"
        return f"关键词{chance.randrange(rules)}"

    return choose


def clean_environment(**more: str) -> dict[str, str]:
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("QUNFEN_", "PYTHON", "VIRTUAL_ENV", "GUNICORN"))
    }
    return kept | more


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def serving(
    command: list[str], target: Target, folder: Path, environment: dict[str, str]
) -> Iterator[Server]:
    began = time.perf_counter()
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)
    try:
        probe = PushMaker(target, seed=9).request("准备好了吗", 0)
        while True:
            if process.poll() is not None or time.perf_counter() - began > 120:
                raise SystemExit((folder / "server.log").read_text()[-3000:])
            try:
                _load.ask(target.port, probe)
                break
            except (OSError, RuntimeError):
                time.sleep(0.1)
        yield Server(target, _load.process_tree(process.pid), time.perf_counter() - began)
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()


@contextmanager
def werobot(folder: Path, rules: int) -> Iterator[Server]:
    """WeRoBot under gunicorn, in an environment of its own."""
    python = folder / "venv" / "bin" / "python"
    if not python.exists():
        print("installing the peer …", flush=True)
        venv.create(folder / "venv", with_pip=True)
        subprocess.run(
            [python, "-m", "pip", "install", "-q", "--disable-pip-version-check", *PEER],
            check=True,
            env=clean_environment(),
        )
    (folder / "peer.py").write_text(WEROBOT_APP, encoding="utf-8")
    port = free_port()
    command = [str(python), "-m", "gunicorn", "peer:application", "--workers", str(WORKERS)]
    command += ["--threads", "8", "--worker-class", "gthread", "--keep-alive", "75"]
    command += ["--bind", f"127.0.0.1:{port}", "--log-level", "warning"]
    target = Target(port, "/callback", TOKEN, AES_KEY, APP_ID)
    with serving(command, target, folder, clean_environment(RULES=str(rules))) as server:
        yield server


def account_file(rules: int) -> str:
    """The same keywords as an account file; JSON is YAML. Everybody who matches is tagged as well."""
    body = {
        "version": 1,
        "account": {
            "slug": "bench",
            "name": "bench",
            "kind": "service",
            "verified": True,
            "mode": "safe",
            "app_id": APP_ID,
            "app_secret": "0123456789abcdef0123456789abcdef",
            "token": TOKEN,
            "aes_key": AES_KEY,
            "original_id": "gh_0123456789ab",
        },
        "tags": [{"name": "问过", "family": "营销互动"}],
        "rules": [
            {
                "name": f"规则{number}",
                "when": [{"text_is": {"any": [f"关键词{number}"]}}],
                "then": [{"add_tag": {"tags": ["问过"]}}, {"reply": {"text": f"回答{number}"}}],
            }
            for number in range(rules)
        ],
    }
    return json.dumps(body, ensure_ascii=False)


@contextmanager
def qunfen(folder: Path, rules: int) -> Iterator[Server]:
    """Ours as it is deployed on one machine: SQLite, ``qunfen web``, as many processes as the peer."""
    home = folder / f"qunfen-{rules}"
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir()
    (home / "bench.yaml").write_text(account_file(rules), encoding="utf-8")
    environment = clean_environment(
        QUNFEN_DATABASE_URL=f"sqlite:///{home / 'qunfen.db'}",
        QUNFEN_SECRET_KEY="a-secret-key-for-benchmarks-only",
        PYTHONPATH=str(ROOT),
    )
    command = [sys.executable, "-m", "bot.cli"]
    for arguments in (["db", "upgrade"], ["apply", "bench.yaml"]):
        done = subprocess.run(
            [*command, *arguments], cwd=home, env=environment, capture_output=True, text=True
        )
        if done.returncode:
            raise SystemExit(f"qunfen {' '.join(arguments)}: {done.stdout}{done.stderr}")
    port = free_port()
    target = Target(port, "/callback/bench", TOKEN, AES_KEY, APP_ID)
    web = [*command, "web", "--port", str(port), "--workers", str(WORKERS)]
    with serving(web, target, home, environment) as server:
        yield server


def check_answers(server: Server, rules: int) -> None:
    """The server really answers, and answers right: a fast error must not win."""
    maker = PushMaker(server.target, seed=7)
    for number in {0, 1, rules // 2, rules - 1}:
        body = _load.ask(server.target.port, maker.request(f"关键词{number}", 1))
        if f"[回答{number}]" not in maker.open_reply(body):
            raise SystemExit(f"wrong answer to keyword {number}: {maker.open_reply(body)!r}")
    body = _load.ask(server.target.port, maker.request("没有这个词", 1))
    if body not in (b"", b"success"):
        raise SystemExit(f"an answer where none was due: {maker.open_reply(body)!r}")


def measure(server: Server, rules: int, seconds: float) -> Side:
    check_answers(server, rules)
    maker, choose = PushMaker(server.target), texts(rules)

    def phase(length: float, per_second: float, rate: float | None = None) -> Outcome:
        pending = maker.requests(int(per_second * length) + 100, choose)
        return _load.run(
            server.target.port,
            pending,
            seconds=length,
            connections=CONNECTIONS if rate is None else CONNECTIONS * 2,
            rate=rate,
            pids=server.pids,
        )

    guess = phase(2.0, 10_000).per_second  # warms up as well
    closed = phase(seconds, guess * 1.6)
    at_70 = phase(seconds, closed.per_second, rate=closed.per_second * 0.7)
    return Side(closed, at_70, _load.memory_mb(server.pids), server.start_seconds)


def best(side: Side, other: Side | None) -> Side:
    """The better figure of two rounds, each for itself."""
    if other is None:
        return side
    closed = max(side.closed, other.closed, key=lambda outcome: outcome.per_cpu_second)
    fastest = max(side.closed, other.closed, key=lambda outcome: outcome.per_second)
    calm = min(side.open, other.open, key=lambda outcome: outcome.quantile(0.99))
    return Side(
        replace(
            fastest, cpu_seconds=fastest.requests / closed.per_cpu_second if closed.requests else 0
        ),
        calm,
        min(side.memory_mb, other.memory_mb),
        min(side.start_seconds, other.start_seconds),
    )


def show(title: str, rules: int, side: Side) -> None:
    closed, at_70 = side.closed, side.open
    print(
        f"{rules:>7,} {title:<8} {closed.per_second:>8.0f}/s {closed.per_cpu_second:>8.0f}/cpu-s"
        f" {1e6 / closed.per_cpu_second:>7.0f} µs cpu"
        f"  p50 {closed.quantile(0.5) * 1e3:>6.1f} ms  p99 {closed.quantile(0.99) * 1e3:>6.1f} ms"
        f"  at 70 %: p50 {at_70.quantile(0.5) * 1e3:>5.1f} ms  p99 {at_70.quantile(0.99) * 1e3:>5.1f} ms"
        f"  {side.memory_mb:>5.0f} MB  errors {closed.failures + at_70.failures}"
        f"  generator {closed.own_cpu_seconds / closed.seconds:.0%} of a core",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rules", default="1000,10000")
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--only", choices=["werobot", "qunfen"])
    parser.add_argument(
        "--folder", type=Path, help="keep the peer's environment here for next time"
    )
    given = parser.parse_args()
    folder = (given.folder or Path(tempfile.mkdtemp(prefix="qunfen-bench-"))).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    try:
        for rules in (int(part) for part in given.rules.split(",")):
            sides: dict[str, Side] = {}
            for _ in range(given.rounds):
                for title, start in (("werobot", werobot), ("qunfen", qunfen)):
                    if given.only in (None, title):
                        with start(folder, rules) as server:
                            side = measure(server, rules, given.seconds)
                        show(title, rules, side)
                        sides[title] = best(side, sides.get(title))
            if len(sides) == 2:
                ours, peer = sides["qunfen"], sides["werobot"]
                print(
                    f"{rules:>7,} ratio    {ours.closed.per_second / peer.closed.per_second:.1f} × "
                    "requests/s, "
                    f"{ours.closed.per_cpu_second / peer.closed.per_cpu_second:.1f} × requests per "
                    f"CPU second, p99 at 70 % {ours.open.quantile(0.99) * 1e3:.1f} ms",
                    flush=True,
                )
    finally:
        if given.folder is None:
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
