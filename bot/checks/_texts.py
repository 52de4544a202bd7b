"""The texts a reader sees in a content and the addresses it leads to, each with its place."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from rules.text import fold_words

# what nobody reads: names of files, numbers, addresses
_UNREAD = {
    "url", "hq_url", "source_url", "image", "thumb", "cover", "media_id", "file", "app_id", "page", "template",
    "template_id", "id", "link", "color", "article",
}  # fmt: skip
_ADDRESSES = {"url", "hq_url", "source_url", "image"}

# in HTML nothing between < and > is read, nor what a browser runs or draws with
_MARKUP = re.compile(r"<(script|style)\b.*?</\1\s*>|<!--.*?-->|<[^>]*>", re.IGNORECASE | re.DOTALL)
_ENTITY = re.compile(r"&(?:[a-z]{2,8}|#\d{1,7}|#x[0-9a-f]{1,6});", re.IGNORECASE)
# {nickname|您}: the default is read, the name is not; {link:券}: none of it
_PLACEHOLDER = re.compile(r"\{(?:link:[^{}]*|[^{}|]{1,60}\|?(?=[^{}]{0,60}\}))|\}")
_INVISIBLE = re.compile(r"[\s\u00ad\u200b-\u200f\u2028-\u202e\u2060-\u2064\ufe00-\ufe0f\ufeff]")
_HREF = re.compile(r"""\b(?:href|src|data-src)\s*=\s*["']?\s*([^"'\s>]+)""", re.IGNORECASE)
_IN_TEXT = re.compile(
    r"(?:https?|ftp)://[^\s<>\"'，。；、！？）】》]+|(?:javascript|data|vbscript|weixin):[^\s<>\"']+",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Text:
    """``written``: as it stands in the content. ``letters``: folded, without spaces, invisible letters, markup and
    placeholders; letter n was written at ``origin[n]``. A line's end stays: words do not go over it."""

    place: str
    written: str
    letters: str
    origin: tuple[int, ...]

    def span(self, start: int, end: int) -> tuple[int, int]:
        """Where letters ``start`` to ``end`` were written."""
        return self.origin[start], self.origin[end - 1] + 1


def texts(content: Mapping[str, Any], place: str) -> Iterator[Text]:
    """Every text somebody reads, in the order of the content."""
    for path, key, value in _strings(content, place, ""):
        if key not in _UNREAD:
            yield _text(path, value, key == "html")


def addresses(content: Mapping[str, Any], place: str) -> Iterator[tuple[str, str, int, int]]:
    """(place, address, start, end) of everything that can be tapped or is fetched."""
    for path, key, value in _strings(content, place, ""):
        if key in _ADDRESSES:
            yield path, value, 0, len(value)
            continue
        if key in _UNREAD:
            continue
        seen: set[int] = set()
        if key == "html" or "<a" in value.lower():
            for found in _HREF.finditer(value):
                seen.add(found.start(1))
                yield path, found[1], found.start(1), found.end(1)
        for found in _IN_TEXT.finditer(value):
            if found.start() not in seen:
                yield path, found[0], found.start(), found.end()


def _strings(value: Any, path: str, key: str) -> Iterator[tuple[str, str, str]]:
    """(path, last name that is no number, text)"""
    if isinstance(value, str):
        yield path, key, value
    elif isinstance(value, Mapping):
        for name, item in value.items():
            # an image's own address is read as one; an image that is a file has keys of its own
            yield from _strings(item, f"{path}.{name}" if path else str(name), str(name))
    elif isinstance(value, list | tuple):
        for number, item in enumerate(value):
            yield from _strings(item, f"{path}.{number}" if path else str(number), key)


def _text(place: str, written: str, html: bool) -> Text:
    readable = _blank(_MARKUP, written) if html or "<a" in written.lower() else written
    if html:
        readable = _blank(_ENTITY, readable)
    readable = _blank(_PLACEHOLDER, readable) if "{" in readable else readable
    letters: list[str] = []
    origin: list[int] = []
    for at, letter in enumerate(readable):
        if letter == "\n":
            folded = letter
        elif _INVISIBLE.match(letter):
            continue
        else:
            folded = _folded(letter)
        letters.append(folded)
        origin.extend([at] * len(folded))
    return Text(place, written, "".join(letters), tuple(origin))


def _blank(pattern: re.Pattern[str], text: str) -> str:
    return pattern.sub(lambda found: " " * len(found[0]), text)


@lru_cache(maxsize=8192)
def _folded(letter: str) -> str:
    return fold_words(letter)
