"""A month's followers in sets and bytes: whose slots, who is wanted by which campaign, and what it is worth to each.

A value is chance of a click × what a click is worth − risk of an unfollow × what a follower is worth. The chance is the
past rate of the campaign's group, times how this follower clicked before, shrunk towards the average where little
is known. Followers are read as sets and kept as bytes, so that a million take some megabytes.
"""

from array import array
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from pyroaring import BitMap

from bot.audiences import index, segments
from bot.audiences.index import Look
from bot.audiences.leaves import OPTED_OUT
from bot.audiences.overlap import first_wins
from bot.campaigns import outcome, pasts
from bot.campaigns.allocate import Allocation, Constraints, Page, allocate_pages
from bot.campaigns.budget import PER_FOLLOWER_AND_MONTH as SLOTS
from bot.campaigns.definitions import Campaign
from bot.db import Session
from bot.errors import Invalid, Refused
from bot.tables.campaigns import campaign_runs, deliveries
from bot.tables.tracking import clicks, links

PAGE = 50_000  # followers a page
MOST_RECEIVED, MOST_CLICKED = 8, 3  # beyond these it makes no difference how often
LOOKED_AT = 60  # runs, the latest first: what somebody clicked long ago says little
USUAL_STRENGTH = 10.0  # messages: how much the average weighs beside what one follower did
USUAL_RATE = 0.05  # of an account without any past
USUAL_RISK = 0.001  # of a follower who leaves because of one message; an account without any past
FOLLOWER_WORTH = 2.0  # clicks: what is lost with a follower, until somebody says otherwise
MEASURED = 6  # of the latest mass campaigns: the risk is read off them


@dataclass(frozen=True, slots=True)
class Choice:
    """A campaign that takes part. ``rate``: of clicks, None: as the past says. ``click``: what one is worth.

    ``least``, ``most``: people it must and may have. ``kind``: for limits such as one of a kind a follower.
    """

    campaign_id: int
    rate: float | None = None
    click: float = 1.0
    least: int = 0
    most: int | None = None
    kind: str = ""


@dataclass(frozen=True, slots=True)
class Settings:
    """What a division goes by. ``risk``: of an unfollow by one message, None: as measured; ``per_kind``: messages of
    one kind a follower gets at most, 0: any number."""

    month: str
    choices: tuple[Choice, ...]
    follower_worth: float = FOLLOWER_WORTH
    risk: float | None = None
    gap_days: int = 0
    per_kind: int = 0

    def to_json(self) -> dict[str, Any]:
        """As a job carries it."""
        return asdict(self)

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> "Settings":
        """What ``to_json`` made."""
        choices = tuple(Choice(**one) for one in stored["choices"])
        return cls(**{**stored, "choices": choices})


@dataclass(frozen=True, slots=True)
class Offer:
    """A campaign of the month that may take part, with what is proposed for it.

    ``rate_of`` says where its rate comes from: ``groups``, ``similar``, ``past`` or ``usual``.
    """

    campaign: Campaign
    at: datetime
    rate: float
    rate_of: str
    click: float
    protected: bool
    kind: str


@dataclass(frozen=True, slots=True)
class Levels:
    """Followers by what they did before: each cell is (how many times as likely to click as the average, people)."""

    cells: Sequence[tuple[float, BitMap]]

    def codes(self, base: int, span: int) -> bytearray:
        """The number of the cell of each follower id from ``base`` on."""
        found = bytearray(span)
        for number, (_times, people) in enumerate(self.cells):
            _mark(found, people, base, number)
        return found


def likelihood(received: int, clicked: int, mean: float, strength: float = USUAL_STRENGTH) -> float:
    """How many times as likely as the average somebody clicks who clicked ``clicked`` of ``received`` messages.

    The average counts as ``strength`` further messages, so that one lucky click says little.
    """
    if mean <= 0:
        return 1.0
    return (clicked + strength * mean) / (received + strength) / mean


@dataclass(frozen=True, slots=True)
class Habit:
    """What sending to everybody would be worth; ``order``: the campaigns, by their number, as they would go out."""

    total: float
    order: tuple[int, ...]


class Month:
    """The month in sets and bytes: whose slots, who is wanted by what, with which value."""

    def __init__(
        self,
        session: Session,
        look: Look,
        settings: Settings,
        chosen: Sequence[Offer],
        others: Sequence[Offer],
    ) -> None:
        self.settings, self.chosen = settings, chosen
        left = index.slots_left(look, settings.month)
        for offer in others:
            # planned and protected, but no part of this division: its people keep a slot for it
            people = BitMap.union(
                BitMap(), *(some for _rate, some in _groups(look, offer, Choice(0)))
            )
            for number in range(1, len(left)):
                taken = left[number] & people
                left[number] -= taken
                left[number - 1] |= taken
        opted_out = look.leaf(OPTED_OUT)
        self.left_sets = [people - opted_out for people in left]
        self.everybody = BitMap.union(*self.left_sets[1:])
        self.groups = [
            _groups(look, offer, choice)
            for offer, choice in zip(chosen, settings.choices, strict=True)
        ]
        told = levels(session, look.account_id, look.everybody())
        self.levels = Levels([(times, some & self.everybody) for times, some in told.cells])
        known = pasts.every(session, look.account_id)
        self.outside = min(
            (one.rate for one in known if one.delivered >= 100), default=USUAL_RATE / 2
        )
        self.risk = (
            settings.risk if settings.risk is not None else measured_risk(session, look.account_id)
        )
        # every follower is one of few kinds: level, group by campaign, slots left
        base = self.everybody.min() if self.everybody else 0
        span = self.everybody.max() - base + 1 if self.everybody else 0
        left_of = bytearray(span)
        for number, some in enumerate(self.left_sets[1:], 1):
            _mark(left_of, some, base, number)
        group_of = []
        for groups in self.groups:
            codes = bytearray(span)
            for number, (_rate_of_group, some) in enumerate(groups, 1):
                _mark(codes, some & self.everybody, base, number)
            group_of.append(codes)
        seen: dict[tuple[int, ...], int] = {}
        rows = zip(self.levels.codes(base, span), *group_of, left_of, strict=True)
        # who has no slot left stands in none of the sets
        self.kind_of = array("I", (seen.setdefault(row, len(seen)) for row in rows if row[-1]))
        self.kinds = list(seen)
        self.sizes = Counter(self.kind_of)

    def divide(self, names: Sequence[str], constraints: Constraints) -> Allocation:
        """The division. Without limits on people a kind decides for all who are of it."""
        values = self._values(outside=False)
        left = bytes(kind[-1] for kind in self.kinds)
        if any(one.most is not None or one.least for one in constraints.campaigns):

            def pages() -> Iterator[Page]:
                for begin in range(0, len(self.kind_of), PAGE):
                    some = self.kind_of[begin : begin + PAGE]
                    columns = [array("d", map(column.__getitem__, some)) for column in values]
                    yield columns, bytes(map(left.__getitem__, some))

            return allocate_pages(names, pages, constraints)
        told = allocate_pages(names, lambda: [(values, left)], constraints)
        total, people = 0.0, dict.fromkeys(names, 0)
        for kind, mask in enumerate(told.places):
            for number, name in enumerate(names):
                if mask >> number & 1:
                    people[name] += self.sizes[kind]
                    total += self.sizes[kind] * values[number][kind]
        places = array("H", map(told.places.__getitem__, self.kind_of))
        return Allocation(tuple(names), places, total, total, told.exact, people)

    def habit(self) -> "Habit":
        """Sends to everybody as long as there are slots: those with most value over all, day by day.

        Who is not in a campaign's audience clicks like people of the weakest past send.
        """
        values = self._values(outside=True)
        sums = [sum(size * column[kind] for kind, size in self.sizes.items()) for column in values]
        best = sorted(range(len(sums)), key=lambda number: -sums[number])[:SLOTS]
        order = sorted(best, key=lambda number: (self.chosen[number].at, number))
        total = 0.0
        for turn, number in enumerate(order):
            column = values[number]
            total += sum(
                size * column[kind]
                for kind, size in self.sizes.items()
                if self.kinds[kind][-1] > turn
            )
        return Habit(total, tuple(order))

    def _values(self, *, outside: bool) -> list[list[float]]:
        """The value of each campaign to each kind. Who is in none of its groups is worth nothing to it."""
        cost = self.risk * self.settings.follower_worth
        found = []
        for number, choice in enumerate(self.settings.choices):
            rates = [
                self.outside if outside else None,
                *(rate for rate, _some in self.groups[number]),
            ]
            column = []
            for kind in self.kinds:
                rate, times = rates[kind[1 + number]], self.levels.cells[kind[0]][0]
                column.append(0.0 if rate is None else _chance(rate, times) * choice.click - cost)
            found.append(column)
        return found

    def places(self, result: Allocation) -> list[BitMap]:
        """Who gets each campaign."""
        by_mask: dict[int, list[int]] = {}
        for who, mask in zip(self.everybody, result.places, strict=True):
            if mask:
                by_mask.setdefault(mask, []).append(who)
        sets = {mask: BitMap(ids) for mask, ids in by_mask.items()}
        return [
            BitMap.union(BitMap(), *(some for mask, some in sets.items() if mask >> number & 1))
            for number in range(len(self.chosen))
        ]

    def clicks_of(self, number: int, people: BitMap, *, outside: bool = False) -> float:
        """How many of these people are expected to click a campaign."""
        groups = list(self.groups[number])
        if outside:
            groups.append(
                (self.outside, people - BitMap.union(BitMap(), *(some for _rate, some in groups)))
            )
        return sum(
            _chance(rate, times) * (people & some).intersection_cardinality(cell)
            for rate, some in groups
            for times, cell in self.levels.cells
        )

    def figures(
        self, result: Allocation, places: Sequence[BitMap], habit: "Habit"
    ) -> dict[str, Any]:
        """What the page shows, as stored."""
        lines: list[dict[str, Any]] = []
        for number, (offer, choice) in enumerate(
            zip(self.chosen, self.settings.choices, strict=True)
        ):
            wanted = (
                BitMap.union(BitMap(), *(some for _rate, some in self.groups[number]))
                & self.everybody
            )
            lines.append(
                {
                    "campaign_id": offer.campaign.id,
                    "name": offer.campaign.name,
                    "at": offer.at.isoformat(),
                    "wanted": len(wanted),
                    "people": len(places[number]),
                    "clicks": round(self.clicks_of(number, places[number]), 1),
                    "rate": choice.rate if choice.rate is not None else offer.rate,
                    "click": choice.click,
                    "protected": offer.protected,
                    "short": str(offer.campaign.id) in result.short,
                }
            )
        sent: list[dict[str, Any]] = []
        for turn, number in enumerate(habit.order):
            some = BitMap.union(BitMap(), *self.left_sets[turn + 1 :])
            sent.append(
                {
                    "campaign_id": self.chosen[number].campaign.id,
                    "name": self.chosen[number].campaign.name,
                    "people": len(some),
                    "clicks": round(self.clicks_of(number, some, outside=True), 1),
                }
            )
        return {
            "settings": self.settings.to_json(),
            "risk": self.risk,
            "campaigns": lines,
            "total": round(result.total, 2),
            "bound": round(result.bound, 2),
            "exact": result.exact,
            "clicks": round(sum(line["clicks"] for line in lines), 1),
            "slots": sum(line["people"] for line in lines),
            "everybody": len(self.everybody),
            "habit": {
                "total": round(habit.total, 2),
                "clicks": round(sum(one["clicks"] for one in sent), 1),
                "slots": sum(one["people"] for one in sent),
                "campaigns": sent,
            },
        }


def levels(session: Session, account_id: int, everybody: BitMap) -> Levels:
    """Followers by how many of the latest campaigns they got and clicked."""
    runs = session.execute(
        sa.select(campaign_runs.c.id, campaign_runs.c.campaign_id)
        .where(
            campaign_runs.c.account_id == account_id,
            campaign_runs.c.status.in_(("running", "paused", "finished")),
        )
        .order_by(campaign_runs.c.due_at.desc())
        .limit(LOOKED_AT)
    ).all()
    received = [everybody, *(BitMap() for _ in range(MOST_RECEIVED))]
    clicked = [everybody, *(BitMap() for _ in range(MOST_CLICKED))]
    for run in runs:
        sent_to = sa.select(deliveries.c.follower_id).where(
            deliveries.c.run_id == run.id, deliveries.c.status == "sent"
        )
        _add(received, _read(session, sent_to) & everybody)
    for campaign_id in dict.fromkeys(run.campaign_id for run in runs):
        clickers = (
            sa.select(clicks.c.follower_id)
            .select_from(clicks.join(links, links.c.id == clicks.c.link_id))
            .where(
                clicks.c.account_id == account_id,
                links.c.campaign_id == campaign_id,
                clicks.c.clean,
                clicks.c.follower_id.is_not(None),
            )
        )
        _add(clicked, _read(session, clickers) & everybody)
    messages = sum(len(people) for people in received[1:])
    hits = sum(len(people) for people in clicked[1:])
    mean = hits / messages if messages else 0.0
    cells = []
    for got in range(MOST_RECEIVED + 1):
        these = received[got] - received[got + 1] if got < MOST_RECEIVED else received[got]
        for hit in range(MOST_CLICKED + 1):
            few = clicked[hit] - clicked[hit + 1] if hit < MOST_CLICKED else clicked[hit]
            people = these & few
            if people:
                cells.append((likelihood(max(got, hit), hit, mean), people))
    return Levels(cells or [(1.0, BitMap())])


def measured_risk(session: Session, account_id: int) -> float:
    """The chance that one mass message makes a follower leave, above those who leave anyway."""
    known = [one for one in pasts.every(session, account_id) if not one.typed][:MEASURED]
    delivered, gone = 0, 0.0
    for one in known:
        told = outcome.outcome(session, account_id, one.name)
        delivered += told.delivered
        gone += told.unfollows - told.base_unfollows
    return max(0.0, gone) / delivered if delivered else USUAL_RISK


def _groups(look: Look, offer: Offer, choice: Choice) -> list[tuple[float, BitMap]]:
    """(rate, people) of each group; who is in two belongs to the first. A rate that was typed scales them all."""
    usual = offer.rate
    scale = choice.rate / usual if choice.rate is not None and usual > 0 else 1.0
    rates = [group.get("rate") for group in offer.campaign.groups or ()] or [None]
    listed = []
    for number, (_name, segment) in enumerate(offer.campaign.group_segments()):
        try:
            where = segments.get(look.session, look.account_id, segment).where
            listed.append((str(number), look.people(where)))
        except (Invalid, Refused):
            listed.append((str(number), BitMap()))
    apart = first_wins(listed)
    if choice.rate is not None and usual <= 0:  # nothing to scale
        return [(choice.rate, some) for some in apart.values()]
    return [
        (float(usual if (rate := rates[int(name)]) is None else rate) * scale, some)
        for name, some in apart.items()
    ]


def _chance(rate: float, times: float) -> float:
    return min(0.99, rate * times)


def _add(at_least: list[BitMap], people: BitMap) -> None:
    """Count one more for each of ``people``: ``at_least[n]`` is who was counted so often."""
    for number in range(len(at_least) - 1, 0, -1):
        at_least[number] |= at_least[number - 1] & people


def _read(session: Session, asked: sa.Select[Any]) -> BitMap:
    found = BitMap()
    rows = session.execute(asked.execution_options(yield_per=PAGE))
    for some in rows.partitions():
        found |= BitMap([row[0] for row in some])
    return found


def _mark(codes: bytearray, people: BitMap, base: int, value: int) -> None:
    for who in people:
        codes[who - base] = value
