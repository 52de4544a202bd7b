"""Schemathesis reads the document and asks every endpoint: no 5xx, and no answer that is not documented."""

import base64
import copy
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
import requests
import schemathesis
import sqlalchemy as sa
from flask import Flask
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import checks

from bot import (
    articles,
    canned_answers,
    db,
    drafts,
    followers,
    materials,
    menu_drafts,
    outgoing,
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
from bot.campaigns import external_sends, plans, playbooks
from bot.clock import Clock
from bot.runtime import Runtime
from bot.sandbox.app import create_app as sandbox
from bot.sandbox.inprocess import mount
from bot.sandbox.platform import Platform
from bot.tables.accounts import templates
from bot.tables.campaigns import allocations
from bot.tables.followers import followers as followers_table
from bot.tables.inbox import inbound
from bot.tables.operators import webhook_deliveries
from tests import factories
from tests.bot.campaigns.makers import make_campaign, make_delivery, make_run
from tests.bot.campaigns.test_plans import FACTORS

assert wiring.AREAS  # importing them fills the table
EXAMPLES = 4
METHODS = ("get", "post", "put", "patch", "delete")
PLATFORM = "http://sandbox.test"
# what the seeded installation has, so that most requests reach something
KNOWN: dict[str, Any] = {
    "slug": {"type": "string", "enum": ["muyan"]},
    "key": {"type": "string", "enum": ["wb_bio", "nothing"]},
}
# what a question cannot do without, or would never guess
WORTH_ASKING: dict[tuple[str, str], dict[str, Any]] = {
    ("calendar_what_if", "at"): {"type": "string", "enum": ["2025-03-15T12:00", "soon"]},
    ("calendar_what_if", "segment"): {"type": "string", "enum": ["微博互动"]},
    ("calendar_what_if", "campaign_id"): {"type": "integer", "enum": [1, 2]},
    ("campaign_compare", "against"): {"type": "integer", "enum": [1, 2, 99]},
}
PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n" + b"0" * 64).decode()
ARTICLE = {"title": "攻略", "html": "<p>好</p>", "cover": {"file": "c.png"}}
MENU = [{"name": "领券", "click": "M_COUPON"}]
RULE = {"name": "好", "when": [{"text_is": {"any": ["好"]}}], "then": [{"reply": {"text": "好"}}]}
CAMPAIGN = {
    "name": "新品",
    "segment": "微博互动",
    "at": "2025-03-21T20:30+08:00",
    "channels": ["mass"],
    "content": {"text": "新品到店"},
}
SHOP = {"url": "https://shop.example.com/", "events": ["scan"]}
# every change in an order in which it is allowed: (operation, what its path names, body)
GOOD: list[tuple[str, dict[str, Any], Any]] = [
    ("account_change", {}, {"limits": {"most_people": 100, "guard_every": "10m"}}),
    ("account_stop", {}, {"reason": "x"}),
    ("account_go", {}, None),
    ("external_state", {}, {"went_to": "tag", "name": "微博来源"}),
    ("recount_repair", {}, {"month": "2025-03"}),
    ("allocation_make", {}, {"month": "2025-03", "campaigns": [{"campaign_id": 1}]}),
    ("allocation_enforce", {"allocation_id": 1}, None),
    ("allocation_lift", {"allocation_id": 1}, None),
    ("calendar_move", {"campaign_id": 1}, {"day": "2025-03-25"}),
    ("campaign_create", {}, {"document": CAMPAIGN}),
    ("campaign_update", {"campaign_id": 5}, {"document": CAMPAIGN}),
    ("campaign_submit", {"campaign_id": 5}, None),
    ("campaign_reject", {"campaign_id": 5}, {"reason": "x"}),
    ("campaign_submit", {"campaign_id": 5}, None),
    ("campaign_approve", {"campaign_id": 5}, {"people": 10, "slots": 10}),
    ("campaign_stop", {"campaign_id": 5}, None),
    ("campaign_archive", {"campaign_id": 5}, None),
    ("campaign_allow", {"campaign_id": 2}, {"reason": "证书上的名称"}),
    ("campaign_preview", {"campaign_id": 3}, {"open_id": factories.open_id(1)}),
    ("campaign_pause", {"campaign_id": 3}, None),
    ("campaign_resume", {"campaign_id": 3}, None),
    ("campaign_winner", {"campaign_id": 3}, {"variant": "A"}),
    ("campaign_follow_up", {"campaign_id": 3}, {"content": {"text": "再来"}}),
    ("campaign_skip", {"campaign_id": 3}, None),
    ("campaign_end", {"campaign_id": 3}, None),
    ("campaign_cancel", {"campaign_id": 4}, None),
    ("follower_change", {"follower_id": 1}, {"remark": "老顾客"}),
    ("follower_tags", {"follower_id": 1}, {"remove": ["喜欢互动"]}),
    ("follower_erase", {"follower_id": 5}, None),
    ("material_create", {}, {"kind": "image", "name": "d.png", "data": PNG}),
    ("material_archive", {"material_id": 2}, None),
    ("article_create", {}, {"document": ARTICLE}),
    ("article_update", {"article_id": 1}, {"document": ARTICLE | {"title": "新"}, "version": 1}),
    ("article_publish", {"article_id": 1}, None),
    ("article_archive", {"article_id": 2}, None),
    ("menu_update", {}, {"menu": MENU, "version": 1}),
    ("menu_schedule", {}, {"at": "2025-03-04T09:00:00+08:00", "version": 2}),
    ("menu_cancel", {}, {"version": 3}),
    ("menu_publish", {}, {"version": 4}),
    ("menu_update", {}, {"menu": MENU, "version": 5}),
    ("menu_discard", {}, {"version": 6}),
    ("message_send", {"follower_id": 1}, {"content": {"text": "好"}}),
    ("message_take", {"follower_id": 1}, {"agent": "Ann"}),
    ("message_hand_back", {"follower_id": 1}, None),
    ("message_close", {"follower_id": 1}, None),
    ("canned_create", {}, {"title": "再见", "text": "再见"}),
    ("canned_update", {"canned_id": 1}, {"title": "你好", "text": "您好"}),
    ("canned_delete", {"canned_id": 1}, None),
    ("plan_create", {}, {"document": {"name": "半成"}}),
    ("plan_from_csv", {}, {"csv": "部分,项目,内容,键\n,名称,奈雪表,name\n"}),
    (
        "plan_update",
        {"plan_id": 1},
        {"document": CAMPAIGN | {"name": "方案", "brief": FACTORS}, "version": 1},
    ),
    ("plan_submit", {"plan_id": 1}, {"version": 2}),
    ("plan_archive", {"plan_id": 2}, None),
    ("playbook_create", {}, {"name": "微博", "document": CAMPAIGN}),
    ("playbook_begin", {"playbook_id": 2}, {"begins": "2025-04-01"}),
    ("playbook_archive", {"playbook_id": 2}, None),
    ("rule_create", {}, {"rule": RULE}),
    ("rule_update", {"rule_id": 2}, {"rule": RULE, "version": 1}),
    ("rulebook_publish", {}, {"note": "x"}),
    ("rulebook_restore", {"number": 1}, {}),
    ("rule_create", {}, {"rule": RULE | {"name": "行"}}),
    ("rule_order", {}, {"order": [3], "version": 6}),
    ("fallback_update", {}, {"fallback": {"reply": {"text": "好"}}, "version": 7}),
    ("rule_delete", {"rule_id": 3}, None),
    ("scene_create", {}, {"key": "shop", "name": "门店"}),
    ("scene_batch", {}, {"prefix": "s_", "scenes": [{"name": "一号店"}]}),
    ("scene_update", {"key": "shop"}, {"name": "旗舰店"}),
    ("scene_archive", {"key": "shop"}, None),
    ("segment_create", {}, {"name": "所有", "where": {"all": []}}),
    ("segment_update", {"segment_id": 2}, {"name": "全部", "where": {"all": []}}),
    ("segment_freeze", {"segment_id": 2}, None),
    ("segment_unfreeze", {"segment_id": 2}, None),
    ("segment_archive", {"segment_id": 2}, None),
    ("segments_count", {}, {"where": {"tag": {"has": "微博来源"}}}),
    ("tag_create", {}, {"name": "新", "family": "价值"}),
    ("tag_update", {"tag_id": 3}, {"name": "新客", "family": "价值"}),
    ("tag_archive", {"tag_id": 3}, None),
    ("tag_restore", {"tag_id": 3}, None),
    ("tag_merge_into", {"tag_id": 3}, {"into": "喜欢互动"}),
    ("rule_test", {}, {"text": "领券"}),
    ("dry_run_create", {}, {"last": 10}),
    ("unmatched_coverage", {}, {"words": ["在吗"]}),
    ("unmatched_draft", {}, {"words": ["在吗"]}),
    ("unmatched_ignore", {}, {"words": ["在吗"]}),
    ("unmatched_notice", {}, {"word": "在吗"}),
    ("webhook_create", {}, SHOP),
    ("webhook_retry", {"number": 1}, None),
    ("webhook_ping", {"webhook_id": 1}, None),
    ("webhook_rotate", {"webhook_id": 1}, None),
    ("webhook_update", {"webhook_id": 1}, SHOP | {"active": False}),
    ("webhook_delete", {"webhook_id": 1}, None),
    ("outgoing_update", {}, {"url": SHOP["url"], "together": 20, "fields": ["手机"]}),
    ("outgoing_rotate", {}, None),
    ("outgoing_delete", {}, None),
]
# what reading another account's thing needs beside its path
ASKED = {"rulebook_diff": "?against=1"}
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
                asked = (operation["operationId"], parameter["name"])
                parameter["schema"] = WORTH_ASKING.get(asked, parameter["schema"])
                parameter["required"] |= asked == ("calendar_what_if", "segment")
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
        webhooks.ping(session, account_id, 1, now)
        outgoing.save(
            session, account_id, url=url, together=1, open_id=False, fields=[], by="Ann",
            secret_key=factories.SECRET_KEY, now=now,
        )  # fmt: skip
        session.execute(sa.update(webhook_deliveries).values(status="failed"))
        seed_campaigns(session, account_id, ids, now)
        plain, _ = tokens.create(session, tokens.SERVER, "fuzz", rights.EVERYTHING, now)
    return plain


def seed_campaigns(session: db.Session, account_id: int, ids: list[int], now: datetime) -> None:
    """One to come, a draft whose content is stopped, two under way; what they are written with and cost."""
    later = factories.at("2025-03-20 20:30")
    make_campaign(
        session, account_id, now=now, name="上新", segment="微博互动", next_due_at=later,
        schedule={"at": later.isoformat()},
    )  # fmt: skip
    make_campaign(
        session, account_id, now=now, name="国家级", segment="微博互动", status="draft",
        schedule={"at": later.isoformat()}, content={"text": "国家级品质"},
    )  # fmt: skip
    for name in ("测试", "撤回"):
        campaign_id = make_campaign(
            session, account_id, now=now, name=name, segment="微博互动",
            goal={"metric": "guided", "target": 10}, holdout=0.1,
            experiment={"of": "content", "variants": [
                {"name": "A", "content": {"text": "甲"}}, {"name": "B", "content": {"text": "乙"}},
            ]},
            follow_ups=[{"after": "2d", "to": "not_clicked", "channels": ["mass"]}] * 2,
        )  # fmt: skip
        run_id = make_run(session, account_id, campaign_id, now=now)
        for number, follower_id in enumerate(ids):
            status = {"status": "skipped", "reason": "holdout"} if number == 0 else {"variant": "A"}
            make_delivery(session, account_id, run_id, follower_id, **status)
    external_sends.opening(session, account_id, 0, None, now, by="Ann")
    external_sends.state_external(
        session, account_id, "listed", now, by="Ann", open_ids=[factories.open_id(1)]
    )
    session.execute(sa.update(followers_table).values(tester=True))
    session.execute(
        allocations.insert().values(
            account_id=account_id, month="2025-03", status="proposed", made_by="Ann", made_at=now,
            figures={"slots": 5, "campaigns": []},
        )
    )  # fmt: skip
    data = base64.b64decode(PNG)
    materials.hand_in(session, account_id, "image", "c.png", data, now, by="Ann")
    for title in ("双 11 攻略", "旧文"):
        articles.create(session, account_id, ARTICLE | {"title": title}, now, by="Ann")
    session.execute(
        templates.insert().values(
            account_id=account_id, kind="subscription", template_id="t1", title="到货提醒",
            content="商品:{{thing1.DATA}}", example="", read_at=now,
        )
    )  # fmt: skip


@pytest.fixture
def app(rt: Runtime) -> Flask:
    """The product, with the platform beside it."""
    assert isinstance(rt.clock, Clock)
    platform = Platform(":memory:", rt.clock)
    platform.add_account(factories.APP_ID, factories.APP_SECRET, factories.TOKEN, factories.AES_KEY)
    http = requests.Session()
    mount(http, PLATFORM, sandbox(platform))
    return create_app(rt.config, replace(rt, http=lambda: http))


@pytest.mark.slow  # asks 150 operations, four times each
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


@pytest.mark.slow  # makes every change there is, and each by POST twice
@pytest.mark.sqlite
def test_every_change_can_be_made_and_a_repetition_changes_nothing(
    rt: Runtime, app: Flask, subtests: pytest.Subtests
) -> None:
    headers = {"Authorization": f"Bearer {seed(rt)}", "Accept-Language": "en"}
    known = {one.definition.raw["operationId"]: one for one in operations()}
    reading = {name for name, one in known.items() if one.method == "get"}
    assert {name for name, _path, _body in GOOD} == known.keys() - reading
    for number, (name, path, body) in enumerate(GOOD):
        with subtests.test(name):
            again = {"Idempotency-Key": str(number)} if known[name].method == "post" else {}
            values: dict[str, Any] = {} if body is None else {"body": body}
            case = known[name].Case(
                path_parameters={"slug": "muyan", **path},
                headers=again,
                media_type="application/json" if values else None,
                **values,
            )
            answer = case.call_and_validate(headers=headers, checks=CHECKS, app=app)
            assert answer.status_code < 300, answer.text
            if again:
                second = case.call(headers=headers, app=app)
                assert "true" in second.headers["idempotency-replayed"]
                assert (second.status_code, second.content) == (answer.status_code, answer.content)


@pytest.mark.slow  # reads the whole document, and asks every operation
@pytest.mark.sqlite
def test_what_is_another_accounts_does_not_exist(rt: Runtime, app: Flask) -> None:
    token = seed(rt)
    with db.writing(rt.engine) as session:
        factories.make_account(session, "other", now=rt.clock())
    known = {one.definition.raw["operationId"]: one for one in operations()}
    written = {name: (path, body) for name, path, body in GOOD}
    client = app.test_client()
    for name, one in known.items():
        places = [
            place["name"] for place in one.definition.raw["parameters"] if place["in"] == "path"
        ]
        names = [place for place in places if place != "slug"]
        if not names:
            continue
        path, body = written.get(name, (dict.fromkeys(names, 1), None))
        whole = one.path.format(slug="other", **{"key": "wb_bio"} | dict.fromkeys(names, 1) | path)
        asked = ASKED.get(name, "")
        answer = client.open(
            whole + asked, method=one.method.upper(), json=body,
            headers={"Authorization": f"Bearer {token}"},
        )  # fmt: skip
        assert answer.status_code == 404, (name, answer.get_data(as_text=True))


@pytest.mark.sqlite
@pytest.mark.parametrize(
    "path",
    [
        "/calendar/what-if?campaign_id=1&at=2025-03-15T12:00",
        "/campaigns/5/compare?against=1",
        "/menu/preview?follower=1",
    ],
)
def test_nor_can_another_accounts_be_named_in_a_question(
    rt: Runtime, app: Flask, path: str
) -> None:
    token = seed(rt)
    with db.writing(rt.engine) as session:
        other = factories.make_account(session, "other", now=rt.clock())
        assert make_campaign(session, other, now=rt.clock(), name="别家") == 5
    answer = app.test_client().get(
        f"/api/v1/accounts/other{path}",
        headers={"Authorization": f"Bearer {token}"},
    )
    assert answer.status_code == 404, answer.get_data(as_text=True)
