"""A campaign of 20 followers that is approved and due, and the few steps tests repeat."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from bot import accounts, db
from bot.accounts import Account
from bot.audiences import segments
from bot.campaigns import approvals, definitions, ledger, planning, sending, settling, steering
from bot.campaigns.definitions import Campaign
from bot.tables.accounts import accounts as accounts_table
from bot.tables.campaigns import campaign_runs, deliveries, mass_batches
from bot.tables.outbox import outbox
from tests import factories

BASE_URL = "https://example.com"


@dataclass
class Play:
    """One account with followers; every method is one of the program's own steps, committed."""

    engine: sa.Engine
    account_id: int
    now: datetime
    people: list[int] = field(default_factory=list)
    numbers: int = 1000

    @property
    def account(self) -> Account:
        with db.reading(self.engine) as session:
            return accounts.by_id(session, self.account_id)

    def write(self, work: Callable[[db.Session], Any]) -> Any:
        with db.writing(self.engine) as session:
            return work(session)

    def read(self, query: Any) -> Any:
        with db.reading(self.engine) as session:
            return session.execute(query).all()

    def limits(self, **values: Any) -> None:
        self.write(
            lambda session: session.execute(
                sa.update(accounts_table)
                .where(accounts_table.c.id == self.account_id)
                .values(limits=values)
            )
        )

    def campaign(self, name: str = "奈雪8元券", **values: Any) -> Campaign:
        document = {
            "name": name,
            "segment": "大家",
            "at": self.now.isoformat(),
            "channels": ["mass"],
            "content": {"text": "请你喝奶茶"},
            "approved_for": {"people": 10**6, "slots": 10**6},
            "status": "scheduled",
        } | values
        document = {key: value for key, value in document.items() if value is not None}

        def save(session: db.Session) -> Campaign:
            made = definitions.save(session, self.account, document, self.now, by="Ann")
            return approvals.stamp(session, made, factories.SECRET_KEY)

        return self.write(save)

    def start(self) -> list[int]:
        return planning.start_due(self.engine, self.now)

    def plan(self, run_id: int) -> None:
        while planning.plan_run(self.engine, run_id, self.now):
            pass

    def planned(self, **values: Any) -> int:
        """A campaign that was made, started and planned: its run."""
        self.campaign(**values)
        (run_id,) = self.start()
        self.plan(run_id)
        return run_id

    def send(self) -> int:
        return sending.send_waves(self.engine, self.now, factories.SECRET_KEY, BASE_URL)

    def answer(self, status: str = "sent", purpose: str = "batch", **values: Any) -> int:
        """What the outbox would have stored for everything that waits: how many rows."""

        def work(session: db.Session) -> int:
            rows = session.execute(
                sa.select(outbox.c.id).where(
                    outbox.c.status == "waiting", outbox.c.purpose == purpose
                )
            ).scalars()
            count = 0
            for row_id in list(rows):
                given = {"status": status, "attempts": 1, "first_try_at": self.now} | values
                if status == "sent":
                    given["sent_at"] = self.now
                    self.numbers += 1
                    given.setdefault("receipt", {"msg_id": str(self.numbers), "repeated": False})
                session.execute(sa.update(outbox).where(outbox.c.id == row_id).values(**given))
                count += 1
            return count

        return int(self.write(work))

    def collect(self) -> int:
        return settling.collect(self.engine, self.now)

    def cancel(self, run_id: int) -> None:
        self.write(lambda session: steering.cancel(session, run_id, self.now))
        steering.skip_cancelled(self.engine, self.now)
        self.collect()

    def finished_event(self, msg_id: str, sent: int, status: str = "send success") -> bool:
        fields = {
            "MsgID": msg_id, "Status": status, "TotalCount": str(sent), "FilterCount": str(sent),
            "SentCount": str(sent), "ErrorCount": "0",
        }  # fmt: skip
        return bool(
            self.write(
                lambda session: settling.settle_batch(session, self.account_id, fields, self.now)
            )
        )

    def finish_all(self) -> None:
        """Everything that is due goes out and WeChat reports success for every batch."""
        for _ in range(10):
            self.send()
            self.answer(purpose="delivery")
            self.answer()
            self.collect()
            for batch in self.batches():
                if batch.status == "submitted":
                    self.finished_event(batch.msg_id, batch.size)
            self.collect()

    def batches(self) -> Any:
        return self.read(sa.select(mass_batches).order_by(mass_batches.c.id))

    def run(self, run_id: int) -> Any:
        return self.read(sa.select(campaign_runs).where(campaign_runs.c.id == run_id))[0]

    def sums(self, run_id: int) -> dict[str, int]:
        """Counts of the run, after checking that they and the ledger add up."""
        with db.reading(self.engine) as session:
            found = planning.sums(session, run_id)
            months = session.execute(sa.select(deliveries.c.month).distinct()).scalars()
            for month in [month for month in months if month]:
                assert ledger.check(session, self.account_id, month) == []
        audience = found.pop("audience")
        assert audience == sum(found.values())
        return found

    def owed(self, status: str = "waiting") -> Any:
        return self.read(sa.select(outbox).where(outbox.c.status == status).order_by(outbox.c.id))

    def later(self, **delta: float) -> None:
        self.now += timedelta(**delta)


@pytest.fixture
def play(engine: sa.Engine, account: Account, now: datetime) -> Play:
    made = Play(engine, account.id, now)
    with db.writing(engine) as session:
        made.people = factories.make_followers(session, account.id, 20, now=now)
        segments.save(session, account.id, "大家", {"all": []}, now)
    return made
