"""The audit log (审计日志) as people read it: searched, filtered, page by page, and what a change changed."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import sqlalchemy as sa

from bot.clock import start_of_day
from bot.db import Session
from bot.tables.operators import audit

PAGE = 50
COUNTED = 10_000  # counting stops here


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is looked for. ``account_id`` None: everything. ``until`` is the last day, included."""

    account_id: int | None = None
    query: str = ""
    operator: str = ""
    action: str = ""
    since: date | None = None
    until: date | None = None


def page(session: Session, wanted: Wanted, *, after: int = 0, limit: int = PAGE) -> list[Any]:
    """Changes, the newest first, older than the row ``after``; one more than ``limit`` where there are more."""
    rows = sa.select(audit).where(*_clauses(wanted))
    if after:
        rows = rows.where(audit.c.id < after)
    return list(session.execute(rows.order_by(audit.c.id.desc()).limit(limit + 1)).all())


def count(session: Session, wanted: Wanted) -> int:
    """How many there are, counted to 10,000."""
    some = sa.select(audit.c.id).where(*_clauses(wanted)).limit(COUNTED).subquery()
    return session.execute(sa.select(sa.func.count()).select_from(some)).scalar_one()


def actions(session: Session, account_id: int | None) -> list[str]:
    """The actions that occur, sorted."""
    rows = sa.select(audit.c.action).distinct()
    if account_id is not None:
        rows = rows.where(audit.c.account_id == account_id)
    return sorted(session.execute(rows).scalars())


def changes(before: Any, after: Any) -> list[tuple[str, Any, Any]]:
    """What differs: (what, before, after), nested things by their path. None stands for nothing."""
    was, now = _flat(before), _flat(after)
    return [
        (name, was.get(name), now.get(name))
        for name in dict.fromkeys([*was, *now])
        if was.get(name) != now.get(name)
    ]


def _flat(value: Any, path: str = "") -> dict[str, Any]:
    if isinstance(value, Mapping):
        found: dict[str, Any] = {}
        for key, item in value.items():
            found |= _flat(item, f"{path}.{key}" if path else str(key))
        return found
    if isinstance(value, list) and any(isinstance(item, Mapping | list) for item in value):
        listed: dict[str, Any] = {}
        for index, item in enumerate(value):
            listed |= _flat(item, f"{path}[{index + 1}]")
        return listed
    return {} if value is None else {path: value}


def _clauses(wanted: Wanted) -> list[sa.ColumnElement[bool]]:
    clauses: list[sa.ColumnElement[bool]] = []
    if wanted.account_id is not None:
        clauses.append(audit.c.account_id == wanted.account_id)
    if wanted.query:
        clauses.append(audit.c.object.contains(wanted.query, autoescape=True))
    if wanted.operator:
        clauses.append(audit.c.operator == wanted.operator)
    if wanted.action:
        clauses.append(audit.c.action == wanted.action)
    if wanted.since is not None:
        clauses.append(audit.c.at >= start_of_day(wanted.since))
    if wanted.until is not None:
        clauses.append(audit.c.at < start_of_day(wanted.until + timedelta(days=1)))
    return clauses
