"""One follower's story: every source in one list by time, each tag with the push it came of."""

from datetime import datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from flask.testing import FlaskClient

from bot import db, events, operators, outbox, rulebook, timeline
from bot.accounts import Account
from bot.errors import Invalid
from bot.tables.campaigns import campaign_runs, campaigns, deliveries
from bot.tables.followers import follower_tags, followers
from bot.tables.inbox import inbound
from tests import factories, pushes


@pytest.fixture
def lived(client: FlaskClient, engine: sa.Engine, account: Account, now: datetime) -> int:
    """A follower who scanned, wrote, was answered and tagged, was skipped, clicked and was edited."""
    rule: dict[str, Any] = {
        "name": "领券",
        "when": [{"text_is": {"any": ["领券"]}}],
        "then": [{"add_tag": {"tags": ["会员"]}}, {"reply": {"text": "好"}}],
    }
    with db.writing(engine) as session:
        body: dict[str, Any] = {"rules": [rule], "fallback": None}
        rulebook.publish(session, account.id, body, by="Ann", note="", now=now)
    follow = pushes.event("subscribe", at=now, EventKey="qrscene_store_03", Ticket="T")
    pushes.post(client, follow, at=now)
    pushes.post(client, pushes.text("领券", at=now + timedelta(seconds=5)), at=now)
    minute = timedelta(minutes=1)
    with db.writing(engine) as session:
        follower_id = int(session.execute(sa.select(followers.c.id)).scalar_one())
        outbox.put(
            session,
            account_id=account.id,
            channel="customer_service",
            purpose="agent",
            purpose_id=None,
            payload={"content": {"text": "您好"}, "by": "阿敏"},
            now=now + minute,
            follower_id=follower_id,
        )
        _skipped(session, account, follower_id, now + 2 * minute)
        events.record(session, account.id, follower_id, "click", now + 3 * minute, key="wb")
        events.record(session, account.id, follower_id, "campaign_sent", now + 3 * minute)
        operators.audit(
            session,
            "follower.edit",
            timeline.thing(follower_id),
            operator="Ann",
            now=now + 4 * minute,
            account_id=account.id,
            before={"remark": None},
            after={"remark": "王"},
        )
    return follower_id


def _skipped(session: db.Session, account: Account, follower_id: int, at: datetime) -> None:
    campaign = session.execute(
        sa.insert(campaigns)
        .values(
            account_id=account.id,
            name="双十一",
            segment="全部",
            schedule={},
            channels=[],
            content={"text": "买"},
            links={},
            status="finished",
            created_at=at,
            created_by="Ann",
        )
        .returning(campaigns.c.id)
    ).scalar_one()
    run = session.execute(
        sa.insert(campaign_runs)
        .values(
            account_id=account.id,
            campaign_id=campaign,
            due_at=at,
            status="finished",
            content={"text": "买"},
            planned_to=0,
            created_at=at,
        )
        .returning(campaign_runs.c.id)
    ).scalar_one()
    session.execute(
        sa.insert(deliveries).values(
            account_id=account.id,
            run_id=run,
            follower_id=follower_id,
            status="skipped",
            reason="no_slot",
            wave=0,
            at=at,
        )
    )


def test_everything_is_in_one_list_the_newest_first(
    lived: int, engine: sa.Engine, account: Account
) -> None:
    with db.reading(engine) as session:
        story = timeline.page(session, account.id, lived)
    assert [entry.source for entry in story.entries] == [
        "change",
        "event",
        "delivery",
        "message",
        "tag",
        "push",
        "push",
    ]
    assert story.after is None
    click, skip = story.entries[1], story.entries[2]
    assert click.data["kind"] == "click"
    assert (skip.data["campaign"], skip.data["reason"]) == ("双十一", "no_slot")


def test_a_tag_names_the_push_that_gave_it_and_the_push_says_why(
    lived: int, engine: sa.Engine, account: Account
) -> None:
    with db.reading(engine) as session:
        story = timeline.page(session, account.id, lived)
        tag = next(entry for entry in story.entries if entry.source == "tag")
        assert tag.data == {"name": "会员", "origin": "rule:领券"}
        assert tag.push_id is not None
        cause = timeline.push(session, account.id, lived, tag.push_id)
        assert cause is not None
        assert cause.data["rules"] == ["领券"]
        assert cause.data["trace"]["steps"][0]["outcome"] == "matched"
        assert timeline.push(session, account.id, lived + 1, tag.push_id) is None
        key = timeline.key_of_tag(tag.at, tag.id)
        assert timeline.page(session, account.id, lived, after=key, limit=1).entries == [tag]


@pytest.mark.parametrize("limit", [1, 3])
def test_pages_by_key_leave_nothing_out_and_tell_nothing_twice(
    lived: int, engine: sa.Engine, account: Account, now: datetime, limit: int
) -> None:
    with db.writing(
        engine
    ) as session:  # all in one microsecond: only source and id tell them apart
        session.execute(sa.update(inbound).values(received_at=now))
        session.execute(sa.update(follower_tags).values(added_at=now))
        for _ in range(3):
            events.record(session, account.id, lived, "order", now)
    with db.reading(engine) as session:
        whole = timeline.page(session, account.id, lived, limit=50).entries
        seen: list[timeline.Entry] = []
        after: str | None = None
        for _ in range(20):
            story = timeline.page(session, account.id, lived, after=after, limit=limit)
            seen += story.entries
            after = story.after
            if after is None:
                break
    assert seen == list(whole)
    assert len(seen) == 10


def test_what_a_pruned_push_did_is_told_by_its_event(
    lived: int, engine: sa.Engine, account: Account
) -> None:
    with db.writing(engine) as session:
        session.execute(sa.delete(inbound))
    with db.reading(engine) as session:
        story = timeline.page(session, account.id, lived)
    told = {entry.data.get("kind") for entry in story.entries if entry.source == "event"}
    assert told == {"click", "subscribe", "message"}


def test_another_accounts_eyes_see_nothing(
    lived: int, engine: sa.Engine, account: Account, now: datetime
) -> None:
    with db.writing(engine) as session:
        other = factories.make_account(session, "other", now=now)
        assert timeline.page(session, other, lived).entries == []


@pytest.mark.sqlite
@pytest.mark.parametrize("after", ["x", "WzFd", "WyJ4IiwwLDFd", "WyIyMDI1LTAxLTAxIiwwLDFd", "é"])
def test_a_key_that_is_none_is_refused(engine: sa.Engine, account: Account, after: str) -> None:
    with db.reading(engine) as session, pytest.raises(Invalid):
        timeline.page(session, account.id, 1, after=after)
