"""Who opts out gets nothing of a campaign any more, also where it already waits in the outbox."""

from datetime import timedelta

from bot import db, outbox_items
from bot.campaigns import opt_outs
from tests import factories
from tests.bot.campaigns.conftest import Play
from tests.bot.campaigns.makers import open_window, slots

MONTH = "2025-03"


def opts_out(play: Play, follower_id: int) -> None:
    play.write(lambda session: opt_outs.opt_out(session, play.account_id, follower_id, play.now))


def named(play: Play) -> list[str]:
    """OpenIDs of the one call that waits."""
    (row,) = play.owed()
    with db.reading(play.engine) as session:
        [prepared] = outbox_items.prepare(session, [row], play.now)
    return list(prepared.found.payload["open_ids"])  # type: ignore[union-attr]


def test_who_is_in_a_batch_that_waits_is_taken_out_of_it(play: Play) -> None:
    run_id = play.planned()
    play.send()
    opts_out(play, play.people[3])
    assert play.sums(run_id) == {"planned": 19, "skipped:opted_out": 1}
    assert factories.open_id(4) not in named(play)
    assert len(named(play)) == play.batches()[0].size == 19
    with db.reading(play.engine) as session:
        assert slots(session, play.people[3], MONTH) == (0, 0, 0)


def test_of_a_call_nobody_answered_nobody_is_taken_out(play: Play) -> None:
    run_id = play.planned()
    play.send()
    play.answer("waiting", unanswered_at=play.now)
    opts_out(play, play.people[3])
    assert play.sums(run_id) == {"planned": 20}
    assert len(named(play)) == 20


def test_a_batch_of_which_one_is_left_is_taken_back(play: Play) -> None:
    run_id = play.planned()
    for person in play.people[2:]:
        opts_out(play, person)
    play.send()
    opts_out(play, play.people[0])
    assert play.owed() == []
    play.collect()
    play.send()
    play.collect()
    assert play.sums(run_id) == {"skipped:opted_out": 19, "skipped:batch_of_one": 1}
    assert play.run(run_id).status == "finished"


def test_a_personal_message_that_waits_is_taken_back(play: Play) -> None:
    def windows(session: db.Session) -> None:
        for person in play.people:
            open_window(session, play.account_id, person, until=play.now + timedelta(hours=9))

    play.write(windows)
    run_id = play.planned(channels=["customer_service"])
    play.send()
    opts_out(play, play.people[0])
    assert len(play.owed()) == 19
    play.collect()
    assert play.sums(run_id) == {"planned": 19, "skipped:opted_out": 1}
