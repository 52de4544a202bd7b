"""Messages no rule answered (未匹配消息): gathered into wishes, put aside, or made into a draft rule."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any

import sqlalchemy as sa

from bot import drafts
from bot.db import Session, insert
from bot.errors import Refused
from bot.tables.inbox import inbound
from bot.tables.rulebooks import ignored_words, rules
from rules.discovery import Cluster, Said, clusters
from rules.engine import decide
from rules.facts import Facts
from rules.model import load
from rules.text import fold_words

MOST = (
    5_000  # messages that are looked at, the newest: reading more would take longer than a page may
)
SHOWN = 200  # wishes
GROUP = "未匹配消息"
TO_FILL = "（请填写回复）"
# as the partial index says it: of "unmatched = 1", which SQLAlchemy writes, SQLite does not see that it is the same
IS_UNMATCHED = sa.text("inbound.unmatched")
Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Found:
    """The wishes of an account; ``messages`` were looked at, ``whole`` is False where there are more."""

    clusters: Sequence[Cluster]
    messages: int
    whole: bool


def found(session: Session, account_id: int, most: int = MOST) -> Found:
    """The wishes behind the newest messages nobody answered; worked out once for the same messages."""
    rows = session.execute(
        sa.select(inbound.c.facts["text"].as_string().label("text"), inbound.c.follower_id)
        .where(*_unanswered(account_id))
        .order_by(inbound.c.id.desc())
        .limit(most + 1)
    ).all()
    said = tuple((row.text or "", row.follower_id or 0) for row in rows[:most])
    words = tuple(row.folded for row in ignored(session, account_id))
    return Found(_gathered(said, words), len(said), len(rows) <= most)


@lru_cache(maxsize=4)
def _gathered(said: tuple[tuple[str, int], ...], words: tuple[str, ...]) -> Sequence[Cluster]:
    return clusters((Said(text, follower_id) for text, follower_id in said), words, SHOWN)


def ignored(session: Session, account_id: int) -> Sequence[sa.Row[Any]]:
    """What operators put aside, newest first."""
    return session.execute(
        sa.select(ignored_words)
        .where(ignored_words.c.account_id == account_id)
        .order_by(ignored_words.c.at.desc(), ignored_words.c.folded)
    ).all()


def ignore(
    session: Session, account_id: int, topics: Sequence[str], *, by: str, now: datetime
) -> list[str]:
    """Put wishes aside by what they speak of; the words as they are kept."""
    words = [word for word in dict.fromkeys(fold_words(topic)[:200] for topic in topics) if word]
    for word in words:
        statement = insert(session, ignored_words).values(
            account_id=account_id, folded=word, by=by, at=now
        )
        session.execute(statement.on_conflict_do_nothing())
    return words


def notice_again(session: Session, account_id: int, word: str) -> bool:
    """Take a word back from what was put aside; whether it was there."""
    statement = sa.delete(ignored_words).where(
        ignored_words.c.account_id == account_id, ignored_words.c.folded == word
    )
    return session.execute(statement).rowcount > 0


def rule_for(words: Sequence[str], name: str) -> Json:
    """A rule that looks for the words. It is off until somebody has written its answer."""
    return {
        "name": name,
        "when": [{"text_contains": {"any": list(words)}}],
        "then": [{"reply": {"text": TO_FILL}}],
        "enabled": False,
    }


def would_answer(
    session: Session, account_id: int, words: Sequence[str], most: int = MOST
) -> tuple[int, int]:
    """(messages, people) among those nobody answered that a rule with these words answers: the engine is asked.

    Raises:
        Invalid: the words make no rule.
    """
    rulebook = load({"rules": [{**rule_for(words, "words"), "enabled": True}]})
    people: set[int] = set()
    count = 0
    for row in _rows(session, account_id, most):
        if decide(rulebook, Facts.from_json(row.facts)).rules:
            count += 1
            people.add(row.follower_id or 0)
    return count, len(people)


def draft(
    session: Session, account_id: int, words: Sequence[str], *, by: str, now: datetime
) -> int:
    """Make a draft rule that looks for the words; its id.

    Raises:
        Invalid: the words make no rule.
        Refused: no words were given.
    """
    if not words:
        raise Refused("no words were chosen for the rule")
    name = _free_name(session, account_id, f"回答：{words[0]}"[:50])
    body = rule_for(words, name)
    return drafts.add(session, account_id, body, by=by, now=now, group=GROUP)


def _free_name(session: Session, account_id: int, wanted: str) -> str:
    taken = set(
        session.execute(sa.select(rules.c.name).where(rules.c.account_id == account_id)).scalars()
    )
    numbered = (f"{wanted} {number}" for number in range(2, len(taken) + 3))
    return wanted if wanted not in taken else next(one for one in numbered if one not in taken)


def _unanswered(account_id: int) -> tuple[Any, ...]:
    return inbound.c.account_id == account_id, IS_UNMATCHED, inbound.c.facts.is_not(None)


def _rows(session: Session, account_id: int, most: int) -> Sequence[Any]:
    return session.execute(
        sa.select(inbound.c.id, inbound.c.follower_id, inbound.c.facts)
        .where(*_unanswered(account_id))
        .order_by(inbound.c.id.desc())
        .limit(most)
    ).all()
