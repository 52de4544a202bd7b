"""What no browser sends: junk in every field of every page, taken from the map, the templates and the views."""

import io
import re
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from flask.testing import FlaskClient
from openpyxl import Workbook

from bot import db
from bot.accounts import Account
from bot.console import blueprint, security
from bot.tables.accounts import accounts
from tests.bot.console import pages
from tests.bot.console.everything import one_of_everything
from tests.bot.console.test_roles import (
    account,  # noqa: F401 - a fixture: on a sandbox where nobody listens
    address,
    rules_of,
)

pytestmark = pytest.mark.sqlite  # a NUL is refused before a database is asked

Role = Callable[..., FlaskClient]
_NAMED = re.compile(
    r"""name="([a-z_0-9]+)"|(?:form|values|args)\.get(?:list)?\("([a-z_0-9]+)"|field\.\w+\('([a-z_0-9]+)'"""
)


@pytest.fixture
def names() -> list[str]:
    """Every name that a template or a view gives a field."""
    folder = Path(blueprint.__file__).parent
    found: set[str] = set()
    for path in [*folder.glob("templates/**/*.html"), *folder.glob("*.py")]:
        for groups in _NAMED.findall(path.read_text("utf-8")):
            found.update(filter(None, groups))
    assert {"ids", "query", "version", "mode", "kinds"} <= found
    return sorted(found - {"csrf_token"})


@pytest.mark.slow  # opens every page and fills in every form
@pytest.mark.parametrize(
    "junk",
    # one digit more than Python takes
    ["9" * 4301, "99999999999999999999", "²", "9999-12-31", "-1\r\nX-Made-Up: [[[[{a: &a [*a]}\u202e"],
    ids=["digits", "beyond 64 bits", "no ascii digit", "the last day", "no number"],
)  # fmt: skip
def test_no_field_of_any_page_breaks_it(
    as_role: Role,
    engine: sa.Engine,
    account: Account,  # noqa: F811
    names: list[str],
    now: datetime,
    monkeypatch: pytest.MonkeyPatch,
    junk: str,
) -> None:
    with db.writing(engine) as session:
        one_of_everything(session, account.id, now)
    client = as_role("admin")
    monkeypatch.setattr(security.csrf, "protect", lambda: None)  # the mark has its own test
    client.application.testing = False
    sent: dict[str, Any] = dict.fromkeys(names, junk)
    wrong = []
    for rule in rules_of(client.application):
        path, methods = address(rule, account.slug), rule.methods or set()
        # with a known action a bulk form reaches its other fields
        bulk = [sent | {"action": word} for word in ("close", "delete", "group", "tag")]
        tried = [("GET", sent)] if "GET" in methods else []
        for form in [sent, *(bulk if "bulk" in path else [])] if "POST" in methods else []:
            tried.append(("POST", form))
        for method, given in tried:
            where = {"query_string": given} if method == "GET" else {"data": given}
            status = client.open(path, method=method, **where).status_code
            if status >= 500 and status != 502:  # 502: nobody listens where the platform is
                wrong.append((method, rule.rule, status))
    assert wrong == []


def test_a_nul_is_refused_wherever_it_stands(client: FlaskClient) -> None:
    mark = pages.mark(client)
    for given in ({"name": "a\x00"}, {"na\x00me": "a"}):
        answer = client.post("/console/login", data={"csrf_token": mark, **given})
        assert answer.status_code == 422
        assert "含有不能保存的字符" in answer.get_data(as_text=True)
    assert client.get("/console/login?next=%00").status_code == 422
    assert client.get("/console/mu%00yan/rules").status_code == 422
    assert client.get("/console/static/a%00.js").status_code == 422


def test_an_id_beyond_every_database_is_missing(as_role: Role, account: Account) -> None:  # noqa: F811
    for path in (f"followers/{2**63}", f"rules/{10**30}", f"work/{2**64}"):
        assert as_role("admin").get(f"/console/muyan/{path}").status_code == 404


def test_a_form_without_its_fields_changes_nothing(
    as_role: Role,
    engine: sa.Engine,
    account: Account,  # noqa: F811
) -> None:
    browser = as_role("admin")
    answer = pages.post(browser, "/console/muyan/settings", {"name": "新名称"})
    assert answer.status_code == 422
    made = {"slug": "new", "name": "新", "app_id": "wx0000000000000001", "app_secret": "0" * 32}
    assert pages.post(browser, "/console/system/accounts/new", made).status_code == 422
    for given in ("0000319999", "9" * 5000, "²"):
        opening = pages.post(browser, "/console/muyan/setup/opening", {"sent_to_all": given})
        assert opening.status_code == 422
    with db.reading(engine) as session:
        assert session.execute(sa.select(accounts.c.name)).scalars().all() == [account.name]


def test_a_long_pasted_list_is_no_upload_that_is_too_large(
    as_role: Role,
    account: Account,  # noqa: F811
) -> None:
    given = {"list": "名称\n" + "店" * 250_000, "step": "check"}
    answer = pages.post(as_role("admin"), "/console/muyan/scenes/batch", given)
    assert answer.status_code == 422


@pytest.mark.parametrize("at", ["0001-01-01 00:00", "9999-12-31T23:59-12:00", "tomorrow", ""])
def test_a_menu_is_not_scheduled_at_the_end_of_the_calendar(
    as_role: Role,
    account: Account,  # noqa: F811
    at: str,
) -> None:
    given = {"when": "later", "publish_at": at, "version": "0"}
    answer = pages.post(as_role("admin"), "/console/muyan/menus/publish", given)
    assert answer.status_code in (409, 422)


def damaged() -> Iterator[bytes]:
    """Tables that Excel would not open either: encrypted, packed in an unknown way, with a hole, cut off."""
    book, out = Workbook(), io.BytesIO()
    book.active.append(["OpenID", "名称"])  # type: ignore[union-attr]
    book.save(out)
    good = out.getvalue()
    for place, value in ((6, 1), (8, 99), (4, 200)):
        data = bytearray(good)
        for mark, shift in ((b"PK\x03\x04", 0), (b"PK\x01\x02", 2)):
            for found in re.finditer(re.escape(mark), good):
                data[found.start() + place + shift] = value
        yield bytes(data)
    hole = bytearray(good)
    hole[60:200] = bytes(140)
    yield bytes(hole)
    yield good[: len(good) // 2]


def test_a_damaged_table_is_told_beside_its_field(as_role: Role, account: Account) -> None:  # noqa: F811
    browser = as_role("admin")
    for path in ("followers/import", "scenes/batch"):
        mark = pages.mark(browser, f"/console/muyan/{path}")
        for data in damaged():
            file = (io.BytesIO(data), "a.xlsx")
            given = {"csrf_token": mark, "file": file, "step": "check"}
            answer = browser.post(f"/console/muyan/{path}", data=given)
            assert answer.status_code == 422
            assert "invalid-feedback" in answer.get_data(as_text=True)
