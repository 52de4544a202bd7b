"""Whoever may not see whole OpenIDs finds none: every page, file and API list of an account where much happened."""

import io
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from flask.testing import FlaskClient
from werkzeug.routing import Rule

from bot import db, operators, tokens, webhooks
from bot.api.frame import ENDPOINTS, PREFIX
from bot.rights import RIGHTS, ROLES
from bot.tables.followers import followers
from bot.tables.operators import audit, operator_scopes
from bot.tables.operators import operators as table
from tests import factories
from tests.bot.console import pages
from tests.bot.console.everything import reach
from tests.bot.console.test_roles import address, rules_of
from tests.scenarios.world import World

pytestmark = [
    pytest.mark.sqlite,
    pytest.mark.slow,  # opens every page and every file, as each role
]

WHOLE = re.compile(rb"o_test_\d{21}")
SAID = re.compile("我要券|没有人回答的话".encode())
ONE = factories.open_id(1)
BLIND = [role for role, what in ROLES.items() if "followers.open_id" not in what.rights]


@pytest.fixture
def world(
    engine: sa.Engine, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[World]:
    """Followers wrote, scanned and left; tags, sends, a webhook and a dry run came of it."""
    monkeypatch.chdir(tmp_path)
    made = World(engine, database_url, tmp_path)
    made.connect()
    coupon = {
        "name": "券",
        "when": [{"text_contains": {"any": ["券"]}}],
        "then": [{"reply": {"text": "给你"}}, {"add_tag": {"tags": ["想要券"]}}],
    }
    made.apply(
        tags=[{"name": "想要券", "family": "营销互动"}],
        scenes=[{"key": "store_01", "name": "人民广场店"}],
        rules=[coupon],
    )
    with db.writing(engine) as session:
        webhooks.create(
            session, made.account_id(), "https://shop.example.com/", ["*"], made.clock(),
            by="cli", secret_key=made.rt.secret_key, open_id=True,
        )  # fmt: skip
    for number in (1, 2, 3):
        made.follow(number, "store_01")
        made.say(number, "我要券")
        made.say(number, "没有人回答的话")
    made.leave(3)
    made.pass_time()
    with db.writing(engine) as session:
        who = session.execute(sa.select(followers.c.id).order_by(followers.c.id)).scalars().all()
        reach(session, made.account_id(), list(who), made.clock(), tag="想要券")
    yield made
    made.rt.writer.close()


def browser_of(world: World, role: str) -> FlaskClient:
    with db.writing(world.rt.engine) as session:
        password = operators.add(session, role, role, world.clock())
        if role == "channel":
            who = session.execute(sa.select(table.c.id).where(table.c.name == role)).scalar_one()
            session.execute(
                sa.insert(operator_scopes).values(
                    operator_id=who, account_id=world.account_id(), scenes=["*"]
                )
            )
    client = world.product.test_client()
    assert pages.log_in(client, role, password).status_code == 302
    return client


def unpacked(data: bytes) -> bytes:
    """A file, and all that is packed in it."""
    if not data.startswith(b"PK"):
        return data
    with zipfile.ZipFile(io.BytesIO(data)) as packed:
        return b"".join(unpacked(packed.read(name)) for name in packed.namelist())


def answers(client: FlaskClient, rule: Rule) -> Iterator[tuple[str, bytes]]:
    """(address, all it holds) of a page, of its files and of what is searched in it."""
    page = address(rule, "muyan", 1).replace("/code/x", "/code/store_01")
    asked = [page]
    if not rule.arguments - {"slug"}:
        file = client.get(f"{page}?format=csv")
        # a page that gives no files shows itself
        shown = file.status_code == 200 and file.mimetype == "text/html"
        yield page if shown else f"{page}?format=csv", unpacked(file.data)
        asked = [f"{page}?q=test", *([] if shown else [page, f"{page}?format=xlsx"])]
    for path in asked:
        yield path, unpacked(client.get(path).data)


def test_no_page_or_file_shows_a_whole_open_id(world: World) -> None:
    lead = browser_of(world, "lead")
    assert WHOLE.search(lead.get("/console/muyan/followers/1").data), "there is something to hide"
    found = lead.get("/console/muyan/followers", query_string={"q": ONE, "format": "csv"})
    assert ONE in found.get_data(as_text=True)
    pages.post(lead, "/console/muyan/rules/trials", {"last": "1000"})
    world.work()
    told = str(world.rows(sa.select(audit)))
    assert "rules.dry_run" in told
    assert WHOLE.search(told.encode()) is None
    wrong = [each for role in BLIND for each in _shown_to(browser_of(world, role))]
    assert wrong == []


def _shown_to(client: FlaskClient) -> Iterator[tuple[str, bytes]]:
    """Where whole OpenIDs are shown."""
    yield from _walked(client, WHOLE)
    mark = pages.mark(client)
    for path in ("followers/1/export", "rules/test"):
        given = {"csrf_token": mark, "test:kind": "text", "test:text": "券", "test:follower": "1"}
        answer = client.post(f"/console/muyan/{path}", data=given)
        if found := WHOLE.search(unpacked(answer.data)):
            yield path, found[0]


def _walked(client: FlaskClient, pattern: re.Pattern[bytes]) -> Iterator[tuple[str, bytes]]:
    """(address, what was found) of every page and file."""
    for rule in rules_of(client.application):
        for path, held in answers(client, rule) if "GET" in (rule.methods or ()) else ():
            if found := pattern.search(held):
                yield path, found[0]


def _told(world: World, without: str, pattern: re.Pattern[bytes]) -> Iterator[tuple[str, bytes]]:
    """The same of every list and thing of the API, asked by a token that has every scope but one."""
    with db.writing(world.rt.engine) as session:
        plain, _ = tokens.create(
            session, tokens.SERVER, "shop", set(RIGHTS) - {without}, world.clock()
        )
    answered = 0
    for endpoint in ENDPOINTS:
        if endpoint.method != "GET":
            continue
        path = PREFIX + endpoint.path.replace("<slug>", "muyan").replace("<key>", "store_01")
        path = re.sub(r"<\w+>", "1", path)
        answer = world.client.get(path, headers={"Authorization": f"Bearer {plain}"})
        answered += answer.status_code == 200
        if found := pattern.search(unpacked(answer.data)):
            yield path, found[0]
    assert answered > 15


def test_what_was_said_is_for_who_may_read_conversations(world: World) -> None:
    lead = browser_of(world, "lead")
    pages.post(lead, "/console/muyan/unmatched/draft", {"words": ["没有人"]})
    pages.post(lead, "/console/muyan/rules/1/switch", {"on": "0"})
    pages.post(lead, "/console/muyan/rules/trials", {"last": "1000"})
    world.work()
    heard = {path for path, _said in _walked(lead, SAID)}
    assert {f"/console/muyan/{path}" for path in ("", "followers/1", "messages/1")} <= heard
    deaf = [role for role in BLIND if "messages.read" not in ROLES[role].rights]
    assert {"viewer", "developer"} <= set(deaf)
    wrong = [(role, each) for role in deaf for each in _walked(browser_of(world, role), SAID)]
    assert wrong == []
    told = [path for path, _said in _told(world, "messages.read", SAID)]
    everything = f"{PREFIX}/accounts/muyan/followers/1/export"  # for the person it is about
    assert told == [everything]


def test_no_answer_of_the_api_tells_a_whole_open_id(world: World) -> None:
    assert [path for path, _id in _told(world, "followers.open_id", WHOLE)] == []
    seen = [path for path, _id in _told(world, "tags.write", WHOLE)]
    assert f"{PREFIX}/accounts/muyan/followers" in seen, "there is something to hide"
