"""A rule written by hand: tested, found shadowed, moved, tried on the past, published, read by a follower, undone."""

import re
from typing import Any

import pytest

from bot.demo.load import APP_ID
from tests.browser.conftest import Product, log_in

pytestmark = [pytest.mark.browser, pytest.mark.slow]
FOLLOWER = "o_browser_test_000000000lan1"
NAME, WORD, REPLY = "我的券呢", "我的券呢", "券在会员卡包里，7 天内有效。"
SHADOW = "提到券"  # the demo's rule that answers whatever contains 券


def said(product: Product, text: str) -> str:
    told = product.control("act", app_id=APP_ID, act="say", open_id=FOLLOWER, text=text)
    assert told["outcome"] == "answered", told
    return str(told["reply"]["text"])


def test_a_rule_from_the_first_word_to_the_roll_back(page: Any, product: Product) -> None:
    product.control("act", app_id=APP_ID, act="follow", open_id=FOLLOWER)
    before = said(product, WORD)
    log_in(page, product)
    # written, with the phone beside it
    page.get_by_role("link", name="自动回复").click()
    page.get_by_role("link", name="新建规则").first.click()
    page.get_by_label("规则名称").fill(NAME)
    page.get_by_label("关键词").fill(WORD)
    page.locator("[name='then.0.reply.text']").fill(REPLY)
    page.locator("#preview").get_by_text(REPLY).wait_for()
    page.locator("select[name='add:then']").select_option("add_tag")
    page.locator("button[value='add:then']").click()
    tags = page.locator("#then .ts-control input")
    tags.fill("问过券")
    tags.press("Enter")
    # tried: another rule stands in front
    page.get_by_label("粉丝发来的文字").fill(WORD)
    page.get_by_role("button", name="测试").click()
    trial = page.locator("#trial")
    trial.get_by_text(re.compile(f"命中：\\s*{SHADOW}")).wait_for()
    trial.get_by_text(f"排在前面的「{SHADOW}」已经回复").first.wait_for()
    page.get_by_role("button", name="保存草稿").click()
    page.get_by_text(f"已保存「{NAME}」").wait_for()
    page.get_by_role("link", name="规则体检").first.click()
    page.locator("#shadowed").get_by_role("link", name=NAME).first.wait_for()
    # moved in front of it, with the keyboard, among the rules that speak of it
    page.goto(f"{product.url}/console/muyan/rules?q=券")
    row = page.locator("tbody tr", has=page.get_by_role("link", name=NAME, exact=True))
    rows = page.locator("tbody tr[data-id]")
    for _ in range(rows.count()):
        names = [name.strip() for name in page.locator("td.lead a").all_inner_texts()]
        if names.index(NAME) < names.index(SHADOW):
            break
        version = page.locator("#order-version").input_value()
        row.get_by_role("button", name="上移").press("Enter")
        page.locator(f"#order-version:not([value='{version}'])").wait_for(state="attached")
    row.get_by_text("新规则").wait_for()
    # tried on the pushes there were
    page.get_by_role("link", name="试运行").first.click()
    page.get_by_role("button", name="开始试运行").click()
    # its page comes back by itself when the job is done
    to_publish = page.get_by_role("link", name="去发布")
    to_publish.wait_for()
    page.get_by_text("有变化").first.wait_for()
    # published, and read at once
    to_publish.click()
    page.locator(".rule-change").get_by_text(NAME).first.wait_for()
    page.get_by_label("说明").fill("回答券在哪里")
    page.get_by_role("button", name="发布").click()
    page.get_by_text("已发布第 2 版").wait_for()
    assert said(product, WORD) == REPLY
    # undone
    page.get_by_role("link", name="版本").click()
    first = page.locator("tbody tr").last
    first.get_by_role("link", name="回滚到这一版").click()
    page.get_by_role("button", name="回滚").click()
    page.get_by_text("已把第 1 版作为第 3 版发布").wait_for()
    assert said(product, WORD) == before != REPLY
    page.get_by_role("link", name="返回规则").click()
    page.get_by_text("与线上一致：第 3 版").wait_for()


def test_rules_fit_a_phone(page: Any, product: Product) -> None:
    page.set_viewport_size({"width": 375, "height": 800})
    log_in(page, product)
    for path in ("rules", "rules/new", "rules/publish", "rules/test", "rulebooks"):
        page.goto(f"{product.url}/console/muyan/{path}")
        page.locator("main").wait_for()
        assert page.evaluate("document.documentElement.scrollWidth") <= 375, path
