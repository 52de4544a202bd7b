"""Give the follower tags."""

from collections.abc import Mapping

from bot.params import Params as Declared
from bot.params import TagNames
from rules.effects import AddTag, Effect
from rules.facts import Facts

NAME = "add_tag"
LABEL = {"zh": "打标签", "en": "Add tags"}


class Params(Declared):
    tags: TagNames


def plan(params: Params, facts: Facts, captures: Mapping[str, str]) -> list[Effect]:
    return [AddTag(tag) for tag in params.tags]
