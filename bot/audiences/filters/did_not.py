"""Did not do an event, ever or within so many times 24 hours."""

from datetime import datetime
from typing import Any

import sqlalchemy as sa

from bot.audiences.filters._shared import Days, Resolve, did_event
from bot.params import EventName
from bot.params import Params as Base

NAME = "did_not"
LABEL = {"zh": "没做过", "en": "Did not"}


class Params(Base):
    event: EventName
    within_days: Days | None = None


def where(
    params: Params, account_id: int, now: datetime, resolve: Resolve
) -> sa.ColumnElement[bool]:
    return sa.not_(did_event(account_id, params.event, 1, params.within_days, now))


def rewritten(params: Params) -> dict[str, Any]:
    """``did`` has the set."""
    return {"not": {"did": params.model_dump(mode="json", exclude_none=True)}}


def sentence(params: Params) -> str:
    span = f"最近 {params.within_days} 天内" if params.within_days else ""
    return f"{span}没做过「{params.event}」"
