"""What QR channels brought: by day and in total, who stayed, what it cost, and which code needs a look.

Days that are over are read from the roll-ups, today from the events. Retention is counted once, when a
day's followers are old enough, and kept as roll-ups too: ``kept_7`` and ``kept_30`` under the day they
followed, ``times`` who followed by the code and ``people`` who had not left so many days later.
"""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from bot import db, retention, scenes
from bot.clock import day_of, start_of_day
from bot.db import Session
from bot.scenes import Scene
from bot.sql import plus_days, shanghai_day, unindexed
from bot.tables.accounts import accounts
from bot.tables.events import daily_counts, events
from bot.tables.followers import followers
from bot.tables.jobs import installation
from bot.tables.tracking import scenes as scenes_table

FOLLOW, SCAN = "subscribe", "scan"
KINDS = (FOLLOW, SCAN)
LEFT = "left"  # the roll-up of who left, under the code that brought them first
DAY = timedelta(days=1)
EVER = date(2012, 8, 1)  # official accounts began
RETENTION_DAYS = (7, 30)
SPAN = timedelta(days=7)  # of followers counted in one step
EXPIRES_SOON = timedelta(days=7)
# a code is silent when by its own pace so many scans are missing; chance alone does that once in 150
MISSING_SCANS = 5.0
PACE_DAYS = 14  # the days before the last scan that say how often a code is scanned
_KEPT = {f"kept_{days}": days for days in RETENTION_DAYS}
# the words of the index ix_events_scene, which SQLite takes only where it reads the same words
_BY_SCENE = sa.text("events.kind IN ('subscribe', 'scan') AND events.key IS NOT NULL")


@dataclass(frozen=True, slots=True)
class Kept:
    """Of ``followed`` who are old enough to say, ``stayed`` had not left after so many days."""

    followed: int = 0
    stayed: int = 0

    @property
    def rate(self) -> float | None:
        return self.stayed / self.followed if self.followed else None


@dataclass(frozen=True, slots=True)
class Figures:
    """What one code brought in a span of days. ``people`` is None where it was not asked for.

    ``left`` are those whom the code brought first and who left in the span.
    """

    follows: int = 0
    rescans: int = 0
    left: int = 0
    people: int | None = None
    kept: Mapping[int, Kept] | None = None
    cost: float | None = None
    follows_ever: int | None = None

    @property
    def scans(self) -> int:
        return self.follows + self.rescans

    @property
    def cost_per_follow(self) -> float | None:
        """Yuan for each new follower since the code exists; None without a cost or a follower."""
        if self.cost is None or not self.follows_ever:
            return None
        return self.cost / self.follows_ever

    def rate(self, days: int) -> float | None:
        """The share that stayed ``days`` days; None while nobody is old enough."""
        found = (self.kept or {}).get(days)
        return found.rate if found is not None else None


@dataclass(frozen=True, slots=True)
class DayFigures:
    """One Shanghai day of one code. ``people`` counts everybody once who scanned that day."""

    day: date
    follows: int
    rescans: int
    people: int
    left: int
    kept: Mapping[int, Kept]


@dataclass(frozen=True, slots=True)
class Notice:
    """A code that needs a look: ``why`` is expired, expires, silent or failed."""

    key: str
    name: str
    why: str
    at: datetime | None = None
    last_scan: date | None = None
    missing: int = 0  # scans one would have expected since


def figures(
    session: Session,
    account_id: int,
    first: date,
    last: date,
    now: datetime,
    *,
    keys: Collection[str] | None = None,
) -> dict[str, Figures]:
    """Figures by key of the days from ``first`` to ``last``, both included; of all codes, or of ``keys``.

    People and what it cost are only in ``one``: they need every scan.
    """
    sums = _sums(session, account_id, first, last, now, keys)
    gone = left(session, account_id, first, last, keys)
    kept = _kept_sums(session, account_id, first, last, keys)
    return {
        key: Figures(
            follows=sums.get((FOLLOW, key), 0),
            rescans=sums.get((SCAN, key), 0),
            left=sum(gone.get(key, {}).values()),
            kept=kept.get(key),
        )
        for key in {*(key for _kind, key in sums), *gone, *kept}
        if key
    }


def costs(
    session: Session,
    account_id: int,
    wanted: Sequence[Scene],
    found: Mapping[str, Figures],
    now: datetime,
) -> dict[str, Figures]:
    """``found`` of the ``wanted`` codes, with cost and cost per follower where a cost is known."""
    paid = [scene.key for scene in wanted if scene.cost is not None]
    ever = _sums(session, account_id, EVER, day_of(now), now, paid) if paid else {}
    empty = Figures()
    filled = {}
    for scene in wanted:
        old = found.get(scene.key, empty)
        filled[scene.key] = Figures(
            old.follows,
            old.rescans,
            old.left,
            old.people,
            old.kept,
            scene.cost,
            ever.get((FOLLOW, scene.key), 0) if scene.cost is not None else None,
        )
    return filled


def one(
    session: Session, account_id: int, scene: Scene, first: date, last: date, now: datetime
) -> tuple[Figures, list[DayFigures]]:
    """Everything about one code: the total of a span of days, and each of its days, the latest first."""
    keys = [scene.key]
    counted = _counts(session, account_id, first, last, now, keys)
    gone = left(session, account_id, first, last, keys).get(scene.key, {})
    kept = _kept_days(session, account_id, first, last, keys)
    both = _both_people(session, account_id, scene.key, first, last)
    days = []
    day = last
    while day >= first:
        follows, _ = counted.get((day, FOLLOW, scene.key), (0, 0))
        rescans, people = counted.get((day, SCAN, scene.key), (0, 0))
        days.append(
            DayFigures(
                day,
                follows,
                rescans,
                both.get(day, follows + people),
                gone.get(day, 0),
                kept.get(day, {}),
            )
        )
        day -= timedelta(days=1)
    sums: dict[int, Kept] = {}
    for day_kept in kept.values():
        for length, one_day in day_kept.items():
            old = sums.get(length, Kept())
            sums[length] = Kept(old.followed + one_day.followed, old.stayed + one_day.stayed)
    found = Figures(
        sum(day.follows for day in days),
        sum(day.rescans for day in days),
        sum(gone.values()),
        _people(session, account_id, scene.key, first, last),
        sums,
    )
    return costs(session, account_id, [scene], {scene.key: found}, now)[scene.key], days


def warnings(
    session: Session,
    account_id: int,
    now: datetime,
    patterns: Sequence[str] | None = None,
    keys: Collection[str] | None = None,
) -> list[Notice]:
    """Codes that ended or end within a week, that the platform refused, and that fell silent."""
    rows = session.execute(
        sa.select(
            scenes_table.c.key,
            scenes_table.c.name,
            scenes_table.c.expires_at,
            scenes_table.c.error,
        ).where(
            scenes_table.c.account_id == account_id,
            scenes_table.c.archived_at.is_(None),
            scenes.visible(patterns),
            sa.true() if keys is None else scenes_table.c.key.in_(list(keys)),
        )
    ).all()
    found: list[Notice] = []
    named = {}
    for row in rows:
        named[row.key] = row.name
        if row.error:
            found.append(Notice(row.key, row.name, "failed"))
        elif row.expires_at is not None and row.expires_at <= now:
            found.append(Notice(row.key, row.name, "expired", row.expires_at))
            named.pop(row.key)  # an expired code is silent for a reason
        elif row.expires_at is not None and row.expires_at <= now + EXPIRES_SOON:
            found.append(Notice(row.key, row.name, "expires", row.expires_at))
    found += [
        Notice(key, named[key], "silent", None, last, missing)
        for key, last, missing in _silent(session, account_id, now, named)
    ]
    order = {"expired": 0, "silent": 1, "failed": 2, "expires": 3}
    return sorted(found, key=lambda each: (order[each.why], -each.missing, each.key))


def roll(engine: Engine, now: datetime) -> bool:
    """Count who stayed of the followers who became old enough, and who left; True while there is more to do."""
    with db.reading(engine) as session:
        account_ids = list(session.execute(sa.select(accounts.c.id)).scalars())
    more = False
    for account_id in account_ids:
        for kind, days in _KEPT.items():
            # a day is old enough when its last second is so many days past
            until = day_of(now) - timedelta(days=days)
            more = _roll(engine, account_id, kind, until) or more
        more = _roll(engine, account_id, LEFT, day_of(now)) or more
    return more


def _roll(engine: Engine, account_id: int, kind: str, until: date) -> bool:
    """One span of one account, until before ``until``."""
    with db.reading(engine) as session:
        begins = _mark(session, kind, account_id) or _oldest(session, account_id, kind)
        if begins is None or begins >= until:
            return False
        ends = min(begins + SPAN, until)
        if kind == LEFT:
            counted = _leavers(session, account_id, begins, ends - DAY)
            rows = [(key, day, count, count) for key, day, count in counted]
        else:
            found = session.execute(_cohorts(account_id, _KEPT[kind], begins, ends)).all()
            rows = [(key, date.fromisoformat(str(day)), *counts) for key, day, *counts in found]
    stored = [
        {
            "account_id": account_id,
            "day": day,
            "kind": kind,
            "key": key[: retention.KEY_CHARACTERS],
            "times": times,
            "people": people,
        }
        for key, day, times, people in rows
    ]
    with db.writing(engine) as session:
        db.upsert(session, daily_counts, stored, ["account_id", "day", "kind", "key"])
        mark = {"key": f"{kind}_until:{account_id}", "value": ends.isoformat()}
        db.upsert(session, installation, mark, ["key"])
    return ends < until


def _mark(session: Session, kind: str, account_id: int) -> date | None:
    """The first day of a roll-up that is not counted yet."""
    known = session.execute(
        sa.select(installation.c.value).where(installation.c.key == f"{kind}_until:{account_id}")
    ).scalar()
    return date.fromisoformat(known) if known else None


def _cohorts(account_id: int, days: int, begins: date, ends: date) -> sa.Select[Any]:
    later = events.alias("later")
    day = shanghai_day(events.c.at)
    left = (
        sa.select(sa.literal(1))
        .where(
            later.c.follower_id == events.c.follower_id,
            later.c.at >= events.c.at,
            later.c.at < plus_days(events.c.at, days),
            later.c.kind == "unsubscribe",
        )
        .exists()
    )
    return (
        sa.select(
            events.c.key,
            day.label("day"),
            sa.func.count().label("followed"),
            sa.func.count().filter(~left).label("stayed"),
        )
        .where(
            events.c.account_id == account_id,
            events.c.kind == FOLLOW,
            events.c.key.is_not(None),
            events.c.at >= start_of_day(begins),
            events.c.at < start_of_day(ends),
        )
        .group_by(events.c.key, day)
    )


def _oldest(session: Session, account_id: int, kind: str) -> date | None:
    first = sa.select(sa.func.min(events.c.at)).where(
        events.c.account_id == account_id, events.c.kind == FOLLOW
    )
    if kind == LEFT:
        first = sa.select(sa.func.min(followers.c.unsubscribed_at)).where(
            unindexed(followers.c.account_id) == account_id
        )
    found = session.execute(first).scalar()
    return day_of(found) if found is not None else None


def _sums(
    session: Session,
    account_id: int,
    first: date,
    last: date,
    now: datetime,
    keys: Collection[str] | None,
) -> dict[tuple[str, str], int]:
    """(kind, key) -> times in a span of days: what is rolled up from there, the rest from the events."""
    live = _live_from(session, account_id, first, now)
    table = daily_counts.c
    sums: dict[tuple[str, str], int] = defaultdict(int)
    if keys is not None and not keys:
        return sums
    statement = (
        sa.select(table.kind, table.key, sa.func.sum(table.times))
        .where(_stored(account_id, KINDS, first, min(last, live - DAY), keys))
        .group_by(table.kind, table.key)
    )
    for kind, key, times in session.execute(statement) if first < live else ():
        sums[kind, key] = int(times)
    for kind, key, times in session.execute(_today(account_id, live, last, keys)):
        sums[kind, key] += times
    return sums


def _today(account_id: int, first: date, last: date, keys: Collection[str] | None) -> Any:
    """(kind, key, times) from the events. One select a key: for a list of keys SQLite would read all codes."""
    asked: list[list[str] | None] = [None] if keys is None else [[key] for key in keys]
    counted = [
        sa.select(events.c.kind, events.c.key, sa.func.count())
        .where(_events_of(account_id, first, last, each))
        .group_by(events.c.kind, events.c.key)
        for each in asked
    ]
    return counted[0] if len(counted) == 1 else sa.union_all(*counted)


def _counts(
    session: Session, account_id: int, first: date, last: date, now: datetime, keys: Sequence[str]
) -> dict[tuple[date, str, str], tuple[int, int]]:
    """(day, kind, key) -> (times, people) of some codes."""
    live = _live_from(session, account_id, first, now)
    counted = _fresh(session, account_id, live, last, keys)
    if first < live:
        where = _stored(account_id, KINDS, first, min(last, live - DAY), keys)
        for row in session.execute(sa.select(daily_counts).where(where)):
            counted[row.day, row.kind, row.key] = (row.times, row.people)
    return counted


def _live_from(session: Session, account_id: int, first: date, now: datetime) -> date:
    """The first day of a span that is not rolled up."""
    rolled = retention.rolled_until(session, account_id)
    return max(first, min(rolled, day_of(now))) if rolled is not None else first


def _fresh(
    session: Session, account_id: int, first: date, last: date, keys: Sequence[str]
) -> dict[tuple[date, str, str], tuple[int, int]]:
    if last < first:
        return {}
    day = shanghai_day(events.c.at)
    fresh = (
        sa.select(
            day,
            events.c.kind,
            events.c.key,
            sa.func.count(),
            sa.func.count(sa.distinct(events.c.follower_id)),
        )
        .where(_events_of(account_id, first, last, keys))
        .group_by(day, events.c.kind, events.c.key)
    )
    return {
        (date.fromisoformat(str(when)), kind, key): (times, people)
        for when, kind, key, times, people in session.execute(fresh)
    }


def _events_of(
    account_id: int, first: date, last: date, keys: Collection[str] | None
) -> sa.ColumnElement[bool]:
    """Scans and follows by a code in a span of days."""
    within = sa.and_(
        events.c.account_id == account_id,
        events.c.at >= start_of_day(first),
        events.c.at < start_of_day(last + DAY),
    )
    if keys is None:
        return sa.and_(within, events.c.kind.in_(KINDS), events.c.key.is_not(None))
    return sa.and_(within, _is_one_of(events.c.key, keys), _BY_SCENE)


def _is_one_of(column: Any, keys: Collection[str]) -> sa.ColumnElement[bool]:
    listed = list(keys)
    found: sa.ColumnElement[bool] = column == listed[0] if len(listed) == 1 else column.in_(listed)
    return found


def left(
    session: Session,
    account_id: int,
    first: date,
    last: date,
    keys: Collection[str] | None = None,
) -> dict[str, dict[date, int]]:
    """Who left, by the code that brought them first and the day they left."""
    found: dict[str, dict[date, int]] = defaultdict(dict)
    live = max(first, _mark(session, LEFT, account_id) or first)
    if first < live:
        where = _stored(account_id, (LEFT,), first, min(last, live - DAY), keys)
        for row in session.execute(sa.select(daily_counts).where(where)):
            found[row.key][row.day] = row.times
    if live <= last:
        for key, day, count in _leavers(session, account_id, live, last, keys):
            found[key][day] = count
    return found


def _leavers(
    session: Session, account_id: int, first: date, last: date, keys: Collection[str] | None = None
) -> list[tuple[str, date, int]]:
    """The same from the followers themselves."""
    day = shanghai_day(followers.c.unsubscribed_at)
    statement = (
        sa.select(followers.c.first_scene, day, sa.func.count())
        .where(
            # who left in some days are few; who came by a code may be most of all
            unindexed(followers.c.account_id) == account_id,
            followers.c.first_scene.is_not(None),
            followers.c.unsubscribed_at >= start_of_day(first),
            followers.c.unsubscribed_at < start_of_day(last + DAY),
        )
        .group_by(followers.c.first_scene, day)
    )
    if keys is not None:
        statement = statement.where(unindexed(followers.c.first_scene).in_(list(keys)))
    return [
        (key, date.fromisoformat(str(when)), count)
        for key, when, count in session.execute(statement)
    ]


def _kept_sums(
    session: Session, account_id: int, first: date, last: date, keys: Collection[str] | None
) -> dict[str, dict[int, Kept]]:
    found: dict[str, dict[int, Kept]] = defaultdict(dict)
    table = daily_counts.c
    statement = (
        sa.select(table.kind, table.key, sa.func.sum(table.times), sa.func.sum(table.people))
        .where(_stored(account_id, _KEPT, first, last, keys))
        .group_by(table.kind, table.key)
    )
    for kind, key, followed, stayed in session.execute(statement):
        found[key][_KEPT[kind]] = Kept(int(followed), int(stayed))
    return found


def _kept_days(
    session: Session, account_id: int, first: date, last: date, keys: Collection[str]
) -> dict[date, dict[int, Kept]]:
    found: dict[date, dict[int, Kept]] = defaultdict(dict)
    statement = sa.select(daily_counts).where(_stored(account_id, _KEPT, first, last, keys))
    for row in session.execute(statement):
        found[row.day][_KEPT[row.kind]] = Kept(row.times, row.people)
    return found


def _stored(
    account_id: int,
    kinds: Collection[str],
    first: date,
    last: date,
    keys: Collection[str] | None,
) -> sa.ColumnElement[bool]:
    table = daily_counts.c
    return sa.and_(
        table.account_id == account_id,
        table.kind.in_(list(kinds)),
        table.day >= first,
        table.day <= last,
        sa.true() if keys is None else table.key.in_(list(keys)),
    )


def _people(session: Session, account_id: int, key: str, first: date, last: date) -> int:
    """Everybody once who scanned or followed by a code in a span of days."""
    where = _events_of(account_id, first, last, [key])
    inner = sa.select(events.c.follower_id).where(where)
    return int(
        session.execute(
            sa.select(sa.func.count()).select_from(inner.distinct().subquery())
        ).scalar_one()
    )


def _both_people(
    session: Session, account_id: int, key: str, first: date, last: date
) -> dict[date, int]:
    """Everybody once a day, by day. Who follows and scans again on one day is one person."""
    day = shanghai_day(events.c.at)
    rows = session.execute(
        sa.select(day, sa.func.count(sa.distinct(events.c.follower_id)))
        .where(_events_of(account_id, first, last, [key]))
        .group_by(day)
    )
    return {date.fromisoformat(str(when)): people for when, people in rows}


def _silent(
    session: Session, account_id: int, now: datetime, keys: Collection[str]
) -> list[tuple[str, date, int]]:
    """(key, day of the last scan, scans missing since) of codes that fell silent.

    Only codes without a scan since the day before yesterday can be: the others are not read.
    """
    today = day_of(now)
    recent = (
        sa.select(sa.literal(1))
        .where(
            events.c.account_id == account_id,
            events.c.key == scenes_table.c.key,
            events.c.at >= start_of_day(today - DAY),
            _BY_SCENE,
        )
        .exists()
    )
    quiet = list(
        session.execute(
            sa.select(scenes_table.c.key).where(
                scenes_table.c.account_id == account_id,
                scenes_table.c.archived_at.is_(None),
                ~recent,
            )
        ).scalars()
    )
    quiet = [key for key in quiet if key in keys]
    first = today - timedelta(days=2 * PACE_DAYS)
    by_key: dict[str, dict[date, int]] = defaultdict(lambda: defaultdict(int))
    counted = _counts(session, account_id, first, today, now, quiet) if quiet else {}
    for (day, _kind, key), (times, _people) in counted.items():
        by_key[key][day] += times
    found = []
    for key, days in by_key.items():
        last = max(days)
        silent = (today - last).days - 1  # whole days; today is not over
        lived = (last - min(days)).days + 1
        pace = [times for day, times in days.items() if day > last - timedelta(days=PACE_DAYS)]
        missing = sum(pace) / min(PACE_DAYS, lived) * silent
        # seven days at least: what a new poster brings on its first days is no pace
        if lived >= 7 and missing >= MISSING_SCANS:
            found.append((key, last, round(missing)))
    return found
