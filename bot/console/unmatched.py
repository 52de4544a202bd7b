"""未匹配消息: what followers write that no rule answers, and one click to a draft rule that does."""

from collections.abc import Iterator
from typing import Any

from flask import render_template, request
from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l
from werkzeug.wrappers import Response

from bot import db
from bot import unmatched as words_of
from bot.console.access import Here, done, missing, page
from bot.console.lists import Column, Listing, asked, csv_file
from rules.discovery import Cluster

COLUMNS = (
    Column("wish", _l("想问什么")),
    Column("messages", _l("消息"), sort=True, number=True),
    Column("people", _l("人数"), sort=True, number=True),
    Column("examples", _l("原话")),
    Column("words", _l("关键词")),
)
PAGE = 30
MOST_WORDS = 20  # of one draft rule


@page("/unmatched", "rules.read")
def unmatched(here: Here) -> str | Response:
    """The wishes, most frequent first, and what was put aside."""
    # what followers wrote word for word is for those who may read conversations
    reads = here.may("messages.read")
    columns = [column for column in COLUMNS if reads or column.name != "examples"]
    wanted = asked(request.args, columns, (), sort="-messages")
    with db.reading(here.rt.engine) as session:
        found = words_of.found(session, here.account.id)
        put_aside = words_of.ignored(session, here.account.id)
    rows = [one for one in found.clusters if _holds(one, wanted.q.casefold(), reads)]
    rows.sort(key=lambda one: (getattr(one, wanted.sort), one.topics), reverse=wanted.down)
    if wanted.format == "csv":
        return csv_file("unmatched", [column.label for column in columns], _lines(rows, reads))
    begin = (wanted.page - 1) * PAGE
    more = wanted.page + 1 if len(rows) > begin + PAGE else None
    listing = Listing(
        wanted, columns, (), rows[begin : begin + PAGE], len(rows), more, unit=_("个问题")
    )
    return render_template(
        "unmatched/list.html",
        listing=listing,
        found=found,
        ignored=put_aside,
        longest=MOST_WORDS,
    )


@page("/unmatched/draft", "rules.write", methods=("POST",))
def unmatched_draft(here: Here) -> Response:
    """Make a draft rule of the chosen words, and say how many messages it would have answered."""
    chosen = [word for word in request.form.getlist("words") if word.strip()][:MOST_WORDS]
    if not chosen:
        return done(_("先勾选至少一个关键词"), "unmatched")
    with db.writing(here.rt.engine) as session:
        rule_id = words_of.draft(
            session, here.account.id, chosen, by=here.operator.name, now=here.now
        )
        here.audit(session, "rule.create", f"rule:{rule_id}", after={"words": chosen})
    with db.reading(here.rt.engine) as session:
        messages, people = words_of.would_answer(session, here.account.id, chosen)
    return done(
        _(
            "已建好草稿规则（停用状态）。它能回答过去 %(messages)s 条未匹配消息，来自 %(people)s 人。写好回复再启用。",
            messages=f"{messages:,}",
            people=f"{people:,}",
        ),
        "rule_edit",
        rule_id=rule_id,
    )


@page("/unmatched/ignore", "rules.write", methods=("POST",))
def unmatched_ignore(here: Here) -> Response:
    """Put a wish aside, or several: the topics of one stand in its mark, a line each."""
    topics = request.form.getlist("topics")[:MOST_WORDS]
    for mark in request.form.getlist("ids")[:PAGE]:
        topics += mark.splitlines()[:MOST_WORDS]
    if not topics:
        return done(_("先勾选至少一个问题"), "unmatched")
    with db.writing(here.rt.engine) as session:
        kept = words_of.ignore(
            session,
            here.account.id,
            topics,
            by=here.operator.name,
            now=here.now,
        )
        if kept:
            here.audit(session, "unmatched.ignore", "、".join(kept), after={"words": kept})
    return done(_("以后不再列出：%(words)s", words=_("、").join(kept)), "unmatched")


@page("/unmatched/notice", "rules.write", methods=("POST",))
def unmatched_notice(here: Here) -> Response:
    """List a wish again."""
    word = request.form.get("word", "")
    with db.writing(here.rt.engine) as session:
        if not words_of.notice_again(session, here.account.id, word):
            missing()
        here.audit(session, "unmatched.notice", word, before={"words": [word]})
    return done(_("重新列出：%(words)s", words=word), "unmatched")


def _holds(one: Cluster, q: str, reads: bool) -> bool:
    texts = (*one.topics, *one.examples, *one.texts) if reads else one.topics
    return not q or any(q in text.casefold() for text in texts)


def _lines(rows: list[Cluster], reads: bool) -> Iterator[list[Any]]:
    for one in rows:
        yield [
            one.topics,
            one.messages,
            one.people,
            *([" | ".join(one.examples)] if reads else []),
            one.words,
        ]
