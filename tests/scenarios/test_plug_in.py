"""A condition and an action of an installed package appear wherever rules are written, without another line changed."""

import importlib
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bot import registry
from rules import engine, mentions
from tests import test_docs
from tests.bot.console import pages
from tests.scenarios.world import World

CONDITION = '''
"""The last figure of the text is one of these."""
from typing import Annotated, Literal
from pydantic import Field
from bot.params import Params as Declared, TagName

NAME = "lucky_number"
LABEL = {"zh": "幸运数字", "en": "Lucky number"}

class Params(Declared):
    figures: Annotated[list[int], Field(title="幸运的数字", min_length=1)]
    mood: Annotated[Literal["good", "bad"], Field(title="心情")] = "good"
    unless: TagName | None = None

def matches(params, facts):
    last = facts.text[-1:]
    return {"1": last} if last.isdigit() and int(last) in params.figures else None
'''
ACTION = '''
"""Answer with a greeting, so many times."""
from typing import Annotated
from pydantic import Field
from bot.params import Params as Declared
from rules.effects import Reply

NAME = "wave"
LABEL = {"zh": "挥手", "en": "Wave"}

class Params(Declared):
    times: Annotated[int, Field(title="挥几次", ge=1, le=9)]

def plan(params, facts, captures):
    return [Reply({"text": "嗨" * params.times})]
'''
RULE = {
    "name": "幸运",
    "when": [{"lucky_number": {"figures": [7, 8]}}],
    "then": [{"wave": {"times": 3}}],
}


@pytest.fixture
def plug_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What ``pip install`` of a package with two entry points leaves behind."""
    site = tmp_path / "site"
    (site / "luckpack").mkdir(parents=True)
    (site / "luckpack" / "__init__.py").write_text("", encoding="utf-8")
    (site / "luckpack" / "lucky_number.py").write_text(CONDITION, encoding="utf-8")
    (site / "luckpack" / "wave.py").write_text(ACTION, encoding="utf-8")
    info = site / "luckpack-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: luckpack\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[qunfen.conditions]\nlucky_number = luckpack.lucky_number\n"
        "[qunfen.actions]\nwave = luckpack.wave\n"
    )
    # the one way a package becomes importable without installing it for every test
    monkeypatch.syspath_prepend(str(site))
    _forget()
    yield
    monkeypatch.undo()
    for name in [name for name in sys.modules if name.partition(".")[0] == "luckpack"]:
        del sys.modules[name]
    _forget()


def _forget() -> None:
    """What a process remembers of the installed members: a new one remembers nothing."""
    importlib.invalidate_caches()
    registry.members.cache_clear()
    engine._calls.cache_clear()
    mentions._declared.cache_clear()


def test_members_of_a_plug_in_are_written_tested_checked_and_described(
    plug_in: None, world: World
) -> None:
    world.connect()
    world.home()
    console, rules = world.client, "/console/muyan/rules"
    # the editor offers them, and draws what they declare
    new = console.get(f"{rules}/new").get_data(as_text=True)
    assert '<option value="lucky_number">幸运数字</option>' in new
    assert '<option value="wave">挥手</option>' in new
    form = pages.form(new, "editor")
    form = {**form, "name": "幸运", "do": "add:when", "add:when": "lucky_number"}
    form = {name: value for name, value in form.items() if not name.startswith("when.")}
    added = pages.post(console, f"{rules}/new", form, form=rules).get_data(as_text=True)
    assert "幸运的数字" in added and "心情" in added and "good" in added
    field = re.search(r'name="(when\.\d+\.lucky_number\.figures)(:\w+)?"', added)
    assert field
    form = {**pages.form(added, "editor"), field[1] + (field[2] or ""): "7"}
    # and says what is wrong beside the field
    form |= {"then.0:member": "wave", "then.0.wave.times": "many"}
    wrong = pages.post(console, f"{rules}/new", form, form=rules)
    assert wrong.status_code == 422
    page = wrong.get_data(as_text=True)
    assert 'id="then.0.wave.times-error"' in page and 'value="many"' in page
    # the live test box plays it
    form["then.0.wave.times"] = "3"
    tried = {**form, "test:kind": "text", "test:text": "我的号 17", "test:against": "form"}
    box = pages.post(console, f"{rules}/test", tried, form=rules).get_data(as_text=True)
    assert "嗨嗨嗨" in box and "幸运数字" in box
    assert pages.post(console, f"{rules}/new", form, form=rules).status_code == 303
    # the account file: plan sees it, apply publishes it, followers get it
    path = str(world.file(rules=[{**RULE, "when": [{"lucky_number": {"figures": ["x"]}}]}]))
    assert "figures" in world.fails("plan", path)
    assert "幸运" in world.ok("plan", str(world.file(rules=[RULE])))
    world.apply(rules=[RULE])
    world.crowd(1)
    assert world.say(1, "我的号 18") == "嗨嗨嗨"
    assert world.say(1, "我的号 19") == ""
    # what lists and describes members
    listed = json.loads(world.ok("registry", "--json"))
    assert "luckpack" in json.dumps(listed) and "lucky_number" in json.dumps(listed)
    for folder, name in (("rules.conditions", "lucky_number"), ("rules.actions", "wave")):
        with pytest.raises(AssertionError, match=name):
            test_docs.test_every_member_is_in_extending(folder)
    described = console.get("/api/v1/openapi.json")
    assert described.status_code == 200
    text = described.get_data(as_text=True)
    assert "lucky_number" in text and "挥几次" in json.dumps(
        described.get_json(), ensure_ascii=False
    )
