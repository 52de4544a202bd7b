"""The planted population on SQLite, and on PostgreSQL where there is one."""

import os
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest
import sqlalchemy as sa

from bot import db
from bot.audiences import segments
from bot.tables import metadata
from bot.tables.followers import followers
from tests import factories
from tests.bot.audiences import population
from tests.bot.audiences.population import NOW, Person

POSTGRES_URL = os.environ.get("TEST_DATABASE_URL", "")
NAMED: dict[str, dict[str, Any]] = {
    "红的": {"tag": {"has": "红"}},
    "不红": {"not": {"in_segment": {"name": "红的"}}},
    "全部": {"all": []},
}


@dataclass
class Town:
    engine: sa.Engine
    account_id: int
    people: list[Person]

    def ask(self, where: Mapping[str, Any]) -> set[int]:
        """The ids a tree selects by SQL."""
        with db.reading(self.engine) as session:
            wanted = segments.clause(session, self.account_id, where, NOW)
            return set(session.execute(sa.select(followers.c.id).where(wanted)).scalars())

    def expect(self, where: Mapping[str, Any]) -> set[int]:
        return population.selected(self.people, where, NAMED)


@pytest.fixture(
    scope="module",
    params=[
        "sqlite",
        pytest.param(
            "postgresql",
            marks=[
                pytest.mark.postgres,
                pytest.mark.skipif(not POSTGRES_URL, reason="TEST_DATABASE_URL is not set"),
            ],
        ),
    ],
)
def town(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Town]:
    if request.param == "sqlite":
        engine = db.make_engine(f"sqlite:///{tmp_path_factory.mktemp('town')}/town.db")
        yield _planted(engine)
        engine.dispose()
        return
    # a schema of its own, so that nobody else's tests are in the way
    schema = f"town_{uuid.uuid4().hex[:12]}"
    owner = db.make_engine(POSTGRES_URL)
    with db.writing(owner) as session:
        session.execute(sa.text(f"CREATE SCHEMA {schema}"))
    url = sa.make_url(POSTGRES_URL).update_query_dict({"options": f"-csearch_path={schema}"})
    engine = db.make_engine(url.render_as_string(hide_password=False))
    try:
        yield _planted(engine)
    finally:
        engine.dispose()
        with db.writing(owner) as session:
            session.execute(sa.text(f"DROP SCHEMA {schema} CASCADE"))
        owner.dispose()


def _planted(engine: sa.Engine) -> Town:
    metadata.create_all(engine)
    everyone = population.people()
    with db.writing(engine) as session:
        account_id = factories.make_account(session, now=NOW)
        other = factories.make_account(session, "other", now=NOW)
        population.plant(session, account_id, everyone)
        # the same people follow another brand, with everything: none of it may count here
        population.plant(session, other, population.people())
        for name, where in NAMED.items():
            segments.save(session, account_id, name, where, NOW)
    return Town(engine, account_id, everyone)
