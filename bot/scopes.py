"""Which accounts an operator sees, and for a channel owner (渠道负责人) which of their QR codes.

An administrator sees every account. What is outside the scope does not exist for them: doors answer 404.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import sqlalchemy as sa

from bot import accounts, operators
from bot.accounts import Account
from bot.db import Session
from bot.errors import Invalid
from bot.operators import ADMIN, Operator
from bot.tables.operators import operator_scopes
from bot.tables.operators import operators as operators_table

CHANNEL_OWNER = "channel"
MOST_PATTERNS = 200
_PATTERN = re.compile(r"[A-Za-z0-9_\-.:*]{1,64}")

Patterns = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Scopes:
    """``accounts``: id -> patterns of QR code keys, None where all codes are meant. Unused with ``every_account``."""

    every_account: bool = True
    accounts: Mapping[int, Patterns | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Seen:
    """An account as an operator sees it. ``scenes``: a channel owner is limited to these patterns of keys."""

    account: Account
    scenes: Patterns | None = None


def of(session: Session, operator_id: int) -> Scopes:
    """The scopes as they are stored."""
    every = session.execute(
        sa.select(operators_table.c.every_account).where(operators_table.c.id == operator_id)
    ).scalar_one()
    rows = session.execute(
        sa.select(operator_scopes.c.account_id, operator_scopes.c.scenes)
        .where(operator_scopes.c.operator_id == operator_id)
        .order_by(operator_scopes.c.account_id)
    )
    return Scopes(
        every, {row.account_id: None if row.scenes is None else tuple(row.scenes) for row in rows}
    )


def accounts_of(session: Session, operator: Operator) -> list[Seen]:
    """The accounts an operator sees, by slug; archived ones never."""
    every = accounts.every(session)
    if sees_all(operator):
        return [Seen(account) for account in every]
    listed = of(session, operator.id).accounts
    if operator.role != CHANNEL_OWNER:
        return [Seen(account) for account in every if account.id in listed]
    return [
        Seen(account, ("*",) if listed[account.id] is None else listed[account.id])
        for account in every
        if account.id in listed
    ]


def sees_all(operator: Operator) -> bool:
    """Whether no list limits the operator. A channel owner always has one."""
    if operator.role == ADMIN:
        return True
    return operator.every_account and operator.role != CHANNEL_OWNER


def set_scopes(
    session: Session,
    operator_id: int,
    *,
    every_account: bool,
    listed: Mapping[int, Sequence[str] | None],
    by: str,
    now: datetime,
) -> None:
    """Say which accounts an operator sees. Works at their next request.

    Raises:
        Invalid: an account that does not exist, a pattern that can be no key, or a channel owner without codes.
    """
    operator = operators.by_id(session, operator_id)
    if operator is None:
        raise Invalid("operator", "there is no such operator")
    names = {account.id: account.slug for account in accounts.every(session)}
    wanted = {key: _patterns(patterns) for key, patterns in listed.items()}
    if set(wanted) - set(names):
        raise Invalid("accounts", "there is no such account")
    if operator.role == CHANNEL_OWNER and not any(wanted.values()):
        raise Invalid("accounts", "a channel owner needs an account and at least one QR code")
    if operator.role != ADMIN and not every_account and not wanted:
        raise Invalid("accounts", "choose at least one account")
    before = of(session, operator_id)
    every = every_account and operator.role != CHANNEL_OWNER
    after = Scopes(every, {} if every else wanted)
    if before == after:
        return
    session.execute(
        sa.update(operators_table)
        .where(operators_table.c.id == operator_id)
        .values(every_account=every)
    )
    session.execute(sa.delete(operator_scopes).where(operator_scopes.c.operator_id == operator_id))
    if after.accounts:
        session.execute(
            sa.insert(operator_scopes),
            [
                {
                    "operator_id": operator_id,
                    "account_id": account_id,
                    "scenes": None if patterns is None else list(patterns),
                }
                for account_id, patterns in after.accounts.items()
            ],
        )
    operators.audit(
        session,
        "operator.scopes",
        operator.name,
        operator=by,
        before=_told(before, names),
        after=_told(after, names),
        now=now,
    )


def _patterns(patterns: Sequence[str] | None) -> Patterns | None:
    if patterns is None:
        return None
    cleaned = tuple(dict.fromkeys(pattern.strip() for pattern in patterns if pattern.strip()))
    if len(cleaned) > MOST_PATTERNS:
        raise Invalid("scenes", f"at most {MOST_PATTERNS} QR codes can be listed; use *")
    for pattern in cleaned:
        if not _PATTERN.fullmatch(pattern):
            raise Invalid("scenes", f"'{pattern[:64]}' cannot be the key of a QR code")
    return cleaned


def _told(scopes: Scopes, names: Mapping[int, str]) -> dict[str, object]:
    if scopes.every_account:
        return {"accounts": "*"}
    return {
        "accounts": {
            names.get(account_id, str(account_id)): "*" if patterns is None else list(patterns)
            for account_id, patterns in scopes.accounts.items()
        }
    }
