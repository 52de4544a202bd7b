"""The pages of webhooks: made, tried, repeated, given a new secret, taken away."""

import re

import pytest
import sqlalchemy as sa

from bot import db, scheduler, webhooks
from bot.tables.operators import audit, webhook_deliveries
from tests.bot.console import pages

HERE = "/console/muyan/webhooks"
URL = "https://shop.example.com/hook"
pytestmark = pytest.mark.sqlite  # the same queries run on both databases in their own tests


def secret_in(answer):
    found = re.search(r"whsec_[\w+/=]+", answer.get_data(as_text=True))
    return found and found[0]


def test_a_webhook_from_its_form_to_its_end(as_role, rt, account):
    browser = as_role("lead")
    assert "还没有 Webhook" in pages.text(browser.get(HERE))
    made = pages.post(
        browser, f"{HERE}/new", {"url": URL, "kinds": ["message"], "more": "签到，抽奖"}
    )
    secret = secret_in(made)
    assert made.status_code == 200 and secret
    with db.reading(rt.engine) as session:
        (webhook,) = webhooks.every(session, account.id)
    assert webhook.kinds == ("message", "签到", "抽奖") and not webhook.open_id
    one = f"{HERE}/{webhook.id}"

    assert pages.post(browser, f"{one}/ping", {}).status_code == 303
    shown = browser.get(one)
    assert "等待发送" in pages.text(shown) and secret_in(shown) is None
    assert b"msg_" in browser.get(f"{one}?format=csv").data or browser.get(f"{one}?format=csv").data
    assert "1 次会作废" in pages.text(browser.get(f"{one}/delete"))

    again = pages.post(browser, f"{one}/rotate", {})
    assert secret_in(again) not in (None, secret)
    saved = pages.post(browser, f"{one}/edit", {"url": URL, "kinds": ["*"]})
    assert saved.status_code == 303
    assert "停用" in pages.text(browser.get(one))
    with db.reading(rt.engine) as session:
        delivery = session.execute(sa.select(webhook_deliveries)).one()
    assert delivery.status == "failed"
    assert pages.post(browser, f"{one}/retry/{delivery.id}", {}).status_code == 409
    pages.post(browser, f"{one}/edit", {"url": URL, "kinds": ["*"], "active": "1"})
    assert pages.post(browser, f"{one}/retry/{delivery.id}", {}).status_code == 303
    assert pages.post(browser, f"{one}/delete", {}).status_code == 303
    assert browser.get(one).status_code == 404
    with db.reading(rt.engine) as session:
        told = str(session.execute(sa.select(audit)).all())
    assert "webhook.delete" in told and secret not in told
    scheduler.tick(rt, "webhooks", rt.clock())


def test_an_address_inside_is_refused_beside_its_field(as_role):
    browser = as_role("lead")
    answer = pages.post(browser, f"{HERE}/new", {"url": "http://127.0.0.1/x", "kinds": ["scan"]})
    text = answer.get_data(as_text=True)
    assert answer.status_code == 422 and "指向本机或内网" in text and "http://127.0.0.1/x" in text


def test_whole_open_ids_go_only_where_somebody_who_sees_them_sends_them(as_role):
    browser = as_role("developer")
    assert "OpenID" not in browser.get(f"{HERE}/new").get_data(as_text=True)
    given = {"url": URL, "kinds": ["scan"], "open_id": "1"}
    assert pages.post(browser, f"{HERE}/new", given).status_code == 422
    assert pages.post(as_role("lead"), f"{HERE}/new", given).status_code == 200


def test_another_accounts_webhook_does_not_exist_here(as_role, rt):
    assert as_role("lead").get(f"{HERE}/99").status_code == 404
    assert as_role("viewer").get(HERE).status_code == 403


def test_one_that_was_switched_off_waits_for_somebody(as_role, rt, account):
    with db.writing(rt.engine) as session:
        webhook_id, _ = webhooks.create(
            session, account.id, URL, ["scan"], rt.clock(), by="Bo", secret_key=rt.secret_key
        )
        values = {"active": False, "events": {"kinds": ["scan"], "off": "answered 410"}}
        webhooks.update(session, webhook_id, values)
    browser = as_role("lead")
    assert f"/webhooks/{webhook_id}" in browser.get("/console/muyan/todo").get_data(as_text=True)
    assert "已自动停用" in pages.text(browser.get(HERE))


def test_who_sees_no_openids_cannot_turn_them_to_another_address(as_role, rt, account):
    given = {"url": URL, "kinds": ["scan"], "open_id": "1", "active": "1"}
    pages.post(as_role("lead"), f"{HERE}/new", given)
    with db.reading(rt.engine) as session:
        (made,) = webhooks.every(session, account.id)
    browser, one = as_role("developer"), f"{HERE}/{made.id}"
    elsewhere = given | {"url": "https://elsewhere.example.com/hook"}
    assert pages.post(browser, f"{one}/edit", elsewhere).status_code == 422
    assert (
        pages.post(browser, f"{one}/edit", given | {"kinds": ["scan", "click"]}).status_code == 303
    )
    del elsewhere["open_id"]
    assert pages.post(browser, f"{one}/edit", elsewhere).status_code == 303
    with db.reading(rt.engine) as session:
        (now,) = webhooks.every(session, account.id)
    assert now.url.startswith("https://elsewhere.") and not now.open_id
