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

from bot import db, kept, rights
from bot.db import Session, insert_first
from bot.errors import Invalid, Refused
from bot.tables.operators import api_tokens, operators
from bot.tables.operators import audit as audit_table

ROLES = {name: dict(role.label) for name, role in rights.ROLES.items()}
ADMIN = "admin"
SHORTEST = 8  # characters of a password
LONGEST = 200  # argon2 is fed no more, so that a login costs the same whatever is sent
# failed logins within ten minutes before a name, or an address, has to wait
NAME_TRIES, ADDRESS_TRIES, THROTTLE_SECONDS = 10, 50, 600.0

_hasher = PasswordHasher()


# a generated password is read from a terminal: nothing that looks like another letter or an option
LETTERS = "abcdefghijkmnpqrstuvwxyzACDEFGHJKLMNPQRSTUVWXYZ23456789"
GENERATED = 16
RESERVED = {"cli", "system"}


class Counters(Protocol):
    """What throttling needs of ``bot.kept``."""

    def count(self, key: str, seconds: float, limit: int) -> bool: ...

    def uncount(self, key: str, seconds: float) -> None: ...


@dataclass(frozen=True, slots=True)
class Operator:
    id: int
    name: str
    role: str
    active: bool
    session_number: int
    created_at: datetime
    last_login_at: datetime | None = None
    every_account: bool = True
    has_totp: bool = False


def add(
    session: Session,
    name: str,
    role: str,
    now: datetime,
    password: str | None = None,
    *,
    by: str = "cli",
) -> str:
    """Add an operator; returns the password, generated when none is given. It is shown once and not kept.

    Raises:
        Invalid: the name, role or password cannot be used.
        Refused: the name is taken.
    """
    name = _checked_name(name)
    _check_reserved(name)
    _check_role(role)
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
    audit(session, "operator.add", name, operator=by, after={"role": role}, now=now)
    return chosen


def passwd(
    session: Session, name: str, now: datetime, password: str | None = None, *, by: str = "cli"
) -> str:
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
    audit(session, "operator.passwd", name, operator=by, now=now)
    return chosen


def own_password(
    engine: Engine,
    counters: Counters,
    operator_id: int,
    old: str,
    new: str,
    now: datetime,
) -> None:
    """Change one's own password, the old one being known. Every open session ends. Opens its own transactions.

    Raises:
        Invalid: the old password is wrong, or the new one cannot be used.
        Refused: too many tries in ten minutes.
    """
    chosen = _checked(new)
    with db.reading(engine) as session:
        name = session.execute(
            sa.select(operators.c.name).where(operators.c.id == operator_id)
        ).scalar_one()
    if verify(engine, counters, name, old, now) is None:
        raise Invalid("old", "this is not your password")
    with db.writing(engine) as session:
        passwd(session, name, now, chosen, by=name)


def change(
    session: Session,
    operator_id: int,
    *,
    by: str,
    now: datetime,
    name: str | None = None,
    role: str | None = None,
    active: bool | None = None,
) -> None:
    """Rename, give another role, switch off or on; what is None stays. Works at their next request.

    Raises:
        Invalid: the name or role cannot be used.
        Refused: there is no such operator, the name is taken, or nobody would be left to administer.
    """
    before = by_id(session, operator_id)
    if before is None:
        raise Refused("there is no such operator")
    wanted: dict[str, Any] = {}
    if name is not None and (name := _checked_name(name)) != before.name:
        _check_free(session, name)
        wanted["name"] = name
    if role is not None and role != before.role:
        _check_role(role)
        wanted["role"] = role
    if active is not None and active != before.active:
        wanted["active"] = active
    if not wanted:
        return
    if before.active and before.role == ADMIN and {"role", "active"} & set(wanted):
        _keep_an_administrator(session, operator_id)
    session.execute(sa.update(operators).where(operators.c.id == operator_id).values(**wanted))
    if "name" in wanted:  # their tokens stay theirs, and are nobody's who takes the old name
        mine = sa.update(api_tokens).where(api_tokens.c.created_by == before.name)
        session.execute(mine.values(created_by=name))
    was = {key: getattr(before, key) for key in wanted}
    audit(session, "operator.change", before.name, operator=by, before=was, after=wanted, now=now)


def end_sessions(session: Session, operator_id: int, *, by: str, now: datetime) -> None:
    """Every open session of an operator ends at its next request.

    Raises:
        Refused: there is no such operator.
    """
    found = session.execute(
        sa.update(operators)
        .where(operators.c.id == operator_id)
        .values(session_number=operators.c.session_number + 1)
        .returning(operators.c.name)
    ).scalar()
    if found is None:
        raise Refused("there is no such operator")
    audit(session, "operator.end_sessions", found, operator=by, now=now)


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

    1. Count the try against the name and the address, before the answer is known: tries at once count too.
    2. Read the row; an unknown name is checked against a hash nobody has, so that it takes as long.
    3. Store the login, and a stronger hash where the parameters grew; a right password takes its count back.

    Raises:
        Refused: too many tries in ten minutes.
    """
    tried = tries_of(f"name:{name[:60]}", address)
    count_try(counters, tried)
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
    for key in tried:
        counters.uncount(key, THROTTLE_SECONDS)
    return _operator(row)


def tries_of(who: str, address: str) -> dict[str, int]:
    """What a try is counted against: key -> how many may fail within ten minutes."""
    keys = {f"login:{who}": NAME_TRIES}
    return {**keys, f"login:from:{address}": ADDRESS_TRIES} if address else keys


def count_try(counters: Counters, tried: dict[str, int]) -> None:
    """Count one try.

    Raises:
        Refused: too many in ten minutes.
    """
    for key, most in tried.items():
        if not counters.count(key, THROTTLE_SECONDS, most):
            raise Refused(
                "登录尝试太多，请十分钟后再试 (too many logins; try again in ten minutes)"
            )


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


def _checked_name(name: str) -> str:
    name = name.strip()
    if not name or len(name) > 60 or not name.isprintable():
        raise Invalid("name", "must have 1 to 60 characters")
    return name


def _check_role(role: str) -> None:
    if role not in ROLES:
        raise Invalid("role", f"there is no role '{role}'; there are {', '.join(ROLES)}")


def _check_reserved(name: str) -> None:
    """Names that the audit and tokens give to the program itself: whoever had one would be taken for it."""
    if name.casefold() in RESERVED or name.casefold().startswith("api:"):
        raise Refused(f"there is an operator '{name}' already")


def _check_free(session: Session, name: str) -> None:
    _check_reserved(name)
    taken = session.execute(sa.select(operators.c.id).where(operators.c.name == name)).scalar()
    if taken is not None:
        raise Refused(f"there is an operator '{name}' already")


def _keep_an_administrator(session: Session, leaving: int) -> None:
    # held, so that two administrators who demote each other take turns
    kept.lock(session, "operators:administrators")
    others = session.execute(
        sa.select(operators.c.id)
        .where(operators.c.role == ADMIN, operators.c.active, operators.c.id != leaving)
        .limit(1)
    ).scalar()
    if others is None:
        raise Refused("this is the last active administrator: make another one first")


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
        row.every_account,
        row.totp_secret is not None,
    )
