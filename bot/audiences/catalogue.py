"""The segments of an account as a list: how large each is and was, and who uses it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any

import sqlalchemy as sa
from pyroaring import BitMap
from sqlalchemy.engine import Engine

from bot import db, figures
from bot.audiences import segments
from bot.audiences.index import Look
from bot.audiences.leaves import key_of
from bot.audiences.segments import Frozen, Where
from bot.clock import day_of
from bot.db import Session
from bot.errors import Invalid, Refused
from bot.tables.audiences import segment_sizes
from bot.tables.audiences import segments as table
from bot.tables.campaigns import campaigns, plans
from bot.tables.followers import tags
from bot.tables.tracking import scenes

_NAMED: Mapping[str, sa.Column[str]] = {
    "tag": tags.c.name,
    "scene": scenes.c.key,  # one that was put away may still hang on a wall
    "campaign": campaigns.c.name,
    "segment": table.c.name,
}
KEPT_DAYS = 400  # of sizes
SHOWN_DAYS = 30
A_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Line:
    """One segment of the list. ``definition``: the tree as it was written."""

    id: int
    name: str
    definition: Where
    created_at: datetime
    archived_at: datetime | None
    frozen: Frozen | None = None

    @property
    def where(self) -> Where:
        """The tree that selects its people; a frozen one has its list."""
        return segments.selecting(self.name, self.definition, self.frozen)

    @property
    def version(self) -> str:
        """Another one whenever its name or its tree is."""
        return key_of({self.name: self.definition})

    @property
    def sentence(self) -> str:
        """The tree as it was written, in Chinese; a filter that is gone says so."""
        try:
            return segments.sentence(self.definition)
        except Invalid as problem:
            return f"{problem.field}: {problem.message}"


@dataclass(frozen=True, slots=True)
class Uses:
    """Who names a segment: other segments, campaigns, and plans still being written."""

    segments: Sequence[str] = ()
    campaigns: Sequence[str] = ()
    plans: Sequence[str] = ()

    def __bool__(self) -> bool:
        return bool(self.segments or self.campaigns or self.plans)


@dataclass(slots=True)
class _Using:
    segments: list[str] = field(default_factory=list)
    campaigns: list[str] = field(default_factory=list)
    plans: list[str] = field(default_factory=list)


def every(session: Session, account_id: int, *, archived: bool = False) -> list[Line]:
    """The segments in use, or those put away, by name."""
    away = table.c.archived_at.is_not(None) if archived else table.c.archived_at.is_(None)
    rows = session.execute(
        segments.with_lists().where(table.c.account_id == account_id, away).order_by(table.c.name)
    )
    return [_line(row) for row in rows]


def find(session: Session, account_id: int, segment_id: int) -> Line | None:
    """One of them, also when it was put away."""
    row = session.execute(
        segments.with_lists().where(table.c.account_id == account_id, table.c.id == segment_id)
    ).one_or_none()
    return None if row is None else _line(row)


def look_for_list(session: Session, account_id: int, now: datetime) -> Look:
    """Sets for a list of many segments: a large account believes what was counted within the day."""
    large = figures.is_large(session, account_id)
    return Look(session, account_id, now, believe=A_DAY if large else None)


def size(look: Look, where: Where) -> int | None:
    """How many a tree selects. None: it is to be counted first (a large account), or cannot be."""
    found = people(look, where)
    return None if found is None else len(found)


def people(look: Look, where: Where) -> BitMap | None:
    """Whom a tree selects; None as above."""
    try:
        return look.people(where) if look.believe is None else look.known(where)
    except (Invalid, Refused):
        return None


def uses(session: Session, account_id: int) -> Mapping[str, Uses]:
    """By name of a segment, who names it. Campaigns that are archived and plans that became one do not count."""
    found: dict[str, _Using] = {}
    for segment in segments.every(session, account_id):
        for kind, name, _place in segments.names(segment.definition):
            if kind == "segment":
                found.setdefault(name, _Using()).segments.append(segment.name)
    of_campaigns = sa.select(campaigns.c.name, campaigns.c.segment, campaigns.c.groups).where(
        campaigns.c.account_id == account_id, campaigns.c.status != "archived"
    )
    for row in session.execute(of_campaigns.order_by(campaigns.c.name)):
        for name in named_by(row.segment, row.groups):
            found.setdefault(name, _Using()).campaigns.append(row.name)
    of_plans = sa.select(plans.c.document).where(
        plans.c.account_id == account_id,
        plans.c.archived_at.is_(None),
        plans.c.campaign_id.is_(None),
    )
    for document in session.execute(of_plans.order_by(plans.c.id)).scalars():
        for name in named_by(document.get("segment"), document.get("groups")):
            found.setdefault(name, _Using()).plans.append(str(document.get("name") or ""))
    return {name: Uses(one.segments, one.campaigns, one.plans) for name, one in found.items()}


def is_taken(session: Session, account_id: int, name: str) -> bool:
    """Whether a segment has this name, also one that was put away."""
    found = sa.select(table.c.id).where(table.c.account_id == account_id, table.c.name == name)
    return session.execute(found).first() is not None


def unknown_names(session: Session, account_id: int, where: Where) -> list[tuple[str, str]]:
    """Problems of tags, QR codes, campaigns and segments the tree names and the account does not have."""
    found: list[tuple[str, str]] = []
    for kind, name, place in sorted(segments.names(where), key=lambda one: one[2]):
        column = _NAMED.get(kind)
        if column is None or (kind == "scene" and "*" in name):
            continue
        known = sa.select(sa.literal(1)).where(
            column.table.c.account_id == account_id, column == name
        )
        if "archived_at" in column.table.c and kind != "scene":
            known = known.where(column.table.c.archived_at.is_(None))
        if session.execute(known.limit(1)).first() is None:
            found.append((place, f"there is no {kind} '{name}'"))
    return found


def named_by(segment: str | None, groups: Sequence[Mapping[str, object]] | None) -> list[str]:
    """The segments a campaign document names, each once."""
    listed = [segment, *(group.get("segment") for group in groups or ())]
    return [str(name) for name in dict.fromkeys(listed) if name]


def history(
    session: Session, account_id: int, segment_id: int, now: datetime, days: int = SHOWN_DAYS
) -> list[tuple[date, int]]:
    """(day, size) of the last days, oldest first; days nobody counted are not there."""
    return histories(session, account_id, [segment_id], now, days).get(segment_id, [])


def histories(
    session: Session,
    account_id: int,
    segment_ids: Sequence[int],
    now: datetime,
    days: int = SHOWN_DAYS,
) -> dict[int, list[tuple[date, int]]]:
    """The same of several."""
    rows = session.execute(
        sa.select(segment_sizes.c.segment_id, segment_sizes.c.day, segment_sizes.c.size)
        .where(
            segment_sizes.c.account_id == account_id,
            segment_sizes.c.segment_id.in_(segment_ids),
            segment_sizes.c.day > day_of(now) - timedelta(days=days),
        )
        .order_by(segment_sizes.c.day)
    )
    found: dict[int, list[tuple[date, int]]] = {}
    for row in rows:
        found.setdefault(row.segment_id, []).append((row.day, row.size))
    return found


def record_sizes(engine: Engine, account_id: int, now: datetime) -> int:
    """Note how large each segment is today; how many were counted. The last count of a day stays."""
    with db.reading(engine) as session:
        look = Look(session, account_id, now)
        listed = every(session, account_id)
        sizes = [(line.id, _size(look, line.where)) for line in listed]
    rows = [
        {"segment_id": one, "day": day_of(now), "account_id": account_id, "size": people}
        for one, people in sizes
        if people is not None
    ]
    with db.writing(engine) as session:
        db.upsert(session, segment_sizes, rows, key=["segment_id", "day"])
        session.execute(
            sa.delete(segment_sizes).where(
                segment_sizes.c.account_id == account_id,
                segment_sizes.c.day < day_of(now) - timedelta(days=KEPT_DAYS),
            )
        )
    return len(rows)


def _line(row: sa.Row[Any]) -> Line:
    frozen = segments.frozen_of(row)
    return Line(row.id, row.name, row.where, row.created_at, row.archived_at, frozen)


def _size(look: Look, where: Where) -> int | None:
    try:
        return len(look.people(where))
    except (Invalid, Refused):
        return None
