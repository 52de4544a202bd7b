"""Due waves become outbox rows, once; pause, resume and cancel; who left meanwhile; the month that turned."""

from datetime import timedelta

import pytest
import sqlalchemy as sa

from bot import db
from bot.audiences import segments
from bot.campaigns import approvals, definitions, ledger, sending, steering
from bot.errors import Refused
from bot.tables.accounts import accounts as accounts_table
from bot.tables.campaigns import campaigns, deliveries, temporary_tags
from bot.tables.followers import followers, tags
from tests import factories
from tests.bot.campaigns.conftest import Play
from tests.bot.campaigns.makers import open_window, slots
from tests.factories import at

MONTH = "2025-03"


def change(play: Play, table: sa.Table, follower_id: int, **values: object) -> None:
    play.write(
        lambda session: session.execute(
            sa.update(table).where(table.c.id == follower_id).values(**values)
        )
    )


def windows(play: Play, count: int, **delta: float) -> None:
    def work(session: db.Session) -> None:
        for person in play.people[:count]:
            open_window(session, play.account_id, person, until=play.now + timedelta(**delta))

    play.write(work)


def test_a_small_run_is_one_batch_of_everybody(play: Play) -> None:
    play.planned()
    assert play.send() == 1
    assert play.send() == 0
    (batch,) = play.batches()
    (row,) = play.owed()
    assert (batch.size, batch.status, batch.target) == (20, "sending", "open_ids")
    assert batch.client_msg_id.isascii() and len(batch.client_msg_id) <= 32
    assert row.payload == {
        "target": "open_ids", "batch_id": batch.id, "content": {"text": "请你喝奶茶"},
        "client_msg_id": batch.client_msg_id, "month": MONTH,
    }  # fmt: skip


def test_mass_content_carries_one_shared_link(play: Play) -> None:
    play.planned(content={"text": "看 {link:wb}"}, links={"wb": "https://weibo.com/u/1"})
    play.send()
    (row,) = play.owed()
    assert row.payload["content"]["text"].startswith("看 https://example.com/l/")


def test_a_personal_message_has_its_own_link_and_fields_and_expires_with_the_window(
    play: Play,
) -> None:
    windows(play, 2, hours=3)
    change(play, followers, play.people[0], fields={"称呼": "岚"})
    play.planned(
        channels=["customer_service"],
        content={"text": "{称呼|您}好 {link:wb}"},
        links={"wb": "https://weibo.com/u/1"},
    )
    assert play.send() == 2
    first, second = play.owed()
    assert first.payload["content"]["text"].startswith("岚好 https://example.com/l/")
    assert second.payload["content"]["text"].startswith("您好 ")
    assert first.payload["content"]["text"][3:] != second.payload["content"]["text"][3:]
    assert first.expires_at == play.now + timedelta(hours=3)


def test_a_window_that_closed_meanwhile_is_expired(play: Play) -> None:
    windows(play, 1, hours=3)
    run_id = play.planned(channels=["customer_service"])
    play.later(hours=3)
    assert play.send() == 0
    assert play.sums(run_id) == {"skipped:expired": 1, "skipped:no_window": 19}


def test_who_left_or_opted_out_meanwhile_gets_nothing_and_the_slot_back(play: Play) -> None:
    windows(play, 2, hours=3)
    lan, ming, wei, ann = play.people[0], play.people[1], play.people[2], play.people[3]
    run_id = play.planned(channels=["customer_service", "mass"])
    for person in (lan, wei):
        change(play, followers, person, subscribed=False)
    for person in (ming, ann):
        change(play, followers, person, opted_out_at=play.now)
    play.send()
    assert play.sums(run_id) == {"planned": 16, "skipped:left": 2, "skipped:opted_out": 2}
    with db.reading(play.engine) as session:
        assert slots(session, wei, MONTH) == slots(session, ann, MONTH) == (0, 0, 0)


def test_one_person_alone_is_no_batch(play: Play) -> None:
    run_id = play.planned()
    for person in play.people[1:]:
        change(play, followers, person, subscribed=False)
    assert play.send() == 0
    assert play.sums(run_id) == {"skipped:left": 19, "skipped:batch_of_one": 1}
    play.collect()
    assert play.run(run_id).status == "finished"


def test_quiet_hours_delay_the_wave(play: Play) -> None:
    play.limits(quiet_hours="08:00-10:00")
    run_id = play.planned()
    assert play.run(run_id).next_wave_at == at("2025-03-03 10:00")
    assert play.send() == 0
    play.later(hours=1)
    assert play.send() == 1


def test_no_mass_batch_in_the_last_half_hour_of_a_month_and_slots_of_the_new_one(
    play: Play,
) -> None:
    play.now = at("2025-03-31 23:31")
    run_id = play.planned()
    assert play.send() == 0
    assert play.run(run_id).next_wave_at == at("2025-04-01 00:00")
    play.write(lambda session: ledger.carry(session, play.account_id, play.people[0], "2025-04", 4))
    play.now = at("2025-04-01 00:00")
    assert play.send() == 1
    assert play.sums(run_id) == {"planned": 19, "skipped:no_slot": 1}
    with db.reading(play.engine) as session:
        assert slots(session, play.people[1], MONTH) == (0, 0, 0)
        assert slots(session, play.people[1], "2025-04") == (1, 0, 0)


def test_a_batch_whose_month_turned_in_the_outbox_is_planned_again(play: Play) -> None:
    run_id = play.planned()
    play.send()
    play.now = at("2025-04-01 09:00")
    play.answer("expired", error="month_turned")
    play.collect()
    assert play.sums(run_id) == {"planned": 20}
    assert play.send() == 1
    first, second = play.batches()
    assert (first.status, second.status, second.month) == ("cancelled", "sending", "2025-04")
    play.finish_all()
    assert play.sums(run_id) == {"sent": 20}


def test_pause_holds_the_rest_and_resume_lets_it_go(play: Play) -> None:
    run_id = play.planned()
    play.write(lambda session: steering.pause(session, run_id, play.now))
    assert play.send() == 0
    with pytest.raises(Refused):
        play.write(lambda session: steering.resume(session, 999, play.now))
    play.write(lambda session: steering.resume(session, run_id, play.now))
    assert play.send() == 1


def test_a_run_that_is_being_planned_cannot_be_resumed_into_sending_to_nobody(play: Play) -> None:
    # two operators at once: one approved, planning began, the other pressed resume; the run ended with nobody in it
    play.campaign()
    (run_id,) = play.start()
    assert play.run(run_id).status == "planning"
    with pytest.raises(Refused, match="planned"):
        play.write(lambda session: steering.resume(session, run_id, play.now))
    assert play.run(run_id).status == "planning"
    play.plan(run_id)
    assert play.sums(run_id) == {"planned": 20}


def test_cancel_gives_back_what_was_not_sent(play: Play) -> None:
    run_id = play.planned()
    play.cancel(run_id)
    assert play.sums(run_id) == {"skipped:cancelled": 20}
    assert play.run(run_id).status == "cancelled"
    assert play.send() == 0
    with db.reading(play.engine) as session:
        assert slots(session, play.people[0], MONTH) == (0, 0, 0)
    play.write(lambda session: steering.cancel(session, run_id, play.now))
    with pytest.raises(Refused):
        play.write(lambda session: steering.resume(session, run_id, play.now))


def test_cancel_takes_back_what_waits_in_the_outbox_and_leaves_what_is_being_sent(
    play: Play,
) -> None:
    windows(play, 2, hours=3)
    run_id = play.planned(channels=["customer_service", "mass"])
    play.send()
    first = play.owed()[0]
    play.write(
        lambda session: session.execute(
            sa.text("UPDATE outbox SET status = 'sending' WHERE id = :id"), {"id": first.id}
        )
    )
    play.cancel(run_id)
    assert play.sums(run_id) == {"planned": 1, "skipped:cancelled": 19}
    play.write(
        lambda session: session.execute(
            sa.text("UPDATE outbox SET status = 'sent' WHERE id = :id"), {"id": first.id}
        )
    )
    play.collect()
    assert play.sums(run_id) == {"sent": 1, "skipped:cancelled": 19}


def test_an_emergency_stop_pauses_and_going_on_resumes(play: Play) -> None:
    run_id = play.planned()
    play.write(
        lambda session: session.execute(sa.update(accounts_table).values(stopped_at=play.now))
    )
    assert play.send() == 0
    assert (play.run(run_id).status, play.run(run_id).reason) == ("paused", "account_stopped")
    with pytest.raises(Refused):
        play.write(lambda session: steering.resume(session, run_id, play.now))
    play.write(lambda session: session.execute(sa.update(accounts_table).values(stopped_at=None)))
    assert play.send() == 1
    assert play.run(run_id).status == "running"


def more_people(play: Play, count: int) -> None:
    rows = [
        {
            "account_id": play.account_id, "open_id": factories.open_id(1000 + number),
            "subscribed": True, "first_seen_at": play.now, "fields": {}, "messages": 0,
            "tester": False,
        }
        for number in range(count)
    ]  # fmt: skip
    play.write(lambda session: session.execute(sa.insert(followers), rows))


def test_the_rest_waits_for_the_result_of_the_canary(play: Play) -> None:
    play.limits(guard=False)
    more_people(play, 600)
    run_id = play.planned()
    assert play.send() == 1
    assert play.send() == 0
    play.answer()
    play.collect()
    assert play.send() == 0
    (canary,) = play.batches()
    assert canary.size == 100
    play.finished_event(canary.msg_id, 100)
    assert play.send() == 1
    play.finish_all()
    assert play.sums(run_id) == {"sent": 620}
    assert [batch.size for batch in play.batches()] == [100, 520]
    assert play.run(run_id).status == "finished"


def test_after_ten_minutes_without_a_result_the_rest_goes(play: Play) -> None:
    play.limits(guard=False)
    more_people(play, 600)
    play.planned()
    play.send()
    play.answer()
    play.collect()
    play.later(minutes=10)
    assert play.send() == 1


def test_a_failed_canary_holds_the_rest_until_an_operator_says_otherwise(play: Play) -> None:
    play.limits(guard=False)
    more_people(play, 600)
    run_id = play.planned()
    play.send()
    play.answer("failed", errcode=50002, error="errcode 50002: restricted")
    play.collect()
    assert play.send() == 0
    assert (play.run(run_id).status, play.run(run_id).reason) == ("paused", "canary_failed")
    assert play.sums(run_id) == {"failed": 100, "planned": 520}
    play.write(lambda session: steering.resume(session, run_id, play.now))
    assert play.send() == 1


def approve(play: Play, name: str) -> None:
    def work(session: db.Session) -> None:
        found = definitions.get(session, play.account_id, "奈雪8元券")
        approvals.approve(session, found, name, 20, 20, play.now, factories.SECRET_KEY)

    play.write(work)


def subscription(play: Play) -> None:
    play.write(
        lambda session: session.execute(sa.update(accounts_table).values(kind="subscription"))
    )


def test_a_subscription_account_sends_to_everybody_by_one_call_with_two_names(play: Play) -> None:
    subscription(play)
    run_id = play.planned(approved_for=None)
    for name in ("Ann", "Bo"):
        approve(play, name)
    play.plan(run_id)
    assert play.run(run_id).reason.startswith("countdown: ")
    play.later(minutes=10)
    play.plan(run_id)
    assert play.send() == 1
    (row,) = play.owed()
    assert row.payload["target"] == "all"
    approval = row.payload["approval"]
    assert (approval["asked_by"], approval["approved_by"]) == ("Ann", "Bo")
    assert len(approval["seal"]) == 64
    play.finish_all()
    assert play.sums(run_id) == {"sent": 20}


@pytest.mark.parametrize("seal", [None, "", "00" * 32])
@pytest.mark.parametrize("kind", ["service", "subscription"])
def test_a_run_whose_approval_has_no_good_seal_sends_nothing_until_it_is_approved_again(
    play: Play, seal: str | None, kind: str
) -> None:
    play.write(lambda session: session.execute(sa.update(accounts_table).values(kind=kind)))
    play.campaign()
    play.later(minutes=10)  # the countdown of a call to everybody
    (run_id,) = play.start()
    play.plan(run_id)
    play.write(lambda session: session.execute(sa.update(campaigns).values(approval_seal=seal)))
    assert play.send() == 0
    assert (play.run(run_id).status, play.run(run_id).reason) == ("paused", approvals.UNSEALED)
    assert play.owed() == []
    for name in ("Ann", "Bo"):
        approve(play, name)
    play.later(minutes=10)
    play.write(lambda session: steering.resume(session, run_id, play.now))
    assert play.send() == 1


def test_a_subscription_account_sends_once_a_day(play: Play) -> None:
    subscription(play)
    for name in ("first", "second"):
        play.campaign(name=name)
    play.later(minutes=10)  # the countdown of a call to everybody
    first, second = play.start()
    for run_id in (first, second):
        play.plan(run_id)
    assert play.send() == 1
    assert play.run(second).next_wave_at == at("2025-03-04 00:00")
    play.finish_all()
    assert play.send() == 0
    play.now = at("2025-03-04 00:00")
    assert play.send() == 1


def test_a_subscription_account_sends_to_one_synced_tag_by_the_tag_itself(play: Play) -> None:
    subscription(play)

    def tagged(session: db.Session) -> None:
        tag = factories.make_tag(session, play.account_id, "微博来源")
        for person in play.people[:3]:
            factories.give_tag(session, play.account_id, person, tag, now=play.now)
        segments.save(session, play.account_id, "微博", {"tag": {"has": "微博来源"}}, play.now)

    play.write(tagged)
    # a tag the platform does not have is no obstacle: one is made for the send (test_temporary_tags.py)
    play.write(lambda session: session.execute(sa.update(tags).values(sync=True, wechat_id=101)))
    run_id = play.planned(segment="微博")
    assert play.send() == 1
    (row,) = play.owed()
    assert (row.payload["target"], row.payload["tag_id"]) == ("tag", 101)
    play.finish_all()
    assert play.sums(run_id) == {"sent": 3}


def _tagged(play: Play) -> None:
    def work(session: db.Session) -> None:
        tag = factories.make_tag(session, play.account_id, "微博来源")
        session.execute(sa.update(tags).values(sync=True, wechat_id=101))
        for person in play.people[:3]:
            factories.give_tag(session, play.account_id, person, tag, now=play.now)
        segments.save(session, play.account_id, "微博", {"tag": {"has": "微博来源"}}, play.now)

    subscription(play)
    play.write(work)


def test_a_segment_that_became_everybody_since_is_not_sent_to(play: Play) -> None:
    _tagged(play)
    run_id = play.planned(segment="微博", approved_for={"people": 5, "slots": 0})
    play.write(
        lambda session: segments.save(session, play.account_id, "微博", {"all": []}, play.now)
    )
    assert play.send() == 0
    run = play.run(run_id)
    assert (run.status, run.reason) == ("paused", "too_many_people: 20 > 5")
    assert play.sums(run_id) == {"planned": 3}


def test_a_segment_that_is_gone_stops_its_run_and_no_other(play: Play) -> None:
    _tagged(play)
    gone = play.planned(segment="微博")
    play.write(lambda session: segments.archive(session, play.account_id, "微博", play.now))
    play.planned(name="别的", approved_for={"people": 100, "slots": 0})
    play.later(minutes=10)
    for run in play.start():
        play.plan(run)
    assert play.send() == 1
    assert (play.run(gone).status, play.run(gone).reason) == ("paused", "segment_gone")


def test_a_tag_that_is_being_made_stays_the_target_whatever_the_segment_became(play: Play) -> None:
    _tagged(play)
    others = {"not": {"tag": {"has": "微博来源"}}}
    play.write(lambda session: segments.save(session, play.account_id, "微博", others, play.now))
    run_id = play.planned(segment="微博")
    assert play.send() == 0  # its tag is being made
    for where in ({"all": []}, {"tag": {"has": "微博来源"}}):
        play.write(
            lambda session, where=where: segments.save(
                session, play.account_id, "微博", where, play.now
            )
        )
        assert play.send() == 0
    assert play.run(run_id).status == "running"
    play.write(
        lambda session: session.execute(
            sa.update(temporary_tags).values(state="ready", wechat_id=200)
        )
    )
    assert play.send() == 1
    (row,) = play.owed()
    assert (row.payload["target"], row.payload["tag_id"]) == ("tag", 200)


def test_a_preview_goes_to_testers_only(play: Play) -> None:
    campaign = play.campaign()

    def preview(session: db.Session) -> int | None:
        return sending.preview(
            session,
            play.account,
            campaign,
            play.people[0],
            play.now,
            factories.SECRET_KEY,
            "https://e",
        )

    with pytest.raises(Refused):
        play.write(preview)
    change(play, followers, play.people[0], tester=True)
    assert play.write(preview)
    (row,) = play.owed()
    assert (row.purpose, row.payload["target"]) == ("preview", "preview")
    assert play.read(sa.select(deliveries)) == []
