"""One segment 人群: how many, who they are compared with all followers, whom it shares with others; freezing it."""

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from flask import flash, render_template, request, url_for
from flask_babel import gettext as _
from werkzeug.wrappers import Response

from bot import db
from bot.audiences import catalogue, freezing, index, overlap, segments
from bot.audiences.catalogue import Line
from bot.audiences.index import Look
from bot.audiences.portrait import portrait
from bot.console.access import Here, confirm, done, go, page
from bot.console.follower_words import source
from bot.console.segments import NOBODY, in_words, known, spark
from bot.console.telling import told
from bot.db import Session
from bot.errors import Invalid, Refused
from bot.tables.tracking import scenes

MOST_PAIRS = 12


@page("/segments/<int:segment_id>", "segments.read")
def segment(here: Here, segment_id: int) -> str:
    """Its number, sentence, history and users; portrait and overlap follow by themselves."""
    with db.reading(here.rt.engine) as session:
        line = known(session, here, segment_id)
        look = Look(session, here.account.id, here.now)
        size, everybody, problem = _size(look, line)
        days = catalogue.history(session, here.account.id, line.id, here.now, days=90)
        users = catalogue.uses(session, here.account.id).get(line.name, NOBODY)
    index.keep(here.rt.engine, look)
    return render_template(
        "segments/segment.html",
        line=line,
        size=size,
        everybody=everybody,
        problem=problem,
        days=days,
        spark=spark,
        users=in_words(users),
        counted_at=look.counted_at,
    )


@page("/segments/<int:segment_id>/portrait", "segments.read")
def segment_portrait(here: Here, segment_id: int) -> str:
    """The portrait alone: it may take a second in a large account."""
    with db.reading(here.rt.engine) as session:
        line = known(session, here, segment_id)
    return portrait_fragment(here, line.where)


@page("/segments/<int:segment_id>/overlap", "segments.read")
def segment_overlap(here: Here, segment_id: int) -> str:
    """The segment against the others, and every combination of it with those chosen."""
    with db.reading(here.rt.engine) as session:
        line = known(session, here, segment_id)
        look = catalogue.look_for_list(session, here.account.id, here.now)
        ours = look.people(line.where)
        others, waiting = _others(session, here, look, line)
    chosen = [name for name in request.args.getlist("with") if name in others]
    pairs = overlap.pairs(ours, others)
    if not chosen:
        chosen = [pair.name for pair in pairs if pair.both][:3]
    together = {name: others[name] for name in chosen[: overlap.MOST_TOGETHER - 1]}
    index.keep(here.rt.engine, look)
    return render_template(
        "segments/_overlap.html",
        line=line,
        pairs=pairs[:MOST_PAIRS],
        more=max(0, len(pairs) - MOST_PAIRS),
        chosen=list(together),
        names=[line.name, *together],
        cells=overlap.cells({line.name: ours, **together}),
        waiting=waiting,
        counted_at=look.counted_at,
    )


@page("/segments/<int:segment_id>/freeze", "segments.write", methods=("GET", "POST"))
def segment_freeze(here: Here, segment_id: int) -> Response | str:
    """Make a fixed list of whoever is in it now."""
    with db.reading(here.rt.engine) as session:
        line = known(session, here, segment_id)
        users = catalogue.uses(session, here.account.id).get(line.name, NOBODY)
        size = catalogue.size(Look(session, here.account.id, here.now), line.where)
    if request.method == "POST":
        try:
            frozen = freezing.freeze(
                here.rt.engine, here.account.id, line.id, by=here.operator.name, now=here.now
            )
        except (Invalid, Refused) as refused:
            return _refused(line, refused)
        after = {"people": frozen.size}
        with db.writing(here.rt.engine) as session:
            here.audit(session, "segment.freeze", f"segment:{line.id}", after=after)
        count = f"{frozen.size:,}"
        text = _("已冻结人群「%(name)s」：%(count)s 人", name=line.name, count=count)
        return done(text, "segment", segment_id=line.id)
    return confirm(
        _("冻结人群「%(name)s」", name=line.name),
        [
            _(
                "现在有 %(count)s 人，名单固定为这些人；之后符合条件的人不会加入。",
                count=_counted(size),
            ),
            _("取消关注的人收不到；已删除个人信息的人移出名单。"),
            _("可以随时解除冻结，人数重新随条件变化。"),
            *in_words(users),
        ],
        action=url_for(".segment_freeze", segment_id=line.id),
        button=_("冻结"),
        back=url_for(".segment", segment_id=line.id),
    )


@page("/segments/<int:segment_id>/unfreeze", "segments.write", methods=("GET", "POST"))
def segment_unfreeze(here: Here, segment_id: int) -> Response | str:
    """Give the list up: its people follow the conditions again."""
    with db.reading(here.rt.engine) as session:
        line = known(session, here, segment_id)
        users = catalogue.uses(session, here.account.id).get(line.name, NOBODY)
        look = Look(session, here.account.id, here.now)
        listed, live = catalogue.size(look, line.where), catalogue.size(look, line.definition)
    if request.method == "POST":
        try:
            was = freezing.unfreeze(here.rt.engine, here.account.id, line.id)
        except Refused as refused:
            return _refused(line, refused)
        before = {"people": was.size, "frozen_at": was.at.isoformat()}
        with db.writing(here.rt.engine) as session:
            here.audit(session, "segment.unfreeze", f"segment:{line.id}", before=before)
        text = _("已解除冻结，人群「%(name)s」随条件变化", name=line.name)
        return done(text, "segment", segment_id=line.id)
    return confirm(
        _("解除冻结「%(name)s」", name=line.name),
        [
            _(
                "名单（%(listed)s 人）会删除，不能恢复；现在符合条件的有 %(live)s 人。",
                listed=_counted(listed),
                live=_counted(live),
            ),
            *in_words(users),
        ],
        action=url_for(".segment_unfreeze", segment_id=line.id),
        button=_("解除冻结"),
        back=url_for(".segment", segment_id=line.id),
    )


def portrait_fragment(here: Here, where: Mapping[str, Any]) -> str:
    """The portrait of any tree, drawn. Also the wizard's."""
    with db.reading(here.rt.engine) as session:
        look = Look(session, here.account.id, here.now)
        found = portrait(look, where)
        named = scene_names(session, here.account.id, [share.name for share in found.sources])
    index.keep(here.rt.engine, look)
    return render_template(
        "segments/_portrait.html", found=found, source=lambda name: source(name or None, named)
    )


def scene_names(session: Session, account_id: int, keys: Sequence[str]) -> dict[str, str]:
    """Names of QR codes by their keys."""
    rows = session.execute(
        sa.select(scenes.c.key, scenes.c.name).where(
            scenes.c.account_id == account_id, scenes.c.key.in_(list(keys))
        )
    )
    return {row.key: row.name for row in rows}


def _refused(line: Line, problem: Invalid | Refused) -> Response:
    flash(told(str(problem)), "danger")
    return go(url_for(".segment", segment_id=line.id))


def _counted(people: int | None) -> str:
    return "—" if people is None else f"{people:,}"


def _size(look: Look, line: Line) -> tuple[int | None, int, str]:
    everybody = len(look.everybody())
    try:
        return len(look.people(line.where)), everybody, ""
    except (Invalid, Refused) as problem:
        return None, everybody, str(problem)


def _others(
    session: Session, here: Here, look: Look, line: Line
) -> tuple[dict[str, Any], list[str]]:
    """The people of every other segment; names of those that are to be counted first."""
    found, waiting = {}, []
    for other in segments.every(session, here.account.id):
        if other.name == line.name:
            continue
        try:
            people = look.people(other.where) if look.believe is None else look.known(other.where)
        except (Invalid, Refused):
            continue
        if people is None:
            waiting.append(other.name)
        else:
            found[other.name] = people
    return found, waiting
