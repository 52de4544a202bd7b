"""Where names are written: a tag, scene, segment or campaign inside rules, the fallback, segments, scenes and menus.

``replace`` writes another name at every such place; ``of_tag`` lists the places, for whoever is about
to rename, merge or put away.
"""

import copy
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from bot import rulebook
from bot.audiences import segments
from bot.campaigns.document import RESULT_TAGS
from bot.db import Session
from bot.tables.accounts import menus
from bot.tables.audiences import segments as segments_table
from bot.tables.campaigns import campaigns
from bot.tables.rulebooks import rules
from bot.tables.tracking import scenes
from rules import model

Json = dict[str, Any]
Change = Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class Mentions:
    """Who names a tag: names of rules, segments and scenes (their keys). ``fallback``: the reply when none matches."""

    rules: Sequence[str] = ()
    segments: Sequence[str] = ()
    scenes: Sequence[str] = ()
    menu: bool = False
    fallback: bool = False
    in_force: bool = False

    def __bool__(self) -> bool:
        listed = (self.rules, self.segments, self.scenes)
        return any(listed) or self.menu or self.fallback or self.in_force


def of_tag(session: Session, account_id: int, name: str) -> Mentions:
    """Everything that is in use and names this tag. ``in_force``: the published rules do."""
    number = rulebook.head(session, account_id)
    published = rulebook.snapshot(session, account_id, number) if number else {}
    fallback = rulebook.fallback(session, account_id)
    drafts = rulebook.drafts(session, account_id)
    found = session.execute(
        sa.select(menus.c.personal, menus.c.draft).where(menus.c.account_id == account_id)
    ).one_or_none()
    return Mentions(
        rules=[row.name for row in drafts if _named(model.names({"rules": [row.body]}), name)],
        segments=[
            segment.name
            for segment in segments.every(session, account_id)
            if _named(segments.names(segment.definition), name)
        ],
        scenes=[
            row.key
            for row in session.execute(
                sa.select(scenes.c.key, scenes.c.tags)
                .where(scenes.c.account_id == account_id, scenes.c.archived_at.is_(None))
                .order_by(scenes.c.key)
            )
            if name in row.tags
        ],
        menu=found is not None and _in_menus(found.personal, found.draft, name),
        fallback=bool(fallback) and _named(model.names({"fallback": fallback}), name),
        in_force=_named(model.names(published), name) if published else False,
    )


def replace(session: Session, account_id: int, kind: str, old: str, new: str) -> None:
    """Write ``new`` wherever rules as edited, the fallback, segments, scenes, menus or campaigns name ``old``."""

    def in_rule(body: Json) -> Json:
        return _replaced(body, model.names({"rules": [body]}), kind, old, new, "rules.0.")

    def in_fallback(body: Json) -> Json:
        return _replaced(body, model.names({"fallback": body}), kind, old, new, "fallback.")

    def in_segment(where: Json) -> Json:
        return _replaced(where, segments.names(where), kind, old, new, "")

    # a version of its own, so that whoever is editing the rule sees that it changed
    set_bodies(session, rules.c.body, account_id, in_rule, version=rules.c.version + 1)
    kept = rulebook.fallback(session, account_id)
    if kept and in_fallback(kept) != kept:
        rulebook.set_fallback(session, account_id, in_fallback(kept))
    set_bodies(session, segments_table.c.where, account_id, in_segment)
    if kind == "tag":
        set_bodies(session, scenes.c.tags, account_id, lambda names: _once(names, old, new))
        _in_campaigns(
            session, campaigns.c.after, account_id, lambda after: _in_after(after, old, new)
        )
        _in_personal_menus(session, account_id, old, new)
    if kind == "segment":
        session.execute(
            sa.update(campaigns)
            .where(campaigns.c.account_id == account_id, campaigns.c.segment == old)
            .values(segment=new)
        )
        _in_campaigns(
            session, campaigns.c.groups, account_id, lambda groups: _in_groups(groups, old, new)
        )


def replace_in_force(
    session: Session, account_id: int, kind: str, old: str, new: str, *, by: str, now: datetime
) -> int | None:
    """Publish the rules in force once more with ``new`` for ``old``; the number, None where none names it.

    Nothing else changes: edits that are not published stay so.

    Raises:
        Refused: somebody else published in the meantime.
    """
    number = rulebook.head(session, account_id)
    if number == 0:
        return None
    body = rulebook.snapshot(session, account_id, number)
    changed = _replaced(body, model.names(body), kind, old, new, "")
    if changed == body:
        return None
    return rulebook.publish(session, account_id, changed, by=by, note=f"{old} → {new}", now=now)


def set_bodies(
    session: Session, column: Any, account_id: int, change: Change, **values: Any
) -> None:
    """Change a JSON column row by row; ``values`` are set where it changed."""
    table = column.table
    for row in session.execute(
        sa.select(table.c.id, column.label("body")).where(table.c.account_id == account_id)
    ).all():
        changed = change(row.body)
        if changed != row.body:
            session.execute(
                sa.update(table)
                .where(table.c.id == row.id)
                .values({column.name: changed, **values})
            )


def _named(found: Iterable[tuple[str, str, str]], name: str) -> bool:
    return any(kind == "tag" and named == name for kind, named, _place in found)


def _once(names: Sequence[str], old: str, new: str) -> list[str]:
    return list(dict.fromkeys(new if name == old else name for name in names))


def _in_campaigns(session: Session, column: Any, account_id: int, change: Change) -> None:
    # a version of its own, so that whoever is editing the campaign sees that it changed
    set_bodies(session, column, account_id, change, version=campaigns.c.version + 1)


def _in_groups(groups: Any, old: str, new: str) -> Any:
    return groups and [
        {**group, "segment": new} if group["segment"] == old else group for group in groups
    ]


def _in_after(after: Any, old: str, new: str) -> Any:
    """Tags by result; ``wait`` is a length of time, whatever the tag is called."""
    return after and {
        key: new if key in RESULT_TAGS and name == old else name for key, name in after.items()
    }


def _in_menus(personal: Any, draft: Any, name: str) -> bool:
    listed = [*(personal or ()), *_personal_of(draft)]
    return any(one.get("tag") == name for one in listed)


def _in_personal_menus(session: Session, account_id: int, old: str, new: str) -> None:
    row = session.execute(
        sa.select(menus.c.personal, menus.c.draft).where(menus.c.account_id == account_id)
    ).one_or_none()
    if row is None or not _in_menus(row.personal, row.draft, old):
        return
    values: Json = {"personal": _menus_once(row.personal or [], old, new)}
    if _personal_of(row.draft):
        values["draft"] = {**row.draft, "personal": _menus_once(row.draft["personal"], old, new)}
    session.execute(
        sa.update(menus)
        .where(menus.c.account_id == account_id)
        .values(**values, version=menus.c.version + 1)
    )


def _menus_once(personal: Sequence[Json], old: str, new: str) -> list[Json]:
    """A tag has one menu: the platform tries the first, so the first stays."""
    found: dict[str, Json] = {}
    for one in personal:
        tag = new if one["tag"] == old else one["tag"]
        found.setdefault(tag, {**one, "tag": tag})
    return list(found.values())


def _personal_of(draft: Any) -> Sequence[Json]:
    listed = draft.get("personal") if isinstance(draft, dict) else None
    return [one for one in listed or () if isinstance(one, dict)]


def _replaced(
    body: Json, named: Iterable[tuple[str, str, str]], kind: str, old: str, new: str, prefix: str
) -> Json:
    """``body`` with a name replaced at every place that mentions it; a list keeps each name once."""
    places = [place.removeprefix(prefix) for k, name, place in named if k == kind and name == old]
    if not places:
        return body
    changed = copy.deepcopy(body)
    for place in places:
        *path, last = place.split(".")
        inner: Any = changed
        for part in path:
            inner = inner[int(part)] if isinstance(inner, list) else inner[part]
        if isinstance(inner, list):
            inner[int(last)] = new
        elif isinstance(inner[last], list):
            inner[last] = _once(inner[last], old, new)
        else:
            inner[last] = new
    return _without_doubles(changed, places, new)


def _without_doubles(body: Json, places: Iterable[str], new: str) -> Json:
    """Two names that became one stand in a list of names once. From the back, so that places stay right."""
    for place in sorted(places, reverse=True):
        *path, last = place.split(".")
        inner: Any = body
        for part in path:
            inner = inner[int(part)] if isinstance(inner, list) else inner[part]
        if isinstance(inner, list) and last.isdigit() and inner.count(new) > 1:
            inner[:] = _once(inner, new, new)
    return body
