"""Segments (人群): kept, counted, described, compared, frozen into a list."""

from typing import Any

from pydantic import Field

from bot import db, mentions
from bot.api.cursors import Listing, slice_of
from bot.api.frame import Area, Asked, Call, Id, Json, Page, Told, When
from bot.api.problems import found
from bot.audiences import catalogue, freezing, overlap, segments
from bot.audiences.catalogue import Line, Uses
from bot.audiences.index import Look
from bot.audiences.portrait import Share, portrait
from bot.db import Session
from bot.errors import Invalid, Refused
from bot.params import SegmentName

area = Area("segments", "Segments · 人群")


class FrozenTold(Told):
    at: When
    by: str
    people: int = Field(description="on the list when it was made; stays when somebody is erased")


class SegmentTold(Told):
    id: Id
    name: str
    version: str = Field(description="another one whenever its name or `where` is")
    where: Json = Field(description="as the account file writes it")
    frozen: FrozenTold | None = Field(
        description="the fixed list that selects instead of `where`, until it is unfrozen"
    )
    sentence: str = Field(description="the same in Chinese")
    people: int | None = Field(
        description="null: not counted yet in a large account; ask for /count"
    )
    used_by: dict[str, list[str]] = Field(description="names of segments, campaigns and plans")
    created_at: When
    archived_at: When | None


class SegmentWanted(Asked):
    name: SegmentName
    where: Json


class SegmentChange(SegmentWanted):
    version: str | None = Field(
        None, max_length=100, description="the one it was changed from; 409 when it is another now"
    )


class WhereWanted(Asked):
    where: Json
    fresh: bool = Field(False, description="count it now, whatever was counted lately")


class Counted(Told):
    people: int
    everybody: int = Field(description="all subscribed followers")
    sentence: str
    counted_at: When = Field(description="as of when; of several sets the oldest")


class SegmentsAsked(Page):
    archived: bool = Field(False, description="those that were put away instead")


class ShareTold(Told):
    name: str
    people: int
    share: float
    usual: float = Field(description="the share among all subscribed followers")
    index: int = Field(description="TGI: 100 is as common as among all")


class PortraitTold(Told):
    people: int
    tags: list[ShareTold]
    sources: list[ShareTold]
    activity: list[dict[str, Any]]
    follow_age: list[dict[str, Any]]
    uncounted: int = Field(description="tags that were not compared yet; ask again")
    counted_at: When


class PairTold(Told):
    name: str
    size: int
    both: int


class OverlapTold(Told):
    pairs: list[PairTold]
    cells: list[dict[str, Any]] = Field(description="who is in exactly these segments")


@area("GET", "/segments", "segments.read")
def segments_list(call: Call, session: Session, query: SegmentsAsked) -> Listing[SegmentTold]:
    """Segments by name."""
    every = catalogue.every(session, call.account.id, archived=query.archived)
    look = catalogue.look_for_list(session, call.account.id, call.now)
    used = catalogue.uses(session, call.account.id)
    return slice_of(call, query, every, lambda line: _told(look, line, used.get(line.name)))


@area("GET", "/segments/<segment_id>", "segments.read")
def segment_get(call: Call, session: Session, segment_id: Id) -> SegmentTold:
    """One segment."""
    line = _found(call, session, segment_id)
    return _whole(call, session, line)


@area("POST", "/segments", "segments.write", status=201)
def segment_create(call: Call, session: Session, body: SegmentWanted) -> SegmentTold:
    """Keep a segment under a name that is free."""
    if catalogue.is_taken(session, call.account.id, body.name):
        raise Refused(f"a segment named '{body.name}' exists already")
    return _saved(call, session, body, None)


@area("PUT", "/segments/<segment_id>", "segments.write")
def segment_update(
    call: Call, session: Session, segment_id: Id, body: SegmentChange
) -> SegmentTold:
    """Change one. A new name is used wherever the old one was named."""
    line = _found(call, session, segment_id)
    if body.version not in (None, line.version):
        raise Refused(f"somebody else changed '{line.name}' while you were editing it")
    if line.name != body.name:
        segments.rename(session, call.account.id, line.name, body.name)
        mentions.replace(session, call.account.id, "segment", line.name, body.name)
    return _saved(call, session, body, line)


@area("POST", "/segments/<segment_id>/archive", "segments.write")
def segment_archive(call: Call, session: Session, segment_id: Id) -> SegmentTold:
    """Put one away. Refused while a segment, campaign or plan names it."""
    line = _found(call, session, segment_id)
    if catalogue.uses(session, call.account.id).get(line.name):
        raise Refused(f"segment '{line.name}' is still used")
    segments.archive(session, call.account.id, line.name, call.now)
    call.audit(session, "segment.archive", f"segment:{line.id}", before=_audited(line))
    return _whole(call, session, _found(call, session, segment_id, archived=True))


@area("POST", "/segments/<segment_id>/freeze", "segments.write", status=200)
def segment_freeze(call: Call, segment_id: Id) -> SegmentTold:
    """Make a fixed list of whoever is in it now: from then on it selects these people, whatever changes."""
    engine, account_id = call.rt.engine, call.account.id
    with db.reading(engine) as session:
        line = _found(call, session, segment_id)
    frozen = freezing.freeze(engine, account_id, line.id, by=call.by, now=call.now)
    with db.writing(engine) as session:
        after = {"people": frozen.size}
        call.audit(session, "segment.freeze", f"segment:{line.id}", after=after)
        return _whole(call, session, _found(call, session, segment_id))


@area("POST", "/segments/<segment_id>/unfreeze", "segments.write", status=200)
def segment_unfreeze(call: Call, segment_id: Id) -> SegmentTold:
    """Give the list up for good: `where` selects again."""
    engine, account_id = call.rt.engine, call.account.id
    with db.reading(engine) as session:
        line = _found(call, session, segment_id)
    was = freezing.unfreeze(engine, account_id, line.id)
    with db.writing(engine) as session:
        before = {"people": was.size, "frozen_at": was.at.isoformat()}
        call.audit(session, "segment.unfreeze", f"segment:{line.id}", before=before)
        return _whole(call, session, _found(call, session, segment_id))


@area("POST", "/segments/count", "segments.read", status=200)
def segments_count(call: Call, session: Session, body: WhereWanted) -> Counted:
    """How many a tree selects, kept or not."""
    look = Look(session, call.account.id, call.now, body.fresh)
    people, everybody = look.people(body.where), look.everybody()
    return Counted(
        people=len(people),
        everybody=len(everybody),
        sentence=segments.sentence(body.where),
        counted_at=look.counted_at,
    )


@area("GET", "/segments/<segment_id>/portrait", "segments.read")
def segment_portrait(call: Call, session: Session, segment_id: Id) -> PortraitTold:
    """Who is in it, compared with all followers."""
    line = _found(call, session, segment_id)
    found_portrait = portrait(Look(session, call.account.id, call.now), line.where)
    return PortraitTold(
        people=found_portrait.size,
        tags=[_share(one) for one in found_portrait.tags],
        sources=[_share(one) for one in found_portrait.sources],
        activity=[_span(span, one) for span, one in found_portrait.activity],
        follow_age=[_span(span, one) for span, one in found_portrait.ages],
        uncounted=found_portrait.uncounted,
        counted_at=found_portrait.counted_at,
    )


@area("GET", "/segments/<segment_id>/overlap", "segments.read")
def segment_overlap(call: Call, session: Session, segment_id: Id) -> OverlapTold:
    """Whom it shares with the others; every combination with those that share most."""
    line = _found(call, session, segment_id)
    look = catalogue.look_for_list(session, call.account.id, call.now)
    ours = look.people(line.where)
    others = {
        other.name: people
        for other in segments.every(session, call.account.id)
        if other.name != line.name and (people := catalogue.people(look, other.where)) is not None
    }
    pairs = overlap.pairs(ours, others)
    together = {pair.name: others[pair.name] for pair in pairs[: overlap.MOST_TOGETHER - 1]}
    return OverlapTold(
        pairs=[PairTold(name=one.name, size=one.size, both=one.both) for one in pairs],
        cells=[
            {"names": list(cell.names), "people": cell.people}
            for cell in overlap.cells({line.name: ours, **together})
        ],
    )


def _saved(call: Call, session: Session, body: SegmentWanted, before: Line | None) -> SegmentTold:
    wrong = segments.problems(body.where, "where")
    wrong = wrong or [
        (f"where.{place}", sentence)
        for place, sentence in catalogue.unknown_names(session, call.account.id, body.where)
    ]
    if wrong:
        raise Invalid(*wrong[0])
    segment_id = segments.save(session, call.account.id, body.name, body.where, call.now)
    after = catalogue.find(session, call.account.id, segment_id)
    assert after is not None
    call.audit(
        session,
        "segment.add" if before is None else "segment.change",
        f"segment:{segment_id}",
        before=_audited(before) if before is not None else None,
        after=_audited(after),
    )
    return _whole(call, session, after)


def _found(call: Call, session: Session, segment_id: int, *, archived: bool = False) -> Line:
    line = found(catalogue.find(session, call.account.id, segment_id))
    return found(line if (line.archived_at is not None) == archived else None)


def _whole(call: Call, session: Session, line: Line) -> SegmentTold:
    look = catalogue.look_for_list(session, call.account.id, call.now)
    return _told(look, line, catalogue.uses(session, call.account.id).get(line.name))


def _told(look: Look, line: Line, used: Uses | None) -> SegmentTold:
    users = used or Uses()
    return SegmentTold(
        id=line.id,
        name=line.name,
        version=line.version,
        where=dict(line.definition),
        sentence=line.sentence,
        people=catalogue.size(look, line.where),
        used_by={
            "segments": list(users.segments),
            "campaigns": list(users.campaigns),
            "plans": list(users.plans),
        },
        frozen=FrozenTold(at=line.frozen.at, by=line.frozen.by, people=line.frozen.size)
        if line.frozen
        else None,
        created_at=line.created_at,
        archived_at=line.archived_at,
    )


def _share(one: Share) -> ShareTold:
    return ShareTold(
        name=one.name, people=one.people, share=one.share, usual=one.usual, index=one.index
    )


def _span(span: tuple[int, int | None] | None, one: Share) -> dict[str, Any]:
    days = None if span is None else {"from": span[0], "until": span[1]}
    return {"days": days, "people": one.people, "share": one.share, "usual": one.usual}


def _audited(line: Line) -> dict[str, Any]:
    return {"name": line.name, "where": line.definition}
