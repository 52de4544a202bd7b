"""The broker is a bell: what it carries may be lost or doubled, and every job runs once all the same."""

import json
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta

import pytest
import redis
import sqlalchemy as sa

from bot import clock as real_clock
from bot import db, distributed, jobs
from bot.clock import Clock
from bot.distributed import Announcer, Runner, make_app
from bot.jobs import Again, JobContext, Task
from bot.kept import QUEUE
from bot.runtime import Runtime
from bot.tables.jobs import jobs as table
from tests.factories import at

NOW = at("2025-03-03 09:00")


@pytest.fixture
def told() -> list[int]:
    """Ids a broker was told, in order."""
    return []


class Broker:
    """Stands where Celery's app stands, and may be away."""

    def __init__(self, told: list[int]) -> None:
        self.told = told
        self.away = False

    def send_task(self, name: str, arguments: tuple[int]) -> None:
        assert name == distributed.TASK
        if self.away:
            raise distributed.NoBroker("away")
        self.told.append(arguments[0])

    def close(self) -> None:
        pass


@pytest.fixture
def broker(told: list[int]) -> Broker:
    return Broker(told)


@pytest.fixture
def seconds(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The steady clock, which the announcer measures its waits by: nobody waits here."""
    passed = [1000.0]
    monkeypatch.setattr(real_clock, "tick_seconds", lambda: passed[0])
    return passed


def put(engine: sa.Engine, at: datetime = NOW, name: str = "greet") -> int:
    with db.writing(engine) as session:
        job_id = jobs.enqueue(session, name, {}, now=NOW, run_at=at)
    assert job_id is not None
    return job_id


def states(engine: sa.Engine) -> list[str]:
    with db.reading(engine) as session:
        return list(session.execute(sa.select(table.c.state).order_by(table.c.id)).scalars())


def test_what_is_due_is_told_once_and_again_when_nobody_takes_it(
    rt: Runtime, engine: sa.Engine, broker: Broker, told: list[int], seconds: list[float]
) -> None:
    announcer = Announcer(rt, broker)
    first, later = put(engine), put(engine, NOW + timedelta(seconds=1))
    assert announcer.announce() == 1
    assert announcer.announce() == 0
    assert told == [first]
    assert isinstance(rt.clock, Clock)
    rt.clock.move_to(NOW + timedelta(seconds=1))
    assert announcer.announce() == 1
    seconds[0] += distributed.FIRST_REPEAT - 1
    assert announcer.announce() == 0
    seconds[0] += 1
    assert announcer.announce() == 2
    seconds[0] += distributed.FIRST_REPEAT
    assert announcer.announce() == 0, "the wait doubles, so that a stuck queue does not fill Redis"
    assert told == [first, later, first, later]


def test_a_job_that_was_taken_is_not_told_again_but_its_next_step_is(
    rt: Runtime, engine: sa.Engine, broker: Broker, told: list[int]
) -> None:
    announcer = Announcer(rt, broker)
    job_id = put(engine)
    announcer.announce()
    runner = Runner(rt, {"greet": lambda _context: Again(seconds=5)})
    assert runner.run(job_id) == 1
    assert announcer.announce() == 0
    assert isinstance(rt.clock, Clock)
    rt.clock.move_to(NOW + timedelta(seconds=5))
    assert announcer.announce() == 1
    assert told == [job_id, job_id]


def test_no_more_than_a_window_is_told_at_a_time(
    rt: Runtime, engine: sa.Engine, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    # three stand for two hundred
    monkeypatch.setattr(distributed, "WINDOW", 3)
    announcer = Announcer(rt, broker)
    ids = [put(engine) for _ in range(5)]
    assert announcer.announce() == 3
    assert announcer.announce() == 0
    runner = Runner(rt, {"greet": lambda _context: None})
    for job_id in broker.told:
        runner.run(job_id)
    assert announcer.announce() == 2
    assert broker.told == ids


def test_after_the_broker_was_away_everything_due_is_told_again(
    rt: Runtime, engine: sa.Engine, broker: Broker
) -> None:
    announcer = Announcer(rt, broker)
    kept = put(engine)
    announcer.try_once()
    broker.away = True
    lost = put(engine)
    announcer.try_once()
    broker.away = False
    announcer.try_once()
    assert broker.told == [kept, kept, lost]


def test_two_schedulers_tell_twice_and_the_job_runs_once(
    rt: Runtime, engine: sa.Engine, broker: Broker
) -> None:
    job_id = put(engine)
    for _ in range(2):
        Announcer(rt, broker).announce()
    ran: list[int] = []
    runners = [Runner(rt, {"greet": lambda context: ran.append(context.job_id)}) for _ in range(2)]
    assert [runner.run(told) for runner, told in zip(runners, broker.told, strict=True)] == [1, 0]
    assert ran == [job_id]


def test_the_steps_of_a_long_job_share_a_message_for_less_than_a_minute(
    rt: Runtime, engine: sa.Engine, seconds: list[float]
) -> None:
    def step(_context: JobContext) -> Again:
        seconds[0] += 20
        return Again()

    assert Runner(rt, {"greet": step}).run(put(engine)) == 3
    assert states(engine) == ["waiting"]


def test_a_stopping_worker_begins_no_further_step(rt: Runtime, engine: sa.Engine) -> None:
    runner = Runner(rt, {})

    def step(_context: JobContext) -> Again:
        runner.stop()
        return Again()

    tasks: Mapping[str, Task] = {"greet": step}
    runner = Runner(rt, tasks)
    assert runner.run(put(engine)) == 1
    assert runner.run(put(engine)) == 0
    assert states(engine) == ["waiting", "waiting"]


def test_a_message_about_no_job_is_harmless(rt: Runtime) -> None:
    assert Runner(rt, {}).run(12345) == 0


def test_without_the_database_a_task_ends_quietly(rt: Runtime, engine: sa.Engine) -> None:
    job_id = put(engine)
    with db.writing(engine) as session:
        session.execute(sa.text("ALTER TABLE jobs RENAME TO jobs_gone"))
    assert Runner(rt, {}).run(job_id) == 0
    with db.writing(engine) as session:
        session.execute(sa.text("ALTER TABLE jobs_gone RENAME TO jobs"))


def test_late_threads_leave_what_was_just_told_to_whoever_heard_it(
    rt: Runtime, engine: sa.Engine
) -> None:
    put(engine)
    ran: list[int] = []
    tasks: Mapping[str, Task] = {"greet": lambda context: ran.append(context.job_id)}
    assert isinstance(rt.clock, Clock)

    def look() -> bool:
        return jobs.run_one(engine, tasks, rt.clock, "late", late=distributed.LATE)

    assert not look()
    rt.clock.move_to(NOW + distributed.LATE)
    assert look()
    assert len(ran) == 1


def test_nothing_but_json_and_nobody_commands_our_workers() -> None:
    settings = make_app("redis://127.0.0.1:1/0").conf
    assert settings.accept_content == ["json"]
    assert settings.task_serializer == "json"
    assert settings.task_acks_late and settings.task_reject_on_worker_lost
    assert settings.worker_prefetch_multiplier == 1
    assert settings.task_ignore_result and settings.result_backend is None
    assert not settings.worker_enable_remote_control
    assert settings.broker_connection_max_retries is None
    longest = distributed.HOLD_SECONDS + jobs.LEASE.total_seconds()
    assert settings.broker_transport_options["visibility_timeout"] > 2 * longest


@pytest.fixture
def queue(redis_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_url) as client:
        yield client


@pytest.mark.redis
def test_what_lies_in_redis_is_a_job_id_and_no_more(
    rt: Runtime, engine: sa.Engine, redis_url: str, queue: redis.Redis
) -> None:
    announcer = Announcer(rt, make_app(redis_url))
    job_id = put(engine)
    announcer.announce()
    message = json.loads(queue.lindex(QUEUE, 0))
    assert message["headers"]["task"] == distributed.TASK
    assert message["headers"]["argsrepr"] == f"({job_id},)"
    assert message["content-type"] == "application/json"


@pytest.mark.redis
def test_an_emptied_redis_is_told_anew(
    rt: Runtime, engine: sa.Engine, redis_url: str, queue: redis.Redis, seconds: list[float]
) -> None:
    announcer = Announcer(rt, make_app(redis_url))
    put(engine)
    announcer.announce()
    assert queue.llen(QUEUE) == 1
    queue.flushdb()
    assert queue.llen(QUEUE) == 0
    seconds[0] += distributed.FIRST_REPEAT
    announcer.announce()
    put(engine)
    announcer.announce()
    assert queue.llen(QUEUE) == 2
