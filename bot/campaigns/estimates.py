"""The live estimate of a campaign that is being written: who would get it by which channel, who would not and why.

Set algebra over the sets of ``bot/audiences/index.py``, in the order ``reach.choose`` decides, so that it answers in
milliseconds for a million followers. The plan an operator approves is made by ``planning.py`` from the tables.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from pyroaring import BitMap

from bot import content as contents
from bot import registry
from bot.accounts import Account
from bot.audiences import index, segments
from bot.audiences.index import Look
from bot.audiences.leaves import (
    OPTED_OUT,
    SUBSCRIBED,
    WINDOW,
    Leaf,
    consent_leaf,
    frozen_leaf,
    reached_leaf,
    taken_leaf,
)
from bot.audiences.overlap import first_wins
from bot.campaigns import budget, caps, experiment, holds
from bot.campaigns.reach import REASONS
from bot.clock import month_of
from bot.db import Session
from bot.errors import Invalid, Refused
from bot.sql import among
from bot.tables.accounts import templates
from bot.tables.followers import followers

MASS = contents.MASS
# of so many people the holdout is told person by person, of more it is the share: hashing a million takes seconds
EXACT_HOLDOUT = 30_000
MOST_HELD = budget.PER_FOLLOWER_AND_MONTH
Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class GroupCount:
    """One group of the audience. ``expected``: guided people at the group's own rate, where it has one."""

    name: str
    segment: str
    people: int
    held_out: int
    reached: int
    rate: float | None
    expected: float | None
    by_channel: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class ChannelCount:
    """One channel in order. ``considered``: whom none before it reached; ``blocked``: why it cannot, by reason."""

    name: str
    considered: int
    people: int
    slots: int
    blocked: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Estimate:
    """``skipped``: reason -> people, in the order reasons are asked. People = reached + all skipped."""

    people: int
    everybody: int
    groups: Sequence[GroupCount]
    channels: Sequence[ChannelCount]
    skipped: Mapping[str, int]
    slots_left: Sequence[int]  # of the audience: how many have 0, 1, … 4 slots left in the month
    month: str
    exact: bool  # False: the holdout was taken off by its share
    counted_at: datetime

    @property
    def reached(self) -> int:
        return sum(channel.people for channel in self.channels)

    @property
    def slots(self) -> int:
        """Mass messages of followers this would spend."""
        return sum(channel.slots for channel in self.channels)

    @property
    def held_out(self) -> int:
        return self.skipped.get("holdout", 0)

    @property
    def expected(self) -> float | None:
        """Guided people over all groups that have a rate."""
        known = [group.expected for group in self.groups if group.expected is not None]
        return sum(known) if known else None


def group_segments(document: Json) -> list[tuple[str, str]]:
    """(group, segment) of a document, finished or not."""
    listed = document.get("groups") or []
    found = [
        (str(group.get("name") or group.get("segment")), str(group["segment"]))
        for group in listed
        if isinstance(group, Mapping) and group.get("segment")
    ]
    if not found and document.get("segment"):
        found = [(str(document["segment"]), str(document["segment"]))]
    return found


def group_people(look: Look, document: Json) -> dict[str, BitMap]:
    """The people of each group; who is in two belongs to the first.

    Raises:
        Refused: a segment does not exist.
    """
    listed = []
    for name, segment in group_segments(document):
        where = segments.get(look.session, look.account_id, segment).where
        listed.append((name, look.people(where)))
    return first_wins(listed)


def estimate(
    look: Look, account: Account, document: Json, *, at: datetime, campaign_id: int | None = None
) -> Estimate:
    """The estimate of a document as it stands. ``at``: when it would be sent; its month's slots count.

    Raises:
        Refused: a segment does not exist.
    """
    groups = group_people(look, document)
    audience = BitMap.union(*groups.values()) if groups else BitMap()
    skipped: dict[str, int] = {}
    rest = audience - look.leaf(OPTED_OUT)
    skipped["opted_out"] = len(audience) - len(rest)
    left_out, share = _holdout(look, account, document, rest)
    rest -= left_out
    message_class = str(document.get("message_class") or "marketing")
    names = [name for name in document.get("channels") or () if isinstance(name, str)]
    limits = caps.read(look.session, account, message_class, names)
    capped = _capped(look, limits, None) & rest
    rest -= capped
    by_channel, channels, blocked = _channels(
        look, account, document, names, limits, rest, at, campaign_id
    )
    unreached = rest - BitMap.union(BitMap(), *by_channel.values())
    skipped["holdout"] = len(left_out)
    skipped["cap"] = len(capped)
    for reason, people in _first_reasons(unreached, blocked).items():
        skipped[reason] = skipped.get(reason, 0) + people
    month = month_of(at)
    slots = index.slots_left(look, month)
    found = Estimate(
        people=len(audience),
        everybody=len(look.everybody()),
        groups=_groups(document, groups, left_out, by_channel),
        channels=channels,
        skipped={
            reason: skipped[reason] for reason in sorted(skipped, key=_rank) if skipped[reason]
        },
        slots_left=[audience.intersection_cardinality(people) for people in slots],
        month=month,
        exact=share == 0,
        counted_at=look.counted_at,
    )
    return found if share == 0 else _without_share(found, share)


def _holdout(look: Look, account: Account, document: Json, people: BitMap) -> tuple[BitMap, float]:
    """Whom the holdouts leave out, or of a large audience the share that is to be taken off."""
    marketing = (document.get("message_class") or "marketing") == "marketing"
    whole = account.limits.holdout if marketing else 0.0
    own = float(document.get("holdout") or 0.0)
    if (
        not people
        or not (whole or own)
        or (not _by_slots(account) and MASS in _channels_of(document))
    ):
        return BitMap(), 0.0
    if len(people) > EXACT_HOLDOUT:
        return BitMap(), 1 - (1 - whole) * (1 - own)
    name = f"holdout:{account.slug}:{document.get('name')}"
    rows = look.session.execute(
        sa.select(
            followers.c.id, sa.func.coalesce(followers.c.union_id, followers.c.open_id)
        ).where(followers.c.account_id == account.id, among(followers.c.id, people))
    )
    return BitMap(
        [
            follower_id
            for follower_id, person in rows
            if (whole and experiment.in_holdout(f"holdout:{account.slug}", person, whole))
            or (own and experiment.in_holdout(name, person, own))
        ]
    ), 0.0


def _channels_of(document: Json) -> list[str]:
    return [name for name in document.get("channels") or () if isinstance(name, str)]


def _by_slots(account: Account) -> bool:
    allowed = budget.allowance(account.kind, account.verified)
    return allowed is not None and allowed.per_follower_and_month is not None


def _capped(look: Look, limits: caps.Caps, channel: str | None) -> BitMap:
    """Who was written to as often as the caps of a channel (None: of any) allow. Sister accounts are not asked."""
    found = BitMap()
    for cap in (*limits.caps, *([limits.person] if limits.person and channel is None else [])):
        if cap.channel == channel:
            leaf = reached_leaf(cap.messages, cap.days, cap.channel, cap.message_class)
            found |= look.leaf(leaf)
    return found


def _channels(
    look: Look,
    account: Account,
    document: Json,
    names: Sequence[str],
    limits: caps.Caps,
    rest: BitMap,
    at: datetime,
    campaign_id: int | None,
) -> tuple[dict[str, BitMap], list[ChannelCount], dict[str, dict[str, BitMap]]]:
    """Whom each channel takes, in order; its counts; and of everybody why it could not."""
    taken: dict[str, BitMap] = {}
    counts: list[ChannelCount] = []
    blocked: dict[str, dict[str, BitMap]] = {}
    waiting = rest
    for name in names:
        why = _blocked(look, account, document, name, at, campaign_id)
        why["cap"] = _capped(look, limits, name)
        cannot = BitMap.union(BitMap(), *why.values()) if "*" not in why else waiting
        mine = waiting - cannot
        counts.append(
            ChannelCount(
                name,
                len(waiting),
                len(mine),
                len(mine) if name == MASS and _by_slots(account) else 0,
                {
                    reason: number
                    for reason, people in why.items()
                    if (number := len(people & waiting))
                },
            )
        )
        taken[name], blocked[name] = mine, why
        waiting = waiting - mine
    return taken, counts, blocked


def _blocked(
    look: Look, account: Account, document: Json, name: str, at: datetime, campaign_id: int | None
) -> dict[str, BitMap]:
    """Whom a channel cannot reach, by reason; reasons do not overlap. A channel of a plug-in reaches everybody."""
    everybody = look.everybody()
    if name == contents.CUSTOMER_SERVICE:
        return {"no_window": everybody - look.leaf(WINDOW)}
    if name == contents.SUBSCRIPTION:
        said = (document.get("contents") or {}).get(name) or document.get("content") or {}
        template = _template(said)
        agreed = look.leaf(consent_leaf(template)) if template else BitMap()
        return {"no_consent": everybody - agreed}
    if name == MASS and _by_slots(account):
        left = index.slots_left(look, month_of(at))
        held = _held(look, account, at, campaign_id)
        for_others = BitMap.union(
            BitMap(), *(left[number] & held[number] for number in range(1, MOST_HELD + 1))
        )
        return {"no_slot": left[0], "held_for_other": for_others}
    return {}


def _held(look: Look, account: Account, at: datetime, campaign_id: int | None) -> list[BitMap]:
    """Of whom at least so many slots of the month are firmly kept for other campaigns: one set a number, from 0."""
    found = holds.holds(
        look.session,
        account.id,
        month_of(at),
        look.now,
        excluding=campaign_id or 0,
        firm_look=look,
    )
    at_least = [look.everybody(), *(BitMap() for _ in range(MOST_HELD))]
    for hold in found:
        if hold.protected:
            for number in range(MOST_HELD, 0, -1):
                at_least[number] |= at_least[number - 1] & hold.people
    return at_least


def _template(said: Json) -> str:
    try:
        return str(contents.template_of(said))
    except (KeyError, TypeError, AttributeError, StopIteration):
        return ""


def _first_reasons(
    unreached: BitMap, blocked: Mapping[str, Mapping[str, BitMap]]
) -> dict[str, int]:
    """One reason for each whom no channel reached: of several the one that stands first in ``REASONS``."""
    by_reason: dict[str, BitMap] = {}
    for reasons in blocked.values():
        for reason, people in reasons.items():
            by_reason[reason] = by_reason.get(reason, BitMap()) | people
    found: dict[str, int] = {}
    rest = unreached
    for reason in sorted(by_reason, key=_rank):
        mine = rest & by_reason[reason]
        if mine:
            found[reason] = len(mine)
            rest = rest - mine
    if rest:  # no channel was chosen yet
        found["no_channel"] = len(rest)
    return found


def _groups(
    document: Json,
    groups: Mapping[str, BitMap],
    left_out: BitMap,
    by_channel: Mapping[str, BitMap],
) -> list[GroupCount]:
    rates = {
        str(group.get("name") or group.get("segment")): group.get("rate")
        for group in document.get("groups") or ()
        if isinstance(group, Mapping)
    }
    found = []
    for name, segment in group_segments(document):
        people = groups[name]
        parts = {
            channel: number
            for channel, taken in by_channel.items()
            if (number := people.intersection_cardinality(taken))
        }
        rate = rates.get(name)
        reached = sum(parts.values())
        found.append(
            GroupCount(
                name,
                segment,
                len(people),
                people.intersection_cardinality(left_out),
                reached,
                rate,
                reached * rate if rate is not None else None,
                parts,
            )
        )
    return found


def _without_share(found: Estimate, share: float) -> Estimate:
    """Take the holdout off by its share, group by group and channel by channel."""

    def less(number: int) -> int:
        return number - round(number * share)

    groups = [
        GroupCount(
            group.name,
            group.segment,
            group.people,
            round(group.people * share),
            less(group.reached),
            group.rate,
            less(group.reached) * group.rate if group.rate is not None else None,
            {channel: less(number) for channel, number in group.by_channel.items()},
        )
        for group in found.groups
    ]
    channels = [
        ChannelCount(
            one.name,
            less(one.considered),
            less(one.people),
            less(one.slots),
            {reason: less(number) for reason, number in one.blocked.items()},
        )
        for one in found.channels
    ]
    others = {
        reason: number if reason == "opted_out" else less(number)
        for reason, number in found.skipped.items()
    }
    reached = sum(one.people for one in channels)
    held_out = found.people - reached - sum(others.values())
    skipped = {**others, "holdout": held_out}
    return Estimate(
        found.people,
        found.everybody,
        groups,
        channels,
        {reason: skipped[reason] for reason in sorted(skipped, key=_rank) if skipped[reason]},
        found.slots_left,
        found.month,
        False,
        found.counted_at,
    )


def expected(session: Session, account: Account, now: datetime) -> list[Leaf]:
    """The sets an estimate of an account may ask any moment, to be counted before somebody does.

    Of every segment, of the month's ledger, the open windows, the consents of its templates, its caps.
    """
    found = [SUBSCRIBED, OPTED_OUT, WINDOW]
    if _by_slots(account):
        found += [taken_leaf(month_of(now), times) for times in range(1, MOST_HELD + 1)]
    every_cap = [*account.limits.every_cap, account.limits.person_cap]
    for cap in every_cap:
        if cap is not None:
            leaf = reached_leaf(cap.messages, cap.days, cap.channel, cap.message_class)
            found.append(leaf)
    for segment in segments.every(session, account.id):
        if segment.frozen is not None:
            found.append(frozen_leaf(segment.frozen.list_id))
            continue
        try:
            found += index.leaves_of(segment.definition)
        except Invalid:
            continue  # it names a filter that is no more
    listed = session.execute(
        sa.select(templates.c.template_id).where(
            templates.c.account_id == account.id,
            templates.c.kind == contents.SUBSCRIPTION,
            templates.c.archived_at.is_(None),
        )
    )
    return found + [consent_leaf(template_id) for template_id in listed.scalars()]


def _rank(reason: str) -> int:
    return REASONS.index(reason) if reason in REASONS else len(REASONS)


def known_channels(account: Account) -> list[Any]:
    """The channels there are, in the order they are usually tried: those that cost nothing first."""
    order = (contents.CUSTOMER_SERVICE, contents.SUBSCRIPTION, contents.TEMPLATE, MASS)
    known = registry.members("bot.channels")
    listed = [name for name in order if name in known]
    return [known[name] for name in [*listed, *(name for name in known if name not in listed)]]


def check_names(look: Look, document: Json) -> list[str]:
    """Segments a document names that do not exist."""
    missing = []
    for _group, segment in group_segments(document):
        try:
            segments.get(look.session, look.account_id, segment)
        except Refused:
            missing.append(segment)
    return missing
