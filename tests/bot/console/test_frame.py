"""The frame every page stands in: lists and their files, static files, navigation by role, bars of background jobs."""

import csv
import io
from collections.abc import Callable
from datetime import datetime

import openpyxl
import pytest
import sqlalchemy as sa
from flask import request
from flask.testing import FlaskClient
from hypothesis import given
from hypothesis import strategies as st
from werkzeug.datastructures import MultiDict
from werkzeug.test import TestResponse

from bot import accounts, db, jobs
from bot.accounts import Account
from bot.console import lists
from bot.console.lists import Column, Filter, Listing, asked
from bot.errors import Invalid
from bot.runtime import Runtime
from tests import factories
from tests.bot.console import pages

COLUMNS = (
    Column("name", "名称", sort=True),
    Column("people", "人数", sort=True, number=True),
    Column("note", "备注", shown=False),
)
FILTERS = (Filter("state", "状态", [("on", "启用"), ("off", "停用")]), Filter("word", "词"))


def ask(**words: str) -> lists.Asked:
    return asked(MultiDict(words), COLUMNS, FILTERS, sort="-people")


@pytest.mark.parametrize(
    ("words", "sort", "down"),
    [
        ({}, "people", True),
        ({"sort": "name"}, "name", False),
        ({"sort": "-name"}, "name", True),
        ({"sort": "note"}, "people", True),  # not a column one can sort by
        ({"sort": "id; drop table"}, "people", True),
    ],
)
def test_only_declared_columns_sort(words: dict[str, str], sort: str, down: bool) -> None:
    assert (ask(**words).sort, ask(**words).down) == (sort, down)


def test_what_the_address_does_not_say_is_as_declared() -> None:
    found = ask()
    assert found.columns == ("name", "people")
    assert (found.has("state"), found.has("word"), found.page, found.q) == ("", "", 1, "")


def test_a_value_no_filter_offers_is_ignored() -> None:
    assert ask(state="maybe", word="x" * 500).has("state") == ""
    assert len(ask(word="x" * 500).has("word")) == lists.LONGEST_SEARCH


@pytest.mark.parametrize("words", [{"q": "x" * 101}, {"page": "0"}, {"page": "x"}, {"page": "²"}])
def test_what_cannot_be_a_list_is_refused(words: dict[str, str]) -> None:
    with pytest.raises(Invalid):
        ask(**words)


def test_the_address_keeps_filters_and_forgets_the_page(rt: Runtime, client: FlaskClient) -> None:
    app = client.application
    with app.test_request_context("/x?q=券&columns=name&columns=note&page=4"):
        listing = Listing(asked(request.args, COLUMNS, FILTERS), COLUMNS, FILTERS, [], 0, more=5)
        assert listing.url(sort="name") == "/x?q=%E5%88%B8&columns=name&columns=note&sort=name"
        assert listing.next_url is not None
        assert listing.next_url.endswith("page=5")
        assert [column.name for column in listing.shown] == ["name", "note"]


@given(st.text(max_size=60))
def test_no_text_reaches_a_spreadsheet_as_a_formula(text: str) -> None:
    shown = str(lists.cell(text))
    assert (
        not shown.startswith(("=", "+", "-", "@", "\t", "\r"))
        or shown.lstrip("+-").replace(".", "", 1).isdigit()
    )
    assert "\x00" not in shown


HOSTILE = ['=HYPERLINK("http://evil.example")', "+1+1", "-2+3", "@SUM(A1)", "\t=1", "-5", '<b>,\n"']


def test_a_csv_reads_back_with_formulas_made_harmless(client: FlaskClient) -> None:
    with client.application.test_request_context("/"):
        answer = lists.csv_file("粉丝\r\nX: 1", ["名称"], [[text] for text in HOSTILE])
        rows = list(csv.reader(io.StringIO(answer.get_data(as_text=True).removeprefix("\ufeff"))))
    assert [row[0] for row in rows[1:]] == [
        "'" + text if text != "-5" and text[0] in "=+-@\t" else text for text in HOSTILE
    ]
    assert "\n" not in answer.headers["Content-Disposition"]
    assert answer.headers["Content-Disposition"].startswith("attachment;")


def test_an_excel_file_holds_texts_only(client: FlaskClient) -> None:
    with client.application.test_request_context("/"):
        data = lists.xlsx_file("x", ["名称"], [[text] for text in HOSTILE[:4]]).get_data()
    sheet = openpyxl.load_workbook(io.BytesIO(data)).active
    assert sheet is not None
    assert {cell.data_type for row in sheet.iter_rows() for cell in row} == {"s"}


def test_static_files_come_compressed_to_whoever_takes_it(client: FlaskClient) -> None:
    address = "/console/static/vendor/htmx.js"
    with (
        client.get(address) as plain,
        client.get(address, headers={"Accept-Encoding": "gzip, deflate"}) as packed,
    ):
        _same_script(plain, packed)


def _same_script(plain: TestResponse, packed: TestResponse) -> None:
    assert packed.headers["Content-Encoding"] == "gzip"
    assert packed.mimetype == plain.mimetype == "text/javascript"
    assert len(packed.data) < len(plain.data) / 2
    assert "max-age=31536000" in packed.headers["Cache-Control"]


@pytest.mark.parametrize(
    "path", ["../security.py", "..%2fsecurity.py", "vendor/../../lists.py", "none.js"]
)
def test_nothing_but_static_files_is_served(client: FlaskClient, path: str) -> None:
    assert client.get(f"/console/static/{path}").status_code == 404


def test_the_third_party_files_carry_their_licences(client: FlaskClient) -> None:
    with client.get("/console/static/vendor/LICENCES.txt") as answer:
        text = answer.get_data(as_text=True)
    for package in (
        "@tabler/core",
        "htmx.org",
        "@alpinejs/csp",
        "tom-select",
        "sortablejs",
        "echarts",
    ):
        assert f"== {package} " in text


def test_language_and_theme_are_remembered(browser: FlaskClient, account: Account) -> None:
    answer = pages.post(
        browser, "/console/system/look", {"lang": "en", "theme": "dark", "back": "/console/muyan/"}
    )
    assert (answer.status_code, answer.location) == (303, "/console/muyan/")
    page = browser.get("/console/muyan/").get_data(as_text=True)
    assert '<html lang="en"' in page
    assert 'data-bs-theme="dark"' in page


def test_a_look_nobody_offers_changes_nothing(browser: FlaskClient, account: Account) -> None:
    answer = pages.post(
        browser, "/console/system/look", {"lang": "xx", "theme": "x", "back": "//evil.example"}
    )
    assert answer.location == "/console/"
    assert not [
        one for one in answer.headers.getlist("Set-Cookie") if one.startswith(("lang", "theme"))
    ]


def test_a_jobs_bar_is_the_accounts_own(
    browser: FlaskClient, rt: Runtime, account: Account, now: datetime
) -> None:
    with db.writing(rt.engine) as session:
        other = factories.make_account(session, "other", now=now)
        mine = jobs.enqueue(session, "tidy", {}, now=now, account_id=account.id)
        theirs = jobs.enqueue(session, "tidy", {}, now=now, account_id=other)
        assert mine is not None
        jobs.progress(session, mine, 3, 10)
    shown = browser.get(f"/console/muyan/progress/{mine}", headers={"HX-Request": "true"})
    assert 'value="3" max="10"' in shown.get_data(as_text=True)
    assert "every 1s" in shown.get_data(as_text=True)
    assert browser.get(f"/console/muyan/progress/{theirs}").status_code == 404
    assert browser.get(f"/console/other/progress/{theirs}").status_code == 200


def test_a_finished_job_leads_to_what_it_made_and_never_outside(
    browser: FlaskClient, rt: Runtime, account: Account, now: datetime
) -> None:
    with db.writing(rt.engine) as session:
        job = jobs.enqueue(session, "tidy", {}, now=now, account_id=account.id)
        session.execute(sa.text("UPDATE jobs SET state = 'done'"))
    here = f"/console/muyan/progress/{job}"
    asked_by = {"HX-Request": "true"}
    inside = browser.get(f"{here}?then=/console/muyan/", headers=asked_by)
    assert inside.headers["HX-Redirect"] == "/console/muyan/"
    outside = browser.get(f"{here}?then=https://evil.example", headers=asked_by)
    assert "HX-Redirect" not in outside.headers
    assert "evil" not in outside.get_data(as_text=True)


def test_a_role_sees_its_pages_only(
    as_role: Callable[..., FlaskClient], engine: sa.Engine, account: Account, now: datetime
) -> None:
    viewer = as_role("viewer")
    assert viewer.get("/console/muyan/").status_code == 200
    channel = as_role("channel", scenes=["store_01"])
    assert channel.get("/console/muyan/").status_code == 403
    with db.writing(engine) as session:
        factories.make_account(session, "other", now=now)
    limited = as_role("operator", accounts=["muyan"])
    assert limited.get("/console/muyan/").status_code == 200
    assert limited.get("/console/other/").status_code == 404
    assert "other" not in limited.get("/console/muyan/").get_data(as_text=True)
    with db.reading(engine) as session:
        assert accounts.get(session, "other").slug == "other"


@pytest.mark.parametrize(
    ("came", "back"),
    [
        ("http://localhost/console/muyan/tags?q=券", "/console/muyan/tags?q=券"),
        ("http://elsewhere.example/console/muyan/tags", "/console/"),
        ("http://localhost/console/muyan/nothing", "/console/"),
    ],
)
def test_a_problem_leads_back_to_where_one_came_from_and_never_outside(
    browser: FlaskClient, account: Account, came: str, back: str
) -> None:
    page = browser.get("/console/muyan/nothing", headers={"Referer": came}).get_data(as_text=True)
    assert f'href="{back}">返回' in page


def test_a_fragment_that_is_refused_says_so_in_a_note(
    browser: FlaskClient, account: Account
) -> None:
    answer = browser.get("/console/muyan/nothing", headers={"HX-Request": "true"})
    assert answer.status_code == 404
    assert answer.headers["HX-Retarget"] == "#notes"
    assert "<html" not in answer.get_data(as_text=True)


def test_a_fragment_after_the_session_ended_leaves_the_page_and_what_was_typed(
    client: FlaskClient, account: Account
) -> None:
    answer = client.get("/console/muyan/", headers={"HX-Request": "true"})
    assert answer.status_code == 401
    assert answer.headers["HX-Retarget"] == "#notes"
    assert "登录已经结束" in answer.get_data(as_text=True)
