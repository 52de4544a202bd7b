"""Who may open what: every page of the console, asked of its map, so that a new page without a right fails."""

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.routing import Rule

from bot import accounts, db
from bot.accounts import Account
from bot.console.access import RIGHT_OF
from bot.console.security import LARGEST_UPLOAD
from bot.rights import RIGHTS, ROLES, rights_of
from tests import factories
from tests.bot.console import pages
from tests.bot.console.everything import one_of_everything

pytestmark = (
    pytest.mark.sqlite
)  # what is asked is the frame; the pages' own tests ask both databases

Role = Callable[..., FlaskClient]


@pytest.fixture
def account(engine: sa.Engine, now: datetime) -> Account:
    """On a sandbox where nobody listens: a page that asks the platform must not leave the house."""
    with db.writing(engine) as session:
        factories.make_account(session, now=now, sandbox_url="http://127.0.0.1:9")
        return accounts.get(session, "muyan")


# doors and files: they name no right because nobody is logged in yet, or nothing is told
OPEN = {
    "console.static", "console.login", "console.login_code", "console.logout", "console.start",
}  # fmt: skip


def rules_of(app: Flask) -> Iterator[Rule]:
    """Every address of the console, the open ones left out."""
    for rule in app.url_map.iter_rules():
        if rule.endpoint.startswith("console.") and rule.endpoint not in OPEN:
            yield rule


def address(rule: Rule, slug: str, number: int = 1) -> str:
    """A rule's address with made-up parts."""
    values: dict[str, Any] = {}
    for name in rule.arguments:
        converter = rule._converters[name]  # what it takes is nowhere else
        if name == "slug":
            values[name] = slug
        elif hasattr(converter, "num_convert"):
            values[name] = number
        elif converter.regex.startswith("(?:"):  # any(): one of a few words
            values[name] = converter.regex.removeprefix("(?:").removesuffix(")").split("|")[0]
        else:
            values[name] = "x"
    found = rule.build(values)
    assert found is not None, rule
    return found[1]


def ask(client: FlaskClient, rule: Rule, path: str, mark: str) -> Iterator[tuple[str, int]]:
    """(method, status) of each way to call a rule."""
    methods = rule.methods or set()
    if "GET" in methods:
        yield "GET", client.get(path).status_code
    if "POST" in methods:
        yield "POST", client.post(path, data={"csrf_token": mark}).status_code


def test_every_page_names_a_right_that_exists(client: FlaskClient) -> None:
    nameless = [
        rule.endpoint for rule in rules_of(client.application) if rule.endpoint not in RIGHT_OF
    ]
    assert nameless == [], "declare it with page() or system_page()"
    unknown = {right for right in RIGHT_OF.values() if right is not None} - set(RIGHTS)
    assert unknown == set()


# nothing is changed by a page that takes no right: one's own settings, progress bars, where one lands
WITHOUT = {"account_start", "progress", "look", "me", "me_totp", "me_totp_off"}


def test_few_pages_take_no_right(client: FlaskClient) -> None:
    without = {
        rule.endpoint.removeprefix("console.")
        for rule in rules_of(client.application)
        if RIGHT_OF[rule.endpoint] is None
    }
    assert without <= WITHOUT, "a page that changes or shows something takes a right"


@pytest.mark.parametrize("role", [role for role in ROLES if role != "admin"])
def test_a_role_opens_what_its_rights_say_and_nothing_else(
    as_role: Role, account: Account, role: str
) -> None:
    client = as_role(role, scenes=["store_*"] if role == "channel" else None)
    mark = pages.mark(client)
    wrong = []
    for rule in rules_of(client.application):
        right = RIGHT_OF[rule.endpoint]
        if right is None or right in rights_of(role):
            # who may open nearly everything is the administrator's test
            if "GET" in (rule.methods or set()) and len(rights_of(role)) < 8:
                status = client.get(address(rule, account.slug, 999_999)).status_code
                wrong += [(rule.rule, "GET", status)] if status == 403 else []
            continue
        wrong += [
            (rule.rule, method, status)
            for method, status in ask(client, rule, address(rule, account.slug), mark)
            if status != 403
        ]
    assert wrong == []


def test_an_administrator_is_forbidden_nothing_and_no_page_breaks(
    as_role: Role, account: Account
) -> None:
    client = as_role("admin")
    wrong = []
    for rule in rules_of(client.application):
        if "GET" not in (rule.methods or set()):
            continue
        status = client.get(address(rule, account.slug, 999_999)).status_code
        if status == 403 or status in (500, 501, 503):  # 502: nobody listens where the platform is
            wrong.append((rule.rule, status))
    assert wrong == []


def test_no_page_breaks_where_there_is_one_of_everything(
    as_role: Role, engine: sa.Engine, account: Account, now: datetime
) -> None:
    with db.writing(engine) as session:
        one_of_everything(session, account.id, now)
    client = as_role("admin")
    wrong = []
    for rule in rules_of(client.application):
        if "GET" in (rule.methods or set()):
            status = client.get(address(rule, account.slug, 1)).status_code
            # what takes the id of something else than the first row of its table is not there
            wrong += [(rule.rule, status)] if status in (403, 500, 501, 503) else []
    assert wrong == []


@pytest.mark.parametrize("role", ["operator", "channel"])
def test_brand_a_sees_nothing_of_brand_b(
    as_role: Role, engine: sa.Engine, account: Account, now: datetime, role: str
) -> None:
    with db.writing(engine) as session:
        factories.make_account(session, "shop", now=now)
    client = as_role(role, scenes=["*"] if role == "channel" else None, accounts=["muyan"])
    mark = pages.mark(client)
    wrong = [
        (rule.rule, method, status)
        for rule in rules_of(client.application)
        if "slug" in rule.arguments
        for method, status in ask(client, rule, address(rule, "shop"), mark)
        if status != 404
    ]
    assert wrong == []
    assert "shop" not in client.get("/console/", follow_redirects=True).get_data(as_text=True)


def test_the_ids_of_another_account_are_missing_here(
    as_role: Role, engine: sa.Engine, account: Account, now: datetime
) -> None:
    with db.writing(engine) as session:
        other = factories.make_account(session, "shop", now=now)
        one_of_everything(session, other, now)
    client = as_role("lead", accounts=["muyan"])
    mark = pages.mark(client)
    wrong = [
        (rule.rule, method, status)
        for rule in rules_of(client.application)
        if "slug" in rule.arguments and len(rule.arguments) > 1
        for method, status in ask(client, rule, address(rule, "muyan"), mark)
        if status != 404
    ]
    assert [one for one in wrong if one[0] not in HARMLESS] == []


def test_no_form_is_taken_without_its_mark(as_role: Role, account: Account) -> None:
    client = as_role("admin")
    wrong = []
    for rule in rules_of(client.application):
        if "POST" in (rule.methods or set()):
            status = client.post(address(rule, account.slug)).status_code
            wrong += [(rule.rule, status)] if status != 400 else []
    assert wrong == []


def test_what_is_larger_than_anything_we_take_is_refused_before_it_is_read(
    as_role: Role, account: Account
) -> None:
    client = as_role("admin")
    answer = client.post(
        "/console/muyan/messages/1/send",
        environ_overrides={"CONTENT_LENGTH": str(LARGEST_UPLOAD + 1)},
        content_type="multipart/form-data; boundary=x",
    )
    assert answer.status_code == 413
    assert "24 MB" in answer.get_data(as_text=True)


# pages whose answer to a strange id is not 404, and why that tells and changes nothing
HARMLESS = {
    "/console/<slug>/settings/<any(stop,go):action>": "the word is no id",
    "/console/<slug>/followers/<int:follower_id>/tags": "without a tag it asks for one first",
    "/console/<slug>/scenes/making/<int:job_id>": "a bar that asks for the job and is told 404",
    "/console/<slug>/tags/<int:tag_id>/restore": "says that there is no such tag",
}
