"""Accepts of subscription notices: taken once, given back when nothing left, and adding up."""

from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sa

from bot import consents, db
from bot.accounts import Account
from bot.tables.accounts import templates
from bot.tables.campaigns import deliveries
from bot.tables.followers import consent_entries
from tests import factories
from tests.bot.campaigns.makers import make_campaign, make_delivery, make_run

TPL = "TPL_points"


@pytest.fixture
def session(engine: sa.Engine, account: Account) -> Iterator[db.Session]:
    """One that begins when the account is there."""
    with db.writing(engine) as found:
        yield found


@pytest.fixture
def people(session: db.Session, account: Account, now: datetime) -> list[int]:
    return factories.make_followers(session, account.id, 3, now=now)


@pytest.fixture
def owed(session: db.Session, account: Account, people: list[int], now: datetime) -> list[int]:
    """A delivery for each follower."""
    campaign = make_campaign(session, account.id, now=now)
    run = make_run(session, account.id, campaign, now=now)
    return [make_delivery(session, account.id, run, one, channel="subscription") for one in people]


def allow(session: db.Session, account: Account, who: int, times: int, now: datetime) -> None:
    for number in range(times):
        at = now + timedelta(seconds=number)
        consents.accepted(session, account.id, who, TPL, at, f"test:{who}:{at}")


def ended(delivery: int, status: str, errcode: int | None = None, **more: Any) -> Any:
    row = {"channel": "subscription", "purpose_id": delivery, "status": status}
    return SimpleNamespace(**{**row, "errcode": errcode, **more})


def left(session: db.Session, account: Account) -> dict[int, int]:
    return consents.left(session, account.id, TPL, 0, 10**9)


def causes(session: db.Session) -> Counter[str]:
    return Counter(session.execute(sa.select(consent_entries.c.cause)).scalars())


def test_an_accept_is_taken_by_one_delivery_only(
    session: db.Session, account: Account, people: list[int], owed: list[int], now: datetime
) -> None:
    allow(session, account, people[0], 1, now)
    allow(session, account, people[1], 2, now)
    wanted = dict(zip(owed, people, strict=True))
    assert consents.take(session, account.id, TPL, wanted, now) == set(people[:2])
    assert left(session, account) == {people[1]: 1}
    again = {owed[2] + 100: people[0], owed[2] + 101: people[1]}
    assert consents.take(session, account.id, TPL, again, now) == {people[1]}
    assert left(session, account) == {}
    assert consents.differences(session, account.id) == []


def test_the_same_push_again_is_no_second_accept(
    session: db.Session, account: Account, people: list[int], now: datetime
) -> None:
    for _ in range(3):
        consents.accepted(session, account.id, people[0], TPL, now, "push:7:0")
    assert left(session, account) == {people[0]: 1}


@pytest.mark.parametrize(
    ("status", "errcode", "cause", "remaining"),
    [
        ("sent", None, None, 1),
        ("unknown", None, None, 1),
        ("expired", None, "back", 2),
        ("cancelled", None, "back", 2),
        ("failed", 47003, "back", 2),
        ("failed", 43101, "refused", 0),
    ],
)
def test_what_became_of_the_message_says_what_became_of_the_accept(
    session: db.Session,
    account: Account,
    people: list[int],
    owed: list[int],
    now: datetime,
    status: str,
    errcode: int | None,
    cause: str | None,
    remaining: int,
) -> None:
    allow(session, account, people[0], 2, now)
    consents.take(session, account.id, TPL, {owed[0]: people[0]}, now)
    for _ in range(2):  # a second collector changes nothing
        consents.settle(session, [ended(owed[0], status, errcode)], now)
    assert left(session, account).get(people[0], 0) == remaining
    expected = {"accepted": 2, "sent": 1} | ({cause: 1} if cause else {})
    assert causes(session) == expected
    assert consents.differences(session, account.id) == []


def test_other_channels_take_and_give_nothing(
    session: db.Session, account: Account, people: list[int], owed: list[int], now: datetime
) -> None:
    allow(session, account, people[0], 1, now)
    consents.take(session, account.id, TPL, {owed[0]: people[0]}, now)
    consents.settle(session, [ended(owed[0], "failed", channel="template")], now)
    assert left(session, account) == {}


def test_a_rejection_ends_all_and_a_later_accept_begins_anew(
    session: db.Session, account: Account, people: list[int], now: datetime
) -> None:
    allow(session, account, people[0], 3, now)
    consents.rejected(session, account.id, people[0], TPL, now, "push:9:0")
    assert left(session, account) == {}
    consents.accepted(session, account.id, people[0], TPL, now, "push:10:0")
    assert left(session, account) == {people[0]: 1}
    assert consents.differences(session, account.id) == []
    total = consents.totals(session, account.id)[TPL]
    assert (total.people, total.left, total.accepted, total.rejected) == (1, 1, 4, 0)


def test_what_comes_back_after_a_rejection_permits_nothing(
    session: db.Session, account: Account, people: list[int], owed: list[int], now: datetime
) -> None:
    allow(session, account, people[0], 1, now)
    consents.take(session, account.id, TPL, {owed[0]: people[0]}, now)
    consents.rejected(session, account.id, people[0], TPL, now, "no")
    consents.settle(session, [ended(owed[0], "cancelled")], now)
    assert left(session, account) == {}
    assert consents.differences(session, account.id) == []


def test_a_long_term_template_keeps_its_accept(
    session: db.Session, account: Account, people: list[int], owed: list[int], now: datetime
) -> None:
    session.execute(
        sa.insert(templates).values(
            account_id=account.id, kind="subscription", template_id=TPL, title="", content="",
            example="", long_term=True, read_at=now,
        )
    )  # fmt: skip
    allow(session, account, people[0], 1, now)
    for delivery in owed[:2]:
        assert consents.take(session, account.id, TPL, {delivery: people[0]}, now) == {people[0]}
        consents.settle(session, [ended(delivery, "expired")], now)
    assert left(session, account) == {people[0]: 1}
    assert consents.used(session, account.id, TPL, now - timedelta(days=1)) == 0


def test_results_belong_to_the_oldest_message_without_one(
    session: db.Session, account: Account, people: list[int], owed: list[int], now: datetime
) -> None:
    allow(session, account, people[0], 3, now)
    # two campaigns of one template to one follower
    for delivery in owed[:2]:
        consents.take(session, account.id, TPL, {delivery: people[0]}, now)
    consents.told(session, account.id, people[0], TPL, "1001", None, now)
    consents.told(session, account.id, people[0], TPL, "1002", "20001 system failed", now)
    rows = session.execute(
        sa.select(deliveries.c.status, deliveries.c.result).order_by(deliveries.c.id)
    ).all()
    assert [tuple(row) for row in rows] == [
        ("planned", "success"), ("failed", "20001 system failed"), ("planned", None),
    ]  # fmt: skip
    assert left(session, account) == {people[0]: 1}
    # a third result is of a message that somebody else sent
    consents.told(session, account.id, people[0], TPL, "1003", None, now)
    assert left(session, account) == {}
    consents.told(session, account.id, people[0], TPL, "1003", None, now)
    assert causes(session)["reported"] == 1
    assert consents.differences(session, account.id) == []


def test_nothing_of_an_erased_follower_stays(
    session: db.Session, account: Account, people: list[int], owed: list[int], now: datetime
) -> None:
    allow(session, account, people[0], 2, now)
    consents.take(session, account.id, TPL, {owed[0]: people[0]}, now)
    consents.forget(session, people[0])
    consents.settle(session, [ended(owed[0], "cancelled")], now)
    assert left(session, account) == {}
    assert causes(session) == {}
