"""Long-running processes: everything in one (``qunfen run``), or web, scheduler and worker apart."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from importlib import import_module
from pathlib import Path
from types import FrameType
from typing import Any

import requests
from flask import Flask
from granian import Granian
from granian.constants import HTTPModes, Interfaces
from granian.log import LogLevels
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as NoConnection
from waitress.server import create_server

from bot import clock, logs, runtime, scheduler
from bot.app import create_app, settled
from bot.config import INSTANCE, Config, load_config
from bot.errors import Refused
from bot.runtime import Runtime
from bot.workers import Workers

WEB_THREADS = 16  # of the one process: a push waits for its commit most of the time
WORKER_THREADS = 8  # of each web worker; more only wait for each other (docs/performance.md)
SANDBOX_PORT = 8001
SANDBOX_START_SECONDS = 20.0
STOP_SECONDS = 20.0
COUNT_SECONDS = 10.0  # how often a web process stores how many calls of the platform it made

log = logs.get()


class Stop:
    """Ends a process cleanly at SIGTERM or Ctrl-C; a second signal ends it at once."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self._at: list[Callable[[], None]] = []
        signal.signal(signal.SIGTERM, self._ask)
        signal.signal(signal.SIGINT, self._ask)

    def wait(self) -> None:
        # a bounded wait lets the signal handler run on every platform
        while not self._event.wait(1.0):
            pass

    def _ask(self, number: int, _frame: FrameType | None) -> None:
        if self._event.is_set():
            os._exit(128 + number)
        self._event.set()


def run_all(rt: Runtime, host: str, port: int, ready: Callable[[str], None]) -> None:
    """Callback, console, scheduler and workers in this process until it is told to stop.

    ``ready`` is called with the address once requests are answered. Stopping finishes what is at
    hand: nothing is lost, and what was killed instead is taken up again by its lease.

    Raises:
        Refused: the port is taken.
    """
    stop = Stop()
    with ExitStack() as open_things:
        open_things.callback(rt.close)
        workers = Workers(rt)
        workers.start()
        open_things.callback(workers.stop)
        bells = scheduler.start(rt, workers.wake)
        open_things.callback(bells.shutdown)
        open_things.enter_context(_announcing(rt))
        open_things.enter_context(_listening(rt, host, port))
        ready(address(host, port))
        stop.wait()


def address(host: str, port: int) -> str:
    """Where a browser on this machine finds a server that listens there."""
    everywhere = ("0.0.0.0", "::", "")  # noqa: S104 -- compared, not bound
    shown = "127.0.0.1" if host in everywhere else f"[{host}]" if ":" in host else host
    return f"http://{shown}:{port}"


def run_web(host: str, port: int, workers: int) -> None:
    """The HTTP doors alone, in ``workers`` processes; what any WSGI server does on ``wsgi:application``.

    Raises:
        Refused: the port is taken.
    """
    if _taken(host, port):
        raise Refused(f"port {port} is taken by another program")
    Granian(
        "bot.serve:web_application",
        factory=True,
        address=host,
        port=port,
        interface=Interfaces.WSGI,
        workers=workers,
        blocking_threads=WORKER_THREADS,
        http=HTTPModes.http1,
        websockets=False,
        log_level=LogLevels.warning,
        respawn_failed_workers=True,
    ).serve()


def web_application() -> Flask:
    """The application of one process of ``run_web``, which ends when its parent was killed and holds no port."""
    parent = os.getppid()
    config = load_config(os.environ)
    rt = runtime.build(config)

    def watch() -> None:
        since = clock.tick_seconds()
        while os.getppid() == parent:
            clock.pause(1.0)
            if clock.tick_seconds() > since + COUNT_SECONDS:
                since = clock.tick_seconds()
                with suppress(DBAPIError, NoConnection):  # it is stored the next time
                    rt.governor.flush(rt.engine)
        os._exit(1)  # what was not committed is repeated by the platform

    threading.Thread(target=watch, name="parent-watch", daemon=True).start()
    return settled(create_app(config, rt))


def run_scheduler(rt: Runtime) -> None:
    """The bell of periodic jobs and the fast ones that do not send. A second one is harmless."""
    logs.configure(rt.config.log_format)
    stop = Stop()
    with ExitStack() as open_things:
        open_things.callback(rt.close)
        bells = scheduler.start(rt, parts=(scheduler.SCHEDULER,))
        open_things.callback(bells.shutdown)
        open_things.enter_context(_announcing(rt))
        stop.wait()


def run_worker(rt: Runtime, threads: int, *, plain: bool = False) -> None:
    """Sends, and runs jobs in ``threads`` threads; as many processes on as many machines as needed.

    With Redis it is told of jobs by Celery; without, or ``plain``, its threads look for them.

    Raises:
        Refused: Redis is set, but Celery is not installed.
    """
    logs.configure(rt.config.log_format)
    told = _distributed() if rt.config.redis_url and not plain else None
    with ExitStack() as open_things:
        open_things.callback(rt.close)
        bells = scheduler.start(rt, parts=(scheduler.WORKER,))
        open_things.callback(bells.shutdown)
        if told is not None:
            told.work(rt, threads)
            return
        stop = Stop()
        workers = Workers(rt, threads)
        workers.start()
        open_things.callback(workers.stop)
        stop.wait()


@contextmanager
def _announcing(rt: Runtime) -> Iterator[None]:
    """Tell workers of other processes what is due, where there is a broker."""
    if not rt.config.redis_url:
        yield
        return
    announcer = _distributed().Announcer(rt)
    announcer.start()
    try:
        yield
    finally:
        announcer.stop()


def _distributed() -> Any:
    """Celery comes with the extra ``server``; one machine needs neither.

    Raises:
        Refused: it is not installed.
    """
    try:
        return import_module("bot.distributed")
    except ModuleNotFoundError as problem:
        raise Refused(
            "设置了 QUNFEN_REDIS_URL，但没有安装 Celery；请执行 pip install 'qunfen[server]' "
            f"(QUNFEN_REDIS_URL is set and {problem.name} is missing: pip install 'qunfen[server]')"
        ) from None


@contextmanager
def sandbox(port: int = SANDBOX_PORT, folder: Path = INSTANCE) -> Iterator[str]:
    """The local platform in a process of its own, so that killing the product never kills it; its address.

    One of this installation that still runs from before (the product was killed) is taken over.

    Raises:
        Refused: the port is taken by something else, or it does not start.
    """
    address = f"http://127.0.0.1:{port}"
    note = folder / "sandbox.pid"
    if is_sandbox(address):
        if not _is_ours(address, folder / "sandbox.db"):
            raise Refused(
                f"端口 {port} 上是另一处安装的沙箱，请用 --sandbox-port 换一个 "
                f"(the sandbox on port {port} is another installation's: choose a --sandbox-port)"
            )
    else:
        if _taken("127.0.0.1", port):
            raise Refused(
                f"端口 {port} 被别的程序占用，请用 --sandbox-port 换一个 "
                f"(port {port} is taken by another program: choose a --sandbox-port)"
            )
        folder.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "bot.sandbox.serve", "--port", str(port)]
        with (folder / "sandbox.log").open("ab") as output:
            # a session of its own: Ctrl-C in the terminal stops the product first, then this
            process = subprocess.Popen(  # noqa: S603 -- our own interpreter and module
                [*command, "--path", str(folder / "sandbox.db")],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        note.write_text(str(process.pid), encoding="ascii")
        _until(lambda: is_sandbox(address), SANDBOX_START_SECONDS, lambda: process.poll() is None)
    try:
        yield address
    finally:
        _end(note, address)


def _is_ours(address: str, state: Path) -> bool:
    told = _control(address, "about")
    try:
        return told is not None and Path(str(told.get("file"))).samefile(state)
    except OSError:
        return False


def _end(note: Path, address: str) -> None:
    if not note.exists():
        return  # somebody started it by hand: it is theirs to end
    try:
        pid = int(note.read_text(encoding="ascii"))
        if is_sandbox(address):
            os.kill(pid, signal.SIGTERM)
            _until(lambda: not is_sandbox(address), STOP_SECONDS, lambda: True)
        note.unlink(missing_ok=True)
    except (OSError, ValueError, Refused):
        log.warning("sandbox_not_stopped", address=address)


def _until(true: Callable[[], bool], seconds: float, alive: Callable[[], bool]) -> None:
    deadline = clock.tick_seconds() + seconds
    while not true():
        if clock.tick_seconds() > deadline or not alive():
            raise Refused("the sandbox did not start; instance/sandbox.log says why")
        threading.Event().wait(0.05)


def is_sandbox(address: str) -> bool:
    """Whether a sandbox answers at this address."""
    told = _control(address, "clock")
    return told is not None and "now" in told


def _control(address: str, name: str) -> dict[str, Any] | None:
    try:
        with requests.Session() as http:
            http.trust_env = False
            answer = http.post(f"{address}/sandbox/{name}", json={}, timeout=2)
        told = answer.json() if answer.status_code == 200 else None
    except (requests.RequestException, json.JSONDecodeError):
        return None
    return told if isinstance(told, dict) else None


def _taken(host: str, port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return True
    return False


@contextmanager
def _listening(rt: Runtime, host: str, port: int) -> Iterator[None]:
    config: Config = rt.config
    try:
        server = create_server(
            settled(create_app(config, rt)), host=host, port=port, threads=WEB_THREADS, ident=None
        )
    except OSError as problem:
        raise Refused(
            f"不能在 {host}:{port} 上监听，请用 --port 换一个端口 "
            f"(cannot listen on {host}:{port}: {problem.strerror}; choose a --port)"
        ) from None
    thread = threading.Thread(target=server.run, name="http", daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.close()
        thread.join(STOP_SECONDS)
