"""The wizard's five steps, as a browser without JavaScript walks them; plans as pages, files and playbooks."""

import io
from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest
import sqlalchemy as sa
from flask.testing import FlaskClient

from bot import db
from bot.accounts import Account
from bot.audiences import segments
from bot.campaigns import definitions, plans
from bot.campaigns.plans import Plan
from bot.tables.campaigns import campaigns
from bot.tables.followers import followers
from bot.tables.outbox import outbox
from tests import factories
from tests.bot.console import pages

PLANS = "/console/muyan/plans"
FACTORS = {
    "brief.participation": "在品牌微博下留言",
    "brief.benefit": "奈雪の茶 8 元券",
    "brief.strength": "8 元，人人有",
    "brief.time": "3-4 到 3-8",
    "brief.path": "消息 → 点链接 → 留言",
}
FIRST = {
    "name": "奈雪8元券",
    "goal.metric": "guided",
    "goal.target": "1000",
    "brief.begins": "2025-03-04",
    "brief.ends": "2025-03-08",
    **FACTORS,
}


@pytest.fixture
def town(engine: sa.Engine, account: Account, now: datetime) -> list[int]:
    """Ten followers, four of them 微博来源."""
    with db.writing(engine) as session:
        tag = factories.make_tag(session, account.id, "微博来源")
        factories.make_tag(session, account.id, "点击")
        people = factories.make_followers(session, account.id, 10, now=now)
        for who in people[:4]:
            factories.give_tag(session, account.id, who, tag, now=now)
        segments.save(session, account.id, "微博", {"tag": {"has": "微博来源"}}, now)
        segments.save(session, account.id, "全部", {"all": []}, now)
    return people


def the_plan(engine: sa.Engine, account: Account) -> Plan:
    with db.reading(engine) as session:
        (found,) = plans.every(session, account.id)
        return found


def walk(browser: FlaskClient, step: int, change: dict[str, Any], do: str = "next") -> Any:
    """Open a step of the first plan, change some fields, press a button."""
    path = f"{PLANS}/1/{step}"
    form = pages.form(browser.get(path).get_data(as_text=True), "wizard")
    set_(form, change)
    form["do"] = do
    return pages.post(browser, path, form)


def set_(form: Any, change: dict[str, Any]) -> None:
    """Fill fields in."""
    for name, value in change.items():
        form.setlist(name, value if isinstance(value, list) else [value])


def test_five_steps_become_a_campaign_that_waits_for_approval(
    browser: FlaskClient, town: list[int], engine: sa.Engine, account: Account
) -> None:
    answer = pages.post(browser, f"{PLANS}/new", {**FIRST, "brief.path": "", "do": "next"})
    assert answer.status_code == 422  # kept all the same, and held back
    html = answer.get_data(as_text=True)
    assert 'id="e-brief.path"' in html and 'id="e-brief.benefit"' not in html
    assert browser.get(f"{PLANS}/1/2").status_code == 303  # no way around it
    answer = walk(browser, 1, {"brief.path": FACTORS["brief.path"]})
    assert answer.location.endswith("/plans/1/2")
    plan = the_plan(engine, account)
    assert plan.document["goal"] == {"metric": "guided", "target": 1000}
    assert plan.document["brief"]["burst"] is True

    assert walk(browser, 2, {}).status_code == 422  # nobody chosen
    walk(browser, 2, {"add:segment": "微博"}, do="add")
    walk(browser, 2, {"add:segment": "全部"}, do="add")
    page = pages.text(browser.get(f"{PLANS}/1/2"))
    assert "10 人" in page and "截至" in page
    walk(browser, 2, {"holdout": "20"}, do="up:1")
    walk(browser, 2, {"holdout": "20"}, do="up:1")
    assert walk(browser, 2, {}).location.endswith("/plans/1/3")

    path = f"{PLANS}/1/3"
    form = pages.form(browser.get(path).get_data(as_text=True), "wizard")
    set_(form, {"past.name": "直播暗号", "past.delivered": "6000", "past.guided": "1410"})
    assert pages.post(browser, f"{PLANS}/1/past", form).status_code == 303
    page = pages.text(browser.get(path))
    for words in ("23.5%", "4,256", "4,456", "把握"):
        assert words in page
    set_(form, {"past.name": "录错的", "past.delivered": "10", "past.guided": "9"})
    form["version"] = str(the_plan(engine, account).version)
    assert pages.post(browser, f"{PLANS}/1/past", form).status_code == 303
    assert "录错的" in pages.text(browser.get(path))
    assert "从所有方案里去掉" in pages.text(browser.get(f"{PLANS}/1/past/2/remove"))
    assert pages.post(browser, f"{PLANS}/1/past/2/remove").status_code == 303
    assert "录错的" not in pages.text(browser.get(path)).replace("已删除「录错的」", "")
    assert browser.get(f"{PLANS}/1/past/2/remove").status_code == 404
    assert walk(browser, 3, {"group.0.rate": "32"}).location.endswith("/plans/1/4")

    assert walk(browser, 4, {}).status_code == 422
    walk(browser, 4, {"channels": ["customer_service", "mass"]}, do="stay")
    said = {
        "content.content:kind": "text",
        "content.content.text": "8 元券，回复「领券」 {link:wb}",
        "link.0.name": "wb",
        "link.0.url": "https://weibo.com/u/1",
    }
    walk(browser, 4, said, do="variant:add")
    nonsense = {"variant.0.share": "50", "variant.1.share": "-50"}
    assert walk(browser, 4, nonsense, do="stay").status_code == 303
    assert walk(browser, 4, {"variant.1.content.content.text": "请你喝奶茶"}).status_code == 303
    page = pages.text(browser.get(f"{PLANS}/1/4"))
    assert "1. 客服消息" in page and "请你喝奶茶" in page
    experiment = the_plan(engine, account).document["experiment"]
    assert [one["name"] for one in experiment["variants"]] == ["A", "B"]

    walk(browser, 5, {}, do="follow:add")
    page = pages.text(browser.get(f"{PLANS}/1/5"))
    assert "「领券」没有规则回答" in page and "第 2 波" in page
    form = pages.form(browser.get(f"{PLANS}/1/5").get_data(as_text=True), "wizard")
    set_(form, {"when": "at", "at": "2020-01-01T20:30"})
    assert pages.post(browser, f"{PLANS}/1/submit", form).status_code == 422  # that is over
    form = pages.form(browser.get(f"{PLANS}/1/5").get_data(as_text=True), "wizard")
    set_(form, {"when": "at", "at": "2025-03-04T20:30", "after.clicked": "点击"})
    answer = pages.post(browser, f"{PLANS}/1/submit", form)
    assert answer.status_code == 303, answer.get_data(as_text=True)
    with db.reading(engine) as session:
        (campaign,) = definitions.every(session, account.id)
        row = session.execute(sa.select(campaigns)).one()
    assert (campaign.status, row.submitted_by) == ("draft", "Ann")
    assert campaign.group_segments() == (("微博", "微博"), ("全部", "全部"))
    assert campaign.brief is not None and campaign.brief["people"] == "10"
    page = pages.text(browser.get(f"{PLANS}/1"))
    assert "人群" in page and "推广" in page and "数据" in page and "2025-03-04 20:30" in page


def test_a_campaign_without_an_experiment_names_the_steps_that_make_one(
    browser: FlaskClient, town: list[int], engine: sa.Engine, account: Account, now: datetime
) -> None:
    pages.post(browser, f"{PLANS}/new", {**FIRST, "do": "next"})
    walk(browser, 1, {}, do="goto:4")
    steps = [browser.get(f"{PLANS}/1/{step}").get_data(as_text=True) for step in range(1, 6)]
    writing = [number for number, html in enumerate(steps, 1) if 'value="variant:add"' in html]
    timing = [number for number, html in enumerate(steps, 1) if 'name="hours"' in html]
    assert (writing, timing) == ([4], [5])
    made = {
        "name": "甲",
        "segment": "微博",
        "at": "2025-03-09T20:30+08:00",
        "channels": ["mass"],
        "content": {"text": "券"},
    }
    with db.writing(engine) as session:
        campaign = definitions.save(session, account, made, now, by="Ann")
    shown = pages.text(browser.get(f"/console/muyan/campaigns/{campaign.id}?tab=experiment"))
    assert "第四步可以把内容写成两到八个版本，第五步可以换成比较几个发送时段" in shown


def test_leaving_and_coming_back_loses_nothing(
    browser: FlaskClient, town: list[int], engine: sa.Engine, account: Account
) -> None:
    pages.post(browser, f"{PLANS}/new", {"brief.benefit": "券", "do": "leave"})
    assert "未命名方案" in pages.text(browser.get(PLANS))
    form = pages.form(browser.get(f"{PLANS}/1/1").get_data(as_text=True), "wizard")
    assert form["brief.benefit"] == "券"
    form["name"] = "甲"
    kept = pages.post(browser, f"{PLANS}/1/1/kept", form)
    assert "已自动保存" in kept.get_data(as_text=True)
    assert the_plan(engine, account).name == "甲"
    walk(browser, 1, FIRST, do="goto:4")
    walk(browser, 4, {"channels": ["mass"]}, do="back")
    assert the_plan(engine, account).document["channels"] == ["mass"]


def test_two_operators_see_what_the_other_wrote(
    browser: FlaskClient,
    as_role: Callable[..., FlaskClient],
    town: list[int],
    engine: sa.Engine,
    account: Account,
) -> None:
    pages.post(browser, f"{PLANS}/new", {**FIRST, "do": "next"})
    form = pages.form(browser.get(f"{PLANS}/1/1").get_data(as_text=True), "wizard")
    other = as_role("lead")
    walk(other, 1, {"brief.owner": "王芳"}, do="save")
    form["brief.owner"], form["do"] = "李娜", "save"
    answer = pages.post(browser, f"{PLANS}/1/1", form)
    assert answer.status_code == 409
    html = answer.get_data(as_text=True)
    assert "王芳" in html and "李娜" in html
    form = pages.form(html, "wizard")
    form["do"] = "save"
    assert pages.post(browser, f"{PLANS}/1/1", form).status_code == 303
    assert the_plan(engine, account).brief["owner"] == "李娜"


def test_files_go_out_and_come_back(
    browser: FlaskClient, town: list[int], engine: sa.Engine, account: Account
) -> None:
    pages.post(browser, f"{PLANS}/new", {**FIRST, "do": "next"})
    walk(browser, 2, {"add:segment": "微博"}, do="add")
    text = browser.get(f"{PLANS}/1?format=csv").data
    assert "人群,特征标签,有标签「微博来源」,brief.features".encode() in text
    assert "## 推广" in browser.get(f"{PLANS}/1?format=md").get_data(as_text=True)
    assert browser.get(f"{PLANS}/1?format=xlsx").data[:2] == b"PK"
    answer = pages.post(browser, f"{PLANS}/import", {"file": [(io.BytesIO(text), "plan.csv")]})
    assert answer.status_code == 303, answer.get_data(as_text=True)
    assert answer.location.endswith("/plans/2/1")
    again = browser.get(f"{PLANS}/2?format=csv").data
    assert again.replace("奈雪8元券 2".encode(), "奈雪8元券".encode()) == text
    table = browser.get(f"{PLANS}/table?format=csv").data
    assert "奈雪8元券,微博,4".encode() in table
    pages.post(browser, f"{PLANS}/import", {"file": [(io.BytesIO(table), "table.csv")]})
    assert "共 4 个方案" in pages.text(browser.get(PLANS))
    for wrong in (b"", b"a,b\r\n1,2\r\n", "\u4eba\u7fa4,目标\r\n甲,x\r\n".encode("gb18030")):
        answer = pages.post(browser, f"{PLANS}/import", {"file": [(io.BytesIO(wrong), "x.csv")]})
        assert answer.status_code == 422


def test_a_playbook_is_kept_and_used_by_somebody_else(
    browser: FlaskClient,
    as_role: Callable[..., FlaskClient],
    town: list[int],
    engine: sa.Engine,
    account: Account,
) -> None:
    assert "策略库是空的" in pages.text(browser.get("/console/muyan/playbooks"))
    pages.post(browser, f"{PLANS}/new", {**FIRST, "do": "next"})
    answer = pages.post(browser, f"{PLANS}/1/playbook", {"name": "微博留言", "note": "小活动"})
    assert answer.status_code == 303
    page = pages.text(browser.get(answer.location))
    assert "第 1 版" in page and "还没有发过" in page
    other = as_role("operator")
    answer = pages.post(other, "/console/muyan/playbooks/1/begin", {"begins": "2025-04-01"})
    assert answer.status_code == 303, answer.get_data(as_text=True)
    assert answer.location.endswith("/plans/2/1")
    with db.reading(engine) as session:
        plan = plans.find(session, account.id, 2)
    assert plan is not None and plan.brief["ends"] == "2025-04-05"
    assert "归档" in pages.text(browser.get("/console/muyan/playbooks/1/archive"))
    assert pages.post(browser, "/console/muyan/playbooks/1/archive").status_code == 303


def test_whoever_may_only_hand_in_a_brief_sees_the_first_step(
    as_role: Callable[..., FlaskClient], town: list[int]
) -> None:
    market = as_role("requester")
    answer = pages.post(market, f"{PLANS}/new", {**FIRST, "do": "next"})
    assert answer.location.endswith("/plans")
    assert market.get(f"{PLANS}/1/2").status_code == 403
    assert market.get(f"{PLANS}/1/1").status_code == 200
    assert as_role("agent").get(PLANS).status_code == 403


def test_previews_go_to_testers_and_take_no_slot(
    browser: FlaskClient, town: list[int], engine: sa.Engine, account: Account
) -> None:
    pages.post(browser, f"{PLANS}/new", {**FIRST, "do": "next"})
    walk(browser, 2, {"add:segment": "微博"}, do="add")
    walk(browser, 4, {"channels": ["mass"]}, do="stay")
    walk(browser, 4, {"content.content:kind": "text", "content.content.text": "请你喝奶茶"})
    assert pages.post(browser, f"{PLANS}/1/preview").status_code == 409  # nobody is a tester
    with db.writing(engine) as session:
        session.execute(sa.update(followers).where(followers.c.id == town[0]).values(tester=True))
    assert pages.post(browser, f"{PLANS}/1/preview").status_code == 303
    with db.reading(engine) as session:
        (row,) = session.execute(sa.select(outbox)).all()
    assert (row.purpose, row.follower_id, row.payload["target"]) == ("preview", town[0], "preview")


@pytest.mark.sqlite
def test_plans_of_another_account_are_not_there(
    browser: FlaskClient, town: list[int], engine: sa.Engine, now: datetime
) -> None:
    with db.writing(engine) as session:
        other = factories.make_account(session, "other", now=now)
        theirs = plans.create(session, other, {"name": "别人的"}, now, by="Ming")
    for page in ("", "/1", "/5", "/portrait", "/archive"):
        assert browser.get(f"{PLANS}/{theirs}{page}").status_code == 404
