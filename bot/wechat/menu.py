"""Menus 自定义菜单: the account file's form, its limits, and publishing it for all or for one tag.

Source: docs/wechat-limits.md 7 (read 2026-11).
"""

from collections.abc import Mapping, Sequence
from typing import Any

from bot.errors import Invalid, Refused, WeChatError
from bot.wechat.client import WeChat

Menu = Sequence[Mapping[str, Any]]
NO_MENU = 46003
MAX_BUTTONS, MAX_SUB_BUTTONS = 3, 5
# bytes of UTF-8
MAX_NAME, MAX_SUB_NAME, MAX_KEY, MAX_URL = 16, 60, 128, 1024
# our word -> (the platform's type, the element that carries the value)
_TYPES = {
    "click": ("click", "key"),
    "view": ("view", "url"),
    "scancode_push": ("scancode_push", "key"),
    "scancode_wait": ("scancode_waitmsg", "key"),
    "picture_camera": ("pic_sysphoto", "key"),
    "picture_album": ("pic_photo_or_album", "key"),
    "picture_wechat": ("pic_weixin", "key"),
    "location": ("location_select", "key"),
    "media_id": ("media_id", "media_id"),
    "article_id": ("article_id", "article_id"),
}
_WORDS = {platform: (ours, element) for ours, (platform, element) in _TYPES.items()}
_MINI_PROGRAM = ("app_id", "page", "url")


def problems(menu: object, place: str = "") -> list[tuple[str, str]]:
    """Every reason why a menu of the account file cannot be published, as (dotted place, sentence).

    Places begin with ``place``; the menu itself, without one, is "".
    """
    if not isinstance(menu, list | tuple) or not menu:
        return [(place, "needs a list of 1 to 3 buttons")]
    found = []
    if len(menu) > MAX_BUTTONS:
        found.append((place, f"has {len(menu)} buttons, {MAX_BUTTONS} are allowed"))
    for number, button in enumerate(menu):
        found += _button_problems(button, f"{place}.{number}" if place else str(number), MAX_NAME)
    return found


def to_platform(menu: Menu) -> list[dict[str, Any]]:
    """The buttons as the platform wants them.

    Raises:
        Invalid: the first of ``problems``.
    """
    found = problems(menu, "menu")
    if found:
        raise Invalid(*found[0])
    return [_to_button(button) for button in menu]


def from_platform(buttons: object) -> list[dict[str, Any]]:
    """Buttons of the platform in the account file's form; kinds made in its console only are left out."""
    found = (_from_button(button) for button in (buttons if isinstance(buttons, list) else []))
    return [button for button in found if button]


def publish(wechat: WeChat, menu: Menu) -> None:
    """Replace the menu everybody sees. Clients show it within minutes, or after following anew.

    Raises:
        Invalid: the menu has problems.
        WeChatError: the platform said no, or did not answer.
    """
    wechat.call("/cgi-bin/menu/create", {"button": to_platform(menu)})


def publish_personal(wechat: WeChat, menu: Menu, tag_id: int) -> str:
    """Add a menu for one tag of the platform and return its id. The default menu must exist (65303).

    The platform tries the newest first.

    Raises:
        Invalid, WeChatError: as ``publish``.
        Refused: no usable tag.
    """
    if not isinstance(tag_id, int) or isinstance(tag_id, bool) or tag_id <= 0:
        raise Refused("a personal menu needs the platform's id of a tag")
    payload = {"button": to_platform(menu), "matchrule": {"tag_id": str(tag_id)}}
    return str(wechat.call("/cgi-bin/menu/addconditional", payload).get("menuid") or "")


def current(wechat: WeChat) -> dict[str, Any]:
    """``menu`` and ``conditionalmenu`` as the platform has them; {} where there is none.

    Raises:
        WeChatError: the platform said no, or did not answer.
    """
    try:
        return wechat.call("/cgi-bin/menu/get")
    except WeChatError as error:
        if error.errcode != NO_MENU:
            raise
    return {}


def personal_ids(wechat: WeChat) -> list[str]:
    """The ids of the personal menus the platform has now.

    Raises:
        WeChatError: the platform said no, or did not answer.
    """
    rows = current(wechat).get("conditionalmenu")
    return [
        str(row["menuid"])
        for row in (rows if isinstance(rows, list) else [])
        if isinstance(row, dict) and row.get("menuid")
    ]


def seen_by(wechat: WeChat, open_id: str) -> list[dict[str, Any]]:
    """The menu the platform shows one follower, in the account file's form; [] where there is none.

    Raises:
        WeChatError: 65302 not a follower, or the platform did not answer.
    """
    try:
        return from_platform(
            wechat.call("/cgi-bin/menu/trymatch", {"user_id": open_id}).get("button")
        )
    except WeChatError as error:
        if error.errcode != NO_MENU:
            raise
    return []


def delete(wechat: WeChat) -> None:
    """Delete the default menu **and every personal one**.

    Raises:
        WeChatError: the platform said no, or did not answer.
    """
    wechat.call("/cgi-bin/menu/delete")


def delete_personal(wechat: WeChat, menu_id: str) -> None:
    """Delete one personal menu.

    Raises:
        WeChatError: 65301 there is none, …
    """
    wechat.call("/cgi-bin/menu/delconditional", {"menuid": menu_id})


def _button_problems(button: object, place: str, max_name: int) -> list[tuple[str, str]]:
    if not isinstance(button, Mapping):
        return [(place, "must be a button: name and what it does")]
    found = _size_problems(button.get("name"), f"{place}.name", max_name)
    does = sorted(str(key) for key in button if key != "name")
    top = max_name == MAX_NAME
    known = {*_TYPES, "mini_program", *(["sub"] if top else [])}
    if len(does) != 1 or does[0] not in known:
        found.append((place, f"needs a name and exactly one of {', '.join(sorted(known))}"))
        return found
    word, value = does[0], button[does[0]]
    if word == "sub":
        return found + _sub_problems(value, f"{place}.sub")
    if word == "mini_program":
        return found + _mini_program_problems(value, f"{place}.mini_program")
    found += _size_problems(value, f"{place}.{word}", MAX_URL if word == "view" else MAX_KEY)
    if word == "view" and not str(value).startswith(("http://", "https://")):
        found.append((f"{place}.view", "must begin with http:// or https://"))
    return found


def _sub_problems(value: object, place: str) -> list[tuple[str, str]]:
    if not isinstance(value, list | tuple) or not value:
        return [(place, "needs a list of 1 to 5 buttons")]
    found = []
    if len(value) > MAX_SUB_BUTTONS:
        found.append((place, f"has {len(value)} buttons, {MAX_SUB_BUTTONS} are allowed"))
    for number, button in enumerate(value):
        found += _button_problems(button, f"{place}.{number}", MAX_SUB_NAME)
    return found


def _mini_program_problems(value: object, place: str) -> list[tuple[str, str]]:
    if not isinstance(value, Mapping) or set(value) != set(_MINI_PROGRAM):
        return [(place, f"needs {', '.join(_MINI_PROGRAM)}")]
    found = [
        problem
        for name in _MINI_PROGRAM
        for problem in _size_problems(value[name], f"{place}.{name}", MAX_URL)
    ]
    if str(value["app_id"]) != str(value["app_id"]).lower():
        found.append((f"{place}.app_id", "must be lower case"))
    return found


def _size_problems(value: object, place: str, limit: int) -> list[tuple[str, str]]:
    if not isinstance(value, str) or not value.strip():
        return [(place, "must not be empty")]
    size = len(value.encode("utf-8", "replace"))
    if size > limit:
        return [(place, f"has {size} bytes of UTF-8, {limit} are allowed")]
    return []


def _to_button(button: Mapping[str, Any]) -> dict[str, Any]:
    name = button["name"]
    if "sub" in button:
        return {"name": name, "sub_button": [_to_button(item) for item in button["sub"]]}
    if "mini_program" in button:
        program = button["mini_program"]
        return {
            "type": "miniprogram",
            "name": name,
            "url": program["url"],
            "appid": program["app_id"],
            "pagepath": program["page"],
        }
    word = next(key for key in button if key != "name")
    platform, element = _TYPES[word]
    return {"type": platform, "name": name, element: button[word]}


def _from_button(button: object) -> dict[str, Any] | None:
    if not isinstance(button, Mapping):
        return None
    name = str(button.get("name") or "")
    sub = button.get("sub_button")
    if isinstance(sub, list) and sub:
        return {"name": name, "sub": from_platform(sub)}
    kind = button.get("type")
    if kind == "miniprogram":
        program = {
            "app_id": str(button.get("appid") or ""),
            "page": str(button.get("pagepath") or ""),
            "url": str(button.get("url") or ""),
        }
        return {"name": name, "mini_program": program}
    if not isinstance(kind, str) or kind not in _WORDS:
        return None
    ours, element = _WORDS[kind]
    return {"name": name, ours: str(button.get(element) or "")}
