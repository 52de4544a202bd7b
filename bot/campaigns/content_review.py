"""Content checks before a campaign goes: an error stops it, unless a lead let this very content go with a reason.

The checks themselves are ``bot/checks``. Overriding is a row of the audit, bound to the content: what is changed
afterwards is checked anew.
"""

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from bot import checks, operators
from bot.campaigns import definitions, plan_checks
from bot.campaigns.definitions import Campaign
from bot.checks import Finding
from bot.db import Session
from bot.errors import Refused
from bot.tables.operators import audit

OVERRIDE = "campaign.override_checks"


@dataclass(frozen=True, slots=True)
class LetGo:
    """Content that may go in spite of what the checks found: who said so, when, and why."""

    by: str
    at: datetime
    reason: str


def findings(campaign: Campaign) -> list[Finding]:
    """What the content checks say of everything a campaign sends, errors first; for the doors to show."""
    return plan_checks.findings(definitions.document_of(campaign))


def errors(campaign: Campaign) -> list[Finding]:
    """Those that stop it."""
    return [one for one in findings(campaign) if one.severity == checks.ERROR]


def check(session: Session, campaign: Campaign) -> None:
    """Raises Refused where the content has an error that nobody let go."""
    found = errors(campaign)
    if found and not is_overridden(session, campaign):
        raise Refused(
            f"content check: '{found[0].found}' ({found[0].check}), {len(found)} in all; "
            "mend it, or let a lead allow it with a reason"
        )


def is_overridden(session: Session, campaign: Campaign) -> bool:
    """Whether a lead let this very content go."""
    return let_go(session, campaign) is not None


def let_go(session: Session, campaign: Campaign) -> LetGo | None:
    """Who let this very content go last, and why; None: nobody, or it was changed since."""
    rows = session.execute(
        sa.select(audit)
        .where(
            audit.c.account_id == campaign.account_id,
            audit.c.action == OVERRIDE,
            audit.c.object == campaign.name,
        )
        .order_by(audit.c.id.desc())
    )
    current = definitions.content_hash(campaign)
    for row in rows:
        if isinstance(row.after, dict) and row.after.get("content") == current:
            return LetGo(row.operator, row.at, str(row.after.get("reason", "")))
    return None


def override(session: Session, campaign: Campaign, reason: str, by: str, now: datetime) -> None:
    """Let this very content go in spite of its findings; written down. The door asks whether ``by`` is a lead.

    Raises:
        Refused: no reason was given, or there is nothing to let go.
    """
    found = errors(campaign)
    if not found:
        raise Refused("the content checks found no error")
    if not reason.strip():
        raise Refused("say why this content may go")
    operators.audit(
        session,
        OVERRIDE,
        campaign.name,
        operator=by,
        account_id=campaign.account_id,
        after={
            "content": definitions.content_hash(campaign),
            "reason": reason.strip(),
            "findings": [f"{one.check}: {one.found}" for one in found],
        },
        now=now,
    )
