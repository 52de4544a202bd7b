"""Followers, tags, codes, menus, media and web authorisation. Sources: docs/wechat-limits.md 5 to 8, 10, 11."""

from urllib.parse import parse_qs, quote, urlsplit

import pytest

from bot.sandbox.acts import NotPossible
from tests.bot.sandbox.api import BASE, LAN, MING, PLAIN_SERVICE, SECRET, SERVICE, WEI, Api

TAGGING = "/cgi-bin/tags/members/batchtagging"


def test_the_list_tells_who_follows_now(api: Api) -> None:
    page = api.get("/cgi-bin/user/get")
    assert page == {
        "total": 2,
        "count": 2,
        "data": {"openid": [LAN, WEI]},
        "next_openid": WEI,
    }
    assert api.get("/cgi-bin/user/get", next_openid=WEI) == {
        "total": 2,
        "count": 0,
        "next_openid": "",
    }


def test_details_have_no_name_and_of_those_who_left_nothing(api: Api) -> None:
    wanted = {"user_list": [{"openid": LAN}, {"openid": MING}]}
    lan, ming = api.post("/cgi-bin/user/info/batchget", wanted)["user_info_list"]
    assert ming == {"subscribe": 0, "openid": MING}
    assert lan["tagid_list"] == [100]
    assert lan["subscribe_scene"] == "ADD_SCENE_SEARCH"
    assert not {"nickname", "headimgurl", "sex"} & set(lan)
    assert api.get("/cgi-bin/user/info", openid=LAN) == lan


def test_a_scene_is_kept_with_the_follower(api: Api) -> None:
    api.platform.scan(SERVICE, "o_a", "shop_1")
    api.platform.scan(SERVICE, "o_b", "42")
    api.platform.follow(SERVICE, "o_c", source="ADD_SCENE_PAID")
    shown = [api.get("/cgi-bin/user/info", openid=each) for each in ("o_a", "o_b", "o_c")]
    assert [
        (each["subscribe_scene"], each["qr_scene"], each["qr_scene_str"]) for each in shown
    ] == [
        ("ADD_SCENE_QR_CODE", 0, "shop_1"),
        ("ADD_SCENE_QR_CODE", 42, ""),
        ("ADD_SCENE_PAID", 0, ""),
    ]


def test_tags_live_and_die(api: Api) -> None:
    number = api.post("/cgi-bin/tags/create", {"tag": {"name": "油皮"}})["tag"]["id"]
    batch = {"tagid": number, "openid_list": [LAN, WEI]}
    assert api.post(TAGGING, batch)["errcode"] == 0
    assert api.post(TAGGING, batch)["errcode"] == 0, "twice is once"
    listed = {tag["name"]: tag["count"] for tag in api.get("/cgi-bin/tags/get")["tags"]}
    assert listed == {"星标组": 0, "老客": 1, "油皮": 2}
    assert api.post("/cgi-bin/user/tag/get", {"tagid": number})["data"]["openid"] == [LAN, WEI]
    assert api.post("/cgi-bin/tags/getidlist", {"openid": LAN}) == {"tagid_list": [100, number]}
    batch["openid_list"] = [WEI]
    assert api.post("/cgi-bin/tags/members/batchuntagging", batch)["errcode"] == 0
    assert api.post("/cgi-bin/user/tag/get", {"tagid": number})["count"] == 1
    renamed = {"tag": {"id": number, "name": "油性皮肤"}}
    assert api.post("/cgi-bin/tags/update", renamed)["errcode"] == 0
    assert api.post("/cgi-bin/tags/delete", {"tag": {"id": number}})["errcode"] == 0
    assert api.post("/cgi-bin/tags/getidlist", {"openid": LAN}) == {"tagid_list": [100]}
    api.platform.leave(SERVICE, LAN)
    api.platform.follow(SERVICE, LAN)
    assert api.post("/cgi-bin/tags/getidlist", {"openid": LAN}) == {"tagid_list": []}


def test_a_follower_carries_twenty_tags_and_an_account_has_a_hundred(api: Api) -> None:
    create = [api.post("/cgi-bin/tags/create", {"tag": {"name": f"t{n}"}}) for n in range(100)]
    assert create[-1]["errcode"] == 45056
    codes = [
        api.post(TAGGING, {"tagid": each["tag"]["id"], "openid_list": [LAN]})["errcode"]
        for each in create[:20]
    ]
    assert codes == [0] * 19 + [45059], "one was there before"


def test_codes_have_a_picture_and_an_end(api: Api) -> None:
    body = {
        "action_name": "QR_STR_SCENE",
        "expire_seconds": 600,
        "action_info": {"scene": {"scene_str": "shop_1"}},
    }
    code = api.post("/cgi-bin/qrcode/create", body)
    assert code["expire_seconds"] == 600
    picture = f"{BASE}/cgi-bin/showqrcode?ticket={quote(code['ticket'])}"
    shown = api.http.get(picture, timeout=5)
    assert (shown.status_code, shown.headers["Content-Type"]) == (200, "image/png")
    assert shown.content.startswith(b"\x89PNG")
    api.platform.scan(SERVICE, LAN, "shop_1")
    api.pass_seconds(601)
    assert api.http.get(picture, timeout=5).status_code == 404
    with pytest.raises(NotPossible):
        api.platform.scan(SERVICE, LAN, "shop_1")


def test_a_permanent_code_is_made_once(api: Api) -> None:
    body = {"action_name": "QR_LIMIT_STR_SCENE", "action_info": {"scene": {"scene_str": "shop_1"}}}
    first, second = (api.post("/cgi-bin/qrcode/create", body) for _ in range(2))
    assert first == second
    assert "expire_seconds" not in first


def button(key: str) -> dict[str, str]:
    return {"type": "click", "name": key, "key": key}


def test_personal_menus_fit_by_tag_and_die_with_the_default_one(api: Api) -> None:
    assert api.post("/cgi-bin/menu/create", {"button": [button("A")]})["errcode"] == 0
    rule = {"button": [button("B")], "matchrule": {"tag_id": "100"}}
    number = api.post("/cgi-bin/menu/addconditional", rule)["menuid"]
    assert api.post("/cgi-bin/menu/trymatch", {"user_id": LAN})["button"] == [button("B")]
    assert api.post("/cgi-bin/menu/trymatch", {"user_id": WEI})["button"] == [button("A")]
    shown = api.get("/cgi-bin/menu/get")
    assert shown["conditionalmenu"][0]["menuid"] == int(number)
    assert api.get("/cgi-bin/get_current_selfmenu_info")["is_menu_open"] == 1
    assert api.post("/cgi-bin/menu/delconditional", {"menuid": number})["errcode"] == 0
    assert api.post("/cgi-bin/menu/delconditional", {"menuid": number})["errcode"] == 65301
    api.post("/cgi-bin/menu/addconditional", rule)
    assert api.get("/cgi-bin/menu/delete")["errcode"] == 0
    assert api.get("/cgi-bin/menu/get")["errcode"] == 46003


@pytest.mark.parametrize(
    ("errcode", "rule"),
    [
        (65305, {}),
        (65320, {"sex": "1"}),
        (65305, {"tag_id": "999"}),
        (65305, {"client_platform_type": "9"}),
    ],
)
def test_rules_of_personal_menus_are_checked(api: Api, errcode: int, rule: dict[str, str]) -> None:
    api.post("/cgi-bin/menu/create", {"button": [button("A")]})
    body = {"button": [button("B")], "matchrule": rule}
    assert api.post("/cgi-bin/menu/addconditional", body)["errcode"] == errcode


def test_personal_menus_jump_to_three_domains_together(api: Api) -> None:
    api.post("/cgi-bin/menu/create", {"button": [button("A")]})

    def add(host: str) -> int:
        view = {"type": "view", "name": "v", "url": f"https://{host}/"}
        body = {"button": [view], "matchrule": {"tag_id": "100"}}
        return int(api.post("/cgi-bin/menu/addconditional", body).get("errcode", 0))

    assert [add(host) for host in ("a.cn", "b.cn", "c.cn", "a.cn", "d.cn")] == [0, 0, 0, 0, 65316]


def test_a_temporary_picture_is_gone_after_three_days(api: Api) -> None:
    def upload(name: str, body: bytes, kind: str = "image") -> dict[str, object]:
        params = {"access_token": api.token(), "type": kind}
        answer: dict[str, object] = api.http.post(
            f"{BASE}/cgi-bin/media/upload", params=params, files={"media": (name, body)}, timeout=5
        ).json()
        return answer

    media_id = upload("a.png", b"picture")["media_id"]
    assert upload("a.png", b"x" * ((2 << 20) + 1))["errcode"] == 40009
    assert upload("a.exe", b"x")["errcode"] == 40005
    assert upload("a.png", b"x", "poem")["errcode"] == 40004
    api.platform.say(SERVICE, LAN, "你好")
    picture = {"msgtype": "image", "image": {"media_id": media_id}}
    assert api.custom(**picture) == 0
    got = api.http.get(
        f"{BASE}/cgi-bin/media/get",
        params={"access_token": api.token(), "media_id": str(media_id)},
        timeout=5,
    )
    assert got.content == b"picture"
    api.pass_seconds(3 * 86_400)
    api.platform.say(SERVICE, LAN, "你好")
    assert api.custom(**picture) == 40007


def authorize(api: Api, app_id: str = SERVICE, **more: str) -> tuple[int, dict[str, str]]:
    params = {
        "appid": app_id,
        "redirect_uri": "http://product.test/oauth/muyan",
        "response_type": "code",
        "scope": "snsapi_base",
        "state": "abc",
    } | more
    answer = api.http.get(
        f"{BASE}/connect/oauth2/authorize", params=params, allow_redirects=False, timeout=5
    )
    query = parse_qs(urlsplit(answer.headers.get("Location", "")).query)
    return answer.status_code, {name: values[0] for name, values in query.items()}


def exchange(api: Api, code: str) -> dict[str, object]:
    words = {"appid": SERVICE, "secret": SECRET, "grant_type": "authorization_code", "code": code}
    return api.raw("GET", "/sns/oauth2/access_token", None, **words)


def test_a_persona_is_authorised_without_a_page(api: Api) -> None:
    status, query = authorize(api, persona=LAN)
    assert (status, query["state"]) == (302, "abc")
    answer = exchange(api, query["code"])
    assert (answer["openid"], answer["scope"]) == (LAN, "snsapi_base")
    assert "is_snapshotuser" not in answer
    assert exchange(api, query["code"])["errcode"] == 40163
    api.http.headers["Cookie"] = f"persona={LAN}"
    again = authorize(api)[1]["code"]
    assert exchange(api, again)["openid"] == LAN, "the cookie remembers the persona"
    late = authorize(api)[1]["code"]
    api.pass_seconds(300)
    assert exchange(api, late)["errcode"] == 42003


def test_a_snapshot_page_gives_a_virtual_visitor(api: Api) -> None:
    answer = exchange(api, authorize(api, persona=LAN, snapshot="1")[1]["code"])
    assert answer["is_snapshotuser"] == 1
    assert answer["openid"] != LAN


@pytest.mark.parametrize(
    "wrong",
    [
        {"app_id": "wxnone"},
        {"app_id": PLAIN_SERVICE},
        {"scope": "snsapi_all"},
        {"redirect_uri": "/here"},
        {"state": "a.b"},
        {"state": "a" * 129},
    ],
)
def test_the_authorise_page_refuses(api: Api, wrong: dict[str, str]) -> None:
    assert authorize(api, **({"persona": LAN} | wrong))[0] == 400  # type: ignore[arg-type]


def test_a_stranger_may_choose_whom_to_be(api: Api) -> None:
    assert authorize(api)[0] == 200


def test_notices_need_an_accept_each(api: Api) -> None:
    body = {"touser": LAN, "template_id": "T", "data": {"thing1": {"value": "x"}}}
    path = "/cgi-bin/message/subscribe/bizsend"
    api.platform.accept_notices(SERVICE, LAN, "T", 1)
    assert [api.post(path, body)["errcode"] for _ in range(2)] == [0, 43101]
    template = api.post("/cgi-bin/message/template/send", body)
    assert template["msgid"] > 2**32
    api.pass_seconds(1)
    assert [item["way"] for item in api.platform.received(SERVICE, LAN)] == [
        "subscription",
        "template",
    ]


def test_the_self_test_and_addresses(api: Api) -> None:
    assert api.get("/cgi-bin/getcallbackip")["ip_list"] == ["127.0.0.1"]
    check = {"action": "all", "check_operator": "DEFAULT"}
    assert api.post("/cgi-bin/callback/check", check)["errcode"] == 0
    api.platform.change_account(SERVICE, callback_url=None)
    assert api.post("/cgi-bin/callback/check", check)["errcode"] == 40201
