"""Conversations (会话): who wrote within 48 hours, what was said both ways, and what agents answer.

A conversation is a follower whose long reply window is open. The row in ``conversations`` says what agents
have read and who takes care of it; whoever no agent ever looked at has none.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from bot import content, db, followers, outbox
from bot.db import Session
from bot.errors import Invalid, Refused
from bot.tables.campaigns import campaign_runs, campaigns, deliveries
from bot.tables.followers import followers as followers_table
from bot.tables.followers import reply_windows
from bot.tables.inbox import conversations, inbound
from bot.tables.outbox import outbox as outbox_table
from rules.text import fold_words

MESSAGES = ("text", "image", "voice", "video", "short_video", "location", "link")
PURPOSE = "agent"  # outbox rows that a person wrote
ALLOWANCE = followers.WINDOWS["message"][1]
# rules stay silent so long after an agent took over or answered; then they answer again by themselves
SILENCE = timedelta(hours=2)
VIEWS = ("open", "unread", "mine", "closed")
ORDERS = ("ending", "newest")
PAGE = 30

Json = dict[str, Any]
_long = reply_windows.c.opened_by == followers.LONG_WINDOWS[0]


@dataclass(frozen=True, slots=True)
class Line:
    """One conversation in the inbox. ``said`` is the newest message as it was stored; empty after erasure."""

    follower_id: int
    open_id: str
    remark: str | None
    wrote_at: datetime
    ends_at: datetime
    left: int
    kind: str
    said: Json
    unread: bool
    agent: str | None
    opted_out: bool


@dataclass(frozen=True, slots=True)
class Page:
    lines: list[Line]
    more: str | None  # the cursor of the next page


@dataclass(frozen=True, slots=True)
class State:
    """Where a conversation stands. ``left`` and ``ends_at`` are those of every open window together.

    ``long_left`` is what the 48 hours of the last message alone allow.
    """

    left: int
    long_left: int
    ends_at: datetime | None
    agent: str | None
    closed: bool
    silent_until: datetime | None
    last_push: int
    read_to: int
    remark: str | None = None


@dataclass(frozen=True, slots=True)
class Bubble:
    """One thing that was said. ``ours``: by us; ``who``: rule, agent's name, or the purpose of the message.

    ``id`` is the push's where ``ours`` is false or the reply was passive, else the outbox row's.
    """

    at: datetime
    ours: bool
    kind: str
    content: Json
    id: int
    who: str = ""
    status: str = "sent"
    errcode: int | None = None
    error: str | None = None


def page(
    session: Session,
    account_id: int,
    now: datetime,
    *,
    view: str = "open",
    order: str = "ending",
    query: str = "",
    agent: str = "",
    after: str = "",
    limit: int = PAGE,
) -> Page:
    """Conversations of a view: whose window ends next first, or who wrote last.

    A window ends 48 hours after the last message, so both orders walk one index, by key.

    Raises:
        Invalid: the cursor is not one of ours.
    """
    latest = _latest_id(reply_windows.c.follower_id)
    listed = (
        sa.select(
            reply_windows.c.follower_id,
            reply_windows.c.opened_at,
            reply_windows.c.expires_at,
            reply_windows.c.left,
            followers_table.c.open_id,
            followers_table.c.remark,
            followers_table.c.opted_out_at,
            conversations.c.read_to,
            conversations.c.agent,
            latest.label("latest"),
        )
        .select_from(_joined())
        .where(*_of_view(account_id, now, view, agent), *_matching(account_id, query))
    )
    down = order == "newest"
    place = sa.tuple_(reply_windows.c.expires_at, reply_windows.c.follower_id)
    if after:
        moment, follower_id = _cursor(after)
        here = sa.tuple_(sa.literal(moment, db.UtcDateTime()), sa.literal(follower_id))
        listed = listed.where(place < here if down else place > here)
    columns = (reply_windows.c.expires_at, reply_windows.c.follower_id)
    ordered = [column.desc() if down else column.asc() for column in columns]
    rows = session.execute(listed.order_by(*ordered).limit(limit + 1)).all()
    shown = rows[:limit]
    said = _pushes(session, [row.latest for row in shown if row.latest])
    lines = [
        Line(
            follower_id=row.follower_id,
            open_id=row.open_id,
            remark=row.remark,
            wrote_at=row.opened_at,
            ends_at=row.expires_at,
            left=row.left,
            kind=said[row.latest].kind if row.latest in said else "",
            said=dict(said[row.latest].message.get("fields") or {}) if row.latest in said else {},
            unread=row.latest is not None and row.latest > (row.read_to or 0),
            agent=row.agent,
            opted_out=row.opted_out_at is not None,
        )
        for row in shown
    ]
    last = shown[-1] if len(rows) > limit else None
    more = f"{last.expires_at.isoformat()}~{last.follower_id}" if last is not None else None
    return Page(lines, more)


def counts(session: Session, account_id: int, now: datetime, agent: str) -> dict[str, int]:
    """How many conversations each view holds.

    All of them are counted by their index alone; what an agent ever touched, and only that, is looked at.
    """
    here = (reply_windows.c.account_id == account_id, _long, reply_windows.c.expires_at > now)
    every = session.execute(sa.select(sa.func.count()).where(*here)).scalar_one()
    closed = conversations.c.closed_at >= reply_windows.c.opened_at
    latest = _latest_id(reply_windows.c.follower_id)
    which = (
        closed,
        sa.and_(_not_closed(), conversations.c.agent == agent),
        sa.and_(_not_closed(), conversations.c.read_to >= sa.func.coalesce(latest, 0)),
    )
    touched = session.execute(
        sa.select(*(sa.func.count(sa.case((one, 1))) for one in which))
        .select_from(
            reply_windows.join(
                conversations, conversations.c.follower_id == reply_windows.c.follower_id
            )
        )
        .where(*here)
    ).one()
    done, mine, read = (int(number) for number in touched)
    return {
        "open": every - done,
        "mine": mine,
        "closed": done,
        "unread": max(every - done - read, 0),
    }


def state(session: Session, account_id: int, follower_id: int, now: datetime) -> State:
    """Where the conversation with a follower of this account stands."""
    windows = session.execute(
        sa.select(
            reply_windows.c.left, reply_windows.c.expires_at, reply_windows.c.opened_by
        ).where(
            reply_windows.c.follower_id == follower_id,
            reply_windows.c.account_id == account_id,
            reply_windows.c.expires_at > now,
            reply_windows.c.left > 0,
        )
    ).all()
    row = session.execute(
        sa.select(conversations).where(
            conversations.c.follower_id == follower_id, conversations.c.account_id == account_id
        )
    ).one_or_none()
    about = session.execute(
        sa.select(followers_table.c.handed_over_until, followers_table.c.remark).where(
            followers_table.c.id == follower_id, followers_table.c.account_id == account_id
        )
    ).one_or_none()
    silent = about.handed_over_until if about is not None else None
    wrote = session.execute(
        sa.select(reply_windows.c.opened_at).where(
            reply_windows.c.follower_id == follower_id, _long
        )
    ).scalar()
    closed_at = row.closed_at if row is not None else None
    return State(
        left=sum(window.left for window in windows),
        long_left=sum(
            window.left for window in windows if window.opened_by in followers.LONG_WINDOWS
        ),
        ends_at=max((window.expires_at for window in windows), default=None),
        agent=row.agent if row is not None else None,
        closed=closed_at is not None and (wrote is None or wrote <= closed_at),
        silent_until=silent if silent is not None and silent > now else None,
        last_push=_last_push(session, follower_id),
        read_to=row.read_to if row is not None else 0,
        remark=about.remark if about is not None else None,
    )


def bubbles(
    session: Session, account_id: int, follower_id: int, *, before: int = 0, limit: int = PAGE
) -> tuple[list[Bubble], int | None]:
    """What was said, oldest first: ``limit`` pushes older than the push ``before`` and ours between them.

    The second value is the ``before`` of the page with older ones, None where there are none.
    """
    pushes = session.execute(
        sa.select(inbound)
        .where(
            inbound.c.account_id == account_id,
            inbound.c.follower_id == follower_id,
            inbound.c.id < before if before else sa.true(),
        )
        .order_by(inbound.c.id.desc())
        .limit(limit + 1)
    ).all()
    shown = pushes[:limit]
    more = len(pushes) > limit
    since = shown[-1].received_at if more else None
    until = (
        session.execute(
            sa.select(inbound.c.received_at).where(
                inbound.c.id == before, inbound.c.account_id == account_id
            )
        ).scalar()
        if before
        else None
    )
    found: list[Bubble] = []
    for push in reversed(shown):
        found += _of_push(push)
    found += _sent(session, account_id, follower_id, since, until)
    found.sort(key=lambda one: one.at)  # stable: an answer stays behind what it answers
    return found, shown[-1].id if more else None


def read(session: Session, account_id: int, follower_id: int) -> None:
    """An agent saw everything up to now."""
    latest = _last_push(session, follower_id)
    db.upsert(
        session,
        conversations,
        {"follower_id": follower_id, "account_id": account_id, "read_to": latest},
        key=["follower_id"],
        change=["read_to"],
    )


def send(
    session: Session,
    account_id: int,
    follower_id: int,
    message: Mapping[str, Any],
    *,
    by: str,
    key: str,
    now: datetime,
) -> int | None:
    """Owe an agent's answer as a customer-service message; None when the same form was sent before.

    Takes one message of an open window, also a one-minute one. Whoever opted out of campaigns may be answered.

    Raises:
        Invalid: the content cannot be sent so.
        Refused: the follower left, or no reply window is open.
    """
    ready = content.parse(dict(message), "text", (content.CUSTOMER_SERVICE,))
    follower = followers.by_id(session, account_id, follower_id)
    if follower is None or not follower.subscribed:
        raise Refused("this follower left: nothing can be sent")
    unique = f"agent:{account_id}:{follower_id}:{key}"
    if session.execute(sa.select(outbox_table.c.id).where(outbox_table.c.key == unique)).scalar():
        return None
    window = followers.take_window(session, follower_id, now, long_only=False)
    if window is None:
        raise Refused("no reply window is open: the follower has to write first")
    ready = content.render(ready, follower.fields)
    put = outbox.put(
        session,
        account_id=account_id,
        channel=content.CUSTOMER_SERVICE,
        purpose=PURPOSE,
        purpose_id=None,
        payload={"content": ready, "by": by},
        now=now,
        follower_id=follower_id,
        expires_at=window.expires_at,
        key=unique,
    )
    if put is None:  # the same form, sent twice at once: the first one took the window
        raise Refused("this message was sent already")
    if state(session, account_id, follower_id, now).agent is not None:
        followers.hand_over(session, follower_id, now + SILENCE)
    return put


def take(session: Session, account_id: int, follower_id: int, agent: str, now: datetime) -> None:
    """An agent takes care: rules stay silent for two hours, and as long again after each answer."""
    _set(session, account_id, follower_id, agent=agent, closed_at=None)
    followers.hand_over(session, follower_id, now + SILENCE)


def hand_back(session: Session, account_id: int, follower_id: int) -> None:
    """Rules answer again."""
    _set(session, account_id, follower_id, agent=None, closed_at=None)
    followers.hand_over(session, follower_id, None)


def close(session: Session, account_id: int, follower_id: int, now: datetime) -> None:
    """Done: out of the inbox until the follower writes again; rules answer again."""
    _set(session, account_id, follower_id, agent=None, closed_at=now)
    followers.hand_over(session, follower_id, None)


def _joined() -> Any:
    return reply_windows.join(
        followers_table, followers_table.c.id == reply_windows.c.follower_id
    ).outerjoin(conversations, conversations.c.follower_id == reply_windows.c.follower_id)


def _not_closed() -> sa.ColumnElement[bool]:
    return sa.or_(
        conversations.c.closed_at.is_(None), conversations.c.closed_at < reply_windows.c.opened_at
    )


def _of_view(account_id: int, now: datetime, view: str, agent: str) -> list[sa.ColumnElement[bool]]:
    found = [reply_windows.c.account_id == account_id, _long, reply_windows.c.expires_at > now]
    if view == "closed":
        return [*found, conversations.c.closed_at >= reply_windows.c.opened_at]
    found.append(_not_closed())
    if view == "mine":
        found.append(conversations.c.agent == agent)
    if view == "unread":
        latest = _latest_id(reply_windows.c.follower_id)
        found.append(latest > sa.func.coalesce(conversations.c.read_to, 0))
    return found


def _matching(account_id: int, query: str) -> list[sa.ColumnElement[bool]]:
    """Followers by remark or OpenID: each found by its own index first."""
    if not query:
        return []
    here = followers_table.c.account_id == account_id
    remark = sa.select(followers_table.c.id).where(
        here,
        followers_table.c.remark_search.is_not(None),  # the words of its partial index
        followers_table.c.remark_search.contains(fold_words(query), autoescape=True),
    )
    known = sa.select(followers_table.c.id).where(here, followers_table.c.open_id == query)
    return [reply_windows.c.follower_id.in_(sa.union_all(remark, known))]


def _latest_id(follower_id: sa.ColumnElement[int]) -> sa.ScalarSelect[int]:
    """The newest message of a follower: one step in the index of their pushes."""
    return (
        sa.select(inbound.c.id)
        .where(inbound.c.follower_id == follower_id, inbound.c.kind.in_(MESSAGES))
        .order_by(inbound.c.id.desc())
        .limit(1)
        .scalar_subquery()
    )


def _pushes(session: Session, ids: Iterable[int]) -> dict[int, Any]:
    rows = session.execute(
        sa.select(inbound.c.id, inbound.c.kind, inbound.c.message).where(
            inbound.c.id.in_(list(ids))
        )
    )
    return {row.id: row for row in rows}


def _last_push(session: Session, follower_id: int) -> int:
    found = session.execute(
        sa.select(inbound.c.id)
        .where(inbound.c.follower_id == follower_id)
        .order_by(inbound.c.id.desc())
        .limit(1)
    ).scalar()
    return found or 0


def _of_push(push: Any) -> list[Bubble]:
    fields = dict((push.message or {}).get("fields") or {})
    kind = push.kind if push.message else "erased"
    found = [Bubble(push.received_at, False, kind, fields, push.id)]
    if push.reply:
        found.append(
            Bubble(
                push.received_at,
                True,
                content.kind_of(push.reply),
                dict(push.reply),
                push.id,
                who=_who(push),
            )
        )
    return found


def _who(push: Any) -> str:
    if push.rules:
        return f"rule:{push.rules[-1]}"
    return "fallback" if (push.trace or {}).get("fallback") else "system"


def _sent(
    session: Session,
    account_id: int,
    follower_id: int,
    since: datetime | None,
    until: datetime | None,
) -> list[Bubble]:
    chosen = [outbox_table.c.account_id == account_id, outbox_table.c.follower_id == follower_id]
    if since is not None:
        chosen.append(outbox_table.c.created_at >= since)
    if until is not None:
        chosen.append(outbox_table.c.created_at < until)
    # said like this because the index of a follower's messages leaves out those of campaigns
    own = sa.select(outbox_table).where(*chosen, outbox_table.c.purpose != "delivery")
    rows = session.execute(own.order_by(outbox_table.c.id.desc()).limit(4 * PAGE)).all()
    found = _campaigns(session, account_id, follower_id, since, until)
    for row in rows:
        said = dict((row.payload or {}).get("content") or {})
        found.append(
            Bubble(
                row.sent_at or row.created_at,
                True,
                content.kind_of(said) if said else "erased",
                said,
                row.id,
                who=f"agent:{row.payload.get('by', '')}" if row.purpose == PURPOSE else row.purpose,
                status=row.status,
                errcode=row.errcode,
                error=row.error,
            )
        )
    return found


def _campaigns(
    session: Session,
    account_id: int,
    follower_id: int,
    since: datetime | None,
    until: datetime | None,
) -> list[Bubble]:
    """What campaigns sent this follower, by whatever channel."""
    rows = session.execute(
        sa.select(
            deliveries.c.id,
            deliveries.c.at,
            deliveries.c.status,
            deliveries.c.errcode,
            campaign_runs.c.content,
            campaigns.c.name,
        )
        .join(campaign_runs, campaign_runs.c.id == deliveries.c.run_id)
        .join(campaigns, campaigns.c.id == campaign_runs.c.campaign_id)
        .where(
            deliveries.c.account_id == account_id,
            deliveries.c.follower_id == follower_id,
            deliveries.c.status.in_(("sent", "failed", "unknown")),
            deliveries.c.at >= since if since is not None else deliveries.c.at.is_not(None),
            deliveries.c.at < until if until is not None else sa.true(),
        )
        .order_by(deliveries.c.at.desc())
        .limit(PAGE)
    )
    return [
        Bubble(
            row.at,
            True,
            content.kind_of(row.content),
            dict(row.content),
            row.id,
            who=f"campaign:{row.name}",
            status=row.status,
            errcode=row.errcode,
        )
        for row in rows
    ]


def _set(session: Session, account_id: int, follower_id: int, **values: Any) -> None:
    db.upsert(
        session,
        conversations,
        {
            "follower_id": follower_id,
            "account_id": account_id,
            "read_to": _last_push(session, follower_id),
            **values,
        },
        key=["follower_id"],
        change=list(values),
    )


def _cursor(after: str) -> tuple[datetime, int]:
    moment, _, follower_id = after.partition("~")
    try:
        at = datetime.fromisoformat(moment)
        if at.tzinfo is None or not follower_id.isascii() or not follower_id.isdigit():
            raise ValueError
        return at, int(follower_id[:18])
    except ValueError:
        raise Invalid("after", "is not a cursor of this list") from None
