"""Batches are filled and settled in short steps; a program that dies between two of them loses and doubles nobody."""

from typing import Any

import pytest
import sqlalchemy as sa

from bot import db
from bot.campaigns import batch_results, batches, external_sends, sending, steering, waves
from bot.tables.campaigns import deliveries, mass_batches
from bot.tables.events import events
from tests import factories
from tests.bot.campaigns.conftest import BASE_URL, Play
from tests.bot.campaigns.makers import slots

MONTH = "2025-03"


@pytest.fixture(autouse=True)
def short_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (batches, batch_results, external_sends, steering):
        monkeypatch.setattr(module, "ROWS", 3)


def one_step(play: Play, run_id: int) -> Any:
    with db.writing(play.engine) as session:
        return sending._step(session, run_id, play.now, factories.SECRET_KEY, BASE_URL)


def test_a_batch_that_is_being_filled_is_not_in_the_outbox(play: Play) -> None:
    run_id = play.planned()
    for size in (3, 6):
        assert one_step(play, run_id) == (0, True)
        assert [(one.status, one.size) for one in play.batches()] == [("planned", size)]
        assert play.owed() == []
        assert play.sums(run_id) == {"planned": 20}
    assert play.send() == 1
    assert [(one.status, one.size) for one in play.batches()] == [("sending", 20)]
    assert play.send() == 0


def test_a_batch_left_half_full_is_filled_anew_after_a_while(play: Play) -> None:
    run_id = play.planned()
    one_step(play, run_id)
    play.later(minutes=11)
    play.write(
        lambda session: session.execute(
            sa.text("UPDATE followers SET subscribed = false WHERE id = :id"),
            {"id": play.people[0]},
        )
    )
    assert play.send() == 1
    assert [(one.status, one.size) for one in play.batches()] == [("sending", 19)]
    assert play.sums(run_id) == {"planned": 19, "skipped:left": 1}


def test_the_last_one_left_over_is_not_alone(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waves, "LARGEST_BATCH", 19)
    run_id = play.planned()
    assert play.send() == 2
    assert [one.size for one in play.batches()] == [18, 2]
    play.finish_all()
    assert play.sums(run_id) == {"sent": 20}


def test_a_run_cancelled_while_a_batch_is_filled_gives_everything_back(play: Play) -> None:
    run_id = play.planned()
    one_step(play, run_id)
    play.cancel(run_id)
    assert play.sums(run_id) == {"skipped:cancelled": 20}
    assert play.batches() == []
    with db.reading(play.engine) as session:
        assert slots(session, play.people[0], MONTH) == (0, 0, 0)


def dies_after(monkeypatch: pytest.MonkeyPatch, aim: str, steps: int) -> None:
    real, left = batch_results._STEPS[aim], [steps]

    def step(*arguments: Any) -> None:
        if left[0] == 0:
            raise KeyboardInterrupt
        left[0] -= 1
        real(*arguments)

    monkeypatch.setitem(batch_results._STEPS, aim, step)


def test_settling_goes_on_where_it_was_killed(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    run_id = play.planned()
    play.send()
    play.answer()
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        dies_after(patch, "sent", 2)
        play.collect()
    assert play.sums(run_id) == {"sent": 6, "planned": 14}
    play.collect()
    assert play.sums(run_id) == {"sent": 20}
    assert play.read(sa.select(sa.func.count()).select_from(events)) == [(20,)]


def test_a_failure_that_comes_while_the_batch_is_settled_as_sent_wins(
    play: Play, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = play.planned()
    play.send()
    play.answer()
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        dies_after(patch, "sent", 2)
        play.collect()
    assert play.finished_event(play.batches()[0].msg_id, 0, "send fail")
    play.collect()
    assert play.sums(run_id) == {"failed": 20}
    assert play.read(sa.select(events)) == []
    assert play.read(sa.select(deliveries.c.slot).distinct()) == [(None,)]
    assert play.read(sa.select(mass_batches.c.status)) == [("failed",)]
    assert play.run(run_id).status == "finished"
