"""Did an event at least so many times, ever or within so many times 24 hours."""

from datetime import datetime
from typing import Annotated, Any

import sqlalchemy as sa
from pydantic import Field

from bot.audiences.filters._shared import Days, Resolve, did_event, who_did
from bot.params import EventName
from bot.params import Params as Base

NAME = "did"
LABEL = {"zh": "做过", "en": "Did"}


class Params(Base):
    event: EventName
    times: Annotated[int, Field(ge=1, le=1000)] = 1
    within_days: Days | None = None


def where(
    params: Params, account_id: int, now: datetime, resolve: Resolve
) -> sa.ColumnElement[bool]:
    return did_event(account_id, params.event, params.times, params.within_days, now)


def ids(params: Params, account_id: int, now: datetime) -> sa.Select[Any]:
    """Who did it, from the index of events."""
    return who_did(account_id, params.event, params.times, params.within_days, now)


def sentence(params: Params) -> str:
    span = f"最近 {params.within_days} 天内" if params.within_days else ""
    often = f"至少 {params.times} 次" if params.times > 1 else "过"
    return f"{span}做{often}「{params.event}」"
