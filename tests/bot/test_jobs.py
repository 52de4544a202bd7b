"""A job runs once, is retried with patience, survives its process, and is never lost."""

import threading
from datetime import datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from bot import db, jobs
from bot.accounts import Account
from bot.clock import Clock
from bot.errors import Refused, WeChatError
from bot.jobs import Again, JobContext
from bot.tables.jobs import jobs as table
from tests.factories import at, open_id

START = at("2025-03-03 09:00")


@pytest.fixture
def clock() -> Clock:
    return Clock(frozen_at=START)


def put(engine: sa.Engine, name: str = "greet", now: datetime = START, **values: Any) -> int:
    with db.writing(engine) as session:
        found = jobs.enqueue(session, name, {"to": "Lan"}, now=now, **values)
    assert found is not None
    return found


def state(engine: sa.Engine, job_id: int) -> sa.Row[tuple[object, ...]]:
    with db.reading(engine) as session:
        return session.execute(sa.select(table).where(table.c.id == job_id)).one()


def run(engine: sa.Engine, task: jobs.Task, clock: Clock, owner: str = "one") -> bool:
    return jobs.run_one(engine, {"greet": task}, clock, owner)


def failing(context: JobContext) -> None:
    raise WeChatError(40001, f"access_token=SECRET of {open_id(7)}", permanent=False)


def test_a_job_runs_with_its_arguments_and_is_done(engine: sa.Engine, clock: Clock) -> None:
    seen: list[JobContext] = []
    job_id = put(engine)
    assert run(engine, lambda context: seen.append(context), clock)
    assert not run(engine, lambda context: seen.append(context), clock)
    assert [(context.name, context.arguments) for context in seen] == [("greet", {"to": "Lan"})]
    assert state(engine, job_id).state == "done"


def test_a_job_that_is_not_due_yet_waits(engine: sa.Engine, clock: Clock) -> None:
    put(engine, run_at=START + timedelta(minutes=5))
    assert not run(engine, lambda context: None, clock)
    clock.move_to(START + timedelta(minutes=5))
    assert run(engine, lambda context: None, clock)


def test_jobs_run_in_the_order_they_are_due(engine: sa.Engine, clock: Clock) -> None:
    order: list[int] = []
    late = put(engine, run_at=START - timedelta(seconds=1))
    early = put(engine, run_at=START - timedelta(seconds=2))
    for _ in range(2):
        run(engine, lambda context: order.append(context.job_id), clock)
    assert order == [early, late]


def test_a_unique_key_is_used_once_even_after_the_job_finished(
    engine: sa.Engine, clock: Clock
) -> None:
    put(engine, unique_key="start:1")
    run(engine, lambda context: None, clock)
    with db.writing(engine) as session:
        assert jobs.enqueue(session, "greet", {}, now=START, unique_key="start:1") is None


def test_a_job_is_forgotten_when_its_transaction_rolls_back(
    engine: sa.Engine, clock: Clock
) -> None:
    with pytest.raises(Refused), db.writing(engine) as session:
        jobs.enqueue(session, "greet", {}, now=START)
        raise Refused("no")
    assert not run(engine, lambda context: None, clock)


def test_a_failing_job_waits_longer_each_time_and_is_dead_after_eight_tries(
    engine: sa.Engine, clock: Clock
) -> None:
    job_id = put(engine)
    waits = []
    for _ in range(8):
        assert run(engine, failing, clock)
        row = state(engine, job_id)
        waits.append((row.run_at - clock()).total_seconds())
        clock.move_to(max(row.run_at, clock()))
    assert waits[:7] == [10, 20, 40, 80, 160, 320, 640]
    assert state(engine, job_id).state == "dead"
    assert not run(engine, failing, clock)


def test_what_the_platform_refuses_for_good_is_not_tried_again(
    engine: sa.Engine, clock: Clock
) -> None:
    def refused(context: JobContext) -> None:
        raise WeChatError(40018, "invalid button name size", permanent=True)

    job_id = put(engine)
    assert run(engine, refused, clock)
    assert state(engine, job_id).state == "dead"


def test_waits_stop_growing_at_an_hour() -> None:
    assert jobs.wait_after(1) == timedelta(seconds=10)
    assert jobs.wait_after(9) == timedelta(seconds=2560)
    assert jobs.wait_after(10) == jobs.wait_after(1000) == timedelta(hours=1)


def test_the_stored_error_shows_no_secret_and_no_whole_open_id(
    engine: sa.Engine, clock: Clock
) -> None:
    job_id = put(engine)
    run(engine, failing, clock)
    error = str(state(engine, job_id).error)
    assert error.startswith("WeChatError: errcode 40001")
    assert "SECRET" not in error
    assert open_id(7) not in error


def test_an_operator_sees_dead_jobs_and_retries_one(engine: sa.Engine, clock: Clock) -> None:
    job_id = put(engine)
    for _ in range(8):
        run(engine, failing, clock)
        clock.move_to(clock() + timedelta(hours=1))
    with db.writing(engine) as session:
        assert [(job.id, job.name, job.tries) for job in jobs.dead(session)] == [
            (job_id, "greet", 8)
        ]
        jobs.retry(session, job_id, clock())
        with pytest.raises(Refused):
            jobs.retry(session, job_id, clock())
    assert run(engine, lambda context: None, clock)
    assert state(engine, job_id).state == "done"


def test_a_name_nobody_knows_is_an_error_that_is_retried(engine: sa.Engine, clock: Clock) -> None:
    job_id = put(engine, "unheard")
    assert run(engine, lambda context: None, clock)
    row = state(engine, job_id)
    assert row.state == "waiting"
    assert "unheard" in str(row.error)


def test_a_long_job_goes_on_where_it_stopped(engine: sa.Engine, clock: Clock) -> None:
    seen: list[object] = []

    def walk(context: JobContext) -> Again | None:
        place = context.arguments.get("place", 0)
        seen.append(place)
        return Again(arguments={"place": place + 1}) if place < 3 else None

    job_id = put(engine)
    for _ in range(4):
        assert run(engine, walk, clock)
    assert seen == [0, 1, 2, 3]
    assert state(engine, job_id).state == "done"


def test_the_lease_of_a_dead_process_is_taken_again_and_its_late_result_is_ignored(
    engine: sa.Engine, clock: Clock
) -> None:
    job_id = put(engine)
    done: list[str] = []

    def slow(context: JobContext) -> None:
        clock.move_to(clock() + jobs.LEASE)  # as if this process had hung for a minute
        assert run(engine, lambda inner: done.append("other"), clock, owner="two")
        assert not context.heartbeat()

    assert run(engine, slow, clock, owner="one")
    assert done == ["other"]
    assert state(engine, job_id).state == "done"


def test_a_heartbeat_keeps_others_away(engine: sa.Engine, clock: Clock) -> None:
    put(engine)

    def slow(context: JobContext) -> None:
        clock.move_to(clock() + jobs.LEASE / 2)
        assert context.heartbeat()
        clock.move_to(clock() + jobs.LEASE / 2)
        assert not run(engine, lambda inner: None, clock, owner="two")

    assert run(engine, slow, clock, owner="one")


def test_a_job_that_kills_its_process_every_time_is_given_up(
    engine: sa.Engine, clock: Clock
) -> None:
    job_id = put(engine)

    class Killed(BaseException):
        """Stands for a process that ends: nothing of ours may catch it."""

    def kill(context: JobContext) -> None:
        raise Killed

    for _ in range(8):
        with pytest.raises(Killed):
            run(engine, kill, clock)
        clock.move_to(clock() + jobs.LEASE)
    assert run(engine, kill, clock)
    assert state(engine, job_id).state == "dead"


def test_threads_share_the_work_and_run_nothing_twice(engine: sa.Engine, clock: Clock) -> None:
    ids = [put(engine) for _ in range(30)]
    ran: list[int] = []

    def work(owner: str) -> None:
        while jobs.run_one(
            engine, {"greet": lambda context: ran.append(context.job_id)}, clock, owner
        ):
            pass

    threads = [threading.Thread(target=work, args=(f"thread-{number}",)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # a claim that lost its race finds nothing, so a thread may stop early: the rest is for us
    work("last")
    assert sorted(ran) == ids


def test_progress_is_stored_for_the_console(engine: sa.Engine) -> None:
    job_id = put(engine)
    with db.writing(engine) as session:
        jobs.progress(session, job_id, 20, 100)
    assert state(engine, job_id).progress == {"done": 20, "total": 100}


def test_finished_jobs_stay_seven_days_and_dead_ones_for_good(
    engine: sa.Engine, clock: Clock
) -> None:
    put(engine)
    run(engine, lambda context: None, clock)
    dead_id = put(engine, now=START)
    with db.writing(engine) as session:
        session.execute(
            sa.update(table).where(table.c.id == dead_id).values(state="dead", finished_at=START)
        )
        assert jobs.prune(session, START + timedelta(days=7)) == 0
        assert jobs.prune(session, START + timedelta(days=7, seconds=1)) == 1
        assert [job.id for job in jobs.dead(session)] == [dead_id]


def test_open_jobs_of_a_name_are_found_by_account(engine: sa.Engine, account: Account) -> None:
    with db.writing(engine) as session:
        assert jobs.open_arguments(session, "greet") == []
        jobs.enqueue(session, "greet", {"run_id": 3}, now=START, account_id=account.id)
        assert jobs.open_arguments(session, "greet") == [{"run_id": 3}]
        assert jobs.open_arguments(session, "greet", account.id) == [{"run_id": 3}]
        assert jobs.open_arguments(session, "greet", account.id + 1) == []
