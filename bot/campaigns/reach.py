"""Choose for one follower: a channel, or the one reason why not. Pure; the same answer for the same data."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Any, NamedTuple

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
_NOTHING: Mapping[str, int] = MappingProxyType({})


# a million are made of these two, so they are tuples: a frozen dataclass takes three times as long to make
class Candidate(NamedTuple):
    """What is known about one follower of an audience when a run is planned.

    ``windows``: (opened_by, expires_at, left) of every reply window. ``slots_left``: mass messages this
    Shanghai month still allows, ``held``: how many of them are kept for other campaigns. ``consents``:
    notices still permitted, by template. ``recent``: messages within each cap's days, by the cap's key.
    """

    follower_id: int
    subscribed: bool = True
    opted_out: bool = False
    windows: tuple[tuple[str, datetime, int], ...] = ()
    slots_left: int = 0
    holdout: bool = False
    consents: Mapping[str, int] = _NOTHING
    held: int = 0
    recent: Mapping[str, int] = _NOTHING
    group: str | None = None
    person: str = ""  # UnionID or OpenID: what splits are made by


class Choice(NamedTuple):
    """Exactly one of the two is set."""

    channel: str | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Limit:
    """At most ``messages``, as counted under ``key``. ``channel`` None: of the follower, whatever the channel."""

    key: str
    messages: int
    channel: str | None = None


@dataclass(frozen=True, slots=True)
class Policy:
    """The account's own rules for its followers."""

    caps: Sequence[Limit] = ()


def choose(
    candidate: Candidate,
    channels: Sequence[Any],
    policy: Policy,
    content: Mapping[str, Any],
    now: datetime,
    own: Mapping[str, Mapping[str, Any]] | None = None,
) -> Choice:
    """The first of ``channels``, in the order written, that can reach the follower; else one reason.

    ``channels`` are members of ``bot/channels``: ``NAME`` and ``blocked(candidate, content, now)``; ``own`` is
    what a channel says instead of ``content``. Reasons of the follower come before reasons of a channel; of
    several channels' reasons the one that stands first in ``REASONS`` is stored.
    """
    full = (
        [cap.channel for cap in policy.caps if candidate.recent.get(cap.key, 0) >= cap.messages]
        if candidate.recent
        else []
    )
    refusal = _refusal(candidate, None in full)
    if refusal is not None:
        return Choice(None, refusal)
    found: list[str] = []
    for channel in channels:
        name = channel.NAME
        if name in full:
            found.append("cap")
            continue
        said = own.get(name, content) if own else content
        reason = channel.blocked(candidate, said, now)
        if reason is None:
            return Choice(name)
        found.append(reason)
    return Choice(None, first_reason(found))


def first_reason(reasons: Iterable[str]) -> str:
    """The one that stands first in ``REASONS``; a plug-in's own word comes after all of them."""
    return min(reasons, key=lambda reason: _RANK.get(reason, len(REASONS)), default="no_window")


def _refusal(candidate: Candidate, capped: bool) -> str | None:
    if not candidate.subscribed:
        return "left"
    if candidate.opted_out:
        return "opted_out"
    if candidate.holdout:
        return "holdout"
    return "cap" if capped else None
