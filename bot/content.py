"""Kinds of message content, their limits, and ``{placeholders}``. Pure: no files, no uploads.

A content travels as plain JSON with one key, its kind: ``{"text": "你好"}``. ``parse`` checks it,
``render`` fills placeholders for one follower.
"""

import re
from collections.abc import Callable, Mapping
from typing import Annotated, Any

from pydantic import Field, StringConstraints, ValidationError, model_validator

from bot.errors import Invalid
from bot.params import Params

# Texts beyond 2,048 bytes were refused by the old page and today's says nothing; the web editor
# stops at 600 characters. Source: docs/wechat-limits.md 3, 8 and 9 (read 2026-11):
# unsure, so the stricter of both holds everywhere.
TEXT_BYTES = 2048
TEXT_CHARACTERS = 600

REPLY, CUSTOMER_SERVICE, MASS = "reply", "customer_service", "mass"
Json = dict[str, Any]
_PLACE = re.compile(r"\{([^{}|]{1,60})(?:\|([^{}]{0,60}))?\}")
WebAddress = Annotated[str, StringConstraints(pattern=r"^https?://[^\s<>\"']+$", max_length=1024)]
Title = Annotated[str, StringConstraints(min_length=1, max_length=64)]


class Media(Params):
    """Material: a file that is uploaded and kept, or an id the platform already knows."""

    file: str | None = Field(None, min_length=1, max_length=255)
    media_id: str | None = Field(None, min_length=1, max_length=128)

    @model_validator(mode="after")
    def _exactly_one(self) -> "Media":
        if (self.file is None) == (self.media_id is None):
            raise ValueError("needs exactly one of file and media_id")
        return self


class Video(Media):
    title: str = Field("", max_length=64)
    description: str = Field("", max_length=120)


class Music(Params):
    title: str = Field("", max_length=64)
    description: str = Field("", max_length=120)
    url: WebAddress | None = None
    hq_url: WebAddress | None = None
    thumb: Media


class News(Params):
    """One article card: replies to a message and customer service both allow exactly one."""

    title: Title
    description: str = Field("", max_length=120)
    url: str = Field(max_length=1024)  # an address, or {link:name}
    image: WebAddress | None = None

    @model_validator(mode="after")
    def _address_or_link(self) -> "News":
        if not re.match(r"^(https?://[^\s<>\"']+|\{link:[^{}]+\})$", self.url):
            raise ValueError("url must begin with http:// or https://, or be {link:name}")
        return self


class Content(Params):
    """Exactly one of the kinds below."""

    text: str | None = None
    image: Media | None = None
    voice: Media | None = None
    video: Video | None = None
    music: Music | None = None
    news: News | None = None

    @model_validator(mode="after")
    def _one_kind(self) -> "Content":
        given = [name for name in type(self).model_fields if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"needs exactly one of {', '.join(type(self).model_fields)}")
        if self.text is not None:
            check_text(self.text)
        return self


ALLOWED_AS = {
    "text": (REPLY, CUSTOMER_SERVICE, MASS),
    "image": (REPLY, CUSTOMER_SERVICE, MASS),
    "voice": (REPLY, CUSTOMER_SERVICE, MASS),
    "video": (REPLY, CUSTOMER_SERVICE, MASS),
    "music": (REPLY, CUSTOMER_SERVICE),
    "news": (REPLY, CUSTOMER_SERVICE),
}


def check_text(text: str) -> None:
    """Raises ValueError where a text is empty or longer than the platform takes."""
    if not text.strip():
        raise ValueError("the text is empty")
    if len(text) > TEXT_CHARACTERS:
        raise ValueError(f"the text has {len(text)} characters, {TEXT_CHARACTERS} are allowed")
    size = len(text.encode())
    if size > TEXT_BYTES:
        raise ValueError(f"the text has {size} bytes of UTF-8, {TEXT_BYTES} are allowed")
    # XML 1.0 has no way to say the other control characters
    if re.search(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]", text):
        raise ValueError("the text has control characters, which cannot be sent")


def parse(value: Any, place: str, allowed_as: tuple[str, ...] = (REPLY,)) -> Json:
    """Check a content and return it in canonical form.

    Raises:
        Invalid: unknown kind, over a limit, or not allowed as what it is for.
    """
    try:
        content = Content.model_validate(value)
    except ValidationError as error:
        item = error.errors(include_url=False, include_input=False)[0]
        where = ".".join([place, *(str(part) for part in item["loc"])])
        raise Invalid(where, item["msg"].removeprefix("Value error, ")) from None
    canonical: Json = content.model_dump(exclude_none=True, exclude_defaults=True)
    for use in allowed_as:
        if use not in ALLOWED_AS[kind_of(canonical)]:
            raise Invalid(place, f"{kind_of(canonical)} cannot be sent as {use}")
    if MASS in allowed_as:
        _check_mass_placeholders(canonical, place)
    return canonical


def kind_of(content: Mapping[str, Any]) -> str:
    """The one key of a content."""
    return next(iter(content))


def placeholders(content: Mapping[str, Any]) -> set[str]:
    """Names inside ``{…}``: fields, and links as ``link:name``."""
    return {found[1].strip() for text in _texts(content) for found in _PLACE.finditer(text)}


def link_names(content: Mapping[str, Any]) -> set[str]:
    """Names of the tracked links a content uses."""
    return {name[5:].strip() for name in placeholders(content) if name.startswith("link:")}


def media_of(content: Mapping[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """(material kind, reference) for every file or media_id a content needs."""
    kind = kind_of(content)
    if kind in ("image", "voice", "video"):
        return [(kind, content[kind])]
    return [("thumb", content["music"]["thumb"])] if kind == "music" else []


def render(
    content: Mapping[str, Any],
    fields: Mapping[str, Any],
    captures: Mapping[str, str] | None = None,
    link: Callable[[str], str] | None = None,
) -> Json:
    """Fill ``{field|default}``, ``{capture}`` and ``{link:name}``; an unknown name without a default becomes nothing.

    Text that grows past the limit is cut at a character, so that the platform never refuses a reply for it.
    """

    def fill(found: re.Match[str]) -> str:
        name, default = found[1].strip(), found[2] or ""
        if name.startswith("link:"):
            return link(name[5:].strip()) if link else ""
        if captures and name in captures:
            return captures[name]
        value = fields.get(name)
        return default if value in (None, "") else str(value)

    filled: Json = _map_texts(dict(content), lambda text: _PLACE.sub(fill, text))
    if "text" in filled:
        filled["text"] = _cut(filled["text"])
    return filled


def _check_mass_placeholders(content: Json, place: str) -> None:
    # one body serves thousands, so nothing in it may differ from one follower to the next
    personal = sorted(name for name in placeholders(content) if not name.startswith("link:"))
    if personal:
        raise Invalid(
            place,
            f"{{{personal[0]}}} differs from follower to follower and cannot stand in mass content",
        )


def _texts(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, Mapping):
        return [text for item in value.values() for text in _texts(item)]
    return []


def _map_texts(value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, Mapping):
        return {key: _map_texts(item, change) for key, item in value.items()}
    return value


def _cut(text: str) -> str:
    text = text[:TEXT_CHARACTERS]
    return text.encode()[:TEXT_BYTES].decode(errors="ignore")
