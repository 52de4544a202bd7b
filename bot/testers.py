"""Testers (测试人员): followers who get previews, and whose clicks count for nothing."""

import sqlalchemy as sa

from bot.db import Session
from bot.errors import Refused
from bot.secrets import short
from bot.tables.followers import followers


def set_tester(session: Session, account_id: int, open_id: str, on: bool) -> None:
    """Say whether a follower is a tester.

    Raises:
        Refused: there is no such follower.
    """
    changed = session.execute(
        sa.update(followers)
        .where(followers.c.account_id == account_id, followers.c.open_id == open_id)
        .values(tester=on)
        .returning(followers.c.id)
    ).scalar()
    if changed is None:
        raise Refused(f"no follower has the OpenID {short(open_id)}; run `qunfen followers sync`?")
