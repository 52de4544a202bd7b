"""Rulebooks: the numbered, immutable sets of rules, and which one is in force."""

from collections.abc import Mapping, Sequence, Set
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from bot import logs, webhooks
from bot.db import Session, insert, insert_first
from bot.errors import Invalid, Refused
from bot.prepared import Prepared
from bot.tables.followers import rule_firings
from bot.tables.rulebooks import rule_hits, rulebook_heads, rulebooks, rules
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
        if not number:  # 0: drafts, and nothing published yet
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
            index_elements=["account_id"],
            set_={
                "fallback": statement.excluded.fallback,
                "order_version": rulebook_heads.c.order_version + 1,
            },
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

    Cooldowns and hits of a rule that is published under a new name follow it.

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
    told = {"number": number, "by": by, "note": note}
    webhooks.emit(session, account_id, "rulebook.published", told, now)
    _follow_names(session, account_id, {rule["name"] for rule in body.get("rules") or ()})
    return number


def _follow_names(session: Session, account_id: int, names: Set[str]) -> None:
    """Note under which name each edited rule is in force now, and take along what is known by the old one."""
    rows = session.execute(
        sa.select(rules.c.id, rules.c.name, rules.c.published_as, rules.c.archived_at).where(
            rules.c.account_id == account_id,
            sa.or_(rules.c.archived_at.is_(None), rules.c.published_as.is_not(None)),
        )
    ).all()
    changed = []
    for row in rows:
        known = [] if row.archived_at else [row.name, row.published_as]
        now_as = next((name for name in known if name in names), None)
        if now_as == row.published_as:
            continue
        changed.append({"rule": row.id, "now_as": now_as})
        if now_as is not None and row.published_as is not None and row.published_as not in names:
            _rename_history(session, account_id, row.published_as, now_as)
    if changed:
        statement = sa.update(rules).where(rules.c.id == sa.bindparam("rule"))
        session.execute(statement.values(published_as=sa.bindparam("now_as")), changed)


def _rename_history(session: Session, account_id: int, old: str, new: str) -> None:
    for table in (rule_firings, rule_hits):
        mine = table.c.account_id == account_id
        # a rule that had the new name once is no longer in force: its history makes room
        session.execute(sa.delete(table).where(mine, table.c.rule == new))
        session.execute(sa.update(table).where(mine, table.c.rule == old).values(rule=new))
