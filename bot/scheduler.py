"""The table of periodic jobs. APScheduler only rings the bell: a tick enqueues a job keyed by its time slot.

So any number of schedulers is harmless. The fast ones only look for work and are called directly:
those that send by every worker, so that any number of machines share it, the others by the schedulers.
"""

import logging
import threading
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from datetime import datetime, time, timedelta

from apscheduler.schedulers.background import BackgroundScheduler
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as NoConnection

from bot import db, jobs, logs
from bot.clock import SHANGHAI, local
from bot.errors import Refused
from bot.jobs import Again, JobContext
from bot.runtime import Runtime
from bot.tasks import TASKS

BELL_SECONDS = 1  # how late a slot may begin
# the parts of an installation that call fast jobs; what a process keeps in memory is stored by every one
SCHEDULER, WORKER, EVERY = "scheduler", "worker", "every"
CATCH_UP_STEPS = 100_000  # of one job called by hand; a bound, so that a mistake ends

log = logs.get()


@dataclass(frozen=True, slots=True)
class Periodic:
    """One periodic job: every so many seconds, or daily ``at`` a Shanghai time.

    ``fast``: called directly, by every process of the part ``by``.
    """

    name: str
    seconds: int = 0
    at: time | None = None
    fast: bool = False
    instances: int = 1  # of a fast one, at once in this process
    by: str = SCHEDULER


PERIODIC: tuple[Periodic, ...] = (
    # a mass call may take many seconds; customer-service messages must not wait for it
    Periodic("outbox", 1, fast=True, instances=2, by=WORKER),
    Periodic("waves", 5, fast=True),
    Periodic("collect", 5, fast=True),
    Periodic("webhooks", 5, fast=True),
    Periodic("heartbeat", 10, fast=True),
    Periodic("count_calls", 10, fast=True, by=EVERY),
    Periodic("start", 15),
    Periodic("upload", 15),
    Periodic("temporary_tags", 15),
    Periodic("figures", 60),
    Periodic("audience_sets", 60),
    Periodic("rule_hits", 60),
    Periodic("rounds", 60),
    Periodic("trials", 60),
    Periodic("guard", 60),
    Periodic("late", 300),
    Periodic("aftermath", 300),
    Periodic("tag_sync", 300),
    Periodic("tag_counts", 900),
    Periodic("optimize", 3600),
    Periodic("quotas", 10_800),
    Periodic("quotas_of_the_day", at=time(0, 5)),
    Periodic("follower_sync", at=time(2, 30)),
    Periodic("templates", at=time(2, 50)),
    Periodic("expire_tags", at=time(3, 10)),
    Periodic("segment_sizes", at=time(3, 20)),  # after tags expired
    Periodic("tag_sweep", at=time(3, 20)),
    Periodic("erase", at=time(3, 30)),
    Periodic("rollup", at=time(3, 50)),  # before prune, which deletes no day that is not counted
    Periodic("prune", at=time(4, 0)),
)


def slot(periodic: Periodic, now: datetime) -> str:
    """The name of the present slot: its beginning. A daily slot lasts until the next day's."""
    if periodic.at is None:
        begins = datetime.fromtimestamp(
            now.timestamp() // periodic.seconds * periodic.seconds, tz=SHANGHAI
        )
        return begins.isoformat()
    wall = local(now)
    day = wall.date() if wall.time() >= periodic.at else wall.date() - timedelta(days=1)
    return f"{day.isoformat()}T{periodic.at:%H:%M}"


def tick(runtime: Runtime, name: str, now: datetime) -> None:
    """Run one job once, here and now, to its end.

    Raises:
        Refused: there is no job of this name.
    """
    task = TASKS.get(name)
    if task is None:
        raise Refused(f"there is no job '{name}'; known are {', '.join(sorted(TASKS))}")
    context = JobContext(
        engine=runtime.engine, clock=lambda: now, job_id=0, name=name, arguments={}
    )
    for _ in range(CATCH_UP_STEPS):
        result = task(runtime, context)
        if not isinstance(result, Again) or result.seconds > 0:
            return
        if result.arguments is not None:
            context = replace(context, arguments=result.arguments)


class Bell:
    """Remembers which slots it rang for, so that a second costs nothing when no slot begins."""

    def __init__(self, runtime: Runtime, wake: Callable[[], None] = lambda: None) -> None:
        self._runtime = runtime
        self._wake = wake
        self._rung: dict[str, str] = {}
        self._lock = threading.Lock()

    def ring(self) -> int:
        """Enqueue a job for every slot that began; how many. By the runtime's clock, which may be moved.

        A slot that was missed while nothing ran is made up once. A job of the same name that still
        waits or runs stands for the new one.
        """
        now = self._runtime.clock()
        with self._lock:
            begun = [
                (periodic, name)
                for periodic in PERIODIC
                if not periodic.fast
                and (name := slot(periodic, now)) != self._rung.get(periodic.name)
            ]
            if not begun:
                return 0
            enqueued = 0
            with db.writing(self._runtime.engine) as session:
                for periodic, name in begun:
                    if jobs.open_arguments(session, periodic.name):
                        continue
                    key = f"{periodic.name}:{name}"
                    made = jobs.enqueue(session, periodic.name, {}, now=now, unique_key=key)
                    enqueued += made is not None
            self._rung.update({periodic.name: name for periodic, name in begun})
        if enqueued:
            self._wake()
        return enqueued


def start(
    runtime: Runtime,
    wake: Callable[[], None] = lambda: None,
    parts: Collection[str] = (SCHEDULER, WORKER),
) -> BackgroundScheduler:
    """Call the fast jobs of these parts; the scheduler's also rings. End it with ``.shutdown()``.

    ``wake`` is called when there is new work.
    """
    # a fast job that is still at work is not an event worth a line a second
    logging.getLogger("apscheduler").setLevel(logging.ERROR)
    scheduler = BackgroundScheduler(
        timezone=SHANGHAI, job_defaults={"coalesce": True, "misfire_grace_time": None}
    )
    for periodic in PERIODIC:
        if periodic.fast and periodic.by in (EVERY, *parts):
            scheduler.add_job(
                _call,
                "interval",
                (runtime, periodic.name),
                seconds=periodic.seconds,
                id=periodic.name,
                max_instances=periodic.instances,
            )
    if SCHEDULER in parts:
        scheduler.add_job(Bell(runtime, wake).ring, "interval", seconds=BELL_SECONDS, id="bell")
    scheduler.start()
    return scheduler


def _call(runtime: Runtime, name: str) -> None:
    try:
        tick(runtime, name, runtime.clock())
    except (DBAPIError, NoConnection) as problem:
        # nothing is half done: what was claimed comes free by its lease
        log.error("database_unavailable", error=type(problem).__name__, fast_job=name)
