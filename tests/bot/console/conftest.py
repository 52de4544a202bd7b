"""An operator, and a browser that is logged in as them."""

from dataclasses import dataclass
from datetime import datetime

import pytest
import sqlalchemy as sa
from argon2 import PasswordHasher
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from bot import db, operators
from bot.accounts import Account
from tests.bot.console import pages


@dataclass(frozen=True)
class Someone:
    name: str
    password: str


@pytest.fixture(autouse=True)
def _light_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Real argon2 with light parameters: every test here logs in."""
    monkeypatch.setattr(
        operators, "_hasher", PasswordHasher(time_cost=1, memory_cost=256, parallelism=1)
    )


@pytest.fixture
def ann(engine: sa.Engine, now: datetime) -> Someone:
    """An operator of the console."""
    with db.writing(engine) as session:
        return Someone("Ann", operators.add(session, "Ann", "operator", now))


@pytest.fixture
def browser(client: FlaskClient, ann: Someone) -> FlaskClient:
    """Ann's browser, logged in."""
    answer: TestResponse = pages.log_in(client, ann.name, ann.password)
    assert answer.status_code == 302
    return client


@pytest.fixture
def home(browser: FlaskClient, account: Account) -> pages.Page:
    """Opens the account's home page as often as asked."""
    return lambda: pages.text(browser.get(f"/console/{account.slug}/"))
