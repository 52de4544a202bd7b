"""Tracked links (短链) and their clicks. A code says which link and, in personal messages, whose copy."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from bot import events
from bot.db import Session, insert_first
from bot.secrets import sign, signed
from bot.tables.campaigns import campaign_runs, campaigns, deliveries
from bot.tables.events import events as events_table
from bot.tables.followers import followers
from bot.tables.tracking import clicks, links

EVERYBODY = 0  # the follower id of a shared link, in mass content
_SIGNATURE = 8  # bytes; a guess hits once in 10^19
_NUMBER = 8

# requests that no follower made; lower case parts of the user agent
_BOTS = ("bot", "spider", "crawler", "curl/", "python-requests", "wget/", "headless", "preview")


@dataclass(frozen=True, slots=True)
class Link:
    id: int
    account_id: int
    campaign_id: int | None
    name: str
    target: str


def code_for(secret_key: str, link_id: int, follower_id: int = EVERYBODY) -> str:
    """The code of a link's copy: both ids and a signature, so that no row per follower is needed."""
    body = _packed(link_id) + _packed(follower_id)
    return (
        base64.urlsafe_b64encode(sign(secret_key, "link", body, _SIGNATURE) + body)
        .decode()
        .rstrip("=")
    )


def open_code(secret_key: str, code: str) -> tuple[int, int] | None:
    """(link id, follower id or ``EVERYBODY``) of a code we made; None for any other text."""
    if not code.isascii() or not 12 <= len(code) <= 48:
        return None
    try:
        raw = base64.urlsafe_b64decode(code + "=" * (-len(code) % 4))
    except ValueError:
        return None
    signature, body = raw[:_SIGNATURE], raw[_SIGNATURE:]
    if not signed(secret_key, "link", body, signature, _SIGNATURE):
        return None
    numbers = []
    while body:
        size = body[0]
        numbers.append(int.from_bytes(body[1 : 1 + size], "big"))
        body = body[1 + size :]
    return (numbers[0], numbers[1]) if len(numbers) == 2 else None


def _packed(number: int) -> bytes:
    raw = number.to_bytes(_NUMBER, "big").lstrip(b"\0")
    return bytes([len(raw)]) + raw


def link_id(
    session: Session,
    account_id: int,
    campaign_id: int | None,
    name: str,
    target: str,
    now: datetime,
) -> int:
    """The id of a campaign's link by name; a changed target makes it point there from now on."""
    where = sa.and_(
        links.c.account_id == account_id,
        links.c.name == name,
        links.c.campaign_id == campaign_id
        if campaign_id is not None
        else links.c.campaign_id.is_(None),
    )
    found = session.execute(sa.select(links.c.id, links.c.target).where(where)).one_or_none()
    if found is None:
        made = insert_first(
            session,
            links,
            {
                "account_id": account_id,
                "campaign_id": campaign_id,
                "name": name,
                "target": target,
                "created_at": now,
            },
        )
        return int(
            made
            if made is not None
            else session.execute(sa.select(links.c.id).where(where)).scalar_one()
        )
    if found.target != target:
        session.execute(sa.update(links).where(links.c.id == found.id).values(target=target))
    return int(found.id)


def link(session: Session, link_id: int) -> Link | None:
    """The link with this id, or None."""
    row = session.execute(sa.select(links).where(links.c.id == link_id)).one_or_none()
    return Link(row.id, row.account_id, row.campaign_id, row.name, row.target) if row else None


def noise_of(headers: Mapping[str, str], method: str) -> str | None:
    """Why a request is no follower's click (bot, prefetch), or None. ``headers`` by lower-case name."""
    purpose = " ".join(
        headers.get(name, "") for name in ("purpose", "sec-purpose", "x-moz")
    ).lower()
    if method == "HEAD" or "prefetch" in purpose or "preview" in purpose:
        return "prefetch"
    agent = headers.get("user-agent", "").lower()
    if not agent or any(part in agent for part in _BOTS):
        return "bot"
    return None


def click(
    session: Session,
    link: Link,
    follower_id: int | None,
    at: datetime,
    noise: str | None,
) -> None:
    """Store a click. A clean one is a behaviour event too, and the follower's first on a campaign its goal."""
    if follower_id is not None:
        row = session.execute(
            sa.select(followers.c.tester).where(
                followers.c.id == follower_id, followers.c.account_id == link.account_id
            )
        ).one_or_none()
        if row is None:
            follower_id, noise = None, noise or "no_identity"
        elif row.tester:
            noise = noise or "tester"
    elif noise is None:
        noise = "no_identity"
    session.execute(
        sa.insert(clicks).values(
            account_id=link.account_id,
            link_id=link.id,
            follower_id=follower_id,
            at=at,
            clean=noise is None,
            noise=noise,
        )
    )
    if noise is not None or follower_id is None:
        return
    events.record(
        session, link.account_id, follower_id, "click", at, key=link.name, data={"link": link.id}
    )
    if link.campaign_id is not None:
        name = session.execute(
            sa.select(campaigns.c.name).where(campaigns.c.id == link.campaign_id)
        ).scalar_one()
        events.record(
            session,
            link.account_id,
            follower_id,
            "goal",
            at,
            key=name,
            source_key=f"goal:{link.campaign_id}:{follower_id}",
        )


def clean_clicks(account_id: int, campaign_id: int) -> sa.Select[Any]:
    """(follower_id, at) of every clean click on a link of a campaign."""
    return (
        sa.select(clicks.c.follower_id, clicks.c.at)
        .select_from(clicks.join(links, links.c.id == clicks.c.link_id))
        .where(
            clicks.c.account_id == account_id,
            links.c.campaign_id == campaign_id,
            clicks.c.clean,
            clicks.c.follower_id.is_not(None),
        )
    )


def reactions(account_id: int, campaign_id: int, goal: Mapping[str, Any] | None) -> sa.Select[Any]:
    """(follower_id, at) of what counts towards a campaign's goal: clean clicks, or its event done by those it was
    sent to, from then on. One event may stand there once for each message."""
    if not goal or goal.get("metric") != "event":
        return clean_clicks(account_id, campaign_id)
    done = events_table
    return (
        sa.select(done.c.follower_id, done.c.at)
        .join(deliveries, deliveries.c.follower_id == done.c.follower_id)
        .join(campaign_runs, campaign_runs.c.id == deliveries.c.run_id)
        .where(
            done.c.account_id == account_id,
            done.c.kind == goal["event"],
            campaign_runs.c.campaign_id == campaign_id,
            deliveries.c.status == "sent",
            deliveries.c.at <= done.c.at,
        )
    )


def guided(
    session: Session, account_id: int, campaign_id: int, goal: Mapping[str, Any] | None = None
) -> int:
    """How many people did what a campaign is for; without a goal clicked a link of it: 引导人数."""
    found = reactions(account_id, campaign_id, goal).subquery()
    return int(
        session.execute(sa.select(sa.func.count(sa.distinct(found.c.follower_id)))).scalar_one()
    )
