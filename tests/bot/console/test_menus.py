"""Menus in the console: drafts, two editors, publishing on the sandbox, taps and previews."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from flask.testing import FlaskClient

from bot import db, events, menu_drafts, menus, retention, rulebook
from bot.accounts import Account
from bot.console import menu_forms
from bot.runtime import Runtime
from bot.tables.accounts import menus as table
from bot.tables.operators import audit
from bot.workers import run_due
from tests import factories
from tests.bot.console import pages
from tests.bot.console.conftest import Someone
from tests.bot.stage import ADDRESS, Stage

HERE = "/console/muyan/menus"
FORM = {
    "m.0.name": "领券",
    "m.0.kind": "click",
    "m.0.value": "M_COUPON",
    "m.1.name": "更多",
    "m.1.kind": "click",
    "m.1.sub.0.name": "商城",
    "m.1.sub.0.kind": "view",
    "m.1.sub.0.value": "https://example.com/mall",
    "m.1.sub.1.name": "",
    "m.2.name": "",
}
MENU = [
    {"name": "领券", "click": "M_COUPON"},
    {"name": "更多", "sub": [{"name": "商城", "view": "https://example.com/mall"}]},
]


@pytest.fixture
def stage(now: datetime) -> Stage:
    return Stage(now)


@pytest.fixture
def rt(rt: Runtime, stage: Stage) -> Runtime:
    """The runtime, with the account's gateway on the sandbox."""
    return replace(rt, http=lambda: stage.wechat._http)


@pytest.fixture
def account(account: Account, engine: sa.Engine) -> Account:
    with db.writing(engine) as session:
        session.execute(sa.text("UPDATE accounts SET sandbox_url = :url"), {"url": ADDRESS})
    return account


def post(browser: FlaskClient, path: str, data: Any) -> Any:
    return pages.post(browser, f"{HERE}{path}", data, form=HERE)


def state(engine: sa.Engine, account: Account) -> menu_drafts.State:
    with db.reading(engine) as session:
        return menu_drafts.state(session, account.id)


def on_platform(stage: Stage) -> list[str]:
    answer = stage.wechat.call("/cgi-bin/menu/get")
    return [button["name"] for button in answer["menu"]["button"]]


def test_a_menu_is_drafted_compared_and_published(
    browser: FlaskClient, engine: sa.Engine, account: Account, stage: Stage
) -> None:
    assert "还没有自己的菜单" in pages.text(browser.get(HERE))
    assert post(browser, "", FORM | {"version": "0"}).status_code == 303
    found = state(engine, account)
    assert found.drafted
    assert (found.menu, found.menus.menu, found.changed_by) == (MENU, None, "Ann")
    page = pages.text(browser.get(f"{HERE}/publish"))
    assert "+ 领券 → 点击推事件（由规则回复） M_COUPON" in page
    assert "点了没有规则回复：领券 M_COUPON" in page
    assert post(browser, "/publish", {"version": found.version, "when": "now"}).status_code == 303
    assert on_platform(stage) == ["领券", "更多"]
    found = state(engine, account)
    assert not found.drafted
    assert found.menus.menu == MENU
    assert "没有改动" in pages.text(browser.get(f"{HERE}/publish"))
    with db.reading(engine) as session:
        actions = session.execute(sa.select(audit.c.action).order_by(audit.c.id)).scalars().all()
    assert [action for action in actions if action.startswith("menu")] == [
        "menu.save",
        "menu.publish",
    ]


def test_the_second_of_two_editors_sees_both_menus(
    browser: FlaskClient, engine: sa.Engine, account: Account
) -> None:
    post(browser, "", FORM | {"version": "0"})
    answer = post(browser, "", FORM | {"version": "0", "m.0.name": "我的"})
    assert answer.status_code == 409
    html = answer.get_data(as_text=True)
    assert 'value="我的"' in html
    assert "领券 → 点击推事件" in html
    assert state(engine, account).menu == MENU
    version = state(engine, account).version
    assert f'name="version" value="{version}"' in html, "saving again is meant"


WRONG: list[tuple[dict[str, str], str]] = [
    ({"m.0.name": "长" * 6}, "m.0.name"),
    ({"m.0.name": ""}, "m.0.name"),
    ({"m.0.value": ""}, "m.0.value"),
    ({"m.0.value": "k" * 129}, "m.0.value"),
    ({"m.1.name": ""}, "m.1.name"),
    ({"m.1.sub.0.value": "javascript:alert(1)"}, "m.1.sub.0.value"),
    ({"m.1.sub.0.value": "https://" + "a" * 1020}, "m.1.sub.0.value"),
    ({"m.1.sub.0.name": "长" * 21}, "m.1.sub.0.name"),
    ({"m.0.kind": "mini_program", "m.0.app_id": "WX1"}, "m.0.app_id"),
]


def test_what_the_platform_would_refuse_is_told_beside_its_field(
    browser: FlaskClient, engine: sa.Engine, account: Account
) -> None:
    for change, field in WRONG:
        answer = post(browser, "", FORM | {"version": "0"} | change)
        assert answer.status_code == 422, change
        html = answer.get_data(as_text=True)
        beside = html[html.index(f'id="{field}"') :]
        assert "invalid-feedback d-block" in beside[: beside.index("</div>")]
    assert not state(engine, account).drafted


def test_the_order_of_the_page_counts_and_arrows_move_without_script(
    browser: FlaskClient, engine: sa.Engine, account: Account
) -> None:
    other_way = {key: FORM[key] for key in sorted(FORM, reverse=True)}
    assert menu_forms.read(pages.MultiDict(other_way)) == [MENU[1], MENU[0]]
    html = post(browser, "", FORM | {"version": "0", "move": "1:up"}).get_data(as_text=True)
    assert html.index('value="更多"') < html.index('value="领券"')
    assert not state(engine, account).drafted
    for order in ("0:up", "9:down", "1.sub.4:up", "x", "2:down"):
        assert menu_forms.moved([dict(button) for button in MENU], order) == MENU


def test_personal_menus_are_added_ordered_removed_and_previewed(
    browser: FlaskClient, engine: sa.Engine, account: Account, now: datetime
) -> None:
    with db.writing(engine) as session:
        for name in ("老客", "新客"):
            tag_id = factories.make_tag(session, account.id, name, sync=True)
        factories.make_tag(session, account.id, "只在这里")
        lan, wei = factories.make_followers(session, account.id, 2, now=now)
        factories.give_tag(session, account.id, lan, tag_id, now=now)
    post(browser, "", FORM | {"version": "0"})
    for name in ("老客", "新客"):
        version = state(engine, account).version
        assert post(browser, "/personal", {"tag": name, "version": version}).status_code == 303
    refused = post(browser, "/personal", {"tag": "只在这里", "version": version + 1})
    assert refused.status_code == 422
    changed = FORM | {"which": "1", "m.0.name": "新人", "version": version + 1}
    assert post(browser, "", changed).status_code == 303
    found = state(engine, account)
    assert [(one["tag"], one["menu"][0]["name"]) for one in found.personal] == [
        ("老客", "领券"),
        ("新客", "新人"),
    ]
    assert "个性化菜单「新客」" in pages.text(browser.get(f"{HERE}/preview?follower={lan}"))
    assert "看到默认菜单" in pages.text(browser.get(f"{HERE}/preview?follower={wei}"))
    assert browser.get(f"{HERE}/preview?follower=999").status_code == 404
    post(browser, "/personal", {"order": "1:up", "version": found.version})
    post(browser, "/personal", {"order": "1:remove", "version": found.version + 1})
    assert [one["tag"] for one in state(engine, account).personal] == ["新客"]
    assert browser.get(f"{HERE}?which=7").status_code == 404


def test_a_refusal_of_the_platform_is_told_in_words_and_the_draft_stays(
    browser: FlaskClient, engine: sa.Engine, account: Account, stage: Stage
) -> None:
    post(browser, "", FORM | {"version": "0"})
    stage.platform.fault("/cgi-bin/menu/create", "errcode", errcode=40054)
    version = state(engine, account).version
    answer = post(browser, "/publish", {"version": version, "when": "now"})
    assert answer.status_code == 409
    assert "40054" in answer.get_data(as_text=True)
    found = state(engine, account)
    assert found.drafted
    assert found.menus.error
    assert post(browser, "/publish", {"version": found.version, "when": "now"}).status_code == 303
    assert on_platform(stage) == ["领券", "更多"]


def test_a_scheduled_menu_goes_out_at_its_time_unless_it_is_cancelled(
    browser: FlaskClient,
    engine: sa.Engine,
    account: Account,
    stage: Stage,
    rt: Runtime,
    now: datetime,
) -> None:
    def schedule(at: str) -> Any:
        version = state(engine, account).version
        return post(browser, "/publish", {"version": version, "when": "later", "publish_at": at})

    post(browser, "", FORM | {"version": "0"})
    for at in ("2025-03-03T08:00", "2026-03-03T08:00", "gestern"):
        assert schedule(at).status_code == 409
    assert schedule("2025-03-03T20:00").status_code == 303
    assert "Ann 定于 03-03 20:00:00 发布" in pages.text(browser.get(HERE))
    assert post(browser, "/cancel", {"version": state(engine, account).version}).status_code == 303
    assert schedule("2025-03-03T21:00").status_code == 303
    rt.clock.move_to(now + timedelta(hours=11, minutes=30))  # type: ignore[attr-defined]
    run_due(rt)
    assert "menu/create" not in stage.calls
    rt.clock.move_to(now + timedelta(hours=12, minutes=1))  # type: ignore[attr-defined]
    run_due(rt)
    assert on_platform(stage) == ["领券", "更多"]
    found = state(engine, account)
    assert (found.drafted, found.publish_at) == (False, None)


def test_a_change_after_scheduling_cancels_it(
    browser: FlaskClient, engine: sa.Engine, account: Account
) -> None:
    post(browser, "", FORM | {"version": "0"})
    at = {"version": "1", "when": "later", "publish_at": "2025-03-03T20:00"}
    assert post(browser, "/publish", at).status_code == 303
    post(browser, "", FORM | {"version": "2", "m.0.name": "改了"})
    assert state(engine, account).publish_at is None


def test_a_draft_is_given_up_only_after_asking(
    browser: FlaskClient, engine: sa.Engine, account: Account
) -> None:
    post(browser, "", FORM | {"version": "0"})
    assert "粉丝现在看到的菜单不变" in pages.text(browser.get(f"{HERE}/discard"))
    assert post(browser, "/discard", {"version": "1"}).status_code == 303
    assert not state(engine, account).drafted


def test_what_the_platform_has_is_shown_and_taken_over(
    browser: FlaskClient, engine: sa.Engine, account: Account, stage: Stage
) -> None:
    stage.wechat.call(
        "/cgi-bin/menu/create",
        {"button": [{"type": "click", "name": "旧的", "key": "OLD"}]},
    )
    page = pages.text(browser.get(f"{HERE}/platform"))
    assert "不一样" in page
    assert "+ 旧的 → 点击推事件（由规则回复） OLD" in page
    assert post(browser, "/platform", {"version": "0"}).status_code == 303
    assert state(engine, account).menu == [{"name": "旧的", "click": "OLD"}]


@pytest.mark.parametrize("rolled", [False, True])
def test_taps_are_counted_by_button_and_day(
    browser: FlaskClient,
    engine: sa.Engine,
    account: Account,
    stage: Stage,
    now: datetime,
    rolled: bool,
) -> None:
    post(browser, "", FORM | {"version": "0"})
    post(browser, "/publish", {"version": "1", "when": "now"})
    with db.writing(engine) as session:
        lan, wei = factories.make_followers(session, account.id, 2, now=now)
        for who, kind, key, days in (
            (lan, "menu_click", "M_COUPON", 0),
            (lan, "menu_click", "M_COUPON", 0),
            (wei, "menu_click", "M_COUPON", 1),
            (wei, "menu_view", "https://example.com/mall", 1),
            (wei, "menu_click", "M_OLD", 2),
            (wei, "menu_click", "M_OLD", 40),
        ):
            at = now - timedelta(days=days)
            events.record(session, account.id, who, kind, at, key=key)
    if rolled:
        while retention.rollup(engine, now):
            pass
    page = pages.text(browser.get(f"{HERE}/taps"))
    assert "领券 M_COUPON 3 2" in page
    assert "商城 https://example.com/mall 1 1" in page
    assert "— 现在的菜单里没有 M_OLD 1 1" in page
    assert "2025-03-02 2 2" in page
    lines = browser.get(f"{HERE}/taps?format=csv").get_data(as_text=True)
    assert "领券,M_COUPON,2025-03-03,2,1" in lines


def test_a_key_that_a_rule_answers_is_not_pointed_out(
    browser: FlaskClient, engine: sa.Engine, account: Account, now: datetime
) -> None:
    post(browser, "", FORM | {"version": "0"})
    assert "点了没有规则回复" in pages.text(browser.get(HERE))
    rule = {
        "name": "领券",
        "when": [{"menu_key": {"any": ["M_COUPON"]}}],
        "then": [{"reply": {"text": "券"}}],
    }
    with db.writing(engine) as session:
        body = {"rules": [rule], "fallback": None}
        rulebook.publish(session, account.id, body, by="Ann", note="", now=now)
    assert "点了没有规则回复" not in pages.text(browser.get(HERE))


def test_who_may_only_look_changes_nothing_and_another_account_is_not_there(
    as_role: Callable[..., FlaskClient],
    ann: Someone,
    browser: FlaskClient,
    engine: sa.Engine,
    account: Account,
    now: datetime,
) -> None:
    post(browser, "", FORM | {"version": "0"})
    viewer = as_role("viewer")
    assert "disabled" in viewer.get(HERE).get_data(as_text=True)
    for path in ("", "/personal", "/publish", "/cancel", "/discard", "/platform"):
        sent = pages.post(viewer, f"{HERE}{path}", FORM | {"version": "1", "when": "now"})
        assert sent.status_code == 403, path
    assert browser.post(HERE, data=FORM).status_code == 400
    assert as_role("channel", scenes=["a"]).get(HERE).status_code == 403
    with db.writing(engine) as session:
        factories.make_account(session, "shop", now=now)
    assert as_role("lead", accounts=["shop"]).get(HERE).status_code == 404


def test_scripts_in_names_stay_text(
    browser: FlaskClient, engine: sa.Engine, account: Account
) -> None:
    bad = FORM | {"version": "0", "m.0.name": "<b>x</b>", "m.0.value": '"><script>'}
    assert post(browser, "", bad).status_code == 303
    for path in ("", "/publish", "/taps"):
        html = browser.get(f"{HERE}{path}").get_data(as_text=True)
        assert "<b>x</b>" not in html
        assert "><script>" not in html.replace("</script><script", "")


def test_a_menu_of_an_account_file_is_seen_by_who_is_editing(
    browser: FlaskClient, engine: sa.Engine, account: Account
) -> None:
    post(browser, "", FORM | {"version": "0"})
    with db.writing(engine) as session:
        menus.save(session, account.id, MENU[:1])
        assert session.execute(sa.select(table.c.version)).scalar_one() == 2
    assert post(browser, "", FORM | {"version": "1"}).status_code == 409
