"""The second factor of a login: codes of six digits by an authenticator app (TOTP, RFC 6238).

A new secret is kept aside until a code proves that the app has it. Each code works once.
"""

from datetime import datetime, timedelta
from typing import Protocol

import pyotp
import sqlalchemy as sa
from sqlalchemy.engine import Engine

from bot import db, operators
from bot.db import Session
from bot.errors import Invalid, Refused
from bot.secrets import seal, unseal
from bot.tables.operators import operators as table

STEP = 30  # seconds a code lasts; one before and one after count too, for clocks that differ
ISSUER = "Qunfen 群分"
PENDING_SECONDS = 900.0  # a secret that nobody confirmed is forgotten


class Store(operators.Counters, Protocol):
    """What this module needs of ``bot.kept``."""

    def get(self, key: str) -> str | None: ...

    def put(self, key: str, value: str, seconds: float) -> None: ...


def begin(store: Store, operator_id: int, secret_key: str) -> str:
    """A secret for the app (base32), the same one until it is confirmed or fifteen minutes pass."""
    waiting = store.get(_pending(operator_id))
    if waiting:
        return unseal(secret_key, waiting)
    secret = pyotp.random_base32()
    store.put(_pending(operator_id), seal(secret_key, secret), PENDING_SECONDS)
    return secret


def address(secret: str, name: str) -> str:
    """What the QR code says: an ``otpauth://`` address."""
    return pyotp.TOTP(secret).provisioning_uri(name=name, issuer_name=ISSUER)


def confirm(
    engine: Engine, store: Store, operator_id: int, code: str, secret_key: str, now: datetime
) -> None:
    """Turn the second factor on, a code of the new secret being right. Opens its own transactions.

    Raises:
        Invalid: the code is wrong.
        Refused: nothing waits to be confirmed, or too many tries in ten minutes.
    """
    waiting = store.get(_pending(operator_id))
    if not waiting:
        raise Refused("the code to scan is too old: begin again")
    tried = operators.tries_of(f"code:{operator_id}", "")
    operators.count_try(store, tried)
    step = _step_of(unseal(secret_key, waiting), code, now)
    if step is None:
        raise Invalid("code", "this code is wrong or too old")
    _forgive(store, tried)
    with db.writing(engine) as session:
        name = session.execute(
            sa.update(table)
            .where(table.c.id == operator_id)
            .values(totp_secret=waiting, totp_step=step)
            .returning(table.c.name)
        ).scalar_one()
        operators.audit(session, "operator.totp_on", name, operator=name, now=now)
    store.put(_pending(operator_id), "", 0.001)


def check(
    engine: Engine,
    store: Store,
    operator_id: int,
    code: str,
    secret_key: str,
    now: datetime,
    *,
    address: str = "",
) -> bool:
    """Whether a code is right and was not used before; uses it up. Opens its own transactions.

    Raises:
        Refused: too many wrong codes in ten minutes.
    """
    tried = operators.tries_of(f"code:{operator_id}", address)
    operators.count_try(store, tried)
    with db.reading(engine) as session:
        sealed = session.execute(
            sa.select(table.c.totp_secret).where(table.c.id == operator_id, table.c.active)
        ).scalar()
    step = _step_of(unseal(secret_key, sealed), code, now) if sealed is not None else None
    if step is None:
        return False
    with db.writing(engine) as session:
        used = session.execute(
            sa.update(table)
            .where(
                table.c.id == operator_id,
                table.c.totp_secret == sealed,
                sa.or_(table.c.totp_step.is_(None), table.c.totp_step < step),
            )
            .values(totp_step=step)
            .returning(table.c.id)
        ).scalar()
    if used is None:
        return False
    _forgive(store, tried)
    return True


def off(session: Session, operator_id: int, *, by: str, now: datetime) -> None:
    """Login asks for the password alone again.

    Raises:
        Refused: there is no such operator, or the second factor is not on.
    """
    name = session.execute(
        sa.update(table)
        .where(table.c.id == operator_id, table.c.totp_secret.is_not(None))
        .values(totp_secret=None, totp_step=None)
        .returning(table.c.name)
    ).scalar()
    if name is None:
        raise Refused("the second factor is not on")
    operators.audit(session, "operator.totp_off", name, operator=by, now=now)


def _step_of(secret: str, code: str, now: datetime) -> int | None:
    """The time step a code belongs to: this one or a neighbour; None when it is wrong."""
    given = code.replace(" ", "")
    if len(given) != 6 or not (given.isascii() and given.isdigit()):
        return None
    app = pyotp.TOTP(secret)
    for offset in (0, -1, 1):
        moment = now + timedelta(seconds=STEP * offset)
        if app.verify(given, for_time=moment):
            return int(moment.timestamp()) // STEP
    return None


def _forgive(store: Store, tried: dict[str, int]) -> None:
    for key in tried:
        store.uncount(key, operators.THROTTLE_SECONDS)


def _pending(operator_id: int) -> str:
    return f"totp:new:{operator_id}"
