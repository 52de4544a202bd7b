"""Tags (标签): unlimited here; the few that WeChat itself needs are mirrored by ``bot/tag_sync.py``."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from bot.db import Session, insert, insert_of
from bot.prepared import Prepared
from bot.tables.followers import follower_tags, tags

FAMILIES = ("客户信息", "价值", "消费互动", "营销互动")
DEFAULT_FAMILY = "营销互动"

_FIND = Prepared(
    sa.select(tags.c.id, tags.c.expires_after_days).where(
        tags.c.account_id == sa.bindparam("account"), tags.c.name == sa.bindparam("name")
    )
)


def _giving(dialect: str) -> Any:
    statement = insert_of(dialect, follower_tags)
    return statement.on_conflict_do_update(
        index_elements=["follower_id", "tag_id"],
        set_={"expires_at": statement.excluded.expires_at},
    )


_GIVE = Prepared(_giving, follower_tags.c.keys())


def ensure(
    session: Session,
    account_id: int,
    name: str,
    *,
    family: str = DEFAULT_FAMILY,
    sync: bool = False,
    expires_after_days: int | None = None,
) -> int:
    """The id of a tag, made if there is none by this name. An existing one keeps its settings."""
    found = _FIND.first(session, {"account": account_id, "name": name})
    if found is not None:
        return int(found.id)
    statement = insert(session, tags).values(
        account_id=account_id,
        name=name,
        family=family,
        sync=sync,
        expires_after_days=expires_after_days,
    )
    session.execute(statement.on_conflict_do_nothing())
    made = _FIND.first(session, {"account": account_id, "name": name})
    assert made is not None
    return int(made.id)


def add(
    session: Session,
    account_id: int,
    follower_id: int,
    names: Iterable[str],
    origin: str,
    now: datetime,
    caused_by: int | None = None,
) -> None:
    """Give a follower tags. One they have keeps its origin; an expiring one starts its days anew.

    ``origin`` says what did it (``rule:领券``, ``scene:wb_bio``, ``import``), ``caused_by`` which push.
    """
    for name in names:
        found = _FIND.first(session, {"account": account_id, "name": name})
        tag_id = found.id if found is not None else ensure(session, account_id, name)
        days = found.expires_after_days if found is not None else None
        _GIVE.run(
            session,
            {
                "account_id": account_id,
                "follower_id": follower_id,
                "tag_id": tag_id,
                "origin": origin,
                "caused_by": caused_by,
                "added_at": now,
                "expires_at": now + timedelta(days=days) if days else None,
            },
        )


def remove(session: Session, account_id: int, follower_id: int, names: Iterable[str]) -> None:
    """Take tags from a follower; one they do not have is no error."""
    of_account = sa.select(tags.c.id).where(
        tags.c.account_id == account_id, tags.c.name.in_(list(names))
    )
    session.execute(
        sa.delete(follower_tags).where(
            follower_tags.c.follower_id == follower_id,
            follower_tags.c.tag_id.in_(of_account.scalar_subquery()),
        )
    )


def expire(session: Session, now: datetime) -> int:
    """Remove what has expired, in every account; how many."""
    return session.execute(
        sa.delete(follower_tags).where(follower_tags.c.expires_at <= now)
    ).rowcount
