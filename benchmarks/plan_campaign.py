"""Plan a campaign for 100,000 followers: seconds and megabytes. Limits: 10 s and 300 MB.

    python benchmarks/plan_campaign.py [--followers 100000] [--database URL]

Also prints how long the longest write transaction kept others waiting. Without a URL: a fresh SQLite
file. Prints one JSON line; exit 1 when a limit is broken.
"""

import argparse
import contextlib
import json
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import sqlalchemy as sa

from bot import accounts, db
from bot.audiences import segments
from bot.campaigns import definitions, ledger, planning, sending, settling
from bot.clock import parse_moment
from bot.tables import metadata
from bot.tables.accounts import accounts as accounts_table
from bot.tables.followers import followers, reply_windows
from bot.tables.outbox import outbox

SECONDS, MEGABYTES = 10.0, 300.0
NOW = parse_moment("2025-03-03 09:00")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--followers", type=int, default=100_000)
    parser.add_argument("--database", default="")
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        url = wanted.database or f"sqlite:///{Path(folder) / 'plan.db'}"
        engine = db.make_engine(url)
        metadata.drop_all(engine)
        metadata.create_all(engine)
        account_id = fill(engine, wanted.followers)
        before = megabytes()
        with db.reading(engine) as session:
            account = accounts.by_id(session, account_id)
            campaign = definitions.get(session, account_id, "奈雪8元券")
        started = time.perf_counter()
        with db.reading(engine) as session:
            forecast = planning.forecast(session, account, campaign, NOW)
        forecast_seconds = time.perf_counter() - started
        with longest_write(engine) as longest:
            started = time.perf_counter()
            (run_id,) = planning.start_due(engine, NOW)
            while planning.plan_run(engine, run_id, NOW):
                pass
            seconds = time.perf_counter() - started
            plan_write = max(longest)
        peak = megabytes()
        with db.reading(engine) as session:
            sums = planning.sums(session, run_id)
            wrong = ledger.check(session, account_id, "2025-03")
        assert sums["audience"] == wanted.followers == forecast.people, sums
        assert sums["planned"] == forecast.reached
        assert wrong == []
        with longest_write(engine) as longest:
            started = time.perf_counter()
            send(engine, run_id)
            send_seconds = time.perf_counter() - started
            send_write = max(longest)
        engine.dispose()
    found = {
        "followers": wanted.followers,
        "plan_seconds": round(seconds, 2),
        "plan_longest_write_ms": round(plan_write * 1000, 1),
        "forecast_seconds": round(forecast_seconds, 2),
        "megabytes_before": round(before),
        "megabytes_peak": round(peak),
        "send_and_settle_seconds": round(send_seconds, 2),
        "send_longest_write_ms": round(send_write * 1000, 1),
        "sums": sums,
    }
    print(json.dumps(found, ensure_ascii=False))
    return 0 if seconds <= SECONDS and peak <= MEGABYTES else 1


def fill(engine: sa.Engine, count: int) -> int:
    """An account, its followers (a fifth with an open window, a tenth without a slot), a campaign to everybody."""
    with db.writing(engine) as session:
        account_id = accounts.add(
            session, slug="muyan", name="沐颜集", kind="service", verified=True, mode="plain",
            app_id="wx1234567890abcdef", app_secret="-", token="-", aes_key=None,
            secret_key="a-secret-key-for-benchmarks", now=NOW,
        )  # fmt: skip
        for start in range(0, count, 10_000):
            session.execute(
                sa.insert(followers),
                [
                    {
                        "account_id": account_id, "open_id": f"o_bench_{number:020d}",
                        "subscribed": True, "subscribed_at": NOW, "first_seen_at": NOW,
                        "fields": {}, "messages": 0, "tester": False,
                    }
                    for number in range(start, min(start + 10_000, count))
                ],
            )  # fmt: skip
        session.execute(sa.update(accounts_table).values(opening_stated_at=NOW))
        ids = list(session.execute(sa.select(followers.c.id).order_by(followers.c.id)).scalars())
        session.execute(
            sa.insert(reply_windows),
            [
                {
                    "follower_id": one, "opened_by": "message", "account_id": account_id,
                    "opened_at": NOW, "expires_at": NOW + timedelta(hours=20), "left": 5,
                }
                for one in ids[::5]
            ],
        )  # fmt: skip
        full = followers.c.id % 10 == 3
        for _ in range(4):
            ledger.charge(session, account_id, full, "2025-03", 1)
        segments.save(session, account_id, "大家", {"all": []}, NOW)
        definitions.save(
            session,
            accounts.by_id(session, account_id),
            {
                "name": "奈雪8元券", "segment": "大家", "at": NOW.isoformat(),
                "channels": ["customer_service", "mass"], "content": {"text": "请你喝奶茶"},
                "approved_for": {"people": count, "slots": count}, "status": "scheduled",
            },
            NOW,
            by="bench",
        )  # fmt: skip
    return account_id


def send(engine: sa.Engine, run_id: int) -> None:
    """Hand everything over and settle it; the platform's answers are written at once."""
    number = 0
    now = NOW
    while True:
        now += timedelta(minutes=11)
        put = sending.send_waves(engine, now, "a-secret-key-for-benchmarks", "https://example.com")
        with db.reading(engine) as session:
            waiting = list(
                session.execute(
                    sa.select(outbox.c.id).where(outbox.c.status == "waiting")
                ).scalars()
            )
        for start in range(0, len(waiting), 20):
            with db.writing(engine) as session:
                for row_id in waiting[start : start + 20]:
                    number += 1
                    session.execute(
                        sa.update(outbox)
                        .where(outbox.c.id == row_id)
                        .values(status="sent", sent_at=now, receipt={"msg_id": str(number)})
                    )
        if settling.collect(engine, now) == 0 and put == 0:
            return


@contextlib.contextmanager
def longest_write(engine: sa.Engine) -> Iterator[list[float]]:
    """Seconds of every committed transaction in between."""
    began: dict[int, float] = {}
    took = [0.0]

    def begin(connection: sa.Connection) -> None:
        if connection.get_execution_options().get("qunfen_immediate"):
            began[id(connection)] = time.perf_counter()

    def commit(connection: sa.Connection) -> None:
        if id(connection) in began:
            took.append(time.perf_counter() - began.pop(id(connection)))

    sa.event.listen(engine, "begin", begin)
    sa.event.listen(engine, "commit", commit)
    try:
        yield took
    finally:
        sa.event.remove(engine, "begin", begin)
        sa.event.remove(engine, "commit", commit)


def megabytes() -> float:
    """Highest resident size of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    sys.exit(main())
