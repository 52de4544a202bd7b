"""The platform fails in every way it knows: what is tried again, what stops, and what the operator reads."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest

from tests import factories
from tests.scenarios.test_campaign_month import PARTS, campaign
from tests.scenarios.world import World

pytestmark = pytest.mark.slow  # a brand, a campaign and its repeats for each failure

SEND = {"customer_service": "/cgi-bin/message/custom/send", "mass": "/cgi-bin/message/mass/send"}
NAME, PEOPLE = "试一试", 3


@dataclass(frozen=True)
class Case:
    """``first``: deliveries after the first try; ``after``: the wait until the next; ``last``: then."""

    name: str
    channel: str
    arm: Callable[[World, str], object]
    says: str
    first: str
    last: str
    after: timedelta = timedelta(0)
    copies: int = 1  # that each follower gets in the end
    blocks: bool = False  # and the next campaign waits for an operator


def fails(kind: str, errcode: int | None = None, times: int = PEOPLE) -> Callable[..., object]:
    return lambda world, path: world.platform.fault(path, kind, times, errcode=errcode)


def down(world: World, _path: str) -> None:
    world.platform_down()


def old_token(errcode: int) -> Callable[..., object]:
    def arm(world: World, path: str) -> None:
        world.platform.fault(path, "errcode", 1, errcode=errcode)

    return arm


MINUTE, NEXT_DAY = timedelta(seconds=61), timedelta(hours=15, minutes=5)
BUSY = timedelta(seconds=11)
FAILED, GIVEN_UP = ("failed", "failed"), ("planned", "failed")
CASES = [
    Case("down", "customer_service", down, "连接不上微信接口", "planned", "sent", BUSY),
    Case("slow", "customer_service", fails("timeout"), "超时没有回答", "unknown", "unknown", copies=0),
    Case("slow but done", "customer_service", fails("drop"), "连接中断", "unknown", "unknown"),
    Case("html", "customer_service", fails("html"), "不是 JSON", "unknown", "unknown", copies=0),
    Case("40001", "customer_service", old_token(40001), "", "sent", "sent"),
    Case("42001", "customer_service", old_token(42001), "", "sent", "sent"),
    Case("45009", "customer_service", fails("errcode", 45009), "今天的调用次数已用完", "planned", "sent", NEXT_DAY),
    Case("45011", "customer_service", fails("errcode", 45011), "太频繁", "planned", "sent", MINUTE),
    Case("45047", "customer_service", fails("errcode", 45047), "条数已达上限", "failed", "failed", copies=0),
    Case("45015", "customer_service", fails("errcode", 45015), "回复时限", "failed", "failed", copies=0),
    Case("48001", "customer_service", fails("errcode", 48001), "没有这个接口的权限", *FAILED, copies=0, blocks=True),
    Case("-1", "customer_service", fails("errcode", -1), "系统繁忙", "planned", "sent", BUSY),
    Case("-1 for ever", "customer_service", fails("errcode", -1, 99), "系统繁忙", *GIVEN_UP, 5 * MINUTE, copies=0),
    Case("down", "mass", down, "连接不上微信接口", "planned", "sent", BUSY),
    Case("slow", "mass", fails("timeout", times=1), "超时没有回答", "planned", "sent", MINUTE),
    Case("slow but done", "mass", fails("drop", times=1), "连接中断", "planned", "sent", MINUTE),
    Case("html", "mass", fails("html", times=1), "不是 JSON", "planned", "sent", MINUTE),
    Case("40001", "mass", old_token(40001), "", "sent", "sent"),
    Case("42001", "mass", old_token(42001), "", "sent", "sent"),
    Case("45009", "mass", fails("errcode", 45009, 1), "今天的调用次数已用完", "planned", "sent", NEXT_DAY),
    Case("45011", "mass", fails("errcode", 45011, 1), "太频繁", "planned", "sent", MINUTE),
    Case("45047", "mass", fails("errcode", 45047, 1), "条数已达上限", "failed", "failed", copies=0),
    Case("45015", "mass", fails("errcode", 45015, 1), "回复时限", "failed", "failed", copies=0),
    Case("48001", "mass", fails("errcode", 48001, 1), "没有这个接口的权限", *FAILED, copies=0, blocks=True),
    Case("-1", "mass", fails("errcode", -1, 1), "系统繁忙", "planned", "sent", MINUTE),
]  # fmt: skip


def doctor(world: World) -> list[dict[str, str]]:
    return list(json.loads(world.cli("doctor", "--json", LC_ALL="zh_CN.UTF-8").stdout))


@pytest.fixture
def brand(world: World) -> World:
    world.connect()
    world.apply(**PARTS)
    for number in range(1, PEOPLE + 1):
        world.follow(number)
        world.say(number, "活动")  # a window of 48 hours
    world.work()
    return world


def outcomes(world: World, name: str = NAME) -> dict[str, Any]:
    return dict(world.run(name)["outcomes"])


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.channel} {case.name}")
def test_what_is_tried_again_what_stops_and_what_the_operator_reads(
    brand: World, case: Case
) -> None:
    brand.apply(
        campaigns=[campaign(NAME, "2026-11-02 09:01", segment="爱互动的", channels=[case.channel])]
    )
    case.arm(brand, SEND[case.channel])
    brand.go_to("2026-11-02 09:01")
    # 1. what became of the first try
    assert outcomes(brand) == {case.first: PEOPLE}
    # 2. what the operator reads
    run = brand.run(NAME)
    told = " ".join(run["errors"])
    findings = {item["what"]: item for item in doctor(brand)}
    if case.says:
        assert case.says in told
        assert all(case.says in row.error for row in brand.outbox(case.channel))
        what, level = ("retries", "note") if case.first == "planned" else ("outbox", "wrong")
        assert case.says in findings[f"muyan: {what}"]["says"]
        assert findings[f"muyan: {what}"]["level"] == level
        assert case.says in brand.home()
    else:
        assert told == ""
        assert "muyan: outbox" not in findings
    assert factories.APP_SECRET not in told + brand.home()
    assert ("muyan: rights" in findings) == case.blocks
    # 3. what is tried again, when, and how often they got it
    brand.platform_up()
    if case.after:
        begin = brand.clock()
        brand.go_to(begin + min(case.after, timedelta(seconds=9)) - timedelta(seconds=1))
        assert outcomes(brand) == {case.first: PEOPLE}, "not before its time"
        for _ in range(4):
            brand.go_to(brand.clock() + case.after)
    else:
        brand.pass_time(2, hours=1)
    assert outcomes(brand) == {case.last: PEOPLE}
    assert brand.run(NAME)["status"] == "finished"
    for number in range(1, PEOPLE + 1):
        assert brand.received(number, case.channel) == [f"{NAME}的内容"] * case.copies
        other = "mass" if case.channel == "customer_service" else "customer_service"
        assert brand.received(number, other) == [], "nothing falls over to another channel"
    brand.check_ledger()
    if case.channel == "mass":
        assert sum(brand.charged().values()) == PEOPLE * case.copies


@pytest.mark.parametrize("channel", SEND)
def test_after_48001_the_channel_rests_until_the_account_is_checked_again(
    brand: World, channel: str
) -> None:
    brand.platform.fault(SEND[channel], "errcode", 1, errcode=48001)
    again = campaign("下一个", "2026-11-02 10:00", segment="爱互动的", channels=[channel])
    brand.apply(
        campaigns=[
            campaign(NAME, "2026-11-02 09:01", segment="爱互动的", channels=[channel]),
            again,
        ]
    )
    brand.go_to("2026-11-02 09:01")
    brand.go_to("2026-11-02 10:00")
    run = brand.run("下一个")
    assert run["status"] == "waiting"
    assert "48001" in run["reason"]
    assert "48001" in brand.home()
    # this installation has no web server for the check of the callback; the rest is asked and passes
    checked = brand.cli("account", "check", "muyan")
    assert "✓ mass" in checked.stdout
    brand.pass_time(1)
    assert outcomes(brand, "下一个") == {"sent": PEOPLE}
    brand.check_ledger()


def test_a_closed_window_is_not_tried_again_by_the_next_campaign(brand: World) -> None:
    brand.platform.fault(SEND["customer_service"], "errcode", PEOPLE, errcode=45015)
    brand.apply(
        campaigns=[
            campaign(NAME, "2026-11-02 09:01", segment="爱互动的", channels=["customer_service"]),
            campaign(
                "下一个", "2026-11-02 10:00", segment="爱互动的", channels=["customer_service"]
            ),
        ]
    )
    brand.go_to("2026-11-02 09:01")
    brand.go_to("2026-11-02 10:00")
    assert brand.run("下一个")["skipped"] == {"no_window": PEOPLE}


def test_a_mass_call_of_unknown_fate_is_given_up_after_20_hours_and_stays_charged(
    brand: World,
) -> None:
    brand.apply(campaigns=[campaign(NAME, "2026-11-02 09:01", segment="爱互动的")])
    brand.platform.fault(SEND["mass"], "timeout", None)
    brand.go_to("2026-11-02 09:01")
    for _ in range(21):
        brand.go_to(brand.clock() + timedelta(hours=1))
    assert outcomes(brand) == {"unknown": PEOPLE}
    assert sum(brand.charged().values()) == PEOPLE
    assert brand.counts() == {}
    brand.check_ledger()


def test_a_wrong_app_secret_is_said_and_nothing_is_lost(brand: World) -> None:
    brand.platform.kill_tokens(brand.app_id())
    brand.platform.change_account(brand.app_id(), app_secret="another-secret-of-32-characters!")
    brand.apply(campaigns=[campaign(NAME, "2026-11-02 09:01", segment="爱互动的")])
    brand.go_to("2026-11-02 09:01")
    assert "AppSecret" in " ".join(brand.run(NAME)["errors"])
    assert factories.APP_SECRET not in brand.home()
    assert brand.counts() == {}
    brand.check_ledger()


def test_replies_to_followers_go_on_while_the_platforms_api_is_down(brand: World) -> None:
    brand.platform_down()
    assert brand.say(1, "活动") == "好"
    brand.pass_time(3)
    assert brand.say(2, "活动") == "好"
