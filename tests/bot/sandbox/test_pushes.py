"""What a callback is sent, what it may answer, and what the follower then sees. Sources: 1, 2, 3."""

import time
import xml.etree.ElementTree as ET
from urllib.parse import parse_qs, urlsplit

import pytest

from bot.sandbox import crypto, limits
from tests.bot.sandbox.api import AES_KEY, LAN, SERVICE, TOKEN, Api

ORIGINAL = f"gh_{SERVICE}"


def query_of(url: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}


def plain_reply(inner: str, to: str = LAN, sender: str = ORIGINAL) -> str:
    return (
        f"<xml><ToUserName><![CDATA[{to}]]></ToUserName><FromUserName><![CDATA[{sender}]]></FromUserName>"
        f"<CreateTime>1740963600</CreateTime>{inner}</xml>"
    )


def text(words: str) -> str:
    return f"<MsgType><![CDATA[text]]></MsgType><Content><![CDATA[{words}]]></Content>"


def sealed(plain: str, app_id: str = SERVICE, signature: str | None = None) -> bytes:
    cipher = crypto.encrypt(AES_KEY, app_id, plain.encode(), b"0123456789abcdef")
    signed = signature or crypto.sign(TOKEN, "1740963600", "n", cipher)
    return (
        f"<xml><Encrypt><![CDATA[{cipher}]]></Encrypt><MsgSignature><![CDATA[{signed}]]></MsgSignature>"
        "<TimeStamp>1740963600</TimeStamp><Nonce><![CDATA[n]]></Nonce></xml>"
    ).encode()


def test_the_official_signature_vector() -> None:
    assert (
        crypto.sign("AAAAA", "1714037059", "486452656")
        == "899cf89e464efb63f54ddac96b0a0a235f53aa78"
    )


def test_our_cipher_decrypts_what_it_encrypts_and_refuses_the_rest() -> None:
    cipher = crypto.encrypt(AES_KEY, SERVICE, "你好".encode(), b"0123456789abcdef")
    assert crypto.decrypt(AES_KEY, SERVICE, cipher).decode() == "你好"
    for app_id, broken in (
        (SERVICE, cipher[:-8]),
        ("wxother", cipher),
        (SERVICE, "%%"),
        (SERVICE, ""),
    ):
        with pytest.raises(crypto.BadCipher):
            crypto.decrypt(AES_KEY, app_id, broken)


@pytest.mark.parametrize("mode", ["plain", "compatible", "safe"])
def test_each_mode_carries_the_same_message(api: Api, mode: str) -> None:
    api.platform.change_account(SERVICE, mode=mode)
    api.platform.say(SERVICE, LAN, "a]]>b")
    url, body = api.pushed[-1]
    query = query_of(url)
    assert query["signature"] == crypto.sign(TOKEN, query["timestamp"], query["nonce"])
    assert query["timestamp"] == "1740963600", "the platform's clock, not the machine's"
    node = ET.fromstring(body)
    if mode != "plain":
        cipher = node.findtext("Encrypt") or ""
        assert query["encrypt_type"] == "aes"
        signature = crypto.sign(TOKEN, query["timestamp"], query["nonce"], cipher)
        assert query["msg_signature"] == signature
        inner = ET.fromstring(crypto.decrypt(AES_KEY, SERVICE, cipher))
        assert inner.findtext("Content") == "a]]>b"
    if mode == "safe":
        assert [each.tag for each in node] == ["ToUserName", "Encrypt"]
    else:
        assert node.findtext("Content") == "a]]>b"
        assert (node.findtext("FromUserName"), node.findtext("ToUserName")) == (LAN, ORIGINAL)


def test_message_ids_grow_and_events_have_none(api: Api) -> None:
    api.platform.change_account(SERVICE, mode="plain")
    for act in (
        lambda: api.platform.say(SERVICE, LAN, "一"),
        lambda: api.platform.message(SERVICE, LAN, "image", PicUrl="http://x/0", MediaId="M"),
        lambda: api.platform.scan(SERVICE, LAN, "shop_1"),
        lambda: api.platform.follow(SERVICE, "o_new", "shop_1"),
        lambda: api.platform.leave(SERVICE, "o_new"),
        lambda: api.platform.scan(SERVICE, "o_new", "shop_2"),
    ):
        act()
    nodes = [ET.fromstring(body) for _, body in api.pushed]
    first, second = (int(node.findtext("MsgId") or 0) for node in nodes[:2])
    assert second == first + 1 > 2**32
    events = [(node.findtext("Event"), node.findtext("EventKey")) for node in nodes[2:]]
    assert events == [
        ("SCAN", "shop_1"),
        ("subscribe", "qrscene_shop_1"),
        ("unsubscribe", ""),
        ("subscribe", "qrscene_shop_2"),
    ]
    assert all(node.findtext("MsgId") is None for node in nodes[2:])
    assert nodes[2].findtext("Ticket")


def test_an_encrypted_reply_reaches_the_follower(api: Api) -> None:
    api.answer = (200, sealed(plain_reply(text("欢迎"))))
    outcome = api.platform.say(SERVICE, LAN, "你好")
    assert outcome["reply"] == {"type": "text", "text": "欢迎"}
    (item,) = api.platform.received(SERVICE, LAN)
    assert (item["way"], item["content"]["text"]) == ("reply", "欢迎")


@pytest.mark.parametrize("body", [b"", b"success"])
def test_no_answer_is_an_answer(api: Api, body: bytes) -> None:
    api.answer = (200, body)
    assert api.platform.say(SERVICE, LAN, "你好")["outcome"] == "empty"
    assert api.platform.received(SERVICE, LAN) == []


ARTICLE = "<item><Title>t</Title><Description/><PicUrl/><Url>https://x/</Url></item>"
NEWS = f"<MsgType>news</MsgType><ArticleCount>2</ArticleCount><Articles>{ARTICLE * 2}</Articles>"
BAD = {
    "json": b'{"ok": true}',
    "cut off": b"<xml><ToUserName>",
    "a doctype": b'<!DOCTYPE x [<!ENTITY a "b">]><xml/>',
    "plain in safe mode": plain_reply(text("hi")).encode(),
    "wrong signature": sealed(plain_reply(text("hi")), signature="0" * 40),
    "another app": sealed(plain_reply(text("hi")), app_id="wxother"),
    "another follower": sealed(plain_reply(text("hi"), to="o_other")),
    "names not swapped": sealed(plain_reply(text("hi"), sender=LAN)),
    "empty text": sealed(plain_reply(text(""))),
    "text too long": sealed(plain_reply(text("好" * 683))),
    "unknown type": sealed(plain_reply("<MsgType>poem</MsgType>")),
    "image nobody uploaded": sealed(
        plain_reply("<MsgType>image</MsgType><Image><MediaId>M</MediaId></Image>")
    ),
    "image without id": sealed(plain_reply("<MsgType>image</MsgType>")),
    "articles miscounted": sealed(plain_reply(NEWS.replace(">2<", ">3<"))),
}


@pytest.mark.parametrize("name", sorted(BAD))
def test_a_malformed_answer_shows_the_follower_the_out_of_service_line(api: Api, name: str) -> None:
    api.answer = (200, BAD[name])
    outcome = api.platform.say(SERVICE, LAN, "你好")
    assert (outcome["outcome"], outcome["attempts"]) == ("bad_reply", 1)
    (item,) = api.platform.received(SERVICE, LAN)
    assert (item["way"], item["content"]["text"]) == ("system", limits.UNAVAILABLE_LINE)


def test_a_message_gets_one_article_and_an_event_eight(api: Api) -> None:
    api.answer = (200, sealed(plain_reply(NEWS)))
    assert len(api.platform.say(SERVICE, LAN, "你好")["reply"]["articles"]) == 1
    assert len(api.platform.tap(SERVICE, LAN, "K")["reply"]["articles"]) == 2


@pytest.mark.parametrize("failure", [(500, b"boom"), (503, b""), (400, b""), TimeoutError()])
def test_a_failing_callback_is_asked_four_times(
    api: Api, failure: tuple[int, bytes] | Exception
) -> None:
    api.answer = failure
    outcome = api.platform.say(SERVICE, LAN, "你好")
    assert (outcome["outcome"], outcome["attempts"]) == ("failed", 4)
    assert api.platform.received(SERVICE, LAN)[0]["content"]["text"] == limits.UNAVAILABLE_LINE
    assert len(api.pushed) == 4
    assert len({query_of(url)["nonce"] for url, _ in api.pushed}) == 4


def test_one_who_leaves_sees_nothing(api: Api) -> None:
    api.answer = (200, sealed(plain_reply(text("别走"))))
    api.platform.leave(SERVICE, LAN)
    assert api.platform.received(SERVICE, LAN) == []


def test_handing_over_to_an_agent_is_a_reply(api: Api) -> None:
    api.answer = (200, sealed(plain_reply("<MsgType>transfer_customer_service</MsgType>")))
    reply = api.platform.say(SERVICE, LAN, "人工")["reply"]
    assert reply == {"type": "transfer_customer_service", "agent": ""}


def test_the_console_verifies_an_address_by_its_echo(api: Api) -> None:
    assert not api.platform.verify_url(SERVICE), "success is not the echo"

    def echo(url: str, body: bytes, content_type: str) -> tuple[int, bytes]:
        query = query_of(url)
        assert (body, content_type) == (b"", "")
        assert query["signature"] == crypto.sign(TOKEN, query["timestamp"], query["nonce"])
        return 200, query["echostr"].encode()

    api.platform.deliver = echo
    assert api.platform.verify_url(SERVICE)


def test_pushes_wait_for_nothing_in_memory(api: Api) -> None:
    begun = time.perf_counter()
    for _ in range(200):
        api.platform.say(SERVICE, LAN, "你好")
    assert time.perf_counter() - begun < 5
