"""Send a customer-service message after a while, if a window is open then."""

from collections.abc import Mapping

from bot.content import Content
from bot.params import Params as Declared
from bot.params import Seconds
from rules.captures import fill
from rules.contents import plain
from rules.effects import Effect, SendLater
from rules.facts import Facts

NAME = "send_later"
LABEL = {"zh": "稍后发送", "en": "Send later"}


class Params(Declared):
    after: Seconds
    content: Content


def plan(params: Params, facts: Facts, captures: Mapping[str, str]) -> list[Effect]:
    return [SendLater(fill(plain(params.content), captures), params.after)]
