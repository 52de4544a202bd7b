"""接口额度 as an operator reads it: page, file, API and command say the same."""

import re
from pathlib import Path

import sqlalchemy as sa
from flask.testing import FlaskClient

import bot.wechat
from bot import allowances, db
from bot.accounts import Account
from bot.console.quotas import NAMES
from bot.governor import Governor
from bot.kept import DatabaseStore
from bot.runtime import Runtime
from bot.tables.accounts import api_quotas
from tests.bot.console import pages
from tests.factories import at

LIST = "/console/muyan/quotas"
SEND = "/cgi-bin/message/custom/send"
NOON = at("2025-03-03 12:00")


def used(rt: Runtime, account: Account, calls: int, limit: int = 1000) -> Governor:
    governor = Governor(rt.engine, DatabaseStore(rt.engine, rt.clock))
    governor.count(account.id, SEND, "campaign", NOON, calls=calls)
    governor.flush(rt.engine)
    with db.writing(rt.engine) as session:
        row = {"account_id": account.id, "api": SEND, "daily_limit": limit, "used": calls}
        session.execute(sa.insert(api_quotas).values(**row, counted=calls, said_at=NOON))
    return governor


def test_an_account_that_called_nothing_is_told_what_will_stand_here(
    browser: FlaskClient, account: Account
) -> None:
    assert "今天还没有调用" in pages.text(browser.get(LIST))


def test_use_limit_and_the_time_it_runs_out(
    browser: FlaskClient, rt: Runtime, account: Account
) -> None:
    rt.clock.move_to(NOON)  # type: ignore[attr-defined]
    used(rt, account, 600)
    told = pages.text(browser.get(LIST))
    assert f"客服消息 {SEND} 600 1,000" in told
    shown = pages.text(browser.get(f"{LIST}?columns=name&columns=api"))
    assert shown.count(SEND) == 1
    assert "20:00 用完" in told
    assert "60%" in browser.get(f"{LIST}?format=csv").get_data(as_text=True)
    assert "没有符合条件的接口" in pages.text(browser.get(f"{LIST}?q=菜单"))


def test_what_is_held_back_is_said_with_its_reason(
    browser: FlaskClient, rt: Runtime, account: Account
) -> None:
    rt.clock.move_to(NOON)  # type: ignore[attr-defined]
    governor = used(rt, account, 920)
    told = pages.text(browser.get(LIST))
    assert "营销活动、同步和后台操作暂缓：剩下的 80 次留给回复" in told
    assert "客服消息" in pages.text(browser.get(f"{LIST}?state=held"))
    governor.refused(account.id, SEND, 45009, NOON)
    told = pages.text(browser.get(LIST))
    assert "平台说今日次数已用完，03-04 00:00 前不再调用" in told
    assert "没有符合条件的接口" in pages.text(browser.get(f"{LIST}?state=open"))


def test_the_platform_is_asked_by_a_job(
    browser: FlaskClient, rt: Runtime, account: Account, engine: sa.Engine
) -> None:
    assert pages.post(browser, f"{LIST}/ask", form=LIST).status_code == 303
    assert pages.post(browser, f"{LIST}/ask", form=LIST).status_code == 303
    with db.reading(engine) as session:
        names = session.execute(sa.text("SELECT name FROM jobs")).scalars().all()
    assert names == ["learn_quotas"]


def test_every_api_that_is_called_has_a_name() -> None:
    written = "".join(
        path.read_text("utf-8") for path in Path(bot.wechat.__file__).parent.glob("*.py")
    )
    called = set(re.findall(r'"(/(?:cgi-bin|wxaapi)/[a-z_/]+)"', written))
    assert "/cgi-bin/message/custom/send" in called
    assert (called | set(allowances.DEFAULTS)) - set(NAMES) == set()
