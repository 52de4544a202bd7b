"""What the content checks say of a campaign, and letting content go in spite of it."""

from typing import Literal

from pydantic import Field

from bot import checks
from bot.api.campaigns import Why, found_campaign
from bot.api.frame import Area, Call, Id, Told
from bot.campaigns import content_review
from bot.campaigns.definitions import Campaign
from bot.db import Session

area = Area("campaign_checks", "Checks of a campaign's content · 内容检查")


class ContentFinding(Told):
    check: str
    severity: Literal["error", "warning"]
    place: str = Field(description="dotted place in the document")
    found: str
    why: str
    suggestion: str


class Checks(Told):
    findings: list[ContentFinding]
    stops: bool = Field(description="an error nobody let go: it is neither handed in nor approved")
    allowed_by: str | None = Field(description="who let this very content go")
    reason: str | None


@area("GET", "/campaigns/<campaign_id>/checks", "campaigns.read")
def campaign_checks(call: Call, session: Session, campaign_id: Id) -> Checks:
    """What the content checks say of everything it sends."""
    return _checks(call, session, found_campaign(call, session, campaign_id))


@area("POST", "/campaigns/<campaign_id>/allow", "campaigns.approve")
def campaign_allow(call: Call, session: Session, campaign_id: Id, body: Why) -> Checks:
    """Let content go that the checks stopped, with a reason; changed content is checked anew."""
    campaign = found_campaign(call, session, campaign_id)
    content_review.override(session, campaign, body.reason, call.by, call.now)
    return _checks(call, session, campaign)


def finding(call: Call, one: checks.Finding) -> ContentFinding:
    """One finding in the language of the call. Also of a plan."""
    english = call.language == "en"
    return ContentFinding(
        check=one.check,
        severity="error" if one.severity == checks.ERROR else "warning",
        place=one.place,
        found=one.found,
        why=(one.why_en or one.why) if english else one.why,
        suggestion=(one.suggestion_en or one.suggestion) if english else one.suggestion,
    )


def _checks(call: Call, session: Session, campaign: Campaign) -> Checks:
    listed = content_review.findings(campaign)
    allowed = content_review.let_go(session, campaign)
    stopped = any(one.severity == checks.ERROR for one in listed)
    return Checks(
        findings=[finding(call, one) for one in listed],
        stops=stopped and allowed is None,
        allowed_by=allowed.by if allowed else None,
        reason=allowed.reason if allowed else None,
    )
