"""Followers, tags, codes, material, web authorisation and quotas: what is asked and what is understood."""

import json
from typing import Any

import pytest

from bot.errors import Refused, WeChatError
from bot.wechat import customer_service, media, oauth, qrcodes, quota, tags, users
from bot.wechat.client import WeChat
from tests.bot.wechat.conftest import APP_ID, LAN, MING, SECRET, STABLE_TOKEN, Scripted

# -- users


def test_pages_of_followers(wechat: WeChat, platform: Scripted) -> None:
    path = "/cgi-bin/user/get"
    platform.answer(
        path,
        {"total": 3, "count": 2, "data": {"openid": [LAN, MING]}, "next_openid": MING},
        {"total": 3, "count": 0, "next_openid": ""},
    )
    assert users.list_open_ids(wechat, "") == users.Page(3, (LAN, MING), MING)
    assert users.list_open_ids(wechat, MING) == users.Page(3, (), "")
    assert platform.last(path).args["next_openid"] == MING


@pytest.mark.parametrize(
    "body", [{"total": 3, "count": 3}, {"count": 2, "data": {"openid": [LAN]}}, {"data": {"openid": "x"}}]
)  # fmt: skip
def test_page_that_lost_followers_is_no_end_of_the_list(
    wechat: WeChat, platform: Scripted, body: dict[str, Any]
) -> None:
    platform.answer("/cgi-bin/user/get", body)
    with pytest.raises(WeChatError):
        users.list_open_ids(wechat, "")


def test_details_of_up_to_a_hundred(wechat: WeChat, platform: Scripted) -> None:
    path = "/cgi-bin/user/info/batchget"
    platform.answer(path, {"user_info_list": [{"openid": LAN, "subscribe": 1}, None, {}]})
    assert users.details(wechat, [LAN]) == [{"openid": LAN, "subscribe": 1}]
    assert platform.last(path).json == {"user_list": [{"openid": LAN, "lang": "zh_CN"}]}
    assert users.details(wechat, []) == []
    with pytest.raises(Refused):
        users.details(wechat, [LAN] * 101)
    assert platform.paths().count(path) == 1


# -- tags


def test_tag_is_created_and_listed(wechat: WeChat, platform: Scripted) -> None:
    platform.answer("/cgi-bin/tags/create", {"tag": {"id": 134, "name": "微博"}}, {"tag": None})
    assert tags.create(wechat, "微博") == 134
    assert platform.last("/cgi-bin/tags/create").json == {"tag": {"name": "微博"}}
    with pytest.raises(WeChatError):
        tags.create(wechat, "微博")
    platform.answer("/cgi-bin/tags/get", {"tags": [{"id": 2, "name": "星标组", "count": 5}, {}]})
    assert tags.all(wechat) == [tags.PlatformTag(2, "星标组", 5)]
    for name in ("", " ", "标" * 11):
        with pytest.raises(Refused):
            tags.create(wechat, name)


def test_renaming_and_deleting_a_tag(wechat: WeChat, platform: Scripted) -> None:
    tags.rename(wechat, 134, "新")
    assert platform.last("/cgi-bin/tags/update").json == {"tag": {"id": 134, "name": "新"}}
    tags.delete(wechat, 134)
    assert platform.last("/cgi-bin/tags/delete").json == {"tag": {"id": 134}}


@pytest.mark.parametrize(("change", "name"), [(tags.tag, "batchtagging"), (tags.untag, "batchuntagging")])  # fmt: skip
def test_tagging_tells_who_failed(
    wechat: WeChat, platform: Scripted, change: Any, name: str
) -> None:
    path = f"/cgi-bin/tags/members/{name}"
    platform.answer(
        path,
        {"errcode": 0},
        {"errcode": 45171, "fail_openid_list": [MING]},
        {"errcode": 45171},
        {"errcode": 45159},
    )
    assert change(wechat, 134, [LAN, MING]) == []
    assert platform.last(path).json == {"openid_list": [LAN, MING], "tagid": 134}
    assert change(wechat, 134, [LAN, MING]) == [MING]
    assert change(wechat, 134, [LAN, MING]) == [LAN, MING]
    with pytest.raises(WeChatError, match="45159"):
        change(wechat, 134, [LAN])
    with pytest.raises(Refused):
        change(wechat, 134, [LAN] * 51)
    assert change(wechat, 134, []) == []


def test_members_of_a_tag(wechat: WeChat, platform: Scripted) -> None:
    platform.answer("/cgi-bin/user/tag/get", {"count": 1, "data": {"openid": [LAN]}, "next_openid": LAN})  # fmt: skip
    assert tags.members(wechat, 134, "").open_ids == (LAN,)
    assert platform.last("/cgi-bin/user/tag/get").json == {"tagid": 134, "next_openid": ""}


# -- parameter QR codes


def test_permanent_and_temporary_codes(wechat: WeChat, platform: Scripted) -> None:
    path = "/cgi-bin/qrcode/create"
    platform.answer(
        path,
        {"ticket": "gQ+/=", "url": "http://weixin.qq.com/q/x"},
        {"ticket": "T", "url": "u", "expire_seconds": 600},
    )
    forever = qrcodes.create(wechat, "wb_bio", permanent=True)
    assert forever == qrcodes.Ticket("gQ+/=", "http://weixin.qq.com/q/x", None)
    assert forever.image_url.endswith("?ticket=gQ%2B%2F%3D")
    assert platform.last(path).json == {
        "action_name": "QR_LIMIT_STR_SCENE",
        "action_info": {"scene": {"scene_str": "wb_bio"}},
    }
    assert qrcodes.create(wechat, "s", permanent=False, expire_seconds=600).expire_seconds == 600
    assert platform.last(path).json == {
        "action_name": "QR_STR_SCENE",
        "expire_seconds": 600,
        "action_info": {"scene": {"scene_str": "s"}},
    }


@pytest.mark.parametrize(("scene", "seconds"), [("", 60), ("x" * 65, 60), ("s", 0), ("s", 2_592_001)])  # fmt: skip
def test_code_out_of_range_never_leaves(
    wechat: WeChat, platform: Scripted, scene: str, seconds: int
) -> None:
    with pytest.raises(Refused):
        qrcodes.create(wechat, scene, permanent=False, expire_seconds=seconds)
    assert platform.asked == []


# -- material


@pytest.mark.parametrize(
    ("kind", "data", "name"),
    [
        ("image", b"\xff\xd8\xff\xe0", "image.jpg"),
        ("image", b"GIF89a", "image.gif"),
        ("voice", b"#!AMR\n", "voice.amr"),
        ("voice", b"ID3\x03", "voice.mp3"),
        ("thumb", b"\xff\xd8\xff\xe0", "thumb.jpg"),
    ],
)
def test_material_is_named_by_what_it_is(
    wechat: WeChat, platform: Scripted, kind: str, data: bytes, name: str
) -> None:
    path = "/cgi-bin/material/add_material"
    platform.answer(path, {"media_id": "M"})
    assert media.upload(wechat, kind, "中文 名.bin", data) == media.Material("M", "")
    assert platform.last(path).files["media"] == (name, data)
    assert platform.last(path).args["type"] == kind


def test_video_carries_its_title(wechat: WeChat, platform: Scripted) -> None:
    path = "/cgi-bin/material/add_material"
    platform.answer(path, {"media_id": "M"})
    media.upload(wechat, "video", "夏.mp4", b"\x00\x00\x00\x18ftypmp42", description="短片")
    about = json.loads(platform.last(path).form["description"])
    assert about == {"title": "夏.mp4", "introduction": "短片"}


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        ("hologram", b"x"),
        ("image", b""),
        ("image", b"<svg/>"),
        ("thumb", b"\x89PNG\r\n\x1a\n"),
        ("thumb", b"\xff\xd8\xff" + b"x" * 65536),
    ],
)
def test_files_the_platform_would_refuse_never_leave(
    wechat: WeChat, platform: Scripted, kind: str, data: bytes
) -> None:
    with pytest.raises(Refused):
        media.upload(wechat, kind, "a.bin", data)
    assert platform.asked == []


def test_temporary_material_and_deleting(wechat: WeChat, platform: Scripted) -> None:
    platform.answer("/cgi-bin/media/upload", {"thumb_media_id": "T"}, {"type": "image"})
    assert media.upload_temporary(wechat, "thumb", "a", b"\xff\xd8\xff").media_id == "T"
    with pytest.raises(WeChatError):
        media.upload_temporary(wechat, "image", "a", b"\xff\xd8\xff")
    media.delete(wechat, "M")
    assert platform.last("/cgi-bin/material/del_material").json == {"media_id": "M"}


# -- web authorisation


def test_authorize_url_keeps_the_order_and_the_fragment() -> None:
    assert oauth.authorize_url("https://open.weixin.qq.com/", "wx1", "https://e.com/l/a?b=1", "st8") == (
        "https://open.weixin.qq.com/connect/oauth2/authorize?appid=wx1"
        "&redirect_uri=https%3A%2F%2Fe.com%2Fl%2Fa%3Fb%3D1&response_type=code&scope=snsapi_base"
        "&state=st8#wechat_redirect"
    )  # fmt: skip
    for state in ("", "a-b", "x" * 129, "a&b", "状"):
        with pytest.raises(Refused):
            oauth.authorize_url("https://o", "wx1", "https://e.com", state)


def test_visitor_needs_no_token(wechat: WeChat, platform: Scripted) -> None:
    path = "/sns/oauth2/access_token"
    platform.answer(path, {"openid": LAN}, {"openid": LAN, "is_snapshotuser": 1}, {"scope": "x"})
    assert oauth.visitor(wechat, "CODE") == oauth.Visitor(LAN, snapshot=False)
    assert platform.last(path).args == {
        "appid": APP_ID,
        "secret": SECRET,
        "code": "CODE",
        "grant_type": "authorization_code",
    }
    assert oauth.visitor(wechat, "CODE").snapshot
    with pytest.raises(WeChatError):
        oauth.visitor(wechat, "CODE")
    assert STABLE_TOKEN not in platform.paths()


@pytest.mark.parametrize("code", [40029, 40163, 42003, 40001])
def test_refused_code_is_raised_once_and_shows_no_secret(
    wechat: WeChat, platform: Scripted, code: int
) -> None:
    path = "/sns/oauth2/access_token"
    platform.answer(path, {"errcode": code, "errmsg": f"bad {SECRET} rid: 1"})
    with pytest.raises(WeChatError) as caught:
        oauth.visitor(wechat, "CODE")
    assert caught.value.errcode == code
    assert SECRET not in str(caught.value)
    assert platform.paths() == [path]


@pytest.mark.parametrize("code", ["", " ", "a b", "x" * 513, "码", "a\n"])
def test_code_that_is_none_never_leaves(wechat: WeChat, platform: Scripted, code: str) -> None:
    with pytest.raises(Refused):
        oauth.visitor(wechat, code)
    assert platform.asked == []


# -- quotas and the rest


def test_quota_and_callback(wechat: WeChat, platform: Scripted) -> None:
    platform.answer(
        "/cgi-bin/openapi/quota/get", {"quota": {"daily_limit": 100, "used": 1, "remain": 99}}, {}
    )
    assert quota.of(wechat, "/cgi-bin/x") == quota.Quota(100, 1, 99)
    assert quota.of(wechat, "/cgi-bin/x") == quota.Quota(0, 0, 0)
    platform.answer("/cgi-bin/getcallbackip", {"ip_list": ["203.0.113.9", 5]}, {})
    assert quota.callback_ips(wechat) == ["203.0.113.9"]
    assert quota.callback_ips(wechat) == []
    platform.answer("/cgi-bin/callback/check", {"dns": [], "ping": []})
    assert quota.check_callback(wechat) == {"dns": [], "ping": []}


def test_customer_service_message_to_nobody_never_leaves(
    wechat: WeChat, platform: Scripted
) -> None:
    with pytest.raises(Refused):
        customer_service.send(wechat, " ", {"text": "x"})
    assert platform.asked == []
