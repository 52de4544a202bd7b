"""Publishing rules 发布规则: what would change, the numbered rulebooks, what is between two, and rolling back."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from flask import Response, render_template, request, url_for
from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l

from bot import db, drafts, rulebook
from bot.console import known_names, rule_words
from bot.console.access import Here, done, missing, page
from bot.console.lists import Column, Listing, asked, csv_file, whole
from bot.console.overlaps import checked
from bot.console.rules import CHANGE_WORDS
from bot.console.telling import told
from bot.db import Session
from bot.errors import Invalid, Refused
from bot.tables.rulebooks import rulebooks as table
from rules import overlap
from rules.diff import FALLBACK, MOVED, Change, diff

Json = dict[str, Any]
PAGE_SIZE = 30
LONGEST_NOTE = 200
MOST_CHANGES = 200  # of one page; the count says how many there are
COLUMNS = (
    Column("number", _l("编号"), number=True),
    Column("published_at", _l("发布时间")),
    Column("published_by", _l("发布人")),
    Column("note", _l("说明")),
)


@page("/rules/publish", "rules.read", methods=("GET",))
def rulebook_publish(here: Here) -> Any:
    """What publishing the rules as edited would change."""
    return _publish_page(here)


@page("/rules/publish", "rules.publish", methods=("POST",))
def rulebook_published(here: Here) -> Any:
    """Put the rules as edited in force, if they are still those that were shown."""
    note = request.form.get("note", "").strip()
    if len(note) > LONGEST_NOTE:
        return _publish_page(here, {"note": _("说明最多 %(most)s 个字", most=LONGEST_NOTE)}, 422)
    try:
        with db.writing(here.rt.engine) as session:
            body = rulebook.draft_body(session, here.account.id)
            if request.form.get("seen") != _mark(body):
                raise Refused("somebody changed the rules since you looked; look again and publish")
            changes = drafts.changes(session, here.account.id)
            number = _publish(here, session, body, note, changes)
    except Refused as problem:
        return _publish_page(here, {"": told(str(problem))}, 409)
    except Invalid as problem:
        return _publish_page(here, {"": f"{problem.field}{_('：')}{told(problem.message)}"}, 422)
    return done(_("已发布第 %(number)s 版，下一条推送起生效", number=number), ".rules_list")


@page("/rules/publish/findings", "rules.read")
def rulebook_findings(here: Here) -> str:
    """How many overlaps the rules as edited have: asked by the publishing page, because it takes a moment."""
    with db.reading(here.rt.engine) as session:
        body = rulebook.draft_body(session, here.account.id)
        known = known_names.existing(session, here.account.id)
    try:
        _book, found = checked(body, known, here.now)
    except Invalid as problem:
        place = f"{problem.field}{_('：')}{told(problem.message)}"
        return render_template("rules/_findings.html", counts=None, problem=place)
    counts = {kind: sum(1 for one in found if one.kind == kind) for kind in overlap.KINDS}
    return render_template("rules/_findings.html", counts=counts, problem="")


@page("/rulebooks", "rules.read")
def rulebooks(here: Here) -> str | Response:
    """The numbered rulebooks, newest first."""
    wanted = asked(request.args, COLUMNS)
    with db.reading(here.rt.engine) as session:
        current = rulebook.head(session, here.account.id)
        total = session.execute(
            sa.select(sa.func.count()).where(table.c.account_id == here.account.id)
        ).scalar_one()
        before = whole(wanted.after)
        # without the bodies: thirty of thousands of rules each would take a second
        query = sa.select(*(table.c[column.name] for column in COLUMNS)).where(
            table.c.account_id == here.account.id
        )
        if before is not None:
            query = query.where(table.c.number < before)
        if wanted.q:
            query = query.where(table.c.note.contains(wanted.q, autoescape=True))
        limit = 5000 if wanted.format == "csv" else PAGE_SIZE + 1
        found = session.execute(query.order_by(table.c.number.desc()).limit(limit)).all()
        rows = [dict(row._mapping) for row in found]
    if wanted.format == "csv":
        values = ([row[column.name] for column in COLUMNS] for row in rows)
        return csv_file("rulebooks", [column.label for column in COLUMNS], values)
    more = str(rows[PAGE_SIZE - 1]["number"]) if len(rows) > PAGE_SIZE else None
    listing = Listing(wanted, COLUMNS, (), rows[:PAGE_SIZE], total, more=more, unit=_("版"))
    return render_template("rules/rulebooks.html", listing=listing, current=current)


@page("/rulebooks/diff/<int:first>/<int:second>", "rules.read")
def rulebook_diff(here: Here, first: int, second: int) -> str:
    """What is between two rulebooks."""
    with db.reading(here.rt.engine) as session:
        changes = diff(_body(session, here, first), _body(session, here, second))
        notes = {number: _row(session, here, number) for number in (first, second) if number}
    return render_template(
        "rules/diff.html", first=first, second=second, notes=notes, **_shown(changes)
    )


@page("/rulebooks/<int:number>/roll-back", "rules.publish", methods=("GET", "POST"))
def rulebook_roll_back(here: Here, number: int) -> Any:
    """Publish an old rulebook under a new number, and make the rules as edited equal to it where wanted."""
    with db.reading(here.rt.engine) as session:
        current = rulebook.head(session, here.account.id)
        body = _body(session, here, number)
        changes = diff(_body(session, here, current), body)
        row = _row(session, here, number)
    if request.method == "GET":
        return render_template(
            "rules/roll_back.html", number=number, current=current, row=row, **_shown(changes)
        )
    restored = request.form.get("drafts") == "1"
    by, now = here.operator.name, here.now
    with db.writing(here.rt.engine) as session:
        if request.form.get("current") != str(rulebook.head(session, here.account.id)):
            raise Refused(
                "somebody else published a rulebook just now; look at it and publish again"
            )
        note = _("回滚到第 %(number)s 版", number=number)
        new = _publish(here, session, body, note, changes, action="rulebook.roll_back")
        if restored:
            drafts.restore(session, here.account.id, body, by=by, now=now)
            here.audit(session, "rule.restore", "rules", after={"number": number})
    return done(
        _("已把第 %(number)s 版作为第 %(new)s 版发布", number=number, new=new), ".rulebooks"
    )


def _publish(
    here: Here,
    session: Session,
    body: Mapping[str, Any],
    note: str,
    changes: Sequence[Change],
    action: str = "rulebook.publish",
) -> int:
    before = rulebook.head(session, here.account.id)
    number = rulebook.publish(
        session, here.account.id, body, by=here.operator.name, note=note, now=here.now
    )
    here.audit(
        session,
        action,
        f"rulebook:{number}",
        before={"number": before},
        after={
            "number": number,
            "note": note,
            "changes": [[one.kind, one.name] for one in changes[:MOST_CHANGES]],
        },
    )
    return number


def _publish_page(here: Here, errors: Mapping[str, str] | None = None, status: int = 200) -> Any:
    with db.reading(here.rt.engine) as session:
        changes = drafts.changes(session, here.account.id)
        number = rulebook.head(session, here.account.id)
        body = rulebook.draft_body(session, here.account.id)
    return render_template(
        "rules/publish.html",
        number=number,
        count=len(body["rules"]),
        seen=_mark(body),
        note=request.form.get("note", ""),
        errors=errors or {},
        most_note=LONGEST_NOTE,
        action=url_for(".rulebook_published"),
        **_shown(changes),
    ), status


def _shown(changes: Sequence[Change]) -> Json:
    """Changes as ``_changes.html`` draws them."""
    counts = {
        kind: sum(1 for one in changes if one.kind == kind) for kind in (*CHANGE_WORDS, FALLBACK)
    }
    return {
        "changes": changes[:MOST_CHANGES],
        "changes_total": len(changes),
        "counts": counts,
        "change_words": {**CHANGE_WORDS, FALLBACK: _("收到消息回复")},
        "words": rule_words,
        "moved_kind": MOVED,
    }


def _body(session: Session, here: Here, number: int) -> Json:
    """A rulebook's body; 0 is nothing, as before the first."""
    if number == 0:
        return {}
    if _row(session, here, number) is None:
        missing()
    return rulebook.snapshot(session, here.account.id, number)


def _row(session: Session, here: Here, number: int) -> Any:
    if number > 2**31 - 1:
        return None
    return session.execute(
        sa.select(table.c.number, table.c.note, table.c.published_at, table.c.published_by).where(
            table.c.account_id == here.account.id, table.c.number == number
        )
    ).one_or_none()


def _mark(body: Mapping[str, Any]) -> str:
    """What tells one state of the rules as edited from another."""
    text = json.dumps(body, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:32]
