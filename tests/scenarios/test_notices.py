"""Service notices from a follower's accept to the result: one accept, one message, and every reason adds up."""

from collections import Counter
from typing import Any

import pytest
import sqlalchemy as sa

from bot import consents, db, templates
from bot.tables.campaigns import deliveries
from bot.tables.inbox import inbound
from tests.factories import open_id
from tests.scenarios.world import World

EXPIRES = "TPL_expires"
LISTED = [
    {"id": EXPIRES, "title": "优惠到期提醒", "kind": "subscription", "type": 2,
     "content": "优惠：{{thing1.DATA}}\n到期：{{time2.DATA}}"},
    {"id": "TPL_order", "title": "订单通知", "kind": "template", "content": "商品：{{thing1.DATA}}"},
]  # fmt: skip
NOTICE = {
    "template": EXPIRES,
    "data": {"thing1": "{称呼|您}的 8 元券", "time2": "2026-11-30 23:59"},
    "link": "shop",
}


def remind(world: World, name: str, **changed: Any) -> None:
    world.apply(
        segments=[{"name": "所有人", "where": {"all": []}}],
        campaigns=[
            {
                "name": name,
                "segment": "所有人",
                "at": world.clock().isoformat(),
                "channels": ["subscription"],
                "message_class": "service",
                "content": {"notice": NOTICE},
                "links": {"shop": "https://example.com/"},
                "approved_for": {"people": 100, "slots": 0},
                "status": "scheduled",
            }
            | changed
        ],
    )


def outcomes(world: World, name: str) -> Counter[tuple[Any, ...]]:
    run = world.rows(
        sa.text(
            "SELECT r.id FROM campaign_runs r JOIN campaigns c ON c.id = r.campaign_id WHERE c.name = :n"
        ).bindparams(n=name)
    )[0].id
    columns = (deliveries.c.status, deliveries.c.reason, deliveries.c.errcode, deliveries.c.result)
    return Counter(
        tuple(row) for row in world.rows(sa.select(*columns).where(deliveries.c.run_id == run))
    )


def left(world: World) -> dict[int, int]:
    with db.reading(world.rt.engine) as session:
        assert consents.differences(session, world.account_id()) == []
        return consents.left(session, world.account_id(), EXPIRES, 0, 10**9)


def test_one_accept_is_one_notice(world: World) -> None:
    world.connect(templates=LISTED)
    world.crowd(6)
    for who, times in ((1, 1), (2, 2), (3, 1), (4, 1)):
        for _ in range(times):
            world.platform.allow(world.app_id(), open_id(who), EXPIRES)
            world.pass_time(1, seconds=2)
    world.platform.allow(world.app_id(), open_id(3), EXPIRES, accept=False)
    # one accept was pushed and the platform forgot it: our counter is wrong, and the refusal says so
    world.platform.accept_notices(world.app_id(), open_id(4), EXPIRES, 0)
    assert sum(left(world).values()) == 4
    remind(world, "到期提醒")
    world.pass_time(3)
    assert outcomes(world, "到期提醒") == {
        ("sent", None, None, "success"): 2,
        ("failed", None, 43101, None): 1,
        ("skipped", "no_consent", None, None): 3,
    }
    assert list(left(world).values()) == [1]
    [shown] = world.platform.received(world.app_id(), open_id(1))
    assert shown["content"]["data"]["thing1"]["value"] == "您的 8 元券"
    assert "/l/" in shown["content"]["page"]
    # the second reminder reaches the one who accepted twice, and nobody a second time for one accept
    remind(world, "再提醒")
    world.pass_time(3)
    assert outcomes(world, "再提醒")[("sent", None, None, "success")] == 1
    assert left(world) == {}
    assert [len(world.received(who, "subscription")) for who in (1, 2, 3, 4)] == [1, 2, 0, 0]


def test_what_never_left_gives_its_accept_back(world: World) -> None:
    world.connect(templates=LISTED)
    world.crowd(3)
    for who in (1, 2, 3):
        world.platform.allow(world.app_id(), open_id(who), EXPIRES)
    world.work()
    # a value the platform refuses: nothing was sent to anybody
    notice = NOTICE | {"data": {"thing1": "券"}}
    remind(world, "少一项", content={"notice": notice})
    world.pass_time(3)
    assert outcomes(world, "少一项") == {("failed", None, 47003, None): 3}
    assert sum(left(world).values()) == 3
    # an answer that was lost: nobody knows, so the accept counts as used
    world.platform.fault("/cgi-bin/message/subscribe/bizsend", "drop", 1)
    remind(world, "到期提醒")
    world.pass_time(3)
    found = outcomes(world, "到期提醒")
    assert sum(found.values()) == 3
    assert {key[0] for key in found} <= {"sent", "unknown"}
    assert left(world) == {}


def test_a_template_message_is_delivered_only_when_the_platform_says_so(world: World) -> None:
    world.connect(templates=LISTED)
    world.crowd(4)
    world.platform.fault("TEMPLATESENDJOBFINISH", "result_blocked", 1)
    notice = {"template": "TPL_order", "data": {"thing1": "补水面膜 2 盒"}}
    remind(world, "订单", channels=["template"], content={"notice": notice})
    world.pass_time(3)
    assert outcomes(world, "订单") == {
        ("sent", None, None, "success"): 3,
        ("failed", None, None, "failed:user block"): 1,
    }
    assert world.rows(sa.select(inbound.c.id).where(inbound.c.status == "failed")) == []
    told = world.rows(sa.text("SELECT count(*) FROM events WHERE kind = 'campaign_sent'"))
    assert told[0][0] == 3


def test_marketing_is_refused_where_notices_are_written(world: World) -> None:
    world.connect()
    for changed in ({"message_class": "marketing"}, {"channels": ["customer_service", "template"]}):
        with pytest.raises(AssertionError):
            remind(world, "推广", **changed)
    assert world.rows(sa.text("SELECT count(*) FROM campaigns"))[0][0] == 0


def test_a_subscription_account_has_no_template_messages(world: World) -> None:
    world.connect(kind="subscription")
    with pytest.raises(AssertionError, match="subscription is for accounts of kind service"):
        remind(world, "到期提醒")


def test_the_lists_of_templates_are_read_and_what_went_is_archived(world: World) -> None:
    world.connect(templates=LISTED)
    account_id, wechat = world.account_id(), world.rt.wechat(world.account_id())
    assert templates.read(world.rt.engine, wechat, account_id, world.clock()) == 2
    world.platform.change_account(world.app_id(), options={"templates": LISTED[:1]})
    assert templates.read(world.rt.engine, wechat, account_id, world.clock()) == 1
    with db.reading(world.rt.engine) as session:
        [found] = templates.every(session, account_id)
        assert found.places == (("thing1", "优惠"), ("time2", "到期"))
        gone = templates.find(session, account_id, "TPL_order")
    assert gone is not None and gone.archived
