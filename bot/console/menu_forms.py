"""A menu as a form of three columns with five places each, and back. What is empty is left out."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flask_babel import lazy_gettext as _l
from werkzeug.datastructures import MultiDict

from bot.wechat.menu import (
    MAX_BUTTONS,
    MAX_KEY,
    MAX_NAME,
    MAX_SUB_BUTTONS,
    MAX_SUB_NAME,
    MAX_URL,
)

Form = MultiDict[str, str]
LONGEST = 2000  # characters of a field that is read at all
KINDS = (
    ("click", _l("点击推事件（由规则回复）")),
    ("view", _l("打开网页")),
    ("mini_program", _l("打开小程序")),
    ("scancode_push", _l("扫一扫")),
    ("scancode_wait", _l("扫一扫并等待回复")),
    ("picture_camera", _l("拍照")),
    ("picture_album", _l("拍照或相册")),
    ("picture_wechat", _l("微信相册")),
    ("location", _l("发送位置")),
    ("media_id", _l("发送素材（media_id）")),
    ("article_id", _l("打开已发布文章（article_id）")),
)
PROGRAM = ("app_id", "page", "url")


@dataclass(frozen=True, slots=True)
class Slot:
    """One button of the form. ``place`` is the prefix of its fields; ``errors`` stand beside them."""

    place: str
    name: str = ""
    kind: str = "click"
    value: str = ""
    app_id: str = ""
    page: str = ""
    url: str = ""
    subs: tuple["Slot", ...] = ()
    errors: Mapping[str, str] | None = None
    top: bool = True

    @property
    def name_bytes(self) -> int:
        return MAX_NAME if self.top else MAX_SUB_NAME

    @property
    def value_bytes(self) -> int:
        return MAX_URL if self.kind == "view" else MAX_KEY

    @property
    def filled(self) -> bool:
        return bool(self.name or self.value or self.app_id or any(sub.filled for sub in self.subs))

    def error(self, field: str) -> str:
        return (self.errors or {}).get(field, "")


def slots(
    menu: Sequence[Mapping[str, Any]], problems: Iterable[tuple[str, str]] = (), prefix: str = ""
) -> list[Slot]:
    """The three columns of a menu. ``problems`` have places below ``prefix``."""
    told = {
        place.removeprefix(prefix).lstrip("."): text
        for place, text in problems
        if place.startswith(prefix)
    }
    found = [_slot(button, f"{number}", told, True) for number, button in enumerate(menu)]
    while len(found) < MAX_BUTTONS:
        found.append(_slot({}, f"{len(found)}", told, True))
    return found


def read(form: Form) -> list[dict[str, Any]]:
    """The menu that was posted, in the order of the page; nothing is checked."""
    menu = []
    for number in _numbers(form, "m"):
        button = _button(form, f"m.{number}")
        subs = [
            sub
            for below in _numbers(form, f"m.{number}.sub")
            if (sub := _button(form, f"m.{number}.sub.{below}")) is not None
        ]
        if subs:
            menu.append({"name": (button or {}).get("name", ""), "sub": subs})
        elif button is not None:
            menu.append(button)
    return menu


def moved(menu: list[dict[str, Any]], order: str) -> list[dict[str, Any]]:
    """The menu after a button went one place: ``1:up``, ``0.sub.2:down``. Anything else changes nothing."""
    found = re.fullmatch(r"(\d)(?:\.sub\.(\d))?:(up|down)", order)
    if found is None or int(found[1]) >= len(menu):
        return menu
    top, step = int(found[1]), -1 if found[3] == "up" else 1
    changed = [dict(button) for button in menu]
    listed, place = changed, top
    if found[2] is not None:
        listed = [dict(sub) for sub in changed[top].get("sub", ())]
        changed[top]["sub"] = listed
        place = int(found[2])
    if place < len(listed) and 0 <= place + step < len(listed):
        listed[place], listed[place + step] = listed[place + step], listed[place]
    return changed if found[2] is None or listed else menu


def lines(menu: Sequence[Mapping[str, Any]]) -> list[str]:
    """A menu as lines to compare: one a button, those below indented."""
    found = []
    for button in menu:
        found.append(_line(button))
        found += [f"　　{_line(sub)}" for sub in button.get("sub", ())]
    return found


def _line(button: Mapping[str, Any]) -> str:
    if "sub" in button:
        return str(button["name"])
    words = dict(KINDS)
    for kind, value in button.items():
        if kind != "name":
            shown = " ".join(value.values()) if isinstance(value, Mapping) else value
            return f"{button['name']} → {words.get(kind, kind)} {shown}"
    return str(button.get("name", ""))


def _slot(button: Mapping[str, Any], place: str, told: Mapping[str, str], top: bool) -> Slot:
    kind = next((name for name in button if name not in ("name", "sub")), "click")
    value = button.get(kind, "")
    program = value if isinstance(value, Mapping) else {}
    below = button.get("sub", ())
    subs = [_slot(sub, f"{place}.sub.{number}", told, False) for number, sub in enumerate(below)]
    while top and len(subs) < MAX_SUB_BUTTONS:
        subs.append(_slot({}, f"{place}.sub.{len(subs)}", told, False))
    errors = {
        "name": told.get(f"{place}.name", ""),
        "value": told.get(f"{place}.{kind}", "") or told.get(place, ""),
        "sub": told.get(f"{place}.sub", ""),
        **{name: told.get(f"{place}.mini_program.{name}", "") for name in PROGRAM},
    }
    return Slot(
        f"m.{place}",
        str(button.get("name", "")),
        kind,
        "" if program else str(value),
        str(program.get("app_id", "")),
        str(program.get("page", "")),
        str(program.get("url", "")),
        tuple(subs),
        errors,
        top,
    )


def _numbers(form: Form, prefix: str) -> list[str]:
    pattern = re.compile(re.escape(prefix) + r"\.(\d{1,3})\..+")
    return list(dict.fromkeys(found[1] for key in form if (found := pattern.fullmatch(key))))[:20]


def _button(form: Form, prefix: str) -> dict[str, Any] | None:
    def typed(name: str) -> str:
        return form.get(f"{prefix}.{name}", "")[:LONGEST].replace("\x00", "").strip()

    name, kind, value = typed("name"), typed("kind"), typed("value")
    program = {part: typed(part) for part in PROGRAM}
    if kind == "mini_program":
        return {"name": name, kind: program} if name or any(program.values()) else None
    if kind not in dict(KINDS):
        kind = "click"
    return {"name": name, kind: value} if name or value else None
