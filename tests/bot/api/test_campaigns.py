"""Campaigns by API: written as the account file writes them, reviewed, steered, and told."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from bot import db
from bot.accounts import Account
from bot.audiences import segments
from bot.campaigns import external_sends, planning
from bot.clock import local
from bot.runtime import Runtime
from tests import factories
from tests.bot.api.conftest import Make, Program
from tests.bot.campaigns import makers


def document(now: datetime, **more: Any) -> dict[str, Any]:
    return {
        "name": "奈雪券",
        "segment": "有标签",
        "at": local(now + timedelta(hours=1)).isoformat(),
        "channels": ["mass"],
        "content": {"text": "请你喝奶茶：{link:go}"},
        "links": {"go": "https://weibo.com/u/1"},
        "goal": {"metric": "guided", "target": 10},
        "status": "draft",
        **more,
    }


@pytest.fixture
def people(rt: Runtime, account: Account, now: datetime) -> None:
    """Ten followers with a tag; five without."""
    with db.writing(rt.engine) as session:
        who = factories.make_followers(session, account.id, 15, now=now - timedelta(days=9))
        tag = factories.make_tag(session, account.id, "微博来源")
        for follower_id in who[:10]:
            factories.give_tag(session, account.id, follower_id, tag, now=now)
        segments.save(session, account.id, "有标签", {"tag": {"has": "微博来源"}}, now)
        segments.save(session, account.id, "全体", {"all": []}, now)
        external_sends.opening(session, account.id, 0, None, now, by="cli")


def test_a_campaign_is_written_handed_in_approved_and_followed(
    api: Program, rt: Runtime, now: datetime, people: None
) -> None:
    made = api.told("POST", "/campaigns", {"document": document(now)}, 201)
    path = f"/campaigns/{made['id']}"
    assert api.refused("POST", "/campaigns", {"document": document(now)}) == (409, "conflict")
    assert api.told("GET", "/campaigns")["items"][0]["name"] == "奈雪券"
    changed = api.told("PUT", path, {"document": document(now, content={"text": "新的"})})
    assert changed["document"]["content"] == {"text": "新的"}
    stale = {"document": document(now), "version": made["version"]}
    assert api.refused("PUT", path, stale) == (409, "conflict"), "written over another's change"
    found = api.told("GET", f"{path}/forecast")
    assert (found["reached"], found["slots"], found["needs_two"]) == (10, 10, False)
    assert api.told("POST", f"{path}/submit")["submitted_by"] is not None
    bounds = {"people": 10, "slots": 10, "version": made["version"]}
    assert api.refused("POST", f"{path}/approve", bounds) == (409, "conflict"), "nobody saw that"
    bounds["version"] = changed["version"]
    approved = api.told("POST", f"{path}/approve", bounds)
    assert (approved["status"], approved["submitted_by"]) == ("scheduled", None)
    later = now + timedelta(hours=1)
    for run_id in planning.start_due(rt.engine, later):
        while planning.plan_run(rt.engine, run_id, later):
            pass
    told = api.told("GET", f"{path}/progress")
    assert told["runs"][0]["audience"] == 10
    assert sum(line["people"] for line in told["runs"][0]["reasons"]) == 10
    api.told("POST", f"{path}/pause")
    api.told("POST", f"{path}/resume")
    api.told("POST", f"{path}/cancel")
    outcome = api.told("GET", f"{path}/outcome")
    assert [step["name"] for step in outcome["funnel"]][:3] == ["planned", "sent", "delivered"]
    assert outcome["funnel"][3]["people"] is None, "nobody can measure who read a text"
    assert api.told("GET", f"{path}/compare")["left"] is None
    api.told("POST", f"{path}/archive")
    assert api.told("GET", "/campaigns")["items"] == []
    assert len(api.told("GET", "/campaigns?status=archived")["items"]) == 1


def test_a_program_does_not_approve_its_own_send_to_everybody(
    api: Program, now: datetime, people: None
) -> None:
    made = api.told("POST", "/campaigns", {"document": document(now, segment="全体")}, 201)
    path = f"/campaigns/{made['id']}"
    api.told("POST", f"{path}/submit")
    bounds = {"people": 15, "slots": 15}
    assert api.refused("POST", f"{path}/approve", bounds) == (409, "conflict")
    api.told("POST", f"{path}/reject", {"reason": "发给谁想清楚"})
    assert api.told("GET", path)["submitted_by"] is None


def test_content_the_checks_stop_is_let_go_with_a_reason(
    api: Program, program: Make, now: datetime, people: None
) -> None:
    said = document(now, content={"text": "国家级品质"})
    path = f"/campaigns/{api.told('POST', '/campaigns', {'document': said}, 201)['id']}"
    told = api.told("GET", f"{path}/checks")
    assert (told["stops"], told["allowed_by"]) == (True, None)
    assert (told["findings"][0]["found"], told["findings"][0]["severity"]) == ("国家级", "error")
    assert api.refused("POST", f"{path}/submit") == (409, "conflict")
    writer = program("campaigns.write", name="writer")
    assert writer.refused("POST", f"{path}/allow", {"reason": "x"})[0] == 403
    assert api.refused("POST", f"{path}/allow", {"reason": ""})[0] == 422
    told = api.told("POST", f"{path}/allow", {"reason": "证书上的名称"})
    assert (told["stops"], told["allowed_by"], told["reason"]) == (
        False,
        "api:shop",
        "证书上的名称",
    )
    api.told("POST", f"{path}/submit")
    assert api.refused("POST", f"{path}/allow", {"reason": " "}) == (409, "conflict")


def test_an_approval_is_no_line_of_a_document(api: Program, now: datetime, people: None) -> None:
    smuggled = document(now, approved_for={"people": 10, "slots": 10})
    assert api.refused("POST", "/campaigns", {"document": smuggled}) == (422, "invalid")


def test_another_accounts_campaign_is_not_found(api: Program, rt: Runtime, now: datetime) -> None:
    with db.writing(rt.engine) as session:
        other = factories.make_account(session, "third", now=now)
        foreign = makers.make_campaign(session, other, now=now)
    for path in ("", "/progress", "/outcome", "/compare", "/forecast"):
        assert api.refused("GET", f"/campaigns/{foreign}{path}") == (404, "not-found")
    assert api.refused("POST", f"/campaigns/{foreign}/pause") == (404, "not-found")
