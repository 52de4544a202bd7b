"""How many followers have how many mass slots left this month."""

from datetime import datetime
from typing import Annotated

from pydantic import StringConstraints

from bot.accounts import Account
from bot.campaigns import ledger
from bot.clock import month_of
from bot.db import Session
from bot.params import Params as Base
from bot.reports._table import Table, column

NAME = "budget"
LABEL = {"zh": "群发额度", "en": "Mass budget"}


class Params(Base):
    month: Annotated[str, StringConstraints(pattern=r"^\d{4}-(0[1-9]|1[0-2])$")] | None = None


def rows(session: Session, account: Account, params: Params, now: datetime) -> Table:
    month = params.month or month_of(now)
    people = ledger.histogram(session, account.id, month)
    return Table(
        (
            column("month", "月份", "Month"),
            column("slots_left", "剩余次数", "Slots left"),
            column("followers", "粉丝数", "Followers"),
            column("slots", "剩余名额", "Slots"),
        ),
        [(month, left, count, left * count) for left, count in people.items()],
    )
