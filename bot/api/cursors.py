"""Cursors: where the next page of a list begins, signed, and good for this list and these filters alone."""

import base64
import binascii
import json
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

from bot import secrets
from bot.api.frame import Call, Page, Told
from bot.errors import Invalid

PURPOSE = "api-cursor"
SIGNATURE = 10  # bytes

T = TypeVar("T")
Row = TypeVar("Row")


class Listing(Told, Generic[T]):
    """One page of a list; ``next`` is the cursor of the page after, null at the end."""

    items: list[T]
    next: str | None


def made(call: Call, query: Page, position: Any) -> str:
    """A cursor for ``position``, plain JSON, of the list that is being answered."""
    packed = json.dumps(position, separators=(",", ":"), ensure_ascii=False).encode()
    return base64.urlsafe_b64encode(_sign(call, query, packed) + packed).rstrip(b"=").decode()


def position(call: Call, query: Page) -> Any:
    """Where the asked page begins: what ``made`` was given, or None for the first page.

    Raises:
        Invalid: the cursor is not one of ours, or of another list.
    """
    if query.cursor is None:
        return None
    try:
        text = query.cursor.encode("ascii")
        whole = base64.b64decode(text + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (UnicodeEncodeError, binascii.Error):
        raise Invalid("cursor", "is not a cursor of this list") from None
    signature, packed = whole[:SIGNATURE], whole[SIGNATURE:]
    message = _message(call, query, packed)
    if not secrets.signed(call.rt.secret_key, PURPOSE, message, signature, SIGNATURE):
        raise Invalid("cursor", "is not a cursor of this list")
    return json.loads(packed)


def page(
    call: Call,
    query: Page,
    rows: Sequence[Row],
    told: Callable[[Row], T],
    place: Callable[[Row], Any],
) -> Listing[T]:
    """A page of rows of which one more than ``limit`` was asked for; ``place`` is the cursor's position of a row."""
    shown = rows[: query.limit]
    more = len(rows) > query.limit
    following = made(call, query, place(shown[-1])) if more and shown else None
    return Listing[Any](items=[told(row) for row in shown], next=following)


def slice_of(call: Call, query: Page, every: Sequence[Row], told: Callable[[Row], T]) -> Listing[T]:
    """A page of a list that is small enough to be read whole; the position is a number of entries."""
    begin = position(call, query) or 0
    end = begin + query.limit
    following = made(call, query, end) if end < len(every) else None
    return Listing[Any](items=[told(row) for row in every[begin:end]], next=following)


def _sign(call: Call, query: Page, packed: bytes) -> bytes:
    return secrets.sign(call.rt.secret_key, PURPOSE, _message(call, query, packed), SIGNATURE)


def _message(call: Call, query: Page, packed: bytes) -> bytes:
    filters = query.model_dump(mode="json", exclude={"cursor", "limit"})
    about = json.dumps([call.path, filters], sort_keys=True, ensure_ascii=False)
    return about.encode() + b"\n" + packed
