"""A send moved to another day of the calendar: dragged with the mouse, and by keyboard where no script runs."""

import re
from collections.abc import Iterator
from datetime import date, timedelta
from typing import Any

import pytest
import requests

from tests.browser.conftest import Product, log_in

pytestmark = [pytest.mark.browser, pytest.mark.slow]
CALENDAR = "/console/muyan/calendar"


@pytest.fixture
def plain(chromium: Any) -> Iterator[Any]:
    """A page of a browser without JavaScript."""
    context = chromium.new_context(locale="zh-CN", java_script_enabled=False)
    opened = context.new_page()
    opened.set_default_timeout(30_000)
    yield opened
    context.close()


def movable(page: Any, product: Product) -> tuple[str, date]:
    """A campaign of the demo that may be moved, in this month or the next, and its day."""
    page.goto(f"{product.url}{CALENDAR}")
    if not page.locator("[data-campaign]").count():
        page.get_by_label("下个月").click()
    day = page.locator(".day", has=page.locator("[data-campaign]")).first
    entry = day.locator("[data-campaign]").first
    return entry.get_attribute("data-campaign"), date.fromisoformat(day.get_attribute("data-day"))


def next_month(day: date, number: int) -> date:
    """A day of the month after, far from its ends: it is always to come, and on one page with its neighbours."""
    return (day.replace(day=28) + timedelta(days=7)).replace(day=number)


def days_by_api(page: Any, product: Product, campaign_id: str, month: str) -> list[str]:
    """The days of a month a campaign is on, as a program is told."""
    page.goto(f"{product.url}/console/muyan/tokens/new")
    page.get_by_label("名称").fill("日历的程序")
    page.locator("[name=scopes][value='ledger.read']").check()
    page.get_by_role("button", name="新建").click()
    token = page.locator("#secret").input_value()
    with requests.Session() as http:
        http.trust_env = False
        answer = http.get(
            f"{product.url}/api/v1/accounts/muyan/calendar",
            params={"month": month},
            headers={"Authorization": f"Bearer {token}"},
            timeout=30,
        )
    assert answer.status_code == 200, answer.text
    listed = answer.json()["entries"]
    return [one["at"][:10] for one in listed if one["campaign_id"] == int(campaign_id)]


def drag(page: Any, entry: Any, day: Any) -> None:
    """As a hand does: press, move in several steps, let go over the day's number."""
    entry.scroll_into_view_if_needed()
    held, onto = entry.locator("small").first.bounding_box(), day.locator("header").bounding_box()
    page.mouse.move(held["x"] + 4, held["y"] + 4)
    page.mouse.down()
    page.mouse.move(onto["x"] + onto["width"] / 2, onto["y"] + onto["height"] / 2, steps=8)
    over = page.locator(".day.over").get_attribute("data-day")
    assert over == day.get_attribute("data-day"), "the day under the pointer is marked"
    page.mouse.up()


def stands_on(page: Any, day: date, campaign_id: str) -> bool:
    return bool(page.locator(f"[data-day='{day}'] [data-campaign='{campaign_id}']").count())


def test_a_send_is_dragged_to_another_day_and_says_first_what_that_costs(
    page: Any, product: Product
) -> None:
    page.set_viewport_size({"width": 1280, "height": 1000})
    log_in(page, product)
    campaign_id, day = movable(page, product)
    before, after = next_month(day, 11), next_month(day, 13)
    page.goto(f"{product.url}{CALENDAR}/move/{campaign_id}?day={before}")
    page.get_by_role("button", name=f"改到 {before}").click()
    page.get_by_text(f"」改到 {before}").wait_for()
    entry = page.locator(f"[data-campaign='{campaign_id}']")

    drag(page, entry, page.locator(f"[data-day='{before}']"))
    assert page.url.endswith(f"{CALENDAR}?month={before:%Y-%m}"), "over its own day it stays"
    drag(page, entry, page.locator(f"[data-day='{after}']"))
    page.wait_for_url(re.compile(rf"/calendar/move/{campaign_id}\?day={after}$"))
    page.get_by_text(re.compile("失去.*计划内的推送")).first.wait_for()
    page.go_back()
    assert stands_on(page, before, campaign_id), "looking moves nothing"
    drag(page, entry, page.locator(f"[data-day='{after}']"))
    page.get_by_role("button", name=f"改到 {after}").click()
    page.get_by_text(f"」改到 {after}").wait_for()
    assert stands_on(page, after, campaign_id)
    entry.get_by_role("link").first.click()  # a click without a drag opens the campaign
    page.wait_for_url(re.compile(f"/campaigns/{campaign_id}$"))
    assert days_by_api(page, product, campaign_id, f"{after:%Y-%m}") == [str(after)]


def test_a_send_is_moved_by_keyboard_without_a_script(plain: Any, product: Product) -> None:
    log_in(plain, product)
    campaign_id, day = movable(plain, product)
    after = next_month(day, 20)
    plain.locator(f"[data-campaign='{campaign_id}']").focus()
    plain.keyboard.press("Tab")  # its name
    plain.keyboard.press("Tab")
    assert plain.locator(":focus").inner_text() == "改期"
    plain.keyboard.press("Enter")
    plain.wait_for_url(re.compile(f"/calendar/move/{campaign_id}$"))
    plain.get_by_label("改到哪一天").fill(str(after))
    plain.keyboard.press("Enter")
    plain.wait_for_url(re.compile(f"day={after}$"))
    plain.get_by_role("button", name=f"改到 {after}").press("Enter")
    plain.get_by_text(f"」改到 {after}").wait_for()
    assert stands_on(plain, after, campaign_id)
    assert days_by_api(plain, product, campaign_id, f"{after:%Y-%m}") == [str(after)]
