"""A month of campaigns: nobody gets a fifth message, and every follower of an audience ends with one reason."""

import json
from collections import Counter
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from bot.clock import parse_moment
from bot.tables.campaigns import mass_batches
from tests import factories
from tests.scenarios.world import World

pytestmark = pytest.mark.slow  # whole months, minute by minute where it matters

CROWD = 30
EVERYBODY = {"name": "大家", "where": {"all": []}}
TAGGED = {"name": "爱互动的", "where": {"tag": {"has": "喜欢互动"}}}
PARTS: dict[str, Any] = {
    "tags": [{"name": "喜欢互动"}, {"name": "会员", "sync": True}],
    "rules": [
        {
            "name": "互动",
            "when": [{"text_is": {"any": ["活动"]}}],
            "then": [{"add_tag": {"tags": ["喜欢互动"]}}, {"reply": {"text": "好"}}],
        },
        {
            "name": "报名",
            "when": [{"text_is": {"any": ["报名"]}}],
            "then": [{"record": {"event": "报名"}}],
        },
    ],
    "segments": [EVERYBODY, TAGGED],
}


def campaign(name: str, at: str | None = None, **more: Any) -> dict[str, Any]:
    """A mass campaign to everybody that its file approves."""
    made: dict[str, Any] = {
        "name": name,
        "segment": "大家",
        "channels": ["mass"],
        "content": {"text": f"{name}的内容"},
        "approved_for": {"people": 5000, "slots": 5000},
        "status": "scheduled",
    } | more
    if at is not None:
        made["at"] = parse_moment(at).isoformat()
    return {key: value for key, value in made.items() if value is not None}


@pytest.fixture
def brand(world: World) -> World:
    world.connect()
    world.apply(**PARTS)
    world.crowd(CROWD)
    return world


def play(world: World, name: str, at: str, slug: str = "muyan", **more: Any) -> dict[str, Any]:
    """Apply a campaign for a moment, let its time come and its results too; its run."""
    world.apply(slug, campaigns=[campaign(name, at, **more)])
    world.go_to(at)
    world.pass_time(1)
    return world.run(name, slug)


def audience(run: dict[str, Any]) -> int:
    assert sum(run["skipped"].values()) == run["outcomes"].get("skipped", 0)
    return sum(run["outcomes"].values())


def test_of_five_campaigns_in_a_month_nobody_gets_the_fifth(brand: World) -> None:
    for day in range(3, 8):
        run = play(brand, f"第{day}天", f"2026-11-0{day} 12:00")
        assert (run["status"], audience(run)) == ("finished", CROWD)
        expected = {"sent": CROWD} if day < 7 else {"skipped": CROWD}
        assert run["outcomes"] == expected
        brand.check_ledger()
    assert run["skipped"] == {"no_slot": CROWD}
    assert set(brand.counts().values()) == {4}
    assert len(brand.counts()) == CROWD
    shown = brand.told("ledger", "show", "muyan")
    assert shown["people_by_slots_left"] == {"0": CROWD, "1": 0, "2": 0, "3": 0, "4": 0}
    # a new month, new slots
    run = play(brand, "下个月", "2026-12-01 12:00")
    assert run["outcomes"] == {"sent": CROWD}
    assert set(brand.counts().values()) == {1}
    brand.check_ledger()


def test_who_has_an_open_window_gets_it_free_and_keeps_the_slot(brand: World) -> None:
    for number in range(1, 9):
        assert brand.say(number, "活动") == "好"
    run = play(brand, "先免费", "2026-11-02 12:00", channels=["customer_service", "mass"])
    assert run["outcomes"] == {"sent": CROWD}
    for number in (1, 8):
        assert brand.received(number, "customer_service") == ["先免费的内容"]
        assert brand.received(number, "mass") == []
    assert brand.received(9, "mass") == ["先免费的内容"]
    assert len(brand.charged()) == CROWD - 8
    brand.check_ledger()


def test_one_person_left_for_mass_is_no_batch_and_says_so(brand: World) -> None:
    for number in range(1, CROWD):
        brand.say(number, "你好")
    run = play(brand, "差一个", "2026-11-02 12:00", channels=["customer_service", "mass"])
    assert run["outcomes"] == {"sent": CROWD - 1, "skipped": 1}
    assert run["skipped"] == {"batch_of_one": 1}
    assert brand.counts() == {}
    assert brand.platform.refused() == []
    assert set(brand.charged().values()) <= {0}
    brand.check_ledger()


def test_every_reason_is_counted_once_and_they_add_up_to_the_audience(brand: World) -> None:
    brand.apply(limits={"cap": {"messages": 1, "days": 7}})
    for number in (1, 2):
        brand.say(number, "活动")
        brand.say(number, "TD")
    for number in (3, 4, 5):
        brand.say(number, "活动")
    first = play(brand, "小范围", "2026-11-02 12:00", segment="爱互动的")
    assert first["outcomes"] == {"sent": 3, "skipped": 2}
    brand.leave(6)
    second = play(brand, "大家都有", "2026-11-03 12:00")
    assert audience(second) == CROWD - 1  # who left before is not in the audience
    assert second["skipped"] == {"opted_out": 2, "cap": 3}
    assert brand.received(1, "mass") == brand.received(6, "mass") == []
    # the cap is of seven days
    third = play(brand, "一周以后", "2026-11-10 12:00")
    assert third["outcomes"] == {"sent": CROWD - 3, "skipped": 2}
    brand.check_ledger()


def test_who_leaves_between_planning_and_sending_is_skipped_and_keeps_the_slot(
    brand: World,
) -> None:
    brand.apply(limits={"quiet_hours": "22:00-08:00"})
    brand.apply(campaigns=[campaign("夜里的", "2026-11-02 23:00")])
    brand.go_to("2026-11-02 23:00")
    assert brand.run("夜里的")["outcomes"] == {"planned": CROWD}
    brand.leave(1)
    brand.say(2, "退订")
    assert brand.counts() == {}, "quiet hours delay"
    brand.go_to("2026-11-03 07:59")
    assert brand.counts() == {}
    brand.go_to("2026-11-03 08:00")
    brand.pass_time(1)
    run = brand.run("夜里的")
    assert run["outcomes"] == {"sent": CROWD - 2, "skipped": 2}
    assert run["skipped"] == {"left": 1, "opted_out": 1}
    assert sum(brand.charged().values()) == CROWD - 2
    brand.check_ledger()


def test_a_run_is_paused_resumed_and_cancelled_between_its_waves(world: World) -> None:
    world.connect(mass_seconds=300)  # the first small wave has its result after five minutes
    # the guard would cut the rest into further parts: test_guard.py
    world.apply(**PARTS, limits={"guard": False})
    world.crowd(600)
    world.apply(
        campaigns=[campaign("分批", "2026-11-02 12:00"), campaign("再来", "2026-11-02 13:00")]
    )
    world.go_to("2026-11-02 12:00")
    world.pass_time(1)
    first = world.run("分批")
    assert first["outcomes"] == {"sent": 100, "planned": 500}, "a canary of 100"
    world.ok("campaigns", "pause", "muyan", "分批")
    world.pass_time(9)
    assert world.run("分批")["status"] == "paused"
    assert len(world.counts()) == 100
    assert "no run under way" in world.fails("campaigns", "pause", "muyan", "再来")
    world.ok("campaigns", "resume", "muyan", "分批")
    world.pass_time(9)
    assert world.run("分批")["outcomes"] == {"sent": 600}
    world.go_to("2026-11-02 13:00")
    world.ok("campaigns", "cancel", "muyan", "再来")
    world.pass_time(9)
    run = world.run("再来")
    assert (run["status"], audience(run)) == ("cancelled", 600)
    assert run["outcomes"] == {"sent": 100, "skipped": 500}
    assert run["skipped"] == {"cancelled": 500}
    assert sum(world.charged().values()) == 700
    assert "no run under way" in world.fails("campaigns", "resume", "muyan", "再来")
    world.check_ledger()


def test_the_emergency_stop_stops_every_send_at_once_and_go_lets_it_go_on(brand: World) -> None:
    brand.apply(campaigns=[campaign("要停", "2026-11-02 12:00")])
    brand.ok("stop", "muyan", "--reason", "文案有误")
    assert brand.say(1, "活动") == "好", "answers go on"
    brand.go_to("2026-11-02 12:00")
    brand.pass_time(2)
    run = brand.run("要停")
    assert run["status"] == "waiting"
    assert "文案有误" in run["reason"]
    assert "文案有误" in brand.home()
    assert brand.counts() == {}
    brand.ok("go", "muyan")
    brand.pass_time(2)
    assert brand.run("要停")["outcomes"] == {"sent": CROWD}


def test_a_send_to_everybody_needs_two_operators(brand: World) -> None:
    for name in ("Ann", "Bo"):
        brand.ok("operator", "add", name, "--role", "lead")
    approve = ["campaigns", "approve", "muyan", "要两个人", "--people", "100", "--slots", "100"]
    brand.apply(campaigns=[campaign("要两个人", "2026-11-02 12:00", approved_for=None)])
    brand.go_to("2026-11-02 12:00")
    assert brand.run("要两个人")["status"] == "waiting"
    brand.ok(*approve, "--by", "Ann")
    brand.pass_time(1)
    assert brand.run("要两个人")["reason"] == "waits for a second operator's approval"
    brand.ok(*approve, "--by", "Ann")  # the same one twice is one
    brand.pass_time(1)
    assert brand.counts() == {}
    brand.ok(*approve, "--by", "Bo")
    brand.pass_time(1)
    assert brand.run("要两个人")["outcomes"] == {"sent": CROWD}


def test_above_the_limit_of_the_account_a_second_operator_approves(brand: World) -> None:
    for name in ("Ann", "Bo"):
        brand.ok("operator", "add", name, "--role", "lead")
    brand.apply(limits={"approve_above": 5, "all_send_hold": "1s"})
    for number in range(1, 9):
        brand.say(number, "活动")
    wanted = campaign("八个人", "2026-11-02 12:00", approved_for=None, segment="爱互动的")
    brand.apply(campaigns=[wanted])
    approve = ["campaigns", "approve", "muyan", "八个人", "--slots", "100"]
    brand.ok(*approve, "--people", "7", "--by", "Ann")
    brand.ok(*approve, "--people", "7", "--by", "Bo")
    brand.go_to("2026-11-02 12:00")
    assert "8 > 7" in brand.run("八个人")["reason"]
    brand.ok(*approve, "--people", "8", "--by", "Ann")
    brand.pass_time(1)
    assert brand.run("八个人")["status"] == "waiting"
    brand.ok(*approve, "--people", "8", "--by", "Bo")
    brand.pass_time(1)
    assert brand.run("八个人")["outcomes"] == {"sent": 8}


def test_an_account_connected_in_mid_month_sends_no_mass_before_its_opening_is_stated(
    world: World,
) -> None:
    world.connect(opening=False)
    world.apply(**PARTS)
    people = world.crowd(CROWD, counts={"2026-11": 3})
    world.platform.set_counts(world.app_id(), "2026-11", {people[0]: 4})
    world.apply(campaigns=[campaign("接入以后", "2026-11-02 12:00")])
    world.go_to("2026-11-02 12:00")
    world.pass_time(2)
    run = world.run("接入以后")
    assert run["status"] == "waiting"
    assert "qunfen account opening" in run["reason"]
    assert "qunfen account opening" in world.home()
    wrong = {item["what"] for item in doctor(world) if item["level"] == "wrong"}
    assert "muyan: opening" in wrong
    (world.folder / "more.csv").write_text(f"openid\n{people[0]}\n")
    world.ok("account", "opening", "muyan", "--sent-to-all", "3", "--file", "more.csv")
    world.pass_time(2)
    run = world.run("接入以后")
    assert run["outcomes"] == {"sent": CROWD - 1, "skipped": 1}
    assert run["skipped"] == {"no_slot": 1}
    assert set(world.counts().values()) == {4}
    world.check_ledger()


def doctor(world: World) -> list[dict[str, str]]:
    return list(json.loads(world.cli("doctor", "--json").stdout))


def test_a_send_made_on_the_platforms_own_site_blocks_mass_until_it_is_explained(
    brand: World,
) -> None:
    msg_id = brand.platform.site_send(brand.app_id(), "官网手工群发")
    brand.pass_time(4)
    assert brand.told("ledger", "show", "muyan")["unexplained_sends"] == [str(msg_id)]
    brand.apply(campaigns=[campaign("被挡住", "2026-11-02 12:00")])
    brand.go_to("2026-11-02 12:00")
    brand.pass_time(2)
    run = brand.run("被挡住")
    assert run["status"] == "waiting"
    assert str(msg_id) in run["reason"]
    assert "群发锁定" in brand.home()
    assert any(str(msg_id) in item["says"] for item in doctor(brand))
    brand.ok("ledger", "external", "muyan", "--went-to", "all", "--msg-id", str(msg_id))
    assert "explained" in brand.fails(
        "ledger", "external", "muyan", "--went-to", "all", "--msg-id", str(msg_id)
    )
    brand.pass_time(2)
    assert brand.run("被挡住")["outcomes"] == {"sent": CROWD}
    assert set(brand.counts().values()) == {2}
    assert set(brand.charged().values()) == {2}
    brand.check_ledger()


def test_a_site_send_to_a_tag_or_a_list_charges_those_only(brand: World) -> None:
    for number in (1, 2, 3):
        brand.say(number, "活动")
    people = [factories.open_id(number) for number in (1, 2, 3)]
    for said in (("--went-to", "tag", "--tag", "喜欢互动"), ("--went-to", "listed", "--file", "l")):
        brand.platform.site_send(brand.app_id(), "手工", open_ids=people)
        brand.pass_time(4)
        (brand.folder / "l").write_text("\n".join(people))
        (msg_id,) = brand.told("ledger", "show", "muyan")["unexplained_sends"]
        brand.ok("ledger", "external", "muyan", "--msg-id", msg_id, *said)
    assert {who: got for who, got in brand.charged().items() if got} == dict.fromkeys(people, 2)
    brand.check_ledger()


def test_who_was_present_at_a_site_send_left_and_came_back_is_charged_for_it(brand: World) -> None:
    msg_id = brand.platform.site_send(brand.app_id(), "官网手工群发")
    brand.pass_time(4)
    brand.leave(1)
    brand.pass_time(1)
    brand.leave(2)
    brand.follow(2)
    brand.ok("ledger", "external", "muyan", "--went-to", "all", "--msg-id", str(msg_id))
    brand.pass_time(1)
    brand.follow(1)
    for day in range(3, 8):
        play(brand, f"第{day}天", f"2026-11-0{day} 12:00")
    brand.check_ledger()


def test_no_mass_call_is_made_in_the_last_half_hour_of_a_month(brand: World) -> None:
    brand.apply(campaigns=[campaign("月底", "2026-11-30 23:40")])
    brand.go_to("2026-11-30 23:40")
    brand.pass_time(3, minutes=5)
    assert brand.run("月底")["outcomes"] == {"planned": CROWD}
    assert brand.outbox("mass") == []
    brand.go_to("2026-12-01 00:00")
    brand.pass_time(1)
    assert brand.run("月底")["outcomes"] == {"sent": CROWD}
    assert brand.counts(month="2026-11") == {}
    assert set(brand.charged(month="2026-11").values()) <= {0}
    assert set(brand.charged(month="2026-12").values()) == {1}
    brand.check_ledger(month="2026-11")
    brand.check_ledger(month="2026-12")


def test_a_run_over_the_turn_of_the_month_takes_its_slots_anew(brand: World) -> None:
    brand.apply(limits={"quiet_hours": "22:00-08:00"})
    brand.apply(campaigns=[campaign("跨月", "2026-11-30 22:30")])
    brand.go_to("2026-11-30 22:30")
    assert sum(brand.charged(month="2026-11").values()) == CROWD
    brand.go_to("2026-12-01 08:00")
    brand.pass_time(1)
    assert brand.run("跨月")["outcomes"] == {"sent": CROWD}
    assert sum(brand.charged(month="2026-11").values()) == 0
    assert sum(brand.charged(month="2026-12").values()) == CROWD
    assert set(brand.counts(month="2026-12").values()) == {1}
    brand.check_ledger(month="2026-12")


@pytest.mark.parametrize("fault", ["finish_duplicate", "finish_delay", "finish_lose"])
def test_finish_events_may_come_twice_late_or_never(brand: World, fault: str) -> None:
    brand.platform.fault("MASSSENDJOBFINISH", fault, 1, seconds=1200)
    run = play(brand, "对账", "2026-11-02 12:00")
    assert run["outcomes"] == {"sent": CROWD}
    brand.pass_time(16, minutes=5)
    run = brand.run("对账")
    assert run["status"] == "finished"
    (batch,) = brand.rows(sa.select(mass_batches))
    assert (batch.status, batch.size) == ("finished", CROWD)
    assert batch.shortfall == (None if fault == "finish_lose" else 0)
    assert brand.told("ledger", "show", "muyan")["unexplained_sends"] == []
    brand.check_ledger()


def test_a_finish_event_that_overtakes_our_own_commit_is_placed(brand: World) -> None:
    # the answer to the call is lost; the platform finishes the job before we repeat it
    brand.platform.fault("/cgi-bin/message/mass/send", "drop", 1)
    run = play(brand, "超车", "2026-11-02 12:00")
    assert (run["status"], run["outcomes"]) == ("finished", {"sent": CROWD})
    (batch,) = brand.rows(sa.select(mass_batches))
    assert (batch.status, batch.sent) == ("finished", CROWD)
    assert set(brand.counts().values()) == {1}, "repeated with the same clientmsgid"
    assert brand.told("ledger", "show", "muyan")["unexplained_sends"] == []
    brand.check_ledger()


def test_who_refuses_messages_is_a_shortfall_of_the_batch_and_stays_charged(brand: World) -> None:
    refusing = [factories.open_id(number) for number in (1, 2, 3)]
    brand.platform.set_followers(brand.app_id(), refusing, refuses=True)
    run = play(brand, "有人拒收", "2026-11-02 12:00")
    assert run["outcomes"] == {"sent": CROWD}
    (batch,) = brand.rows(sa.select(mass_batches))
    assert (batch.sent, batch.shortfall) == (CROWD - 3, 3)
    assert sum(brand.charged().values()) - sum(brand.counts().values()) == 3
    brand.check_ledger()


def test_weekly_and_monthly_campaigns_make_a_run_each_time(brand: World) -> None:
    # 1 November was a Sunday
    repeats = {
        "每周五": {"every": "week", "on": ["fri"], "at": "12:00"},
        "每月": {"every": "month", "on": [3, 31], "at": "12:00"},
    }
    brand.apply(campaigns=[campaign(name, repeat=repeat) for name, repeat in repeats.items()])
    for day in ("11-03", "11-06", "11-13", "11-20", "11-27", "11-30", "12-03"):
        brand.go_to(f"2026-{day} 12:00")
        brand.pass_time(1)
    due = [run["due_at"][:10] for run in reversed(brand.runs("每周五"))]
    assert due == ["2026-11-06", "2026-11-13", "2026-11-20", "2026-11-27"]
    due = [run["due_at"][:10] for run in reversed(brand.runs("每月"))]
    assert due == ["2026-11-03", "2026-11-30", "2026-12-03"]
    assert set(brand.counts(month="2026-11").values()) == {4}
    assert brand.run("每周五")["skipped"] == {"no_slot": CROWD}
    brand.check_ledger(month="2026-11")


def test_a_program_that_was_down_for_a_week_catches_up_once(brand: World) -> None:
    repeat = {"every": "day", "at": "12:00"}
    brand.apply(campaigns=[campaign("每天", repeat=repeat)])
    brand.go_to("2026-11-09 10:00")
    brand.pass_time(1)
    assert [run["due_at"][:10] for run in brand.runs("每天")] == ["2026-11-02"]
    assert set(brand.counts().values()) == {1}


def test_a_follow_up_reaches_who_got_the_first_and_did_not_act(brand: World) -> None:
    segments = [
        {"name": "第一波", "where": {"any": [{"tag": {"has": "喜欢互动"}}]}},
        {
            "name": "没报名的",
            "where": {
                "all": [
                    {"got_campaign": {"name": "第一波活动"}},
                    {"not": {"did": {"event": "报名", "within_days": 3}}},
                ]
            },
        },
    ]
    for number in range(1, 7):
        brand.say(number, "活动")
    brand.apply(
        segments=[*PARTS["segments"], *segments],
        campaigns=[campaign("第一波活动", "2026-11-02 12:00", segment="第一波")],
    )
    brand.go_to("2026-11-02 12:00")
    brand.pass_time(1)
    for number in (1, 2):
        brand.say(number, "报名")
    run = play(brand, "第二波活动", "2026-11-04 12:00", segment="没报名的")
    assert run["outcomes"] == {"sent": 4}
    assert brand.received(1, "mass") == ["第一波活动的内容"]
    assert brand.received(3, "mass") == ["第一波活动的内容", "第二波活动的内容"]


def test_a_preview_reaches_one_tester_and_takes_no_slot(brand: World) -> None:
    brand.apply(campaigns=[campaign("先看看", "2026-11-05 12:00")])
    preview = ["campaigns", "preview", "muyan", "先看看", "--to", factories.open_id(1)]
    assert "测试人员" in brand.fails(*preview)
    assert "no follower" in brand.fails("followers", "tester", "muyan", "oNobody")
    brand.ok("followers", "tester", "muyan", factories.open_id(1))
    brand.ok(*preview)
    brand.work()
    assert brand.received(1, "preview") == ["先看看的内容"]
    assert brand.counts() == brand.charged() == {}
    assert brand.runs("先看看") == []


def test_an_erased_follower_who_comes_back_keeps_the_slots_of_the_month(brand: World) -> None:
    for day in range(3, 6):
        play(brand, f"第{day}天", f"2026-11-0{day} 12:00")
    brand.go_to("2026-11-06 10:00")
    # who asks for it on the platform is erased at once
    app_id = brand.app_id()
    brand.leave(1)
    brand.leave(2)
    brand.platform.event(
        app_id,
        factories.open_id(2),
        "user_authorization_revoke",
        OpenID=factories.open_id(2),
        RevokeInfo="1",
    )
    brand.pass_time(2)
    brand.follow(1)
    brand.follow(2)
    for day in range(7, 10):
        play(brand, f"第{day}天", f"2026-11-{day:02d} 12:00")
    assert brand.counts()[factories.open_id(1)] == 4
    assert brand.counts()[factories.open_id(2)] == 4
    brand.check_ledger()


def test_thirty_days_after_leaving_nothing_of_a_follower_is_left(brand: World) -> None:
    brand.say(1, "活动")
    brand.leave(1)
    brand.go_to("2026-12-03 04:00")
    rows = brand.rows(
        sa.text("SELECT count(*) AS n FROM followers WHERE open_id = :who").bindparams(
            who=factories.open_id(1)
        )
    )
    assert rows[0].n == 0


def subscription(world: World) -> World:
    world.connect("daily", app_id="wxsub0000000000001", kind="subscription", opening=False)
    world.apply("daily", **PARTS)
    world.crowd(CROWD, slug="daily")
    return world


def test_a_subscription_account_sends_once_a_day_to_everybody_by_two_names(world: World) -> None:
    subscription(world)
    for name in ("Ann", "Bo"):
        world.ok("operator", "add", name, "--role", "lead")
    world.apply(
        "daily",
        campaigns=[
            campaign("早报", "2026-11-02 12:00", approved_for=None),
            campaign("晚报", "2026-11-02 18:00"),
        ],
    )
    world.go_to("2026-11-02 12:00")
    approve = ["campaigns", "approve", "daily", "早报", "--people", "100", "--slots", "100", "--by"]
    world.ok(*approve, "Ann")
    world.pass_time(1)
    assert world.counts("daily") == {}
    world.ok(*approve, "Bo")
    world.pass_time(2)
    assert world.counts("daily") == {}  # a send to everybody waits ten minutes for second thoughts
    world.pass_time(10)
    assert world.run("早报", "daily")["outcomes"] == {"sent": CROWD}
    world.go_to("2026-11-02 18:00")
    world.pass_time(2)
    assert world.run("晚报", "daily")["outcomes"] == {"planned": CROWD}, "one send a day"
    world.go_to("2026-11-03 00:02")
    world.pass_time(2)
    assert world.run("晚报", "daily")["outcomes"] == {"sent": CROWD}
    assert set(world.counts("daily").values()) == {2}
    assert world.platform.refused() == []


def test_a_subscription_account_sends_to_one_synced_tag(world: World) -> None:
    subscription(world)
    world.apply("daily", segments=[{"name": "会员们", "where": {"tag": {"has": "会员"}}}], rules=[{
        "name": "入会", "when": [{"text_is": {"any": ["入会"]}}],
        "then": [{"add_tag": {"tags": ["会员"]}}],
    }])  # fmt: skip
    for number in (1, 2, 3):
        world.say(number, "入会", "daily")
    world.pass_time(2, minutes=6)
    run = play(world, "会员日", "2026-11-02 12:00", "daily", segment="会员们")
    assert run["outcomes"] == {"sent": 3}
    assert Counter(world.counts("daily").values()) == {1: 3}
    assert world.platform.refused() == []


def test_two_runs_at_once_never_promise_a_slot_twice(brand: World) -> None:
    for day in range(3, 6):
        play(brand, f"第{day}天", f"2026-11-0{day} 12:00")
    names = ["甲", "乙", "丙"]
    brand.apply(campaigns=[campaign(name, "2026-11-06 12:00") for name in names])
    brand.go_to("2026-11-06 12:00")
    brand.pass_time(2)
    sent = [brand.run(name)["outcomes"].get("sent", 0) for name in names]
    assert sorted(sent) == [0, 0, CROWD]
    assert set(brand.counts().values()) == {4}
    brand.check_ledger()


def test_quiet_hours_that_end_after_a_window_does_leave_the_message_expired(brand: World) -> None:
    brand.apply(limits={"quiet_hours": "22:00-08:00"})
    for number in (1, 2):
        brand.say(number, "活动")  # at 09:00: open until the 4th, 09:00
    brand.go_to("2026-11-02 10:30")
    brand.say(3, "活动")
    brand.clock.frozen_at = brand.clock() + timedelta(hours=1)
    run = play(
        brand, "赶不上", "2026-11-03 23:00", segment="爱互动的", channels=["customer_service"]
    )
    assert run["outcomes"] == {"planned": 3}
    brand.go_to("2026-11-04 08:00")
    brand.pass_time(1)
    assert brand.run("赶不上")["outcomes"] == {"sent": 3}
    late = play(
        brand, "太晚了", "2026-11-04 08:59", segment="爱互动的", channels=["customer_service"]
    )
    assert late["outcomes"] == {"sent": 3}
    last = play(
        brand, "过期了", "2026-11-04 09:30", segment="爱互动的", channels=["customer_service"]
    )
    assert last["skipped"] == {"no_window": 2}
    assert last["outcomes"] == {"sent": 1, "skipped": 2}
    assert brand.platform.refused() == []
