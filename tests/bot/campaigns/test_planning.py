"""Everybody of an audience gets exactly one delivery: a channel, or one reason."""

from datetime import timedelta

import pytest
import sqlalchemy as sa

from bot import db
from bot.audiences import freezing, segments
from bot.campaigns import candidates, definitions, external_sends, ledger, planning, rounds, status
from bot.tables.accounts import accounts as accounts_table
from bot.tables.campaigns import campaign_runs, campaigns, deliveries, external_mass_sends
from bot.tables.followers import followers
from tests import factories
from tests.bot.campaigns.conftest import Play
from tests.bot.campaigns.makers import open_window, slots
from tests.factories import at

MONTH = "2025-03"


def change_follower(play: Play, follower_id: int, **values: object) -> None:
    play.write(
        lambda session: session.execute(
            sa.update(followers).where(followers.c.id == follower_id).values(**values)
        )
    )


def test_a_due_campaign_starts_one_run(play: Play) -> None:
    play.campaign()
    assert play.start() == play.start()
    assert len(play.read(sa.select(campaign_runs))) == 1


def test_nothing_starts_before_its_time(play: Play) -> None:
    play.campaign(at=(play.now + timedelta(hours=1)).isoformat())
    assert play.start() == []
    play.later(hours=1)
    assert len(play.start()) == 1


def test_a_repeating_campaign_is_due_again_and_catches_up_once(play: Play) -> None:
    play.campaign(at=None, repeat={"every": "day", "at": "20:00"})
    play.later(days=3)
    (run_id,) = play.start()
    assert play.run(run_id).due_at == at("2025-03-03 20:00")
    (row,) = play.read(sa.select(campaigns))
    assert row.next_due_at == at("2025-03-06 20:00")


def test_everybody_is_planned_and_a_slot_reserved_for_each(play: Play) -> None:
    run_id = play.planned()
    assert play.sums(run_id) == {"planned": 20}
    assert play.run(run_id).status == "running"
    with db.reading(play.engine) as session:
        assert slots(session, play.people[0], MONTH) == (1, 0, 0)


def test_each_skip_has_its_reason_and_the_sums_add_up(play: Play) -> None:
    lan, ming, wei, ann, bo = play.people[:5]
    play.limits(cap={"messages": 1, "days": 7}, approve_above=10**6)
    change_follower(play, lan, subscribed=False)
    change_follower(play, ming, opted_out_at=play.now)
    for _ in range(4):
        play.write(lambda session: ledger.reserve(session, play.account_id, [wei], "2025-04"))
    play.write(lambda session: ledger.carry(session, play.account_id, wei, MONTH, 4))
    play.write(
        lambda session: open_window(
            session, play.account_id, ann, until=play.now + timedelta(hours=1)
        )
    )
    play.write(lambda session: open_window(session, play.account_id, bo, until=play.now))
    run_id = play.planned(channels=["customer_service", "mass"])
    # Lan left before: she is not in the audience; Wei has no window and no slot: no_window comes first
    with db.reading(play.engine) as session:
        found = planning.sums(session, run_id)
    assert found == {"planned": 17, "skipped:opted_out": 1, "skipped:no_window": 1, "audience": 19}
    channels = dict(
        play.read(
            sa.select(deliveries.c.channel, sa.func.count())
            .where(deliveries.c.status == "planned")
            .group_by(deliveries.c.channel)
        )
    )
    assert channels == {"customer_service": 1, "mass": 16}


def test_without_a_slot_the_reason_is_no_slot(play: Play) -> None:
    play.write(lambda session: ledger.carry(session, play.account_id, play.people[0], MONTH, 4))
    assert play.sums(play.planned()) == {"planned": 19, "skipped:no_slot": 1}


def test_a_short_window_is_not_for_campaigns(play: Play) -> None:
    play.write(
        lambda session: open_window(
            session, play.account_id, play.people[0], until=play.now + timedelta(minutes=1),
            opened_by="menu", left=3,
        )
    )  # fmt: skip
    assert play.sums(play.planned(channels=["customer_service"])) == {"skipped:no_window": 20}


def test_the_cap_counts_campaigns_of_the_last_days(play: Play) -> None:
    play.limits(cap={"messages": 1, "days": 7})
    play.planned(name="first")
    assert play.sums(play.planned(name="second")) == {"skipped:cap": 20}
    play.later(days=7, seconds=1)
    assert play.sums(play.planned(name="third")) == {"planned": 20}


def test_a_fifth_campaign_of_a_month_reaches_nobody(play: Play) -> None:
    for number in range(4):
        assert play.sums(play.planned(name=f"campaign {number}")) == {"planned": 20}
    fifth = play.planned(name="fifth")
    assert play.sums(fifth) == {"skipped:no_slot": 20}
    assert play.run(fifth).status == "finished"


def test_only_the_segment_is_planned(play: Play) -> None:
    def tagged(session: db.Session) -> None:
        tag = factories.make_tag(session, play.account_id, "微博来源")
        for person in play.people[:3]:
            factories.give_tag(session, play.account_id, person, tag, now=play.now)
        segments.save(session, play.account_id, "微博", {"tag": {"has": "微博来源"}}, play.now)

    play.write(tagged)
    assert play.sums(play.planned(segment="微博")) == {"planned": 3}


def test_a_campaign_of_a_frozen_segment_goes_to_its_list(play: Play) -> None:
    def tagged(session: db.Session) -> tuple[int, int]:
        tag = factories.make_tag(session, play.account_id, "微博来源")
        for person in play.people[:3]:
            factories.give_tag(session, play.account_id, person, tag, now=play.now)
        where = {"tag": {"has": "微博来源"}}
        return tag, segments.save(session, play.account_id, "微博", where, play.now)

    tag, segment_id = play.write(tagged)
    freezing.freeze(play.engine, play.account_id, segment_id, by="Ann", now=play.now)
    play.write(
        lambda session: factories.give_tag(
            session, play.account_id, play.people[3], tag, now=play.now
        )
    )
    frozen = play.planned(name="冻结", segment="微博")
    query = sa.select(deliveries.c.follower_id).where(deliveries.c.run_id == frozen)
    assert {row.follower_id for row in play.read(query)} == set(play.people[:3])
    freezing.unfreeze(play.engine, play.account_id, segment_id)
    assert play.sums(play.planned(name="解冻", segment="微博")) == {"planned": 4}


def test_who_follows_after_planning_began_is_not_in_the_audience(
    play: Play, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(candidates, "PAGE", 5)  # several pages from 20 followers
    monkeypatch.setattr(planning, "CALL_SECONDS", 0.0)  # and a call for each
    play.campaign()
    (run_id,) = play.start()
    assert planning.plan_run(play.engine, run_id, play.now)
    play.write(lambda session: factories.make_follower(session, play.account_id, 99, now=play.now))
    play.plan(run_id)
    assert play.sums(run_id) == {"planned": 20}


def test_planning_goes_on_after_a_kill_at_any_transaction(
    play: Play, monkeypatch: pytest.MonkeyPatch
) -> None:
    # small pages and pieces, so that there are many places to be killed at
    monkeypatch.setattr(candidates, "PAGE", 6)
    monkeypatch.setattr(planning, "ROWS", 2)
    monkeypatch.setattr(planning, "POSTGRESQL_ROWS", 2)
    play.campaign()
    (run_id,) = play.start()
    real = planning._write
    calls = 0

    class Killed(Exception):
        pass

    def dies(*args: object) -> None:
        nonlocal calls
        calls += 1
        real(*args)  # type: ignore[arg-type]
        if calls % 2 == 0:
            raise Killed  # before the commit: cursor, deliveries and slots go together

    monkeypatch.setattr(planning, "_write", dies)
    for _ in range(40):
        engine = db.make_engine(play.engine.url.render_as_string(hide_password=False))
        try:
            if not planning.plan_run(engine, run_id, play.now):
                break
        except Killed:
            pass
        finally:
            engine.dispose()
    assert calls > 10
    assert play.sums(run_id) == {"planned": 20}
    assert play.run(run_id).status == "running"


def test_a_second_planner_changes_nothing(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planning, "ROWS", 5)
    monkeypatch.setattr(planning, "POSTGRESQL_ROWS", 5)
    play.campaign()
    (run_id,) = play.start()
    real = planning._write

    def overtaken(session: db.Session, *args: object) -> None:
        monkeypatch.setattr(planning, "_write", real)
        real(session, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(planning, "_write", overtaken)
    play.plan(run_id)
    play.plan(run_id)
    assert play.sums(run_id) == {"planned": 20}


def test_a_slot_lost_since_the_snapshot_is_no_slot(
    play: Play, monkeypatch: pytest.MonkeyPatch
) -> None:
    play.write(lambda session: ledger.carry(session, play.account_id, play.people[0], MONTH, 4))
    # the snapshot still believed there was one
    monkeypatch.setattr(candidates, "_slots_left", lambda *_: {})
    assert play.sums(play.planned()) == {"planned": 19, "skipped:no_slot": 1}


@pytest.mark.parametrize(
    ("approved_for", "reason"),
    [
        (None, "no_approval"),
        ({"people": 19, "slots": 99}, "too_many_people: 20 > 19"),
        ({"people": 99, "slots": 19}, "too_many_slots: 20 > 19"),
    ],
)
def test_a_run_beyond_its_approval_waits_and_keeps_its_slots(
    play: Play, approved_for: dict[str, int] | None, reason: str
) -> None:
    run_id = play.planned(approved_for=approved_for)
    assert (play.run(run_id).status, play.run(run_id).reason) == ("waiting", reason)
    assert play.send() == 0
    with db.reading(play.engine) as session:
        assert slots(session, play.people[0], MONTH) == (1, 0, 0)
    for name in ("Ann", "Bo"):
        approve(play, name)
    assert play.start() == [run_id]
    play.plan(run_id)
    assert play.run(run_id).status == "running"
    assert play.sums(run_id) == {"planned": 20}


def approve(play: Play, by: str, people: int = 20, slots: int = 20) -> None:
    def work(session: db.Session) -> None:
        campaign = definitions.get(session, play.account_id, "奈雪8元券")
        definitions.approve(session, campaign, by, people, slots, play.now)

    play.write(work)


def test_a_send_to_everybody_needs_a_second_operator(play: Play) -> None:
    run_id = play.planned(approved_for=None)
    approve(play, "Ann")
    approve(play, "Ann")
    play.plan(run_id)
    assert play.run(run_id).reason == "second_approval"
    approve(play, "Bo")
    play.plan(run_id)
    assert play.run(run_id).status == "running"


def test_many_recipients_need_a_second_operator(play: Play) -> None:
    play.write(
        lambda session: segments.save(
            session, play.account_id, "活跃", {"last_active": {"not_within_days": 1}}, play.now
        )
    )
    play.limits(approve_above=19)
    run_id = play.planned(approved_for=None, segment="活跃")
    approve(play, "Ann")
    play.plan(run_id)
    assert play.run(run_id).reason == "second_approval"
    play.limits(approve_above=20)
    play.plan(run_id)
    assert play.run(run_id).status == "running"


def test_mass_waits_until_the_opening_balance_is_stated(play: Play) -> None:
    play.write(
        lambda session: session.execute(sa.update(accounts_table).values(opening_stated_at=None))
    )
    run_id = play.planned()
    assert (play.run(run_id).status, play.run(run_id).reason) == ("waiting", "opening_not_stated")
    play.write(
        lambda session: external_sends.opening(
            session, play.account_id, 4, None, play.now, by="Ann"
        )
    )
    play.plan(run_id)
    assert play.sums(run_id) == {"skipped:no_slot": 20}


def test_customer_service_needs_no_opening_balance(play: Play) -> None:
    play.write(
        lambda session: session.execute(sa.update(accounts_table).values(opening_stated_at=None))
    )
    run_id = play.planned(channels=["customer_service"])
    assert play.run(run_id).status == "finished"


def test_an_unexplained_send_from_elsewhere_blocks_mass(play: Play) -> None:
    play.write(
        lambda session: session.execute(
            sa.insert(external_mass_sends).values(
                account_id=play.account_id, source="event", msg_id="77", audience="unknown",
                times=1, month=MONTH, at=play.now,
            )
        )
    )  # fmt: skip
    run_id = play.planned()
    assert play.run(run_id).reason == "unknown_external_send: 77"
    play.write(
        lambda session: external_sends.state_external(
            session, play.account_id, "all", play.now, by="Bo", msg_id="77"
        )
    )
    play.plan(run_id)
    assert play.sums(run_id) == {"planned": 20}
    with db.reading(play.engine) as session:
        assert slots(session, play.people[0], MONTH) == (1, 1, 1)


def test_a_stopped_account_plans_nothing(play: Play) -> None:
    play.write(
        lambda session: session.execute(
            sa.update(accounts_table).values(stopped_at=play.now, stopped_reason="投诉")
        )
    )
    run_id = play.planned()
    assert play.run(run_id).reason == "account_stopped: 投诉"
    assert play.sums(run_id) == {}


def archive(play: Play, name: str) -> None:
    play.write(lambda session: segments.archive(session, play.account_id, name, play.now))


def ends_without_segment(play: Play, run_id: int, people: int) -> None:
    """The run is cancelled with a sentence, and whoever was planned has their slot back."""
    play.plan(run_id)
    run = play.run(run_id)
    assert (run.status, run.reason, run.finished_at) == ("cancelled", "segment_gone", play.now)
    assert status.explain(run.reason) == "人群已不存在"
    assert run_id not in play.start()
    assert play.send() == 0
    assert play.sums(run_id) == ({"skipped:cancelled": people} if people else {})
    with db.reading(play.engine) as session:
        assert slots(session, play.people[0], MONTH) == (0, 0, 0)
    assert [row.status for row in play.read(sa.select(campaigns.c.status))] == ["finished"]


def test_a_run_whose_segment_vanished_before_planning_ends(play: Play) -> None:
    play.campaign()
    (run_id,) = play.start()
    archive(play, "大家")
    ends_without_segment(play, run_id, 0)


def test_a_run_whose_segment_names_one_that_vanished_ends(play: Play) -> None:
    inner = {"in_segment": {"name": "大家"}}
    play.write(lambda session: segments.save(session, play.account_id, "里", inner, play.now))
    play.campaign(segment="里")
    (run_id,) = play.start()
    archive(play, "大家")
    ends_without_segment(play, run_id, 0)


def test_a_run_whose_segment_vanished_during_planning_ends(
    play: Play, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(candidates, "PAGE", 6)
    monkeypatch.setattr(planning, "CALL_SECONDS", 0.0)  # a page a call
    play.campaign()
    (run_id,) = play.start()
    assert planning.plan_run(play.engine, run_id, play.now)
    assert play.sums(run_id) == {"planned": 6}
    archive(play, "大家")
    ends_without_segment(play, run_id, 6)


def test_a_planned_run_that_waits_for_approval_ends_when_its_segment_vanishes(play: Play) -> None:
    run_id = play.planned(approved_for=None)
    assert play.run(run_id).reason == "no_approval"
    archive(play, "大家")
    ends_without_segment(play, run_id, 20)


def test_a_follow_up_whose_segment_vanished_ends(play: Play) -> None:
    step = {"after": "24h", "to": "not_clicked", "channels": ["mass"], "content": {"text": "再来"}}
    play.planned(follow_ups=[step])
    play.finish_all()
    play.later(hours=25)
    (run_id,) = rounds.start_due(play.engine, play.now)
    archive(play, "大家")
    play.plan(run_id)
    assert (play.run(run_id).status, play.run(run_id).reason) == ("cancelled", "segment_gone")
    assert play.send() == 0
    assert play.read(sa.select(campaigns.c.status)) == [("finished",)]


def test_an_empty_audience_finishes_at_once(play: Play) -> None:
    play.write(lambda session: session.execute(sa.update(followers).values(subscribed=False)))
    run_id = play.planned()
    assert play.run(run_id).status == "finished"
    (row,) = play.read(sa.select(campaigns))
    assert row.status == "finished"


def test_a_forecast_counts_without_writing(play: Play) -> None:
    play.write(lambda session: ledger.carry(session, play.account_id, play.people[0], MONTH, 4))
    campaign = play.campaign()
    with db.reading(play.engine) as session:
        found = planning.forecast(session, play.account, campaign, play.now)
    assert (found.people, found.reached, found.slots) == (20, 19, 19)
    assert (found.channels, found.reasons) == ({"mass": 19}, {"no_slot": 1})
    assert play.read(sa.select(deliveries)) == []


def test_a_big_run_has_a_small_canary(play: Play) -> None:
    play.write(
        lambda session: session.execute(
            sa.insert(followers),
            [
                {
                    "account_id": play.account_id, "open_id": factories.open_id(number),
                    "subscribed": True, "first_seen_at": play.now, "fields": {}, "messages": 0,
                    "tester": False,
                }
                for number in range(1000, 1600)
            ],
        )
    )  # fmt: skip
    run_id = play.planned()
    waves = dict(
        play.read(sa.select(deliveries.c.wave, sa.func.count()).group_by(deliveries.c.wave))
    )
    assert waves == {0: 100, 1: 520}
    assert play.sums(run_id) == {"planned": 620}
