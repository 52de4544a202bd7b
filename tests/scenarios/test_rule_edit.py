"""An operator edits a reply in the console: tested, published, in force at the next push of every worker, and back."""

import re
from typing import Any

import pytest
import sqlalchemy as sa
from flask.testing import FlaskClient

from bot.app import create_app
from bot.tables.inbox import inbound
from tests import pushes
from tests.bot.console import pages
from tests.scenarios.world import World

RULES = "/console/muyan/rules"
OLD = {
    "name": "门店",
    "when": [{"text_is": {"any": ["门店"]}}],
    "then": [{"reply": {"text": "一家店"}}],
}


@pytest.fixture
def console(world: World) -> FlaskClient:
    """The lead's browser on an account with one rule."""
    world.connect()
    world.apply(rules=[OLD])
    world.crowd(1)
    world.home()
    return world.client


class Worker:
    """A second process on the same database, up all the time."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.rt = world.runtime(world.rt.engine, world.rt.config.database_url)
        self.client = create_app(self.rt.config, self.rt).test_client()
        self.heard = 0

    def hear(self, text: str) -> Any:
        """What a follower's text is answered here."""
        self.heard += 1
        now = self.world.clock()
        body = pushes.text(text, number=9000 + self.heard, at=now)
        assert pushes.post(self.client, body, at=now).status_code == 200
        (row,) = self.world.rows(sa.select(inbound.c.reply).order_by(inbound.c.id.desc()).limit(1))
        return row.reply

    def stop(self) -> None:
        self.rt.writer.close()


def opened(console: FlaskClient, path: str, form: str | None = "editor") -> dict[str, str]:
    answer = console.get(path)
    assert answer.status_code == 200
    return pages.form(answer.get_data(as_text=True), form)


def send(console: FlaskClient, path: str, data: dict[str, str]) -> str:
    answer = pages.post(console, path, data, form=RULES)
    page: str = answer.get_data(as_text=True)
    assert answer.status_code in (200, 303), page
    return page


def seen(console: FlaskClient) -> dict[str, str]:
    return {"seen": opened(console, f"{RULES}/publish", None)["seen"], "note": "十家店"}


def test_from_the_first_key_stroke_to_the_roll_back(world: World, console: FlaskClient) -> None:
    assert world.say(1, "门店") == "一家店"
    listed = console.get(RULES).get_data(as_text=True)
    found = re.search(rf'href="({RULES}/\d+)"', listed)
    assert found
    # edited: a draft changes nothing for followers
    form = opened(console, found[1])
    form["when.0.text_is.any"] = "门店\r\n地址"
    form["then.0.reply.text"] = "{昵称|你好}，十家店"
    tried = {**form, "test:kind": "text", "test:text": "地址", "test:against": "form"}
    assert "你好，十家店" in send(console, f"{RULES}/test", tried)
    send(console, found[1], form)
    assert world.say(1, "门店") == "一家店"
    other = Worker(world)
    assert other.hear("门店") == {"text": "一家店"}
    # published: in force at the next push, here and in the other worker
    send(console, f"{RULES}/publish", seen(console))
    assert world.say(1, "门店") == "你好，十家店"
    assert other.hear("地址") == {"text": "你好，十家店"}
    other.stop()
    # hits are counted for the list
    world.pass_time(2)
    row = pages.text(console.get(RULES))
    assert re.search(r"门店 文字等于 .* 启用 5 5 ", row), row
    # rolled back, drafts too
    current = opened(console, "/console/muyan/rulebooks/1/roll-back", None)
    send(console, "/console/muyan/rulebooks/1/roll-back", current)
    assert world.say(1, "门店") == "一家店"
    assert world.say(1, "地址") == ""
    assert opened(console, found[1])["then.0.reply.text"] == "一家店"
    notes = pages.text(console.get("/console/muyan/rulebooks"))
    assert "十家店" in notes and "回滚到第 1 版" in notes
    for path in (
        f"{RULES}?q=门店&state=on&sort=-week&format=csv",
        f"{RULES}/publish/findings",
        f"{RULES}/fallback",
        f"{RULES}/test/followers?q=o_test",
        "/console/muyan/rulebooks?q=十家店",
        "/console/muyan/rulebooks/diff/1/2",
    ):
        assert console.get(path).status_code == 200, path
    (rule_id,) = re.findall(r'<tr id="rule-(\d+)"', console.get(RULES).get_data(as_text=True))
    for data in (
        {"action": "group", "group": "常用", "everything": "1"},
        {"action": "off", "ids": rule_id},
    ):
        send(console, f"{RULES}/bulk", data)
    send(console, f"{RULES}/delete", {"ids": rule_id})
    assert "还没有规则" in pages.text(console.get(RULES))


def test_a_file_that_is_applied_meanwhile_is_seen_by_the_editor(
    world: World, console: FlaskClient
) -> None:
    listed = console.get(RULES).get_data(as_text=True)
    found = re.search(rf'href="({RULES}/\d+)"', listed)
    assert found
    form = opened(console, found[1])
    world.apply(rules=[{**OLD, "then": [{"reply": {"text": "两家店"}}]}])
    form["then.0.reply.text"] = "三家店"
    answer = pages.post(console, found[1], form, form=RULES)
    page = answer.get_data(as_text=True)
    assert answer.status_code == 409 and "两家店" in page and "三家店" in page
    assert world.say(1, "门店") == "两家店"
