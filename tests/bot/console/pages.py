"""Reading and using the console's pages as a browser without JavaScript does."""

import re
from collections.abc import Callable
from html import unescape
from html.parser import HTMLParser
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


def form(html: str, form_id: str | None = None) -> MultiDict[str, str]:
    """What a browser would post of a form as it stands, buttons left out; of all of a page without an id."""
    parser = _Inputs(form_id)
    parser.feed(html)
    return parser.form


class _Inputs(HTMLParser):
    """Name and value of each control; what stands in a ``template`` is not on the page."""

    def __init__(self, form_id: str | None) -> None:
        super().__init__()
        self.form: MultiDict[str, str] = MultiDict()
        self._form_id = form_id
        self._inside = form_id is None
        self._templates = 0
        self._area: tuple[str, str] | None = None
        self._select = ""
        self._several = False
        self._chosen: list[str] = []
        self._first: str | None = None

    def handle_starttag(self, tag: str, found: list[tuple[str, str | None]]) -> None:
        given = dict(found)
        name, value = given.get("name") or "", given.get("value") or ""
        if tag == "form" and self._form_id is not None:
            self._inside = given.get("id") == self._form_id
        self._templates += tag == "template"
        if self._templates or not self._inside:
            return
        kind = given.get("type", "text")
        if tag == "input" and name and (kind not in ("checkbox", "radio") or "checked" in given):
            self.form.add(name, value or ("on" if kind == "checkbox" else ""))
        elif tag == "textarea" and name:
            self._area = (name, "")
        elif tag == "select":
            self._select, self._several = name, "multiple" in given
            self._chosen, self._first = [], None
        elif tag == "option" and self._select:
            self._first = value if self._first is None else self._first
            if "selected" in given:
                self._chosen.append(value)

    def handle_data(self, data: str) -> None:
        if self._area is not None:
            self._area = (self._area[0], self._area[1] + data)

    def handle_endtag(self, tag: str) -> None:
        if tag == "template":
            self._templates -= 1
        elif tag == "textarea" and self._area is not None:
            name, typed = self._area
            # a browser drops the first line end, and posts the others as CR LF
            self.form.add(name, typed.removeprefix("\n").replace("\n", "\r\n"))
            self._area = None
        elif tag == "select" and self._select:
            usual = [] if self._several or self._first is None else [self._first]
            for value in self._chosen or usual:
                self.form.add(self._select, value)
            self._select = ""
