"""Small things processes share and may lose: access tokens, leases, rate counters, the last ticks.

Rows of the table ``kept`` in the embedded form, Redis in the distributed one, behind the same few methods.
While Redis is away the rows stand in for it, so that sending goes on.
"""

import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TypeVar

import redis
import sqlalchemy as sa
from sqlalchemy.engine import Engine

from bot import clock, db, logs
from bot.db import Session
from bot.tables.jobs import kept

REDIS_PREFIX = "qunfen:"
StoreError = redis.RedisError  # what doors catch when the store is away
REDIS_SECONDS = 2.0  # longer than any command we send takes; a lost Redis must not hang a thread
AWAY_SECONDS = (
    5.0  # how long a Redis that failed is not asked again: each question may cost REDIS_SECONDS
)
QUEUE = "qunfen"  # the list through which job ids go to workers (bot.distributed)

# One script, so that of many workers no two take the same token; by Redis' clock, which is one for all of them.
# What a bucket holds is kept as text: a number that a script returns loses its fraction.
TAKE = """
local wanted, most, per_second, forced = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4] == '1'
local time = redis.call('TIME')
local now = tonumber(time[1]) + tonumber(time[2]) / 1000000
local kept = redis.call('HMGET', KEYS[1], 'tokens', 'at')
local tokens, at = tonumber(kept[1] or most), tonumber(kept[2] or now)
local filled = math.min(most, tokens + math.max(0, now - at) * per_second)
local given = forced and wanted or math.max(0, math.min(wanted, math.floor(filled)))
local left = filled - given
redis.call('HSET', KEYS[1], 'tokens', string.format('%.6f', left), 'at', string.format('%.6f', now))
redis.call('PEXPIRE', KEYS[1], math.ceil(((most - left) / per_second + 1) * 1000))
return given
"""

Answer = TypeVar("Answer")
log = logs.get()


class DatabaseStore:
    """The store as rows. Values, leases and counters expire by the clock it is given."""

    def __init__(self, engine: Engine, now: Callable[[], datetime] = clock.now) -> None:
        self._engine = engine
        self._now = now

    def get(self, key: str) -> str | None:
        """The value, unless it expired."""
        with db.reading(self._engine) as session:
            return read(session, key, self._now())

    def put(self, key: str, value: str, seconds: float) -> None:
        """Keep a value for so many seconds; a lease on the same key stays as it is."""
        with db.writing(self._engine) as session:
            write(session, key, value, self._now() + timedelta(seconds=seconds))

    def lease(self, key: str, seconds: float) -> bool:
        """Take the key for so many seconds: True for one taker at a time."""
        now = self._now()
        until = now + timedelta(seconds=seconds)
        with db.writing(self._engine) as session:
            statement = db.insert(session, kept).values(key=key, lease_until=until)
            taken = session.execute(
                statement.on_conflict_do_update(
                    index_elements=["key"],
                    set_={"lease_until": until},
                    where=sa.or_(kept.c.lease_until.is_(None), kept.c.lease_until <= now),
                ).returning(kept.c.key)
            ).scalar()
        return taken is not None

    def release(self, key: str) -> None:
        """Give a lease back; the value stays."""
        with db.writing(self._engine) as session:
            session.execute(sa.update(kept).where(kept.c.key == key).values(lease_until=None))

    def count(self, key: str, seconds: float, limit: int) -> bool:
        """Count one; False when it is beyond ``limit`` within the span of ``seconds`` that the first one opened."""
        now = self._now()
        ends = now + timedelta(seconds=seconds)
        over = sa.or_(kept.c.expires_at.is_(None), kept.c.expires_at <= now)
        one_more = sa.cast(sa.cast(kept.c.value, sa.Integer) + 1, sa.Text)
        with db.writing(self._engine) as session:
            statement = db.insert(session, kept).values(key=key, value="1", expires_at=ends)
            reached = session.execute(
                statement.on_conflict_do_update(
                    index_elements=["key"],
                    set_={
                        "value": sa.case((over, "1"), else_=one_more),
                        "expires_at": sa.case(
                            (over, statement.excluded.expires_at), else_=kept.c.expires_at
                        ),
                    },
                ).returning(kept.c.value)
            ).scalar_one()
        return int(reached) <= limit

    def uncount(self, key: str, seconds: float) -> None:
        """Take one back of what ``count`` counted within a span of ``seconds``, unless that ended."""
        one_less = sa.cast(sa.cast(kept.c.value, sa.Integer) - 1, sa.Text)
        with db.writing(self._engine) as session:
            session.execute(
                sa.update(kept)
                .where(kept.c.key == key, kept.c.expires_at > self._now())
                .values(value=one_less)
            )

    def take(
        self, key: str, wanted: int, most: int, per_second: float, *, forced: bool = False
    ) -> int:
        """Take up to ``wanted`` tokens out of a bucket of ``most`` that fills by ``per_second``: how many there were.

        ``forced``: all of them, on credit where there are too few.
        """
        now = self._now().timestamp()
        with db.writing(self._engine) as session:
            tokens, at = _bucket(lock(session, key), most, now)
            filled = min(most, tokens + max(0.0, now - at) * per_second)
            given = wanted if forced else max(0, min(wanted, int(filled)))
            left = filled - given
            full_again = self._now() + timedelta(seconds=(most - left) / per_second + 1)
            write(session, key, f"{left:.6f} {now:.6f}", full_again)
        return given


class RedisStore:
    """The store in Redis: the same methods, expiry by Redis' own clock.

    ``otherwise`` stands in while Redis is away: a token is fetched once more, a counter starts anew.
    Without it what Redis raises is raised here.
    """

    def __init__(
        self,
        url: str,
        client: "redis.Redis | None" = None,
        otherwise: DatabaseStore | None = None,
    ) -> None:
        self._redis = client or redis.Redis.from_url(
            url,
            decode_responses=True,
            socket_timeout=REDIS_SECONDS,
            socket_connect_timeout=REDIS_SECONDS,
        )
        self._script = self._redis.register_script(TAKE)
        self._otherwise = otherwise
        self._away_until = 0.0  # by clock.tick_seconds
        self._lock = threading.Lock()

    def get(self, key: str) -> str | None:
        """The value, unless it expired."""
        value = self._ask(lambda: self._redis.get(REDIS_PREFIX + key), lambda rows: rows.get(key))
        return None if value is None else str(value)

    def put(self, key: str, value: str, seconds: float) -> None:
        """Keep a value for so many seconds."""
        self._ask(
            lambda: self._redis.set(REDIS_PREFIX + key, value, px=_milliseconds(seconds)),
            lambda rows: rows.put(key, value, seconds),
        )

    def lease(self, key: str, seconds: float) -> bool:
        """Take the key for so many seconds: True for one taker at a time."""
        return self._ask(
            lambda: bool(self._redis.set(_lease_key(key), "1", nx=True, px=_milliseconds(seconds))),
            lambda rows: rows.lease(key, seconds),
        )

    def release(self, key: str) -> None:
        """Give a lease back; the value stays."""
        self._ask(lambda: self._redis.delete(_lease_key(key)), lambda rows: rows.release(key))

    def count(self, key: str, seconds: float, limit: int) -> bool:
        """Count one; False when it is beyond ``limit`` within the span of ``seconds`` that the first one opened."""
        return self._ask(
            lambda: self._count(key, seconds) <= limit,
            lambda rows: rows.count(key, seconds, limit),
        )

    def uncount(self, key: str, seconds: float) -> None:
        """Take one back of what ``count`` counted within a span of ``seconds``, unless that ended."""
        self._ask(lambda: self._uncount(key, seconds), lambda rows: rows.uncount(key, seconds))

    def take(
        self, key: str, wanted: int, most: int, per_second: float, *, forced: bool = False
    ) -> int:
        """Take up to ``wanted`` tokens out of a bucket of ``most`` that fills by ``per_second``: how many there were.

        ``forced``: all of them, on credit where there are too few. A bucket nobody knows of is full.
        """
        return self._ask(
            lambda: self._take(key, wanted, most, per_second, forced),
            lambda rows: rows.take(key, wanted, most, per_second, forced=forced),
        )

    def queued(self) -> int:
        """How many job ids wait for a worker.

        Raises:
            StoreError: Redis is away; this is how one asks.
        """
        return int(self._redis.llen(QUEUE))

    def _count(self, key: str, seconds: float) -> int:
        name = f"{REDIS_PREFIX}count:{key}"
        # one transaction: a counter without an expiry would refuse for ever
        with self._redis.pipeline(transaction=True) as together:
            together.set(name, 0, nx=True, px=_milliseconds(seconds))
            together.incr(name)
            return int(together.execute()[1])

    def _take(self, key: str, wanted: int, most: int, per_second: float, forced: bool) -> int:
        name = f"{REDIS_PREFIX}bucket:{key}"
        return int(self._script([name], [wanted, most, per_second, int(forced)]))

    def _uncount(self, key: str, seconds: float) -> None:
        name = f"{REDIS_PREFIX}count:{key}"
        # a counter that has expired must not come back without an expiry, nor below nothing
        with self._redis.pipeline(transaction=True) as together:
            together.set(name, 1, nx=True, px=_milliseconds(seconds))
            together.decr(name)
            together.execute()

    def _ask(
        self, redis_: Callable[[], Answer], otherwise: Callable[[DatabaseStore], Answer]
    ) -> Answer:
        if self._otherwise is None:
            return redis_()
        if clock.tick_seconds() >= self._away_until:
            try:
                return redis_()
            except StoreError as problem:
                with self._lock:
                    self._away_until = clock.tick_seconds() + AWAY_SECONDS
                log.error("redis_unavailable", error=type(problem).__name__)
        return otherwise(self._otherwise)


def read(session: Session, key: str, now: datetime) -> str | None:
    """A kept value inside the caller's transaction, unless it expired."""
    value: str | None = session.execute(
        sa.select(kept.c.value).where(
            kept.c.key == key, sa.or_(kept.c.expires_at.is_(None), kept.c.expires_at > now)
        )
    ).scalar()
    return value


def write(session: Session, key: str, value: str, expires_at: datetime | None = None) -> None:
    """Keep a value inside the caller's transaction."""
    row = {"key": key, "value": value, "expires_at": expires_at}
    db.upsert(session, kept, row, key=["key"])


def lock(session: Session, key: str) -> str | None:
    """Hold a key to the end of the caller's transaction, others wait here; returns its value.

    An upsert that changes nothing takes the row's lock on PostgreSQL; SQLite's writers take turns anyway.
    """
    statement = db.insert(session, kept).values(key=key)
    value: str | None = session.execute(
        statement.on_conflict_do_update(
            index_elements=["key"], set_={"key": statement.excluded.key}
        ).returning(kept.c.value)
    ).scalar()
    return value


def prune(session: Session, now: datetime) -> int:
    """Delete what expired and is leased to nobody; how many rows went."""
    gone = session.execute(
        sa.delete(kept)
        .where(
            kept.c.expires_at <= now,
            sa.or_(kept.c.lease_until.is_(None), kept.c.lease_until <= now),
        )
        .returning(kept.c.key)
    )
    return len(gone.all())


def _bucket(value: str | None, most: int, now: float) -> tuple[float, float]:
    """(tokens, as of when) of a kept bucket; one nobody knows of is full."""
    tokens, _, at = (value or f"{most} {now}").partition(" ")
    return float(tokens), float(at)


def _lease_key(key: str) -> str:
    return f"{REDIS_PREFIX}lease:{key}"


def _milliseconds(seconds: float) -> int:
    return max(1, round(seconds * 1000))
