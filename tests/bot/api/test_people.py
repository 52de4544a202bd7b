"""Followers, tags and conversations by API."""

from typing import Any

import pytest
import sqlalchemy as sa

from bot import db, followers
from bot.accounts import Account
from bot.runtime import Runtime
from bot.tables.operators import audit
from bot.tables.outbox import outbox
from tests import factories
from tests.bot.api.conftest import Make, Program

LAN = factories.open_id(1)


@pytest.fixture
def lan(rt: Runtime, account: Account) -> int:
    """Lan follows, and wrote just now."""
    with db.writing(rt.engine) as session:
        who = factories.make_follower(session, account.id, now=rt.clock(), fields={"称呼": "小兰"})
        followers.open_window(session, account.id, who, "message", rt.clock())
        factories.make_tag(session, account.id, "活动敏感")
    return who


def test_followers_are_found_and_openids_are_shortened(program: Make, lan: int):
    mine = program("followers.read")
    (one,) = mine.told("GET", "/followers")["items"]
    assert one["id"] == lan and one["fields"] == {"称呼": "小兰"} and one["reply_window"]
    assert LAN not in str(one) and one["open_id"].startswith("o_")
    whole = program("followers.read", "followers.open_id")
    assert whole.told("GET", f"/followers/{lan}")["open_id"] == LAN
    assert whole.told("GET", f"/followers?q={LAN}")["total"] == 1
    assert mine.told("GET", "/followers?status=left")["items"] == []
    assert mine.refused("GET", "/followers?sort=nothing") == (422, "invalid")
    assert mine.refused("GET", "/followers/99") == (404, "not-found")


def test_followers_are_read_page_by_page(api: Program, rt: Runtime, account: Account):
    with db.writing(rt.engine) as session:
        factories.make_followers(session, account.id, 5, now=rt.clock())
    seen, cursor = [], ""
    for _ in range(3):
        page = api.told("GET", f"/followers?sort=id&down=false&limit=2{cursor}")
        seen += [one["id"] for one in page["items"]]
        cursor = f"&cursor={page['next']}"
    assert len(seen) == 5 and seen == sorted(seen) and page["next"] is None and page["total"] == 5


def test_a_follower_is_changed_tagged_and_the_change_is_in_the_story(api: Program, lan: int):
    path = f"/followers/{lan}"
    told = api.told("PATCH", path, {"remark": "老顾客", "fields": {"年龄": 30, "称呼": None}})
    assert told["remark"] == "老顾客" and told["fields"] == {"年龄": 30}
    tagged = api.told("POST", f"{path}/tags", {"add": ["活动敏感"]})
    assert tagged["tags"] == ["活动敏感"]
    assert api.refused("POST", f"{path}/tags", {"add": ["没有"]}) == (422, "invalid")
    assert api.told("POST", f"{path}/tags", {"remove": ["活动敏感"]})["tags"] == []
    assert api.told("PATCH", path, {"opted_out": True})["opted_out"]
    assert api.refused("PATCH", path, {"remark": "x" * 31}) == (422, "invalid")
    story = api.told("GET", f"{path}/timeline?limit=1")
    assert story["items"][0]["data"]["by"] == "api:shop" and story["next"]
    assert api.told("GET", f"{path}/timeline?cursor={story['next']}")["items"]


def test_everything_kept_of_a_person_is_told_and_erased(program: Make, lan: int, rt: Runtime):
    half = program("followers.export", "followers.erase", "followers.read")
    assert half.refused("GET", f"/followers/{lan}/export") == (403, "forbidden")
    whole = program("followers.export", "followers.open_id")
    kept = whole.told("GET", f"/followers/{lan}/export")["person"]
    assert kept["follower"]["open_id"] == LAN
    whole = program("followers.write")
    whole.told("PATCH", f"/followers/{lan}", {"remark": "老顾客"})
    assert half.told("POST", f"/followers/{lan}/erase") == {}
    assert half.refused("GET", f"/followers/{lan}") == (404, "not-found")
    assert half.refused("POST", f"/followers/{lan}/erase") == (404, "not-found")
    with db.reading(rt.engine) as session:
        told = str(session.execute(sa.select(audit)).all())
    assert "follower.edit" in told and LAN not in told and "老顾客" not in told


def test_tags_are_made_renamed_merged_and_put_away(api: Program, lan: int):
    wanted = {"name": "微博来源", "family": "客户信息"}
    made = api.told("POST", "/tags", wanted, 201)
    assert api.refused("POST", "/tags", wanted) == (422, "invalid")
    path = f"/tags/{made['id']}"
    assert api.told("PUT", path, wanted | {"name": "微博", "sync": True})["sync"]
    api.told("POST", f"/followers/{lan}/tags", {"add": ["微博"]})
    assert api.told("POST", f"{path}/merge", {"into": "活动敏感"})["people"] == 1
    assert api.told("GET", f"/followers/{lan}")["tags"] == ["活动敏感"]
    names = [one["name"] for one in api.told("GET", "/tags")["items"]]
    assert names == ["活动敏感"]
    other = api.told("POST", "/tags", {"name": "新", "family": "价值"}, 201)
    assert api.told("POST", f"/tags/{other['id']}/archive")["archived_at"]
    assert [one["name"] for one in api.told("GET", "/tags?archived=true")["items"]][-1:] == ["新"]
    assert api.told("POST", f"/tags/{other['id']}/restore")["archived_at"] is None
    assert api.refused("POST", "/tags", {"name": "x", "family": "没有"}) == (422, "invalid")
    assert api.refused("GET", "/tags/99") == (404, "not-found")


def test_a_conversation_is_read_and_answered_once(api: Program, lan: int, rt: Runtime):
    (line,) = api.told("GET", "/messages")["items"]
    assert line["follower"] == lan and line["left"] == 5
    path = f"/messages/{lan}"
    answer = {"content": {"text": "您好"}}
    first = api.post(path, answer, Idempotency_Key="one")
    again = api.post(path, answer, Idempotency_Key="one")
    assert first.status_code == 202 and first.json == again.json
    with db.reading(rt.engine) as session:
        assert session.execute(sa.select(sa.func.count()).select_from(outbox)).scalar() == 1
    told = api.told("GET", path)
    assert told["left"] == 4 and [one["content"] for one in told["items"]] == [{"text": "您好"}]
    api.told("POST", f"{path}/take", {"agent": "Ann"})
    assert api.told("GET", path)["agent"] == "Ann"
    api.told("POST", f"{path}/hand-back")
    api.told("POST", f"{path}/close")
    assert api.told("GET", "/messages")["items"] == []
    assert api.refused("POST", path, {"content": {"text": ""}}) == (422, "invalid")
    assert api.refused("GET", "/messages/99") == (404, "not-found")


def test_canned_answers_are_kept(api: Program):
    made = api.told("POST", "/canned-answers", {"title": "你好", "text": "您好"}, 201)
    path = f"/canned-answers/{made['id']}"
    api.told("PUT", path, {"title": "你好", "text": "您好，请说"})
    assert [one["text"] for one in api.told("GET", "/canned-answers")["items"]] == ["您好，请说"]
    assert api.told("DELETE", path) == {}
    assert api.refused("DELETE", path) == (404, "not-found")


@pytest.mark.parametrize("path", ["/followers/{0}", "/followers/{0}/timeline", "/messages/{0}"])
def test_another_brands_people_do_not_exist(api: Program, lan: int, other: Account, path: str):
    api.of = "/api/v1/accounts/other"
    assert api.refused("GET", path.format(lan)) == (404, "not-found")


def test_the_audit_is_read_newest_first(api: Program, lan: int):
    for remark in ("一", "二", "三"):
        api.told("PATCH", f"/followers/{lan}", {"remark": remark})
    page = api.told("GET", "/audit?limit=2&operator=api:shop")
    assert [one["after"]["remark"] for one in page["items"]] == ["三", "二"]
    rest: Any = api.told("GET", f"/audit?limit=2&operator=api:shop&cursor={page['next']}")
    assert [one["after"]["remark"] for one in rest["items"]] == ["一"] and rest["next"] is None
