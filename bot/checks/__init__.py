"""Content checks (内容检查): one module each, found by its ``NAME``. Pure: a text comes in, findings go out.

A check defines ``NAME LABEL``, ``findings(content, place) -> list[Finding]`` and, when it is not for everything,
``applies(message_class, channel) -> bool``; ``channel`` is None where the editor does not know it yet. What is
data, words and patterns, stands in ``packs/<name>.toml``. Finding nothing is no promise: a person reads too.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bot import registry

ERROR, WARNING = "error", "warning"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing found. ``place``: dotted path of the text; ``found``: as written there from ``start`` to ``end``.

    ``error``: whoever sends it risks a fine or the account; ``warning``: look again. ``why`` and ``suggestion``
    are for the operator, in Chinese and in English.
    """

    check: str
    severity: str
    place: str
    found: str
    why: str
    suggestion: str
    start: int = 0
    end: int = 0
    source: str = ""
    why_en: str = ""
    suggestion_en: str = ""


def run(
    content: Mapping[str, Any],
    place: str,
    message_class: str = "marketing",
    channel: str | None = None,
) -> list[Finding]:
    """What every check has to say about a content, errors first, then in the order of the text."""
    found: list[Finding] = []
    for check in registry.members("bot.checks").values():
        applies = getattr(check, "applies", None)
        if applies is None or applies(message_class, channel):
            found += check.findings(content, place)
    return sorted(
        found, key=lambda one: (one.severity != ERROR, one.place, one.start, one.check, one.end)
    )
