"""Schemathesis reads the document and asks every endpoint: no 5xx, and no answer that is not documented."""

import copy
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from pydantic import SecretStr
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
from bot.clock import Clock
from bot.config import Config
from bot.kept import DatabaseStore
from bot.runtime import Runtime
from bot.sandbox.app import create_app as sandbox
from bot.sandbox.inprocess import mount
from bot.sandbox.platform import Platform
from bot.tables.inbox import inbound
from tests import databases, factories

assert wiring.AREAS  # importing them fills the table
EXAMPLES = 4
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


SCHEMA = schemathesis.openapi.from_dict(narrowed())
FOUND = [one.ok() for one in SCHEMA.get_all_operations()]
# reading first, while everything is there; the sort keeps the rest of the order
OPERATIONS = {
    one.definition.raw["operationId"]: one
    for one in sorted(
        FOUND, key=lambda one: ("get", "post", "put", "patch", "delete").index(one.method)
    )
}


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
        url = "https://shop.example.com/"
        webhooks.create(
            session, account_id, url, ["scan"], now, by="Ann", secret_key=factories.SECRET_KEY
        )
        plain, _ = tokens.create(session, tokens.SERVER, "fuzz", rights.EVERYTHING, now)
    return plain


@pytest.fixture(scope="module")
def asked(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """One installation for every operation: what one leaves behind is what the next one finds."""
    url = databases.copy_of(sqlite_template, tmp_path_factory.mktemp("schema"))
    engine = db.make_engine(url)
    config = Config(
        database_url=url, secret_key=SecretStr(factories.SECRET_KEY), base_url="http://product.test"
    )
    clock = Clock(frozen_at=factories.at("2025-03-03 09:00"))
    writer = db.GroupWriter(engine)
    platform = Platform(":memory:", clock)
    platform.add_account(factories.APP_ID, factories.APP_SECRET, factories.TOKEN, factories.AES_KEY)
    http = requests.Session()
    mount(http, PLATFORM, sandbox(platform))
    store = DatabaseStore(engine, clock)
    rt = Runtime(config, engine, writer, clock, store, http=lambda: http)
    token = seed(rt)
    app = create_app(config, rt)
    seen: dict[str, set[int]] = {}

    def ask(case: Any) -> None:
        clock.frozen_at += timedelta(seconds=1)  # type: ignore[operator]
        headers = {"Authorization": f"Bearer {token}", "Accept-Language": "en"}
        answer = case.call_and_validate(headers=headers, checks=CHECKS, app=app)
        name = case.operation.definition.raw["operationId"]
        seen.setdefault(name, set()).add(answer.status_code)

    yield ask
    writer.close()
    engine.dispose()
    # reading endpoints that never answered were not tested
    silent = [
        name
        for name, statuses in seen.items()
        if OPERATIONS[name].method == "get" and 200 not in statuses
    ]
    assert silent == []


@pytest.mark.parametrize("name", OPERATIONS)
def test_an_endpoint_answers_as_documented(asked: Any, name: str) -> None:
    @given(case=OPERATIONS[name].as_strategy())
    @settings(
        max_examples=EXAMPLES,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def run(case: Any) -> None:
        asked(case)

    run()
