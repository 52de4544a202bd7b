"""Operators: passwords, throttled logins, audit."""

from datetime import datetime, timedelta

import pytest
import sqlalchemy as sa

from bot import db, operators
from bot.clock import Clock
from bot.errors import Invalid, Refused
from bot.kept import DatabaseStore
from bot.tables.operators import audit
from bot.tables.operators import operators as table
from tests.conftest import STRONG_HASHES


@pytest.mark.slow  # hashes as the program does
def test_a_generated_password_logs_in_and_only_its_hash_is_kept(
    engine: sa.Engine, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(operators, "_hasher", STRONG_HASHES)
    store = DatabaseStore(engine, Clock(frozen_at=now))
    with db.writing(engine) as session:
        password = operators.add(session, "Ann", "operator", now)
        stored = session.execute(sa.select(table.c.password_hash)).scalar_one()
    assert stored.startswith("$argon2id$v=19$m=65536,t=3,p=4$")
    assert password not in stored
    found = operators.verify(engine, store, "Ann", password, now)
    assert found is not None
    assert found.role == "operator"
    assert operators.verify(engine, store, "Ann", password + "x", now) is None
    assert operators.verify(engine, store, "Nobody", password, now) is None
    with db.reading(engine) as session:
        assert operators.every(session)[0].last_login_at == now


def test_a_new_password_ends_open_sessions(engine: sa.Engine, now: datetime) -> None:
    store = DatabaseStore(engine, Clock(frozen_at=now))
    with db.writing(engine) as session:
        old = operators.add(session, "Bo", "lead", now)
        new = operators.passwd(session, "Bo", now)
        assert operators.every(session)[0].session_number == 2
    assert operators.verify(engine, store, "Bo", old, now) is None
    assert operators.verify(engine, store, "Bo", new, now) is not None


def test_too_many_tries_have_to_wait_ten_minutes(engine: sa.Engine, now: datetime) -> None:
    clock = Clock(frozen_at=now)
    store = DatabaseStore(engine, clock)
    with db.writing(engine) as session:
        password = operators.add(session, "Cai", "viewer", now)
    for _ in range(operators.NAME_TRIES):
        assert operators.verify(engine, store, "Cai", "wrong-password", now) is None
    with pytest.raises(Refused, match="ten minutes"):
        operators.verify(engine, store, "Cai", password, now)
    clock.move_to(now + timedelta(minutes=11))
    assert operators.verify(engine, store, "Cai", password, now) is not None


def test_only_failed_logins_are_counted(engine: sa.Engine, now: datetime) -> None:
    store = DatabaseStore(engine, Clock(frozen_at=now))
    with db.writing(engine) as session:
        password = operators.add(session, "Cai", "viewer", now)
    for _ in range(3):
        for _ in range(operators.NAME_TRIES // 2):
            assert operators.verify(engine, store, "Cai", password, now, address="10.0.0.1")
        assert operators.verify(engine, store, "Cai", "wrong-password", now) is None
    for _ in range(operators.NAME_TRIES - 3):
        assert operators.verify(engine, store, "Cai", "wrong-password", now) is None
    with pytest.raises(Refused, match="ten minutes"):
        operators.verify(engine, store, "Cai", password, now)


def test_one_changes_the_own_password_only_with_the_old_one(
    engine: sa.Engine, now: datetime
) -> None:
    store = DatabaseStore(engine, Clock(frozen_at=now))
    with db.writing(engine) as session:
        old = operators.add(session, "Cai", "viewer", now)
        cai = operators.every(session)[0]
    with pytest.raises(Invalid, match="old"):
        operators.own_password(engine, store, cai.id, "guess-guess", "a-new-password", now)
    with pytest.raises(Invalid, match="password"):
        operators.own_password(engine, store, cai.id, old, "short", now)
    operators.own_password(engine, store, cai.id, old, "a-new-password", now)
    found = operators.verify(engine, store, "Cai", "a-new-password", now)
    assert found is not None
    assert found.session_number == cai.session_number + 1


def test_the_last_active_administrator_stays(session: db.Session, now: datetime) -> None:
    operators.add(session, "An", "admin", now)
    operators.add(session, "Bo", "lead", now)
    an, bo = operators.every(session)
    for change in ({"role": "lead"}, {"active": False}):
        with pytest.raises(Refused, match="last active administrator"):
            operators.change(session, an.id, by="An", now=now, **change)
    operators.change(session, bo.id, by="An", now=now, role="admin")
    operators.change(session, an.id, by="Bo", now=now, active=False)
    with pytest.raises(Refused, match="last active administrator"):
        operators.change(session, bo.id, by="Bo", now=now, role="lead")
    operators.change(session, an.id, by="Bo", now=now, active=True)
    operators.change(session, bo.id, by="An", now=now, role="lead", name="Bobo")
    row = session.execute(sa.select(audit).order_by(audit.c.id.desc())).first()
    assert row is not None
    assert (row.before, row.after) == (
        {"name": "Bo", "role": "admin"},
        {"name": "Bobo", "role": "lead"},
    )


def test_a_change_that_cannot_be_is_refused(session: db.Session, now: datetime) -> None:
    operators.add(session, "An", "admin", now)
    operators.add(session, "Bo", "lead", now)
    bo = operators.every(session)[1]
    with pytest.raises(Refused, match="already"):
        operators.change(session, bo.id, by="An", now=now, name=" An ")
    with pytest.raises(Invalid, match="role"):
        operators.change(session, bo.id, by="An", now=now, role="king")
    with pytest.raises(Refused, match="no such"):
        operators.change(session, 999, by="An", now=now, role="lead")
    operators.end_sessions(session, bo.id, by="An", now=now)
    again = operators.by_id(session, bo.id)
    assert again is not None
    assert again.session_number == bo.session_number + 1


@pytest.mark.parametrize(
    ("name", "role", "password"),
    [("", "lead", None), ("x" * 61, "lead", None), ("Ann", "king", None), ("Ann", "lead", "short")],
)
def test_what_cannot_be_used_is_refused(
    session: db.Session, now: datetime, name: str, role: str, password: str | None
) -> None:
    with pytest.raises(Invalid):
        operators.add(session, name, role, now, password)


def test_a_name_is_taken_once_and_changes_are_written_down(
    session: db.Session, now: datetime
) -> None:
    operators.add(session, "Ann", "lead", now)
    with pytest.raises(Refused, match="already"):
        operators.add(session, "Ann", "lead", now)
    with pytest.raises(Refused, match="no operator"):
        operators.passwd(session, "Bo", now)
    assert session.execute(sa.select(audit.c.action)).scalars().all() == ["operator.add"]
