"""The ledger's pages: what is left, what took it, sends made elsewhere, and the recount."""

import io
from collections.abc import Callable
from datetime import datetime, timedelta

import pytest
import sqlalchemy as sa
from flask.testing import FlaskClient

from bot import db
from bot.accounts import Account
from bot.audiences import segments
from bot.campaigns import ledger
from bot.tables.campaigns import external_mass_sends, mass_ledger
from bot.tables.operators import audit
from tests import factories
from tests.bot.campaigns.makers import make_campaign, make_delivery, make_run, slots
from tests.bot.console import pages

MONTH = "2025-03"
Role = Callable[..., FlaskClient]


@pytest.fixture
def people(engine: sa.Engine, account: Account, now: datetime) -> list[int]:
    """Twenty followers; five of them got one campaign of this month."""
    with db.writing(engine) as session:
        ids = factories.make_followers(session, account.id, 20, now=now)
        segments.save(session, account.id, "everybody", {"all": []}, now)
        campaign = make_campaign(session, account.id, now=now, status="finished")
        run = make_run(session, account.id, campaign, now=now, status="finished")
        for person in ids[:5]:
            make_delivery(
                session, account.id, run, person, slot="spent", month=MONTH, status="sent"
            )
        ledger.reserve(session, account.id, ids[:5], MONTH)
        session.execute(sa.update(mass_ledger).values(reserved=0, spent=1))
    return ids


def test_the_page_tells_what_is_left_and_what_took_it(
    browser: FlaskClient, account: Account, engine: sa.Engine, people: list[int], now: datetime
) -> None:
    with db.writing(engine) as session:
        make_campaign(
            session, account.id, now=now, name="会员日", next_due_at=now + timedelta(days=2)
        )
    text = pages.text(browser.get(f"/console/{account.slug}/ledger"))
    assert "奈雪8元券" in text and "会员日" in text
    story = browser.get(f"/console/{account.slug}/ledger/story?format=csv").get_data(as_text=True)
    assert [line.split(",")[-5:] for line in story.splitlines()[1:]] == [
        ["20", "0", "0", "0", "0"],
        ["15", "5", "0", "0", "0"],
    ]
    listed = pages.text(browser.get(f"/console/{account.slug}/ledger/people?left=3"))
    assert "共 5 人" in listed
    table = browser.get(f"/console/{account.slug}/ledger/people?left=3&format=csv")
    lines = table.get_data(as_text=True).splitlines()
    assert len(lines) == 6 and lines[1].endswith("奈雪8元券")
    assert factories.open_id(1) not in lines[1]


@pytest.mark.parametrize(
    ("form", "charged"),
    [
        ({"went_to": "all"}, 20),
        ({"went_to": "segment", "segment": "everybody"}, 20),
        ({"went_to": "listed", "open_ids": f"open_id\n{factories.open_id(1)}\n"}, 1),
        ({"went_to": "none"}, 0),
    ],
    ids=["all", "segment", "listed", "none"],
)
def test_a_send_made_elsewhere_is_written_down_and_charged(
    browser: FlaskClient, account: Account, engine: sa.Engine, people: list[int],
    form: dict[str, str], charged: int,
) -> None:  # fmt: skip
    answer = pages.post(browser, f"/console/{account.slug}/ledger/sends/new", form)
    assert answer.status_code == 303
    with db.reading(engine) as session:
        assert sum(slots(session, person, MONTH)[2] for person in people) == charged
        assert ledger.check(session, account.id, MONTH) == []
        row = session.execute(sa.select(audit).where(audit.c.action == "ledger.external")).one()
        assert row.after["went_to"] == form["went_to"]


def test_a_list_may_be_a_file(
    browser: FlaskClient, account: Account, engine: sa.Engine, people: list[int]
) -> None:
    file = io.BytesIO(f"{factories.open_id(2)}\n{factories.open_id(3)}\n".encode())
    page = f"/console/{account.slug}/ledger/sends/new"
    form = {"went_to": "listed", "file": (file, "openids.csv"), "csrf_token": pages.mark(browser)}
    assert browser.post(page, data=form).status_code == 303
    with db.reading(engine) as session:
        assert [slots(session, person, MONTH)[2] for person in people[:4]] == [0, 1, 1, 0]


@pytest.mark.parametrize(
    "form",
    [
        {},
        {"went_to": "tag"},
        {"went_to": "listed"},
        {"went_to": "listed", "open_ids": "nobody-we-know"},
        {"went_to": "all", "at": "2999-01-01T10:00"},
        {"went_to": "all", "at": "yesterday"},
        {"went_to": "segment", "segment": "没有的"},
    ],
)
def test_what_cannot_be_is_said_beside_its_field(
    browser: FlaskClient, account: Account, engine: sa.Engine, people: list[int], form: dict[str, str]
) -> None:  # fmt: skip
    answer = pages.post(browser, f"/console/{account.slug}/ledger/sends/new", form)
    assert answer.status_code == 422
    with db.reading(engine) as session:
        assert sum(slots(session, person, MONTH)[2] for person in people) == 0


def test_an_unknown_send_is_guessed_explained_once_and_only_in_its_account(
    browser: FlaskClient, account: Account, engine: sa.Engine, people: list[int], now: datetime
) -> None:
    with db.writing(engine) as session:
        other = factories.make_account(session, "other", now=now)
        ids = [
            session.execute(
                sa.insert(external_mass_sends)
                .values(
                    account_id=whose, source="event", msg_id="77", audience="unknown", times=1,
                    month=MONTH, at=now, total=20, sent=19,
                )
                .returning(external_mass_sends.c.id)
            ).scalar_one()
            for whose in (account.id, other)
        ]  # fmt: skip
    assert "去说明" in pages.text(browser.get(f"/console/{account.slug}/ledger"))
    page = f"/console/{account.slug}/ledger/sends/{ids[0]}"
    assert "多半是发给了全部关注者" in pages.text(browser.get(page))
    assert browser.get(f"/console/{account.slug}/ledger/sends/{ids[1]}").status_code == 404
    assert pages.post(browser, page, {"went_to": "all"}).status_code == 303
    with db.reading(engine) as session:
        assert sum(slots(session, person, MONTH)[2] for person in people) == 20
        row = session.execute(
            sa.select(external_mass_sends).where(external_mass_sends.c.account_id == account.id)
        ).one()
        assert (row.total, row.sent, row.msg_id) == (20, 19, "77")


def test_the_recount_compares_before_it_mends(
    browser: FlaskClient, account: Account, engine: sa.Engine, people: list[int]
) -> None:
    page = f"/console/{account.slug}/ledger/recount"
    assert "账本和触达记录一致" in pages.text(browser.get(page))
    with db.writing(engine) as session:
        session.execute(
            sa.update(mass_ledger).where(mass_ledger.c.follower_id == people[0]).values(spent=3)
        )
    assert "1 人的计数和触达记录不一致" in pages.text(browser.get(page))
    assert "改正" in pages.text(browser.get(f"{page}?repair=1"))
    with db.reading(engine) as session:
        assert slots(session, people[0], MONTH)[1] == 3
    assert pages.post(browser, page, {}).status_code == 303
    with db.reading(engine) as session:
        assert slots(session, people[0], MONTH)[1] == 1
        assert session.execute(
            sa.select(sa.func.count()).where(audit.c.action == "ledger.recount")
        ).scalar_one()


def test_who_only_reads_neither_writes_down_nor_recounts(
    as_role: Role, account: Account, people: list[int]
) -> None:
    viewer = as_role("viewer")
    assert viewer.get(f"/console/{account.slug}/ledger").status_code == 200
    for path in ("sends/new", "recount"):
        assert viewer.get(f"/console/{account.slug}/ledger/{path}").status_code == 403


def test_a_subscription_account_has_one_send_a_day(
    browser: FlaskClient, account: Account, engine: sa.Engine, people: list[int], now: datetime
) -> None:
    from bot.tables.accounts import accounts

    with db.writing(engine) as session:
        session.execute(sa.update(accounts).values(kind="subscription"))
    page = f"/console/{account.slug}/ledger"
    assert "今天还可以群发一次" in pages.text(browser.get(page))
    pages.post(browser, f"{page}/sends/new", {"went_to": "all"})
    assert "一天只能群发一次" in pages.text(browser.get(page))
