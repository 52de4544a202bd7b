"""The mirror of synced tags against the sandbox: differences, limits, every refusal the platform knows."""

from datetime import datetime, timedelta

import pytest
import sqlalchemy as sa

from bot import accounts, db, tag_sync, tags
from bot.accounts import Account
from bot.errors import Refused, WeChatError
from bot.tables.followers import follower_tags, platform_tags
from bot.tables.followers import followers as table
from bot.tables.followers import tags as tags_table
from tests import factories
from tests.bot.stage import Stage

TAGGING = "tags/members/batchtagging"
UNTAGGING = "tags/members/batchuntagging"


@pytest.fixture
def stage(now: datetime) -> Stage:
    return Stage(now)


def people(
    engine: sa.Engine, account: Account, stage: Stage, count: int, now: datetime
) -> list[int]:
    stage.follow(*range(1, count + 1))
    with db.writing(engine) as session:
        return factories.make_followers(session, account.id, count, now=now)


def synced(engine: sa.Engine, account: Account, *names: str) -> list[int]:
    with db.writing(engine) as session:
        return [factories.make_tag(session, account.id, name, sync=True) for name in names]


def give(
    engine: sa.Engine, account: Account, follower_ids: list[int], tag: int, now: datetime
) -> None:
    with db.writing(engine) as session:
        for follower in follower_ids:
            factories.give_tag(session, account.id, follower, tag, now=now)


def error_of(engine: sa.Engine, tag: int) -> str | None:
    with db.reading(engine) as session:
        found: str | None = session.execute(
            sa.select(tags_table.c.error).where(tags_table.c.id == tag)
        ).scalar_one()
    return found


def mirrored(engine: sa.Engine) -> int:
    with db.reading(engine) as session:
        return session.execute(sa.select(sa.func.count()).select_from(platform_tags)).scalar_one()


def test_a_tag_is_made_and_put_on_fifty_at_a_time_and_only_once(
    engine: sa.Engine, account: Account, stage: Stage, now: datetime
) -> None:
    ids = people(engine, account, stage, 120, now)
    (tag,) = synced(engine, account, "微博来源")
    local = [factories.open_id(number) for number in range(1, 121)]
    give(engine, account, ids, tag, now)
    assert not tag_sync.run(engine, stage.wechat, account.id, now)
    assert stage.wearers("微博来源") == set(local)
    assert stage.calls == ["tags/get", "tags/create", TAGGING, TAGGING, TAGGING]
    stage.calls.clear()
    assert not tag_sync.run(engine, stage.wechat, account.id, now)
    assert stage.calls == []
    assert error_of(engine, tag) is None


def test_tags_that_are_not_marked_sync_stay_here(
    engine: sa.Engine, account: Account, stage: Stage, now: datetime
) -> None:
    ids = people(engine, account, stage, 1, now)
    with db.writing(engine) as session:
        tags.add(session, account.id, ids[0], ["喜欢互动"], "test", now)
    assert not tag_sync.run(engine, stage.wechat, account.id, now)
    assert stage.calls == []


def test_a_tag_of_the_same_name_is_adopted(
    engine: sa.Engine, account: Account, stage: Stage, now: datetime
) -> None:
    ids = people(engine, account, stage, 1, now)
    stage.follow(9, tags=["微博来源"])
    before = stage.tags()
    (tag,) = synced(engine, account, "微博来源")
    give(engine, account, ids, tag, now)
    tag_sync.run(engine, stage.wechat, account.id, now)
    assert stage.tags() == before
    assert stage.wearers("微博来源") == {factories.open_id(1), factories.open_id(9)}


def test_lost_expired_and_no_longer_synced_tags_are_taken_off(
    engine: sa.Engine, account: Account, stage: Stage, now: datetime
) -> None:
    ids = people(engine, account, stage, 3, now)
    first, second = synced(engine, account, "甲", "乙")
    give(engine, account, ids, first, now)
    give(engine, account, ids, second, now)
    tag_sync.run(engine, stage.wechat, account.id, now)
    with db.writing(engine) as session:
        tags.remove(session, account.id, ids[0], ["甲"])
        session.execute(
            sa.update(follower_tags)
            .where(follower_tags.c.follower_id == ids[1], follower_tags.c.tag_id == first)
            .values(expires_at=now + timedelta(days=1))
        )
        session.execute(sa.update(tags_table).where(tags_table.c.id == second).values(sync=False))
    stage.calls.clear()
    tag_sync.run(engine, stage.wechat, account.id, now + timedelta(days=1))
    assert stage.wearers("甲") == {factories.open_id(3)}
    assert stage.wearers("乙") == set()
    assert stage.calls == [UNTAGGING, UNTAGGING]
    assert mirrored(engine) == 1


def test_a_follower_over_twenty_keeps_the_oldest_and_the_tag_says_so(
    engine: sa.Engine, account: Account, stage: Stage, now: datetime
) -> None:
    ids = people(engine, account, stage, 2, now)
    made = synced(engine, account, *(f"标签{number}" for number in range(22)))
    for age, tag in enumerate(reversed(made)):  # the one with the highest id is the oldest
        give(engine, account, ids[:1], tag, now - timedelta(days=100 - age))
    give(engine, account, ids[1:], made[0], now)
    assert not tag_sync.run(engine, stage.wechat, account.id, now, calls=200)
    assert stage.wearers("标签0") == {factories.open_id(2)}
    assert stage.wearers("标签1") == set()
    assert stage.wearers("标签2") == {factories.open_id(1)}
    assert [error_of(engine, tag) for tag in made[2:]] == [None] * 20
    assert "1 位粉丝" in str(error_of(engine, made[1]))
    with db.writing(engine) as session:
        tags.remove(session, account.id, ids[0], ["标签20", "标签21"])
    tag_sync.run(engine, stage.wechat, account.id, now, calls=200)
    assert stage.wearers("标签1") == {factories.open_id(1)}
    assert error_of(engine, made[1]) is None


def test_names_and_numbers_beyond_the_limits_are_written_on_the_tag(
    engine: sa.Engine, account: Account, stage: Stage, now: datetime
) -> None:
    stage.follow(1, tags=[f"旧{number}" for number in range(99)])
    long, fits, late, system = synced(engine, account, "长" * 11, "正好", "晚了", "星标组")
    tag_sync.run(engine, stage.wechat, account.id, now)
    assert "30 字节" in str(error_of(engine, long))
    assert error_of(engine, fits) is None
    assert "100 个" in str(error_of(engine, late))
    assert error_of(engine, system)
    stage.calls.clear()
    tag_sync.run(engine, stage.wechat, account.id, now)
    assert stage.calls == []  # until somebody changes something
    with db.writing(engine) as session:
        tag_sync.start_over(session, account.id)
    tag_sync.run(engine, stage.wechat, account.id, now)
    assert "tags/get" in stage.calls


@pytest.mark.parametrize(("code", "said"), [(45056, "100"), (45157, "拒绝"), (45158, "30 字节")])
def test_a_refused_name_is_written_on_the_tag(
    engine: sa.Engine, account: Account, stage: Stage, now: datetime, code: int, said: str
) -> None:
    (tag,) = synced(engine, account, "甲")
    stage.platform.fault("/cgi-bin/tags/create", "errcode", errcode=code)
    tag_sync.run(engine, stage.wechat, account.id, now)
    assert said in str(error_of(engine, tag))


def test_a_run_stops_after_its_calls_and_the_next_goes_on(
    engine: sa.Engine, account: Account, stage: Stage, now: datetime
) -> None:
    ids = people(engine, account, stage, 120, now)
    (tag,) = synced(engine, account, "甲")
    give(engine, account, ids, tag, now)
    assert tag_sync.run(engine, stage.wechat, account.id, now, calls=2)
    assert len(stage.wearers("甲")) == 100
    assert not tag_sync.run(engine, stage.wechat, account.id, now, calls=2)
    assert len(stage.wearers("甲")) == 120


def test_one_who_left_without_a_push_does_not_hold_up_the_others(
    engine: sa.Engine, account: Account, stage: Stage, now: datetime
) -> None:
    ids = people(engine, account, stage, 10, now - timedelta(days=1))
    (tag,) = synced(engine, account, "甲")
    give(engine, account, ids, tag, now)
    with db.writing(engine) as session:  # 49003: never was a follower there
        foreign = factories.make_follower(session, account.id, 99, now=now - timedelta(days=1))
    give(engine, account, [foreign], tag, now)
    stage.leave_silently(4)  # 50005
    tag_sync.run(engine, stage.wechat, account.id, now)
    assert len(stage.wearers("甲")) == 9
    with db.reading(engine) as session:
        gone = session.execute(
            sa.select(table.c.id).where(table.c.subscribed.is_(sa.false())).order_by(table.c.id)
        ).scalars()
        assert list(gone) == [ids[3], foreign]


def test_who_has_twenty_there_by_other_hands_is_skipped_and_shown(
    engine: sa.Engine, account: Account, stage: Stage, now: datetime
) -> None:
    stage.follow(1, tags=[f"旧{number}" for number in range(20)])
    ids = people(engine, account, stage, 4, now)
    (tag,) = synced(engine, account, "甲")
    give(engine, account, ids, tag, now)
    assert not tag_sync.run(engine, stage.wechat, account.id, now)
    assert len(stage.wearers("甲")) == 3
    assert "1 位粉丝" in str(error_of(engine, tag))


def test_a_spurious_invalid_tag_is_asked_about_and_tried_once_more(
    engine: sa.Engine, account: Account, stage: Stage, now: datetime
) -> None:
    ids = people(engine, account, stage, 1, now)
    (tag,) = synced(engine, account, "甲")
    give(engine, account, ids, tag, now)
    stage.platform.fault(f"/cgi-bin/{TAGGING}", "errcode", errcode=45159)
    tag_sync.run(engine, stage.wechat, account.id, now)
    assert stage.calls[2:] == [TAGGING, "tags/get", TAGGING]
    assert len(stage.wearers("甲")) == 1


def test_a_tag_deleted_on_the_platform_is_made_anew(
    engine: sa.Engine, account: Account, stage: Stage, now: datetime
) -> None:
    ids = people(engine, account, stage, 2, now)
    (tag,) = synced(engine, account, "甲")
    give(engine, account, ids[:1], tag, now)
    tag_sync.run(engine, stage.wechat, account.id, now)
    stage.wechat.call("/cgi-bin/tags/delete", {"tag": {"id": stage.tags()["甲"]}})
    give(engine, account, ids[1:], tag, now)
    tag_sync.run(engine, stage.wechat, account.id, now)
    tag_sync.run(engine, stage.wechat, account.id, now)
    assert len(stage.wearers("甲")) == 2


def test_a_concurrent_change_is_left_for_the_next_run(
    engine: sa.Engine, account: Account, stage: Stage, now: datetime
) -> None:
    ids = people(engine, account, stage, 1, now)
    (tag,) = synced(engine, account, "甲")
    give(engine, account, ids, tag, now)
    stage.platform.fault(f"/cgi-bin/{TAGGING}", "errcode", errcode=45169)
    tag_sync.run(engine, stage.wechat, account.id, now)
    assert stage.wearers("甲") == set()
    tag_sync.run(engine, stage.wechat, account.id, now)
    assert len(stage.wearers("甲")) == 1
    assert error_of(engine, tag) is None


def test_no_answer_is_raised_and_the_next_run_says_it_all(
    engine: sa.Engine, account: Account, stage: Stage, now: datetime
) -> None:
    ids = people(engine, account, stage, 60, now)
    (tag,) = synced(engine, account, "甲")
    give(engine, account, ids, tag, now)
    stage.platform.fault(f"/cgi-bin/{TAGGING}", "drop")
    with pytest.raises(WeChatError):
        tag_sync.run(engine, stage.wechat, account.id, now)
    assert not tag_sync.run(engine, stage.wechat, account.id, now)
    assert len(stage.wearers("甲")) == 60
    assert mirrored(engine) == 60


def test_an_account_without_the_right_is_remembered_and_left_alone(
    engine: sa.Engine, account: Account, now: datetime
) -> None:
    stage = Stage(now, verified=False)
    synced(engine, account, "甲")
    assert not tag_sync.run(engine, stage.wechat, account.id, now)
    with db.reading(engine) as session:
        assert accounts.by_id(session, account.id).rights == {"tags": False}
    stage.calls.clear()
    assert not tag_sync.run(engine, stage.wechat, account.id, now)
    assert stage.calls == []


def test_two_runs_of_one_account_never_overlap(
    engine: sa.Engine, account: Account, stage: Stage, now: datetime
) -> None:
    synced(engine, account, "甲")
    with db.writing(engine) as session:
        assert tag_sync._take_lease(session, account.id, now)
    assert not tag_sync.run(engine, stage.wechat, account.id, now)
    assert stage.calls == []
    # a killed run is forgotten when its lease is over
    tag_sync.run(engine, stage.wechat, account.id, now + timedelta(minutes=6))
    assert "甲" in stage.tags()


def test_ids_of_tags_are_made_where_missing_or_refused_with_the_reason(
    engine: sa.Engine, account: Account, stage: Stage, now: datetime
) -> None:
    synced(engine, account, "甲", "长" * 11)
    with db.writing(engine) as session:
        factories.make_tag(session, account.id, "本地")
    assert tag_sync.platform_ids(engine, stage.wechat, account.id, ["甲"]) == stage.tags()
    with pytest.raises(Refused, match="30 字节"):
        tag_sync.platform_ids(engine, stage.wechat, account.id, ["甲", "长" * 11])
    with pytest.raises(Refused, match="没有标记 sync"):
        tag_sync.platform_ids(engine, stage.wechat, account.id, ["本地"])
