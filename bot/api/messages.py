"""Conversations (会话): who wrote, what was said, answers by hand, canned answers."""

import secrets
from typing import Annotated, Any, Literal

from pydantic import Field

from bot import canned_answers, conversations, followers
from bot.api import cursors
from bot.api.cursors import Listing, slice_of
from bot.api.frame import Area, Asked, Call, ContentBody, Id, Json, Nothing, Page, Told, When
from bot.api.masks import masked
from bot.api.problems import found
from bot.conversations import Bubble, Line
from bot.db import Session
from bot.errors import Refused

area = Area("messages", "Conversations · 会话")
View = Literal["open", "unread", "closed"]


class LineTold(Told):
    follower: Id
    open_id: str | None
    remark: str | None
    wrote_at: When
    ends_at: When = Field(description="when the reply window ends")
    left: int = Field(description="messages that may still be sent")
    kind: str
    said: Json
    unread: bool
    agent: str | None


class MessagesAsked(Page):
    view: View = "open"
    order: Literal["ending", "newest"] = "ending"
    q: str = Field("", max_length=100)


class BubbleTold(Told):
    at: When
    ours: bool
    kind: str
    content: Json
    who: str = Field(description="a rule, an agent, or what sent it")
    status: str
    error: str | None


class Conversation(Told):
    left: int
    ends_at: When | None
    agent: str | None
    closed: bool
    silent_until: When | None = Field(description="rules do not answer until then")
    items: list[BubbleTold] = Field(description="the oldest first")
    next: str | None = Field(description="the cursor of the page with older ones")


class Answer(Asked):
    content: ContentBody


class Sent(Told):
    id: Id = Field(description="of the message that is owed; it is sent within seconds")


class Agent(Asked):
    agent: Annotated[str, Field(min_length=1, max_length=60)]


class CannedTold(Told):
    id: Id
    title: str
    text: str


class CannedWanted(Asked):
    title: str = Field(min_length=1, max_length=60)
    text: str = Field(min_length=1, max_length=600)


@area("GET", "/messages", "messages.read")
def messages_list(call: Call, session: Session, query: MessagesAsked) -> Listing[LineTold]:
    """Conversations whose 48 hours are not over: the one that ends next first, or who wrote last."""
    page = conversations.page(
        session,
        call.account.id,
        call.now,
        view=query.view,
        order=query.order,
        query=query.q,
        after=cursors.position(call, query) or "",
        limit=query.limit,
    )
    following = cursors.made(call, query, page.more) if page.more else None
    return Listing[LineTold](items=[_line(call, one) for one in page.lines], next=following)


@area("GET", "/messages/<follower_id>", "messages.read")
def conversation(call: Call, session: Session, follower_id: Id, query: Page) -> Conversation:
    """What was said with one follower, and how long an answer may still be sent."""
    _known(call, session, follower_id)
    state = conversations.state(session, call.account.id, follower_id, call.now)
    before = cursors.position(call, query) or 0
    bubbles, older = conversations.bubbles(
        session, call.account.id, follower_id, before=before, limit=query.limit
    )
    return Conversation(
        left=state.left,
        ends_at=state.ends_at,
        agent=state.agent,
        closed=state.closed,
        silent_until=state.silent_until,
        items=[_bubble(call, one) for one in bubbles],
        next=cursors.made(call, query, older) if older else None,
    )


@area("POST", "/messages/<follower_id>", "messages.reply", status=202)
def message_send(call: Call, session: Session, follower_id: Id, body: Answer) -> Sent:
    """Answer by hand. Refused where no reply window is open; takes one message of it."""
    _known(call, session, follower_id)
    sent = conversations.send(
        session,
        call.account.id,
        follower_id,
        body.content,
        by=call.by,
        key=f"api-{secrets.token_hex(12)}",
        now=call.now,
    )
    if sent is None:
        raise Refused("this message was sent already")
    call.audit(session, "conversation.send", f"follower:{follower_id}")
    return Sent(id=sent)


@area("POST", "/messages/<follower_id>/take", "messages.reply")
def message_take(call: Call, session: Session, follower_id: Id, body: Agent) -> Nothing:
    """Somebody takes care: rules stay silent for two hours."""
    _known(call, session, follower_id)
    conversations.take(session, call.account.id, follower_id, body.agent, call.now)
    call.audit(session, "conversation.take", f"follower:{follower_id}", after={"agent": body.agent})
    return Nothing()


@area("POST", "/messages/<follower_id>/hand-back", "messages.reply")
def message_hand_back(call: Call, session: Session, follower_id: Id) -> Nothing:
    """Rules answer again."""
    _known(call, session, follower_id)
    conversations.hand_back(session, call.account.id, follower_id)
    call.audit(session, "conversation.hand_back", f"follower:{follower_id}")
    return Nothing()


@area("POST", "/messages/<follower_id>/close", "messages.reply")
def message_close(call: Call, session: Session, follower_id: Id) -> Nothing:
    """Done: out of the list until the follower writes again."""
    _known(call, session, follower_id)
    conversations.close(session, call.account.id, follower_id, call.now)
    call.audit(session, "conversation.close", f"follower:{follower_id}")
    return Nothing()


@area("GET", "/canned-answers", "messages.read")
def canned_list(call: Call, session: Session, query: Page) -> Listing[CannedTold]:
    """Canned answers, in their order."""
    return slice_of(call, query, canned_answers.every(session, call.account.id), _canned)


@area("POST", "/canned-answers", "messages.reply", status=201)
def canned_create(call: Call, session: Session, body: CannedWanted) -> CannedTold:
    """A new canned answer."""
    canned_id = canned_answers.save(session, call.account.id, body.title, body.text)
    call.audit(session, "canned.add", body.title.strip(), after=body.model_dump())
    return CannedTold(id=canned_id, title=body.title.strip(), text=body.text.strip())


@area("PUT", "/canned-answers/<canned_id>", "messages.reply")
def canned_update(call: Call, session: Session, canned_id: Id, body: CannedWanted) -> CannedTold:
    """Change a canned answer."""
    rows = canned_answers.every(session, call.account.id)
    before = found(next((row for row in rows if row.id == canned_id), None))
    canned_answers.save(session, call.account.id, body.title, body.text, canned_id)
    was = {"title": before.title, "text": before.text}
    call.audit(session, "canned.change", body.title.strip(), before=was, after=body.model_dump())
    return CannedTold(id=canned_id, title=body.title.strip(), text=body.text.strip())


@area("DELETE", "/canned-answers/<canned_id>", "messages.reply")
def canned_delete(call: Call, session: Session, canned_id: Id) -> Nothing:
    """Remove a canned answer."""
    listed = canned_answers.every(session, call.account.id)
    old = next((row for row in listed if row.id == canned_id), None)
    title = found(canned_answers.drop(session, call.account.id, canned_id))
    before = {"text": old.text} if old is not None else None
    call.audit(session, "canned.delete", title, before=before)
    return Nothing()


def _known(call: Call, session: Session, follower_id: int) -> None:
    found(followers.by_id(session, call.account.id, follower_id))


def _line(call: Call, line: Line) -> LineTold:
    return LineTold(
        follower=line.follower_id,
        open_id=call.open_id(line.open_id),
        remark=line.remark,
        wrote_at=line.wrote_at,
        ends_at=line.ends_at,
        left=line.left,
        kind=line.kind,
        said=masked(call, dict(line.said)),
        unread=line.unread,
        agent=line.agent,
    )


def _bubble(call: Call, bubble: Bubble) -> BubbleTold:
    return BubbleTold(
        at=bubble.at,
        ours=bubble.ours,
        kind=bubble.kind,
        content=masked(call, dict(bubble.content)),
        who=bubble.who,
        status=bubble.status,
        error=masked(call, bubble.error),
    )


def _canned(row: Any) -> CannedTold:
    return CannedTold(id=row.id, title=row.title, text=row.text)
