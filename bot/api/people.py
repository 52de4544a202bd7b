"""One person (个人): what happened, everything that is kept, and its erasure."""

from typing import Literal

from pydantic import Field

from bot import erasure, person, timeline
from bot.api import cursors
from bot.api.cursors import Listing
from bot.api.door import needs
from bot.api.followers import known
from bot.api.frame import OPEN_ID, WORDS, Area, Call, Id, Json, Nothing, Page, Told, When
from bot.api.masks import masked
from bot.db import Session, writing

area = Area("followers", "Followers · 粉丝")


class Happened(Told):
    at: When
    source: Literal["push", "tag", "message", "delivery", "event", "change"]
    push: int | None = Field(description="the push it came of")
    data: Json


class Person(Told):
    person: Json = Field(description="everything kept, by what it is")


@area("GET", "/followers/<follower_id>/timeline", "followers.read")
def follower_timeline(
    call: Call, session: Session, follower_id: Id, query: Page
) -> Listing[Happened]:
    """What happened, the newest first: pushes with the reason of each answer, tags, messages, campaigns, changes.

    What was said is told to tokens with the scope `messages.read`.
    """
    known(call, session, follower_id)
    story = timeline.page(
        session,
        call.account.id,
        follower_id,
        after=cursors.position(call, query),
        limit=query.limit,
    )
    items = [
        Happened(
            at=one.at,
            source=one.source,
            push=one.push_id,
            data=masked(call, dict(one.data)),
        )
        for one in (story.entries if call.may(WORDS) else map(timeline.wordless, story.entries))
    ]
    following = cursors.made(call, query, story.after) if story.after else None
    return Listing[Happened](items=items, next=following)


@area("GET", "/followers/<follower_id>/export", "followers.export")
def follower_export(call: Call, follower_id: Id) -> Person:
    """Everything kept about one person, for that person. Also needs the scope `followers.open_id`."""
    needs(call.bearer, OPEN_ID)
    with writing(call.rt.engine) as session:
        known(call, session, follower_id)
        kept = person.collect(session, call.account.id, follower_id)
        call.audit(session, "follower.export", timeline.thing(follower_id))
    return Person(person=kept)


@area("POST", "/followers/<follower_id>/erase", "followers.erase")
def follower_erase(call: Call, session: Session, follower_id: Id) -> Nothing:
    """Anonymise one person for good: no text, field, tag or OpenID stays; counts do."""
    known(call, session, follower_id)
    erasure.forget(session, call.account.id, follower_id, call.rt.secret_key, call.now)
    call.audit(session, "follower.erase", timeline.thing(follower_id))
    return Nothing()
