"""A program with a token at the product's door; brand ``muyan`` is connected, and brand ``other`` beside it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from bot import db, rights, tokens
from bot.accounts import Account
from bot.runtime import Runtime
from tests import factories


@dataclass
class Program:
    """Calls the API; ``of`` is the path before what is asked."""

    client: FlaskClient
    token: str
    of: str = "/api/v1/accounts/muyan"
    language: str = "en"

    def __call__(self, method: str, path: str, body: Any = None, **headers: str) -> TestResponse:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        given = {"Authorization": f"Bearer {self.token}", "Accept-Language": self.language} | named
        return self.client.open(self.of + path, method=method, json=body, headers=given)

    def get(self, path: str, **headers: str) -> TestResponse:
        return self("GET", path, **headers)

    def post(self, path: str, body: Any = None, **headers: str) -> TestResponse:
        return self("POST", path, body, **headers)

    def told(self, method: str, path: str, body: Any = None, status: int = 200) -> Any:
        """The JSON of an answer that is none but this."""
        answer = self(method, path, body)
        assert answer.status_code == status, answer.get_data(as_text=True)
        return answer.json

    def refused(self, method: str, path: str, body: Any = None) -> tuple[int, str]:
        """Status and kind of a problem."""
        answer = self(method, path, body)
        assert answer.content_type == "application/problem+json", answer.get_data(as_text=True)
        assert answer.json is not None and answer.json["status"] == answer.status_code
        return answer.status_code, answer.json["type"].rpartition("problem-")[2]


Make = Callable[..., Program]


@pytest.fixture
def program(client: FlaskClient, rt: Runtime, account: Account) -> Make:
    """Makes a program: ``program("tags.read")``; without a scope it carries every one."""

    def make(*scopes: str, account_id: int | None = None, **values: Any) -> Program:
        with db.writing(rt.engine) as session:
            plain, _ = tokens.create(
                session,
                values.pop("maker", tokens.SERVER),
                values.pop("name", "shop"),
                scopes or rights.EVERYTHING,
                rt.clock(),
                account_id=account_id,
                **values,
            )
        return Program(client, plain)

    return make


@pytest.fixture
def api(program: Make) -> Program:
    return program()


@pytest.fixture
def other(rt: Runtime, account: Account) -> Account:
    """Another brand."""
    with db.writing(rt.engine) as session:
        account_id = factories.make_account(session, "other", now=rt.clock())
    return Account(
        **{
            **{name: getattr(account, name) for name in account.__slots__},
            "id": account_id,
            "slug": "other",
        }
    )
