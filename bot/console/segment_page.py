"""One segment 人群: how many, who they are compared with all followers, whom it shares with other segments."""

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from flask import render_template, request

from bot import db
from bot.audiences import catalogue, index, overlap, segments
from bot.audiences.catalogue import Line
from bot.audiences.index import Look
from bot.audiences.portrait import portrait
from bot.console.access import Here, page
from bot.console.follower_words import source
from bot.console.segments import NOBODY, in_words, known, spark
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
