"""API tokens (API 密钥): made once, shown once, stored as a hash; each carries some rights on one account or on all.

A token never carries more than its maker: what the maker may and sees is asked again at every use,
so that whoever loses a role or an account takes it from their tokens too.
"""

import hashlib
import hmac
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from bot import operators, rights
from bot import scopes as scopes_of
from bot.db import Session
from bot.errors import Invalid, Refused
from bot.tables.accounts import accounts
from bot.tables.operators import api_tokens
from bot.tables.operators import operators as operators_table

PREFIX = "qf_"
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
CHARACTERS = 40  # 238 bits: long enough that a plain SHA-256 hides it
SHOWN = len(PREFIX) + 4  # characters that stay readable, to tell tokens apart
NAME_CHARACTERS = 60
USED_EVERY = timedelta(minutes=1)  # last_used_at is written at most so often
COMMAND_LINE = "cli"  # the maker of tokens made at the server itself: nobody's role limits those
LONGEST_LIFE = timedelta(days=3660)


@dataclass(frozen=True, slots=True)
class Maker:
    """Who makes tokens: what they may, and which accounts they see (None: every one)."""

    name: str
    rights: frozenset[str]
    accounts: frozenset[int] | None = None


SERVER = Maker(COMMAND_LINE, rights.EVERYTHING)


@dataclass(frozen=True, slots=True)
class Token:
    """A token as lists show it: ``shown`` are its first characters, the rest is nowhere."""

    id: int
    account_id: int | None
    name: str
    shown: str
    scopes: tuple[str, ...]
    created_by: str
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None
    revoked_at: datetime | None

    def state(self, now: datetime) -> str:
        """``active``, ``expired`` or ``revoked``."""
        if self.revoked_at is not None:
            return "revoked"
        return "expired" if self.expires_at is not None and self.expires_at <= now else "active"


@dataclass(frozen=True, slots=True)
class Bearer:
    """A token in use: what it may right now. ``accounts`` are row ids, None every one."""

    token: Token
    scopes: frozenset[str]
    accounts: frozenset[int] | None

    def sees(self, account_id: int) -> bool:
        """Whether objects of this account exist for the token."""
        return self.accounts is None or account_id in self.accounts


def create(
    session: Session,
    maker: Maker,
    name: str,
    scopes: Iterable[str],
    now: datetime,
    *,
    account_id: int | None = None,
    expires_at: datetime | None = None,
) -> tuple[str, Token]:
    """Make a token; returns it in plain, shown this once, and its row. ``account_id`` None: every account.

    Raises:
        Invalid: name, scopes, account or expiry cannot be used, or go beyond the maker's own.
    """
    name = name.strip()
    if not 1 <= len(name) <= NAME_CHARACTERS or not name.isprintable():
        raise Invalid("name", "must have 1 to 60 characters")
    wanted = sorted(set(scopes))
    if not wanted:
        raise Invalid("scopes", "choose at least one right")
    if unknown := rights.unknown(wanted):
        raise Invalid("scopes", f"there is no right '{unknown[0]}'")
    if beyond := sorted(set(wanted) - maker.rights):
        raise Invalid("scopes", f"you do not have the right '{beyond[0]}' yourself")
    if maker.accounts is not None and (account_id is None or account_id not in maker.accounts):
        raise Invalid("account", "choose an account that you see yourself")
    if expires_at is not None and not now < expires_at <= now + LONGEST_LIFE:
        raise Invalid("expires_at", "must be in the future and within ten years")
    plain = PREFIX + "".join(secrets.choice(LETTERS) for _ in range(CHARACTERS))
    row = session.execute(
        sa.insert(api_tokens)
        .values(
            account_id=account_id,
            name=name,
            hash=_hash(plain),
            shown=plain[:SHOWN],
            scopes=wanted,
            created_by=maker.name,
            created_at=now,
            expires_at=expires_at,
        )
        .returning(*api_tokens.c)
    ).one()
    return plain, _token(row)


def every(session: Session, account_ids: Iterable[int] | None = None) -> list[Token]:
    """Tokens, the newest first: all of them, or those limited to one of these accounts."""
    found = sa.select(api_tokens).order_by(api_tokens.c.id.desc())
    if account_ids is not None:
        found = found.where(api_tokens.c.account_id.in_(list(account_ids)))
    return [_token(row) for row in session.execute(found)]


def get(session: Session, token_id: int, account_id: int | None = None) -> Token | None:
    """One token; with ``account_id`` only when it is limited to that account."""
    found = sa.select(api_tokens).where(api_tokens.c.id == token_id)
    if account_id is not None:
        found = found.where(api_tokens.c.account_id == account_id)
    row = session.execute(found).one_or_none()
    return _token(row) if row is not None else None


def revoke(session: Session, token_id: int, now: datetime) -> None:
    """End a token at once and for good.

    Raises:
        Refused: there is no such token, or it was revoked before.
    """
    changed = session.execute(
        sa.update(api_tokens)
        .where(api_tokens.c.id == token_id, api_tokens.c.revoked_at.is_(None))
        .values(revoked_at=now)
        .returning(api_tokens.c.id)
    ).scalar()
    if changed is None:
        raise Refused("there is no such token, or it was revoked before")


def bearer(session: Session, plain: str, now: datetime) -> Bearer | None:
    """Who presents this token, or None: unknown, revoked, expired, or its maker is no longer with us.

    The hash is looked up by the index and compared again in constant time.
    """
    if not plain.startswith(PREFIX) or len(plain) != len(PREFIX) + CHARACTERS:
        return None
    given = _hash(plain)
    row = session.execute(sa.select(api_tokens).where(api_tokens.c.hash == given)).one_or_none()
    if row is None or not hmac.compare_digest(row.hash, given):
        return None
    token = _token(row)
    if token.state(now) != "active":
        return None
    maker = maker_named(session, token.created_by)
    if maker is None:
        return None
    reach = maker.accounts
    if token.account_id is not None:
        own = frozenset({token.account_id})
        reach = own if reach is None else own & reach
    return Bearer(token, frozenset(token.scopes) & maker.rights, reach)


def used(session: Session, token: Token, now: datetime) -> None:
    """Remember that a token was used; call it only when ``stale`` says so."""
    session.execute(
        sa.update(api_tokens).where(api_tokens.c.id == token.id).values(last_used_at=now)
    )


def stale(token: Token, now: datetime) -> bool:
    """Whether the last use that is written down is more than a minute old."""
    return token.last_used_at is None or now - token.last_used_at >= USED_EVERY


def maker_named(session: Session, name: str) -> Maker | None:
    """What an operator may and sees now; None where there is no such active operator.

    A channel owner's QR codes are a limit that tokens do not know: such an operator carries none.
    """
    if name == COMMAND_LINE:
        return SERVER
    found = sa.select(operators_table.c.id).where(operators_table.c.name == name)
    operator_id = session.execute(found).scalar()
    operator = operators.by_id(session, operator_id) if operator_id is not None else None
    if operator is None or not operator.active or operator.role == scopes_of.CHANNEL_OWNER:
        return None
    seen = None
    if not scopes_of.sees_all(operator):
        seen = frozenset(scopes_of.of(session, operator.id).accounts)
    return Maker(operator.name, rights.rights_of(operator.role), seen)


def account_names(session: Session, tokens: Iterable[Token]) -> dict[int, str]:
    """Slug by account id, for lists of tokens."""
    ids = {token.account_id for token in tokens if token.account_id is not None}
    rows = session.execute(sa.select(accounts.c.id, accounts.c.slug).where(accounts.c.id.in_(ids)))
    return {row.id: row.slug for row in rows}


def _hash(plain: str) -> str:
    return hashlib.sha256(plain.encode()).hexdigest()


def _token(row: Any) -> Token:
    return Token(
        id=row.id,
        account_id=row.account_id,
        name=row.name,
        shown=row.shown,
        scopes=tuple(row.scopes),
        created_by=row.created_by,
        created_at=row.created_at,
        expires_at=row.expires_at,
        last_used_at=row.last_used_at,
        revoked_at=row.revoked_at,
    )
