"""Rules by API: edited, ordered, tried, checked, published, compared, rolled back."""

from typing import Any

import pytest

from bot import db
from bot.accounts import Account
from bot.runtime import Runtime
from bot.tables.inbox import inbound
from bot.workers import run_due
from tests import factories
from tests.bot.api.conftest import Make, Program


def rule(name: str, *words: str, reply: str = "好的") -> dict[str, Any]:
    return {
        "name": name,
        "when": [{"text_is": {"any": list(words)}}],
        "then": [{"reply": {"text": reply}}],
    }


def added(api: Program, name: str, *words: str, **values: Any) -> dict[str, Any]:
    told: dict[str, Any] = api.told("POST", "/rules", {"rule": rule(name, *words, **values)}, 201)
    return told


def test_a_rule_is_added_changed_and_put_away(api: Program):
    made = added(api, "领券", "领券")
    assert (made["name"], made["version"], made["published_as"]) == ("领券", 1, None)
    path = f"/rules/{made['id']}"
    changed = api.told("PUT", path, {"rule": rule("领券", "优惠"), "version": 1, "group": "活动"})
    assert changed["rule"]["when"] == [{"text_is": {"any": ["优惠"]}}]
    assert (changed["version"], changed["group"], changed["changed_by"]) == (2, "活动", "api:shop")
    assert [one["name"] for one in api.told("GET", "/rules?group=活动")["items"]] == ["领券"]
    assert api.told("DELETE", path) == {}
    assert api.refused("GET", path) == (404, "not-found")


def test_who_saves_over_another_is_told_what_they_wrote(api: Program):
    made = added(api, "领券", "领券")
    path = f"/rules/{made['id']}"
    api.told("PUT", path, {"rule": rule("领券", "甲"), "version": 1})
    answer = api("PUT", path, {"rule": rule("领券", "乙"), "version": 1})
    assert answer.status_code == 409 and answer.json is not None
    assert answer.json["current"]["rule"]["when"][0]["text_is"]["any"] == ["甲"]


def test_every_problem_of_a_rule_is_told_with_its_place(api: Program):
    wrong = {"name": "x", "when": [{"text_is": {}}, {"nothing": {}}], "then": []}
    answer = api.post("/rules", {"rule": wrong})
    assert answer.status_code == 422 and answer.json is not None
    places = [one["place"] for one in answer.json["errors"]]
    assert places == ["rule.when.0.text_is.any", "rule.when.1.nothing", "rule.then"]


def test_rules_are_put_into_another_order(api: Program):
    first, second = added(api, "一", "一"), added(api, "二", "二")
    version = api.told("GET", "/rules")["order_version"]
    wanted = {"order": [second["id"], first["id"]], "version": version}
    assert api.told("PUT", "/rule-order", wanted)["order_version"] == version + 1
    assert [one["name"] for one in api.told("GET", "/rules")["items"]] == ["二", "一"]
    assert api.refused("PUT", "/rule-order", wanted) == (409, "conflict")


def test_a_list_is_read_page_by_page_and_a_cursor_fits_no_other_list(api: Program):
    for number in range(5):
        added(api, f"规则 {number}", f"词 {number}")
    names, cursor = [], ""
    for _ in range(3):
        page = api.told("GET", f"/rules?limit=2{cursor}")
        names += [one["name"] for one in page["items"]]
        cursor = f"&cursor={page['next']}"
    assert names == [f"规则 {number}" for number in range(5)] and page["next"] is None
    first = api.told("GET", "/rules?limit=2")["next"]
    for path in (
        f"/tags?cursor={first}",
        f"/rules?q=x&cursor={first}",
        "/rules?cursor=abc",
        f"/rules?cursor={first}x",
    ):
        assert api.refused("GET", path) == (422, "invalid")
    for path in (
        "/rules?limit=0",
        "/rules?limit=201",
        "/rules?limit=1&limit=2",
        "/rules?nothing=1",
    ):
        assert api.refused("GET", path) == (422, "invalid")


def test_a_message_is_tried_on_the_draft_and_on_what_is_in_force(api: Program):
    added(api, "领券", "领券", reply="八元券")
    tried = api.told("POST", "/rule-test", {"text": "领券"})
    assert tried["rules"] == ["领券"] and tried["replies"] == [{"text": "八元券"}]
    assert tried["steps"][0]["outcome"] == "matched"
    assert api.refused("POST", "/rule-test", {"text": "领券", "rulebook": "published"})[0] == 409
    assert api.told("POST", "/rule-test", {"text": "别的"})["rules"] == []


def test_a_shadowed_rule_is_found(api: Program):
    added(api, "宽", "券", "领券")
    added(api, "窄", "领券")
    (finding,) = api.told("GET", "/rule-check")["items"]
    assert (finding["kind"], finding["rule"]) == ("shadowed", "窄")


def test_publishing_comparing_and_rolling_back(api: Program):
    added(api, "领券", "领券", reply="旧")
    assert [one["kind"] for one in api.told("GET", "/rule-changes")["items"]] == ["added"]
    first = api.told("POST", "/rulebooks", {"note": "第一次"}, 201)
    assert (first["number"], first["in_force"], first["published_by"]) == (1, True, "api:shop")
    one = api.told("GET", "/rules")["items"][0]
    api.told(
        "PUT",
        f"/rules/{one['id']}",
        {"rule": rule("领券", "领券", reply="新"), "version": one["version"]},
    )
    api.told("POST", "/rulebooks", {}, 201)
    (change,) = api.told("GET", "/rulebooks/2/diff?against=1")["items"]
    assert change["kind"] == "changed"
    assert [change["differences"][0][key] for key in ("before", "after")] == ["旧", "新"]
    back = api.told("POST", "/rulebooks/1/restore", {"note": "退回"}, 201)
    assert back["number"] == 3
    assert api.told("GET", "/rulebooks/3")["rules"][0]["then"] == [{"reply": {"text": "旧"}}]
    assert [one["number"] for one in api.told("GET", "/rulebooks?limit=2")["items"]] == [3, 2]
    tried = api.told("POST", "/rule-test", {"text": "领券", "rulebook": "published"})
    assert tried["replies"] == [{"text": "旧"}]
    assert api.refused("GET", "/rulebooks/9") == (404, "not-found")


def test_the_fallback_is_changed(api: Program):
    version = api.told("GET", "/rule-fallback")["order_version"]
    wanted = {"fallback": {"reply": {"text": "没有听懂"}}, "version": version}
    assert api.told("PUT", "/rule-fallback", wanted)["fallback"] == {"reply": {"text": "没有听懂"}}
    assert api.refused("PUT", "/rule-fallback", wanted) == (409, "conflict")
    later = {"fallback": {"nothing": {}}, "version": version + 1}
    assert api.refused("PUT", "/rule-fallback", later) == (422, "invalid")


def test_a_dry_run_is_done_by_a_job(api: Program, rt: Runtime):
    added(api, "领券", "领券")
    run = api.told("POST", "/dry-runs", {"last": 10}, 202)
    assert run["state"] == "running"
    run_due(rt)
    done = api.told("GET", f"/dry-runs/{run['id']}")
    assert done["state"] == "done" and done["summary"]
    assert api.told("GET", f"/dry-runs/{run['id']}/changes")["items"] == []
    assert [one["id"] for one in api.told("GET", "/dry-runs")["items"]] == [run["id"]]
    assert api.refused("GET", "/dry-runs/99") == (404, "not-found")


@pytest.mark.sqlite
@pytest.mark.parametrize(
    ("method", "path", "body", "scope"),
    [
        ("GET", "/rules", None, "rules.read"),
        ("POST", "/rules", {"rule": rule("x", "x")}, "rules.write"),
        ("POST", "/rulebooks", {}, "rules.publish"),
    ],
)
def test_each_step_needs_its_own_scope(
    program: Make, method: str, path: str, body: Any, scope: str
):
    assert program("home.read").refused(method, path, body) == (403, "forbidden")
    assert program("home.read", scope)(method, path, body).status_code in (200, 201)


def test_another_brands_rule_does_not_exist(api: Program, other: Account, rt: Runtime):
    made = added(api, "领券", "领券")
    api.of = "/api/v1/accounts/other"
    assert api.told("GET", "/rules")["items"] == []
    for method, body in (
        ("GET", None),
        ("DELETE", None),
        ("PUT", {"rule": rule("x", "x"), "version": 1}),
    ):
        assert api.refused(method, f"/rules/{made['id']}", body) == (404, "not-found")


def test_what_nobody_answered_becomes_a_draft(api: Program, rt: Runtime, account: Account):
    with db.writing(rt.engine) as session:
        for number in range(3):
            who = factories.make_follower(session, account.id, number, now=rt.clock())
            facts = {
                "push_key": f"k{number}",
                "kind": "text",
                "at": rt.clock().isoformat(),
                "text": "发货时间",
            }
            session.execute(
                inbound.insert().values(
                    account_id=account.id, follower_id=who, dedupe_key=f"k{number}", kind="text",
                    message={}, sent_at=rt.clock(), received_at=rt.clock(), status="done",
                    facts=facts, trace={"steps": []}, rules=[], unmatched=True,
                )
            )  # fmt: skip
    told = api.told("GET", "/unmatched")
    assert told["messages"] == 3 and told["items"][0]["people"] == 3
    words = {"words": told["items"][0]["words"]}
    assert api.told("POST", "/unmatched/coverage", words)["messages"] == 3
    made = api.told("POST", "/unmatched/draft", words, 201)
    assert not api.told("GET", f"/rules/{made['rule']}")["enabled"]
    (word,) = api.told("POST", "/unmatched/ignore", {"words": told["items"][0]["topics"][:1]})[
        "words"
    ]
    assert api.told("GET", "/unmatched")["items"] == []
    assert api.told("GET", "/unmatched/ignored")["items"][0]["word"] == word
    assert api.told("POST", "/unmatched/notice", {"word": word}) == {"words": [word]}
    assert api.refused("POST", "/unmatched/notice", {"word": word}) == (404, "not-found")
