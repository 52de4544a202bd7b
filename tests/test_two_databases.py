"""The second pass is real: without a server this file says so once, with one it proves where tests run."""

import pytest
import redis
import sqlalchemy as sa

from bot import db
from bot.tables import metadata
from tests import factories


@pytest.mark.postgres
def test_every_database_test_runs_on_postgresql_too(engine: sa.Engine) -> None:
    assert engine.dialect.name == "postgresql"


@pytest.mark.postgres
@pytest.mark.parametrize("turn", [1, 2])
def test_a_test_finds_postgresql_empty_and_numbers_from_one(engine, now, turn) -> None:
    with db.writing(engine) as session:
        assert factories.make_account(session, now=now) == 1


@pytest.mark.redis
def test_redis_is_empty_and_answers(redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as client:
        assert client.dbsize() == 0
        assert client.ping()


def test_both_databases_have_every_table(engine: sa.Engine) -> None:
    assert set(metadata.tables) <= set(sa.inspect(engine).get_table_names())
