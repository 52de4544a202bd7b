"""What QR channels brought: counted by day and in total, alike with and without roll-ups."""

from datetime import date, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from bot import db, events, followers, retention, scene_reports, scenes
from bot.accounts import Account
from bot.db import Session
from bot.reports import channel
from tests import factories

MONDAY = date(2025, 3, 3)


def follow(session: Session, account: Account, who: int, moment: str, key: str) -> int:
    at = factories.at(moment)
    found = followers.subscribe(session, account.id, factories.open_id(who), at, key)
    events.record(session, account.id, found.id, "subscribe", at, key=key or None)
    return found.id


def leave(session: Session, account: Account, who: int, moment: str) -> None:
    at = factories.at(moment)
    gone = followers.unsubscribe(session, account.id, factories.open_id(who), at)
    events.record(session, account.id, gone.id, "unsubscribe", at)


def scan(session: Session, account: Account, who: int, moment: str, key: str) -> None:
    found = followers.find(session, account.id, factories.open_id(who))
    assert found is not None
    events.record(session, account.id, found.id, "scan", factories.at(moment), key=key)


@pytest.fixture
def month(engine: sa.Engine, account: Account) -> Account:
    """A month of two shops. 1 to 4 came by shop 1, 5 by shop 2; 2 and 3 left, 3 after eight days."""
    with db.writing(engine) as session:
        for key in ("store_01", "store_02"):
            scenes.save(session, account.id, key=key, name=key, group="门店", cost=12.5)
        for who, moment in ((1, "02-03 09:00"), (2, "02-03 23:59"), (3, "02-04 00:00")):
            follow(session, account, who, f"2025-{moment}", "store_01")
        follow(session, account, 4, "2025-02-28 12:00", "store_01")
        follow(session, account, 5, "2025-03-03 08:00", "store_02")
        follow(session, account, 6, "2025-02-05 08:00", "")
        scan(session, account, 1, "2025-02-03 10:00", "store_01")
        scan(session, account, 1, "2025-03-03 08:30", "store_01")
        scan(session, account, 6, "2025-03-02 08:30", "store_01")
        leave(session, account, 2, "2025-02-10 23:58")
        leave(session, account, 3, "2025-02-12 00:00")
    return account


def roll(engine: sa.Engine, now: datetime) -> None:
    while retention.rollup(engine, now) or scene_reports.roll(engine, now):
        pass


def shop(engine: sa.Engine, account: Account, now: datetime, key: str = "store_01") -> Any:
    with db.reading(engine) as session:
        scene = scenes.get(session, account.id, key)
        first = MONDAY - timedelta(days=29)
        return scene_reports.one(session, account.id, scene, first, MONDAY, now)


@pytest.mark.parametrize("rolled", [False, True])
def test_one_code_is_counted_by_day_and_in_total(
    engine: sa.Engine, month: Account, now: datetime, rolled: bool
) -> None:
    if rolled:
        roll(engine, now)
    total, days = shop(engine, month, now)
    assert (total.follows, total.rescans, total.scans, total.people) == (4, 3, 7, 5)
    assert total.left == 2
    by_day = {day.day: day for day in days}
    assert len(days) == 30
    assert days[0].day == MONDAY
    today = by_day[MONDAY]
    assert (today.follows, today.rescans, today.people) == (0, 1, 1)
    assert by_day[date(2025, 2, 10)].left == 1
    assert by_day[date(2025, 2, 4)].follows == 1


def test_who_follows_and_scans_again_on_one_day_is_one_person(
    engine: sa.Engine, month: Account, now: datetime
) -> None:
    roll(engine, now)
    with db.reading(engine) as session:
        scene = scenes.get(session, month.id, "store_01")
        first = date(2025, 2, 3)
        total, days = scene_reports.one(session, month.id, scene, first, first, now)
    assert (days[0].follows, days[0].rescans, days[0].people) == (2, 1, 2)
    assert total.people == 2


def test_retention_counts_only_followers_old_enough(
    engine: sa.Engine, month: Account, now: datetime
) -> None:
    total, days = shop(engine, month, now)
    assert total.rate(7) is None, "nothing is counted before the nightly job"
    roll(engine, now)
    with db.reading(engine) as session:
        scene = scenes.get(session, month.id, "store_01")
        total, days = scene_reports.one(session, month.id, scene, date(2025, 2, 1), MONDAY, now)
    # 2 left within seven days, 3 a moment after; 4 followed three days ago
    assert total.kept is not None
    assert total.kept[7] == scene_reports.Kept(3, 2)
    assert 30 not in total.kept
    later = now + timedelta(days=3)
    roll(engine, later)
    with db.reading(engine) as session:
        total, days = scene_reports.one(session, month.id, scene, date(2025, 2, 1), MONDAY, later)
    assert total.kept is not None
    assert total.kept[30] == scene_reports.Kept(2, 1)
    assert {day.day: dict(day.kept) for day in days}[date(2025, 2, 3)] == {
        7: scene_reports.Kept(2, 1),
        30: scene_reports.Kept(2, 1),
    }


def test_counting_again_changes_nothing(engine: sa.Engine, month: Account, now: datetime) -> None:
    roll(engine, now)
    before = shop(engine, month, now)
    roll(engine, now)
    assert shop(engine, month, now) == before


def test_cost_is_shared_among_all_who_ever_followed_by_the_code(
    engine: sa.Engine, month: Account, now: datetime
) -> None:
    total, _days = shop(engine, month, now)
    assert total.follows_ever == 4
    assert total.cost_per_follow == pytest.approx(12.5 / 4)
    with db.writing(engine) as session:
        scenes.save(session, month.id, key="empty", name="没有人")
    nobody, _days = shop(engine, month, now, "empty")
    assert nobody.cost_per_follow is None


@pytest.mark.parametrize("rolled", [False, True])
def test_the_figures_are_those_of_the_channel_report(
    engine: sa.Engine, month: Account, now: datetime, rolled: bool
) -> None:
    if rolled:
        roll(engine, now)
    with db.reading(engine) as session:
        table = channel.rows(session, month, channel.Params(days=30), now)
        found = scene_reports.figures(session, month.id, MONDAY - timedelta(days=29), MONDAY, now)
    listed = {row[2]: tuple(row[3:]) for row in table.rows}
    assert {key: (one.follows, one.rescans, one.left) for key, one in found.items()} == listed


def test_codes_that_end_soon_and_codes_that_fell_silent_are_named(
    engine: sa.Engine, account: Account, now: datetime
) -> None:
    with db.writing(engine) as session:
        for key in ("store_05", "store_06", "poster", "rare"):
            scenes.save(session, account.id, key=key, name=key)
        for key, days in (("soon", 6), ("later", 8), ("over", -1)):
            scenes.save(session, account.id, key=key, name=key, permanent=False)
            session.execute(
                sa.update(scenes.scenes)
                .where(scenes.scenes.c.key == key)
                .values(url="u", expires_at=now + timedelta(days=days))
            )
        who = factories.make_follower(session, account.id, now=now)
        for day in range(2, 20):
            at = now - timedelta(days=day)
            for _ in range(6):
                events.record(session, account.id, who, "scan", at, key="store_05")
                events.record(
                    session, account.id, who, "scan", at + timedelta(days=1), key="store_06"
                )
            if day % 5 == 0:
                events.record(session, account.id, who, "scan", at, key="rare")
        for _ in range(50):
            events.record(session, account.id, who, "scan", now - timedelta(days=9), key="poster")
    for rolled in (False, True):
        if rolled:
            roll(engine, now)
        with db.reading(engine) as session:
            found = scene_reports.warnings(session, account.id, now)
            owned = scene_reports.warnings(session, account.id, now, ("store_06",))
        assert [(each.key, each.why) for each in found] == [
            ("over", "expired"),
            ("store_05", "silent"),
            ("soon", "expires"),
        ]
        assert found[1].missing == 6
        assert found[1].last_scan == date(2025, 3, 1)
        assert owned == []


def test_another_account_is_another_world(engine: sa.Engine, month: Account, now: datetime) -> None:
    with db.writing(engine) as session:
        other = factories.make_account(session, "shop", now=now)
    roll(engine, now)
    with db.reading(engine) as session:
        first = MONDAY - timedelta(days=60)
        assert scene_reports.figures(session, other, first, MONDAY, now) == {}
        assert scene_reports.warnings(session, other, now) == []
