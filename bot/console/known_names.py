"""What forms offer to choose from: the account's tags, QR codes, segments, fields, events and files."""

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import sqlalchemy as sa

from bot import drafts, events
from bot.db import Session
from bot.tables.accounts import media
from bot.tables.audiences import segments
from bot.tables.campaigns import campaigns
from bot.tables.followers import tags
from bot.tables.tracking import scenes
from rules import model

MOST = 1000  # names of a kind: a page stays a page


def known(session: Session, account_id: int) -> Mapping[str, Sequence[Any]]:
    """Names by kind, as ``forms.draw`` takes them; fields and events are those the rules mention."""
    mentioned = {
        found
        for draft in drafts.listing(session, account_id)
        for found in _mentioned(json.dumps(draft.body, sort_keys=True))
    }
    found: dict[str, Sequence[Any]] = {
        "tag": _of(session, account_id, tags.c.name),
        "segment": _of(session, account_id, segments.c.name),
        "campaign": _of(session, account_id, campaigns.c.name),
        "scene": _scenes(session, account_id),
        "event": sorted({*events.KINDS, *_named(mentioned, "event")}),
        "field": sorted(_named(mentioned, "field"))[:MOST],
    }
    rows = session.execute(
        sa.select(media.c.kind, media.c.name)
        .where(media.c.account_id == account_id)
        .distinct()
        .order_by(media.c.name)
        .limit(MOST)
    ).all()
    for row in rows:
        found[f"file:{row.kind}"] = [*found.get(f"file:{row.kind}", ()), row.name]
    return found


def existing(session: Session, account_id: int) -> Mapping[str, Sequence[str]]:
    """Every tag and QR code there is, however many: a rule that asks for another one can never win.

    A code that was put away may still hang on a wall.
    """
    given = sa.select(tags.c.name).where(
        tags.c.account_id == account_id, tags.c.archived_at.is_(None)
    )
    keys = sa.select(scenes.c.key).where(scenes.c.account_id == account_id)
    return {
        "tag": list(session.execute(given).scalars()),
        "scene": list(session.execute(keys).scalars()),
    }


def files(session: Session, account_id: int) -> frozenset[tuple[str, str]]:
    """(kind, name) of every file the account has."""
    rows = session.execute(
        sa.select(media.c.kind, media.c.name).where(media.c.account_id == account_id)
    )
    return frozenset((row.kind, row.name) for row in rows)


def _of(session: Session, account_id: int, column: Any) -> list[str]:
    table = column.table
    where = [table.c.account_id == account_id]
    if "archived_at" in table.c:
        where.append(table.c.archived_at.is_(None))
    return list(
        session.execute(sa.select(column).where(*where).order_by(column).limit(MOST)).scalars()
    )


def _scenes(session: Session, account_id: int) -> list[tuple[str, str]]:
    rows = session.execute(
        sa.select(scenes.c.key, scenes.c.name)
        .where(scenes.c.account_id == account_id, scenes.c.archived_at.is_(None))
        .order_by(scenes.c.key)
        .limit(MOST)
    )
    return [(row.key, row.name) for row in rows]


def _named(mentioned: set[tuple[str, str]], kind: str) -> set[str]:
    return {name for one, name in mentioned if one == kind}


@lru_cache(maxsize=20_000)
def _mentioned(text: str) -> frozenset[tuple[str, str]]:
    """(kind, name) of what one rule mentions; kept, because reading thousands of rules takes a second."""
    found = model.names({"rules": [json.loads(text)]})
    return frozenset((kind, name) for kind, name, _place in found)
