"""Threads run what is due, hear the bell at once, and stop at once."""

import queue
import threading
from collections.abc import Iterator

import pytest
import sqlalchemy as sa
from pydantic import SecretStr

from bot import clock, db, jobs, runtime
from bot.config import Config
from bot.jobs import JobContext
from bot.runtime import Runtime
from bot.tables.jobs import jobs as table
from bot.workers import Workers, run_due
from tests.factories import SECRET_KEY, at

PATIENCE = 20.0  # seconds before a test gives up; none of them waits for it


@pytest.fixture
def rt(database_url: str, engine: sa.Engine) -> Iterator[Runtime]:
    config = Config(database_url=database_url, secret_key=SecretStr(SECRET_KEY))
    built = runtime.build(config)
    yield built
    built.close()


def put(engine: sa.Engine, number: int) -> None:
    with db.writing(engine) as session:
        jobs.enqueue(session, "greet", {"number": number}, now=clock.now())


def test_workers_run_every_job_once_and_stop(rt: Runtime, engine: sa.Engine) -> None:
    done: queue.Queue[int] = queue.Queue()
    for number in range(10):
        put(engine, number)
    workers = Workers(rt, 2, {"greet": lambda context: done.put(context.arguments["number"])})
    workers.start()
    ran = [done.get(timeout=PATIENCE) for _ in range(10)]
    workers.stop()
    assert sorted(ran) == list(range(10))
    assert done.empty()


def test_a_bell_wakes_an_idle_worker(
    rt: Runtime, engine: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    # without the bell this worker would look again only after an hour
    monkeypatch.setattr("bot.workers.IDLE_SECONDS", 3600.0)
    done: queue.Queue[int] = queue.Queue()
    workers = Workers(rt, 2, {"greet": lambda context: done.put(context.arguments["number"])})
    workers.start()
    put(engine, 7)
    workers.wake()
    assert done.get(timeout=PATIENCE) == 7
    workers.stop()


def test_stopping_lets_the_job_at_hand_finish(rt: Runtime, engine: sa.Engine) -> None:
    begun, may_end = threading.Event(), threading.Event()

    def slow(context: JobContext) -> None:
        begun.set()
        assert may_end.wait(PATIENCE)

    put(engine, 1)
    workers = Workers(rt, 1, {"greet": slow})
    workers.start()
    assert begun.wait(PATIENCE)
    stopping = threading.Thread(target=workers.stop)
    stopping.start()
    may_end.set()
    stopping.join(PATIENCE)
    assert not stopping.is_alive()
    with db.reading(engine) as session:
        assert session.execute(sa.select(table.c.state)).scalar_one() == "done"


@pytest.mark.sqlite
def test_a_worker_outlives_a_database_that_is_away(rt: Runtime) -> None:
    workers = Workers(rt, 1, {})
    with db.writing(rt.engine) as session:
        session.execute(sa.text("ALTER TABLE jobs RENAME TO away"))
    assert workers._run_one("one") is False
    with db.writing(rt.engine) as session:
        session.execute(sa.text("ALTER TABLE away RENAME TO jobs"))
    assert workers._run_one("one") is False


def test_due_work_can_be_run_in_place(rt: Runtime, engine: sa.Engine) -> None:
    with db.writing(engine) as session:
        for name in ("prune", "expire_tags"):
            jobs.enqueue(session, name, {}, now=at("2025-03-03 09:00"))
    assert run_due(rt) == 2
    assert run_due(rt) == 0
