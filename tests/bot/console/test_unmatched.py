"""未匹配消息 as an operator uses it."""

from collections.abc import Callable
from datetime import datetime

import pytest
import sqlalchemy as sa
from flask.testing import FlaskClient

from bot import db, drafts
from bot.accounts import Account
from bot.tables.inbox import inbound
from tests import factories
from tests.bot.console import pages
from tests.bot.test_rule_trials import store

LIST = "/console/muyan/unmatched"


@pytest.fixture
def asked(engine: sa.Engine, account: Account, now: datetime) -> None:
    """What two followers wrote and nobody answered."""
    texts = ["查物流", "请问物流到哪了？", "積分怎麼用", "=cmd|' /C calc'!A0"]
    with db.writing(engine) as session:
        lan = factories.make_follower(session, account.id, now=now)
        wei = factories.make_follower(session, account.id, 2, now=now)
        ids = store(session, account, texts, now, lan)
        ids += store(session, account, ["查物流！"], factories.at("2025-03-03 10:00"), wei)
        session.execute(sa.update(inbound).where(inbound.c.id.in_(ids)).values(unmatched=True))


def test_wishes_are_listed_with_counts_and_examples(browser: FlaskClient, asked: None) -> None:
    told = pages.text(browser.get(LIST))
    assert "最近 5 条没有规则回答的消息" in told
    assert "物流 3 2 查物流" in told
    assert "积分" in told
    assert "积分" not in pages.text(browser.get(f"{LIST}?q=物流")).split("忽略")[0]
    assert browser.get(f"{LIST}?sort=people").status_code == 200


def test_one_click_makes_a_draft_and_says_how_many_it_would_have_answered(
    browser: FlaskClient, asked: None, engine: sa.Engine, account: Account
) -> None:
    answer = pages.post(browser, f"{LIST}/draft", {"words": ["物流"]}, form=LIST)
    assert answer.status_code == 303
    told = pages.text(browser.get(answer.headers["Location"]))
    assert "能回答过去 3 条未匹配消息，来自 2 人" in told
    with db.reading(engine) as session:
        (draft,) = drafts.listing(session, account.id)
    assert (draft.name, draft.enabled, draft.changed_by) == ("回答：物流", False, "Ann")


def test_a_draft_without_words_is_not_made(
    browser: FlaskClient, asked: None, engine: sa.Engine, account: Account
) -> None:
    pages.post(browser, f"{LIST}/draft", {"words": [" "]}, form=LIST)
    with db.reading(engine) as session:
        assert drafts.listing(session, account.id) == []


def test_a_wish_is_put_aside_and_listed_again(browser: FlaskClient, asked: None) -> None:
    pages.post(browser, f"{LIST}/ignore", {"topics": ["物流"]}, form=LIST)
    told = pages.text(browser.get(LIST))
    assert "请问物流到哪了" not in told
    assert "忽略的词 1 物流 Ann" in told
    pages.post(browser, f"{LIST}/notice", {"word": "物流"}, form=LIST)
    assert "请问物流到哪了" in pages.text(browser.get(LIST))
    assert pages.post(browser, f"{LIST}/notice", {"word": "物流"}, form=LIST).status_code == 404


def test_several_wishes_are_put_aside_at_once(browser: FlaskClient, asked: None) -> None:
    pages.post(browser, f"{LIST}/ignore", {"ids": ["物流\r\n快递", "积分"]}, form=LIST)
    assert "忽略的词 3" in pages.text(browser.get(LIST))
    pages.post(browser, f"{LIST}/ignore", {}, form=LIST)
    assert "先勾选至少一个问题" in pages.text(browser.get(LIST))


def test_a_formula_in_a_message_is_text_in_the_file(browser: FlaskClient, asked: None) -> None:
    answer = browser.get(f"{LIST}?format=csv")
    assert answer.mimetype == "text/csv"
    lines = answer.get_data(as_text=True)
    assert "物流" in lines
    assert not any(cell.startswith("=") for line in lines.splitlines() for cell in line.split(","))


def test_nothing_unanswered_is_told(browser: FlaskClient, account: Account) -> None:
    assert "没有未匹配的消息" in pages.text(browser.get(LIST))


def test_who_may_only_look_changes_nothing_and_other_accounts_are_not_there(
    as_role: Callable[..., FlaskClient], asked: None, engine: sa.Engine, now: datetime
) -> None:
    viewer = as_role("viewer")
    assert "建规则" not in pages.text(viewer.get(LIST))
    for path in ("draft", "ignore", "notice"):
        assert pages.post(viewer, f"{LIST}/{path}", {"words": ["物流"]}).status_code == 403
    with db.writing(engine) as session:
        factories.make_account(session, "other", now=now)
    assert as_role("operator", accounts=["other"]).get(LIST).status_code == 404
    assert viewer.post(f"{LIST}/ignore", data={"topics": ["物流"]}).status_code == 400


def test_who_reads_no_conversations_sees_no_message_word_for_word(
    as_role: Callable[..., FlaskClient], asked: None
) -> None:
    viewer = as_role("viewer")
    told = pages.text(viewer.get(LIST))
    assert "物流" in told
    assert "请问物流到哪了" not in told
    table = viewer.get(f"{LIST}?format=csv").get_data(as_text=True)
    assert "物流" in table
    assert "请问物流到哪了" not in table
