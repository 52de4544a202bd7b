"""QR channels, menus and webhooks by API."""

import json

import sqlalchemy as sa

from bot import db, scenes
from bot.accounts import Account
from bot.runtime import Runtime
from bot.secrets import unseal
from bot.tables.accounts import accounts
from bot.tables.accounts import outgoing as outgoing_table
from bot.tables.operators import api_requests, audit
from tests import factories
from tests.bot.api.conftest import Make, Program
from tests.bot.stage import ADDRESS, APP_ID, Stage

NEW = {"key": "wb_bio", "name": "微博主页", "group": "微博"}
URL = "https://shop.example.com/hook"


def test_a_qr_channel_is_made_changed_drawn_and_put_away(
    api: Program, rt: Runtime, account: Account
):
    with db.writing(rt.engine) as session:
        factories.make_tag(session, account.id, "微博来源")
    made = api.told("POST", "/scenes", NEW | {"tags": ["微博来源"], "reply": {"text": "欢迎"}}, 201)
    assert made["status"] == "missing" and made["reply"] == {"text": "欢迎"}
    assert api.refused("POST", "/scenes", NEW) == (409, "conflict")
    assert api.refused("POST", "/scenes", NEW | {"key": "x", "tags": ["没有"]}) == (422, "invalid")
    assert api.refused("GET", "/scenes/wb_bio/picture") == (409, "conflict")
    changed = api.told("PUT", "/scenes/wb_bio", {"name": "微博", "cost": 12.5})
    assert (changed["name"], changed["cost"], changed["tags"]) == ("微博", 12.5, [])
    with db.writing(rt.engine) as session:
        session.execute(sa.update(scenes.scenes).values(url="http://weixin.qq.com/q/abc"))
    picture = api.get("/scenes/wb_bio/picture")
    assert picture.data[:4] == b"\x89PNG" and picture.content_type == "image/png"
    assert b"<svg" in api.get("/scenes/wb_bio/picture?form=svg").data
    report = api.told("GET", "/scenes/wb_bio/report?first=2025-03-01&last=2025-03-03")
    assert len(report["days"]) == 3 and report["follows"] == 0
    assert api.refused("GET", "/scenes/wb_bio/report?first=2020-01-01") == (422, "invalid")
    api.told("POST", "/scenes/wb_bio/archive")
    assert api.told("GET", "/scenes")["items"] == []
    assert api.refused("GET", "/scenes/none") == (404, "not-found")


def test_many_are_made_at_once_or_none(api: Program):
    rows = [{"name": f"{number} 店"} for number in range(8)]
    made = api.told("POST", "/scenes/batch", {"prefix": "shop_", "scenes": rows}, 201)
    assert len(made["keys"]) == 8 and all(key.startswith("shop_") for key in made["keys"])
    again = [{"name": "新店"}, {"name": "旧店", "key": made["keys"][0]}]
    answer = api.post("/scenes/batch", {"scenes": again})
    assert answer.status_code == 422 and answer.json is not None
    assert answer.json["errors"][0]["place"] == "scenes.1.key"
    assert len(api.told("GET", "/scenes")["items"]) == 8


def test_a_webhook_is_made_and_its_secret_is_told_once(api: Program, rt: Runtime):
    answer = api.post("/webhooks", {"url": URL, "events": ["message"]}, Idempotency_Key="k")
    assert answer.status_code == 201 and answer.json is not None
    secret = answer.json["secret"]
    again = api.post("/webhooks", {"url": URL, "events": ["message"]}, Idempotency_Key="k")
    assert again.json == answer.json  # a repetition is answered the same …
    with db.reading(rt.engine) as session:  # … from what is sealed
        assert secret not in json.dumps(
            session.execute(sa.select(api_requests.c.body)).scalars().all()
        )
    path = f"/webhooks/{answer.json['id']}"
    assert "secret" not in api.told("GET", path)
    assert api.told("POST", f"{path}/rotate")["secret"] != secret
    assert api.told("POST", f"{path}/ping", status=202) == {}
    (delivery,) = api.told("GET", f"{path}/deliveries")["items"]
    assert delivery["event"] == "webhook.ping" and delivery["status"] == "waiting"
    off = api.told("PUT", path, {"url": URL, "events": ["*"], "active": False})
    assert not off["active"] and off["events"] == ["*"]
    retry = f"/webhooks/deliveries/{delivery['number']}/retry"
    assert api.refused("POST", retry) == (409, "conflict")
    assert api.told("DELETE", path) == {}
    assert api.refused("GET", path) == (404, "not-found")


def test_a_webhook_never_leads_inside_nor_beyond_the_token(api: Program, program: Make):
    assert api.refused("POST", "/webhooks", {"url": "http://10.0.0.1/", "events": ["scan"]}) == (
        422,
        "invalid",
    )
    mine = program("webhooks.write")
    assert mine.refused("POST", "/webhooks", {"url": URL, "events": ["scan"], "open_id": True}) == (
        403,
        "forbidden",
    )
    # nor may what somebody else let be told be turned to another address
    told = {"url": URL, "events": ["scan"], "open_id": True, "active": True}
    made = api.told(
        "POST", "/webhooks", {name: told[name] for name in ("url", "events", "open_id")}, 201
    )
    one = f"/webhooks/{made['id']}"
    assert mine.told("PUT", one, told)["open_id"]
    assert mine.refused("PUT", one, told | {"url": f"{URL}2"}) == (403, "forbidden")
    assert mine.told("PUT", one, told | {"url": f"{URL}2", "open_id": False})["url"] == f"{URL}2"


def test_where_messages_to_other_systems_go_and_the_secret_is_told_once(api: Program, rt: Runtime):
    assert api.refused("GET", "/outgoing") == (404, "not-found")
    assert api.refused("POST", "/outgoing/rotate") == (404, "not-found")
    wanted = {"url": URL, "together": 20, "open_id": True, "fields": ["手机", "手机", "称呼"]}
    made = api.told("PUT", "/outgoing", wanted)
    secret = made.pop("secret")
    assert secret.startswith("whsec_")
    assert made == wanted | {"fields": ["手机", "称呼"]}
    assert api.told("GET", "/outgoing") == made
    # the same again changes nothing, the secret neither
    assert api.told("PUT", "/outgoing", wanted) == made | {"secret": None}
    assert api.told("PUT", "/outgoing", {"url": URL})["together"] == 1
    turned = api.post("/outgoing/rotate", None, Idempotency_Key="k")
    assert turned.json is not None and turned.json["secret"] != secret
    again = api.post("/outgoing/rotate", None, Idempotency_Key="k")
    assert again.json == turned.json
    with db.reading(rt.engine) as session:
        rows = session.execute(sa.select(outgoing_table.c.secret, outgoing_table.c.changed_by))
        [(sealed, by)] = rows.all()
        assert unseal(rt.secret_key, sealed) == turned.json["secret"]
        told = session.execute(sa.select(audit.c.action).order_by(audit.c.id)).scalars().all()
    assert by.startswith("api:")
    assert told == [*["outgoing.change"] * 3, "outgoing.rotate"]
    assert api.told("DELETE", "/outgoing") == {}
    assert api.refused("DELETE", "/outgoing") == (404, "not-found")


def test_messages_to_other_systems_never_go_inside_nor_tell_more_than_the_token_may(
    api: Program, program: Make
):
    for wrong in ({"url": "http://10.0.0.1/"}, {"url": URL, "together": 101}, {"url": "shop"}):
        assert api.refused("PUT", "/outgoing", wrong) == (422, "invalid")
    many = {"url": URL, "fields": [f"字段{number}" for number in range(21)]}
    assert api.refused("PUT", "/outgoing", many) == (422, "invalid")
    assert program("materials.read").refused("GET", "/outgoing") == (403, "forbidden")
    mine = program("webhooks.write")
    wanted = {"url": URL, "open_id": True}
    assert mine.refused("PUT", "/outgoing", wanted) == (403, "forbidden")
    api.told("PUT", "/outgoing", wanted)
    # nor may what somebody else let be told be turned to another address
    assert mine.told("PUT", "/outgoing", wanted | {"together": 5})["open_id"]
    assert mine.refused("PUT", "/outgoing", wanted | {"url": f"{URL}2"}) == (403, "forbidden")
    assert mine.told("PUT", "/outgoing", {"url": f"{URL}2"})["open_id"] is False


def test_a_menu_is_drafted_compared_scheduled_and_published(
    api: Program, rt: Runtime, account: Account
):
    stage = Stage(rt.clock())
    with db.writing(rt.engine) as session:
        who = factories.make_follower(session, account.id, now=rt.clock())
        session.execute(sa.update(accounts).values(sandbox_url=ADDRESS))
    rt._gateways[account.id] = (f"{ADDRESS}\n{APP_ID}\n{factories.APP_SECRET}", stage.wechat)
    menu = [{"name": "领券", "click": "M_COUPON"}, {"name": "商城", "view": "https://example.com/"}]
    drafted = api.told("PUT", "/menu", {"menu": menu, "version": 0})
    assert drafted["drafted"] and drafted["unanswered"] == ["M_COUPON"]
    assert api.refused("PUT", "/menu", {"menu": menu, "version": 0}) == (409, "conflict")
    wrong = {"menu": [{"name": "x"}], "version": drafted["version"]}
    assert api.refused("PUT", "/menu", wrong) == (422, "invalid")
    (change,) = api.told("GET", "/menu/changes")["items"]
    assert change == {"tag": None, "before": None, "after": menu}
    assert api.told("GET", f"/menu/preview?follower={who}")["menu"] == menu
    later = {"at": "2025-03-04T09:00:00+08:00", "version": drafted["version"]}
    scheduled = api.told("POST", "/menu/schedule", later)
    assert scheduled["publish_at"] == "2025-03-04T09:00:00+08:00"
    cancelled = api.told("POST", "/menu/cancel", {"version": scheduled["version"]})
    published = api.told("POST", "/menu/publish", {"version": cancelled["version"]})
    assert published["published"]["menu"] == menu and not published["drafted"]
    assert "menu/create" in stage.calls
    assert api.told("GET", "/menu/changes")["items"] == []
    taps = api.told("GET", "/menu/taps")
    assert [one["key"] for one in taps["items"]] == ["M_COUPON", "https://example.com/"]
    assert api.refused("GET", "/menu/taps?first=2020-01-01") == (422, "invalid")
    assert api.refused("GET", "/menu/preview?follower=99") == (404, "not-found")
