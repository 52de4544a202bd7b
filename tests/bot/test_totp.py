"""The second factor: confirmed before it is on, each code once, throttled, switched off again."""

from dataclasses import dataclass
from datetime import datetime, timedelta

import pyotp
import pytest
import sqlalchemy as sa

from bot import db, operators, totp
from bot.clock import Clock
from bot.errors import Invalid, Refused
from bot.kept import DatabaseStore
from bot.tables.operators import operators as table
from tests.factories import SECRET_KEY


@dataclass
class Phone:
    """An operator, their authenticator app, and the clock both look at."""

    engine: sa.Engine
    clock: Clock
    store: DatabaseStore
    id: int
    secret: str = ""

    def code(self, seconds: int = 0) -> str:
        return pyotp.TOTP(self.secret).at(self.clock() + timedelta(seconds=seconds))

    def confirm(self, code: str) -> None:
        totp.confirm(self.engine, self.store, self.id, code, SECRET_KEY, self.clock())

    def check(self, code: str) -> bool:
        return totp.check(self.engine, self.store, self.id, code, SECRET_KEY, self.clock())

    def later(self, seconds: int) -> None:
        self.clock.move_to(self.clock() + timedelta(seconds=seconds))


@pytest.fixture
def phone(engine: sa.Engine, now: datetime) -> Phone:
    clock = Clock(frozen_at=now)
    store = DatabaseStore(engine, clock)
    with db.writing(engine) as session:
        operators.add(session, "Ann", "operator", now)
        operator = operators.every(session)[0]
    found = Phone(engine, clock, store, operator.id)
    found.secret = totp.begin(store, operator.id, SECRET_KEY)
    return found


@pytest.fixture
def confirmed(phone: Phone) -> Phone:
    phone.confirm(phone.code())
    return phone


def test_a_code_proves_the_app_before_the_second_factor_is_on(phone: Phone) -> None:
    assert totp.begin(phone.store, phone.id, SECRET_KEY) == phone.secret, "a reload keeps the code"
    assert "secret=" + phone.secret in totp.address(phone.secret, "Ann")
    with pytest.raises(Invalid):
        phone.confirm("000000" if phone.code() != "000000" else "111111")
    with db.reading(phone.engine) as session:
        assert not operators.every(session)[0].has_totp
    phone.confirm(phone.code())
    with db.reading(phone.engine) as session:
        assert operators.every(session)[0].has_totp
        stored = session.execute(sa.select(table.c.totp_secret)).scalar_one()
    assert phone.secret not in stored, "the secret is sealed"
    with pytest.raises(Refused, match="begin again"):
        phone.confirm(phone.code())


def test_a_code_works_once(confirmed: Phone) -> None:
    assert not confirmed.check(confirmed.code()), "the one it was confirmed with is used up"
    confirmed.later(30)
    code = confirmed.code()
    assert confirmed.check(code[:3] + " " + code[3:])
    assert not confirmed.check(code)
    assert not confirmed.check(confirmed.code(-30)), "nor an older one after it"


def test_clocks_may_differ_by_one_step_and_no_more(confirmed: Phone) -> None:
    confirmed.later(300)
    assert not confirmed.check(confirmed.code(-60))
    assert not confirmed.check(confirmed.code(60))
    assert confirmed.check(confirmed.code(-30))
    assert confirmed.check(confirmed.code(30))


@pytest.mark.parametrize(
    "code", ["", "12345", "1234567", "abcdef", "１２３４５６", "12\u00b2456", "0x1f2a"]
)
def test_what_is_no_code_is_refused(confirmed: Phone, code: str) -> None:
    assert not confirmed.check(code)


def test_wrong_codes_are_throttled_and_right_ones_are_not_counted(confirmed: Phone) -> None:
    for _ in range(operators.NAME_TRIES * 2):
        confirmed.later(30)
        assert confirmed.check(confirmed.code())
    for _ in range(operators.NAME_TRIES):
        assert not confirmed.check("12345")
    confirmed.later(30)
    with pytest.raises(Refused, match="ten minutes"):
        confirmed.check(confirmed.code())


def test_it_is_switched_off_and_a_new_phone_begins_anew(confirmed: Phone) -> None:
    with db.writing(confirmed.engine) as session:
        totp.off(session, confirmed.id, by="An", now=confirmed.clock())
        with pytest.raises(Refused):
            totp.off(session, confirmed.id, by="An", now=confirmed.clock())
    confirmed.later(30)
    assert not confirmed.check(confirmed.code())
    assert totp.begin(confirmed.store, confirmed.id, SECRET_KEY) != confirmed.secret
