"""Reading and using the console's pages as a browser without JavaScript does."""

import re
from collections.abc import Callable
from html import unescape
from typing import Any

from flask.testing import FlaskClient
from werkzeug.datastructures import MultiDict
from werkzeug.test import TestResponse

Page = Callable[[], str]


def mark(client: FlaskClient, path: str = "/console/login") -> str:
    """The cross-site mark of the form on a page."""
    found = re.search(r'name="csrf_token" value="([^"]+)"', client.get(path).get_data(as_text=True))
    assert found, f"no form on {path}"
    return found[1]


def log_in(
    client: FlaskClient, name: str, password: str, *, then: str | None = None
) -> TestResponse:
    return client.post(
        "/console/login",
        query_string={"next": then} if then else None,
        data={"name": name, "password": password, "csrf_token": mark(client)},
    )


def post(
    client: FlaskClient, path: str, data: Any = None, *, form: str | None = None, **options: Any
) -> TestResponse:
    """Send a form. The mark is taken from the page ``form``, the login page has one otherwise."""
    sent = MultiDict(data or {})
    sent["csrf_token"] = mark(client, form or "/console/login")
    return client.post(path, data=sent, **options)


def text(response: TestResponse) -> str:
    """What a reader sees: tags gone, entities resolved, white space in one."""
    assert response.status_code == 200, response.get_data(as_text=True)
    plain = re.sub(r"<[^>]+>", " ", response.get_data(as_text=True))
    return re.sub(r"\s+", " ", unescape(plain))
