"""Each way the platform says no, with where that was read (sections of docs/wechat-limits.md)."""

import json
from typing import Any

import pytest

from bot.sandbox import limits
from tests.bot.sandbox.api import (
    LAN,
    MING,
    PERSONAL,
    PLAIN_SERVICE,
    SECRET,
    SERVICE,
    SUBSCRIPTION,
    WEI,
    Api,
)

STABLE = {"grant_type": "client_credential", "appid": SERVICE, "secret": SECRET}
TEXT = {"msgtype": "text", "text": {"content": "你好"}}
CUSTOM = "/cgi-bin/message/custom/send"
MASS = "/cgi-bin/message/mass/send"
ALL = "/cgi-bin/message/mass/sendall"
TAG_CREATE = "/cgi-bin/tags/create"
TAGGING = "/cgi-bin/tags/members/batchtagging"
MENU = "/cgi-bin/menu/create"
PERSONAL_MENU = "/cgi-bin/menu/addconditional"
QR = "/cgi-bin/qrcode/create"


def click(name: str = "好", key: str = "k") -> dict[str, Any]:
    return {"type": "click", "name": name, "key": key}


# (errcode, section, path, body)
POSTS = [
    (40002, "13", "/cgi-bin/stable_token", STABLE | {"grant_type": "password"}),
    (41002, "13", "/cgi-bin/stable_token", STABLE | {"appid": ""}),
    (41004, "13", "/cgi-bin/stable_token", STABLE | {"secret": ""}),
    (40013, "4.2", "/cgi-bin/stable_token", STABLE | {"appid": "wxother"}),
    (40001, "4.2", "/cgi-bin/stable_token", STABLE | {"secret": "f" * 32}),
    (40125, "4.2", "/cgi-bin/stable_token", STABLE | {"secret": "short"}),
    (44002, "13", CUSTOM, b""),
    (47001, "13", CUSTOM, b"{not json"),
    (47001, "13", CUSTOM, b"[1]"),
    (40033, "0", CUSTOM, b'{"touser":"o_lan","msgtype":"text","text":{"content":"\\u4f60"}}'),
    (40003, "9.4", CUSTOM, TEXT | {"touser": "o_stranger"}),
    (40003, "9.4", CUSTOM, TEXT),
    (43004, "9.4", CUSTOM, TEXT | {"touser": MING}),
    (48002, "9.4", CUSTOM, TEXT | {"touser": WEI}),
    (45015, "9.4", CUSTOM, TEXT | {"touser": LAN}),
    (40008, "13", CUSTOM, {"touser": LAN, "msgtype": "poem"}),
    (40008, "13", CUSTOM, {"touser": LAN, "msgtype": "text"}),
    (44004, "9.4", CUSTOM, {"touser": LAN, "msgtype": "text", "text": {"content": ""}}),
    (45002, "9.3", CUSTOM, {"touser": LAN, "msgtype": "text", "text": {"content": "好" * 683}}),
    (40007, "13", CUSTOM, {"touser": LAN, "msgtype": "image", "image": {"media_id": "x"}}),
    (45008, "9.3", CUSTOM, {"touser": LAN, "msgtype": "news", "news": {"articles": [{}, {}]}}),
    (44003, "13", CUSTOM, {"touser": LAN, "msgtype": "news", "news": {"articles": []}}),
    (45098, "9.3", CUSTOM, {"touser": LAN, "msgtype": "msgmenu", "msgmenu": {"list": []}}),
    (
        45099,
        "9.3",
        CUSTOM,
        {"touser": LAN, "msgtype": "msgmenu", "msgmenu": {"list": [{"id": "1"}]}},
    ),
    (45072, "9.2", "/cgi-bin/message/custom/typing", {"touser": LAN, "command": "Sing"}),
    (45080, "9.2", "/cgi-bin/message/custom/typing", {"touser": LAN, "command": "Typing"}),
    (40031, "8.7", MASS, TEXT | {"touser": LAN}),
    (40130, "8.2", MASS, TEXT | {"touser": [LAN]}),
    (40130, "8.2", MASS, TEXT | {"touser": []}),
    (40032, "8.2", MASS, TEXT | {"touser": [f"o{i}" for i in range(10_001)]}),
    (40031, "8.7", MASS, TEXT | {"touser": [LAN, 7]}),
    (40031, "8.7", MASS, TEXT | {"touser": [LAN, LAN]}),
    (40003, "8.7", MASS, TEXT | {"touser": [LAN, "o_stranger"]}),
    (45067, "8.6", MASS, TEXT | {"touser": [LAN, WEI], "clientmsgid": "x" * 33}),
    (40008, "8.7", MASS, {"touser": [LAN, WEI], "msgtype": "image", "image": {"media_id": "x"}}),
    (
        40007,
        "8.7",
        MASS,
        {"touser": [LAN, WEI], "msgtype": "image", "images": {"media_ids": ["x"]}},
    ),
    (
        40215,
        "8.7",
        MASS,
        {"touser": [LAN, WEI], "msgtype": "image", "images": {"media_ids": ["x"] * 21}},
    ),
    (40007, "8.7", MASS, {"touser": [LAN, WEI], "msgtype": "mpnews", "mpnews": {"media_id": "x"}}),
    (45113, "8.7", MASS, {"touser": [LAN, WEI], "msgtype": "wxcard", "wxcard": {"card_id": "x"}}),
    (45002, "8.3", MASS, {"touser": [LAN, WEI], "msgtype": "text", "text": {"content": "a" * 601}}),
    (40008, "8.2", ALL, TEXT | {"filter": {"is_to_all": "false", "tag_id": 100}}),
    (40008, "8.2", ALL, TEXT | {"filter": {"is_to_all": False, "tag_id": "100"}}),
    (40008, "8.2", ALL, TEXT),
    (40152, "8.7", ALL, TEXT | {"filter": {"is_to_all": False, "tag_id": 999}}),
    (40059, "13", "/cgi-bin/message/mass/get", {"msg_id": 5}),
    (40059, "13", "/cgi-bin/message/mass/delete", {"msg_id": "five"}),
    (45083, "8.1", "/cgi-bin/message/mass/speed/set", {"speed": 5}),
    (45084, "8.1", "/cgi-bin/message/mass/speed/set", {}),
    (40003, "8.1", "/cgi-bin/message/mass/preview", TEXT | {"touser": "o_stranger"}),
    (40132, "13", "/cgi-bin/message/mass/preview", TEXT | {"towxname": "somebody"}),
    (40032, "5.1", "/cgi-bin/user/info/batchget", {"user_list": [{"openid": LAN}] * 101}),
    (40003, "5.1", "/cgi-bin/user/info/batchget", {"user_list": [{"openid": "o_stranger"}]}),
    (40031, "13", "/cgi-bin/user/info/batchget", {"user_list": []}),
    (40092, "5.1", "/cgi-bin/user/info/updateremark", {"openid": LAN, "remark": "备" * 10}),
    (43004, "5.1", "/cgi-bin/user/info/updateremark", {"openid": MING, "remark": "x"}),
    (40032, "5.1", "/cgi-bin/tags/members/batchblacklist", {"openid_list": [LAN] * 21}),
    (45157, "5.3", TAG_CREATE, {"tag": {"name": "老客"}}),
    (45157, "5.3", TAG_CREATE, {"tag": {"name": " "}}),
    (45158, "5.3", TAG_CREATE, {"tag": {"name": "名" * 11}}),
    (44002, "5.3", TAG_CREATE, {"name": "x"}),
    (45058, "5.3", "/cgi-bin/tags/update", {"tag": {"id": 2, "name": "x"}}),
    (45058, "5.3", "/cgi-bin/tags/delete", {"tag": {"id": 0}}),
    (45159, "13", "/cgi-bin/tags/delete", {"tag": {"id": 999}}),
    (40032, "5.3", TAGGING, {"tagid": 100, "openid_list": [LAN] * 51}),
    (45159, "5.3", TAGGING, {"tagid": 999, "openid_list": [LAN]}),
    (49003, "5.3", TAGGING, {"tagid": 100, "openid_list": ["o_stranger"]}),
    (40003, "5.3", TAGGING, {"tagid": 100, "openid_list": [5]}),
    (50005, "5.3", TAGGING, {"tagid": 100, "openid_list": [MING]}),
    (40003, "5.3", "/cgi-bin/tags/getidlist", {"openid": "o_stranger"}),
    (40052, "6", QR, {"action_name": "QR_NONE"}),
    (40053, "6", QR, {"action_name": "QR_STR_SCENE"}),
    (
        40053,
        "6",
        QR,
        {"action_name": "QR_STR_SCENE", "action_info": {"scene": {"scene_str": "x" * 65}}},
    ),
    (
        40053,
        "6",
        QR,
        {"action_name": "QR_LIMIT_SCENE", "action_info": {"scene": {"scene_id": 100_001}}},
    ),
    (40053, "6", QR, {"action_name": "QR_SCENE", "action_info": {"scene": {"scene_id": 0}}}),
    (
        40053,
        "6",
        QR,
        {
            "action_name": "QR_SCENE",
            "expire_seconds": 2_592_001,
            "action_info": {"scene": {"scene_id": 1}},
        },
    ),
    (40016, "7", MENU, {"button": [click()] * 4}),
    (40016, "7", MENU, {"button": []}),
    (40017, "7", MENU, {"button": [click() | {"type": "shake"}]}),
    (40018, "7", MENU, {"button": [click("名" * 6)]}),
    (40019, "7", MENU, {"button": [click(key="k" * 129)]}),
    (
        40020,
        "7",
        MENU,
        {"button": [{"type": "view", "name": "x", "url": "https://x/" + "a" * 1024}]},
    ),
    (40023, "7", MENU, {"button": [{"name": "x", "sub_button": [click()] * 6}]}),
    (40025, "7", MENU, {"button": [{"name": "x", "sub_button": [click("名" * 21)]}]}),
    (40054, "7", MENU, {"button": [{"type": "view", "name": "x", "url": "ftp://x"}]}),
    (
        45064,
        "7",
        MENU,
        {
            "button": [
                {
                    "type": "miniprogram",
                    "name": "x",
                    "url": "https://x",
                    "appid": "wxm",
                    "pagepath": "p",
                }
            ]
        },
    ),
    (65303, "7", PERSONAL_MENU, {"button": [click()], "matchrule": {"tag_id": "100"}}),
    (40013, "4.3", "/cgi-bin/clear_quota", {"appid": "wxother"}),
    (76003, "4.3", "/cgi-bin/openapi/quota/get", {"cgi_path": "cgi-bin/menu/get"}),
    (76021, "4.3", "/cgi-bin/openapi/quota/get", {"cgi_path": "/cgi-bin/none"}),
    (76022, "4.3", "/cgi-bin/openapi/quota/get", {"cgi_path": "/sns/userinfo"}),
    (40202, "1.1", "/cgi-bin/callback/check", {"action": "look", "check_operator": "DEFAULT"}),
    (40203, "1.1", "/cgi-bin/callback/check", {"action": "all", "check_operator": "ME"}),
    (
        43004,
        "10.1",
        "/cgi-bin/message/template/send",
        {"touser": MING, "template_id": "T", "data": {}},
    ),
    (40037, "10.1", "/cgi-bin/message/template/send", {"touser": LAN, "data": {}}),
    (
        47003,
        "10.1",
        "/cgi-bin/message/template/send",
        {"touser": LAN, "template_id": "T", "data": []},
    ),
    (
        43101,
        "10.2",
        "/cgi-bin/message/template/send",
        {"touser": WEI, "template_id": "T", "data": {}},
    ),
    (
        43101,
        "10.2",
        "/cgi-bin/message/subscribe/bizsend",
        {"touser": LAN, "template_id": "T", "data": {}},
    ),
    (41005, "13", "/cgi-bin/media/uploadimg", b"x"),
    (45003, "8.11", "/cgi-bin/draft/add", {"articles": [{"title": "题" * 33, "content": "x"}]}),
    (45008, "8.11", "/cgi-bin/draft/add", {"articles": []}),
]


@pytest.mark.parametrize(
    ("errcode", "section", "path", "body"),
    POSTS,
    ids=[f"{n:02}-{p[0]}" for n, p in enumerate(POSTS)],
)
def test_what_the_platform_refuses(
    api: Api, errcode: int, section: str, path: str, body: Any
) -> None:
    answer = api.post(path, body)
    assert answer["errcode"] == errcode, (section, answer)
    assert "rid: " in answer["errmsg"]
    refused = {(row["path"], row["errcode"]): row["count"] for row in api.platform.refused(SERVICE)}
    assert refused[path, errcode] == 1


GETS = [
    (43002, "4.1", "/cgi-bin/stable_token", {}),
    (43002, "13", MASS, {}),
    (40003, "5.1", "/cgi-bin/user/info", {"openid": "o_stranger"}),
    (40003, "5.1", "/cgi-bin/user/get", {"next_openid": "o_stranger"}),
    (46003, "7", "/cgi-bin/menu/get", {}),
    (40007, "8.10", "/cgi-bin/media/get", {"media_id": "x"}),
    (40029, "11", "/sns/oauth2/access_token", {"appid": SERVICE, "secret": SECRET, "code": "x"}),
    (41008, "11", "/sns/oauth2/access_token", {"appid": SERVICE, "secret": SECRET}),
    (40125, "11", "/sns/oauth2/access_token", {"appid": SERVICE, "secret": "x", "code": "x"}),
    (40013, "11", "/sns/oauth2/access_token", {"appid": "wxnone", "secret": "x", "code": "x"}),
]


@pytest.mark.parametrize(("errcode", "section", "path", "params"), GETS)
def test_what_a_get_is_refused_with(
    api: Api, errcode: int, section: str, path: str, params: dict[str, Any]
) -> None:
    answer = api.get(path, grant_type="authorization_code", **params)
    assert answer["errcode"] == errcode, (section, answer)


# (path, which kinds of account may call it): section 15
RIGHTS = [
    (CUSTOM, {SUBSCRIPTION, SERVICE}),
    (ALL, {SUBSCRIPTION, SERVICE}),
    (MASS, {SERVICE}),
    ("/cgi-bin/message/template/send", {SERVICE}),
    ("/cgi-bin/message/subscribe/bizsend", {SERVICE}),
    (QR, {SERVICE}),
    (MENU, {SUBSCRIPTION, SERVICE}),
    (TAG_CREATE, {SUBSCRIPTION, SERVICE}),
    ("/cgi-bin/user/info/batchget", {SUBSCRIPTION, SERVICE}),
    ("/cgi-bin/user/info/updateremark", {SERVICE}),
    ("/cgi-bin/material/batchget_material", {SUBSCRIPTION, SERVICE}),
    ("/cgi-bin/callback/check", {PERSONAL, PLAIN_SERVICE, SUBSCRIPTION, SERVICE}),
]


@pytest.mark.parametrize(("path", "allowed"), RIGHTS)
@pytest.mark.parametrize("app_id", [PERSONAL, PLAIN_SERVICE, SUBSCRIPTION, SERVICE])
def test_an_account_without_the_right_is_told_48001(
    api: Api, path: str, allowed: set[str], app_id: str
) -> None:
    assert (api.post(path, {}, app_id)["errcode"] == 48001) == (app_id not in allowed)


@pytest.mark.parametrize("api_name", sorted(limits.DAILY))
def test_a_used_up_daily_quota_is_told_45009(api: Api, api_name: str) -> None:
    paths = {  # one path of each counted API: section 14
        "token": ("GET", "/cgi-bin/token"),
        "stable_token": ("POST", "/cgi-bin/stable_token"),
        "user/info": ("POST", "/cgi-bin/user/info/batchget"),
        "custom/send": ("POST", CUSTOM),
        "user/updateremark": ("POST", "/cgi-bin/user/info/updateremark"),
        "mass": ("POST", MASS),
        "mass/delete": ("POST", "/cgi-bin/message/mass/delete"),
        "mass/preview": ("POST", "/cgi-bin/message/mass/preview"),
        "template/send": ("POST", "/cgi-bin/message/template/send"),
    }
    gets = {"menu/get", "menu/delete", "user/get", "media/get", "draft/count"}
    method, path = paths.get(
        api_name, ("GET" if api_name in gets else "POST", f"/cgi-bin/{api_name}")
    )
    api.platform.set_clock("2025-03-03 23:59:30")
    token = api.token()
    api.platform.change_account(SERVICE, options={"quotas": {api_name: 0}})
    words = {"grant_type": "client_credential", "appid": SERVICE, "secret": SECRET}
    body = STABLE if api_name == "stable_token" else {"x": 1}
    ask = {"access_token": token, **words}
    assert api.raw(method, path, body if method == "POST" else None, **ask)["errcode"] == 45009

    api.platform.change_account(SERVICE, options={"quotas": {api_name: 1_000}})
    assert api.raw(method, path, body if method == "POST" else None, **ask).get("errcode") != 45009


def test_the_quota_counts_calls_and_midnight_in_shanghai_gives_new_ones(api: Api) -> None:
    api.platform.set_clock("2025-03-03 23:59:30")
    api.platform.change_account(SERVICE, options={"quotas": {"menu/get": 2}})
    codes = [api.get("/cgi-bin/menu/get")["errcode"] for _ in range(3)]
    assert codes == [46003, 46003, 45009]
    shown = api.post("/cgi-bin/openapi/quota/get", {"cgi_path": "/cgi-bin/menu/get"})["quota"]
    assert shown == {"daily_limit": 2, "used": 2, "remain": 0}
    api.pass_seconds(60)
    assert api.get("/cgi-bin/menu/get")["errcode"] == 46003


def test_clear_quota_works_ten_times_a_month(api: Api) -> None:
    codes = [api.post("/cgi-bin/clear_quota", {"appid": SERVICE})["errcode"] for _ in range(11)]
    assert codes == [0] * 10 + [48006]


def test_the_sixty_first_mass_call_of_a_minute_is_refused(api: Api) -> None:
    codes = [api.mass([LAN])["errcode"] for _ in range(61)]
    assert codes == [40130] * 60 + [45011]
    api.pass_seconds(60)
    assert api.mass([LAN])["errcode"] == 40130


def test_a_body_with_a_backslash_that_is_no_escape_is_taken(api: Api) -> None:
    api.platform.say(SERVICE, LAN, "hi")
    body = {"touser": LAN, "msgtype": "text", "text": {"content": "C:\\u4f60"}}
    assert api.post(CUSTOM, json.dumps(body).encode())["errcode"] == 0
