"""Messages nobody answered (未匹配消息): gathered into wishes, put aside, made into a draft rule."""

from typing import Annotated

from pydantic import Field

from bot import unmatched
from bot.api.cursors import Listing, slice_of
from bot.api.frame import Area, Asked, Call, Id, Page, Told, When
from bot.api.masks import masked
from bot.api.problems import found
from bot.db import Session

area = Area("unmatched", "Messages nobody answered · 未匹配消息")
Word = Annotated[str, Field(min_length=1, max_length=200)]


class Wish(Told):
    topics: list[str] = Field(description="what the messages have in common")
    messages: int
    people: int
    examples: list[str]
    words: list[str] = Field(description="what a rule would look for")


class Wishes(Told):
    items: list[Wish] = Field(description="the most frequent first, at most 200")
    messages: int = Field(description="how many messages were looked at")
    whole: bool = Field(description="false where there are more")


class Words(Asked):
    words: list[Word] = Field(min_length=1, max_length=50)


class Coverage(Told):
    messages: int = Field(description="that a rule with these words would have answered")
    people: int


class Drafted(Coverage):
    rule: Id = Field(description="the draft; it is off until somebody writes its answer")


class Ignored(Told):
    word: str
    by: str
    at: When


class IgnoredWords(Told):
    words: list[str]


class OneWord(Asked):
    word: Word


@area("GET", "/unmatched", "rules.read")
def unmatched_list(call: Call, session: Session) -> Wishes:
    """What followers asked for and nobody answered: near duplicates are one wish."""
    answer = unmatched.found(session, call.account.id)
    return Wishes(
        items=[
            Wish(
                topics=list(one.topics),
                messages=one.messages,
                people=one.people,
                examples=masked(call, list(one.examples)) if call.may("messages.read") else [],
                words=list(one.words),
            )
            for one in answer.clusters
        ],
        messages=answer.messages,
        whole=answer.whole,
    )


@area("POST", "/unmatched/coverage", "rules.read")
def unmatched_coverage(call: Call, session: Session, body: Words) -> Coverage:
    """How many past messages a rule with these words would have answered."""
    messages, people = unmatched.would_answer(session, call.account.id, body.words)
    return Coverage(messages=messages, people=people)


@area("POST", "/unmatched/draft", "rules.write", status=201)
def unmatched_draft(call: Call, session: Session, body: Words) -> Drafted:
    """A draft rule that looks for these words."""
    rule = unmatched.draft(session, call.account.id, body.words, by=call.by, now=call.now)
    messages, people = unmatched.would_answer(session, call.account.id, body.words)
    call.audit(session, "rule.add", f"rule:{rule}", after={"words": body.words})
    return Drafted(rule=rule, messages=messages, people=people)


@area("GET", "/unmatched/ignored", "rules.read")
def unmatched_ignored(call: Call, session: Session, query: Page) -> Listing[Ignored]:
    """What was put aside, the newest first."""
    rows = unmatched.ignored(session, call.account.id)
    return slice_of(call, query, rows, lambda row: Ignored(word=row.folded, by=row.by, at=row.at))


@area("POST", "/unmatched/ignore", "rules.write")
def unmatched_ignore(call: Call, session: Session, body: Words) -> IgnoredWords:
    """Put wishes aside by what they speak of."""
    words = unmatched.ignore(session, call.account.id, body.words, by=call.by, now=call.now)
    call.audit(session, "unmatched.ignore", "unmatched", after={"words": words})
    return IgnoredWords(words=words)


@area("POST", "/unmatched/notice", "rules.write")
def unmatched_notice(call: Call, session: Session, body: OneWord) -> IgnoredWords:
    """Take a word back from what was put aside."""
    found(unmatched.notice_again(session, call.account.id, body.word) or None)
    call.audit(session, "unmatched.notice", "unmatched", after={"word": body.word})
    return IgnoredWords(words=[body.word])
