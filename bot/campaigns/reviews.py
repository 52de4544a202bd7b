"""Review (审核): an operator hands a campaign in with what it would reach, somebody else lets it go or sends it back.

A large run, or one to everybody, is let go by two people: who handed it in and who approved. Nobody is both.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import ceil
from typing import Any

import sqlalchemy as sa

from bot.accounts import Account
from bot.audiences import segments
from bot.campaigns import approvals, content_review, definitions, planning
from bot.campaigns import status as statuses
from bot.campaigns.budget import allowance
from bot.campaigns.definitions import Campaign
from bot.campaigns.planning import Forecast
from bot.db import Session
from bot.errors import Refused
from bot.tables.campaigns import campaigns
from bot.tables.operators import api_tokens, audit

# people come and go between approval and sending; what grows beyond that is asked again
MARGIN = 0.05
# what is to go as soon as possible goes so long after its approval. Source: our choice.
AT_ONCE = timedelta(minutes=1)
HANDED_IN, SENT_BACK = "campaign.submit", "campaign.reject"
API = "api:"  # what a program's changes are written down under, before the name of its token


@dataclass(frozen=True, slots=True)
class Handed:
    """A campaign that waits for review: by whom and since when."""

    by: str
    at: datetime


def submit(
    session: Session, account: Account, campaign: Campaign, by: str, now: datetime
) -> Campaign:
    """Hand a campaign in. Nothing of it becomes due before somebody else has approved it.

    Raises:
        Refused: it has finished, is put away, or its content has an error that no lead let go.
        Invalid: the account cannot send it.
    """
    if campaign.status in ("finished", "archived"):
        statuses.check_campaign(campaign.status, "scheduled")
    definitions.check_sendable(session, account, campaign)
    content_review.check(session, campaign)
    session.execute(
        sa.update(campaigns)
        .where(campaigns.c.id == campaign.id)
        .values(submitted_at=now, submitted_by=by)
    )
    return definitions.by_id(session, campaign.id)


def approve(
    session: Session,
    account: Account,
    campaign: Campaign,
    by: str,
    people: int,
    slots: int,
    now: datetime,
    secret_key: str,
    *,
    seen_version: int | None = None,
) -> Campaign:
    """Let a campaign go for at most so many people and slots. Where two are needed, who handed it in is the first.

    One that was handed in and has what it needs is scheduled. ``seen_version``: the version that was looked at;
    None takes whatever there is.

    Raises:
        Refused: it was changed since; the own campaign, where two are needed; or as ``approvals.approve``.
        Invalid: its time has passed meanwhile.
    """
    check_seen(campaign, seen_version)
    handed = handed_in(session, campaign)
    if needs_two(session, account, campaign, people):
        if _behind(session, by) & owners(session, campaign):
            raise Refused("nobody approves what they wrote or handed in themselves")
        if handed is not None and handed.by not in campaign.approved_by:
            approvals.approve(session, campaign, handed.by, people, slots, now, secret_key)
            campaign = definitions.by_id(session, campaign.id)
    changed = approvals.approve(session, campaign, by, people, slots, now, secret_key)
    return settle(session, account, changed, people, slots, now)


def check_seen(campaign: Campaign, seen_version: int | None) -> None:
    """Raises Refused where a campaign is not the version any more that somebody looked at."""
    if seen_version is not None and seen_version != campaign.version:
        raise Refused(f"campaign '{campaign.name}' was changed since: look at it again")


def settle(
    session: Session, account: Account, campaign: Campaign, people: int, slots: int, now: datetime
) -> Campaign:
    """After an approval: one that was handed in and has what it needs is scheduled and waits no longer.

    One that is to go as soon as possible goes a minute from now, whenever the approval comes.

    Raises:
        Invalid: its time has passed meanwhile.
    """
    missing = definitions.missing_approval(
        campaign,
        people,
        slots,
        approve_above=account.limits.approve_above,
        to_everybody=to_everybody(session, campaign),
    )
    if missing is None and handed_in(session, campaign) is not None:
        if campaign.status in ("draft", "stopped"):
            if at_once(campaign):
                campaign = definitions.move(session, campaign, now + AT_ONCE)
            definitions.schedule(session, account, campaign, now)
        _no_longer_waits(session, campaign.id)
    return definitions.by_id(session, campaign.id)


def reject(session: Session, campaign: Campaign, reason: str) -> Campaign:
    """Send it back (驳回): it is stopped, and nothing of it becomes due. The door writes who, and why.

    Raises:
        Refused: it does not wait for review, or no reason was given.
    """
    if handed_in(session, campaign) is None:
        raise Refused("this campaign does not wait for review")
    if not reason.strip():
        raise Refused("say why, so that it can be mended")
    if campaign.status == "scheduled":
        definitions.stop(session, campaign)
    _no_longer_waits(session, campaign.id)
    return definitions.by_id(session, campaign.id)


def handed_in(session: Session, campaign: Campaign) -> Handed | None:
    """Who handed a campaign in that nobody reviewed yet; None: it does not wait."""
    row = session.execute(
        sa.select(campaigns.c.submitted_by, campaigns.c.submitted_at).where(
            campaigns.c.id == campaign.id
        )
    ).one()
    return Handed(row.submitted_by, row.submitted_at) if row.submitted_at is not None else None


def waiting(session: Session, account_id: int) -> int:
    """How many campaigns of an account wait for review."""
    return int(
        session.execute(
            sa.select(sa.func.count()).where(
                campaigns.c.account_id == account_id,
                campaigns.c.submitted_at.is_not(None),
                campaigns.c.status.in_(("draft", "scheduled", "stopped")),
            )
        ).scalar_one()
    )


def owners(session: Session, campaign: Campaign) -> frozenset[str]:
    """Who wrote a campaign or handed it in: none of them is its second pair of eyes."""
    row = session.execute(
        sa.select(campaigns.c.created_by, campaigns.c.submitted_by).where(
            campaigns.c.id == campaign.id
        )
    ).one()
    return frozenset().union(*(_behind(session, name) for name in row if name))


def _behind(session: Session, name: str) -> frozenset[str]:
    """A name, and who made the token where a program acts: nobody becomes two people by way of the API."""
    if not name.startswith(API):
        return frozenset({name})
    makers = session.execute(
        sa.select(api_tokens.c.created_by).where(api_tokens.c.name == name.removeprefix(API))
    ).scalars()
    return frozenset({name, *makers})


def at_once(campaign: Campaign) -> bool:
    """Whether it is to go as soon as it is approved (尽快 in the wizard); an hour that is tested has its own."""
    tests_hours = (campaign.experiment or {}).get("of") == "hour"
    asked = (campaign.brief or {}).get("when") == "now"
    return asked and "at" in campaign.schedule and not tests_hours


def to_everybody(session: Session, campaign: Campaign) -> bool:
    """Whether any group of a campaign is, by its definition, every follower."""
    for _name, segment in campaign.group_segments():
        try:
            where = segments.get(session, campaign.account_id, segment).where
        except Refused:
            continue  # gone: planning says so
        if segments.is_everybody(session, campaign.account_id, where):
            return True
    return False


def needs_two(session: Session, account: Account, campaign: Campaign, people: int) -> bool:
    """Whether two people must answer for a run of so many."""
    return people > account.limits.approve_above or to_everybody(session, campaign)


def countdown(
    session: Session, account: Account, campaign: Campaign, people: int
) -> datetime | None:
    """Until when a run of so many waits after its approval; None: it need not."""
    allowed = allowance(account.kind, account.verified)
    in_one_call = allowed is not None and not allowed.by_open_id
    return approvals.hold_ends(
        campaign, people, account, in_one_call=in_one_call and to_everybody(session, campaign)
    )


def bounds(forecast: Forecast) -> tuple[int, int]:
    """(people, slots) an approval of this forecast is good for."""
    return (
        max(1, ceil(forecast.people * (1 + MARGIN))),
        ceil(forecast.slots * (1 + MARGIN)),
    )


def forecast(session: Session, account: Account, campaign: Campaign, now: datetime) -> Forecast:
    """Whom it would reach now. Raises: Refused: a segment of it is gone."""
    return planning.forecast(session, account, campaign, now)


def last_rejection(session: Session, campaign: Campaign) -> Mapping[str, Any] | None:
    """Who sent it back last, and why; None where nobody did, or it was handed in again since."""
    row = session.execute(
        sa.select(audit)
        .where(
            audit.c.account_id == campaign.account_id,
            audit.c.object == f"campaign:{campaign.name}",
            audit.c.action.in_((HANDED_IN, SENT_BACK)),
        )
        .order_by(audit.c.id.desc())
        .limit(1)
    ).one_or_none()
    if row is None or row.action != SENT_BACK:
        return None
    return {"by": row.operator, "at": row.at, "reason": (row.after or {}).get("reason", "")}


def _no_longer_waits(session: Session, campaign_id: int) -> None:
    # who handed it in stays: an approver is compared with them
    session.execute(
        sa.update(campaigns).where(campaigns.c.id == campaign_id).values(submitted_at=None)
    )
