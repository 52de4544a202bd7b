"""The inbox and a conversation: answered by hand, seen by the follower, locked without a window."""

import re
from collections.abc import Iterator
from datetime import timedelta
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from flask.testing import FlaskClient
from werkzeug.datastructures import FileStorage

from bot import db, operators
from bot.console import messages
from bot.sandbox import media
from bot.tables.inbox import canned_answers, conversations, inbound
from bot.tables.operators import audit
from tests import factories
from tests.bot.console import pages
from tests.scenarios.world import World

PICTURE = b"\x89PNG\r\n\x1a\n" + b"0" * 200
HOSTILE = "<script>alert(1)</script>"


@pytest.fixture
def world(
    engine: sa.Engine, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[World]:
    monkeypatch.chdir(tmp_path)
    made = World(engine, database_url, tmp_path)
    made.connect()
    hello = {"when": [{"text_is": {"any": ["你好"]}}], "then": [{"reply": {"text": "欢迎"}}]}
    made.apply(rules=[{"name": "你好", **hello}])
    yield made
    made.rt.writer.close()


@pytest.fixture
def agent(world: World) -> FlaskClient:
    """An agent's browser."""
    return logged_in(world, "阿敏", "agent")


def logged_in(world: World, name: str, role: str) -> FlaskClient:
    with db.writing(world.rt.engine) as session:
        password = operators.add(session, name, role, world.clock())
    client: FlaskClient = world.product.test_client()
    assert pages.log_in(client, name, password).status_code == 302
    return client


def person(world: World, number: int) -> int:
    """The row id of a follower."""
    (row,) = world.rows(sa.text(f"SELECT id FROM followers WHERE open_id = '{factories.open_id(number)}'"))  # fmt: skip
    return int(row.id)


def send_media(world: World, number: int, kind: str, body: bytes) -> int:
    """A follower sends a file; the push's id."""
    platform = world.platform
    account = platform.account(world.app_id())
    media_id = media.put(platform, account, kind, f"x.{kind}", body, permanent=False)
    platform.message(account.app_id, factories.open_id(number), kind, MediaId=media_id)
    return int(world.rows(sa.select(sa.func.max(inbound.c.id)))[0][0])


def upload(body: bytes) -> FileStorage:
    return FileStorage(BytesIO(body), "x.png", content_type="image/png")


def key_of(page: str) -> str:
    found = re.search(r'name="key" value="([^"]+)"', page)
    assert found
    return found[1]


def test_an_agent_answers_and_the_follower_reads_it(world: World, agent: FlaskClient) -> None:
    world.follow(1)
    world.pass_time(2)  # the minute that a follow opens is over
    world.say(1, "你好")
    inbox = pages.text(agent.get("/console/muyan/messages"))
    assert "你好" in inbox
    assert "未读" in inbox
    assert "47 小时" in inbox or "48 小时" in inbox
    address = f"/console/muyan/messages/{person(world, 1)}"
    page = pages.text(agent.get(address))
    assert "欢迎" in page
    assert "规则「你好」" in page
    assert "还可回复 5/5 条" in page
    form = {"text": "{称呼|您}稍等", "key": key_of(agent.get(address).get_data(as_text=True))}
    for _ in range(2):  # a double click
        answer = pages.post(agent, f"{address}/send", form)
        assert (answer.status_code, answer.headers["Location"]) == (303, address)
    world.work()
    assert world.received(1, "customer_service") == ["您稍等"]
    page = pages.text(agent.get(address))
    assert "阿敏 · " in page
    assert "还可回复 4/5 条" in page
    written = sa.select(audit.c.operator, audit.c.after)
    (sent,) = world.rows(written.where(audit.c.action == "conversation.send"))
    assert tuple(sent) == ("阿敏", {"kind": "text"})


def test_news_come_only_when_there_are_any(world: World, agent: FlaskClient) -> None:
    world.follow(1)
    world.say(1, "在吗")
    address = f"/console/muyan/messages/{person(world, 1)}"
    found = re.search(r"live\?mark=(\w+)", agent.get(address).get_data(as_text=True))
    assert found
    live = f"{address}/live"
    assert agent.get(live, query_string={"mark": found[1]}).status_code == 204
    world.say(1, "有人吗")
    news = agent.get(live, query_string={"mark": found[1]})
    assert "有人吗" in news.get_data(as_text=True)
    assert 'hx-swap-oob="true"' in news.get_data(as_text=True)


def test_the_box_is_locked_with_the_reason_when_no_window_is_open(
    world: World, agent: FlaskClient
) -> None:
    world.follow(1)
    world.say(1, "在吗")
    address = f"/console/muyan/messages/{person(world, 1)}"
    world.go_to(world.clock() + timedelta(hours=48))
    page = agent.get(address).get_data(as_text=True)
    assert "<fieldset disabled>" in page
    assert "没有打开的客服窗口" in page
    answer = pages.post(agent, f"{address}/send", {"text": "还在", "key": "1"})
    assert answer.status_code == 422
    assert "还在</textarea>" in answer.get_data(as_text=True), "what was typed is kept"
    world.leave(1)
    assert "已取消关注" in pages.text(agent.get(address))
    assert pages.post(agent, f"{address}/send", {"text": "x", "key": "2"}).status_code == 422


@pytest.mark.sqlite  # about the form, not the rows
def test_a_refusal_of_the_platform_is_told_in_words(world: World, agent: FlaskClient) -> None:
    world.follow(1)
    world.say(1, "在吗")
    address = f"/console/muyan/messages/{person(world, 1)}"
    world.platform.fault("/cgi-bin/message/custom/send", "errcode", errcode=45047)
    pages.post(agent, f"{address}/send", {"text": "在", "key": "1"})
    world.work()
    page = pages.text(agent.get(address))
    assert "没有送达：客服消息条数已达上限" in page
    assert "没有打开的客服窗口" in page, "the platform knows better"


@pytest.mark.sqlite  # about the form, not the rows
def test_whoever_opted_out_of_campaigns_is_answered_all_the_same(
    world: World, agent: FlaskClient
) -> None:
    world.follow(1)
    world.say(1, "退订")
    address = f"/console/muyan/messages/{person(world, 1)}"
    assert "已退订活动" in pages.text(agent.get(address))
    pages.post(agent, f"{address}/send", {"text": "好的", "key": "1"})
    world.work()
    assert world.received(1, "customer_service") == ["好的"]


def test_while_an_agent_takes_care_rules_are_silent(world: World, agent: FlaskClient) -> None:
    world.follow(1)
    world.say(1, "在吗")
    address = f"/console/muyan/messages/{person(world, 1)}"
    pages.post(agent, f"{address}/change", {"action": "take"})
    assert world.say(1, "你好") == ""
    assert "规则静默到" in pages.text(agent.get(address))
    pages.post(agent, f"{address}/change", {"action": "back"})
    assert world.say(1, "你好") == "欢迎"
    lin = logged_in(world, "小林", "operator")
    logged_in(world, "老陈", "requester")
    assert "小林" in pages.text(agent.get(address))
    assert "老陈" not in pages.text(agent.get(address)), "a requester answers nobody"
    pages.post(agent, f"{address}/change", {"action": "assign", "agent": "小林"})
    assert pages.post(agent, f"{address}/change", {"action": "assign", "agent": "老陈"}).status_code == 409  # fmt: skip
    assert "共 1 个会话" in pages.text(lin.get("/console/muyan/messages?view=mine"))
    pages.post(lin, f"{address}/change", {"action": "close"})
    assert "还没有会话" in pages.text(lin.get("/console/muyan/messages"))
    assert pages.post(agent, f"{address}/change", {"action": "explode"}).status_code == 404


def test_a_picture_is_fetched_once_and_served_with_a_safe_type(
    world: World, agent: FlaskClient
) -> None:
    world.follow(1)
    push = send_media(world, 1, "image", PICTURE)
    address = f"/console/muyan/messages/media/{push}"
    first = agent.get(address)
    assert (first.data, first.headers["Content-Type"]) == (PICTURE, "image/png")
    assert first.headers["X-Content-Type-Options"] == "nosniff"
    world.platform_down()
    assert agent.get(address).data == PICTURE, "kept, the platform is not asked again"


@pytest.mark.sqlite  # about the form, not the rows
def test_a_page_in_the_clothes_of_a_picture_is_only_downloaded(
    world: World, agent: FlaskClient
) -> None:
    world.follow(1)
    push = send_media(world, 1, "image", b"<html><script>alert(1)</script>")
    answer = agent.get(f"/console/muyan/messages/media/{push}")
    assert answer.headers["Content-Type"] == "application/octet-stream"
    assert answer.headers["Content-Disposition"].startswith("attachment")


@pytest.mark.sqlite  # about the form, not the rows
def test_after_three_days_what_nobody_looked_at_is_gone_and_the_page_says_so(
    world: World, agent: FlaskClient
) -> None:
    world.follow(1)
    push = send_media(world, 1, "voice", b"#!AMR" + b"0" * 50)
    world.go_to(world.clock() + timedelta(days=3, hours=1))
    page = pages.text(agent.get(f"/console/muyan/messages/{person(world, 1)}"))
    assert "平台只保留 3 天" in page
    answer = agent.get(f"/console/muyan/messages/media/{push}")
    assert answer.status_code == 409
    assert "三天" in answer.get_data(as_text=True)


def test_a_picture_is_uploaded_sent_and_shown_again(world: World, agent: FlaskClient) -> None:
    world.follow(1)
    world.say(1, "看看")
    address = f"/console/muyan/messages/{person(world, 1)}"
    form: dict[str, Any] = {"key": "1", "text": "", "image": upload(PICTURE)}
    assert pages.post(agent, f"{address}/send", form).status_code == 303
    world.work()
    assert world.received(1, "customer_service") == ["image"]
    page = agent.get(address).get_data(as_text=True)
    found = re.search(r"/console/muyan/messages/file/[0-9a-f]+\.png", page)
    assert found
    assert agent.get(found[0]).data == PICTURE


@pytest.mark.sqlite  # about the form, not the rows
@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"GIF8" + b"0" * 1000, "2 MB"),
        (b"<svg onload=alert(1)>", "格式"),
        (b"", "不能为空|空"),
    ],
)
def test_an_upload_the_platform_would_not_take_is_refused_beside_the_box(
    world: World, agent: FlaskClient, monkeypatch: pytest.MonkeyPatch, body: bytes, told: str
) -> None:
    # the test client spools what is really as large to a file it does not close
    monkeypatch.setattr(messages, "LARGEST_PICTURE", 1000)
    world.follow(1)
    world.say(1, "看看")
    address = f"/console/muyan/messages/{person(world, 1)}"
    form: dict[str, Any] = {"key": "1", "image": upload(body)}
    answer = pages.post(agent, f"{address}/send", form)
    assert answer.status_code == 422
    assert re.search(told, answer.get_data(as_text=True))


@pytest.mark.sqlite  # about the form, not the rows
def test_everything_somebody_wrote_is_escaped(world: World, agent: FlaskClient) -> None:
    world.follow(1)
    world.say(1, HOSTILE)
    address = f"/console/muyan/messages/{person(world, 1)}"
    pages.post(agent, f"{address}/send", {"text": HOSTILE, "key": "1"})
    pages.post(agent, "/console/muyan/messages/canned", {"title": HOSTILE, "text": HOSTILE})
    for path in (address, "/console/muyan/messages", "/console/muyan/messages/canned"):
        assert HOSTILE not in agent.get(path).get_data(as_text=True)
    world.say(1, "=1+1")
    sheet = agent.get("/console/muyan/messages?format=csv").get_data(as_text=True)
    assert "'=1+1" in sheet


def test_another_accounts_conversations_do_not_exist_here(world: World, agent: FlaskClient) -> None:
    world.connect("shop", app_id="wxaaaaaaaaaaaaaaaa", opening=False)
    world.follow(1)
    push = send_media(world, 1, "image", PICTURE)
    other = f"/console/shop/messages/{person(world, 1)}"
    assert agent.get(other).status_code == 404
    assert agent.get(f"{other}/live").status_code == 404
    assert pages.post(agent, f"{other}/change", {"action": "take"}).status_code == 404
    assert pages.post(agent, f"{other}/send", {"text": "x", "key": "1"}).status_code == 404
    assert agent.get(f"/console/shop/messages/media/{push}").status_code == 404
    answer = pages.post(agent, "/console/shop/messages/bulk", {"action": "close", "ids": person(world, 1)})  # fmt: skip
    assert answer.status_code == 303
    assert world.rows(sa.select(conversations)) == []


@pytest.mark.sqlite  # about the form, not the rows
def test_canned_answers_are_written_changed_and_removed_after_asking(
    world: World, agent: FlaskClient
) -> None:
    path = "/console/muyan/messages/canned"
    assert pages.post(agent, path, {"title": "营业时间", "text": "10 点开门"}).status_code == 303
    wrong = pages.post(agent, path, {"title": "", "text": "10 点开门"})
    assert wrong.status_code == 422
    assert "10 点开门</textarea>" in wrong.get_data(as_text=True)
    (row,) = world.rows(sa.select(canned_answers))
    pages.post(agent, path, {"id": row.id, "title": "营业时间", "text": "9 点开门"})
    pages.post(agent, path, {"title": "地址", "text": "人民广场"})
    taken = pages.post(agent, path, {"title": "地址", "text": "徐家汇"})
    assert taken.status_code == 422
    assert "徐家汇</textarea>" in taken.get_data(as_text=True)
    other = world.rows(sa.select(canned_answers).where(canned_answers.c.title == "地址"))
    pages.post(agent, f"{path}/{other[0].id}/delete")
    (change,) = world.rows(sa.select(audit).where(audit.c.action == "canned.change"))
    assert (change.before["text"], change.after["text"]) == ("10 点开门", "9 点开门")
    world.follow(1)
    world.say(1, "几点开门")
    address = f"/console/muyan/messages/{person(world, 1)}"
    filled = agent.get(address, query_string={"canned": row.id}).get_data(as_text=True)
    assert "9 点开门</textarea>" in filled, "without a script, one click fills the box too"
    assert "所有同事" in pages.text(agent.get(f"{path}/{row.id}/delete"))
    pages.post(agent, f"{path}/{row.id}/delete")
    assert world.rows(sa.select(canned_answers)) == []
    assert agent.get(f"{path}/{row.id}/delete").status_code == 404
