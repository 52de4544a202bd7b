"""Dividing a month's slots, from rows in the database to places that planning keeps."""

import random
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from itertools import product

import pytest
import sqlalchemy as sa

from bot import db
from bot.accounts import Account
from bot.audiences import segments
from bot.campaigns import allocation, holds, ledger, month_values
from bot.campaigns.month_values import Choice, Settings
from bot.errors import Refused
from bot.tables.campaigns import allocations, mass_ledger
from bot.tables.tracking import clicks, links
from tests import factories
from tests.bot.campaigns.makers import make_campaign, make_delivery, make_run

MONTH = "2025-03"
PEOPLE = 6
RISK, WORTH = 0.01, 2.0
# followers, their slots, campaigns, rates, value by (follower, number of the campaign)
Drawn = tuple[list[int], dict[int, int], list[int], list[float], dict[tuple[int, int], float]]


@pytest.fixture
def now() -> datetime:
    return factories.at("2025-03-10 10:00")


@pytest.fixture
def drawn(
    engine: sa.Engine, account: Account, now: datetime, request: pytest.FixtureRequest
) -> Drawn:
    """Six followers with slots, tags and a past drawn by chance; three campaigns for three tags."""
    chance = random.Random(getattr(request, "param", 0))
    audiences: list[set[int]] = []
    with db.writing(engine) as session:
        ids = factories.make_followers(session, account.id, PEOPLE, now=now)
        left = {who: chance.randint(0, 3) for who in ids}
        for who, has in left.items():
            for _ in range(4 - has):
                ledger.reserve(session, account.id, [who], MONTH)
        session.execute(sa.update(mass_ledger).values(spent=mass_ledger.c.reserved, reserved=0))
        past = make_campaign(session, account.id, now=now, name="往期", status="finished")
        run = make_run(session, account.id, past, now=now, status="finished", month="2025-02")
        link = session.execute(
            sa.insert(links)
            .values(
                account_id=account.id,
                campaign_id=past,
                name="go",
                target="https://e.example",
                created_at=now,
            )
            .returning(links.c.id)
        ).scalar_one()
        clicked = set(chance.sample(ids, 2))
        for who in ids:
            make_delivery(session, account.id, run, who, status="sent")
        for who in sorted(clicked):
            session.execute(
                sa.insert(clicks).values(
                    account_id=account.id, link_id=link, follower_id=who, at=now, clean=True,
                )
            )  # fmt: skip
        campaign_ids, rates = [], []
        for number in range(3):
            tag = factories.make_tag(session, account.id, f"T{number}")
            mine = set(chance.sample(ids, chance.randint(2, PEOPLE)))
            for who in sorted(mine):
                factories.give_tag(session, account.id, who, tag, now=now)
            segments.save(session, account.id, f"S{number}", {"tag": {"has": f"T{number}"}}, now)
            at = factories.at(f"2025-03-{12 + 4 * number} 20:30")
            campaign_ids.append(
                make_campaign(
                    session, account.id, now=now, name=f"C{number}", segment=f"S{number}",
                    schedule={"at": at.isoformat()}, next_due_at=at,
                )
            )  # fmt: skip
            audiences.append(mine)
            rates.append(round(chance.uniform(0.01, 0.2), 3))
    mean = len(clicked) / PEOPLE
    times = {
        who: month_values.likelihood(
            1, 1 if who in clicked else 0, mean, month_values.USUAL_STRENGTH
        )
        for who in ids
    }
    values = {
        (who, number): rates[number] * times[who] - RISK * WORTH
        for number in range(3)
        for who in audiences[number]
    }
    return ids, left, campaign_ids, rates, values


def best(
    ids: list[int],
    left: dict[int, int],
    values: dict[tuple[int, int], float],
    most: list[int | None],
) -> float:
    """The highest total of all ways to give out slots."""
    ways = []
    for who in ids:
        mine = [number for number in range(3) if (who, number) in values]
        ways.append(
            [
                chosen
                for size in product((0, 1), repeat=len(mine))
                if len(chosen := [one for one, yes in zip(mine, size, strict=True) if yes]) <= left[who]
            ]
        )  # fmt: skip
    found = 0.0
    for chosen in product(*ways):
        people = [sum(number in some for some in chosen) for number in range(3)]
        if all(limit is None or got <= limit for got, limit in zip(people, most, strict=True)):
            total = sum(
                values[who, number]
                for who, some in zip(ids, chosen, strict=True)
                for number in some
            )
            found = max(found, total)
    return found


@pytest.mark.parametrize("drawn", range(8), indirect=True)
@pytest.mark.parametrize("most", [[None, None, None], [2, None, 1]], ids=["free", "limited"])
def test_small_months_are_divided_as_well_as_trying_everything(
    engine: sa.Engine, account: Account, drawn: Drawn, now: datetime, most: list[int | None]
) -> None:
    ids, left, campaign_ids, rates, values = drawn
    settings = Settings(
        MONTH,
        tuple(
            Choice(one, rate=rate, most=limit)
            for one, rate, limit in zip(campaign_ids, rates, most, strict=True)
        ),
        follower_worth=WORTH,
        risk=RISK,
    )
    made = allocation.propose(engine, account.id, settings, now, by="Ann")
    with db.reading(engine) as session:
        found = allocation.find(session, account.id, made)
        places = allocation.people(session, account.id, made)
    assert found is not None
    top = best(ids, left, values, most)
    total = sum(
        values[who, number] for number, one in enumerate(campaign_ids) for who in places[one]
    )
    assert found.figures["total"] == pytest.approx(total, abs=0.006)
    assert total <= top + 1e-9 <= found.figures["bound"] + 0.006
    if found.figures["exact"]:
        assert total == pytest.approx(top)
    if most[0] is None:
        assert found.figures["exact"]
    for who in ids:
        assert sum(who in people for people in places.values()) <= left[who]


def test_what_is_in_force_is_kept_for_its_campaigns(
    engine: sa.Engine, account: Account, drawn: Drawn, now: datetime
) -> None:
    campaign_ids = drawn[2]
    choices = tuple(Choice(one, rate=0.5) for one in campaign_ids)
    first = allocation.propose(
        engine, account.id, Settings(MONTH, choices, risk=RISK), now, by="Ann"
    )
    second = allocation.propose(
        engine, account.id, Settings(MONTH, choices[:1], risk=RISK), now, by="Ann"
    )
    with db.writing(engine) as session:
        places = allocation.people(session, account.id, first)
        assert not any(
            hold.protected for hold in holds.holds(session, account.id, MONTH, now, excluding=None)
        )
        allocation.put_in_force(session, account.id, first, now)
        kept = holds.holds(session, account.id, MONTH, now, excluding=None)
        assert {hold.campaign_id: hold.people for hold in kept if hold.protected} == places
        with pytest.raises(Refused):
            allocation.put_in_force(session, account.id, first, now)
        allocation.put_in_force(session, account.id, second, now)
        statuses = [one.status for one in allocation.page(session, account.id, MONTH, limit=9)]
        assert statuses == ["in_force", "replaced"]
        other = factories.make_account(session, "other", now=now)
        assert allocation.find(session, other, first) is None
        assert allocation.people(session, other, first) == {}
        # whoever looked at the first one takes nothing back that was put in force since
        with pytest.raises(Refused):
            allocation.lift(session, account.id, first)
        assert allocation.lift(session, account.id, second).status == "replaced"
        with pytest.raises(Refused):
            allocation.lift(session, account.id, second)


@pytest.mark.parametrize(
    "settings",
    [Settings(MONTH, ()), Settings(MONTH, (Choice(99),)), Settings("2025-04", (Choice(1),))],
)
def test_what_cannot_be_divided_is_refused(
    engine: sa.Engine, account: Account, now: datetime, settings: Settings
) -> None:
    with pytest.raises(Refused):
        allocation.propose(engine, account.id, settings, now, by="Ann")


def test_a_protected_campaign_that_takes_no_part_keeps_its_slots(
    engine: sa.Engine, account: Account, now: datetime
) -> None:
    with db.writing(engine) as session:
        ids = factories.make_followers(session, account.id, 4, now=now)
        segments.save(session, account.id, "everybody", {"all": []}, now)
        session.execute(
            sa.insert(mass_ledger),
            [
                {"follower_id": who, "month": MONTH, "account_id": account.id, "reserved": 0,
                 "spent": 3, "external": 0}
                for who in ids[:2]
            ],
        )  # fmt: skip
        at = factories.at("2025-03-20 20:30")
        values = {"schedule": {"at": at.isoformat()}, "next_due_at": at}
        make_campaign(session, account.id, now=now, name="A", worth={"protect": True}, **values)
        asking = make_campaign(session, account.id, now=now, name="B", **values)
    settings = Settings(MONTH, (Choice(asking, rate=0.5),), risk=0.0)
    made = allocation.propose(engine, account.id, settings, now, by="Ann")
    with db.reading(engine) as session:
        assert list(allocation.people(session, account.id, made)[asking]) == ids[2:]


def test_settings_travel_in_a_job() -> None:
    settings = Settings(MONTH, (Choice(1, rate=0.1, most=5, kind="x"), Choice(2)), 3.0, 0.01, 2, 1)
    assert Settings.from_json(settings.to_json()) == settings


def test_one_click_says_little_and_many_say_much() -> None:
    usual = month_values.likelihood(0, 0, 0.2)
    once, often = month_values.likelihood(1, 1, 0.2), month_values.likelihood(8, 6, 0.2)
    never = month_values.likelihood(8, 0, 0.2)
    assert usual == pytest.approx(1.0)
    assert never < usual < once < often
    assert month_values.likelihood(5, 0, 0.0) == 1.0


def test_a_campaign_is_chosen_once(
    engine: sa.Engine, account: Account, drawn: Drawn, now: datetime
) -> None:
    twice = (Choice(drawn[2][0], rate=0.5),) * 2
    with pytest.raises(Refused, match="choose"):
        allocation.propose(engine, account.id, Settings(MONTH, twice), now, by="Ann")


def test_however_many_are_put_in_force_at_once_one_is(
    engine: sa.Engine, account: Account, now: datetime
) -> None:
    with db.writing(engine) as session:
        made = [
            session.execute(
                sa.insert(allocations)
                .values(
                    account_id=account.id, month=MONTH, status="proposed", figures={}, made_by="Ann",
                    made_at=now,
                )
                .returning(allocations.c.id)
            ).scalar_one()
            for _ in range(4)
        ]  # fmt: skip
    together = threading.Barrier(len(made))

    def put(allocation_id: int) -> None:
        together.wait()
        with db.writing(engine) as session:
            allocation.put_in_force(session, account.id, allocation_id, now)

    with ThreadPoolExecutor(len(made)) as threads:
        for done in [threads.submit(put, one) for one in made]:
            done.result()
    with db.reading(engine) as session:
        found = session.execute(sa.select(allocations.c.status)).scalars().all()
    assert sorted(found) == ["in_force", "replaced", "replaced", "replaced"]


def test_a_worth_or_a_rate_of_nothing_is_nothing(
    engine: sa.Engine, account: Account, now: datetime
) -> None:
    at = factories.at("2025-03-20 20:30")
    with db.writing(engine) as session:
        factories.make_followers(session, account.id, 4, now=now)
        segments.save(session, account.id, "everybody", {"all": []}, now)
        given = {"schedule": {"at": at.isoformat()}, "next_due_at": at, "worth": {"click": 0.0}}
        groups = [{"name": "G", "segment": "everybody", "rate": 0.0}]
        made = make_campaign(session, account.id, now=now, groups=groups, **given)
        (offer,) = allocation.offers(session, account, MONTH, now)
    assert (offer.click, offer.rate, offer.rate_of) == (0.0, 0.0, "groups")
    for rate, people in ((None, 0), (0.5, 4)):
        settings = Settings(MONTH, (Choice(made, rate=rate),), risk=0.0)
        proposed = allocation.propose(engine, account.id, settings, now, by="Ann")
        with db.reading(engine) as session:
            assert len(allocation.people(session, account.id, proposed)[made]) == people
