"""When the present subscription began: from a moment (included) until another (excluded)."""

from datetime import datetime
from typing import Self

import sqlalchemy as sa
from pydantic import Field, model_validator

from bot.audiences.filters._shared import Resolve
from bot.clock import local
from bot.params import Moment
from bot.params import Params as Base
from bot.tables.followers import followers

NAME = "subscribed_between"
LABEL = {"zh": "关注时间", "en": "Subscribed between"}


class Params(Base):
    from_: Moment | None = Field(None, alias="from")
    until: Moment | None = None

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.from_ is None and self.until is None:
            raise ValueError("give from, until or both")
        if self.from_ and self.until and self.from_ >= self.until:
            raise ValueError("from must be before until")
        return self


def where(
    params: Params, account_id: int, now: datetime, resolve: Resolve
) -> sa.ColumnElement[bool]:
    tests: list[sa.ColumnElement[bool]] = [followers.c.subscribed_at.is_not(None)]
    if params.from_ is not None:
        tests.append(followers.c.subscribed_at >= params.from_)
    if params.until is not None:
        tests.append(followers.c.subscribed_at < params.until)
    return sa.and_(*tests)


def sentence(params: Params) -> str:
    parts = []
    if params.from_ is not None:
        parts.append(f"{local(params.from_):%Y-%m-%d %H:%M} 起")
    if params.until is not None:
        parts.append(f"{local(params.until):%Y-%m-%d %H:%M} 前")
    return "、".join(parts) + "关注"
