"""The follower has a tag, or lacks it, as before this push."""

from pydantic import model_validator

from bot.params import Params as Declared
from bot.params import TagName
from rules.facts import Facts
from rules.needs import TAG, Needs

NAME = "follower_tag"
LABEL = {"zh": "粉丝标签", "en": "Follower's tag"}


class Params(Declared):
    has: TagName | None = None
    lacks: TagName | None = None

    @model_validator(mode="after")
    def _one(self) -> "Params":
        if (self.has is None) == (self.lacks is None):
            raise ValueError("needs exactly one of has and lacks")
        return self


def matches(params: Params, facts: Facts) -> dict[str, str] | None:
    if params.has is not None:
        return {} if params.has in facts.tags else None
    return {} if params.lacks not in facts.tags else None


def words(params: Params) -> Needs | None:
    return Needs(TAG, (params.has,)) if params.has is not None else None
