"""Mass sends from the call to the finish event. Sources: docs/wechat-limits.md 2 and 8."""

import json
import xml.etree.ElementTree as ET

import pytest
import requests

from bot.sandbox import crypto, faults
from tests.bot.sandbox.api import AES_KEY, BASE, LAN, MING, SERVICE, SUBSCRIPTION, WEI, Api

FINISH = faults.FINISH_EVENT
SEND = "/cgi-bin/message/mass/send"


def opened(body: bytes) -> dict[str, str]:
    """The fields of a push in safe mode."""
    sealed = ET.fromstring(body).findtext("Encrypt") or ""
    node = ET.fromstring(crypto.decrypt(AES_KEY, SERVICE, sealed))
    return {each.tag: each.text or "" for each in node}


def finish_events(api: Api) -> list[dict[str, str]]:
    fields = [opened(body) for _, body in api.pushed]
    return [each for each in fields if each.get("Event") == FINISH]


def test_a_job_finishes_after_its_time_and_tells_its_counts(api: Api) -> None:
    answer = api.mass([LAN, MING, WEI], clientmsgid="job-1")
    number = answer["msg_id"]
    assert number > 2**31, "ids do not fit 32 bits, as real ones"
    assert api.post("/cgi-bin/message/mass/get", {"msg_id": number})["msg_status"] == "SENDING"
    api.pass_seconds(19)
    assert finish_events(api) == []
    api.pass_seconds(1)
    (event,) = finish_events(api)
    assert event["MsgID"] == str(number)
    assert event["Status"] == "send success"
    counts = [event[f"{name}Count"] for name in ("Total", "Filter", "Sent", "Error")]
    assert counts == ["3", "1", "1", "0"], "Ming has left, Wei refuses messages"
    assert (
        api.post("/cgi-bin/message/mass/get", {"msg_id": str(number)})["msg_status"]
        == "SEND_SUCCESS"
    )
    (item,) = api.platform.received(SERVICE, LAN)
    assert (item["way"], item["month"], item["msg_id"]) == ("mass", "2025-03", number)
    assert item["content"] == {"type": "text", "text": "上新"}


def test_nobody_gets_a_fifth_in_a_month_of_shanghai(api: Api) -> None:
    api.platform.add_followers(SERVICE, [{"open_id": "o_new"}])
    for number in range(5):
        assert api.mass([LAN, "o_new"], clientmsgid=f"job-{number}")["errcode"] == 0
        api.pass_seconds(60)
    assert [event["FilterCount"] for event in finish_events(api)] == ["2", "2", "2", "2", "0"]
    assert api.platform.mass_count(SERVICE, LAN, "2025-03") == 4
    assert api.platform.histogram(SERVICE, "2025-03") == {0: 1, 4: 2}
    api.platform.set_clock("2025-03-31 23:59:50")
    assert api.mass([LAN, "o_new"], clientmsgid="turn")["errcode"] == 0
    api.pass_seconds(30)
    assert api.platform.mass_count(SERVICE, LAN, "2025-04") == 1, "the month of the delivery counts"


def test_counts_can_be_given_and_errors_are_counted(api: Api) -> None:
    api.platform.add_followers(
        SERVICE, [{"open_id": f"o_{n}", "counts": {"2025-03": n}} for n in range(6)]
    )
    api.platform.fault(FINISH, "mass_errors", errcode=2)
    api.mass([f"o_{n}" for n in range(6)])
    api.pass_seconds(60)
    (event,) = finish_events(api)
    counts = [event[f"{name}Count"] for name in ("Total", "Filter", "Sent", "Error")]
    assert counts == ["6", "4", "2", "2"]


def test_the_same_clientmsgid_is_refused_with_the_old_id_for_a_day(api: Api) -> None:
    first = api.mass([LAN, WEI], clientmsgid="job-1")
    again = api.mass([LAN, WEI], clientmsgid="job-1", text={"content": "别的"})
    assert (again["errcode"], again["msg_id"]) == (45065, first["msg_id"])
    api.pass_seconds(24 * 3600 + 1)
    assert api.mass([LAN, WEI], clientmsgid="job-1")["errcode"] == 0


def test_without_clientmsgid_the_same_audience_and_content_are_one_send(api: Api) -> None:
    first = api.mass([LAN, WEI])
    assert api.mass([WEI, LAN])["errcode"] == 45065
    assert api.mass([WEI, LAN], text={"content": "别的"})["errcode"] == 0
    assert first["errcode"] == 0


def test_a_lost_answer_may_be_asked_for_again_after_a_minute_only(api: Api) -> None:
    api.platform.fault(SEND, "drop")
    with pytest.raises(requests.ConnectionError):
        api.mass([LAN, WEI], clientmsgid="job-1")
    assert api.mass([LAN, WEI], clientmsgid="job-1")["errcode"] == 45066
    api.pass_seconds(60)
    answer = api.mass([LAN, WEI], clientmsgid="job-1")
    assert (answer["errcode"], api.platform.mass_count(SERVICE, LAN, "2025-03")) == (45065, 1)
    assert answer["msg_id"]


def test_a_call_that_was_never_carried_out_leaves_no_trace(api: Api) -> None:
    for kind, error in (
        ("timeout", requests.ReadTimeout),
        ("http_500", ValueError),
        ("html", ValueError),
    ):
        api.platform.fault(SEND, kind)
        with pytest.raises(error):
            api.mass([LAN, WEI], clientmsgid="job-1")
    api.platform.fault(SEND, "errcode", errcode=-1)
    assert api.mass([LAN, WEI], clientmsgid="job-1")["errcode"] == -1
    assert api.mass([LAN, WEI], clientmsgid="job-1")["errcode"] == 0


def test_chunks_sent_side_by_side_are_told_42010(api: Api) -> None:
    account = api.platform.account(SERVICE)
    assert api.platform.mass_begins(account.id), "a call is running"
    assert api.mass([LAN, WEI])["errcode"] == 42010
    api.platform.mass_ends(account.id)
    assert api.mass([LAN, WEI])["errcode"] == 0


@pytest.mark.parametrize(
    ("kind", "at_once", "later"),
    [("finish_lose", 0, 0), ("finish_duplicate", 2, 2), ("finish_delay", 0, 1)],
)
def test_a_finish_event_can_be_lost_doubled_or_late(
    api: Api, kind: str, at_once: int, later: int
) -> None:
    api.platform.fault(FINISH, kind, seconds=600)
    api.mass([LAN, WEI])
    api.pass_seconds(20)
    assert len(finish_events(api)) == at_once
    api.pass_seconds(600)
    assert len(finish_events(api)) == later


def test_a_finish_event_nobody_takes_is_repeated_three_times_and_then_gone(api: Api) -> None:
    api.answer = ConnectionRefusedError()
    api.mass([LAN, WEI])
    api.pass_seconds(20)
    assert len(finish_events(api)) == 4
    api.answer = (200, b"success")
    api.pass_seconds(3600)
    assert len(finish_events(api)) == 4


def test_a_send_from_the_site_counts_and_pushes_an_id_never_seen(api: Api) -> None:
    number = api.platform.site_send(SERVICE, "站内群发")
    api.pass_seconds(20)
    (event,) = finish_events(api)
    assert event["MsgID"] == str(number)
    assert api.platform.mass_count(SERVICE, LAN, "2025-03") == 1
    assert api.mass_all(SERVICE, {"is_to_all": True})["errcode"] == 45028, (
        "one a day, website included"
    )


def test_a_subscription_account_sends_once_a_day(api: Api) -> None:
    tag = {"is_to_all": False, "tag_id": 100}
    assert api.mass_all(SUBSCRIPTION, tag)["errcode"] == 0
    assert api.mass_all(SUBSCRIPTION, {"is_to_all": True})["errcode"] == 45028
    api.platform.set_clock("2025-03-03 23:59:59")
    assert api.mass_all(SUBSCRIPTION, tag, text={"content": "二"})["errcode"] == 45028
    api.platform.set_clock("2025-03-04 00:00:00")
    assert api.mass_all(SUBSCRIPTION, {"is_to_all": True}, text={"content": "三"})["errcode"] == 0


def test_a_service_account_sends_to_all_once_a_day_and_four_times_a_month(api: Api) -> None:
    codes = []
    for day in (3, 4, 5, 6, 7):
        api.platform.set_clock(f"2025-03-{day:02} 09:00")
        codes.append(
            api.mass_all(SERVICE, {"is_to_all": True}, text={"content": str(day)})["errcode"]
        )
        codes.append(api.mass_all(SERVICE, {"is_to_all": True}, text={"content": "再"})["errcode"])
    assert codes == [0, 45028] * 4 + [45028, 45028]
    tag = {"is_to_all": False, "tag_id": 100}
    assert api.mass_all(SERVICE, tag)["errcode"] == 0, "by tag there is no such limit"


def test_a_tag_is_resolved_when_the_send_is_taken(api: Api) -> None:
    api.mass_all(SERVICE, {"is_to_all": False, "tag_id": 100})
    api.pass_seconds(20)
    assert finish_events(api)[0]["TotalCount"] == "1"


def test_without_the_agreement_nothing_is_sent(api: Api) -> None:
    api.platform.change_account(SERVICE, options={"agreement": False})
    assert api.mass([LAN, WEI])["errcode"] == 48003


def test_a_preview_reaches_one_follower_and_counts_nothing(api: Api) -> None:
    body = {"touser": LAN, "msgtype": "text", "text": {"content": "预览"}}
    assert api.post("/cgi-bin/message/mass/preview", body)["errcode"] == 0
    assert [item["way"] for item in api.platform.received(SERVICE, LAN)] == ["preview"]
    assert api.platform.mass_count(SERVICE, LAN, "2025-03") == 0


def test_speed_and_delete(api: Api) -> None:
    assert api.post("/cgi-bin/message/mass/speed/set", {"speed": 3})["errcode"] == 0
    assert api.post("/cgi-bin/message/mass/speed/get", {}) == {"speed": 3, "realspeed": 30}
    number = api.mass([LAN, WEI])["msg_id"]
    api.pass_seconds(20)
    assert api.post("/cgi-bin/message/mass/delete", {"msg_id": number})["errcode"] == 40059, (
        "a text"
    )


def test_articles_go_out_from_a_draft(api: Api) -> None:
    files = {"media": ("a.jpg", b"\xff\xd8picture", "image/jpeg")}
    token = {"access_token": api.token(), "type": "thumb"}
    thumb = api.http.post(
        f"{BASE}/cgi-bin/material/add_material", params=token, files=files, timeout=5
    ).json()
    article = {"title": "上新", "content": "<p>正文</p>", "thumb_media_id": thumb["media_id"]}
    draft = api.post("/cgi-bin/draft/add", {"articles": [article]})
    assert api.get("/cgi-bin/draft/count")["total_count"] == 1
    assert api.post("/cgi-bin/draft/batchget", {"offset": 0, "count": 20})["item_count"] == 1
    answer = api.mass([LAN, WEI], msgtype="mpnews", mpnews={"media_id": draft["media_id"]})
    assert answer["errcode"] == 0
    assert answer["msg_data_id"]
    api.pass_seconds(20)
    assert api.post("/cgi-bin/message/mass/delete", {"msg_id": answer["msg_id"]})["errcode"] == 0
    status = api.post("/cgi-bin/message/mass/get", {"msg_id": answer["msg_id"]})["msg_status"]
    assert status == "DELETE"


def test_ten_thousand_at_once_are_one_job(api: Api) -> None:
    open_ids = [f"o_{number:05}" for number in range(10_000)]
    api.platform.add_followers(SERVICE, [{"open_id": each} for each in open_ids])
    assert api.mass(open_ids)["errcode"] == 0
    api.pass_seconds(20)
    assert finish_events(api)[0]["SentCount"] == "10000"
    page = api.get("/cgi-bin/user/get")
    assert (page["total"], page["count"]) == (10_002, 10_000)
    rest = api.get("/cgi-bin/user/get", next_openid=page["next_openid"])
    assert (rest["count"], rest["next_openid"]) == (2, rest["data"]["openid"][-1])
    assert (
        json.dumps(api.get("/cgi-bin/user/get", next_openid=rest["next_openid"])).count("data") == 0
    )
