"""The pages of segments: building one, its number, portrait and overlap, who uses it."""

import json
from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest
import sqlalchemy as sa
from flask.testing import FlaskClient
from hypothesis import HealthCheck, assume, given, settings
from werkzeug.datastructures import MultiDict

from bot import db
from bot.accounts import Account
from bot.audiences import catalogue, segments
from bot.console import segment_forms
from bot.runtime import Runtime
from bot.scheduler import tick
from bot.tables.followers import tags
from bot.tables.operators import audit
from tests import factories
from tests.bot.audiences.test_filters import TREES
from tests.bot.console import pages

LIST = "/console/muyan/segments"
THREE = ("微博来源", "喜欢互动", "活动敏感")


@pytest.fixture
def town(engine: sa.Engine, account: Account, now: datetime) -> list[int]:
    """Eight followers; the first two have all three tags, the third two of them."""
    with db.writing(engine) as session:
        ids = [factories.make_tag(session, account.id, name) for name in THREE]
        people = factories.make_followers(session, account.id, 8, now=now)
        for who, held in ((0, ids), (1, ids), (2, ids[:2]), (3, ids[:1])):
            for tag_id in held:
                factories.give_tag(session, account.id, people[who], tag_id, now=now)
    return people


def stored(engine: sa.Engine, account: Account) -> dict[str, Any]:
    with db.reading(engine) as session:
        return {one.name: one.where for one in segments.every(session, account.id)}


def test_an_operator_builds_three_tags_without_javascript(
    browser: FlaskClient, town: list[int], engine: sa.Engine, account: Account
) -> None:
    assert "还没有人群" in pages.text(browser.get(LIST))
    form = pages.form(browser.get(f"{LIST}/new").get_data(as_text=True), "editor")
    form.setlist("tags:where", list(THREE))
    form["do"] = "tags:where"
    form["name"] = "微博互动"
    answer = pages.post(browser, f"{LIST}/new", form)
    form = pages.form(answer.get_data(as_text=True), "editor")
    assert [form[f"where.{n}.tag.has"] for n in range(3)] == list(THREE)
    counted = pages.text(pages.post(browser, f"{LIST}/count", form))
    assert "2 人" in counted and "截至" in counted
    assert "有标签「微博来源」 并且 有标签「喜欢互动」 并且 有标签「活动敏感」" in counted
    assert "单独 4 人" in counted and "剩 2 人" in counted
    form["do"] = "save"
    answer = pages.post(browser, f"{LIST}/new", form)
    assert answer.status_code == 303
    assert stored(engine, account) == {
        "微博互动": {"all": [{"tag": {"has": name}} for name in THREE]}
    }
    with db.reading(engine) as session:
        actions = list(session.execute(sa.select(audit.c.action)).scalars())
    assert "segment.add" in actions
    page = pages.text(browser.get(answer.location))
    assert "2 人" in page
    assert "画不出像" not in pages.text(browser.get(f"{answer.location}/portrait"))
    assert "还没有别的人群" in pages.text(browser.get(f"{answer.location}/overlap"))


def test_a_saved_tree_comes_back_as_it_was(
    browser: FlaskClient, town: list[int], engine: sa.Engine, account: Account, now: datetime
) -> None:
    where: dict[str, Any] = {
        "all": [
            {"tag": {"has": "微博来源"}},
            {
                "not": {
                    "any": [
                        {"tag": {"lacks": ["喜欢互动"]}},
                        {"did": {"event": "click", "times": 2}},
                    ]
                }
            },
        ]
    }
    with db.writing(engine) as session:
        one = segments.save(session, account.id, "甲", where, now)
        bare = segments.save(session, account.id, "乙", {"tag": {"any": ["微博来源"]}}, now)
    for segment_id in (one, bare):
        path = f"{LIST}/{segment_id}/edit"
        form = pages.form(browser.get(path).get_data(as_text=True), "editor")
        form["do"] = "save"
        assert pages.post(browser, path, form).status_code == 303
    assert stored(engine, account) == {"甲": where, "乙": {"tag": {"any": ["微博来源"]}}}
    # somebody else saved in between: both are shown, a second press writes over
    path = f"{LIST}/{one}/edit"
    form = pages.form(browser.get(path).get_data(as_text=True), "editor")
    with db.writing(engine) as session:
        segments.save(session, account.id, "甲", {"all": []}, now)
    form["do"] = "save"
    answer = pages.post(browser, path, form)
    assert answer.status_code == 409 and "别人刚保存过" in answer.get_data(as_text=True)
    form = pages.form(answer.get_data(as_text=True), "editor")
    form["do"] = "save"
    assert pages.post(browser, path, form).status_code == 303
    assert stored(engine, account)["甲"] == where


def test_what_is_wrong_stands_beside_its_field(browser: FlaskClient, town: list[int]) -> None:
    form = {
        "name": "",
        "where:join": "any",
        "where.0:member": "tag",
        "where.0:alt": "0",
        "where.0.tag.has": "没有这个",
        "where.1:member": "did",
        "where.1.did.event": "click",
        "where.1.did.times": "很多",
    }
    answer = pages.post(browser, f"{LIST}/new", form)
    html = answer.get_data(as_text=True)
    assert answer.status_code == 422
    assert 'id="e-name"' in html and 'id="where.1.did.times-error"' in html
    answer = pages.post(browser, f"{LIST}/new", {**form, "name": "甲", "where.1.did.times": "2"})
    assert answer.status_code == 422
    assert 'id="where.0.tag.has-error"' in answer.get_data(as_text=True)
    counted = pages.text(pages.post(browser, f"{LIST}/count", form))
    assert "还有 1 个条件没有填完" in counted and "没有标签「没有这个」" in counted


def test_what_is_used_is_not_put_away(
    browser: FlaskClient, town: list[int], engine: sa.Engine, account: Account, now: datetime
) -> None:
    with db.writing(engine) as session:
        inner = segments.save(session, account.id, "内", {"tag": {"has": "微博来源"}}, now)
        outer = segments.save(session, account.id, "外", {"in_segment": {"name": "内"}}, now)
    assert "还在使用" in pages.text(browser.get(f"{LIST}/{inner}/archive"))
    assert "4 人符合条件" in pages.text(browser.get(f"{LIST}/{outer}/archive"))
    assert pages.post(browser, f"{LIST}/{outer}/archive").status_code == 303
    assert list(stored(engine, account)) == ["内"]
    assert "外" in pages.text(browser.get(f"{LIST}?state=archived"))
    assert pages.post(browser, f"{LIST}/{outer}/restore").status_code == 303
    # a new name is written where the old one was
    form = pages.form(browser.get(f"{LIST}/{inner}/edit").get_data(as_text=True), "editor")
    form["name"], form["do"] = "里", "save"
    assert pages.post(browser, f"{LIST}/{inner}/edit", form).status_code == 303
    assert stored(engine, account)["外"] == {"in_segment": {"name": "里"}}


def test_a_segment_is_frozen_and_unfrozen(
    browser: FlaskClient,
    town: list[int],
    engine: sa.Engine,
    account: Account,
    now: datetime,
) -> None:
    with db.writing(engine) as session:
        one = segments.save(session, account.id, "微博", {"tag": {"has": "微博来源"}}, now)
        segments.save(session, account.id, "全部", {"all": []}, now)
    path = f"{LIST}/{one}"
    asked = pages.text(browser.get(f"{path}/freeze"))
    assert "现在有 4 人，名单固定为这些人" in asked
    answer = pages.post(browser, f"{path}/freeze")
    assert answer.status_code == 303
    with db.writing(engine) as session:
        tag_id = session.execute(sa.select(tags.c.id).where(tags.c.name == "微博来源")).scalar_one()
        factories.give_tag(session, account.id, town[5], tag_id, now=now)
        frozen = segments.get(session, account.id, "微博").frozen
    assert frozen is not None and frozen.size == 4
    page = pages.text(browser.get(path))
    assert "4 人" in page and "由 Ann 冻结，当时 4 人" in page.replace(frozen.by, "Ann")
    assert "解除冻结" in page
    assert "在解除冻结后才起作用" in pages.text(browser.get(f"{path}/edit"))
    assert "全部" not in _named(browser, "?kind=frozen") and "微博" in _named(
        browser, "?kind=frozen"
    )
    assert "微博" not in _named(browser, "?kind=live")
    # asked again, it is refused in words
    assert "已经冻结了" in pages.text(browser.get(pages.post(browser, f"{path}/freeze").location))
    asked = pages.text(browser.get(f"{path}/unfreeze"))
    assert "名单（4 人）会删除，不能恢复；现在符合条件的有 5 人" in asked
    assert pages.post(browser, f"{path}/unfreeze").status_code == 303
    answer = pages.post(browser, f"{path}/unfreeze")
    assert "没有冻结" in pages.text(browser.get(answer.location))
    page = pages.text(browser.get(path))
    assert "5 人" in page and "已冻结" not in page
    with db.reading(engine) as session:
        actions = set(session.execute(sa.select(audit.c.action)).scalars())
    assert {"segment.freeze", "segment.unfreeze"} <= actions


def _named(browser: FlaskClient, query: str) -> list[str]:
    """The names a CSV of the list begins its lines with."""
    text = browser.get(f"{LIST}{query}&format=csv").get_data(as_text=True)
    return [line.partition(",")[0] for line in text.splitlines()[1:]]


def test_the_list_knows_sizes_history_and_users(
    browser: FlaskClient,
    rt: Runtime,
    town: list[int],
    engine: sa.Engine,
    account: Account,
    now: datetime,
) -> None:
    with db.writing(engine) as session:
        segments.save(session, account.id, "微博", {"tag": {"has": "微博来源"}}, now)
        segments.save(session, account.id, "全部", {"all": []}, now)
    tick(rt, "segment_sizes", now)
    with db.reading(engine) as session:
        sizes = [
            catalogue.history(session, account.id, one.id, now)
            for one in segments.every(session, account.id)
        ]
    assert [[size for _day, size in one] for one in sizes] == [[8], [4]]
    page = pages.text(browser.get(LIST))
    assert "共 2 个人群" in page and "50.0%" in page and "截至" in page
    assert "没有符合条件的人群" in pages.text(browser.get(f"{LIST}?q=没有的"))
    assert "微博,4" in browser.get(f"{LIST}?format=csv").get_data(as_text=True)


@pytest.mark.sqlite
def test_pages_of_another_account_are_not_there(
    as_role: Callable[..., FlaskClient],
    town: list[int],
    engine: sa.Engine,
    account: Account,
    now: datetime,
) -> None:
    with db.writing(engine) as session:
        other = factories.make_account(session, "other", now=now)
        theirs = segments.save(session, other, "别人的", {"all": []}, now)
    client = as_role("admin")
    for page in ("", "/edit", "/portrait", "/overlap", "/size", "/archive", "/freeze", "/unfreeze"):
        assert client.get(f"{LIST}/{theirs}{page}").status_code == 404
    assert as_role("agent").get(LIST).status_code == 403
    assert as_role("viewer").get(f"{LIST}/new").status_code == 403


@pytest.mark.sqlite
@settings(
    max_examples=80,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(where=TREES)
def test_any_tree_survives_the_form(client: FlaskClient, where: dict[str, Any]) -> None:
    """Drawn and read back it says the same, however deep it is. Only an empty text is nothing to a form."""
    assume('""' not in json.dumps(where))
    normal = segments.normal(where)
    with client.application.test_request_context():
        root = segment_forms.draw(normal, (), {})
        form: MultiDict[str, str] = MultiDict()
        fill(form, root)
        read = segment_forms.read(form)
    if segment_forms.is_bare(normal):
        normal = {"all": [normal]}
    assert flat(segments.normal(read)) == flat(normal)


def fill(form: MultiDict[str, str], node: segment_forms.Node) -> None:
    """What a browser would post of a node."""
    if node.negated:
        form[f"{node.place}:not"] = "1"
    if node.join:
        form[f"{node.place}:join"] = node.join
        for child in node.children:
            fill(form, child)
        return
    if node.is_text:
        form[f"{node.place}:text"] = node.fields[0].value
        return
    form[f"{node.place}:member"] = node.member
    form[f"{node.place}:alt"] = str(node.chosen)
    fields = [*node.fields, *(one for each in node.alternatives for one in each.fields)]
    for field in fields:
        if isinstance(field.value, dict):
            form[field.name] = field.value["text"]
            form[f"{field.name}:type"] = field.value["type"]
        elif field.kind == "json":
            form[f"{field.name}:json"] = field.value
        else:
            form[field.name] = str(field.value if field.value is not None else "")


def flat(where: Any) -> Any:
    """Without what ``not not`` becomes: a group of one."""
    if isinstance(where, dict) and len(where) == 1:
        key, value = next(iter(where.items()))
        if key == "not" and isinstance(value, dict) and "all" in value and len(value["all"]) == 1:
            return {"not": flat(value["all"][0])}
        if key in ("all", "any"):
            return {key: [flat(one) for one in value]}
        if key == "not":
            return {"not": flat(value)}
    return where
