"""A send to everybody leaves only as two people approved it: whatever is made of targets, rows and seals in between."""

from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from bot import accounts, db, outbox_claims
from bot.campaigns import approvals
from bot.channels import mass as channel
from bot.tables.campaigns import campaign_runs, campaigns
from bot.tables.outbox import outbox
from tests import factories
from tests.bot.stage import Stage
from tests.factories import SECRET_KEY, at
from tests.scenarios.test_campaign_month import PARTS, campaign
from tests.scenarios.world import World

CONTENT = {"text": "新品上市"}
ORDER = approvals.order(SECRET_KEY, factories.APP_ID, "q1", CONTENT, ["Ann", "Bo"])


def order_of(**changed: Any) -> dict[str, str]:
    """An order that is right in itself, but for another account, call, content or other people."""
    given = {
        "app_id": factories.APP_ID, "client_msg_id": "q1", "content": CONTENT, "names": ["Ann", "Bo"]
    } | changed  # fmt: skip
    return approvals.order(
        SECRET_KEY, given["app_id"], given["client_msg_id"], given["content"], given["names"]
    )


NOTHING = st.sampled_from(
    [None, "", " ", 0, 1, 2, -1, True, False, [], {}, "*", "all", "@all", "%", ["*"], [None], 1.5]
)
APPROVALS = st.one_of(
    NOTHING,
    st.sampled_from(
        [
            order_of(app_id="wx0000000000000000"),
            order_of(client_msg_id="q2"),
            order_of(content={"text": "另一条"}),
            order_of(names=["Ann"]),
            order_of(names=["Ann", "Ann"]),
            order_of(names=["Ann", "Cai"]) | {"approved_by": "Bo"},
            ORDER | {"seal": ""},
            ORDER | {"seal": "00" * 32},
            ORDER | {"seal": ORDER["seal"][:-2]},
            {"asked_by": "Ann", "approved_by": "Bo"},
        ]
    ),
    st.fixed_dictionaries({"asked_by": st.text(), "approved_by": st.text(), "seal": st.text()}),
)
PAYLOADS = st.fixed_dictionaries(
    {
        "target": st.one_of(
            st.sampled_from(["open_ids", "tag", "all"]), NOTHING, st.text(max_size=8)
        ),
        "content": st.just(CONTENT),
        "client_msg_id": st.just("q1"),
    },
    optional={
        "open_ids": st.one_of(NOTHING, st.lists(NOTHING, max_size=3)),
        "tag_id": NOTHING,
        "approval": APPROVALS,
        "is_to_all": st.booleans(),
        "filter": st.just({"is_to_all": True}),
    },
)


@pytest.fixture(scope="module")
def stage() -> Stage:
    made = Stage(at("2025-03-03 09:00"), kind="subscription", verified=True)
    made.follow(*range(1, 6))
    made.wechat.vouches = lambda message, seal: approvals.order_holds(SECRET_KEY, message, seal)
    return made


def sends(stage: Stage) -> list[Any]:
    return list(stage.platform.store.all("SELECT audience FROM mass_jobs"))


@settings(max_examples=300, deadline=None)
@given(payload=PAYLOADS)
def test_whatever_the_target_nothing_goes_to_everybody(
    stage: Stage, payload: dict[str, Any]
) -> None:
    item: Any = SimpleNamespace(payload=payload, open_id=None)
    # refused by us, before anything leaves: the platform is never asked
    with pytest.raises(Exception):  # noqa: B017 - any refusal will do
        channel.send(stage.wechat, item)
    assert sends(stage) == []


def test_the_very_order_that_was_approved_goes_to_everybody_once(stage: Stage) -> None:
    payload = {"target": "all", "content": CONTENT, "client_msg_id": "q1", "approval": ORDER}
    item: Any = SimpleNamespace(payload=payload, open_id=None)
    receipt = channel.send(stage.wechat, item)
    assert receipt["msg_id"]
    assert len(sends(stage)) == 1


@pytest.fixture
def brand(world: World) -> World:
    world.connect(kind="subscription")
    world.apply(**PARTS)
    world.crowd(20)
    return world


def set_campaign(world: World, **values: Any) -> None:
    with db.writing(world.rt.engine) as session:
        session.execute(sa.update(campaigns).values(**values))


@pytest.mark.slow  # a send from planning to the platform, minute by minute
@pytest.mark.parametrize(
    "changed",
    [
        {"approved_by": ["Ann", "Cai"]},
        {"approved_people": 10_000},
        {"approval_seal": None},
        {"approval_seal": "00" * 32},
    ],
    ids=["other people", "more people", "no seal", "a made-up seal"],
)
def test_an_approval_changed_in_the_database_sends_nothing(
    brand: World, changed: dict[str, Any]
) -> None:
    brand.apply(campaigns=[campaign("全体", "2026-11-02 12:00")])
    set_campaign(brand, **changed)
    brand.go_to("2026-11-02 12:00")
    brand.pass_time(2)
    assert brand.run("全体")["status"] == "paused"
    assert brand.platform.mass_counts(brand.app_id(), "2026-11") == {}
    assert brand.outbox("mass") == []


@pytest.mark.slow  # as above
def test_content_changed_in_the_outbox_sends_nothing(brand: World) -> None:
    brand.apply(campaigns=[campaign("全体", "2026-11-02 12:00")])
    brand.platform_down()
    brand.go_to("2026-11-02 12:00")
    (row,) = brand.outbox("mass")
    with db.writing(brand.rt.engine) as session:
        payload = row.payload | {"content": {"text": "另一条"}}
        session.execute(sa.update(outbox).where(outbox.c.id == row.id).values(payload=payload))
    brand.platform_up()
    brand.pass_time(5)
    (row,) = brand.outbox("mass")
    assert row.status == "failed"
    assert "cannot be verified" in row.error
    assert brand.platform.mass_counts(brand.app_id(), "2026-11") == {}
    assert brand.received(1) == []


@pytest.mark.slow  # as above
def test_a_call_to_everybody_counts_down_and_may_be_stopped(brand: World) -> None:
    brand.apply(campaigns=[campaign("倒数", "2026-11-02 12:00")], limits={"all_send_hold": "2h"})
    for name in ("Ann", "Bo"):
        brand.ok("operator", "add", name, "--role", "lead")
    brand.go_to("2026-11-02 11:30")
    for name in ("Ann", "Bo"):
        brand.ok(
            "campaigns", "approve", "muyan", "倒数", "--people", "50", "--slots", "50", "--by", name
        )
    brand.go_to("2026-11-02 12:00")
    brand.pass_time(2)
    run = brand.run("倒数")
    assert run["status"] == "waiting"
    assert "13:30" in run["reason"]
    brand.ok("campaigns", "cancel", "muyan", "倒数")
    brand.go_to("2026-11-02 14:00")
    assert brand.outbox("mass") == []


@pytest.mark.slow  # as above
def test_nobody_can_approve_more_people_than_the_account_allows(brand: World) -> None:
    brand.apply(campaigns=[campaign("太多", "2026-11-02 12:00")], limits={"most_people": 10})
    brand.go_to("2026-11-02 12:00")
    brand.pass_time(2)
    run = brand.run("太多")
    assert run["status"] == "waiting"
    assert "20 > 10" in run["reason"]


def test_a_stop_is_felt_by_calls_that_were_claimed_and_did_not_begin(world: World) -> None:
    world.connect()
    account_id = world.account_id()
    people = world.crowd(3)
    now = world.clock()
    with db.writing(world.rt.engine) as session:
        for number in range(len(people)):
            session.execute(
                sa.insert(outbox).values(
                    account_id=account_id, channel="mass" if number == 0 else "customer_service",
                    purpose="later", purpose_id=None, follower_id=None, payload={}, status="waiting",
                    attempts=number, not_before=now, created_at=now, collected=True,
                    # one was tried before: a call that does not begin leaves nothing in doubt
                    first_try_at=now if number == 2 else None,
                )
            )  # fmt: skip
        rows = outbox_claims.claim_many(session, now, 10)
        turn = outbox_claims.claim_turn(session, account_id, "mass", now)
    assert len(rows) == 2 and turn is not None
    with db.writing(world.rt.engine) as session:
        accounts.stop(session, account_id, "文案有误", now)
    assert outbox_claims.begin(world.rt.engine, turn, now) is None
    with db.writing(world.rt.engine) as session:
        assert outbox_claims.begin_many(session, rows, now) == frozenset()
    found = world.outbox()
    assert [(row.status, row.attempts) for row in found] == [
        ("waiting", 0),
        ("waiting", 1),
        ("waiting", 2),
    ]
    assert world.rows(sa.select(campaign_runs)) == []


def test_content_with_an_error_waits_for_a_lead_who_says_why(world: World) -> None:
    world.connect()
    world.apply(**PARTS)
    for name, role in (("Ann", "lead"), ("Dan", "operator")):
        world.ok("operator", "add", name, "--role", role)
    said = {"content": {"text": "国家级品质"}, "approved_for": None, "status": "draft"}
    world.apply(campaigns=[campaign("文案", "2026-11-02 12:00", **said)])
    approve = [
        "campaigns",
        "approve",
        "muyan",
        "文案",
        "--people",
        "9",
        "--slots",
        "9",
        "--by",
    ]
    allow = ["campaigns", "allow", "muyan", "文案", "--reason", "证书上的名称", "--by"]
    assert "国家级" in world.fails(*approve, "Ann")
    assert "does not approve" in world.fails(*allow, "Dan")
    world.ok(*allow, "Ann")
    assert "does not approve" in world.fails(*approve, "Dan"), "an operator writes, a lead approves"
    world.ok(*approve, "Ann")
    # another text is checked anew
    said["content"] = {"text": "国家级品质，全网最低价"}
    world.apply(campaigns=[campaign("文案", "2026-11-02 12:00", **said)])
    assert "国家级" in world.fails(*approve, "Ann")
