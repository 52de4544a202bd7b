"""The text is one of the words."""

from rules.facts import Facts
from rules.keywords import Keywords as Params
from rules.needs import EXACT, Needs
from rules.text import fold

NAME = "text_is"
LABEL = {"zh": "文字等于", "en": "Text is"}


def matches(params: Params, facts: Facts) -> dict[str, str] | None:
    return {} if fold(facts.text) in params.folded else None


def words(params: Params) -> Needs:
    return Needs(EXACT, params.folded)
