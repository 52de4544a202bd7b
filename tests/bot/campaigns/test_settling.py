"""Our rows end in line with what the platform says, whatever order it says it in."""

from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from bot import db
from bot.campaigns import external_sends, ledger, settling
from bot.errors import Refused, WeChatError
from bot.tables.campaigns import campaigns, external_mass_sends
from bot.tables.events import events
from bot.tables.followers import followers, reply_windows
from tests.bot.campaigns.conftest import Play
from tests.bot.campaigns.makers import open_window, slots

MONTH = "2025-03"


def first_slots(play: Play) -> tuple[int, int, int]:
    with db.reading(play.engine) as session:
        return slots(session, play.people[0], MONTH)


def submitted(play: Play) -> int:
    run_id = play.planned()
    play.send()
    play.answer()
    play.collect()
    return run_id


def test_an_accepted_batch_is_sent_and_its_slots_spent(play: Play) -> None:
    run_id = submitted(play)
    assert play.sums(run_id) == {"sent": 20}
    assert first_slots(play) == (0, 1, 0)
    assert play.run(run_id).status == "running"  # the platform's result is still to come
    kinds = play.read(
        sa.select(events.c.kind, events.c.key, sa.func.count()).group_by(
            events.c.kind, events.c.key
        )
    )
    assert kinds == [("campaign_sent", "奈雪8元券", 20)]


def test_the_result_finishes_the_batch_the_run_and_the_campaign(play: Play) -> None:
    run_id = submitted(play)
    (batch,) = play.batches()
    assert play.finished_event(batch.msg_id, 18)
    play.collect()
    (batch,) = play.batches()
    assert (batch.status, batch.sent, batch.shortfall) == ("finished", 18, 2)
    assert play.run(run_id).status == "finished"
    assert first_slots(play) == (0, 1, 0)  # charged; the shortfall is on the batch
    assert play.read(sa.select(campaigns.c.status)) == [("finished",)]


def test_the_same_result_twice_changes_nothing(play: Play) -> None:
    submitted(play)
    (batch,) = play.batches()
    assert play.finished_event(batch.msg_id, 18)
    assert play.finished_event(batch.msg_id, 0, "send fail")
    assert play.batches()[0].status == "finished"


@pytest.mark.parametrize(
    ("status", "sent"), [("err(10001)", 5), ("send fail", 3), ("send success", 0)]
)
def test_a_batch_that_failed_as_a_whole_gives_everything_back(
    play: Play, status: str, sent: int
) -> None:
    run_id = submitted(play)
    play.finished_event(play.batches()[0].msg_id, sent, status)
    play.collect()
    assert play.sums(run_id) == {"failed": 20}
    assert first_slots(play) == (0, 0, 0)
    assert play.read(sa.select(events)) == []
    assert play.run(run_id).status == "finished"


def test_a_refused_batch_fails_and_releases(play: Play) -> None:
    run_id = play.planned()
    play.send()
    play.answer("failed", errcode=45028, error="errcode 45028: no quota")
    play.collect()
    assert play.sums(run_id) == {"failed": 20}
    assert first_slots(play) == (0, 0, 0)
    assert play.run(run_id).status == "finished"


def test_a_batch_of_unknown_outcome_stays_charged(play: Play) -> None:
    run_id = play.planned()
    play.send()
    play.answer("unknown", error="no answer")
    play.collect()
    assert play.sums(run_id) == {"unknown": 20}
    assert first_slots(play) == (0, 1, 0)


def test_a_result_that_overtakes_our_commit_is_settled_by_the_next_tick(play: Play) -> None:
    run_id = play.planned()
    play.send()
    play.answer(receipt={"msg_id": "555", "repeated": False})
    assert not play.finished_event("555", 20)
    with db.reading(play.engine) as session:
        assert external_sends.unexplained(session, play.account_id) == []
    play.collect()
    assert play.batches()[0].status == "finished"
    assert play.run(run_id).status == "finished"
    assert play.read(sa.select(external_mass_sends)) == []


def test_a_result_of_no_batch_of_ours_blocks_mass_until_it_is_explained(play: Play) -> None:
    assert not play.finished_event("999", 20)
    play.collect()
    with db.reading(play.engine) as session:
        assert external_sends.unexplained(session, play.account_id) == []
    play.later(minutes=2)
    play.collect()
    with db.reading(play.engine) as session:
        assert external_sends.unexplained(session, play.account_id) == ["999"]
    run_id = play.planned()
    assert play.run(run_id).reason == "unknown_external_send: 999"


def test_a_result_waits_while_a_mass_call_has_no_outcome(play: Play) -> None:
    play.planned()
    play.send()
    play.answer("sending")
    play.finished_event("999", 20)
    play.later(minutes=5)
    play.collect()
    with db.reading(play.engine) as session:
        assert external_sends.unexplained(session, play.account_id) == []


def test_a_send_from_elsewhere_that_failed_blocks_nothing(play: Play) -> None:
    play.finished_event("999", 0, "send fail")
    play.later(minutes=5)
    play.collect()
    with db.reading(play.engine) as session:
        assert external_sends.unexplained(session, play.account_id) == []
    assert play.read(sa.select(external_mass_sends.c.audience)) == [("none",)]


def test_an_id_that_belongs_to_another_batch_pauses_for_a_human(play: Play) -> None:
    play.planned(name="first")
    play.send()
    play.answer(receipt={"msg_id": "5", "repeated": False})
    play.collect()
    second = play.planned(name="second")
    play.send()
    play.answer(receipt={"msg_id": "5", "repeated": True})
    play.collect()
    assert (play.run(second).status, play.run(second).reason) == ("paused", "batch_conflict")


def personal(play: Play, count: int = 4) -> int:
    def work(session: db.Session) -> None:
        for person in play.people[:count]:
            open_window(session, play.account_id, person, until=play.now + timedelta(hours=3))

    play.write(work)
    run_id = play.planned(channels=["customer_service"])
    play.send()
    return run_id


@pytest.mark.parametrize(
    ("status", "values", "ends"),
    [
        ("sent", {}, "sent"),
        ("failed", {"errcode": 45015}, "failed"),
        ("failed", {"error": "left"}, "skipped:left"),
        ("unknown", {}, "unknown"),
        ("expired", {}, "skipped:expired"),
        ("cancelled", {}, "skipped:cancelled"),
    ],
)
def test_the_end_of_a_personal_message(
    play: Play, status: str, values: dict[str, object], ends: str
) -> None:
    run_id = personal(play)
    play.answer(status, "delivery", **values)
    assert play.collect() == 4
    assert play.collect() == 0
    assert play.sums(run_id) == {ends: 4, "skipped:no_window": 16}
    assert play.run(run_id).status == "finished"


def test_a_closed_window_is_believed(play: Play) -> None:
    personal(play, 1)
    play.answer("failed", "delivery", errcode=45047)
    play.collect()
    assert play.read(sa.select(reply_windows.c.left)) == [(0,)]


class Platform:
    """Answers message/mass/get the way a gateway does."""

    def __init__(self, answer: str | None) -> None:
        self.answer = answer

    def call(self, path: str, payload: dict[str, object]) -> dict[str, object]:
        assert path == "/cgi-bin/message/mass/get"
        if self.answer is None:
            raise WeChatError(None, "no answer", permanent=False)
        return {"msg_id": payload["msg_id"], "msg_status": self.answer}


@pytest.mark.parametrize(
    ("answer", "batch", "ends"),
    [
        ("SEND_SUCCESS", "finished", {"sent": 20}),
        ("DELETE", "finished", {"sent": 20}),
        ("SENDING", "submitted", {"sent": 20}),
        (None, "submitted", {"sent": 20}),
        ("SEND_FAIL", "failed", {"failed": 20}),
    ],
)
def test_a_late_batch_is_asked_about(
    play: Play, answer: str | None, batch: str, ends: dict[str, int]
) -> None:
    run_id = submitted(play)
    ask = lambda: settling.late(play.engine, lambda _: Platform(answer), play.now)  # type: ignore[arg-type, return-value]  # noqa: E731
    play.later(minutes=44)
    assert ask() == 0
    play.later(minutes=1)
    assert ask() == 1
    assert ask() == 0
    assert play.batches()[0].status == batch
    assert play.sums(run_id) == ends


def test_a_batch_nobody_says_anything_of_holds_its_run_open_for_three_days_only(
    play: Play,
) -> None:
    run_id = submitted(play)
    ask = lambda: settling.late(play.engine, lambda _: Platform(None), play.now)  # type: ignore[arg-type, return-value]  # noqa: E731
    play.later(days=2, hours=23)
    ask()
    assert play.run(run_id).status == "running"
    play.later(hours=1)
    ask()
    (batch,) = play.batches()
    assert (batch.status, batch.error, batch.shortfall) == ("finished", "no result", None)
    assert play.run(run_id).status == "finished"
    assert play.sums(run_id) == {"sent": 20}
    # what is said later still counts
    play.finished_event(batch.msg_id, 18)
    assert play.batches()[0].shortfall == 2


def test_an_account_whose_secrets_do_not_open_keeps_nobody_from_being_asked(play: Play) -> None:
    submitted(play)
    play.later(hours=1)

    def closed(_account: int) -> Any:
        raise Refused("its secrets do not open")

    assert settling.late(play.engine, closed, play.now) == 1
    assert play.batches()[0].checked_at == play.now


@pytest.mark.slow  # five campaigns, four of them to their end
def test_four_campaigns_in_a_month_and_no_fifth(play: Play) -> None:
    for number in range(4):
        run_id = play.planned(name=f"campaign {number}")
        play.finish_all()
        assert play.sums(run_id) == {"sent": 20}
    fifth = play.planned(name="fifth")
    assert play.sums(fifth) == {"skipped:no_slot": 20}
    assert first_slots(play) == (0, 4, 0)


def test_a_batch_called_failed_that_went_out_after_all_is_charged_again(play: Play) -> None:
    run_id = play.planned()
    play.send()
    play.answer()
    play.collect()
    play.later(minutes=46)
    # mass/get says SEND_FAIL, and the slots go back
    (batch,) = play.batches()
    play.write(lambda session: settling._store_answer(session, batch, "SEND_FAIL", play.now))
    play.collect()
    assert play.sums(run_id) == {"failed": 20}
    # one of them spends it on something else meanwhile, up to the fourth
    play.write(
        lambda session: ledger.charge(
            session, play.account_id, followers.c.id == play.people[0], "2025-03", 4
        )
    )
    assert play.finished_event(batch.msg_id, 19)
    play.collect()
    assert play.sums(run_id) == {"sent": 20}
    with db.reading(play.engine) as session:
        assert slots(session, play.people[1], "2025-03") == (0, 1, 0)
        assert slots(session, play.people[0], "2025-03") == (0, 4, 4)
    (batch,) = play.batches()
    assert (batch.status, batch.shortfall) == ("finished", 1)
