"""Parameters of the conditions that compare the text with words: the words, and the words folded once."""

from functools import cached_property
from typing import Annotated

from pydantic import AfterValidator

from bot.params import Params, Words
from rules.text import fold_words


def _not_blank(words: list[str]) -> list[str]:
    for word in words:
        if not word.strip():
            raise ValueError(f"'{word}' is only spaces")
    return words


class Keywords(Params):
    any: Annotated[Words, AfterValidator(_not_blank)]

    @cached_property
    def folded(self) -> tuple[str, ...]:
        """The words as they are compared."""
        return tuple(dict.fromkeys(fold_words(word) for word in self.any))
