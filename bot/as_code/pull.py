"""The database in the shape of the account file: what plans compare with, and what ``pull`` writes."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from bot import accounts, rulebook
from bot.accounts import Account
from bot.as_code.document import Json, limits_doc, scene_doc, tag_doc
from bot.as_code.reading import is_text
from bot.audiences import segments
from bot.campaigns import definitions
from bot.db import Session
from bot.tables.accounts import accounts as accounts_table
from bot.tables.accounts import menus
from bot.tables.followers import tags
from bot.tables.tracking import scenes

# what needs no quotes for any reader of YAML; all else is quoted as JSON, which every one of them reads
_PLAIN = re.compile(r"[^\W\d](?:[\w./@+-]|[，。！？、；：（）《》“”]| (?! ))*(?<! )").fullmatch
# what YAML 1.1 takes for a truth value
_OTHER_TYPE = re.compile(r"(?i)y|n|yes|no|on|off").fullmatch
# line breaks and control characters that JSON leaves as they are and YAML does not
_ESCAPED = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")
ACCOUNT_KEYS = ("slug", "name", "kind", "verified", "mode", "app_id", "original_id", "brand")


@dataclass(frozen=True)
class Existing:
    """What an account has, in the words of the file, lists in their order. Archived things are left out."""

    account: Json
    tags: dict[str, Json] = field(default_factory=dict)
    scenes: dict[str, Json] = field(default_factory=dict)
    rules: dict[str, Json] = field(default_factory=dict)
    fallback: Json | None = None
    segments: dict[str, Json] = field(default_factory=dict)
    menu: list[Json] | None = None
    personal_menus: list[Json] | None = None
    limits: Json = field(default_factory=dict)
    campaigns: dict[str, Json] = field(default_factory=dict)


def existing(session: Session, account: Account) -> Existing:
    """Everything the file could name of an account."""
    account_id = account.id
    stored = session.execute(
        sa.select(accounts_table.c.limits).where(accounts_table.c.id == account_id)
    ).scalar_one()
    shown = session.execute(sa.select(menus).where(menus.c.account_id == account_id)).one_or_none()
    return Existing(
        account={
            key: value for key in ACCOUNT_KEYS if (value := getattr(account, key)) not in ("", None)
        },
        tags={row.name: tag_doc(row._mapping) for row in _rows(session, tags, account_id)},
        scenes={row.key: scene_doc(row._mapping) for row in _rows(session, scenes, account_id)},
        rules={row.name: dict(row.body) for row in rulebook.drafts(session, account_id)},
        fallback=rulebook.fallback(session, account_id),
        segments={
            found.name: {"name": found.name, "where": dict(found.definition)}
            for found in segments.every(session, account_id)
        },
        menu=shown.menu if shown else None,
        personal_menus=shown.personal if shown else None,
        limits=limits_doc(stored),
        campaigns={
            document["name"]: document for document in definitions.documents(session, account_id)
        },
    )


def pull(session: Session, slug: str) -> str:
    """The canonical file of an account. Secrets are left out: an omitted secret means keep.

    Raises:
        Refused: there is no such account.
    """
    return write(document(existing(session, accounts.get(session, slug))))


def document(found: Existing) -> Json:
    """The file as data. What is empty is left out."""
    lists = {
        "tags": list(found.tags.values()),
        "scenes": list(found.scenes.values()),
        "rules": list(found.rules.values()),
        "fallback": found.fallback,
        "segments": list(found.segments.values()),
        "menu": found.menu,
        "personal_menus": found.personal_menus,
        "limits": found.limits,
        "campaigns": list(found.campaigns.values()),
    }
    head = {"version": 1, "account": dict(found.account)}
    return head | {key: value for key, value in lists.items() if value}


def write(value: Mapping[str, Any]) -> str:
    """Data as YAML for people: two spaces, no anchors, Chinese as it is.

    Our own, because libyaml writes emoji as escapes and writers in Python take a minute for 10,000 rules.
    """
    return "".join(f"{line}\n" for line in _lines(value, ""))


def _lines(value: Any, indent: str) -> Iterator[str]:
    """The lines of a mapping or list that is not empty. An item of a list begins behind its dash."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            name = f"{indent}{_scalar(key)}:"
            if isinstance(item, Mapping | list) and item:
                yield name
                yield from _lines(item, indent + "  ")
            else:
                yield f"{name} {_scalar(item)}"
        return
    for item in value:
        if isinstance(item, Mapping | list) and item:
            first, *others = _lines(item, indent + "  ")
            yield f"{indent}- {first.lstrip(' ')}"
            yield from others
        else:
            yield f"{indent}- {_scalar(item)}"


def _scalar(value: Any) -> str:
    if isinstance(value, str) and _PLAIN(value) and is_text(value) and not _OTHER_TYPE(value):
        return value
    text = json.dumps(value, ensure_ascii=False)
    return _ESCAPED.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def _rows(session: Session, table: sa.Table, account_id: int) -> list[Any]:
    return list(
        session.execute(
            sa.select(table)
            .where(table.c.account_id == account_id, table.c.archived_at.is_(None))
            .order_by(table.c.id)
        )
    )
