"""Menus against the sandbox: what is told, in which order, and what is kept when it fails."""

from datetime import datetime
from typing import Any

import pytest
import sqlalchemy as sa

from bot import accounts, db, menus
from bot.accounts import Account
from bot.errors import Invalid, Refused, WeChatError
from tests import factories
from tests.bot.stage import Stage

MENU = [
    {"name": "领券", "click": "M_COUPON"},
    {"name": "更多", "sub": [{"name": "商城", "view": "https://example.com/mall"}]},
]
WEIBO = [{"name": "微博专享", "click": "M_WEIBO"}]
LOYAL = [{"name": "老客", "click": "M_LOYAL"}]
PERSONAL = [{"tag": "微博来源", "menu": WEIBO}, {"tag": "老客", "menu": LOYAL}]


@pytest.fixture
def stage(now: datetime) -> Stage:
    return Stage(now)


def save(engine: sa.Engine, account: Account, menu: Any, personal: Any = ()) -> None:
    with db.writing(engine) as session:
        menus.save(session, account.id, menu, personal)


def stored(engine: sa.Engine, account: Account) -> menus.Menus:
    with db.reading(engine) as session:
        return menus.get(session, account.id)


def synced(engine: sa.Engine, account: Account, *names: str) -> None:
    with db.writing(engine) as session:
        for name in names:
            factories.make_tag(session, account.id, name, sync=True)


def shown(stage: Stage, number: int) -> str:
    """The name of the first button a follower sees."""
    found = stage.wechat.call("/cgi-bin/menu/trymatch", {"user_id": factories.open_id(number)})
    stage.calls.pop()
    return str(found["button"][0]["name"])


def test_a_menu_is_published_once_and_again_only_when_it_changed(
    engine: sa.Engine, account: Account, stage: Stage, now: datetime
) -> None:
    stage.follow(1)
    save(engine, account, MENU)
    assert stored(engine, account).waiting
    assert menus.publish(engine, stage.wechat, account.id, now)
    assert stage.calls == ["menu/create"]
    assert shown(stage, 1) == "领券"
    assert not stored(engine, account).waiting
    save(engine, account, MENU)
    assert not menus.publish(engine, stage.wechat, account.id, now)
    save(engine, account, LOYAL)
    assert menus.publish(engine, stage.wechat, account.id, now)
    assert stage.calls == ["menu/create", "menu/create"]


def test_an_account_without_a_menu_of_ours_is_left_alone(
    engine: sa.Engine, account: Account, stage: Stage, now: datetime
) -> None:
    assert not menus.publish(engine, stage.wechat, account.id, now)
    save(engine, account, None)
    assert not menus.publish(engine, stage.wechat, account.id, now)
    assert stage.calls == []


def test_personal_menus_are_added_from_last_to_first_so_that_the_first_is_tried_first(
    engine: sa.Engine, account: Account, stage: Stage, now: datetime
) -> None:
    stage.follow(1, tags=["微博来源"])
    stage.follow(2, tags=["老客"])
    stage.follow(3)
    synced(engine, account, "微博来源", "老客")
    save(engine, account, MENU, PERSONAL)
    menus.publish(engine, stage.wechat, account.id, now)
    newest_first = [
        row["button"]
        for row in stage.wechat.call("/cgi-bin/menu/get")["conditionalmenu"]  # newest first
    ]
    assert [buttons[0]["name"] for buttons in newest_first] == ["微博专享", "老客"]
    assert [shown(stage, number) for number in (1, 2, 3)] == ["微博专享", "老客", "领券"]


def test_changed_personal_menus_replace_the_old_and_leave_the_default_one(
    engine: sa.Engine, account: Account, stage: Stage, now: datetime
) -> None:
    stage.follow(1, tags=["微博来源"])
    synced(engine, account, "微博来源", "老客")
    save(engine, account, MENU, PERSONAL)
    menus.publish(engine, stage.wechat, account.id, now)
    stage.calls.clear()
    save(engine, account, MENU, [{"tag": "微博来源", "menu": LOYAL}])
    menus.publish(engine, stage.wechat, account.id, now)
    assert stage.calls == [
        "menu/get",
        "menu/delconditional",
        "menu/delconditional",
        "menu/addconditional",
    ]
    assert shown(stage, 1) == "老客"
    save(engine, account, MENU)
    menus.publish(engine, stage.wechat, account.id, now)
    assert shown(stage, 1) == "领券"


def test_a_tag_that_is_not_on_the_platform_yet_is_made_first(
    engine: sa.Engine, account: Account, stage: Stage, now: datetime
) -> None:
    synced(engine, account, "微博来源")
    save(engine, account, MENU, PERSONAL[:1])
    menus.publish(engine, stage.wechat, account.id, now)
    assert list(stage.tags()) == ["微博来源"]


def test_a_tag_without_sync_is_refused_and_the_reason_is_shown(
    engine: sa.Engine, account: Account, stage: Stage, now: datetime
) -> None:
    with db.writing(engine) as session:
        factories.make_tag(session, account.id, "微博来源")
    save(engine, account, MENU, PERSONAL[:1])
    with pytest.raises(Refused, match="没有标记 sync"):
        menus.publish(engine, stage.wechat, account.id, now)
    assert "没有标记 sync" in str(stored(engine, account).error)
    assert stage.calls == []


def test_a_failure_half_way_is_stored_and_the_retry_leaves_no_doubles(
    engine: sa.Engine, account: Account, stage: Stage, now: datetime
) -> None:
    synced(engine, account, "微博来源", "老客")
    save(engine, account, MENU, PERSONAL)
    # the second personal menu is made, but the answer is lost
    stage.platform.fault("/cgi-bin/menu/addconditional", "drop")
    with pytest.raises(WeChatError):
        menus.publish(engine, stage.wechat, account.id, now)
    kept = stored(engine, account)
    assert kept.error
    assert kept.waiting
    stage.calls.clear()
    menus.publish(engine, stage.wechat, account.id, now)
    assert stage.calls.count("menu/create") == 0
    found = stage.wechat.call("/cgi-bin/menu/get")["conditionalmenu"]
    assert [menu["button"][0]["name"] for menu in found] == ["微博专享", "老客"]
    assert stored(engine, account).error is None


def test_an_account_without_the_right_says_so_and_it_is_remembered(
    engine: sa.Engine, account: Account, stage: Stage, now: datetime
) -> None:
    save(engine, account, MENU)
    stage.platform.fault("/cgi-bin/menu/create", "errcode", errcode=48001)
    with pytest.raises(WeChatError):
        menus.publish(engine, stage.wechat, account.id, now)
    with db.reading(engine) as session:
        assert accounts.by_id(session, account.id).rights == {"menu": False}


@pytest.mark.parametrize(
    ("menu", "personal", "places"),
    [
        (MENU, PERSONAL, []),
        (None, [], []),
        ([], [], ["menu"]),
        ([{"name": "长" * 6, "click": "k"}], [], ["menu.0.name"]),
        ([{"name": "a"}] * 4, [], ["menu", "menu.0", "menu.1", "menu.2", "menu.3"]),
        (None, PERSONAL, ["personal_menus"]),
        (MENU, "x", ["personal_menus"]),
        (MENU, [{"tag": "a"}, 3], ["personal_menus.0", "personal_menus.1"]),
        (MENU, [{"tag": "", "menu": MENU}], ["personal_menus.0.tag"]),
        (MENU, [PERSONAL[0], PERSONAL[0]], ["personal_menus.1.tag"]),
        (
            MENU,
            [{"tag": "a", "menu": [{"name": "b", "view": "x"}]}],
            ["personal_menus.0.menu.0.view"],
        ),
        (
            MENU,
            [
                {"tag": str(n), "menu": [{"name": "b", "view": f"https://{n}.com/"}]}
                for n in range(4)
            ],
            ["personal_menus"],
        ),
    ],
)
def test_every_problem_of_the_menus_is_told_with_its_place(
    menu: Any, personal: Any, places: list[str]
) -> None:
    assert [place for place, _ in menus.problems(menu, personal)] == places


def test_a_menu_with_a_problem_is_not_saved(
    engine: sa.Engine, account: Account, now: datetime
) -> None:
    with pytest.raises(Invalid):
        save(engine, account, [])
    assert stored(engine, account) == menus.NONE
