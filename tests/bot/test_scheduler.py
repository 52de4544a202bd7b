"""A slot becomes one job, however many schedulers ring and however often."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from pydantic import SecretStr

from bot import db, jobs, kept, runtime, scheduler
from bot.accounts import Account
from bot.clock import Clock
from bot.config import Config
from bot.errors import Refused
from bot.health import LAST_TICK
from bot.runtime import Runtime
from bot.scheduler import PERIODIC, Bell, Periodic, slot, tick
from bot.tables.jobs import jobs as table
from bot.tasks import TASKS
from tests.factories import SECRET_KEY, at

START = at("2025-03-03 09:00")
SLOW = [periodic.name for periodic in PERIODIC if not periodic.fast]


@pytest.fixture
def clock() -> Clock:
    return Clock(frozen_at=START)


@pytest.fixture
def rt(database_url: str, engine: sa.Engine, clock: Clock) -> Iterator[Runtime]:
    config = Config(database_url=database_url, secret_key=SecretStr(SECRET_KEY))
    built = runtime.build(config, now=clock)
    yield built
    built.close()


def names(engine: sa.Engine) -> list[str]:
    with db.reading(engine) as session:
        return list(session.execute(sa.select(table.c.name).order_by(table.c.id)).scalars())


def finish_all(engine: sa.Engine) -> None:
    with db.writing(engine) as session:
        session.execute(sa.update(table).values(state="done", finished_at=START))


def test_every_periodic_job_has_a_task_and_either_a_time_or_an_interval() -> None:
    for periodic in PERIODIC:
        assert periodic.name in TASKS
        assert (periodic.seconds > 0) != (periodic.at is not None)
    assert len({periodic.name for periodic in PERIODIC}) == len(PERIODIC)


def test_slow_jobs_are_those_of_fifteen_seconds_and_more() -> None:
    for periodic in PERIODIC:
        assert periodic.fast == (0 < periodic.seconds < 15)


@pytest.mark.parametrize(
    ("periodic", "moment", "expected"),
    [
        (Periodic("start", 15), "2025-03-03 09:00:00", "2025-03-03T09:00:00+08:00"),
        (Periodic("start", 15), "2025-03-03 09:00:14.9", "2025-03-03T09:00:00+08:00"),
        (Periodic("start", 15), "2025-03-03 09:00:15", "2025-03-03T09:00:15+08:00"),
    ],
)
def test_a_slot_is_named_by_its_beginning(periodic: Periodic, moment: str, expected: str) -> None:
    assert slot(periodic, at(moment)) == expected


def test_a_daily_slot_begins_at_its_shanghai_time_and_lasts_a_day() -> None:
    prune = next(periodic for periodic in PERIODIC if periodic.name == "prune")
    assert slot(prune, at("2025-03-03 03:59")) == "2025-03-02T04:00"
    assert slot(prune, at("2025-03-03 04:00")) == "2025-03-03T04:00"
    assert slot(prune, at("2025-03-04 03:59")) == "2025-03-03T04:00"


def test_each_slot_is_rung_once_by_any_number_of_schedulers(
    rt: Runtime, engine: sa.Engine, clock: Clock
) -> None:
    one, two = Bell(rt), Bell(rt)
    assert one.ring() == len(SLOW)
    assert one.ring() == two.ring() == 0
    finish_all(engine)
    assert Bell(rt).ring() == 0  # also after a restart
    clock.move_to(START + timedelta(seconds=15))
    again = [periodic.name for periodic in PERIODIC if periodic.seconds == 15]
    assert one.ring() == len(again)
    assert two.ring() == 0
    assert names(engine) == [*SLOW, *again]


def test_a_job_that_still_waits_stands_for_the_next_slot(
    rt: Runtime, engine: sa.Engine, clock: Clock
) -> None:
    bell = Bell(rt)
    bell.ring()
    clock.move_to(START + timedelta(minutes=10))
    assert bell.ring() == 0
    assert sorted(names(engine)) == sorted(SLOW)


def test_a_night_that_was_missed_is_made_up_once(
    rt: Runtime, engine: sa.Engine, clock: Clock
) -> None:
    Bell(rt).ring()
    finish_all(engine)
    clock.move_to(at("2025-03-06 12:00"))
    Bell(rt).ring()
    assert names(engine).count("prune") == 2


def test_new_work_wakes_the_workers(rt: Runtime) -> None:
    woken: list[bool] = []
    bell = Bell(rt, lambda: woken.append(True))
    bell.ring()
    bell.ring()
    assert woken == [True]


def test_a_tick_runs_one_job_to_its_end(
    rt: Runtime, engine: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[object] = []

    def walk(_rt: Runtime, context: jobs.JobContext) -> jobs.Again | None:
        place = context.arguments.get("place", 0)
        seen.append((place, context.clock()))
        return jobs.Again(arguments={"place": place + 1}) if place < 2 else None

    # the table of tasks is fixed: a task of our own is put in for this test alone
    monkeypatch.setattr(scheduler, "TASKS", {"walk": walk})
    tick(rt, "walk", START)
    assert seen == [(0, START), (1, START), (2, START)]


def test_a_name_nobody_knows_is_refused_with_those_that_are_known(rt: Runtime) -> None:
    with pytest.raises(Refused, match="outbox"):
        tick(rt, "unheard", START)


def test_the_last_tick_is_kept_for_readyz(rt: Runtime, engine: sa.Engine) -> None:
    tick(rt, "heartbeat", START)
    with db.reading(engine) as session:
        assert float(kept.read(session, LAST_TICK, START) or 0) == START.timestamp()


@pytest.mark.parametrize("name", [periodic.name for periodic in PERIODIC])
def test_every_job_finds_nothing_to_do_in_an_empty_installation(rt: Runtime, name: str) -> None:
    tick(rt, name, START)


def test_nightly_jobs_of_accounts_are_one_an_account_and_not_doubled(
    rt: Runtime, engine: sa.Engine, account: Account
) -> None:
    tick(rt, "follower_sync", START)
    tick(rt, "follower_sync", START + timedelta(days=1))
    tick(rt, "tag_sync", START)
    assert names(engine) == ["sync_followers", "sync_tags"]


def test_the_real_scheduler_starts_and_stops(rt: Runtime, tmp_path: Path) -> None:
    running = scheduler.start(rt)
    assert {job.id for job in running.get_jobs()} == {
        "bell",
        *(periodic.name for periodic in PERIODIC if periodic.fast),
    }
    running.shutdown()


@pytest.mark.parametrize(
    ("parts", "calls", "rings"),
    [
        ((scheduler.WORKER,), {"outbox", "count_calls"}, False),
        ((scheduler.SCHEDULER,), {"waves", "collect", "heartbeat", "count_calls"}, True),
        ((scheduler.SCHEDULER, scheduler.WORKER), {"outbox", "waves", "count_calls"}, True),
    ],
)
def test_each_part_calls_its_own_fast_jobs_and_the_scheduler_alone_rings(
    rt: Runtime,
    parts: tuple[str, ...],
    calls: set[str],
    rings: bool,
) -> None:
    bells = scheduler.start(rt, parts=parts)
    names = {job.id for job in bells.get_jobs()}
    bells.shutdown()
    assert calls <= names
    assert ("bell" in names) == rings
    assert ("outbox" in names) == (scheduler.WORKER in parts)
    assert ("waves" in names) == (scheduler.SCHEDULER in parts)
