"""A push whose handling failed is handled again from the console, once, and only this account's."""

from datetime import datetime

import sqlalchemy as sa
from flask.testing import FlaskClient

from bot import db, inbox, rulebook
from bot.accounts import Account
from bot.runtime import Runtime
from bot.tables.inbox import inbound
from bot.workers import run_due
from tests import pushes
from tests.bot.console import pages

RULES = {
    "rules": [
        {
            "name": "你好",
            "when": [{"text_is": {"any": ["你好"]}}],
            "then": [{"reply": {"text": "您好"}}],
        }
    ]
}


def test_failed_pushes_are_handled_again_after_saying_how_many(
    client: FlaskClient, browser: FlaskClient, rt: Runtime, account: Account, now: datetime
) -> None:
    with db.writing(rt.engine) as session:
        rulebook.publish(session, account.id, RULES, by="test", note="", now=now)
    for number, word in enumerate(("你好", "别的")):
        pushes.post(client, pushes.text(word, at=now, number=number), at=now)
    with db.writing(rt.engine) as session:
        session.execute(sa.update(inbound).values(status="failed", error="a bug, mended now"))
    told = pages.text(browser.get("/console/muyan/pushes/replay"))
    assert "重新处理 2 条推送" in told
    answer = pages.post(browser, "/console/muyan/pushes/replay")
    assert answer.status_code == 303
    assert "/progress/" in answer.location
    again = pages.post(browser, "/console/muyan/pushes/replay")
    assert "/progress/" not in again.location
    run_due(rt)
    with db.reading(rt.engine) as session:
        assert inbox.failed_ids(session, account.id) == []
        rows = session.execute(sa.select(inbound.c.rules).order_by(inbound.c.id)).scalars()
        assert list(rows) == [["你好"], []]
    assert "没有处理失败的推送" in pages.text(
        browser.get("/console/muyan/pushes/replay", follow_redirects=True)
    )
