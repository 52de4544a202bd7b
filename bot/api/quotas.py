"""The day's API quotas (接口额度): used, held back, and when they run out."""

from typing import Literal

from pydantic import Field

from bot import quotas
from bot.api.cursors import Listing, slice_of
from bot.api.frame import Area, Call, Page, Told, When
from bot.db import Session
from bot.quotas import Quota

area = Area("quotas", "API quotas · 接口额度")


class PauseTold(Told):
    until: When
    why: Literal["day", "rate"] = Field(description="45009: the day is used up; 45011: too often")


class RateTold(Told):
    calls: int
    seconds: int


class QuotaTold(Told):
    api: str
    limit: int | None = Field(description="calls a Shanghai day; null where none is published")
    said_at: When | None = Field(description="when the platform told the limit; null: its default")
    used: int
    calls: dict[str, int] = Field(description="by priority: reply, later, campaign, sync")
    refused: int = Field(description="by the platform")
    held: int = Field(description="by ourselves, for what matters more")
    held_back: list[str] = Field(description="priorities whose calls wait now")
    kept: int = Field(description="calls a campaign leaves to replies")
    owed: int = Field(description="messages of campaigns still to go")
    late: int = Field(description="how many of them do not fit into today")
    runs_out_at: When | None = Field(description="at today's pace; null: not today")
    pause: PauseTold | None
    rate: RateTold | None = Field(description="so many calls in so many seconds; null: not told")


@area("GET", "/quotas", "quotas.read")
def quotas_today(call: Call, session: Session, query: Page) -> Listing[QuotaTold]:
    """Every API that was called lately, the fullest first."""
    every = quotas.today(session, call.rt.store, call.account.id, call.now)
    return slice_of(call, query, every, _told)


def _told(one: Quota) -> QuotaTold:
    pause = one.pause
    return QuotaTold(
        api=one.api,
        limit=one.limit,
        said_at=one.said_at,
        used=one.used,
        calls=dict(one.calls),
        refused=one.refused,
        held=one.held,
        held_back=list(one.held_back),
        kept=one.kept,
        owed=one.owed,
        late=one.late,
        runs_out_at=one.runs_out_at,
        pause=PauseTold(until=pause.until, why="day" if pause.why == "day" else "rate")
        if pause is not None
        else None,
        rate=RateTold(calls=one.rate.calls, seconds=one.rate.seconds) if one.rate else None,
    )
