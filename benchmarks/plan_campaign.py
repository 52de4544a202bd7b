"""Plan a campaign with everything planning knows: seconds and megabytes. Limits: 60 µs a follower, 600 MB.

    python benchmarks/plan_campaign.py [--followers 1000000] [--database URL] [--profile]

Two groups, holdouts, an A/B of content, staggered parts, caps of every kind over past deliveries, reply windows
and a ledger. Also prints how long the longest write transaction kept others waiting; up to 100,000 followers
are sent to as well. Without a URL: a fresh SQLite file. Prints one JSON line; exit 1 when a limit is broken.
"""

import argparse
import contextlib
import cProfile
import json
import multiprocessing
import pstats
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import sqlalchemy as sa

from benchmarks._million import Writer
from bot import accounts, db
from bot.audiences import segments
from bot.campaigns import definitions, ledger, planning, sending, settling
from bot.clock import parse_moment
from bot.tables import metadata
from bot.tables.accounts import accounts as accounts_table
from bot.tables.campaigns import campaign_runs, deliveries, mass_ledger
from bot.tables.followers import follower_tags, followers, reply_windows, tags
from bot.tables.outbox import outbox

MICROSECONDS, MEGABYTES = 60.0, 600.0
SENT_UP_TO = 100_000
NOW = parse_moment("2025-03-03 09:00")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--followers", type=int, default=100_000)
    parser.add_argument("--database", default="")
    parser.add_argument("--profile", action="store_true")
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        url = wanted.database or f"sqlite:///{Path(folder) / 'plan.db'}"
        engine = db.make_engine(url)
        metadata.drop_all(engine)
        metadata.create_all(engine)
        engine.dispose()  # filling needs the file to itself
        # in a process of its own: what filling takes is not what planning takes
        filling = multiprocessing.get_context("spawn").Process(
            target=fill_at, args=(url, wanted.followers)
        )
        filling.start()
        filling.join()
        before = megabytes()
        with db.reading(engine) as session:
            account = accounts.get(session, "muyan")
            campaign = definitions.get(session, account.id, "奈雪8元券")
        started = time.perf_counter()
        with db.reading(engine) as session:
            forecast = planning.forecast(session, account, campaign, NOW)
        forecast_seconds = time.perf_counter() - started
        with longest_write(engine) as longest:
            profile = cProfile.Profile()
            if wanted.profile:
                profile.enable()
            started, used = time.perf_counter(), time.process_time()
            (run_id,) = planning.start_due(engine, NOW)
            while planning.plan_run(engine, run_id, NOW):
                pass
            seconds, used = time.perf_counter() - started, time.process_time() - used
            profile.disable()
            plan_write = max(longest)
        peak = megabytes()
        with db.reading(engine) as session:
            sums = planning.sums(session, run_id)
            wrong = ledger.check(session, account.id, "2025-03")
        assert sums["audience"] == wanted.followers == forecast.people, sums
        assert sums["planned"] == forecast.reached
        assert wrong == []
        send_seconds = send_write = 0.0
        if wanted.followers <= SENT_UP_TO:
            with longest_write(engine) as longest:
                started = time.perf_counter()
                send(engine, run_id)
                send_seconds = time.perf_counter() - started
                send_write = max(longest)
        engine.dispose()
    if wanted.profile:
        pstats.Stats(profile, stream=sys.stderr).sort_stats("tottime").print_stats(35)
    found = {
        "database": url.partition(":")[0],
        "followers": wanted.followers,
        "plan_seconds": round(seconds, 2),
        "plan_cpu_seconds": round(used, 2),
        "plan_longest_write_ms": round(plan_write * 1000, 1),
        "forecast_seconds": round(forecast_seconds, 2),
        "megabytes_before": round(before),
        "megabytes_peak": round(peak),
        "send_and_settle_seconds": round(send_seconds, 2),
        "send_longest_write_ms": round(send_write * 1000, 1),
        "sums": sums,
    }
    print(json.dumps(found, ensure_ascii=False))
    fast = seconds * 1e6 <= MICROSECONDS * wanted.followers
    return 0 if fast and peak <= MEGABYTES else 1


def fill_at(url: str, count: int) -> None:
    engine = db.make_engine(url)
    fill(engine, count)
    engine.dispose()


def fill(engine: sa.Engine, count: int) -> int:
    """An account, its followers (a fifth with an open window, a tenth without a slot), past deliveries, a campaign."""
    with db.writing(engine) as session:
        account_id = accounts.add(
            session, slug="muyan", name="沐颜集", kind="service", verified=True, mode="plain",
            app_id="wx1234567890abcdef", app_secret="-", token="-", aes_key=None,
            secret_key="a-secret-key-for-benchmarks", now=NOW,
            limits={
                "holdout": 0.02,
                "cap": {"messages": 4, "days": 7},
                "caps": [
                    {"messages": 3, "days": 7, "channel": "mass"},
                    {"messages": 3, "days": 14, "message_class": "marketing"},
                ],
            },
        )  # fmt: skip
        session.execute(sa.update(accounts_table).values(opening_stated_at=NOW))
        segments.save(session, account_id, "微博", {"tag": {"has": "微博来源"}}, NOW)
        segments.save(session, account_id, "大家", {"all": []}, NOW)
        account = accounts.by_id(session, account_id)
        for number in range(4):
            definitions.save(session, account, {**past(number), "status": "draft"}, NOW, by="bench")
        tag_id = session.execute(
            sa.insert(tags)
            .values(account_id=account_id, name="微博来源", family="营销互动", sync=False)
            .returning(tags.c.id)
        ).scalar_one()
        runs = session.execute(
            sa.insert(campaign_runs).returning(campaign_runs.c.id),
            [
                {
                    "account_id": account_id, "campaign_id": number + 1, "due_at": NOW,
                    "status": "finished", "content": {"text": "-"}, "planned_to": 0,
                    "created_at": NOW,
                }
                for number in range(4)
            ],
        ).scalars()  # fmt: skip
        run_ids = list(runs)
    loader = Writer(engine, NOW)
    people = range(1, count + 1)
    seen = loader.moment(9_000_000)
    loader.write(followers, (
        {
            "id": number, "account_id": account_id, "open_id": f"o_bench_{number:020d}",
            "subscribed": True, "subscribed_at": seen, "first_seen_at": seen, "fields": "{}",
            "messages": 0, "tester": False,
        }
        for number in people
    ))  # fmt: skip
    loader.write(follower_tags, (
        {
            "follower_id": number, "tag_id": tag_id, "account_id": account_id, "origin": "bench",
            "added_at": seen,
        }
        for number in people if number % 3 == 0
    ))  # fmt: skip
    loader.write(reply_windows, (
        {
            "follower_id": number, "opened_by": "message", "account_id": account_id,
            "opened_at": seen, "expires_at": loader.moment(-72_000), "left": 5,
        }
        for number in people if number % 5 == 0
    ))  # fmt: skip
    loader.write(mass_ledger, (
        {
            "follower_id": number, "month": "2025-03", "account_id": account_id,
            "reserved": 0, "spent": 4 if number % 10 == 3 else 1, "external": 4 if number % 10 == 3 else 1,
        }
        for number in people if number % 2 == 1
    ))  # fmt: skip
    loader.write(deliveries, (
        {
            "account_id": account_id, "run_id": run_id, "follower_id": number, "status": "sent",
            "channel": "mass", "wave": 1, "at": loader.moment(86_400 * (index + 1)),
        }
        for index, run_id in enumerate(run_ids)
        for number in people if number % (4 * (index + 1)) == 1
    ))  # fmt: skip
    loader.close()
    with db.writing(engine) as session:
        campaign = {
            "name": "奈雪8元券",
            "groups": [
                {"name": "微博", "segment": "微博"},
                {"name": "大家", "segment": "大家"},
            ],
            "at": NOW.isoformat(), "channels": ["customer_service", "mass"],
            "content": {"text": "请你喝奶茶"},
            "experiment": {
                "of": "content",
                "channels": ["mass"],
                "variants": [
                    {"name": "A", "content": {"text": "直接领"}},
                    {"name": "B", "content": {"text": "请你喝奶茶"}},
                ],
            },
            "holdout": 0.1, "pace": {"batches": 5, "every": "30m"},
            "approved_for": {"people": count, "slots": count}, "status": "scheduled",
        }  # fmt: skip
        # approved an hour ago: a send to everybody counts down
        definitions.save(session, account, campaign, NOW - timedelta(hours=1), by="bench")
    return account_id


def past(number: int) -> dict[str, object]:
    return {
        "name": f"往期 {number}", "segment": "大家", "at": NOW.isoformat(), "channels": ["mass"],
        "content": {"text": "上次"},
    }  # fmt: skip


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
        options = connection.get_execution_options()
        if options.get("qunfen_immediate") or connection.dialect.name != "sqlite":
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
