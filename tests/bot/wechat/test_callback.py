"""The envelope of pushes and replies: vectors, every mode, and input that wishes us ill."""

import base64
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.errors import BadPush, Invalid
from bot.wechat import callback
from bot.wechat.callback import Credentials, open_push, seal_reply, sign, verify_url
from bot.wechat.message import Message
from bot.wechat.parsing import NOT_XML, parse_body, parse_flat, parse_xml

# Source: docs/wechat-limits.md 1, generated and opened with OpenSSL
AES_KEY = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG"
APP_ID = "wx1234567890abcdef"
TOKEN = "oaTestToken2026"
NONCE = "1372623149"
NOW = datetime.fromtimestamp(1_700_000_000, UTC)
SEALED = (
    "Q3stYC6hdFzMh9T8HCvyDI4OFzVNXy1hzMgwxpcjW4Z3o6yfCFU64yan0zEQFjd+qK8bYOd0iJWXlQwcebzMITILrDYK"
    "E7PmJHRPuV2UWpW2BD7Z3wRVTdWPICaF+0Le6A5Rm0wN9yIYfV2rq4bjTCmvMfNYb/eGFU1d1ecqH5KBKEtLLW93jr8k"
    "m3WDlSMUXnhLdmKfYi3JNlegr2ZfJsux/+8QdyhQ8PC+CuwIqQH7xUlx48TM1QER67HtdlCHl62lICfq+GGWrQMuaVnn"
    "lUoUkwVMoAZ53+eXYJ70u10dnkflASedV6b8lZOLFJGKZfkLmyHlSjRoyJKm35ycq3gb7CrYtIRHkSC+/NcRiaOWKnwg"
    "moqr8Y2H0X86ubDBSne+lI1QSnkO8rlwjP9mGsDXkZlUov9W+RzVxJgZL/E="
)
INNER = (
    "<xml><ToUserName><![CDATA[gh_0123456789ab]]></ToUserName>"
    "<FromUserName><![CDATA[oOPENID0000000000000000000001]]></FromUserName>"
    "<CreateTime>1700000000</CreateTime><MsgType><![CDATA[text]]></MsgType>"
    "<Content><![CDATA[你好]]></Content><MsgId>24000000000000001</MsgId></xml>"
)
SAFE = Credentials(TOKEN, AES_KEY, APP_ID, "safe")
COMPATIBLE = Credentials(TOKEN, AES_KEY, APP_ID, "compatible")
PLAIN = Credentials(TOKEN, None, APP_ID, "plain")
LAN = Message("text", "oLan", "gh_brand", NOW, {})


def signed(moment: datetime = NOW, token: str = TOKEN) -> dict[str, str]:
    timestamp = str(int(moment.timestamp()))
    return {"signature": sign(token, timestamp, NONCE), "timestamp": timestamp, "nonce": NONCE}


def sealed_request(
    inner: str | bytes = INNER, credentials: Credentials = SAFE
) -> tuple[dict[str, str], bytes]:
    data = inner.encode() if isinstance(inner, str) else inner
    text = callback.encrypt_text(credentials, data, b"0123456789abcdef")
    return enveloped(text)


def enveloped(text: str, outer: str = "") -> tuple[dict[str, str], bytes]:
    args = signed()
    args |= {"encrypt_type": "aes", "msg_signature": sign(TOKEN, args["timestamp"], NONCE, text)}
    to = "<ToUserName><![CDATA[gh_0123456789ab]]></ToUserName>"
    return args, f"<xml>{outer}{to}<Encrypt><![CDATA[{text}]]></Encrypt></xml>".encode()


def refusal(
    credentials: Credentials, args: Mapping[str, str], body: bytes, max_age: int = 600
) -> tuple[str, int]:
    with pytest.raises(BadPush) as caught:
        open_push(credentials, args, body, NOW, max_age)
    return caught.value.reason, caught.value.status


def opened(credentials: Credentials, args: Mapping[str, str], body: bytes) -> Message:
    return open_push(credentials, args, body, NOW, 600)


def test_official_signature_vector() -> None:
    assert sign("AAAAA", "1714037059", "486452656") == "899cf89e464efb63f54ddac96b0a0a235f53aa78"


def test_vector_signature_of_the_address_check() -> None:
    args = {"timestamp": "1700000000", "nonce": NONCE, "echostr": "5927782489442352469"}
    args["signature"] = "bdbc94860ded6ad57e42a849279c7bef8f104c37"
    assert verify_url(SAFE, args) == "5927782489442352469"
    with pytest.raises(BadPush, match="bad_signature"):
        verify_url(SAFE, args | {"signature": "0" * 40})
    with pytest.raises(BadPush, match="unsigned"):
        verify_url(SAFE, {k: v for k, v in args.items() if k != "echostr"})


def test_vector_is_encrypted_to_the_same_bytes() -> None:
    assert callback.encrypt_text(SAFE, INNER.encode(), b"0123456789abcdef") == SEALED
    assert sign(TOKEN, "1700000000", NONCE, SEALED) == "1c2aca74d91acb1996c39423883ba0e7af207a2b"


def test_vector_opens() -> None:
    args, body = enveloped(SEALED)
    assert args["msg_signature"] == "1c2aca74d91acb1996c39423883ba0e7af207a2b"
    message = opened(SAFE, args, body)
    assert message.kind == "text"
    assert message.open_id == "oOPENID0000000000000000000001"
    assert message.to == "gh_0123456789ab"
    assert message.text("Content") == "你好"
    assert message.text("MsgId") == "24000000000000001"
    assert message.sent_at == NOW


def test_aes_key_whose_last_bits_are_set_is_taken() -> None:
    odd = Credentials(TOKEN, AES_KEY[:-1] + "H", APP_ID, "safe")
    assert odd.cipher is not None
    args, body = sealed_request(credentials=odd)
    assert opened(odd, args, body).text("Content") == "你好"


@pytest.mark.parametrize("key", [None, "", "short", AES_KEY + "A", "你" * 43, "*" * 43])
def test_unusable_aes_key_refuses_and_does_not_break(key: str | None) -> None:
    args, body = enveloped(SEALED)
    assert refusal(Credentials(TOKEN, key, APP_ID, "safe"), args, body) == ("bad_cipher", 400)


def test_credentials_do_not_show_their_secrets() -> None:
    assert TOKEN not in repr(SAFE)
    assert AES_KEY not in repr(SAFE)


def test_plain_push_opens_in_plain_and_compatible_mode_and_not_in_safe() -> None:
    assert opened(PLAIN, signed(), INNER.encode()).text("Content") == "你好"
    assert opened(COMPATIBLE, signed(), INNER.encode()).text("Content") == "你好"
    assert refusal(SAFE, signed(), INNER.encode()) == ("not_encrypted", 400)


def test_compatible_mode_believes_the_cipher_text_and_not_the_plain_fields() -> None:
    args, body = enveloped(SEALED, outer="<Content>forged</Content><MsgType>text</MsgType>")
    assert opened(COMPATIBLE, args, body).text("Content") == "你好"
    assert callback.encrypted(COMPATIBLE, args)
    assert not callback.encrypted(COMPATIBLE, signed())
    # no msg_signature: the plain fields are not taken instead
    assert refusal(COMPATIBLE, signed(), body) == ("unsigned", 403)
    assert refusal(COMPATIBLE, args, INNER.encode()) == ("not_encrypted", 400)


def test_encrypted_push_to_an_account_without_key_is_refused() -> None:
    args, body = enveloped(SEALED)
    assert refusal(PLAIN, args, body) == ("bad_cipher", 400)
    assert refusal(PLAIN, args | {"msg_signature": "0" * 40}, body) == ("bad_signature", 403)


@pytest.mark.parametrize("name", ["signature", "timestamp", "nonce"])
def test_push_without_a_part_of_the_signature_is_unsigned(name: str) -> None:
    args = signed()
    del args[name]
    assert refusal(PLAIN, args, INNER.encode()) == ("unsigned", 403)
    assert refusal(PLAIN, args | {name: ""}, INNER.encode()) == ("unsigned", 403)


def test_wrong_signature_is_refused_also_where_it_is_not_ascii() -> None:
    for signature in ("0" * 40, "签名", "\udc80", "x" * 5000):
        args = signed() | {"signature": signature}
        assert refusal(PLAIN, args, INNER.encode()) == ("bad_signature", 403)
    assert refusal(PLAIN, signed(token="other"), INNER.encode()) == ("bad_signature", 403)


def test_empty_token_lets_nobody_in() -> None:
    assert refusal(Credentials("", None, APP_ID, "plain"), signed(token=""), INNER.encode()) == (
        "bad_signature",
        403,
    )


def test_msg_signature_is_checked_beside_the_signature() -> None:
    args, body = enveloped(SEALED)
    assert refusal(SAFE, args | {"msg_signature": "0" * 40}, body) == ("bad_signature", 403)
    assert refusal(SAFE, args | {"signature": "0" * 40}, body) == ("bad_signature", 403)
    del args["msg_signature"]
    assert refusal(SAFE, args, body) == ("unsigned", 403)


@pytest.mark.parametrize(
    ("seconds", "fresh"), [(0, True), (600, True), (-600, True), (601, False), (-601, False)]
)
def test_push_is_fresh_within_the_window_both_ways(seconds: int, fresh: bool) -> None:
    args = signed(NOW + timedelta(seconds=seconds))
    if fresh:
        assert opened(PLAIN, args, INNER.encode()).kind == "text"
    else:
        assert refusal(PLAIN, args, INNER.encode()) == ("stale", 403)


@pytest.mark.parametrize(
    "timestamp", ["never", "-1", "1e9", "９９", "9" * 400, "1700000000.0", " 1700000000"]
)
def test_timestamp_that_is_no_number_is_stale(timestamp: str) -> None:
    args = {"signature": sign(TOKEN, timestamp, NONCE), "timestamp": timestamp, "nonce": NONCE}
    assert refusal(PLAIN, args, INNER.encode()) == ("stale", 403)


def test_cipher_text_of_another_account_is_refused() -> None:
    args, body = sealed_request(credentials=Credentials(TOKEN, AES_KEY, "wxanother", "safe"))
    assert refusal(SAFE, args, body) == ("wrong_app_id", 403)


def raw_envelope(plain: bytes) -> tuple[dict[str, str], bytes]:
    assert SAFE.cipher is not None
    encryptor = SAFE.cipher.encryptor()
    return enveloped(base64.b64encode(encryptor.update(plain) + encryptor.finalize()).decode())


@pytest.mark.parametrize(
    "plain",
    [
        b"x" * 31 + b"\x00",  # padding of nothing
        b"x" * 31 + b"\x21",  # of more than a block
        b"x" * 30 + b"\x05\x02",  # not all the same
        b"x" * 16 + b"\xff\xff\xff\xff" + b"x" * 11 + b"\x01",  # length beyond the end
        b"x" * 16 + (400).to_bytes(4, "big") + b"x" * 11 + b"\x01",
        b"\x20" * 32,  # padding and nothing else
    ],
)
def test_wrong_padding_and_length_are_bad_cipher(plain: bytes) -> None:
    assert refusal(SAFE, *raw_envelope(plain)) == ("bad_cipher", 400)


@pytest.mark.parametrize(
    "text", ["你好", "Zm9v", "====", "A" * 63, "a b", SEALED[:-4], SEALED[:64]]
)
def test_damaged_cipher_text_is_refused(text: str) -> None:
    reason, status = refusal(SAFE, *enveloped(text))
    assert reason in ("bad_cipher", "wrong_app_id")
    assert 400 <= status < 500


def test_body_over_64_kib_is_too_large() -> None:
    body = b"<xml><Content>" + b"x" * 65536 + b"</Content></xml>"
    assert refusal(PLAIN, signed(), body) == ("too_large", 413)
    assert refusal(PLAIN, {}, b"x" * 10_000_000) == ("too_large", 413)


LAUGHS = (
    '<?xml version="1.0"?><!DOCTYPE lolz [<!ENTITY lol "lol">'
    '<!ENTITY lol2 "&lol;&lol;&lol;&lol;">]><xml><Content>&lol2;</Content></xml>'
)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"   ",
        b"success",
        b"<xml>",
        b"<xml></xml><xml></xml>",
        b"<xml>words</xml>",
        b"<html></html>",
        b"<xml><a></b></xml>",
        b"<xml><Content>\xff\xfe</Content></xml>",
        b"<xml><Content>\x00</Content></xml>",
        b"<xml><Content>&#0;</Content></xml>",
        b"<xml><Content>&unknown;</Content></xml>",
        b'<?xml version="1.0" encoding="no-such-thing"?><xml></xml',
        LAUGHS.encode(),
        LAUGHS.encode("utf-16"),
        b'<!DOCTYPE xml SYSTEM "file:///etc/passwd"><xml></xml>',
        b'<!DOCTYPE xml [<!ENTITY x SYSTEM "file:///etc/passwd">]><xml><a>&x;</a></xml>',
        b"<xml>" + b"<a>" * 2000 + b"</a>" * 2000 + b"</xml>",
        b"<xml>" + b"<a/>" * 1001 + b"</xml>",
        b"[" * 40_000,
        b'{"a":' * 8_000,
        b'{"a":NaN}',
        b'{"a"',
        b"{\xff}",
        b'{"a":' + b"[" * 11 + b"]" * 11 + b"}",
    ],
)
def test_body_that_is_no_push_is_bad_xml(body: bytes) -> None:
    assert refusal(PLAIN, signed(), body) == ("bad_xml", 400)
    assert refusal(SAFE, *sealed_request(body)) == ("bad_xml", 400)


def test_nested_elements_are_mappings_repeated_ones_lists_and_item_always_a_list() -> None:
    one = parse_xml(
        b"<xml><SendPicsInfo><Count>1</Count>\n <PicList>\n<item><PicMd5Sum><![CDATA[aa]]></PicMd5Sum></item>"
        b"</PicList></SendPicsInfo><fail_idx>1</fail_idx><fail_idx>2</fail_idx><fail_idx>3</fail_idx>"
        b"<Empty/><Blank> </Blank></xml>"
    )
    assert one == {
        "SendPicsInfo": {"Count": "1", "PicList": {"item": [{"PicMd5Sum": "aa"}]}},
        "fail_idx": ["1", "2", "3"],
        "Empty": "",
        "Blank": " ",
    }


def test_text_split_over_cdata_sections_is_one_text() -> None:
    assert parse_xml(
        "<xml><Content><![CDATA[a]]]]><![CDATA[>b&amp;]]>&lt;你</Content></xml>".encode()
    ) == {"Content": "a]]>b&amp;<你"}


PIECES = st.lists(
    st.sampled_from(
        ["<xml>", "</xml>", "<a>", "</a>", "<b>", "</b>", "<item>", "</item>", "<![CDATA[", "]]>", "]", "&amp;",
         "&lt;", "<a/>", "<a >", " ", "\n", "\r\n", "\x00", "\ufffe", "你", "<a>1</a>",
         "<b><![CDATA[2]]></b>", "<!--c-->"]
    )
    | st.text(max_size=3),
    max_size=12,
).map("".join)  # fmt: skip


@pytest.mark.slow  # a thousand examples: nothing else holds the fast parser to the strict one
@settings(max_examples=1000, deadline=None)
@given(PIECES)
def test_flat_parser_agrees_with_the_strict_one_wherever_it_answers(middle: str) -> None:
    body = f"<xml>{middle}</xml>".encode("utf-8", "replace")
    flat = parse_flat(body)
    if flat is not None:
        assert parse_xml(body) == flat


def test_flat_parser_takes_the_usual_push() -> None:
    assert parse_flat(INNER.encode()) == parse_xml(INNER.encode())
    spread = INNER.replace("><T", ">\n<T").replace("><M", ">\n  <M").replace("></xml", ">\n</xml")
    assert parse_flat(spread.encode()) == parse_xml(INNER.encode())


@pytest.mark.parametrize("space", ["", "\n", "\r\n", " \t", "\x0b", "x"])
def test_envelope_is_read_as_the_strict_parser_does(space: str) -> None:
    body = (
        f"<xml>{space}<ToUserName><![CDATA[gh_1-a]]></ToUserName>{space}"
        f"<Encrypt><![CDATA[{SEALED}]]></Encrypt>{space}</xml>{space}"
    ).encode()
    flat = parse_flat(body)
    if space in ("\x0b", "x"):
        assert flat is None
    else:
        assert flat == parse_xml(body)


def test_json_push_gives_what_its_xml_would() -> None:
    body = json.dumps(
        {
            "ToUserName": "gh_0123456789ab",
            "FromUserName": "oLan",
            "CreateTime": 1700000000,
            "MsgType": "text",
            "Content": "你好\u0000\ud800",
            "MsgId": 24000000000000001,
            "Odd": None,
            "List": [{"ErrorCode": 0}],
        }
    ).encode()
    for message in (opened(PLAIN, signed(), body), opened(SAFE, *sealed_request(body))):
        assert message.kind == "text"
        assert message.sent_at == NOW
        assert message.text("Content") == "你好"
        assert message.text("MsgId") == "24000000000000001"
        assert message.fields["List"] == [{"ErrorCode": "0"}]
        assert message.fields["Odd"] == ""
    args, xml = enveloped(SEALED)
    assert opened(SAFE, args, json.dumps({"Encrypt": SEALED}).encode()) == opened(SAFE, args, xml)


@pytest.mark.parametrize(
    "body",
    [
        b"<xml/>",
        b"<xml><MsgType>hologram</MsgType></xml>",
        b"<xml><MsgType><a>b</a></MsgType><CreateTime>soon</CreateTime></xml>",
        b"<xml><MsgType>event</MsgType><Event></Event><MsgId>abc</MsgId></xml>",
        b"<xml><MsgType>text</MsgType><MsgType>text</MsgType><CreateTime>99999999999999999</CreateTime></xml>",
        b'{"MsgType": 5, "CreateTime": -1}',
    ],
)
def test_verified_push_with_odd_fields_is_accepted_as_unknown(body: bytes) -> None:
    message = opened(PLAIN, signed(), body)
    assert message.kind == "unknown"
    assert message.sent_at == NOW
    assert message.dedupe_key(1)
    assert Message.from_json(json.loads(json.dumps(message.to_json()))) == message


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=400), st.sampled_from(["raw", "xml", "json", "sealed", "cipher"]))
def test_hostile_bodies_give_bad_push_or_a_message(noise: bytes, shape: str) -> None:
    body, args = noise, signed()
    if shape == "xml":
        body = b"<xml><Content>" + noise + b"</Content></xml>"
    if shape == "json":
        body = b'{"Content":"' + noise + b'"}'
    if shape == "sealed":
        args, body = sealed_request(noise)
    if shape == "cipher":
        args, body = enveloped(base64.b64encode(noise).decode())
    for credentials in (PLAIN, COMPATIBLE, SAFE):
        try:
            message = open_push(credentials, args, body, NOW, 600)
        except BadPush as refused:
            assert 400 <= refused.status < 500
            assert refused.reason
        else:
            json.dumps(message.to_json(), ensure_ascii=False).encode()


@settings(max_examples=200, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(
            ["signature", "timestamp", "nonce", "msg_signature", "encrypt_type", "echostr"]
        ),
        st.text(max_size=50) | st.sampled_from(["aes", "1700000000"]),
    )
)
def test_hostile_query_strings_give_bad_push(args: dict[str, str]) -> None:
    for credentials in (PLAIN, SAFE):
        with pytest.raises(BadPush):
            open_push(credentials, args, INNER.encode(), NOW, 600)
        with pytest.raises(BadPush):
            verify_url(credentials, args)


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=10,
)
NAMES = st.sampled_from(
    ["MsgType", "Event", "CreateTime", "FromUserName", "MsgId", "PublishEventInfo", "List"]
)


@settings(max_examples=200, deadline=None)
@given(
    st.dictionaries(
        NAMES,
        JSON_VALUES | st.sampled_from(["event", "PUBLISHJOBFINISH", "subscribe_msg_sent_event"]),
    )
)
def test_any_json_push_is_bad_or_a_message_that_can_be_stored(fields: dict[str, Any]) -> None:
    try:
        message = open_push(PLAIN, signed(), json.dumps(fields).encode(), NOW, 600)
    except BadPush as refused:
        assert refused.reason == "bad_xml"
    else:
        message.dedupe_key(1)
        message.number("MsgId")
        json.dumps(message.to_json(), ensure_ascii=False).encode()


# -- replies -------------------------------------------------------------------------------------


def replied(content: dict[str, Any] | None) -> dict[str, Any]:
    return parse_body(seal_reply(PLAIN, LAN, content, NOW, NONCE, False))


def test_no_content_is_the_word_success_in_every_mode() -> None:
    assert seal_reply(PLAIN, LAN, None, NOW, NONCE, False) == b"success"
    assert seal_reply(SAFE, LAN, None, NOW, NONCE, True) == b"success"


@pytest.mark.parametrize(
    ("content", "kind", "elements"),
    [
        ({"text": "第一行\n第二行"}, "text", {"Content": "第一行\n第二行"}),
        ({"image": {"media_id": "M"}}, "image", {"Image": {"MediaId": "M"}}),
        ({"voice": {"media_id": "M"}}, "voice", {"Voice": {"MediaId": "M"}}),
        (
            {"video": {"media_id": "M", "title": "标题"}},
            "video",
            {"Video": {"MediaId": "M", "Title": "标题", "Description": ""}},
        ),
        (
            {"music": {"title": "歌", "url": "https://e.com/a.mp3", "thumb": {"media_id": "T"}}},
            "music",
            {
                "Music": {
                    "Title": "歌",
                    "Description": "",
                    "MusicUrl": "https://e.com/a.mp3",
                    "HQMusicUrl": "",
                    "ThumbMediaId": "T",
                }
            },
        ),
        (
            {
                "news": {
                    "title": "题",
                    "url": "https://e.com/?a=1&b=2",
                    "image": "https://e.com/p.jpg",
                }
            },
            "news",
            {
                "ArticleCount": "1",
                "Articles": {
                    "item": [
                        {
                            "Title": "题",
                            "Description": "",
                            "PicUrl": "https://e.com/p.jpg",
                            "Url": "https://e.com/?a=1&b=2",
                        }
                    ]
                },
            },
        ),
        ({"hand_over": {"agent": ""}}, "transfer_customer_service", {}),
        (
            {"hand_over": {"agent": "anna@myshop"}},
            "transfer_customer_service",
            {"TransInfo": {"KfAccount": "anna@myshop"}},
        ),
    ],
)
def test_every_kind_of_reply(content: dict[str, Any], kind: str, elements: dict[str, Any]) -> None:
    assert replied(content) == {
        "ToUserName": "oLan",
        "FromUserName": "gh_brand",
        "CreateTime": "1700000000",
        "MsgType": kind,
        **elements,
    }


def test_reply_that_tries_to_leave_its_cdata_stays_text() -> None:
    hostile = "a]]></Content><MsgType>image</MsgType>]]]]>>\x00\x0b\ud800\ufffe b"
    assert replied({"text": hostile})["Content"] == "a]]></Content><MsgType>image</MsgType>]]]]>> b"


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=60), st.sampled_from(["", "]]>", "]]]]>>", "<![CDATA["]))
def test_any_text_comes_out_as_it_went_in(text: str, middle: str) -> None:
    # XML turns carriage returns into newlines
    whole = text.replace("\r", "") + middle + text.replace("\r", "")
    assert replied({"text": whole})["Content"] == callback_clean(whole)


def callback_clean(text: str) -> str:
    return NOT_XML.sub("", text)


def test_encrypted_reply_opens_with_the_platforms_own_rules() -> None:
    envelope = parse_body(seal_reply(SAFE, LAN, {"text": "你好"}, NOW, NONCE, True))
    assert envelope["TimeStamp"] == "1700000000"
    assert envelope["Nonce"] == NONCE
    args = signed() | {"msg_signature": envelope["MsgSignature"]}
    body = f"<xml><Encrypt>{envelope['Encrypt']}</Encrypt></xml>".encode()
    assert opened(SAFE, args, body).text("Content") == "你好"


def test_two_seals_of_one_reply_differ() -> None:
    one, two = (seal_reply(SAFE, LAN, {"text": "你好"}, NOW, NONCE, True) for _ in range(2))
    assert one != two


@pytest.mark.parametrize("size", range(70))
def test_every_length_is_padded_to_blocks_of_32(size: int) -> None:
    message = b"<xml><Content>" + b"x" * size + b"</Content></xml>"
    text = callback.encrypt_text(SAFE, message, b"0123456789abcdef")
    assert len(base64.b64decode(text)) % 32 == 0
    assert opened(SAFE, *enveloped(text)).text("Content") == "x" * size


@pytest.mark.parametrize(
    "content", [{}, {"hologram": 1}, {"image": {"file": "a.png"}}, {"music": {"title": "x"}}]
)
def test_content_that_cannot_be_a_reply_is_invalid(content: dict[str, Any]) -> None:
    with pytest.raises(Invalid):
        seal_reply(PLAIN, LAN, content, NOW, NONCE, False)
