"""Thousands of random reservations at once: nobody is ever given a fifth slot, and the ledger knows of each."""

import random
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import sqlalchemy as sa

from bot import db, migrate
from bot.campaigns import ledger
from bot.campaigns.budget import PER_FOLLOWER_AND_MONTH
from bot.tables.campaigns import mass_ledger
from tests import factories
from tests.chaos.verify import Found

RESERVATIONS = 10_000
PEOPLE = 1_500
MOST = 40  # followers a reservation
MONTHS = tuple(f"2026-{month:02d}" for month in range(1, 13))
THREADS = 16
GIVEN_UP = 0.05  # the share of transactions that end without a commit


class GivenUp(Exception):
    """The process died before the commit."""


def run(url: str, seed: int, found: Found) -> None:
    """Reserve on the database at ``url``, from many threads; each takes one of a year's months and some people."""
    engine = db.make_engine(url)
    migrate.upgrade(engine)
    now = factories.at("2026-01-05 09:00")
    with db.writing(engine) as session:
        account_id = factories.make_account(session, now=now)
        ids = factories.make_followers(session, account_id, PEOPLE, now=now)

    def reserve(number: int) -> Counter[tuple[int, str]]:
        chance = random.Random(f"{seed}:{number}")
        month = chance.choice(MONTHS)
        wanted = chance.sample(ids, chance.randint(1, MOST))
        try:
            with db.writing(engine) as session:
                ledger.in_turn(session, account_id)
                got = ledger.reserve(session, account_id, wanted, month)
                if chance.random() < GIVEN_UP:
                    raise GivenUp
        except GivenUp:
            return Counter()
        return Counter((follower_id, month) for follower_id in got)

    total: Counter[tuple[int, str]] = Counter()
    with ThreadPoolExecutor(THREADS) as pool:
        for got in pool.map(reserve, range(RESERVATIONS)):
            total += got
    with db.reading(engine) as session:
        kept = {
            (row.follower_id, row.month): row.reserved
            for row in session.execute(sa.select(mass_ledger).where(mass_ledger.c.reserved > 0))
        }
    engine.dispose()
    found.count(f"{engine.dialect.name}: reservations at once", RESERVATIONS)
    found.count("  slots given", sum(total.values()))
    found.count("  followers and months with all four gone", sum(n == 4 for n in kept.values()))
    over = (who for who, count in kept.items() if count > PER_FOLLOWER_AND_MONTH)
    found.none("  followers with a fifth", over)
    found.none("  slots given that the ledger does not know, or the reverse", _unlike(total, kept))


def _unlike(total: Counter[tuple[int, str]], kept: dict[tuple[int, str], int]) -> list[object]:
    return [who for who in {*total, *kept} if total[who] != kept.get(who, 0)]
