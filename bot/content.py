"""Kinds of message content, their limits, and ``{placeholders}``. Pure: no files, no uploads.

A content travels as plain JSON with one key, its kind: ``{"text": "你好"}``. ``parse`` checks it,
``render`` fills placeholders for one follower.
"""

import re
from collections.abc import Callable, Mapping
from typing import Annotated, Any

from pydantic import Field, StringConstraints, ValidationError, model_validator

from bot import notice_values
from bot.errors import Invalid
from bot.params import Params

# Texts beyond 2,048 bytes were refused by the old page and today's says nothing; the web editor
# stops at 600 characters. Source: docs/wechat-limits.md 3, 8 and 9 (read 2026-11):
# unsure, so the stricter of both holds everywhere.
TEXT_BYTES = 2048
TEXT_CHARACTERS = 600

# Source of all: docs/wechat-limits.md 8 to 10 (read 2026-11); where pages disagree, the stricter
ARTICLE_TITLE = 32  # characters
ARTICLE_AUTHOR = 8
ARTICLE_DIGEST = 120
ARTICLE_CHARACTERS = 20_000  # of HTML, and fewer than that
ARTICLE_BYTES = 1 << 20
MENU_ITEMS = 10  # unsure: no page says how many a menu message has
MENU_ITEM_CHARACTERS = 60  # unsure, as that

REPLY, CUSTOMER_SERVICE, MASS = "reply", "customer_service", "mass"
TEMPLATE, SUBSCRIPTION, WEBHOOK = "template", "subscription", "webhook"
# one body serves everybody there, so nothing in it may differ from follower to follower
SHARED = (MASS,)
Json = dict[str, Any]
_PLACE = re.compile(r"\{([^{}|]{1,60})(?:\|([^{}]{0,60}))?\}")
# an address, or a tracked link that is filled in for each follower
_ADDRESS = re.compile(r"^(https?://[^\s<>\"']+|\{link:[^{}]+\})$")
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
        if not _ADDRESS.match(self.url):
            raise ValueError("url must begin with http:// or https://, or be {link:name}")
        return self


class Draft(Params):
    """An article (图文) as it is written here. Pictures in ``html`` are ``material:<name>`` or the platform's own."""

    title: str = Field(min_length=1, max_length=ARTICLE_TITLE)
    author: str = Field("", max_length=ARTICLE_AUTHOR)
    digest: str = Field("", max_length=ARTICLE_DIGEST)
    html: str = Field(min_length=1, max_length=ARTICLE_CHARACTERS - 1)
    cover: Media
    source_url: WebAddress | None = None

    @model_validator(mode="after")
    def _size(self) -> "Draft":
        size = len(self.html.encode())
        if size >= ARTICLE_BYTES:
            raise ValueError(f"the article has {size:,} bytes, fewer than 1 MB are allowed")
        return self


class Article(Params):
    """An article: written here as ``draft``, one of the library by name or id, or a draft of the platform."""

    draft: Draft | None = None
    media_id: str | None = Field(None, min_length=1, max_length=128)
    article: str | int | None = None

    @model_validator(mode="after")
    def _exactly_one(self) -> "Article":
        given = (self.draft, self.media_id, self.article)
        if sum(value is not None for value in given) != 1:
            raise ValueError("needs exactly one of draft, media_id and article")
        return self


class MiniProgram(Params):
    """A card that opens a mini program, which must be linked to the account."""

    title: Title
    app_id: str = Field(pattern=r"^wx[0-9a-f]{16}$")
    page: str = Field(min_length=1, max_length=1024)
    cover: Media


class MenuItem(Params):
    id: str = Field(pattern=r"^[0-9A-Za-z_-]{1,32}$")
    text: str = Field(min_length=1, max_length=MENU_ITEM_CHARACTERS)


class MenuMessage(Params):
    """A question with answers to tap. An answer opens the one-minute window only."""

    head: str = Field("", max_length=TEXT_CHARACTERS)
    items: list[MenuItem] = Field(min_length=1, max_length=MENU_ITEMS)
    tail: str = Field("", max_length=TEXT_CHARACTERS)

    @model_validator(mode="before")
    @classmethod
    def _numbered(cls, value: Any) -> Any:
        """Items may be plain texts: they are numbered from 1."""
        if not isinstance(value, Mapping) or not isinstance(value.get("items"), list):
            return value
        items = [
            {"id": str(number), "text": item} if isinstance(item, str) else item
            for number, item in enumerate(value["items"], start=1)
        ]
        return {**value, "items": items}

    @model_validator(mode="after")
    def _ids_differ(self) -> "MenuMessage":
        if len({item.id for item in self.items}) < len(self.items):
            raise ValueError("two items have the same id")
        return self


class MiniProgramPage(Params):
    app_id: str = Field(pattern=r"^wx[0-9a-f]{16}$")
    page: str = Field("", max_length=1024)


class Notice(Params):
    """A template message or subscription notice: the template's id and a value for each of its places.

    ``link`` is the name of a tracked link, the short way to write ``url: "{link:name}"``; where a mini
    program is named too, the platform opens that.
    """

    template: str = Field(min_length=1, max_length=128)
    data: dict[str, str] = Field(min_length=1, max_length=notice_values.MOST_VALUES)
    url: str | None = Field(None, max_length=1024)
    mini_program: MiniProgramPage | None = None

    @model_validator(mode="before")
    @classmethod
    def _link_is_an_address(cls, value: Any) -> Any:
        if not isinstance(value, Mapping) or "link" not in value:
            return value
        if value.get("url") is not None:
            raise ValueError("needs at most one of url and link")
        return {key: item for key, item in value.items() if key != "link"} | {
            "url": f"{{link:{value['link']}}}"
        }

    @model_validator(mode="after")
    def _fits(self) -> "Notice":
        if self.url is not None and not _ADDRESS.match(self.url):
            raise ValueError("url must begin with http:// or https://, or be {link:name}")
        # what a follower without any field would get: a value without a default could be empty
        shown = {
            key: _PLACE.sub(lambda found: found[2] or "", text) for key, text in self.data.items()
        }
        wrong = notice_values.problems(shown)
        if wrong:
            raise ValueError(wrong[0])
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


class Message(Content):
    """What we may send by ourselves: the kinds of an answer, and those that are no answer."""

    article: Article | None = None
    mini_program: MiniProgram | None = None
    menu_message: MenuMessage | None = None
    notice: Notice | None = None


ALLOWED_AS = {
    "text": (REPLY, CUSTOMER_SERVICE, MASS, WEBHOOK),
    "image": (REPLY, CUSTOMER_SERVICE, MASS),
    "voice": (REPLY, CUSTOMER_SERVICE, MASS),
    "video": (REPLY, CUSTOMER_SERVICE, MASS),
    "music": (REPLY, CUSTOMER_SERVICE),
    "news": (REPLY, CUSTOMER_SERVICE),
    "article": (CUSTOMER_SERVICE, MASS),
    "mini_program": (CUSTOMER_SERVICE,),
    "menu_message": (CUSTOMER_SERVICE,),
    "notice": (TEMPLATE, SUBSCRIPTION),
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
        content = Message.model_validate(value)
    except ValidationError as error:
        item = error.errors(include_url=False, include_input=False)[0]
        where = ".".join([place, *(str(part) for part in item["loc"])])
        raise Invalid(where, item["msg"].removeprefix("Value error, ")) from None
    canonical: Json = content.model_dump(mode="json", exclude_none=True, exclude_defaults=True)
    for use in allowed_as:
        if use not in ALLOWED_AS[kind_of(canonical)]:
            raise Invalid(place, f"{kind_of(canonical)} cannot be sent as {use}")
    if any(use in SHARED for use in allowed_as):
        _check_mass_placeholders(canonical, place)
    return canonical


def kind_of(content: Mapping[str, Any]) -> str:
    """The one key of a content."""
    return next(iter(content))


def placeholders(content: Mapping[str, Any]) -> set[str]:
    """Names inside ``{…}``: fields, and links as ``link:name``. An article has none: one page serves everybody."""
    if "article" in content:
        return set()
    return {found[1].strip() for text in _texts(content) for found in _PLACE.finditer(text)}


def link_names(content: Mapping[str, Any]) -> set[str]:
    """Names of the tracked links a content uses."""
    return {name[5:].strip() for name in placeholders(content) if name.startswith("link:")}


def media_of(content: Mapping[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """(material kind, reference) for every file or media_id a content needs."""
    return [(kind, reference) for kind, _place, reference in _media_places(content)]


def with_media(content: Mapping[str, Any], references: list[dict[str, Any]]) -> Json:
    """The content with its materials, in the order of ``media_of``, replaced by these references."""
    changed: Json = dict(content)
    for (_kind, place, _old), new in zip(_media_places(content), references, strict=True):
        changed = _put(changed, place, new)
    return changed


def template_of(content: Mapping[str, Any]) -> str:
    """The template a notice is sent with; "" for every other content."""
    notice = content.get("notice")
    return str(notice.get("template", "")) if isinstance(notice, Mapping) else ""


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

    if "article" in content:  # its HTML may hold braces that mean nothing
        return dict(content)
    filled: Json = _map_texts(dict(content), lambda text: _PLACE.sub(fill, text))
    if "text" in filled:
        filled["text"] = _cut(filled["text"])
    if "notice" in filled:
        data = filled["notice"].get("data", {})
        fitted = {key: notice_values.fitted(key, value) for key, value in data.items()}
        filled["notice"] = {**filled["notice"], "data": fitted}
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
    if isinstance(value, list):
        return [text for item in value for text in _texts(item)]
    return []


def _map_texts(value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, Mapping):
        return {key: _map_texts(item, change) for key, item in value.items()}
    if isinstance(value, list):
        return [_map_texts(item, change) for item in value]
    return value


def _media_places(content: Mapping[str, Any]) -> list[tuple[str, tuple[str, ...], dict[str, Any]]]:
    """(material kind, where it stands, reference) of every file or media_id a content needs."""
    kind = kind_of(content)
    if kind in ("image", "voice", "video"):
        return [(kind, (kind,), content[kind])]
    if kind == "music":
        return [("thumb", (kind, "thumb"), content[kind]["thumb"])]
    if kind == "mini_program":
        return [("image", (kind, "cover"), content[kind]["cover"])]
    if kind == "article" and "draft" in content[kind]:
        # the platform wants a permanent picture there, and takes an image as well as a thumb
        return [("image", (kind, "draft", "cover"), content[kind]["draft"]["cover"])]
    return []


def _put(value: Mapping[str, Any], place: tuple[str, ...], new: Any) -> Json:
    inner = new if len(place) == 1 else _put(value[place[0]], place[1:], new)
    return {**value, place[0]: inner}


def _cut(text: str) -> str:
    text = text[:TEXT_CHARACTERS]
    return text.encode()[:TEXT_BYTES].decode(errors="ignore")
