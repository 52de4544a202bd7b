"""A drain reads what it handles and not all that waits: a campaign leaves a million rows waiting for hours.

Counted in steps of SQLite's own machine, so that nothing depends on how fast this one is.
"""

from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine

from bot import db, outbox, outbox_claims
from bot.campaigns import settling
from bot.tables.outbox import outbox as table
from tests import factories
from tests.factories import at

NOW = at("2025-03-03 09:00")
FEW, MANY = 400, 8000
TAKEN = 50
STEP = 50  # instructions between two counts

pytestmark = pytest.mark.sqlite


def owe(engine: Engine, account_id: int, people: list[int], count: int) -> None:
    """So many deliveries, the first fifty of them sent and not collected yet, and a reply."""
    one = {"account_id": account_id, "channel": "customer_service", "expires_at": None}
    content = {"content": {"text": "hi"}}
    rows = [
        {
            **one,
            "purpose": "delivery",
            "purpose_id": number,
            "follower_id": people[number % len(people)],
            "payload": content,
            "key": f"delivery:{number}",
        }
        for number in range(count)
    ]
    with db.writing(engine) as session:
        session.execute(sa.delete(table))
        outbox.put_many(session, rows, NOW)
        gone = sa.select(table.c.id).order_by(table.c.id).limit(TAKEN)
        session.execute(sa.update(table).where(table.c.id.in_(gone)).values(status="sent"))
        reply: Any = {"purpose": "reply", "purpose_id": None, "payload": content, "now": NOW}
        outbox.put(session, account_id=account_id, channel="customer_service", **reply)


def steps(engine: Engine, work: Callable[[], None]) -> int:
    counted = 0

    def count() -> int:
        nonlocal counted
        counted += 1
        return 0

    def watch(session: db.Session) -> None:
        driver: Any = session.connection.dbapi_connection
        driver.set_progress_handler(count, STEP)

    sa.event.listen(engine, "begin", watch)
    try:
        work()
    finally:
        sa.event.remove(engine, "begin", watch)
    return counted * STEP


def look(engine: Engine, account_id: int) -> None:
    with db.reading(engine) as session:
        assert outbox_claims.work_waits(session, NOW)
        assert outbox_claims.waiting_turns(session, NOW) == []


def settle(engine: Engine, account_id: int) -> None:
    with db.writing(engine) as session:
        outbox_claims.settle_overdue(session, NOW)
        assert outbox_claims.claim_turn(session, account_id, "mass", NOW) is None


def take(engine: Engine, account_id: int) -> None:
    with db.writing(engine) as session:
        taken = outbox_claims.claim_many(session, NOW, TAKEN)
        assert "reply" in [row.purpose for row in taken]
        assert len(outbox_claims.begin_many(session, taken, NOW)) == TAKEN


def collect(engine: Engine, account_id: int) -> None:
    assert settling.collect(engine, NOW) == TAKEN


@pytest.mark.parametrize("work", [look, settle, take, collect])
def test_twenty_times_as_many_waiting_rows_cost_no_more(
    engine: Engine, work: Callable[[Engine, int], None]
) -> None:
    with db.writing(engine) as session:
        account_id = factories.make_account(session, now=NOW)
        people = list(factories.make_followers(session, account_id, 200, now=NOW))
    cost = {}
    for count in (FEW, MANY):
        owe(engine, account_id, people, count)
        cost[count] = steps(engine, lambda: work(engine, account_id))
    assert cost[FEW] > 0
    assert cost[MANY] <= cost[FEW] * 1.5 + 500, cost  # a tree of more rows is a little deeper
