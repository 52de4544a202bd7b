"""Mass sends: what is refused before anything leaves, what leaves, and what an answer means."""

from typing import Any

import pytest

from bot.errors import Invalid, Refused, WeChatError
from bot.wechat import mass
from bot.wechat.client import WeChat
from bot.wechat.mass import Approval, MassReceipt
from tests.bot.wechat.conftest import LAN, MING, Scripted

SEND, SENDALL = "/cgi-bin/message/mass/send", "/cgi-bin/message/mass/sendall"
TEXT = {"text": "双十一"}
BOTH = Approval("Ann", "Bo")


@pytest.mark.parametrize(
    "open_ids",
    [
        [],
        (),
        [LAN],
        [LAN, LAN],
        [LAN, ""],
        [LAN, "  "],
        [LAN, None],
        LAN,
        [f"o{number}" for number in range(10_001)],
    ],
    ids=["none", "empty", "one", "twice", "blank", "spaces", "no text", "text", "too many"],
)
def test_targets_that_are_no_audience_never_leave(
    wechat: WeChat, platform: Scripted, open_ids: Any
) -> None:
    with pytest.raises(Refused):
        mass.send_to_open_ids(wechat, open_ids, TEXT, "q1")
    assert platform.asked == []


@pytest.mark.parametrize("tag_id", [None, 0, 1, 2, -5, True, "134", 134.0, [], {}])
def test_tags_that_are_none_never_leave(wechat: WeChat, platform: Scripted, tag_id: Any) -> None:
    with pytest.raises(Refused):
        mass.send_to_tag(wechat, tag_id, TEXT, "q1")
    assert platform.asked == []


@pytest.mark.parametrize(
    "approval",
    [None, True, "Ann", Approval("Ann", ""), Approval("", ""), Approval("Ann", "Ann"), Approval("Ann", " ann "), BOTH],
)  # fmt: skip
def test_send_to_everybody_needs_two_people(
    wechat: WeChat, platform: Scripted, approval: Any
) -> None:
    with pytest.raises(Refused):
        mass.send_to_all(wechat, TEXT, "q1", approval)
    assert platform.asked == []


@pytest.mark.parametrize("client_msg_id", ["", "x" * 33, "批次一"])
def test_unusable_client_msg_id_never_leaves(
    wechat: WeChat, platform: Scripted, client_msg_id: str
) -> None:
    with pytest.raises(Refused):
        mass.send_to_open_ids(wechat, [LAN, MING], TEXT, client_msg_id)
    with pytest.raises(Refused):
        mass.send_to_tag(wechat, 134, TEXT, client_msg_id)
    with pytest.raises(Refused):
        mass.send_to_all(wechat, TEXT, client_msg_id, BOTH)
    assert platform.asked == []


@pytest.mark.parametrize("content", [{}, {"news": {"title": "x"}}, {"image": {"file": "a.png"}}])
def test_content_that_cannot_be_mass_sent_never_leaves(
    wechat: WeChat, platform: Scripted, content: Any
) -> None:
    with pytest.raises(Invalid):
        mass.send_to_tag(wechat, 134, content, "q1")
    assert platform.asked == []


def test_send_by_open_ids(wechat: WeChat, platform: Scripted) -> None:
    platform.answer(SEND, {"errcode": 0, "msg_id": 9007199254740993, "msg_data_id": 206227730})
    receipt = mass.send_to_open_ids(wechat, [LAN, MING], TEXT, "x" * 32)
    assert receipt == MassReceipt("9007199254740993", "206227730", repeated=False)
    assert platform.last(SEND).json == {
        "touser": [LAN, MING],
        "msgtype": "text",
        "text": {"content": "双十一"},
        "clientmsgid": "x" * 32,
    }


def test_send_to_a_tag_says_that_it_is_not_to_all(wechat: WeChat, platform: Scripted) -> None:
    platform.answer(SENDALL, {"errcode": 0, "msg_id": 34182})
    assert mass.send_to_tag(wechat, 134, {"image": {"media_id": "M"}}, "q1").msg_id == "34182"
    assert platform.last(SENDALL).json == {
        "filter": {"is_to_all": False, "tag_id": 134},
        "msgtype": "image",
        "images": {"media_ids": ["M"]},
        "clientmsgid": "q1",
    }


def test_send_to_everybody_is_the_only_one_that_says_so(wechat: WeChat, platform: Scripted) -> None:
    wechat.vouches = lambda message, seal: seal == "sealed" and b"q1" in message
    mass.send_to_all(wechat, {"voice": {"media_id": "M"}}, "q1", Approval("Ann", "Bo", "sealed"))
    assert platform.last(SENDALL).json == {
        "filter": {"is_to_all": True},
        "msgtype": "voice",
        "voice": {"media_id": "M"},
        "clientmsgid": "q1",
    }


def test_video_is_exchanged_for_one_that_can_be_mass_sent(
    wechat: WeChat, platform: Scripted
) -> None:
    platform.answer("/cgi-bin/media/uploadvideo", {"media_id": "MASS"})
    mass.send_to_tag(wechat, 134, {"video": {"media_id": "M", "title": "标题"}}, "q1")
    assert platform.last("/cgi-bin/media/uploadvideo").json == {
        "media_id": "M",
        "title": "标题",
        "description": "",
    }
    sent = platform.last(SENDALL).json
    assert (sent["msgtype"], sent["mpvideo"]) == ("mpvideo", {"media_id": "MASS"})


@pytest.mark.parametrize("name", ["msg_id", "msgid"])
def test_known_client_msg_id_is_a_receipt_and_no_failure(
    wechat: WeChat, platform: Scripted, name: str
) -> None:
    platform.answer(SEND, {"errcode": 45065, "errmsg": "clientmsgid exist", name: 3147494552})
    receipt = mass.send_to_open_ids(wechat, [LAN, MING], TEXT, "q1")
    assert receipt == MassReceipt("3147494552", None, repeated=True)


def test_known_client_msg_id_without_an_id(wechat: WeChat, platform: Scripted) -> None:
    platform.answer(SEND, {"errcode": 45065})
    receipt = mass.send_to_open_ids(wechat, [LAN, MING], TEXT, "q1")
    assert receipt == MassReceipt("", None, repeated=True)


@pytest.mark.parametrize("code", [-1, 268488001, 9500002])
def test_busy_platform_may_have_taken_the_send(
    wechat: WeChat, platform: Scripted, code: int
) -> None:
    platform.answer(SEND, {"errcode": code, "errmsg": "system error"})
    with pytest.raises(WeChatError) as caught:
        mass.send_to_open_ids(wechat, [LAN, MING], TEXT, "q1")
    error = caught.value
    assert (error.errcode, error.action, error.permanent) == (code, "unknown", False)
    assert error.wait_seconds >= 60
    assert platform.paths().count(SEND) == 1


@pytest.mark.parametrize(
    ("code", "action"),
    [(45028, "wait"), (45066, "wait"), (42010, "wait"), (40152, "fix"), (48003, "stop"), (48001, "stop")],
)  # fmt: skip
def test_refused_sends_say_what_to_do(
    wechat: WeChat, platform: Scripted, code: int, action: str
) -> None:
    platform.answer(SEND, {"errcode": code})
    with pytest.raises(WeChatError) as caught:
        mass.send_to_open_ids(wechat, [LAN, MING], TEXT, "q1")
    assert (caught.value.errcode, caught.value.action) == (code, action)


def test_expired_token_repeats_with_the_same_client_msg_id(
    wechat: WeChat, platform: Scripted
) -> None:
    platform.answer(SEND, {"errcode": 42001}, {"errcode": 0, "msg_id": 1})
    mass.send_to_open_ids(wechat, [LAN, MING], TEXT, "q1")
    bodies = {asked.body for asked in platform.asked if asked.path == SEND}
    assert len(bodies) == 1


def test_preview_goes_to_one_tester_and_takes_one_image(wechat: WeChat, platform: Scripted) -> None:
    mass.preview(wechat, LAN, {"image": {"media_id": "M"}})
    assert platform.last("/cgi-bin/message/mass/preview").json == {
        "touser": LAN,
        "msgtype": "image",
        "image": {"media_id": "M"},
    }
    with pytest.raises(Refused):
        mass.preview(wechat, " ", TEXT)


def test_job_status_is_asked_by_text_id(wechat: WeChat, platform: Scripted) -> None:
    platform.answer("/cgi-bin/message/mass/get", {"msg_id": 1, "msg_status": "SENDING"}, {})
    assert mass.job_status(wechat, "201053012") == "SENDING"
    assert platform.last("/cgi-bin/message/mass/get").json == {"msg_id": "201053012"}
    assert mass.job_status(wechat, "201053012") == ""
