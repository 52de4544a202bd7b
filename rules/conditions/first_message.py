"""It is the first message this follower ever sent to the account."""

from bot.params import Params
from rules.facts import Facts
from rules.needs import FIRST, Needs

NAME = "first_message"
LABEL = {"zh": "首次发消息", "en": "First message"}


def matches(params: Params, facts: Facts) -> dict[str, str] | None:
    return {} if facts.first_message else None


def words(params: Params) -> Needs:
    return Needs(FIRST, ("",))
