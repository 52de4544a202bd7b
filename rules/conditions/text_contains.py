"""The text contains one of the words."""

from rules.facts import Facts
from rules.keywords import Keywords as Params
from rules.needs import CONTAINS, Needs
from rules.text import fold

NAME = "text_contains"
LABEL = {"zh": "文字包含", "en": "Text contains"}


def matches(params: Params, facts: Facts) -> dict[str, str] | None:
    text = fold(facts.text)
    return {} if any(word in text for word in params.folded) else None


def words(params: Params) -> Needs:
    return Needs(CONTAINS, params.folded)
