"""Rules as edited (规则草稿): add, change, order, put away, and what publishing would change.

Every row has a version that grows with each change; so has the order of the rules together with the
fallback. Who saves over a version they did not see is told what the other one wrote.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from bot import rulebook
from bot.db import Session, insert
from bot.errors import Invalid, Refused
from bot.tables.rulebooks import rulebook_heads, rules
from rules import model
from rules.diff import Change, diff

Json = dict[str, Any]
FILE, CONSOLE = "file", "console"
GROUP_LENGTH = 60
MOST_ID = 2**63 - 1
STEP = 500  # names in one statement
TRIES = 3  # of a change to a row that others change too

ORDER_CHANGED = "somebody else changed the order of the rules just now; look at it and move again"
SAVED_BETWEEN = "somebody else saved this rule while you were editing it"


@dataclass(frozen=True, slots=True)
class Draft:
    """A rule as edited. ``body`` is one rule of the account file; ``published_as`` its name in force, if any."""

    id: int
    name: str
    position: int
    body: Json
    group: str
    version: int
    origin: str
    changed_at: datetime | None
    changed_by: str | None
    published_as: str | None

    @property
    def enabled(self) -> bool:
        return bool(self.body.get("enabled", True))


class SavedBetween(Refused):
    """Somebody else saved the same thing in between; ``theirs`` is it as it is now."""

    def __init__(self, theirs: Draft) -> None:
        super().__init__(SAVED_BETWEEN)
        self.theirs = theirs


def listing(session: Session, account_id: int) -> list[Draft]:
    """The rules as edited, in order."""
    return [_draft(row) for row in rulebook.drafts(session, account_id)]


def find(session: Session, account_id: int, rule_id: int) -> Draft | None:
    """One rule of the account that is not put away."""
    if rule_id > MOST_ID:
        return None
    row = session.execute(sa.select(rules).where(*_is(account_id, rule_id))).one_or_none()
    return _draft(row) if row is not None else None


def get(session: Session, account_id: int, rule_id: int) -> Draft:
    """The same.

    Raises:
        Refused: the account has no such rule.
    """
    found = find(session, account_id, rule_id)
    if found is None:
        raise Refused("there is no such rule")
    return found


def problems(
    session: Session, account_id: int, body: Mapping[str, Any], rule_id: int | None = None
) -> list[tuple[str, str]]:
    """Everything wrong with one rule: (dotted place inside the rule, sentence)."""
    found = [
        (place.removeprefix("rules.0").removeprefix("."), sentence)
        for place, sentence in model.problems({"rules": [dict(body)]})
    ]
    name = body.get("name")
    if isinstance(name, str) and _taken(session, account_id, name.strip(), rule_id):
        found.append(("name", f"there is a rule '{name.strip()}' already"))
    return found


def add(
    session: Session,
    account_id: int,
    body: Mapping[str, Any],
    *,
    by: str,
    now: datetime,
    group: str = "",
    origin: str = CONSOLE,
) -> int:
    """Add a rule behind all others; its id. A rule of this name that was put away makes room.

    Raises:
        Invalid: the rule does not load, or its name is taken.
    """
    checked = _checked(session, account_id, body, None)
    _make_room(session, account_id, checked["name"])
    last = session.execute(
        sa.select(sa.func.max(rules.c.position)).where(rules.c.account_id == account_id)
    ).scalar()
    added = session.execute(
        sa.insert(rules)
        .values(
            account_id=account_id,
            name=checked["name"],
            position=0 if last is None else last + 1,
            body=checked,
            origin=origin,
            group=_group(group),
            changed_at=now,
            changed_by=by,
        )
        .returning(rules.c.id)
    ).scalar_one()
    order_changed(session, account_id)
    return int(added)


def save(
    session: Session,
    account_id: int,
    rule_id: int,
    body: Mapping[str, Any],
    *,
    version: int,
    by: str,
    now: datetime,
    group: str | None = None,
) -> Draft:
    """Change a rule that is still at ``version``; the rule as stored. ``group`` None leaves the group.

    Raises:
        Invalid: it does not load, or its name is taken.
        SavedBetween: somebody else saved it in between.
        Refused: there is no such rule.
    """
    before = get(session, account_id, rule_id)
    if before.version != version:
        raise SavedBetween(before)
    checked = _checked(session, account_id, body, rule_id)
    if checked["name"] != before.name:
        _make_room(session, account_id, checked["name"])
    values: Json = {"name": checked["name"], "body": checked, "origin": CONSOLE}
    if group is not None:
        values["group"] = _group(group)
    if not _write(session, before, values, by, now):
        raise SavedBetween(get(session, account_id, rule_id))
    return get(session, account_id, rule_id)


def rename(
    session: Session,
    account_id: int,
    rule_id: int,
    name: str,
    *,
    version: int,
    by: str,
    now: datetime,
) -> Draft:
    """Give a rule another name. Its cooldowns and hits follow when the new name is published.

    Raises:
        Invalid: the name is taken or none.
        SavedBetween: somebody else saved it in between.
        Refused: there is no such rule.
    """
    body = {**get(session, account_id, rule_id).body, "name": name}
    return save(session, account_id, rule_id, body, version=version, by=by, now=now)


def switch(
    session: Session, account_id: int, rule_ids: Iterable[int], on: bool, *, by: str, now: datetime
) -> int:
    """Switch rules on or off; how many were not so before."""

    def change(draft: Draft) -> Json | None:
        if draft.enabled == on:
            return None
        body = {key: value for key, value in draft.body.items() if key != "enabled"}
        return {"body": body if on else {**body, "enabled": False}}

    return _change(session, account_id, rule_ids, change, by, now)


def set_group(
    session: Session,
    account_id: int,
    rule_ids: Iterable[int],
    group: str,
    *,
    by: str,
    now: datetime,
) -> int:
    """Put rules into a group; how many were in another.

    Raises:
        Invalid: the group's name is too long.
    """
    name = _group(group)

    def change(draft: Draft) -> Json | None:
        return None if draft.group == name else {"group": name}

    return _change(session, account_id, rule_ids, change, by, now)


def archive(
    session: Session, account_id: int, rule_ids: Iterable[int], *, by: str, now: datetime
) -> int:
    """Put rules away; how many. What is published stays in force until the next publishing."""
    gone = _change(session, account_id, rule_ids, lambda _draft: {"archived_at": now}, by, now)
    if gone:
        order_changed(session, account_id)
    return gone


def stamp(
    session: Session, account_id: int, names: Sequence[str], *, by: str, now: datetime
) -> None:
    """A new version for the rules of these names, which somebody wrote by another way."""
    for begin in range(0, len(names), STEP):
        session.execute(
            sa.update(rules)
            .where(rules.c.account_id == account_id, rules.c.name.in_(names[begin : begin + STEP]))
            .values(**_stamp(by, now))
        )


def order_version(session: Session, account_id: int) -> int:
    """The version of the order of the rules and of the fallback."""
    found = session.execute(
        sa.select(rulebook_heads.c.order_version).where(rulebook_heads.c.account_id == account_id)
    ).scalar()
    return int(found or 1)


def move(session: Session, account_id: int, order: Sequence[int], version: int) -> int:
    """Give the rules of ``order``, as listed, the places they have among themselves; the new version.

    Some of the rules will do, such as those one page of a list shows: the others stay where they are.

    Raises:
        Refused: the order is no longer at ``version``, or a rule is not there.
    """
    listed = listing(session, account_id)
    known = {draft.id for draft in listed}
    if len(set(order)) != len(order) or not known.issuperset(order):
        raise Refused(ORDER_CHANGED)
    new_version = order_changed(session, account_id, version)
    wanted, chosen = iter(order), set(order)
    after = [next(wanted) if draft.id in chosen else draft.id for draft in listed]
    places = {draft.id: draft.position for draft in listed}
    moved = [
        {"rule": rule_id, "place": place}
        for place, rule_id in enumerate(after)
        if places[rule_id] != place
    ]
    if moved:
        statement = sa.update(rules).where(rules.c.id == sa.bindparam("rule"))
        session.execute(statement.values(position=sa.bindparam("place")), moved)
    return new_version


def save_fallback(
    session: Session, account_id: int, value: Mapping[str, Any] | None, version: int
) -> int:
    """Change the fallback if order and fallback are still at ``version``; the new version.

    Raises:
        Invalid: an action does not load.
        Refused: somebody else changed order or fallback in between.
    """
    found = model.examine({"rules": [], "fallback": dict(value) if value else None})
    if found.canonical is None:
        raise Invalid(*found.problems[0])
    order_changed(session, account_id, version)
    rulebook.set_fallback(session, account_id, found.canonical["fallback"])
    return order_version(session, account_id)


def changes(
    session: Session, account_id: int, listed: Sequence[Draft] | None = None
) -> list[Change]:
    """What publishing now would change in force. ``listed``: the rules as edited, where they were read already."""
    if listed is None:
        listed = listing(session, account_id)
    renamed = {draft.name: draft.published_as for draft in listed if draft.published_as}
    number = rulebook.head(session, account_id)
    published = rulebook.snapshot(session, account_id, number) if number else {}
    edited = {
        "rules": [draft.body for draft in listed],
        "fallback": rulebook.fallback(session, account_id),
    }
    return diff(published, edited, renamed)


def restore(
    session: Session, account_id: int, body: Mapping[str, Any], *, by: str, now: datetime
) -> list[Change]:
    """Make rules and fallback as edited equal to a rulebook; what that changed.

    Rules are known by name, else by the name they are published under. What the rulebook does not have is
    put away; groups stay.
    """
    before = rulebook.draft_body(session, account_id)
    rows = session.execute(sa.select(rules).where(rules.c.account_id == account_id)).all()
    living = [row for row in rows if row.archived_at is None]
    by_name = {row.name: row for row in rows} | {row.name: row for row in living}
    as_published = {row.published_as: row for row in living if row.published_as}
    wanted = list(body.get("rules") or ())
    names = {rule["name"] for rule in wanted}
    kept = set()
    for position, rule in enumerate(wanted):
        row = by_name.get(rule["name"])
        if row is None or row.archived_at is not None:
            other = as_published.get(rule["name"])
            row = other if other is not None and other.name not in names else row
        values = {"name": rule["name"], "position": position, "body": rule, "archived_at": None}
        if row is None:
            kept.add(_insert(session, account_id, values, by, now))
            continue
        kept.add(row.id)
        if (row.body, row.archived_at, row.name) == (rule, None, rule["name"]):
            if row.position != position:
                session.execute(
                    sa.update(rules).where(rules.c.id == row.id).values(position=position)
                )
            continue
        _make_room(session, account_id, rule["name"], row.id)
        session.execute(
            sa.update(rules)
            .where(rules.c.id == row.id)
            .values(**values, **_stamp(by, now), origin=CONSOLE)
        )
    archive(session, account_id, [row.id for row in living if row.id not in kept], by=by, now=now)
    rulebook.set_fallback(session, account_id, body.get("fallback"))
    return diff(before, body)


def _insert(session: Session, account_id: int, values: Json, by: str, now: datetime) -> int:
    row = {
        **values,
        "account_id": account_id,
        "origin": CONSOLE,
        "changed_at": now,
        "changed_by": by,
    }
    return int(session.execute(sa.insert(rules).values(**row).returning(rules.c.id)).scalar_one())


def _checked(
    session: Session, account_id: int, body: Mapping[str, Any], rule_id: int | None
) -> Json:
    found = problems(session, account_id, body, rule_id)
    if found:
        raise Invalid(*found[0])
    canonical = model.examine({"rules": [dict(body)]}).canonical
    assert canonical is not None
    rule: Json = canonical["rules"][0]
    return rule


def _taken(session: Session, account_id: int, name: str, rule_id: int | None) -> bool:
    found = session.execute(
        sa.select(rules.c.id).where(
            rules.c.account_id == account_id, rules.c.name == name, rules.c.archived_at.is_(None)
        )
    ).scalar()
    return found is not None and found != rule_id


def _make_room(session: Session, account_id: int, name: str, rule_id: int = 0) -> None:
    """A rule that was put away gives its name up."""
    session.execute(
        sa.update(rules)
        .where(
            rules.c.account_id == account_id,
            rules.c.name == name,
            rules.c.archived_at.is_not(None),
            rules.c.id != rule_id,
        )
        .values(name=rules.c.name + " (archived " + sa.cast(rules.c.id, sa.Text) + ")")
    )


def _change(
    session: Session,
    account_id: int,
    rule_ids: Iterable[int],
    change: Callable[[Draft], Json | None],
    by: str,
    now: datetime,
) -> int:
    """Change rows one by one, each from what it is at that moment; how many changed."""
    changed = 0
    for rule_id in dict.fromkeys(rule_ids):
        for _ in range(TRIES):
            draft = find(session, account_id, rule_id)
            values = change(draft) if draft is not None else None
            if draft is None or values is None:
                break
            if _write(session, draft, values, by, now):
                changed += 1
                break
    return changed


def _write(
    session: Session, before: Draft, values: Mapping[str, Any], by: str, now: datetime
) -> bool:
    """Change a row that is still as ``before``; False when somebody was faster."""
    written = session.execute(
        sa.update(rules)
        .where(
            rules.c.id == before.id,
            rules.c.version == before.version,
            rules.c.archived_at.is_(None),
        )
        .values(**values, **_stamp(by, now))
        .returning(rules.c.id)
    ).scalar()
    return written is not None


def _stamp(by: str, now: datetime) -> Json:
    return {"version": rules.c.version + 1, "changed_at": now, "changed_by": by}


def order_changed(session: Session, account_id: int, version: int | None = None) -> int:
    """Count the version of order and fallback up, from ``version`` if one is given."""
    statement = insert(session, rulebook_heads).values(account_id=account_id, number=0)
    session.execute(statement.on_conflict_do_nothing(index_elements=["account_id"]))
    update = (
        sa.update(rulebook_heads)
        .where(rulebook_heads.c.account_id == account_id)
        .values(order_version=rulebook_heads.c.order_version + 1)
        .returning(rulebook_heads.c.order_version)
    )
    if version is not None:
        update = update.where(rulebook_heads.c.order_version == version)
    found = session.execute(update).scalar()
    if found is None:
        raise Refused(ORDER_CHANGED)
    return int(found)


def _is(account_id: int, rule_id: int) -> tuple[sa.ColumnElement[bool], ...]:
    return (
        rules.c.account_id == account_id,
        rules.c.id == rule_id,
        rules.c.archived_at.is_(None),
    )


def _group(name: str) -> str:
    name = name.strip()
    if len(name) > GROUP_LENGTH or not name.isprintable():
        raise Invalid("group", "must have at most 60 characters on one line")
    return name


def _draft(row: sa.Row[Any]) -> Draft:
    return Draft(
        row.id,
        row.name,
        row.position,
        dict(row.body),
        row.group,
        row.version,
        row.origin,
        row.changed_at,
        row.changed_by,
        row.published_as,
    )
