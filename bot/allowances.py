"""How many calls of an API may still be made today, by whom, and when they run out: pure arithmetic.

Source: docs/wechat-limits.md 14 (read 2026-11): a daily number for each API, and 45009 beyond it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from bot.clock import day_of, start_of_day

REPLY, LATER, CAMPAIGN, SYNC = PRIORITIES = ("reply", "later", "campaign", "sync")
_OF_PURPOSE = {"reply": REPLY, "agent": REPLY, "later": LATER, "preview": LATER}

# what an account may call a day until the platform says its own number.
# Source: docs/wechat-limits.md 14 (read 2026-11); where sources differ the smaller
DEFAULTS: Mapping[str, int] = {
    "/cgi-bin/message/custom/send": 500_000,
    "/cgi-bin/message/template/send": 100_000,
    "/cgi-bin/message/mass/send": 100,
    "/cgi-bin/message/mass/sendall": 100,
    "/cgi-bin/message/mass/preview": 100,
    "/cgi-bin/user/get": 500,
    "/cgi-bin/user/info/batchget": 500_000,
    "/cgi-bin/user/info/updateremark": 10_000,
    "/cgi-bin/qrcode/create": 100_000,
    "/cgi-bin/media/upload": 5_000,
    "/cgi-bin/draft/add": 1_000,
    "/cgi-bin/freepublish/submit": 100,
    "/cgi-bin/menu/create": 1_000,
}
# what is kept for those above: the last tenth is for replies, of which the last twentieth only for them
SHARES = {REPLY: 0.0, LATER: 0.05, CAMPAIGN: 0.10, SYNC: 0.20}
MARGIN = 1.2  # replies of today may be a fifth more than the busiest of the last days
FIRST_PAUSE, LONGEST_PAUSE = timedelta(seconds=60), timedelta(minutes=30)
# of what an API allows a minute; all at once would be twice that across two of its minutes. Source: our choice.
BURST = 1 / 6
RECENT = timedelta(minutes=10)  # a refusal so soon after the last pause makes the next one longer
SHORTEST_PACE = timedelta(hours=1)  # a day younger than this says nothing about its pace


@dataclass(frozen=True, slots=True)
class Budget:
    """One API of one account today. ``calls`` by priority; ``elsewhere``: calls the platform counted and we did not."""

    api: str
    limit: int
    calls: Mapping[str, int] = field(default_factory=dict)
    elsewhere: int = 0
    # of the last days, what had each priority, a number a day
    before: Mapping[str, Sequence[int]] = field(default_factory=dict)

    @property
    def used(self) -> int:
        return sum(self.calls.values()) + self.elsewhere

    @property
    def left(self) -> int:
        return max(0, self.limit - self.used)


@dataclass(frozen=True, slots=True)
class Rate:
    """At most ``calls`` of an API in any ``seconds``, as the platform told it."""

    calls: int
    seconds: int

    @property
    def shared(self) -> float:
        """What is for calls that can wait: the rest is for replies, which are never held."""
        return max(1.0, self.calls * (1 - SHARES[CAMPAIGN]))

    @property
    def most(self) -> int:
        """Calls that may begin at once when none began for a while."""
        return max(1, int(self.shared * BURST))

    @property
    def per_second(self) -> float:
        """How fast further calls may begin: with ``most`` these are no more than ``shared`` in any ``seconds``."""
        return max(1.0, self.shared - self.most) / self.seconds


def priority_of(purpose: str) -> str:
    """Whose call it is: somebody waits for a reply, nobody for a campaign."""
    return _OF_PURPOSE.get(purpose, CAMPAIGN)


def kept_back(budget: Budget, priority: str, now: datetime) -> int:
    """Calls this priority must leave to those above it.

    A share of the day's limit, or what those above will probably still need today where that is more:
    as much as on their busiest day of the last week and a fifth, or as they use it today.
    """
    share = -int(-budget.limit * SHARES[priority] // 1)
    above = PRIORITIES[: PRIORITIES.index(priority)]
    return min(budget.limit, max(share, sum(_still(budget, one, now) for one in above)))


def granted(budget: Budget, priority: str, wanted: int, now: datetime) -> int:
    """How many of ``wanted`` calls may be made now. A reply is never held: the platform decides."""
    if priority == REPLY:
        return wanted
    return max(0, min(wanted, budget.left - kept_back(budget, priority, now)))


def _still(budget: Budget, priority: str, now: datetime) -> int:
    """What a priority will probably still need today."""
    so_far = budget.calls.get(priority, 0)
    elapsed, left = _of_day(now)
    pace = so_far * (left / max(elapsed, SHORTEST_PACE))
    usual = max(budget.before.get(priority, ()), default=0) * MARGIN - so_far
    return max(0, round(max(pace, usual)))


def runs_out_at(budget: Budget, now: datetime) -> datetime | None:
    """When the day's calls are used up at today's pace; None: not today. ``now`` when they are."""
    if budget.left == 0:
        return now
    elapsed, left = _of_day(now)
    if budget.used == 0:
        return None
    span = max(elapsed, SHORTEST_PACE) * (budget.left / budget.used)
    return now + span if span < left else None


def pause(times: int) -> timedelta:
    """How long to leave an API alone after it was called too often (45011) for the n-th time: 1, 2, 4 … 30 minutes."""
    return min(FIRST_PAUSE * (1 << min(max(times - 1, 0), 8)), LONGEST_PAUSE)


def tomorrow(now: datetime) -> datetime:
    """When the day's calls come back: midnight in Shanghai. Source: docs/wechat-limits.md 14 (read 2026-11)."""
    return start_of_day(day_of(now) + timedelta(days=1))


def _of_day(now: datetime) -> tuple[timedelta, timedelta]:
    """How much of the Shanghai day is over, and how much is left."""
    return now - start_of_day(day_of(now)), tomorrow(now) - now
