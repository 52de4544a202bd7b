"""Connecting an account in four steps, its settings, the live check, emergency stop, background jobs."""

import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from flask.testing import FlaskClient

from bot import accounts, db, jobs, operators
from bot.sandbox.inprocess import mount
from bot.tables.accounts import accounts as table
from bot.tables.jobs import jobs as jobs_table
from bot.tables.operators import audit
from tests import factories
from tests.bot.console import pages
from tests.scenarios.world import PRODUCT, SANDBOX, World

NEW = "/console/system/accounts/new"
APP_ID = "wxbbbbbbbbbbbbbbbb"
FORM = {
    "name": "沐颜集",
    "slug": "brand",
    "kind": "service",
    "verified": "1",
    "app_id": APP_ID,
    "app_secret": factories.APP_SECRET,
}
SETTINGS = {
    "name": "muyan", "mode": "safe", "verified": "1", "original_id": "", "quiet_hours": "",
    "cap_messages": "", "cap_days": "", "approve_above": "1000", "opt_out": "退订 TD",
}  # fmt: skip


@pytest.fixture
def world(
    engine: sa.Engine, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[World]:
    monkeypatch.chdir(tmp_path)
    made = World(engine, database_url, tmp_path)
    mount(made.http, PRODUCT, made.product)  # our own address, as the platform would ask it
    yield made
    made.rt.writer.close()


@pytest.fixture
def admin(world: World) -> FlaskClient:
    return logged_in(world, "admin")


def logged_in(world: World, role: str) -> FlaskClient:
    with db.writing(world.rt.engine) as session:
        password = operators.add(session, f"the {role}", role, world.clock())
    client: FlaskClient = world.product.test_client()
    assert pages.log_in(client, f"the {role}", password).status_code == 302
    return client


def on_the_sandbox(world: World, slug: str) -> None:
    """The account was made by hand; for the test its platform is the sandbox."""
    with db.writing(world.rt.engine) as session:
        session.execute(sa.update(table).where(table.c.slug == slug).values(sandbox_url=SANDBOX))


def shown(page: str, name: str) -> str:
    found = re.search(rf'id="{name}">([^<]+)<', page)
    assert found, name
    return found[1]


def test_an_account_is_connected_in_four_steps_and_really_checked(
    world: World, admin: FlaskClient
) -> None:
    saved = pages.post(admin, NEW, FORM)
    assert (saved.status_code, saved.location) == (303, "/console/brand/setup/server")
    on_the_sandbox(world, "brand")
    server = admin.get("/console/brand/setup/server").get_data(as_text=True)
    assert f"{PRODUCT}/callback/brand" in server
    made = pages.post(admin, "/console/brand/setup/server", {"action": "generate"})
    page = made.get_data(as_text=True)
    token, aes_key = shown(page, "token"), shown(page, "aes_key")
    assert len(aes_key) == 43
    again = admin.get("/console/brand/setup/server").get_data(as_text=True)
    assert token not in again, "shown once"
    assert aes_key not in again

    answer = pages.post(admin, "/console/brand/setup/opening", {"sent_to_all": "1"})
    assert answer.location == "/console/brand/setup/check"
    world.platform.add_account(
        APP_ID, factories.APP_SECRET, token, aes_key, "gh_brand0000",
        callback_url=f"{PRODUCT}/callback/brand", mode="safe",
    )  # fmt: skip
    assert "还没有检查过" in pages.text(admin.get("/console/brand/setup/check"))
    pages.post(admin, "/console/brand/setup/check")
    running = admin.get("/console/brand/setup/check").get_data(as_text=True)
    assert "正在检查" in running
    assert 'hx-trigger="every 2s"' in running
    world.work()
    report = pages.text(admin.get("/console/brand/setup/check"))
    assert "全部通过" in report
    assert "还没有。在公众平台提交并启用服务器配置" in report
    world.clock.frozen_at += timedelta(seconds=5)  # type: ignore[operator]
    world.follow(1, slug="brand")
    report = pages.text(admin.get("/console/brand/setup/check"))
    assert "最近一次" in report


def test_what_the_platform_refuses_is_named_and_a_right_that_is_missing_remembered(
    world: World, admin: FlaskClient
) -> None:
    world.connect(opening=False)
    world.platform.fault("/cgi-bin/tags/get", "errcode", None, errcode=48001)
    pages.post(admin, "/console/muyan/setup/check")
    world.work()
    assert "48001" in pages.text(admin.get("/console/muyan/setup/check"))
    with db.reading(world.rt.engine) as session:
        assert accounts.get(session, "muyan").rights == {"tags": False}
    world.platform.change_account(factories.APP_ID, app_secret="another-secret-entirely")
    world.platform.kill_tokens(factories.APP_ID)
    world.clock.frozen_at += timedelta(hours=3)  # type: ignore[operator]
    pages.post(admin, "/console/muyan/setup/check")
    world.work()
    report = pages.text(admin.get("/console/muyan/setup/check"))
    assert "AppSecret" in report
    assert "没有检查" in report


@pytest.mark.sqlite  # about the form, not the rows
@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"slug": "login"}, "slug"),
        ({"slug": "system"}, "slug"),
        ({"slug": "Muyan!"}, "slug"),
        ({"slug": "../x"}, "slug"),
        ({"slug": ""}, "slug"),
        ({"slug": "muyan"}, "slug"),
        ({"name": ""}, "name"),
        ({"kind": "mini"}, "kind"),
        ({"app_id": "x"}, "app_id"),
        ({"app_id": ""}, "app_id"),
        ({"app_secret": "short"}, "app_secret"),
        ({"original_id": "x\r\nSet-Cookie: a"}, "original_id"),
    ],
)
def test_what_is_wrong_stands_beside_its_field_and_no_secret_comes_back(
    world: World, admin: FlaskClient, change: dict[str, str], field: str
) -> None:
    world.connect(opening=False)
    answer = pages.post(admin, NEW, FORM | change)
    page = answer.get_data(as_text=True)
    assert answer.status_code == 422
    assert f'id="e-{field}"' in page
    assert factories.APP_SECRET not in page
    if "name" not in change:
        assert 'value="沐颜集"' in page, "what was typed is kept"


def test_settings_change_what_was_typed_and_leave_secrets_that_were_not(
    world: World, admin: FlaskClient
) -> None:
    world.connect()
    page = admin.get("/console/muyan/settings").get_data(as_text=True)
    assert "已保存，留空不变" in page
    for secret in (factories.APP_SECRET, factories.TOKEN, factories.AES_KEY):
        assert secret not in page
    form = SETTINGS | {
        "name": "新名字", "quiet_hours": "22:00-08:00", "cap_messages": "3", "cap_days": "7",
        "token": "aNewToken2026",
    }  # fmt: skip
    assert pages.post(admin, "/console/muyan/settings", form).status_code == 303
    with db.reading(world.rt.engine) as session:
        found = accounts.get(session, "muyan")
        kept = accounts.secrets_of(session, found.id, world.rt.secret_key)
    assert (found.name, found.limits.cap_messages, found.limits.cap_days) == ("新名字", 3, 7)
    assert (kept.token, kept.app_secret) == ("aNewToken2026", factories.APP_SECRET)
    written = sa.select(audit.c.before, audit.c.after).where(audit.c.action == "account.change")
    (row,) = world.rows(written)
    assert row.after["token"] == "***"
    assert row.after["limits"] == {"quiet_hours": "22:00-08:00", "cap": {"messages": 3, "days": 7}}
    assert row.before["name"] == "muyan"
    log = admin.get("/console/muyan/audit").get_data(as_text=True)
    assert "aNewToken2026" not in log
    assert "limits.cap.messages" in log


def test_every_limit_of_the_account_file_is_set_on_the_page_and_shown_again(
    world: World, admin: FlaskClient
) -> None:
    world.connect()
    world.connect("shop", app_id=APP_ID, opening=False)
    path = "/console/muyan/settings"
    form = SETTINGS | {
        "brand": "沐颜", "holdout": "7.5", "most_people": "90000", "all_send_hold": "20m",
        "guard": "off", "guard_every": "30m", "person_messages": "4", "person_days": "7",
        "caps.0.channel": "mass", "caps.0.days": "30", "caps.0.messages": "2",
        "caps.3.message_class": "marketing", "caps.3.days": "7", "caps.3.messages": "3",
    }  # fmt: skip
    assert pages.post(admin, path, form).status_code == 303
    pages.post(admin, "/console/shop/settings", SETTINGS | {"name": "门店", "brand": "沐颜"})
    with db.reading(world.rt.engine) as session:
        found = accounts.get(session, "muyan")
        stored = session.execute(sa.select(table.c.limits).where(table.c.slug == "muyan")).scalar()
    assert (found.brand, found.limits.holdout) == ("沐颜", 0.075)
    assert stored == {
        "holdout": 0.075, "most_people": 90000, "all_send_hold": "20m", "guard": False,
        "guard_every": "30m", "person_cap": {"messages": 4, "days": 7},
        "caps": [
            {"messages": 2, "days": 30, "channel": "mass"},
            {"messages": 3, "days": 7, "message_class": "marketing"},
        ],
    }  # fmt: skip
    page = admin.get(path).get_data(as_text=True)
    for value in ("沐颜", "7.5", "90000", "20m", "30m"):
        assert f'value="{value}"' in page
    assert "现在的姊妹号：门店" in pages.text(admin.get(path))
    # what the page shows is what it saves: nothing changes
    again = {
        **form,
        "caps.1.message_class": "marketing", "caps.1.days": "7", "caps.1.messages": "3",
        "caps.3.message_class": "", "caps.3.days": "", "caps.3.messages": "",
    }  # fmt: skip
    pages.post(admin, path, again)
    written = sa.select(audit.c.after).where(audit.c.action == "account.change")
    assert len(world.rows(written)) == 2, "one for each account"
    pages.post(admin, path, SETTINGS)
    with db.reading(world.rt.engine) as session:
        found = accounts.get(session, "muyan")
    assert (found.brand, found.limits) == (None, accounts.Limits()), "emptied, all is as by default"


@pytest.mark.sqlite  # about the form, not the rows
@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"holdout": "51"}, "holdout"),
        ({"holdout": "-1"}, "holdout"),
        ({"holdout": "nan"}, "holdout"),
        ({"holdout": "a tenth"}, "holdout"),
        ({"most_people": "0"}, "most_people"),
        ({"all_send_hold": "soon"}, "all_send_hold"),
        ({"guard_every": "90d"}, "guard_every"),
        ({"cap_days": "7"}, "cap_messages"),
        ({"person_messages": "3"}, "person_messages"),
        ({"caps.0.channel": "mass"}, "caps"),
        ({"caps.0.channel": "fax", "caps.0.days": "1", "caps.0.messages": "1"}, "caps"),
        ({"brand": "牌" * 61}, "brand"),
        ({"quiet_hours": "late"}, "quiet_hours"),
        ({"quiet_hours": "08:00-08:00"}, "quiet_hours"),
        ({"approve_above": "many"}, "approve_above"),
        ({"mode": "open"}, "mode"),
        ({"aes_key": "short"}, "aes_key"),
        ({"name": ""}, "name"),
    ],
)
def test_a_setting_that_does_not_parse_changes_nothing(
    world: World, admin: FlaskClient, change: dict[str, str], field: str
) -> None:
    world.connect()
    form = SETTINGS | {"name": "新名字"} | change
    answer = pages.post(admin, "/console/muyan/settings", form)
    assert answer.status_code == 422
    assert f'id="e-{field}"' in answer.get_data(as_text=True)
    with db.reading(world.rt.engine) as session:
        assert accounts.get(session, "muyan").name == "muyan"


@pytest.mark.sqlite  # about the form, not the rows
def test_the_emergency_stop_says_what_waits_and_is_ended_the_same_way(
    world: World, admin: FlaskClient
) -> None:
    world.connect()
    path = "/console/muyan/settings"
    assert "被动回复照常" in pages.text(admin.get(f"{path}/stop"))
    pages.post(admin, f"{path}/stop", {"reason": "文案有误"})
    assert "紧急停止中：文案有误" in pages.text(admin.get(path))
    assert "文案有误" in pages.text(admin.get(f"{path}/go"))
    pages.post(admin, f"{path}/go")
    with db.reading(world.rt.engine) as session:
        assert not accounts.get(session, "muyan").stopped
    assert admin.get(f"{path}/explode").status_code == 404


@pytest.mark.sqlite  # about the form, not the rows
def test_the_command_line_and_the_account_file_refuse_the_programs_own_words(world: World) -> None:
    add = ("account", "add", "login", "--name", "x", "--app-id", APP_ID)
    secrets = {"S": factories.APP_SECRET, "T": factories.TOKEN}
    told = world.fails(*add, "--app-secret", "env:S", "--token", "env:T", **secrets)
    assert "kept for the program itself" in told
    told = world.fails("apply", str(world.file("static", account={"app_id": APP_ID})))
    assert "kept for the program itself" in told


def test_the_command_line_limits_people_and_helps_with_a_lost_phone(world: World) -> None:
    world.connect(opening=False)
    world.connect("shop", app_id=APP_ID, opening=False)
    world.ok("operator", "add", "Bo", "--role", "lead", "--account", "shop")
    world.ok(
        "operator", "add", "Di", "--role", "channel", "--account", "muyan", "--scenes", "s_*,t"
    )
    seen = {one["name"]: one["accounts"] for one in world.told("operator", "list")}
    assert seen == {"Bo": ["shop"], "Di": ["muyan"]}
    add = ("operator", "add", "Ed", "--role", "channel")
    assert "at least one QR code" in world.fails(*add, "--account", "muyan")
    assert "no account" in world.fails(*add, "--account", "nobody", "--scenes", "x")
    assert "not on" in world.fails("operator", "totp", "Bo", "--off")
    assert "no operator" in world.fails("operator", "totp", "Ed", "--off"), "nothing was added half"
    with db.writing(world.rt.engine) as session:
        session.execute(sa.update(operators.operators).values(totp_secret="sealed"))
    assert "is off" in world.ok("operator", "totp", "Bo", "--off")


def test_the_list_of_accounts_marks_the_sandbox_and_what_is_unfinished(
    world: World, admin: FlaskClient
) -> None:
    world.connect(opening=False)
    page = pages.text(admin.get("/console/system/accounts"))
    assert "沙箱" in page
    assert "接入未完成" in page
    assert "muyan" in admin.get("/console/system/accounts?format=csv").get_data(as_text=True)
    assert "没有符合" in pages.text(admin.get("/console/system/accounts?q=nothing"))


def job(world: World, slug: str | None, **values: Any) -> int:
    given = {
        "account_id": world.account_id(slug) if slug else None,
        "name": "sync_tags",
        "arguments": {},
        "run_at": world.clock(),
        "state": "dead",
        "tries": 8,
        "error": "WeChatError: <b>48001</b>",
        "created_at": world.clock(),
        "finished_at": world.clock(),
    } | values
    with db.writing(world.rt.engine) as session:
        made = sa.insert(jobs_table).values(**given).returning(jobs_table.c.id)
        return int(session.execute(made).scalar_one())


def test_jobs_that_were_given_up_are_seen_and_retried_by_their_own_people(world: World) -> None:
    world.connect()
    world.connect("shop", app_id=APP_ID, opening=False)
    mine, theirs = job(world, "muyan"), job(world, "shop", name="plan")
    own = job(world, None, name="prune")
    lead = logged_in(world, "lead")
    page = lead.get("/console/muyan/jobs").get_data(as_text=True)
    assert "同步标签" in page
    assert "<b>48001</b>" not in page
    assert "计算活动受众" not in page
    for other in (theirs, own):
        assert pages.post(lead, f"/console/muyan/jobs/{other}/retry").status_code == 404
    assert pages.post(lead, f"/console/muyan/jobs/{mine}/retry").status_code == 303
    assert pages.post(lead, f"/console/muyan/jobs/{mine}/retry").status_code == 409
    assert lead.get("/console/system/jobs").status_code == 403
    admin = logged_in(world, "admin")
    assert "prune" in pages.text(admin.get("/console/system/jobs?state=dead"))
    assert pages.post(admin, f"/console/system/jobs/{own}/retry").status_code == 303
    with db.reading(world.rt.engine) as session:
        assert [one.id for one in jobs.dead(session)] == [theirs]
    assert "没有符合的任务" in pages.text(admin.get("/console/muyan/jobs?state=dead"))
    assert "同步标签" in pages.text(admin.get("/console/muyan/jobs?q=标签"))
