"""What every request goes through: tokens, scopes, accounts, sizes, shapes; each refusal is a problem+json."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from bot import db, idempotency
from bot.accounts import Account
from bot.api import door
from bot.kept import DatabaseStore
from bot.runtime import Runtime
from bot.tables.operators import api_requests, api_tokens, audit
from tests.bot.api.conftest import Make, Program


def rows(rt: Runtime, query: Any) -> list[Any]:
    with db.reading(rt.engine) as session:
        return list(session.execute(query).all())


def test_a_token_says_who_it_is(program: Make, account: Account):
    mine = program("tags.read", "home.read")
    mine.of = "/api/v1"
    told = mine.told("GET", "/me")
    assert told["scopes"] == ["home.read", "tags.read"]
    assert told["accounts"] == ["muyan"]


@pytest.mark.sqlite
@pytest.mark.parametrize(
    "header", ["", "Bearer", "Basic cWY6", "Bearer qf_" + "x" * 40, "Bearer qf_é"]
)
def test_without_a_valid_token_nothing_is_answered(api: Program, header: str):
    answer = api("GET", "", Authorization=header)
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    assert answer.content_type == "application/problem+json"


@pytest.mark.sqlite
def test_a_missing_scope_is_named(program: Make):
    answer = program("tags.read").post("/stop", {"reason": "x"})
    assert answer.status_code == 403
    assert answer.json is not None and answer.json["scope"] == "account.write"
    assert 'scope="account.write"' in answer.headers["WWW-Authenticate"]


def test_another_brand_does_not_exist_for_the_token(
    program: Make, account: Account, other: Account
):
    mine = program(account_id=account.id)
    assert mine.told("GET", "")["slug"] == "muyan"
    mine.of = "/api/v1/accounts/other"
    assert mine.refused("GET", "") == (404, "not-found")
    assert program().told("GET", "")["slug"] == "muyan"


@pytest.mark.sqlite
@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("GET", "/nothing", (404, "not-found")),
        ("GET", "/%00", (404, "not-found")),
        ("DELETE", "/stop", (405, "method")),
        ("QUERY", "/stop", (405, "method")),
    ],
)
def test_what_does_not_exist_is_said_as_a_problem(
    api: Program, method: str, path: str, expected: Any
):
    assert api.refused(method, path) == expected
    if expected[0] == 405:
        assert api(method, path).headers["Allow"] == "POST"


@pytest.mark.sqlite
@pytest.mark.parametrize(
    ("body", "kind", "expected"),
    [
        (b"{", "application/json", "malformed"),
        (b"\xff", "application/json", "malformed"),
        (b'{"reason": NaN}', "application/json", "malformed"),
        (b"[" * 100_000, "application/json", "malformed"),
        (b"reason=x", "application/x-www-form-urlencoded", "media-type"),
        (b'{"reason": ""}', "application/json", "invalid"),
        (b'{"reason": "x", "more": 1}', "application/json", "invalid"),
        (b'{"reason": "a\\u0000b"}', "application/json", "invalid"),
        (b'{"reason": "a\\ud800b"}', "application/json", "invalid"),
        (b'{"reason": 1e999}', "application/json", "invalid"),
        (b"x" * 1_000_001, "application/json", "too-large"),
    ],
)
def test_a_body_that_cannot_be_used_is_refused(api: Program, body: bytes, kind: str, expected: str):
    answer = api.client.post(
        api.of + "/stop",
        data=body,
        content_type=kind,
        headers={"Authorization": f"Bearer {api.token}"},
    )
    assert answer.json is not None and answer.json["type"].endswith(f"problem-{expected}")


@pytest.mark.sqlite
def test_an_error_names_its_place_in_both_languages(api: Program):
    english = api.post("/stop", {}).json
    assert english["errors"] == [{"place": "reason", "message": "Field required"}]
    api.language = "zh-CN,zh;q=0.9"
    chinese = api.post("/stop", {}).json
    assert chinese["title"] == "请求的内容有误"
    assert chinese["errors"][0]["message"] != "Field required"


@pytest.mark.sqlite
def test_only_json_is_answered(api: Program):
    assert api("GET", "", Accept="text/html").status_code == 406
    assert api("GET", "", Accept="text/html, */*;q=0.1").status_code == 200


def test_a_change_is_written_down_under_the_name_of_the_token(api: Program, rt: Runtime):
    api.told("POST", "/stop", {"reason": "a mistake"})
    assert api.told("GET", "")["stopped_reason"] == "a mistake"
    api.told("POST", "/go")
    told = [(one.operator, one.action) for one in rows(rt, sa.select(audit).order_by(audit.c.id))]
    assert told[-2:] == [("api:shop", "account.stop"), ("api:shop", "account.go")]


def test_too_many_requests_have_to_wait(api: Program, rt: Runtime, monkeypatch: pytest.MonkeyPatch):
    # the real limit takes 600 requests
    monkeypatch.setattr(door, "RATE", 2)
    assert [api.get("").status_code for _ in range(3)] == [200, 200, 429]
    assert api.get("").headers["Retry-After"] == "60"
    rt.clock.frozen_at += timedelta(minutes=1)  # type: ignore[attr-defined]
    assert api.get("").status_code == 200


def test_the_last_use_is_kept(api: Program, rt: Runtime):
    api.get("")
    assert rows(rt, sa.select(api_tokens.c.last_used_at)) == [(rt.clock(),)]


def test_a_repeated_post_is_answered_the_same_and_done_once(api: Program, rt: Runtime):
    first = api.post("/stop", {"reason": "x"}, Idempotency_Key="abc")
    again = api.post("/stop", {"reason": "x"}, Idempotency_Key="abc")
    assert first.json == again.json and again.headers["Idempotency-Replayed"] == "true"
    assert "Idempotency-Replayed" not in first.headers
    assert len(rows(rt, sa.select(audit).where(audit.c.action == "account.stop"))) == 1
    assert api.post("/stop", {"reason": "y"}, Idempotency_Key="abc").status_code == 422
    assert api.post("/stop", {"reason": "y"}, Idempotency_Key="a b").status_code == 422


def test_a_repetition_while_the_first_is_answered_has_to_wait(api: Program, rt: Runtime):
    api.post("/stop", {"reason": "x"}, Idempotency_Key="abc")
    with db.writing(rt.engine) as session:
        session.execute(sa.update(api_requests).values(status=None, body=None))
    assert api.post("/stop", {"reason": "x"}, Idempotency_Key="abc").status_code == 409
    rt.clock.frozen_at += idempotency.ABANDONED  # type: ignore[attr-defined]
    assert api.post("/stop", {"reason": "x"}, Idempotency_Key="abc").status_code == 200


def test_the_same_post_eight_times_at_once_is_done_once(api: Program, rt: Runtime):
    together = threading.Barrier(8)

    def send(_number: int) -> tuple[int, str | None]:
        client = api.client.application.test_client()
        together.wait(30)
        answer = replace(api, client=client).post(
            "/tags", {"name": "新客", "family": "营销互动"}, Idempotency_Key="abc"
        )
        return answer.status_code, answer.headers.get("Idempotency-Replayed")

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(send, range(8)))
    assert answers.count((201, None)) == 1
    assert set(answers) <= {(201, None), (201, "true"), (409, None)}
    assert len(rows(rt, sa.select(audit).where(audit.c.action == "tag.add"))) == 1


def test_a_refused_post_may_be_tried_again_and_answers_go_after_a_day(api: Program, rt: Runtime):
    api.post("/stop", {"reason": ""}, Idempotency_Key="abc")
    assert api.post("/stop", {"reason": "x"}, Idempotency_Key="abc").status_code == 200
    rt.clock.frozen_at += timedelta(days=1)  # type: ignore[attr-defined]
    with db.writing(rt.engine) as session:
        assert idempotency.prune(session, rt.clock()) == 1
    assert rows(rt, sa.select(api_requests)) == []


def test_without_a_database_programs_are_told_to_wait(
    api: Program, rt: Runtime, monkeypatch: pytest.MonkeyPatch
):
    def away(*_args: Any, **_values: Any) -> Any:
        raise sa.exc.OperationalError("", None, Exception("gone"))

    # a database that goes away between two requests cannot be had in-process
    monkeypatch.setattr(DatabaseStore, "count", away)
    answer = api.get("")
    assert answer.status_code == 503 and answer.headers["Retry-After"] == "5"
    assert api.token not in answer.get_data(as_text=True)


@pytest.mark.sqlite
def test_no_cookie_is_set_and_nothing_is_cached(api: Program):
    headers = api.get("").headers
    assert "Set-Cookie" not in headers
    assert headers["Cache-Control"] == "no-store"
    assert headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.sqlite
def test_the_documentation_needs_no_token_no_script_and_no_other_host(api: Program):
    for language in ("zh", "en"):
        page = api.client.get("/api/v1/docs", headers={"Accept-Language": language})
        text = page.get_data(as_text=True)
        assert page.status_code == 200 and "<script" not in text and "style=" not in text
        assert "style-src 'self'" in page.headers["Content-Security-Policy"]
        assert "http://" not in text
    assert api.client.get("/api/v1/docs.css").status_code == 200
    assert api.client.post("/api/v1/docs").status_code == 405


@pytest.mark.sqlite
def test_the_document_names_every_scope_and_every_member(api: Program):
    document = json.loads(api.client.get("/api/v1/openapi.json").data)
    assert document["openapi"] == "3.1.0"
    assert {"Condition_text_is", "Action_reply", "Rule"} <= set(document["components"]["schemas"])
    for methods in document["paths"].values():
        for operation in methods.values():
            assert operation["summary"] and {"200", "201", "202"} & set(operation["responses"])


@pytest.mark.sqlite
def test_every_number_asked_for_has_a_bound_that_a_database_takes(api: Program):
    document = json.loads(api.client.get("/api/v1/openapi.json").data)
    schemas = document["components"]["schemas"]
    seen: set[str] = set()

    def unbounded(schema: Any, place: str) -> list[str]:
        if isinstance(schema, list):
            return [one for item in schema for one in unbounded(item, place)]
        if not isinstance(schema, dict):
            return []
        name = schema.get("$ref", "").rpartition("/")[2]
        if name:
            if name in seen or name.startswith(
                ("Rule", "Fallback", "Condition", "Action", "Content")
            ):
                return []  # members check their own
            seen.add(name)
            return unbounded(schemas[name], name)
        if schema.get("type") == "integer" and "maximum" not in schema and "enum" not in schema:
            return [place]
        return [one for key, item in schema.items() for one in unbounded(item, f"{place}.{key}")]

    found = []
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            asked = [operation["parameters"], operation.get("requestBody", {})]
            found += unbounded(asked, f"{method} {path}")
    assert found == []


@pytest.mark.sqlite
def test_components_have_names_of_their_own(api: Program):
    document = json.loads(api.client.get("/api/v1/openapi.json").data)
    assert [
        name for name in document["components"]["schemas"] if "__" in name or name.endswith("_")
    ] == []


@pytest.mark.sqlite
@pytest.mark.parametrize("day", ["0001-01-01", "0001-01-05", "9999-12-31"])
def test_a_day_at_the_end_of_the_calendar_is_refused(api: Program, day: str) -> None:
    for path in (
        f"/followers?followed_from={day}",
        f"/followers?followed_until={day}",
        f"/menu/taps?last={day}",
        f"/menu/taps?first={day}&last={day}",
        f"/scenes/store_01/report?last={day}",
    ):
        assert api.refused("GET", path) == (422, "invalid")
