"""The control API and the personas."""

from typing import Any

import pytest
import requests

from bot.sandbox import create_app, personas
from bot.sandbox.links import opener
from tests.bot.sandbox.api import BASE, LAN, MING, SERVICE, Api


def ask(api: Api, name: str, **words: Any) -> tuple[int, dict[str, Any]]:
    answer = api.http.post(f"{BASE}/sandbox/{name}", json=words, timeout=5)
    return answer.status_code, answer.json()


def test_accounts_never_show_their_secrets(api: Api) -> None:
    status, answer = ask(api, "accounts")
    assert status == 200
    assert len(answer["accounts"]) == 4
    assert not {"app_secret", "token", "aes_key"} & set(answer["accounts"][0])
    changed = ask(api, "accounts/change", app_id=SERVICE, mode="plain", options={"mass_seconds": 1})
    assert (changed[1]["mode"], changed[1]["options"]) == ("plain", {"mass_seconds": 1})
    assert ask(api, "accounts/verify", app_id=SERVICE)[1] == {"verified": False}


def test_followers_in_bulk_act_and_are_looked_at(api: Api) -> None:
    made = ask(api, "followers", app_id=SERVICE, prefix="o_demo_", count=30, tags=["新客"])
    assert made == (200, {"added": 30})
    open_id = f"o_demo_{1:021d}"
    assert len(open_id) == 28
    assert ask(api, "act", act="say", app_id=SERVICE, open_id=open_id, text="你好")[0] == 200
    assert ask(api, "act", act="say", app_id=SERVICE, open_id=MING, text="你好")[0] == 409
    assert ask(api, "counts/set", app_id=SERVICE, counts={open_id: 4})[0] == 200
    assert ask(api, "counts", app_id=SERVICE)[1] == {"counts": {open_id: 4}}
    assert ask(api, "histogram", app_id=SERVICE)[1]["histogram"] == {"0": 31, "4": 1}
    assert (
        ask(api, "followers/set", app_id=SERVICE, open_ids=[open_id], values={"refuses": 1})[0]
        == 200
    )
    assert ask(api, "site_send", app_id=SERVICE, text="站内")[0] == 200
    assert ask(api, "clock", advance=20)[0] == 200
    assert ask(api, "run_due")[1] == {"done": 2}
    received = ask(api, "received", app_id=SERVICE, open_id=LAN)[1]["received"]
    assert [item["way"] for item in received] == ["mass"]
    (job,) = ask(api, "jobs", app_id=SERVICE)[1]["jobs"]
    assert (job["audience"], job["total"], job["filtered"]) == ("site", 32, 30)
    stats = ask(api, "stats", app_id=SERVICE)[1]
    assert (stats["followers"], stats["left"]) == (32, 1)
    kinds = [push["kind"] for push in ask(api, "pushes", app_id=SERVICE, limit=2)[1]["pushes"]]
    assert kinds == ["MASSSENDJOBFINISH", "text"]


def test_faults_are_armed_listed_and_cleared(api: Api) -> None:
    path = "/cgi-bin/tags/*"
    assert ask(api, "faults", path=path, kind="errcode", errcode=-1, times=2)[0] == 200
    assert len(ask(api, "faults")[1]["faults"]) == 1
    codes = [api.get("/cgi-bin/tags/get").get("errcode", 0) for _ in range(3)]
    assert codes == [-1, -1, 0]
    ask(api, "faults", path="/cgi-bin/user/get", kind="errcode", errcode=45009, times=None)
    assert [api.get("/cgi-bin/user/get")["errcode"] for _ in range(3)] == [45009] * 3
    assert ask(api, "faults/clear") == (200, {"cleared": 1})
    assert "errcode" not in api.get("/cgi-bin/user/get")
    api.platform.fault("/cgi-bin/user/get", "errcode", app_id="wxother", times=None)
    assert "errcode" not in api.get("/cgi-bin/user/get"), "of another account"
    api.platform.fault("/cgi-bin/tags/get", "errcode", errcode=-1, times=None, probability=0.5)
    struck = sum("errcode" in api.get("/cgi-bin/tags/get") for _ in range(100))
    assert 30 < struck < 70


@pytest.mark.parametrize(
    ("status", "name", "words"),
    [
        (404, "nothing", {}),
        (422, "stats", {}),
        (422, "stats", {"app_id": "wxnone"}),
        (422, "faults", {"path": "/x", "kind": "earthquake"}),
        (422, "act", {"act": "fly", "app_id": SERVICE, "open_id": LAN}),
        (422, "act", {"act": "say", "app_id": SERVICE, "open_id": LAN}),
        (422, "accounts", {"app_id": "wx", "app_secret": "s", "token": "t", "mode": "secret"}),
        (422, "accounts/change", {"app_id": SERVICE, "id": 5}),
        (422, "followers/set", {"app_id": SERVICE, "open_ids": [LAN], "values": {"id": 1}}),
    ],
)
def test_a_wrong_control_is_told_why(
    api: Api, status: int, name: str, words: dict[str, Any]
) -> None:
    answer = ask(api, name, **words)
    assert answer[0] == status
    assert answer[1]["error"]


def test_controls_are_for_this_machine_only(api: Api) -> None:
    client = create_app(api.platform).test_client()
    far = client.post("/sandbox/accounts", environ_base={"REMOTE_ADDR": "10.0.0.1"})
    assert far.status_code == 403


@pytest.mark.parametrize("body", [b"{", b"[1]", b"null"])
def test_a_control_wants_a_json_object(api: Api, body: bytes) -> None:
    assert api.http.post(f"{BASE}/sandbox/stats", data=body, timeout=5).status_code == 400


def test_an_unknown_api_is_refused_in_json(api: Api) -> None:
    assert api.get("/cgi-bin/none")["errcode"] == 40066


def test_personas_live_the_same_way_and_within_bounds(api: Api) -> None:
    people = [{"open_id": f"o_{number:03}"} for number in range(300)]
    api.platform.add_followers(SERVICE, people)
    assert personas.habits_of("o_001") == personas.habits_of("o_001")
    twin = Api()
    twin.platform.add_followers(SERVICE, people)
    first = personas.live(api.platform, SERVICE, 86_400)
    assert first == personas.live(twin.platform, SERVICE, 86_400)
    assert len(first) == personas.MAX_ACTS
    assert ask(api, "live", app_id=SERVICE, seconds=1)[0] == 200


def test_personas_open_links_of_what_they_got_and_some_leave(api: Api) -> None:
    people = [{"open_id": f"o_{number:03}"} for number in range(300)]
    api.platform.add_followers(SERVICE, people)
    opened: list[str] = []
    api.platform.open_link = lambda url, open_id: opened.append(url) or url  # type: ignore[func-returns-value]
    api.platform.site_send(SERVICE, '看 <a href="http://product.test/l/abc">这里</a>')
    api.pass_seconds(20)
    for _ in range(10):
        personas.live(api.platform, SERVICE, 1, max_acts=100)
    assert set(opened) == {"http://product.test/l/abc"}
    assert 10 < len(opened) < 200, "each looks once"


def test_passers_by_follow_through_the_codes_of_the_account(api: Api) -> None:
    code = {"action_name": "QR_LIMIT_STR_SCENE", "action_info": {"scene": {"scene_str": "store_1"}}}
    assert "ticket" in api.post("/cgi-bin/qrcode/create", code)
    acts = personas.live(api.platform, SERVICE, 86_400, max_acts=100)
    came = [act for act in acts if act.endswith("follows by store_1")]
    assert len(came) == personas.NEWCOMERS_A_DAY
    assert ask(api, "stats", app_id=SERVICE)[1]["followers"] >= len(came)


def test_personas_leave_alone_what_came_before_they_began(api: Api) -> None:
    api.platform.add_followers(SERVICE, [{"open_id": f"o_{number:03}"} for number in range(50)])
    opened: list[str] = []
    api.platform.open_link = lambda url, open_id: opened.append(url) or url  # type: ignore[func-returns-value]
    api.platform.site_send(SERVICE, "http://product.test/l/old")
    api.pass_seconds(20)
    personas.forget_unread(api.platform, SERVICE)
    api.platform.site_send(SERVICE, "http://product.test/l/new")
    api.pass_seconds(20)
    for _ in range(10):
        personas.live(api.platform, SERVICE, 1, max_acts=100)
    assert set(opened) == {"http://product.test/l/new"}


def test_a_persona_follows_redirects_on_this_machine_only(api: Api) -> None:
    link = (
        f"{BASE}/connect/oauth2/authorize?appid={SERVICE}&redirect_uri=http%3A%2F%2Fshop.test%2F"
        "&response_type=code&scope=snsapi_base&state=a#wechat_redirect"
    )

    def browser() -> requests.Session:
        return api.http

    reached = opener(browser, lambda: {"api.weixin.qq.com"})(link, LAN)
    assert reached.startswith("http://shop.test/?code="), "the shop itself is never asked"
