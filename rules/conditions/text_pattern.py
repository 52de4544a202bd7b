"""The whole text fits a pattern with ``*``; what each star stands for is captured as 1, 2 …"""

from functools import cached_property
from typing import Annotated

from pydantic import AfterValidator, StringConstraints

from bot.params import Params as Declared
from rules.facts import Facts
from rules.needs import CONTAINS, EXACT, STARTS, Needs
from rules.pattern import MAX_LENGTH, Glob, captures_of, glob
from rules.text import fold_words

NAME = "text_pattern"
LABEL = {"zh": "文字符合通配", "en": "Text fits a pattern"}


def _not_blank(pattern: str) -> str:
    if not fold_words(pattern):
        raise ValueError("the pattern is only spaces")
    return pattern


class Params(Declared):
    pattern: Annotated[
        str,
        StringConstraints(min_length=1, max_length=MAX_LENGTH),
        AfterValidator(_not_blank),
    ]

    @cached_property
    def glob(self) -> Glob:
        """The pattern as it is compared."""
        return glob(self.pattern)


def matches(params: Params, facts: Facts) -> dict[str, str] | None:
    return captures_of(params.glob, facts.text) if facts.text.strip() else None


def words(params: Params) -> Needs | None:
    parts = params.glob.parts
    if len(parts) == 1:
        return Needs(EXACT, parts)
    longest = max(parts, key=len)
    if not longest:
        return None
    return Needs(STARTS if longest is parts[0] else CONTAINS, (longest,))
