"""Rulebooks: the numbered, immutable sets of rules, and which one is in force."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from bot import logs
from bot.db import Session, insert, insert_first
from bot.errors import Invalid, Refused
from bot.prepared import Prepared
from bot.tables.rulebooks import rulebook_heads, rulebooks, rules
from rules.model import Rulebook, load

Json = dict[str, Any]
EMPTY = load({"rules": [], "fallback": None})
_HEAD = Prepared(
    sa.select(rulebook_heads.c.number).where(rulebook_heads.c.account_id == sa.bindparam("account"))
)


class Rulebooks:
    """Compiled rulebooks of this process. One number is compared at each push: publishing needs no signal.

    A snapshot that does not load leaves the old one in force and stays listed in ``broken`` until a
    later number loads.
    """

    def __init__(self) -> None:
        self._compiled: dict[int, Rulebook] = {}
        self.broken: dict[int, str] = {}
        self._tried: dict[int, int] = {}

    def current(self, session: Session, account_id: int) -> Rulebook:
        """The rulebook in force, compiled at most once a number."""
        number = _HEAD.scalar(session, {"account": account_id})
        if number is None:
            return EMPTY
        known = self._compiled.get(account_id)
        if known is not None and known.number == number:
            return known
        if self._tried.get(account_id) == number and account_id in self.broken:
            return known if known is not None else EMPTY
        self._tried[account_id] = number
        try:
            compiled = load(snapshot(session, account_id, number), number)
        except Invalid as problem:
            self.broken[account_id] = f"rulebook {number} does not load: {problem}"
            logs.get().error("rulebook_broken", account_id=account_id, number=number)
            return known if known is not None else EMPTY
        self._compiled[account_id] = compiled
        self.broken.pop(account_id, None)
        return compiled


def snapshot(session: Session, account_id: int, number: int) -> Json:
    """The stored body of a rulebook.

    Raises:
        Refused: the account has no rulebook with this number.
    """
    body = session.execute(
        sa.select(rulebooks.c.body).where(
            rulebooks.c.account_id == account_id, rulebooks.c.number == number
        )
    ).scalar()
    if body is None:
        raise Refused(f"there is no rulebook number {number}")
    return dict(body)


def head(session: Session, account_id: int) -> int:
    """The number in force; 0 before the first."""
    return int(_HEAD.scalar(session, {"account": account_id}) or 0)


def drafts(session: Session, account_id: int) -> Sequence[sa.Row[Any]]:
    """The rules as edited, in order."""
    return session.execute(
        sa.select(rules)
        .where(rules.c.account_id == account_id, rules.c.archived_at.is_(None))
        .order_by(rules.c.position, rules.c.id)
    ).all()


def draft_body(session: Session, account_id: int) -> Json:
    """What publishing now would put in force."""
    return {
        "rules": [row.body for row in drafts(session, account_id)],
        "fallback": fallback(session, account_id),
    }


def fallback(session: Session, account_id: int) -> Json | None:
    """The fallback as edited."""
    found = session.execute(
        sa.select(rulebook_heads.c.fallback).where(rulebook_heads.c.account_id == account_id)
    ).scalar()
    return dict(found) if found else None


def set_fallback(session: Session, account_id: int, value: Mapping[str, Any] | None) -> None:
    """Change the fallback that the next publishing takes along."""
    statement = insert(session, rulebook_heads).values(
        account_id=account_id, number=0, fallback=dict(value) if value else None
    )
    session.execute(
        statement.on_conflict_do_update(
            index_elements=["account_id"], set_={"fallback": statement.excluded.fallback}
        )
    )


def publish(
    session: Session,
    account_id: int,
    body: Mapping[str, Any],
    *,
    by: str,
    note: str,
    now: datetime,
) -> int:
    """Check and store a snapshot under the next number and put it in force; the number.

    Raises:
        Invalid: the body does not load; nothing is stored.
        Refused: somebody else published in the meantime.
    """
    load(body)
    before = head(session, account_id)
    number = 1 + int(
        session.execute(
            sa.select(sa.func.coalesce(sa.func.max(rulebooks.c.number), 0)).where(
                rulebooks.c.account_id == account_id
            )
        ).scalar_one()
    )
    stored = insert_first(
        session,
        rulebooks,
        {
            "account_id": account_id,
            "number": number,
            "body": dict(body),
            "published_at": now,
            "published_by": by,
            "note": note,
        },
    )
    statement = insert(session, rulebook_heads).values(
        account_id=account_id, number=number, fallback=body.get("fallback")
    )
    moved = session.execute(
        statement.on_conflict_do_update(
            index_elements=["account_id"],
            set_={"number": number},
            where=rulebook_heads.c.number == before,
        ).returning(rulebook_heads.c.number)
    ).scalar()
    if stored is None or moved != number:
        raise Refused("somebody else published a rulebook just now; look at it and publish again")
    return number
