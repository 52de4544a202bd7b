"""Who is in a segment, compared with all followers: tags by TGI index, sources, activity, how long they follow.

TGI is the share of a tag in the segment divided by its share among all followers, times 100: 200 means
twice as common here. What a segment asks for is left out, for that it has by definition.

All figures are exact. In a large account they are sizes of intersections of kept sets (``index.py``), as of
when those were counted; the job ``audience_sets`` counts the sets a portrait takes before somebody asks.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from pyroaring import BitMap

from bot import clock
from bot.audiences import index, leaves, segments
from bot.audiences.index import Look
from bot.audiences.leaves import ACTIVE_DAYS, FOLLOWED_DAYS, SOURCES, Leaf
from bot.audiences.segments import EVERYBODY, Where
from bot.db import Session
from bot.sql import among
from bot.tables.followers import followers, tags

AT_ONCE = 20_000  # ids a query is handed; of more people the sets are asked
MOST_TAGS = 200  # the most common tags of an account are compared
SHOWN_TAGS = 12
LEAST_SHARE = 0.01  # of the segment: what hardly anybody has says nothing about it
LEAST_PEOPLE = 5
PATIENCE = (
    2.0  # seconds spent on sets nobody counted before; the rest are compared at the next look
)
MOST_SOURCES = 8


@dataclass(frozen=True, slots=True)
class Share:
    """One feature: how many here have it, its share here and among all, and the index. ``name`` may be empty."""

    name: str
    people: int
    share: float
    usual: float

    @property
    def index(self) -> int:
        """TGI: 100 is as common as among all; 0 where nobody has it."""
        return round(100 * self.share / self.usual) if self.usual else 0


@dataclass(frozen=True, slots=True)
class Portrait:
    """``uncounted``: tags that were not compared yet. Spans of days are (least, most); most None: and longer."""

    size: int
    everybody: int
    tags: Sequence[Share]
    sources: Sequence[Share]
    activity: Sequence[tuple[tuple[int, int | None] | None, Share]]
    ages: Sequence[tuple[tuple[int, int | None] | None, Share]]
    uncounted: int
    counted_at: datetime


def portrait(look: Look, where: Where) -> Portrait:
    """The portrait of a tree.

    Raises:
        Invalid: the tree does not parse.
        Refused: it names a segment that does not exist.
    """
    ours, everybody = look.people(where), look.everybody()
    found, uncounted = _tags(look, where, ours, everybody)
    usual = _counts(look, everybody)
    mine = usual if where == EVERYBODY else _counts(look, ours)
    return Portrait(
        len(ours),
        len(everybody),
        found,
        _sources(mine[0], usual[0], len(ours), len(everybody)),
        _spans(mine[1], usual[1], ACTIVE_DAYS, len(ours), len(everybody)),
        _spans(mine[2], usual[2], FOLLOWED_DAYS, len(ours), len(everybody)),
        uncounted,
        look.counted_at,
    )


def expected(session: Session, account_id: int) -> list[Leaf]:
    """The sets any portrait of an account takes, to be counted before somebody asks."""
    of_tags = [_tag_leaf(name) for name in _common_tags(session, account_id)]
    return [*of_tags, *leaves.active_leaves()[::-1], *leaves.followed_leaves(), SOURCES]


def _tag_leaf(name: str) -> Leaf:
    return {"tag": {"has": name}}


def _common_tags(session: Session, account_id: int) -> Sequence[str]:
    return (
        session.execute(
            sa.select(tags.c.name)
            .where(tags.c.account_id == account_id, tags.c.archived_at.is_(None))
            .order_by(tags.c.people.desc().nulls_last(), tags.c.id)
            .limit(MOST_TAGS)
        )
        .scalars()
        .all()
    )


def _tags(look: Look, where: Where, ours: BitMap, everybody: BitMap) -> tuple[list[Share], int]:
    asked_for = {name for kind, name, _place in segments.names(where) if kind == "tag"}
    names = [name for name in _common_tags(look.session, look.account_id) if name not in asked_for]
    of_tags = [_tag_leaf(name) for name in names]
    started = clock.tick_seconds()
    found, uncounted = [], 0
    for name, leaf, ready in zip(names, of_tags, look.ready(of_tags), strict=True):
        if ready is None and clock.tick_seconds() - started > PATIENCE:
            uncounted += 1
            continue
        held = look.leaf(leaf) if ready is None else ready
        both = ours.intersection_cardinality(held)
        if both >= max(LEAST_PEOPLE, LEAST_SHARE * len(ours)):
            usual = _part(everybody.intersection_cardinality(held), len(everybody))
            found.append(Share(name, both, _part(both, len(ours)), usual))
    found.sort(key=lambda share: (-share.index, -share.people, share.name))
    return found[:SHOWN_TAGS], uncounted


# of some people: by source, by span of days since the last activity, by span of days since following
_Counts = tuple[Mapping[str, int], Mapping[int | None, int], Mapping[int | None, int]]


def _counts(look: Look, people: BitMap) -> _Counts:
    """A few people are asked in the tables, one query; of many the sets know, one intersection a feature."""
    if len(people) <= AT_ONCE:
        return _columns(look, people)
    by_source = {
        name: number
        for name, held in index.sources(look).items()
        if (number := people.intersection_cardinality(held))
    }
    return (
        by_source,
        _by_span(look, people, leaves.active_leaves()),
        _by_span(look, people, leaves.followed_leaves()),
    )


def _by_span(look: Look, people: BitMap, spans: Sequence[Leaf]) -> Mapping[int | None, int]:
    """By number of the span; -1: in none of them. Each set holds the one before it."""
    look.leaf(spans[-1])  # one pass counts all of them
    found: dict[int | None, int] = {}
    before = 0
    for number, held in enumerate(look.leaves(spans)):
        upto = people.intersection_cardinality(held)
        found[number], before = upto - before, upto
    found[-1] = len(people) - before
    return found


def _columns(look: Look, people: BitMap) -> _Counts:
    active = _bucket(followers.c.last_active_at, look.now, ACTIVE_DAYS)
    age = _bucket(followers.c.subscribed_at, look.now, FOLLOWED_DAYS)
    rows = look.session.execute(
        sa.select(followers.c.first_source, active, age, sa.func.count())
        .where(followers.c.account_id == look.account_id, among(followers.c.id, people))
        .group_by(followers.c.first_source, active, age)
    )
    sources: dict[str, int] = {}
    actives: dict[int | None, int] = {}
    ages: dict[int | None, int] = {}
    for source, lately, since, number in rows:
        sources[source or ""] = sources.get(source or "", 0) + number
        actives[lately] = actives.get(lately, 0) + number
        ages[since] = ages.get(since, 0) + number
    return sources, actives, ages


def _bucket(
    column: sa.ColumnElement[datetime], now: datetime, days: Sequence[int]
) -> sa.ColumnElement[int]:
    """Which of the spans a moment lies in: the number of the first bound it is within, or how many there are."""
    tests: list[Any] = [
        (column >= now - timedelta(days=bound), sa.literal_column(str(number)))
        for number, bound in enumerate(days)
    ]
    never: Any = (column.is_(None), sa.literal_column("-1"))
    return sa.case(never, *tests, else_=sa.literal_column(str(len(days))))


def _sources(
    mine: Mapping[str, int], usual: Mapping[str, int], size: int, everybody: int
) -> list[Share]:
    found = [
        Share(name, people, _part(people, size), _part(usual.get(name, people), everybody))
        for name, people in mine.items()
    ]
    return sorted(found, key=lambda share: (-share.people, share.name))[:MOST_SOURCES]


def _spans(
    mine: Mapping[int | None, int],
    usual: Mapping[int | None, int],
    bounds: Sequence[int],
    size: int,
    everybody: int,
) -> list[tuple[tuple[int, int | None] | None, Share]]:
    spans: list[tuple[int, tuple[int, int | None] | None]] = [
        (number, (bounds[number - 1] if number else 0, bound))
        for number, bound in enumerate(bounds)
    ]
    spans += [(len(bounds), (bounds[-1], None)), (-1, None)]
    found = []
    for number, span in spans:
        people = mine.get(number, 0)
        if people or usual.get(number, 0):
            share = Share("", people, _part(people, size), _part(usual.get(number, 0), everybody))
            found.append((span, share))
    return found


def _part(part: int, whole: int) -> float:
    return part / whole if whole else 0.0
