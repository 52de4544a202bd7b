"""Pinyin of Chinese words, for searching and comparing by sound.

The dictionary takes 0.4 s and 60 MB to load, which a process that only answers pushes need not spend: it
is imported at the first use.
"""

from functools import cache
from importlib import import_module
from typing import Any


def syllables(text: str) -> list[str]:
    """One syllable a character, without tones; what is no Chinese stays as it is."""
    found: list[str] = _library().lazy_pinyin(text)
    return found


def initials(text: str) -> str:
    """The first letters of the syllables."""
    library = _library()
    return "".join(library.lazy_pinyin(text, style=library.Style.FIRST_LETTER))


def readings(text: str) -> list[list[str]]:
    """The reading of each character, without tones."""
    library = _library()
    found: list[list[str]] = library.pinyin(text, style=library.Style.NORMAL)
    return found


@cache
def _library() -> Any:
    return import_module("pypinyin")
