"""What operators change about one follower: remark, fields, tags, opt-out."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from bot import followers, jobs
from bot.db import Session, reading
from bot.errors import Invalid, WeChatError
from bot.follower_search import remark_key
from bot.tables.followers import followers as table
from bot.wechat import users as gateway
from bot.wechat.client import WeChat

TELL_REMARK = "tell_remark"
LONGEST_REMARK = 30  # characters the platform takes
LONGEST_FIELD = 200
MOST_FIELDS = 50


def set_remark(
    session: Session, account_id: int, follower_id: int, remark: str, now: datetime
) -> None:
    """Write a remark here, and owe it to the platform; empty removes it.

    Raises:
        Invalid: it is too long or no plain text.
    """
    remark = remark.strip()
    if len(remark) > LONGEST_REMARK or not remark.isprintable():
        raise Invalid("remark", f"must have at most {LONGEST_REMARK} characters")
    session.execute(
        sa.update(table)
        .where(table.c.id == follower_id, table.c.account_id == account_id)
        .values(remark=remark or None, remark_search=remark_key(remark))
    )
    jobs.enqueue(session, TELL_REMARK, {"follower_id": follower_id}, now=now, account_id=account_id)


def tell_remark(engine: sa.Engine, wechat: WeChat, account_id: int, follower_id: int) -> None:
    """Tell the platform the remark somebody has now. An account without the right keeps it here only.

    Raises:
        WeChatError: the platform did not answer or wants us to wait.
    """
    with reading(engine) as session:
        row = session.execute(
            sa.select(table.c.open_id, table.c.remark).where(
                table.c.id == follower_id,
                table.c.account_id == account_id,
                table.c.subscribed.is_(sa.true()),
            )
        ).one_or_none()
    if row is None:
        return
    try:
        gateway.set_remark(wechat, row.open_id, row.remark or "")
    except WeChatError as problem:
        if not problem.permanent:
            raise


def set_fields(
    session: Session, account_id: int, follower_id: int, wanted: Mapping[str, str]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Set fields as somebody typed them; empty removes one. (before, after) of those that changed.

    A field that held a number stays one where a number was typed.

    Raises:
        Invalid: a name or value is too long, or there would be too many.
    """
    before = dict(
        session.execute(
            sa.select(table.c.fields).where(
                table.c.id == follower_id, table.c.account_id == account_id
            )
        ).scalar_one()
    )
    changes: dict[str, Any] = {}
    for name, typed in wanted.items():
        if not 1 <= len(name) <= 60 or not name.isprintable():
            raise Invalid("fields", "a name must have 1 to 60 characters")
        if len(typed) > LONGEST_FIELD:
            raise Invalid("fields", f"'{name}' is longer than {LONGEST_FIELD} characters")
        value = _typed(typed.strip(), before.get(name))
        if value != before.get(name):
            changes[name] = value
    if len({**before, **changes}) > MOST_FIELDS:
        raise Invalid("fields", f"there may be at most {MOST_FIELDS}")
    if changes:
        followers.set_fields(session, follower_id, before, changes)
    return {name: before.get(name) for name in changes}, changes


def _typed(text: str, before: Any) -> Any:
    if not text:
        return None
    if isinstance(before, bool):
        return {"true": True, "false": False, "是": True, "否": False}.get(text.lower(), text)
    if isinstance(before, int | float):
        try:
            number = float(text)
        except ValueError:
            return text
        return int(number) if number.is_integer() and abs(number) < 2**53 else number
    return text
