"""The database in the shape of the account file: what plans compare with, and what ``pull`` writes."""

import io
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from ruamel.yaml import YAML
from ruamel.yaml.representer import SafeRepresenter

from bot import accounts, rulebook
from bot.accounts import Account
from bot.as_code.document import Json, limits_doc, scene_doc, tag_doc
from bot.audiences import segments
from bot.campaigns import definitions
from bot.db import Session
from bot.tables.accounts import accounts as accounts_table
from bot.tables.accounts import menus
from bot.tables.followers import tags
from bot.tables.tracking import scenes

# line breaks that only a quoted text keeps, and what YAML 1.1 takes for a truth value or base 60
_BREAKS = re.compile("[\x7f-\x9f\u2028\u2029\ufeff]")
_OTHER_TYPE = re.compile(r"(?i)y|n|yes|no|on|off|[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9]*)?")
ACCOUNT_KEYS = ("slug", "name", "kind", "verified", "mode", "app_id", "original_id")


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
        account={key: getattr(account, key) for key in ACCOUNT_KEYS if getattr(account, key) != ""},
        tags={row.name: tag_doc(row._mapping) for row in _rows(session, tags, account_id)},
        scenes={row.key: scene_doc(row._mapping) for row in _rows(session, scenes, account_id)},
        rules={row.name: dict(row.body) for row in rulebook.drafts(session, account_id)},
        fallback=rulebook.fallback(session, account_id),
        segments={
            found.name: {"name": found.name, "where": dict(found.where)}
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
    """Data as YAML for people: two spaces, no anchors, Chinese as it is."""
    yaml = YAML(typ="safe", pure=True)
    yaml.Representer = _Representer
    yaml.default_flow_style = False
    yaml.allow_unicode = True
    yaml.width = 100
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    text = io.StringIO()
    yaml.dump(value, text)
    return text.getvalue()


class _Representer(SafeRepresenter):
    """Quotes what other YAML readers would not take for the text it is."""

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def text(self, value: str) -> Any:
        if _BREAKS.search(value):
            return self.represent_scalar("tag:yaml.org,2002:str", value, style='"')
        style = "'" if _OTHER_TYPE.fullmatch(value) else None
        return self.represent_scalar("tag:yaml.org,2002:str", value, style=style)


_Representer.add_representer(str, _Representer.text)


def _rows(session: Session, table: sa.Table, account_id: int) -> list[Any]:
    return list(
        session.execute(
            sa.select(table)
            .where(table.c.account_id == account_id, table.c.archived_at.is_(None))
            .order_by(table.c.id)
        )
    )
