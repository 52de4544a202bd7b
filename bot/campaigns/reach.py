"""Choose for one follower: a channel, or the one reason why not. Pure; the same answer for the same data."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

# a skip has one reason, the first that holds
REASONS = (
    "left",
    "opted_out",
    "holdout",
    "cap",
    "no_window",
    "no_consent",
    "no_slot",
    "held_for_other",
    "batch_of_one",
    "expired",
    "cancelled",
)
_RANK = {reason: rank for rank, reason in enumerate(REASONS)}


@dataclass(frozen=True, slots=True)
class Candidate:
    """What is known about one follower of an audience when a run is planned.

    ``windows``: (opened_by, expires_at, left) of every reply window. ``slots_left``: mass messages
    this Shanghai month still allows. ``recent_campaigns``: campaigns within the cap's days.
    """

    follower_id: int
    subscribed: bool = True
    opted_out: bool = False
    windows: tuple[tuple[str, datetime, int], ...] = ()
    slots_left: int = 0
    recent_campaigns: int = 0
    holdout: bool = False


@dataclass(frozen=True, slots=True)
class Policy:
    """The account's own rules. ``cap``: campaigns a follower may get in the cap's days; None: no cap."""

    cap: int | None = None


@dataclass(frozen=True, slots=True)
class Choice:
    """Exactly one of the two is set."""

    channel: str | None = None
    reason: str | None = None


def choose(
    candidate: Candidate,
    channels: Sequence[Any],
    policy: Policy,
    content: Mapping[str, Any],
    now: datetime,
) -> Choice:
    """The first of ``channels``, in the order written, that can reach the follower; else one reason.

    ``channels`` are members of ``bot/channels``: ``NAME`` and ``blocked(candidate, content, now)``.
    Reasons of the follower come before reasons of a channel; of several channels' reasons the one
    that stands first in ``REASONS`` is stored.
    """
    refusal = _refusal(candidate, policy)
    if refusal is not None:
        return Choice(reason=refusal)
    found: list[str] = []
    for channel in channels:
        reason = channel.blocked(candidate, content, now)
        if reason is None:
            return Choice(channel=channel.NAME)
        found.append(reason)
    return Choice(reason=first_reason(found))


def first_reason(reasons: Iterable[str]) -> str:
    """The one that stands first in ``REASONS``; a plug-in's own word comes after all of them."""
    return min(reasons, key=lambda reason: _RANK.get(reason, len(REASONS)), default="no_window")


def _refusal(candidate: Candidate, policy: Policy) -> str | None:
    if not candidate.subscribed:
        return "left"
    if candidate.opted_out:
        return "opted_out"
    if candidate.holdout:
        return "holdout"
    if policy.cap is not None and candidate.recent_campaigns >= policy.cap:
        return "cap"
    return None
