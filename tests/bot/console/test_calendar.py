"""The calendar: what stands on which day, what a send or a move takes from the planned ones, and the move itself."""

from collections.abc import Callable
from datetime import datetime, timedelta

import pytest
import sqlalchemy as sa
from flask.testing import FlaskClient

from bot import accounts, db
from bot.accounts import Account
from bot.audiences import segments
from bot.audiences.index import Look
from bot.campaigns import calendar, definitions, ledger, plans, reviews
from bot.campaigns.plans import Plan
from bot.errors import Invalid, Refused
from bot.tables.accounts import accounts as accounts_table
from bot.tables.campaigns import campaigns, mass_ledger
from bot.tables.operators import audit
from tests import factories
from tests.bot.campaigns.makers import make_campaign, make_delivery, make_run
from tests.bot.campaigns.test_plans import FACTORS
from tests.bot.console import pages

MONTH = "2025-03"
Role = Callable[..., FlaskClient]


@pytest.fixture
def now() -> datetime:
    return factories.at("2025-03-10 10:00")


@pytest.fixture
def people(engine: sa.Engine, account: Account, now: datetime) -> list[int]:
    """Ten followers: two with one slot left, three with two, five with four. Two sends to all are planned."""
    with db.writing(engine) as session:
        ids = factories.make_followers(session, account.id, 10, now=now - timedelta(days=30))
        segments.save(session, account.id, "everybody", {"all": []}, now)
        for times, some in ((3, ids[:2]), (2, ids[2:5])):
            for _ in range(times):
                ledger.reserve(session, account.id, some, MONTH)
        session.execute(sa.update(mass_ledger).values(spent=mass_ledger.c.reserved, reserved=0))
        for name, day in (("上新", 18), ("会员日", 28)):
            at = factories.at(f"2025-03-{day} 20:30")
            make_campaign(
                session, account.id, now=now, name=name, next_due_at=at,
                schedule={"at": at.isoformat()},
            )  # fmt: skip
    return ids


def told(found: calendar.WhatIf) -> dict[str, list[int]]:
    return {one.name: list(one.people) for one in found.lost}


def test_one_more_send_takes_from_those_who_have_no_more_than_is_planned(
    engine: sa.Engine, account: Account, people: list[int], now: datetime
) -> None:
    with db.reading(engine) as session:
        look = Look(session, account.id, now)
        early = calendar.what_if(look, account, "everybody", factories.at("2025-03-15 12:00"))
        assert told(early) == {"上新": people[:2], "会员日": people[2:5]}
        assert (early.wanted, early.gets, len(early.people)) == (10, 10, 5)
        between = calendar.what_if(look, account, "everybody", factories.at("2025-03-20 12:00"))
        assert told(between) == {"会员日": people[2:5]}
        assert between.gets == 8
        late = calendar.what_if(look, account, "everybody", factories.at("2025-03-31 23:45"))
        assert told(late) == {} and late.gets == 5
        assert late.notes == ["closed"]
        april = calendar.what_if(look, account, "everybody", factories.at("2025-04-02 12:00"))
        assert told(april) == {} and april.gets == 10
        with pytest.raises(Refused):
            calendar.what_if(look, account, "nobody we know", now)


def test_what_is_firmly_kept_is_not_lost(
    engine: sa.Engine, account: Account, people: list[int], now: datetime
) -> None:
    with db.writing(engine) as session:
        session.execute(sa.update(campaigns).values(worth={"protect": True}))
        found = calendar.what_if(
            Look(session, account.id, now), account, "everybody", factories.at("2025-03-15 12:00")
        )
        assert told(found) == {} and found.gets == 5


def test_a_move_behind_another_loses_its_own_people(
    engine: sa.Engine, account: Account, people: list[int], now: datetime
) -> None:
    with db.reading(engine) as session:
        campaign = definitions.get(session, account.id, "上新")
        look = Look(session, account.id, now)
        at = calendar.moment_on(campaign, factories.at("2025-03-30 12:00").date())
        assert at == factories.at("2025-03-30 20:30")
        assert told(calendar.what_if_moved(look, account, campaign, at)) == {"上新": people[:2]}
        sooner = calendar.moment_on(campaign, factories.at("2025-03-12 12:00").date())
        assert told(calendar.what_if_moved(look, account, campaign, sooner)) == {}
        april = calendar.moment_on(campaign, factories.at("2025-04-03 12:00").date())
        moved = calendar.what_if_moved(look, account, campaign, april)
        assert told(moved) == {} and moved.gets == 10


def test_a_draft_is_asked_for_as_a_new_one(
    engine: sa.Engine, account: Account, people: list[int], now: datetime
) -> None:
    with db.writing(engine) as session:
        make_campaign(
            session, account.id, now=now, name="加推", status="draft",
            schedule={"at": "2025-03-15T12:00:00+08:00"},
        )  # fmt: skip
        campaign = definitions.get(session, account.id, "加推")
        found = calendar.what_if_moved(
            Look(session, account.id, now), account, campaign, factories.at("2025-03-16 12:00")
        )
        assert told(found) == {"上新": people[:2], "会员日": people[2:5]}


def test_a_move_keeps_the_time_of_day_and_the_approval(
    engine: sa.Engine, account: Account, people: list[int], now: datetime
) -> None:
    with db.writing(engine) as session:
        segments.save(session, account.id, "everybody", {"all": []}, now)
        campaign = definitions.get(session, account.id, "上新")
        definitions.approve(session, campaign, "Ann", 10, 10, now)
        campaign = definitions.get(session, account.id, "上新")
        day = factories.at("2025-03-21 12:00").date()
        moved = calendar.move(session, account, campaign, day, now, by="Ann")
        assert moved.next_due_at == factories.at("2025-03-21 20:30")
        assert moved.status == "scheduled"
        assert moved.approved_hash == definitions.content_hash(moved)
        with pytest.raises(Refused, match="somebody else"):
            calendar.move(session, account, campaign, day + timedelta(days=1), now, by="Ann")
        with pytest.raises(Invalid):
            calendar.move(session, account, moved, now.date() - timedelta(days=1), now, by="Ann")
        repeats = make_campaign(
            session, account.id, now=now, name="每周", schedule={"repeat": {"every": "week", "at": "20:30"}}
        )  # fmt: skip
        with pytest.raises(Refused, match="repeats"):
            calendar.move(session, account, definitions.by_id(session, repeats), day, now, by="Ann")


def test_the_month_shows_what_was_what_is_and_what_is_planned(
    browser: FlaskClient, engine: sa.Engine, account: Account, people: list[int], now: datetime
) -> None:
    with db.writing(engine) as session:
        old = make_campaign(session, account.id, now=now, name="预热", status="finished")
        run = make_run(
            session, account.id, old, now=now, due_at=now - timedelta(days=3), status="finished"
        )
        make_delivery(session, account.id, run, people[0], status="sent", slot="spent", month=MONTH)
    text = pages.text(browser.get(f"/console/{account.slug}/calendar"))
    for words in ("预热", "上新", "会员日", "2 人到时没有名额", "改期", "23:30 截止"):
        assert words in text
    table = browser.get(f"/console/{account.slug}/calendar?format=csv").get_data(as_text=True)
    assert [line.split(",")[4:] for line in table.splitlines()[1:]] == [
        ["1", "1", "0"],
        ["10", "10", "0"],
        ["10", "8", "2"],
    ]
    after = pages.text(browser.get(f"/console/{account.slug}/calendar?month=2025-05"))
    assert "这个月还没有群发" in after


def test_the_move_asks_before_it_moves(
    browser: FlaskClient, engine: sa.Engine, account: Account, people: list[int]
) -> None:
    with db.reading(engine) as session:
        campaign_id = definitions.get(session, account.id, "上新").id
    page = f"/console/{account.slug}/calendar/move/{campaign_id}"
    asked = pages.text(browser.get(f"{page}?day=2025-03-30"))
    assert "2 人会失去一条计划内的推送" in asked
    listed = browser.get(f"{page}?day=2025-03-30&format=csv").get_data(as_text=True)
    assert len(listed.splitlines()) == 3 and factories.open_id(1) not in listed
    assert pages.post(browser, page, {"day": "2025-03-30"}).status_code == 303
    with db.reading(engine) as session:
        moved = definitions.by_id(session, campaign_id)
        assert moved.next_due_at == factories.at("2025-03-30 20:30")
        row = session.execute(sa.select(audit).where(audit.c.action == "campaign.move")).one()
        assert row.after["count"] == 2
    assert pages.post(browser, page, {"day": "2025-03-01"}).status_code == 422
    assert pages.post(browser, page, {"day": "soon"}).status_code == 422


@pytest.fixture
def planned(engine: sa.Engine, account: Account, people: list[int], now: datetime) -> Plan:
    """A plan that was handed in, to be sent as soon as possible; its campaign waits for review."""
    given = {
        "name": "奈雪券",
        "groups": [{"name": "甲", "segment": "everybody"}],
        "at": "2025-03-15T12:00:00+08:00",
        "channels": ["mass"],
        "content": {"text": "请你喝奶茶"},
        "brief": {**FACTORS, "when": "now"},
    }
    with db.writing(engine) as session:
        plan_id = plans.create(session, account.id, given, now, by="Ann")
        plans.submit(session, account, plan_id, now, by="Ann", version=1)
        found = plans.find(session, account.id, plan_id)
        assert found is not None and found.campaign_id is not None
        return found


def test_the_plan_moves_with_its_campaign(
    browser: FlaskClient, engine: sa.Engine, account: Account, planned: Plan, now: datetime
) -> None:
    page = f"/console/{account.slug}/calendar/move/{planned.campaign_id}"
    assert "推广方案里的发送时间一起改" in pages.text(browser.get(f"{page}?day=2025-03-21"))
    assert pages.post(browser, page, {"day": "2025-03-21"}).status_code == 303
    assert planned.campaign_id is not None
    with db.writing(engine) as session:
        moved = definitions.by_id(session, planned.campaign_id)
        plan = plans.find(session, account.id, planned.id)
        assert plan is not None
        assert plan.document["at"] == moved.schedule["at"] == "2025-03-21T12:00:00+08:00"
        assert plan.document["brief"] == {**FACTORS, "when": ""}
        assert not reviews.at_once(moved), "a day was chosen: it does not go with its approval"
        assert (plan.version, plan.changed_by) == (2, "Ann")
        with pytest.raises(plans.SavedBetween):
            plans.save(
                session, account.id, plan.id, {}, now, version=planned.version, step=5, by="Bo"
            )
        again = plans.submit(session, account, plan.id, now, by="Ann", version=2)
        assert again.schedule == moved.schedule, "handing the plan in again does not move it back"


def test_a_plan_that_repeats_by_now_keeps_its_campaign_where_it_is(
    browser: FlaskClient, engine: sa.Engine, account: Account, planned: Plan, now: datetime
) -> None:
    given = {key: value for key, value in planned.document.items() if key != "at"}
    given["repeat"] = {"every": "week", "at": "20:30", "on": ["mon"]}
    with db.writing(engine) as session:
        plans.save(session, account.id, planned.id, given, now, version=1, step=5, by="Bo")
    page = f"/console/{account.slug}/calendar/move/{planned.campaign_id}"
    for answer in (browser.get(page), pages.post(browser, page, {"day": "2025-03-21"})):
        assert answer.status_code == 422
        assert "推广方案“奈雪券”提交后又改成了重复发送" in answer.get_data(as_text=True)
    assert planned.campaign_id is not None
    with db.writing(engine) as session:
        campaign = definitions.by_id(session, planned.campaign_id)
        with pytest.raises(Refused, match="was changed to repeat"):
            calendar.move(
                session, account, campaign, factories.at("2025-03-21 12:00").date(), now, by="Ann"
            )
        assert definitions.by_id(session, planned.campaign_id).schedule == campaign.schedule
        assert campaign.schedule["at"] == "2025-03-15T12:00:00+08:00"


def test_who_may_not_write_sees_no_way_to_move(
    as_role: Role, engine: sa.Engine, account: Account, people: list[int]
) -> None:
    viewer = as_role("viewer")
    assert "改期" not in pages.text(viewer.get(f"/console/{account.slug}/calendar"))
    asked = f"/console/{account.slug}/calendar/what-if?segment=everybody&at=2025-03-15T12:00"
    assert "5 人会失去" in pages.text(viewer.get(asked))
    assert viewer.get(f"/console/{account.slug}/calendar/move/1").status_code == 403


def test_a_subscription_account_is_told_of_two_sends_a_day(
    engine: sa.Engine, account: Account, people: list[int], now: datetime
) -> None:
    with db.writing(engine) as session:
        session.execute(sa.update(accounts_table).values(kind="subscription"))
        account = accounts.by_id(session, account.id)
        look = Look(session, account.id, now)
        found = calendar.what_if(look, account, "everybody", factories.at("2025-03-18 09:00"))
        assert found.notes == ["one_a_day"] and told(found) == {}
        free = calendar.what_if(look, account, "everybody", factories.at("2025-03-19 09:00"))
        assert free.notes == []
