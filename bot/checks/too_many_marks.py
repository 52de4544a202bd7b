"""Rows of exclamation marks and texts that are mostly emoji: they look like spam to readers and to the platform."""

import re
import unicodedata
from collections.abc import Mapping
from typing import Any

from bot.checks import WARNING, Finding
from bot.checks._texts import texts

NAME = "too_many_marks"
LABEL = {"zh": "符号过多", "en": "Too many marks"}

# Source: our choice. Three marks in a row are a shout; a text of which more than half is pictures says little.
_ROW = re.compile(r"[!！?？]{3,}|[~～]{4,}|([^\w\s])\1{4,}")
_PICTURES, _FROM = 0.5, 4
_LAYOUT = "-—_=.。·…─━*•"


def findings(content: Mapping[str, Any], place: str) -> list[Finding]:
    """Every row of marks, and every text that is mostly pictures."""
    found = []
    for text in texts(content, place):
        signs = [letter for letter in text.letters if not letter.isspace()]
        pictures = sum(unicodedata.category(sign) == "So" for sign in signs)
        if pictures >= _FROM and pictures > _PICTURES * len(signs):
            found.append(_finding(text.place, text.written, 0, len(text.written)))
            continue
        for row in _ROW.finditer(text.written):
            # rules drawn with dashes and dots are a layout, not a shout
            if row[0][0] not in _LAYOUT:
                found.append(_finding(text.place, row[0], row.start(), row.end()))
    return found


def _finding(place: str, found: str, start: int, end: int) -> Finding:
    return Finding(
        NAME,
        WARNING,
        place,
        found,
        "一连串符号或满屏表情像垃圾信息，读的人少，被举报的多。",
        "每处最多留一个感叹号，表情留一两个。",
        start,
        end,
        why_en="Rows of marks and screens of emoji look like spam.",
        suggestion_en="One exclamation mark a place, one or two emoji a text.",
    )
