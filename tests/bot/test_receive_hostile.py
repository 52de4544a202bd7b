"""What nobody should send but somebody will: stored and answered, or 4xx, never a 500, on both databases."""

import json
import random
import string
from datetime import datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from flask.testing import FlaskClient

from bot import db, retention
from bot.accounts import Account
from bot.tables.inbox import inbound
from tests import factories, pushes

# what a database cannot compress, so that it meets the limits of an index
NOISE = "".join(random.Random(1).choices(string.ascii_letters + string.digits, k=60_000))


def body(at: datetime, **fields: Any) -> dict[str, Any]:
    return {
        "ToUserName": pushes.GH,
        "FromUserName": factories.open_id(1),
        "CreateTime": int(at.timestamp()),
        "MsgType": "text",
        "Content": "在吗",
        "MsgId": 24_000_000_000_000_001,
    } | fields


def stored(engine: sa.Engine) -> list[Any]:
    with db.reading(engine) as session:
        return list(session.execute(sa.select(inbound)).all())


ODD = {
    "lone surrogate": {"Content": "a\ud800b"},
    "lone surrogate in the OpenID": {"FromUserName": "o\udfffx"},
    "NUL in the text": {"Content": "a\x00b"},
    "NUL in the OpenID": {"FromUserName": "o\x00x"},
    "NUL in a key": {"Con\x00tent": "a"},
    "NUL in the event": {"MsgType": "event", "Event": "CLICK", "EventKey": "a\x00\ud83d"},
    "control characters": {"Content": "\x01\x02\x1b[31m\x7f\x85\u2028\ufeff\uffff"},
    "emoji": {"Content": "😀👩‍👩‍👧‍👦🏳️‍🌈"},
    "long text": {"Content": NOISE},
    "long OpenID": {"FromUserName": NOISE},
    "long MsgId": {"MsgId": NOISE},
    "long event": {"MsgType": "event", "Event": NOISE},
    "long kind": {"MsgType": NOISE},
    "long menu key": {"MsgType": "event", "Event": "CLICK", "EventKey": NOISE},
    "long scene": {"MsgType": "event", "Event": "subscribe", "EventKey": "qrscene_" + NOISE},
    "long scan": {"MsgType": "event", "Event": "SCAN", "EventKey": NOISE},
    "long view": {"MsgType": "event", "Event": "VIEW", "EventKey": NOISE, "MenuId": NOISE[:9]},
    "long job": {"MsgType": "event", "Event": "MASSSENDJOBFINISH", "MsgID": NOISE},
    "huge numbers": {"MsgId": 10**300, "CreateTime": 10**40},
    "negative time": {"CreateTime": -5},
    "not texts": {"MsgId": {"a": 1}, "Content": ["x", {"y": None}], "FromUserName": [1]},
    "location in words": {"MsgType": "location", "Location_X": "nan", "Location_Y": "1e999"},
}


@pytest.mark.parametrize("mode", ["plain", "safe"])
@pytest.mark.parametrize("odd", ODD.values(), ids=ODD)
def test_odd_characters_and_sizes_are_stored_and_answered(
    client: FlaskClient,
    engine: sa.Engine,
    account: Account,
    now: datetime,
    mode: str,
    odd: dict[str, Any],
) -> None:
    _set_mode(engine, mode)
    push = json.dumps(body(now, **odd), ensure_ascii=odd.get("Content") != "😀👩‍👩‍👧‍👦🏳️‍🌈")
    if mode == "safe" and len(push) > 45_000:
        push = push.replace(NOISE, NOISE[:40_000])  # the cipher's text is longer
    for _ in range(2):
        response = pushes.post(client, push, at=now, mode=mode)
        assert (response.status_code, response.data) == (200, b"success"), response.data[:200]
    [row] = stored(engine)
    assert row.status == "done", row.error
    retention.rollup(engine, now + timedelta(days=1))


@pytest.mark.parametrize(
    "text",
    [
        '{"a":' * 5_000 + "1" + "}" * 5_000,
        "[" * 30_000,
        "{" + "[" * 30_000,
        "<xml>" + "<a>" * 5_000,
        "<xml><FromUserName>&#0;</FromUserName></xml>",
        "<xml><FromUserName>&#xD800;</FromUserName></xml>",
        "<xml><FromUserName>a\x00b</FromUserName></xml>",
        '{"FromUserName": "' + "\x00" * 10,
    ],
)
@pytest.mark.sqlite
def test_what_is_no_document_is_refused(
    client: FlaskClient, engine: sa.Engine, account: Account, now: datetime, text: str
) -> None:
    _set_mode(engine, "plain")
    assert 400 <= pushes.post(client, text, at=now, mode="plain").status_code < 500
    assert stored(engine) == []


def _set_mode(engine: sa.Engine, mode: str) -> None:
    with db.writing(engine) as session:
        session.execute(sa.text("UPDATE accounts SET mode = :mode"), {"mode": mode})
