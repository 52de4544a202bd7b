"""Pushing to an account's callback: XML, signature, cipher, repeats, and reading the answer."""

import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from bot.sandbox import crypto, media, replies
from bot.sandbox.accounts import Account
from bot.sandbox.limits import PUSH_REPEATS, UNAVAILABLE_LINE
from bot.sandbox.refusal import Refusal
from bot.sandbox.world import World, follower, secret, show

KEEP_PUSHES = 2_000  # ours: the newest, for looking at
# nothing is written into the chat of the follower when these fail: they are not in it
SILENT = {"unsubscribe", "VIEW", "LOCATION", "MASSSENDJOBFINISH", "TEMPLATESENDJOBFINISH"}


def _element(name: str, value: Any) -> str:
    if isinstance(value, dict):
        return f"<{name}>{''.join(_element(*pair) for pair in value.items())}</{name}>"
    if isinstance(value, list):
        return "".join(_element(name, item) for item in value)
    if isinstance(value, int | float):
        return f"<{name}>{value}</{name}>"
    text = str(value).replace("]]>", "]]]]><![CDATA[>")
    return f"<{name}><![CDATA[{text}]]></{name}>"


def xml(fields: dict[str, Any]) -> str:
    """Numbers bare, texts in CDATA, lists as repeated elements. Source: docs/wechat-limits.md 2"""
    return f"<xml>{''.join(_element(*pair) for pair in fields.items())}</xml>"


@dataclass(frozen=True)
class Outcome:
    """What came of a push: answered, empty, failed (no good answer in all attempts), bad_reply, no_callback."""

    outcome: str
    why: str
    attempts: int
    reply: dict[str, Any] | None


def sealed(account: Account, fields: dict[str, Any], now: float) -> tuple[str, bytes]:
    """Query and body of one delivery in the account's mode. Source: docs/wechat-limits.md 1"""
    timestamp, nonce = str(int(now)), str(int(secret(8), 16))
    query = {
        "signature": crypto.sign(account.token, timestamp, nonce),
        "timestamp": timestamp,
        "nonce": nonce,
        "openid": fields["FromUserName"],
    }
    plain = xml(fields)
    if account.mode == "plain":
        return urlencode(query), plain.encode()
    text = crypto.encrypt(
        account.aes_key or "", account.app_id, plain.encode(), secret(16).encode()
    )
    query |= {
        "encrypt_type": "aes",
        "msg_signature": crypto.sign(account.token, timestamp, nonce, text),
    }
    if account.mode == "safe":
        return urlencode(query), xml({"ToUserName": fields["ToUserName"], "Encrypt": text}).encode()
    return urlencode(query), xml({**fields, "Encrypt": text}).encode()


def _own_media(world: World, account: Account, reply: dict[str, Any] | None) -> None:
    """Raises: replies.BadReply: the reply names media this account does not have."""
    media_id = (reply or {}).get("media_id")
    if media_id is None:
        return
    try:
        media.find(world, account, media_id)
    except Refusal as refusal:
        raise replies.BadReply(
            f"media_id is unknown or has expired: {refusal.errcode}"
        ) from refusal


def _deliver(world: World, account: Account, fields: dict[str, Any]) -> Outcome:
    url = account.callback_url
    if world.deliver is None or not url:
        return Outcome("no_callback", "", 0, None)
    why = ""
    for attempt in range(1, PUSH_REPEATS + 2):
        if attempt > 1 and world.pause is not None:
            world.pause(1.0)
        query, body = sealed(account, fields, world.now())
        try:
            status, answer = world.deliver(
                f"{url}{'&' if '?' in url else '?'}{query}", body, "text/xml; charset=utf-8"
            )
        except OSError as error:  # refused, dropped or slower than 5 s
            why = f"no answer: {type(error).__name__}"
            continue
        if status != 200:
            why = f"HTTP {status}"
            continue
        try:
            reply = replies.read(account, fields, answer)
            _own_media(world, account, reply)
        except replies.BadReply as error:
            return Outcome("bad_reply", str(error), attempt, None)
        return Outcome("empty" if reply is None else "answered", "", attempt, reply)
    return Outcome("failed", why, PUSH_REPEATS + 1, None)


def push(world: World, account: Account, fields: dict[str, Any]) -> Outcome:
    """Deliver one message or event, and put what the follower sees into their chat.

    Never called inside a transaction: the account calls the API while it answers.
    """
    outcome = _deliver(world, account, fields)
    open_id = fields["FromUserName"]
    kind = fields.get("Event") or fields["MsgType"]
    with world.store.writing():
        number = world.store.insert(
            "INSERT INTO pushes (account_id, open_id, kind, at, attempts, outcome, why, body)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            account.id,
            open_id,
            kind,
            world.now(),
            outcome.attempts,
            outcome.outcome,
            outcome.why,
            json.dumps(fields, ensure_ascii=False),
        )
        if number % 500 == 0:
            world.store.run("DELETE FROM pushes WHERE id <= ?", number - KEEP_PUSHES)
        if outcome.reply is not None:
            row = follower(world, account.id, open_id)
            if row is not None and row["subscribed"]:
                show(world, account.id, open_id, "reply", outcome.reply)
        elif outcome.outcome in ("failed", "bad_reply") and kind not in SILENT:
            line = {"type": "text", "text": UNAVAILABLE_LINE, "why": outcome.why}
            show(world, account.id, open_id, "system", line)
    return outcome


def verify_url(world: World, account: Account) -> bool:
    """The GET of the console when a callback is saved. Source: docs/wechat-limits.md 1"""
    if world.deliver is None or not account.callback_url:
        return False
    timestamp, nonce, echo = str(int(world.now())), str(int(secret(8), 16)), secret(18)
    query = urlencode(
        {
            "signature": crypto.sign(account.token, timestamp, nonce),
            "timestamp": timestamp,
            "nonce": nonce,
            "echostr": echo,
        }
    )
    url = account.callback_url
    try:
        status, body = world.deliver(f"{url}{'&' if '?' in url else '?'}{query}", b"", "")
    except OSError:
        return False
    return status == 200 and body == echo.encode()
