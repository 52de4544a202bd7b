"""QR scenes: kept, made on the sandbox, drawn, expired, counted."""

from datetime import date, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from bot import accounts, db, events, scenes
from bot.accounts import Account
from bot.db import Session
from bot.errors import Invalid, Refused, WeChatError
from tests import factories
from tests.bot.stage import Stage


@pytest.fixture
def stage(now: datetime) -> Stage:
    return Stage(now)


def save(engine: sa.Engine, account: Account, key: str = "wb_bio", **values: Any) -> None:
    with db.writing(engine) as session:
        scenes.save(session, account.id, **({"key": key, "name": "微博主页"} | values))


def stored(engine: sa.Engine, account: Account, key: str = "wb_bio") -> scenes.Scene:
    with db.reading(engine) as session:
        return scenes.get(session, account.id, key)


def test_a_permanent_code_is_made_once(
    engine: sa.Engine, account: Account, stage: Stage, now: datetime
) -> None:
    save(engine, account, tags=["微博来源"], group="微博")
    assert stored(engine, account).status(now) == "missing"
    made = scenes.make(engine, stage.wechat, account.id, "wb_bio", now)
    assert made.status(now + timedelta(days=4000)) == "ready"
    assert made.tags == ("微博来源",)
    assert scenes.make(engine, stage.wechat, account.id, "wb_bio", now) == made
    save(engine, account, name="新名字")  # a change of name keeps the code
    assert stored(engine, account).url == made.url
    assert stage.calls == ["qrcode/create"]


def test_a_temporary_code_expires_and_is_made_anew_on_demand(
    engine: sa.Engine, account: Account, stage: Stage, now: datetime
) -> None:
    save(engine, account, permanent=False, expire_seconds=3600)
    made = scenes.make(engine, stage.wechat, account.id, "wb_bio", now)
    assert made.expires_at == now + timedelta(hours=1)
    later = now + timedelta(hours=1)
    assert made.status(later - timedelta(seconds=1)) == "ready"
    assert made.status(later) == "expired"
    again = scenes.make(engine, stage.wechat, account.id, "wb_bio", later)
    assert again.status(later) == "ready"
    assert stage.calls == ["qrcode/create"] * 2


def test_codes_never_made_are_made_some_at_a_time_and_a_refused_one_is_shown(
    engine: sa.Engine, account: Account, stage: Stage, now: datetime
) -> None:
    for number in range(5):
        save(engine, account, f"s{number}")
    stage.platform.fault("/cgi-bin/qrcode/create", "errcode", errcode=45029)
    assert scenes.make_missing(engine, stage.wechat, account.id, now, limit=3)
    assert not scenes.make_missing(engine, stage.wechat, account.id, now, limit=3)
    statuses = [stored(engine, account, f"s{number}").status(now) for number in range(5)]
    assert statuses == ["failed", "ready", "ready", "ready", "ready"]
    assert "45029" in str(stored(engine, account, "s0").error)
    assert scenes.make(engine, stage.wechat, account.id, "s0", now).error is None


def test_no_answer_is_raised_and_may_be_tried_again(
    engine: sa.Engine, account: Account, stage: Stage, now: datetime
) -> None:
    save(engine, account)
    stage.platform.fault("/cgi-bin/qrcode/create", "http_500", times=None)
    with pytest.raises(WeChatError):
        scenes.make(engine, stage.wechat, account.id, "wb_bio", now)
    assert stored(engine, account).error
    stage.platform.clear_faults()
    assert scenes.make(engine, stage.wechat, account.id, "wb_bio", now).status(now) == "ready"


def test_a_subscription_account_has_no_codes_and_it_is_remembered(
    engine: sa.Engine, account: Account, now: datetime
) -> None:
    stage = Stage(now, kind="subscription")
    save(engine, account, "a")
    save(engine, account, "b")
    assert not scenes.make_missing(engine, stage.wechat, account.id, now)
    assert stage.calls == ["qrcode/create"]
    with db.reading(engine) as session:
        assert accounts.by_id(session, account.id).rights == {"qrcodes": False}


def test_the_picture_says_what_the_platform_gave(
    engine: sa.Engine, account: Account, stage: Stage, now: datetime
) -> None:
    save(engine, account)
    with pytest.raises(Refused, match="还没有"):
        scenes.image(stored(engine, account))
    made = scenes.make(engine, stage.wechat, account.id, "wb_bio", now)
    assert scenes.image(made).startswith(b"\x89PNG\r\n")
    assert b"<svg" in scenes.image(made, "svg")
    with pytest.raises(Invalid):
        scenes.image(made, "bmp")


@pytest.mark.parametrize(
    "values",
    [
        {"key": "x" * 65},
        {"key": ""},
        {"key": "wb_*"},
        {"expire_seconds": 60},
        {"permanent": False, "expire_seconds": 2_592_001},
        {"permanent": False, "expire_seconds": 5},
    ],
)
def test_scenes_the_platform_would_not_take_are_invalid(
    account: Account, session: Session, values: dict[str, Any]
) -> None:
    with pytest.raises(Invalid):
        scenes.save(session, account.id, **({"key": "k", "name": "n"} | values))


def test_a_permanent_code_cannot_become_a_temporary_one_but_the_other_way_it_can(
    engine: sa.Engine, account: Account, stage: Stage, now: datetime
) -> None:
    save(engine, account, permanent=False)
    first = scenes.make(engine, stage.wechat, account.id, "wb_bio", now)
    assert first.expire_seconds == 2_592_000
    save(engine, account, permanent=True)
    assert stored(engine, account).status(now) == "missing"
    scenes.make(engine, stage.wechat, account.id, "wb_bio", now)
    with pytest.raises(Refused, match="永久"):
        save(engine, account, permanent=False)


def test_an_archived_scene_is_gone_until_saved_again(
    account: Account, session: Session, now: datetime
) -> None:
    scenes.save(session, account.id, key="a", name="甲")
    scenes.archive(session, account.id, "a", now)
    assert scenes.every(session, account.id) == []
    with pytest.raises(Refused):
        scenes.get(session, account.id, "a")
    scenes.save(session, account.id, key="a", name="甲")
    assert [scene.key for scene in scenes.every(session, account.id)] == ["a"]


def test_follows_and_scans_are_counted_apart_by_scene_and_shanghai_day(
    account: Account, session: Session
) -> None:
    moment = factories.at("2025-03-03 00:30")  # still the second of March in UTC
    ids = [factories.make_follower(session, account.id, number, now=moment) for number in (1, 2, 3)]
    told: list[tuple[int, str, str, str | None]] = [
        (0, "subscribe", "2025-03-03 00:30", "wb_bio"),
        (1, "subscribe", "2025-03-03 23:59", "wb_bio"),
        (0, "scan", "2025-03-03 12:00", "wb_bio"),
        (0, "scan", "2025-03-04 00:00", "wb_bio"),
        (2, "scan", "2025-03-04 10:00", "shop"),
        (2, "subscribe", "2025-03-03 10:00", None),
        (2, "menu_click", "2025-03-03 10:00", "wb_bio"),
        (0, "scan", "2025-03-05 00:00", "wb_bio"),
    ]
    for who, kind, at, key in told:
        events.record(session, account.id, ids[who], kind, factories.at(at), key=key)
    assert scenes.report(session, account.id, date(2025, 3, 3), date(2025, 3, 4)) == [
        scenes.DayOfScene("wb_bio", date(2025, 3, 3), follows=2, scans=1, people=2),
        scenes.DayOfScene("shop", date(2025, 3, 4), follows=0, scans=1, people=1),
        scenes.DayOfScene("wb_bio", date(2025, 3, 4), follows=0, scans=1, people=1),
    ]
