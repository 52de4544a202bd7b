"""Whatever happens in whatever order, the two promises hold: nobody gets a customer-service message again
after an unknown outcome, and a batch is never sent under another id."""

import contextlib
from collections import Counter
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from bot import db, outbox
from bot.clock import Clock
from bot.errors import WeChatError
from bot.outbox_claims import LEASE
from bot.tables.outbox import outbox as table
from tests import factories
from tests.bot.answers import NEVER_LEFT, NO_ANSWER, refusal
from tests.factories import at

START = at("2025-03-03 09:00")
ENDED = ("sent", "failed", "unknown", "expired", "cancelled")
BUSY = refusal(-1, permanent=False)
OK: dict[str, Any] = {"errcode": 0, "msg_id": 31}
ANSWERS = st.sampled_from(
    [OK, OK, NO_ANSWER, NEVER_LEFT, BUSY, refusal(45011, permanent=False), refusal(45015)]
)
DOORS = ("crash before the call", "crash after the call", None, None, None)


class Killed(BaseException):
    """Stands for the end of the process: nothing of ours may catch it."""


class Platform:
    """Takes calls, remembers what it truly delivered, and answers or does not as it is told."""

    def __init__(self) -> None:
        self.answers: list[Any] = []
        self.crash: str | None = None
        self.calls: list[tuple[str, bool]] = []  # which message, and whether its outcome is open
        self.delivered: Counter[str] = Counter()

    def of(self, account_id: int) -> Any:
        return self

    def call(self, path: str, payload: dict[str, Any], **_more: Any) -> dict[str, Any]:
        crash, self.crash = self.crash, None
        if crash == "crash before the call":
            raise Killed
        name = payload.get("clientmsgid") or payload["text"]["content"]
        answer = self.answers.pop(0) if self.answers else OK
        if answer is NEVER_LEFT:
            raise NEVER_LEFT
        is_open = answer is NO_ANSWER or crash is not None
        self.calls.append((name, is_open))
        if "clientmsgid" in payload and name in self.delivered:
            raise refusal(45065, permanent=False, msgid=31)
        if answer is OK or is_open:
            self.delivered[name] += 1
        if crash is not None:
            raise Killed
        if isinstance(answer, WeChatError):
            raise answer
        return dict(OK)


def machine(engine: sa.Engine) -> type[RuleBasedStateMachine]:
    class Outbox(RuleBasedStateMachine):
        def __init__(self) -> None:
            super().__init__()
            self.clock = Clock(frozen_at=START)
            self.platform = Platform()
            self.number = 0
            with db.writing(engine) as session:
                session.execute(sa.delete(table))
                session.execute(sa.text("DELETE FROM kept"))
                found = session.execute(sa.text("SELECT id FROM accounts")).scalar()
                if found is None:
                    found = factories.make_account(session, now=START)
                    factories.make_follower(session, found, now=START)
                self.account_id = int(found)
                self.follower_id = session.execute(sa.text("SELECT id FROM followers")).scalar()

        @rule(minutes=st.sampled_from([None, 2, 60]))
        def owe_a_message(self, minutes: int | None) -> None:
            self._put("customer_service", "delivery", {}, minutes, self.follower_id)

        @rule()
        def owe_a_batch(self) -> None:
            open_ids = [factories.open_id(number) for number in (1, 2)]
            payload = {"target": "open_ids", "open_ids": open_ids, "month": "2025-03"}
            self._put("mass", "batch", payload, None, None)

        def _put(
            self,
            channel: str,
            purpose: str,
            payload: dict[str, Any],
            minutes: int | None,
            follower_id: Any,
        ) -> None:
            self.number += 1
            now = self.clock()
            name = f"{channel}-{self.number}"
            with db.writing(engine) as session:
                outbox.put(
                    session,
                    account_id=self.account_id,
                    channel=channel,
                    purpose=purpose,
                    purpose_id=self.number,
                    payload={**payload, "client_msg_id": name, "content": {"text": name}},
                    follower_id=follower_id,
                    expires_at=now + timedelta(minutes=minutes) if minutes else None,
                    now=now,
                )

        @rule(answers=st.lists(ANSWERS, max_size=4), crash=st.sampled_from(DOORS))
        def drain(self, answers: list[Any], crash: str | None) -> None:
            self.platform.answers, self.platform.crash = list(answers), crash
            with contextlib.suppress(Killed):
                outbox.drain(engine, self.platform.of, self.clock)
            self.platform.crash = None

        @rule(
            span=st.sampled_from(
                [timedelta(seconds=10), timedelta(seconds=60), LEASE, timedelta(hours=1)]
            )
        )
        def time_passes(self, span: timedelta) -> None:
            self.clock.move_to(self.clock() + span)

        @rule()
        def a_day_passes(self) -> None:
            self.clock.move_to(self.clock() + timedelta(hours=21))

        @rule(number=st.integers(min_value=1, max_value=6))
        def an_operator_cancels(self, number: int) -> None:
            with db.writing(engine) as session:
                outbox.cancel(session, "batch", [number])
                outbox.cancel(session, "delivery", [number])

        @invariant()
        def nobody_gets_anything_twice(self) -> None:
            assert all(times == 1 for times in self.platform.delivered.values())

        @invariant()
        def no_customer_service_call_follows_one_of_unknown_outcome(self) -> None:
            opened: set[str] = set()
            for name, is_open in self.platform.calls:
                assert not (name in opened and name.startswith("customer_service"))
                if is_open:
                    opened.add(name)

        @invariant()
        def rows_tell_the_truth(self) -> None:
            with db.reading(engine) as session:
                rows = session.execute(sa.select(table)).all()
            for row in rows:
                was_delivered = row.payload["client_msg_id"] in self.platform.delivered
                if row.status == "sent":
                    assert was_delivered
                elif row.status in ("failed", "expired", "cancelled"):
                    assert not was_delivered
                elif row.status == "waiting" and was_delivered:
                    assert row.channel == "mass"
                    assert row.unanswered_at is not None

        def teardown(self) -> None:
            """When everything works again, every row comes to an end."""
            for _ in range(60):
                outbox.drain(engine, Platform.of(self.platform, 0).of, self.clock)
                self.clock.move_to(self.clock() + timedelta(hours=1))
            with db.reading(engine) as session:
                statuses = session.execute(sa.select(table.c.status)).scalars().all()
            assert set(statuses) <= set(ENDED)
            self.nobody_gets_anything_twice()
            self.rows_tell_the_truth()

    return Outbox


@pytest.mark.slow  # some 1,500 drains against a real database
def test_any_order_of_calls_crashes_and_errors_keeps_the_promises(engine: sa.Engine) -> None:
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        machine(engine),
        settings=settings(
            max_examples=15,
            stateful_step_count=25,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
