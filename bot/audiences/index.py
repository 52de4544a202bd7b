"""Sets of people, so that a crowd is counted while somebody builds it: a roaring bitmap a filter, and set algebra.

A set holds the row ids of subscribed followers as the tables said at ``counted_at``. The table ``audience_sets``
keeps sets so that the next look takes milliseconds; it may be lost at any time. Who gets a message is always
asked of the tables (``segments.clause``); here are counts, portraits and estimates, which say as of when they are.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from pyroaring import BitMap
from sqlalchemy.engine import Engine

from bot import clock, db
from bot.audiences import segments
from bot.audiences.segments import Where
from bot.campaigns.budget import PER_FOLLOWER_AND_MONTH as SLOTS
from bot.db import Session
from bot.errors import Invalid, Refused
from bot.followers import LONG_WINDOWS
from bot.tables.audiences import audience_sets
from bot.tables.campaigns import campaign_runs, campaigns, deliveries, mass_ledger
from bot.tables.followers import consents as consents_table
from bot.tables.followers import followers, reply_windows

COUNTS_FOR_CAP = ("planned", "sent", "unknown")  # deliveries, as the planner counts them
# A set is believed for so many times as long as it took to count, so that looking again and again costs little
# whatever the size; the job counts those in use again before that, the oldest first.
BELIEVED = 600
BELIEVED_AT_LEAST = timedelta(seconds=1)
BELIEVED_AT_MOST = timedelta(hours=1)
QUICK = (
    0.03  # seconds: what takes no longer is counted by whoever looks, and the job leaves it alone
)
IN_USE = timedelta(
    days=1
)  # sets nobody asked for so long are counted again only when somebody does
TOUCH_AFTER = timedelta(minutes=10)  # who looks writes no more often than that that a set is in use
FORGOTTEN_AFTER = timedelta(days=7)
JOB_SECONDS = 6.0  # of one run of the job, once a minute: a tenth of one processor

Leaf = Mapping[str, Any]
SUBSCRIBED: Leaf = {":subscribed": {}}
OPTED_OUT: Leaf = {":opted_out": {}}
WINDOW: Leaf = {":window": {}}


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


def consent_leaf(template_id: str) -> Leaf:
    """Who accepted at least one more notice of a template."""
    return {":consent": {"template": template_id}}


def taken_leaf(month: str, times: int) -> Leaf:
    """Of whom at least so many slots of a month are reserved or spent."""
    return {":taken": {"month": month, "times": times}}


def reached_leaf(
    messages: int, days: int, channel: str | None = None, message_class: str | None = None
) -> Leaf:
    """Who got at least so many campaigns within so many times 24 hours: of a channel, of a class, or of any."""
    given = {"messages": messages, "days": days, "channel": channel, "class": message_class}
    return {":reached": {key: value for key, value in given.items() if value is not None}}


def key_of(leaf: Leaf) -> str:
    """The key a set is stored under."""
    text = json.dumps(leaf, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


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


def refresh(engine: Engine, now: datetime) -> int:
    """Count the sets in use again that grew old, oldest first, for about ``JOB_SECONDS``; how many it counted."""
    started = clock.tick_seconds()
    with db.reading(engine) as session:
        due = _due(session, now)
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


def _due(session: Session, now: datetime) -> list[tuple[int, Leaf]]:
    """(account, leaf) of the sets in use that are older than half of what a look believes, oldest first."""
    rows = session.execute(
        sa.select(
            audience_sets.c.account_id,
            audience_sets.c.filter,
            audience_sets.c.counted_at,
            audience_sets.c.seconds,
        )
        .where(audience_sets.c.used_at >= now - IN_USE, audience_sets.c.seconds > QUICK)
        .order_by(audience_sets.c.counted_at)
    )
    return [
        (row.account_id, row.filter)
        for row in rows
        if now - row.counted_at > believed(row.seconds) / 2
    ]


def believed(seconds: float) -> timedelta:
    """How old a set may be that took so long to count."""
    return min(BELIEVED_AT_MOST, max(BELIEVED_AT_LEAST, timedelta(seconds=BELIEVED * seconds)))


def _stored(look: Look, wanted: Mapping[str, Leaf]) -> dict[str, Counted]:
    if not wanted:
        return {}
    rows = look.session.execute(
        sa.select(
            audience_sets.c.key,
            audience_sets.c.people,
            audience_sets.c.counted_at,
            audience_sets.c.used_at,
            audience_sets.c.seconds,
        ).where(
            audience_sets.c.account_id == look.account_id, audience_sets.c.key.in_(list(wanted))
        )
    )
    return {
        row.key: Counted(
            wanted[row.key],
            BitMap.deserialize(row.people),
            row.counted_at,
            row.seconds,
            row.used_at,
        )
        for row in rows
        # a clock that was set back makes sets of the future: those are not believed
        if timedelta(0) <= look.now - row.counted_at <= (look.believe or believed(row.seconds))
    }


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
    where = segments.get(look.session, look.account_id, name).where
    return _tree(look, where, (*inside, name))


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
            of_segment = segments.get(look.session, look.account_id, name).where
            found += _all_leaves(look, of_segment, (*inside, name))
    return found


def _preload(look: Look, where: Where) -> None:
    """Read all sets of a tree at once: a query each would take longer than the algebra."""
    leaves = [SUBSCRIBED, *leaves_of(where)]
    missing = {key_of(leaf): leaf for leaf in leaves if key_of(leaf) not in look.found}
    if missing and not look.fresh:
        look.found.update(_stored(look, missing))


def _rewritten(member: Any, parsed: Any) -> Where | None:
    """A filter that is made of others says so, and then needs no set of its own."""
    rewrite: Callable[[Any], Where | None] | None = getattr(member, "rewritten", None)
    return rewrite(parsed) if rewrite is not None else None


def _count(look: Look, leaf: Leaf) -> dict[str, Counted]:
    """Ask the tables; the ledger says all its sets at once."""
    key, value = next(iter(leaf.items()))
    started = clock.tick_seconds()
    if key == ":taken":
        sets = _taken(look, value["month"])
    else:
        found = BitMap(look.session.execute(_select(look, key, value)).scalars())
        if not key.startswith(":"):
            # an index of tags or events knows nothing of who follows: one set more is quicker than a join
            found &= look.everybody()
        sets = [(leaf, found)]
    seconds = (clock.tick_seconds() - started) / len(sets)
    return {key_of(one): Counted(one, found, look.now, seconds) for one, found in sets}


def _select(look: Look, key: str, value: Any) -> sa.Select[Any]:
    account_id, now = look.account_id, look.now
    if key in _OURS:
        return _OURS[key](account_id, value, now)
    member, parsed = segments.filter_of(key, value)
    ids: Callable[..., sa.Select[Any] | None] | None = getattr(member, "ids", None)
    found = ids(parsed, account_id, now) if ids is not None else None
    if found is not None:
        return found
    return sa.select(followers.c.id).where(
        followers.c.account_id == account_id,
        followers.c.subscribed.is_(sa.true()),
        member.where(parsed, account_id, now, _no_segment),
    )


def _no_segment(name: str) -> sa.ColumnElement[bool]:
    raise AssertionError(f"in_segment is no leaf: {name}")


def _subscribed(account_id: int, _value: Any, _now: datetime) -> sa.Select[Any]:
    return sa.select(followers.c.id).where(
        followers.c.account_id == account_id, followers.c.subscribed.is_(sa.true())
    )


def _opted_out(account_id: int, _value: Any, _now: datetime) -> sa.Select[Any]:
    return sa.select(followers.c.id).where(
        followers.c.account_id == account_id, followers.c.opted_out_at.is_not(None)
    )


def _window(account_id: int, _value: Any, now: datetime) -> sa.Select[Any]:
    return (
        sa.select(reply_windows.c.follower_id)
        .where(
            reply_windows.c.account_id == account_id,
            reply_windows.c.opened_by.in_(LONG_WINDOWS),
            reply_windows.c.expires_at > now,
            reply_windows.c.left > 0,
        )
        .distinct()
    )


def _consent(account_id: int, value: Any, _now: datetime) -> sa.Select[Any]:
    return sa.select(consents_table.c.follower_id).where(
        consents_table.c.account_id == account_id,
        consents_table.c.template_id == value["template"],
        consents_table.c.accepted > 0,
    )


def _reached(account_id: int, value: Any, now: datetime) -> sa.Select[Any]:
    tests = [
        deliveries.c.account_id == account_id,
        deliveries.c.status.in_(COUNTS_FOR_CAP),
        deliveries.c.at > now - timedelta(days=value["days"]),
    ]
    if "channel" in value:
        tests.append(deliveries.c.channel == value["channel"])
    source: sa.FromClause = deliveries
    if "class" in value:
        source = deliveries.join(campaign_runs, campaign_runs.c.id == deliveries.c.run_id).join(
            campaigns, campaigns.c.id == campaign_runs.c.campaign_id
        )
        tests.append(campaigns.c.message_class == value["class"])
    return (
        sa.select(deliveries.c.follower_id)
        .select_from(source)
        .where(*tests)
        .group_by(deliveries.c.follower_id)
        .having(sa.func.count() >= value["messages"])
    )


_OURS: Mapping[str, Callable[[int, Any, datetime], sa.Select[Any]]] = {
    ":subscribed": _subscribed,
    ":opted_out": _opted_out,
    ":window": _window,
    ":consent": _consent,
    ":reached": _reached,
}


def _taken(look: Look, month: str) -> list[tuple[Leaf, BitMap]]:
    found = [BitMap() for _ in range(SLOTS)]
    used = mass_ledger.c.reserved + mass_ledger.c.spent
    for times in range(1, SLOTS + 1):
        wanted = used >= SLOTS if times == SLOTS else used == times
        found[times - 1] = BitMap(
            look.session.execute(
                sa.select(mass_ledger.c.follower_id).where(
                    mass_ledger.c.account_id == look.account_id,
                    mass_ledger.c.month == month,
                    wanted,
                )
            ).scalars()
        )
    for times in range(SLOTS - 1, 0, -1):
        found[times - 1] |= found[times]
    return [(taken_leaf(month, times), found[times - 1]) for times in range(1, SLOTS + 1)]
