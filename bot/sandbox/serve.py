"""The platform as a process of its own: HTTP server, a thread that runs due jobs, a clean SIGTERM."""

import argparse
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from urllib.parse import urlsplit

import requests
from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server

from bot.sandbox import accounts, acts, links, personas
from bot.sandbox.app import create_app
from bot.sandbox.limits import PUSH_TIMEOUT_SECONDS
from bot.sandbox.platform import Platform

DUE_EVERY_SECONDS = 0.5
LIVE_EVERY_SECONDS = 10.0
LIVE_ACTS = 3
DEFAULT_PORT = 8001


def http_deliver() -> Callable[[str, bytes, str], tuple[int, bytes]]:
    """Push over HTTP, one connection pool a thread, giving up after 5 seconds of silence."""
    local = threading.local()

    def deliver(url: str, body: bytes, content_type: str) -> tuple[int, bytes]:
        session: requests.Session | None = getattr(local, "session", None)
        if session is None:
            session = local.session = requests.Session()
            session.trust_env = False  # callbacks are on this machine, never behind a proxy
        if not content_type:
            response = session.get(url, timeout=PUSH_TIMEOUT_SECONDS)
        else:
            response = session.post(
                url, data=body, headers={"Content-Type": content_type}, timeout=PUSH_TIMEOUT_SECONDS
            )
        return response.status_code, response.content

    return deliver


class _Quiet(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Nothing: thousands of calls a minute."""


def open_platform(path: str) -> Platform:
    """A platform on a file that pushes over HTTP; its clock comes back from the file."""
    return Platform(path, None, http_deliver(), time.sleep)


class Server:
    """A platform listening on a socket, with its thread for due jobs. Port 0 picks a free one."""

    def __init__(
        self, platform: Platform, host: str = "127.0.0.1", port: int = 0, *, live: bool = False
    ) -> None:
        """``live`` lets a few personas act every ten seconds."""
        self.platform = platform
        self._server: BaseWSGIServer = make_server(
            host, port, create_app(platform), threaded=True, request_handler=_Quiet
        )
        self.url = f"http://{host}:{self._server.server_port}"
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._server.serve_forever, name="sandbox-http", daemon=True),
            threading.Thread(target=self._run_due, name="sandbox-due", daemon=True),
        ]
        if live:
            self._threads.append(
                threading.Thread(target=self._live, name="sandbox-live", daemon=True)
            )
        platform.open_link = links.opener(requests.Session, self._own_hosts)

    def _run_due(self) -> None:
        while not self._stop.wait(DUE_EVERY_SECONDS):
            self.platform.run_due()

    def _own_hosts(self) -> set[str]:
        callbacks = {each.callback_url or "" for each in accounts.every(self.platform.store)}
        return {urlsplit(url).netloc for url in (*callbacks, self.url)}

    def _live(self) -> None:
        while not self._stop.wait(LIVE_EVERY_SECONDS):
            if self.platform.clock.frozen_at is not None:
                continue  # a stopped clock: somebody plays with time, nobody lives
            for account in accounts.every(self.platform.store):
                with suppress(acts.NotPossible):
                    personas.live(self.platform, account.app_id, LIVE_EVERY_SECONDS, LIVE_ACTS)

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def wait(self) -> None:
        """Until ``stop`` is called, by a signal for example."""
        while not self._stop.wait(0.5):
            pass

    def ask_to_stop(self) -> None:
        self._stop.set()

    def stop(self) -> None:
        self._stop.set()
        self._server.shutdown()
        for thread in self._threads[1:]:
            thread.join(10)
        self._server.server_close()
        self.platform.store.close()


def serve(
    path: str,
    host: str = "127.0.0.1",
    port: int = DEFAULT_PORT,
    *,
    live: bool = False,
    ready: Callable[[str], None] | None = None,
) -> None:
    """Serve the platform of a file until SIGTERM or Ctrl-C; ``ready`` is told the address once it listens."""
    server = Server(open_platform(path), host, port, live=live)

    def end(number: int, frame: FrameType | None) -> None:
        server.ask_to_stop()

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    server.start()
    if ready is not None:
        ready(server.url)
    try:
        server.wait()
    finally:
        server.stop()


def main() -> None:
    """``python -m bot.sandbox.serve --path instance/sandbox.db --port 8001``."""
    parser = argparse.ArgumentParser(
        prog="bot.sandbox.serve", description="本地微信沙箱 local WeChat sandbox"
    )
    parser.add_argument("--path", default="instance/sandbox.db")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=DEFAULT_PORT)
    parser.add_argument("--live", action="store_true", help="粉丝自己活动 let personas act")
    options = parser.parse_args()
    serve(options.path, options.host, options.port, live=options.live, ready=_tell)


def _tell(url: str) -> None:
    sys.stdout.write(f"{url}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
