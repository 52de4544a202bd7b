"""A regular expression (RE2) is found in the text; groups are captured by number and by name."""

from functools import cached_property
from typing import Annotated, Any

from pydantic import AfterValidator, StringConstraints

from bot.params import Params as Declared
from rules.facts import Facts
from rules.literals import needed_literals
from rules.needs import CONTAINS, REGEX, Needs
from rules.pattern import MAX_LENGTH, compile_regex, folded_expression, regex_captures

NAME = "text_regex"
LABEL = {"zh": "文字符合正则", "en": "Text matches an expression"}


def _compiles(expression: str) -> str:
    compile_regex(expression)
    return expression


class Params(Declared):
    pattern: Annotated[
        str,
        StringConstraints(min_length=1, max_length=MAX_LENGTH),
        AfterValidator(_compiles),
    ]

    @cached_property
    def compiled(self) -> Any:
        """The expression as RE2 runs it."""
        return compile_regex(self.pattern)


def matches(params: Params, facts: Facts) -> dict[str, str] | None:
    return regex_captures(params.compiled, facts.text) if facts.text.strip() else None


def words(params: Params) -> Needs:
    expression = folded_expression(params.pattern)
    literals = needed_literals(expression)
    return Needs(CONTAINS, literals) if literals else Needs(REGEX, (expression,))
