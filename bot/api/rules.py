"""Rules as edited (规则草稿): list, change, order, the fallback. Nothing here is in force before it is published."""

from typing import Any

from pydantic import Field

from bot import drafts, rule_hits, rulebook
from bot.api import cursors
from bot.api.cursors import Listing
from bot.api.frame import (
    Area,
    Asked,
    Call,
    FallbackBody,
    Id,
    Nothing,
    Page,
    RuleBody,
    Told,
    Version,
    When,
)
from bot.api.problems import Problem, found
from bot.clock import day_of
from bot.db import Session
from bot.drafts import Draft, SavedBetween
from bot.rule_hits import NONE, Hits

area = Area("rules", "Rules as edited · 自动回复规则")


class RuleTold(Told):
    id: Id
    name: str
    position: int
    group: str
    enabled: bool
    rule: RuleBody
    version: int = Field(description="grows with each change; say it when you change the rule")
    origin: str
    published_as: str | None = Field(description="its name in force; null: not published")
    hits_7: int
    hits_30: int
    changed_at: When | None
    changed_by: str | None


class RulesTold(Listing[RuleTold]):
    order_version: int = Field(description="of order and fallback")


class RulesAsked(Page):
    q: str = Field("", max_length=100, description="a part of the name")
    group: str | None = Field(None, max_length=60)


class RuleNew(Asked):
    rule: RuleBody
    group: str = Field("", max_length=60)


class RuleChange(Asked):
    rule: RuleBody
    group: str | None = Field(None, max_length=60, description="null leaves it")
    version: Version = Field(description="the version you changed")


class Order(Asked):
    order: list[Id] = Field(max_length=5000, description="ids; rules not named stay where they are")
    version: Version = Field(description="`order_version`")


class OrderTold(Told):
    order_version: int


class FallbackTold(Told):
    fallback: FallbackBody | None
    order_version: int


class FallbackWanted(Asked):
    fallback: FallbackBody | None
    version: Version = Field(description="`order_version`")


@area("GET", "/rules", "rules.read")
def rules_list(call: Call, session: Session, query: RulesAsked) -> RulesTold:
    """The rules in order, with how often each answered."""
    hits = rule_hits.of(session, call.account.id, day_of(call.now))
    listed = [
        one
        for one in drafts.listing(session, call.account.id)
        if query.q.casefold() in one.name.casefold() and query.group in (None, one.group)
    ]
    page = cursors.slice_of(
        call, query, listed, lambda one: _told(one, hits.get(one.published_as or one.name, NONE))
    )
    return RulesTold(
        items=page.items,
        next=page.next,
        order_version=drafts.order_version(session, call.account.id),
    )


@area("GET", "/rules/<rule_id>", "rules.read")
def rule_get(call: Call, session: Session, rule_id: Id) -> RuleTold:
    """One rule as edited."""
    return _one(call, session, rule_id)


@area("POST", "/rules", "rules.write", status=201)
def rule_create(call: Call, session: Session, body: RuleNew) -> RuleTold:
    """A new rule behind all others."""
    _check(call, session, body.rule, None)
    rule_id = drafts.add(
        session, call.account.id, body.rule, by=call.by, now=call.now, group=body.group
    )
    made = _one(call, session, rule_id)
    call.audit(session, "rule.add", f"rule:{made.id}", after=made.rule)
    return made


@area("PUT", "/rules/<rule_id>", "rules.write")
def rule_update(call: Call, session: Session, rule_id: Id, body: RuleChange) -> RuleTold:
    """Change a rule. 409 with `current` when somebody else changed it since your version."""
    before = _one(call, session, rule_id)
    _check(call, session, body.rule, rule_id)
    try:
        drafts.save(
            session,
            call.account.id,
            rule_id,
            body.rule,
            version=body.version,
            by=call.by,
            now=call.now,
            group=body.group,
        )
    except SavedBetween as problem:
        current = _told(problem.theirs, NONE).model_dump(mode="json")
        raise Problem("conflict", str(problem), more={"current": current}) from None
    after = _one(call, session, rule_id)
    call.audit(session, "rule.change", f"rule:{after.id}", before=before.rule, after=after.rule)
    return after


@area("DELETE", "/rules/<rule_id>", "rules.write")
def rule_delete(call: Call, session: Session, rule_id: Id) -> Nothing:
    """Put a rule away. What is published stays in force until the next publishing."""
    before = _one(call, session, rule_id)
    drafts.archive(session, call.account.id, [rule_id], by=call.by, now=call.now)
    call.audit(session, "rule.delete", f"rule:{before.id}", before=before.rule)
    return Nothing()


@area("PUT", "/rule-order", "rules.write")
def rule_order(call: Call, session: Session, body: Order) -> OrderTold:
    """Put rules into another order."""
    before = [draft.id for draft in drafts.listing(session, call.account.id)]
    version = drafts.move(session, call.account.id, body.order, body.version)
    after = [draft.id for draft in drafts.listing(session, call.account.id)]
    moved = [place for place, rule_id in enumerate(after) if before[place] != rule_id][:100]
    call.audit(
        session,
        "rule.move",
        "rules",
        before={"order": [before[place] for place in moved]},
        after={"order": [after[place] for place in moved]},
    )
    return OrderTold(order_version=version)


@area("GET", "/rule-fallback", "rules.read")
def fallback_get(call: Call, session: Session) -> FallbackTold:
    """What is done when no rule answers, as edited."""
    return FallbackTold(
        fallback=rulebook.fallback(session, call.account.id),
        order_version=drafts.order_version(session, call.account.id),
    )


@area("PUT", "/rule-fallback", "rules.write")
def fallback_update(call: Call, session: Session, body: FallbackWanted) -> FallbackTold:
    """Change the fallback; null is none."""
    before = rulebook.fallback(session, call.account.id)
    drafts.save_fallback(session, call.account.id, body.fallback, body.version)
    after = rulebook.fallback(session, call.account.id)
    call.audit(session, "fallback.change", "fallback", before=before, after=after)
    return FallbackTold(
        fallback=after, order_version=drafts.order_version(session, call.account.id)
    )


def _check(call: Call, session: Session, body: dict[str, Any], rule_id: int | None) -> None:
    """Every problem of a rule at once, each with its place."""
    problems = drafts.problems(session, call.account.id, body, rule_id)
    if problems:
        told = [(f"rule.{place}".rstrip("."), sentence) for place, sentence in problems]
        raise Problem("invalid", errors=told[:50])


def _one(call: Call, session: Session, rule_id: int) -> RuleTold:
    draft = found(drafts.find(session, call.account.id, rule_id))
    hits = rule_hits.of(session, call.account.id, day_of(call.now))
    return _told(draft, hits.get(draft.published_as or draft.name, NONE))


def _told(draft: Draft, hits: Hits) -> RuleTold:
    return RuleTold(
        id=draft.id,
        name=draft.name,
        position=draft.position,
        group=draft.group,
        enabled=draft.enabled,
        rule=draft.body,
        version=draft.version,
        origin=draft.origin,
        published_as=draft.published_as,
        hits_7=hits.week,
        hits_30=hits.month,
        changed_at=draft.changed_at,
        changed_by=draft.changed_by,
    )
