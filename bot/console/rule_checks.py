"""规则体检 and 试运行: what is wrong with the rules, and what a draft would have done with the pushes of the past."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from flask import render_template, request
from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l
from werkzeug.wrappers import Response

from bot import db, drafts, rule_trials, rulebook
from bot.clock import local
from bot.console import rule_words, words
from bot.console.access import Here, done, missing, page
from bot.console.lists import csv_file, whole
from bot.console.overlaps import checked
from bot.console.telling import beside, told
from bot.db import Session
from bot.errors import Invalid
from bot.tables.followers import tags
from bot.tables.tracking import scenes
from rules.dryrun import KINDS as CHANGE_KINDS
from rules.facts import Facts
from rules.model import Rulebook
from rules.overlap import CONFLICT, DEAD, PARTLY, SHADOWED, Finding

DRAFT, PUBLISHED = "draft", "published"
AGAINST = ((DRAFT, _l("草稿")), (PUBLISHED, _l("线上规则")))
SORTS: Mapping[str, tuple[Any, Any]] = {
    DEAD: (_l("死规则"), _l("没有任何推送能命中它。可以删除，或改正条件。")),
    SHADOWED: (
        _l("被遮挡"),
        _l("排在前面的规则总是先回答，它永远轮不到。把它移到前面，或把前面的词写得更具体。"),
    ),
    PARTLY: (_l("部分词被遮挡"), _l("其中几个词永远轮不到，其余的词不受影响。")),
    CONFLICT: (
        _l("互相冲突"),
        _l("同一条消息两边都能命中，谁也不包含谁，由排在前面的回答。确认这就是你要的顺序。"),
    ),
}
LAST = (1_000, 10_000, 100_000)  # pushes the form offers
CHANGES: Mapping[str, Any] = {
    "answer": _l("回复不同"),
    "tags": _l("标签不同"),
    "other": _l("其他动作不同"),
    "rule": _l("只是换了规则"),
}
STATES: Mapping[str, tuple[Any, str]] = {
    "running": (_l("进行中"), "blue"),
    "done": (_l("完成"), "good"),
    "failed": (_l("失败"), "bad"),
}
PAGE = 30
SOON = 100  # rules that are checked while the page waits; of more the findings come after the page
CSV_ROWS = 1_000  # as many as a dry run keeps
CSV_COLUMNS = (
    *(_l("粉丝"), _l("时间"), _l("推送"), _l("变化")),
    *(_l("线上规则"), _l("线上回复"), _l("草稿规则"), _l("草稿回复")),
)


@page("/rules/check", "rules.read")
def rule_check(here: Here) -> str:
    """Findings by kind, for the draft or for what is in force."""
    of = PUBLISHED if request.args.get("of") == PUBLISHED else DRAFT
    found: Sequence[Finding] = ()
    problem, book = "", None
    with db.reading(here.rt.engine) as session:
        body = _body(session, here, of)
        if len(body.get("rules", ())) > SOON and "wait" not in request.args:
            return render_template("rule_checks/waiting.html", of=of, against=AGAINST)
        ids = {draft.name: draft.id for draft in drafts.listing(session, here.account.id)}
        try:
            book, found = checked(body, _known(session, here.account.id), here.now)
        except Invalid as wrong:
            problem = f"{rule_words.place(wrong.field)} {told(wrong.message)}"
    return render_template(
        "rule_checks/check.html",
        of=of,
        against=AGAINST,
        groups=[
            (kind, label, hint, listed)
            for kind, (label, hint) in SORTS.items()
            if (listed := [one for one in found if one.kind == kind])
        ],
        count=len(found),
        rules=len(book.rules) if book is not None else 0,
        problem=problem,
        ids=ids,
        explained=explained,
        example=example,
        answer=lambda one: _answer(book, one),
    )


@page("/rules/trials", "rules.read")
def dry_runs(here: Here) -> str:
    """Start one, and those there were."""
    return _start_page(here, {}, {"last": str(LAST[1])})


@page("/rules/trials", "rules.write", methods=("POST",))
def dry_run_start(here: Here) -> Response | tuple[str, int]:
    """Try the draft on the last pushes, as a job."""
    given = request.form.get("last", "")
    try:
        if not given.isascii() or not given.isdigit() or len(given) > 7:
            raise Invalid("last", "must be a number from 1 to 1,000,000")
        with db.writing(here.rt.engine) as session:
            body = rulebook.draft_body(session, here.account.id)
            run_id = rule_trials.begin(
                session, here.account.id, body, int(given), by=here.operator.name, now=here.now
            )
            here.audit(session, "rules.dry_run", f"dry_run:{run_id}", after={"last": int(given)})
    except Invalid as problem:
        field = "last" if problem.field == "last" else "body"
        return _start_page(here, {field: beside(problem)[problem.field]}, {"last": given}), 422
    return done(_("试运行已开始，不会影响任何粉丝"), "dry_run", run_id=run_id)


@page("/rules/trials/<int:run_id>", "rules.read")
def dry_run(here: Here, run_id: int) -> str | Response:
    """Progress while it runs; then counts, rules before and after, and the changes, also as CSV."""
    kind = request.args.get("kind", "")
    kind = kind if kind in CHANGE_KINDS else ""
    number = request.args.get("page", "1")
    at = min(whole(number) or 1, 999)
    with db.reading(here.rt.engine) as session:
        trial = rule_trials.get(session, here.account.id, run_id)
        if trial is None:
            missing()
        if request.args.get("format") == "csv":
            kept, _count = rule_trials.changes_of(
                session, here.account.id, run_id, kind=kind, skip=0, limit=CSV_ROWS
            )
            return csv_file(f"dry-run-{run_id}", CSV_COLUMNS, _changed(here, kept))
        changes, count = rule_trials.changes_of(
            session, here.account.id, run_id, kind=kind, skip=(at - 1) * PAGE, limit=PAGE
        )
        ids = {draft.name: draft.id for draft in drafts.listing(session, here.account.id)}
    return render_template(
        "rule_checks/trial.html",
        trial=trial,
        states=STATES,
        kinds=CHANGES,
        kind=kind,
        changes=changes,
        count=count,
        at=at,
        more=at * PAGE < count,
        rules=_by_rule(trial.summary),
        ids=ids,
        said=_said if here.may("messages.read") else lambda _push: "",
        moments=_moment,
        steps=_steps,
        replied=words.replied,
    )


def _changed(here: Here, kept: Sequence[rule_trials.Stored]) -> Iterator[list[str]]:
    """Changed pushes as lines of a file; those of erased followers are left out."""
    reads = here.may("messages.read")
    for one in kept:
        if not one.change:
            continue
        push = one.change["push"]
        line: list[Any] = [
            here.open_id(one.open_id),
            _moment(push["at"]),
            _said(push) if reads else "",
        ]
        line.append([str(CHANGES[kind]) for kind in one.change["kinds"]])
        for side in (one.change["before"], one.change["after"]):
            line.append(side["rules"])
            line.append(" / ".join(words.replied(content) for content in side["answers"]))
        yield line


def explained(one: Finding) -> str:
    """Why the rule was found, in a sentence."""
    first = one.others[0].rule if one.others else ""
    values = {"rule": first, "words": one.values.get("words", ""), "count": one.count}
    if one.sentence == "earlier_wins" and one.kind == SHADOWED:
        if one.count > 1:
            return str(_("%(count)s 条排在前面的规则合起来抢先回答了它的每一个词。", **values))
        return str(_("凡是它能命中的消息，排在前面的「%(rule)s」都先命中并结束。", **values))
    if one.sentence == "earlier_wins":
        return str(_("「%(words)s」永远轮不到：排在前面的「%(rule)s」先回答。", **values))
    if one.sentence == "by_hours":
        return str(_("排在前面的 %(count)s 条规则按时段合起来占满了它的时间。", **values))
    if one.sentence == "by_kinds":
        return str(_("对一部分消息，排在前面的「%(rule)s」总是先回答：%(words)s。", **values))
    if one.sentence == "time_conflict":
        return str(_("它和另外 %(count)s 条规则的生效时间重叠，同一条消息两边都能命中。", **values))
    if one.sentence == "conflict":
        return str(_("它和另外 %(count)s 条规则都能命中同一条消息，回复却不同。", **values))
    if one.sentence == "over":
        return str(_("生效时间已在 %(until)s 结束。", until=_moment(one.values["until"])))
    name = one.values.get("name", "")
    return {
        "contradiction": str(_("条件互相矛盾，没有推送能同时符合。")),
        "never_open": str(_("条件里的日期和时段从现在起不会再同时出现。")),
        "no_tag": str(_("要求的标签「%(name)s」不存在，没有粉丝会有。", name=name)),
        "no_scene": str(_("渠道二维码「%(name)s」不存在，没有人能扫到。", name=name)),
        "no_field": str(_("字段「%(name)s」不存在，没有粉丝会有。", name=name)),
        "no_segment": str(_("人群「%(name)s」不存在。", name=name)),
    }.get(one.sentence, one.sentence)


def example(facts: Facts) -> tuple[str, list[str]]:
    """The push that shows a finding: what is said or done, and under which circumstances."""
    told_ = facts.text or words.KIND.get(facts.kind, facts.kind)
    if not facts.text and (facts.key or facts.scene):
        told_ = f"{told_}{_('：')}{facts.key or facts.scene}"
    around = [f"{local(facts.at):%Y-%m-%d %H:%M}"]
    around += [_("有标签「%(tag)s」", tag=tag) for tag in sorted(facts.tags)]
    around += [f"{name} = {value}" for name, value in facts.fields.items()]
    if facts.first_message:
        around.append(_("第一次发消息"))
    return told_, around


def _answer(book: Rulebook | None, one: Finding) -> tuple[str, str]:
    """(who answers the example, with what): the rules are asked."""
    if book is None or one.example is None:
        return "", ""
    winner, content = rule_trials.answer(book, one.example)
    return winner, words.replied(content)


def _body(session: Session, here: Here, of: str) -> Mapping[str, Any]:
    if of == DRAFT:
        return rulebook.draft_body(session, here.account.id)
    number = rulebook.head(session, here.account.id)
    return rulebook.snapshot(session, here.account.id, number) if number else {}


def _known(session: Session, account_id: int) -> dict[str, list[str]]:
    """Tags and codes there are; a code that was put away may still hang on a wall."""
    given = sa.select(tags.c.name).where(
        tags.c.account_id == account_id, tags.c.archived_at.is_(None)
    )
    keys = sa.select(scenes.c.key).where(scenes.c.account_id == account_id)
    return {
        "tag": list(session.execute(given).scalars()),
        "scene": list(session.execute(keys).scalars()),
    }


def _start_page(here: Here, problems: Mapping[str, str], given: Mapping[str, str]) -> str:
    with db.reading(here.rt.engine) as session:
        trials = rule_trials.recent(session, here.account.id)
        number = rulebook.head(session, here.account.id)
    return render_template(
        "rule_checks/trials.html",
        trials=trials,
        states=STATES,
        last=[(str(count), _("最近 %(count)s 条", count=f"{count:,}")) for count in LAST],
        number=number,
        problems=problems,
        given=given,
    )


def _by_rule(summary: Mapping[str, Any]) -> list[tuple[str, int, int]]:
    """(rule, times before, times after), the largest differences first; only rules that differ."""
    before, after = summary.get("before", {}), summary.get("after", {})
    rows = [
        (name, before.get(name, 0), after.get(name, 0)) for name in dict.fromkeys([*before, *after])
    ]
    changed = [row for row in rows if row[1] != row[2]]
    return sorted(changed, key=lambda row: (-abs(row[1] - row[2]), row[0]))


def _said(push: Mapping[str, Any]) -> str:
    kind = words.KIND.get(push.get("kind", ""), push.get("kind", ""))
    return str(push.get("text") or push.get("key") or push.get("scene") or words.boxed(kind))


def _moment(text: str) -> str:
    facts = Facts.from_json({"push_key": "", "kind": "", "at": text})
    return f"{local(facts.at):%Y-%m-%d %H:%M}"


def _steps(side: Mapping[str, Any]) -> list[str]:
    """The rules that were asked, in order, and what came of each."""
    found = []
    for step in side.get("steps", ()):
        if step["outcome"] == "matched":
            found.append(_("「%(rule)s」命中", rule=step["rule"]))
        else:
            why = rule_words.WHY.get(step["why"]) or rule_words.member_label(
                "rules.conditions", step["why"]
            )
            found.append(_("「%(rule)s」不符合：%(why)s", rule=step["rule"], why=why))
    if side.get("fallback"):
        found.append(_("兜底回复"))
    return found
