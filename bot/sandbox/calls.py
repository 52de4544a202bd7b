"""One API call as the endpoints see it, the table they register in, and checks they share."""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from bot.sandbox.accounts import Account
from bot.sandbox.refusal import Refusal
from bot.sandbox.state import Row
from bot.sandbox.world import World, follower

Json = dict[str, Any]
# \uXXXX in a body is refused: 40033. Source: docs/wechat-limits.md, first paragraph, and 13
_ESCAPES = re.compile(rb"(?<!\\)(?:\\\\)*\\u[0-9a-fA-F]{4}")


@dataclass(frozen=True)
class File:
    name: str
    body: bytes


@dataclass(frozen=True)
class Call:
    """``account`` is the one of the access_token; calls without a token get it from their own words."""

    path: str
    method: str
    args: Mapping[str, str]
    body: bytes
    form: Mapping[str, str]
    files: Mapping[str, File]
    cookies: Mapping[str, str]
    account: Account | None
    answer_lost: bool  # a fault will swallow the answer after the work

    @property
    def me(self) -> Account:
        """The account of a call that came with a token."""
        assert self.account is not None
        return self.account

    def json(self) -> Json:
        """The body.

        Raises:
            Refusal: 44002 empty, 40033 escaped, 47001 not a JSON object.
        """
        if not self.body.strip():
            raise Refusal(44002)
        if _ESCAPES.search(self.body):
            raise Refusal(40033)
        try:
            value = json.loads(self.body)
        except ValueError as error:
            raise Refusal(47001) from error
        if not isinstance(value, dict):
            raise Refusal(47001)
        return value


@dataclass(frozen=True)
class Raw:
    """An answer that is not JSON."""

    body: bytes
    content_type: str = "text/plain; charset=utf-8"
    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Endpoint:
    work: Callable[[World, Call], Json | Raw]
    method: str  # GET, POST or ANY
    needs: str | None  # a capability of section 15
    quota: str | None  # a name in limits.DAILY or limits.PER_MINUTE
    token: bool


ENDPOINTS: dict[str, Endpoint] = {}
Work = Callable[[World, Call], Json | Raw]


def endpoint(
    path: str,
    method: str = "POST",
    *,
    needs: str | None = "basic",
    quota: str | None = None,
    token: bool = True,
) -> Callable[[Work], Work]:
    """Register a function as the API behind ``path``."""

    def register(work: Work) -> Work:
        ENDPOINTS[path] = Endpoint(work, method, needs, quota, token)
        return work

    return register


def ok(**more: Any) -> Json:
    return {"errcode": 0, "errmsg": "ok", **more}


def known(world: World, account: Account, open_id: Any) -> Row:
    """The follower, present or gone.

    Raises:
        Refusal: 40003 this account never met that OpenID.
    """
    row = follower(world, account.id, open_id) if isinstance(open_id, str) and open_id else None
    if row is None:
        raise Refusal(40003)
    return row


def present(world: World, account: Account, open_id: Any) -> Row:
    """The follower, following now.

    Raises:
        Refusal: 40003 unknown, 43004 has left.
    """
    row = known(world, account, open_id)
    if not row["subscribed"]:
        raise Refusal(43004)
    return row


def text_of(
    body: Json, kind: str, field: str, *, empty: int = 44004, limit: int | None = None
) -> str:
    """``body[kind][field]`` as a filled text of at most ``limit`` bytes of UTF-8.

    Raises:
        Refusal: 40008 the payload of the type is missing, ``empty`` when blank, 45002 too long.
    """
    payload = body.get(kind)
    if not isinstance(payload, dict):
        raise Refusal(40008, "invalid message type")
    text = payload.get(field)
    if not isinstance(text, str) or not text:
        raise Refusal(empty)
    if limit is not None and len(text.encode()) > limit:
        raise Refusal(45002)
    return text
