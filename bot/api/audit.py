"""The audit log (审计日志): who changed what, with before and after."""

from typing import Any

import sqlalchemy as sa
from pydantic import Field

from bot.api.cursors import Listing, page, position
from bot.api.frame import Area, Call, Id, Page, Told, When
from bot.db import Session
from bot.tables.operators import audit as table

area = Area("audit", "Audit log · 审计日志")


class AuditEntry(Told):
    id: Id
    at: When
    operator: str = Field(description="a person's name, `api:<token>`, `cli` or `system`")
    action: str
    object: str
    before: Any
    after: Any


class AuditAsked(Page):
    operator: str = Field("", max_length=80)
    action: str = Field("", max_length=60)


@area("GET", "/audit", "audit.read")
def audit_list(call: Call, session: Session, query: AuditAsked) -> Listing[AuditEntry]:
    """Changes of this account, the newest first."""
    wanted = sa.select(table).where(table.c.account_id == call.account.id)
    if query.operator:
        wanted = wanted.where(table.c.operator == query.operator)
    if query.action:
        wanted = wanted.where(table.c.action == query.action)
    begin = position(call, query)
    if begin is not None:
        wanted = wanted.where(table.c.id < begin)
    rows = session.execute(wanted.order_by(table.c.id.desc()).limit(query.limit + 1)).all()
    return page(call, query, rows, _told, lambda row: row.id)


def _told(row: sa.Row[Any]) -> AuditEntry:
    return AuditEntry(
        id=row.id,
        at=row.at,
        operator=row.operator,
        action=row.action,
        object=row.object,
        before=row.before,
        after=row.after,
    )
