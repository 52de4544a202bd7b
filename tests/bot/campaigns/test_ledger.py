"""Nobody ever has more than four slots of a month taken, and the counters always equal the rows."""

import random
import threading
from datetime import datetime, timedelta

import pytest
import sqlalchemy as sa

from bot import accounts, db
from bot.accounts import Account
from bot.campaigns import external_sends, ledger
from bot.errors import Refused
from bot.tables.campaigns import deliveries, external_mass_sends, mass_ledger
from bot.tables.followers import followers
from tests import factories
from tests.bot.campaigns.makers import make_campaign, make_delivery, make_run, slots
from tests.factories import at, open_id

MONTH = "2025-03"


def charge(session: db.Session, account_id: int, now: datetime) -> None:
    while external_sends.charge_some(session, account_id, now):
        pass


def opening(
    session: db.Session,
    account_id: int,
    to_all: int,
    listed: list[str] | None,
    now: datetime,
    *,
    by: str,
) -> None:
    external_sends.opening(session, account_id, to_all, listed, now, by=by)
    charge(session, account_id, now)


@pytest.fixture
def people(engine: sa.Engine, account: Account, now: datetime) -> list[int]:
    with db.writing(engine) as session:
        return factories.make_followers(session, account.id, 20, now=now)


def test_four_slots_are_given_and_no_fifth(
    account: Account, people: list[int], session: db.Session
) -> None:
    for _ in range(4):
        assert ledger.reserve(session, account.id, people[:3], MONTH) == set(people[:3])
    assert ledger.reserve(session, account.id, people[:5], MONTH) == set(people[3:5])
    assert slots(session, people[0], MONTH) == (4, 0, 0)


def test_another_month_has_slots_of_its_own(
    account: Account, people: list[int], session: db.Session
) -> None:
    for _ in range(4):
        ledger.reserve(session, account.id, people, MONTH)
    assert ledger.reserve(session, account.id, people, "2025-04") == set(people)


def test_nobody_to_reserve_for_is_no_query(account: Account, session: db.Session) -> None:
    assert ledger.reserve(session, account.id, [], MONTH) == set()


def test_followers_of_another_account_get_nothing(
    account: Account, people: list[int], now: datetime, session: db.Session
) -> None:
    other = factories.make_account(session, "other", now=now)
    assert ledger.reserve(session, other, people, MONTH) == set()


def test_slots_are_spent_and_given_back(
    account: Account, people: list[int], now: datetime, session: db.Session
) -> None:
    run = make_run(session, account.id, make_campaign(session, account.id, now=now), now=now)
    for person in people[:4]:
        make_delivery(session, account.id, run, person, slot="reserved", month=MONTH)
    ledger.reserve(session, account.id, people[:4], MONTH)
    ours = deliveries.c.run_id == run
    ledger.spend(session, account.id, sa.and_(ours, deliveries.c.follower_id <= people[1]))
    assert slots(session, people[0], MONTH) == (0, 1, 0)
    assert slots(session, people[2], MONTH) == (1, 0, 0)
    assert ledger.check(session, account.id, MONTH) == []
    ledger.release(session, account.id, ours)
    assert slots(session, people[0], MONTH) == (0, 0, 0)
    assert slots(session, people[2], MONTH) == (0, 0, 0)
    assert ledger.check(session, account.id, MONTH) == []
    ledger.release(session, account.id, ours)
    assert slots(session, people[0], MONTH) == (0, 0, 0)


def test_the_recount_finds_and_mends_what_differs(
    engine: sa.Engine, account: Account, people: list[int], now: datetime
) -> None:
    with db.writing(engine) as session:
        run = make_run(session, account.id, make_campaign(session, account.id, now=now), now=now)
        make_delivery(session, account.id, run, people[0], slot="spent", month=MONTH)
        make_delivery(session, account.id, run, people[1], slot="reserved", month=MONTH)
        opening(session, account.id, 1, None, now, by="Ann")
        session.execute(sa.delete(mass_ledger).where(mass_ledger.c.follower_id == people[1]))
        wrong = ledger.check(session, account.id, MONTH)
        assert [(one.follower_id, one.spent, one.spent_should_be) for one in wrong] == [
            (people[0], 1, 2),
            (people[1], 0, 0),
        ]
        assert ledger.check(session, account.id, MONTH, people[1:2]) == wrong[1:]
    assert ledger.recount(engine, account.id, MONTH) == 2
    with db.reading(engine) as session:
        assert ledger.check(session, account.id, MONTH) == []
        assert slots(session, people[0], MONTH) == (0, 2, 1)
    assert ledger.recount(engine, account.id, MONTH) == 0


@pytest.mark.slow  # threads on a real database
def test_concurrent_reservations_never_exceed_four(
    engine: sa.Engine, account: Account, people: list[int]
) -> None:
    got: list[int] = []
    guard = threading.Lock()
    problems: list[BaseException] = []

    def take(seed: int) -> None:
        dice = random.Random(seed)
        try:
            for _ in range(12):
                with db.writing(engine) as session:
                    ledger.in_turn(session, account.id)
                    given = ledger.reserve(
                        session, account.id, dice.sample(people, dice.randint(1, 20)), MONTH
                    )
                with guard:
                    got.extend(given)
        except BaseException as problem:
            problems.append(problem)

    threads = [threading.Thread(target=take, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    with db.reading(engine) as session:
        for person in people:
            assert slots(session, person, MONTH)[0] == got.count(person) <= 4
    assert max(got.count(person) for person in people) == 4


def test_the_opening_balance_counts_for_everybody_present(
    account: Account, people: list[int], now: datetime, session: db.Session
) -> None:
    session.execute(
        sa.update(followers).where(followers.c.id == people[0]).values(subscribed=False)
    )
    listed = [open_id(3), open_id(3), open_id(4)]
    opening(session, account.id, 1, listed, now, by="Ann")
    assert slots(session, people[0], MONTH) == (0, 0, 0)
    assert slots(session, people[1], MONTH) == (0, 1, 1)
    assert slots(session, people[2], MONTH) == (0, 3, 3)
    assert slots(session, people[3], MONTH) == (0, 2, 2)
    assert ledger.check(session, account.id, MONTH) == []
    assert ledger.histogram(session, account.id, MONTH) == {0: 0, 1: 1, 2: 1, 3: 17, 4: 0}


def test_stating_the_opening_balance_lifts_the_block(now: datetime, session: db.Session) -> None:
    blank = factories.make_account(session, "blank", now=now, opening=False)
    assert not accounts.by_id(session, blank).opening_stated
    opening(session, blank, 0, None, now, by="Ann")
    assert accounts.by_id(session, blank).opening_stated


def test_the_same_opening_again_changes_nothing_and_more_adds_the_difference(
    account: Account, people: list[int], now: datetime, session: db.Session
) -> None:
    for number, charged in ((1, 1), (1, 1), (3, 3)):
        opening(session, account.id, number, None, now, by="Ann")
        assert slots(session, people[0], MONTH) == (0, charged, charged)
    with pytest.raises(Refused):
        opening(session, account.id, 2, None, now, by="Ann")


def test_an_opening_applied_again_next_month_charges_nobody(
    account: Account, people: list[int], now: datetime, session: db.Session
) -> None:
    opening(session, account.id, 2, None, now, by="Ann")
    opening(session, account.id, 2, None, at("2025-04-02 09:00"), by="Ann")
    assert slots(session, people[0], "2025-04") == (0, 0, 0)


def test_an_opening_with_unknown_open_ids_is_refused(
    account: Account, people: list[int], now: datetime, session: db.Session
) -> None:
    with pytest.raises(Refused, match="sync"):
        opening(session, account.id, 0, [open_id(1), "o_nobody"], now, by="Ann")


def test_followers_found_after_the_opening_are_charged_once_if_they_were_there_before(
    account: Account, people: list[int], now: datetime, session: db.Session
) -> None:
    opening(session, account.id, 2, None, now, by="Ann")
    later = now + timedelta(days=1)
    old = factories.make_follower(session, account.id, 100, now=now - timedelta(days=9))
    new = factories.make_follower(session, account.id, 101, now=later)
    for _ in range(2):
        charge(session, account.id, later)
    assert slots(session, old, MONTH) == (0, 2, 2)
    assert slots(session, new, MONTH) == (0, 0, 0)
    assert slots(session, people[0], MONTH) == (0, 2, 2)


def test_a_send_from_elsewhere_is_explained_once(
    account: Account, people: list[int], now: datetime, session: db.Session
) -> None:
    session.execute(
        sa.insert(external_mass_sends).values(
            account_id=account.id, source="event", msg_id="77", audience="unknown", times=1,
            month=MONTH, at=now,
        )
    )  # fmt: skip
    assert external_sends.unexplained(session, account.id) == ["77"]
    some = followers.c.id.in_(people[:2])
    external_sends.state_external(
        session, account.id, "tag", now, by="Bo", msg_id="77", members=some
    )
    charge(session, account.id, now)
    assert external_sends.unexplained(session, account.id) == []
    assert slots(session, people[0], MONTH) == (0, 1, 1)
    assert slots(session, people[2], MONTH) == (0, 0, 0)
    with pytest.raises(Refused, match="explained already"):
        external_sends.state_external(session, account.id, "all", now, by="Bo", msg_id="77")
    with pytest.raises(Refused, match="MsgID"):
        external_sends.state_external(session, account.id, "all", now, by="Bo", msg_id="78")


def test_what_may_still_be_ours_is_not_said_to_be_explained(
    account: Account, now: datetime, session: db.Session
) -> None:
    session.execute(
        sa.insert(external_mass_sends).values(
            account_id=account.id, source="event", msg_id="77", audience="unplaced", times=1,
            month=MONTH, at=now,
        )
    )  # fmt: skip
    with pytest.raises(Refused, match="one of ours"):
        external_sends.state_external(session, account.id, "all", now, by="Bo", msg_id="77")


def test_a_send_made_elsewhere_can_be_recorded_by_hand(
    account: Account, people: list[int], now: datetime, session: db.Session
) -> None:
    external_sends.state_external(session, account.id, "all", now, by="Bo")
    charge(session, account.id, now)
    external_sends.state_external(session, account.id, "none", now, by="Bo")
    external_sends.state_external(
        session, account.id, "listed", now, by="Bo", open_ids=[open_id(1)]
    )
    charge(session, account.id, now)
    assert slots(session, people[0], MONTH) == (0, 2, 2)
    assert slots(session, people[1], MONTH) == (0, 1, 1)
    for wrong in ("tag", "listed", "everyone"):
        with pytest.raises(Refused):
            external_sends.state_external(session, account.id, wrong, now, by="Bo")


def test_a_long_list_is_charged_in_short_steps_and_each_name_as_often_as_it_stands_there(
    account: Account,
    people: list[int],
    now: datetime,
    session: db.Session,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(external_sends, "ROWS", 3)
    listed = [open_id(number) for number in range(1, 11)] + [open_id(2)]
    external_sends.state_external(session, account.id, "listed", now, by="Bo", open_ids=listed)
    steps = 0
    while external_sends.charge_some(session, account.id, now):
        steps += 1
    assert steps == 4  # three threes of those listed once, and the one listed twice
    assert [slots(session, person, MONTH)[1] for person in people[:11]] == [1, 2, *[1] * 8, 0]
    assert ledger.check(session, account.id, MONTH) == []


def test_a_send_that_was_made_lies_in_the_past(
    account: Account, people: list[int], now: datetime, session: db.Session
) -> None:
    with pytest.raises(Refused, match="in the past"):
        external_sends.state_external(
            session, account.id, "all", now, by="Bo", at=now + timedelta(hours=1)
        )


def test_an_erased_follower_who_comes_back_keeps_the_charged_slots(
    account: Account, people: list[int], session: db.Session
) -> None:
    ledger.carry(session, account.id, people[0], MONTH, 3)
    ledger.carry(session, account.id, people[1], MONTH, 0)
    assert slots(session, people[0], MONTH) == (0, 3, 3)
    assert ledger.reserve(session, account.id, people[:2], MONTH) == set(people[:2])
    assert ledger.reserve(session, account.id, people[:2], MONTH) == {people[1]}
    assert ledger.check(session, account.id, MONTH) != []  # reserved without deliveries
