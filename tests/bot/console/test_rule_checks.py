"""规则体检 and 试运行 as an operator uses them."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest
import sqlalchemy as sa
from flask.testing import FlaskClient

from bot import db, drafts, rulebook
from bot.accounts import Account
from bot.console import rule_checks
from bot.runtime import Runtime
from bot.tables.rulebooks import dry_runs
from bot.workers import run_due
from tests import factories
from tests.bot.console import pages
from tests.bot.test_rule_trials import COUPON, EXPIRED, NEW, OLD, store

CHECK, TRIALS = "/console/muyan/rules/check", "/console/muyan/rules/trials"
OVER = {
    "name": "双十一",
    "when": [{"text_is": {"any": ["双十一"]}}],
    "then": [{"reply": {"text": "结束了"}}],
    "active": {"from": "2024-11-01", "until": "2024-11-12"},
}


@pytest.fixture
def rules(engine: sa.Engine, account: Account, now: datetime) -> dict[str, int]:
    """Published: a coupon rule. As edited: with a rule it hides, and one that is over. Ids by name."""
    with db.writing(engine) as session:
        rulebook.publish(session, account.id, OLD, by="Ann", note="", now=now)
        rulebook.set_fallback(session, account.id, OLD["fallback"])
        hidden: dict[str, Any] = {**EXPIRED, "when": [{"text_is": {"any": ["优惠券过期"]}}]}
        return {
            body["name"]: drafts.add(session, account.id, body, by="Ann", now=now)
            for body in (COUPON, hidden, OVER)
        }


def test_a_hidden_rule_and_a_dead_one_are_explained_and_linked(
    browser: FlaskClient, rules: dict[str, int]
) -> None:
    answer = browser.get(CHECK)
    told = pages.text(answer)
    assert "检查了 3 条规则，发现 2 处" in told
    assert "凡是它能命中的消息，排在前面的「券」都先命中并结束" in told
    assert "优惠券过期" in told and "领券" in told
    assert "由「券」回答" in told
    assert "生效时间已在 2024-11-12 00:00 结束" in told
    html = answer.get_data(as_text=True)
    for rule_id in rules.values():
        assert f"/console/muyan/rules/{rule_id}" in html


def test_findings_of_many_rules_come_after_the_page(
    browser: FlaskClient, rules: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rule_checks, "SOON", 2)
    html = browser.get(CHECK).get_data(as_text=True)
    assert f'hx-get="{CHECK}?of=draft&amp;wait=1"' in html
    assert "发现 2 处" not in html
    assert "发现 2 处" in pages.text(browser.get(f"{CHECK}?of=draft&wait=1"))


def test_what_is_in_force_is_checked_apart_from_the_draft(
    browser: FlaskClient, rules: dict[str, int]
) -> None:
    assert "没有发现问题" in pages.text(browser.get(f"{CHECK}?of=published"))


def test_an_account_without_rules_is_told_what_to_do(
    browser: FlaskClient, account: Account
) -> None:
    assert "先写一条规则" in pages.text(browser.get(CHECK))
    assert "还没有试运行过" in pages.text(browser.get(TRIALS))


def test_scripts_in_names_and_words_stay_text(
    browser: FlaskClient, engine: sa.Engine, account: Account, now: datetime
) -> None:
    evil = "<script>alert(1)</script>"
    with db.writing(engine) as session:
        for name in ("a", evil):
            body = {
                "name": name,
                "when": [{"text_is": {"any": [evil]}}],
                "then": [{"reply": {"text": evil + name}}],
            }
            drafts.add(session, account.id, body, by="Ann", now=now)
    html = browser.get(CHECK).get_data(as_text=True)
    assert evil not in html
    assert "&lt;script&gt;" in html


def test_a_dry_run_is_started_watched_and_read(
    browser: FlaskClient,
    rt: Runtime,
    engine: sa.Engine,
    account: Account,
    now: datetime,
    rules: dict[str, int],
) -> None:
    with db.writing(engine) as session:
        lan = factories.make_follower(session, account.id, now=now)
        store(session, account, ["优惠券过期", "券", "你好"], now, lan)
        order = [rules["过期"], rules["券"], rules["双十一"]]
        drafts.move(session, account.id, order, drafts.order_version(session, account.id))
    answer = pages.post(browser, TRIALS, {"last": "1000"}, form=TRIALS)
    assert answer.status_code == 303
    run = answer.headers["Location"]
    waiting = browser.get(run).get_data(as_text=True)
    assert "/console/muyan/progress/" in waiting
    run_due(rt)
    told = pages.text(browser.get(run))
    for word in (
        "优惠券过期",
        "可以补发",
        "领券",
        "− 优惠敏感",
        "「过期」命中",
        "推送 3",
        "有变化 1",
    ):
        assert word in told or word.replace("− ", "+ ") in told, word
    assert factories.open_id(1) not in told, "an operator sees a masked OpenID"
    assert "没有这一类变化" in pages.text(browser.get(f"{run}?kind=other"))
    assert browser.get(f"{run}?kind=nonsense&page=-1").status_code == 200
    assert "#1" in pages.text(browser.get(TRIALS))
    table = browser.get(f"{run}?format=csv").get_data(as_text=True)
    assert len(table.splitlines()) == 2
    assert "优惠券过期" in table
    assert "可以补发" in table


def test_a_draft_that_changes_nothing_says_so(
    browser: FlaskClient, rt: Runtime, engine: sa.Engine, account: Account, now: datetime
) -> None:
    with db.writing(engine) as session:
        store(session, account, ["你好"], now, None)
    run = pages.post(browser, TRIALS, {"last": "10000"}, form=TRIALS).headers["Location"]
    run_due(rt)
    assert "没有任何变化" in pages.text(browser.get(run))


@pytest.mark.parametrize("last", ["", "0", "-1", "1000001", "12345678", "abc", "１０"])
def test_a_number_that_is_none_is_told_beside_the_field(
    browser: FlaskClient, account: Account, last: str
) -> None:
    answer = pages.post(browser, TRIALS, {"last": last}, form=TRIALS)
    assert answer.status_code == 422
    assert "invalid-feedback" in answer.get_data(as_text=True)


def test_a_post_from_another_site_is_refused(browser: FlaskClient, account: Account) -> None:
    assert browser.post(TRIALS, data={"last": "1000"}).status_code == 400


def test_who_may_look_may_not_start_and_nobody_sees_another_account(
    as_role: Callable[..., FlaskClient],
    engine: sa.Engine,
    account: Account,
    now: datetime,
) -> None:
    with db.writing(engine) as session:
        other = factories.make_account(session, "other", now=now)
        session.execute(
            sa.insert(dry_runs).values(
                account_id=other, body=NEW, against=0, state="done", last=1, done=0, total=0,
                summary={}, created_by="Bo", created_at=now,
            )
        )  # fmt: skip
    viewer = as_role("viewer")
    assert viewer.get(CHECK).status_code == 200
    assert pages.post(viewer, TRIALS, {"last": "1000"}).status_code == 403
    assert viewer.get(f"{TRIALS}/1").status_code == 404
    assert viewer.get(f"{TRIALS}/{2**70}").status_code == 404
    assert as_role("agent").get(CHECK).status_code == 403
    assert as_role("operator", accounts=["other"]).get(CHECK).status_code == 404


def test_a_draft_that_does_not_load_is_told(
    browser: FlaskClient, engine: sa.Engine, account: Account, rules: dict[str, int]
) -> None:
    with db.writing(engine) as session:
        session.execute(
            sa.text('update rules set body = \'{"name": "x"}\' where id = :id'),
            {"id": rules["券"]},
        )
    assert "规则读不出来" in pages.text(browser.get(CHECK))
    assert pages.post(browser, TRIALS, {"last": "1000"}, form=TRIALS).status_code == 422
