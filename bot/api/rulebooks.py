"""Rulebooks (规则集): what was published, compared, put in force, rolled back."""

from typing import Annotated, Any, Literal

import sqlalchemy as sa
from pydantic import Field

from bot import drafts, rulebook
from bot.api import cursors
from bot.api.cursors import Listing
from bot.api.frame import Area, Asked, Call, FallbackBody, Json, Page, RuleBody, Told, When
from bot.api.problems import found
from bot.db import Session
from bot.tables.rulebooks import rulebooks as table
from rules.diff import Change, diff

area = Area("rulebooks", "Rulebooks · 规则集")
MOST_CHANGES = 200  # that an audit entry names
Number = Annotated[int, Field(ge=1, le=2**31 - 1)]


class Published(Told):
    number: int
    published_at: When
    published_by: str
    note: str
    in_force: bool


class Snapshot(Published):
    rules: list[RuleBody]
    fallback: FallbackBody | None


class Note(Asked):
    note: str = Field("", max_length=500)


class ChangeTold(Told):
    kind: Literal["added", "removed", "changed", "moved", "fallback"]
    name: str
    was: str
    moved: bool
    differences: list[Json]


class Changes(Told):
    items: list[ChangeTold]


class Against(Asked):
    against: Number = Field(description="the other rulebook")


@area("GET", "/rulebooks", "rules.read")
def rulebooks_list(call: Call, session: Session, query: Page) -> Listing[Published]:
    """What was published, the latest first."""
    wanted = sa.select(table).where(table.c.account_id == call.account.id)
    begin = cursors.position(call, query)
    if begin is not None:
        wanted = wanted.where(table.c.number < begin)
    rows = session.execute(wanted.order_by(table.c.number.desc()).limit(query.limit + 1)).all()
    head = rulebook.head(session, call.account.id)
    return cursors.page(
        call, query, rows, lambda row: Published(**_published(row, head)), lambda row: row.number
    )


@area("GET", "/rulebooks/<number>", "rules.read")
def rulebook_get(call: Call, session: Session, number: Number) -> Snapshot:
    """One rulebook, whole."""
    return _snapshot(call, session, number)


@area("GET", "/rulebooks/<number>/diff", "rules.read")
def rulebook_diff(call: Call, session: Session, number: Number, query: Against) -> Changes:
    """What changed from `against` to this one."""
    old, new = (_snapshot(call, session, one) for one in (query.against, number))
    return _changes(
        diff(
            {"rules": old.rules, "fallback": old.fallback},
            {"rules": new.rules, "fallback": new.fallback},
        )
    )


@area("GET", "/rule-changes", "rules.read")
def rule_changes(call: Call, session: Session) -> Changes:
    """What publishing now would change in force."""
    return _changes(drafts.changes(session, call.account.id))


@area("POST", "/rulebooks", "rules.publish", status=201)
def rulebook_publish(call: Call, session: Session, body: Note) -> Published:
    """Put the rules as edited in force, at the next push."""
    draft = rulebook.draft_body(session, call.account.id)
    return _publish(call, session, draft, body.note, "rulebook.publish")


@area("POST", "/rulebooks/<number>/restore", "rules.publish", status=201)
def rulebook_restore(call: Call, session: Session, number: Number, body: Note) -> Published:
    """Roll back: publish an old rulebook again under a new number; the rules as edited become it too."""
    old = _snapshot(call, session, number)
    wanted = {"rules": old.rules, "fallback": old.fallback}
    drafts.restore(session, call.account.id, wanted, by=call.by, now=call.now)
    return _publish(call, session, wanted, body.note or f"= {number}", "rulebook.roll_back")


def _publish(call: Call, session: Session, body: Json, note: str, action: str) -> Published:
    changes = [[one.kind, one.name] for one in drafts.changes(session, call.account.id)]
    before = rulebook.head(session, call.account.id)
    number = rulebook.publish(session, call.account.id, body, by=call.by, note=note, now=call.now)
    call.audit(
        session,
        action,
        f"rulebook:{number}",
        before={"number": before},
        after={"number": number, "note": note, "changes": changes[:MOST_CHANGES]},
    )
    return Published(
        number=number, published_at=call.now, published_by=call.by, note=note, in_force=True
    )


def _snapshot(call: Call, session: Session, number: int) -> Snapshot:
    row = session.execute(
        sa.select(table).where(table.c.account_id == call.account.id, table.c.number == number)
    ).one_or_none()
    row = found(row)
    head = rulebook.head(session, call.account.id)
    return Snapshot(
        **_published(row, head),
        rules=row.body.get("rules") or [],
        fallback=row.body.get("fallback"),
    )


def _published(row: Any, head: int) -> dict[str, Any]:
    return {
        "number": row.number,
        "published_at": row.published_at,
        "published_by": row.published_by,
        "note": row.note,
        "in_force": row.number == head,
    }


def _changes(listed: list[Change]) -> Changes:
    return Changes(
        items=[
            ChangeTold(
                kind=one.kind,
                name=one.name,
                was=one.was,
                moved=one.moved,
                differences=[
                    {"place": each.place, "before": each.before, "after": each.after}
                    for each in one.differences
                ],
            )
            for one in listed
        ]
    )
