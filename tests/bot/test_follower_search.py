"""Followers are found by remark, pinyin, OpenID, field, tag, source, window and days, and paged by key."""

from datetime import date, datetime, timedelta
from itertools import product
from typing import Any

import pytest
import sqlalchemy as sa

from bot import db, figures, follower_pages, follower_search
from bot.accounts import Account
from bot.errors import Invalid
from bot.follower_search import Wanted, remark_key
from bot.tables.followers import reply_windows
from tests import factories


@pytest.mark.parametrize(
    ("remark", "key"),
    [
        ("张三", "张三 zs zhangsan"),
        ("重慶門店VIP", "重庆门店vip cqmdvip chongqingmendianvip"),
        ("Ａnn Li", "ann li annli"),
        ("", None),
        (None, None),
    ],
)
def test_a_remark_is_found_by_itself_its_initials_and_its_pinyin(
    remark: str | None, key: str | None
) -> None:
    assert remark_key(remark) == key


@pytest.fixture
def people(account: Account, session: db.Session, now: datetime) -> dict[str, int]:
    """Six followers, each with something of their own."""
    other = factories.make_account(session, "other", now=now)
    days = {name: now - timedelta(days=number) for number, name in enumerate("abcdef")}

    def make(number: int, name: str, **values: Any) -> int:
        remark = values.get("remark")
        return factories.make_follower(
            session,
            account.id,
            number,
            now=now,
            subscribed_at=days[name],
            remark_search=remark_key(remark),
            **values,
        )

    found = {
        "a": make(1, "a", remark="王小明", first_source="store_01"),
        "b": make(2, "b", remark="王晓梅", fields={"肤质": "油", "年龄": 30}),
        "c": make(3, "c", opted_out_at=now, last_active_at=now - timedelta(days=2)),
        "d": make(4, "d", subscribed=False, unsubscribed_at=now),
        "e": make(5, "e", last_active_at=now - timedelta(days=40)),
        "f": make(6, "f", subscribed=False, erased_at=now),
    }
    factories.make_follower(session, other, 9, now=now, remark="王小明", remark_search="王小明")
    tag = factories.make_tag(session, account.id, "会员")
    for name in "ae":
        factories.give_tag(session, account.id, found[name], tag, now=now)
    session.execute(
        sa.insert(reply_windows).values(
            follower_id=found["b"],
            opened_by="message",
            account_id=account.id,
            opened_at=now,
            expires_at=now + timedelta(hours=1),
            left=2,
        )
    )
    return found


def names(people: dict[str, int], lines: Any) -> str:
    of = {row_id: name for name, row_id in people.items()}
    return "".join(of[line.id] for line in lines)


LOOKED_FOR = (
    (Wanted(), "abce"),
    (Wanted(status="left"), "d"),
    (Wanted(status="all"), "abcde"),
    (Wanted(query="小明"), "a"),
    (Wanted(query="WXM"), "ab"),
    (Wanted(query="wang xiaomei"), "b"),
    (Wanted(query="wangxiaom"), "ab"),
    (Wanted(query="100%_"), ""),
    (Wanted(query="肤质=油"), "b"),
    (Wanted(query="年龄=30"), "b"),
    (Wanted(query=factories.open_id(3)), "c"),
    (Wanted(query="o_test_0"), "abce"),
    (Wanted(tag="会员"), "ae"),
    (Wanted(tag="没有"), ""),
    (Wanted(tag="会员", query="小明"), "a"),
    (Wanted(scene="store_01"), "a"),
    (Wanted(opted_out=True), "c"),
    (Wanted(opted_out=False), "abe"),
    (Wanted(window=True), "b"),
    (Wanted(active_days=7), "c"),
    (Wanted(active_days=-30), "abe"),
    (Wanted(followed_from=date(2025, 3, 2)), "ab"),
    (Wanted(followed_until=date(2025, 3, 1)), "ce"),
)


def test_what_is_looked_for_is_found_and_counted(
    people: dict[str, int], account: Account, session: db.Session, now: datetime
) -> None:
    for wanted, expected in LOOKED_FOR:
        found = follower_pages.page(session, account.id, wanted, now, whole_ids=True)
        assert names(people, found.lines) == expected, wanted
        assert found.total == follower_pages.Total(len(expected)), wanted
        counted = follower_search.count(session, account.id, wanted, now, whole_ids=True)
        assert counted == len(expected), wanted
        assert Wanted.from_json(wanted.to_json()) == wanted


def test_without_the_right_an_openid_finds_nobody(
    people: dict[str, int], account: Account, session: db.Session, now: datetime
) -> None:
    for query in (factories.open_id(3), "o_test_0", "0003"):
        found = follower_pages.page(session, account.id, Wanted(query=query), now)
        assert not found.lines


@pytest.mark.parametrize("gather", [30_000, 3])
@pytest.mark.parametrize("probe", [5_000, 4])
def test_pages_by_key_show_everybody_once_however_they_are_found(
    account: Account,
    session: db.Session,
    now: datetime,
    gather: int,
    probe: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # the bounds between the ways of finding a page, which only a million followers would reach
    monkeypatch.setattr(follower_pages, "GATHER", gather)
    monkeypatch.setattr(follower_pages, "PROBE", probe)
    tag = factories.make_tag(session, account.id, "会员")
    for number in range(14):
        moment = now - timedelta(days=number % 5)
        follower = factories.make_follower(
            session,
            account.id,
            number,
            now=now,
            subscribed_at=None if number % 4 == 3 else moment,
            last_active_at=None if number % 3 == 0 else moment,
        )
        if number % 2:
            factories.give_tag(session, account.id, follower, tag, now=now)
    for wanted, people in ((Wanted(), 14), (Wanted(tag="会员"), 7)):
        for sort, down in product(follower_pages.SORTS, (True, False)):
            seen: list[int] = []
            after: str | None = None
            for _ in range(10):
                page = follower_pages.page(
                    session, account.id, wanted, now, sort=sort, down=down, after=after, limit=3
                )
                assert page.total.people == people
                seen += [line.id for line in page.lines]
                after = page.after
                if after is None:
                    break
            whole = follower_pages.page(session, account.id, wanted, now, sort=sort, down=down)
            assert seen == [line.id for line in whole.lines], (sort, down)
            assert len(set(seen)) == people


def test_a_count_that_would_take_long_says_at_least(
    account: Account, session: db.Session, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follower_pages, "GATHER", 2)
    monkeypatch.setattr(follower_pages, "COUNTED", 5)
    factories.make_followers(session, account.id, 8, now=now)
    found = follower_pages.page(session, account.id, Wanted(opted_out=False), now)
    assert found.total == follower_pages.Total(5, more=True)


def test_a_key_that_is_none_is_refused(
    account: Account, session: db.Session, now: datetime
) -> None:
    bad = ("x", "%%%", "W10", "bnVsbA", "WyJpZCIsbnVsbCwiMSJd", "WyJmb2xsb3dlZCIsIjIwMjUiLDFd", "é")
    for after in bad:
        with pytest.raises(Invalid):
            follower_pages.page(session, account.id, Wanted(), now, after=after)


def test_all_of_them_are_walked_in_pieces(
    engine: sa.Engine, account: Account, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follower_search, "BATCH", 3)
    with db.writing(engine) as session:
        ids = factories.make_followers(session, account.id, 8, now=now)
    found = [line.id for line in follower_search.every(engine, account.id, Wanted(), now)]
    assert found == ids


def test_a_large_account_is_counted_by_a_job_and_says_when(
    engine: sa.Engine, account: Account, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(figures, "LIVE", 2)
    with db.writing(engine) as session:
        factories.make_followers(session, account.id, 5, now=now)
    follower_pages.recount(engine, account.id, now)
    with db.writing(engine) as session:
        factories.make_follower(session, account.id, 90, now=now)
    later = now + timedelta(minutes=5)
    with db.reading(engine) as session:
        kept, old = (
            follower_pages.page(session, account.id, Wanted(status="all"), at).total
            for at in (later, now + timedelta(hours=2))
        )
    assert kept == follower_pages.Total(5, counted_at=now)
    assert old == follower_pages.Total(6)
