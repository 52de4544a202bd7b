"""The day's quotas: replies go on when campaigns must wait; the platform's own word counts."""

from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from bot import clock as real_clock
from bot import db, governor, outbox, quotas, tag_sync, tasks
from bot.accounts import Account
from bot.allowances import Rate
from bot.clock import Clock
from bot.governor import Governor, read_pause
from bot.jobs import Again, JobContext
from bot.kept import DatabaseStore, RedisStore
from bot.runtime import Runtime
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


@pytest.mark.slow  # a day of 245 messages
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


BATCH = "/cgi-bin/message/mass/send"


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds by which the steady clock, which waits are measured by, is ahead."""
    ahead, tick = [0.0], real_clock.tick_seconds
    monkeypatch.setattr(real_clock, "tick_seconds", lambda: tick() + ahead[0])
    return ahead


def pass_time(office: Office, later: list[float], seconds: float) -> None:
    later[0] += seconds
    office.clock.move_to(office.clock() + timedelta(seconds=seconds))


def test_the_platforms_own_rate_is_learned(office: Office) -> None:
    def granted(priority: str) -> int:
        return office.governor.grant(office.account.id, BATCH, priority, 50, START)

    assert granted("campaign") == 50
    learn(office)
    with db.reading(office.engine) as session:
        listed = quotas.today(session, office.store, office.account.id, START)
    rates = {one.api: one.rate for one in listed}
    assert (rates[BATCH], rates[SEND]) == (Rate(60, 60), None)
    # 60 a minute, of which a tenth is for replies and a sixth of the rest may begin at once
    assert granted("campaign") == 9
    assert granted("reply") == 50
    office.governor.told_rate(office.account.id, BATCH, 0, 60)
    assert granted("campaign") == 50


def test_a_campaign_goes_no_faster_than_the_rate_and_nobody_waits_behind_it(
    office: Office, later: list[float]
) -> None:
    # 540 of these 600 for all but replies: 90 at once, then 7.5 a second
    office.governor.told_rate(office.account.id, SEND, 600, 60)
    gateway = Gateway()
    office.owe("delivery", 140)
    office.drain(gateway)
    assert office.statuses("delivery") == {"sent": 90, "waiting": 50}
    # nothing is claimed for nothing until the bucket is half full
    pass_time(office, later, 5)
    assert office.drain(gateway) == 0
    office.owe("reply", 10)
    assert office.drain(gateway) == 10
    pass_time(office, later, 3)
    office.drain(gateway)
    # 60 came in 8 seconds, of which replies had 10
    assert office.statuses("delivery") == {"sent": 140}


def test_what_replies_took_is_paid_back(office: Office, later: list[float]) -> None:
    account_id = office.account.id
    office.governor.told_rate(account_id, SEND, 600, 60)
    assert office.governor.grant(account_id, SEND, "reply", 200, START) == 200
    office.governor.count(account_id, SEND, "reply", START, calls=200)
    pass_time(office, later, 3)
    # 90 were in the bucket, so 110 are owed; 22 a second and a half later that is still so
    assert office.governor.grant(account_id, SEND, "campaign", 10, office.clock()) == 0
    pass_time(office, later, 18)
    assert office.governor.grant(account_id, SEND, "campaign", 30, office.clock()) == 25


def together(engine: sa.Engine, stores: list[Any], account_id: int) -> list[int]:
    governors = [Governor(engine, store) for store in stores]
    governors[0].told_rate(account_id, SEND, 600, 60)
    return [one.grant(account_id, SEND, "campaign", 40, START) for one in governors * 2]


def test_many_processes_share_one_rate_in_rows(engine: sa.Engine, account: Account) -> None:
    clock = Clock(frozen_at=START)
    stores = [DatabaseStore(engine, clock) for _ in range(3)]
    assert together(engine, stores, account.id) == [40, 40, 10, 40, 40, 10]


@pytest.mark.redis
def test_many_processes_share_one_rate_in_redis(
    engine: sa.Engine, account: Account, redis_url: str
) -> None:
    stores = [RedisStore(redis_url) for _ in range(3)]
    granted = together(engine, stores, account.id)
    # Redis' clock runs meanwhile
    assert granted[:2] == [40, 40]
    assert 10 <= granted[2] < 40
    assert granted[3:] == granted[:3]


def test_while_redis_is_away_the_rate_is_shared_in_rows(
    engine: sa.Engine, account: Account
) -> None:
    rows = DatabaseStore(engine, Clock(frozen_at=START))
    stores = [RedisStore("redis://127.0.0.1:1/0", otherwise=rows) for _ in range(2)]
    assert together(engine, [*stores, rows], account.id) == [40, 40, 10, 40, 40, 10]


def spent(engine: sa.Engine, account: Account, api: str, calls: int) -> None:
    with db.writing(engine) as session:
        row = {"account_id": account.id, "day": START.date(), "api": api, "priority": "sync"}
        session.execute(sa.insert(api_calls).values(**row, calls=calls, refused=0, held=0))


@pytest.fixture
def work(rt: Runtime, office: Office, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs a job of the office's account once; its gateway is the sandbox's."""
    office.governor = rt.governor
    monkeypatch.setattr(Runtime, "wechat", lambda _rt, _id: office.stage.wechat)

    def run(task: Any, **arguments: Any) -> Again | None:
        given = {"account_id": office.account.id, **arguments}
        context = JobContext(rt.engine, office.clock, 1, "", given, office.account.id)
        return task(rt, context)  # type: ignore[no-any-return]

    return run


def test_a_follower_sync_leaves_the_last_fifth_of_the_day_to_others(
    office: Office, work: Any
) -> None:
    office.stage.follow(1, 2, 3)
    sync_id = work(tasks.sync_followers).arguments["sync_id"]
    spent(office.engine, office.account, "/cgi-bin/user/get", 400)  # of 500
    waits = work(tasks.sync_followers, sync_id=sync_id)
    assert waits == Again(900)
    assert office.governor.grant(office.account.id, "/cgi-bin/user/get", "campaign", 1, START) == 1
    office.governor.flush(office.engine)
    with db.reading(office.engine) as session:
        [seen] = quotas.today(session, office.store, office.account.id, START)
    assert (seen.api, seen.held, seen.used) == ("/cgi-bin/user/get", 1, 400)
    office.clock.move_to(at("2025-03-04 00:01"))
    while (again := work(tasks.sync_followers, sync_id=sync_id)) is not None:
        assert again == Again()


def test_a_tag_sync_waits_for_midnight_where_the_day_is_used_up(office: Office, work: Any) -> None:
    office.governor.refused(office.account.id, tag_sync.APIS[0], 45009, START)
    assert work(tasks.sync_tags) == Again(15 * 3600)
    office.clock.move_to(at("2025-03-04 00:00"))
    assert work(tasks.sync_tags) is None


def test_a_tag_sync_makes_no_more_calls_than_are_granted(
    office: Office, work: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    office.governor.told_rate(office.account.id, tag_sync.APIS[1], 80, 60)
    most: list[int] = []
    monkeypatch.setattr(tag_sync, "run", lambda *_arguments, calls, **_more: most.append(calls))
    work(tasks.sync_tags)
    assert most == [12]


def test_tags_of_a_campaigns_send_are_counted_as_a_campaigns(office: Office) -> None:
    with governor.on_behalf_of("campaign"):
        office.governor.called(office.account.id, tag_sync.APIS[0], 0, START)
    office.governor.called(office.account.id, tag_sync.APIS[0], 0, START)
    office.governor.flush(office.engine)
    with db.reading(office.engine) as session:
        [found] = governor.budgets(session, office.account.id, START)
    assert dict(found.calls) == {"campaign": 1, "sync": 1}
