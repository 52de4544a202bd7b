"""Problems in the operator's language, beside the fields they belong to."""

from collections.abc import Iterable, Mapping

from bot.console.look import language
from bot.errors import Invalid
from bot.sentences import in_chinese


def told(sentence: str) -> str:
    """A sentence of one of our errors as this operator reads it."""
    return in_chinese(sentence) if language() == "zh" else sentence


def beside(problems: Invalid | Iterable[tuple[str, str]]) -> Mapping[str, str]:
    """Field -> what is wrong with it; of several the first."""
    listed = (
        [(problems.field, problems.message)] if isinstance(problems, Invalid) else list(problems)
    )
    found: dict[str, str] = {}
    for field, message in listed:
        found.setdefault(field, told(message))
    return found
