"""How long ago the follower last did something. Who never did counts as not active."""

from datetime import datetime
from typing import Any, Self

import sqlalchemy as sa
from pydantic import model_validator

from bot.audiences.filters._shared import Days, Resolve, back, exactly_one
from bot.params import Params as Base
from bot.tables.followers import followers

NAME = "last_active"
LABEL = {"zh": "最近活跃", "en": "Last active"}
ALTERNATIVES = (("within_days",), ("not_within_days",))


class Params(Base):
    within_days: Days | None = None
    not_within_days: Days | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        exactly_one(self, "within_days", "not_within_days")
        return self


def where(
    params: Params, account_id: int, now: datetime, resolve: Resolve
) -> sa.ColumnElement[bool]:
    last = followers.c.last_active_at
    days = params.within_days or params.not_within_days or 0
    active = sa.and_(last.is_not(None), last >= back(now, days))
    return active if params.within_days is not None else sa.not_(active)


def rewritten(params: Params) -> dict[str, Any] | None:
    """``within_days`` has the set."""
    if params.not_within_days is None:
        return None
    return {"not": {"last_active": {"within_days": params.not_within_days}}}


def sentence(params: Params) -> str:
    if params.within_days is not None:
        return f"最近 {params.within_days} 天活跃过"
    return f"最近 {params.not_within_days} 天没有活跃"
