"""Many at once keep the outbox's promises: a stop, a lost database, a killed process, a platform that has enough."""

from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import OperationalError

from bot import accounts, db, outbox, outbox_receipts
from bot.accounts import Account
from bot.clock import Clock
from bot.errors import WeChatError
from bot.outbox_bulk import Sender
from bot.tables.outbox import outbox as table
from bot.wechat import bulk
from tests import factories
from tests.bot.answers import Gateway, refusal
from tests.factories import at

START = at("2025-03-03 09:00")
PEOPLE = 60


class Killed(BaseException):
    """Stands for the end of the process."""


class Desk:
    """An account, sixty followers and as many messages owed."""

    def __init__(self, engine: sa.Engine, account: Account) -> None:
        self.engine, self.account = engine, account
        self.clock = Clock(frozen_at=START)
        with db.writing(engine) as session:
            self.people = factories.make_followers(session, account.id, PEOPLE, now=START)
        self.owe()

    def owe(self, channel: str = "customer_service", **payload: Any) -> None:
        with db.writing(self.engine) as session:
            outbox.put_many(
                session,
                [
                    {
                        "account_id": self.account.id,
                        "channel": channel,
                        "purpose": "delivery",
                        "purpose_id": number,
                        "follower_id": person,
                        "payload": payload or {"content": {"text": str(number)}},
                        "expires_at": None,
                        "key": f"{channel}:{number}",
                    }
                    for number, person in enumerate(self.people, start=1)
                ],
                START,
            )

    def drain(self, gateway: Gateway, sender: Sender) -> int:
        try:
            return outbox.drain(self.engine, gateway.of, self.clock, limit=500, sender=sender)
        finally:
            sender.close()

    def statuses(self) -> dict[str, int]:
        counted = sa.select(table.c.status, sa.func.count()).group_by(table.c.status)
        with db.reading(self.engine) as session:
            return {row[0]: row[1] for row in session.execute(counted)}


@pytest.fixture
def desk(engine: sa.Engine, account: Account) -> Iterator[Desk]:
    return Desk(engine, account)


def test_every_message_leaves_once_with_its_receipt(desk: Desk) -> None:
    gateway = Gateway()
    assert desk.drain(gateway, Sender(most=16, first=4)) == PEOPLE
    assert sorted(gateway.texts(), key=int) == [str(number) for number in range(1, PEOPLE + 1)]
    assert desk.statuses() == {"sent": PEOPLE}


def test_each_notice_keeps_the_id_its_result_will_name(desk: Desk) -> None:
    with db.writing(desk.engine) as session:
        session.execute(sa.delete(table))
    notice = {"template": "T1", "data": {"thing": "周五会员日"}}
    desk.owe("template", content={"notice": notice})
    answers = [{"errcode": 0, "msgid": 10**18 + number} for number in range(PEOPLE)]
    desk.drain(Gateway(*answers), Sender())
    with db.reading(desk.engine) as session:
        receipts = session.execute(sa.select(table.c.receipt)).scalars().all()
    assert {receipt["msg_id"] for receipt in receipts} == {str(one["msgid"]) for one in answers}


def test_after_a_stop_nothing_new_leaves_and_what_waits_is_as_it_was(desk: Desk) -> None:
    stopped = False

    def stop() -> None:
        nonlocal stopped
        if not stopped:
            stopped = True
            with db.writing(desk.engine) as session:
                accounts.stop(session, desk.account.id, "wrong content", START)

    gateway = Gateway(hook=stop)
    sender = Sender(most=1, first=1)
    desk.drain(gateway, sender)
    assert len(gateway.calls) == 1
    assert desk.statuses() == {"sent": 1, "waiting": PEOPLE - 1}
    with db.writing(desk.engine) as session:
        untouched = sa.and_(table.c.attempts == 0, table.c.first_try_at.is_(None))
        left = session.execute(sa.select(sa.func.count()).where(untouched)).scalar()
        accounts.go(session, desk.account.id)
    assert left == PEOPLE - 1
    assert desk.drain(Gateway(), Sender()) == PEOPLE - 1


def test_a_killed_process_leaves_in_doubt_what_was_under_way_and_nothing_it_had_only_claimed(
    desk: Desk,
) -> None:
    class Dying(Gateway):
        def call(self, path: str, payload: Any = None, **more: Any) -> Any:
            super().call(path, payload, **more)
            raise Killed

    with pytest.raises(Killed):
        desk.drain(Dying(), Sender(most=8, first=8))
    with db.reading(desk.engine) as session:
        begun = sa.select(sa.func.count()).where(table.c.first_try_at.is_not(None))
        assert session.execute(begun).scalar() == 8
    desk.clock.move_to(at("2025-03-03 10:00"))
    gateway = Gateway()
    while desk.drain(gateway, Sender()):
        pass
    assert desk.statuses() == {"sent": PEOPLE - 8, "unknown": 8}
    assert len(gateway.calls) == PEOPLE - 8


def test_answers_outlive_a_database_that_is_away_for_a_moment(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    original, failures = outbox_receipts.store, []

    def away(session: db.Session, ended: Any, now: Any) -> None:
        if ended and len(failures) < 2:
            failures.append(len(ended))
            raise OperationalError("UPDATE", None, Exception("the server closed the connection"))
        original(session, ended, now)

    # no test can restart the database that all others use
    monkeypatch.setattr(outbox_receipts, "store", away)
    monkeypatch.setattr("bot.outbox_bulk.STORE_AGAIN_EVERY", 0.001)
    gateway = Gateway()
    desk.drain(gateway, Sender())
    assert len(failures) == 2
    assert desk.statuses() == {"sent": PEOPLE}
    assert len(gateway.calls) == PEOPLE


def test_more_at_once_while_it_goes_well_and_half_when_it_is_too_much() -> None:
    sender = Sender(most=64, first=8)
    for _ in range(8):
        sender.answered(1, None)
    assert (sender.window(1), sender.window(2)) == (16, 8)
    too_much = refusal(45011, permanent=False)
    for _ in range(16):  # one round of answers is one word of the platform
        sender.answered(1, too_much)
    assert sender.window(1) == 8
    for _ in range(500):
        sender.answered(2, None)
    assert sender.window(2) == 64
    sender.answered(2, WeChatError(45015, "no window", permanent=True))
    assert sender.window(2) == 64


def test_while_one_drain_has_the_lines_another_leaves_bulk_to_it(desk: Desk) -> None:
    sender = Sender()
    with sender.turn:
        assert desk.drain(Gateway(), sender) == 0
    assert desk.statuses() == {"waiting": PEOPLE}


def test_a_machine_without_libcurl_sends_with_threads(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk, "pycurl", None)  # as where there is no wheel
    desk.drain(Gateway(), Sender())
    assert desk.statuses() == {"sent": PEOPLE}
