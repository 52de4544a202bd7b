"""The product as a newcomer meets it: one command, a browser, followers of the sandbox.

Slow (about fifteen seconds): a server with its demo brand and a browser are really started.
"""

import re
from pathlib import Path
from typing import Any

import pytest

from bot.demo.load import APP_ID
from bot.serve import is_sandbox
from tests.browser.conftest import Product, log_in, running

pytestmark = [pytest.mark.browser, pytest.mark.slow]
FOLLOWER = "o_browser_test_000000000wei1"


def test_logging_out_closes_the_door(page: Any, product: Product) -> None:
    page.goto(f"{product.url}/console/login")
    page.get_by_label("用户名").fill("admin")
    page.get_by_label("密码").fill(product.password)
    page.get_by_role("button", name="登录").click()
    page.get_by_role("heading", name="营销活动").wait_for()
    page.get_by_role("button", name="退出").click()
    page.get_by_role("button", name="登录").wait_for()
    page.goto(f"{product.url}/console/muyan/")
    assert page.url.startswith(f"{product.url}/console/login?next=")


def test_the_home_page_shows_the_demo_brand(page: Any, product: Product) -> None:
    log_in(page, product)
    followers = page.locator(".numbers div", has_text="累积关注").locator("dd").inner_text()
    assert 1_900 <= int(followers.replace(",", "")) <= 2_100
    campaign = page.get_by_role("row", name=re.compile("会员日问候"))
    assert campaign.get_by_text("活动同好").is_visible()
    assert page.locator("svg.slots rect").count() >= 1
    assert page.locator("svg.slots").bounding_box()["width"] > 300


def test_a_followers_word_appears_with_its_answer_and_the_reason(
    page: Any, product: Product
) -> None:
    told = product.control("act", app_id=APP_ID, act="follow", open_id=FOLLOWER, scene="store_01")
    assert told["outcome"] in ("answered", "empty"), told
    told = product.control("act", app_id=APP_ID, act="say", open_id=FOLLOWER, text="我想要优惠券")
    assert told["outcome"] == "answered", told
    log_in(page, product)
    page.get_by_role("link", name="暂停").click()
    page.get_by_text("已暂停刷新").wait_for()
    row = page.get_by_role("row", name=re.compile("我想要优惠券")).filter(has_text="wei1")
    assert row.get_by_text("您好，回复 1 领取 8 元券，回复 2 看使用规则。").is_visible()
    row.locator("summary").click()
    row.get_by_text("「领券」命中：文字等于").wait_for()
    assert FOLLOWER not in page.content()
    scan = page.get_by_role("row", name=re.compile("人民广场店")).filter(has_text="wei1")
    assert scan.get_by_text("关注", exact=True).is_visible()


@pytest.mark.parametrize("width", [375, 768, 1280])
def test_nothing_is_wider_than_the_screen(page: Any, product: Product, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    log_in(page, product)
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_it_stops_cleanly_and_takes_the_sandbox_along(tmp_path: Path) -> None:
    with running(tmp_path) as product:
        assert is_sandbox(product.sandbox)
        assert product.stop() == 0
        assert not is_sandbox(product.sandbox)
