"""Segments (人群): a JSON tree of ``all``, ``any``, ``not`` and filters becomes SQL and a Chinese sentence.

A tree is an object with exactly one key. Whatever it says, a segment selects only subscribed
followers of its account; ``{"all": []}`` is all of them. A segment that is frozen (``freezing``)
selects the people of its list instead of those its tree selects now.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from types import ModuleType
from typing import Any

import sqlalchemy as sa

from bot import params, registry
from bot.clock import local
from bot.db import Session, insert
from bot.errors import Invalid, Refused
from bot.sql import unindexed
from bot.tables.audiences import frozen_lists, frozen_people, segments
from bot.tables.followers import followers, tags

FOLDER = "bot.audiences.filters"
DEEPEST = 20  # levels; SQLite stops at an expression depth of 1,000
EVERYBODY: Mapping[str, Any] = {"all": []}

Where = Mapping[str, Any]
Visit = Callable[[ModuleType, Any, str], None]


@dataclass(frozen=True, slots=True)
class Frozen:
    """The list a segment is frozen into. ``size``: how many were on it when it was made."""

    list_id: int
    at: datetime
    by: str
    size: int


@dataclass(frozen=True, slots=True)
class Segment:
    """``definition``: the tree as it was written, which selects nobody while the segment is frozen."""

    id: int
    name: str
    definition: Where
    frozen: Frozen | None = None

    @property
    def where(self) -> Where:
        """The tree that selects its people: while it is frozen, the segment itself, whose list answers."""
        return selecting(self.name, self.definition, self.frozen)

    @property
    def sentence(self) -> str:
        """Its tree in Chinese, and since when it is frozen.

        Raises:
            Invalid: the tree does not parse.
        """
        return _said(sentence(self.definition), self.frozen)


def selecting(name: str, definition: Where, frozen: Frozen | None) -> Where:
    """The tree that selects the people of a segment: its definition, or, frozen, ``in_segment`` of itself."""
    return definition if frozen is None else {"in_segment": {"name": name}}


def clause(
    session: Session, account_id: int, where: Where, now: datetime
) -> sa.ColumnElement[bool]:
    """The tree as a condition on ``bot.tables.followers.followers``, the account and ``subscribed`` included.

    Raises:
        Invalid: the tree does not parse.
        Refused: it names a segment that does not exist, or segments name each other in a circle.
    """
    wrong = problems(where)
    if wrong:
        raise Invalid(*wrong[0])
    return sa.and_(
        followers.c.account_id == account_id,
        followers.c.subscribed.is_(sa.true()),
        _tree(where, account_id, now, _resolver(session, account_id, now)),
    )


def count(session: Session, account_id: int, where: Where, now: datetime) -> int:
    """How many followers the tree selects at this moment."""
    wanted = clause(session, account_id, where, now)
    return int(
        session.execute(
            sa.select(sa.func.count()).select_from(followers).where(wanted)
        ).scalar_one()
    )


def problems(where: Any, place: str = "") -> list[tuple[str, str]]:
    """Every problem of a tree as (dotted place, sentence), all at once; an empty list when it parses."""
    found: list[tuple[str, str]] = []
    _walk(where, place, 1, found, lambda _filter, _params, _place: None)
    return found


def names(where: Any, place: str = "") -> set[tuple[str, str, str]]:
    """Every tag, field, event, scene, campaign and segment the tree names, as (kind, name, dotted place).

    A scene may hold ``*``. What does not parse is left out.
    """
    found: set[tuple[str, str, str]] = set()

    def visit(_filter: ModuleType, parsed: Any, here: str) -> None:
        found.update(_named(parsed, here))

    _walk(where, place, 1, [], visit)
    return found


def normal(where: Where) -> dict[str, Any]:
    """The canonical form of a tree, as it is stored and written back to the account file.

    Raises:
        Invalid: it does not parse.
    """
    key, value = _only(where)
    if key in ("all", "any"):
        return {key: [normal(part) for part in value]}
    if key == "not":
        return {"not": normal(value)}
    _filter, parsed = filter_of(key, value)
    return {
        key: parsed.model_dump(mode="json", by_alias=True, exclude_none=True, exclude_defaults=True)
    }


def sentence(where: Where) -> str:
    """The tree in Chinese, for people.

    Raises:
        Invalid: it does not parse.
    """
    return "全部已关注粉丝" if where == EVERYBODY else _sentence(where, outermost=True)


def is_everybody(session: Session, account_id: int, where: Where) -> bool:
    """Whether a segment is, by its definition, every subscribed follower."""
    key, value = next(iter(where.items()))
    if key == "all":
        return all(is_everybody(session, account_id, part) for part in value)
    if key == "any":
        return any(is_everybody(session, account_id, part) for part in value)
    if key == "in_segment":
        inner = get(session, account_id, value["name"])
        return inner.frozen is None and is_everybody(session, account_id, inner.definition)
    return False


def single_tag(session: Session, account_id: int, where: Where) -> int | None:
    """The platform's id of the one synced tag a segment consists of; None for any other segment."""
    key, value = next(iter(where.items()))
    if key in ("all", "any") and len(value) == 1:
        return single_tag(session, account_id, value[0])
    if key == "in_segment":
        inner = get(session, account_id, value["name"])
        return None if inner.frozen else single_tag(session, account_id, inner.definition)
    if key != "tag":
        return None
    named = [value["has"]] if "has" in value else list(value.get("any", []))
    if len(named) != 1 or "lacks" in value:
        return None
    found: int | None = session.execute(
        sa.select(tags.c.wechat_id).where(
            tags.c.account_id == account_id,
            tags.c.name == named[0],
            tags.c.sync,
            tags.c.archived_at.is_(None),
        )
    ).scalar()
    return found


def every(session: Session, account_id: int) -> list[Segment]:
    """All segments that are not archived, by name."""
    rows = session.execute(
        with_lists()
        .where(segments.c.account_id == account_id, segments.c.archived_at.is_(None))
        .order_by(segments.c.name)
    )
    return [_segment(row) for row in rows]


def get(session: Session, account_id: int, name: str) -> Segment:
    """The segment of this name.

    Raises:
        Refused: there is none.
    """
    row = session.execute(
        with_lists().where(
            segments.c.account_id == account_id,
            segments.c.name == name,
            segments.c.archived_at.is_(None),
        )
    ).one_or_none()
    if row is None:
        raise Refused(f"there is no segment '{name}'")
    return _segment(row)


def with_lists() -> sa.Select[Any]:
    """The rows of segments, each with the list it is frozen into; ``frozen_of`` reads that."""
    in_force = sa.and_(
        frozen_lists.c.segment_id == segments.c.id,
        frozen_lists.c.account_id == segments.c.account_id,
        frozen_lists.c.in_force,
    )
    return sa.select(
        segments,
        frozen_lists.c.id.label("list_id"),
        frozen_lists.c.frozen_at,
        frozen_lists.c.frozen_by,
        frozen_lists.c.size.label("frozen_size"),
    ).select_from(segments.outerjoin(frozen_lists, in_force))


def frozen_of(row: sa.Row[Any]) -> Frozen | None:
    """The list of a row of ``with_lists``; None where the segment is live."""
    if row.list_id is None:
        return None
    return Frozen(row.list_id, row.frozen_at, row.frozen_by, row.frozen_size)


def _segment(row: sa.Row[Any]) -> Segment:
    return Segment(row.id, row.name, row.where, frozen_of(row))


def save(session: Session, account_id: int, name: str, where: Where, now: datetime) -> int:
    """Store a segment in its canonical form, new or in place of the one of that name; returns its id.

    Whether the tags, scenes and campaigns it names exist is for whoever calls: the account file
    may be about to make them.

    Raises:
        Invalid: the tree does not parse, or it would make segments name each other in a circle.
    """
    wrong = problems(where)
    if wrong:
        raise Invalid(*wrong[0])
    known = {segment.name: segment.definition for segment in every(session, account_id)}
    ring = circle({**known, name: where})
    if ring:
        raise Invalid("", f"segments name each other in a circle: {' → '.join(ring)}")
    statement = insert(session, segments).values(
        account_id=account_id, name=name, where=normal(where), created_at=now
    )
    statement = statement.on_conflict_do_update(
        index_elements=["account_id", "name"],
        set_={"where": statement.excluded["where"], "archived_at": None},
    )
    return int(session.execute(statement.returning(segments.c.id)).scalar_one())


def archive(session: Session, account_id: int, name: str, now: datetime) -> None:
    """Put a segment away; a later ``save`` of the same name brings it back."""
    session.execute(
        sa.update(segments)
        .where(segments.c.account_id == account_id, segments.c.name == name)
        .values(archived_at=now)
    )


def rename(session: Session, account_id: int, old: str, new: str) -> None:
    """Rename a segment, also where other segments name it. Campaigns are renamed by whoever owns them.

    Raises:
        Refused: there is no such segment, or the new name is taken.
    """
    get(session, account_id, old)
    taken = sa.select(segments.c.id).where(
        segments.c.account_id == account_id, segments.c.name == new
    )
    if session.execute(taken).first() is not None:
        raise Refused(f"a segment named '{new}' exists already")
    rows = session.execute(sa.select(segments).where(segments.c.account_id == account_id)).all()
    for row in rows:
        where = _renamed(row.where, old, new)
        name = new if row.name == old else row.name
        if where != row.where or name != row.name:
            session.execute(
                sa.update(segments).where(segments.c.id == row.id).values(where=where, name=name)
            )


def circle(wheres: Mapping[str, Where]) -> list[str]:
    """The first circle among named trees, first name repeated at the end; empty when there is none."""
    reached = {
        name: sorted({found for kind, found, _ in names(where) if kind == "segment"})
        for name, where in wheres.items()
    }
    finished: set[str] = set()

    def follow(name: str, path: list[str]) -> list[str]:
        if name in path:
            return [*path[path.index(name) :], name]
        if name in finished:
            return []
        for following in reached.get(name, ()):
            ring = follow(following, [*path, name])
            if ring:
                return ring
        finished.add(name)
        return []

    for name in sorted(reached):
        ring = follow(name, [])
        if ring:
            return ring
    return []


def filter_of(key: str, value: Any) -> tuple[ModuleType, Any]:
    """The filter of this name, and its parameters checked.

    Raises:
        Invalid: there is no such filter, or its parameters do not parse.
    """
    member = registry.members(FOLDER).get(key)
    if member is None:
        raise Invalid(key, f"there is no filter '{key}'")
    return member, params.check(member.Params, value, key)


def _resolver(
    session: Session, account_id: int, now: datetime
) -> Callable[[str], sa.ColumnElement[bool]]:
    known: dict[str, sa.ColumnElement[bool]] = {}
    open_: list[str] = []

    def resolve(name: str) -> sa.ColumnElement[bool]:
        if name in open_:
            ring = " → ".join([*open_[open_.index(name) :], name])
            raise Refused(f"segments name each other in a circle: {ring}")
        if name not in known:
            segment = get(session, account_id, name)
            open_.append(name)
            known[name] = (
                _tree(segment.definition, account_id, now, resolve)
                if segment.frozen is None
                else _listed(account_id, segment.frozen)
            )
            open_.pop()
        return known[name]

    return resolve


def _listed(account_id: int, frozen: Frozen) -> sa.ColumnElement[bool]:
    return sa.exists(
        sa.select(sa.literal(1))
        .select_from(frozen_people)
        .where(
            frozen_people.c.list_id == frozen.list_id,
            frozen_people.c.follower_id == followers.c.id,
            unindexed(frozen_people.c.account_id) == account_id,
        )
        .correlate(followers)
    )


def _tree(
    where: Where, account_id: int, now: datetime, resolve: Callable[[str], sa.ColumnElement[bool]]
) -> sa.ColumnElement[bool]:
    key, value = _only(where)
    if key == "all":
        return sa.and_(sa.true(), *(_tree(part, account_id, now, resolve) for part in value))
    if key == "any":
        return sa.or_(sa.false(), *(_tree(part, account_id, now, resolve) for part in value))
    if key == "not":
        return sa.not_(_tree(value, account_id, now, resolve))
    member, parsed = filter_of(key, value)
    found: sa.ColumnElement[bool] = member.where(parsed, account_id, now, resolve)
    return found


def _said(said: str, frozen: Frozen | None) -> str:
    if frozen is None:
        return said
    return f"{said}（冻结于 {local(frozen.at):%Y-%m-%d %H:%M}，{frozen.size:,} 人）"


def _sentence(where: Where, *, outermost: bool = False) -> str:
    key, value = _only(where)
    if key == "not":
        return f"不满足（{_sentence(value, outermost=True)}）"
    if key in ("all", "any"):
        if not value:
            return "不限"
        joined = (" 并且 " if key == "all" else " 或者 ").join(_sentence(part) for part in value)
        return joined if outermost or len(value) == 1 else f"（{joined}）"
    member, parsed = filter_of(key, value)
    found: str = member.sentence(parsed)
    return found


def _renamed(where: Where, old: str, new: str) -> dict[str, Any]:
    key, value = _only(where)
    if key in ("all", "any"):
        return {key: [_renamed(part, old, new) for part in value]}
    if key == "not":
        return {key: _renamed(value, old, new)}
    if key == "in_segment" and value.get("name") == old:
        return {key: {**value, "name": new}}
    return {key: value}


def _only(where: Any) -> tuple[str, Any]:
    if not isinstance(where, Mapping) or len(where) != 1:
        raise Invalid("", "must be one of all, any, not or one filter")
    return next(iter(where.items()))


def _walk(where: Any, place: str, depth: int, found: list[tuple[str, str]], visit: Visit) -> None:
    """Visit every filter that parses; what does not goes to ``found``."""
    if depth > DEEPEST:
        found.append((place, f"nested deeper than {DEEPEST} levels"))
        return
    if not isinstance(where, Mapping) or len(where) != 1:
        found.append((place, "must have exactly one key: all, any, not or the name of a filter"))
        return
    key, value = next(iter(where.items()))
    here = f"{place}.{key}" if place else str(key)
    if key == "not":
        _walk(value, here, depth + 1, found, visit)
    elif key in ("all", "any"):
        if not isinstance(value, list):
            found.append((here, "must be a list of conditions"))
        elif key == "any" and not value:
            found.append((here, "an empty any would select nobody; give at least one condition"))
        else:
            for number, part in enumerate(value):
                _walk(part, f"{here}.{number}", depth + 1, found, visit)
    else:
        _visit_filter(key, value, here, found, visit)


def _visit_filter(
    key: Any, value: Any, here: str, found: list[tuple[str, str]], visit: Visit
) -> None:
    known = registry.members(FOLDER)
    if key not in known:
        listed = ", ".join(sorted(known))
        found.append((here, f"there is no filter '{key}'; there are all, any, not, {listed}"))
        return
    parsed = params.problems(known[key].Params, value, here)
    if isinstance(parsed, list):
        found.extend(parsed)
    else:
        visit(known[key], parsed, here)


def _named(parsed: Any, here: str) -> Iterator[tuple[str, str, str]]:
    described = type(parsed).model_json_schema(by_alias=True)["properties"]
    for key, value in parsed.model_dump(by_alias=True, exclude_none=True).items():
        kind = _kind_named(described[key])
        if kind is None:
            continue
        if isinstance(value, list):
            for number, name in enumerate(value):
                yield kind, name, f"{here}.{key}.{number}"
        else:
            yield kind, value, f"{here}.{key}"


def _kind_named(described: Mapping[str, Any]) -> str | None:
    """The ``names`` a field type declares in its JSON schema (bot.params), also inside a list or an optional."""
    if "names" in described:
        return str(described["names"])
    inner = [*described.get("anyOf", ()), described.get("items")]
    for part in inner:
        found = _kind_named(part) if part else None
        if found is not None:
            return found
    return None
