"""Take tags from the follower."""

from collections.abc import Mapping

from bot.params import Params as Declared
from bot.params import TagNames
from rules.effects import Effect, RemoveTag
from rules.facts import Facts

NAME = "remove_tag"
LABEL = {"zh": "去标签", "en": "Remove tags"}


class Params(Declared):
    tags: TagNames


def plan(params: Params, facts: Facts, captures: Mapping[str, str]) -> list[Effect]:
    return [RemoveTag(tag) for tag in params.tags]
