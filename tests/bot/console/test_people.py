"""People: added, limited, switched off; the second step of a login; what was typed before a login ended."""

import re
from collections.abc import Callable
from datetime import datetime, timedelta

import pyotp
import pytest
import sqlalchemy as sa
from flask.testing import FlaskClient

from bot import db, operators, totp
from bot.accounts import Account
from bot.app import create_app
from bot.operators import Operator
from bot.runtime import Runtime
from bot.tables.operators import audit
from tests import factories
from tests.bot.console import pages
from tests.bot.console.conftest import Someone

Role = Callable[..., FlaskClient]
NEW = "/console/system/operators/new"


@pytest.fixture
def admin(as_role: Role) -> FlaskClient:
    return as_role("admin")


def people(engine: sa.Engine) -> dict[str, Operator]:
    with db.reading(engine) as session:
        return {one.name: one for one in operators.every(session)}


def fresh(rt: Runtime) -> FlaskClient:
    return create_app(rt.config, rt).test_client()


def password_on(page: str) -> str:
    found = re.search(r'id="password">([^<]+)<', page)
    assert found
    return found[1]


def with_totp(rt: Runtime, who: Operator) -> pyotp.TOTP:
    """Their second factor, confirmed."""
    secret = totp.begin(rt.store, who.id, rt.secret_key)
    app = pyotp.TOTP(secret)
    totp.confirm(rt.engine, rt.store, who.id, app.at(rt.clock()), rt.secret_key, rt.clock())
    return app


def later(rt: Runtime, seconds: float) -> None:
    rt.clock.move_to(rt.clock() + timedelta(seconds=seconds))  # type: ignore[attr-defined]


def test_a_new_person_gets_a_password_once_and_sees_what_was_chosen(
    admin: FlaskClient, rt: Runtime, engine: sa.Engine, account: Account, now: datetime
) -> None:
    with db.writing(engine) as session:
        factories.make_account(session, "shop", now=now, name="小店")
    form = {"name": "小林", "role": "operator", "accounts": account.id}
    page = pages.post(admin, NEW, form)
    password = password_on(page.get_data(as_text=True))
    assert password not in admin.get("/console/system/operators").get_data(as_text=True)
    lin = fresh(rt)
    assert pages.log_in(lin, "小林", password).status_code == 302
    assert lin.get("/console/muyan/").status_code == 200
    assert lin.get("/console/shop/").status_code == 404
    listed = pages.text(admin.get("/console/system/operators"))
    assert "小林" in listed
    assert account.name in listed
    sheet = admin.get("/console/system/operators?format=csv").get_data(as_text=True)
    assert "小林" in sheet


@pytest.mark.sqlite  # about the form, not the rows
@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"name": ""}, "1 到 60|1–60|60 个"),
        ({"name": "admin 0"}, "已有|已经有"),
        ({"role": "king"}, "角色|没有"),
        ({"role": "channel"}, "二维码"),
        ({"role": "channel", "scenes": "店 铺"}, "店 铺"),
        ({"accounts": "999"}, "公众号"),
        ({"accounts": ""}, "公众号"),
    ],
)
def test_what_is_wrong_stands_beside_its_field_and_what_was_typed_stays(
    admin: FlaskClient, engine: sa.Engine, account: Account, change: dict[str, str], told: str
) -> None:
    form = {"name": "小林", "role": "operator", "accounts": str(account.id)} | change
    form[f"scenes-{account.id}"] = form.pop("scenes", "")
    answer = pages.post(admin, NEW, form)
    page = answer.get_data(as_text=True)
    assert answer.status_code == 422
    assert re.search(rf"(invalid-feedback|alert-danger)[^>]*>(<span>)?[^<]*({told})", page), page
    assert f'value="{form["name"]}"' in page
    assert set(people(engine)) == {"admin 0"}, "nothing was saved half"


def test_a_channel_owner_is_made_with_codes(
    admin: FlaskClient, rt: Runtime, account: Account
) -> None:
    form = {"name": "店长", "role": "channel", "every": "1", "accounts": account.id}
    page = pages.post(admin, NEW, form | {f"scenes-{account.id}": "store_05_*\nstore_06"})
    owner = fresh(rt)
    pages.log_in(owner, "店长", password_on(page.get_data(as_text=True)))
    assert owner.get("/console/muyan/").status_code == 403


def test_every_change_of_a_person_asks_first_and_is_written_down(
    admin: FlaskClient, rt: Runtime, engine: sa.Engine, ann: Someone, account: Account
) -> None:
    path = f"/console/system/operators/{people(engine)['Ann'].id}"
    browser = fresh(rt)
    pages.log_in(browser, "Ann", ann.password)
    page = pages.text(admin.get(path))
    assert "每个角色能做什么" in page
    assert "马上退出登录" in pages.text(admin.get(f"{path}/off"))
    pages.post(admin, f"{path}/off")
    assert browser.get("/console/muyan/").status_code == 302
    pages.post(admin, f"{path}/on")
    page = pages.post(admin, f"{path}/password").get_data(as_text=True)
    assert pages.log_in(browser, "Ann", ann.password).status_code == 401
    assert pages.log_in(browser, "Ann", password_on(page)).status_code == 302
    pages.post(admin, f"{path}/sessions")
    assert browser.get("/console/muyan/").status_code == 302
    pages.post(admin, path, {"name": "Anna", "role": "lead", "every": "1"})
    assert people(engine)["Anna"].role == "lead"
    with db.reading(engine) as session:
        rows = session.execute(sa.select(audit.c.action, audit.c.operator, audit.c.after)).all()
    done = [row.action for row in rows if row.operator == "admin 0"]
    assert done == [
        "login", "operator.change", "operator.change", "operator.passwd",
        "operator.end_sessions", "operator.change",
    ]  # fmt: skip
    assert admin.get("/console/system/operators/999").status_code == 404
    assert admin.get(f"{path}/explode").status_code == 404


def test_the_last_administrator_cannot_lock_everybody_out(
    admin: FlaskClient, engine: sa.Engine, account: Account
) -> None:
    path = f"/console/system/operators/{people(engine)['admin 0'].id}"
    answer = pages.post(admin, f"{path}/off")
    assert answer.status_code == 409
    assert "最后" in answer.get_data(as_text=True)
    answer = pages.post(admin, path, {"name": "admin 0", "role": "lead", "every": "1"})
    assert answer.status_code == 422
    assert people(engine)["admin 0"].role == "admin"


def test_one_changes_the_own_password_and_stays_logged_in_here_only(
    browser: FlaskClient, rt: Runtime, ann: Someone, account: Account
) -> None:
    elsewhere = fresh(rt)
    pages.log_in(elsewhere, "Ann", ann.password)
    me = "/console/system/me"
    wrong = pages.post(
        browser, me, {"old": "x", "new": "a-new-password", "again": "a-new-password"}
    )
    assert wrong.status_code == 422
    differ = pages.post(
        browser, me, {"old": ann.password, "new": "a-new-password", "again": "other"}
    )
    assert differ.status_code == 422
    assert "两次" in differ.get_data(as_text=True)
    form = {"old": ann.password, "new": "a-new-password", "again": "a-new-password"}
    assert pages.post(browser, me, form).status_code == 303
    assert browser.get("/console/muyan/").status_code == 200
    assert elsewhere.get("/console/muyan/").status_code == 302
    assert pages.log_in(elsewhere, "Ann", "a-new-password").status_code == 302


def test_the_second_factor_is_scanned_proved_and_then_asked_for(
    browser: FlaskClient, rt: Runtime, engine: sa.Engine, ann: Someone, account: Account
) -> None:
    path = "/console/system/me/totp"
    page = browser.get(path).get_data(as_text=True)
    assert 'src="data:image/svg+xml' in page
    found = re.search(r'id="secret">([A-Z2-7 ]+)<', page)
    assert found
    app = pyotp.TOTP(found[1].replace(" ", ""))
    wrong = pages.post(browser, path, {"code": "12345"})
    assert wrong.status_code == 422
    assert found[1] in wrong.get_data(as_text=True), "the same code to scan"
    assert pages.post(browser, path, {"code": app.at(rt.clock())}).status_code == 303

    phone = fresh(rt)
    first = pages.log_in(phone, "Ann", ann.password, then="/console/muyan/")
    assert "6 位数字" in first.get_data(as_text=True)
    assert phone.get("/console/muyan/").status_code == 302, "the password alone opens nothing"
    code = "/console/login/code?next=/console/muyan/"
    assert pages.post(phone, code, {"code": app.at(rt.clock())}).status_code == 401, "used already"
    later(rt, 30)
    answer = pages.post(phone, code, {"code": app.at(rt.clock())})
    assert (answer.status_code, answer.location) == (302, "/console/muyan/")
    assert phone.get("/console/muyan/").status_code == 200


def test_the_code_must_follow_the_password_within_five_minutes(
    client: FlaskClient, rt: Runtime, engine: sa.Engine, ann: Someone, account: Account
) -> None:
    assert client.get("/console/login/code").location == "/console/login"
    app = with_totp(rt, people(engine)["Ann"])
    pages.log_in(client, "Ann", ann.password)
    later(rt, 301)
    answer = pages.post(client, "/console/login/code", {"code": app.at(rt.clock())})
    assert answer.location == "/console/login"
    assert client.get("/console/muyan/").status_code == 302
    pages.log_in(client, "Ann", ann.password)
    for _ in range(operators.NAME_TRIES):
        assert pages.post(client, "/console/login/code", {"code": "000"}).status_code == 401
    answer = pages.post(client, "/console/login/code", {"code": app.at(rt.clock())})
    assert answer.status_code == 429


def test_a_lost_phone_is_helped_by_an_administrator_or_by_oneself_with_a_code(
    admin: FlaskClient, rt: Runtime, engine: sa.Engine, ann: Someone, account: Account
) -> None:
    who = people(engine)["Ann"]
    with_totp(rt, who)
    pages.post(admin, f"/console/system/operators/{who.id}/totp")
    browser = fresh(rt)
    assert pages.log_in(browser, "Ann", ann.password).status_code == 302
    app = with_totp(rt, who)
    off = "/console/system/me/totp/off"
    assert pages.post(browser, off, {"code": "12345"}).status_code == 422
    later(rt, 30)
    assert pages.post(browser, off, {"code": app.at(rt.clock())}).status_code == 303
    assert not people(engine)["Ann"].has_totp


def test_what_was_typed_before_the_login_ended_is_offered_again(
    browser: FlaskClient, engine: sa.Engine, ann: Someone, account: Account, now: datetime
) -> None:
    path = "/console/muyan/messages/canned"
    form = {"title": "营业<b>时间", "text": "10 点开门"}
    form["csrf_token"] = pages.mark(browser, "/console/muyan/")
    with db.writing(engine) as session:
        operators.end_sessions(session, people(engine)["Ann"].id, by="An", now=now)
    answer = browser.post(path, data=form, headers={"Sec-Fetch-Site": "same-origin"})
    assert answer.status_code == 401
    page = answer.get_data(as_text=True)
    assert "填写的内容还在" in page
    assert "10 点开门" not in page, "sealed: whoever looks at the login reads nothing"
    held = re.search(r'name="held" value="([^"]+)"', page)
    assert held
    data = {"name": "Ann", "password": ann.password, "held": held[1]}
    unsent = pages.post(browser, "/console/login", data)
    page = unsent.get_data(as_text=True)
    assert "营业&lt;b&gt;时间" in page
    assert "营业<b>" not in page
    assert f'action="{path}"' in page
    assert pages.post(browser, path, {"title": "营业时间", "text": "10 点开门"}).status_code == 303


@pytest.mark.sqlite  # about the form, not the rows
@pytest.mark.parametrize(
    "headers",
    [{"Sec-Fetch-Site": "cross-site"}, {"Origin": "https://evil.example"}, {}],
)
def test_a_form_of_somebody_elses_page_is_never_held(
    client: FlaskClient, account: Account, headers: dict[str, str]
) -> None:
    answer = client.post("/console/muyan/messages/canned", data={"title": "x"}, headers=headers)
    assert answer.status_code == 400
    assert 'name="held"' not in answer.get_data(as_text=True)


@pytest.mark.sqlite  # about the form, not the rows
@pytest.mark.parametrize("held", ["x", "gAAAAAB", "a" * 500_000])
def test_what_was_not_sealed_by_us_is_not_opened(
    client: FlaskClient, ann: Someone, account: Account, held: str
) -> None:
    answer = pages.post(
        client, "/console/login", {"name": "Ann", "password": ann.password, "held": held}
    )
    assert answer.status_code in (302, 413)


@pytest.mark.sqlite  # about the form, not the rows
def test_nothing_that_asks_every_few_seconds_sends_a_typing_person_away(
    browser: FlaskClient, engine: sa.Engine, ann: Someone, account: Account, now: datetime
) -> None:
    with db.writing(engine) as session:
        operators.end_sessions(session, people(engine)["Ann"].id, by="An", now=now)
    answer = browser.get("/console/muyan/messages", headers={"HX-Request": "true"})
    assert answer.status_code == 401
    assert "HX-Redirect" not in answer.headers
    assert answer.headers["HX-Retarget"] == "#notes"
