"""The day's quotas: replies go on when campaigns must wait; the platform's own word counts."""

from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from bot import db, outbox, quotas
from bot.accounts import Account
from bot.clock import Clock
from bot.governor import Governor, read_pause
from bot.kept import DatabaseStore
from bot.tables.accounts import api_calls
from bot.tables.outbox import outbox as table
from bot.wechat import quota
from tests import factories
from tests.bot.answers import Gateway, refusal
from tests.bot.stage import Stage
from tests.factories import at

SEND = "/cgi-bin/message/custom/send"
START = at("2025-03-03 09:00")


class Office:
    """An account with followers on a sandbox whose customer-service quota is small."""

    def __init__(self, engine: sa.Engine, account: Account, quota: int = 100) -> None:
        self.engine, self.account = engine, account
        self.clock = Clock(frozen_at=START)
        self.stage = Stage(START, options={"quotas": {"custom/send": quota}})
        self.stage.platform.clock = self.clock
        self.store = DatabaseStore(engine, self.clock)
        self.governor = Governor(engine, self.store)
        with db.writing(engine) as session:
            self.people = factories.make_followers(session, account.id, 150, now=START)
        self.number = 0

    def owe(self, purpose: str, number: int) -> None:
        with db.writing(self.engine) as session:
            for _ in range(number):
                self.number += 1
                outbox.put(
                    session,
                    account_id=self.account.id,
                    channel="customer_service",
                    purpose=purpose,
                    purpose_id=self.number,
                    payload={"content": {"text": str(self.number)}},
                    follower_id=self.people[self.number % len(self.people)],
                    now=self.clock(),
                )

    def drain(self, gateway: Any = None) -> int:
        of = gateway.of if gateway is not None else (lambda _id: self.stage.wechat)
        return outbox.drain(self.engine, of, self.clock, limit=500, governor=self.governor)

    def statuses(self, purpose: str) -> dict[str, int]:
        with db.reading(self.engine) as session:
            rows = session.execute(
                sa.select(table.c.status, sa.func.count())
                .where(table.c.purpose == purpose)
                .group_by(table.c.status)
            )
            return {row[0]: row[1] for row in rows}

    def quota(self) -> quotas.Quota:
        with db.reading(self.engine) as session:
            listed = quotas.today(session, self.store, self.account.id, self.clock())
        return next(one for one in listed if one.api == SEND)


@pytest.fixture
def office(engine: sa.Engine, account: Account) -> Office:
    return Office(engine, account)


def learn(office: Office) -> None:
    quotas.learn(
        office.engine, office.stage.wechat, office.governor, office.account.id, office.clock()
    )


def test_calls_are_counted_by_who_they_were_for(office: Office) -> None:
    gateway = Gateway()
    office.owe("delivery", 7)
    office.owe("reply", 3)
    office.drain(gateway)
    assert dict(office.quota().calls) == {"campaign": 7, "reply": 3}
    assert office.quota().limit == 500_000


def test_the_platforms_own_limit_and_count_are_learned(office: Office) -> None:
    learn(office)
    found = office.quota()
    assert (found.limit, found.used, found.said_at) == (100, 0, START)


def test_a_campaign_leaves_the_last_tenth_to_replies_and_waits_unharmed(office: Office) -> None:
    learn(office)
    gateway = Gateway()
    office.owe("delivery", 120)
    office.drain(gateway)
    assert office.statuses("delivery") == {"sent": 90, "waiting": 30}
    found = office.quota()
    assert (found.held_back, found.owed, found.late) == (("campaign", "sync"), 30, 30)
    assert found.held == 30
    # nothing more is claimed for nothing while it waits
    assert office.drain(gateway) == 0
    office.owe("reply", 5)
    assert office.drain(gateway) == 5
    with db.reading(office.engine) as session:
        waits = sa.select(sa.func.max(table.c.attempts)).where(table.c.status == "waiting")
        assert session.execute(waits).scalar() == 0
    office.clock.move_to(at("2025-03-04 00:01"))
    while office.drain(gateway):
        pass
    assert office.statuses("delivery") == {"sent": 120}


def test_a_day_of_twice_the_load_fails_no_reply(office: Office) -> None:
    """The platform allows 100; 45 replies spread over the day, 40 yesterday, 160 campaign messages in the morning."""
    office.stage.follow(*range(1, 151))
    office.stage.platform.store.run("UPDATE followers SET long_left = 99, long_until = 1e12")
    with db.writing(office.engine) as session:
        yesterday = (START - timedelta(days=1)).date()
        row = {"account_id": office.account.id, "day": yesterday, "api": SEND}
        counts = {"priority": "reply", "calls": 40, "refused": 0, "held": 0}
        session.execute(sa.insert(api_calls).values(**row, **counts))
    learn(office)
    for hour in range(9, 24):
        office.clock.move_to(at(f"2025-03-03 {hour:02d}:00"))
        if hour in (9, 10):
            office.owe("delivery", 80)
        office.owe("reply", 3)
        office.drain()
    assert office.statuses("reply") == {"sent": 45}
    assert 40 <= office.statuses("delivery")["sent"] <= 55
    told = quota.of(office.stage.wechat, SEND)
    assert (office.quota().refused, office.quota().used) == (0, told.used)


def test_a_used_up_day_pauses_the_api_until_midnight_and_asks_the_platform(office: Office) -> None:
    office.owe("delivery", 40)
    office.owe("reply", 1)
    gateway = Gateway(*[refusal(45009, permanent=False)] * 41)
    office.drain(gateway)
    found = office.quota()
    assert found.pause is not None
    assert (found.pause.why, found.pause.until) == ("day", at("2025-03-04 00:00"))
    assert found.refused > 0
    calls = len(gateway.calls)
    office.owe("reply", 1)
    assert office.drain(gateway) == 0
    assert len(gateway.calls) == calls
    with db.reading(office.engine) as session:
        jobs = session.execute(sa.text("SELECT name FROM jobs")).scalars().all()
    assert jobs == ["learn_quotas"]
    # the operator cleared the quota on the platform's site: it says there are calls left
    learn(office)
    office.owe("reply", 1)
    assert office.drain(gateway) > 0


def test_too_often_pauses_for_a_minute_then_for_longer(office: Office) -> None:
    gateway = Gateway()
    for minutes in (1, 2, 4):
        office.governor.refused(office.account.id, SEND, 45011, office.clock())
        pause = read_pause(office.store, office.account.id, SEND)
        assert pause is not None
        assert pause.until - office.clock() == timedelta(minutes=minutes)
        office.governor.grant(office.account.id, SEND, "reply", 1, office.clock())
        office.owe("delivery", 1)
        assert office.drain(gateway) == 0
        office.clock.move_to(pause.until)
    assert office.drain(gateway) == 3
