"""What came of a campaign is counted of one base: people of its first round, and what they did since."""

from datetime import datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from bot import overview, tracking
from bot.accounts import Account
from bot.campaigns import comparison, definitions, live, outcome, pasts
from bot.db import Session
from bot.tables.events import events
from bot.tables.tracking import clicks
from tests import factories
from tests.bot.campaigns.makers import make_campaign, make_delivery, make_run

NOW = factories.at("2025-11-14 20:30")
HOUR, WEEK = timedelta(hours=1), timedelta(days=7)


@pytest.fixture
def people(account: Account, session: Session) -> list[int]:
    return factories.make_followers(session, account.id, 10, now=NOW - WEEK)


def send(
    account: Account, session: Session, campaign_id: int, whom: list[int], at: datetime, **run: Any
) -> int:
    """A run by customer service to these people, all of whom got it."""
    run_id = make_run(session, account.id, campaign_id, now=at, status="finished", **run)
    for one in whom:
        values: dict[str, Any] = {"status": "sent", "channel": "customer_service", "at": at}
        make_delivery(session, account.id, run_id, one, group="核心", **values)
    return run_id


def click(account: Account, session: Session, campaign_id: int, who: int, at: datetime) -> None:
    link_id = tracking.link_id(session, account.id, campaign_id, "wb", "https://weibo.com/u/1", at)
    session.execute(
        sa.insert(clicks).values(
            account_id=account.id, link_id=link_id, follower_id=who, at=at, clean=True
        )
    )


def test_who_gets_a_follow_up_too_is_one_person(
    account: Account, session: Session, people: list[int]
) -> None:
    campaign_id = make_campaign(
        session, account.id, now=NOW, channels=["customer_service"],
        groups=[{"name": "核心", "segment": "everybody"}],
        follow_ups=[{"after": "24h", "channels": ["customer_service"]}],
    )  # fmt: skip
    first = send(account, session, campaign_id, people, NOW)
    later = NOW + 24 * HOUR
    send(account, session, campaign_id, people[2:], later, round=2, parent_id=first)
    for one, at in ((people[0], NOW + HOUR), (people[5], later + HOUR)):
        click(account, session, campaign_id, one, at)
    campaign = definitions.by_id(session, campaign_id)
    told = outcome.outcome(session, account.id, campaign.name)
    assert (told.planned, told.sent, told.delivered, told.guided) == (10, 10, 10, 2)
    (past,) = pasts.every(session, account.id)
    assert (past.delivered, past.guided, dict(past.groups)) == (10, 2, {"核心": (10, 2)})
    side = comparison.of_campaign(session, campaign, later + 2 * HOUR)
    assert side.guide_rate == told.guide_rate == past.rate == 0.2


def test_a_campaign_that_repeats_is_measured_by_its_last_time(
    account: Account, session: Session, people: list[int]
) -> None:
    repeat = {"repeat": {"every": "week", "on": ["fri"], "at": "20:30"}}
    campaign_id = make_campaign(
        session, account.id, now=NOW, schedule=repeat, channels=["customer_service"],
        goal={"metric": "guided", "target": 3},
    )  # fmt: skip
    send(account, session, campaign_id, people, NOW)
    send(account, session, campaign_id, people[:2], NOW + WEEK)
    for one in people[:5]:
        click(account, session, campaign_id, one, NOW + HOUR)
    click(account, session, campaign_id, people[0], NOW + WEEK + HOUR)
    session.execute(
        sa.insert(events).values(
            account_id=account.id, follower_id=people[7], kind="unsubscribe", at=NOW + HOUR
        )
    )
    campaign = definitions.by_id(session, campaign_id)
    picture = live.picture(session, campaign, NOW + 2 * WEEK)
    assert (picture.delivered, picture.guided, picture.reached_at) == (2, 1, None)
    side = comparison.of_campaign(session, campaign, NOW + 2 * WEEK)
    assert (side.delivered, side.guided, side.unfollows) == (2, 1, 0)


def test_an_event_is_a_campaign_s_where_it_follows_its_message(
    account: Account, session: Session, people: list[int]
) -> None:
    goal = {"metric": "event", "event": "领券", "target": 2}
    campaign_id = make_campaign(
        session, account.id, now=NOW, channels=["customer_service"], goal=goal
    )
    send(account, session, campaign_id, people[:4], NOW)
    took = [
        (people[0], NOW + HOUR),
        (people[0], NOW + 2 * HOUR),
        (people[1], NOW - HOUR),  # before
        (people[9], NOW + HOUR),  # got nothing
        (people[2], NOW + 3 * HOUR),
    ]
    for one, at in took:
        session.execute(
            sa.insert(events).values(account_id=account.id, follower_id=one, kind="领券", at=at)
        )
    campaign = definitions.by_id(session, campaign_id)
    picture = live.picture(session, campaign, NOW + WEEK)
    assert (picture.guided, picture.reached_at) == (2, NOW + 3 * HOUR)
    assert outcome.outcome(session, account.id, campaign.name).guided == 2
    (line,) = overview.lines_of(session, account.id, [campaign_id])
    assert (line.guided, line.target) == (2, 2)
