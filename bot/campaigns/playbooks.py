"""Playbooks (策略库): a plan or campaign kept for reuse, in versions that never change, with what it achieved.

Whoever comes after begins a plan of their own from one: new name, new dates, the rest as it worked.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

import sqlalchemy as sa

from bot import db
from bot.campaigns import document as documents
from bot.campaigns import plans
from bot.clock import local, parse_moment
from bot.db import Session
from bot.errors import Invalid, Refused
from bot.tables.campaigns import playbooks

Json = dict[str, Any]
LONGEST_NAME, LONGEST_NOTE = 60, 1000
# what belongs to the one occasion and not to the way it was done
OF_THE_OCCASION = ("status", "approved_for")
OF_ITS_BRIEF = ("people", "reached", "slots", "when", "expected")


@dataclass(frozen=True, slots=True)
class Playbook:
    """One version of a playbook. ``results``: of the campaign it came from, None where it was never sent."""

    id: int
    name: str
    version: int
    document: Json
    results: Json | None
    note: str
    created_by: str
    created_at: datetime
    archived_at: datetime | None


def save(
    session: Session,
    account_id: int,
    name: str,
    document: Mapping[str, Any],
    now: datetime,
    *,
    by: str,
    results: Mapping[str, Any] | None = None,
    note: str = "",
) -> Playbook:
    """Keep a document under a name: the next version where there is one already.

    Raises:
        Invalid: no name, a note too long, or a part of the document that is not of its kind.
        Refused: somebody else keeps one under this name at the same moment.
    """
    documents.check_shape(document)
    name = name.strip()
    if not name:
        raise Invalid("name", "String should have at least 1 character")
    if len(name) > LONGEST_NAME:
        raise Invalid("name", f"String should have at most {LONGEST_NAME} characters")
    if len(note) > LONGEST_NOTE:
        raise Invalid("note", f"String should have at most {LONGEST_NOTE} characters")
    last = session.execute(
        sa.select(sa.func.max(playbooks.c.version)).where(
            playbooks.c.account_id == account_id, playbooks.c.name == name
        )
    ).scalar()
    kept = {key: value for key, value in document.items() if key not in OF_THE_OCCASION}
    made = {
        "account_id": account_id,
        "name": name,
        "version": (last or 0) + 1,
        "document": kept,
        "results": dict(results) if results else None,
        "note": note.strip(),
        "created_by": by,
        "created_at": now,
    }
    playbook_id = db.insert_first(session, playbooks, made)
    if playbook_id is None:  # this version was kept by somebody else this very moment
        raise Refused(f"somebody else changed '{name}' while you were editing it")
    found = find(session, account_id, playbook_id)
    assert found is not None
    return found


def find(session: Session, account_id: int, playbook_id: int) -> Playbook | None:
    """One version, also when it was put away."""
    row = session.execute(
        sa.select(playbooks).where(
            playbooks.c.account_id == account_id, playbooks.c.id == playbook_id
        )
    ).one_or_none()
    return _playbook(row) if row is not None else None


def every(session: Session, account_id: int, *, archived: bool = False) -> list[Playbook]:
    """The latest version of each, by name."""
    away = playbooks.c.archived_at.is_not(None) if archived else playbooks.c.archived_at.is_(None)
    latest = (
        sa.select(playbooks.c.name, sa.func.max(playbooks.c.version).label("version"))
        .where(playbooks.c.account_id == account_id, away)
        .group_by(playbooks.c.name)
        .subquery()
    )
    rows = session.execute(
        sa.select(playbooks)
        .join(
            latest,
            sa.and_(latest.c.name == playbooks.c.name, latest.c.version == playbooks.c.version),
        )
        .where(playbooks.c.account_id == account_id)
        .order_by(playbooks.c.name)
    )
    return [_playbook(row) for row in rows]


def versions(session: Session, account_id: int, name: str) -> list[Playbook]:
    """All versions of a name, the latest first."""
    rows = session.execute(
        sa.select(playbooks)
        .where(playbooks.c.account_id == account_id, playbooks.c.name == name)
        .order_by(playbooks.c.version.desc())
    )
    return [_playbook(row) for row in rows]


def archive(session: Session, account_id: int, name: str, now: datetime | None) -> None:
    """Put all versions of a name away; ``now`` None takes them back."""
    session.execute(
        sa.update(playbooks)
        .where(playbooks.c.account_id == account_id, playbooks.c.name == name)
        .values(archived_at=now)
    )


def begin_plan(
    session: Session,
    account_id: int,
    playbook_id: int,
    now: datetime,
    *,
    by: str,
    begins: date,
    name: str = "",
) -> int:
    """A new plan from a playbook, every date moved so that it begins on ``begins``; the plan's id.

    Raises:
        Refused: there is no such playbook, or it was put away.
    """
    playbook = find(session, account_id, playbook_id)
    if playbook is None or playbook.archived_at is not None:
        raise Refused("there is no such playbook")
    wanted = name.strip() or str(playbook.document.get("name") or playbook.name)
    moved = at_new_dates(playbook.document, begins)
    moved["name"] = plans.free_name(session, account_id, wanted)
    return plans.create(session, account_id, moved, now, by=by)


def at_new_dates(document: Mapping[str, Any], begins: date) -> Json:
    """A document whose first day is ``begins``: its dates and its time move by as many days, clock times stay."""
    found = {key: value for key, value in document.items() if key not in OF_THE_OCCASION}
    brief = {
        key: value for key, value in (found.get("brief") or {}).items() if key not in OF_ITS_BRIEF
    }
    old = _day(brief.get("begins")) or _day(found.get("at"))
    shift = begins - old if old is not None else timedelta()
    for key in ("begins", "ends"):
        day = _day(brief.get(key))
        if day is None:
            continue
        try:
            brief[key] = (day + shift).isoformat()
        except OverflowError:
            del brief[key]
    if "begins" not in brief:
        brief["begins"] = begins.isoformat()
    if found.get("at"):
        try:
            found["at"] = (local(parse_moment(str(found["at"]))) + shift).isoformat()
        except (ValueError, OverflowError):
            del found["at"]
    return plans.without_empty({**found, "brief": brief})


def _day(text: Any) -> date | None:
    try:
        return local(parse_moment(str(text))).date() if text else None
    except (ValueError, OverflowError):
        return None


def _playbook(row: Any) -> Playbook:
    return Playbook(
        row.id,
        row.name,
        row.version,
        dict(row.document),
        dict(row.results) if row.results else None,
        row.note,
        row.created_by,
        row.created_at,
        row.archived_at,
    )
