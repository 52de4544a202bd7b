"""Puts what a pattern caught into a content: ``{1}``, ``{name}``. Fields of the follower stay for later."""

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

_PLACE = re.compile(r"\{([^{}|]{1,60})(?:\|([^{}]{0,60}))?\}")
_ADDRESSES = frozenset({"url", "hq_url", "image"})
# a follower who writes {phone} must get these letters back, not the field
_BRACES = str.maketrans("{}", "｛｝")


def fill(content: dict[str, Any], captures: Mapping[str, str]) -> dict[str, Any]:
    """The content with captures in place; the same object where there are none."""
    if not captures:
        return content
    filled: dict[str, Any] = _fill(content, captures, "")
    return filled


def fill_text(text: str, captures: Mapping[str, str], key: str = "") -> str:
    """One text; an empty capture gives way to the default behind ``|``. In an address it is percent-encoded."""

    def put(found: re.Match[str]) -> str:
        name = found[1].strip()
        if name not in captures:
            return found[0]
        value = captures[name] or found[2] or ""
        return quote(value, safe="") if key in _ADDRESSES else value.translate(_BRACES)

    return _PLACE.sub(put, text) if "{" in text else text


def _fill(value: Any, captures: Mapping[str, str], key: str) -> Any:
    if isinstance(value, str):
        return fill_text(value, captures, key)
    if isinstance(value, dict):
        return {name: _fill(item, captures, name) for name, item in value.items()}
    return value
