"""Two brands in one installation, with the same OpenIDs in both: nothing of one is ever seen or spent by the other."""

from typing import Any

import pytest
import sqlalchemy as sa

from bot.sandbox import crypto
from bot.sandbox.pushes import sealed
from bot.tables.followers import followers
from bot.tables.inbox import inbound
from bot.wechat.callback import MAX_BODY
from tests import factories
from tests.scenarios.test_campaign_month import campaign
from tests.scenarios.test_links import LINK
from tests.scenarios.world import PRODUCT, Browser, World

pytestmark = pytest.mark.slow  # everything happens twice, in two accounts

OTHER_ID, OTHER_TOKEN = "wx00000000000other", "anotherToken2026"


def parts(brand: str) -> dict[str, Any]:
    """The same names in both brands, with other words behind them."""
    return {
        "tags": [{"name": "会员"}],
        "rules": [
            {
                "name": "入会",
                "when": [{"text_is": {"any": ["入会"]}}, {"follower_tag": {"lacks": "会员"}}],
                "then": [
                    {"add_tag": {"tags": ["会员"]}},
                    {"set_field": {"name": "称呼", "value": brand}},
                    {"reply": {"text": f"欢迎加入{brand}"}},
                ],
            },
            {
                "name": "已是会员",
                "when": [{"follower_tag": {"has": "会员"}}],
                "then": [{"reply": {"text": f"{brand}的会员{{称呼|您}}"}}],
            },
        ],
        "fallback": {"reply": {"text": f"这里是{brand}"}},
        "segments": [
            {"name": "会员们", "where": {"tag": {"has": "会员"}}},
            {"name": "大家", "where": {"all": []}},
        ],
    }


@pytest.fixture
def brands(world: World) -> World:
    world.connect("muyan")
    world.connect("other", app_id=OTHER_ID, token=OTHER_TOKEN)
    for slug in ("muyan", "other"):
        world.apply(slug, **parts(slug))
        world.crowd(6, slug=slug)
    return world


def test_rules_tags_and_fields_of_the_same_open_id_are_two_peoples(brands: World) -> None:
    assert brands.say(1, "入会", "muyan") == "欢迎加入muyan"
    assert brands.say(1, "你好", "muyan") == "muyan的会员muyan"
    assert brands.say(1, "你好", "other") == "这里是other"
    assert brands.say(1, "入会", "other") == "欢迎加入other"
    assert brands.say(1, "你好", "other") == "other的会员other"
    assert brands.say(1, "你好", "muyan") == "muyan的会员muyan"
    same = sa.select(followers.c.id).where(followers.c.open_id == factories.open_id(1))
    assert len(brands.rows(same)) == 2


def test_the_same_message_number_in_both_accounts_is_two_messages(brands: World) -> None:
    for slug in ("muyan", "other"):
        brands.platform.store.run("DELETE FROM meta WHERE key = 'sequence.message'")
        assert brands.say(1, "你好", slug) == f"这里是{slug}"
    numbers = {row.dedupe_key for row in brands.rows(sa.select(inbound.c.dedupe_key))}
    assert len(numbers) == 2


def test_leaving_and_opting_out_of_one_brand_is_no_matter_of_the_other(brands: World) -> None:
    brands.say(1, "退订", "muyan")
    brands.leave(2, "muyan")
    for slug in ("muyan", "other"):
        brands.apply(slug, campaigns=[campaign("同名活动", "2026-11-02 09:01")])
    brands.go_to("2026-11-02 09:01")
    brands.pass_time(1)
    assert brands.run("同名活动", "muyan")["outcomes"] == {"sent": 4, "skipped": 1}
    assert brands.run("同名活动", "other")["outcomes"] == {"sent": 6}
    assert brands.received(1, "mass", "muyan") == []
    assert brands.received(1, "mass", "other") == ["同名活动的内容"]


def test_segments_and_campaigns_of_the_same_name_reach_only_their_own(brands: World) -> None:
    for number in (1, 2, 3):
        brands.say(number, "入会", "muyan")
    for number in (3, 4):
        brands.say(number, "入会", "other")
    for slug in ("muyan", "other"):
        brands.apply(
            slug,
            campaigns=[
                campaign(
                    "会员日",
                    "2026-11-02 09:01",
                    segment="会员们",
                    content={"text": f"{slug}会员日"},
                )
            ],
        )
    brands.go_to("2026-11-02 09:01")
    brands.pass_time(1)
    assert brands.run("会员日", "muyan")["outcomes"] == {"sent": 3}
    assert brands.run("会员日", "other")["outcomes"] == {"sent": 2}
    assert brands.received(3, "mass", "muyan") == ["muyan会员日"]
    assert brands.received(3, "mass", "other") == ["other会员日"]
    assert brands.received(4, "mass", "muyan") == []


def test_slots_spent_by_one_brand_are_left_in_the_other(brands: World) -> None:
    for day in range(2, 7):
        brands.apply("muyan", campaigns=[campaign(f"第{day}天", f"2026-11-0{day} 12:00")])
        brands.go_to(f"2026-11-0{day} 12:00")
        brands.pass_time(1)
    assert set(brands.charged("muyan").values()) == {4}
    assert brands.charged("other") == {}
    shown = brands.told("ledger", "show", "other")["people_by_slots_left"]
    assert shown == {"0": 0, "1": 0, "2": 0, "3": 0, "4": 6}
    brands.apply("other", campaigns=[campaign("也发", "2026-11-06 18:00")])
    brands.go_to("2026-11-06 18:00")
    brands.pass_time(1)
    assert brands.run("也发", "other")["outcomes"] == {"sent": 6}
    for slug in ("muyan", "other"):
        brands.check_ledger(slug)


def test_a_stop_an_opening_or_an_unknown_send_of_one_brand_holds_back_only_that_one(
    brands: World,
) -> None:
    brands.platform.site_send(brands.app_id("muyan"), "手工")
    brands.pass_time(4)
    assert brands.told("ledger", "show", "other")["unexplained_sends"] == []
    brands.ok("stop", "muyan")
    for slug in ("muyan", "other"):
        brands.apply(slug, campaigns=[campaign("同时", "2026-11-02 12:00")])
    brands.go_to("2026-11-02 12:00")
    brands.pass_time(1)
    assert brands.run("同时", "muyan")["status"] == "waiting"
    assert brands.run("同时", "other")["outcomes"] == {"sent": 6}
    assert "还没有" not in brands.home("other")


def test_a_push_signed_with_one_accounts_secrets_is_refused_at_the_others_door(
    brands: World,
) -> None:
    account = brands.platform.account(OTHER_ID)
    fields = {
        "ToUserName": account.original_id,
        "FromUserName": factories.open_id(1),
        "CreateTime": int(brands.clock().timestamp()),
        "MsgType": "text",
        "Content": "入会",
        "MsgId": 7,
    }
    query, body = sealed(account, fields, brands.clock().timestamp())
    assert brands.client.post(f"/callback/other?{query}", data=body).status_code == 200
    before = len(brands.rows(sa.select(inbound.c.id)))
    answer = brands.client.post(f"/callback/muyan?{query}", data=body)
    assert (answer.status_code, answer.text.strip()) == (403, "bad_signature")
    # the right token and key, but the cipher text names the other account
    stamp, nonce = str(int(brands.clock().timestamp())), "5"
    text = crypto.encrypt(factories.AES_KEY, OTHER_ID, b"<xml></xml>", b"0123456789abcdef")
    body = f"<xml><Encrypt><![CDATA[{text}]]></Encrypt></xml>".encode()
    query = (
        f"timestamp={stamp}&nonce={nonce}&encrypt_type=aes"
        f"&signature={crypto.sign(factories.TOKEN, stamp, nonce)}"
        f"&msg_signature={crypto.sign(factories.TOKEN, stamp, nonce, text)}"
    )
    answer = brands.client.post(f"/callback/muyan?{query}", data=body)
    assert (answer.status_code, answer.text.strip()) == (403, "wrong_app_id")
    huge = brands.client.post(f"/callback/muyan?{query}", data=b"x" * (MAX_BODY + 1))
    assert huge.status_code == 413
    assert brands.client.post(f"/callback/nobody?{query}", data=body).status_code == 404
    assert len(brands.rows(sa.select(inbound.c.id))) == before


def test_a_link_of_one_brand_counts_for_that_brand_only(brands: World) -> None:
    for slug in ("muyan", "other"):
        brands.apply(
            slug,
            campaigns=[
                campaign(
                    "看一看",
                    "2026-11-02 09:01",
                    content={"text": "看 {link:a}"},
                    links={"a": f"https://{slug}.example/"},
                )
            ],
        )
    brands.go_to("2026-11-02 09:01")
    brands.pass_time(1)
    (url,) = LINK.findall(brands.received(1, "mass", "muyan")[0])
    assert Browser(brands).follow(url, factories.open_id(1)) == "https://muyan.example/"
    told = {
        slug: brands.told("campaigns", "list", slug)[0]["guided"] for slug in ("muyan", "other")
    }
    assert told == {"muyan": 1, "other": 0}
    assert url.startswith(PRODUCT)


def test_what_one_brand_is_refused_the_other_keeps(brands: World) -> None:
    path = "/cgi-bin/message/mass/send"
    brands.platform.fault(path, "errcode", 1, errcode=48001, app_id=brands.app_id("muyan"))
    for slug in ("muyan", "other"):
        brands.apply(slug, campaigns=[campaign("同时", "2026-11-02 12:00")])
    brands.go_to("2026-11-02 12:00")
    brands.pass_time(1)
    assert brands.run("同时", "muyan")["outcomes"] == {"failed": 6}
    assert brands.run("同时", "other")["outcomes"] == {"sent": 6}
    assert "48001" in brands.home("muyan")
    assert "48001" not in brands.home("other")


def test_one_brand_is_pulled_without_the_other(brands: World) -> None:
    text = brands.ok("pull", "muyan")
    assert "欢迎加入muyan" in text
    assert "other" not in text
    assert factories.TOKEN not in text
