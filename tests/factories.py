"""Plain functions that make rows with good defaults. Cast: Lan follows, Ming left, Wei never wrote."""

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from bot import accounts
from bot.clock import now as real_now
from bot.clock import parse_moment
from bot.db import Session
from bot.tables.accounts import accounts as accounts_table
from bot.tables.followers import follower_tags, followers, tags

SECRET_KEY = "a-secret-key-for-tests-only"
AES_KEY = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG"
TOKEN = "oaTestToken2026"
APP_ID = "wx1234567890abcdef"
APP_SECRET = "0123456789abcdef0123456789abcdef"
EXAMPLE = Path(__file__).parents[1] / "docs/examples/muyan.yaml"
EXAMPLE_SENDS = "2026-11-25T20:30:00+08:00"


def at(text: str) -> datetime:
    """A Shanghai wall-clock time such as ``2025-03-03 09:00`` as aware UTC."""
    return parse_moment(text)


def example_ahead(folder: Path) -> Path:
    """A copy of the shipped example in ``folder``, its one send a month ahead: commands live on the real clock."""
    text = EXAMPLE.read_text(encoding="utf-8")
    assert EXAMPLE_SENDS in text
    ahead = f"{real_now() + timedelta(days=30):%Y-%m-%dT20:30:00+08:00}"
    file = folder / EXAMPLE.name
    file.write_text(text.replace(EXAMPLE_SENDS, ahead), encoding="utf-8")
    return file


def open_id(number: int) -> str:
    """A made-up OpenID of the real length, 28 characters."""
    return f"o_test_{number:021d}"


def make_account(
    session: Session, slug: str = "muyan", *, now: datetime, opening: bool = True, **values: Any
) -> int:
    """A verified service account; its opening balance is stated unless ``opening`` is False."""
    given: dict[str, Any] = {
        "slug": slug,
        "name": "沐颜集会员中心",
        "kind": "service",
        "verified": True,
        "mode": "safe",
        "app_id": APP_ID if slug == "muyan" else f"wx{abs(hash(slug)):016x}"[:18],
        "app_secret": APP_SECRET,
        "token": TOKEN,
        "aes_key": AES_KEY,
        "original_id": "gh_0123456789ab",
        "secret_key": SECRET_KEY,
    } | values
    account_id = accounts.add(session, now=now, **given)
    if opening:
        session.execute(
            sa.update(accounts_table)
            .where(accounts_table.c.id == account_id)
            .values(opening_stated_at=now)
        )
    return account_id


def make_follower(
    session: Session, account_id: int, number: int = 1, *, now: datetime, **values: Any
) -> int:
    """A subscribed follower."""
    given = {
        "account_id": account_id,
        "open_id": open_id(number),
        "subscribed": True,
        "subscribed_at": now,
        "first_seen_at": now,
        "fields": {},
    } | values
    return int(
        session.execute(sa.insert(followers).values(**given).returning(followers.c.id)).scalar_one()
    )


def make_followers(session: Session, account_id: int, count: int, *, now: datetime) -> list[int]:
    """``count`` subscribed followers numbered from 1, in one statement."""
    session.execute(
        sa.insert(followers),
        [
            {
                "account_id": account_id,
                "open_id": open_id(number),
                "subscribed": True,
                "subscribed_at": now,
                "first_seen_at": now,
                "fields": {},
                "messages": 0,
                "tester": False,
            }
            for number in range(1, count + 1)
        ],
    )
    return list(
        session.execute(
            sa.select(followers.c.id)
            .where(followers.c.account_id == account_id)
            .order_by(followers.c.id)
        ).scalars()
    )


def make_tag(session: Session, account_id: int, name: str, **values: Any) -> int:
    given = {"account_id": account_id, "name": name, "family": "营销互动", "sync": False} | values
    return int(session.execute(sa.insert(tags).values(**given).returning(tags.c.id)).scalar_one())


def give_tag(
    session: Session, account_id: int, follower_id: int, tag_id: int, *, now: datetime
) -> None:
    session.execute(
        sa.insert(follower_tags).values(
            account_id=account_id,
            follower_id=follower_id,
            tag_id=tag_id,
            origin="test",
            added_at=now,
        )
    )
