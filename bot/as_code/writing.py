"""The rows behind each section of the account file. Used by ``apply`` alone, inside its transaction."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from bot import accounts, drafts, mentions, menus, rulebook
from bot.as_code.document import Json, Wanted
from bot.as_code.files import File
from bot.as_code.plan import GONE
from bot.as_code.pull import Existing
from bot.audiences import segments
from bot.campaigns import approvals, content_review, definitions
from bot.db import Session, upsert
from bot.tables.accounts import media
from bot.tables.audiences import segments as segments_table
from bot.tables.campaigns import campaigns
from bot.tables.followers import tags
from bot.tables.rulebooks import rules
from bot.tables.tracking import scenes

TABLES = {
    "tags": tags.c.name,
    "scenes": scenes.c.key,
    "rules": rules.c.name,
    "segments": segments_table.c.name,
    "campaigns": campaigns.c.name,
}
KINDS = {"tags": "tag", "scenes": "scene", "segments": "segment", "campaigns": "campaign"}


def renames(session: Session, account_id: int, wanted: Wanted, known: Existing | None) -> None:
    """Carry out ``was``, also where rules, segments, scenes, menus and campaigns mention the old name."""
    for (section, new), old in wanted.was.items():
        if known is None or old not in getattr(known, section):
            continue
        column = TABLES[section]
        table = column.table
        # an archived one may hold the name: it gives it up
        session.execute(
            sa.update(table)
            .where(table.c.account_id == account_id, column == new)
            .values({column.name: column + " (archived " + sa.cast(table.c.id, sa.Text) + ")"})
        )
        session.execute(
            sa.update(table)
            .where(table.c.account_id == account_id, column == old)
            .values({column.name: new})
        )
        if section == "rules":
            _rename_rule(session, account_id, old, new)
        else:
            mentions.replace(session, account_id, KINDS[section], old, new)


def write_tags(
    session: Session, account_id: int, wanted: Wanted, signs: Mapping[str, str], now: datetime
) -> None:
    for name, sign in signs.items():
        if sign == GONE:
            _archive(session, tags.c.name, account_id, name, now)
            continue
        tag = wanted.tags[name]
        upsert(
            session,
            tags,
            {
                "account_id": account_id,
                "name": name,
                "family": tag["family"],
                "sync": tag.get("sync", False),
                "expires_after_days": tag.get("expires_after_days"),
                "archived_at": None,
                "error": None,
            },
            key=["account_id", "name"],
        )


def write_scenes(
    session: Session, account_id: int, wanted: Wanted, signs: Mapping[str, str], now: datetime
) -> None:
    """A new scene, or one whose key or life changed, loses its ticket: the platform makes a new QR code."""
    for key, sign in signs.items():
        if sign == GONE:
            _archive(session, scenes.c.key, account_id, key, now)
            continue
        scene = wanted.scenes[key]
        before = session.execute(
            sa.select(scenes).where(scenes.c.account_id == account_id, scenes.c.key == key)
        ).one_or_none()
        values: Json = {
            "name": scene["name"],
            "group": scene.get("group", ""),
            "permanent": scene["permanent"],
            "expire_seconds": scene.get("expire_seconds"),
            "tags": scene.get("tags", []),
            "reply": scene.get("reply"),
            "cost": scene.get("cost"),
            "archived_at": None,
        }
        renamed = ("scenes", key) in wanted.was
        if (
            before is None
            or renamed
            or (before.permanent, before.expire_seconds)
            != (values["permanent"], values["expire_seconds"])
        ):
            values |= {"ticket": None, "url": None, "made_at": None, "expires_at": None}
            values["error"] = None
        row = {"account_id": account_id, "key": key, "created_at": now} | values
        upsert(session, scenes, row, key=["account_id", "key"], change=list(values))


def write_segments(
    session: Session, account_id: int, wanted: Wanted, signs: Mapping[str, str], now: datetime
) -> None:
    for name, sign in signs.items():
        if sign == GONE:
            segments.archive(session, account_id, name, now)
            continue
        # not segments.save: two segments may swap what they name, and half of that is a circle
        upsert(
            session,
            segments_table,
            {
                "account_id": account_id,
                "name": name,
                "where": wanted.segments[name]["where"],
                "created_at": now,
                "archived_at": None,
            },
            key=["account_id", "name"],
            change=["where", "archived_at"],
        )


def write_rules(
    session: Session,
    account_id: int,
    wanted: Wanted,
    order: Iterable[str],
    signs: Mapping[str, str],
    by: str,
    now: datetime,
) -> None:
    """Rules as edited, in ``order``, and the fallback where the file names it. What changes gets a new version."""
    for name, sign in signs.items():
        if sign == GONE:
            _archive(session, rules.c.name, account_id, name, now)
    positions = {name: position for position, name in enumerate(order)}
    upsert(
        session,
        rules,
        [
            {
                "account_id": account_id,
                "name": name,
                "position": position,
                "body": wanted.rules[name],
                "origin": "file",
                "archived_at": None,
            }
            for name, position in positions.items()
            if name in wanted.rules
        ],
        key=["account_id", "name"],
    )
    others = [
        {"rule": name, "place": position}
        for name, position in positions.items()
        if name not in wanted.rules
    ]
    if others:
        moved = sa.update(rules).where(
            rules.c.account_id == account_id, rules.c.name == sa.bindparam("rule")
        )
        session.execute(moved.values(position=sa.bindparam("place")), others)
    drafts.stamp(session, account_id, list(signs), by=by, now=now)
    drafts.order_changed(session, account_id)
    if "fallback" in wanted.given:
        rulebook.set_fallback(session, account_id, wanted.fallback)


def write_menus(session: Session, account_id: int, wanted: Wanted) -> None:
    stored = menus.get(session, account_id)
    menus.save(
        session,
        account_id,
        wanted.menu if "menu" in wanted.given else stored.menu,
        (wanted.personal_menus or []) if "personal_menus" in wanted.given else stored.personal,
    )


def write_campaigns(
    session: Session,
    account_id: int,
    wanted: Wanted,
    signs: Mapping[str, str],
    by: str,
    now: datetime,
    secret_key: str,
) -> None:
    account = accounts.by_id(session, account_id)
    for name, sign in signs.items():
        if sign == GONE:
            definitions.archive(session, definitions.get(session, account_id, name))
            continue
        place = f"campaigns.{list(wanted.campaigns).index(name)}"
        document = wanted.campaigns[name]
        campaign = definitions.save(session, account, document, now, by=by, place=place)
        if "approved_for" in document:
            approvals.stamp(session, campaign, secret_key)
        if name in wanted.allowed and content_review.errors(campaign):
            content_review.override(session, campaign, wanted.allowed[name], by, now)


def stored_files(session: Session, account_id: int) -> frozenset[tuple[str, str]]:
    """(kind, name) of the files an account has."""
    rows = session.execute(
        sa.select(media.c.kind, media.c.name).where(media.c.account_id == account_id)
    )
    return frozenset((row.kind, row.name) for row in rows)


def is_stored(session: Session, account_id: int, file: File) -> bool:
    """Whether these bytes are what the name stands for now: the newest row of the name counts."""
    newest = session.execute(
        sa.select(media.c.sha256)
        .where(
            media.c.account_id == account_id,
            media.c.kind == file.kind,
            media.c.name == file.name,
        )
        .order_by(media.c.id.desc())
        .limit(1)
    ).scalar()
    return newest == file.sha256


def store_files(session: Session, account_id: int, found: Iterable[File]) -> None:
    """A changed file is a new row under its name; bytes the platform has already keep their media id."""
    for file in found:
        same = sa.and_(
            media.c.account_id == account_id,
            media.c.kind == file.kind,
            media.c.sha256 == file.sha256,
        )
        uploaded = session.execute(
            sa.select(media.c.media_id, media.c.url, media.c.uploaded_at)
            .where(same, media.c.media_id.is_not(None))
            .limit(1)
        ).one_or_none()
        session.execute(sa.delete(media).where(same, media.c.name == file.name))
        session.execute(
            sa.insert(media).values(
                account_id=account_id,
                kind=file.kind,
                name=file.name,
                sha256=file.sha256,
                data=file.data,
                **(dict(uploaded._mapping) if uploaded else {}),
            )
        )


def _archive(session: Session, column: Any, account_id: int, name: str, now: datetime) -> None:
    table = column.table
    session.execute(
        sa.update(table)
        .where(table.c.account_id == account_id, column == name)
        .values(archived_at=now)
    )


def _rename_rule(session: Session, account_id: int, old: str, new: str) -> None:
    # its cooldowns and hits follow when it is published
    mentions.set_bodies(
        session,
        rules.c.body,
        account_id,
        lambda body: {**body, "name": new} if body.get("name") == old else body,
    )
