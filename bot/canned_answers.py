"""Canned answers (快捷回复): texts agents insert with one click."""

from typing import Any

import sqlalchemy as sa

from bot import content
from bot.db import Session
from bot.errors import Invalid, Refused
from bot.tables.inbox import canned_answers as table

MOST = 200


def every(session: Session, account_id: int) -> list[Any]:
    """The account's canned answers (快捷回复), in their order: rows with id, title, text."""
    return list(
        session.execute(
            sa.select(table)
            .where(table.c.account_id == account_id)
            .order_by(table.c.position, table.c.id)
        ).all()
    )


def save(
    session: Session, account_id: int, title: str, text: str, canned_id: int | None = None
) -> int:
    """Add a canned answer or change one; its id.

    Raises:
        Invalid: no title, or a text that cannot be sent.
        Refused: the title is taken, there is no such answer, or there are 200 already.
    """
    title, text = title.strip(), text.strip()
    if not title or len(title) > 60 or not title.isprintable():
        raise Invalid("title", "must have 1 to 60 characters")
    try:
        content.check_text(text)
    except ValueError as problem:
        raise Invalid("text", str(problem)) from None
    listed = every(session, account_id)
    if any(row.title == title and row.id != canned_id for row in listed):
        raise Refused("there is a canned answer of this title already")
    if canned_id is None:
        if len(listed) >= MOST:
            raise Refused(f"there are {MOST} canned answers already")
        position = max((row.position for row in listed), default=0) + 1
        made = sa.insert(table).values(
            account_id=account_id, title=title, text=text, position=position
        )
        return int(session.execute(made.returning(table.c.id)).scalar_one())
    changed = session.execute(
        sa.update(table)
        .where(table.c.id == canned_id, table.c.account_id == account_id)
        .values(title=title, text=text)
        .returning(table.c.id)
    ).scalar()
    if changed is None:
        raise Refused("there is no such canned answer")
    return int(changed)


def drop(session: Session, account_id: int, canned_id: int) -> str | None:
    """Remove a canned answer; its title, None if there was none."""
    found: str | None = session.execute(
        sa.delete(table)
        .where(table.c.id == canned_id, table.c.account_id == account_id)
        .returning(table.c.title)
    ).scalar()
    return found
