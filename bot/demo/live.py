"""Keeps a running demo alive: a few followers of the sandbox act every some seconds, faster than real ones."""

import threading

import requests

from bot import logs
from bot.demo.load import APP_ID, Control
from bot.errors import Refused

EVERY_SECONDS = 6.0
PASSES_SECONDS = 1_800  # of follower life in each step


class Life:
    """A thread that lets followers act until it is stopped."""

    def __init__(self, control: Control) -> None:
        self._control = control
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="demo-life", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join(timeout=10)

    def _run(self) -> None:
        while not self._stopped.wait(EVERY_SECONDS):
            try:
                self._control("live", {"app_id": APP_ID, "seconds": PASSES_SECONDS})
            except (requests.RequestException, Refused) as problem:
                logs.get().warning("demo_life", problem=type(problem).__name__)
