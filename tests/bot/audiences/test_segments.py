"""Trees: problems, names, sentences, storing, circles."""

from typing import Any

import pytest
import sqlalchemy as sa

from bot.accounts import Account
from bot.audiences import segments
from bot.db import Session
from bot.errors import Invalid, Refused
from bot.tables.audiences import segments as segments_table
from bot.tables.followers import followers
from tests import factories
from tests.bot.audiences.population import NOW

EXAMPLE = {
    "all": [
        {"tag": {"has": "微博来源"}},
        {"any": [{"tag": {"has": "喜欢互动"}}, {"scene": {"ever": "wb_*"}}]},
        {"not": {"did": {"event": "click", "within_days": 7}}},
    ]
}


def test_every_problem_of_a_tree_is_told_at_once_with_its_place() -> None:
    wrong = {
        "all": [
            {"tag": {}},
            {"tga": {"has": "x"}},
            {"any": []},
            {"not": {"did": {"event": "click", "times": 0, "extra": 1}}},
            {"field": {"name": "城市", "gte": True}},
            {"tag": {"has": "a"}, "did": {"event": "b"}},
            "tag",
        ]
    }
    assert [place for place, _ in segments.problems(wrong, "segments.0.where")] == [
        f"segments.0.where.all.{rest}"
        for rest in (
            "0.tag",
            "1.tga",
            "2.any",
            "3.not.did.times",
            "3.not.did.extra",
            "4.field.gte",
            "5",
            "6",
        )
    ]
    assert segments.problems(EXAMPLE) == []


@pytest.mark.parametrize("where", [None, [], "x", {}, {"all": {}}, {"not": []}, {3: 4}, {"any": 1}])
def test_odd_trees_are_problems_and_never_crash(where: Any) -> None:
    assert segments.problems(where)
    assert segments.names(where) == set()


def test_a_tree_nested_beyond_reason_is_refused() -> None:
    where: dict[str, Any] = {"all": []}
    for _ in range(5000):
        where = {"not": where}
    assert "deeper" in segments.problems(where)[0][1]


def test_names_tell_kind_name_and_place() -> None:
    where = {"any": [*EXAMPLE["all"], {"in_segment": {"name": "甲"}}, {"tag": {"any": ["x", "y"]}}]}
    assert segments.names(where, "w") == {
        ("tag", "微博来源", "w.any.0.tag.has"),
        ("tag", "喜欢互动", "w.any.1.any.0.tag.has"),
        ("scene", "wb_*", "w.any.1.any.1.scene.ever"),
        ("event", "click", "w.any.2.not.did.event"),
        ("segment", "甲", "w.any.3.in_segment.name"),
        ("tag", "x", "w.any.4.tag.any.0"),
        ("tag", "y", "w.any.4.tag.any.1"),
    }


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ({"all": []}, "全部已关注粉丝"),
        ({"tag": {"lacks": ["甲", "乙"]}}, "没有标签「甲」、「乙」"),
        (
            {"did": {"event": "click", "times": 3, "within_days": 7}},
            "最近 7 天内做至少 3 次「click」",
        ),
        ({"field": {"name": "单数", "gte": 2, "lte": 5}}, "字段「单数」不小于 2且不大于 5"),
        (
            EXAMPLE,
            "有标签「微博来源」 并且 （有标签「喜欢互动」 或者 扫过二维码「wb_*」） 并且 "
            "不满足（最近 7 天内做过「click」）",
        ),
    ],
)
def test_a_tree_reads_as_a_sentence(where: dict[str, Any], said: str) -> None:
    assert segments.sentence(where) == said


def test_saving_the_canonical_form_again_changes_nothing(
    account: Account, session: Session
) -> None:
    where = {"all": [{"did": {"event": "click", "times": 1}}, {"tag": {"any": "甲"}}]}
    first = segments.save(session, account.id, "点过", where, NOW)
    stored = segments.get(session, account.id, "点过").where
    assert stored == {"all": [{"did": {"event": "click"}}, {"tag": {"any": ["甲"]}}]}
    assert segments.normal(stored) == stored
    assert segments.save(session, account.id, "点过", stored, NOW) == first
    assert segments.every(session, account.id) == [segments.Segment(first, "点过", stored)]


def test_segments_that_name_each_other_in_a_circle_are_refused(
    account: Account, session: Session
) -> None:
    segments.save(session, account.id, "甲", {"in_segment": {"name": "乙"}}, NOW)
    with pytest.raises(Refused, match="乙"):
        segments.count(session, account.id, {"in_segment": {"name": "甲"}}, NOW)
    with pytest.raises(Invalid, match="circle: 乙 → 甲 → 乙"):
        segments.save(session, account.id, "乙", {"not": {"in_segment": {"name": "甲"}}}, NOW)


def test_a_circle_that_is_stored_all_the_same_ends_in_a_refusal(
    account: Account, session: Session
) -> None:
    segments.save(session, account.id, "甲", {"in_segment": {"name": "乙"}}, NOW)
    session.execute(
        segments_table.insert().values(
            account_id=account.id, name="乙", where={"in_segment": {"name": "甲"}}, created_at=NOW
        )
    )
    with pytest.raises(Refused, match="circle"):
        segments.count(session, account.id, {"in_segment": {"name": "甲"}}, NOW)


def test_an_archived_segment_is_gone_until_saved_again(account: Account, session: Session) -> None:
    segments.save(session, account.id, "甲", {"all": []}, NOW)
    segments.archive(session, account.id, "甲", NOW)
    assert segments.every(session, account.id) == []
    with pytest.raises(Refused):
        segments.get(session, account.id, "甲")
    segments.save(session, account.id, "甲", {"all": []}, NOW)
    assert segments.get(session, account.id, "甲").name == "甲"


def test_renaming_a_segment_renames_it_where_others_name_it(
    account: Account, session: Session
) -> None:
    segments.save(session, account.id, "甲", {"all": []}, NOW)
    segments.save(
        session, account.id, "乙", {"any": [{"not": {"in_segment": {"name": "甲"}}}]}, NOW
    )
    segments.rename(session, account.id, "甲", "丙")
    assert segments.get(session, account.id, "乙").where == {
        "any": [{"not": {"in_segment": {"name": "丙"}}}]
    }
    with pytest.raises(Refused, match="exists"):
        segments.rename(session, account.id, "丙", "乙")


def test_a_count_sees_only_the_subscribed_of_its_account(
    account: Account, session: Session
) -> None:
    other = factories.make_account(session, "other", now=NOW)
    factories.make_follower(session, account.id, 1, now=NOW)
    factories.make_follower(session, account.id, 2, now=NOW, subscribed=False)
    factories.make_follower(session, other, 3, now=NOW)
    assert segments.count(session, account.id, {"all": []}, NOW) == 1
    assert segments.count(session, account.id, {"not": {"all": []}}, NOW) == 0


def test_a_tree_that_does_not_parse_is_invalid_with_its_place(
    account: Account, session: Session
) -> None:
    with pytest.raises(Invalid) as caught:
        segments.count(session, account.id, {"all": [{"tag": {}}]}, NOW)
    assert caught.value.field == "all.0.tag"


@pytest.mark.sqlite
@pytest.mark.parametrize(
    "where",
    [
        {"did": {"event": "click"}},
        {"did": {"event": "click", "times": 3, "within_days": 7}},
        {"did_not": {"event": "click"}},
        {"scene": {"ever": "wb_*"}},
    ],
    ids=str,
)
def test_events_are_read_by_follower_even_where_the_database_has_no_statistics(
    account: Account, session: Session, where: dict[str, Any]
) -> None:
    asked = sa.select(followers.c.id).where(segments.clause(session, account.id, where, NOW))
    text = str(asked.compile(session, compile_kwargs={"render_postcompile": True}))
    plan = session.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}", ("x",) * text.count("?"))
    steps = [row[3] for row in plan if " events " in row[3]]
    assert steps
    assert all("ix_events_follower_at" in step for step in steps)
