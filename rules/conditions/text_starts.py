"""The text starts with one of the words."""

from rules.facts import Facts
from rules.keywords import Keywords as Params
from rules.needs import STARTS, Needs
from rules.text import fold

NAME = "text_starts"
LABEL = {"zh": "文字开头是", "en": "Text starts with"}


def matches(params: Params, facts: Facts) -> dict[str, str] | None:
    return {} if fold(facts.text).startswith(params.folded) else None


def words(params: Params) -> Needs:
    return Needs(STARTS, params.folded)
