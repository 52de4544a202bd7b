"""How long a push waits for its write turn while a campaign is planned, sent and settled. Limit: p99 100 ms.

    python -m benchmarks.write_pauses [--followers 30000] [--database URL]

One thread carries the campaign out, another takes a short write transaction every few milliseconds,
as a push does. Prints one JSON line with milliseconds; exit 1 when a limit is broken.
"""

import argparse
import json
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import sqlalchemy as sa

from benchmarks.plan_campaign import NOW, fill, longest_write, send
from bot import db
from bot.campaigns import ledger, planning
from bot.tables import metadata
from bot.tables.accounts import accounts

P99_MS = 100.0
EVERY_SECONDS = 0.005


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--followers", type=int, default=30_000)
    parser.add_argument("--database", default="")
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        engine = db.make_engine(wanted.database or f"sqlite:///{Path(folder) / 'pauses.db'}")
        metadata.drop_all(engine)
        metadata.create_all(engine)
        account_id = fill(engine, wanted.followers)
        waited: dict[str, list[float]] = {}
        longest: dict[str, float] = {}
        seconds: dict[str, float] = {}
        run_ids: list[int] = []

        def plan() -> None:
            run_ids.extend(planning.start_due(engine, NOW))
            while planning.plan_run(engine, run_ids[0], NOW):
                pass

        for name, work in (("plan", plan), ("send", lambda: send(engine, run_ids[0]))):
            with longest_write(engine) as took:
                started = time.perf_counter()
                waited[name] = pushes_while(engine, work)
                seconds[name] = time.perf_counter() - started
            longest[name] = max(took)
        with db.reading(engine) as session:
            sums = planning.sums(session, run_ids[0])
            wrong = ledger.check(session, account_id, "2025-03")
        assert wrong == []
        assert sums["audience"] == wanted.followers
        engine.dispose()
    found = {
        name: {
            "seconds": round(seconds[name], 2),
            "pushes": len(waits),
            "wait_p99_ms": round(percentile(waits, 0.99) * 1000, 1),
            "wait_max_ms": round(max(waits) * 1000, 1),
            "longest_write_ms": round(longest[name] * 1000, 1),
        }
        for name, waits in waited.items()
    }
    print(json.dumps({"followers": wanted.followers, **found, "sums": sums}, ensure_ascii=False))
    return 0 if all(one["wait_p99_ms"] <= P99_MS for one in found.values()) else 1


def pushes_while(engine: sa.Engine, work: Callable[[], None]) -> list[float]:
    """Seconds that short writes waited for their turn until ``work`` was done."""
    waits: list[float] = []
    over = threading.Event()

    def push() -> None:
        while not over.wait(EVERY_SECONDS):
            asked = time.perf_counter()
            with db.writing(engine) as session:
                waits.append(time.perf_counter() - asked)
                session.execute(sa.update(accounts).values(name=accounts.c.name))

    thread = threading.Thread(target=push)
    thread.start()
    try:
        work()
    finally:
        over.set()
        thread.join()
    return waits


def percentile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


if __name__ == "__main__":
    sys.exit(main())
