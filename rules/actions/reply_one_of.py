"""Answer with one of several contents, chosen by a hash of push and rule: a replay says the same."""

from collections.abc import Mapping
from hashlib import sha256
from typing import Annotated

from pydantic import Field

from bot.content import Content
from bot.params import Params as Declared
from rules.captures import fill
from rules.contents import plain
from rules.effects import Effect, Reply
from rules.facts import Facts

NAME = "reply_one_of"
LABEL = {"zh": "随机回复一条", "en": "Reply with one of"}
NEEDS_RULE = True


class Params(Declared):
    choices: Annotated[list[Content], Field(min_length=1, max_length=100)]


def plan(params: Params, facts: Facts, captures: Mapping[str, str], rule: str) -> list[Effect]:
    digest = sha256(f"{facts.push_key}\n{rule}".encode()).digest()
    choice = params.choices[int.from_bytes(digest[:8], "big") % len(params.choices)]
    return [Reply(fill(plain(choice), captures))]
