"""What everything here stands on: the memory, the clock, the way out to callbacks, and chance."""

import json
import random
import secrets
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from bot.clock import Clock, month_of
from bot.sandbox.state import Row, Store

# (url, body, content type) -> (status, body), or OSError when nothing answered; no body and no
# content type means GET
Deliver = Callable[[str, bytes, str], tuple[int, bytes]]
RANDOM_SEED = 20250303


class World:
    """Held open by the platform: store, clock, callback, and random numbers from a fixed seed.

    ``pause`` waits between repeated pushes in real seconds; nothing waits unless it is given.
    """

    def __init__(
        self,
        path: str,
        clock: Clock,
        deliver: Deliver | None,
        pause: Callable[[float], None] | None = None,
    ) -> None:
        self.store = Store(path)
        self.clock = clock
        self.deliver = deliver
        self.pause = pause
        # (url, open_id): how personas open links; without it they never do
        self.open_link: Callable[[str, str], str] | None = None
        self.chance = random.Random(RANDOM_SEED)  # noqa: S311 play, not secrets
        self.running = threading.Lock()  # one runner of due jobs at a time
        self._in_flight: dict[int, int] = {}
        self._guard = threading.Lock()

    def moment(self) -> datetime:
        return self.clock()

    def now(self) -> float:
        """The platform's time in unix seconds."""
        return self.clock().timestamp()

    def mass_begins(self, account_id: int) -> bool:
        """Mark a mass call as running; False when another of the account already is (42010)."""
        with self._guard:
            running = self._in_flight.get(account_id, 0)
            self._in_flight[account_id] = running + 1
            return running == 0

    def mass_ends(self, account_id: int) -> None:
        with self._guard:
            self._in_flight[account_id] -= 1


def month_at(seconds: float) -> str:
    """The Shanghai month of a unix time."""
    return month_of(datetime.fromtimestamp(seconds, UTC))


def secret(length: int) -> str:
    """Unguessable letters and digits, as in tokens and tickets."""
    return secrets.token_hex((length + 1) // 2)[:length]


def follower(world: World, account_id: int, open_id: str) -> Row | None:
    return world.store.one(
        "SELECT * FROM followers WHERE account_id = ? AND open_id = ?", account_id, open_id
    )


def show(
    world: World,
    account_id: int,
    open_id: str,
    way: str,
    body: dict[str, Any],
    job_id: int | None = None,
) -> None:
    """Write into a follower's chat what they now see."""
    now = world.now()
    world.store.run(
        "INSERT INTO received (account_id, open_id, way, body, at, month, job_id)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        account_id,
        open_id,
        way,
        json.dumps(body, ensure_ascii=False),
        now,
        month_at(now),
        job_id,
    )
