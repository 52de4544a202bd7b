"""Results of template messages find their deliveries; those of messages somebody else sent disturb nobody."""

from datetime import datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from bot import db, outbox, templates
from bot.accounts import Account
from bot.tables.campaigns import deliveries
from bot.tables.followers import notice_results
from bot.tables.outbox import outbox as table
from tests import factories
from tests.bot.campaigns.makers import make_campaign, make_delivery, make_run


@pytest.fixture
def person(engine: sa.Engine, account: Account, now: datetime) -> int:
    with db.writing(engine) as session:
        return factories.make_followers(session, account.id, 1, now=now)[0]


def told(engine: sa.Engine, account: Account, person: int, msg_id: str, at: datetime) -> None:
    with db.writing(engine) as session:
        templates.told(session, account.id, person, msg_id, "failed:user block", at)


def sent(engine: sa.Engine, account: Account, person: int, msg_id: str, now: datetime) -> int:
    """A delivery whose message the platform took under this number."""
    with db.writing(engine) as session:
        run_id = make_run(session, account.id, make_campaign(session, account.id, now=now), now=now)
        values: dict[str, Any] = {"channel": "template", "status": "sent"}
        made = make_delivery(session, account.id, run_id, person, **values)
        owed = outbox.put(
            session, account_id=account.id, channel="template", purpose="delivery",
            purpose_id=made, payload={}, now=now, follower_id=person,
        )  # fmt: skip
        session.execute(
            sa.update(table)
            .where(table.c.id == owed)
            .values(status="sent", receipt={"msg_id": msg_id})
        )
    return made


def kept(engine: sa.Engine) -> list[str]:
    with db.reading(engine) as session:
        return list(session.execute(sa.select(notice_results.c.msg_id)).scalars())


def test_a_result_that_came_before_the_receipt_is_placed_once_that_is_stored(
    engine: sa.Engine, account: Account, person: int, now: datetime
) -> None:
    told(engine, account, person, "77", now)
    assert templates.settle(engine, now) == 0
    made = sent(engine, account, person, "77", now)
    assert templates.settle(engine, now) == 1
    with db.reading(engine) as session:
        row = session.execute(sa.select(deliveries).where(deliveries.c.id == made)).one()
    assert (row.status, row.result) == ("failed", "failed:user block")
    assert kept(engine) == []


def test_results_of_nobodys_messages_write_nothing_and_go_after_an_hour(
    engine: sa.Engine, account: Account, person: int, now: datetime
) -> None:
    told(engine, account, person, "88", now)
    begun = []

    def begins(session: sa.Connection) -> None:
        begun.append(session.get_execution_options().get("qunfen_immediate", False))

    sa.event.listen(engine, "begin", begins)
    assert templates.settle(engine, now) == 0
    sa.event.remove(engine, "begin", begins)
    assert begun and not any(begun)
    assert kept(engine) == ["88"]
    templates.settle(engine, now + timedelta(hours=1, seconds=1))
    assert kept(engine) == []
