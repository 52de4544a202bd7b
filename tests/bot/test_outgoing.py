"""Messages that another system sends for us: together, signed, with an id that a repeat carries too."""

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from bot import db, outbox, outgoing
from bot.accounts import Account
from bot.errors import Invalid
from bot.outside import Posted
from bot.tables.accounts import accounts
from bot.tables.followers import followers
from bot.tables.outbox import outbox as rows
from bot.webhook_deliveries import signature
from tests import factories

URL = "https://sms.example.com/send"


class Receiver:
    """Stands for the other system: answers in turn, and remembers what it was told."""

    def __init__(self, *answers: Posted) -> None:
        self.answers = list(answers)
        self.posts: list[tuple[dict[str, Any], Mapping[str, str], bytes]] = []

    def __call__(self, url: str, body: bytes, headers: Mapping[str, str], **_more: Any) -> Posted:
        assert url == URL
        self.posts.append((json.loads(body), headers, body))
        return self.answers.pop(0) if self.answers else Posted(200)

    def texts(self) -> list[list[str]]:
        return [[one["text"] for one in said["data"]["messages"]] for said, _h, _b in self.posts]


def connected(engine: sa.Engine, account: Account, now: datetime, **changed: Any) -> str:
    given: dict[str, Any] = {"url": URL, "together": 2, "open_id": False, "fields": ["手机"]}
    with db.writing(engine) as session:
        secret = outgoing.save(
            session, account.id, **given | changed, by="Ann", secret_key=factories.SECRET_KEY, now=now
        )  # fmt: skip
    assert secret is not None
    return secret


def owe(engine: sa.Engine, account: Account, count: int, now: datetime) -> list[int]:
    with db.writing(engine) as session:
        people = factories.make_followers(session, account.id, count, now=now)
        session.execute(sa.update(followers).values(fields={"手机": "138", "称呼": "林"}))
        for who in people:
            outbox.put(
                session, account_id=account.id, channel="webhook", purpose="delivery", purpose_id=who,
                payload={"content": {"text": f"第 {who} 位"}}, now=now, follower_id=who,
            )  # fmt: skip
    return people


def post(engine: sa.Engine, receiver: Receiver, now: datetime) -> int:
    return outgoing.send_due(engine, factories.SECRET_KEY, lambda: now, post=receiver)


def statuses(engine: sa.Engine) -> list[tuple[str, str | None]]:
    with db.reading(engine) as session:
        found = session.execute(sa.select(rows.c.status, rows.c.error).order_by(rows.c.id))
        return [(row.status, row.error) for row in found]


def test_they_go_together_signed_and_say_only_what_may_be_told(
    engine: sa.Engine, account: Account, now: datetime
) -> None:
    secret = connected(engine, account, now)
    owe(engine, account, 3, now)
    receiver = Receiver()
    assert post(engine, receiver, now) == 3
    assert [len(texts) for texts in receiver.texts()] == [2, 1]
    said, headers, body = receiver.posts[0]
    [first, second] = said["data"]["messages"]
    assert (first["fields"], "open_id" in first) == ({"手机": "138"}, False)
    assert first["id"] != second["id"]
    stamp = int(headers["webhook-timestamp"])
    assert headers["webhook-signature"] == signature(secret, headers["webhook-id"], stamp, body)
    assert {status for status, _error in statuses(engine)} == {"sent"}
    assert post(engine, receiver, now) == 0


def test_without_an_answer_the_same_id_goes_again(
    engine: sa.Engine, account: Account, now: datetime
) -> None:
    connected(engine, account, now, open_id=True)
    owe(engine, account, 1, now)
    receiver = Receiver(Posted(None, "no answer within 10 seconds"), Posted(503), Posted(200))
    for minutes in (0, 2, 10):
        post(engine, receiver, now + timedelta(minutes=minutes))
    ids = [said["data"]["messages"][0]["id"] for said, _h, _b in receiver.posts]
    assert len(ids) == 3 and len(set(ids)) == 1
    assert receiver.posts[0][0]["data"]["messages"][0]["open_id"].startswith("o_test_")
    assert [status for status, _error in statuses(engine)] == ["sent"]


@pytest.mark.parametrize(("status", "ends"), [(400, "failed"), (410, "failed"), (429, "waiting")])
def test_a_refusal_is_final_unless_it_says_later(
    engine: sa.Engine, account: Account, now: datetime, status: int, ends: str
) -> None:
    connected(engine, account, now)
    owe(engine, account, 1, now)
    post(engine, Receiver(Posted(status)), now)
    assert [found for found, _error in statuses(engine)] == [ends]


def test_who_left_gets_nothing_and_without_an_address_nobody_does(
    engine: sa.Engine, account: Account, now: datetime
) -> None:
    people = owe(engine, account, 2, now)
    with db.writing(engine) as session:
        session.execute(
            sa.update(followers).where(followers.c.id == people[0]).values(subscribed=False)
        )
    receiver = Receiver()
    post(engine, receiver, now)
    assert receiver.posts == []
    [left, nowhere] = statuses(engine)
    assert left == ("failed", "left")
    assert nowhere[0] == "failed" and "no address" in str(nowhere[1])


def test_it_never_posts_into_our_own_network(
    engine: sa.Engine, account: Account, now: datetime
) -> None:
    for changed in ({"url": "http://127.0.0.1/x"}, {"together": 0}, {"together": 101}):
        with pytest.raises(Invalid):
            connected(engine, account, now, **changed)


def test_nothing_of_a_campaign_is_posted_in_quiet_hours(
    engine: sa.Engine, account: Account, now: datetime
) -> None:
    connected(engine, account, now)
    owe(engine, account, 1, now)
    with db.writing(engine) as session:
        session.execute(sa.update(accounts).values(limits={"quiet_hours": "22:00-10:00"}))
    receiver = Receiver()

    def post(moment: datetime) -> int:
        return outgoing.send_due(engine, factories.SECRET_KEY, lambda: moment, post=receiver)

    assert post(now) == 0
    assert post(now + timedelta(hours=1)) == 1
