"""``account check`` and ``followers sync`` against a sandbox that listens on a socket."""

import json
from collections.abc import Iterator

import pytest
import sqlalchemy as sa

from bot import db
from bot.clock import now
from bot.sandbox.platform import Platform
from bot.sandbox.serve import Server
from bot.tables.accounts import accounts
from bot.tables.followers import followers
from tests import factories
from tests.bot.test_cli import Line, line, ready

__all__ = ["line", "ready"]


@pytest.fixture
def sandbox() -> Iterator[Server]:
    platform = Platform(":memory:")
    platform.add_account(factories.APP_ID, factories.APP_SECRET, factories.TOKEN, factories.AES_KEY)
    server = Server(platform)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def live(ready: Line, sandbox: Server) -> Line:
    """An account that lives on the listening sandbox, with three followers there."""
    sandbox.platform.add_followers(
        factories.APP_ID, [{"open_id": factories.open_id(number)} for number in (1, 2, 3)]
    )
    engine = db.make_engine(ready.url)
    with db.writing(engine) as session:
        factories.make_account(session, now=now())
        session.execute(sa.update(accounts).values(sandbox_url=sandbox.url))
    engine.dispose()
    return ready


def test_followers_are_synced_over_the_wire_and_again_changes_nothing(live: Line) -> None:
    for _ in range(2):
        assert "followers are in line" in live.ok("followers", "sync", "muyan")
        engine = db.make_engine(live.url)
        with db.reading(engine) as session:
            found = session.execute(sa.select(followers.c.open_id, followers.c.subscribed)).all()
        engine.dispose()
        assert sorted(found) == [(factories.open_id(number), True) for number in (1, 2, 3)]


def test_a_check_asks_the_platform_and_says_what_is_wrong(live: Line) -> None:
    result = live("account", "check", "muyan", "--json")
    assert result.exit_code == 1  # nothing listens at the callback address
    told = {one["what"]: one["ok"] for one in json.loads(result.stdout)}
    assert told.pop("token") is True
    assert sum(not ok for ok in told.values()) == 1


def test_a_wrong_secret_is_told_and_never_shown(live: Line, sandbox: Server) -> None:
    sandbox.platform.add_account(factories.APP_ID, "f" * 32, factories.TOKEN, factories.AES_KEY)
    result = live("account", "check", "muyan")
    assert result.exit_code == 1
    assert "✗ token" in result.stdout
    assert factories.APP_SECRET not in result.output
