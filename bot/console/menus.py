"""Menus 自定义菜单: the visual editor, personal menus by tag, publishing, taps, and what the platform has."""

import difflib
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from flask import Response, abort, render_template, request, url_for
from flask_babel import gettext as _
from werkzeug.wrappers import Response as Answer

from bot import db, followers, menu_drafts, menu_taps
from bot.clock import day_of, parse_moment
from bot.console import menu_forms
from bot.console.access import Here, confirm, done, missing, page
from bot.console.lists import csv_file, whole
from bot.console.scenes import SPANS, span_of
from bot.console.telling import told
from bot.db import Session
from bot.errors import Invalid, Refused, WeChatError
from bot.menu_drafts import State
from bot.tables.followers import tags as tags_table
from bot.wechat import menu as gateway

DEFAULT = "default"


@page("/menus", "menus.read", methods=("GET", "POST"))
def menu_edit(here: Here) -> Answer | str | tuple[str, int]:
    """One menu of the draft: the default one, or a personal one by its number."""
    which = request.values.get("which", DEFAULT)
    with db.reading(here.rt.engine) as session:
        found = menu_drafts.state(session, here.account.id)
    if request.method == "GET":
        return _editor(here, found, which, _menu_of(found, which))
    if not here.may("menus.write"):
        abort(403)
    menu = menu_forms.read(request.form)
    if order := request.form.get("move", ""):
        return _editor(here, found, which, menu_forms.moved(menu, order), note=_("还没有保存"))
    return _keep(here, found, which, menu)


@page("/menus/personal", "menus.write", methods=("POST",))
def menu_personal(here: Here) -> Answer:
    """A personal menu more, or less, or earlier: the first whose tag fits is shown."""
    tag = request.form.get("tag", "").strip()
    order = request.form.get("order", "")
    with db.writing(here.rt.engine) as session:
        found = menu_drafts.state(session, here.account.id)
        personal = [dict(one) for one in found.personal]
        which = DEFAULT
        if tag:
            # it begins as a copy of the default menu, so that there is something to change
            personal.append({"tag": tag, "menu": found.menu})
            which = str(len(personal) - 1)
        else:
            _reorder(personal, order)
        menu_drafts.save(
            session,
            here.account.id,
            found.menu,
            personal,
            seen=_seen(),
            by=here.operator.name,
        )
        here.audit(
            session,
            "menu.personal",
            "menu",
            before=[one["tag"] for one in found.personal],
            after=[one["tag"] for one in personal],
        )
    return done(_("已改草稿，还没有发布"), "menu_edit", which=which)


@page("/menus/publish", "menus.read", methods=("GET", "POST"))
def menu_publish(here: Here) -> Answer | str | tuple[str, int]:
    """What publishing changes; at once, or at a time."""
    problem = ""
    if request.method == "POST":
        if not here.may("menus.publish"):
            abort(403)
        try:
            return _publish(here)
        except (Invalid, Refused, WeChatError) as refusal:
            message = refusal.message if isinstance(refusal, Invalid) else str(refusal)
            problem = told(message)
    with db.reading(here.rt.engine) as session:
        found = menu_drafts.state(session, here.account.id)
        wrong = menu_drafts.problems(session, here.account.id, found.menu, found.personal)
        silent = menu_drafts.unanswered(session, here.account.id, found)
    shown = render_template(
        "menus/publish.html",
        told=told,
        found=found,
        changes=changes(found.menus.published or {}, found),
        problem=problem,
        wrong=[(place, told(text)) for place, text in wrong] if found.menu else [],
        silent=silent,
        at=request.form.get("publish_at", ""),
    )
    return (shown, 409) if problem else shown


@page("/menus/cancel", "menus.publish", methods=("POST",))
def menu_cancel(here: Here) -> Answer:
    """Take a scheduled publication back."""
    with db.writing(here.rt.engine) as session:
        menu_drafts.cancel(session, here.account.id, seen=_seen())
        here.audit(session, "menu.cancel", "menu")
    return done(_("已取消定时发布，草稿还在"), "menu_publish")


@page("/menus/discard", "menus.write", methods=("GET", "POST"))
def menu_discard(here: Here) -> Answer | str:
    """Forget the draft."""
    with db.writing(here.rt.engine) as session:
        found = menu_drafts.state(session, here.account.id)
        if request.method == "GET":
            by = found.changed_by or ""
            return confirm(
                _("放弃菜单草稿"),
                [
                    _("最后改它的是 %(name)s。", name=by),
                    _("草稿里的改动会丢失；粉丝现在看到的菜单不变。"),
                ],
                action=url_for(".menu_discard"),
                button=_("放弃草稿"),
                back=url_for(".menu_edit"),
                hidden={"version": found.version},
            )
        menu_drafts.discard(session, here.account.id, seen=_seen(), by=here.operator.name)
        before = {"menu": found.menu, "personal": found.personal}
        here.audit(session, "menu.discard", "menu", before=before)
    return done(_("草稿已放弃"), "menu_edit")


@page("/menus/preview", "menus.read")
def menu_preview(here: Here) -> str | tuple[str, int]:
    """Which menu one follower sees, and why."""
    wanted = request.args.get("follower", "").strip()[:64]
    problem, seen, live, who = "", None, None, None
    with db.reading(here.rt.engine) as session:
        found = menu_drafts.state(session, here.account.id)
        if wanted:
            who = _follower(session, here, wanted)
            if who is None:
                problem = _("没有这个粉丝")
            else:
                seen = menu_drafts.seen_by(session, here.account.id, who.id, found, here.now)
    if who is not None and request.args.get("ask"):
        try:
            live = gateway.seen_by(here.rt.wechat(here.account.id), who.open_id)
        except WeChatError as refusal:
            problem = told(str(refusal))
    shown = render_template(
        "menus/preview.html",
        told=told,
        found=found,
        wanted=wanted,
        problem=problem,
        seen=seen,
        live=live,
        who=who,
    )
    return (shown, 404) if who is None and wanted else shown


@page("/menus/platform", "menus.read", methods=("GET", "POST"))
def menu_platform(here: Here) -> Answer | str:
    """What the platform has now, beside what we told it; may be taken over as a draft."""
    answer = gateway.current(here.rt.wechat(here.account.id))
    theirs = gateway.from_platform((answer.get("menu") or {}).get("button"))
    rows = answer.get("conditionalmenu")
    with db.writing(here.rt.engine) as session:
        found = menu_drafts.state(session, here.account.id)
        personal = _their_personal(session, here, rows if isinstance(rows, list) else [])
        if request.method == "POST":
            if not here.may("menus.write"):
                abort(403)
            known = [one for one in personal if one["tag"]]
            menu_drafts.save(
                session, here.account.id, theirs, known, seen=_seen(), by=here.operator.name
            )
            here.audit(session, "menu.adopt", "menu", after={"menu": theirs})
            return done(_("已把平台上的菜单放进草稿"), "menu_edit")
    published = found.menus.published or {}
    return render_template(
        "menus/platform.html",
        told=told,
        found=found,
        theirs=theirs,
        personal=personal,
        rows=_compare(published.get("menu") or [], theirs),
        same=_same(published, theirs, personal),
    )


@page("/menus/taps", "menus.read")
def menu_taps_report(here: Here) -> str | Response:
    """How often each button was tapped, by how many."""
    span = span_of(request.args.get("days", ""))
    last = day_of(here.now)
    first = last - timedelta(days=span - 1)
    with db.reading(here.rt.engine) as session:
        found = menu_taps.report(session, here.account.id, first, last, here.now)
    days = [last - timedelta(days=number) for number in range(span)]
    if request.args.get("format") == "csv":
        header = [_("按钮"), _("标识"), _("日期"), _("点击次数"), _("点击人数")]
        rows = (
            (taps.name, taps.key, day, *taps.days[day])
            for taps in found
            for day in days
            if day in taps.days
        )
        return csv_file(f"{here.account.slug}-{_('菜单点击')}", header, rows)
    by_day = [
        (
            day,
            sum(taps.days.get(day, (0, 0))[0] for taps in found),
            sum(taps.days.get(day, (0, 0))[1] for taps in found),
        )
        for day in days
    ]
    return render_template("menus/taps.html", found=found, by_day=by_day, span=span, spans=SPANS)


def changes(published: Mapping[str, Any], found: State) -> list[tuple[str, list[tuple[str, str]]]]:
    """(menu, lines of (sign, text)) of every menu that publishing changes; ``+`` new, ``-`` gone."""
    old = {one["tag"]: one["menu"] for one in published.get("personal") or []}
    new = {one["tag"]: one["menu"] for one in found.personal}
    listed = [(_("默认菜单"), published.get("menu") or [], found.menu)]
    for tag in [*new, *(tag for tag in old if tag not in new)]:
        title = _("个性化菜单：%(tag)s", tag=tag)
        listed.append((title, old.get(tag, []), new.get(tag, [])))
    told_ = [(title, _compare(before, after)) for title, before, after in listed if before != after]
    if list(old) != list(new) and set(old) == set(new):
        rows = [("-", _("、").join(old)), ("+", _("、").join(new))]
        told_.append((_("个性化菜单的先后"), rows))
    return told_


def _compare(before: Sequence[Any], after: Sequence[Any]) -> list[tuple[str, str]]:
    told_ = difflib.ndiff(menu_forms.lines(before), menu_forms.lines(after))
    return [(line[0], line[2:]) for line in told_ if line[0] in "+- "]


def _editor(
    here: Here,
    found: State,
    which: str,
    menu: Sequence[Mapping[str, Any]],
    *,
    problems: Sequence[tuple[str, str]] = (),
    note: str = "",
    conflict: bool = False,
) -> str:
    prefix = "menu" if which == DEFAULT else f"personal_menus.{which}.menu"
    with db.reading(here.rt.engine) as session:
        tag_names = list(
            session.execute(
                tags_table.select()
                .with_only_columns(tags_table.c.name)
                .where(
                    tags_table.c.account_id == here.account.id,
                    tags_table.c.sync,
                    tags_table.c.archived_at.is_(None),
                )
                .order_by(tags_table.c.name)
            ).scalars()
        )
        silent = menu_drafts.unanswered(session, here.account.id, found)
    of_slots = [one for one in problems if one[0].startswith(f"{prefix}.")]
    taken = {one["tag"] for one in found.personal}
    return render_template(
        "menus/edit.html",
        told=told,
        found=found,
        which=which,
        columns=menu_forms.slots(menu, of_slots, prefix),
        kinds=menu_forms.KINDS,
        others=[text for place, text in problems if (place, text) not in of_slots],
        note=note,
        theirs=menu_forms.lines(_menu_of(found, which)) if conflict else [],
        tags=[(name, name) for name in tag_names if name not in taken],
        silent=silent,
        waiting=found.drafted or found.menus.waiting,
    )


def _keep(
    here: Here, found: State, which: str, menu: list[dict[str, Any]]
) -> Answer | tuple[str, int]:
    personal = [dict(one) for one in found.personal]
    default = found.menu
    if which == DEFAULT:
        default = menu
    else:
        personal[_number(found, which)]["menu"] = menu
    try:
        with db.writing(here.rt.engine) as session:
            wrong = menu_drafts.problems(session, here.account.id, default, personal)
            if wrong:
                problems = [(place, told(text)) for place, text in wrong]
                return _editor(here, found, which, menu, problems=problems), 422
            menu_drafts.save(
                session, here.account.id, default, personal, seen=_seen(), by=here.operator.name
            )
            here.audit(
                session,
                "menu.save",
                f"menu:{which}",
                before=_menu_of(found, which),
                after=menu,
            )
    except Refused as refusal:
        note = told(str(refusal))
        return _editor(here, found, which, menu, note=note, conflict=True), 409
    return done(_("草稿已保存，还没有发布"), "menu_edit", which=which)


def _publish(here: Here) -> Answer:
    at = request.form.get("publish_at", "").strip()
    if request.form.get("when") == "later":
        try:
            moment = parse_moment(at)
        except ValueError:
            raise Invalid("publish_at", "must be a time") from None
        with db.writing(here.rt.engine) as session:
            menu_drafts.schedule(
                session, here.account.id, moment, here.now, seen=_seen(), by=here.operator.name
            )
            here.audit(session, "menu.schedule", "menu", after={"at": moment.isoformat()})
        return done(_("已定时，到时自动发布"), "menu_publish")
    with db.reading(here.rt.engine) as session:
        found = menu_drafts.state(session, here.account.id)
    menu_drafts.publish(
        here.rt.engine, here.rt.wechat(here.account.id), here.account.id, here.now, seen=_seen()
    )
    with db.writing(here.rt.engine) as session:
        here.audit(
            session,
            "menu.publish",
            "menu",
            before=found.menus.published,
            after={"menu": found.menu, "personal": found.personal},
        )
    return done(_("菜单已发布。粉丝几分钟内看到，取消关注再关注马上看到"), "menu_edit")


def _menu_of(found: State, which: str) -> Sequence[Mapping[str, Any]]:
    if which == DEFAULT:
        return found.menu
    menu: Sequence[Mapping[str, Any]] = found.personal[_number(found, which)]["menu"]
    return menu


def _number(found: State, which: str) -> int:
    place = whole(which)
    return place if place is not None and place < len(found.personal) else missing()


def _seen() -> int:
    text = request.form.get("version", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else -1


def _reorder(personal: list[dict[str, Any]], order: str) -> None:
    """``2:remove``, ``2:up`` or ``2:down``."""
    number, _colon, verb = order.partition(":")
    place = whole(number)
    if place is None or place >= len(personal):
        missing()
    if verb == "remove":
        del personal[place]
        return
    other = place + (1 if verb == "down" else -1)
    if 0 <= other < len(personal):
        personal[place], personal[other] = personal[other], personal[place]


def _follower(session: Session, here: Here, wanted: str) -> followers.Follower | None:
    """By the number of their page, or by a whole OpenID."""
    if wanted.isascii() and wanted.isdigit():
        return followers.by_id(session, here.account.id, int(wanted)) if len(wanted) < 18 else None
    return followers.find(session, here.account.id, wanted)


def _their_personal(session: Session, here: Here, rows: Sequence[Any]) -> list[dict[str, Any]]:
    """The platform's personal menus, the newest first, as it tries them. ``tag`` is "" where we know none."""
    known = session.execute(
        tags_table.select()
        .with_only_columns(tags_table.c.wechat_id, tags_table.c.name)
        .where(tags_table.c.account_id == here.account.id, tags_table.c.wechat_id.is_not(None))
    )
    names = {row.wechat_id: row.name for row in known}
    found = []
    for row in rows:
        rule = row.get("matchrule") or {}
        number = str(rule.get("tag_id") or "")
        tag = names.get(whole(number) or 0, "")
        found.append({"tag": tag, "menu": gateway.from_platform(row.get("button"))})
    return found


def _same(published: Mapping[str, Any], theirs: Any, personal: Sequence[Any]) -> bool:
    return (published.get("menu") or []) == theirs and list(
        published.get("personal") or []
    ) == list(personal)
