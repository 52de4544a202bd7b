"""A follower comes by QR code, asks, taps, leaves and comes back: what they read, and what we know then."""

from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from bot.tables.events import events
from bot.tables.followers import follower_tags, followers, tags
from bot.tables.inbox import inbound
from tests import factories
from tests.scenarios.world import World

pytestmark = pytest.mark.slow  # a whole account is applied and made on the platform for each

# the smallest PNG: one white dot
PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de0000000c4944415408d763f8ffff3f"
    "0005fe02fedccc59e70000000049454e44ae426082"
)
PARTS: dict[str, Any] = {
    "tags": [
        {"name": "微博来源", "family": "客户信息", "sync": True},
        {"name": "门店顾客", "family": "客户信息"},
        {"name": "想要券"},
    ],
    "scenes": [
        {"key": "wb_bio", "name": "微博主页", "tags": ["微博来源"]},
        {"key": "store_01", "name": "人民广场店", "tags": ["门店顾客"]},
    ],
    "rules": [
        {
            "name": "微博新粉",
            "when": [{"subscribed_from": {"scene": "wb_*"}}],
            "then": [{"reply": {"text": "欢迎从微博来的你"}}],
        },
        {
            "name": "新粉",
            "when": [{"subscribed_from": {"scene": ""}}],
            "then": [{"reply": {"text": "欢迎关注"}}],
        },
        {
            "name": "扫门店",
            "when": [{"scan_scene": {"scene": "store_*"}}],
            "then": [{"reply": {"text": "欢迎到店"}}],
        },
        {
            "name": "叫我",
            "when": [{"text_pattern": {"pattern": "叫我*"}}],
            "then": [
                {"set_field": {"name": "称呼", "value": "小兰"}},
                {"reply": {"text": "好的，{称呼|您}"}},
            ],
        },
        {
            "name": "领券",
            "when": [{"text_is": {"any": ["领券"]}}],
            "then": [{"add_tag": {"tags": ["想要券"]}}, {"reply": {"text": "{称呼|您}好，回复 1"}}],
        },
        {
            "name": "有券的人",
            "when": [{"text_is": {"any": ["1"]}}, {"follower_tag": {"has": "想要券"}}],
            "then": [
                {"remove_tag": {"tags": ["想要券"]}},
                {"reply": {"text": "券已放入卡包"}},
                {"reply": {"text": "有效期 7 天"}},
                {"record": {"event": "领取"}},
            ],
        },
        {
            "name": "提醒我",
            "when": [{"text_is": {"any": ["提醒我"]}}],
            "then": [
                {"reply": {"text": "好"}},
                {"send_later": {"after": "10m", "content": {"text": "时间到了，{称呼|您}"}}},
            ],
        },
        {
            "name": "海报",
            "when": [{"text_is": {"any": ["海报"]}}],
            "then": [{"reply": {"image": {"file": "poster.png"}}}],
        },
        {
            "name": "人工",
            "when": [{"text_is": {"any": ["人工"]}}],
            "then": [{"hand_over": {"agent": ""}}],
        },
        *(
            {
                "name": name,
                "when": [when],
                "then": [{"reply": {"text": f"第 {number} 句"}} for number in range(1, 8)],
            }
            for name, when in (
                ("说个不停", {"text_is": {"any": ["说个不停"]}}),
                ("点个不停", {"menu_key": {"any": ["M_MANY"]}}),
            )
        ),
        {
            "name": "菜单",
            "when": [{"menu_key": {"any": ["M_COUPON"]}}],
            "then": [{"reply": {"text": "回复「领券」"}}],
        },
    ],
    "fallback": {"reply": {"text": "没有听懂"}},
    "menu": [{"name": "领券", "click": "M_COUPON"}],
}


@pytest.fixture
def shop(world: World, tmp_path: Path) -> World:
    (tmp_path / "poster.png").write_bytes(PNG)
    world.connect()
    world.apply(**PARTS)
    world.work()
    return world


def tags_of(world: World, number: int) -> set[str]:
    rows = world.rows(
        sa.select(tags.c.name)
        .join(follower_tags, follower_tags.c.tag_id == tags.c.id)
        .join(followers, followers.c.id == follower_tags.c.follower_id)
        .where(followers.c.open_id == factories.open_id(number))
    )
    return {row.name for row in rows}


def row_of(world: World, number: int) -> Any:
    query = sa.select(followers).where(followers.c.open_id == factories.open_id(number))
    (row,) = world.rows(query)
    return row


def events_of(world: World, number: int) -> list[str]:
    rows = world.rows(
        sa.select(events.c.kind)
        .where(events.c.follower_id == row_of(world, number).id)
        .order_by(events.c.id)
    )
    return [row.kind for row in rows]


def test_a_follower_who_comes_by_qr_code_is_greeted_tagged_and_remembered(shop: World) -> None:
    assert shop.follow(1, "wb_bio") == "欢迎从微博来的你"
    assert tags_of(shop, 1) == {"微博来源"}
    assert row_of(shop, 1).first_scene == "wb_bio"
    shop.pass_time(1, minutes=10)
    # the platform has the synced tag too
    listed = shop.rt.wechat(shop.account_id()).call("/cgi-bin/tags/get")["tags"]
    assert [(tag["name"], tag["count"]) for tag in listed if tag["id"] > 99] == [("微博来源", 1)]


def test_the_first_source_stays_and_the_last_touch_moves(shop: World) -> None:
    shop.follow(1, "wb_bio")
    shop.pass_time(1)
    assert shop.scan(1, "store_01") == "欢迎到店"
    row = row_of(shop, 1)
    assert (row.first_scene, row.last_scene) == ("wb_bio", "store_01")
    assert tags_of(shop, 1) == {"微博来源", "门店顾客"}
    assert events_of(shop, 1) == ["subscribe", "scan"]


def test_keywords_fields_tags_and_taps_are_answered(shop: World) -> None:
    shop.follow(1)
    assert shop.say(1, "1") == "没有听懂"
    assert shop.say(1, " 領券 ") == "您好，回复 1"
    assert shop.say(1, "叫我小兰") == "好的，小兰"
    assert shop.say(1, "领券") == "小兰好，回复 1"
    assert tags_of(shop, 1) == {"想要券"}
    assert shop.tap(1, "M_COUPON") == "回复「领券」"
    assert shop.say(1, "随便说说") == "没有听懂"
    assert events_of(shop, 1).count("message") == 5
    assert events_of(shop, 1).count("menu_click") == 1


def test_a_second_reply_comes_as_a_customer_service_message(shop: World) -> None:
    shop.follow(1)
    shop.say(1, "领券")
    assert shop.say(1, "1") == "券已放入卡包"
    shop.work()
    assert shop.received(1, "customer_service") == ["有效期 7 天"]
    assert "领取" in events_of(shop, 1)
    assert tags_of(shop, 1) == set()


def test_what_was_promised_for_later_comes_later_and_once(shop: World) -> None:
    shop.follow(1)
    assert shop.say(1, "提醒我") == "好"
    shop.pass_time(1, minutes=9)
    assert shop.received(1, "customer_service") == []
    shop.pass_time(3, minutes=1)
    assert shop.received(1, "customer_service") == ["时间到了，您"]


def test_what_was_promised_for_later_does_not_reach_who_left(shop: World) -> None:
    shop.follow(1)
    shop.say(1, "提醒我")
    shop.leave(1)
    shop.pass_time(2, minutes=10)
    assert shop.received(1, "customer_service") == []
    assert shop.platform.refused() == []


def test_an_image_of_the_account_file_is_uploaded_once_and_sent(shop: World) -> None:
    shop.follow(1)
    shop.follow(2)
    assert shop.say(1, "海报") == "image"
    assert shop.say(2, "海报") == "image"
    stored = shop.rt.wechat(shop.account_id()).call("/cgi-bin/material/get_materialcount")
    assert stored["image_count"] == 1


def test_a_message_allows_five_customer_service_messages_and_a_tap_three(shop: World) -> None:
    shop.follow(1)
    shop.pass_time(1, minutes=2)
    assert shop.say(1, "说个不停") == "第 1 句"
    shop.work()
    said = [f"第 {number} 句" for number in range(2, 7)]
    assert shop.received(1, "customer_service") == said
    assert shop.tap(1, "M_MANY") == "第 1 句"
    shop.work()
    assert shop.received(1, "customer_service") == said + said[:3]
    assert shop.platform.refused() == []  # we stop before the platform has to say so
    assert "不在回复窗口内" in shop.home()


def test_handed_over_to_a_human_the_rules_are_silent_for_half_an_hour(shop: World) -> None:
    shop.follow(1)
    came = shop.platform.say(shop.app_id(), factories.open_id(1), "人工")
    assert came["reply"]["type"] == "transfer_customer_service"
    assert shop.say(1, "领券") == ""
    shop.pass_time(1, minutes=31)
    assert shop.say(1, "领券") == "您好，回复 1"


def test_opting_out_is_confirmed_and_can_be_taken_back(shop: World) -> None:
    shop.follow(1)
    assert "订阅" in shop.say(1, "退订")
    assert row_of(shop, 1).opted_out_at is not None
    assert shop.say(1, "领券") == "您好，回复 1"  # answers are no campaigns
    assert shop.say(1, "订阅") != "没有听懂"
    assert row_of(shop, 1).opted_out_at is None


def test_who_leaves_and_comes_back_is_the_same_follower_with_two_subscriptions(shop: World) -> None:
    shop.follow(1, "wb_bio")
    shop.say(1, "叫我小兰")
    first = row_of(shop, 1)
    shop.pass_time(1, hours=1)
    shop.leave(1)
    assert row_of(shop, 1).subscribed is False
    shop.pass_time(1, hours=1)
    assert shop.follow(1, "store_01") == "欢迎关注"
    again = row_of(shop, 1)
    assert (again.id, again.subscribed) == (first.id, True)
    assert (again.first_scene, again.last_scene) == ("wb_bio", "store_01")
    assert [kind for kind in events_of(shop, 1) if "subscribe" in kind] == [
        "subscribe", "unsubscribe", "subscribe",
    ]  # fmt: skip
    assert shop.say(1, "领券") == "小兰好，回复 1"


def test_a_push_whose_answer_is_lost_is_repeated_and_gets_the_same_reply(shop: World) -> None:
    shop.follow(1)
    shop.wire.answers = 2
    came = shop.platform.say(shop.app_id(), factories.open_id(1), "领券")
    assert (came["attempts"], came["reply"]["text"]) == (3, "您好，回复 1")
    shop.wire.answers = 3
    came = shop.platform.say(shop.app_id(), factories.open_id(1), "1")
    assert (came["attempts"], came["reply"]["text"]) == (4, "券已放入卡包")
    shop.work()
    assert shop.received(1, "customer_service") == ["有效期 7 天"]
    assert events_of(shop, 1) == ["subscribe", "message", "message", "领取"]
    assert len(shop.rows(sa.select(inbound.c.id))) == 3


def test_a_repeated_follow_is_counted_once(shop: World) -> None:
    shop.wire.answers = 2
    assert shop.follow(1, "wb_bio") == "欢迎从微博来的你"
    assert events_of(shop, 1) == ["subscribe"]
    told = {row["key"]: row for row in shop.told("report", "channel", "muyan")}
    assert (told["wb_bio"]["follows"], told["wb_bio"]["rescans"]) == (1, 0)


@pytest.mark.parametrize("mode", ["plain", "compatible", "safe"])
def test_all_of_it_works_in_every_mode_of_the_platform(world: World, mode: str) -> None:
    world.connect(mode=mode)
    world.apply(**{key: PARTS[key] for key in ("tags", "scenes", "fallback")})
    world.work()
    assert world.platform.verify_url(world.app_id())
    world.follow(1, "wb_bio")
    assert world.say(1, "]]>&<xml>") == "没有听懂"
    assert tags_of(world, 1) == {"微博来源"}
    assert '"]]>' not in world.home()
    assert "没有听懂" in world.home()


def test_every_kind_of_push_is_stored_and_nothing_is_left_unanswered(shop: World) -> None:
    shop.follow(1)
    app_id, who = shop.app_id(), factories.open_id(1)
    messages = {
        "image": {"PicUrl": "http://x/0", "MediaId": "m"},
        "voice": {"MediaId": "m", "Format": "amr"},
        "video": {"MediaId": "m", "ThumbMediaId": "t"},
        "shortvideo": {"MediaId": "m", "ThumbMediaId": "t"},
        "location": {"Location_X": "23.1", "Location_Y": "113.3", "Scale": 20, "Label": "广州"},
        "link": {"Title": "t", "Description": "d", "Url": "https://example.com/"},
    }
    for kind, fields in messages.items():
        came = shop.platform.message(app_id, who, kind, **fields)
        assert shop.reply(came) == "没有听懂", kind
        shop.pass_time(1, seconds=2)
    assert shop.reply(shop.platform.view(app_id, who, "https://example.com/mall")) == ""
    assert shop.reply(shop.platform.message(app_id, who, "hologram", Depth="3")) == ""
    assert shop.reply(shop.platform.event(app_id, who, "LOCATION", Latitude="x")) == ""
    assert shop.reply(shop.platform.event(app_id, who, "never_heard_of", EventKey="?")) == ""
    assert len(shop.rows(sa.select(inbound.c.id).where(inbound.c.status == "failed"))) == 0
    assert len(shop.rows(sa.select(inbound.c.id))) == 11
