"""The job table (任务) is the truth about work to do later.

Enqueue in the caller's transaction, claim by lease, run, retry, give up.
Who runs the jobs (threads of this process, or workers on many machines) only calls ``run_one``; who tells
other machines that a job is due only reads ``due``.
"""

import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from bot import db, logs
from bot.db import Session
from bot.errors import Refused, WeChatError
from bot.tables.jobs import jobs

LEASE = timedelta(seconds=60)
RENEW_SECONDS = (
    20.0  # a third of the lease: two renewals may be late before anybody else takes over
)
MAX_TRIES = 8
FIRST_WAIT = timedelta(seconds=10)
MOST_DOUBLINGS = 9  # 10 s doubled nine times is past the longest wait
LONGEST_WAIT = timedelta(hours=1)
KEEP_DONE = timedelta(days=7)
PRUNE_LIMIT = 5000  # rows a transaction, so that pushes never wait long for SQLite's one writer
ERROR_CHARACTERS = 1000
LISTED = 50  # jobs a page

log = logs.get()


@dataclass(frozen=True, slots=True)
class Again:
    """What a task returns that has more to do: run me again in ``seconds``, with ``arguments`` if they changed.

    A long job is cut this way into steps of under a minute. Each step starts with fresh tries.
    """

    seconds: float = 0.0
    arguments: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class JobContext:
    """What a task is handed. ``heartbeat`` renews the lease and says whether the job is still ours.

    A thread renews it too; call it only between transactions, never inside one.
    """

    engine: Engine
    clock: Callable[[], datetime]
    job_id: int
    name: str
    arguments: Mapping[str, Any]
    account_id: int | None = None
    tries: int = 1
    heartbeat: Callable[[], bool] = field(default=lambda: True)


Task = Callable[[JobContext], Again | None]


@dataclass(frozen=True, slots=True)
class DeadJob:
    """A job that was given up, as an operator sees it."""

    id: int
    name: str
    account_id: int | None
    arguments: Mapping[str, Any]
    tries: int
    error: str
    finished_at: datetime


def enqueue(
    session: Session,
    name: str,
    arguments: Mapping[str, Any],
    *,
    now: datetime,
    unique_key: str | None = None,
    run_at: datetime | None = None,
    account_id: int | None = None,
) -> int | None:
    """Write a job in the caller's transaction: its id, or None when ``unique_key`` is taken (by a finished job too)."""
    return db.insert_first(
        session,
        jobs,
        {
            "account_id": account_id,
            "name": name,
            "arguments": dict(arguments),
            "unique_key": unique_key,
            "run_at": run_at or now,
            "state": "waiting",
            "tries": 0,
            "created_at": now,
        },
    )


def due(session: Session, now: datetime, limit: int) -> list[tuple[int, datetime]]:
    """Jobs anybody may take now, and since when; the one that has been due longest first."""
    rows = session.execute(
        sa.select(jobs.c.id, jobs.c.run_at)
        .where(_free(now))
        .order_by(jobs.c.run_at, jobs.c.id)
        .limit(limit)
    )
    return [(row.id, row.run_at) for row in rows]


def run_one(
    engine: Engine,
    tasks: Mapping[str, Task],
    clock: Callable[[], datetime],
    owner: str,
    *,
    job_id: int | None = None,
    late: timedelta = timedelta(0),
) -> bool:
    """Run the job that has been due longest, or the one with ``job_id``; False when that is not due.

    ``late`` leaves alone what has been due for a shorter time: somebody who was told of it comes first.

    1. Claim it by lease and commit. A lease that expired is taken again and counts as a try.
    2. Run it while a thread of its own renews the lease.
    3. Store the outcome, if the job is still ours.

    ``owner`` names one thread of one process; no two may share it.
    """
    job = _claim(engine, clock(), owner, job_id, late)
    if job is None:
        return False
    if job.tries > MAX_TRIES:  # every try ended with its process
        _finish(engine, job, {"state": "dead", "finished_at": clock(), "lease_until": None})
        log.error("job_dead", job=job.id, name=job.name)
        return True
    try:
        with _renewing(engine, job, clock) as heartbeat:
            task = tasks.get(job.name)
            if task is None:
                raise Refused(f"nothing here runs a job called '{job.name}'")
            result = task(
                JobContext(
                    engine=engine,
                    clock=clock,
                    job_id=job.id,
                    name=job.name,
                    arguments=job.arguments,
                    account_id=job.account_id,
                    tries=job.tries,
                    heartbeat=heartbeat,
                )
            )
    except Exception as problem:
        _finish(engine, job, _failed(job, problem, clock()))
        return True
    _finish(engine, job, _succeeded(job, result, clock()))
    return True


def progress(session: Session, job_id: int, done: int, total: int) -> None:
    """Store how far a job has come, for the console's bar."""
    session.execute(
        sa.update(jobs).where(jobs.c.id == job_id).values(progress={"done": done, "total": total})
    )


@dataclass(frozen=True, slots=True)
class Looked:
    """How far a job has come. ``total`` is 0 while nobody knows."""

    name: str
    state: str
    done: int
    total: int
    error: str


def look(session: Session, account_id: int, job_id: int) -> Looked | None:
    """A job of this account; None where there is none with this id."""
    row = session.execute(
        sa.select(jobs).where(jobs.c.id == job_id, jobs.c.account_id == account_id)
    ).one_or_none()
    if row is None:
        return None
    told = row.progress or {}
    return Looked(row.name, row.state, told.get("done", 0), told.get("total", 0), row.error or "")


def listed(
    session: Session,
    account_id: int | None,
    *,
    state: str = "",
    name: Sequence[str] | None = None,
    before: int = 0,
) -> list[Any]:
    """Jobs, the newest first, older than the job ``before``: up to LISTED rows and one more where there are more.

    ``account_id`` None: every account's and the installation's own. ``name``: one of these names.
    """
    rows = sa.select(jobs).where(*_of(account_id, state, name))
    if before:
        rows = rows.where(jobs.c.id < before)
    return list(session.execute(rows.order_by(jobs.c.id.desc()).limit(LISTED + 1)).all())


def count(
    session: Session, account_id: int | None, *, state: str = "", name: Sequence[str] | None = None
) -> int:
    """How many jobs ``listed`` goes through."""
    return session.execute(
        sa.select(sa.func.count()).select_from(jobs).where(*_of(account_id, state, name))
    ).scalar_one()


def open_arguments(
    session: Session, name: str, account_id: int | None = None
) -> list[Mapping[str, Any]]:
    """Arguments of the jobs of this name that wait or run (of one account, when given)."""
    found = sa.select(jobs.c.arguments).where(
        jobs.c.name == name, jobs.c.state.in_(("waiting", "running"))
    )
    if account_id is not None:
        found = found.where(jobs.c.account_id == account_id)
    return list(session.execute(found).scalars())


def dead(session: Session, limit: int = 100) -> list[DeadJob]:
    """Jobs that were given up, the latest first."""
    rows = session.execute(
        sa.select(jobs).where(jobs.c.state == "dead").order_by(jobs.c.id.desc()).limit(limit)
    )
    return [
        DeadJob(
            id=row.id,
            name=row.name,
            account_id=row.account_id,
            arguments=row.arguments,
            tries=row.tries,
            error=row.error or "",
            finished_at=row.finished_at,
        )
        for row in rows
    ]


def retry(session: Session, job_id: int, now: datetime) -> None:
    """An operator's retry of a dead job, with fresh tries.

    Raises:
        Refused: the job does not exist or is not dead.
    """
    changed = session.execute(
        sa.update(jobs)
        .where(jobs.c.id == job_id, jobs.c.state == "dead")
        .values(state="waiting", run_at=now, tries=0, finished_at=None, lease_owner=None)
        .returning(jobs.c.id)
    ).scalar()
    if changed is None:
        raise Refused(f"job {job_id} is not among the dead ones, so it cannot be retried")


def prune(session: Session, now: datetime) -> int:
    """Delete up to 5,000 jobs that finished more than 7 days ago; dead ones stay. How many went."""
    old = (
        sa.select(jobs.c.id)
        .where(jobs.c.state == "done", jobs.c.finished_at < now - KEEP_DONE)
        .limit(PRUNE_LIMIT)
    )
    return len(
        session.execute(
            sa.delete(jobs).where(jobs.c.id.in_(old.scalar_subquery())).returning(jobs.c.id)
        ).all()
    )


def wait_after(tries: int) -> timedelta:
    """How long to wait after the n-th failed try: 10 s, 20 s, 40 s … at most an hour."""
    doublings = min(max(tries - 1, 0), MOST_DOUBLINGS)
    return min(FIRST_WAIT * (1 << doublings), LONGEST_WAIT)


def _of(
    account_id: int | None, state: str, name: Sequence[str] | None
) -> list[sa.ColumnElement[bool]]:
    clauses: list[sa.ColumnElement[bool]] = []
    if account_id is not None:
        clauses.append(jobs.c.account_id == account_id)
    if state:
        clauses.append(jobs.c.state == state)
    if name is not None:
        clauses.append(jobs.c.name.in_(list(name)))
    return clauses


def _free(since: datetime) -> sa.ColumnElement[bool]:
    waiting = sa.and_(jobs.c.state == "waiting", jobs.c.run_at <= since)
    abandoned = sa.and_(jobs.c.state == "running", jobs.c.lease_until <= since)
    return sa.or_(waiting, abandoned)


def _claim(engine: Engine, now: datetime, owner: str, job_id: int | None, late: timedelta) -> Any:
    free = _free(now - late)
    if job_id is not None:
        free = sa.and_(jobs.c.id == job_id, free)
    # look before locking: an idle worker must not take SQLite's one write lock every second
    with db.reading(engine) as session:
        if session.execute(sa.select(jobs.c.id).where(free).limit(1)).scalar() is None:
            return None
    with db.writing(engine) as session:
        rows = db.claim(
            session,
            jobs,
            free,
            {
                "state": "running",
                "lease_until": now + LEASE,
                "lease_owner": owner,
                "tries": jobs.c.tries + 1,
            },
            order_by=[jobs.c.run_at, jobs.c.id],
            limit=1,
        )
    return rows[0] if rows else None


def _ours(job: Any) -> sa.ColumnElement[bool]:
    return sa.and_(
        jobs.c.id == job.id,
        jobs.c.state == "running",
        jobs.c.lease_owner == job.lease_owner,
        jobs.c.tries == job.tries,
    )


def _finish(engine: Engine, job: Any, values: Mapping[str, Any]) -> None:
    with db.writing(engine) as session:
        kept = session.execute(
            sa.update(jobs).where(_ours(job)).values(**values).returning(jobs.c.id)
        ).scalar()
    if kept is None:
        log.warning("job_lost", job=job.id, name=job.name, owner=job.lease_owner)


def _succeeded(job: Any, result: Again | None, now: datetime) -> dict[str, Any]:
    if result is None:
        return {"state": "done", "finished_at": now, "lease_until": None, "error": None}
    return {
        "state": "waiting",
        "run_at": now + timedelta(seconds=result.seconds),
        "lease_until": None,
        "tries": 0,
        "error": None,
        "arguments": job.arguments if result.arguments is None else dict(result.arguments),
    }


def _failed(job: Any, problem: Exception, now: datetime) -> dict[str, Any]:
    error = logs.clean(f"{type(problem).__name__}: {problem}")[:ERROR_CHARACTERS]
    log.error("job_failed", job=job.id, name=job.name, tries=job.tries, exc_info=problem)
    # what the platform refuses for good is refused again: an operator decides at once
    hopeless = isinstance(problem, WeChatError) and problem.permanent
    if hopeless or job.tries >= MAX_TRIES:
        return {"state": "dead", "finished_at": now, "lease_until": None, "error": error}
    return {
        "state": "waiting",
        "run_at": now + wait_after(job.tries),
        "lease_until": None,
        "error": error,
    }


@contextlib.contextmanager
def _renewing(
    engine: Engine, job: Any, clock: Callable[[], datetime]
) -> Iterator[Callable[[], bool]]:
    ended = threading.Event()

    def heartbeat() -> bool:
        with db.writing(engine) as session:
            renewed = session.execute(
                sa.update(jobs)
                .where(_ours(job))
                .values(lease_until=clock() + LEASE)
                .returning(jobs.c.id)
            ).scalar()
        return renewed is not None

    def keep_renewing() -> None:
        while not ended.wait(RENEW_SECONDS):
            try:
                if not heartbeat():
                    return
            except sa.exc.SQLAlchemyError as problem:  # the next beat may find the database again
                log.warning("job_not_renewed", job=job.id, error=str(problem))

    thread = threading.Thread(target=keep_renewing, name=f"renew-job-{job.id}", daemon=True)
    thread.start()
    try:
        yield heartbeat
    finally:
        ended.set()
        thread.join()
