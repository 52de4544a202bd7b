"""The console's door: passwords, throttling, cross-site protection, sessions, headers."""

import re
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
import sqlalchemy as sa
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from bot import db, operators
from bot.accounts import Account
from bot.app import create_app
from bot.console.security import SESSION_HOURS
from bot.runtime import Runtime
from bot.tables.operators import audit
from tests.bot.console import pages
from tests.bot.console.conftest import Someone


def test_nothing_is_shown_without_a_login(client: FlaskClient, account: Account) -> None:
    for path in ("/console/", "/console/muyan/", "/console/nobody/"):
        answer = client.get(path)
        assert answer.status_code == 302
        assert answer.location.startswith("/console/login?next=")
        assert account.name not in answer.get_data(as_text=True)


def test_name_and_password_open_the_console(
    client: FlaskClient, engine: sa.Engine, account: Account, ann: Someone
) -> None:
    answer = pages.log_in(client, ann.name, ann.password)
    assert (answer.status_code, answer.location) == (302, "/console/")
    home = client.get("/console/", follow_redirects=True)
    assert home.request.path == "/console/muyan/"
    assert account.name in pages.text(home)
    with db.reading(engine) as session:
        rows = session.execute(sa.select(audit.c.action, audit.c.operator)).all()
    assert ("login", "Ann") in rows


@pytest.mark.parametrize("name", ["Ann", "Nobody", "", "Ann' OR 1=1 --"])
def test_a_wrong_password_and_an_unknown_name_read_the_same(
    client: FlaskClient, account: Account, ann: Someone, name: str
) -> None:
    answer = pages.log_in(client, name, "wrong-password")
    page = answer.get_data(as_text=True)
    assert answer.status_code == 401
    assert "用户名或密码不对。" in page
    assert "Set-Cookie" not in answer.headers or "_user_id" not in answer.headers["Set-Cookie"]
    assert client.get("/console/muyan/").status_code == 302


def test_an_unknown_name_is_checked_against_a_hash_like_a_known_one(
    client: FlaskClient, ann: Someone, monkeypatch: pytest.MonkeyPatch
) -> None:
    checked: list[str] = []
    real = operators._matches

    def counted(stored: str, password: str) -> bool:
        checked.append(stored)
        return real(stored, password)

    monkeypatch.setattr(operators, "_matches", counted)
    pages.log_in(client, "Ann", "wrong-password")
    pages.log_in(client, "Nobody", "wrong-password")
    assert [stored[:10] for stored in checked] == ["$argon2id$", "$argon2id$"]


def test_too_many_tries_have_to_wait(
    client: FlaskClient, rt: Runtime, ann: Someone, now: datetime
) -> None:
    for _ in range(operators.NAME_TRIES):
        assert pages.log_in(client, ann.name, "wrong-password").status_code == 401
    answer = pages.log_in(client, ann.name, ann.password)
    assert answer.status_code == 429
    assert "尝试次数太多" in answer.get_data(as_text=True)
    rt.clock.move_to(now + timedelta(minutes=11))  # type: ignore[attr-defined]
    assert pages.log_in(client, ann.name, ann.password).status_code == 302


def test_a_form_without_its_mark_is_refused(client: FlaskClient, ann: Someone) -> None:
    data = {"name": ann.name, "password": ann.password}
    for given in (data, data | {"csrf_token": "made-up"}):
        answer = client.post("/console/login", data=given)
        assert answer.status_code == 400
        assert "请再试一次" in answer.get_data(as_text=True)
    assert client.get("/console/").location.startswith("/console/login")


def test_logging_out_needs_the_mark_too_and_ends_the_session(
    browser: FlaskClient, account: Account
) -> None:
    assert browser.get("/console/logout", follow_redirects=True).status_code == 404
    assert browser.post("/console/logout").status_code == 400
    assert browser.get("/console/muyan/").status_code == 200
    answer = browser.post(
        "/console/logout", data={"csrf_token": pages.mark(browser, "/console/muyan/")}
    )
    assert answer.status_code == 302
    assert browser.get("/console/muyan/").status_code == 302


def test_a_new_password_ends_open_sessions(
    browser: FlaskClient, engine: sa.Engine, account: Account, ann: Someone, now: datetime
) -> None:
    assert browser.get("/console/muyan/").status_code == 200
    with db.writing(engine) as session:
        operators.passwd(session, ann.name, now)
    assert browser.get("/console/muyan/").status_code == 302


def test_an_operator_who_is_switched_off_is_out_at_once(
    browser: FlaskClient, engine: sa.Engine, account: Account, ann: Someone
) -> None:
    with db.writing(engine) as session:
        session.execute(sa.update(operators.operators).values(active=False))
    assert browser.get("/console/muyan/").status_code == 302
    assert pages.log_in(browser, ann.name, ann.password).status_code == 401


def test_next_leads_to_a_page_of_the_console(
    client: FlaskClient, account: Account, ann: Someone
) -> None:
    assert client.get("/console/muyan/?live=0").location == (
        "/console/login?next=/console/muyan/?live%3D0"
    )
    answer = pages.log_in(client, ann.name, ann.password, then="/console/muyan/?live=0")
    assert answer.location == "/console/muyan/?live=0"


@pytest.mark.parametrize(
    "target",
    [
        "https://evil.example/",
        "//evil.example/console/",
        "/console/../../evil",
        "/console//evil.example",
        "/console/\\evil.example",
        "/\\evil.example/console/",
        "javascript:alert(1)",
        "/callback/muyan",
        "/console/\r\nSet-Cookie: a=b",
        "",
    ],
)
def test_next_cannot_leave_the_console(client: FlaskClient, ann: Someone, target: str) -> None:
    answer = pages.log_in(client, ann.name, ann.password, then=target)
    assert answer.status_code == 302
    assert answer.location == "/console/"


def test_every_page_forbids_foreign_content(browser: FlaskClient, account: Account) -> None:
    pages_seen = ["/console/login", "/console/muyan/", "/console/nobody/"]
    for answer in map(browser.get, pages_seen):
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert "http" not in policy
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["Referrer-Policy"] == "same-origin"


def test_the_pages_obey_their_own_policy(browser: FlaskClient, account: Account) -> None:
    """No inline script or style, nothing from elsewhere; what is linked exists and may be kept."""
    for path in ("/console/login", "/console/muyan/"):
        page = browser.get(path).get_data(as_text=True)
        assert not re.search(r"<script(?![^>]*\ssrc=)", page)
        assert not re.search(r"\son\w+=|\sstyle=|<style", page)
        linked = re.findall(r'(?:src|href|hx-get)="([^"?#]+)', page)
        assert linked
        for address in linked:
            assert address.startswith("/console/"), address
        for asset in {each for each in linked if "/static/" in each}:
            with browser.get(asset) as answer:
                assert answer.status_code == 200
                assert answer.headers["Cache-Control"] != "no-store"
                assert answer.headers["X-Content-Type-Options"] == "nosniff"


def _cookie(answer: TestResponse) -> str:
    return next(each for each in answer.headers.getlist("Set-Cookie") if "qunfen=" in each)


def test_the_cookie_is_the_consoles_own(client: FlaskClient, ann: Someone) -> None:
    cookie = _cookie(pages.log_in(client, ann.name, ann.password))
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    assert "Path=/console" in cookie
    assert "Secure" not in cookie  # the test's address is plain http


def test_behind_https_the_cookie_is_secure(rt: Runtime, ann: Someone) -> None:
    config = rt.config.model_copy(update={"base_url": "https://qunfen.example"})
    answer = create_app(config, replace(rt, config=config)).test_client().get("/console/login")
    assert "Secure" in _cookie(answer)


def test_a_session_ends_after_half_a_day(client: FlaskClient, ann: Someone) -> None:
    pages.log_in(client, ann.name, ann.password)
    app = client.application
    assert app.permanent_session_lifetime == timedelta(hours=SESSION_HOURS)
    with client.session_transaction("/console/") as kept:
        assert kept.permanent
