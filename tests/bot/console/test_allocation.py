"""Dividing a month's slots in the console: proposed, looked at, put in force, taken back."""

import re
from datetime import datetime
from html import unescape

import pytest
import sqlalchemy as sa
from flask.testing import FlaskClient

from bot import db
from bot.accounts import Account
from bot.audiences import segments
from bot.tables.campaigns import allocations
from bot.tables.operators import audit
from tests import factories
from tests.bot.campaigns.makers import make_campaign
from tests.bot.console import pages

MONTH = "2025-03"


@pytest.fixture
def campaign_id(engine: sa.Engine, account: Account, now: datetime) -> int:
    at = factories.at("2025-03-20 20:30")
    with db.writing(engine) as session:
        factories.make_followers(session, account.id, 5, now=now)
        segments.save(session, account.id, "everybody", {"all": []}, now)
        return make_campaign(
            session, account.id, now=now, name="上新", next_due_at=at,
            schedule={"at": at.isoformat()},
        )  # fmt: skip


def test_a_month_is_divided_put_in_force_and_taken_back(
    browser: FlaskClient, engine: sa.Engine, account: Account, campaign_id: int
) -> None:
    page = f"/console/{account.slug}/allocation"
    assert "没有历史，按 5%" in pages.text(browser.get(f"{page}?month={MONTH}"))
    made = pages.post(
        browser,
        f"{page}/propose?month={MONTH}",
        {"campaign": str(campaign_id), f"rate_{campaign_id}": "12.5", f"most_{campaign_id}": "3"},
    )
    assert made.status_code == 303
    result = made.headers["Location"]
    assert "照老办法" in pages.text(browser.get(result))
    table = browser.get(f"{result}?format=csv").get_data(as_text=True)
    assert len(table.splitlines()) == 4 and factories.open_id(1) not in table
    assert "3 个名额按方案保留" in pages.text(browser.get(f"{result}/enforce"))
    assert pages.post(browser, f"{result}/enforce").status_code == 303
    assert "生效中" in pages.text(browser.get(f"{page}?month={MONTH}"))
    assert "放开" in pages.text(browser.get(f"{result}/lift"))
    assert pages.post(browser, f"{result}/lift").status_code == 303
    with db.reading(engine) as session:
        assert session.execute(sa.select(allocations.c.status)).scalar_one() == "replaced"
        actions = set(session.execute(sa.select(audit.c.action)).scalars())
        assert {"allocation.enforce", "allocation.lift"} <= actions


@pytest.mark.parametrize("form", [{}, {"campaign": "99"}, {"campaign": "1", "rate_1": "many"}])
def test_what_cannot_be_divided_says_why(
    browser: FlaskClient, account: Account, campaign_id: int, form: dict[str, str]
) -> None:
    page = f"/console/{account.slug}/allocation/propose?month={MONTH}"
    assert pages.post(browser, page, form).status_code == 422


def test_divisions_of_a_month_are_paged(
    browser: FlaskClient, engine: sa.Engine, account: Account, now: datetime
) -> None:
    with db.writing(engine) as session:
        for number in range(12):
            session.execute(
                sa.insert(allocations).values(
                    account_id=account.id, month=MONTH, status="replaced", made_by=f"第{number}人",
                    made_at=now, figures={"slots": 1, "clicks": 1.0},
                )
            )  # fmt: skip
    page = f"/console/{account.slug}/allocation?month={MONTH}"
    first = browser.get(page).get_data(as_text=True)
    assert "第11人" in first and "第2人" in first and "第1人" not in first
    following = re.search(r'rel="next" href="([^"]+)"', first)
    assert following is not None
    second = browser.get(unescape(following[1])).get_data(as_text=True)
    assert "第1人" in second and "第0人" in second and "第2人" not in second
    assert 'rel="next"' not in second and "回到第一页" in second


def test_a_month_without_campaigns_says_what_to_do(
    browser: FlaskClient, account: Account, campaign_id: int
) -> None:
    text = pages.text(browser.get(f"/console/{account.slug}/allocation?month=2025-05"))
    assert "这个月还没有可以分配的群发" in text
