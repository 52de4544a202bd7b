"""Menus of the account file: what is wrong with them, and what the platform gets."""

from typing import Any

import pytest

from bot.errors import Invalid, Refused, WeChatError
from bot.wechat import menu
from bot.wechat.client import WeChat
from tests.bot.wechat.conftest import Scripted

PROGRAM = {"app_id": "wx0", "page": "pages/a", "url": "https://e.com"}
FILE: list[dict[str, Any]] = [
    {"name": "领券", "click": "M_COUPON"},
    {
        "name": "更多",
        "sub": [
            {"name": "商城", "view": "https://example.com/mall"},
            {"name": "扫码", "scancode_wait": "K"},
            {"name": "小程序", "mini_program": PROGRAM},
        ],
    },
]
PLATFORM = [
    {"type": "click", "name": "领券", "key": "M_COUPON"},
    {
        "name": "更多",
        "sub_button": [
            {"type": "view", "name": "商城", "url": "https://example.com/mall"},
            {"type": "scancode_waitmsg", "name": "扫码", "key": "K"},
            {
                "type": "miniprogram",
                "name": "小程序",
                "url": "https://e.com",
                "appid": "wx0",
                "pagepath": "pages/a",
            },
        ],
    },
]


def test_account_file_and_platform_say_the_same() -> None:
    assert menu.problems(FILE) == []
    assert menu.to_platform(FILE) == PLATFORM
    assert menu.from_platform(PLATFORM) == FILE


def one(**button: Any) -> list[dict[str, Any]]:
    return [{"name": "名", **button}]


@pytest.mark.parametrize(
    ("wrong", "place"),
    [
        (None, ""),
        ([], ""),
        ({}, ""),
        (one(click="K") * 4, ""),
        (["x"], "0"),
        ([{"click": "K"}], "0.name"),
        ([{"name": "", "click": "K"}], "0.name"),
        ([{"name": "名" * 6, "click": "K"}], "0.name"),
        (one(), "0"),
        (one(click="K", view="https://e.com"), "0"),
        (one(hologram="K"), "0"),
        (one(click=""), "0.click"),
        (one(click=5), "0.click"),
        (one(click="k" * 129), "0.click"),
        (one(view="example.com"), "0.view"),
        (one(view="https://e.com/" + "x" * 1024), "0.view"),
        (one(sub=[]), "0.sub"),
        (one(sub=one(click="K") * 6), "0.sub"),
        (one(sub=[{"name": "名" * 21, "click": "K"}]), "0.sub.0.name"),
        (one(sub=one(sub=one(click="K"))), "0.sub.0"),
        (one(mini_program={"app_id": "wx0"}), "0.mini_program"),
        (one(mini_program={**PROGRAM, "app_id": "WX0"}), "0.mini_program.app_id"),
    ],
)
def test_problem_is_named_with_its_place(wrong: Any, place: str) -> None:
    assert [found[0] for found in menu.problems(wrong)] == [place]
    prefixed = [found[0] for found in menu.problems(wrong, "menu")]
    assert prefixed == [f"menu.{place}" if place else "menu"]
    with pytest.raises(Invalid):
        menu.to_platform(wrong)


def test_every_problem_is_told_at_once() -> None:
    wrong = [{"name": "", "click": ""}, {"name": "名", "view": "x"}]
    assert len(menu.problems(wrong)) == 3


@pytest.mark.parametrize(("name", "fits"), [("名" * 5 + "a", True), ("名" * 5 + "ab", False)])
def test_name_of_a_first_level_button_has_16_bytes(name: str, fits: bool) -> None:
    assert (menu.problems([{"name": name, "click": "K"}]) == []) == fits


def test_publish(wechat: WeChat, platform: Scripted) -> None:
    menu.publish(wechat, FILE)
    assert platform.last("/cgi-bin/menu/create").json == {"button": PLATFORM}


def test_personal_menu_is_for_one_tag(wechat: WeChat, platform: Scripted) -> None:
    platform.answer("/cgi-bin/menu/addconditional", {"menuid": "208379533"})
    assert menu.publish_personal(wechat, FILE, 134) == "208379533"
    asked = platform.last("/cgi-bin/menu/addconditional").json
    assert asked == {"button": PLATFORM, "matchrule": {"tag_id": "134"}}
    nothing: Any = None
    with pytest.raises(Refused):
        menu.publish_personal(wechat, FILE, nothing)


def test_wrong_menu_never_leaves(wechat: WeChat, platform: Scripted) -> None:
    with pytest.raises(Invalid):
        menu.publish(wechat, [])
    assert platform.asked == []


def test_no_menu_is_empty_and_other_errors_are_errors(wechat: WeChat, platform: Scripted) -> None:
    path = "/cgi-bin/menu/get"
    platform.answer(path, {"errcode": 46003}, {"errcode": 48001})
    assert menu.current(wechat) == {}
    with pytest.raises(WeChatError):
        menu.current(wechat)


def test_ids_of_personal_menus(wechat: WeChat, platform: Scripted) -> None:
    path = "/cgi-bin/menu/get"
    platform.answer(
        path,
        {"menu": {}, "conditionalmenu": [{"menuid": 208396993}, {"menuid": "5"}, {}, None]},
        {"menu": {}},
    )
    assert menu.personal_ids(wechat) == ["208396993", "5"]
    assert menu.personal_ids(wechat) == []


def test_deleting(wechat: WeChat, platform: Scripted) -> None:
    menu.delete_personal(wechat, "5")
    assert platform.last("/cgi-bin/menu/delconditional").json == {"menuid": "5"}
    menu.delete(wechat)
    assert platform.last("/cgi-bin/menu/delete").method == "GET"


def test_buttons_made_in_the_console_are_left_out() -> None:
    assert menu.from_platform([{"type": "news", "name": "x", "value": "y"}, None, 5]) == []
    assert menu.from_platform(None) == []
