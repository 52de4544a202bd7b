"""Ways to reach a follower (渠道): one module each, found by its ``NAME``.

A channel defines ``NAME LABEL CONTENT_KINDS``, ``blocked(candidate, content, now) -> str | None`` (the reason word)
and ``send(wechat, item) -> dict`` (the receipt). ``SERIAL = True``: one call of an account after another, within the
platform's limits of mass calls. ``REPEAT_WITHOUT_ANSWER = True``: the call carries an id of its own, so that it may
be made again when no answer came.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True)
class Item:
    """One owed message as a channel sends it. ``open_id``: of its follower, looked up just before."""

    id: int
    account_id: int
    channel: str
    purpose: str
    purpose_id: int | None
    follower_id: int | None
    open_id: str | None
    payload: Mapping[str, Any]
    attempts: int
    first_try_at: datetime
    expires_at: datetime | None
