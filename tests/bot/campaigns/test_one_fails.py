"""A run that fails keeps no other run waiting, and whoever looks at the job still sees it."""

from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sa

from bot import campaign_tasks, db, jobs
from bot.campaigns import guarding, planning, rounds, sending, settling, steering, trials
from bot.jobs import JobContext
from bot.tables.campaigns import campaigns, mass_batches
from tests.bot.campaigns.conftest import Play


class Broken(Exception):
    """Of one run, and no other."""


@pytest.fixture
def breaks(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Let a function fail where ``is_it`` says so of its arguments."""

    def patch(module: ModuleType, name: str, is_it: Callable[..., bool]) -> None:
        real = getattr(module, name)

        def broken(*arguments: Any, **named: Any) -> Any:
            if is_it(*arguments):
                raise Broken
            return real(*arguments, **named)

        monkeypatch.setattr(module, name, broken)

    return patch


@pytest.fixture
def two(play: Play) -> tuple[int, int]:
    """Two runs that are planned and due."""
    for name in ("一", "二"):
        play.campaign(name=name)
    first, second = play.start()
    play.plan(first)
    play.plan(second)
    return first, second


def batch_of(play: Play, run_id: int) -> Any:
    (found,) = play.read(sa.select(mass_batches).where(mass_batches.c.run_id == run_id))
    return found


def test_the_next_run_is_sent(play: Play, two: tuple[int, int], breaks: Any) -> None:
    breaks(sending, "_step", lambda _session, run_id, *_: run_id == two[0])
    with pytest.raises(Broken):
        play.send()
    assert [row.run_id for row in play.batches()] == [two[1]]


def test_the_next_cancelled_run_is_skipped_and_others_are_sent(
    play: Play, two: tuple[int, int], breaks: Any
) -> None:
    play.campaign(name="三")
    third = play.start()[-1]
    play.plan(third)
    for run_id in two:
        play.write(lambda session, run_id=run_id: steering.cancel(session, run_id, play.now))
    breaks(steering, "_skip_some", lambda _session, run, *_: run.id == two[0])
    with pytest.raises(Broken):
        play.send()
    assert play.sums(two[0]) == {"planned": 20}
    assert play.sums(two[1]) == {"skipped:cancelled": 20}
    assert [row.run_id for row in play.batches()] == [third]


def test_the_next_batch_gets_its_outcome_and_its_people(
    play: Play, two: tuple[int, int], breaks: Any
) -> None:
    play.send()
    first = batch_of(play, two[0])
    play.answer()
    breaks(settling, "_store_outcome", lambda _session, row, *_: row.purpose_id == first.id)
    with pytest.raises(Broken):
        play.collect()
    assert play.sums(two[1]) == {"sent": 20}


def test_the_next_run_finishes(play: Play, two: tuple[int, int], breaks: Any) -> None:
    play.send()
    play.answer()
    play.collect()
    for batch in play.batches():
        play.finished_event(batch.msg_id, batch.size)
    campaign = play.run(two[0]).campaign_id
    breaks(rounds, "close_campaign", lambda _session, campaign_id: campaign_id == campaign)
    with pytest.raises(Broken):
        play.collect()
    assert [play.run(run_id).status for run_id in two] == ["running", "finished"]


def test_the_guard_and_the_experiments_look_at_the_next_run(
    play: Play, two: tuple[int, int], breaks: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[int] = []
    monkeypatch.setattr(trials, "look", lambda _engine, run_id, _now: looked.append(run_id))
    monkeypatch.setattr(
        guarding, "_watch", lambda _engine, run_id, _now: looked.append(run_id) or 0
    )
    breaks(trials, "look", lambda _engine, run_id, _now: run_id == two[0])
    breaks(guarding, "_watch", lambda _engine, run_id, _now: run_id == two[0])
    for look in (trials.look_at_all, guarding.watch):
        with pytest.raises(Broken):
            look(play.engine, play.now)
    assert looked == [two[1], two[1]]


def test_the_next_follow_up_begins(play: Play, breaks: Any) -> None:
    step = {"after": "24h", "to": "not_clicked", "channels": ["mass"], "content": {"text": "再来"}}
    for name in ("一", "二"):
        play.campaign(name=name, follow_ups=[step])
    first, second = play.start()
    for run_id in (first, second):
        play.plan(run_id)
    play.finish_all()
    play.later(hours=25)
    breaks(rounds, "coming", lambda _session, run: run.id == first)
    with pytest.raises(Broken):
        rounds.start_due(play.engine, play.now)
    (begun,) = planning.to_plan(play.engine)
    assert play.run(begun).parent_id == second


def test_the_next_campaign_begins_and_is_planned(play: Play, breaks: Any) -> None:
    first, second = play.campaign(name="一"), play.campaign(name="二")
    play.write(
        lambda session: session.execute(
            sa.update(campaigns).where(campaigns.c.id == first.id).values(schedule={"no": "time"})
        )
    )
    breaks(planning, "next_due", lambda schedule, _now: "no" in schedule)
    context = JobContext(
        engine=play.engine, clock=lambda: play.now, job_id=0, name="start", arguments={}
    )
    with pytest.raises(Broken):
        campaign_tasks.start(SimpleNamespace(engine=play.engine), context)  # type: ignore[arg-type]
    (run_id,) = planning.to_plan(play.engine)
    assert play.run(run_id).campaign_id == second.id
    with db.reading(play.engine) as session:
        assert list(jobs.open_arguments(session, "plan")) == [{"run_id": run_id}]
