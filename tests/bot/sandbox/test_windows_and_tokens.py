"""Customer-service windows and access tokens over time. Sources: docs/wechat-limits.md 4 and 9."""

import pytest

from bot.sandbox.acts import NotPossible
from tests.bot.sandbox.api import LAN, MING, SECRET, SERVICE, Api

WORDS = {"grant_type": "client_credential", "appid": SERVICE, "secret": SECRET}


def test_a_message_allows_five_within_48_hours(api: Api) -> None:
    api.platform.say(SERVICE, LAN, "你好")
    assert [api.custom() for _ in range(6)] == [0] * 5 + [45047]
    api.platform.say(SERVICE, LAN, "还在吗")
    assert [api.custom() for _ in range(6)] == [0] * 5 + [45047], "a further message resets to five"


def test_who_came_before_may_have_a_window_that_is_used_up(api: Api) -> None:
    now = api.platform.moment().timestamp()
    people = [
        {"open_id": "o_used", "wrote_at": now - 60, "used": 5},
        {"open_id": "o_one", "wrote_at": now - 60, "used": 4},
        {"open_id": "o_late", "wrote_at": now - 48 * 3600, "used": 5},
    ]
    api.platform.add_followers(SERVICE, people)
    assert api.custom("o_used") == 45047
    assert [api.custom("o_one") for _ in range(2)] == [0, 45047]
    assert api.custom("o_late") == 45015, "a window that ended is no window, used up or not"


def test_the_48_hours_end(api: Api) -> None:
    api.platform.say(SERVICE, LAN, "你好")
    api.pass_seconds(48 * 3600 - 1)
    assert api.custom() == 0
    api.pass_seconds(7200)
    assert api.custom() == 45015


@pytest.mark.parametrize(
    "act",
    [
        lambda api: api.platform.tap(SERVICE, LAN, "M_HELP"),
        lambda api: api.platform.tap(SERVICE, LAN, "M_SCAN", "scancode_push"),
        lambda api: api.platform.tap(SERVICE, LAN, "M_SCAN", "scancode_waitmsg"),
        lambda api: api.platform.scan(SERVICE, LAN, "shop_1"),
        lambda api: api.platform.say(SERVICE, LAN, "满意", menu_item="101"),
        lambda api: (api.platform.leave(SERVICE, LAN), api.platform.follow(SERVICE, LAN)),
    ],
    ids=["click", "scancode_push", "scancode_waitmsg", "scan", "message menu", "follow"],
)
def test_a_touch_allows_three_within_a_minute(api: Api, act: object) -> None:
    act(api)  # type: ignore[operator]
    assert [api.custom() for _ in range(4)] == [0] * 3 + [45047]
    api.pass_seconds(60)
    assert api.custom() == 45015


@pytest.mark.parametrize("kind", ["pic_sysphoto", "location_select", "view_miniprogram"])
def test_other_buttons_open_nothing(api: Api, kind: str) -> None:
    api.platform.tap(SERVICE, LAN, "K", kind)
    assert api.custom() == 45015


def test_opening_a_page_from_the_menu_opens_no_window(api: Api) -> None:
    api.platform.view(SERVICE, LAN, "https://example.com/")
    assert api.custom() == 45015


def test_the_window_that_ends_first_is_used_first(api: Api) -> None:
    api.platform.say(SERVICE, LAN, "你好")
    api.platform.tap(SERVICE, LAN, "M_HELP")
    assert [api.custom() for _ in range(9)] == [0] * 8 + [45047]


def test_leaving_closes_everything_and_the_blacklist_is_silent(api: Api) -> None:
    api.platform.say(SERVICE, LAN, "你好")
    block = {"openid_list": [LAN]}
    assert api.post("/cgi-bin/tags/members/batchblacklist", block)["errcode"] == 0
    assert api.custom() == 43019
    with pytest.raises(NotPossible):
        api.platform.say(SERVICE, LAN, "喂")
    listed = api.post("/cgi-bin/tags/members/getblacklist", {"begin_openid": ""})
    assert listed["data"]["openid"] == [LAN]
    api.post("/cgi-bin/tags/members/batchunblacklist", block)
    assert api.custom() == 0
    api.platform.leave(SERVICE, LAN)
    assert api.custom() == 43004
    api.platform.follow(SERVICE, LAN)
    api.pass_seconds(60)
    assert api.custom() == 45015, "the old window does not come back"


def test_typing_needs_a_message_of_the_last_half_minute(api: Api) -> None:
    api.platform.say(SERVICE, LAN, "你好")
    typing = {"touser": LAN, "command": "Typing"}
    assert api.post("/cgi-bin/message/custom/typing", typing)["errcode"] == 0
    api.pass_seconds(31)
    assert api.post("/cgi-bin/message/custom/typing", typing)["errcode"] == 45080


def test_a_follower_from_before_may_have_written_before(api: Api) -> None:
    now = api.platform.now()
    people = [
        {"open_id": "o_a", "wrote_at": now - 3600},
        {"open_id": "o_b", "wrote_at": now - 172_801},
    ]
    api.platform.add_followers(SERVICE, people)
    assert [api.custom("o_a"), api.custom("o_b")] == [0, 45015]


def test_only_followers_act(api: Api) -> None:
    for act in (api.platform.say, api.platform.tap, api.platform.view):
        with pytest.raises(NotPossible):
            act(SERVICE, MING, "x")
    with pytest.raises(NotPossible):
        api.platform.follow(SERVICE, LAN)


def test_the_stable_token_stays_the_same_until_five_minutes_before_its_end(api: Api) -> None:
    first = api.raw("POST", "/cgi-bin/stable_token", WORDS)
    api.pass_seconds(3600)
    second = api.raw("POST", "/cgi-bin/stable_token", WORDS)
    assert (second["access_token"], second["expires_in"]) == (first["access_token"], 3600)
    api.pass_seconds(3301)
    third = api.raw("POST", "/cgi-bin/stable_token", WORDS)
    assert third["access_token"] != first["access_token"]
    old = {"access_token": first["access_token"]}
    assert "errcode" not in api.raw("GET", "/cgi-bin/user/get", None, **old)
    api.pass_seconds(300)
    assert api.raw("GET", "/cgi-bin/user/get", None, **old)["errcode"] == 42001
    assert api.raw("GET", "/cgi-bin/user/get", None)["errcode"] == 41001
    assert api.raw("GET", "/cgi-bin/user/get", None, access_token="guess")["errcode"] == 40001


def test_a_forced_refresh_kills_the_former_token_and_is_rationed(api: Api) -> None:
    first = api.token()
    forced = WORDS | {"force_refresh": True}
    second = api.raw("POST", "/cgi-bin/stable_token", forced)
    assert second["access_token"] != first
    assert api.raw("GET", "/cgi-bin/user/get", None, access_token=first)["errcode"] == 40001
    assert api.raw("POST", "/cgi-bin/stable_token", forced)["errcode"] == 45011, "30 s apart"
    for _ in range(19):
        api.pass_seconds(30)
        assert "access_token" in api.raw("POST", "/cgi-bin/stable_token", forced)
    api.pass_seconds(30)
    assert api.raw("POST", "/cgi-bin/stable_token", forced)["errcode"] == 45009, "20 a day"


def test_the_two_token_families_do_not_touch_each_other(api: Api) -> None:
    stable = api.token()
    old = api.raw("GET", "/cgi-bin/token", None, **WORDS)["access_token"]
    new = api.raw("GET", "/cgi-bin/token", None, **WORDS)["access_token"]

    def codes() -> list[int]:
        return [
            api.raw("GET", "/cgi-bin/user/get", None, access_token=each).get("errcode", 0)
            for each in (stable, old, new)
        ]

    assert codes() == [0, 0, 0], "the replaced one lives on for five minutes"
    api.pass_seconds(301)
    assert codes() == [0, 40001, 0]


def test_every_token_can_be_killed_from_outside(api: Api) -> None:
    token = api.token()
    assert api.platform.kill_tokens(SERVICE) == 1
    assert api.raw("GET", "/cgi-bin/user/get", None, access_token=token)["errcode"] == 40001
