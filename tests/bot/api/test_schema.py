"""Schemathesis reads the document and asks every endpoint: no 5xx, and no answer that is not documented."""

import copy
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
import requests
import schemathesis
from flask import Flask
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import checks

from bot import (
    canned_answers,
    db,
    drafts,
    followers,
    menu_drafts,
    rights,
    rule_trials,
    rulebook,
    tags,
    tokens,
    webhooks,
)
from bot import scenes as scenes_module
from bot.api import wiring
from bot.api.document import document
from bot.app import create_app
from bot.audiences import segments
from bot.campaigns import plans, playbooks
from bot.clock import Clock
from bot.runtime import Runtime
from bot.sandbox.app import create_app as sandbox
from bot.sandbox.inprocess import mount
from bot.sandbox.platform import Platform
from bot.tables.inbox import inbound
from tests import factories

assert wiring.AREAS  # importing them fills the table
EXAMPLES = 4
METHODS = ("get", "post", "put", "patch", "delete")
PLATFORM = "http://sandbox.test"
# what the seeded installation has, so that most requests reach something
KNOWN: dict[str, Any] = {
    "slug": {"type": "string", "enum": ["muyan"]},
    "key": {"type": "string", "enum": ["wb_bio", "nothing"]},
}
CHECKS = [
    checks.not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
]


def narrowed() -> dict[str, Any]:
    """The document with path parameters that lead somewhere."""
    whole: dict[str, Any] = copy.deepcopy(document())
    for methods in whole["paths"].values():
        for operation in methods.values():
            for parameter in operation["parameters"]:
                if parameter["in"] == "path":
                    small = {"type": "integer", "minimum": 1, "maximum": 3}
                    parameter["schema"] = KNOWN.get(parameter["name"], small)
    return whole


def operations() -> list[Any]:
    """Every operation, those that read first, while everything is there."""
    schema = schemathesis.openapi.from_dict(narrowed())
    found = [one.ok() for one in schema.get_all_operations()]
    return sorted(found, key=lambda one: METHODS.index(one.method))


def seed(rt: Runtime) -> str:
    """A brand with a bit of everything; a token that may do anything."""
    now = rt.clock()
    with db.writing(rt.engine) as session:
        account_id = factories.make_account(session, now=now, sandbox_url=PLATFORM)
        ids = factories.make_followers(session, account_id, 5, now=now)
        tags.add(session, account_id, ids[0], ["微博来源", "喜欢互动"], "import", now)
        for number, follower_id in enumerate(ids, 1):
            followers.open_window(session, account_id, follower_id, "message", now)
            session.execute(
                inbound.insert().values(
                    account_id=account_id, follower_id=follower_id, dedupe_key=f"k{number}",
                    kind="text", received_at=now, sent_at=now, status="done",
                    message={"kind": "text", "open_id": factories.open_id(number), "fields": {"Content": "在吗"}},
                    facts={"push_key": f"k{number}", "kind": "text", "at": now.isoformat(), "text": "在吗"},
                    trace={"steps": []}, rules=[],
                )
            )  # fmt: skip
        scenes_module.save(session, account_id, key="wb_bio", name="微博主页", now=now)
        session.execute(scenes_module.scenes.update().values(url="http://weixin.qq.com/q/x"))
        canned_answers.save(session, account_id, "你好", "您好，请稍等")
        rule = {
            "name": "领券",
            "when": [{"text_is": {"any": ["领券"]}}],
            "then": [{"reply": {"text": "好"}}],
        }
        drafts.add(session, account_id, rule, by="Ann", now=now)
        for note in ("first", "second"):
            body = rulebook.draft_body(session, account_id)
            rulebook.publish(session, account_id, body, by="Ann", note=note, now=now)
        draft = rulebook.draft_body(session, account_id)
        rule_trials.begin(session, account_id, draft, 10, by="Ann", now=now)
        menu = [{"name": "领券", "click": "M_COUPON"}]
        menu_drafts.save(session, account_id, menu, [], seen=0, by="Ann")
        segments.save(session, account_id, "微博互动", {"tag": {"has": "微博来源"}}, now)
        written = {
            "name": "奈雪",
            "groups": [{"name": "G1", "segment": "微博互动"}],
            "channels": ["mass"],
        }
        plans.create(session, account_id, written, now, by="Ann")
        playbooks.save(session, account_id, "微博留言", written, now, by="Ann")
        url = "https://shop.example.com/"
        webhooks.create(
            session, account_id, url, ["scan"], now, by="Ann", secret_key=factories.SECRET_KEY
        )
        plain, _ = tokens.create(session, tokens.SERVER, "fuzz", rights.EVERYTHING, now)
    return plain


@pytest.fixture
def app(rt: Runtime) -> Flask:
    """The product, with the platform beside it."""
    assert isinstance(rt.clock, Clock)
    platform = Platform(":memory:", rt.clock)
    platform.add_account(factories.APP_ID, factories.APP_SECRET, factories.TOKEN, factories.AES_KEY)
    http = requests.Session()
    mount(http, PLATFORM, sandbox(platform))
    return create_app(rt.config, replace(rt, http=lambda: http))


@pytest.mark.slow  # asks 80 operations, four times each
@pytest.mark.sqlite
def test_every_endpoint_answers_as_documented(
    rt: Runtime, app: Flask, subtests: pytest.Subtests
) -> None:
    token = seed(rt)
    headers = {"Authorization": f"Bearer {token}", "Accept-Language": "en"}

    def ask(operation: Any) -> set[int]:
        """The statuses of the answers to a few made-up requests; each was checked."""
        seen = set()

        @given(case=operation.as_strategy())
        @settings(
            max_examples=EXAMPLES,
            derandomize=True,
            database=None,
            deadline=None,
            phases=[Phase.explicit, Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        def run(case: Any) -> None:
            # a program may ask 600 times a minute
            rt.clock.frozen_at += timedelta(seconds=1)  # type: ignore[attr-defined]
            answer = case.call_and_validate(headers=headers, checks=CHECKS, app=app)
            seen.add(answer.status_code)

        run()
        return seen

    for operation in operations():
        name = operation.definition.raw["operationId"]
        with subtests.test(name):
            seen = ask(operation)
            # a reading endpoint that never answered was not tested
            assert operation.method != "get" or 200 in seen
