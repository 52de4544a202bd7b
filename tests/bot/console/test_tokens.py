"""The pages of API tokens: made by who may, shown once, revoked after a question."""

import re

import pytest
import sqlalchemy as sa

from bot import db, tokens
from bot.tables.operators import api_tokens, audit
from tests.bot.console import pages

NEW = "/console/muyan/tokens/new"
pytestmark = pytest.mark.sqlite  # the same queries run on both databases in their own tests


def create(browser, **values):
    given = {"name": "商城后台", "reach": "account", "days": "90", "scopes": ["tags.read"]} | values
    return pages.post(browser, NEW, given)


def test_a_token_is_made_shown_once_and_revoked(as_role, rt, account):
    browser = as_role("lead")
    assert "还没有 API 密钥" in pages.text(browser.get("/console/muyan/tokens"))
    made = create(browser)
    assert made.status_code == 200
    plain = re.search(r"qf_\w{40}", made.get_data(as_text=True))
    assert plain and made.headers["Cache-Control"] == "no-store"
    with db.reading(rt.engine) as session:
        bearer = tokens.bearer(session, plain[0], rt.clock())
        token_id = session.execute(sa.select(api_tokens.c.id)).scalar_one()
    assert bearer is not None and bearer.accounts == {account.id}

    listed = browser.get("/console/muyan/tokens")
    assert plain[0] not in listed.get_data(as_text=True) and "商城后台" in pages.text(listed)
    asked = pages.text(browser.get(f"/console/muyan/tokens/{token_id}/revoke"))
    assert "立即收到 401" in asked
    assert pages.post(browser, f"/console/muyan/tokens/{token_id}/revoke", {}).status_code == 303
    assert "已吊销" in pages.text(browser.get("/console/muyan/tokens"))
    with db.reading(rt.engine) as session:
        assert tokens.bearer(session, plain[0], rt.clock()) is None
        actions = session.execute(sa.select(audit.c.action).order_by(audit.c.id)).scalars().all()
        assert plain[0] not in str(session.execute(sa.select(audit)).all())
    assert actions[-2:] == ["token.create", "token.revoke"]


def test_what_is_wrong_stands_beside_its_field_with_what_was_typed(as_role):
    browser = as_role("lead")
    answer = create(browser, name="<b>店</b>", scopes=[])
    text = answer.get_data(as_text=True)
    assert answer.status_code == 422 and "请至少选择一项权限" in text
    assert "&lt;b&gt;店&lt;/b&gt;" in text


def test_nobody_gives_more_than_they_have(as_role):
    browser = as_role("developer", accounts=["muyan"])
    form = browser.get(NEW).get_data(as_text=True)
    assert "tokens.write" in form and "followers.erase" not in form and "全部公众号" not in form
    assert create(browser, scopes=["followers.erase"]).status_code == 422
    assert create(browser, reach="all").status_code == 422
    assert create(browser).status_code == 200


def test_tokens_of_another_account_do_not_exist_here(as_role, rt):
    with db.writing(rt.engine) as session:
        _, every = tokens.create(session, tokens.SERVER, "all", ["tags.read"], rt.clock())
    limited = as_role("lead", accounts=["muyan"])
    assert limited.get(f"/console/muyan/tokens/{every.id}/revoke").status_code == 404
    assert as_role("lead").get(f"/console/muyan/tokens/{every.id}/revoke").status_code == 200


def test_who_may_not_sees_no_tokens(as_role):
    assert as_role("operator").get("/console/muyan/tokens").status_code == 403
