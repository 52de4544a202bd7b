"""The message is of one of these kinds."""

from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from bot.params import Params as Declared
from rules.facts import Facts
from rules.needs import KIND, Needs

NAME = "message_kind"
LABEL = {"zh": "消息类型", "en": "Message kind"}
Kind = Literal["text", "image", "voice", "video", "short_video", "location", "link"]


class Params(Declared):
    any: Annotated[
        list[Kind],
        BeforeValidator(lambda value: [value] if isinstance(value, str) else value),
        AfterValidator(lambda kinds: list(dict.fromkeys(kinds))),
        Field(min_length=1),
    ]


def matches(params: Params, facts: Facts) -> dict[str, str] | None:
    return {} if facts.kind in params.any else None


def words(params: Params) -> Needs:
    return Needs(KIND, tuple(params.any))
