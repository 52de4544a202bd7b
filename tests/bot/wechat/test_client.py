"""Calls: what is sent, what is repeated, and what an operator reads when the platform fails."""

import json
import logging
import socket
import threading
import traceback
from datetime import UTC, datetime
from io import BytesIO
from typing import Any

import pytest
from werkzeug.wrappers import Response

from bot.errors import WeChatError
from bot.wechat import customer_service, media, tags
from bot.wechat.client import WeChat
from bot.wechat.token import MemoryStore
from tests.bot.wechat.conftest import APP_ID, LAN, SECRET, STABLE_TOKEN, Scripted

SEND = "/cgi-bin/message/custom/send"


def failure(wechat: WeChat, path: str = SEND) -> WeChatError:
    with pytest.raises(WeChatError) as caught:
        wechat.call(path, {"touser": LAN})
    return caught.value


def closed_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def hanging_up() -> int:
    """A port that takes one request and closes without an answer."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with listener, listener.accept()[0] as connection:
            connection.recv(65536)

    threading.Thread(target=serve, daemon=True).start()
    return int(listener.getsockname()[1])


def test_connection_closed_without_an_answer_is_unknown(
    platform: Scripted, store: MemoryStore
) -> None:
    wechat = WeChat(APP_ID, SECRET, api_base=platform.url, store=store)
    assert wechat.access_token
    wechat.api_base = f"http://127.0.0.1:{hanging_up()}"
    assert failure(wechat).action == "unknown"
    wechat._http.close()


def test_call_carries_the_token_and_utf8_without_escapes(
    wechat: WeChat, platform: Scripted
) -> None:
    platform.answer(SEND, {"errcode": 0, "errmsg": "ok", "更多": 1})
    assert wechat.call(SEND, {"text": "你好😀\ud800"})["更多"] == 1
    asked = platform.last(SEND)
    assert asked.method == "POST"
    assert asked.args["access_token"].startswith("TOKEN-1-")
    assert asked.body == '{"text": "你好😀?"}'.encode()
    assert platform.last(STABLE_TOKEN).json == {
        "grant_type": "client_credential",
        "appid": APP_ID,
        "secret": SECRET,
        "force_refresh": False,
    }
    assert platform.last(STABLE_TOKEN).args == {}


def test_call_without_payload_is_a_get(wechat: WeChat, platform: Scripted) -> None:
    wechat.call("/cgi-bin/tags/get", params={"a": "1"})
    assert platform.last("/cgi-bin/tags/get").method == "GET"
    assert platform.last("/cgi-bin/tags/get").args["a"] == "1"


def test_token_is_fetched_once_for_many_calls(wechat: WeChat, platform: Scripted) -> None:
    for _ in range(3):
        wechat.call(SEND, {})
    assert platform.paths().count(STABLE_TOKEN) == 1


@pytest.mark.parametrize("code", [40001, 40014, 42001])
def test_token_error_renews_once_and_repeats_once(
    wechat: WeChat, platform: Scripted, code: int
) -> None:
    platform.answer(SEND, {"errcode": code, "errmsg": "no"})
    wechat.call(SEND, {"n": 1})
    calls = [asked for asked in platform.asked if asked.path == SEND]
    assert [call.args["access_token"][:8] for call in calls] == ["TOKEN-1-", "TOKEN-2-"]
    assert calls[0].body == calls[1].body


def test_token_error_that_stays_is_raised_after_one_repeat(
    wechat: WeChat, platform: Scripted
) -> None:
    platform.answer(SEND, *[{"errcode": 40001, "errmsg": "no"}] * 9)
    error = failure(wechat)
    assert (error.errcode, error.action, error.permanent) == (40001, "token", False)
    assert platform.paths().count(SEND) == 2
    assert platform.paths().count(STABLE_TOKEN) == 2


def test_upload_is_sent_whole_when_repeated(wechat: WeChat, platform: Scripted) -> None:
    path = "/cgi-bin/material/add_material"
    platform.answer(path, {"errcode": 42001}, {"media_id": "M", "url": "http://u"})
    picture = b"\x89PNG\r\n\x1a\n" + b"p" * 100_000
    assert media.upload(wechat, "image", "海报.png", picture) == media.Material("M", "http://u")
    uploads = [asked.files["media"] for asked in platform.asked if asked.path == path]
    assert uploads == [("image.png", picture)] * 2


# what the platform answers -> errcode, action, permanent, wait
REFUSALS: list[tuple[int, str, bool, float]] = [
    (-1, "retry", False, 5),
    (45009, "wait", False, 0),
    (45011, "wait", False, 60),
    (45015, "drop", True, 0),
    (45047, "drop", True, 0),
    (48001, "stop", True, 0),
    (40007, "fix", True, 0),
    (987654, "stop", True, 0),
]


@pytest.mark.parametrize(("code", "action", "permanent", "wait"), REFUSALS)
def test_refusal_says_what_to_do(
    wechat: WeChat, platform: Scripted, code: int, action: str, permanent: bool, wait: float
) -> None:
    platform.answer(SEND, {"errcode": code, "errmsg": "words rid: 1-2-3"})
    error = failure(wechat)
    assert (error.errcode, error.action, error.permanent) == (code, action, permanent)
    assert error.wait_seconds == wait or code == 45009
    assert "words rid: 1-2-3" in str(error)
    assert SEND in str(error)
    assert platform.paths().count(SEND) == 1


def test_used_up_quota_waits_until_the_next_day_in_shanghai(
    platform: Scripted, store: MemoryStore
) -> None:
    at = datetime(2025, 3, 3, 15, 0, tzinfo=UTC)  # 23:00 in Shanghai
    wechat = WeChat(APP_ID, SECRET, api_base=platform.url, store=store, now=lambda: at)
    platform.answer(SEND, {"errcode": 45009, "errmsg": "reach max api daily quota limit"})
    assert failure(wechat).wait_seconds == 3600 + 60
    wechat._http.close()


@pytest.mark.parametrize(
    "answer",
    [
        "<html>很抱歉</html>",
        b"",
        b"null",
        b"[]",
        b'"ok"',
        b"{",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"errcode": "soon"}',
        b'{"errcode": null}',
        b'{"errcode": true}',
        b'{"errcode": [0]}',
        b'{"errcode": 1.5}',
        Response("no", status=500),
        Response("no", status=502, content_type="text/html"),
        Response('{"errcode":0}', status=503, content_type="application/json"),
        Response("", status=302, headers={"Location": "http://example.com/"}),
        Response("not here", status=404),
    ],
    ids=str,
)
def test_answer_that_is_none_is_unknown_and_not_repeated(
    wechat: WeChat, platform: Scripted, answer: Any
) -> None:
    platform.answer(SEND, answer)
    error = failure(wechat)
    assert (error.errcode, error.action, error.permanent) == (None, "unknown", False)
    assert platform.paths().count(SEND) == 1


@pytest.mark.parametrize("body", [b'{"errcode":"0"}', b"{}", b'{"a":"\x01\n"}'])
def test_odd_but_readable_answers_are_taken(
    wechat: WeChat, platform: Scripted, body: bytes
) -> None:
    platform.answer(SEND, body)
    wechat.call(SEND, {})


def test_closed_port_means_that_nothing_was_sent(store: MemoryStore) -> None:
    wechat = WeChat(APP_ID, SECRET, api_base=f"http://127.0.0.1:{closed_port()}", store=store)
    error = failure(wechat)
    assert (error.errcode, error.action, error.permanent) == (None, "retry", False)
    assert error.wait_seconds > 0


def test_platform_that_closes_after_the_token_means_nothing_was_sent(
    platform: Scripted, store: MemoryStore
) -> None:
    wechat = WeChat(APP_ID, SECRET, api_base=platform.url, store=store)
    wechat.call(SEND, {})
    wechat.api_base = f"http://127.0.0.1:{closed_port()}"
    assert failure(wechat).action == "retry"
    wechat._http.close()


def test_slow_platform_is_unknown(platform: Scripted, store: MemoryStore) -> None:
    enough = threading.Event()

    def slow() -> dict[str, int]:
        enough.wait(5)
        return {"errcode": 0}

    wechat = WeChat(APP_ID, SECRET, api_base=platform.url, store=store)
    wechat.call("/cgi-bin/tags/get")  # the token is there
    platform.answer(SEND, slow)
    with pytest.raises(WeChatError) as caught:
        wechat.call(SEND, {"touser": LAN}, timeout=(1, 0.05))
    enough.set()
    assert (caught.value.errcode, caught.value.action) == (None, "unknown")
    assert "超时" in str(caught.value)
    wechat._http.close()


def test_slow_token_means_that_the_call_itself_was_not_sent(
    platform: Scripted, store: MemoryStore
) -> None:
    enough = threading.Event()

    def slow() -> dict[str, int]:
        enough.wait(5)
        return {"errcode": 0}

    platform.answer(STABLE_TOKEN, slow)
    wechat = WeChat(APP_ID, SECRET, api_base=platform.url, store=store, timeout=(1, 0.05))
    error = failure(wechat)
    enough.set()
    assert (error.errcode, error.action) == (None, "retry")
    assert SEND not in platform.paths()
    wechat._http.close()


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (40001, "AppSecret"),
        (40125, "AppSecret"),
        (40013, "AppID"),
        (40164, "IP 白名单"),
        (40243, "冻结"),
        (50004, "公众平台"),
        (50007, "冻结"),
    ],
)
def test_refused_token_stops_with_a_sentence_for_the_operator(
    wechat: WeChat, platform: Scripted, code: int, words: str
) -> None:
    platform.answer(STABLE_TOKEN, {"errcode": code, "errmsg": "invalid ip 203.0.113.9 rid: 1"})
    error = failure(wechat)
    assert (error.errcode, error.action, error.permanent) == (code, "stop", True)
    assert words in str(error)
    assert "203.0.113.9" in str(error)
    assert platform.paths() == [STABLE_TOKEN]


@pytest.mark.parametrize(
    "answer", [{}, {"access_token": ""}, {"access_token": 5}, {"access_token": "x", "expires_in": "soon"}, "<html>"]
)  # fmt: skip
def test_token_answer_of_another_shape_is_no_token(
    wechat: WeChat, platform: Scripted, answer: Any
) -> None:
    platform.answer(STABLE_TOKEN, answer)
    assert failure(wechat).action == "retry"


def shown(error: WeChatError) -> str:
    return "\n".join([str(error), repr(error), *traceback.format_exception(error)])


@pytest.mark.parametrize("kind", ["refused", "html", "token", "closed", "slow", "dropped"])
def test_nothing_secret_is_shown_or_logged(
    platform: Scripted, store: MemoryStore, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    caplog.set_level(logging.DEBUG)
    wechat = WeChat(APP_ID, SECRET, api_base=platform.url, store=store, timeout=(1, 0.2))
    token = wechat.access_token
    enough = threading.Event()
    leak = f"bad {token} {SECRET} openid {LAN} access_token={token}"
    if kind == "refused":
        platform.answer(SEND, {"errcode": 40003, "errmsg": leak})
    if kind == "html":
        platform.answer(SEND, f"<html>{leak}</html>")
    if kind == "token":
        store.put(wechat._tokens._key, "", 1)
        platform.answer(STABLE_TOKEN, {"errcode": 40125, "errmsg": leak.replace(token, "")})
    if kind == "closed":
        wechat.api_base = f"http://127.0.0.1:{closed_port()}"
    if kind == "slow":
        platform.answer(SEND, lambda: Response(str(enough.wait(2))))
    if kind == "dropped":
        wechat.api_base = f"http://127.0.0.1:{hanging_up()}"
    error = failure(wechat)
    enough.set()
    chain: BaseException | None = error
    while chain is not None:
        for text in (shown(error), str(chain), repr(chain), caplog.text):
            assert token not in text
            assert SECRET not in text
            assert LAN not in text
        assert chain.__cause__ is None
        chain = chain.__context__
    assert SECRET not in repr(wechat)
    assert token not in str(vars(error).get("message"))
    wechat._http.close()


def test_download_gives_bytes_and_understands_errors_in_json(
    wechat: WeChat, platform: Scripted
) -> None:
    path = "/cgi-bin/media/get"
    picture = b"\x89PNG" + bytes(range(256))
    platform.answer(path, Response(picture, content_type="image/png"))
    assert media.download(wechat, "M") == picture
    platform.answer(path, {"errcode": 40007, "errmsg": "invalid media_id"})
    with pytest.raises(WeChatError, match="40007"):
        media.download(wechat, "M")
    platform.answer(path, {"errcode": 40001}, Response(picture, content_type="image/png"))
    assert media.download(wechat, "M") == picture
    platform.answer(path, {"video_url": "http://v"})
    assert json.loads(media.download(wechat, "M")) == {"video_url": "http://v"}
    platform.answer(path, "<html>busy</html>")
    with pytest.raises(WeChatError) as caught:
        media.download(wechat, "M")
    assert caught.value.errcode is None


def test_wechatpys_own_methods_use_our_transport(wechat: WeChat, platform: Scripted) -> None:
    platform.answer("/cgi-bin/menu/create", {"errcode": 42001}, {"errcode": 0})
    wechat.menu.create({"button": []})
    assert platform.paths().count(STABLE_TOKEN) == 2
    platform.answer("/cgi-bin/media/upload", {"media_id": "M"})
    assert wechat.media.upload("image", BytesIO(b"data"))["media_id"] == "M"
    assert platform.last("/cgi-bin/media/upload").files["media"][1] == b"data"
    assert platform.last("/cgi-bin/media/upload").args["type"] == "image"
    with pytest.raises(WeChatError, match="不向"):
        wechat.get("https://example.com/cgi-bin/token")


def test_two_accounts_and_two_addresses_never_share_a_token(
    platform: Scripted, store: MemoryStore
) -> None:
    one = WeChat(APP_ID, SECRET, api_base=platform.url, store=store)
    same = WeChat(APP_ID, SECRET, api_base=platform.url + "/", store=store)
    other = WeChat("wxother", SECRET, api_base=platform.url, store=store)
    elsewhere = WeChat(
        APP_ID, SECRET, api_base=platform.url.replace("127.0.0.1", "localhost"), store=store
    )
    found = [gateway.access_token for gateway in (one, same, other, elsewhere)]
    assert found[0] == found[1]
    assert len(set(found)) == 3
    for gateway in (one, same, other, elsewhere):
        gateway._http.close()


def test_error_of_one_follower_keeps_the_platforms_list_for_the_caller(
    wechat: WeChat, platform: Scripted
) -> None:
    platform.answer(
        "/cgi-bin/tags/members/batchtagging", {"errcode": 45171, "fail_openid_list": [LAN]}
    )
    assert tags.tag(wechat, 134, [LAN, "oMing"]) == [LAN]


def test_customer_service_message_is_one_call(wechat: WeChat, platform: Scripted) -> None:
    customer_service.send(wechat, LAN, {"text": "你好"})
    assert platform.last(SEND).json == {
        "touser": LAN,
        "msgtype": "text",
        "text": {"content": "你好"},
    }
