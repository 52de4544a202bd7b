"""Follower sync against the sandbox: full, incremental, resumed, refused."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from bot import accounts, db, follower_sync, followers
from bot.accounts import Account
from bot.errors import WeChatError
from bot.follower_sync import Progress
from bot.tables.events import events
from bot.tables.followers import follower_tags
from bot.tables.followers import followers as table
from tests import factories
from tests.bot.stage import Stage

FOLLOWED = datetime(2025, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.fixture
def stage(now: datetime) -> Stage:
    return Stage(now)


def begin(engine: sa.Engine, account: Account, now: datetime, *, full: bool = True) -> Progress:
    with db.writing(engine) as session:
        return follower_sync.begin(session, account.id, now, full=full)


def to_the_end(
    engine: sa.Engine, stage: Stage, account: Account, now: datetime, *, full: bool = True
) -> list[Progress]:
    seen = [begin(engine, account, now, full=full)]
    while seen[-1].more:
        seen.append(follower_sync.step(engine, stage.wechat, seen[-1].id, now))
        assert len(seen) < 200
    return seen


def row(engine: sa.Engine, account: Account, number: int) -> Any:
    with db.reading(engine) as session:
        return session.execute(
            sa.select(table).where(
                table.c.account_id == account.id, table.c.open_id == factories.open_id(number)
            )
        ).one()


def follows(engine: sa.Engine, account: Account) -> int:
    with db.reading(engine) as session:
        return session.execute(
            sa.select(sa.func.count()).where(
                table.c.account_id == account.id, table.c.subscribed.is_(sa.true())
            )
        ).scalar_one()


def test_a_full_sync_makes_who_we_did_not_know_with_their_details(
    engine: sa.Engine, account: Account, stage: Stage, now: datetime
) -> None:
    stage.follow(1, scene="wb_bio", unionid="u1", subscribe_time=int(FOLLOWED.timestamp()))
    stage.follow(2, source="ADD_SCENE_PROFILE_CARD")
    last = to_the_end(engine, stage, account, now)[-1]
    assert (last.state, last.done, last.total) == ("done", 2, 2)
    lan = row(engine, account, 1)
    assert (lan.subscribed, lan.subscribed_at, lan.union_id) == (True, FOLLOWED, "u1")
    assert (lan.first_source, lan.first_scene) == ("wb_bio", "wb_bio")
    assert (lan.subscribe_scene, lan.synced_at) == ("ADD_SCENE_QR_CODE", now)
    wei = row(engine, account, 2)
    assert (wei.first_source, wei.first_scene) == ("ADD_SCENE_PROFILE_CARD", None)


def test_a_first_source_we_know_is_never_overwritten(
    engine: sa.Engine, account: Account, stage: Stage, now: datetime
) -> None:
    stage.follow(1, scene="shop")
    with db.writing(engine) as session:
        factories.make_follower(
            session, account.id, 1, now=now, first_source="wb_bio", first_scene="wb_bio"
        )
    to_the_end(engine, stage, account, now)
    lan = row(engine, account, 1)
    assert (lan.first_source, lan.first_scene) == ("wb_bio", "wb_bio")


def test_who_left_without_a_push_is_unsubscribed_and_who_came_back_is_back(
    engine: sa.Engine, account: Account, stage: Stage, now: datetime
) -> None:
    before = now - timedelta(days=3)
    stage.follow(1, 2, 3)
    stage.leave_silently(1)
    with db.writing(engine) as session:
        factories.make_followers(session, account.id, 2, now=before)
        factories.make_follower(
            session, account.id, 3, now=before, subscribed=False, unsubscribed_at=before
        )
        # 4 is nobody the platform knows: one such fails a whole call (40003)
        factories.make_follower(session, account.id, 4, now=before)
    to_the_end(engine, stage, account, now)
    found = {number: row(engine, account, number).subscribed for number in (1, 2, 3, 4)}
    assert found == {1: False, 2: True, 3: True, 4: False}
    assert row(engine, account, 1).unsubscribed_at == now
    with db.reading(engine) as session:
        told = session.execute(sa.select(events.c.kind, events.c.follower_id)).all()
    assert sorted(told) == sorted(
        ("unsubscribe", row(engine, account, number).id) for number in (1, 4)
    )


def test_who_followed_or_left_while_the_sync_ran_keeps_what_the_push_said(
    engine: sa.Engine, account: Account, stage: Stage, now: datetime
) -> None:
    later = now + timedelta(seconds=30)
    stage.follow(1, 2)
    with db.writing(engine) as session:
        # the push came after the page was asked for
        factories.make_follower(
            session, account.id, 1, now=now, subscribed=False, unsubscribed_at=later
        )
        factories.make_follower(session, account.id, 2, now=later)
    stage.leave_silently(2)
    to_the_end(engine, stage, account, now)
    assert not row(engine, account, 1).subscribed
    assert row(engine, account, 2).subscribed


@pytest.mark.slow  # ten thousand and some followers: the second page only exists beyond them
def test_a_sync_of_several_pages_goes_on_after_a_kill_where_it_was(
    engine: sa.Engine, account: Account, stage: Stage, now: datetime
) -> None:
    stage.follow(*range(1, 10_151))
    first = begin(engine, account, now)
    listed = follower_sync.step(engine, stage.wechat, first.id, now)
    assert (listed.state, listed.done, listed.total) == ("listing", 10_000, 10_150)
    # killed here; a new process begins again and is given the same sync
    again = begin(engine, account, now + timedelta(minutes=5))
    assert again.id == first.id
    progress = again
    for _ in range(4):  # two more pages, the last of them empty, then two calls of details
        progress = follower_sync.step(engine, stage.wechat, again.id, now)
    assert stage.calls == ["user/get"] * 3 + ["user/info/batchget"] * 2
    assert (progress.state, progress.done, progress.total) == ("reading", 200, 10_150)
    assert begin(engine, account, now + timedelta(minutes=9)) == progress
    follower_sync.step(engine, stage.wechat, again.id, now)
    assert row(engine, account, 250).synced_at == now
    assert row(engine, account, 350).synced_at is None
    assert follows(engine, account) == 10_150


def test_an_incremental_sync_reads_only_what_is_new_or_stale(
    engine: sa.Engine, account: Account, stage: Stage, now: datetime
) -> None:
    stage.follow(*range(1, 151))
    with db.writing(engine) as session:
        factories.make_followers(session, account.id, 150, now=now - timedelta(days=90))
        session.execute(sa.update(table).values(synced_at=now - timedelta(days=2)))
        for number, moment in ((7, None), (8, now - timedelta(days=31))):
            session.execute(
                sa.update(table)
                .where(table.c.open_id == factories.open_id(number))
                .values(synced_at=moment)
            )
    steps = to_the_end(engine, stage, account, now, full=False)
    assert [step.state for step in steps] == ["refreshing", "refreshing", "done"]
    assert (steps[-1].done, steps[-1].total) == (2, 2)
    assert stage.calls == ["user/info/batchget"]
    assert row(engine, account, 7).synced_at == now


def test_a_full_sync_replaces_an_unfinished_incremental_one(
    engine: sa.Engine, account: Account, stage: Stage, now: datetime
) -> None:
    small = begin(engine, account, now, full=False)
    big = begin(engine, account, now)
    assert big.id != small.id
    assert begin(engine, account, now, full=False).id == big.id
    with db.reading(engine) as session:
        assert follower_sync.last(session, account.id) == big


def test_tags_there_before_us_are_taken_over_once(
    engine: sa.Engine, account: Account, stage: Stage, now: datetime
) -> None:
    stage.follow(1, tags=["老客", "微博来源"])
    stage.follow(2, tags=["老客"])
    with db.writing(engine) as session:
        tag = factories.make_tag(session, account.id, "微博来源", sync=True)
        wei = factories.make_follower(session, account.id, 2, now=now)
        factories.give_tag(session, account.id, wei, tag, now=now)
    to_the_end(engine, stage, account, now)
    with db.reading(engine) as session:
        lan = row(engine, account, 1).id
        assert followers.tag_names(session, lan, now) == {"老客", "微博来源"}
        # who was tagged here already has our tags: we are the truth
        assert followers.tag_names(session, wei, now) == {"微博来源"}
    with db.writing(engine) as session:
        session.execute(sa.delete(follower_tags).where(follower_tags.c.follower_id == lan))
    to_the_end(engine, stage, account, now + timedelta(hours=1))
    with db.reading(engine) as session:
        assert followers.tag_names(session, lan, now) == frozenset()


def test_no_answer_keeps_the_place_and_is_told(
    engine: sa.Engine, account: Account, stage: Stage, now: datetime
) -> None:
    stage.follow(1)
    sync = begin(engine, account, now)
    stage.platform.fault("/cgi-bin/user/get", "http_500", times=None)
    with pytest.raises(WeChatError):
        follower_sync.step(engine, stage.wechat, sync.id, now)
    with db.reading(engine) as session:
        kept = follower_sync.last(session, account.id)
    assert kept is not None
    assert kept.more
    assert kept.error
    stage.platform.clear_faults()
    assert to_the_end(engine, stage, account, now)[-1].error is None
    assert follows(engine, account) == 1


def test_an_account_without_the_right_fails_once_and_it_is_remembered(
    engine: sa.Engine, account: Account, now: datetime
) -> None:
    stage = Stage(now, verified=False)
    last = to_the_end(engine, stage, account, now)[-1]
    assert last.state == "failed"
    assert last.error is not None
    assert "48001" in last.error
    with db.reading(engine) as session:
        assert accounts.by_id(session, account.id).rights == {"users": False}
