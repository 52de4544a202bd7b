"""The home page: an account's numbers, its campaigns, the latest pushes and why each was answered so."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from flask.testing import FlaskClient

from bot import accounts, db, events, followers, rulebook
from bot.accounts import Account
from bot.console.home import LONGEST
from bot.health import LAST_TICK
from bot.runtime import Runtime
from bot.tables.campaigns import (
    campaign_runs,
    campaigns,
    deliveries,
    external_mass_sends,
    mass_ledger,
)
from bot.tables.followers import followers as followers_table
from bot.tables.inbox import inbound
from tests import factories, pushes
from tests.bot.console import pages
from tests.bot.console.pages import Page

MONTH = "2025-03"
HOSTILE = "<script>alert(1)</script>&\"'><img src=x onerror=alert(2)>"


def test_an_empty_installation_says_how_to_begin(browser: FlaskClient) -> None:
    page = pages.text(browser.get("/console/"))
    assert "还没有公众号" in page
    assert "qunfen apply" in page


def test_an_unknown_account_is_not_found(browser: FlaskClient, account: Account) -> None:
    answer = browser.get("/console/nobody/")
    assert answer.status_code == 404
    assert "没有这个公众号" in answer.get_data(as_text=True)


def test_an_account_without_life_says_what_to_do_next(home: Page) -> None:
    page = home()
    assert "沐颜集会员中心" in page
    assert "服务号 · 已认证" in page
    assert "还没有活动" in page
    assert "还没有收到推送" in page
    assert "http://product.test/callback/muyan" in page


def test_several_accounts_stand_side_by_side(
    browser: FlaskClient, engine: sa.Engine, account: Account, now: datetime
) -> None:
    with db.writing(engine) as session:
        factories.make_account(session, "shop", now=now, name="小店", kind="subscription")
    page = pages.text(browser.get("/console/shop/"))
    assert "沐颜集会员中心 小店" in page
    assert "订阅号" in page
    assert "本月剩余群发名额" not in page, "slots per follower are a service account's"


def test_the_numbers_are_those_of_the_rows(
    home: Page, engine: sa.Engine, account: Account, now: datetime
) -> None:
    yesterday, soon = now - timedelta(days=1), now + timedelta(hours=1)
    with db.writing(engine) as session:
        ids = factories.make_followers(session, account.id, 1200, now=yesterday)
        gone, silent, other = ids[-1], ids[0], ids[1]
        change = sa.update(followers_table)
        session.execute(change.where(followers_table.c.id == gone).values(subscribed=False))
        session.execute(change.where(followers_table.c.id == silent).values(opted_out_at=now))
        for number, (kind, at) in enumerate(
            [("subscribe", now)] * 5
            + [("unsubscribe", now)] * 2
            + [("message", now)] * 7
            + [("scan", now)] * 4
            + [("message", yesterday), ("subscribe", yesterday)]
        ):
            events.record(
                session, account.id, ids[number], kind, at, source_key=f"planted:{number}"
            )
        # reachable for free: not who left, who opted out, or whose window is not of a message
        for follower_id in (gone, silent, other, ids[2], ids[3]):
            followers.open_window(session, account.id, follower_id, "message", now)
        followers.open_window(session, account.id, ids[4], "menu", now)
        session.execute(
            sa.insert(mass_ledger),
            [
                {
                    "follower_id": follower_id,
                    "month": month,
                    "account_id": account.id,
                    "reserved": reserved,
                    "spent": spent,
                    "external": 0,
                }
                for follower_id, month, reserved, spent in [
                    (ids[0], MONTH, 0, 4),
                    (ids[1], MONTH, 1, 2),
                    (ids[2], MONTH, 1, 0),
                    (ids[3], "2025-02", 0, 4),
                    (gone, MONTH, 0, 4),
                ]
            ],
        )
    page = home()
    assert soon > now
    for expected in (
        "累积关注 1,199",
        "今日新增关注 5",
        "今日取消关注 2",
        "今日净增关注 3",
        "今日消息数 7",
        "今日扫码 4",
        "48 小时内可免费触达 3",
        "已退订 1",
        "剩 4 条 1,196 人",
        "剩 3 条 1 人",
        "剩 2 条 0 人",
        "剩 1 条 1 人",
        "剩 0 条 1 人",
    ):
        assert expected in page


COUPON = {
    "name": "领券",
    "when": [{"text_is": {"any": ["领券"]}}, {"cooldown": {"hours": 1}}],
    "then": [{"reply": {"text": "回复 1 领取"}}],
}


@pytest.fixture
def rules(engine: sa.Engine, account: Account, now: datetime) -> None:
    with db.writing(engine) as session:
        body = {"rules": [COUPON], "fallback": {"reply": {"text": "没有听懂"}}}
        rulebook.publish(session, account.id, body, by="Ann", note="", now=now)


@pytest.mark.usefixtures("rules")
def test_each_push_shows_why_it_was_answered_so(
    home: Page, client: FlaskClient, now: datetime
) -> None:
    for number, word in enumerate(("领券", "领券", "在吗", "退订"), start=1):
        pushes.post(client, pushes.text(word, number=number, at=now), at=now)
    pushes.post(client, pushes.event("SCAN", 2, at=now, EventKey="store_01", Ticket="T"), at=now)
    page = home()
    assert "「领券」命中：文字等于、冷却" in page
    assert "「领券」未命中：冷却" in page
    assert "没有规则命中，用了兜底回复" in page
    assert "退订 / 订阅由系统直接回复" in page
    assert "扫码 store_01" in page
    assert "没有规则命中" in page
    assert "03-03 09:00:00" in page, "on the Shanghai clock"


@pytest.mark.usefixtures("rules")
def test_no_page_shows_a_whole_open_id(home: Page, client: FlaskClient, now: datetime) -> None:
    for number in (1, 2):
        pushes.post(client, pushes.text("在吗", number, number=number, at=now), at=now)
    pushes.post(client, pushes.event("unsubscribe", 2, at=now), at=now)
    page = client.get("/console/muyan/").get_data(as_text=True)
    assert "o_…0001" in page
    assert "o_…0002" in page
    for number in (1, 2):
        assert factories.open_id(number) not in page


@pytest.mark.usefixtures("rules")
def test_hostile_words_are_only_words(
    client: FlaskClient, browser: FlaskClient, engine: sa.Engine, account: Account, now: datetime
) -> None:
    pushes.post(client, pushes.text(HOSTILE, at=now), at=now)
    with db.writing(engine) as session:
        _campaign(session, account, now, name=HOSTILE, segment=HOSTILE)
        accounts.change(session, account.id, factories.SECRET_KEY, {"name": HOSTILE})
        accounts.stop(session, account.id, HOSTILE, now)
    answer = browser.get("/console/muyan/")
    page = answer.get_data(as_text=True)
    assert "<script>" not in page
    assert "<img src=x" not in page
    assert page.count("&lt;script&gt;alert(1)") >= 5
    assert HOSTILE in pages.text(answer)


def test_a_long_message_is_cut(home: Page, client: FlaskClient, now: datetime) -> None:
    pushes.post(client, pushes.text("长" * 600, at=now), at=now)
    page = home()
    assert "长" * LONGEST + "…" in page
    assert "长" * (LONGEST + 1) not in page


def test_results_of_the_platform_are_no_follower(
    home: Page, client: FlaskClient, now: datetime
) -> None:
    body = pushes.event(
        "MASSSENDJOBFINISH", "mphelper", at=now, MsgID=1000001, Status="send success", SentCount=9
    )
    assert pushes.post(client, body, at=now).status_code == 200
    assert "平台 群发结果 send success，发出 9" in home()


def test_a_campaign_shows_who_got_it_and_why_the_others_did_not(
    home: Page, engine: sa.Engine, account: Account, now: datetime
) -> None:
    with db.writing(engine) as session:
        ids = factories.make_followers(session, account.id, 9, now=now)
        campaign_id = _campaign(session, account, now, goal={"metric": "guided", "target": 1500})
        run_id = _run(session, account, campaign_id, now, status="paused", reason="by_operator")
        outcomes: list[dict[str, Any]] = [
            *[{"status": "sent", "channel": "mass", "slot": "spent"}] * 3,
            {"status": "sent", "channel": "customer_service"},
            {"status": "unknown", "channel": "mass", "slot": "spent"},
            {"status": "failed", "channel": "customer_service"},
            *[{"status": "skipped", "reason": "no_slot"}] * 2,
            {"status": "skipped", "reason": "opted_out"},
        ]
        empty = {"channel": None, "slot": None, "reason": None, "wave": 0, "at": now}
        rows = [
            {**empty, "account_id": account.id, "run_id": run_id, "follower_id": follower, **given}
            for follower, given in zip(ids, outcomes, strict=True)
        ]
        session.execute(sa.insert(deliveries), rows)
    page = home()
    assert "奈雪 8 元券 活动同好 已暂停 由运营人员操作" in page
    for expected in ("已发 4", "结果未知 1", "失败 1", "本月名额用完 2", "已退订 1"):
        assert expected in page
    assert "4 0 / 目标 1,500" in page, "four slots; nobody guided yet"


def test_a_campaign_that_has_not_begun_says_when(
    home: Page, engine: sa.Engine, account: Account, now: datetime
) -> None:
    with db.writing(engine) as session:
        _campaign(session, account, now, next_due_at=now + timedelta(hours=3))
    assert "已排期 下次 03-03 12:00:00 未开始 —" in home()


def _campaign(session: db.Session, account: Account, now: datetime, **values: Any) -> int:
    given: dict[str, Any] = {
        "account_id": account.id,
        "name": "奈雪 8 元券",
        "segment": "活动同好",
        "schedule": {"at": now.isoformat()},
        "channels": ["mass"],
        "content": {"text": "你好"},
        "links": {},
        "status": "scheduled",
        "created_at": now,
        "created_by": "Ann",
    } | values
    insert = sa.insert(campaigns).values(**given).returning(campaigns.c.id)
    return int(session.execute(insert).scalar_one())


def _run(
    session: db.Session, account: Account, campaign_id: int, now: datetime, **values: Any
) -> int:
    given: dict[str, Any] = {
        "account_id": account.id,
        "campaign_id": campaign_id,
        "due_at": now,
        "content": {"text": "你好"},
        "planned_to": 0,
        "created_at": now,
    } | values
    insert = sa.insert(campaign_runs).values(**given).returning(campaign_runs.c.id)
    return int(session.execute(insert).scalar_one())


def test_a_healthy_account_has_no_notes(home: Page, browser: FlaskClient, rt: Runtime) -> None:
    rt.store.put(LAST_TICK, str(rt.clock().timestamp()), 3600)
    assert 'class="alert' not in browser.get("/console/muyan/").get_data(as_text=True)


def test_a_silent_scheduler_is_noted(home: Page, rt: Runtime, now: datetime) -> None:
    assert "定时任务没有动静" in home()
    rt.store.put(LAST_TICK, str(now.timestamp()), 3600)
    assert "定时任务没有动静" not in home()


def test_what_blocks_or_broke_is_noted(
    home: Page, rt: Runtime, engine: sa.Engine, account: Account, now: datetime
) -> None:
    with db.writing(engine) as session:
        other = factories.make_account(session, "shop", now=now, opening=False)
        accounts.stop(session, account.id, "发错了内容", now)
        send = {
            "source": "event",
            "msg_id": "1",
            "audience": "unknown",
            "times": 1,
            "month": MONTH,
            "at": now,
        }
        session.execute(sa.insert(external_mass_sends).values(account_id=account.id, **send))
        session.execute(
            sa.insert(inbound).values(
                account_id=account.id,
                dedupe_key="k",
                kind="text",
                message={},
                sent_at=now,
                received_at=now,
                status="failed",
                error="Traceback …\n  in a handler\nKeyError: 'x'",
            )
        )
    rt.rulebooks.broken[account.id] = "rulebook 7 does not load"
    rt.rulebooks.broken[other] = "somebody else's"
    page = home()
    assert "紧急停止中：发错了内容。解除之前什么都不会发出。" in page
    assert "有 1 次不是从这里发出的群发" in page
    assert "有 1 条推送处理失败" in page
    assert "重新处理" in page
    assert "KeyError: 'x'" in page
    assert "rulebook 7 does not load" in page
    assert "somebody else's" not in page
    assert "群发已锁定：请先说明" not in page


def test_a_month_without_opening_balance_is_noted(
    browser: FlaskClient,
    as_role: Callable[..., FlaskClient],
    account: Account,
    engine: sa.Engine,
    now: datetime,
) -> None:
    with db.writing(engine) as session:
        factories.make_account(session, "late", now=now, opening=False)
    said, mended = "群发已锁定：请先说明接入前本月已群发几次", 'href="/console/late/setup/opening"'
    told = browser.get("/console/late/").get_data(as_text=True)
    assert said in told
    assert mended not in told, "an operator may not open it"
    assert mended in as_role("lead").get("/console/late/").get_data(as_text=True)


def test_refreshing_can_be_paused_to_read(browser: FlaskClient, account: Account) -> None:
    assert 'http-equiv="refresh"' in browser.get("/console/muyan/").get_data(as_text=True)
    still = browser.get("/console/muyan/?live=0")
    assert 'http-equiv="refresh"' not in still.get_data(as_text=True)
    assert "已暂停刷新 继续" in pages.text(still)


@pytest.mark.sqlite
def test_a_database_that_is_gone_is_told_and_not_a_traceback(
    browser: FlaskClient, account: Account, engine: sa.Engine
) -> None:
    with db.writing(engine) as session:
        session.execute(sa.text("ALTER TABLE accounts RENAME TO gone"))
    answer = browser.get("/console/muyan/")
    assert answer.status_code == 503
    assert "数据库暂时连不上" in answer.get_data(as_text=True)
