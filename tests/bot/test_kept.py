"""Both stores keep the same promises; only whose clock counts differs."""

import threading
import uuid
from collections.abc import Iterator
from datetime import timedelta

import fakeredis
import pytest
import redis
import sqlalchemy as sa

from bot import db, kept
from bot.clock import Clock
from bot.kept import DatabaseStore, RedisStore
from tests.factories import at

Store = DatabaseStore | RedisStore


@pytest.fixture
def clock() -> Clock:
    return Clock(frozen_at=at("2025-03-03 09:00"))


@pytest.fixture
def database_store(engine: sa.Engine, clock: Clock) -> DatabaseStore:
    return DatabaseStore(engine, clock)


@pytest.fixture(params=["database", "fakeredis", pytest.param("redis", marks=pytest.mark.redis)])
def store(request: pytest.FixtureRequest, database_url: str) -> Iterator[Store]:
    if request.param == "database":
        yield request.getfixturevalue("database_store")
        return
    if request.param == "fakeredis":
        yield RedisStore("", fakeredis.FakeRedis(decode_responses=True))
        return
    client = redis.Redis.from_url(request.getfixturevalue("redis_url"), decode_responses=True)
    yield RedisStore("", client)
    client.close()


@pytest.fixture
def key() -> str:
    """A key of this test alone: the real Redis is shared."""
    return f"test:{uuid.uuid4().hex}"


def test_what_was_put_is_read_again(store: Store, key: str) -> None:
    assert store.get(key) is None
    store.put(key, "first", 60)
    store.put(key, "第二", 60)
    assert store.get(key) == "第二"


def test_a_lease_has_one_taker_until_it_is_given_back(store: Store, key: str) -> None:
    assert store.lease(key, 60)
    assert not store.lease(key, 60)
    store.release(key)
    assert store.lease(key, 60)


def test_a_lease_and_a_value_of_one_key_do_not_disturb_each_other(store: Store, key: str) -> None:
    assert store.lease(key, 60)
    assert store.get(key) is None
    store.put(key, "value", 60)
    assert not store.lease(key, 60)
    store.release(key)
    assert store.get(key) == "value"


def test_the_counter_allows_exactly_the_limit(store: Store, key: str) -> None:
    assert [store.count(key, 60, 3) for _ in range(5)] == [True, True, True, False, False]


def test_of_many_threads_one_gets_the_lease_and_the_counter_misses_nobody(
    store: Store, key: str
) -> None:
    taken: list[bool] = []
    allowed: list[bool] = []

    def work() -> None:
        taken.append(store.lease(key + ":lease", 60))
        allowed.append(store.count(key + ":count", 60, 5))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert taken.count(True) == 1
    assert allowed.count(True) == 5


def test_values_leases_and_counters_expire_by_the_given_clock(
    database_store: DatabaseStore, clock: Clock
) -> None:
    database_store.put("token", "abc", 60)
    assert database_store.lease("token", 60)
    assert database_store.count("calls", 60, 1)
    assert not database_store.count("calls", 60, 1)
    clock.move_to(clock() + timedelta(seconds=59))
    assert database_store.get("token") == "abc"
    assert not database_store.lease("token", 60)
    assert not database_store.count("calls", 60, 1)
    clock.move_to(clock() + timedelta(seconds=1))
    assert database_store.get("token") is None
    assert database_store.lease("token", 60)
    assert database_store.count("calls", 60, 1)


def test_redis_expires_what_it_keeps(key: str) -> None:
    client = fakeredis.FakeRedis(decode_responses=True)
    store = RedisStore("", client)
    store.put(key, "abc", 60)
    store.lease(key, 30)
    store.count(key, 20, 1)
    spans = sorted(round(client.ttl(name)) for name in client.keys("qunfen:*"))
    assert spans == [20, 30, 60]


def test_pruning_takes_what_expired_and_leaves_what_is_leased(
    engine: sa.Engine, database_store: DatabaseStore, clock: Clock
) -> None:
    database_store.put("old", "1", 10)
    database_store.put("leased", "1", 10)
    database_store.lease("leased", 1000)
    database_store.put("fresh", "1", 1000)
    with db.writing(engine) as session:
        kept.write(session, "for ever", "1")
        assert kept.prune(session, clock() + timedelta(seconds=20)) == 1
        assert kept.read(session, "for ever", clock() + timedelta(days=400)) == "1"
    assert database_store.get("fresh") == "1"


def test_a_count_taken_back_makes_room_for_one_more(store: Store, key: str) -> None:
    store.uncount(key, 60)  # nothing was counted: nothing happens
    assert store.count(key, 60, 2)
    assert store.count(key, 60, 2)
    assert not store.count(key, 60, 2)
    store.uncount(key, 60)
    store.uncount(key, 60)
    assert store.count(key, 60, 2)
    assert not store.count(key, 60, 2)


def test_while_redis_is_away_the_rows_stand_in(
    database_store: DatabaseStore, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = [1000.0]
    # how long a Redis that failed is left alone: nobody waits here
    monkeypatch.setattr("bot.clock.tick_seconds", lambda: seconds[0])
    server = fakeredis.FakeServer()
    client = fakeredis.FakeRedis(server=server, decode_responses=True)
    store = RedisStore("", client, otherwise=database_store)
    store.put(key, "in Redis", 60)
    assert store.get(key) == "in Redis"
    assert store.queued() == 0

    server.connected = False
    assert store.get(key) is None
    store.put(key, "in the rows", 60)
    assert store.get(key) == "in the rows"
    assert store.lease(key, 60)
    assert not store.lease(key, 60)
    store.release(key)
    assert store.lease(key, 60)
    assert store.count(f"{key}:calls", 60, 1)
    assert not store.count(f"{key}:calls", 60, 1)
    store.uncount(f"{key}:calls", 60)
    assert store.count(f"{key}:calls", 60, 2)
    with pytest.raises(kept.StoreError):
        store.queued()

    server.connected = True
    assert store.get(key) == "in the rows", "not asked again yet"
    seconds[0] += kept.AWAY_SECONDS
    assert store.get(key) == "in Redis"


def test_without_rows_behind_it_a_lost_redis_is_told(key: str) -> None:
    server = fakeredis.FakeServer()
    store = RedisStore("", fakeredis.FakeRedis(server=server, decode_responses=True))
    server.connected = False
    with pytest.raises(kept.StoreError):
        store.get(key)
