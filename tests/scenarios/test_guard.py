"""The guard of a run: small parts first, a stop when too many leave or fail, and going on as a conscious act."""

from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from bot import db
from bot.campaigns import guarding, waves
from bot.tables.campaigns import campaign_runs, deliveries, mass_batches
from bot.tables.events import events
from bot.tables.followers import followers
from tests import factories
from tests.scenarios.test_campaign_month import PARTS, campaign
from tests.scenarios.world import World

pytestmark = pytest.mark.slow  # thousands of followers, and an evening in steps of minutes

PEOPLE = 200


@pytest.fixture
def brand(world: World, monkeypatch: pytest.MonkeyPatch) -> World:
    # a tenth of the real numbers: 20, then 60, then all
    monkeypatch.setattr(waves, "CANARY_FROM", 60)
    monkeypatch.setattr(waves, "CANARY_SMALLEST", 20)
    world.connect()
    world.apply(**PARTS)
    world.crowd(PEOPLE)
    # a quiet month before: the account's own base rate is the trade's
    with db.writing(world.rt.engine) as session:
        session.execute(
            sa.insert(events).values(
                account_id=world.account_id(), follower_id=1, kind="message",
                at=world.clock() - timedelta(days=13),
            )
        )  # fmt: skip
    return world


def sent(world: World) -> int:
    return int(world.rows(sa.select(sa.func.count()).where(deliveries.c.status == "sent"))[0][0])


def leave(world: World, count: int) -> None:
    """So many of those who got it leave."""
    rows = world.rows(
        sa.select(followers.c.open_id)
        .join(deliveries, deliveries.c.follower_id == followers.c.id)
        .where(deliveries.c.status == "sent", followers.c.subscribed)
        .order_by(deliveries.c.at.desc(), deliveries.c.follower_id)
        .limit(count)
    )
    for row in rows:
        world.leave(row.open_id)


def run_row(world: World) -> Any:
    return world.rows(sa.select(campaign_runs))[0]


def begin(world: World, **more: Any) -> None:
    world.apply(campaigns=[campaign("大批", "2026-11-02 12:00", **more)])
    world.go_to("2026-11-02 12:00")
    world.pass_time(1)


def test_a_large_run_goes_out_in_parts_that_wait_for_a_look(brand: World) -> None:
    begin(brand)
    assert sent(brand) == 20
    brand.go_to("2026-11-02 12:29")
    assert sent(brand) == 20, "twice the usual wait before more than a tenth go"
    brand.pass_time(3)
    assert 55 <= sent(brand) <= 60
    brand.go_to("2026-11-02 12:44")
    assert sent(brand) <= 60
    brand.pass_time(5)
    run = brand.run("大批")
    assert (run["status"], run["outcomes"]) == ("finished", {"sent": PEOPLE})
    assert all(not look["stop"] for look in run_row(brand).guard["looks"])
    assert set(brand.counts().values()) == {1}
    brand.check_ledger()


def test_when_too_many_leave_the_run_stops_and_says_why_and_an_operator_may_go_on(
    brand: World,
) -> None:
    begin(brand)
    leave(brand, 8)
    brand.pass_time(2)
    run = brand.run("大批")
    assert run["status"] == "paused"
    assert "unfollow" in run["reason"]
    evidence = run_row(brand).guard["looks"][-1]
    assert (evidence["delivered"], evidence["unfollows"], evidence["stop"]) == (20, 8, True)
    assert evidence["evidence"] >= evidence["evidence_needed"]
    brand.go_to("2026-11-02 13:30")
    assert sent(brand) == 20
    # a conscious act, and the same evidence does not stop it again
    brand.ok("campaigns", "resume", "muyan", "大批")
    brand.pass_time(4)
    assert 55 <= sent(brand) <= 60
    assert brand.run("大批")["status"] == "running"
    # new evidence does
    leave(brand, 20)
    brand.pass_time(2)
    assert brand.run("大批")["status"] == "paused"
    brand.go_to("2026-11-02 15:00")
    assert sent(brand) <= 60


def test_who_would_have_left_anyway_stops_nothing(brand: World) -> None:
    begin(brand)
    leave(brand, 2)
    brand.pass_time(14, minutes=5)
    assert brand.run("大批")["outcomes"] == {"sent": PEOPLE}


def test_sends_that_fail_stop_the_run(brand: World) -> None:
    for number in range(1, 81):
        brand.say(number, "活动")
    brand.platform.fault("/cgi-bin/message/custom/send", "errcode", 300, errcode=50002)
    begin(brand, channels=["customer_service", "mass"])
    brand.pass_time(2)
    run = brand.run("大批")
    assert run["status"] == "paused"
    assert run_row(brand).reason in ("guard_errors", "canary_failed")


def test_a_small_run_and_one_without_the_guard_go_out_at_once(brand: World) -> None:
    for number in range(1, 21):
        brand.say(number, "活动")
    brand.apply(campaigns=[campaign("小批", "2026-11-02 11:00", segment="爱互动的")])
    brand.go_to("2026-11-02 11:00")
    brand.pass_time(1)
    assert brand.run("小批")["outcomes"] == {"sent": 20}
    brand.apply(limits={"guard": False})
    begin(brand)
    brand.pass_time(1)
    assert brand.run("大批")["outcomes"] == {"sent": PEOPLE}


def test_groups_and_variants_keep_their_parts_apart(brand: World) -> None:
    tested = {
        "of": "content",
        "variants": [{"name": "A", "content": {"text": "甲"}}, {"name": "B", "content": {"text": "乙"}}],
    }  # fmt: skip
    begin(brand, experiment=tested)
    brand.pass_time(14, minutes=5)
    assert brand.run("大批")["outcomes"] == {"sent": PEOPLE}
    sizes = brand.rows(
        sa.select(mass_batches.c.variant, sa.func.count(), sa.func.sum(mass_batches.c.size))
        .group_by(mass_batches.c.variant)
    )  # fmt: skip
    assert {row[0] for row in sizes} == {"A", "B"}
    assert sum(row[2] for row in sizes) == PEOPLE
    assert all(row[1] <= 5 for row in sizes)
    brand.check_ledger()


def test_killed_before_a_look_is_stored_it_looks_again(
    brand: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    # the process dies at every second write of the guard
    begin(brand)
    real, alive = guarding._store, [False]

    def store(*arguments: Any) -> bool:
        alive[0] = not alive[0]
        if not alive[0]:
            raise KeyboardInterrupt
        return real(*arguments)

    monkeypatch.setattr(guarding, "_store", store)
    for _ in range(16):
        try:
            brand.pass_time(1, minutes=10)
        except KeyboardInterrupt:
            continue
    assert brand.run("大批")["outcomes"] == {"sent": PEOPLE}
    assert set(brand.counts().values()) == {1}
    assert factories.open_id(1) in brand.counts()
