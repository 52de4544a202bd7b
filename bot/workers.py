"""Runs jobs in threads of this process, which find their work in the job table."""

import os
import secrets
import socket
import threading
from collections.abc import Mapping
from datetime import timedelta

from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as NoConnection

from bot import jobs, logs
from bot.jobs import Task
from bot.runtime import Runtime
from bot.tasks import TASKS, bound

IDLE_SECONDS = 1.0  # how long a job that nobody announced waits at the most

log = logs.get()
__all__ = ["TASKS", "Workers", "process_name", "run_due"]


class Workers:
    """Threads that run jobs until they are stopped. ``wake`` says there is new work.

    With ``late`` they take only what has been due for so long: what nobody came for who was told of it.
    """

    def __init__(
        self,
        runtime: Runtime,
        threads: int = 2,
        tasks: Mapping[str, Task] | None = None,
        *,
        late: timedelta = timedelta(0),
    ) -> None:
        self._runtime = runtime
        self._tasks = bound(runtime) if tasks is None else tasks
        self._late = late
        self._bell = threading.Condition()
        self._rung = 0
        self._stopping = False
        process = process_name()
        self._threads = [
            threading.Thread(
                target=self._work, args=(f"{process}:{number}",), name=f"worker-{number}"
            )
            for number in range(threads)
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def wake(self) -> None:
        """There may be work: idle threads look at once."""
        with self._bell:
            self._rung += 1
            self._bell.notify_all()

    def stop(self) -> None:
        """Finish the jobs at hand and end the threads; idle ones end at once."""
        with self._bell:
            self._stopping = True
            self._bell.notify_all()
        for thread in self._threads:
            thread.join()

    def _work(self, owner: str) -> None:
        while not self._stopping:
            heard = self._rung  # read before looking, so that no bell is missed in between
            if not self._run_one(owner):
                with self._bell:
                    self._bell.wait_for(
                        lambda: self._stopping or self._rung != heard,  # noqa: B023
                        timeout=IDLE_SECONDS,
                    )

    def _run_one(self, owner: str) -> bool:
        try:
            return jobs.run_one(
                self._runtime.engine, self._tasks, self._runtime.clock, owner, late=self._late
            )
        except (DBAPIError, NoConnection) as problem:
            # the job's row is as it was; when the database is back its lease has expired
            log.error("database_unavailable", error=type(problem).__name__, worker=owner)
            return False


def process_name() -> str:
    """A name no other process has, also after a restart in a container."""
    return f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"


def run_due(runtime: Runtime, limit: int = 1000) -> int:
    """Run due jobs here until none is left, at most ``limit``; how many ran. For tests and the demo."""
    tasks = bound(runtime)
    owner = f"inline:{secrets.token_hex(8)}"
    for ran in range(limit):
        if not jobs.run_one(runtime.engine, tasks, runtime.clock, owner):
            return ran
    return limit
