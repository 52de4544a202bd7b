"""Messages no rule answered: marked as they come, gathered, put aside, made into a draft that the engine counts."""

from typing import Any

import pytest
import sqlalchemy as sa

from bot import db, drafts, erasure, unmatched
from bot.accounts import Account
from bot.db import Session
from bot.errors import Invalid, Refused
from bot.tables.followers import followers
from bot.tables.inbox import inbound
from tests import factories
from tests.bot.test_rule_trials import store
from tests.scenarios.conftest import world as world
from tests.scenarios.world import World

RULES = [
    {
        "name": "券",
        "when": [{"text_contains": {"any": ["券"]}}],
        "then": [{"reply": {"text": "领"}}],
    },
    {"name": "转人工", "when": [{"text_is": {"any": ["人工"]}}], "then": [{"hand_over": {}}]},
]


def marked(session: Session) -> list[tuple[str | None, bool | None]]:
    rows = session.execute(sa.select(inbound.c.facts, inbound.c.unmatched).order_by(inbound.c.id))
    return [((row.facts or {}).get("text"), row.unmatched) for row in rows]


def test_a_text_no_rule_answers_is_marked_and_nothing_else_is(world: World) -> None:
    world.connect()
    world.apply(rules=RULES, fallback={"reply": {"text": "没有听懂"}})
    world.follow(1)
    for text in ("券", "门店在哪", "退订", "人工", "还在吗"):
        world.say(1, text)
    with db.reading(world.rt.engine) as session:
        assert marked(session) == [
            (None, None),
            ("券", None),
            ("门店在哪", True),
            ("退订", None),
            ("人工", None),
            ("还在吗", None),  # an agent has the conversation, rules are silent
        ]


@pytest.fixture
def asked(account: Account, session: Session, now: Any) -> int:
    """Three messages nobody answered and one that somebody did, of one follower; her id."""
    lan = factories.make_follower(session, account.id, now=now)
    ids = store(session, account, ["查物流", "物流到哪了", "积分怎么用", "券"], now, lan)
    session.execute(sa.update(inbound).where(inbound.c.id.in_(ids[:3])).values(unmatched=True))
    return lan


def test_wishes_are_found_among_what_nobody_answered(
    account: Account, session: Session, asked: int
) -> None:
    found = unmatched.found(session, account.id)
    assert [(one.topics[0], one.messages) for one in found.clusters] == [("物流", 2), ("积分用", 1)]
    assert (found.messages, found.whole) == (3, True)
    assert not unmatched.found(session, account.id, most=2).whole


def test_what_is_put_aside_comes_back_when_it_is_noticed_again(
    account: Account, session: Session, asked: int, now: Any
) -> None:
    for _ in range(2):
        assert unmatched.ignore(session, account.id, ["物流"], by="Ann", now=now) == ["物流"]
    assert [one.topics for one in unmatched.found(session, account.id).clusters] == [("积分用",)]
    assert [row.folded for row in unmatched.ignored(session, account.id)] == ["物流"]
    assert unmatched.notice_again(session, account.id, "物流")
    assert not unmatched.notice_again(session, account.id, "物流")
    assert len(unmatched.found(session, account.id).clusters) == 2


def test_a_draft_is_made_that_is_off_until_its_answer_is_written(
    account: Account, session: Session, asked: int, now: Any
) -> None:
    assert unmatched.would_answer(session, account.id, ["物流"]) == (2, 1)
    assert unmatched.would_answer(session, account.id, ["物流", "积分"]) == (3, 1)
    for name in ("回答：物流", "回答：物流 2"):
        rule_id = unmatched.draft(session, account.id, ["物流"], by="Ann", now=now)
        draft = drafts.get(session, account.id, rule_id)
        assert (draft.name, draft.group, draft.enabled) == (name, unmatched.GROUP, False)
    with pytest.raises(Invalid):
        unmatched.would_answer(session, account.id, [" "])
    with pytest.raises(Refused):
        unmatched.draft(session, account.id, [], by="Ann", now=now)


def test_nobody_sees_the_messages_of_another_account(
    account: Account, session: Session, asked: int, now: Any
) -> None:
    other = factories.make_account(session, "other", now=now)
    assert unmatched.found(session, other).messages == 0
    assert unmatched.would_answer(session, other, ["物流"]) == (0, 0)
    unmatched.ignore(session, other, ["物流"], by="Ann", now=now)
    assert len(unmatched.found(session, account.id).clusters) == 2


def test_an_erased_follower_asked_nothing(
    account: Account, session: Session, asked: int, now: Any
) -> None:
    erasure.forget(session, account.id, asked, factories.SECRET_KEY, now)
    assert unmatched.found(session, account.id).messages == 0
    assert session.execute(sa.select(sa.func.count()).select_from(followers)).scalar() == 1
