"""A subscription account's mass message to any segment: a tag for one send, whatever happens on the way."""

from collections import Counter
from typing import Any

import pytest
import sqlalchemy as sa

from bot.campaigns import temporary_tags as module
from bot.tables.campaigns import deliveries, mass_batches, temporary_tags
from tests.factories import open_id
from tests.scenarios.world import World

pytestmark = (
    pytest.mark.slow
)  # every job of some minutes, for each step of making, filling and clearing
NOT_TAGGED = {"all": [{"tag": {"has": "老客"}}, {"not": {"tag": {"has": "流失"}}}]}


def begin(world: World, people: int = 120, **campaign: Any) -> None:
    """A subscription account of so many followers; those from the 11th on are wanted, but for every tenth."""
    world.connect(kind="subscription")
    world.platform.add_followers(
        world.app_id(),
        [
            {
                "open_id": open_id(number),
                "subscribe_time": 1.0,
                "tags": ["老客"] * (number > 10) + ["流失"] * (number % 10 == 0),
            }
            for number in range(1, people + 1)
        ],
    )
    world.ok("followers", "sync", "muyan")
    world.work()
    world.apply(
        segments=[{"name": "老客未流失", "where": NOT_TAGGED}],
        campaigns=[
            {
                "name": "上新",
                "segment": "老客未流失",
                "at": world.clock().isoformat(),
                "channels": ["mass"],
                "content": {"text": "上新了"},
                "approved_for": {"people": 1000, "slots": 0},
                "status": "scheduled",
            }
            | campaign
        ],
    )


def wanted(people: int = 120) -> set[int]:
    return {number for number in range(11, people + 1) if number % 10}


def got(world: World, people: int = 120) -> Counter[int]:
    return Counter(
        {
            number: len(found)
            for number in range(1, people + 1)
            if (found := world.received(number, "mass"))
        }
    )


def reasons(world: World) -> Counter[tuple[Any, ...]]:
    columns = (deliveries.c.status, deliveries.c.reason, deliveries.c.errcode)
    return Counter(tuple(row) for row in world.rows(sa.select(*columns)))


def tags(world: World) -> list[str]:
    rows = world.platform.store.all("SELECT name FROM tags ORDER BY id")
    return [row["name"] for row in rows]


def states(world: World) -> list[str]:
    return [
        row.state for row in world.rows(sa.select(temporary_tags).order_by(temporary_tags.c.id))
    ]


def test_exactly_the_segment_gets_it_and_the_tag_is_gone_afterwards(world: World) -> None:
    begin(world)
    before = tags(world)
    world.say(15, "TD")  # opted out: a tag leaves them out, where everybody and a whole tag cannot
    world.pass_time(6)
    assert got(world) == dict.fromkeys(wanted() - {15}, 1)
    assert reasons(world) == {
        ("sent", None, None): len(wanted()) - 1,
        ("skipped", "opted_out", None): 1,
    }
    assert states(world) == ["gone"]
    assert tags(world) == before
    [batch] = world.rows(sa.select(mass_batches))
    assert (batch.target, batch.status, batch.size) == ("tag", "finished", len(wanted()) - 1)


def test_a_follower_with_twenty_tags_or_one_who_left_is_told_apart(world: World) -> None:
    begin(world, 30)
    many = [f"标签{number}" for number in range(19)]
    world.platform.add_followers(
        world.app_id(), [{"open_id": open_id(12), "tags": ["老客", *many]}]
    )
    world.platform.store.run(
        "UPDATE followers SET subscribed = 0 WHERE open_id = ?", open_id(13)
    )  # the push was lost
    world.pass_time(6)
    assert set(got(world, 30)) == wanted(30) - {12, 13}
    assert reasons(world) == {
        ("sent", None, None): len(wanted(30)) - 2,
        ("failed", None, 45059): 1,
        ("skipped", "left", None): 1,
    }


def test_a_full_platform_pauses_the_run_until_somebody_makes_room(world: World) -> None:
    begin(world, 30)
    for number in range(100 - len(tags(world))):
        world.platform.store.run("INSERT INTO tags VALUES (1, ?, ?)", 5000 + number, f"满{number}")
    world.pass_time(3)
    run = world.run("上新")
    assert run["status"] == "paused" and "标签已满 100 个" in run["reason"]
    assert got(world, 30) == {}
    world.platform.store.run("DELETE FROM tags WHERE id = 5000")
    world.ok("campaigns", "resume", "muyan", "上新")
    world.pass_time(6)
    assert set(got(world, 30)) == wanted(30)


def test_a_tag_that_vanished_reaches_nobody(world: World) -> None:
    begin(world, 30)
    # made and filled, and thrown away by somebody just before the call
    world.platform.fault("/cgi-bin/message/mass/sendall", "http_500", 1)
    for _ in range(10):
        world.pass_time(1, seconds=5)
        if "ready" in states(world) or "used" in states(world):
            break
    world.platform.store.run("DELETE FROM follower_tags WHERE tag_id = (SELECT max(id) FROM tags)")
    world.platform.store.run("DELETE FROM tags WHERE id = (SELECT max(id) FROM tags)")
    world.pass_time(10)
    assert got(world, 30) == {}
    [batch] = world.rows(sa.select(mass_batches))
    assert batch.status in ("failed", "unknown")
    assert states(world) == ["gone"]


@pytest.mark.parametrize("calls", [1, 2])
def test_killed_after_any_number_of_calls_it_goes_on(
    world: World, calls: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each step ends after so few calls as if the process had died, and some answers are lost on the way."""
    monkeypatch.setattr(module, "CALLS", calls)
    begin(world, 60)
    before = tags(world)
    for path in ("tags/create", "tags/members/batchtagging", "tags/delete"):
        world.platform.fault(f"/cgi-bin/{path}", "drop", 1)  # done, and the answer lost
    world.pass_time(20)
    assert got(world, 60) == dict.fromkeys(wanted(60), 1)
    assert tags(world) == before
    assert states(world) == ["gone"]


def test_a_cancelled_run_leaves_no_tag_behind(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CALLS", 3)
    begin(world)
    before = tags(world)
    world.bell.ring()
    for _ in range(10):
        world.pass_time(1, seconds=5)
        if states(world):
            break
    world.ok("campaigns", "cancel", "muyan", "上新")
    world.pass_time(5)
    assert got(world) == {}
    assert tags(world) == before
    assert states(world) == ["gone"]


def test_orphans_of_this_installation_are_swept_and_others_are_not(world: World) -> None:
    begin(world, 30)
    world.pass_time(6)
    [row] = world.rows(sa.select(temporary_tags))
    other = "群发-ffffffffffff-7"
    for number, name in ((7001, row.name), (7002, other), (7003, "群发-活动")):
        world.platform.store.run("INSERT INTO tags VALUES (1, ?, ?)", number, name)
    wechat = world.rt.wechat(world.account_id())
    assert module.sweep(world.rt.engine, wechat, world.account_id()) == 1
    assert row.name not in tags(world) and {other, "群发-活动"} <= set(tags(world))


def test_a_temporary_tag_is_never_taken_for_one_of_ours(world: World) -> None:
    begin(world, 30)
    world.platform.store.run("INSERT INTO tags VALUES (1, 7001, '群发-0123456789ab-7')")
    world.platform.store.run("INSERT INTO follower_tags VALUES (1, 7001, ?, 1)", open_id(11))
    world.ok("followers", "sync", "muyan")
    names = {row[0] for row in world.rows(sa.text("SELECT name FROM tags"))}
    assert "老客" in names and not any(name.startswith("群发-") for name in names)


def test_a_holdout_is_left_out_of_the_tag(world: World) -> None:
    begin(world, holdout=0.3)
    world.pass_time(6)
    found = reasons(world)
    held = found[("skipped", "holdout", None)]
    assert held > 10
    assert sum(got(world).values()) == len(wanted()) - held == found[("sent", None, None)]
