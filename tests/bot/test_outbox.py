"""What we owe leaves once, in time, in order; and what nobody answered is never sent twice."""

import threading
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from bot import accounts, db, kept, mass_turns, outbox, outbox_claims
from bot import followers as follower_state
from bot.accounts import Account
from bot.clock import Clock
from bot.errors import Refused
from bot.outbox_claims import LEASE
from bot.outcomes import WITHOUT_MATERIAL
from bot.tables.accounts import accounts as accounts_table
from bot.tables.accounts import media
from bot.tables.campaigns import campaign_runs, campaigns, deliveries
from bot.tables.followers import followers
from bot.tables.outbox import outbox as table
from tests import factories
from tests.bot.answers import NEVER_LEFT, NO_ANSWER, Gateway, refusal
from tests.factories import at

START = at("2025-03-03 09:00")


class Desk:
    """An account with followers, a clock, and short words for what these tests do."""

    def __init__(self, engine: sa.Engine, account: Account) -> None:
        self.engine = engine
        self.account = account
        self.clock = Clock(frozen_at=START)
        with db.writing(engine) as session:
            self.people = factories.make_followers(session, account.id, 6, now=START)
        self._batches = 0

    def owe(self, text: str = "你好", person: int = 0, **values: Any) -> int:
        """A customer-service reply."""
        given: dict[str, Any] = {
            "channel": "customer_service",
            "purpose": "reply",
            "purpose_id": 1,
            "payload": {"content": {"text": text}},
            "follower_id": self.people[person],
        } | values
        with db.writing(self.engine) as session:
            found = outbox.put(session, account_id=self.account.id, now=self.clock(), **given)
        assert found is not None
        return found

    def owe_batch(self, client_msg_id: str = "m1", month: str = "2025-03", **values: Any) -> int:
        self._batches += 1
        payload = {
            "target": "open_ids",
            "open_ids": [factories.open_id(1), factories.open_id(2)],
            "content": {"text": client_msg_id},
            "client_msg_id": client_msg_id,
            "month": month,
        }
        return self.owe(
            **{
                "channel": "mass",
                "purpose": "batch",
                "purpose_id": self._batches,
                "payload": payload,
                "follower_id": None,
            }
            | values
        )

    def drain(self, gateway: Gateway, limit: int = 50) -> int:
        return outbox.drain(self.engine, gateway.of, self.clock, limit=limit)

    def later(self, **span: float) -> None:
        self.clock.move_to(self.clock() + timedelta(**span))

    def go_to(self, moment: str) -> None:
        self.clock.move_to(at(moment))

    def row(self, row_id: int) -> Any:
        with db.reading(self.engine) as session:
            return session.execute(sa.select(table).where(table.c.id == row_id)).one()

    def status(self, row_id: int) -> str:
        return str(self.row(row_id).status)

    def wait(self, row_id: int) -> float:
        row = self.row(row_id)
        assert row.status == "waiting"
        return float((row.not_before - self.clock()).total_seconds())

    def abandon(self, row_id: int) -> None:
        """As if a process had claimed the row and died during the call."""
        with db.writing(self.engine) as session:
            session.execute(
                sa.update(table)
                .where(table.c.id == row_id)
                .values(
                    status="sending",
                    attempts=table.c.attempts + 1,
                    first_try_at=self.clock(),
                    lease_until=self.clock() + LEASE,
                )
            )


@pytest.fixture
def desk(engine: sa.Engine, account: Account) -> Iterator[Desk]:
    return Desk(engine, account)


# --- the plain way


def test_a_message_leaves_once_and_its_receipt_is_stored(desk: Desk) -> None:
    gateway = Gateway()
    row_id = desk.owe("你好")
    assert desk.drain(gateway) == 1
    assert desk.drain(gateway) == 0
    [(path, payload)] = gateway.calls
    assert path.endswith("/message/custom/send")
    assert payload["touser"] == factories.open_id(1)
    row = desk.row(row_id)
    assert (row.status, row.attempts, row.sent_at, row.errcode) == ("sent", 1, START, None)


def test_a_key_is_owed_once(desk: Desk) -> None:
    desk.owe(key="later:7")
    with db.writing(desk.engine) as session:
        again = outbox.put(
            session,
            account_id=desk.account.id,
            channel="customer_service",
            purpose="later",
            purpose_id=1,
            payload={},
            now=START,
            key="later:7",
        )
    assert again is None


def test_a_message_waits_for_its_time(desk: Desk) -> None:
    gateway = Gateway()
    desk.owe(not_before=START + timedelta(minutes=5))
    assert desk.drain(gateway) == 0
    desk.later(minutes=5)
    assert desk.drain(gateway) == 1


def test_replies_leave_before_campaigns(desk: Desk) -> None:
    gateway = Gateway()
    desk.owe("campaign", person=0, purpose="delivery")
    desk.owe("reply", person=1)
    assert desk.drain(gateway, limit=1) == 1
    assert gateway.texts() == ["reply"]


def test_messages_to_one_follower_keep_their_order(desk: Desk) -> None:
    gateway = Gateway()
    for number in range(8):
        desk.owe(str(number), person=0)
        desk.owe("other", person=1)
    assert desk.drain(gateway) == 16
    assert [text for text in gateway.texts() if text != "other"] == [str(n) for n in range(8)]


def test_only_deliveries_and_batches_wait_to_be_read_by_their_run(desk: Desk) -> None:
    assert desk.row(desk.owe()).collected
    assert not desk.row(desk.owe(purpose="delivery")).collected
    assert not desk.row(desk.owe_batch()).collected


def test_a_channel_nobody_knows_fails_its_row(desk: Desk) -> None:
    row_id = desk.owe(channel="pigeon")
    desk.drain(Gateway())
    assert desk.status(row_id) == "failed"


# --- who is written to


@pytest.mark.parametrize("values", [{"subscribed": False}, {"erased_at": START}])
def test_a_follower_who_left_gets_nothing(desk: Desk, values: dict[str, Any]) -> None:
    gateway = Gateway()
    row_id = desk.owe()
    with db.writing(desk.engine) as session:
        session.execute(
            sa.update(followers).where(followers.c.id == desk.people[0]).values(**values)
        )
    desk.drain(gateway)
    assert gateway.calls == []
    assert (desk.status(row_id), desk.row(row_id).error) == ("failed", "left")


def test_a_batch_names_the_same_people_at_every_repeat_whoever_left_since(
    desk: Desk, batch_of: int
) -> None:
    gateway = Gateway(NO_ANSWER)
    content = {"target": "open_ids", "content": {"text": "hi"}, "client_msg_id": "m1"}
    desk.owe_batch(payload={**content, "batch_id": batch_of, "month": "2025-03"})
    desk.drain(gateway)
    with db.writing(desk.engine) as session:
        session.execute(
            sa.update(followers).where(followers.c.id == desk.people[1]).values(subscribed=False)
        )
    desk.later(seconds=60)
    desk.drain(gateway)
    assert [payload["touser"] for _path, payload in gateway.calls] == [
        [factories.open_id(number) for number in (1, 2, 3)]
    ] * 2


@pytest.fixture
def batch_of(desk: Desk) -> int:
    """A batch of the first three followers; the fourth is in another one."""
    return make_batch(desk, {0: 77, 2: 77, 1: 77, 3: 78})


def make_batch(desk: Desk, members: dict[int, int]) -> int:
    with db.writing(desk.engine) as session:
        campaign_id = session.execute(
            sa.insert(campaigns)
            .values(
                account_id=desk.account.id,
                name="spring",
                segment="all",
                schedule={},
                channels=["mass"],
                content={"text": "hi"},
                links={},
                status="scheduled",
                created_at=START,
                created_by="Ann",
            )
            .returning(campaigns.c.id)
        ).scalar_one()
        run_id = session.execute(
            sa.insert(campaign_runs)
            .values(
                account_id=desk.account.id,
                campaign_id=campaign_id,
                due_at=START,
                status="running",
                content={"text": "hi"},
                planned_to=0,
                created_at=START,
            )
            .returning(campaign_runs.c.id)
        ).scalar_one()
        for person, batch_id in members.items():
            session.execute(
                sa.insert(deliveries).values(
                    account_id=desk.account.id,
                    run_id=run_id,
                    follower_id=desk.people[person],
                    status="planned",
                    wave=1,
                    batch_id=batch_id,
                )
            )
    return 77


# --- errors


def test_a_temporary_error_waits_longer_each_time(desk: Desk) -> None:
    gateway = Gateway(*[refusal(50000, permanent=False)] * 4)
    row_id = desk.owe()
    waits = []
    for _ in range(4):
        desk.drain(gateway)
        waits.append(desk.wait(row_id))
        desk.later(seconds=waits[-1])
    desk.drain(gateway)
    assert waits == [10, 20, 40, 80]
    assert desk.status(row_id) == "sent"


def test_a_message_nobody_could_send_in_time_expires(desk: Desk) -> None:
    gateway = Gateway(*[NEVER_LEFT] * 3)
    row_id = desk.owe(expires_at=START + timedelta(seconds=25))
    for _ in range(3):
        desk.drain(gateway)
        desk.later(seconds=15)
    assert desk.status(row_id) == "expired"
    assert len(gateway.calls) == 2


def test_a_waiting_message_past_its_expiry_expires_even_while_the_account_is_stopped(
    desk: Desk,
) -> None:
    row_id = desk.owe(expires_at=START + timedelta(seconds=25))
    with db.writing(desk.engine) as session:
        accounts.stop(session, desk.account.id, "test", START)
    desk.later(seconds=25)
    desk.drain(Gateway())
    assert desk.status(row_id) == "expired"


@pytest.mark.parametrize("errcode", [45015, 45047, 43004, 50005])
def test_a_permanent_error_fails_with_its_code(desk: Desk, errcode: int) -> None:
    gateway = Gateway(refusal(errcode))
    row_id = desk.owe()
    desk.drain(gateway)
    desk.later(hours=1)
    desk.drain(gateway)
    assert len(gateway.calls) == 1
    assert (desk.status(row_id), desk.row(row_id).errcode) == ("failed", errcode)


def test_48001_is_remembered_on_the_account(desk: Desk) -> None:
    desk.owe_batch()
    desk.drain(Gateway(refusal(48001)))
    with db.reading(desk.engine) as session:
        assert accounts.by_id(session, desk.account.id).rights == {"mass": False}


def test_customer_service_without_an_answer_is_unknown_and_never_sent_again(desk: Desk) -> None:
    gateway = Gateway(NO_ANSWER)
    row_id = desk.owe()
    desk.drain(gateway)
    desk.later(days=2)
    desk.drain(gateway)
    assert desk.status(row_id) == "unknown"
    assert len(gateway.calls) == 1


def test_a_request_that_never_left_is_sent_again(desk: Desk) -> None:
    gateway = Gateway(NEVER_LEFT)
    row_id = desk.owe()
    desk.drain(gateway)
    desk.later(seconds=10)
    desk.drain(gateway)
    assert desk.status(row_id) == "sent"


def test_an_account_whose_secrets_do_not_open_loses_nothing(desk: Desk) -> None:
    row_id = desk.owe()

    def refuse(account_id: int) -> Any:
        raise Refused("a stored account secret does not open")

    assert outbox.drain(desk.engine, refuse, desk.clock) == 1
    assert desk.wait(row_id) == 10


# --- mass: no answer


def test_a_mass_call_without_an_answer_is_repeated_with_the_same_id(desk: Desk) -> None:
    gateway = Gateway(NO_ANSWER, refusal(-1, permanent=False), refusal(45065, msgid=31))
    row_id = desk.owe_batch("m1")
    desk.drain(gateway)
    assert desk.wait(row_id) == 60
    desk.later(seconds=59)
    assert desk.drain(gateway) == 0
    desk.later(seconds=1)
    desk.drain(gateway)
    desk.later(seconds=60)
    desk.drain(gateway)
    assert gateway.ids() == ["m1", "m1", "m1"]
    row = desk.row(row_id)
    assert (row.status, row.receipt["msg_id"], row.receipt["repeated"]) == ("sent", "31", True)


@pytest.mark.slow  # twenty hours in steps of ten minutes
def test_a_mass_call_is_not_repeated_after_twenty_hours(desk: Desk) -> None:
    gateway = Gateway(*[NO_ANSWER] * 100)
    row_id = desk.owe_batch("m1")
    while desk.status(row_id) == "waiting":
        desk.drain(gateway)
        desk.later(minutes=10)
    assert desk.status(row_id) == "unknown"
    assert set(gateway.ids()) == {"m1"}
    assert 20 < len(gateway.calls) < 40
    assert desk.clock() <= START + timedelta(hours=20)


def test_the_lease_of_a_dead_process_counts_as_no_answer(desk: Desk) -> None:
    gateway = Gateway()
    service, mass = desk.owe(), desk.owe_batch("m1")
    desk.abandon(service)
    desk.abandon(mass)
    desk.later(seconds=LEASE.total_seconds() - 1)
    assert desk.drain(gateway) == 0
    desk.later(seconds=1)
    desk.drain(gateway)
    assert desk.status(service) == "unknown"
    assert desk.wait(mass) == 60
    desk.later(seconds=60)
    desk.drain(gateway)
    assert gateway.ids() == ["m1"]
    assert desk.status(mass) == "sent"


def test_what_a_dead_process_claimed_but_never_began_to_send_is_sent_by_the_next(
    desk: Desk,
) -> None:
    gateway = Gateway()
    rows = [desk.owe(), desk.owe_batch("m1")]
    with db.writing(desk.engine) as session:
        assert len(outbox_claims.claim_many(session, desk.clock(), 50)) == 1
        assert outbox_claims.claim_turn(session, desk.account.id, "mass", desk.clock()) is not None
    desk.later(seconds=LEASE.total_seconds() - 1)
    assert desk.drain(gateway) == 0
    desk.later(seconds=1)
    assert desk.drain(gateway) == 2
    assert [desk.status(row_id) for row_id in rows] == ["sent", "sent"]
    assert len(gateway.calls) == 2


def test_an_answer_that_comes_after_the_lease_was_lost_changes_nothing(desk: Desk) -> None:
    row_id = desk.owe()
    other = Gateway()

    def hang() -> None:
        desk.later(seconds=LEASE.total_seconds())
        desk.drain(other)

    desk.drain(Gateway(hook=hang))
    assert desk.status(row_id) == "unknown"
    assert other.calls == []


# --- mass: turns


def test_mass_calls_of_an_account_go_one_after_another_in_order(desk: Desk) -> None:
    busy: list[int] = []
    gateway = Gateway(hook=lambda: busy.append(threading.active_count()))
    for number in range(5):
        desk.owe_batch(f"m{number}")
    assert desk.drain(gateway) == 5
    assert gateway.ids() == [f"m{number}" for number in range(5)]


def test_while_a_batch_waits_for_its_repeat_the_next_ones_wait_too(desk: Desk) -> None:
    gateway = Gateway(NO_ANSWER)
    desk.owe_batch("m1")
    desk.owe_batch("m2")
    desk.drain(gateway)
    desk.later(seconds=30)
    desk.drain(gateway)
    assert gateway.ids() == ["m1"]
    desk.later(seconds=30)
    desk.drain(gateway)
    assert gateway.ids() == ["m1", "m1", "m2"]


def test_a_batch_of_a_later_wave_keeps_nobody_waiting(desk: Desk) -> None:
    gateway = Gateway()
    desk.owe_batch("later", not_before=START + timedelta(hours=1))
    desk.owe_batch("now")
    desk.drain(gateway)
    assert gateway.ids() == ["now"]


def test_nothing_else_of_the_account_is_called_while_a_mass_call_is_under_way(desk: Desk) -> None:
    inner = Gateway()
    desk.owe_batch("m1")
    desk.owe_batch("m2")
    outer = Gateway(hook=lambda: desk.drain(inner) and None)
    desk.drain(outer)
    assert inner.calls == []
    assert outer.ids() == ["m1", "m2"]


@pytest.mark.slow  # a hundred calls, each with its own drain
def test_sixty_calls_a_minute_and_a_hundred_a_day(desk: Desk) -> None:
    gateway = Gateway()
    rows = [desk.owe_batch(f"m{number}") for number in range(103)]
    while desk.drain(gateway):
        pass
    assert len(gateway.calls) == 60
    assert desk.wait(rows[60]) == 60
    desk.later(seconds=60)
    while desk.drain(gateway):
        pass
    assert len(gateway.calls) == 100
    desk.go_to("2025-03-03 23:59")
    desk.drain(gateway)
    assert len(gateway.calls) == 100
    desk.go_to("2025-03-04 00:00")
    desk.drain(gateway)
    assert len(gateway.calls) == 103
    assert gateway.ids() == [f"m{number}" for number in range(103)]


def test_a_preview_takes_nobodys_turn_and_is_not_repeated(desk: Desk) -> None:
    gateway = Gateway(NO_ANSWER)
    desk.abandon(desk.owe_batch("m1"))
    row_id = desk.owe(
        channel="mass",
        purpose="preview",
        payload={"target": "preview", "content": {"text": "hi"}},
    )
    desk.drain(gateway)
    assert gateway.calls[0][0].endswith("/mass/preview")
    assert desk.status(row_id) == "unknown"


# --- mass: the month


def test_no_mass_call_is_made_in_a_months_last_half_hour_and_its_slots_are_not_used_in_the_next(
    desk: Desk,
) -> None:
    gateway = Gateway()
    desk.go_to("2025-03-31 23:29")
    first = desk.owe_batch("m1")
    desk.drain(gateway)
    desk.go_to("2025-03-31 23:30")
    second = desk.owe_batch("m2")
    desk.drain(gateway)
    assert (desk.status(first), desk.status(second)) == ("sent", "waiting")
    desk.go_to("2025-04-01 00:00")
    third = desk.owe_batch("m3", month="2025-04")
    desk.drain(gateway)
    assert (desk.status(second), desk.row(second).error) == ("expired", "month_turned")
    assert desk.status(third) == "sent"
    assert gateway.ids() == ["m1", "m3"]


def test_a_repeat_may_go_in_the_last_half_hour_but_not_into_the_next_month(desk: Desk) -> None:
    gateway = Gateway(NO_ANSWER, NO_ANSWER)
    desk.go_to("2025-03-31 23:29")
    row_id = desk.owe_batch("m1")
    desk.drain(gateway)
    desk.later(minutes=1)
    desk.drain(gateway)
    assert gateway.ids() == ["m1", "m1"]
    desk.go_to("2025-04-01 00:00")
    desk.drain(gateway)
    assert gateway.ids() == ["m1", "m1"]
    assert (desk.status(row_id), desk.row(row_id).error) == ("unknown", "month_turned")


# --- operators


def test_an_emergency_stop_holds_everything_back_until_go(desk: Desk) -> None:
    gateway = Gateway()
    desk.owe()
    desk.owe_batch()
    with db.writing(desk.engine) as session:
        accounts.stop(session, desk.account.id, "wrong content", START)
    assert desk.drain(gateway) == 0
    with db.writing(desk.engine) as session:
        accounts.go(session, desk.account.id)
    assert desk.drain(gateway) == 2


def test_campaigns_rest_in_quiet_hours_and_answers_do_not(desk: Desk) -> None:
    gateway = Gateway()
    with db.writing(desk.engine) as session:
        session.execute(sa.update(accounts_table).values(limits={"quiet_hours": "22:00-08:00"}))
    desk.go_to("2025-03-03 21:00")
    batch = desk.owe_batch()
    campaign = desk.owe("券", purpose="delivery", purpose_id=7, channel="template")
    desk.go_to("2025-03-04 00:00")
    answer = desk.owe("在的", 1)
    assert desk.drain(gateway) == 1
    assert desk.drain(gateway) == 0
    assert [desk.status(one) for one in (batch, campaign, answer)] == ["waiting", "waiting", "sent"]
    desk.go_to("2025-03-04 08:00")
    assert desk.drain(gateway) == 2
    assert desk.status(batch) == "sent"


def test_a_stop_during_a_drain_holds_the_next_batch_back(desk: Desk) -> None:
    def stop() -> None:
        with db.writing(desk.engine) as session:
            accounts.stop(session, desk.account.id, "wrong content", START)

    gateway = Gateway(hook=stop)
    desk.owe_batch("m1")
    desk.owe_batch("m2")
    desk.drain(gateway)
    assert gateway.ids() == ["m1"]


def test_cancelling_takes_back_what_waits_but_cannot_unsay_what_may_have_been_said(
    desk: Desk,
) -> None:
    gateway = Gateway(NO_ANSWER)
    asked, waiting, other = desk.owe_batch("m1"), desk.owe_batch("m2"), desk.owe_batch("m3")
    desk.drain(gateway)
    with db.writing(desk.engine) as session:
        assert outbox.cancel(session, "batch", [1, 2]) == 2
    assert [desk.status(row_id) for row_id in (asked, waiting, other)] == [
        "unknown",
        "cancelled",
        "waiting",
    ]


def test_old_rows_are_pruned_once_their_run_has_read_them(desk: Desk) -> None:
    desk.owe()
    unread = desk.owe(purpose="delivery", person=1)
    desk.drain(Gateway())
    waiting = desk.owe(person=2)
    with db.writing(desk.engine) as session:
        assert outbox.prune(session, START + timedelta(days=1), 100) == 1
    assert (desk.status(unread), desk.status(waiting)) == ("sent", "waiting")


# --- material


def test_a_file_is_sent_by_its_media_id_and_waits_for_its_upload(desk: Desk) -> None:
    gateway = Gateway()
    row_id = desk.owe(payload={"content": {"image": {"file": "spring.png"}}})
    with db.writing(desk.engine) as session:
        session.execute(
            sa.insert(media).values(
                account_id=desk.account.id,
                kind="image",
                name="spring.png",
                sha256="1",
                data=b"png",
            )
        )
    desk.drain(gateway)
    assert gateway.calls == []
    assert desk.wait(row_id) == 10
    with db.writing(desk.engine) as session:
        session.execute(sa.update(media).values(media_id="MEDIA"))
    desk.later(seconds=10)
    desk.drain(gateway)
    assert gateway.calls[0][1]["image"]["media_id"] == "MEDIA"


def owe_picture(desk: Desk, client_msg_id: str) -> int:
    """A batch whose picture is kept here and never gets to the platform."""
    with db.writing(desk.engine) as session:
        found = {"account_id": desk.account.id, "kind": "image", "name": "spring.png"}
        statement = db.insert(session, media).values(**found, sha256="1", data=b"png")
        session.execute(statement.on_conflict_do_nothing())
    payload = {
        "target": "open_ids",
        "open_ids": [factories.open_id(1), factories.open_id(2)],
        "content": {"image": {"file": "spring.png"}},
        "client_msg_id": client_msg_id,
        "month": "2025-03",
    }
    return desk.owe_batch(payload=payload)


def test_a_batch_without_its_material_lets_later_ones_pass_and_goes_when_it_is_there(
    desk: Desk,
) -> None:
    gateway = Gateway()
    waiting = owe_picture(desk, "m1")
    desk.owe_batch("m2")
    desk.drain(gateway)
    assert gateway.ids() == ["m2"]
    row = desk.row(waiting)
    assert (row.status, row.first_try_at, row.unanswered_at) == ("waiting", None, None)
    desk.owe_batch("m3")
    desk.drain(gateway)
    assert gateway.ids() == ["m2", "m3"]
    with db.writing(desk.engine) as session:
        session.execute(sa.update(media).values(media_id="MEDIA"))
    desk.later(seconds=10)
    desk.owe_batch("m4")
    desk.drain(gateway)
    assert gateway.ids() == ["m2", "m3", "m1", "m4"]


def test_a_batch_without_its_material_takes_none_of_the_days_calls(desk: Desk) -> None:
    owe_picture(desk, "m1")
    for _ in range(5):
        desk.drain(Gateway())
        desk.later(hours=1)
    asked = desk.clock()
    desk.owe_batch("m2")
    desk.drain(Gateway())
    with db.reading(desk.engine) as session:
        key = mass_turns.key(desk.account.id)
        assert mass_turns.calls_from(kept.read(session, key, desk.clock())) == [asked]


def test_a_batch_of_unknown_outcome_whose_material_went_is_not_passed(desk: Desk) -> None:
    gateway = Gateway(NO_ANSWER)
    asked = owe_picture(desk, "m1")
    with db.writing(desk.engine) as session:
        session.execute(sa.update(media).values(media_id="MEDIA"))
    desk.drain(gateway)
    with db.writing(desk.engine) as session:
        session.execute(sa.update(media).values(media_id=None))
    desk.owe_batch("m2")
    desk.later(seconds=60)
    desk.drain(gateway)
    assert gateway.ids() == ["m1"]
    assert desk.row(asked).unanswered_at == START
    desk.later(hours=20)
    desk.drain(gateway)
    assert desk.status(asked) == "unknown"
    assert gateway.ids() == ["m1", "m2"]


def test_a_message_whose_material_never_comes_fails_with_the_reason(desk: Desk) -> None:
    gateway = Gateway()
    batch = owe_picture(desk, "m1")
    reply = desk.owe(payload={"content": {"image": {"file": "spring.png"}}})
    tries = 0
    while desk.status(batch) == "waiting":
        desk.drain(gateway)
        tries += 1
        assert tries <= WITHOUT_MATERIAL
        desk.later(hours=1)
    assert gateway.calls == []
    for row_id in (batch, reply):
        row = desk.row(row_id)
        assert row.status == "failed"
        assert row.error == "the file 'spring.png' is not uploaded yet: given up after 30 tries"


# --- many at once


def test_drains_at_once_send_every_row_exactly_once(desk: Desk) -> None:
    gateway = Gateway()
    for number in range(40):
        desk.owe(f"reply {number}", person=number % 6)
    for number in range(10):
        desk.owe_batch(f"m{number}")

    def work() -> None:
        for _ in range(12):
            desk.drain(gateway, limit=7)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    while desk.drain(gateway):
        pass
    texts = sorted(gateway.texts())
    assert texts == sorted([f"reply {n}" for n in range(40)] + [f"m{n}" for n in range(10)])
    assert gateway.ids() == [f"m{number}" for number in range(10)]


def test_accounts_do_not_wait_for_each_other(desk: Desk) -> None:
    with db.writing(desk.engine) as session:
        other = factories.make_account(session, "second", now=START)
        session.execute(
            sa.update(accounts_table)
            .where(accounts_table.c.id == desk.account.id)
            .values(stopped_at=START)
        )
        outbox.put(
            session,
            account_id=other,
            channel="mass",
            purpose="batch",
            purpose_id=9,
            payload={
                "target": "tag",
                "tag_id": 101,
                "content": {"text": "hi"},
                "client_msg_id": "other",
                "month": "2025-03",
            },
            now=START,
        )
    desk.owe_batch("m1")
    gateway = Gateway()
    desk.drain(gateway)
    assert gateway.ids() == ["other"]


@pytest.mark.parametrize("errcode", [43004, 50005])
def test_a_refusal_that_says_nobody_follows_is_believed(desk: Desk, errcode: int) -> None:
    first, second = desk.owe(), desk.owe()
    desk.later(seconds=1)
    assert desk.drain(Gateway(refusal(errcode))) == 2
    assert [desk.row(one).status for one in (first, second)] == ["failed", "failed"]
    assert desk.row(second).error == outbox.LEFT  # the platform was not asked again
    with db.reading(desk.engine) as session:
        gone = sa.select(followers.c.subscribed).where(followers.c.id == desk.people[0])
        assert session.execute(gone).scalar() is False


@pytest.mark.parametrize("errcode", [45015, 45047])
def test_a_refusal_for_want_of_a_window_closes_it_but_none_that_opened_since(
    desk: Desk, errcode: int
) -> None:
    person = desk.people[0]
    with db.writing(desk.engine) as session:
        follower_state.open_window(session, desk.account.id, person, "message", START)
    desk.owe()
    desk.later(seconds=1)
    desk.drain(Gateway(refusal(errcode)))
    with db.writing(desk.engine) as session:
        assert follower_state.take_window(session, person, desk.clock(), long_only=True) is None
        desk.later(seconds=1)
        follower_state.open_window(session, desk.account.id, person, "message", desk.clock())
        follower_state.close_windows(session, person, START)
        assert follower_state.take_window(session, person, desk.clock(), long_only=True) is not None


def test_an_open_id_of_another_account_is_final_and_nobody_left(desk: Desk) -> None:
    row = desk.owe()
    desk.drain(Gateway(refusal(40003)))
    assert desk.status(row) == "failed"
    with db.reading(desk.engine) as session:
        gone = sa.select(followers.c.subscribed).where(followers.c.id == desk.people[0])
        assert session.execute(gone).scalar() is True
