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


def test_a_bucket_gives_what_it_holds_and_fills_again(
    database_store: DatabaseStore, clock: Clock, key: str
) -> None:
    def take(wanted: int, **how: bool) -> int:
        return database_store.take(key, wanted, 10, 0.5, **how)

    assert [take(4), take(4), take(4), take(4)] == [4, 4, 2, 0]
    clock.move_to(clock() + timedelta(seconds=5))
    assert [take(9), take(9)] == [2, 0]
    assert take(3, forced=True) == 3  # on credit
    clock.move_to(clock() + timedelta(seconds=7))
    assert take(1) == 1  # half a token was left, three were owed, and three and a half came
    clock.move_to(clock() + timedelta(hours=1))
    assert take(99) == 10


# fakeredis runs no scripts without an interpreter of Lua
@pytest.mark.redis
def test_a_bucket_in_redis_gives_what_it_holds_and_fills_again(redis_url: str, key: str) -> None:
    with redis.Redis.from_url(redis_url, decode_responses=True) as client:
        store = RedisStore("", client)
        slow = 1e-6  # a token in eleven days
        assert [store.take(key, wanted, 10, slow) for wanted in (4, 4, 4, 4)] == [4, 4, 2, 0]
        assert store.take(key, 3, 10, slow, forced=True) == 3
        [name] = client.keys(f"*{key}")
        assert float(client.hget(name, "tokens")) == pytest.approx(-3, abs=0.001)
        # as if it were ten seconds later, half a token each
        client.hset(name, "at", f"{float(client.hget(name, 'at')) - 10:.6f}")
        assert store.take(key, 9, 10, 0.5) == 2
        assert 20_000 < client.pttl(name) <= 22_000  # full again by then
        client.delete(name)
        assert store.take(key, 99, 10, slow) == 10


def drawn_by_threads(store: Store, key: str) -> int:
    given: list[int] = []

    def work() -> None:
        given.extend(store.take(key, 3, 20, 1e-6) for _ in range(3))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(given)


def test_of_many_threads_no_two_get_the_same_token(database_store: DatabaseStore, key: str) -> None:
    assert drawn_by_threads(database_store, key) == 20


@pytest.mark.redis
def test_of_many_threads_no_two_get_the_same_token_of_redis(redis_url: str, key: str) -> None:
    assert drawn_by_threads(RedisStore(redis_url), key) == 20


def test_a_bucket_is_in_rows_while_redis_is_away(database_store: DatabaseStore, key: str) -> None:
    store = RedisStore("redis://127.0.0.1:1/0", otherwise=database_store)
    assert [store.take(key, 4, 6, 1e-6) for _ in range(3)] == [4, 2, 0]
    assert database_store.take(key, 1, 6, 1e-6) == 0
