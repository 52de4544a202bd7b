"""Divide a month's slots among 8 campaigns, from reading the tables to storing the places: seconds and megabytes.

    python benchmarks/divide_month.py [--followers 1000000] [--database URL]

Goal: 30 seconds a million followers. The account is that of ``plan_campaign.py``: a tag, four past campaigns with
their deliveries, a ledger; 8 campaigns for four crowds, four of them limited. Prints one JSON line; exit 1 when missed.
"""

import argparse
import json
import multiprocessing
import sys
import tempfile
import time
from datetime import timedelta
from pathlib import Path

import sqlalchemy as sa

from benchmarks.plan_campaign import NOW, fill, megabytes
from bot import accounts, db
from bot.audiences import segments
from bot.campaigns import allocation, definitions
from bot.campaigns.month_values import Choice, Settings
from bot.tables import metadata
from bot.tables.tracking import clicks, links

MICROSECONDS = 30.0
MOST = (0.15, 0.2, None, 0.3, None, 0.1, None, None)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--followers", type=int, default=100_000)
    parser.add_argument("--database", default="")
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        url = wanted.database or f"sqlite:///{Path(folder) / 'month.db'}"
        engine = db.make_engine(url)
        metadata.drop_all(engine)
        metadata.create_all(engine)
        engine.dispose()
        filling = multiprocessing.get_context("spawn").Process(
            target=fill_at, args=(url, wanted.followers)
        )
        filling.start()
        filling.join()
        found: dict[str, object] = {
            "database": url.partition(":")[0],
            "followers": wanted.followers,
        }
        slowest = 0.0
        with db.reading(engine) as session:
            account = accounts.get(session, "muyan")
            offers = allocation.offers(session, account, "2025-03", NOW)
        for name, limits in (("alone", (None,) * 8), ("limited", MOST)):
            choices = tuple(
                Choice(
                    offer.campaign.id,
                    rate=0.02 * (number + 1),
                    most=int(share * wanted.followers) if share else None,
                )
                for number, (offer, share) in enumerate(zip(offers, limits, strict=True))
            )
            started = time.perf_counter()
            made = allocation.propose(
                engine, account.id, Settings("2025-03", choices, risk=0.002), NOW, by="bench"
            )
            seconds = time.perf_counter() - started
            slowest = max(slowest, seconds)
            with db.reading(engine) as session:
                divided = allocation.find(session, account.id, made)
            assert divided is not None
            figures = divided.figures
            found[f"{name}_seconds"] = round(seconds, 2)
            found[f"{name}_of_bound"] = round(figures["total"] / figures["bound"], 5)
            found[f"{name}_against_all"] = round(figures["total"] / figures["habit"]["total"], 2)
        engine.dispose()
    found["megabytes_peak"] = round(megabytes())
    print(json.dumps(found))
    return 0 if slowest * 1e6 <= MICROSECONDS * wanted.followers else 1


def fill_at(url: str, count: int) -> None:
    engine = db.make_engine(url)
    account_id = fill(engine, count)
    with db.writing(engine) as session:
        account = accounts.by_id(session, account_id)
        segments.save(session, account_id, "有名额", {"not": {"tag": {"has": "微博来源"}}}, NOW)
        crowds = ("大家", "微博", "有名额", "大家")
        for number in range(8):
            document = {
                "name": f"活动 {number}", "segment": crowds[number % 4],
                "at": (NOW + timedelta(days=2 + 3 * number)).isoformat(), "channels": ["mass"],
                "content": {"text": "-"}, "status": "draft",
            }  # fmt: skip
            definitions.save(session, account, document, NOW, by="bench")
        link = session.execute(
            sa.insert(links)
            .values(account_id=account_id, campaign_id=1, name="go", target="https://e.example",
                    created_at=NOW)
            .returning(links.c.id)
        ).scalar_one()  # fmt: skip
        session.execute(
            sa.insert(clicks),
            [
                {"account_id": account_id, "link_id": link, "follower_id": who, "at": NOW, "clean": True}
                for who in range(1, count, 50)
            ],
        )  # fmt: skip
        # the campaign that plan_campaign.py plans is no part of this
        session.execute(
            sa.text("update campaigns set status = 'archived' where name = '奈雪8元券'")
        )
    engine.dispose()


if __name__ == "__main__":
    sys.exit(main())
