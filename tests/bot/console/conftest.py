"""An operator, and a browser that is logged in as them."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

import pytest
import sqlalchemy as sa
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from bot import accounts as accounts_module
from bot import db, operators
from bot.accounts import Account
from bot.app import create_app
from bot.runtime import Runtime
from bot.tables.operators import operator_scopes
from bot.tables.operators import operators as table
from tests.bot.console import pages


@dataclass(frozen=True)
class Someone:
    name: str
    password: str


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


@pytest.fixture
def as_role(
    rt: Runtime, engine: sa.Engine, account: Account, now: datetime
) -> Callable[..., FlaskClient]:
    """``as_role("viewer")`` is a browser logged in with that role; ``scenes`` limits a channel owner's QR codes,
    ``accounts`` (slugs) says which accounts they see, every one without it."""
    app = create_app(rt.config, rt)

    def made(
        role: str, scenes: list[str] | None = None, accounts: list[str] | None = None
    ) -> FlaskClient:
        with db.writing(engine) as session:
            name = (
                f"{role} {session.execute(sa.select(sa.func.count()).select_from(table)).scalar()}"
            )
            password = operators.add(session, name, role, now)
            operator_id = session.execute(
                sa.select(table.c.id).where(table.c.name == name)
            ).scalar_one()
            seen = accounts if accounts is not None else [account.slug]
            if scenes is not None or accounts is not None:
                session.execute(
                    sa.update(table).where(table.c.id == operator_id).values(every_account=False)
                )
                for slug in seen:
                    session.execute(
                        sa.insert(operator_scopes).values(
                            operator_id=operator_id,
                            account_id=accounts_module.get(session, slug).id,
                            scenes=scenes,
                        )
                    )
        client = app.test_client()
        assert pages.log_in(client, name, password).status_code == 302
        return client

    return made
