"""What a made-up push would be answered by any rules (实时测试), with the reason for each rule. Writes nothing."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import lru_cache
from typing import Any

from bot import content, followers, scenes
from bot.accounts import Account
from bot.db import Session
from bot.errors import Invalid
from bot.facts import MESSAGE_KINDS
from rules.effects import AddTag, HandOver, Record, RemoveTag, Reply, SendLater, SetField
from rules.engine import Decision, Step, decide, explain
from rules.facts import Facts
from rules.index import Index
from rules.model import Part, Rule, Rulebook, load
from rules.text import fold

Json = dict[str, Any]
KINDS = ("text", "scan", "subscribe", "menu_click", *sorted(MESSAGE_KINDS - {"text"}))
KEPT = 20_000  # rules that stay read: another test of the same rules reads none


@dataclass(frozen=True, slots=True)
class Situation:
    """A push nobody sent. ``follower_id`` is whose tags, fields and cooldowns count; without one, nobody's."""

    kind: str
    at: datetime
    text: str = ""
    key: str = ""
    scene: str = ""
    follower_id: int | None = None
    tags: frozenset[str] = frozenset()
    fields: Mapping[str, Any] = field(default_factory=dict)
    first_message: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """What would happen. ``replies``: the first is the passive reply, the others need an open window.

    ``handled``: ``opt_out`` where the program answers by itself and asks no rule. ``steps`` are those of
    ``rules.engine.explain``. ``by_scene``: the reply is the QR code's own.
    """

    facts: Facts
    decision: Decision
    steps: Sequence[Step]
    replies: Sequence[Json] = ()
    later: Sequence[tuple[int, Json]] = ()
    added: Sequence[str] = ()
    removed: Sequence[str] = ()
    fields: Mapping[str, Any] = field(default_factory=dict)
    events: Sequence[str] = ()
    hand_over: str | None = None
    handled: str = ""
    by_scene: bool = False


def facts_of(session: Session, account: Account, situation: Situation) -> Facts:
    """The facts rules would be asked with.

    Raises:
        Invalid: no such kind of push, or no such follower in this account.
    """
    if situation.kind not in KINDS:
        raise Invalid("kind", "is not known here")
    facts = Facts(
        push_key=f"rehearsal:{situation.kind}:{situation.text}{situation.key}{situation.scene}",
        kind=situation.kind,
        at=situation.at,
        text=situation.text if situation.kind == "text" else "",
        key=situation.key if situation.kind == "menu_click" else "",
        scene=situation.scene if situation.kind in ("scan", "subscribe") else "",
        first_message=situation.first_message and situation.kind in MESSAGE_KINDS,
        tags=situation.tags,
        fields=situation.fields,
    )
    if situation.follower_id is None:
        return facts
    known = followers.by_id(session, account.id, situation.follower_id)
    if known is None:
        raise Invalid("follower", "there is no such follower")
    until = known.handed_over_until
    return replace(
        facts,
        follower_id=known.id,
        first_message=known.messages == 0 and situation.kind in MESSAGE_KINDS,
        handed_over=until is not None and until > situation.at,
        tags=followers.tag_names(session, known.id, situation.at) | situation.tags,
        fields={**known.fields, **situation.fields},
        fired=followers.last_fired(session, known.id),
    )


def rulebook_of(body: Mapping[str, Any]) -> Rulebook:
    """The rules of a body that loads, to be asked once: without the index, which takes longer than asking all.

    Raises:
        Invalid: a rule does not load.
    """
    listed = [_rule(json.dumps(rule, sort_keys=True)) for rule in body.get("rules") or ()]
    fallback = _fallback(json.dumps(body.get("fallback") or None, sort_keys=True))
    cooldowns = {rule.name for rule in listed for part in rule.when if part.name == "cooldown"}
    everyone = tuple(place for place, rule in enumerate(listed) if rule.enabled)
    return Rulebook(0, tuple(listed), fallback, frozenset(cooldowns), Index(always=everyone))


def play(session: Session, account: Account, rulebook: Rulebook, facts: Facts) -> Outcome:
    """What these rules would do about these facts."""
    said = fold(facts.text)
    if facts.kind == "text" and said in {fold(word) for word in account.limits.opt_out}:
        return Outcome(facts, Decision((), (), {}), (), handled="opt_out")
    decision = decide(rulebook, facts)
    found = _effects(facts, decision)
    outcome = replace(found, steps=tuple(explain(rulebook, facts)))
    if outcome.replies or outcome.hand_over is not None or facts.handed_over or not facts.scene:
        return outcome
    own = scenes.reply_of(session, account.id, facts.scene)
    if own is None:
        return outcome
    fields = {**facts.fields, **outcome.fields}
    return replace(outcome, replies=(content.render(own, fields),), by_scene=True)


def _effects(facts: Facts, decision: Decision) -> Outcome:
    replies: list[Json] = []
    later: list[tuple[int, Json]] = []
    added: list[str] = []
    removed: list[str] = []
    events: list[str] = []
    fields: Json = {}
    hand_over: str | None = None
    for effect in decision.effects:
        known = {**facts.fields, **fields}
        match effect:
            case Reply():
                replies.append(content.render(effect.content, known))
            case SendLater():
                later.append((effect.seconds, content.render(effect.content, known)))
            case AddTag():
                added.append(effect.tag)
            case RemoveTag():
                removed.append(effect.tag)
            case SetField():
                fields[effect.name] = effect.value
            case HandOver():
                hand_over = effect.agent
            case Record():
                events.append(effect.event)
    return Outcome(
        facts,
        decision,
        (),
        replies=tuple(replies),
        later=tuple(later),
        added=_unique(added),
        removed=_unique(removed),
        fields=fields,
        events=tuple(events),
        hand_over=hand_over,
    )


def _unique(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))


@lru_cache(maxsize=KEPT)
def _rule(text: str) -> Rule:
    return load({"rules": [json.loads(text)]}).rules[0]


@lru_cache(maxsize=64)
def _fallback(text: str) -> tuple[Part, ...]:
    return load({"rules": [], "fallback": json.loads(text)}).fallback
