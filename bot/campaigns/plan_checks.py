"""What is looked at before a plan is handed in: contents, words it invites followers to send, previews to testers."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from bot import checks, outbox, registry, rehearsal, rulebook
from bot import content as contents
from bot.accounts import Account
from bot.campaigns.document import experiment_channels
from bot.checks import Finding
from bot.db import Session
from bot.errors import Refused
from bot.rehearsal import Situation
from bot.tables.followers import followers

Json = Mapping[str, Any]
MOST_WORDS = 20
PREVIEW = "preview"
# 回复「领券」, 发送 1, 留言“奈雪”: what a follower is asked to type
_INVITED = re.compile(
    r"(?:回复|发送|输入|回|发)\s*(?:关键[词字])?[:：]?\s*"
    r"(?:[「“\"『【']([^」”\"』】']{1,20})[」”\"』】']|([0-9A-Za-z]{1,10})(?![0-9A-Za-z]))"
)


@dataclass(frozen=True, slots=True)
class Said:
    """One content of a plan: its dotted place, whom it is for, and the channel where it is for one alone.

    ``channels``: all that say it, as far as they are chosen.
    """

    place: str
    label: str
    channel: str | None
    content: Json
    channels: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Answer:
    """What a word the content asks for would be answered with now. ``rule`` None: nothing but the fallback, if that."""

    word: str
    rule: str | None
    fallback: bool
    opted_out: bool  # the word ends all campaigns for whoever sends it
    others: Sequence[str]  # rules further down that wait for the word too, and never get it


def said(document: Json) -> Iterator[Said]:
    """Every content of a document, finished or not."""
    main, variants, own = _content(document), _variants(document), document.get("contents") or {}
    steps = [step for step in document.get("follow_ups") or () if isinstance(step, Mapping)]
    channels = list(document.get("channels") or ())
    tested = experiment_channels(channels, own, document.get("experiment")) if variants else ()
    # variants speak on the channels that are tested alone; a follow-up without words of its own says the main ones
    silent = [
        name for step in steps if not step.get("content") for name in step.get("channels") or ()
    ]
    plain = [name for name in channels if name not in tested] + silent
    plain = [name for name in dict.fromkeys(plain) if name not in own]
    if main and (plain or not variants) and all(one["content"] != main for _at, one in variants):
        yield Said("content", "", None, main, plain)
    for number, variant in variants:
        name, said_by = str(variant.get("name") or ""), list(tested)
        if variant["content"] == main:
            said_by += plain
        place = f"experiment.variants.{number}.content"
        yield Said(place, name, None, variant["content"], said_by)
    for channel, found in own.items():
        if isinstance(found, Mapping) and found:
            yield Said(f"contents.{channel}", "", channel, found, [channel])
    for number, step in enumerate(steps):
        found = step.get("content")
        if isinstance(found, Mapping) and found:
            yield Said(f"follow_ups.{number}.content", "", None, found, step.get("channels") or ())


def findings(document: Json) -> list[Finding]:
    """What the content checks say of all contents and of where its links lead; each channel is asked for what goes
    out by it."""
    message_class = str(document.get("message_class") or "marketing")
    found: list[Finding] = []
    for one in said(document):
        asked: Sequence[str | None] = one.channels or [None]
        for channel in asked:
            for finding in checks.run(one.content, one.place, message_class, channel):
                if finding not in found:
                    found.append(finding)
    # a text names a link, and the reader is sent on to where it leads
    for name, target in (document.get("links") or {}).items():
        found += checks.run({"url": target}, f"links.{name}", message_class)
    return sorted(found, key=lambda one: (one.severity != checks.ERROR, one.place, one.start))


def invited_words(document: Json) -> list[str]:
    """The words followers are asked to type, in the order they are written."""
    found: list[str] = []
    texts = [text for one in said(document) for text in texts_of(one.content)]
    brief = document.get("brief") or {}
    texts += [str(brief.get(key) or "") for key in ("participation", "path")]
    for text in texts:
        for match in _INVITED.finditer(text):
            word = (match[1] or match[2]).strip()
            if word and word not in found:
                found.append(word)
    return found[:MOST_WORDS]


def texts_of(content: Any) -> list[str]:
    """Every text inside a content."""
    if isinstance(content, str):
        return [content]
    if isinstance(content, Mapping):
        return [text for value in content.values() for text in texts_of(value)]
    if isinstance(content, list | tuple):
        return [text for value in content for text in texts_of(value)]
    return []


def answers(session: Session, account: Account, document: Json, at: datetime) -> list[Answer]:
    """What each invited word would be answered with at a moment, by the rules in force."""
    words = invited_words(document)
    number = rulebook.head(session, account.id)
    if not words or not number:
        return [Answer(word, None, False, False, ()) for word in words]
    book = rehearsal.rulebook_of(rulebook.snapshot(session, account.id, number))
    return [_answer(session, account, book, word, at) for word in words]


def _answer(session: Session, account: Account, book: Any, word: str, at: datetime) -> Answer:
    facts = rehearsal.facts_of(session, account, Situation("text", at, text=word))
    outcome = rehearsal.play(session, account, book, facts)
    won = list(outcome.decision.rules)
    waiting = [
        rule.name
        for rule in book.rules
        if rule.name not in won and rule.enabled and _asks_exactly(rule, word)
    ]
    return Answer(
        word,
        won[0] if won else None,
        not won and bool(outcome.replies),
        outcome.handled == "opt_out",
        waiting if won and not _asks_exactly_named(book, won[0], word) else (),
    )


def _asks_exactly_named(book: Any, name: str, word: str) -> bool:
    return any(rule.name == name and _asks_exactly(rule, word) for rule in book.rules)


def _asks_exactly(rule: Any, word: str) -> bool:
    """Whether a rule waits for this very word."""
    return any(
        part.name == "text_is" and word in (getattr(part.params, "any", None) or ())
        for part in rule.when
    )


def _content(document: Json) -> Json:
    found = document.get("content")
    return found if isinstance(found, Mapping) else {}


def _variants(document: Json) -> list[tuple[int, Json]]:
    """(number, variant) of those that say something."""
    experiment = document.get("experiment")
    listed = experiment.get("variants") if isinstance(experiment, Mapping) else None
    found = [one for one in enumerate(listed or ()) if isinstance(one[1], Mapping)]
    return [
        one for one in found if isinstance(one[1].get("content"), Mapping) and one[1]["content"]
    ]


def testers(session: Session, account_id: int) -> list[Any]:
    """(id, remark) of the account's testers."""
    return list(
        session.execute(
            sa.select(followers.c.id, followers.c.remark)
            .where(
                followers.c.account_id == account_id,
                followers.c.tester,
                followers.c.subscribed.is_(sa.true()),
            )
            .order_by(followers.c.id)
        )
    )


def preview(session: Session, account: Account, document: Json, now: datetime, *, by: str) -> int:
    """Owe every content to every tester as a preview, which takes no slot; how many messages.

    Raises:
        Refused: there are no testers, or nothing to show.
    """
    people = testers(session, account.id)
    if not people:
        raise Refused("there are no testers: set some on the page of a follower")
    mass = registry.members("bot.channels")[contents.MASS]
    shown = [one for one in said(document) if contents.kind_of(one.content) in mass.CONTENT_KINDS]
    if not shown:
        raise Refused("there is no content a preview could show")
    for one in shown:
        for person in people:
            outbox.put(
                session,
                account_id=account.id,
                channel=contents.MASS,
                purpose=PREVIEW,
                purpose_id=None,
                payload={"target": PREVIEW, "content": dict(one.content), "by": by},
                now=now,
                follower_id=person.id,
            )
    return len(shown) * len(people)
