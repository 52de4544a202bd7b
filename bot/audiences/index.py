"""Sets of people, so that a crowd is counted while somebody builds it: a roaring bitmap a filter, and set algebra.

A set holds the row ids of subscribed followers as the tables said at ``counted_at``. The table ``audience_sets``
keeps sets so that the next look takes milliseconds; it may be lost at any time. Who gets a message is always
asked of the tables (``segments.clause``); here are counts, portraits and estimates, which say as of when they are.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from pyroaring import BitMap
from sqlalchemy.engine import Engine

from bot import clock, db, figures
from bot.audiences import leaves, segments
from bot.audiences.leaves import (
    SOURCES,
    SUBSCRIBED,
    WINDOW,
    Leaf,
    consent_leaf,
    frozen_leaf,
    key_of,
    taken_leaf,
)
from bot.audiences.segments import Where
from bot.campaigns.budget import PER_FOLLOWER_AND_MONTH as SLOTS
from bot.db import Session
from bot.errors import Invalid, Refused
from bot.tables.audiences import audience_sets

# A set is believed for so many times as long as it took to count, so that looking again and again costs little
# whatever the size; the job counts those in use again before that, the oldest first.
BELIEVED = 600
BELIEVED_AT_LEAST = timedelta(seconds=1)
BELIEVED_AT_MOST = timedelta(hours=1)
# in a large account every set is believed so long: the job counts what pages may ask again in half of it
BELIEVED_IF_LARGE = timedelta(minutes=10)
QUICK = (
    0.03  # seconds: what takes no longer is counted by whoever looks, and the job leaves it alone
)
IN_USE = timedelta(
    days=1
)  # sets nobody asked for so long are counted again only when somebody does
TOUCH_AFTER = timedelta(minutes=10)  # who looks writes no more often than that that a set is in use
FORGOTTEN_AFTER = timedelta(days=7)
JOB_SECONDS = 6.0  # of one run of the job, once a minute: a tenth of one processor


@dataclass(frozen=True, slots=True)
class Counted:
    """One set, and when it was true. ``seconds``: how long the tables took to say so."""

    leaf: Leaf
    people: BitMap
    at: datetime
    seconds: float
    used_at: datetime | None = None  # as stored; None: counted just now


@dataclass(frozen=True)
class Look:
    """One look at the sets: nothing is read or counted twice in it. With ``fresh`` every set is counted now."""

    session: Session
    account_id: int
    now: datetime
    fresh: bool = False
    found: dict[str, Counted] = field(default_factory=dict)
    believe: timedelta | None = (
        None  # sets of this age are believed, however quickly they are counted
    )
    at_most: timedelta | None = None  # no older set is believed, however long it takes to count

    def people(self, where: Where) -> BitMap:
        """Whom a segment's tree selects.

        Raises:
            Invalid: the tree does not parse.
            Refused: it names a segment that does not exist, or segments name each other in a circle.
        """
        return _tree(self, where, ())

    def known(self, where: Where) -> BitMap | None:
        """The same when every set it takes was counted already; None: it would have to be counted.

        Raises:
            Invalid, Refused: as above.
        """
        wanted = _all_leaves(self, where, ())
        missing = {key_of(leaf): leaf for leaf in wanted if key_of(leaf) not in self.found}
        self.found.update(_stored(self, missing))
        if not missing.keys() <= self.found.keys():
            return None
        return self.people(where)

    def everybody(self) -> BitMap:
        """All subscribed followers."""
        return self.leaf(SUBSCRIBED)

    def leaf(self, leaf: Leaf) -> BitMap:
        """The people of one filter, or of one of our own leaves (their names begin with a colon)."""
        return self.leaves([leaf])[0]

    def leaves(self, wanted: Sequence[Leaf]) -> list[BitMap]:
        """Several of them, read from the table in one query."""
        by_key = {key_of(leaf): leaf for leaf in wanted}
        missing = {key: leaf for key, leaf in by_key.items() if key not in self.found}
        if missing and not self.fresh:
            self.found.update(_stored(self, missing))
        for key, leaf in missing.items():
            if key not in self.found:
                self.found.update(_count(self, leaf))
        return [self.found[key_of(leaf)].people for leaf in wanted]

    def ready(self, wanted: Sequence[Leaf]) -> list[BitMap | None]:
        """Those sets that were counted already; None for the others."""
        by_key = {key_of(leaf): leaf for leaf in wanted}
        missing = {key: leaf for key, leaf in by_key.items() if key not in self.found}
        if not self.fresh:
            self.found.update(_stored(self, missing))
        counted = [self.found.get(key_of(leaf)) for leaf in wanted]
        return [None if one is None else one.people for one in counted]

    @property
    def counted_at(self) -> datetime:
        """As of when the whole look is true: the age of its oldest set."""
        return min((one.at for one in self.found.values()), default=self.now)


def people(
    session: Session, account_id: int, where: Where, now: datetime, *, fresh: bool = False
) -> BitMap:
    """Whom a tree selects: as of ``counted_at``, or with ``fresh`` exactly as the tables say now.

    Raises:
        Invalid: the tree does not parse.
        Refused: it names a segment that does not exist, or segments name each other in a circle.
    """
    return Look(session, account_id, now, fresh).people(where)


def counted_at(session: Session, account_id: int, where: Where, now: datetime) -> datetime:
    """As of when ``people`` would answer."""
    look = Look(session, account_id, now)
    look.people(where)
    return look.counted_at


def windows(session: Session, account_id: int, now: datetime) -> BitMap:
    """Who has a 48-hour window open with at least one message left in it."""
    return Look(session, account_id, now).leaf(WINDOW)


def consents(session: Session, account_id: int, template_id: str, now: datetime) -> BitMap:
    """Who accepted one more notice of this template."""
    return Look(session, account_id, now).leaf(consent_leaf(template_id))


def slots(session: Session, account_id: int, month: str, now: datetime) -> list[BitMap]:
    """Subscribed followers by how many mass messages of ``month`` they may still get: five sets, 0 to 4."""
    return slots_left(Look(session, account_id, now), month)


def slots_left(look: Look, month: str) -> list[BitMap]:
    """The same within a look."""
    everybody, *taken = look.leaves(
        [SUBSCRIBED, *(taken_leaf(month, times) for times in range(1, SLOTS + 1))]
    )
    at_least = [everybody, *(people & everybody for people in taken), BitMap()]
    return [at_least[SLOTS - left] - at_least[SLOTS - left + 1] for left in range(SLOTS + 1)]


def sources(look: Look) -> dict[str, BitMap]:
    """Subscribed followers by what brought them first; those of whom nobody knows under an empty name."""
    look.leaf(SOURCES)
    if all(leaves.SOURCE not in one.leaf for one in look.found.values()):
        look.found.update(_stored_sources(look, look.found[key_of(SOURCES)].at))
    return {
        one.leaf[leaves.SOURCE]["is"]: one.people
        for one in look.found.values()
        if leaves.SOURCE in one.leaf
    }


def leaves_of(where: Where) -> list[Leaf]:
    """The filters of a tree that have sets of their own; segments it names are not looked into."""
    key, value = next(iter(where.items()))
    if key in ("all", "any"):
        return [leaf for part in value for leaf in leaves_of(part)]
    if key == "not":
        return leaves_of(value)
    if key == "in_segment":
        return []
    member, parsed = segments.filter_of(key, value)
    rewritten = _rewritten(member, parsed)
    return [segments.normal(where)] if rewritten is None else leaves_of(rewritten)


def keep(engine: Engine, look: Look) -> None:
    """Store what a look counted, and that the rest is in use. A page calls it after it answered its question."""
    now = look.now
    made = [one for one in look.found.values() if one.used_at is None]
    touched = [
        key
        for key, one in look.found.items()
        if one.used_at is not None and one.used_at < now - TOUCH_AFTER
    ]
    if not made and not touched:
        return
    with db.writing(engine) as session:
        _store(session, look.account_id, made, now)
        if touched:
            session.execute(
                sa.update(audience_sets)
                .where(
                    audience_sets.c.account_id == look.account_id, audience_sets.c.key.in_(touched)
                )
                .values(used_at=now)
            )


def refresh(
    engine: Engine, now: datetime, expected: Mapping[int, Sequence[Leaf]] | None = None
) -> int:
    """Count the sets in use again that grew old, oldest first, for about ``JOB_SECONDS``; how many it counted.

    ``expected``: by account, what its pages may ask any moment. Those are counted before anybody does.
    """
    started = clock.tick_seconds()
    with db.reading(engine) as session:
        due = _due(session, now, expected or {})
    counted: set[tuple[int, str]] = set()  # the ledger's sets are counted together
    everybody: dict[int, Counted] = {}  # who follows, counted once an account
    for account_id, leaf in due:
        if clock.tick_seconds() - started > JOB_SECONDS:
            break
        if (account_id, key_of(leaf)) not in counted:
            made = _recount(engine, account_id, leaf, now, everybody)
            counted |= {(account_id, key) for key in made}
    return len(counted)


def _recount(
    engine: Engine, account_id: int, leaf: Leaf, now: datetime, everybody: dict[int, Counted]
) -> set[str]:
    try:
        with db.reading(engine) as session:
            known = {key_of(SUBSCRIBED): everybody[account_id]} if account_id in everybody else {}
            look = Look(session, account_id, now, fresh=True, found=known)
            look.leaf(leaf)
            if key_of(SUBSCRIBED) in look.found:
                everybody[account_id] = look.found[key_of(SUBSCRIBED)]
    except Invalid:  # a filter that is no more: its plug-in was removed
        with db.writing(engine) as session:
            session.execute(
                sa.delete(audience_sets).where(
                    audience_sets.c.account_id == account_id, audience_sets.c.key == key_of(leaf)
                )
            )
        return set()
    with db.writing(engine) as session:
        _store(session, account_id, look.found.values(), None)
    return set(look.found)


def forget(engine: Engine, now: datetime) -> None:
    """Drop the sets nobody used for a week."""
    with db.writing(engine) as session:
        session.execute(
            sa.delete(audience_sets).where(audience_sets.c.used_at < now - FORGOTTEN_AFTER)
        )


def _due(
    session: Session, now: datetime, expected: Mapping[int, Sequence[Leaf]]
) -> list[tuple[int, Leaf]]:
    """(account, leaf) of the sets in use that are older than half of what a look believes, oldest first.

    Of those that are expected the ones nobody counted yet come before all others, in the order they are given.
    """
    waiting = {
        (account_id, key_of(leaf)): leaf
        for account_id, all_of in expected.items()
        for leaf in all_of
    }
    rows = session.execute(
        sa.select(
            audience_sets.c.account_id,
            audience_sets.c.key,
            audience_sets.c.filter,
            audience_sets.c.counted_at,
            audience_sets.c.used_at,
            audience_sets.c.seconds,
        ).order_by(audience_sets.c.counted_at)
    )
    old = []
    for row in rows:
        wanted = waiting.pop((row.account_id, row.key), None) is not None
        if leaves.SOURCE in row.filter:  # counted with all of them
            continue
        if not wanted and (row.used_at < now - IN_USE or row.seconds <= QUICK):
            continue
        if now - row.counted_at > believed(row.seconds, large=row.account_id in expected) / 2:
            old.append((row.account_id, row.filter))
    return [*((account_id, leaf) for (account_id, _key), leaf in waiting.items()), *old]


def believed(seconds: float, *, large: bool = False) -> timedelta:
    """How old a set may be that took so long to count; ``large``: of a large account."""
    least = BELIEVED_IF_LARGE if large else BELIEVED_AT_LEAST
    return min(BELIEVED_AT_MOST, max(least, timedelta(seconds=BELIEVED * seconds)))


def _stored(look: Look, wanted: Mapping[str, Leaf]) -> dict[str, Counted]:
    if not wanted:
        return {}
    everybody = key_of(SUBSCRIBED)
    rows = look.session.execute(
        _kept().where(
            audience_sets.c.account_id == look.account_id,
            audience_sets.c.key.in_({*wanted, everybody}),
        )
    ).all()
    large = any(row.key == everybody and row.size > figures.LIVE for row in rows)
    return {
        row.key: _read(row, wanted[row.key])
        for row in rows
        if row.key in wanted and _is_believed(look, row, large)
    }


def _stored_sources(look: Look, at: datetime) -> dict[str, Counted]:
    """The sets of single sources that were counted with the one of all."""
    rows = look.session.execute(
        _kept().where(
            audience_sets.c.account_id == look.account_id,
            audience_sets.c.counted_at == at,
            sa.cast(audience_sets.c.filter, sa.Text).like(f'{{"{leaves.SOURCE}"%'),
        )
    )
    return {row.key: _read(row, row.filter) for row in rows}


def _kept() -> sa.Select[Any]:
    return sa.select(
        audience_sets.c.key,
        audience_sets.c.filter,
        audience_sets.c.people,
        audience_sets.c.size,
        audience_sets.c.counted_at,
        audience_sets.c.used_at,
        audience_sets.c.seconds,
    )


def _read(row: Any, leaf: Leaf) -> Counted:
    people = BitMap.deserialize(row.people)
    return Counted(leaf, people, row.counted_at, row.seconds, row.used_at)


def _is_believed(look: Look, row: Any, large: bool) -> bool:
    age: timedelta = look.now - row.counted_at
    limit = look.believe or believed(row.seconds, large=large)
    if look.at_most is not None:
        limit = min(limit, look.at_most)
    # a clock that was set back makes sets of the future: those are not believed
    return timedelta(0) <= age <= limit


def _store(
    session: Session, account_id: int, counted: Iterable[Counted], used_at: datetime | None
) -> None:
    """``used_at`` None: counting it again by the job is no use of it."""
    rows = [
        {
            "account_id": account_id,
            "key": key_of(one.leaf),
            "filter": one.leaf,
            "people": one.people.serialize(),
            "size": len(one.people),
            "counted_at": one.at,
            "used_at": used_at or one.at,
            "seconds": one.seconds,
        }
        for one in counted
    ]
    changed = ["people", "size", "counted_at", "seconds"] + ["used_at"] * (used_at is not None)
    db.upsert(session, audience_sets, rows, key=["account_id", "key"], change=changed)


def _tree(look: Look, where: Where, inside: tuple[str, ...]) -> BitMap:
    wrong = segments.problems(where) if not inside else []
    if wrong:
        raise Invalid(*wrong[0])
    _preload(look, where)
    return _combine(look, where, inside)


def _combine(look: Look, where: Where, inside: tuple[str, ...]) -> BitMap:
    key, value = next(iter(where.items()))
    if key == "all":
        parts = [_combine(look, part, inside) for part in value]
        return BitMap.intersection(*parts) if parts else look.everybody()
    if key == "any":
        return BitMap.union(*(_combine(look, part, inside) for part in value))
    if key == "not":
        return look.everybody() - _combine(look, value, inside)
    if key == "in_segment":
        return _of_segment(look, value["name"], inside)
    member, parsed = segments.filter_of(key, value)
    rewritten = _rewritten(member, parsed)
    if rewritten is not None:
        return _combine(look, rewritten, inside)
    return look.leaf(segments.normal(where))


def _of_segment(look: Look, name: str, inside: tuple[str, ...]) -> BitMap:
    _check_ring(name, inside)
    segment = segments.get(look.session, look.account_id, name)
    if segment.frozen is not None:
        return look.leaf(frozen_leaf(segment.frozen.list_id)) & look.everybody()
    return _tree(look, segment.definition, (*inside, name))


def _check_ring(name: str, inside: tuple[str, ...]) -> None:
    if name in inside:
        ring = " → ".join([*inside[inside.index(name) :], name])
        raise Refused(f"segments name each other in a circle: {ring}")


def _all_leaves(look: Look, where: Where, inside: tuple[str, ...]) -> list[Leaf]:
    """The leaves of a tree and of the segments it names."""
    wrong = segments.problems(where) if not inside else []
    if wrong:
        raise Invalid(*wrong[0])
    found = [SUBSCRIBED, *leaves_of(where)]
    for kind, name, _place in segments.names(where):
        if kind == "segment":
            _check_ring(name, inside)
            segment = segments.get(look.session, look.account_id, name)
            if segment.frozen is not None:
                found.append(frozen_leaf(segment.frozen.list_id))
            else:
                found += _all_leaves(look, segment.definition, (*inside, name))
    return found


def _preload(look: Look, where: Where) -> None:
    """Read all sets of a tree at once: a query each would take longer than the algebra."""
    wanted = [SUBSCRIBED, *leaves_of(where)]
    missing = {key_of(leaf): leaf for leaf in wanted if key_of(leaf) not in look.found}
    if missing and not look.fresh:
        look.found.update(_stored(look, missing))


def _rewritten(member: Any, parsed: Any) -> Where | None:
    """A filter that is made of others says so, and then needs no set of its own."""
    rewrite: Callable[[Any], Where | None] | None = getattr(member, "rewritten", None)
    return rewrite(parsed) if rewrite is not None else None


def _count(look: Look, leaf: Leaf) -> dict[str, Counted]:
    """Ask the tables; what one pass says of many sets is counted at once."""
    ours = leaves.is_ours(leaf)
    if not ours:
        look.everybody()  # counted before the clock starts: it is a set of its own
    started = clock.tick_seconds()
    sets = leaves.count(look.session, look.account_id, leaf, look.now)
    if not ours:
        # an index of tags or events knows nothing of who follows: one set more is quicker than a join
        sets = [(one, found & look.everybody()) for one, found in sets]
    seconds = clock.tick_seconds() - started
    return {key_of(one): Counted(one, found, look.now, seconds) for one, found in sets}
