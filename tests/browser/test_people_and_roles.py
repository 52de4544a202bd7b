"""An administrator adds an agent, who sets up the second factor and answers a follower; what an agent may not do.

Slow: a server with its demo brand and a browser are really started (once for all browser tests).
"""

from typing import Any

import pyotp
import pytest

from bot.clock import now
from bot.demo.load import APP_ID
from tests.browser.conftest import Product, log_in

pytestmark = [pytest.mark.browser, pytest.mark.slow]
FOLLOWER = "o_browser_test_0000000answer"
NEIGHBOUR = "o_browser_test_00000neighbour"


def enter(page: Any, product: Product, name: str, password: str) -> None:
    page.goto(f"{product.url}/console/login")
    page.get_by_label("用户名").fill(name)
    page.get_by_label("密码").fill(password)
    page.get_by_role("button", name="登录").click()


def leave(page: Any) -> None:
    page.get_by_role("button", name="退出").click()
    page.get_by_role("button", name="登录").wait_for()


def received(product: Product) -> list[str]:
    """Texts in the follower's chat at the platform."""
    told = product.control("received", app_id=APP_ID, open_id=FOLLOWER)
    return [str(item["content"].get("text", "")) for item in told["received"]]


def test_an_agent_is_added_proves_a_phone_and_answers_a_follower(
    page: Any, product: Product
) -> None:
    log_in(page, product)
    page.get_by_role("link", name="成员与角色").click()
    page.get_by_role("link", name="新成员").click()
    page.get_by_label("用户名").fill("小敏")
    page.get_by_label("角色").select_option("agent")
    page.get_by_role("button", name="新建并生成密码").click()
    password = page.locator("#password").inner_text()
    leave(page)

    enter(page, product, "小敏", password)
    page.get_by_role("link", name="小敏").click()
    page.get_by_role("link", name="打开两步验证").click()
    assert page.get_by_alt_text("两步验证的二维码").bounding_box()["width"] > 100
    phone = pyotp.TOTP(page.locator("#secret").inner_text().replace(" ", ""))
    page.get_by_label("输入验证器显示的 6 位数字").fill(phone.at(now()))
    page.get_by_role("button", name="确认并打开").click()
    page.get_by_text("下次登录会要 6 位数字").wait_for()
    leave(page)
    enter(page, product, "小敏", password)
    # the code that was confirmed works once: the next one is right already
    page.get_by_label("验证器里的 6 位数字").fill(phone.at(now(), counter_offset=1))
    page.get_by_role("button", name="继续").click()

    product.control("act", app_id=APP_ID, act="follow", open_id=FOLLOWER)
    product.control("act", app_id=APP_ID, act="say", open_id=FOLLOWER, text="请问几点开门呀")
    page.get_by_role("link", name="会话", exact=True).click()
    page.get_by_placeholder("搜索备注").fill(FOLLOWER)
    page.get_by_role("button", name="筛选").click()
    page.get_by_role("row", name="请问几点开门呀").get_by_role("link").click()
    page.locator(".said", has_text="请问几点开门呀").wait_for()
    page.get_by_text("还可回复 5/5 条").wait_for()
    box = page.get_by_label("回复内容")
    box.fill("{称呼|您}好，10 点开门")
    page.get_by_role("button", name="发送", exact=True).click()
    page.locator(".said.ours", has_text="您好，10 点开门").wait_for()
    assert box.input_value() == "", "the box is empty again"
    product.control("act", app_id=APP_ID, act="say", open_id=FOLLOWER, text="谢谢，明天来")
    page.locator(".said", has_text="谢谢，明天来").wait_for()  # without a reload
    page.wait_for_function("!document.body.innerText.includes('待发送')")
    assert "您好，10 点开门" in received(product)


def test_an_agent_sees_no_more_than_the_role_allows(page: Any, product: Product) -> None:
    log_in(page, product)
    page.goto(f"{product.url}/console/system/operators/new")
    page.get_by_label("用户名").fill("小敏二号")
    page.get_by_label("角色").select_option("agent")
    page.get_by_role("button", name="新建并生成密码").click()
    password = page.locator("#password").inner_text()
    leave(page)
    enter(page, product, "小敏二号", password)
    page.get_by_role("link", name="会话", exact=True).wait_for()
    for hidden in ("自动回复", "渠道二维码", "公众号设置", "成员与角色", "审计日志"):
        assert page.get_by_role("link", name=hidden, exact=True).count() == 0, hidden
    for path, status in (
        ("muyan/rules", 403),
        ("muyan/settings", 403),
        ("system/operators", 403),
        ("nobody/messages", 404),
        ("muyan/messages", 200),
    ):
        answer = page.context.request.get(f"{product.url}/console/{path}")
        assert answer.status == status, path


def test_a_phone_shows_the_conversation_without_scrolling_sideways(
    page: Any, product: Product
) -> None:
    product.control("act", app_id=APP_ID, act="follow", open_id=NEIGHBOUR)
    product.control("act", app_id=APP_ID, act="say", open_id=NEIGHBOUR, text="手机上看得到吗")
    log_in(page, product)
    page.goto(f"{product.url}/console/muyan/messages?q={NEIGHBOUR}")
    talk = page.locator("td.lead a").first.get_attribute("href").removeprefix("/console/")
    page.set_viewport_size({"width": 375, "height": 740})
    for path in (
        talk,"muyan/messages", "muyan/settings", "muyan/setup/check", "muyan/audit", "muyan/jobs",
                 "system/operators", "system/operators/new", "system/accounts", "system/me"):  # fmt: skip
        page.goto(f"{product.url}/console/{path}")
        wide = page.evaluate("document.documentElement.scrollWidth")
        assert wide <= 375, f"{path} is {wide} wide"
