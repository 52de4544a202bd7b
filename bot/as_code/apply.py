"""Makes an account equal to a file: everything is checked first, then written in the caller's one transaction.

Nothing here calls the platform. What the platform must be told (QR codes, menus, tags, material) is
enqueued in the same transaction.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from bot import accounts, jobs, menus, operators, rulebook, scenes
from bot.accounts import Account
from bot.as_code import check, files, writing
from bot.as_code.document import SECRETS, Wanted, parse
from bot.as_code.files import File
from bot.as_code.plan import Plan, limits_after, order_after, plan
from bot.as_code.pull import Existing, existing
from bot.as_code.reading import Problem, Source, read
from bot.campaigns import external_sends
from bot.db import Session
from bot.errors import Invalid, Refused
from bot.tables.accounts import accounts as accounts_table
from bot.tables.events import events
from bot.tables.followers import follower_tags, tags

# jobs that tell the platform what changed; bot/workers.py runs them
MAKE_SCENES, PUBLISH_MENU, SYNC_TAGS = scenes.MAKE, menus.PUBLISH, "sync_tags"


@dataclass(frozen=True)
class Prepared:
    """A checked file: its plan, or its problems. With problems there is no plan and nothing to apply."""

    problems: list[Problem]
    wanted: Wanted | None = None
    plan: Plan | None = None
    account: Account | None = None
    existing: Existing | None = None
    files: list[File] = field(default_factory=list)
    prune: bool = False
    source: Source = field(default_factory=Source)

    def at(self, problem: Invalid) -> Problem:
        """A problem that only writing showed, with its line."""
        return self.source.problem(problem.field, problem.message)


def prepare(
    session: Session,
    raw: bytes,
    folder: Path,
    environ: Mapping[str, str],
    secret_key: str,
    now: datetime,
    *,
    prune: bool = False,
) -> Prepared:
    """Read and check a file, and compare it with the database. Writes nothing.

    Raises:
        Refused: stored secrets do not open with this ``secret_key``.
    """
    source = read(raw)
    if source.problems:
        return Prepared(_sorted(source.problems))
    wanted, problems = parse(source, environ)
    if wanted is None:
        return Prepared(_sorted(problems))
    account = _find(session, wanted.account["slug"])
    known = existing(session, account) if account is not None else None
    context = check.Context(
        existing=known,
        reader=files.beside(folder),
        now=now,
        prune=prune,
        stored_files=writing.stored_files(session, account.id) if account else frozenset(),
        seen_events=lambda kind: account is not None and _seen(session, account.id, kind),
    )
    checked = check.check(source, wanted, context)
    problems += checked.problems + list(_taken(session, source, wanted, account))
    if problems:
        return Prepared(_sorted(problems))
    wanted = checked.wanted
    stored = _stored_secrets(session, account, secret_key)
    if wanted.account.get("mode", "plain") != "plain" and not (
        wanted.secrets.get("aes_key") or stored.get("aes_key")
    ):
        return Prepared(
            [source.problem("account.mode", f"mode {wanted.account['mode']} needs an aes_key")]
        )
    fresh = [
        file
        for file in checked.files
        if account is None or not writing.is_stored(session, account.id, file)
    ]
    in_use = _tags_in_use(session, account.id, checked) if account and prune else frozenset()
    made = plan(
        wanted,
        known,
        changed_secrets=frozenset(k for k, v in wanted.secrets.items() if stored.get(k) != v),
        opening=wanted.opening is not None and not (account and account.opening_stated),
        new_files=tuple(file.name for file in fresh),
        prune=prune,
        tags_in_use=in_use,
    )
    return Prepared([], wanted, made, account, known, fresh, prune, source)


def apply(
    session: Session, prepared: Prepared, secret_key: str, now: datetime, *, by: str = "file"
) -> Plan:
    """Write what a prepared file changes; the caller's transaction is the same that prepared it.

    1. The account row, its secrets and limits.
    2. Renames, then tags, scenes, segments and files, which others mention.
    3. Rules and fallback, and one rulebook if any of them changed.
    4. Menus and campaigns.
    5. Jobs that tell the platform, and one audit row.

    Raises:
        Refused: a step is not allowed now, such as archiving a campaign that is being sent.
    """
    wanted, made = prepared.wanted, prepared.plan
    if wanted is None or made is None:
        raise Refused("a file with problems is not applied")
    if not made:
        return made
    account_id = _write_account(session, prepared, wanted, secret_key, now)
    kinds = {change.kind for change in made.changes}
    writing.renames(session, account_id, wanted, prepared.existing)
    writing.write_tags(session, account_id, wanted, made.of("tag"), now)
    writing.write_scenes(session, account_id, wanted, made.of("scene"), now)
    writing.write_segments(session, account_id, wanted, made.of("segment"), now)
    writing.store_files(session, account_id, prepared.files)
    if kinds & {"rule", "order", "fallback"} or _mentions_changed(wanted, prepared.existing):
        order = order_after(wanted, prepared.existing, prepared.prune)
        writing.write_rules(session, account_id, wanted, order, made.of("rule"), by, now)
        body = rulebook.draft_body(session, account_id)
        rulebook.publish(session, account_id, body, by=by, note="account file", now=now)
    if kinds & {"menu", "personal_menus"}:
        writing.write_menus(session, account_id, wanted)
    writing.write_campaigns(session, account_id, wanted, made.of("campaign"), by, now, secret_key)
    _tell_platform(session, account_id, wanted, prepared.existing, kinds, now)
    operators.audit(
        session,
        "file.apply",
        made.slug,
        operator=by,
        account_id=account_id,
        after=made.as_json()["changes"],
        now=now,
    )
    return made


def _write_account(
    session: Session, prepared: Prepared, wanted: Wanted, secret_key: str, now: datetime
) -> int:
    values = {key: value for key, value in wanted.account.items() if key != "slug"}
    limits = limits_after(wanted, prepared.existing)
    if prepared.account is None:
        account_id = accounts.add(
            session,
            slug=wanted.account["slug"],
            name=values["name"],
            kind=values["kind"],
            verified=values.get("verified", False),
            mode=values.get("mode", "plain"),
            app_id=values["app_id"],
            original_id=values.get("original_id", ""),
            app_secret=wanted.secrets["app_secret"],
            token=wanted.secrets["token"],
            aes_key=wanted.secrets.get("aes_key"),
            limits=limits,
            brand=values.get("brand"),
            secret_key=secret_key,
            now=now,
        )
    else:
        account_id = prepared.account.id
        stored = _stored_secrets(session, prepared.account, secret_key)
        changed = {k: v for k, v in wanted.secrets.items() if stored.get(k) != v}
        accounts.change(session, account_id, secret_key, {**values, **changed, "limits": limits})
    if wanted.opening is not None and not (prepared.account and prepared.account.opening_stated):
        external_sends.opening(session, account_id, wanted.opening, None, now, by="file")
    return account_id


def _tell_platform(
    session: Session,
    account_id: int,
    wanted: Wanted,
    known: Existing | None,
    kinds: set[str],
    now: datetime,
) -> None:
    wishes = {
        MAKE_SCENES: "scene" in kinds,
        PUBLISH_MENU: bool(kinds & {"menu", "personal_menus"}),
        SYNC_TAGS: "tag" in kinds
        and any(
            tag.get("sync")
            for tag in [*wanted.tags.values(), *(known.tags.values() if known else ())]
        ),
    }
    for name, wished in wishes.items():
        if wished:
            jobs.enqueue(
                session,
                name,
                {"account_id": account_id},
                now=now,
                unique_key=f"{name}:{account_id}:{now.isoformat()}",
                account_id=account_id,
            )


def _find(session: Session, slug: str) -> Account | None:
    found = [account for account in accounts.every(session) if account.slug == slug]
    return found[0] if found else None


def _taken(
    session: Session, source: Source, wanted: Wanted, account: Account | None
) -> Iterator[Problem]:
    """A new account whose slug or AppID belongs to another one, archived ones too."""
    if account is not None:
        return
    for key in ("slug", "app_id"):
        if key not in wanted.account:
            continue
        other = session.execute(
            sa.select(accounts_table.c.slug, accounts_table.c.archived_at).where(
                accounts_table.c[key] == wanted.account[key]
            )
        ).one_or_none()
        if other is not None:
            state = "archived " if other.archived_at else ""
            yield source.problem(f"account.{key}", f"belongs to the {state}account '{other.slug}'")


def _stored_secrets(session: Session, account: Account | None, secret_key: str) -> dict[str, Any]:
    if account is None:
        return {}
    opened = accounts.secrets_of(session, account.id, secret_key)
    return {name: getattr(opened, name) for name in SECRETS}


def _seen(session: Session, account_id: int, kind: str) -> bool:
    found = sa.select(events.c.id).where(events.c.account_id == account_id, events.c.kind == kind)
    return session.execute(found.limit(1)).first() is not None


def _tags_in_use(session: Session, account_id: int, checked: check.Checked) -> frozenset[str]:
    """Tags that followers have or that what stays mentions: ``--prune`` leaves them."""
    held = session.execute(
        sa.select(tags.c.name).where(
            tags.c.account_id == account_id,
            sa.exists().where(follower_tags.c.tag_id == tags.c.id),
        )
    ).scalars()
    mentions = check.mentioned(checked.wanted, checked.rule_names)
    mentioned = {name for kind, name, _ in mentions if kind == "tag"}
    return frozenset(held) | mentioned


def _mentions_changed(wanted: Wanted, known: Existing | None) -> bool:
    """Whether a rename changes what rules that stay say: then they are published anew."""
    return known is not None and any(
        section in ("tags", "scenes") and old in getattr(known, section)
        for (section, _new), old in wanted.was.items()
    )


def _sorted(problems: list[Problem]) -> list[Problem]:
    return sorted(set(problems), key=lambda problem: (problem.line, problem.place))
