"""Ways to reach a follower (渠道): one module each, found by its ``NAME``.

A channel defines ``NAME LABEL CONTENT_KINDS``, ``blocked(candidate, content, now) -> str | None`` (the reason word)
and ``send(wechat, item) -> dict`` (the receipt). ``SERIAL = True``: one call of an account after another, within the
platform's limits of mass calls. ``REPEAT_WITHOUT_ANSWER = True``: the call carries an id of its own, so that it may
be made again when no answer came. ``ACCOUNT_KINDS`` and ``MESSAGE_CLASSES``: which accounts have it and what
it may carry; all, where a channel does not say. ``BULK = True``: one message a follower by one call,
so that many leave at once; it also defines ``request(item) -> (path, payload)``, pure, and ``receipt(answer)``.
``APART = True``: the outbox does not send its rows, a task of
the channel's own does, because it needs what an account keeps secret.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from types import ModuleType
from typing import Any


def unfit(channel: ModuleType, account_kind: str, message_class: str) -> str | None:
    """Why an account cannot send this class of message by a channel, as a sentence; None: it can."""
    kinds = getattr(channel, "ACCOUNT_KINDS", None)
    if kinds is not None and account_kind not in kinds:
        return f"{channel.NAME} is for accounts of kind {', '.join(kinds)}"
    classes = getattr(channel, "MESSAGE_CLASSES", None)
    if classes is not None and message_class not in classes:
        return f"{channel.NAME} carries no {message_class} message: the platform punishes it"
    return None


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
