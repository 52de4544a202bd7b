"""Who may call which API now (接口额度): counts by priority, what is kept back, and pauses after 45009 and 45011.

Counted in memory and written with the outbox's own transactions, never a write a call. Several
processes may together go a little beyond their share; the tenth that is kept for replies takes that.

Where the platform told how often an API may be called, all processes take what they begin out of one bucket
of the store, a second's worth at a time. An empty bucket is left alone until it is half full again, so that
messages are not claimed again and again only to wait.
"""

import json
import threading
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from typing import Any, Protocol

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from bot import allowances, clock, db, jobs, outbox_claims
from bot.allowances import CAMPAIGN, DEFAULTS, PRIORITIES, REPLY, SYNC, Budget, Rate
from bot.clock import day_of
from bot.db import Session
from bot.tables.accounts import api_calls, api_quotas
from bot.tables.outbox import outbox

DAY_USED_UP, TOO_FREQUENT = 45009, 45011
LOOK_EVERY = 2.0  # seconds the counts of other processes may be old
WRITE_EVERY = 1.0  # seconds between two writes of our own
MASS = "/cgi-bin/message/mass/"
LEARN = "learn_quotas"  # the job
KEEP_RATE = timedelta(days=2)  # it is asked for every three hours
LOOK_AGAIN = 900.0  # seconds until a sync asks again whether the day has room for it
WEEK = 7  # days whose calls say what replies will need today


class Store(Protocol):
    """What processes share and may lose: rows, or Redis."""

    def get(self, key: str) -> str | None: ...
    def put(self, key: str, value: str, seconds: float) -> None: ...
    def take(
        self, key: str, wanted: int, most: int, per_second: float, *, forced: bool = False
    ) -> int: ...


@dataclass(frozen=True, slots=True)
class Pause:
    """An API that is left alone until a moment, and why: ``day`` (45009) or ``rate`` (45011), the n-th time."""

    until: datetime
    why: str
    times: int = 1


@dataclass(slots=True)
class _Seen:
    """What the database said about one API of one account, and when."""

    budget: Budget
    pause: Pause | None
    rate: Rate | None
    day: date
    at: float


@dataclass(slots=True)
class _Hand:
    """Calls of one API that this process took out of the bucket and did not count yet; below 0 what it owes it."""

    calls: int = 0
    taken_at: float = 0.0  # as ``clock.tick_seconds``
    dry_until: float = 0.0


@dataclass
class Governor:
    """One a process. ``answered`` and ``count`` only add in memory; ``write`` stores it."""

    engine: Engine
    store: Store
    _seen: dict[tuple[int, str], _Seen] = field(default_factory=dict)
    # (account, day, api, priority) -> calls, refused, held
    _counts: dict[tuple[int, date, str, str], list[int]] = field(
        default_factory=lambda: defaultdict(lambda: [0, 0, 0])
    )
    _hands: dict[tuple[int, str], _Hand] = field(default_factory=dict)  # of APIs with a rate
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _ask: set[int] = field(default_factory=set)  # accounts whose figures the platform shall say
    _written: float = 0.0

    def grant(self, account_id: int, api: str, priority: str, wanted: int, now: datetime) -> int:
        """How many of ``wanted`` calls may begin now. What is granted is not counted yet: ``count`` does."""
        seen = self._look(account_id, api, now)
        if seen.pause is not None and seen.pause.until > now:
            return 0
        most = allowances.granted(self._ours(account_id, seen.budget, now), priority, wanted, now)
        if seen.rate is None or priority == REPLY:
            return most
        return self._paced(account_id, seen.rate, api, most)

    def wait(self, account_id: int, apis: Iterable[str], now: datetime) -> float:
        """Seconds a sync that calls these APIs must wait; 0: it may go on."""
        found = 0.0
        for api in apis:
            if self.grant(account_id, api, SYNC, 1, now) == 0:
                self.count(account_id, api, SYNC, now, calls=0, held=1)
                found = max(found, self._room_in(account_id, api, now))
        return found

    def count(
        self,
        account_id: int,
        api: str,
        priority: str,
        now: datetime,
        *,
        calls: int = 1,
        refused: int = 0,
        held: int = 0,
    ) -> None:
        """Add to the day's counts."""
        with self._lock:
            counts = self._counts[account_id, day_of(now), api, priority]
            counts[0] += calls
            counts[1] += refused
            counts[2] += held
            hand = self._hands.get((account_id, api))
            if hand is not None:
                hand.calls -= calls

    def called(self, account_id: int, path: str, errcode: int | None, now: datetime) -> None:
        """One call that is not of many at once: of a batch, a sync, the console or a job."""
        priority = CAMPAIGN if path.startswith(MASS) else _PRIORITY.get()
        refused = errcode in (DAY_USED_UP, TOO_FREQUENT)
        self.count(account_id, path, priority, now, refused=int(refused))

    def refused(self, account_id: int, api: str, errcode: int, now: datetime) -> None:
        """The platform said it is too much: leave the API alone until midnight (45009), or for minutes (45011)."""
        seen = self._seen.get((account_id, api))
        last = seen.pause if seen is not None else None
        if last is not None and last.until > now:
            return  # answers to calls that were under way when it was said first
        if errcode == DAY_USED_UP:
            pause = Pause(allowances.tomorrow(now), "day")
            self._ask.add(account_id)  # its own count may be another
        else:
            soon = last is not None and now - last.until < allowances.RECENT
            times = last.times + 1 if soon and last is not None and last.why == "rate" else 1
            pause = Pause(now + allowances.pause(times), "rate", times)
        self._keep(account_id, api, pause, now)

    def lift(self, account_id: int, api: str, now: datetime) -> None:
        """The platform says there are calls left: no pause any more."""
        self._keep(account_id, api, Pause(now, "lifted"), now)

    def told_rate(self, account_id: int, api: str, calls: int, seconds: int) -> None:
        """How often the platform says an API may be called; 0: it does not say."""
        value = f"{calls} {seconds}" if calls > 0 and seconds > 0 else ""
        self.store.put(_rate_key(account_id, api), value, KEEP_RATE.total_seconds())
        self._seen.pop((account_id, api), None)

    def held(self, now: datetime) -> sa.ColumnElement[bool] | None:
        """Outbox rows that may not leave now, as a clause; None: there are none."""
        clauses = []
        for (account_id, api), priorities in self._held(now).items():
            channels = [
                name
                for name, channel in outbox_claims.channels().items()
                if getattr(channel, "API", None) == api
            ]
            purposes = [one for one in PURPOSES if allowances.priority_of(one) not in priorities]
            clauses.append(
                sa.and_(
                    outbox.c.account_id == account_id,
                    outbox.c.channel.in_(channels),
                    outbox.c.purpose.not_in(purposes),
                )
            )
        return sa.or_(*clauses) if clauses else None

    def is_write_due(self) -> bool:
        """Whether counts wait to be stored, and the last ones are a second old."""
        return (
            bool(self._counts or self._ask) and clock.tick_seconds() - self._written >= WRITE_EVERY
        )

    def write(self, session: Session) -> None:
        """Store what was counted, in the caller's transaction, as its last statement: others wait for these rows."""
        with self._lock:
            counted, self._counts = dict(self._counts), defaultdict(lambda: [0, 0, 0])
            self._written = clock.tick_seconds()
            asked, self._ask = self._ask, set()
        for account_id in asked:
            ask_platform(session, account_id, clock.now())
        # always in one order, so that two processes never wait for each other
        for mark in sorted(counted):
            _add(session, mark, counted[mark])
            with self._lock:
                self._forget(mark)

    def flush(self, engine: Engine) -> None:
        """``write`` in a transaction of its own, if there is anything."""
        if self._counts or self._ask:
            with db.writing(engine) as session:
                self.write(session)

    def _forget(self, mark: tuple[int, date, str, str]) -> None:
        account_id, _day, api, _priority = mark
        self._seen.pop((account_id, api), None)

    def _ours(self, account_id: int, budget: Budget, now: datetime) -> Budget:
        """With what this process has counted since it was last written."""
        day = day_of(now)
        with self._lock:
            more = {
                one: self._counts[account_id, day, budget.api, one][0]
                for one in PRIORITIES
                if (account_id, day, budget.api, one) in self._counts
            }
        if not more:
            return budget
        calls = {one: budget.calls.get(one, 0) + more.get(one, 0) for one in PRIORITIES}
        return replace(budget, calls=calls)

    def _look(self, account_id: int, api: str, now: datetime) -> _Seen:
        seen, at, day = self._seen.get((account_id, api)), clock.tick_seconds(), day_of(now)
        if seen is None or at - seen.at > LOOK_EVERY or seen.day != day:
            with db.reading(self.engine) as session:
                [budget] = budgets(session, account_id, now, [api])
            pause = read_pause(self.store, account_id, api)
            rate = read_rate(self.store, account_id, api)
            self._settle(account_id, api, rate)
            seen = self._seen[account_id, api] = _Seen(budget, pause, rate, day, at)
        return seen

    def _paced(self, account_id: int, rate: Rate, api: str, wanted: int) -> int:
        """How many of ``wanted`` calls the rate allows now: of what is in hand, and of what the bucket gives.

        Calls under way are in hand until they are counted. Where several priorities call at once they may go a
        little beyond it, which is paid back.
        """
        with self._lock:
            hand = self._hands.setdefault((account_id, api), _Hand())
            missing, at = wanted - hand.calls, clock.tick_seconds()
        if missing > 0 and at >= hand.dry_until:
            # a second's worth at once, so that the store is asked about once a second
            asked = max(missing, min(rate.most, round(rate.per_second)))
            taken = self.store.take(_bucket_key(account_id, api), asked, rate.most, rate.per_second)
            with self._lock:
                hand.calls += taken
                hand.taken_at = at
                if taken < missing:
                    hand.dry_until = at + rate.most / 2 / rate.per_second
        return max(0, min(wanted, hand.calls))

    def _settle(self, account_id: int, api: str, rate: Rate | None) -> None:
        """Pay what calls that nobody granted owe the bucket, and forget what was taken long ago and not used."""
        with self._lock:
            if rate is None:
                self._hands.pop((account_id, api), None)
                return
            hand = self._hands.setdefault((account_id, api), _Hand())
            owed = max(0, -hand.calls)
            old = clock.tick_seconds() - hand.taken_at > rate.seconds
            hand.calls = 0 if owed or old else hand.calls
        if owed:
            key = _bucket_key(account_id, api)
            self.store.take(key, owed, rate.most, rate.per_second, forced=True)

    def _room_in(self, account_id: int, api: str, now: datetime) -> float:
        """Seconds until it is worth asking again for an API of which nothing was granted."""
        seen = self._look(account_id, api, now)
        if seen.pause is not None and seen.pause.until > now:
            return (seen.pause.until - now).total_seconds()
        hand = self._hands.get((account_id, api))
        dry = hand.dry_until - clock.tick_seconds() if hand is not None else 0.0
        return dry if dry > 0 else LOOK_AGAIN

    def _held(self, now: datetime) -> dict[tuple[int, str], list[str]]:
        """APIs of accounts from which something is held back, and whose calls are."""
        apis = {getattr(channel, "API", None) for channel in outbox_claims.channels().values()}
        today = sa.select(api_calls.c.account_id, api_calls.c.api).distinct()
        with db.reading(self.engine) as session:
            rows = session.execute(today.where(api_calls.c.day == day_of(now))).all()
        used = {(row.account_id, row.api) for row in rows}
        found: dict[tuple[int, str], list[str]] = {}
        for account_id, api in used | set(self._seen):
            if api not in apis:
                continue
            held = [one for one in PRIORITIES if self.grant(account_id, api, one, 1, now) == 0]
            if held:
                found[account_id, api] = held
        return found

    def _keep(self, account_id: int, api: str, pause: Pause, now: datetime) -> None:
        seen = self._seen.get((account_id, api))
        if seen is not None:
            seen.pause = pause
        seconds = max((pause.until - now).total_seconds(), 0) + allowances.RECENT.total_seconds()
        value = {"until": pause.until.isoformat(), "why": pause.why, "times": pause.times}
        self.store.put(_key(account_id, api), json.dumps(value), seconds)


def ask_platform(session: Session, account_id: int, now: datetime) -> None:
    """A job that asks the platform for its own figures, at most one an account and quarter of an hour."""
    quarter = int(now.timestamp() // 900)
    jobs.enqueue(
        session,
        LEARN,
        {"account_id": account_id},
        now=now,
        unique_key=f"{LEARN}:{account_id}:{quarter}",
        account_id=account_id,
    )


_PRIORITY: ContextVar[str] = ContextVar("priority", default=SYNC)


@contextmanager
def on_behalf_of(priority: str) -> Iterator[None]:
    """Count single calls in here as of this priority, such as those of a tag that a campaign needs."""
    before = _PRIORITY.set(priority)
    try:
        yield
    finally:
        _PRIORITY.reset(before)


PURPOSES = ("reply", "agent", "later", "preview")  # all others are campaigns'


def read_pause(store: Store, account_id: int, api: str) -> Pause | None:
    """The pause of an API, or the last one of the last minutes."""
    kept = store.get(_key(account_id, api))
    if not kept:
        return None
    value = json.loads(kept)
    return Pause(datetime.fromisoformat(value["until"]), value["why"], value["times"])


def read_rate(store: Store, account_id: int, api: str) -> Rate | None:
    """How often the platform said an API may be called; None: it did not say."""
    kept = store.get(_rate_key(account_id, api))
    if not kept:
        return None
    calls, seconds = map(int, kept.split())
    return Rate(calls, seconds)


def budgets(
    session: Session, account_id: int, now: datetime, apis: Iterable[str] | None = None
) -> list[Budget]:
    """The day's budget of each API: those asked for, or all that were called or told about, by name."""
    day = day_of(now)
    said = {
        row.api: row
        for row in session.execute(
            sa.select(api_quotas).where(api_quotas.c.account_id == account_id)
        )
    }
    calls: dict[str, dict[date, dict[str, int]]] = defaultdict(lambda: defaultdict(dict))
    for row in session.execute(
        sa.select(api_calls).where(
            api_calls.c.account_id == account_id, api_calls.c.day >= day - timedelta(days=WEEK)
        )
    ):
        calls[row.api][row.day][row.priority] = row.calls
    wanted = sorted({*said, *calls}) if apis is None else list(apis)
    return [_budget(api, day, said.get(api), calls[api]) for api in wanted]


def _budget(api: str, day: date, said: Any, calls: dict[date, dict[str, int]]) -> Budget:
    limit = said.daily_limit if said is not None else DEFAULTS.get(api, 0)
    today = calls.get(day, {})
    elsewhere = 0
    if said is not None and day_of(said.said_at) == day:
        elsewhere = max(0, said.used - said.counted)
    before = {
        one: [counts.get(one, 0) for past, counts in calls.items() if past != day]
        for one in PRIORITIES
    }
    # an API without a published limit is not governed
    return Budget(api, limit or UNLIMITED, today, elsewhere, before)


UNLIMITED = 1_000_000_000


def _add(session: Session, mark: tuple[int, date, str, str], counts: list[int]) -> None:
    account_id, day, api, priority = mark
    names = ("calls", "refused", "held")
    statement = db.insert(session, api_calls).values(
        account_id=account_id,
        day=day,
        api=api,
        priority=priority,
        **dict(zip(names, counts, strict=True)),
    )
    session.execute(
        statement.on_conflict_do_update(
            index_elements=["account_id", "day", "api", "priority"],
            set_={name: api_calls.c[name] + statement.excluded[name] for name in names},
        )
    )


def _rate_key(account_id: int, api: str) -> str:
    return f"rate:{account_id}:{api}"


def _bucket_key(account_id: int, api: str) -> str:
    return f"pace:{account_id}:{api}"


def _key(account_id: int, api: str) -> str:
    return f"quota:{account_id}:{api}"
