"""Runs the same jobs on many machines: the Celery app, its one task, and who tells it that a job is due.

The job table stays the truth (docs/decisions/0016-the-broker-is-a-bell.md): a message carries a job id and
nothing else. The task claims that row by its lease, as a thread would; a message that is lost is sent again,
one that comes twice finds the row taken, and while Redis is away workers look into the table themselves.
"""

import threading
from collections.abc import Mapping
from datetime import datetime, timedelta

from celery import Celery, signals
from kombu.exceptions import KombuError
from kombu.exceptions import OperationalError as NoBroker
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as NoConnection

from bot import clock, db, jobs, logs
from bot.jobs import Task
from bot.kept import QUEUE
from bot.runtime import Runtime
from bot.tasks import bound
from bot.workers import Workers, process_name

TASK = "qunfen.run"
# a task holds its message for one step of a job after another, up to this; then the next message goes on
HOLD_SECONDS = 50.0
# above the longest task: a step of under a minute begins before HOLD_SECONDS are over. A message that comes
# back while its task still runs finds the row claimed
VISIBLE_SECONDS = 600
SOCKET_SECONDS = 5.0  # a broker that went without a word must not hold a thread for ever
HEALTH_SECONDS = 5  # how often idle connections are asked
RESTORE_SECONDS = 5  # how often messages of workers that died are looked for
RESTORE_LIMIT = 100  # messages at a time

LOOK_SECONDS = 0.3  # how long a job that became due waits until it is announced
WINDOW = 200  # jobs announced at a time, so that a long queue of jobs is no long queue of messages
FIRST_REPEAT, LONGEST_REPEAT = 3.0, 300.0  # seconds until a job nobody took is told again; doubles
# what nobody took for so long, workers take without being told: Redis or every scheduler is away
LATE = timedelta(seconds=15)

log = logs.get()


def make_app(url: str) -> Celery:
    """The Celery app on this broker. Nothing but job ids as JSON goes through it, and nothing comes back."""
    app = Celery("qunfen", broker=url, set_as_current=False)
    app.conf.update(
        accept_content=["json"],
        task_serializer="json",
        task_ignore_result=True,
        result_backend=None,
        task_default_queue=QUEUE,
        task_create_missing_queues=False,
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        worker_prefetch_multiplier=1,
        # a lost connection takes no task down: its row is claimed, its lease is renewed
        worker_cancel_long_running_tasks_on_connection_loss=False,
        worker_enable_remote_control=False,  # nobody who reaches Redis commands our workers
        worker_send_task_events=False,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        broker_connection_retry=True,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,  # for ever
        broker_connection_timeout=SOCKET_SECONDS,
        # the sender tries again by itself in a moment; it must not be held here
        task_publish_retry=False,
        broker_transport_options={
            "visibility_timeout": VISIBLE_SECONDS,
            "unacked_restore_interval": RESTORE_SECONDS,
            "unacked_restore_throttle": 1,
            "unacked_restore_limit": RESTORE_LIMIT,
            "socket_timeout": SOCKET_SECONDS,
            "socket_connect_timeout": SOCKET_SECONDS,
            "socket_keepalive": True,
            "health_check_interval": HEALTH_SECONDS,
            # beside our own keys, and apart from any other Celery on the same Redis
            "unacked_key": f"{QUEUE}:unacked",
            "unacked_index_key": f"{QUEUE}:unacked_index",
            "unacked_mutex_key": f"{QUEUE}:unacked_mutex",
        },
    )
    return app


class Announcer:
    """Tells Celery which jobs are due, again where nobody took one. Any number may run: a double message is harmless.

    What it told is remembered here alone; after a restart everything that is due is told once more.
    """

    def __init__(self, rt: Runtime, app: Celery | None = None) -> None:
        self._rt = rt
        self._app = make_app(rt.config.redis_url) if app is None else app
        self._told: dict[tuple[int, datetime], tuple[float, float]] = {}  # -> when, wait after it
        self._away = False
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="announcer", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join()
        self._app.close()

    def announce(self) -> int:
        """Send the ids of jobs that are due and were not told lately; how many."""
        with db.reading(self._rt.engine) as session:
            found = jobs.due(session, self._rt.clock(), WINDOW)
        second = clock.tick_seconds()
        # whatever is not due any more was taken
        self._told = {each: self._told[each] for each in found if each in self._told}
        sent = 0
        for each in found:
            when, wait = self._told.get(each, (second, 0.0))
            if second < when + wait:
                continue
            self._app.send_task(TASK, (each[0],))
            self._told[each] = (second, min(max(wait * 2, FIRST_REPEAT), LONGEST_REPEAT))
            sent += 1
        return sent

    def try_once(self) -> None:
        """Announce; when Redis or the database is away, say so once and try the next time."""
        try:
            self.announce()
        except (NoBroker, KombuError, OSError) as problem:
            if not self._away:
                log.error("broker_unavailable", error=type(problem).__name__)
            self._away = True
            self._told = {}  # whatever Redis had may be lost with it
        except (DBAPIError, NoConnection) as problem:
            log.error("database_unavailable", error=type(problem).__name__, worker="announcer")
        else:
            if self._away:
                log.info("broker_back")
            self._away = False

    def _run(self) -> None:
        while not self._stopping.wait(LOOK_SECONDS):
            self.try_once()


class Runner:
    """The task itself: runs jobs of this process by their ids, until it is told to stop."""

    def __init__(self, rt: Runtime, tasks: Mapping[str, Task] | None = None) -> None:
        self._rt = rt
        self._tasks = bound(rt) if tasks is None else tasks
        self._process = process_name()
        self._stopping = threading.Event()

    def stop(self) -> None:
        """No further step; what is at hand is finished."""
        self._stopping.set()

    def run(self, job_id: int) -> int:
        """Run this job step by step while it is due, at most HOLD_SECONDS; how many steps.

        0: somebody else has it, or it was told twice.
        """
        owner = f"{self._process}:{threading.get_ident()}"
        until = clock.tick_seconds() + HOLD_SECONDS
        steps = 0
        try:
            while not self._stopping.is_set() and jobs.run_one(
                self._rt.engine, self._tasks, self._rt.clock, owner, job_id=job_id
            ):
                steps += 1
                if clock.tick_seconds() > until:
                    break
        except (DBAPIError, NoConnection) as problem:
            # the job's row is as it was; it is told again, or its lease expires
            log.error("database_unavailable", error=type(problem).__name__, worker=owner)
        return steps


def work(rt: Runtime, threads: int, tasks: Mapping[str, Task] | None = None) -> None:
    """Take job ids from the broker in ``threads`` threads until SIGTERM; ends when the jobs at hand did.

    Threads rather than forked children: a child would inherit connections in mid-sentence, and children
    of a worker that was killed live on. More processors are used by more processes.
    """
    app = make_app(rt.config.redis_url)
    runner = Runner(rt, tasks)
    app.task(name=TASK)(runner.run)
    late = Workers(rt, 1, tasks, late=LATE)

    def quiet(**_: object) -> None:
        """Celery leaves logging as it is where somebody answers this signal."""

    def forked(**_: object) -> None:
        """Whoever chooses forked children all the same: connections of the parent are not theirs."""
        rt.engine.dispose(close=False)

    def stopping(**_: object) -> None:
        runner.stop()

    signals.setup_logging.connect(quiet)
    signals.worker_process_init.connect(forked)
    signals.worker_shutting_down.connect(stopping)
    late.start()
    try:
        app.Worker(
            pool="threads",
            concurrency=threads,
            hostname=f"qunfen@{process_name()}",
            quiet=True,
            without_gossip=True,
            without_mingle=True,
            without_heartbeat=True,
        ).start()
    finally:
        late.stop()
