"""Carries out effects: the only interpreter of ``rules/effects.py``."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from bot import content, events, followers, jobs, media, outbox, scenes, tags
from bot.db import Session
from bot.errors import Refused
from bot.inbox import Push
from rules.effects import AddTag, HandOver, Record, RemoveTag, Reply, SendLater, SetField
from rules.engine import Decision
from rules.facts import Facts

Json = dict[str, Any]
SEND_LATER = "send_later"  # the job that does it


def carry_out(
    session: Session, push: Push, facts: Facts, decision: Decision
) -> tuple[Json | None, list[str]]:
    """Do what a decision wants. Returns the passive reply, and notes about what could not be done.

    The first reply of a push becomes the passive one; further ones, and all of a replayed push,
    go out as customer-service messages if a window is open.
    """
    passive: Json | None = None
    notes: list[str] = []
    fields: dict[str, Any] = dict(facts.fields)
    account_id, follower_id, now = push.account.id, facts.follower_id, push.received_at
    for effect, rule in zip(decision.effects, decision.sources, strict=True):
        match effect:
            case Reply():
                try:
                    ready = ready_content(session, account_id, effect.content, fields)
                except Refused as problem:
                    notes.append(str(problem))
                    continue
                if passive is None and push.passive:
                    passive = ready
                elif not _send_in_window(session, push, facts, ready):
                    notes.append("a further reply was not sent: no reply window is open")
            case SendLater():
                jobs.enqueue(
                    session,
                    SEND_LATER,
                    {"follower_id": follower_id, "push_id": push.id, "content": effect.content},
                    now=now,
                    run_at=now + timedelta(seconds=effect.seconds),
                    account_id=account_id,
                )
            case AddTag():
                tags.add(
                    session, account_id, follower_id, [effect.tag], f"rule:{rule}", now, push.id
                )
            case RemoveTag():
                tags.remove(session, account_id, follower_id, [effect.tag])
            case SetField():
                followers.set_fields(session, follower_id, fields, {effect.name: effect.value})
                fields[effect.name] = effect.value
            case HandOver():
                followers.hand_over(session, follower_id, now + followers.HAND_OVER)
                if passive is None and push.passive:
                    passive = {"hand_over": {"agent": effect.agent}}
                else:
                    notes.append("not handed over: this push has its answer already")
            case Record():
                events.record(
                    session, account_id, follower_id, effect.event, now, caused_by=push.id
                )
    if facts.scene and not facts.handed_over and _answers_nothing(decision):
        passive, note = _scene_reply(session, push, facts, fields)
        notes += [note] if note else []
    return passive, notes


def _answers_nothing(decision: Decision) -> bool:
    return not any(isinstance(effect, Reply | HandOver) for effect in decision.effects)


def _scene_reply(
    session: Session, push: Push, facts: Facts, fields: Mapping[str, Any]
) -> tuple[Json | None, str]:
    """What the scanned code itself answers, and the note that says so; (None, "") where it has no reply."""
    template = scenes.reply_of(session, push.account.id, facts.scene)
    if template is None:
        return None, ""
    try:
        ready = ready_content(session, push.account.id, template, fields)
    except Refused as problem:
        return None, str(problem)
    if push.passive:
        return ready, f"no rule replied: the QR code '{facts.scene}' answered with its own reply"
    if _send_in_window(session, push, facts, ready):
        return None, f"no rule replied: the reply of the QR code '{facts.scene}' was sent"
    return None, "a further reply was not sent: no reply window is open"


def send_later(session: Session, account_id: int, arguments: Mapping[str, Any], now: Any) -> str:
    """The job behind ``SendLater``: sends if the follower has an open window; says what it did."""
    follower = followers.by_id(session, account_id, arguments["follower_id"])
    if follower is None or not follower.subscribed:
        return "left"
    window = followers.take_window(session, follower.id, now, long_only=False)
    if window is None:
        return "no_window"
    outbox.put(
        session,
        account_id=account_id,
        channel="customer_service",
        purpose="later",
        purpose_id=arguments["push_id"],
        payload={
            "content": ready_content(session, account_id, arguments["content"], follower.fields)
        },
        now=now,
        follower_id=follower.id,
        expires_at=window.expires_at,
        key=f"later:{arguments['job_id']}",
    )
    return "sent"


def ready_content(
    session: Session, account_id: int, template: Mapping[str, Any], fields: Mapping[str, Any]
) -> Json:
    """A content with its placeholders filled and its files resolved to material ids.

    Raises:
        Refused: a file is not uploaded yet.
    """
    return media.resolve(session, account_id, content.render(template, fields))


def _send_in_window(session: Session, push: Push, facts: Facts, ready: Json) -> bool:
    window = followers.take_window(session, facts.follower_id, push.received_at, long_only=False)
    if window is None:
        return False
    outbox.put(
        session,
        account_id=push.account.id,
        channel="customer_service",
        purpose="reply",
        purpose_id=push.id,
        payload={"content": ready},
        now=push.received_at,
        follower_id=facts.follower_id,
        expires_at=window.expires_at,
    )
    return True
