"""A portrait is the same by sets, as a large account draws it, and by the tables; and its figures are right."""

from collections import Counter
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine

from bot import db, figures
from bot.accounts import Account
from bot.audiences import index
from bot.audiences import portrait as portraits
from bot.audiences.index import Look
from bot.audiences.leaves import SUBSCRIBED
from bot.audiences.portrait import Portrait, portrait
from bot.jobs import JobContext
from bot.runtime import Runtime
from bot.tables.audiences import audience_sets
from bot.tables.followers import followers
from bot.tasks import TASKS
from tests import factories
from tests.bot.audiences.population import NOW

EVERYBODY: dict[str, Any] = {"all": []}
RED = {"tag": {"has": "红"}}
SOURCES = ("shop-1", "shop-2", "ADD_SCENE_SEARCH", None, "")
ACTIVE = (0, 1, 1.5, 7, 29, 30, 31, 90, 91, 400, None)  # days ago
FOLLOWED = (0, 30, 31, 90, 180, 364, 365, 366, 2000, None)


@pytest.fixture
def crowd(engine: Engine, account: Account) -> list[dict[str, Any]]:
    """Sixty followers of every source and age, six of them gone; every third red, every fourth blue."""
    made: list[dict[str, Any]] = []
    with db.writing(engine) as session:
        red, blue = (factories.make_tag(session, account.id, name) for name in "红蓝")
        for number in range(60):
            active, followed = ACTIVE[number % 11], FOLLOWED[number % 10]
            values = {
                "subscribed": number % 10 != 9,
                "first_source": SOURCES[number % 5],
                "last_active_at": None if active is None else NOW - timedelta(days=active),
                "subscribed_at": None if followed is None else NOW - timedelta(days=followed),
            }
            who = factories.make_follower(session, account.id, number, now=NOW, **values)
            made.append(values | {"id": who, "red": number % 3 == 0, "blue": number % 4 == 0})
            for tag, given in ((red, number % 3 == 0), (blue, number % 4 == 0)):
                if given:
                    factories.give_tag(session, account.id, who, tag, now=NOW)
    return [one for one in made if one["subscribed"]]


def ask(engine: Engine, account: Account, where: dict[str, Any]) -> Portrait:
    with db.reading(engine) as session:
        look = Look(session, account.id, NOW)
        found = portrait(look, where)
    index.keep(engine, look)
    return found


def figures_of(found: Portrait) -> Any:
    """Everything a page shows; ``Share`` is a value."""
    return (found.size, found.everybody, found.tags, found.sources, found.activity, found.ages)


@pytest.mark.parametrize("where", [EVERYBODY, RED, {"not": RED}, {"tag": {"has": "没有的"}}])
def test_sets_and_tables_draw_the_same_portrait(
    engine: Engine,
    account: Account,
    crowd: list[dict[str, Any]],
    where: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    by_tables = ask(engine, account, where)
    monkeypatch.setattr(portraits, "AT_ONCE", 0)
    assert figures_of(ask(engine, account, where)) == figures_of(by_tables)
    # and once more from the sets that were kept
    assert figures_of(ask(engine, account, where)) == figures_of(by_tables)


def test_the_figures_are_those_of_the_people(
    engine: Engine,
    account: Account,
    crowd: list[dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(portraits, "AT_ONCE", 0)
    found = ask(engine, account, RED)
    red = [one for one in crowd if one["red"]]
    assert (found.size, found.everybody) == (len(red), len(crowd))
    assert {share.name: share.people for share in found.sources} == Counter(
        one["first_source"] or "" for one in red
    )
    (blue,) = found.tags  # what a segment asks for is left out
    assert (blue.people, blue.share) == (
        sum(one["blue"] for one in red),
        sum(one["blue"] for one in red) / len(red),
    )
    assert blue.usual == sum(one["blue"] for one in crowd) / len(crowd)
    for spans, column in ((found.activity, "last_active_at"), (found.ages, "subscribed_at")):
        assert sum(share.people for _span, share in spans) == len(red)
        for span, share in spans:
            ages = [one[column] and (NOW - one[column]) / timedelta(days=1) for one in red]
            assert share.people == sum(_inside(age, span) for age in ages)


def _inside(age: float | None, span: tuple[int, int | None] | None) -> bool:
    if age is None or span is None:
        return age is None and span is None
    # a bound belongs to the span that ends with it
    least, most = span
    return (age > least or (age == least == 0)) and (most is None or age <= most)


def test_a_source_that_nobody_comes_from_any_more_is_gone(
    engine: Engine,
    account: Account,
    crowd: list[dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(portraits, "AT_ONCE", 0)
    ask(engine, account, EVERYBODY)
    with db.writing(engine) as session:
        session.execute(
            sa.update(followers)
            .where(followers.c.first_source == "shop-1")
            .values(first_source="shop-2")
        )
    with db.reading(engine) as session:
        look = Look(session, account.id, NOW + timedelta(minutes=1))
        assert set(index.sources(look)) == {"shop-2", "ADD_SCENE_SEARCH", ""}
    index.keep(engine, look)
    with db.reading(engine) as session:  # the set of shop-1 still lies there
        look = Look(session, account.id, NOW + timedelta(minutes=1))
        assert set(index.sources(look)) == {"shop-2", "ADD_SCENE_SEARCH", ""}


def test_what_a_portrait_takes_is_counted_before_somebody_asks(
    engine: Engine,
    account: Account,
    crowd: list[dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(portraits, "AT_ONCE", 0)
    monkeypatch.setattr(figures, "LIVE", 10)
    with db.reading(engine) as session:
        expected = {account.id: [SUBSCRIBED, *portraits.expected(session, account.id)]}
    index.refresh(engine, NOW, expected)
    later = NOW + timedelta(minutes=9)
    with db.reading(engine) as session:
        look = Look(session, account.id, later)
        found = portrait(look, EVERYBODY)
        asked = [one for one in look.found.values() if one.used_at is None]
    assert (asked, found.counted_at, found.uncounted) == ([], NOW, 0)
    # before they grow too old they are counted again, and nothing is counted twice at once
    assert index.refresh(engine, NOW + timedelta(minutes=4), expected) == 0
    again = index.refresh(engine, NOW + timedelta(minutes=6), expected)
    with db.reading(engine) as session:
        rows = session.execute(sa.select(audience_sets.c.counted_at)).scalars().all()
    assert set(rows) == {NOW + timedelta(minutes=6)}
    assert again == len(rows)


@pytest.mark.parametrize(("live", "counted"), [(10, True), (100, False)])
def test_the_job_counts_before_somebody_asks_only_where_it_takes_long(
    rt: Runtime,
    account: Account,
    crowd: list[dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
    live: int,
    counted: bool,
) -> None:
    monkeypatch.setattr(figures, "LIVE", live)
    context = JobContext(rt.engine, lambda: NOW, 1, "audience_sets", {})
    TASKS["audience_sets"](rt, context)
    with db.reading(rt.engine) as session:
        found = session.execute(sa.select(sa.func.count()).select_from(audience_sets)).scalar_one()
    assert bool(found) is counted
