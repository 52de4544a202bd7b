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
from bot.sql import plus_days, shanghai_day
from bot.tables.accounts import accounts
from bot.tables.events import daily_counts, events
from bot.tables.followers import followers
from bot.tables.jobs import installation
from bot.tables.tracking import scenes as scenes_table

FOLLOW, SCAN = "subscribe", "scan"
RETENTION_DAYS = (7, 30)
SPAN = timedelta(days=31)  # of followers counted in one step
EXPIRES_SOON = timedelta(days=7)
# a code is silent when by its own pace so many scans are missing; chance alone does that once in 150
MISSING_SCANS = 5.0
PACE_DAYS = 14  # the days before the last scan that say how often a code is scanned
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
    counted = _counts(session, account_id, first, last, (FOLLOW, SCAN), now, keys)
    sums: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for (_day, kind, key), (times, _people) in counted.items():
        sums[key][kind] += times
    gone = _left(session, account_id, first, last, keys)
    kept = _kept_sums(session, account_id, first, last, keys)
    return {
        key: Figures(
            follows=sums[key][FOLLOW],
            rescans=sums[key][SCAN],
            left=sum(gone.get(key, {}).values()),
            kept=kept.get(key),
        )
        for key in {*sums, *gone, *kept}
        if key
    }


def costs(
    session: Session, account_id: int, wanted: Sequence[Scene], found: Mapping[str, Figures]
) -> dict[str, Figures]:
    """``found`` of the ``wanted`` codes, with cost and cost per follower where a cost is known."""
    paid = [scene.key for scene in wanted if scene.cost is not None]
    ever = follows_ever(session, account_id, paid)
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
            ever.get(scene.key, 0) if scene.cost is not None else None,
        )
    return filled


def follows_ever(session: Session, account_id: int, keys: Sequence[str]) -> dict[str, int]:
    """How many followed by each of ``keys`` since there are events. Answered from the index alone."""
    if not keys:
        return {}
    rows = session.execute(
        sa.select(events.c.key, sa.func.count())
        .where(events.c.account_id == account_id, events.c.key.in_(list(keys)))
        .where(_BY_SCENE, events.c.kind == FOLLOW)
        .group_by(events.c.key)
    )
    return {row[0]: row[1] for row in rows}


def one(
    session: Session, account_id: int, scene: Scene, first: date, last: date, now: datetime
) -> tuple[Figures, list[DayFigures]]:
    """Everything about one code: the total of a span of days, and each of its days, the latest first."""
    keys = [scene.key]
    counted = _counts(session, account_id, first, last, (FOLLOW, SCAN), now, keys)
    gone = _left(session, account_id, first, last, keys).get(scene.key, {})
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
                kept.get((scene.key, day), {}),
            )
        )
        day -= timedelta(days=1)
    found = figures(session, account_id, first, last, now, keys=keys)
    total = costs(session, account_id, [scene], found)[scene.key]
    return (
        Figures(
            total.follows,
            total.rescans,
            total.left,
            _people(session, account_id, scene.key, first, last),
            total.kept,
            total.cost,
            total.follows_ever,
        ),
        days,
    )


def warnings(
    session: Session,
    account_id: int,
    now: datetime,
    patterns: Sequence[str] | None = None,
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
        for key, last, missing in _silent(session, account_id, now)
        if key in named
    ]
    order = {"expired": 0, "silent": 1, "failed": 2, "expires": 3}
    return sorted(found, key=lambda each: (order[each.why], -each.missing, each.key))


def roll(engine: Engine, now: datetime) -> bool:
    """Count who stayed of the followers who became old enough; True while there is more to do."""
    with db.reading(engine) as session:
        account_ids = list(session.execute(sa.select(accounts.c.id)).scalars())
    for account_id in account_ids:
        for days in RETENTION_DAYS:
            if _roll(engine, account_id, days, now):
                return True
    return False


def _roll(engine: Engine, account_id: int, days: int, now: datetime) -> bool:
    """One span of one account. A day is old enough when its last second is so many days past."""
    until = day_of(now) - timedelta(days=days)  # not included
    mark = f"kept_{days}_until:{account_id}"
    with db.reading(engine) as session:
        known = session.execute(
            sa.select(installation.c.value).where(installation.c.key == mark)
        ).scalar()
        begins = date.fromisoformat(known) if known else _oldest(session, account_id)
        if begins is None or begins >= until:
            return False
        ends = min(begins + SPAN, until)
        rows = session.execute(_cohorts(account_id, days, begins, ends)).all()
    with db.writing(engine) as session:
        counted = [
            {
                "account_id": account_id,
                "day": date.fromisoformat(str(row.day)),
                "kind": f"kept_{days}",
                "key": row.key[: retention.KEY_CHARACTERS],
                "times": row.followed,
                "people": row.stayed,
            }
            for row in rows
        ]
        db.upsert(session, daily_counts, counted, ["account_id", "day", "kind", "key"])
        db.upsert(session, installation, {"key": mark, "value": ends.isoformat()}, ["key"])
    return ends < until


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


def _oldest(session: Session, account_id: int) -> date | None:
    found = session.execute(
        sa.select(sa.func.min(events.c.at)).where(
            events.c.account_id == account_id, events.c.kind == FOLLOW
        )
    ).scalar()
    return day_of(found) if found is not None else None


def _counts(
    session: Session,
    account_id: int,
    first: date,
    last: date,
    kinds: Sequence[str],
    now: datetime,
    keys: Collection[str] | None,
) -> dict[tuple[date, str, str], tuple[int, int]]:
    """(day, kind, key) -> (times, people): what is rolled up from there, the rest from the events."""
    today = day_of(now)
    rolled = retention.rolled_until(session, account_id) or date.min
    live = max(first, min(rolled, today))
    counted: dict[tuple[date, str, str], tuple[int, int]] = {}
    stored = sa.select(daily_counts).where(
        daily_counts.c.account_id == account_id,
        daily_counts.c.kind.in_(kinds),
        daily_counts.c.day >= first,
        daily_counts.c.day <= min(last, live - timedelta(days=1)),
    )
    if keys is not None:
        stored = stored.where(daily_counts.c.key.in_(list(keys)))
    if first < live:
        for row in session.execute(stored):
            counted[row.day, row.kind, row.key] = (row.times, row.people)
    if last < live:
        return counted
    day = shanghai_day(events.c.at)
    fresh = (
        sa.select(
            day,
            events.c.kind,
            events.c.key,
            sa.func.count(),
            sa.func.count(sa.distinct(events.c.follower_id)),
        )
        .where(
            events.c.account_id == account_id,
            events.c.kind.in_(kinds),
            events.c.key.is_not(None),
            events.c.at >= start_of_day(live),
            events.c.at < start_of_day(last + timedelta(days=1)),
        )
        .group_by(day, events.c.kind, events.c.key)
    )
    if keys is not None:
        fresh = fresh.where(events.c.key.in_(list(keys)), _BY_SCENE)
    for found in session.execute(fresh):
        counted[date.fromisoformat(str(found[0])), found[1], found[2]] = (found[3], found[4])
    return counted


def _left(
    session: Session, account_id: int, first: date, last: date, keys: Collection[str] | None
) -> dict[str, dict[date, int]]:
    """Who left, by the code that brought them first and the day they left: as the report ``channel`` counts."""
    day = shanghai_day(followers.c.unsubscribed_at)
    statement = (
        sa.select(followers.c.first_scene, day, sa.func.count())
        .where(
            followers.c.account_id == account_id,
            followers.c.first_scene.is_not(None),
            followers.c.unsubscribed_at >= start_of_day(first),
            followers.c.unsubscribed_at < start_of_day(last + timedelta(days=1)),
        )
        .group_by(followers.c.first_scene, day)
    )
    if keys is not None:
        statement = statement.where(followers.c.first_scene.in_(list(keys)))
    found: dict[str, dict[date, int]] = defaultdict(dict)
    for key, when, count in session.execute(statement):
        found[key][date.fromisoformat(str(when))] = count
    return found


def _kept_rows(
    session: Session, account_id: int, first: date, last: date, keys: Collection[str] | None
) -> Any:
    kinds = [f"kept_{days}" for days in RETENTION_DAYS]
    statement = sa.select(daily_counts).where(
        daily_counts.c.account_id == account_id,
        daily_counts.c.kind.in_(kinds),
        daily_counts.c.day >= first,
        daily_counts.c.day <= last,
    )
    if keys is not None:
        statement = statement.where(daily_counts.c.key.in_(list(keys)))
    for row in session.execute(statement):
        yield int(row.kind.removeprefix("kept_")), row


def _kept_sums(
    session: Session, account_id: int, first: date, last: date, keys: Collection[str] | None
) -> dict[str, dict[int, Kept]]:
    sums: dict[str, dict[int, Kept]] = defaultdict(dict)
    for days, row in _kept_rows(session, account_id, first, last, keys):
        old = sums[row.key].get(days, Kept())
        sums[row.key][days] = Kept(old.followed + row.times, old.stayed + row.people)
    return sums


def _kept_days(
    session: Session, account_id: int, first: date, last: date, keys: Collection[str]
) -> dict[tuple[str, date], dict[int, Kept]]:
    found: dict[tuple[str, date], dict[int, Kept]] = defaultdict(dict)
    for days, row in _kept_rows(session, account_id, first, last, keys):
        found[row.key, row.day][days] = Kept(row.times, row.people)
    return found


def _of_scene(account_id: int, key: str, first: date, last: date) -> Any:
    return sa.and_(
        events.c.account_id == account_id,
        events.c.key == key,
        _BY_SCENE,
        events.c.at >= start_of_day(first),
        events.c.at < start_of_day(last + timedelta(days=1)),
    )


def _people(session: Session, account_id: int, key: str, first: date, last: date) -> int:
    """Everybody once who scanned or followed by a code in a span of days."""
    inner = sa.select(events.c.follower_id).where(_of_scene(account_id, key, first, last))
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
        .where(_of_scene(account_id, key, first, last))
        .group_by(day)
    )
    return {date.fromisoformat(str(when)): people for when, people in rows}


def _silent(session: Session, account_id: int, now: datetime) -> list[tuple[str, date, int]]:
    """(key, day of the last scan, scans missing since) of codes that fell silent."""
    today = day_of(now)
    first = today - timedelta(days=2 * PACE_DAYS)
    counted = _counts(session, account_id, first, today, (FOLLOW, SCAN), now, None)
    by_key: dict[str, dict[date, int]] = defaultdict(lambda: defaultdict(int))
    for (day, _kind, key), (times, _people) in counted.items():
        by_key[key][day] += times
    found = []
    for key, days in by_key.items():
        last = max(days)
        silent = (today - last).days - 1  # whole days; today is not over
        pace = sum(
            times for day, times in days.items() if day > last - timedelta(days=PACE_DAYS)
        ) / min(PACE_DAYS, (last - min(days)).days + 1)
        # seven days at least: what a new poster brings on its first days is no pace
        if silent >= 1 and (last - min(days)).days >= 6 and pace * silent >= MISSING_SCANS:
            found.append((key, last, round(pace * silent)))
    return found
