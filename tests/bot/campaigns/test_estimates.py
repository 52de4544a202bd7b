"""The live estimate says what planning would decide, person by person."""

from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from bot import accounts
from bot.accounts import Account
from bot.audiences import segments
from bot.audiences.index import Look
from bot.audiences.leaves import key_of
from bot.campaigns import definitions, estimates, planning
from bot.db import Session
from bot.tables.accounts import accounts as accounts_table
from bot.tables.accounts import templates
from bot.tables.campaigns import mass_ledger
from bot.tables.followers import followers, reply_windows
from tests import factories

NOW = factories.at("2025-11-14 09:00")
DOCUMENT: dict[str, Any] = {
    "name": "奈雪",
    "groups": [
        {"name": "红", "segment": "红", "rate": 0.5},
        {"name": "其余", "segment": "全部", "rate": 0.1},
    ],
    "at": "2025-11-14T20:30:00+08:00",
    "channels": ["customer_service", "mass"],
    "content": {"text": "请你喝奶茶"},
    "holdout": 0.2,
}


@pytest.fixture
def town(account: Account, session: Session) -> list[int]:
    """Sixty followers: a third red, a fifth with a window, some without slots, some opted out."""
    people = factories.make_followers(session, account.id, 60, now=NOW)
    tag = factories.make_tag(session, account.id, "红")
    for number, who in enumerate(people):
        if number % 3 == 0:
            factories.give_tag(session, account.id, who, tag, now=NOW)
        if number % 5 == 0:
            session.execute(
                sa.insert(reply_windows).values(
                    account_id=account.id, follower_id=who, opened_by="message",
                    opened_at=NOW, expires_at=NOW + timedelta(hours=40), left=5,
                )
            )  # fmt: skip
        if number % 7 in (1, 2):
            session.execute(
                sa.insert(mass_ledger).values(
                    account_id=account.id, follower_id=who, month="2025-11",
                    reserved=1, spent=3 if number % 7 == 1 else 1, external=0,
                )
            )  # fmt: skip
        if number % 11 == 4:
            session.execute(
                sa.update(followers).where(followers.c.id == who).values(opted_out_at=NOW)
            )
    segments.save(session, account.id, "红", {"tag": {"has": "红"}}, NOW)
    segments.save(session, account.id, "全部", {"all": []}, NOW)
    return people


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"channels": ["mass"]},
        {"channels": ["mass", "customer_service"]},
        {"channels": ["customer_service"]},
        {"holdout": 0.0},
        {"groups": [{"name": "红", "segment": "红"}]},
    ],
)
def test_the_estimate_is_the_plan(
    account: Account, session: Session, town: list[int], change: dict[str, Any]
) -> None:
    document = {key: one for key, one in {**DOCUMENT, **change}.items() if one != 0.0}
    campaign = definitions.save(session, account, document, NOW, by="Ann")
    planned = planning.forecast(session, account, campaign, NOW)
    found = estimates.estimate(
        Look(session, account.id, NOW), account, document, at=NOW, campaign_id=campaign.id
    )
    assert found.exact
    assert found.people == planned.people == found.reached + sum(found.skipped.values())
    assert {one.name: one.people for one in found.channels if one.people} == planned.channels
    assert found.slots == planned.slots
    assert dict(found.skipped) == {reason: n for reason, n in planned.reasons.items() if n}
    assert {one.name: one.reached for one in found.groups} == {
        str(name): one.reached for name, one in planned.groups.items()
    } or len(found.groups) == 1
    assert sum(found.slots_left) == found.people


def test_everything_an_estimate_asks_is_counted_before(
    account: Account, session: Session, town: list[int]
) -> None:
    limits = {
        "caps": [
            {"messages": 2, "days": 7},
            {"messages": 1, "days": 1, "channel": "mass"},
            {"messages": 4, "days": 30, "message_class": "marketing"},
        ]
    }
    session.execute(
        sa.update(accounts_table).where(accounts_table.c.id == account.id).values(limits=limits)
    )
    session.execute(
        sa.insert(templates).values(
            account_id=account.id, kind="subscription", template_id="开始", title="", content="",
            example="", long_term=True, read_at=NOW,
        )
    )  # fmt: skip
    both = {"any": [{"in_segment": {"name": "红"}}, {"tag": {"lacks": ["红"]}}]}
    segments.save(session, account.id, "红或不红", both, NOW)
    capped = accounts.by_id(session, account.id)
    document = {
        **DOCUMENT,
        "groups": [{"name": "都", "segment": "红或不红"}],
        "channels": ["customer_service", "subscription", "mass"],
        "contents": {"subscription": {"notice": {"template": "开始"}}},
    }
    look = Look(session, account.id, NOW)
    estimates.estimate(look, capped, document, at=NOW)
    expected = {key_of(leaf) for leaf in estimates.expected(session, capped, NOW)}
    assert set(look.found) <= expected


def test_a_large_audience_gives_up_its_holdout_by_share(
    account: Account, session: Session, town: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(estimates, "EXACT_HOLDOUT", 10)
    found = estimates.estimate(Look(session, account.id, NOW), account, DOCUMENT, at=NOW)
    assert not found.exact
    assert found.people == found.reached + sum(found.skipped.values())
    assert found.held_out == pytest.approx(0.2 * found.people, abs=5)


def test_caps_of_any_channel_and_of_one_are_taken_off(
    account: Account, session: Session, town: list[int]
) -> None:
    session.execute(
        sa.update(accounts_table)
        .where(accounts_table.c.id == account.id)
        .values(limits={"cap": {"messages": 1, "days": 7}})
    )
    capped = accounts.by_id(session, account.id)
    campaign = definitions.save(session, capped, DOCUMENT, NOW, by="Ann")
    planned = planning.forecast(session, capped, campaign, NOW)
    found = estimates.estimate(Look(session, account.id, NOW), capped, DOCUMENT, at=NOW)
    assert dict(found.skipped) == {reason: n for reason, n in planned.reasons.items() if n}
