"""One push, one transaction: record, handle, decide, carry out, finish. Also what Replay runs."""

import traceback
from collections.abc import Callable
from typing import TypeVar

from sqlalchemy.exc import DBAPIError

import handlers
from bot import clock, db, effects, erasure, followers, inbox, logs
from bot.accounts import Account
from bot.db import Session
from bot.inbox import Answer, Handled, Push
from bot.runtime import Runtime
from bot.wechat.message import FROM_PLATFORM, Message
from rules.engine import decide
from rules.facts import Facts

Result = TypeVar("Result")


class NotStored(Exception):
    """The database was locked or gone: answer 503, so that the platform repeats the push."""


def receive(runtime: Runtime, account: Account, message: Message) -> Answer:
    """Take in one verified push and say what to answer.

    1. insert it first; a repeated push gets the stored answer
    2. its handler sees the follower and what happened
    3. the rulebook in force decides, effects are carried out
    4. facts, decision and answer are stored with it; one commit covers all four

    A bug in a handler or a rule rolls everything back; the push is stored as failed in a
    transaction of its own, answered with nothing, and can be replayed.

    Raises:
        NotStored: nothing could be stored.
    """
    received_at = runtime.clock()

    def work(session: Session) -> Answer:
        push_id = inbox.record(session, account, message, received_at)
        if push_id is None:
            return inbox.answer_again(session, account, message)
        push = Push(push_id, account, message, received_at)
        return Answer(handle(runtime, session, push), received_at)

    def failed(error: str) -> Answer:
        with db.writing(runtime.engine) as session:
            push_id = inbox.record_failure(session, account, message, received_at, error)
        logs.get().error("push_failed", account=account.slug, push=push_id, error=error)
        return Answer(None, received_at)

    return _attempt(runtime, work, failed)


def handle(runtime: Runtime, session: Session, push: Push) -> inbox.Json | None:
    """Steps 2 to 4 for a push that is stored; its rendered passive reply, if any."""
    started = clock.tick_seconds()
    rulebook = runtime.rulebooks.current(session, push.account.id)
    push = Push(
        push.id,
        push.account,
        push.message,
        push.received_at,
        with_cooldowns=rulebook.has_cooldown,
        passive=push.passive,
    )
    outcome = handlers.dispatch(session, push)
    facts = outcome.facts if isinstance(outcome, Handled) else outcome
    reply: inbox.Json | None = None
    trace: inbox.Json | None = None
    matched: tuple[str, ...] = ()
    unmatched = False
    if isinstance(outcome, Handled):
        reply, trace = outcome.reply, {"handled": outcome.why}
    elif outcome is not None:
        decision = decide(rulebook, outcome)
        matched, trace = decision.rules, dict(decision.trace)
        unmatched = outcome.kind == "text" and not matched and not outcome.handed_over
        reply, notes = effects.carry_out(session, push, outcome, decision)
        if notes:
            trace["notes"] = notes
        cooled = [rule for rule in matched if rule in rulebook.cooldowns]
        followers.fired(session, push.account.id, outcome.follower_id, cooled, push.received_at)
    _recall_if_new(runtime, session, push, facts)
    inbox.finish(
        session,
        push.id,
        follower_id=facts.follower_id if facts is not None else _follower_id(session, push),
        facts=facts.to_json() if facts is not None else None,
        number=rulebook.number or None,
        rules=matched,
        trace=trace,
        reply=reply,
        milliseconds=(clock.tick_seconds() - started) * 1000,
        unmatched=unmatched,
    )
    return reply


def replay(runtime: Runtime, account: Account, push_id: int) -> bool:
    """Handle a failed push again; whether it went well. Its reply goes out only if a window is open."""

    def work(session: Session) -> bool:
        push = inbox.stored(session, account, push_id)
        if push is None:
            return False
        handle(runtime, session, push)
        return True

    def failed(error: str) -> bool:
        with db.writing(runtime.engine) as session:
            inbox.fail(session, push_id, error)
        return False

    return _attempt(runtime, work, failed)


def _attempt(
    runtime: Runtime, work: Callable[[Session], Result], failed: Callable[[str], Result]
) -> Result:
    try:
        return runtime.writer.run(work)
    except Exception as problem:
        if db.is_unavailable(problem):
            raise NotStored(type(problem).__name__) from problem
        error = logs.clean("".join(traceback.format_exception(problem)))
    try:
        return failed(error)
    except DBAPIError as problem:
        raise NotStored(type(problem).__name__) from problem


def _recall_if_new(runtime: Runtime, session: Session, push: Push, facts: Facts | None) -> None:
    # first_message is no sign: most newcomers follow first. A follow or a first word may come from
    # somebody who was erased this month and must not get a fifth message for it.
    if facts is None or (push.message.kind != "subscribe" and not facts.first_message):
        return
    follower = followers.by_id(session, push.account.id, facts.follower_id)
    if follower is not None and follower.first_seen_at == push.message.sent_at:
        erasure.recall(session, push.account.id, follower, runtime.secret_key, push.received_at)


def _follower_id(session: Session, push: Push) -> int | None:
    if push.message.kind in FROM_PLATFORM:
        return None
    found = followers.find(session, push.account.id, push.message.open_id)
    return found.id if found is not None else None
