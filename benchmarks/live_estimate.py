"""The wizard's live estimate and a segment's count at a million followers: sets warm in the database, cold here.

    python benchmarks/live_estimate.py [--database URL] [--followers 1000000] [--keep FILE] [--times 20]

Without a URL: SQLite (``--keep`` names a file that is filled once and used again; a filled database is used again
too). Three overlapping groups, a holdout, a cap, three channels. First everything is counted that nobody asked
before (its time is stated), then the job counts what pages may ask, and new looks read that from the table: limit
300 ms at the 95th percentile, a portrait 2 s, and set algebra and SQL must select the same people. Exit 1 when one
is broken.
"""

import argparse
import math
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from benchmarks import _million
from bot import accounts, db
from bot.audiences import index, portrait, segments
from bot.audiences.index import Look
from bot.campaigns import estimates
from bot.clock import month_of, now
from bot.tables.accounts import accounts as accounts_table
from bot.tables.audiences import audience_sets

SECRET_KEY = "a-secret-key-for-benchmarks"
LIMIT_MS = 300.0
PORTRAIT_MS = 2000.0
TREES: dict[str, dict[str, Any]] = {
    "G1": {"all": [{"tag": {"has": "标签1"}}, {"tag": {"has": "标签2"}}]},
    "G2": {
        "all": [
            {"tag": {"has": "标签1"}},
            {
                "any": [
                    {"did": {"event": "message", "within_days": 30}},
                    {"scene": {"ever": "shop-0*"}},
                ]
            },
        ]
    },
    "G3": {"all": [{"last_active": {"within_days": 90}}, {"tag": {"lacks": ["标签1", "标签3"]}}]},
}
LEAVES: dict[str, dict[str, Any]] = {
    "a tag (40,000 people)": {"tag": {"has": "标签9"}},
    "a tag (300,000 people)": {"tag": {"has": "标签1"}},
    "did message within 30 days": {"did": {"event": "message", "within_days": 30}},
    "a field of 300,000": {"field": {"name": "积分", "gte": 2000}},
    "active within 90 days": {"last_active": {"within_days": 90}},
    "all subscribed": {":subscribed": {}},
    "open windows": {":window": {}},
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--followers", type=int, default=1_000_000)
    parser.add_argument("--database", default="")
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--times", type=int, default=20)
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = wanted.keep or Path(folder) / "million.db"
        engine = db.make_engine(wanted.database or f"sqlite:///{path}")
        if not sa.inspect(engine).has_table("followers"):
            size = _million.Size(wanted.followers, 2 * wanted.followers)
            _million.fill(engine, size, now(), SECRET_KEY)
        broken = measure(engine, wanted.times)
        engine.dispose()
    return 1 if broken else 0


def measure(engine: sa.Engine, times: int) -> bool:
    """Print what was measured; whether a limit is broken."""
    at = now()
    account_id, document = prepare(engine, at)
    print(f"database: {engine.dialect.name}")
    for name, leaf in LEAVES.items():
        seconds, people = timed(engine, account_id, at, lambda look, leaf=leaf: look.leaf(leaf))
        print(f"  first asked: {name:32} {seconds * 1000:8.0f} ms  {len(people):9,} people")
    with db.reading(engine) as session:
        account = accounts.by_id(session, account_id)

    def estimated(look: Look) -> Any:
        return estimates.estimate(look, account, document, at=at)

    def drawn(look: Look) -> Any:
        return portrait.portrait(look, TREES["G3"])

    for name, ask in (("estimate", estimated), ("portrait", drawn)):
        forget(engine)
        began = (time.perf_counter(), time.process_time())
        one_look(engine, account_id, at, ask)
        took = 1000 * (time.perf_counter() - began[0]), 1000 * (time.process_time() - began[1])
        print(
            f"  {name} when nobody asked before: {took[0]:.0f} ms, {took[1]:.0f} ms of this processor"
        )
    forget(engine)
    prepared = job(engine, account, at)
    print(f"  the job counts all a page may ask: {sum(prepared):.0f} s in {len(prepared)} runs")
    estimate = quantiles(engine, account_id, at, times, estimated)
    count = quantiles(engine, account_id, at, times, lambda look: look.people(TREES["G2"]))
    figures = quantiles(engine, account_id, at, times, drawn)
    for name, found, limit in (
        ("live estimate", estimate, f" (limit {LIMIT_MS:.0f})"),
        ("live count of a segment", count, ""),
        ("portrait of 100,000", figures, f" (limit {PORTRAIT_MS:.0f})"),
    ):
        first, median, p95 = found
        print(f"  {name}: first {first:.0f} ms, median {median:.0f} ms, p95 {p95:.0f} ms{limit}")
    print(f"  load of the machine: {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors")
    same = True
    with db.reading(engine) as session:
        for name, where in TREES.items():
            counted = segments.count(session, account_id, where, at)
            found = len(index.people(session, account_id, where, at, fresh=True))
            same = same and counted == found
            print(f"  {name}: {found:,} people by sets, {counted:,} by SQL")
        kept = session.execute(
            sa.select(sa.func.count(), sa.func.sum(sa.func.length(audience_sets.c.people)))
        ).one()
    print(f"  {kept[0]} sets are kept in {kept[1] / 1e6:.1f} MB")
    return estimate[2] > LIMIT_MS or figures[2] > PORTRAIT_MS or not same


def forget(engine: sa.Engine) -> None:
    """No set is kept."""
    with db.writing(engine) as session:
        session.execute(sa.delete(audience_sets))


def job(engine: sa.Engine, account: accounts.Account, at: datetime) -> list[float]:
    """Seconds of each run of the job until it has counted everything that is expected."""
    found = []
    while True:
        started = time.perf_counter()
        with db.reading(engine) as session:
            expected = [
                *estimates.expected(session, account, at),
                *portrait.expected(session, account.id),
            ]
        if not index.refresh(engine, at, {account.id: expected}):
            return found
        found.append(time.perf_counter() - started)


def prepare(engine: sa.Engine, at: datetime) -> tuple[int, dict[str, Any]]:
    """Segments and limits of the campaign that is estimated; no set is kept yet."""
    with db.writing(engine) as session:
        account_id = accounts.get(session, _million.SLUG).id
        session.execute(sa.delete(audience_sets))
        session.execute(
            sa.update(accounts_table)
            .where(accounts_table.c.id == account_id)
            .values(limits={"cap": {"messages": 3, "days": 7}})
        )
        for name, where in TREES.items():
            segments.save(session, account_id, name, where, at)
    document = {
        "name": f"估算 {month_of(at)}",
        "groups": [{"name": name, "segment": name, "rate": 0.2} for name in TREES],
        "channels": ["customer_service", "subscription", "mass"],
        "content": {"text": "请你喝奶茶"},
        "contents": {"subscription": {"notice": {"template": "活动开始提醒"}}},
        "holdout": 0.1,
    }
    return account_id, document


def one_look(engine: sa.Engine, account_id: int, at: datetime, ask: Callable[[Look], Any]) -> Look:
    with db.reading(engine) as session:
        look = Look(session, account_id, at)  # of one moment, so that nothing grows old meanwhile
        ask(look)
    return look


def timed(
    engine: sa.Engine, account_id: int, at: datetime, ask: Callable[[Look], Any]
) -> tuple[float, Any]:
    """Seconds of a question nobody asked before, and its answer."""
    with db.reading(engine) as session:
        look = Look(session, account_id, at, fresh=True)
        started = time.perf_counter()
        found = ask(look)
        return time.perf_counter() - started, found


def quantiles(
    engine: sa.Engine, account_id: int, at: datetime, times: int, ask: Callable[[Look], Any]
) -> tuple[float, float, float]:
    """The first, the median and the 95th percentile in milliseconds, a fresh look and connection each time."""
    found = []
    for _ in range(times):
        started = time.perf_counter()
        one_look(engine, account_id, at, ask)
        found.append(1000 * (time.perf_counter() - started))
    ordered = sorted(found)
    p95 = ordered[max(0, math.ceil(0.95 * len(ordered)) - 1)]
    return found[0], statistics.median(found), p95


if __name__ == "__main__":
    sys.exit(main())
