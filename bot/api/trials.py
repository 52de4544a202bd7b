"""Trying rules (试运行): which rule answers a message, what is wrong with the draft, what it would have changed."""

from typing import Literal

from pydantic import Field

from bot import rehearsal, rule_trials, rulebook, scenes, tag_families
from bot.api import cursors
from bot.api.cursors import Listing
from bot.api.frame import WORDS, Area, Asked, Call, Id, Json, Page, Told, When
from bot.api.masks import masked
from bot.api.problems import found
from bot.db import Session, reading
from bot.errors import Refused
from bot.rehearsal import Situation
from bot.rule_trials import Stored, Trial
from rules import overlap
from rules.model import load

area = Area("trials", "Trying rules: test, check, dry run · 试运行")
Which = Literal["draft", "published"]


class Try(Asked):
    kind: Literal[
        "text", "scan", "subscribe", "menu_click",
        "image", "link", "location", "short_video", "video", "voice",
    ] = "text"  # fmt: skip
    text: str = Field("", max_length=2048)
    key: str = Field("", max_length=128, description="of a menu")
    scene: str = Field("", max_length=64, description="of a QR code")
    follower: Id | None = Field(None, description="whose tags, fields and cooldowns count")
    first_message: bool = False
    rulebook: Which = "draft"


class Later(Told):
    seconds: int
    content: Json


class Tried(Told):
    rules: list[str] = Field(description="who answers, in order")
    fallback: bool
    replies: list[Json] = Field(description="the first is the passive reply")
    later: list[Later]
    tags_added: list[str]
    tags_removed: list[str]
    fields: Json
    events: list[str]
    hand_over: str | None
    handled: str = Field(description="`opt_out` where the program answers by itself")
    by_scene: bool = Field(description="the reply is the QR code's own")
    steps: list[Json] = Field(description="every rule and why it did or did not match")


class FindingTold(Told):
    kind: Literal["shadowed", "partly_shadowed", "conflict", "dead"]
    rule: str
    position: int
    sentence: str
    values: Json
    words: list[str]
    others: list[Json]
    count: int
    example: Json | None


class Checked(Told):
    items: list[FindingTold]


class TrialWanted(Asked):
    last: int = Field(1000, ge=1, le=1_000_000, description="how many stored pushes")


class TrialTold(Told):
    id: Id
    against: int
    state: Literal["running", "done", "failed"]
    last: int
    done: int
    total: int
    summary: Json
    error: str | None
    created_by: str
    created_at: When
    finished_at: When | None


class TrialChange(Told):
    push: int
    follower: int | None
    open_id: str | None
    change: Json


@area("POST", "/rule-test", "rules.read")
def rule_test(call: Call, session: Session, body: Try) -> Tried:
    """Which rule answers a message, scan, tap or follow, and why each other did not. Changes nothing."""
    situation = Situation(
        kind=body.kind,
        at=call.now,
        text=body.text,
        key=body.key,
        scene=body.scene,
        follower_id=body.follower,
        first_message=body.first_message,
    )
    facts = rehearsal.facts_of(session, call.account, situation)
    book = rehearsal.rulebook_of(_body(call, session, body.rulebook))
    found_ = rehearsal.play(session, call.account, book, facts)
    return Tried(
        rules=list(found_.decision.rules),
        fallback=bool(found_.decision.trace.get("fallback")),
        replies=list(found_.replies),
        later=[Later(seconds=seconds, content=content) for seconds, content in found_.later],
        tags_added=list(found_.added),
        tags_removed=list(found_.removed),
        fields=dict(found_.fields),
        events=list(found_.events),
        hand_over=found_.hand_over,
        handled=found_.handled,
        by_scene=found_.by_scene,
        steps=list(found_.steps),
    )


@area("GET", "/rule-check", "rules.read")
def rule_check(call: Call) -> Checked:
    """Rules of the draft that hide, cross or can never answer, each with a push that proves it."""
    with reading(call.rt.engine) as session:
        body = rulebook.draft_body(session, call.account.id)
        known = {
            "tag": [tag.name for tag in tag_families.every(session, call.account.id)],
            "scene": [scene.key for scene in scenes.every(session, call.account.id)],
        }
    found_ = overlap.find(load(body), now=call.now, known=known)
    return Checked(items=[FindingTold(**one.to_json()) for one in found_])


@area("POST", "/dry-runs", "rules.write", status=202)
def dry_run_create(call: Call, session: Session, body: TrialWanted) -> TrialTold:
    """Let a background job decide the last stored pushes again by the draft."""
    draft = rulebook.draft_body(session, call.account.id)
    run_id = rule_trials.begin(session, call.account.id, draft, body.last, by=call.by, now=call.now)
    call.audit(session, "dry_run.create", f"dry_run:{run_id}", after={"last": body.last})
    return _trial(found(rule_trials.get(session, call.account.id, run_id)))


@area("GET", "/dry-runs", "rules.read")
def dry_runs_list(call: Call, session: Session, query: Page) -> Listing[TrialTold]:
    """The latest dry runs."""
    return cursors.slice_of(call, query, rule_trials.recent(session, call.account.id), _trial)


@area("GET", "/dry-runs/<run_id>", "rules.read")
def dry_run_get(call: Call, session: Session, run_id: Id) -> TrialTold:
    """How far a dry run has come, and what it counted."""
    return _trial(found(rule_trials.get(session, call.account.id, run_id)))


@area("GET", "/dry-runs/<run_id>/changes", "rules.read")
def dry_run_changes(call: Call, session: Session, run_id: Id, query: Page) -> Listing[TrialChange]:
    """The pushes that would have gone another way: for whom, and why. The first thousand are kept."""
    found(rule_trials.get(session, call.account.id, run_id))
    begin = cursors.position(call, query) or 0
    rows, count = rule_trials.changes_of(
        session, call.account.id, run_id, skip=begin, limit=query.limit
    )
    end = begin + query.limit
    following = cursors.made(call, query, end) if end < count else None
    return Listing[TrialChange](items=[_change(call, row) for row in rows], next=following)


def _body(call: Call, session: Session, which: Which) -> Json:
    if which == "draft":
        return rulebook.draft_body(session, call.account.id)
    head = rulebook.head(session, call.account.id)
    if not head:
        raise Refused("nothing was published yet")
    return rulebook.snapshot(session, call.account.id, head)


def _trial(trial: Trial) -> TrialTold:
    return TrialTold(
        id=trial.id,
        against=trial.against,
        state=trial.state,
        last=trial.last,
        done=trial.done,
        total=trial.total,
        summary=trial.summary,
        error=trial.error or None,
        created_by=trial.created_by,
        created_at=trial.created_at,
        finished_at=trial.finished_at,
    )


def _change(call: Call, row: Stored) -> TrialChange:
    change = masked(call, dict(row.change))
    if change.get("push") and not call.may(WORDS):
        change["push"] = {name: one for name, one in change["push"].items() if name != "text"}
    return TrialChange(
        push=row.push_id,
        follower=row.follower_id,
        open_id=call.open_id(row.open_id),
        change=change,
    )
