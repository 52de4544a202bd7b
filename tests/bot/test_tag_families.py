"""Tags are made, renamed, merged and put away; whatever names them follows, people lose nothing."""

from datetime import datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from bot import db, mentions, menus, rulebook, scenes, tag_families, tag_merge, tag_people
from bot.accounts import Account
from bot.audiences import segments
from bot.errors import Invalid, Refused
from bot.follower_search import Wanted
from bot.tables.accounts import menus as menus_table
from bot.tables.followers import follower_tags
from bot.tables.followers import tags as tags_table
from bot.tables.jobs import jobs
from bot.tables.rulebooks import rules
from tests import factories
from tests.bot.stage import Stage


def rule(tag: str) -> dict[str, Any]:
    return {
        "name": "领券",
        "when": [{"follower_tag": {"lacks": tag}}],
        "then": [{"add_tag": {"tags": [tag, "老会员"]}}, {"reply": {"text": "好"}}],
    }


@pytest.fixture
def named(engine: sa.Engine, account: Account, now: datetime) -> dict[str, int]:
    """Tags 会员 and 老会员; everything that can names 会员, the rule is published."""
    with db.writing(engine) as session:
        ids = {
            "会员": factories.make_tag(session, account.id, "会员", sync=True),
            "老会员": factories.make_tag(session, account.id, "老会员"),
        }
        session.execute(
            sa.insert(rules).values(
                account_id=account.id, name="领券", position=0, body=rule("会员"), origin="file"
            )
        )
        body = {"rules": [rule("会员")], "fallback": None}
        rulebook.publish(session, account.id, body, by="Ann", note="", now=now)
        where = {"all": [{"tag": {"any": ["会员", "老会员"]}}]}
        segments.save(session, account.id, "老客", where, now)
        scenes.save(session, account.id, key="store_01", name="一店", tags=["会员"])
        menu = [{"name": "商城", "click": "M"}]
        menus.save(session, account.id, menu, [{"tag": "会员", "menu": menu}])
        return ids


def wearers(session: db.Session, tag_id: int) -> dict[int, Any]:
    rows = session.execute(sa.select(follower_tags).where(follower_tags.c.tag_id == tag_id))
    return {row.follower_id: row for row in rows}


def give(session: db.Session, account: Account, who: int, tag: int, at: datetime, **v: Any) -> None:
    given = {"origin": "rule:领券", "caused_by": 7} | v
    session.execute(
        sa.insert(follower_tags).values(
            account_id=account.id, follower_id=who, tag_id=tag, added_at=at, **given
        )
    )


def test_a_new_name_is_written_wherever_the_old_one_was(
    named: dict[str, int], engine: sa.Engine, account: Account, now: datetime
) -> None:
    with db.writing(engine) as session:
        found = mentions.of_tag(session, account.id, "会员")
        assert (found.rules, found.segments, found.scenes) == (["领券"], ["老客"], ["store_01"])
        assert found.menu
        assert found.in_force
        tag = tag_families.change(
            session,
            account.id,
            named["会员"],
            name="VIP会员",
            family="价值",
            sync=True,
            expires_after_days=90,
            by="Ann",
            now=now,
        )
        assert (tag.name, tag.family, tag.expires_after_days) == ("VIP会员", "价值", 90)
        assert not mentions.of_tag(session, account.id, "会员")
        assert mentions.of_tag(session, account.id, "VIP会员") == found
        draft = rulebook.drafts(session, account.id)[0]
        assert draft.body == rule("VIP会员")
        assert draft.version == 2
        # what is in force names it too, under a number of its own
        assert rulebook.head(session, account.id) == 2
        assert rulebook.snapshot(session, account.id, 2)["rules"] == [rule("VIP会员")]
        assert rulebook.snapshot(session, account.id, 1)["rules"] == [rule("会员")]


def test_unpublished_edits_stay_unpublished_by_a_rename(
    named: dict[str, int], engine: sa.Engine, account: Account, now: datetime
) -> None:
    with db.writing(engine) as session:
        edited = rule("会员") | {"continue": True}
        session.execute(sa.update(rules).values(body=edited))
        values = {"family": "价值", "sync": False, "expires_after_days": None}
        tag_families.change(
            session, account.id, named["会员"], name="新", by="Ann", now=now, **values
        )
        assert "continue" not in rulebook.snapshot(session, account.id, 2)["rules"][0]
        assert rulebook.drafts(session, account.id)[0].body["continue"] is True


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"name": "老会员"}, "name"),
        ({"name": ""}, "name"),
        ({"name": "字" * 61}, "name"),
        ({"name": "a\tb"}, "name"),
        ({"family": "别的"}, "family"),
        ({"expires_after_days": 0}, "expires_after_days"),
    ],
)
def test_what_no_tag_can_be_is_refused_beside_its_field(
    named: dict[str, int],
    engine: sa.Engine,
    account: Account,
    now: datetime,
    values: dict[str, Any],
    field: str,
) -> None:
    given: dict[str, Any] = {
        "name": "会员",
        "family": "价值",
        "sync": False,
        "expires_after_days": None,
    }
    with db.writing(engine) as session, pytest.raises(Invalid) as problem:
        tag_families.change(
            session, account.id, named["会员"], by="Ann", now=now, **(given | values)
        )
    assert problem.value.field == field


def test_a_merge_keeps_the_earlier_origin_and_the_longer_life(
    named: dict[str, int], engine: sa.Engine, account: Account, now: datetime
) -> None:
    old, new = named["会员"], named["老会员"]
    day = timedelta(days=1)
    with db.writing(engine) as session:
        lan, ming, wei = factories.make_followers(session, account.id, 3, now=now)
        give(session, account, lan, old, now - 2 * day, origin="scene:store_01", caused_by=1)
        give(session, account, lan, new, now, expires_at=now + day, caused_by=2)
        give(session, account, ming, old, now, expires_at=now + 3 * day)
        give(session, account, ming, new, now - day, origin="import:Ann", expires_at=now + day)
        give(session, account, wei, old, now)
        found, job_id = tag_merge.merge(session, account.id, "会员", "老会员", by="Ann", now=now)
        assert (found.people, found.both, job_id) == (3, 2, None)
        assert wearers(session, old) == {}
        worn = wearers(session, new)
        assert set(worn) == {lan, ming, wei}
        assert (worn[lan].origin, worn[lan].caused_by) == ("scene:store_01", 1)
        assert worn[lan].added_at == now - 2 * day
        assert worn[lan].expires_at is None
        assert (worn[ming].origin, worn[ming].expires_at) == ("import:Ann", now + 3 * day)
        into = tag_families.get(session, account.id, "老会员")
        assert into.sync, "menus and sends of the platform need the tag that is left"
        assert into.people == 3
        assert not mentions.of_tag(session, account.id, "会员")
        # a list of names holds each once
        assert rulebook.drafts(session, account.id)[0].body["then"][0] == {
            "add_tag": {"tags": ["老会员"]}
        }
        where = segments.get(session, account.id, "老客").where
        assert where == {"all": [{"tag": {"any": ["老会员"]}}]}
        assert [one.name for one in tag_families.every(session, account.id, archived=True)] == [
            "会员"
        ]


def test_two_personal_menus_of_one_tag_become_the_first(
    named: dict[str, int], engine: sa.Engine, account: Account, now: datetime
) -> None:
    menu = [{"name": "商城", "click": "M"}]
    other = [{"name": "另一个", "click": "N"}]
    with db.writing(engine) as session:
        listed = [{"tag": "会员", "menu": menu}, {"tag": "老会员", "menu": other}]
        session.execute(
            sa.update(menus_table).values(
                personal=listed, draft={"menu": menu, "personal": listed, "version": 1}
            )
        )
        tag_merge.merge(session, account.id, "会员", "老会员", by="Ann", now=now)
        row = session.execute(sa.select(menus_table)).one()
        assert row.personal == row.draft["personal"] == [{"tag": "老会员", "menu": menu}]


@pytest.mark.parametrize(
    ("source", "into"), [("会员", "会员"), ("会员", "没有"), ("没有", "会员"), ("归档", "会员")]
)
def test_a_merge_that_cannot_be_is_refused(
    named: dict[str, int],
    engine: sa.Engine,
    account: Account,
    now: datetime,
    source: str,
    into: str,
) -> None:
    with db.writing(engine) as session:
        factories.make_tag(session, account.id, "归档", archived_at=now)
        with pytest.raises(Refused):
            tag_merge.merge(session, account.id, source, into, by="Ann", now=now)
        assert len(tag_families.every(session, account.id)) == 2


def test_many_people_are_merged_in_pieces_that_may_be_interrupted(
    named: dict[str, int],
    engine: sa.Engine,
    account: Account,
    now: datetime,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # five thousand rows would only make the test slow
    monkeypatch.setattr(tag_merge, "AT_ONCE", 3)
    monkeypatch.setattr(tag_merge, "PIECE", 2)
    old, new = named["会员"], named["老会员"]
    with db.writing(engine) as session:
        ids = factories.make_followers(session, account.id, 6, now=now)
        for who in ids[:5]:
            give(session, account, who, old, now)
        found, job_id = tag_merge.merge(session, account.id, "会员", "老会员", by="Ann", now=now)
        assert found.people == 5
        assert job_id is not None
        with pytest.raises(Refused):
            tag_merge.merge(session, account.id, "老会员", "会员", by="Bo", now=now)
        with pytest.raises(Refused):
            tag_families.archive(session, account.id, new, now)
        arguments = session.execute(sa.select(jobs.c.arguments)).scalar_one()
    steps: dict[str, Any] | None = dict(arguments)
    for number in range(20):
        assert steps is not None
        # a step that is repeated after a kill changes nothing
        tag_merge.merge_piece(engine, account.id, job_id, steps, now)
        if number == 1:
            with db.writing(engine) as session:  # somebody gets the tag behind the walk's back
                give(session, account, ids[5], old, now)
                session.execute(
                    sa.delete(follower_tags).where(follower_tags.c.follower_id == ids[0])
                )
                give(session, account, ids[0], old, now)
        with db.reading(engine) as session:
            there = set(wearers(session, old)) | set(wearers(session, new))
        assert len(there) >= 5, "at no moment is anybody without both"
        steps = tag_merge.merge_piece(engine, account.id, job_id, steps, now)
        if steps is None:
            break
    with db.reading(engine) as session:
        assert set(wearers(session, new)) == set(ids)
        assert wearers(session, old) == {}
        assert session.execute(sa.select(jobs.c.progress)).scalar_one()["total"] >= 5
        assert not mentions.of_tag(session, account.id, "会员")


def test_a_tag_in_use_is_not_put_away_and_one_that_is_not_comes_back_with_its_people(
    named: dict[str, int], engine: sa.Engine, account: Account, now: datetime
) -> None:
    with db.writing(engine) as session:
        with pytest.raises(Refused):
            tag_families.archive(session, account.id, named["会员"], now)
        lonely = factories.make_tag(session, account.id, "没人用")
        who = factories.make_follower(session, account.id, now=now)
        give(session, account, who, lonely, now)
        tag_families.archive(session, account.id, lonely, now)
        with pytest.raises(Refused):
            tag_families.get(session, account.id, "没人用")
        tag_families.restore(session, account.id, lonely)
        assert set(wearers(session, lonely)) == {who}


def test_people_who_follow_are_counted_with_the_time(
    named: dict[str, int], engine: sa.Engine, account: Account, now: datetime
) -> None:
    with db.writing(engine) as session:
        lan, ming = factories.make_followers(session, account.id, 2, now=now)
        gone = factories.make_follower(session, account.id, 9, now=now, subscribed=False)
        give(session, account, lan, named["会员"], now)
        give(session, account, ming, named["会员"], now, expires_at=now - timedelta(hours=1))
        give(session, account, gone, named["会员"], now)
    tag_families.recount(engine, account.id, now)
    with db.reading(engine) as session:
        tag = tag_families.get(session, account.id, "会员")
    assert (tag.people, tag.counted_at) == (1, now)


def test_all_who_match_get_a_tag_by_a_job_and_lose_it_again(
    named: dict[str, int],
    engine: sa.Engine,
    account: Account,
    now: datetime,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tag_people, "PIECE", 2)
    wanted = Wanted(scene="store_01")
    with db.writing(engine) as session:
        ids = [
            factories.make_follower(session, account.id, number, now=now, first_source="store_01")
            for number in range(5)
        ]
        factories.make_follower(session, account.id, 8, now=now)
        tag = tag_families.get(session, account.id, "会员")
        options: dict[str, Any] = {"whole_ids": False, "by": "Ann", "total": 5, "now": now}
        for remove in (False, True):
            tag_people.tag_matching(session, account.id, tag, wanted, remove=remove, **options)
        later = factories.make_follower(session, account.id, 9, now=now, first_source="store_01")
        first, second = session.execute(sa.select(jobs).order_by(jobs.c.id)).all()
    for job, expected in ((first, set(ids)), (second, set())):
        arguments: dict[str, Any] | None = dict(job.arguments)
        while arguments is not None:
            arguments = tag_people.tag_piece(engine, account.id, job.id, arguments, now)
        with db.reading(engine) as session:
            assert set(wearers(session, tag.id)) == expected
    assert later not in ids


def test_the_platform_learns_the_new_name_and_what_it_refuses_is_written_on_the_tag(
    named: dict[str, int], engine: sa.Engine, account: Account, now: datetime
) -> None:
    stage = Stage(now)
    made = stage.wechat.call("/cgi-bin/tags/create", {"tag": {"name": "会员"}})
    with db.writing(engine) as session:
        session.execute(
            sa.update(tags_table)
            .where(tags_table.c.id == named["会员"])
            .values(wechat_id=made["tag"]["id"])
        )
    for name, there, problem in (("新会员", "新会员", False), ("长" * 20, "新会员", True)):
        with db.writing(engine) as session:
            tag_families.change(
                session,
                account.id,
                named["会员"],
                name=name,
                family="价值",
                sync=True,
                expires_after_days=None,
                by="Ann",
                now=now,
            )
        tag_families.rename_there(engine, stage.wechat, account.id, named["会员"])
        with db.reading(engine) as session:
            found = tag_families.get(session, account.id, name)
        assert list(stage.tags()) == [there]
        assert bool(found.error) is problem


def test_another_accounts_tag_is_none_of_ours(
    named: dict[str, int], engine: sa.Engine, account: Account, now: datetime
) -> None:
    with db.writing(engine) as session:
        other = factories.make_account(session, "other", now=now)
        assert tag_families.by_id(session, other, named["会员"]) is None
        assert tag_families.every(session, other) == []
        with pytest.raises(Refused):
            tag_families.archive(session, other, named["会员"], now)
