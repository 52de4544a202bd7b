"""What the platform takes as values of a template's places: ``thing1`` is a text of 20 characters, and so on. Pure.

Source: docs/wechat-limits.md 10 (read 2026-11). A wrong value is refused with 47003 when it is sent, to
everybody, so it is refused here when it is written.
"""

import re
from collections.abc import Mapping

THING = 20  # characters
LETTER = 32
CHARACTER_STRING = 32
NUMBER = 32
SYMBOL = 5
PHONE_NUMBER = 17
CAR_NUMBER = 8
PHRASE = 5
NAME_CHINESE, NAME_LETTERS = 10, 20
MOST_VALUES = 20  # ours: no template of the platform has more places
_KEY = re.compile(r"([a-z_]+?)(\d*)")
_CHINESE = r"\u3400-\u9fff\uf900-\ufaff"
# one sign of a currency and up to ten digits, with decimals
_AMOUNT = re.compile(r"[¥￥$€£]?\d{1,10}(\.\d{1,2})?元?")
_DATE = re.compile(
    r"\d{4}(年|-|/|\.)\d{1,2}(月|-|/|\.)\d{1,2}日?([ T]?\d{1,2}:\d{2}(:\d{2})?)?"
    r"|\d{1,2}:\d{2}(:\d{2})?"
)


def kind_of(key: str) -> str:
    """``thing`` of ``thing1``: what decides about the value. Old templates have names of their own."""
    found = _KEY.fullmatch(key)
    return found[1] if found else key


def problem(key: str, value: str) -> str | None:
    """Why the platform would refuse this value in this place, as a sentence; None: it takes it."""
    if not value.strip():
        return f"{key} is empty"
    if "\n" in value or "\r" in value:
        return f"{key} has a line break, which no template shows"
    kind = kind_of(key)
    longest = _LONGEST.get(kind)
    if longest is not None and len(value) > longest:
        return f"{key} has {len(value)} characters, {longest} are allowed"
    pattern = _PATTERNS.get(kind)
    if pattern is not None and not re.fullmatch(pattern[0], value):
        return f"{key} takes {pattern[1]}"
    if kind in ("time", "date"):
        ends = [end.strip() for end in value.split("~")]
        if len(ends) > 2 or not all(_DATE.fullmatch(end) for end in ends):
            return f"{key} takes a date or time such as 2026-11-30 20:30, or two of them with ~"
    if kind == "amount" and not _AMOUNT.fullmatch(value):
        return f"{key} takes an amount such as ¥8.00: one currency sign and up to 10 digits"
    if kind == "name":
        return _name_problem(key, value)
    return None


def fitted(key: str, value: str) -> str:
    """The value cut to what its place takes, so that a long nickname costs nobody a message."""
    value = " ".join(value.split())
    kind = kind_of(key)
    if kind == "name":
        chinese = re.search(f"[{_CHINESE}]", value) is not None
        return value[: NAME_CHINESE if chinese else NAME_LETTERS].rstrip()
    longest = _LONGEST.get(kind)
    if longest is None or len(value) <= longest:
        return value
    # the platform shows an ellipsis where a text was cut; only texts may have one
    return f"{value[: longest - 1].rstrip()}…" if kind == "thing" else value[:longest].rstrip()


def problems(data: Mapping[str, str]) -> list[str]:
    """Every value the platform would refuse, as sentences."""
    return [found for key, value in data.items() if (found := problem(key, value)) is not None]


def _name_problem(key: str, value: str) -> str | None:
    if re.search(f"[{_CHINESE}]", value):
        if len(value) > NAME_CHINESE:
            return f"{key} has {len(value)} characters, {NAME_CHINESE} are allowed with Chinese"
    elif len(value) > NAME_LETTERS:
        return f"{key} has {len(value)} characters, {NAME_LETTERS} letters are allowed"
    return None


_LONGEST = {
    "thing": THING,
    "letter": LETTER,
    "character_string": CHARACTER_STRING,
    "number": NUMBER,
    "symbol": SYMBOL,
    "phone_number": PHONE_NUMBER,
    "car_number": CAR_NUMBER,
    "phrase": PHRASE,
}
_PATTERNS = {
    "letter": ("[A-Za-z]+", "letters only"),
    "character_string": (r"[\x21-\x7e]+", "letters, digits and signs without spaces"),
    "number": (r"-?\d+(\.\d+)?", "a number"),
    "symbol": (r"[^\w\s]+", "signs only"),
    "phone_number": (r"[\d+\- ]+", "digits, + and -"),
    "phrase": (f"[{_CHINESE}]+", "Chinese characters only"),
}
