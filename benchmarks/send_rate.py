"""How fast messages of one follower each leave: wechatpy in 32 threads, our client alone, our outbox with its receipts.

A platform of our own on this machine answers after 50 ms (``benchmarks/_platform.py``); what its own
processor time would allow is told, too. Ratios are taken within one run, rounds by turns. On two cores
the platform, the client and the database share them.

    python -m benchmarks.send_rate [--messages 6000] [--rounds 3] [--short] [--database postgresql+psycopg://…]

SQLite, and the database that TEST_DATABASE_URL names; or the one of ``--database``. On PostgreSQL the
tables are made in a schema of their own, dropped in the end.
"""

import argparse
import multiprocessing
import os
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import requests
import sqlalchemy as sa
from wechatpy import WeChatClient

from benchmarks import _platform
from benchmarks._platform import Platform
from bot import db, migrate, outbox
from bot.clock import now as present
from bot.outbox_bulk import Sender
from bot.tables.followers import followers
from bot.tables.outbox import outbox as rows
from bot.wechat import customer_service
from bot.wechat.bulk import Lines
from bot.wechat.client import WeChat
from bot.wechat.token import MemoryStore
from tests import factories

THREADS = 32
CONNECTIONS = 256
LATENCY = 0.05
TIMEOUT = 240  # seconds a measured phase may take


def text_of(number: int) -> dict[str, Any]:
    return {"text": f"你好，第 {number} 位：周五会员日，回复 1 领取优惠。"}


def gateway(platform: Platform) -> WeChat:
    return WeChat("wxbench", "secret", api_base=platform.url, store=MemoryStore())


# --- the three senders; each returns messages a second and its own processor time a message


def timed(count: int, work: Callable[[], None]) -> tuple[float, float]:
    began, cpu = time.perf_counter(), time.process_time()
    work()
    spent = time.perf_counter() - began
    return count / spent, (time.process_time() - cpu) / count * 1e6


def wechatpy_threads(platform: Platform, count: int) -> tuple[float, float]:
    """The usual way: a client a thread, 32 threads, kept connections."""
    local = threading.local()

    def send(number: int) -> None:
        client = getattr(local, "client", None)
        if client is None:
            client = WeChatClient("wxbench", "secret", access_token="BENCH", timeout=10)
            client.API_BASE_URL = f"{platform.url}/cgi-bin/"
            client._http = requests.Session()
            local.client = client
        client.message.send_text(f"o{number:027d}", text_of(number)["text"])

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(send, range(THREADS)))  # warm

        def work() -> None:
            list(pool.map(send, range(count)))

        return timed(count, work)


def storing_nothing(platform: Platform, count: int, connections: int) -> tuple[float, float]:
    """Our client by itself: the ceiling of stub and client together."""
    lines, wechat = Lines(), gateway(platform)

    def send(number: int) -> None:
        payload = customer_service.payload(f"o{number:027d}", text_of(number))
        lines.start(number, wechat, customer_service.SEND, payload)

    def work() -> None:
        started = 0
        while started < count or lines.busy:
            while started < count and lines.busy < connections:
                send(started)
                started += 1
            assert all(answer.problem is None for answer in lines.answers(0.05))

    started_at = list(range(connections))
    for number in started_at:
        send(number)
    while lines.busy:
        lines.answers(0.05)
    measured = timed(count, work)
    lines.close()
    return measured


def stored(
    engine: sa.Engine, platform: Platform, account_id: int, count: int, connections: int
) -> tuple[float, float]:
    """Our outbox: every message a row, every receipt stored."""
    owe(engine, account_id, count)
    sender, wechat = Sender(most=connections, first=connections), gateway(platform)

    def work() -> None:
        deadline = time.monotonic() + TIMEOUT
        while outbox.drain(engine, lambda _id: wechat, present, limit=5000, sender=sender):
            assert time.monotonic() < deadline

    measured = timed(count, work)
    sender.close()
    check(engine, count)
    return measured


def owe(engine: sa.Engine, account_id: int, count: int) -> None:
    moment = present()
    with db.writing(engine) as session:
        session.execute(sa.delete(rows))
        people = list(session.execute(sa.select(followers.c.id).limit(count)).scalars())
    for start in range(0, count, 2000):
        with db.writing(engine) as session:
            outbox.put_many(
                session,
                [
                    {
                        "account_id": account_id,
                        "channel": "customer_service",
                        "purpose": "delivery",
                        "purpose_id": number + 1,
                        "follower_id": people[number % len(people)],
                        "payload": {"content": text_of(number)},
                        "expires_at": moment + timedelta(hours=1),
                        "key": f"bench:{number}",
                    }
                    for number in range(start, min(start + 2000, count))
                ],
                moment,
            )
    if engine.dialect.name == "postgresql":
        with engine.connect() as session:
            session.execution_options(isolation_level="AUTOCOMMIT").exec_driver_sql(
                "ANALYZE outbox"
            )


def check(engine: sa.Engine, count: int) -> None:
    """Every receipt is there, or the figure is worth nothing."""
    with db.reading(engine) as session:
        good = sa.and_(rows.c.status == "sent", rows.c.attempts == 1, rows.c.sent_at.is_not(None))
        found = session.execute(sa.select(sa.func.count()).where(good)).scalar_one()
    assert found == count, f"{found} of {count} receipts"


# --- one worker process against two


def _worker(pipe: Any, url: str, port: int, account_id: int, connections: int) -> None:
    platform = Platform(port, None, None)  # type: ignore[arg-type]
    engine, wechat = db.make_engine(url), gateway(platform)
    sender = Sender(most=connections, first=connections)
    pipe.send("ready")
    pipe.recv()
    while outbox.drain(engine, lambda _id: wechat, present, limit=5000, sender=sender):
        pass
    pipe.send("done")
    sender.close()
    engine.dispose()


def workers(
    engine: sa.Engine, url: str, platform: Platform, account_id: int, count: int, processes: int
) -> float:
    """Messages a second of so many worker processes at 32 connections each."""
    owe(engine, account_id, count)
    context = multiprocessing.get_context("spawn")
    begun = []
    for _ in range(processes):
        ours, theirs = context.Pipe()
        given = (theirs, url, platform.port, account_id, THREADS)
        process = context.Process(target=_worker, args=given, daemon=True)
        process.start()
        begun.append((process, ours))
    for _process, pipe in begun:
        pipe.recv()
    began = time.perf_counter()
    for _process, pipe in begun:
        pipe.send("go")
    for _process, pipe in begun:
        if not pipe.poll(TIMEOUT):
            raise RuntimeError("a worker did not end in time")
        pipe.recv()
    rate = count / (time.perf_counter() - began)
    for process, _pipe in begun:
        process.join(10)
    check(engine, count)
    return rate


# --- databases


@contextmanager
def database(url: str, people: int) -> Iterator[tuple[str, sa.Engine, int]]:
    """An empty database with followers: a file, or a schema of its own."""
    with tempfile.TemporaryDirectory() as folder:
        schema = f"send_rate_{os.getpid()}"
        if url == "sqlite":
            url = f"sqlite:///{Path(folder) / 'rate.db'}"
        else:
            with sa.create_engine(url).begin() as session:
                session.exec_driver_sql(f"CREATE SCHEMA {schema}")
            url = f"{url}{'&' if '?' in url else '?'}options=-csearch_path%3D{schema}"
        engine = db.make_engine(url)
        try:
            migrate.upgrade(engine)
            moment = present()
            with db.writing(engine) as session:
                account_id = factories.make_account(session, now=moment)
                factories.make_followers(session, account_id, people, now=moment)
            yield url, engine, account_id
        finally:
            if engine.dialect.name == "postgresql":
                with db.writing(engine) as session:
                    session.exec_driver_sql(f"DROP SCHEMA {schema} CASCADE")
            engine.dispose()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--messages", type=int, default=6000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--database", default="")
    given = parser.parse_args()
    messages, rounds = (1500, 1) if given.short else (given.messages, given.rounds)
    other = os.environ.get("TEST_DATABASE_URL", "")
    kinds = [given.database] if given.database else ["sqlite", *([other] if other else [])]
    platform = _platform.start(LATENCY)
    try:
        for kind in kinds:
            report(platform, kind, messages, rounds)
    finally:
        platform.stop()


def report(platform: Platform, kind: str, messages: int, rounds: int) -> None:
    with database(kind, messages) as (url, engine, account_id):
        few = max(THREADS * 20, messages // 6)
        counted, used = platform.counted(), platform.cpu_seconds()

        def of_workers(processes: int) -> tuple[float, float]:
            return workers(engine, url, platform, account_id, few * 4, processes), 0.0

        senders: dict[str, Callable[[], tuple[float, float]]] = {
            "wechatpy, 32 threads": lambda: wechatpy_threads(platform, few),
            "our client, storing nothing": lambda: storing_nothing(platform, messages, CONNECTIONS),
            "our outbox, every receipt stored": lambda: stored(
                engine, platform, account_id, messages, CONNECTIONS
            ),
            "one worker, 32 connections": lambda: of_workers(1),
            "two workers, 32 connections each": lambda: of_workers(2),
        }
        figures: dict[str, list[tuple[float, float]]] = {name: [] for name in senders}
        for _ in range(rounds):
            for name, work in senders.items():
                figures[name].append(work())
    print(
        f"\n{engine.dialect.name}, {messages:,} messages, {rounds} rounds, latency {LATENCY * 1000:.0f} ms"
    )
    calls, spent = platform.counted() - counted, platform.cpu_seconds() - used
    print(
        f"  the platform itself {spent / calls * 1e6:.0f} µs of a processor a call:"
        f" at most {calls / spent:,.0f} calls/s"
    )
    median = {name: statistics.median(rate for rate, _ in found) for name, found in figures.items()}
    for name, found in figures.items():
        cpu = statistics.median(cost for _, cost in found)
        low, high = min(rate for rate, _ in found), max(rate for rate, _ in found)
        own = f", {cpu:.0f} µs of its processor a message" if cpu else ""
        print(f"  {name:34} {median[name]:7,.0f} messages/s ({low:,.0f} to {high:,.0f}){own}")
    pool, alone, ours, one, two = median.values()
    print(f"  outbox / wechatpy pool {ours / pool:.1f} ×   (goal 5)")
    print(f"  outbox / storing nothing {ours / alone:.0%}   (goal 70 %)")
    print(f"  two workers / one {two / one:.2f} ×   (goal 1.7)")


if __name__ == "__main__":
    main()
