"""Tracked links: who clicked is known only where the platform or our own signature says so."""

import re
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import sqlalchemy as sa

from bot.tables.events import events
from bot.tables.followers import followers
from bot.tables.tracking import clicks, links
from bot.tracking import code_for
from tests import factories
from tests.scenarios.test_campaign_month import PARTS, campaign
from tests.scenarios.world import PRODUCT, SANDBOX, Browser, World

pytestmark = pytest.mark.slow  # every test sends a campaign first

TARGET = "https://weibo.com/u/1"
NAME = "微博活动"
LINK = re.compile(r"http://product\.test/l/\S+")


@pytest.fixture
def brand(world: World) -> World:
    """Ten followers; 1 and 2 have written and get the campaign for free, the others by mass."""
    world.connect()
    world.apply(**PARTS)
    world.crowd(10)
    for number in (1, 2):
        world.say(number, "你好")
    world.apply(
        campaigns=[
            campaign(
                NAME,
                "2026-11-02 09:01",
                channels=["customer_service", "mass"],
                content={"text": "看这里 {link:wb}"},
                links={"wb": TARGET},
                goal={"metric": "guided", "target": 5},
            )
        ]
    )
    world.go_to("2026-11-02 09:01")
    world.pass_time(1)
    assert world.run(NAME)["outcomes"] == {"sent": 10}
    return world


def link_of(world: World, number: int) -> str:
    """The link a follower reads in the message they got."""
    found = LINK.findall(" ".join(world.received(number)))
    assert len(found) == 1
    return str(found[0])


def clicked(world: World) -> list[tuple[str | None, bool, str | None]]:
    """(OpenID, clean, noise) of every click, in order."""
    rows = world.rows(
        sa.select(followers.c.open_id, clicks.c.clean, clicks.c.noise)
        .select_from(clicks.outerjoin(followers, followers.c.id == clicks.c.follower_id))
        .order_by(clicks.c.id)
    )
    return [(row.open_id, row.clean, row.noise) for row in rows]


def guided(world: World) -> int:
    (line,) = [row for row in world.told("campaigns", "list", "muyan") if row["name"] == NAME]
    return int(line["guided"])


def asked(world: World, browser: Browser, url: str) -> dict[str, str]:
    """Open a shared link; what it asks the platform's authorisation page."""
    answer = browser.open(url)
    assert answer.status_code == 302
    assert answer.headers["Location"].startswith(f"{SANDBOX}/connect/oauth2/authorize")
    query = parse_qs(urlsplit(answer.headers["Location"]).query)
    return {name: values[0] for name, values in query.items()}


def code_of(world: World, browser: Browser, url: str, who: str) -> dict[str, str]:
    """What the platform sends back with: code and state of a follower who opened the link."""
    asking = browser.open(url)
    back = browser.open(asking.headers["Location"], who).headers["Location"]
    assert back.startswith(f"{PRODUCT}/oauth/muyan?")
    return {name: values[0] for name, values in parse_qs(urlsplit(back).query).items()}


def test_a_personal_link_is_attributed_without_asking_anybody(brand: World) -> None:
    first, second = link_of(brand, 1), link_of(brand, 2)
    assert first != second
    assert brand.browser().follow(first) == TARGET
    assert brand.browser().follow(second) == TARGET
    assert clicked(brand) == [
        (factories.open_id(1), True, None),
        (factories.open_id(2), True, None),
    ]
    assert guided(brand) == 2


def test_a_shared_link_learns_by_web_authorisation_who_opened_it(brand: World) -> None:
    assert link_of(brand, 3) == link_of(brand, 10), "one body serves everybody"
    for number in (3, 4):
        assert brand.browser().follow(link_of(brand, number), factories.open_id(number)) == TARGET
    assert clicked(brand) == [
        (factories.open_id(3), True, None),
        (factories.open_id(4), True, None),
    ]
    assert guided(brand) == 2


def test_the_goal_is_counted_once_for_a_follower_and_a_campaign(brand: World) -> None:
    for _ in range(3):
        brand.browser().follow(link_of(brand, 3), factories.open_id(3))
        brand.browser().follow(link_of(brand, 1))
    assert len(clicked(brand)) == 6
    assert guided(brand) == 2
    kinds = [row.kind for row in brand.rows(sa.select(events.c.kind))]
    assert (kinds.count("click"), kinds.count("goal")) == (6, 2)


def test_a_tester_reaches_the_target_and_counts_for_nothing(brand: World) -> None:
    brand.ok("followers", "tester", "muyan", factories.open_id(1))
    assert brand.browser().follow(link_of(brand, 1)) == TARGET
    assert clicked(brand) == [(factories.open_id(1), False, "tester")]
    assert guided(brand) == 0


def test_a_snapshot_page_gives_no_identity(brand: World) -> None:
    url = link_of(brand, 3)
    assert brand.browser().follow(url, factories.open_id(3), query="&snapshot=1") == TARGET
    assert clicked(brand) == [(None, False, "snapshot")]


@pytest.mark.parametrize(
    ("agent", "headers", "method", "noise"),
    [
        ("Mozilla/5.0 (compatible; Baiduspider/2.0)", {}, "GET", "bot"),
        ("curl/8.0", {}, "GET", "bot"),
        ("", {}, "GET", "bot"),
        ("Mozilla/5.0 MicroMessenger/8.0", {"Purpose": "prefetch"}, "GET", "prefetch"),
        ("Mozilla/5.0 MicroMessenger/8.0", {"Sec-Purpose": "prefetch"}, "GET", "prefetch"),
        ("Mozilla/5.0 MicroMessenger/8.0", {}, "HEAD", "prefetch"),
    ],
)
def test_what_no_follower_opened_goes_on_and_is_not_counted(
    brand: World, agent: str, headers: dict[str, str], method: str, noise: str
) -> None:
    for number in (1, 3):
        answer = Browser(brand, agent).open(link_of(brand, number), headers=headers, method=method)
        assert (answer.status_code, answer.headers["Location"]) == (302, TARGET)
    assert [(clean, why) for _who, clean, why in clicked(brand)] == [(False, noise)] * 2
    assert guided(brand) == 0


def test_outside_wechat_a_shared_link_leads_on_without_a_name(brand: World) -> None:
    assert Browser(brand, "Mozilla/5.0 Safari/605").follow(link_of(brand, 3)) == TARGET
    assert clicked(brand) == [(None, False, "no_identity")]


def test_somebody_who_does_not_follow_reaches_the_target_unclean(brand: World) -> None:
    assert brand.browser().follow(link_of(brand, 3), "oSomebodyElse") == TARGET
    assert clicked(brand) == [(None, False, "not_a_follower")]


def test_a_state_that_was_made_up_is_not_believed(brand: World) -> None:
    browser = brand.browser()
    came = code_of(brand, browser, link_of(brand, 3), factories.open_id(3))
    state = came["state"]
    wrong = ["", "x", "A" * 200, "状态", state[:-1], state[1:], state.swapcase()]
    wrong += [state[:20] + ("A" if state[20] != "A" else "B") + state[21:]]
    for text in wrong:
        answer = browser.open(f"{PRODUCT}/oauth/muyan?code={came['code']}&state={text}")
        assert answer.status_code == 404, text
    assert clicked(brand) == []


def test_a_state_of_another_account_is_not_believed(brand: World) -> None:
    brand.connect("other", app_id="wx00000000000other")
    browser = brand.browser()
    came = code_of(brand, browser, link_of(brand, 3), factories.open_id(3))
    answer = browser.open(f"{PRODUCT}/oauth/other?code={came['code']}&state={came['state']}")
    assert answer.status_code == 404
    assert clicked(brand) == []


def test_a_state_that_is_too_old_is_not_believed(brand: World) -> None:
    browser = brand.browser()
    came = code_of(brand, browser, link_of(brand, 3), factories.open_id(3))
    brand.pass_time(1, minutes=11)
    url = f"{PRODUCT}/oauth/muyan?code={came['code']}&state={came['state']}"
    assert browser.open(url).status_code == 404


def test_a_code_of_one_browser_is_worth_nothing_in_another(brand: World) -> None:
    """Whoever sends somebody else their own authorised address must not become them."""
    came = code_of(brand, brand.browser(), link_of(brand, 3), factories.open_id(3))
    url = f"{PRODUCT}/oauth/muyan?code={came['code']}&state={came['state']}"
    answer = brand.browser().open(url)
    assert (answer.status_code, answer.headers["Location"]) == (302, TARGET)
    assert clicked(brand) == [(None, False, "no_identity")]


def test_a_code_serves_once(brand: World) -> None:
    browser = brand.browser()
    came = code_of(brand, browser, link_of(brand, 3), factories.open_id(3))
    url = f"{PRODUCT}/oauth/muyan?code={came['code']}&state={came['state']}"
    assert browser.open(url).headers["Location"] == TARGET
    assert browser.open(url).headers["Location"] == TARGET
    assert [clean for _who, clean, _noise in clicked(brand)] == [True, False]


def test_who_says_no_to_the_platform_reaches_the_target_all_the_same(brand: World) -> None:
    browser = brand.browser()
    state = asked(brand, browser, link_of(brand, 3))["state"]
    answer = browser.open(f"{PRODUCT}/oauth/muyan?state={state}")
    assert answer.headers["Location"] == TARGET
    assert clicked(brand) == [(None, False, "refused")]


def test_with_the_platform_down_the_visitor_still_arrives(brand: World) -> None:
    browser = brand.browser()
    came = code_of(brand, browser, link_of(brand, 3), factories.open_id(3))
    brand.platform_down()
    url = f"{PRODUCT}/oauth/muyan?code={came['code']}&state={came['state']}"
    assert browser.open(url).headers["Location"] == TARGET
    assert clicked(brand) == [(None, False, "no_identity")]


def test_only_the_base_scope_is_asked_for_and_the_state_fits_the_platform(brand: World) -> None:
    said = asked(brand, brand.browser(), link_of(brand, 3))
    assert said["scope"] == "snsapi_base"
    assert said["appid"] == brand.app_id()
    assert said["redirect_uri"] == f"{PRODUCT}/oauth/muyan"
    assert said["state"].isalnum()
    assert len(said["state"]) <= 128


def test_codes_that_we_did_not_make_are_not_found(brand: World) -> None:
    code = link_of(brand, 1).rpartition("/")[2]
    other = link_of(brand, 3).rpartition("/")[2]
    wrong: list[Any] = ["x", "1", "-" * 20, "A" * 60, code[:-1], code + "A", code[:11] + other[11:]]
    wrong += [code[:at] + ("A" if code[at] != "A" else "B") + code[at + 1 :] for at in range(12)]
    wrong += ["%00", "..%2f..%2fetc", "链接", code_for("another-secret-key", 1, 1)]
    wrong += [code_for(factories.SECRET_KEY, 999, 1)]
    for text in wrong:
        answer = brand.browser().open(f"{PRODUCT}/l/{text}")
        assert answer.status_code == 404, text
    assert clicked(brand) == []


def test_the_target_comes_from_the_row_whatever_the_visitor_writes(brand: World) -> None:
    evil = "https://evil.example/"
    for number in (1, 3):
        url = f"{link_of(brand, number)}?target={evil}&url={evil}&redirect_uri={evil}&to={evil}"
        who = factories.open_id(number)
        assert brand.browser().follow(url, who) == TARGET
    # a target is what an operator wrote, and a changed one holds from now on
    assert [row.target for row in brand.rows(sa.select(links.c.target))] == [TARGET]
    headers = {"Host": "evil.example", "X-Forwarded-Host": "evil.example", "Referer": evil}
    answer = brand.browser().open(link_of(brand, 3), headers=headers)
    assert "evil" not in answer.headers["Location"]


def test_a_link_of_a_campaign_must_be_a_web_address(brand: World) -> None:
    for target in ("javascript:alert(1)", "//evil.example", "file:///etc/passwd", ""):
        file = brand.file(campaigns=[campaign("坏链接", "2026-12-01 12:00", links={"wb": target})])
        assert "campaigns.0.links.wb" in brand.fails("apply", str(file))
