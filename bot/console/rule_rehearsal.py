"""The live test box 实时测试: which rule would answer a made-up push, its reply, its tags, and why no other did."""

from collections.abc import Mapping
from typing import Any

from flask import render_template, request
from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l

from bot import db, drafts, follower_search, followers, rehearsal, rulebook
from bot.console import known_names, rule_forms, rule_words, words
from bot.console.access import Here, by_htmx, page
from bot.console.telling import beside, told
from bot.db import Session
from bot.errors import Invalid
from bot.rehearsal import Outcome, Situation
from rules.engine import MATCHED
from rules.model import Rulebook

AGAINST = (("draft", _l("草稿")), ("published", _l("线上规则")))
FORM = ("form", _l("正在编辑的内容"))
KINDS = (
    ("text", _l("发送文字")),
    ("subscribe", _l("关注公众号")),
    ("scan", _l("扫渠道二维码")),
    ("menu_click", _l("点击菜单")),
)
OFFERED = 20  # followers one search offers
MOST_STEPS = 200  # lines of the trace; the count says how many there are


@page("/rules/test", "rules.read", methods=("GET", "POST"))
def rule_test(here: Here) -> Any:
    """The box by itself, or what it answers."""
    given = request.form if request.method == "POST" else request.args
    shown: dict[str, Any] = {"given": given, "kinds": _kinds(), "against": AGAINST, "errors": {}}
    status = 200
    with db.reading(here.rt.engine) as session:
        if request.method == "POST":
            try:
                shown |= _tried(session, here, given)
            except Invalid as problem:
                shown["errors"] = _errors(problem)
                status = 422
        if by_htmx():
            return render_template("rules/_trial.html", **shown), status
        shown["names"] = known_names.known(session, here.account.id)
        shown["offered"] = _offered(session, here)
    return render_template("rules/test.html", **shown), status


@page("/rules/test/followers", "rules.read")
def rule_test_followers(here: Here) -> str:
    """Followers to try a rule as, by remark or the beginning of the OpenID."""
    with db.reading(here.rt.engine) as session:
        return render_template("rules/_followers.html", offered=_offered(session, here))


def _tried(session: Session, here: Here, given: Any) -> dict[str, Any]:
    situation = Situation(
        kind=given.get("test:kind", "text"),
        at=here.now,
        text=given.get("test:text", "")[:2000],
        key=given.get("test:key", "").strip()[:128],
        scene=given.get("test:scene", "").strip()[:64],
        follower_id=_follower(given.get("test:follower", "")),
        first_message=bool(given.get("test:first")),
    )
    facts = rehearsal.facts_of(session, here.account, situation)
    asked = given.get("test:against", "draft")
    rules = _rules(session, here, asked, given)
    outcome = rehearsal.play(session, here.account, rules, facts)
    follower = followers.by_id(session, here.account.id, facts.follower_id)
    return {
        "outcome": outcome,
        "said": _said(situation),
        "follower": here.open_id(follower.open_id) if follower is not None else "",
        "winner": outcome.decision.rules,
        "steps": _steps(outcome, rules),
        "more": max(0, len(outcome.steps) - MOST_STEPS),
    }


def _rules(session: Session, here: Here, asked: str, given: Any) -> Rulebook:
    """The rules in force, as edited, or as edited with the rule somebody is typing."""
    account_id = here.account.id
    if asked == "published":
        number = rulebook.head(session, account_id)
        body = rulebook.snapshot(session, account_id, number) if number else {}
        return rehearsal.rulebook_of(body)
    body = rulebook.draft_body(session, account_id)
    if asked == "form":
        body = _with_typed(session, here, body, given)
    return rehearsal.rulebook_of(body)


def _with_typed(
    session: Session, here: Here, body: Mapping[str, Any], given: Any
) -> dict[str, Any]:
    typed = rule_forms.read_rule(given)
    typed["name"] = typed["name"] or _("未命名的规则")
    rule_id = _follower(given.get("rule_id", "")) or 0
    problems = drafts.problems(session, here.account.id, typed, rule_id or None)
    if problems:
        place, sentence = problems[0]
        raise Invalid(f"form.{place}", sentence)
    current = drafts.find(session, here.account.id, rule_id)
    names = [rule["name"] for rule in body["rules"]]
    listed = list(body["rules"])
    if current is not None and current.name in names:
        listed[names.index(current.name)] = typed
    else:
        listed.append(typed)
    return {**body, "rules": listed}


def _errors(problem: Invalid) -> dict[str, str]:
    """A problem of the rule that is being typed says where it is."""
    if not problem.field.startswith("form."):
        return dict(beside(problem))
    where = rule_words.place(problem.field.removeprefix("form."))
    return {"form": f"{where}{_('：')}{told(problem.message)}"}


def _steps(outcome: Outcome, rulebook: Rulebook) -> list[dict[str, Any]]:
    """Rules in order, each with its reason: of very many those whose conditions hold, and the first others."""
    winners = outcome.decision.rules
    met = [step["outcome"] == MATCHED for step in outcome.steps]
    room = max(0, MOST_STEPS - sum(met))
    found: list[dict[str, Any]] = []
    for step, rule, matched in zip(outcome.steps, rulebook.rules, met, strict=False):
        if not matched and room == 0:
            continue
        room -= not matched
        why = rule_words.reason(step, winners[-1] if winners else "", rule)
        won = matched and step["rule"] in winners
        found.append({"rule": step["rule"], "won": won, "why": why})
    return found[:MOST_STEPS]


def _said(situation: Situation) -> str:
    if situation.kind == "text":
        return situation.text
    label = words.KIND.get(situation.kind, situation.kind)
    return f"{words.boxed(label)}{situation.scene or situation.key}"


def _kinds() -> list[tuple[str, Any]]:
    others = [kind for kind in rehearsal.KINDS if kind not in dict(KINDS)]
    return [*KINDS, *((kind, _("发送%(kind)s", kind=words.KIND[kind])) for kind in others)]


def _offered(session: Session, here: Here) -> list[tuple[int, str]]:
    """(id, words) of followers; whole OpenIDs are searched only by who may see them."""
    query = request.args.get("q", "").strip()[:100]
    try:
        wanted = follower_search.Wanted(query=query)
        ids = follower_search.walk(
            session,
            here.account.id,
            wanted,
            here.now,
            whole_ids=here.may("followers.open_id"),
            limit=OFFERED,
        )
    except Invalid:
        return []
    lines = follower_search.lines(session, ids, here.now)
    return [
        (line.id, " ".join(filter(None, (line.remark, here.open_id(line.open_id), *line.tags[:3]))))
        for line in lines
    ]


def _follower(text: str) -> int | None:
    short = text.strip()
    return int(short) if short.isascii() and short.isdigit() and len(short) < 19 else None
