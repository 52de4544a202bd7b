"""Shop codes from a list to a ZIP, and a menu from the editor to the sandbox, as an operator does it.

Slow: a browser on the whole product.
"""

import re
import zipfile
from pathlib import Path
from typing import Any

import pytest

from bot.demo.load import APP_ID
from tests.browser.conftest import Product, log_in

pytestmark = [pytest.mark.browser, pytest.mark.slow]
NAMES = [f"测试{letter}店" for letter in "甲乙丙丁戊己庚辛"]
FOLLOWER = "o_browser_test_0000000000qr1"


def test_eight_shop_codes_are_built_from_a_list_and_downloaded(
    page: Any, product: Product, tmp_path: Path
) -> None:
    log_in(page, product)
    page.get_by_role("link", name="渠道二维码").click()
    page.get_by_role("link", name="批量新建").click()
    page.get_by_label("清单，一行一个").fill(
        "名称,回复\n" + "\n".join(f"{name},欢迎来{name}" for name in NAMES)
    )
    page.get_by_label("场景值前缀").fill("browser_")
    page.get_by_label("分组（清单里没写时）").fill("新店")
    page.get_by_role("button", name="检查清单").click()
    page.get_by_text("将新建 8 个永久二维码").wait_for()
    page.get_by_role("button", name="新建", exact=True).click()
    # the bar leads on by itself when the codes are made
    page.get_by_role("link", name="测试辛店").wait_for()
    page.goto(f"{product.url}/console/muyan/scenes?group=新店&sort=name")
    assert page.get_by_role("row", name=re.compile("测试.店.*可用")).count() == 8
    with page.expect_download() as saved:
        page.get_by_role("link", name="打包下载").click()
    path = tmp_path / "codes.zip"
    saved.value.save_as(path)
    with zipfile.ZipFile(path) as packed:
        names = packed.namelist()
    assert len(names) == 17
    assert "新店/测试甲店_browser_01.png" in names
    told = product.control("act", app_id=APP_ID, act="follow", open_id=FOLLOWER, scene="browser_01")
    assert told["outcome"] == "answered", "the brand's rule for new followers replies"
    told = product.control("act", app_id=APP_ID, act="scan", open_id=FOLLOWER, scene="browser_02")
    assert told["reply"]["text"] == "欢迎来测试乙店"
    page.get_by_role("link", name="测试甲店").click()
    page.locator("canvas").wait_for()
    assert page.locator("dl.figures div", has_text="新关注").first.locator("dd").inner_text() == "1"


def test_a_menu_is_edited_compared_and_published(page: Any, product: Product) -> None:
    log_in(page, product)
    page.get_by_role("link", name="自定义菜单").click()
    page.wait_for_url("**/menus")  # loaded: what is typed before its script runs is drawn nowhere
    phone = page.locator("[data-phone]")
    phone.get_by_role("button", name="领券").click()
    name = page.locator("[id='m.0.name']")
    name.fill("领券啦")
    phone.get_by_role("button", name="领券啦").wait_for()
    # dragging the second column before the first moves its fields too
    columns = phone.locator(".menu-top .handle")
    columns.nth(1).drag_to(columns.nth(0), target_position={"x": 4, "y": 10})
    page.wait_for_function("document.getElementById('m.1.name').value === '领券啦'")
    page.locator("form#menu .btn-primary").click()
    page.get_by_text("草稿已保存，还没有发布").wait_for()
    page.get_by_role("link", name="对比与发布").first.click()
    page.locator(".diff-new", has_text="领券啦").wait_for()
    page.get_by_role("button", name="现在发布").click()
    page.get_by_text("菜单已发布").wait_for()
    page.get_by_role("link", name="平台上的菜单").click()
    page.get_by_text("一样。").wait_for()
    bar = page.locator(".menu-phone").first.locator(".menu-name")
    assert bar.nth(1).inner_text() == "领券啦"
