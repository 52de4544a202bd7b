"""Menus, the default one and personal ones. Source: docs/wechat-limits.md 7 (read 2026-11)."""

import json
from typing import Any
from urllib.parse import urlsplit

from bot.sandbox import media, menus
from bot.sandbox.accounts import Account
from bot.sandbox.calls import Call, Json, endpoint, known, ok
from bot.sandbox.limits import (
    MENU_BUTTONS,
    MENU_DOMAINS,
    MENU_KEY_BYTES,
    MENU_NAME_BYTES,
    MENU_SUB_BUTTONS,
    MENU_SUB_NAME_BYTES,
    MENU_URL_BYTES,
    SYSTEM_TAG_IDS,
)
from bot.sandbox.refusal import Refusal
from bot.sandbox.world import World

MENU_ID_START = 208_379_533
KEYED = {
    "click",
    "scancode_push",
    "scancode_waitmsg",
    "pic_sysphoto",
    "pic_photo_or_album",
    "pic_weixin",
    "location_select",
}
MEDIA = {"media_id", "view_limited"}
ARTICLES = {"article_id", "article_view_limited"}
# today only these two; the others were removed and are private
RULES = {"tag_id", "client_platform_type"}
RULES_GONE = {"sex", "country", "province", "city", "language", "group_id"}


def _bytes(value: Any) -> int:
    return len(value.encode()) if isinstance(value, str) else 0


def _url(value: Any, top: bool) -> None:
    if not 1 <= _bytes(value) <= MENU_URL_BYTES:
        raise Refusal(40020 if top else 40027, "invalid button url size")
    if not str(value).startswith(("http://", "https://")):
        raise Refusal(40054, "invalid sub button url domain")


def _button(world: World, account: Account, button: Any, top: bool) -> None:
    if not isinstance(button, dict):
        raise Refusal(40017 if top else 40024, "invalid button type")
    if not 1 <= _bytes(button.get("name")) <= (MENU_NAME_BYTES if top else MENU_SUB_NAME_BYTES):
        raise Refusal(40018 if top else 40025, "invalid button name size")
    below = button.get("sub_button")
    if below:
        if not top or not isinstance(below, list) or len(below) > MENU_SUB_BUTTONS:
            raise Refusal(40023 if top else 40022, "invalid sub button size")
        for each in below:
            _button(world, account, each, top=False)
        return
    kind = button.get("type")
    if kind in KEYED:
        if not 1 <= _bytes(button.get("key")) <= MENU_KEY_BYTES:
            raise Refusal(40019 if top else 40026, "invalid button key size")
    elif kind == "view":
        _url(button.get("url"), top)
    elif kind == "miniprogram":
        _url(button.get("url"), top)
        app_id = button.get("appid")
        if not app_id or not button.get("pagepath"):
            raise Refusal(40165, "invalid weapp pagepath")
        if app_id not in account.options.get("mini_programs", []):
            raise Refusal(45064, "no permission to use weapp in menu")
    elif kind in MEDIA:
        media.need(world, account, button, "media_id", "image")
    elif kind in ARTICLES:
        if not button.get("article_id"):
            raise Refusal(40007, "invalid article_id")
    else:
        raise Refusal(40017 if top else 40024, "invalid button type")


def _buttons(world: World, account: Account, body: Json) -> list[Json]:
    buttons = body.get("button")
    if not isinstance(buttons, list) or not 1 <= len(buttons) <= MENU_BUTTONS:
        raise Refusal(40016, "invalid button size")
    for each in buttons:
        _button(world, account, each, top=True)
    return buttons


@endpoint("/cgi-bin/menu/create", needs="menu", quota="menu/create")
def create(world: World, call: Call) -> Json:
    text = json.dumps(_buttons(world, call.me, call.json()), ensure_ascii=False)
    world.store.run("UPDATE accounts SET menu = ? WHERE id = ?", text, call.me.id)
    return ok()


@endpoint("/cgi-bin/menu/get", "GET", needs="menu", quota="menu/get")
def get(world: World, call: Call) -> Json:
    buttons = menus.default(world, call.me)
    if buttons is None:
        raise Refusal(46003, "menu no exist")
    personal = world.store.all(
        "SELECT * FROM menus WHERE account_id = ? ORDER BY id DESC", call.me.id
    )
    answer: Json = {"menu": {"button": buttons, "menuid": menus.DEFAULT_MENU_ID}}
    if personal:
        answer["conditionalmenu"] = [
            {
                "button": json.loads(row["button"]),
                "matchrule": json.loads(row["matchrule"]),
                "menuid": row["id"],
            }
            for row in personal
        ]
    return answer


@endpoint("/cgi-bin/get_current_selfmenu_info", "GET")
def current(world: World, call: Call) -> Json:
    buttons = menus.default(world, call.me) or []
    shown = []
    for button in buttons:
        copy = {name: value for name, value in button.items() if name != "sub_button"}
        if button.get("sub_button"):
            copy["sub_button"] = {"list": button["sub_button"]}
        shown.append(copy)
    return {"is_menu_open": int(bool(buttons)), "selfmenu_info": {"button": shown}}


@endpoint("/cgi-bin/menu/delete", "GET", needs="menu", quota="menu/delete")
def delete(world: World, call: Call) -> Json:
    world.store.run("UPDATE accounts SET menu = NULL WHERE id = ?", call.me.id)
    world.store.run("DELETE FROM menus WHERE account_id = ?", call.me.id)
    return ok()


def _domains(world: World, account: Account, buttons: list[Json]) -> None:
    menus_ = [buttons] + [
        json.loads(row["button"])
        for row in world.store.all("SELECT button FROM menus WHERE account_id = ?", account.id)
    ]
    urls = (button.get("url") for menu in menus_ for button in menus.flat(menu))
    if len({urlsplit(url).hostname for url in urls if url}) > MENU_DOMAINS:
        raise Refusal(65316, "too many domains in conditional menus")


@endpoint("/cgi-bin/menu/addconditional", needs="menu", quota="menu/addconditional")
def add_conditional(world: World, call: Call) -> Json:
    body = call.json()
    if menus.default(world, call.me) is None:
        raise Refusal(65303, "there is no selfmenu, please create selfmenu first")
    rule = body.get("matchrule")
    if not isinstance(rule, dict) or not any(rule.values()):
        raise Refusal(65305, "empty matchrule")
    if set(rule) & RULES_GONE:
        raise Refusal(65320, "matchrule contains private fields")
    if set(rule) - RULES:
        raise Refusal(65305, "unknown matchrule")
    tag_id = str(rule.get("tag_id", "2"))
    found = tag_id.isdigit() and (
        int(tag_id) in SYSTEM_TAG_IDS
        or world.store.one(
            "SELECT 1 FROM tags WHERE account_id = ? AND id = ?", call.me.id, int(tag_id)
        )
    )
    if not found or str(rule.get("client_platform_type", "1")) not in ("1", "2", "3"):
        raise Refusal(65305, "invalid matchrule")
    buttons = _buttons(world, call.me, body)
    _domains(world, call.me, buttons)
    number = world.store.next_id("menuid", MENU_ID_START)
    world.store.run(
        "INSERT INTO menus VALUES (?, ?, ?, ?)",
        number,
        call.me.id,
        json.dumps(buttons, ensure_ascii=False),
        json.dumps(rule),
    )
    return {"menuid": str(number)}


@endpoint("/cgi-bin/menu/delconditional", needs="menu", quota="menu/delconditional")
def delete_conditional(world: World, call: Call) -> Json:
    number = str(call.json().get("menuid", ""))
    gone = world.store.run("DELETE FROM menus WHERE account_id = ? AND id = ?", call.me.id, number)
    if not gone:
        raise Refusal(65301, "no such menuid")
    return ok()


@endpoint("/cgi-bin/menu/trymatch", needs="menu", quota="menu/trymatch")
def try_match(world: World, call: Call) -> Json:
    row = known(world, call.me, call.json().get("user_id"))
    buttons = menus.seen_by(world, call.me, row["open_id"])
    if buttons is None:
        raise Refusal(46003, "menu no exist")
    return {"button": buttons}
