"""Answer with a content."""

from collections.abc import Mapping

from bot.content import Content as Params
from rules.captures import fill
from rules.contents import plain
from rules.effects import Effect, Reply
from rules.facts import Facts

NAME = "reply"
LABEL = {"zh": "回复", "en": "Reply"}


def plan(params: Params, facts: Facts, captures: Mapping[str, str]) -> list[Effect]:
    return [Reply(fill(plain(params), captures))]
