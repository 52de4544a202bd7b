"""Sets of people say what the SQL says, and tell as of when."""

from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from pyroaring import BitMap
from sqlalchemy.engine import Engine

from bot import db
from bot.accounts import Account
from bot.audiences import index, segments
from bot.audiences.index import Look
from bot.audiences.leaves import key_of
from bot.db import Session
from bot.errors import Invalid, Refused
from bot.tables.audiences import audience_sets
from bot.tables.campaigns import mass_ledger
from bot.tables.followers import consents, reply_windows
from tests import factories
from tests.bot.audiences.conftest import Town
from tests.bot.audiences.population import NOW
from tests.bot.audiences.test_filters import TREES

RED = {"tag": {"has": "红"}}
MONTH = "2025-03"


def stored(engine: Engine) -> dict[str, Any]:
    with db.reading(engine) as session:
        return {row.key: row for row in session.execute(sa.select(audience_sets))}


# sets are only added, so sharing the town between examples is meant
@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(where=TREES)
def test_sets_and_sql_select_the_same_people(town: Town, where: dict[str, Any]) -> None:
    with db.reading(town.engine) as session:
        counted = index.people(session, town.account_id, where, NOW, fresh=True)
        look = Look(session, town.account_id, NOW)
        assert set(counted) == town.expect(where)
        assert look.people(where) == counted
    index.keep(town.engine, look)
    with db.reading(town.engine) as session:  # and once more as they were stored
        assert index.people(session, town.account_id, where, NOW) == counted
    assert {key_of(leaf) for leaf in index.leaves_of(where)} <= set(stored(town.engine))


@pytest.fixture
def red(engine: Engine, account: Account) -> list[int]:
    """Four followers, the first two red."""
    with db.writing(engine) as session:
        tag = factories.make_tag(session, account.id, "红")
        people = factories.make_followers(session, account.id, 4, now=NOW)
        for who in people[:2]:
            factories.give_tag(session, account.id, who, tag, now=NOW)
    return people


def look(engine: Engine, account: Account, where: dict[str, Any], minutes: float = 0) -> Look:
    now = NOW + timedelta(minutes=minutes)
    with db.reading(engine) as session:
        found = Look(session, account.id, now)
        found.people(where)
    index.keep(engine, found)
    return found


def grow_slow(engine: Engine, seconds: float = 1.0) -> None:
    """As if counting had taken long, as in an account of millions."""
    with db.writing(engine) as session:
        session.execute(sa.update(audience_sets).values(seconds=seconds))


def test_a_slow_set_is_believed_for_minutes_and_says_so(
    engine: Engine, account: Account, red: list[int]
) -> None:
    assert look(engine, account, RED).counted_at == NOW
    grow_slow(engine)
    with db.writing(engine) as session:
        tag = session.execute(sa.text("SELECT id FROM tags")).scalar_one()
        factories.give_tag(session, account.id, red[3], tag, now=NOW)
    later = look(engine, account, RED, 9)
    assert later.counted_at == NOW
    assert set(later.leaf(RED)) == set(red[:2])
    assert look(engine, account, RED, 11).counted_at == NOW + timedelta(minutes=11)


def test_a_set_counted_quickly_is_counted_at_every_look(
    engine: Engine, account: Account, red: list[int]
) -> None:
    look(engine, account, RED)
    grow_slow(engine, 0.001)
    with db.writing(engine) as session:
        tag = session.execute(sa.text("SELECT id FROM tags")).scalar_one()
        factories.give_tag(session, account.id, red[3], tag, now=NOW)
    assert set(look(engine, account, RED, 1).leaf(RED)) == {*red[:2], red[3]}


def test_the_job_counts_slow_sets_in_use_again_and_forgets_the_others(
    engine: Engine, account: Account, red: list[int]
) -> None:
    look(engine, account, {"any": [RED, {"did": {"event": "click"}}]})
    grow_slow(engine, 0.001)
    assert index.refresh(engine, NOW + timedelta(minutes=6)) == 0  # quick ones are left alone
    grow_slow(engine)
    assert index.refresh(engine, NOW + timedelta(minutes=4)) == 0  # young enough
    assert index.refresh(engine, NOW + timedelta(minutes=6)) == 3
    assert {row.counted_at for row in stored(engine).values()} == {NOW + timedelta(minutes=6)}
    grow_slow(engine)
    assert index.refresh(engine, NOW + timedelta(days=2)) == 0  # nobody asked for a day
    index.forget(engine, NOW + timedelta(days=6))
    assert len(stored(engine)) == 3
    index.forget(engine, NOW + timedelta(days=8))
    assert stored(engine) == {}


def test_looking_keeps_a_set_in_use(engine: Engine, account: Account, red: list[int]) -> None:
    look(engine, account, RED)
    grow_slow(engine, 100)
    look(engine, account, RED, 30)
    assert {row.used_at for row in stored(engine).values()} == {NOW + timedelta(minutes=30)}


def test_a_filter_that_is_gone_is_dropped_by_the_job(engine: Engine, account: Account) -> None:
    with db.writing(engine) as session:
        session.execute(
            sa.insert(audience_sets).values(
                account_id=account.id,
                key="x",
                filter={"gone": {}},
                people=BitMap().serialize(),
                size=0,
                counted_at=NOW,
                used_at=NOW,
                seconds=1.0,
            )
        )
    assert index.refresh(engine, NOW + timedelta(hours=1)) == 0
    with db.reading(engine) as session:
        found = index.people(session, account.id, {"all": []}, NOW)
    assert not found


def test_slots_windows_and_consents_are_sets_too(account: Account, session: Session) -> None:
    people = factories.make_followers(session, account.id, 6, now=NOW)
    for who, reserved, spent in zip(people, (0, 1, 1, 2, 4), (0, 0, 1, 1, 1), strict=False):
        session.execute(
            sa.insert(mass_ledger).values(
                account_id=account.id,
                follower_id=who,
                month=MONTH,
                reserved=reserved,
                spent=spent,
                external=0,
            )
        )
    for who, left, minutes in ((people[0], 5, 10), (people[1], 0, 10), (people[2], 5, -1)):
        session.execute(
            sa.insert(reply_windows).values(
                account_id=account.id,
                follower_id=who,
                opened_by="message",
                opened_at=NOW,
                expires_at=NOW + timedelta(minutes=minutes),
                left=left,
            )
        )
    for who, accepted in ((people[0], 2), (people[1], 0)):
        session.execute(
            sa.insert(consents).values(
                account_id=account.id,
                follower_id=who,
                template_id="活动",
                accepted=accepted,
                changed_at=NOW,
            )
        )
    slots = [set(found) for found in index.slots(session, account.id, MONTH, NOW)]
    assert slots == [{people[4]}, {people[3]}, {people[2]}, {people[1]}, {people[0], people[5]}]
    assert [len(one) for one in index.slots(session, account.id, "2025-04", NOW)] == [0, 0, 0, 0, 6]
    assert set(index.windows(session, account.id, NOW)) == {people[0]}
    assert set(index.consents(session, account.id, "活动", NOW)) == {people[0]}


def test_trees_that_cannot_be_asked_are_refused(account: Account, session: Session) -> None:
    with pytest.raises(Invalid):
        index.people(session, account.id, {"tga": {}}, NOW)
    with pytest.raises(Refused, match="甲"):
        index.people(session, account.id, {"in_segment": {"name": "甲"}}, NOW)
    segments.save(session, account.id, "甲", {"in_segment": {"name": "乙"}}, NOW)
    session.execute(
        sa.text(
            "INSERT INTO segments (account_id, name, \"where\", created_at) VALUES (:a, '乙', :w, :n)"
        ),
        {"a": account.id, "w": '{"in_segment":{"name":"甲"}}', "n": "2025-03-03 00:00:00.000000"},
    )
    with pytest.raises(Refused, match="circle"):
        index.people(session, account.id, {"in_segment": {"name": "甲"}}, NOW)


def test_another_account_s_people_are_not_among_them(town: Town) -> None:
    with db.reading(town.engine) as session:
        everybody = index.people(session, town.account_id, {"all": []}, NOW)
    assert len(everybody) == 20
