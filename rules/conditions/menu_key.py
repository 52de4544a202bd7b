"""A menu button with one of these keys was used."""

from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field

from bot.params import MenuKey
from bot.params import Params as Declared
from rules.facts import Facts
from rules.needs import KEY, Needs

NAME = "menu_key"
LABEL = {"zh": "点击菜单", "en": "Menu key"}
# the kinds of push that carry the key an operator gave a button
MENU_KINDS = frozenset(
    {
        "menu_click",
        "scancode_push",
        "scancode_wait",
        "picture_camera",
        "picture_album",
        "picture_wechat",
        "location_select",
    }
)


class Params(Declared):
    any: Annotated[
        list[MenuKey],
        BeforeValidator(lambda value: [value] if isinstance(value, str) else value),
        AfterValidator(lambda keys: list(dict.fromkeys(keys))),
        Field(min_length=1, max_length=1000),
    ]


def matches(params: Params, facts: Facts) -> dict[str, str] | None:
    return {} if facts.kind in MENU_KINDS and facts.key in params.any else None


def words(params: Params) -> Needs:
    return Needs(KEY, tuple(params.any))
