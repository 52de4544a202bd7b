"""What the doors share: one frozen Runtime a process, built by ``bot.app`` or the command line."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property, partial
from typing import cast

import requests
import sqlalchemy as sa
from flask import current_app
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from bot import accounts, clock, db
from bot.accounts import Account
from bot.campaigns.approvals import order_holds
from bot.config import Config
from bot.governor import Governor
from bot.kept import DatabaseStore, RedisStore
from bot.outbox_bulk import Sender
from bot.rulebook import Rulebooks
from bot.secrets import seal, unseal
from bot.tables.jobs import installation
from bot.wechat.callback import Credentials
from bot.wechat.client import WeChat
from bot.wechat.transport import new_http

CLOCK_OFFSET = "clock_offset"  # seconds
ACCOUNT_SECONDS = 2.0  # how long a changed token or mode may take to reach every process


@dataclass(frozen=True)
class Known:
    """An account as the callback needs it, and until when it may be used without asking again."""

    account: Account
    credentials: Credentials
    until: float


@dataclass(frozen=True)
class Runtime:
    config: Config
    engine: Engine
    writer: db.GroupWriter
    clock: Callable[[], datetime]
    store: DatabaseStore | RedisStore
    rulebooks: Rulebooks = field(default_factory=Rulebooks)
    sender: Sender = field(default_factory=Sender)
    http: Callable[[], requests.Session] = new_http
    _known: dict[str, Known] = field(default_factory=dict)
    _gateways: dict[int, tuple[str, WeChat]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def secret_key(self) -> str:
        return self.config.secret_key.get_secret_value()

    def known(self, slug: str) -> Known:
        """An account and its callback secrets, read at most every two seconds.

        Raises:
            Refused: there is no such account.
        """
        found = self._known.get(slug)
        if found is not None and found.until > clock.tick_seconds():
            return found
        with db.reading(self.engine) as session:
            account = accounts.get(session, slug)
            secrets = accounts.secrets_of(session, account.id, self.secret_key)
        credentials = Credentials(secrets.token, secrets.aes_key, account.app_id, account.mode)
        if found is not None and found.credentials == credentials:
            credentials = found.credentials  # keeps its prepared cipher
        fresh = Known(account, credentials, clock.tick_seconds() + ACCOUNT_SECONDS)
        self._known[slug] = fresh
        return fresh

    def wechat(self, account_id: int) -> WeChat:
        """The gateway of an account, one a process; an account on a sandbox never reaches the real platform."""
        with db.reading(self.engine) as session:
            account = accounts.by_id(session, account_id)
            secrets = accounts.secrets_of(session, account_id, self.secret_key)
        base = account.sandbox_url or self.config.wechat_api_base
        mark = f"{base}\n{account.app_id}\n{secrets.app_secret}"
        with self._lock:
            found = self._gateways.get(account_id)
            if found is None or found[0] != mark:
                gateway = WeChat(
                    account.app_id,
                    secrets.app_secret,
                    api_base=base,
                    store=self.store,
                    http=self.http(),
                    now=self.clock,
                    seal=partial(seal, self.secret_key),
                    unseal=partial(unseal, self.secret_key),
                    vouches=partial(order_holds, self.secret_key),
                    called=partial(self._called, account_id),
                )
                found = (mark, gateway)
                self._gateways[account_id] = found
            return found[1]

    @cached_property
    def governor(self) -> Governor:
        """Who may call what today; one a process."""
        return Governor(self.engine, self.store)

    def _called(self, account_id: int, path: str, errcode: int) -> None:
        self.governor.called(account_id, path, errcode, self.clock())

    def close(self) -> None:
        """Finish what is being written and let the database go."""
        self.writer.close()
        self.sender.close()
        self.engine.dispose()


def build(config: Config, now: Callable[[], datetime] | None = None) -> Runtime:
    """A Runtime of these settings, on the installation's clock unless another is given."""
    engine = db.make_engine(config.database_url)
    told = now if now is not None else clock_of(engine)
    rows = DatabaseStore(engine, told)
    store = RedisStore(config.redis_url, otherwise=rows) if config.redis_url else rows
    return Runtime(config, engine, db.GroupWriter(engine), told, store)


def clock_of(engine: Engine) -> Callable[[], datetime]:
    """The real clock, except where a played demo moved this installation and its sandbox on."""
    try:
        with db.reading(engine) as session:
            seconds = session.execute(
                sa.select(installation.c.value).where(installation.c.key == CLOCK_OFFSET)
            ).scalar()
    except DBAPIError:  # no tables yet, or no database: both are told elsewhere
        return clock.now
    return clock.Clock(offset=timedelta(seconds=float(seconds))) if seconds else clock.now


def move_clock(session: db.Session, offset: timedelta) -> None:
    """From now on this installation lives ``offset`` away from the real clock. For the played demo."""
    db.upsert(
        session,
        installation,
        {"key": CLOCK_OFFSET, "value": str(offset.total_seconds())},
        key=["key"],
    )


def runtime() -> Runtime:
    """The Runtime of the Flask app that serves this request. Only doors call it."""
    return cast(Runtime, current_app.extensions["qunfen"])
