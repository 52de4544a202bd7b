"""Official accounts: read, add, change, stop. Secrets leave the database only through ``secrets_of``."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, time, timedelta
from typing import Any

import sqlalchemy as sa
from pydantic import TypeAdapter

from bot.campaigns.schedule import after_quiet
from bot.db import Session
from bot.errors import Invalid, Refused
from bot.params import Seconds
from bot.secrets import seal, unseal
from bot.tables.accounts import accounts
from bot.tables.outbox import outbox

# parts of our own addresses: an account of this name could not be told from them
_WORDS = """login logout static system me api new _ console healthz readyz metrics callback l oauth
work"""
RESERVED = frozenset(_WORDS.split())
OPT_OUT_WORDS = ("退订", "TD")
OPT_IN_WORDS = ("订阅",)
APPROVE_ABOVE = 1000  # recipients above which a second operator must approve
# A send to everybody waits so long after its last approval, so that somebody may still stop it. Source: our choice.
ALL_SEND_HOLD = "10m"
# The guard waits so long after each part of a mass run before it counts who left: most of those who leave do
# so when they read it. Source: our choice; docs/operating.md says what it costs.
GUARD_EVERY = "15m"
_SECONDS: TypeAdapter[int] = TypeAdapter(Seconds)


@dataclass(frozen=True, slots=True)
class Cap:
    """At most ``messages`` in ``days`` × 24 hours, of one channel and one class of messages or of any (None)."""

    messages: int
    days: int
    channel: str | None = None
    message_class: str | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """What an account allows itself. ``quiet_hours`` are Shanghai wall-clock times and may span midnight.

    ``holdout``: the share of followers no campaign reaches. ``person_cap`` counts a person across all accounts
    of a brand. ``most_people``: no run has more recipients, whoever approves it. ``guard``: mass runs go out in
    parts, and stop when too many leave; ``guard_every``: how long each part waits before the next.
    """

    quiet_hours: tuple[time, time] | None = None
    cap_messages: int | None = None
    cap_days: int | None = None
    approve_above: int = APPROVE_ABOVE
    opt_out: tuple[str, ...] = OPT_OUT_WORDS
    holdout: float = 0.0
    caps: tuple[Cap, ...] = ()
    person_cap: Cap | None = None
    most_people: int | None = None
    all_send_hold: timedelta = timedelta(minutes=10)
    guard: bool = True
    guard_every: timedelta = timedelta(minutes=15)

    @property
    def every_cap(self) -> tuple[Cap, ...]:
        """The caps of a follower on this account, the oldest form first."""
        if self.cap_messages is None:
            return self.caps
        return (Cap(self.cap_messages, self.cap_days or 1), *self.caps)


@dataclass(frozen=True, slots=True)
class Account:
    id: int
    slug: str
    name: str
    kind: str
    verified: bool
    mode: str
    app_id: str
    original_id: str
    sandbox_url: str | None
    limits: Limits
    rights: Mapping[str, bool] = field(default_factory=dict)
    stopped: bool = False
    stopped_reason: str | None = None
    opening_stated: bool = False
    brand: str | None = None


@dataclass(frozen=True, slots=True, repr=False)
class Secrets:
    """Plain secrets of one account. No repr, so that no log line or traceback shows them."""

    app_secret: str
    token: str
    aes_key: str | None


def get(session: Session, slug: str) -> Account:
    """The account with this slug.

    Raises:
        Refused: there is none.
    """
    row = session.execute(
        sa.select(accounts).where(accounts.c.slug == slug, accounts.c.archived_at.is_(None))
    ).one_or_none()
    if row is None:
        raise Refused(f"there is no account '{slug}'")
    return _account(row)


def by_id(session: Session, account_id: int) -> Account:
    """The account with this row id."""
    return _account(session.execute(sa.select(accounts).where(accounts.c.id == account_id)).one())


def every(session: Session) -> list[Account]:
    """All accounts that are not archived, by slug."""
    rows = session.execute(
        sa.select(accounts).where(accounts.c.archived_at.is_(None)).order_by(accounts.c.slug)
    )
    return [_account(row) for row in rows]


def check_slug(slug: str) -> None:
    """Raises ValueError where a slug cannot be part of an address, or is one of the program's own words."""
    if not re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,39}", slug):
        raise ValueError(
            "must begin with a letter or digit and have only lowercase letters, digits, - and _, 40 at most"
        )
    if slug in RESERVED:
        raise ValueError("this slug is kept for the program itself")


def add(
    session: Session,
    *,
    slug: str,
    name: str,
    kind: str,
    verified: bool,
    mode: str,
    app_id: str,
    app_secret: str,
    token: str,
    aes_key: str | None,
    secret_key: str,
    now: datetime,
    original_id: str = "",
    limits: Mapping[str, Any] | None = None,
    brand: str | None = None,
    sandbox_url: str | None = None,
) -> int:
    """Store a new account, its three secrets sealed. ``sandbox_url`` decides for good whether it is real.

    Raises:
        Invalid: the slug cannot be used.
        Refused: slug or AppID is taken.
    """
    try:
        check_slug(slug)
    except ValueError as problem:
        raise Invalid("slug", str(problem)) from None
    taken = session.execute(
        sa.select(accounts.c.slug).where(
            sa.or_(accounts.c.slug == slug, accounts.c.app_id == app_id)
        )
    ).scalar()
    if taken is not None:
        raise Refused(f"an account with this slug or AppID exists already: '{taken}'")
    found = session.execute(
        sa.insert(accounts)
        .values(
            slug=slug,
            name=name,
            kind=kind,
            verified=verified,
            mode=mode,
            app_id=app_id,
            original_id=original_id,
            app_secret=seal(secret_key, app_secret),
            token=seal(secret_key, token),
            aes_key=seal(secret_key, aes_key) if aes_key else None,
            sandbox_url=sandbox_url,
            limits=dict(limits or {}),
            brand=brand,
            rights={},
            created_at=now,
        )
        .returning(accounts.c.id)
    ).scalar_one()
    return int(found)


def change(session: Session, account_id: int, secret_key: str, values: Mapping[str, Any]) -> None:
    """Change columns of an account; ``app_secret``, ``token`` and ``aes_key`` are given plain and sealed here.

    Raises:
        Refused: an attempt to move an account between the sandbox and the real platform.
    """
    if "sandbox_url" in values:
        raise Refused("an account that lives on the sandbox stays there, and a real one stays real")
    changed = {
        key: seal(secret_key, value)
        if key in ("app_secret", "token", "aes_key") and value is not None
        else value
        for key, value in values.items()
    }
    if changed:
        session.execute(sa.update(accounts).where(accounts.c.id == account_id).values(**changed))


def move_sandbox(session: Session, account_id: int, url: str) -> None:
    """The sandbox of an account answers at another address now; a real account stays real."""
    session.execute(
        sa.update(accounts)
        .where(accounts.c.id == account_id, accounts.c.sandbox_url.is_not(None))
        .values(sandbox_url=url)
    )


def secrets_of(session: Session, account_id: int, secret_key: str) -> Secrets:
    """The plain secrets of an account, for the gateway only.

    Raises:
        Refused: they were stored with another ``QUNFEN_SECRET_KEY``.
    """
    row = session.execute(
        sa.select(accounts.c.app_secret, accounts.c.token, accounts.c.aes_key).where(
            accounts.c.id == account_id
        )
    ).one()
    return Secrets(
        unseal(secret_key, row.app_secret),
        unseal(secret_key, row.token),
        unseal(secret_key, row.aes_key) if row.aes_key else None,
    )


def stop(session: Session, account_id: int, reason: str, now: datetime) -> None:
    """Emergency stop: nothing more leaves for this account until ``go``. Replies to pushes go on."""
    session.execute(
        sa.update(accounts)
        .where(accounts.c.id == account_id)
        .values(stopped_at=now, stopped_reason=reason)
    )


def go(session: Session, account_id: int) -> None:
    """End an emergency stop."""
    session.execute(
        sa.update(accounts)
        .where(accounts.c.id == account_id)
        .values(stopped_at=None, stopped_reason=None)
    )


def waiting_sends(session: Session, account_id: int) -> int:
    """How many messages of an account wait in the outbox."""
    return session.execute(
        sa.select(sa.func.count())
        .select_from(outbox)
        .where(outbox.c.status == "waiting", outbox.c.account_id == account_id)
    ).scalar_one()


def forbid(session: Session, account_id: int, feature: str) -> None:
    """Remember that the platform does not grant this account a feature (errcode 48001)."""
    rights = dict(
        session.execute(
            sa.select(accounts.c.rights).where(accounts.c.id == account_id)
        ).scalar_one()
    )
    rights[feature] = False
    session.execute(sa.update(accounts).where(accounts.c.id == account_id).values(rights=rights))


def in_quiet_hours(session: Session, now: datetime) -> list[int]:
    """Accounts whose campaigns rest now."""
    rows = session.execute(
        sa.select(accounts.c.id, accounts.c.limits).where(accounts.c.archived_at.is_(None))
    )
    return [
        row.id for row in rows if after_quiet(now, limits_from(row.limits or {}).quiet_hours) != now
    ]


def forget_refusals(session: Session, account_id: int) -> None:
    """Try every feature again: the account's verification changed."""
    session.execute(sa.update(accounts).where(accounts.c.id == account_id).values(rights={}))


def limits_from(stored: Mapping[str, Any]) -> Limits:
    """The limits of an account as data; what is not said has its default."""
    quiet = stored.get("quiet_hours")
    cap = stored.get("cap") or {}
    return Limits(
        quiet_hours=_span(quiet) if quiet else None,
        cap_messages=cap.get("messages"),
        cap_days=cap.get("days"),
        approve_above=int(stored.get("approve_above", APPROVE_ABOVE)),
        opt_out=tuple(stored.get("opt_out", OPT_OUT_WORDS)),
        holdout=float(stored.get("holdout") or 0),
        caps=tuple(Cap(**one) for one in stored.get("caps") or ()),
        person_cap=Cap(**stored["person_cap"]) if stored.get("person_cap") else None,
        most_people=stored.get("most_people"),
        all_send_hold=timedelta(
            seconds=_SECONDS.validate_python(stored.get("all_send_hold") or ALL_SEND_HOLD)
        ),
        guard=stored.get("guard") is not False,
        guard_every=timedelta(
            seconds=_SECONDS.validate_python(stored.get("guard_every") or GUARD_EVERY)
        ),
    )


def _span(text: str) -> tuple[time, time]:
    start, end = text.split("-")
    return time.fromisoformat(start), time.fromisoformat(end)


def _account(row: Any) -> Account:
    return Account(
        id=row.id,
        slug=row.slug,
        name=row.name,
        kind=row.kind,
        verified=row.verified,
        mode=row.mode,
        app_id=row.app_id,
        original_id=row.original_id,
        sandbox_url=row.sandbox_url,
        limits=limits_from(row.limits),
        rights=row.rights,
        stopped=row.stopped_at is not None,
        stopped_reason=row.stopped_reason,
        opening_stated=row.opening_stated_at is not None,
        brand=row.brand,
    )
