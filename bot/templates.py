"""Templates of template messages and subscription notices: the platform's list, and what came of each message.

They are made on the platform's own site; here they are read and used.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from bot import accounts, consents, db
from bot.content import SUBSCRIPTION, TEMPLATE
from bot.db import Session
from bot.errors import WeChatError
from bot.sql import among, json_text
from bot.tables.accounts import templates as table
from bot.tables.campaigns import deliveries
from bot.tables.followers import notice_results
from bot.tables.outbox import outbox
from bot.wechat import subscriptions
from bot.wechat import templates as gateway
from bot.wechat.client import WeChat

KINDS = (TEMPLATE, SUBSCRIPTION)
READ = "read_templates"  # the job
NOT_GRANTED = 48001
SUCCESS = "success"
ROWS = 200  # results a transaction: a push never waits longer than that takes
# a result that overtook the receipt of its message waits seconds; later it is of none of ours
KEEP = timedelta(hours=1)
# places of a template as the platform writes them: {{thing1.DATA}}
_PLACE = re.compile(r"\{\{\s*([A-Za-z_]+\d*)\.DATA\s*\}\}")


@dataclass(frozen=True, slots=True)
class Template:
    """``places`` are the keys of its values, each with the words before it in the template."""

    kind: str
    id: str
    title: str
    content: str
    example: str
    long_term: bool
    read_at: datetime
    archived: bool

    @property
    def places(self) -> tuple[tuple[str, str], ...]:
        return places_of(self.content)


def places_of(content: str) -> tuple[tuple[str, str], ...]:
    """(key, words before it) of every place of a template, in order."""
    found = []
    end = 0
    for place in _PLACE.finditer(content):
        before = content[end : place.start()].strip().splitlines()
        found.append((place[1], before[-1].strip(" :：") if before else ""))
        end = place.end()
    return tuple(found)


def read(engine: Engine, wechat: WeChat, account_id: int, now: datetime) -> int:
    """Read the account's templates anew; how many there are. What the platform lists no more is archived.

    A kind the account has no right to (48001) is remembered as such and left out.

    Raises:
        WeChatError: the platform said no otherwise, or did not answer.
    """
    with db.reading(engine) as session:
        if accounts.by_id(session, account_id).kind != "service":
            return 0
    total = 0
    for kind, listed in ((TEMPLATE, gateway.every), (SUBSCRIPTION, subscriptions.every)):
        with db.reading(engine) as session:
            if accounts.by_id(session, account_id).rights.get(kind) is False:
                continue
        try:
            found = listed(wechat)
        except WeChatError as problem:
            if problem.errcode != NOT_GRANTED:
                raise
            with db.writing(engine) as session:
                accounts.forbid(session, account_id, kind)
            continue
        with db.writing(engine) as session:
            _store(session, account_id, kind, found, now)
        total += len(found)
    return total


def every(session: Session, account_id: int, kind: str | None = None) -> list[Template]:
    """The templates the platform lists, by kind and title."""
    query = sa.select(table).where(table.c.account_id == account_id, table.c.archived_at.is_(None))
    if kind is not None:
        query = query.where(table.c.kind == kind)
    rows = session.execute(query.order_by(table.c.kind, table.c.title, table.c.template_id))
    return [_template(row) for row in rows]


def find(session: Session, account_id: int, template_id: str) -> Template | None:
    """The template of this id, also one the platform lists no more."""
    row = session.execute(
        sa.select(table)
        .where(table.c.account_id == account_id, table.c.template_id == template_id)
        .order_by(table.c.archived_at.is_not(None))
        .limit(1)
    ).one_or_none()
    return _template(row) if row is not None else None


def told(
    session: Session, account_id: int, follower_id: int, message_id: str, status: str, at: datetime
) -> None:
    """Keep the result of a template message until ``settle`` finds its delivery; once for each message."""
    row = {
        "account_id": account_id,
        "follower_id": follower_id,
        "msg_id": message_id,
        "result": status,
        "at": at,
    }
    db.insert_first(session, notice_results, row)


def settle(engine: Engine, now: datetime) -> int:
    """Write results on their deliveries; how many were placed. Those of nobody's message go after an hour."""
    placed, after = 0, 0
    while True:
        with db.reading(engine) as session:
            rows = session.execute(
                sa.select(notice_results)
                .where(notice_results.c.id > after)
                .order_by(notice_results.c.id)
                .limit(ROWS)
            ).all()
            found = _deliveries(session, [row.id for row in rows])
        if not rows:
            return placed
        after = rows[-1].id
        done = [row for row in rows if row.id in found or row.at < now - KEEP]
        if not done:
            continue  # somebody else may send thousands: they must not take the write turn
        with db.writing(engine) as session:
            for row in done:
                if row.id in found:
                    problem = None if succeeded(row.result) else row.result
                    consents.store_result(session, found[row.id], problem, row.at)
                    placed += 1
            session.execute(
                sa.delete(notice_results).where(
                    among(notice_results.c.id, [row.id for row in done])
                )
            )


def succeeded(status: str) -> bool:
    """Whether a result says that the message arrived. Others: ``failed:user block``, ``failed: system failed``."""
    return status.casefold() == SUCCESS


def _deliveries(session: Session, result_ids: Sequence[int]) -> dict[int, int]:
    """The delivery each result is of, where there is one."""
    # from the followers' side: their deliveries are few, and the receipts of all have no index
    rows = session.execute(
        sa.select(notice_results.c.id, deliveries.c.id.label("delivery_id"))
        .join(
            deliveries,
            sa.and_(
                deliveries.c.follower_id == notice_results.c.follower_id,
                deliveries.c.account_id == notice_results.c.account_id,
                deliveries.c.channel == TEMPLATE,
            ),
        )
        .join(
            outbox, sa.and_(outbox.c.purpose == "delivery", outbox.c.purpose_id == deliveries.c.id)
        )
        .where(
            among(notice_results.c.id, result_ids),
            outbox.c.status == "sent",
            json_text(outbox.c.receipt, "msg_id") == notice_results.c.msg_id,
        )
    )
    return {row.id: row.delivery_id for row in rows}


def _store(
    session: Session,
    account_id: int,
    kind: str,
    found: Sequence[gateway.Template],
    now: datetime,
) -> None:
    mine = sa.and_(table.c.account_id == account_id, table.c.kind == kind)
    session.execute(
        sa.update(table).where(mine, table.c.archived_at.is_(None)).values(archived_at=now)
    )
    rows = [
        {
            "account_id": account_id,
            "kind": kind,
            "template_id": one.id,
            "title": one.title,
            "content": one.content,
            "example": one.example,
            "long_term": one.long_term,
            "read_at": now,
            "archived_at": None,
        }
        for one in {one.id: one for one in found}.values()
    ]
    if rows:
        changes = ["title", "content", "example", "long_term", "read_at", "archived_at"]
        db.upsert(session, table, rows, ["account_id", "kind", "template_id"], changes)


def _template(row: Any) -> Template:
    return Template(
        kind=row.kind,
        id=row.template_id,
        title=row.title,
        content=row.content,
        example=row.example,
        long_term=row.long_term,
        read_at=row.read_at,
        archived=row.archived_at is not None,
    )
