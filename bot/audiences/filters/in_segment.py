"""Is in another segment."""

from datetime import datetime

import sqlalchemy as sa

from bot.audiences.filters._shared import Resolve
from bot.params import Params as Base
from bot.params import SegmentName

NAME = "in_segment"
LABEL = {"zh": "属于人群", "en": "In segment"}


class Params(Base):
    name: SegmentName


def where(
    params: Params, account_id: int, now: datetime, resolve: Resolve
) -> sa.ColumnElement[bool]:
    return resolve(params.name)


def sentence(params: Params) -> str:
    return f"属于人群「{params.name}」"
