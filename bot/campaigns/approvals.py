"""Approvals nobody can make up: sealed when given, checked when a run begins and again in the gateway.

Two seals under the installation's key. One over what was approved (account, campaign, content, people,
slots, names, time), kept on the campaign. One over a single order to send to everybody (account, call,
content, names), which the gateway asks for: a row changed in the database sends nothing to anybody.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from bot.accounts import Account
from bot.campaigns import content_review, definitions
from bot.campaigns.definitions import Campaign
from bot.db import Session
from bot.secrets import sign, signed
from bot.tables.accounts import accounts
from bot.tables.campaigns import campaigns
from bot.wechat.mass import order_bytes

SIZE = 32  # bytes
UNSEALED = "approval_unsealed"  # why a run waits whose approval is not what was given


def approve(
    session: Session,
    campaign: Campaign,
    by: str,
    people: int,
    slots: int,
    now: datetime,
    secret_key: str,
) -> Campaign:
    """Approve what the campaign says now, and seal it. An earlier approval whose seal does not hold is none.

    Raises:
        Refused: its content has an error that no lead let go; or as ``definitions.approve``.
    """
    content_review.check(session, campaign)
    if campaign.approved_by and not holds(session, campaign, secret_key):
        campaign = replace(campaign, approved_by=(), approved_hash=None)
    changed = definitions.approve(session, campaign, by, people, slots, now)
    return stamp(session, changed, secret_key)


def stamp(session: Session, campaign: Campaign, secret_key: str) -> Campaign:
    """Seal the approval that was just given; for whoever gave it in this transaction."""
    message = _message(_app_id(session, campaign.account_id), campaign)
    seal = sign(secret_key, "approval", message, SIZE).hex()
    session.execute(
        sa.update(campaigns).where(campaigns.c.id == campaign.id).values(approval_seal=seal)
    )
    return replace(campaign, approval_seal=seal)


def holds(session: Session, campaign: Campaign, secret_key: str) -> bool:
    """Whether the stored approval is what was given: by these people, for this content, people and slots."""
    seal = _bytes(campaign.approval_seal)
    message = _message(_app_id(session, campaign.account_id), campaign)
    return bool(seal) and signed(secret_key, "approval", message, seal, SIZE)


def order(
    secret_key: str,
    app_id: str,
    client_msg_id: str,
    content: Mapping[str, Any],
    names: Sequence[str],
) -> dict[str, str]:
    """What a call to everybody carries: the two names, and the seal over this account, call and content."""
    asked_by, approved_by = [*names, "", ""][:2]  # fewer than two: the gateway refuses
    message = order_bytes(app_id, client_msg_id, content, asked_by, approved_by)
    seal = sign(secret_key, "order", message, SIZE).hex()
    return {"asked_by": asked_by, "approved_by": approved_by, "seal": seal}


def order_holds(secret_key: str, message: bytes, seal: str) -> bool:
    """Whether a seal is ours over these bytes of an order; what the gateway is given."""
    given = _bytes(seal)
    return bool(given) and signed(secret_key, "order", message, given, SIZE)


def hold_ends(
    campaign: Campaign, people: int, account: Account, *, in_one_call: bool
) -> datetime | None:
    """Until when a large run waits after its last approval, so that somebody may still stop it; None: it need not.

    Large is what one operator may not approve alone, and one call to everybody, which nobody can stop half-way.
    """
    large = in_one_call or people > account.limits.approve_above
    if not large or campaign.approved_at is None:
        return None
    return campaign.approved_at + account.limits.all_send_hold


def _message(app_id: str, campaign: Campaign) -> bytes:
    said = [
        app_id,
        campaign.id,
        campaign.approved_hash,
        campaign.approved_people,
        campaign.approved_slots,
        list(campaign.approved_by),
        campaign.approved_at.isoformat() if campaign.approved_at else None,
    ]
    return json.dumps(said, ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode()


def _app_id(session: Session, account_id: int) -> str:
    found = sa.select(accounts.c.app_id).where(accounts.c.id == account_id)
    return str(session.execute(found).scalar_one())


def _bytes(seal: str | None) -> bytes:
    try:
        return bytes.fromhex(seal or "")
    except ValueError:
        return b""
