"""Tags merged and a follower erased by hand, in the running product."""

import re
from typing import Any

import pytest

from bot.demo.load import APP_ID
from tests.browser.conftest import Product, log_in

pytestmark = [pytest.mark.browser, pytest.mark.slow]
MERGING, LEAVING = "o_browser_test_0000000merge1", "o_browser_test_0000000erase1"
LIST = "/console/muyan/followers"


def new_tag(page: Any, product: Product, name: str) -> None:
    page.goto(f"{product.url}/console/muyan/tags/new")
    page.get_by_label("名称").fill(name)
    page.get_by_role("button", name="保存").click()
    page.get_by_text(f"已新建标签「{name}」").wait_for()


def open_follower(page: Any, product: Product, open_id: str) -> None:
    page.goto(f"{product.url}{LIST}?q={open_id}")
    page.get_by_role("link", name=open_id).click()
    page.get_by_role("heading", name="时间线").wait_for()


def test_two_tags_are_merged_after_saying_what_that_does(page: Any, product: Product) -> None:
    product.control("act", app_id=APP_ID, act="follow", open_id=MERGING, scene="store_02")
    log_in(page, product)
    new_tag(page, product, "浏览器旧标签")
    new_tag(page, product, "浏览器新标签")
    open_follower(page, product, MERGING)
    page.locator("form", has_text="添加").get_by_label("标签").fill("浏览器旧标签")
    page.get_by_role("button", name="添加").click()
    page.get_by_text("admin 手工添加").first.wait_for()
    page.goto(f"{product.url}/console/muyan/tags?q=浏览器旧")
    page.get_by_role("row", name=re.compile("浏览器旧标签")).get_by_text("合并").click()
    page.get_by_label("合并到").fill("浏览器新标签")
    page.get_by_role("button", name="下一步").click()
    page.get_by_text("「浏览器旧标签」的 1 位粉丝会改为「浏览器新标签」").wait_for()
    page.get_by_role("button", name="合并").click()
    page.get_by_text("已把「浏览器旧标签」合并到「浏览器新标签」").wait_for()
    open_follower(page, product, MERGING)
    page.get_by_text("获得标签「浏览器新标签」").wait_for()
    assert page.get_by_text("获得标签「浏览器旧标签」").count() == 0


def test_a_follower_is_erased_after_the_word_is_typed(page: Any, product: Product) -> None:
    product.control("act", app_id=APP_ID, act="follow", open_id=LEAVING, scene="store_01")
    said = "请把我的手机 13900001111 删掉"
    product.control("act", app_id=APP_ID, act="say", open_id=LEAVING, text=said)
    log_in(page, product)
    open_follower(page, product, LEAVING)
    page.get_by_text(said).wait_for()
    address = page.url
    page.get_by_role("link", name="删除此人资料").click()
    dialog = page.locator("#dialog")
    dialog.get_by_text("将永久删除 1 个人").wait_for()
    dialog.get_by_label("请输入「删除」以确认").fill("删除")
    dialog.get_by_role("button", name="永久删除").click()
    page.get_by_text("已删除 1 个人的资料").wait_for()
    page.goto(address)
    page.get_by_text("这个人的资料已在").wait_for()
    assert said not in page.content()
    assert LEAVING not in page.content()
    page.goto(f"{product.url}{LIST}?q={LEAVING}")
    page.get_by_text("没有符合条件的粉丝").wait_for()
