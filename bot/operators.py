"""People who work in the console: accounts, passwords, roles, and the audit of what they change."""

import secrets
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any, Protocol

import sqlalchemy as sa
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from sqlalchemy.engine import Engine

from bot import db, rights
from bot.db import Session, insert_first
from bot.errors import Invalid, Refused
from bot.tables.operators import audit as audit_table
from bot.tables.operators import operators

ROLES = {name: dict(role.label) for name, role in rights.ROLES.items()}
SHORTEST = 8  # characters of a password
LONGEST = 200  # argon2 is fed no more, so that a login costs the same whatever is sent
# failed logins within ten minutes before a name, or an address, has to wait
NAME_TRIES, ADDRESS_TRIES, THROTTLE_SECONDS = 10, 50, 600.0

_hasher = PasswordHasher()


# a generated password is read from a terminal: nothing that looks like another letter or an option
LETTERS = "abcdefghijkmnpqrstuvwxyzACDEFGHJKLMNPQRSTUVWXYZ23456789"
GENERATED = 16


class Counters(Protocol):
    """What throttling needs of ``bot.kept``."""

    def count(self, key: str, seconds: float, limit: int) -> bool: ...


@dataclass(frozen=True, slots=True)
class Operator:
    id: int
    name: str
    role: str
    active: bool
    session_number: int
    created_at: datetime
    last_login_at: datetime | None = None


def add(session: Session, name: str, role: str, now: datetime, password: str | None = None) -> str:
    """Add an operator; returns the password, generated when none is given. It is shown once and not kept.

    Raises:
        Invalid: the name, role or password cannot be used.
        Refused: the name is taken.
    """
    name = name.strip()
    if not name or len(name) > 60 or not name.isprintable():
        raise Invalid("name", "must have 1 to 60 characters")
    if role not in ROLES:
        raise Invalid("role", f"there is no role '{role}'; there are {', '.join(ROLES)}")
    chosen = _checked(password)
    made = insert_first(
        session,
        operators,
        {
            "name": name,
            "password_hash": _hasher.hash(chosen),
            "role": role,
            "active": True,
            "session_number": 1,
            "created_at": now,
        },
    )
    if made is None:
        raise Refused(f"there is an operator '{name}' already")
    audit(session, "operator.add", name, operator="cli", after={"role": role}, now=now)
    return chosen


def passwd(session: Session, name: str, now: datetime, password: str | None = None) -> str:
    """Give an operator a new password and end their open sessions; returns it, generated when none is given.

    Raises:
        Invalid: the password cannot be used.
        Refused: there is no such operator.
    """
    chosen = _checked(password)
    changed = session.execute(
        sa.update(operators)
        .where(operators.c.name == name)
        .values(password_hash=_hasher.hash(chosen), session_number=operators.c.session_number + 1)
        .returning(operators.c.id)
    ).scalar()
    if changed is None:
        raise Refused(f"there is no operator '{name}'")
    audit(session, "operator.passwd", name, operator="cli", now=now)
    return chosen


def every(session: Session) -> list[Operator]:
    """All operators, by name."""
    rows = session.execute(sa.select(operators).order_by(operators.c.name))
    return [_operator(row) for row in rows]


def by_id(session: Session, operator_id: int) -> Operator | None:
    """The operator with this id, or None."""
    row = session.execute(sa.select(operators).where(operators.c.id == operator_id)).one_or_none()
    return _operator(row) if row is not None else None


def verify(
    engine: Engine,
    counters: Counters,
    name: str,
    password: str,
    now: datetime,
    *,
    address: str = "",
) -> Operator | None:
    """The operator whose name and password these are, or None. Opens its own transactions.

    1. Count the try against the name and the address.
    2. Read the row; an unknown name is checked against a hash nobody has, so that it takes as long.
    3. Store the login, and a stronger hash where the parameters grew.

    Raises:
        Refused: too many tries in ten minutes.
    """
    if not counters.count(f"login:name:{name[:60]}", THROTTLE_SECONDS, NAME_TRIES) or (
        address and not counters.count(f"login:from:{address}", THROTTLE_SECONDS, ADDRESS_TRIES)
    ):
        raise Refused("登录尝试太多，请十分钟后再试 (too many logins; try again in ten minutes)")
    with db.reading(engine) as session:
        row = session.execute(sa.select(operators).where(operators.c.name == name)).one_or_none()
    stored = row.password_hash if row is not None and row.active else _nobody()
    if not _matches(stored, password) or row is None or not row.active:
        return None
    values: dict[str, Any] = {"last_login_at": now}
    if _hasher.check_needs_rehash(stored):
        values["password_hash"] = _hasher.hash(password)
    with db.writing(engine) as session:
        session.execute(sa.update(operators).where(operators.c.id == row.id).values(**values))
    return _operator(row)


def audit(
    session: Session,
    action: str,
    thing: str,
    *,
    operator: str,
    now: datetime,
    account_id: int | None = None,
    before: Any = None,
    after: Any = None,
) -> None:
    """Write down who changed what, in the transaction of the change. ``before`` and ``after`` hold no secrets."""
    session.execute(
        sa.insert(audit_table).values(
            account_id=account_id,
            operator=operator,
            action=action,
            object=thing,
            before=before,
            after=after,
            at=now,
        )
    )


def _checked(password: str | None) -> str:
    if password is None:
        return "".join(secrets.choice(LETTERS) for _ in range(GENERATED))
    if len(password) < SHORTEST:
        raise Invalid("password", f"needs at least {SHORTEST} characters")
    if len(password) > LONGEST:
        raise Invalid("password", f"has more than {LONGEST} characters")
    return password


def _matches(stored: str, password: str) -> bool:
    try:
        return _hasher.verify(stored, password[:LONGEST])
    except (VerificationError, InvalidHashError):
        return False


@cache
def _nobody() -> str:
    return _hasher.hash(secrets.token_urlsafe(24))


def _operator(row: Any) -> Operator:
    return Operator(
        row.id,
        row.name,
        row.role,
        row.active,
        row.session_number,
        row.created_at,
        row.last_login_at,
    )
