"""A frozen segment: who was in it stays, whatever changes; erasure takes them off, unfreezing gives it back."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from bot import db, erasure
from bot.audiences import catalogue, freezing, index, segments
from bot.audiences.index import Look
from bot.errors import Refused
from bot.tables.audiences import frozen_lists, frozen_people
from bot.tables.followers import followers
from tests import factories
from tests.bot.audiences.conftest import Town
from tests.bot.audiences.population import NOW

LATER = NOW + timedelta(days=1)
NAME = "冻结的"


@pytest.fixture
def segment_id(town: Town) -> Iterator[int]:
    """Whoever has the tag 红; what a test did to it is undone, for the town is shared."""
    with db.writing(town.engine) as session:
        found = segments.save(session, town.account_id, NAME, {"tag": {"has": "红"}}, NOW)
    yield found
    with db.writing(town.engine) as session:
        for table in (frozen_people, frozen_lists):
            session.execute(sa.delete(table))
        segments.archive(session, town.account_id, NAME, NOW)


def freeze(town: Town, segment_id: int) -> segments.Frozen:
    return freezing.freeze(town.engine, town.account_id, segment_id, by="林", now=NOW)


def both(town: Town, where: Any) -> set[int]:
    """Who is selected by SQL; the sets must say the same."""
    by_sql = town.ask(where)
    with db.reading(town.engine) as session:
        assert set(index.people(session, town.account_id, where, NOW, fresh=True)) == by_sql
    return by_sql


def named(town: Town) -> segments.Segment:
    with db.reading(town.engine) as session:
        return segments.get(session, town.account_id, NAME)


def test_who_was_in_it_stays_and_who_comes_later_does_not(town: Town, segment_id: int) -> None:
    before = both(town, named(town).where)
    assert before
    frozen = freeze(town, segment_id)
    assert (frozen.size, frozen.by, frozen.at) == (len(before), "林", NOW)
    with db.writing(town.engine) as session:
        # its tree now selects others altogether
        segments.save(session, town.account_id, NAME, {"tag": {"lacks": "红"}}, NOW)
    assert both(town, named(town).where) == before
    assert both(town, {"in_segment": {"name": NAME}}) == before
    everybody = both(town, {"all": []})
    assert both(town, {"not": {"in_segment": {"name": NAME}}}) == everybody - before
    since = f"（冻结于 2025-03-03 09:00，{len(before)} 人）"
    assert named(town).sentence == f"没有标签「红」{since}"
    was = freezing.unfreeze(town.engine, town.account_id, segment_id)
    assert was == frozen
    assert both(town, named(town).where) == everybody - before
    with db.reading(town.engine) as session:
        assert session.execute(sa.select(frozen_people)).all() == []
        assert session.execute(sa.select(frozen_lists)).all() == []


def test_a_list_is_never_everybody_nor_one_tag(town: Town, segment_id: int) -> None:
    with db.writing(town.engine) as session:
        segments.save(session, town.account_id, NAME, {"all": []}, NOW)
    freeze(town, segment_id)
    where = named(town).where
    with db.reading(town.engine) as session:
        assert not segments.is_everybody(session, town.account_id, where)
        assert segments.single_tag(session, town.account_id, where) is None


def test_a_frozen_segment_is_frozen_once_and_a_live_one_has_nothing_to_give_up(
    town: Town, segment_id: int
) -> None:
    with pytest.raises(Refused, match="is not frozen"):
        freezing.unfreeze(town.engine, town.account_id, segment_id)
    freeze(town, segment_id)
    with pytest.raises(Refused, match="is frozen already"):
        freeze(town, segment_id)
    with pytest.raises(Refused, match="no such segment"):
        freezing.freeze(town.engine, town.account_id + 1, segment_id, by="林", now=NOW)
    with pytest.raises(Refused, match="is not frozen"):
        freezing.unfreeze(town.engine, town.account_id + 1, segment_id)


def test_of_two_who_freeze_at_once_one_is_refused_and_leaves_nothing(
    town: Town, segment_id: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    pieces = freezing._pieces

    def late(ids: Any) -> Any:
        monkeypatch.setattr(freezing, "_pieces", pieces)
        freeze(town, segment_id)  # somebody else begins after us and is done before
        return pieces(ids)

    monkeypatch.setattr(freezing, "_pieces", late)
    with pytest.raises(Refused, match="is frozen already"):
        freeze(town, segment_id)
    frozen = named(town).frozen
    assert frozen is not None
    with db.reading(town.engine) as session:
        kept = session.execute(sa.select(frozen_lists.c.id)).scalars().all()
        assert list(kept) == [frozen.list_id]
        assert len(session.execute(sa.select(frozen_people)).all()) == frozen.size


def test_a_list_larger_than_a_piece_is_written_and_taken_away_whole(
    town: Town, segment_id: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(freezing, "PIECE", 2)
    before = both(town, named(town).where)
    assert len(before) > 2
    freeze(town, segment_id)
    assert both(town, named(town).where) == before
    freezing.unfreeze(town.engine, town.account_id, segment_id)
    with db.reading(town.engine) as session:
        assert session.execute(sa.select(frozen_people)).all() == []


def test_what_an_interrupted_freeze_left_selects_nobody_and_is_pruned(
    town: Town, segment_id: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_args: Any) -> bool:
        raise KeyboardInterrupt

    monkeypatch.setattr(freezing, "_bring_into_force", die)
    with pytest.raises(KeyboardInterrupt):
        freeze(town, segment_id)
    assert named(town).frozen is None
    with db.writing(town.engine) as session:
        assert freezing.prune(session, NOW + timedelta(minutes=5), 500) == 0
        assert freezing.prune(session, LATER, 1) == 1
        assert freezing.prune(session, LATER, 500) > 0
        assert session.execute(sa.select(frozen_lists)).all() == []


def test_who_leaves_is_out_and_who_is_erased_is_off_the_list(town: Town, segment_id: int) -> None:
    gone, back = sorted(both(town, named(town).where))[:2]
    frozen = freeze(town, segment_id)
    with db.writing(town.engine) as session:
        outer = session.begin_nested()  # the town is shared: nothing of this stays
        where = named_in(session, town)
        leave(session, [gone, back], False)
        assert segments.count(session, town.account_id, where, NOW) == frozen.size - 2
        leave(session, [back], True)
        assert segments.count(session, town.account_id, where, NOW) == frozen.size - 1
        erasure.forget(session, town.account_id, gone, factories.SECRET_KEY, NOW)
        listed = session.execute(sa.select(frozen_people.c.follower_id)).scalars().all()
        assert gone not in listed and back in listed
        assert len(listed) == frozen.size - 1
        outer.rollback()


def named_in(session: db.Session, town: Town) -> Any:
    return segments.get(session, town.account_id, NAME).where


def leave(session: db.Session, ids: list[int], subscribed: bool) -> None:
    statement = sa.update(followers).where(followers.c.id.in_(ids))
    session.execute(statement.values(subscribed=subscribed))


def test_lists_and_estimates_know_it(town: Town, segment_id: int) -> None:
    before = both(town, named(town).where)
    freeze(town, segment_id)
    with db.reading(town.engine) as session:
        line = catalogue.find(session, town.account_id, segment_id)
        assert line is not None and line.frozen is not None
        assert catalogue.size(Look(session, town.account_id, NOW), line.where) == len(before)
        # a large account asks only for sets that were counted before
        assert Look(session, town.account_id, NOW).known(line.where) is None
        assert line.sentence == "有标签「红」"
