"""Campaigns in the console: the list, how one stands, who got nothing and why, review by two people, stopping."""

import re
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from flask.testing import FlaskClient

from bot import accounts, db, tracking
from bot.accounts import Account
from bot.audiences import segments
from bot.campaigns import (
    approvals,
    definitions,
    experiment,
    external_sends,
    planning,
    reviews,
)
from bot.clock import local
from bot.runtime import Runtime
from bot.tables.campaigns import campaign_runs
from bot.tables.campaigns import campaigns as campaigns_table
from bot.tables.followers import followers
from bot.tables.operators import audit
from bot.tables.tracking import clicks
from tests import factories
from tests.bot.campaigns import makers
from tests.bot.console import pages

HERE = "/console/muyan/campaigns"


def document(now: datetime, name: str = "奈雪券", **more: Any) -> dict[str, Any]:
    return {
        "name": name,
        "segment": "全体",
        "at": local(now + timedelta(hours=1)).isoformat(),
        "channels": ["customer_service", "mass"],
        "content": {"text": "请你喝奶茶：{link:go}"},
        "links": {"go": "https://weibo.com/u/1"},
        "goal": {"metric": "guided", "target": 10},
        "follow_ups": [{"after": "48h", "channels": ["customer_service"]}],
        **more,
    }


@pytest.fixture
def people(engine: sa.Engine, account: Account, now: datetime) -> list[int]:
    """Twenty followers, a segment of all of them, and a stated opening."""
    with db.writing(engine) as session:
        who = factories.make_followers(session, account.id, 20, now=now - timedelta(days=9))
        segments.save(session, account.id, "全体", {"all": []}, now)
        segments.save(session, account.id, "写过的", {"did": {"event": "message"}}, now)
        external_sends.opening(session, account.id, 0, None, now, by="cli")
    return who


@pytest.fixture
def campaign(engine: sa.Engine, account: Account, now: datetime, people: list[int]) -> int:
    """A draft."""
    with db.writing(engine) as session:
        return definitions.save(session, account, document(now), now, by="Ann").id


@pytest.fixture
def sent(rt: Runtime, engine: sa.Engine, account: Account, now: datetime, campaign: int) -> int:
    """The same, planned: one by its open window, one left out, eighteen by mass."""
    with db.writing(engine) as session:
        made = definitions.by_id(session, campaign)
        first = session.execute(sa.select(sa.func.min(followers.c.id))).scalar_one()
        makers.open_window(session, account.id, first, until=now + timedelta(hours=30))
        session.execute(
            sa.update(followers).where(followers.c.id == first + 1).values(opted_out_at=now)
        )
        approvals.approve(session, made, "Ann", 100, 100, now, rt.secret_key)
        made = definitions.by_id(session, campaign)
        approvals.approve(session, made, "Bo", 100, 100, now, rt.secret_key)
        definitions.schedule(session, account, definitions.by_id(session, campaign), now)
    later = now + timedelta(hours=1)
    for run_id in planning.start_due(engine, later):
        while planning.plan_run(engine, run_id, later):
            pass
    return campaign


def test_the_list_finds_narrows_and_exports(
    browser: FlaskClient, engine: sa.Engine, account: Account, now: datetime, campaign: int
) -> None:
    with db.writing(engine) as session:
        definitions.save(session, account, document(now, "会员日", segment="写过的"), now, by="Ann")
    shown = pages.text(browser.get(HERE))
    assert "共 2 个活动" in shown
    assert "会员日" in pages.text(browser.get(f"{HERE}?q=会员"))
    assert "奈雪券" not in pages.text(browser.get(f"{HERE}?q=会员"))
    assert "没有符合条件的活动" in pages.text(browser.get(f"{HERE}?status=running"))
    told = browser.get(f"{HERE}?format=csv").get_data(as_text=True)
    assert "奈雪券" in told
    assert "草稿" in told


def test_nothing_yet_says_what_to_do(browser: FlaskClient, account: Account) -> None:
    assert "还没有营销活动" in pages.text(browser.get(HERE))


def test_how_it_stands_adds_up_to_the_audience(browser: FlaskClient, sent: int) -> None:
    shown = pages.text(browser.get(f"{HERE}/{sent}"))
    assert "每个人的去向 结果 人数 待发 19" in shown
    assert "未触达：已退订 1" in shown
    assert "合计 = 受众 20" in shown
    assert "客服消息 1 1 0 0 0 0 — 0" in shown
    assert "群发 18 18 0 0 0 0 — 18" in shown
    part = browser.get(f"{HERE}/{sent}/live").get_data(as_text=True)
    assert 'hx-trigger="every 5s"' in part


def test_every_tab_opens_before_and_after_the_first_run(
    browser: FlaskClient, sent: int, engine: sa.Engine, account: Account, now: datetime
) -> None:
    with db.writing(engine) as session:
        other = definitions.save(session, account, document(now, "还没发"), now, by="Ann").id
    for campaign_id in (sent, other):
        for tab in ("overview", "people", "waves", "experiment", "funnel", "log"):
            answer = browser.get(f"{HERE}/{campaign_id}?tab={tab}")
            assert answer.status_code == 200, tab
    assert "无法测量" in pages.text(browser.get(f"{HERE}/{sent}?tab=funnel"))
    assert "2 天 上一波没有点击的人" in pages.text(browser.get(f"{HERE}/{sent}?tab=waves"))


def test_the_list_counts_people_and_slots_of_every_wave(
    browser: FlaskClient,
    engine: sa.Engine,
    account: Account,
    now: datetime,
    campaign: int,
    people: list[int],
) -> None:
    with db.writing(engine) as session:
        first = makers.make_run(session, account.id, campaign, now=now, status="finished")
        second = makers.make_run(
            session, account.id, campaign, now=now, due_at=now + timedelta(hours=48), round=2,
            parent_id=first, status="finished",
        )  # fmt: skip
        for who in people[:3]:
            makers.make_delivery(
                session, account.id, first, who, status="sent", slot="spent", month="2025-03"
            )
        makers.make_delivery(session, account.id, second, people[0], status="sent")
    table = browser.get(f"{HERE}?format=csv").get_data(as_text=True).splitlines()
    row = dict(zip(table[0].removeprefix("\ufeff").split(","), table[1].split(","), strict=True))
    assert (row["已发"], row["名额"]) == ("3", "3"), "the second wave's one got the first, too"


def test_each_follower_says_why(browser: FlaskClient, sent: int) -> None:
    shown = pages.text(browser.get(f"{HERE}/{sent}?tab=people&status=skipped"))
    assert "共 1 人" in shown
    assert "已退订" in shown
    assert "共 18 人" in pages.text(browser.get(f"{HERE}/{sent}?tab=people&channel=mass"))
    told = browser.get(f"{HERE}/{sent}?tab=people&format=csv").get_data(as_text=True)
    assert told.count("\n") == 21
    assert factories.open_id(1) not in told, "an operator sees shortened OpenIDs"


def test_two_people_answer_for_a_send_to_everybody(
    as_role: Callable[..., FlaskClient],
    browser: FlaskClient,
    engine: sa.Engine,
    account: Account,
    campaign: int,
) -> None:
    handed = pages.post(browser, f"{HERE}/{campaign}/submit")
    assert handed.status_code == 303
    shown = pages.text(browser.get(f"{HERE}/{campaign}"))
    assert "Ann 于" in shown
    assert "提交审核，等待批准" in shown
    assert browser.get(f"{HERE}/{campaign}/approve").status_code == 403
    lead = as_role("lead")
    review = pages.text(lead.get(f"{HERE}/{campaign}/review"))
    assert "发给全体粉丝" in review
    assert "合计 = 受众 20" in review
    asked = pages.text(lead.get(f"{HERE}/{campaign}/approve"))
    assert "请输入「20」以确认" in asked
    wrong = pages.post(lead, f"{HERE}/{campaign}/approve", {"typed": "2"})
    assert "人数不对，没有批准" in pages.text(wrong)
    right = pages.post(lead, f"{HERE}/{campaign}/approve", {"typed": "20"})
    assert right.status_code == 303
    with db.reading(engine) as session:
        made = definitions.by_id(session, campaign)
        assert made.status == "scheduled"
        assert next(iter(made.approved_by)) == "Ann"
        assert len(made.approved_by) == 2
        assert reviews.handed_in(session, made) is None


def test_who_wrote_it_does_not_approve_it(
    as_role: Callable[..., FlaskClient], engine: sa.Engine, account: Account, campaign: int
) -> None:
    lead = as_role("lead")
    pages.post(lead, f"{HERE}/{campaign}/submit")
    assert "要另一个人来批准" in pages.text(lead.get(f"{HERE}/{campaign}/review"))
    refused = pages.post(lead, f"{HERE}/{campaign}/approve", {"typed": "20"})
    assert refused.status_code == 409


def test_what_was_changed_since_it_was_looked_at_is_not_approved(
    as_role: Callable[..., FlaskClient],
    browser: FlaskClient,
    engine: sa.Engine,
    campaign: int,
) -> None:
    pages.post(browser, f"{HERE}/{campaign}/submit")
    lead = as_role("lead")
    review = lead.get(f"{HERE}/{campaign}/review").get_data(as_text=True)
    (link,) = set(re.findall(rf"{HERE}/{campaign}/approve\?version=\d+", review))
    asked = lead.get(link).get_data(as_text=True)
    with db.writing(engine) as session:
        session.execute(
            sa.update(campaigns_table).values(
                content={"text": "换掉的"}, version=campaigns_table.c.version + 1
            )
        )
    form = {**pages.form(asked), "typed": "20"}
    assert pages.post(lead, f"{HERE}/{campaign}/approve", form).status_code == 409
    assert lead.get(link).status_code == 409
    with db.reading(engine) as session:
        assert not definitions.by_id(session, campaign).approved_by


def test_sending_back_needs_a_reason_that_its_author_reads(
    as_role: Callable[..., FlaskClient], browser: FlaskClient, campaign: int
) -> None:
    pages.post(browser, f"{HERE}/{campaign}/submit")
    lead = as_role("lead")
    assert pages.post(lead, f"{HERE}/{campaign}/reject", {"reason": " "}).status_code == 422
    assert pages.post(lead, f"{HERE}/{campaign}/reject", {"reason": "链接不对"}).status_code == 303
    assert "驳回：链接不对" in pages.text(browser.get(f"{HERE}/{campaign}"))


def test_a_lead_lets_content_go_that_the_checks_stopped(
    as_role: Callable[..., FlaskClient],
    browser: FlaskClient,
    engine: sa.Engine,
    account: Account,
    now: datetime,
    people: list[int],
) -> None:
    said = document(now, content={"text": "国家级品质"})
    with db.writing(engine) as session:
        campaign = definitions.save(session, account, said, now, by="Cy").id
    path = f"{HERE}/{campaign}"
    shown = pages.text(browser.get(f"{path}/review"))
    assert "国家级" in shown
    assert "1 处不能发" in shown
    assert pages.post(browser, f"{path}/submit").status_code == 409
    assert pages.post(browser, f"{path}/allow", {"reason": "证书上的名称"}).status_code == 403
    lead = as_role("lead")
    assert "内容检查没有通过" in pages.text(lead.get(f"{path}/review"))
    assert pages.post(lead, f"{path}/allow", {"reason": " "}).status_code == 422
    assert pages.post(lead, f"{path}/allow", {"reason": "证书上的名称"}).status_code == 303
    assert "放行：证书上的名称" in pages.text(browser.get(f"{path}/review"))
    assert pages.post(browser, f"{path}/submit").status_code == 303
    with db.reading(engine) as session:
        action = sa.select(audit).where(audit.c.action == "campaign.override_checks")
        (row,) = session.execute(action)
    assert row.after["reason"] == "证书上的名称"
    with db.writing(engine) as session:
        said["content"] = {"text": "国家级品质，全网最低价"}
        definitions.save(session, account, said, now, by="Cy")
    assert "处不能发" in pages.text(lead.get(f"{path}/review")), "changed content is checked anew"


def test_as_soon_as_possible_goes_a_minute_after_its_approval(
    rt: Runtime,
    as_role: Callable[..., FlaskClient],
    engine: sa.Engine,
    account: Account,
    now: datetime,
    people: list[int],
) -> None:
    said = document(now, segment="写过的", brief={"when": "now"})
    said["at"] = local(now - timedelta(hours=3)).isoformat()  # the approval comes hours later
    with db.writing(engine) as session:
        made = definitions.save(session, account, said, now, by="Cy")
        reviews.submit(session, account, made, "Cy", now)
    lead = as_role("lead")
    assert "批准后 1 分钟开始发送" in pages.text(lead.get(f"{HERE}/{made.id}/review"))
    assert pages.post(lead, f"{HERE}/{made.id}/approve").status_code == 303
    with db.reading(engine) as session:
        found = definitions.by_id(session, made.id)
        assert approvals.holds(session, found, rt.secret_key), "what was approved stays approved"
    assert (found.status, found.next_due_at) == ("scheduled", now + timedelta(minutes=1))


def test_stopping_asks_first_and_gives_back(
    browser: FlaskClient, engine: sa.Engine, sent: int
) -> None:
    asked = pages.text(browser.get(f"{HERE}/{sent}/cancel"))
    assert "还没有发的 19 人不再发送" in asked
    assert "退回 18 个" in asked
    assert pages.post(browser, f"{HERE}/{sent}/pause").status_code == 303
    assert "已暂停" in pages.text(browser.get(f"{HERE}/{sent}"))
    frame = browser.get(f"{HERE}/{sent}").get_data(as_text=True)
    assert re.search(r'/resume"[^>]*>(<svg.*?</svg>)?继续发送<', frame)
    assert "继续发送「奈雪券」" in pages.text(browser.get(f"{HERE}/{sent}/resume"))
    assert pages.post(browser, f"{HERE}/{sent}/resume").status_code == 303
    assert pages.post(browser, f"{HERE}/{sent}/cancel").status_code == 303
    with db.reading(engine) as session:
        status = session.execute(sa.select(campaign_runs.c.status)).scalar_one()
        actions = session.execute(sa.select(audit.c.action).order_by(audit.c.id)).scalars().all()
    assert status == "cancelled"
    assert actions[-3:] == ["campaign.pause", "campaign.resume", "campaign.cancel"]
    assert "未触达：已取消 19" in pages.text(browser.get(f"{HERE}/{sent}"))


def test_the_emergency_stop_is_two_clicks_away(
    browser: FlaskClient, engine: sa.Engine, account: Account
) -> None:
    assert "/console/muyan/stop" in browser.get("/console/muyan/followers").get_data(as_text=True)
    assert "马上停下" in pages.text(browser.get("/console/muyan/stop"))
    assert pages.post(browser, "/console/muyan/stop").status_code == 303
    with db.reading(engine) as session:
        assert accounts.by_id(session, account.id).stopped
    assert "发送已停止" in pages.text(browser.get(HERE))


def test_readers_are_entered_by_hand(browser: FlaskClient, sent: int) -> None:
    assert pages.post(browser, f"{HERE}/{sent}/readers", {"people": "1,2"}).status_code == 303
    assert "阅读 12" in pages.text(browser.get(f"{HERE}/{sent}?tab=funnel"))
    assert pages.post(browser, f"{HERE}/{sent}/readers", {"people": "x"}).status_code == 422
    pages.post(browser, f"{HERE}/{sent}/readers", {"people": ""})
    assert "阅读 无法测量" in pages.text(browser.get(f"{HERE}/{sent}?tab=funnel"))


def test_many_are_put_away_at_once(browser: FlaskClient, campaign: int) -> None:
    asked = pages.post(browser, f"{HERE}/bulk", {"action": "archive", "ids": str(campaign)})
    assert "归档 1 个活动" in pages.text(asked)
    done = pages.post(browser, f"{HERE}/bulk/archive", {"ids": str(campaign)})
    assert done.status_code == 303
    assert "还没有营销活动" in pages.text(browser.get(HERE))
    assert "奈雪券" in pages.text(browser.get(f"{HERE}?status=archived"))


def test_a_campaign_is_compared_with_a_send_to_everybody(browser: FlaskClient, sent: int) -> None:
    shown = pages.text(browser.get(f"{HERE}/compare"))
    assert "没有数据可以模拟" in shown
    assert "计划人数 — 20" in shown
    assert "无法测量" in shown
    other = pages.text(browser.get(f"{HERE}/compare?left={sent}&right={sent}"))
    assert "计划人数 20 20" in other


def test_another_accounts_campaign_is_not_there(
    browser: FlaskClient, engine: sa.Engine, now: datetime, account: Account
) -> None:
    with db.writing(engine) as session:
        other = factories.make_account(session, "shop", now=now)
        foreign = makers.make_campaign(session, other, now=now)
    for path in ("", "/live", "/review", "/pause", "/follow-up"):
        assert browser.get(f"{HERE}/{foreign}{path}").status_code == 404, path
    assert browser.get(f"{HERE}/compare?right={foreign}").status_code == 404


def test_three_variants_are_told_apart_by_what_decides_and_chosen_after_asking(
    browser: FlaskClient, engine: sa.Engine, account: Account, now: datetime
) -> None:
    hits = {"A": 3, "B": 12, "C": 3}
    variants = [{"name": name, "content": {"text": f"内容{name}"}} for name in hits]
    with db.writing(engine) as session:
        made = makers.make_campaign(
            session, account.id, now=now, channels=["customer_service"],
            experiment={"of": "content", "variants": variants, "min_sample": 10},
        )  # fmt: skip
        run = makers.make_run(session, account.id, made, now=now)
        link = tracking.link_id(session, account.id, made, "go", "https://weibo.com/u/1", now)
        who = factories.make_followers(session, account.id, 63, now=now)
        values: dict[str, Any] = {"channel": "customer_service"}
        for place, one in enumerate(who[:60]):
            name = "ABC"[place % 3]
            makers.make_delivery(
                session, account.id, run, one, status="sent", at=now, variant=name, **values
            )
            if place // 3 < hits[name]:
                clicked = {"follower_id": one, "at": now, "clean": True}
                session.execute(
                    sa.insert(clicks).values(account_id=account.id, link_id=link, **clicked)
                )
        for one in who[60:]:
            makers.make_delivery(session, account.id, run, one, **values)
    page = f"{HERE}/{made}"
    shown = pages.text(browser.get(f"{page}?tab=experiment"))
    # of three pairs a p alone says too much
    told = experiment.verdict([experiment.Arm(one, 20, hits[one]) for one in hits], 10).differences
    plain = f"{told[0].difference.p:.3f}"
    assert told[0].adjusted_p > told[0].difference.p
    assert f"{told[0].adjusted_p:.3f}" in shown and plain not in shown
    assert "p 已按次数校正" in shown
    asked = browser.get(f"{page}/winner?variant=B")
    assert "其余还没有发的 3 人都会收到它" in pages.text(asked)
    assert browser.get(f"{page}/winner?variant=D").status_code == 404
    form = pages.form(asked.get_data(as_text=True))
    assert pages.post(browser, f"{page}/winner", form).status_code == 303
    with db.reading(engine) as session:
        assert session.execute(sa.select(campaign_runs.c.winner)).scalar_one() == "B"
