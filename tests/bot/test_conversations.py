"""Conversations: whose window ends next, what was said both ways, answers that leave once."""

from datetime import datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from bot import canned_answers, conversations, db, followers
from bot.accounts import Account
from bot.conversations import Line
from bot.errors import Invalid, Refused
from bot.tables.followers import followers as followers_table
from bot.tables.followers import reply_windows
from bot.tables.inbox import inbound
from bot.tables.outbox import outbox
from tests import factories


def wrote(
    session: db.Session,
    account_id: int,
    number: int,
    at: datetime,
    text: str = "你好",
    **values: Any,
) -> int:
    """Follower ``number`` writes; their row id."""
    open_id = factories.open_id(number)
    follower = followers.find(session, account_id, open_id)
    follower_id = (
        follower.id
        if follower is not None
        else factories.make_follower(session, account_id, number, now=at)
    )
    given = {
        "account_id": account_id,
        "dedupe_key": f"{account_id}:{number}:{at.timestamp()}",
        "follower_id": follower_id,
        "kind": "text",
        "message": {"kind": "text", "open_id": open_id, "fields": {"Content": text}},
        "sent_at": at,
        "received_at": at,
        "status": "done",
    } | values
    session.execute(sa.insert(inbound).values(**given))
    followers.open_window(session, account_id, follower_id, "message", at)
    return follower_id


def lines(session: db.Session, account: Account, now: datetime, **asked: Any) -> list[Line]:
    return conversations.page(session, account.id, now, **asked).lines


def test_whose_window_ends_next_comes_first_and_who_wrote_last_on_request(
    account: Account, session: db.Session, now: datetime
) -> None:
    ids = [
        wrote(session, account.id, number, now - timedelta(hours=hours), f"第 {number} 句")
        for number, hours in ((1, 5), (2, 47), (3, 1), (4, 49))
    ]
    found = lines(session, account, now)
    assert [line.follower_id for line in found] == [ids[1], ids[0], ids[2]], "49 hours are over"
    assert found[0].ends_at == now + timedelta(hours=1)
    assert (found[0].left, found[0].said["Content"]) == (5, "第 2 句")
    newest = lines(session, account, now, order="newest")
    assert [line.follower_id for line in newest] == [ids[2], ids[0], ids[1]]


def test_a_list_goes_on_by_key_and_loses_nobody(
    account: Account, session: db.Session, now: datetime
) -> None:
    ids = [wrote(session, account.id, number, now) for number in range(1, 8)]
    for order in conversations.ORDERS:
        seen: list[int] = []
        after = ""
        while True:
            page = conversations.page(session, account.id, now, order=order, after=after, limit=3)
            seen += [line.follower_id for line in page.lines]
            if page.more is None:
                break
            after = page.more
        assert seen == (ids if order == "ending" else ids[::-1])
    for wrong in ("x", "2025-01-01~1", "2025-03-03T09:00:00+00:00~x", "~"):
        with pytest.raises(Invalid):
            conversations.page(session, account.id, now, after=wrong)


def test_what_an_agent_saw_is_read_until_the_next_message(
    account: Account, session: db.Session, now: datetime
) -> None:
    first, second = (wrote(session, account.id, number, now) for number in (1, 2))
    conversations.read(session, account.id, first)
    unread = lines(session, account, now, view="unread")
    assert [line.follower_id for line in unread] == [second]
    assert conversations.counts(session, account.id, now, "Ann") == {
        "open": 2, "unread": 1, "mine": 0, "closed": 0,
    }  # fmt: skip
    wrote(session, account.id, 1, now + timedelta(minutes=1), "还在吗")
    assert len(lines(session, account, now, view="unread")) == 2
    assert conversations.counts(session, account.id, now, "Ann")["unread"] == 2


def test_an_event_is_no_unread_message(
    account: Account, session: db.Session, now: datetime
) -> None:
    follower_id = wrote(session, account.id, 1, now)
    conversations.read(session, account.id, follower_id)
    wrote(session, account.id, 1, now + timedelta(seconds=9), kind="menu_click")
    assert lines(session, account, now, view="unread") == []


def test_taken_conversations_are_mine_and_rules_stay_silent(
    account: Account, session: db.Session, now: datetime
) -> None:
    follower_id = wrote(session, account.id, 1, now)
    wrote(session, account.id, 2, now)
    conversations.take(session, account.id, follower_id, "Ann", now)
    assert [one.follower_id for one in lines(session, account, now, view="mine", agent="Ann")] == [
        follower_id
    ]
    assert lines(session, account, now, view="mine", agent="Bo") == []
    found = conversations.state(session, account.id, follower_id, now)
    assert found.silent_until == now + conversations.SILENCE
    conversations.hand_back(session, account.id, follower_id)
    found = conversations.state(session, account.id, follower_id, now)
    assert (found.agent, found.silent_until) == (None, None)


def test_a_closed_conversation_comes_back_with_the_next_message(
    account: Account, session: db.Session, now: datetime
) -> None:
    follower_id = wrote(session, account.id, 1, now)
    conversations.close(session, account.id, follower_id, now)
    assert lines(session, account, now) == []
    assert len(lines(session, account, now, view="closed")) == 1
    assert conversations.state(session, account.id, follower_id, now).closed
    later = now + timedelta(minutes=5)
    wrote(session, account.id, 1, later)
    assert len(lines(session, account, later)) == 1
    assert lines(session, account, later, view="closed") == []


def test_an_answer_takes_one_message_and_leaves_once_however_often_it_is_sent(
    account: Account, session: db.Session, now: datetime
) -> None:
    follower_id = wrote(session, account.id, 1, now)
    session.execute(
        sa.update(followers_table)
        .where(followers_table.c.id == follower_id)
        .values(fields={"称呼": "兰姐"}, opted_out_at=now)
    )
    given = {"by": "Ann", "key": "form-1", "now": now}
    put = conversations.send(session, account.id, follower_id, {"text": "{称呼|您}好"}, **given)
    assert put is not None
    assert conversations.send(session, account.id, follower_id, {"text": "x"}, **given) is None
    row = session.execute(sa.select(outbox)).one()
    assert row.payload == {"content": {"text": "兰姐好"}, "by": "Ann"}
    assert (row.purpose, row.status) == ("agent", "waiting")
    assert row.expires_at == now + timedelta(hours=48)
    assert conversations.state(session, account.id, follower_id, now).left == 4


@pytest.mark.parametrize(
    ("content", "why"),
    [({"text": " "}, "empty"), ({"text": "x" * 601}, "601"), ({"nothing": 1}, "text")],
)
def test_what_cannot_be_sent_takes_no_message(
    account: Account, session: db.Session, now: datetime, content: dict[str, Any], why: str
) -> None:
    follower_id = wrote(session, account.id, 1, now)
    with pytest.raises(Invalid, match=why):
        conversations.send(session, account.id, follower_id, content, by="Ann", key="1", now=now)
    assert conversations.state(session, account.id, follower_id, now).left == 5


def test_without_a_window_or_after_leaving_nothing_is_sent(
    account: Account, session: db.Session, now: datetime
) -> None:
    follower_id = wrote(session, account.id, 1, now)
    later = now + timedelta(hours=48)
    with pytest.raises(Refused, match="no reply window"):
        conversations.send(
            session, account.id, follower_id, {"text": "在吗"}, by="Ann", key="1", now=later
        )
    followers.unsubscribe(session, account.id, factories.open_id(1), later)
    with pytest.raises(Refused, match="left"):
        conversations.send(
            session, account.id, follower_id, {"text": "在吗"}, by="Ann", key="2", now=later
        )
    assert session.execute(sa.select(sa.func.count()).select_from(outbox)).scalar_one() == 0


def test_what_was_said_stands_in_order_both_ways(
    account: Account, session: db.Session, now: datetime
) -> None:
    for minute in range(6):
        follower_id = wrote(
            session,
            account.id,
            1,
            now + timedelta(minutes=minute),
            f"问 {minute}",
            reply={"text": f"答 {minute}"},
            rules=["领券"],
        )
    conversations.send(
        session, account.id, follower_id, {"text": "人工"}, by="Ann", key="1",
        now=now + timedelta(minutes=9),
    )  # fmt: skip
    said, before = conversations.bubbles(session, account.id, follower_id, limit=4)
    texts = [one.content.get("Content") or one.content.get("text") for one in said]
    assert texts == ["问 2", "答 2", "问 3", "答 3", "问 4", "答 4", "问 5", "答 5", "人工"]
    assert (said[1].who, said[-1].who, said[-1].status) == ("rule:领券", "agent:Ann", "waiting")
    assert before is not None
    older, before = conversations.bubbles(session, account.id, follower_id, before=before, limit=4)
    assert [one.content.get("Content") for one in older if not one.ours] == ["问 0", "问 1"]
    assert before is None


def test_another_accounts_followers_and_answers_are_nobodys_here(
    account: Account, session: db.Session, now: datetime
) -> None:
    other = factories.make_account(session, "shop", now=now)
    follower_id = wrote(session, other, 1, now)
    assert lines(session, account, now) == []
    assert conversations.bubbles(session, account.id, follower_id)[0] == []
    assert conversations.state(session, account.id, follower_id, now).left == 0
    with pytest.raises(Refused, match="left"):
        conversations.send(
            session, account.id, follower_id, {"text": "在吗"}, by="Ann", key="1", now=now
        )
    canned = canned_answers.save(session, other, "你好", "您好，请问有什么可以帮您")
    with pytest.raises(Refused, match="no such"):
        canned_answers.save(session, account.id, "你好", "x", canned)
    assert canned_answers.drop(session, account.id, canned) is None
    assert len(canned_answers.every(session, other)) == 1


def test_canned_answers_have_titles_of_their_own_and_a_text_that_can_be_sent(
    account: Account, session: db.Session
) -> None:
    made = canned_answers.save(session, account.id, " 营业时间 ", "10:00–22:00")
    with pytest.raises(Refused, match="title"):
        canned_answers.save(session, account.id, "营业时间", "x")
    canned_answers.save(session, account.id, "营业时间", "9:00–22:00", made)
    for title, text in (("", "x"), ("t" * 61, "x"), ("t", " "), ("t", "x" * 601)):
        with pytest.raises(Invalid):
            canned_answers.save(session, account.id, title, text)
    (row,) = canned_answers.every(session, account.id)
    assert (row.title, row.text) == ("营业时间", "9:00–22:00")
    assert canned_answers.drop(session, account.id, made) == "营业时间"


@pytest.mark.sqlite  # PostgreSQL prefers a scan of a table this small
def test_the_inbox_is_read_from_an_index(
    account: Account, session: db.Session, now: datetime
) -> None:
    session.execute(sa.insert(reply_windows), _windows(session, account, now))
    plan = session.execute(
        sa.text(
            "EXPLAIN QUERY PLAN SELECT follower_id FROM reply_windows WHERE account_id = 1 AND"
            " opened_by = 'message' AND expires_at > '2025-01-01' ORDER BY expires_at LIMIT 30"
        )
    ).all()
    assert "ix_reply_windows_ending" in str(plan)


def _windows(session: db.Session, account: Account, now: datetime) -> list[dict[str, Any]]:
    return [
        {
            "account_id": account.id,
            "follower_id": follower_id,
            "opened_by": "message",
            "opened_at": now,
            "expires_at": now + timedelta(hours=48),
            "left": 5,
        }
        for follower_id in factories.make_followers(session, account.id, 5, now=now)
    ]
