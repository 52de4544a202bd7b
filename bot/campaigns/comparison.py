"""Two ways to do the same task, side by side (对比): a campaign against another, or against a send to everybody.

The send to everybody is not made: the rates of the account's last one are put on the followers and slots there
were when the campaign began. Both columns are counted by the same functions.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from pyroaring import BitMap

from bot.accounts import Account
from bot.campaigns import (
    candidates,
    definitions,
    funnel,
    holds,
    ledger,
    live,
    losses,
    outcome,
    reviews,
)
from bot.campaigns.budget import PER_FOLLOWER_AND_MONTH
from bot.campaigns.definitions import Campaign
from bot.campaigns.document import RESULT_TAGS
from bot.campaigns.funnel import Effect, Step
from bot.campaigns.live import Picture
from bot.campaigns.losses import Push
from bot.clock import month_of
from bot.db import Session
from bot.tables.campaigns import campaign_runs, campaigns, deliveries, mass_ledger
from bot.tables.followers import follower_tags, followers, tags

EVERYBODY_IS = 0.8  # of the followers present: a run planned for so many was a send to everybody
MASS = "mass"
# somebody with these reasons would have got that push: they wanted a slot
WANTED = ("no_slot", "held_for_other", "no_window", "no_consent")


@dataclass(frozen=True, slots=True)
class Side:
    """One column. ``None`` is what cannot be known; ``simulated_from`` names the send whose rates were taken."""

    name: str
    at: datetime | None
    planned: int
    delivered: int
    opened: int | None
    guided: int
    target: int | None
    reached_at: datetime | None
    unfollows: int
    base_unfollows: float
    slots: int
    losing: int
    tags: Sequence[tuple[str, int]]
    holdout: int
    variants: int
    decided: str | None
    weakest: Step | None
    effects: Sequence[Effect]
    simulated_from: str | None = None

    @property
    def open_rate(self) -> float | None:
        return _share(self.opened, self.delivered)

    @property
    def guide_rate(self) -> float | None:
        """导量率: guided of the delivered."""
        return _share(self.guided, self.delivered)

    @property
    def goal_share(self) -> float | None:
        return _share(self.guided, self.target)

    @property
    def unfollow_rate(self) -> float | None:
        return _share(self.unfollows, self.delivered)

    @property
    def above_base(self) -> float:
        return max(self.unfollows - self.base_unfollows, 0.0)

    @property
    def slots_per_guided(self) -> float | None:
        return self.slots / self.guided if self.guided else None

    @property
    def measurable(self) -> bool:
        """Whether anything can be said of what caused it: a holdout, or two contents."""
        return bool(self.holdout) or self.variants > 1


@dataclass(frozen=True, slots=True)
class _Month:
    """Slots as they were at a moment: who was there, who had 0 … 4 left, who was wanted how often later."""

    present: BitMap
    left: Sequence[BitMap]
    wanted: Sequence[BitMap]


def of_campaign(session: Session, campaign: Campaign, now: datetime) -> Side:
    """What a campaign did and cost. Everything is 0 before its first run."""
    picture = live.picture(session, campaign, now)
    first = picture.first
    at, gone = _gone(session, picture)
    delivered = picture.delivered
    base = outcome.base_rate(session, campaign.account_id, at) * delivered if at else 0.0
    return Side(
        name=campaign.name,
        at=first.due_at if first else None,
        planned=first.planned if first else 0,
        delivered=delivered,
        opened=funnel.readers(session, campaign),
        guided=picture.guided,
        target=picture.target,
        reached_at=picture.reached_at,
        unfollows=gone,
        base_unfollows=base,
        slots=picture.slots,
        losing=len(losing(session, picture, now)) if first else 0,
        tags=_tags(session, picture),
        holdout=first.holdout if first else 0,
        variants=len((campaign.experiment or {}).get("variants", ())) or 1,
        decided=first.winner if first else None,
        weakest=funnel.weakest(funnel.steps(session, picture)) if first else None,
        effects=funnel.effects(session, picture),
    )


def to_everybody(
    session: Session, account_id: int, at: datetime, now: datetime, target: int | None
) -> Side | None:
    """What one more send to everybody ``at`` a moment would have come to; None: there was none to learn from.

    1. Who was there, and who had a slot left: each of them is charged one.
    2. Delivered, read, guided and left, by the shares of the last send to everybody before.
    3. Who would have lost a push that was planned for later in the month.
    """
    model = _last_to_everybody(session, account_id, at)
    if model is None:
        return None
    picture = live.picture(session, model, now)
    first = picture.first
    if first is None or not first.total.slots or not picture.delivered:
        return None
    month = _month(session, account_id, at, now, excluding=None)
    charged = sum(len(people & month.present) for people in month.left[1:])
    delivered = round(charged * picture.delivered / first.total.slots)
    of_model = delivered / picture.delivered
    read = funnel.readers(session, model)
    return Side(
        name="",
        at=at,
        planned=len(month.present),
        delivered=delivered,
        opened=round(read * of_model) if read is not None else None,
        guided=round(picture.guided * of_model),
        target=target,
        reached_at=None,
        unfollows=round(_gone(session, picture)[1] * of_model),
        base_unfollows=outcome.base_rate(session, account_id, at) * delivered,
        slots=charged,
        losing=len(_losers(month.present, month)),
        tags=(),
        holdout=0,
        variants=1,
        decided=None,
        weakest=None,
        effects=(),
        simulated_from=model.name,
    )


def _gone(session: Session, picture: Picture) -> tuple[datetime | None, int]:
    """When the first message of the chain went out, and how many left within 48 hours of one."""
    mine = sa.and_(
        deliveries.c.account_id == picture.campaign.account_id,
        deliveries.c.run_id.in_([run.id for run in picture.runs]),
    )
    first = sa.select(sa.func.min(deliveries.c.at)).where(mine, deliveries.c.status == "sent")
    return session.execute(first).scalar(), outcome.unfollows(session, mine)


def losing(session: Session, picture: Picture, now: datetime) -> BitMap:
    """Whose planned push of the same month a campaign took: they had no more slots than pushes to come."""
    first = picture.first
    if first is None:
        return BitMap()
    campaign = picture.campaign
    charged = BitMap(
        session.execute(
            sa.select(deliveries.c.follower_id).where(
                deliveries.c.run_id.in_([run.id for run in picture.runs]),
                deliveries.c.slot.is_not(None),
            )
        ).scalars()
    )
    month = _month(session, campaign.account_id, first.due_at, now, excluding=campaign.id)
    return _losers(charged, month)


@dataclass(frozen=True, slots=True)
class Loss:
    """A push planned for later in the month, and how many of its people get it as things stand and would not then."""

    name: str
    at: datetime
    wanted: int
    people: int


def would_lose(
    session: Session, account: Account, campaign: Campaign, at: datetime, now: datetime
) -> list[Loss]:
    """Which planned pushes a campaign would take people from if it went out ``at``, in order of time."""
    month = month_of(at)
    plan = candidates.read_plan(session, account, campaign, campaign.content, now)
    charged, after = BitMap(), 0
    last = ledger.newest_follower(session, account.id)
    while True:
        page = candidates.next_page(session, plan, after, last)
        charged |= BitMap(
            one.follower_id for one in page if candidates.decide(plan, one).channel == MASS
        )
        if len(page) < candidates.PAGE:
            break
        after = page[-1].follower_id
    left = _month(session, account.id, at, now, excluding=campaign.id).left
    held = holds.holds(session, account.id, month, now, excluding=campaign.id)
    coming = [hold for hold in held if hold.at > at]
    before = [Push(number, hold.people, hold.protected) for number, hold in enumerate(coming)]
    # whom it charges is decided already: nothing is held back from it again
    lost = losses.losses(left, before, [Push("asked", charged, firm=True), *before])
    return [
        Loss(hold.name, hold.at, len(hold.people), len(lost[number]))
        for number, hold in enumerate(coming)
    ]


def choices(session: Session, account_id: int) -> list[Campaign]:
    """Campaigns that have been sent, newest first: what one may be compared with."""
    begun = sa.select(campaign_runs.c.campaign_id).where(campaign_runs.c.account_id == account_id)
    ids = set(session.execute(begun.distinct()).scalars())
    known = definitions.every(session, account_id, archived=True)
    return [campaign for campaign in reversed(known) if campaign.id in ids]


def _losers(people: BitMap, month: _Month) -> BitMap:
    """Who of ``people`` has fewer slots than pushes to come once one more is taken."""
    found = BitMap()
    for left in range(1, PER_FOLLOWER_AND_MONTH + 1):
        found |= people & month.left[left] & month.wanted[left]
    return found


def _month(
    session: Session, account_id: int, at: datetime, now: datetime, *, excluding: int | None
) -> _Month:
    month = month_of(at)
    taken: dict[int, int] = {
        row[0]: row[1]
        for row in session.execute(
            sa.select(
                mass_ledger.c.follower_id, mass_ledger.c.reserved + mass_ledger.c.spent
            ).where(mass_ledger.c.account_id == account_id, mass_ledger.c.month == month)
        )
    }
    later = session.execute(
        sa.select(deliveries.c.follower_id)
        .join(campaign_runs, campaign_runs.c.id == deliveries.c.run_id)
        .where(
            deliveries.c.account_id == account_id,
            deliveries.c.month == month,
            deliveries.c.slot.is_not(None),
            campaign_runs.c.due_at >= at,
        )
    ).scalars()
    for follower_id in later:
        taken[follower_id] = taken.get(follower_id, 0) - 1
    present = BitMap(
        session.execute(
            sa.select(followers.c.id).where(
                followers.c.account_id == account_id,
                sa.or_(followers.c.subscribed_at.is_(None), followers.c.subscribed_at <= at),
                sa.or_(followers.c.subscribed, followers.c.unsubscribed_at > at),
            )
        ).scalars()
    )
    by_left: list[list[int]] = [[] for _ in range(PER_FOLLOWER_AND_MONTH + 1)]
    for follower_id, spent in taken.items():
        by_left[min(max(PER_FOLLOWER_AND_MONTH - spent, 0), PER_FOLLOWER_AND_MONTH)].append(
            follower_id
        )
    left = [BitMap(sorted(ids)) for ids in by_left]
    untouched = present - BitMap().union(*left[:-1])
    left[-1] |= untouched
    wanted = _wanted(session, account_id, at, now, month, excluding, present)
    return _Month(present, left, wanted)


def _wanted(
    session: Session,
    account_id: int,
    at: datetime,
    now: datetime,
    month: str,
    excluding: int | None,
    present: BitMap,
) -> list[BitMap]:
    """``wanted[n]``: who is wanted by at least ``n`` pushes later in the month; of 0 everybody, never asked."""
    pushes = list(_pushes_since(session, account_id, at, month, excluding))
    for hold in holds.holds(session, account_id, month, now, excluding=excluding):
        if hold.at <= at:
            continue
        # what is still to come knows who is there now: who left since was wanted too
        planned = definitions.by_id(session, hold.campaign_id)
        everybody = reviews.to_everybody(session, planned)
        pushes.append(hold.people | present if everybody else hold.people)
    wanted = [BitMap() for _ in range(PER_FOLLOWER_AND_MONTH + 1)]
    for people in pushes:
        for number in range(PER_FOLLOWER_AND_MONTH, 1, -1):
            wanted[number] |= wanted[number - 1] & people
        wanted[1] |= people
    return wanted


def _pushes_since(
    session: Session, account_id: int, at: datetime, month: str, excluding: int | None
) -> Iterator[BitMap]:
    """Mass pushes of other campaigns that were due since, whom each of them wanted."""
    runs = session.execute(
        sa.select(campaign_runs.c.id, campaigns.c.channels)
        .join(campaigns, campaigns.c.id == campaign_runs.c.campaign_id)
        .where(
            campaign_runs.c.account_id == account_id,
            campaign_runs.c.due_at > at,
            campaign_runs.c.month == month,
            campaign_runs.c.parent_id.is_(None),
            campaign_runs.c.status != "cancelled",
            campaigns.c.id != (excluding or 0),
        )
    ).all()
    for run in runs:
        if MASS not in run.channels:
            continue
        yield BitMap(
            session.execute(
                sa.select(deliveries.c.follower_id).where(
                    deliveries.c.run_id == run.id,
                    sa.or_(deliveries.c.channel == MASS, deliveries.c.reason.in_(WANTED)),
                )
            ).scalars()
        )


def _last_to_everybody(session: Session, account_id: int, at: datetime) -> Campaign | None:
    present = session.execute(
        sa.select(sa.func.count()).where(
            followers.c.account_id == account_id,
            sa.or_(followers.c.subscribed_at.is_(None), followers.c.subscribed_at <= at),
            sa.or_(followers.c.subscribed, followers.c.unsubscribed_at > at),
        )
    ).scalar_one()
    rows = session.execute(
        sa.select(campaign_runs.c.id, campaign_runs.c.campaign_id)
        .where(
            campaign_runs.c.account_id == account_id,
            campaign_runs.c.due_at < at,
            campaign_runs.c.status == "finished",
            campaign_runs.c.parent_id.is_(None),
        )
        .order_by(campaign_runs.c.due_at.desc())
        .limit(50)
    ).all()
    for row in rows:
        people = session.execute(
            sa.select(sa.func.count()).where(
                deliveries.c.run_id == row.id, deliveries.c.channel == MASS
            )
        ).scalar_one()
        if people >= EVERYBODY_IS * present:
            return definitions.by_id(session, row.campaign_id)
    return None


def _tags(session: Session, picture: Picture) -> list[tuple[str, int]]:
    """Tags people of the campaign got since it began: by result, and those named like a watched event."""
    first, campaign = picture.first, picture.campaign
    if first is None:
        return []
    result = [name for key in RESULT_TAGS if (name := (campaign.after or {}).get(key)) is not None]
    names = list(dict.fromkeys([*result, *funnel.monitored(campaign)]))
    rows = session.execute(
        sa.select(tags.c.name, sa.func.count(sa.distinct(follower_tags.c.follower_id)))
        .select_from(
            follower_tags.join(tags, tags.c.id == follower_tags.c.tag_id).join(
                deliveries, deliveries.c.follower_id == follower_tags.c.follower_id
            )
        )
        .where(
            tags.c.account_id == campaign.account_id,
            tags.c.name.in_(names),
            deliveries.c.run_id == first.id,
            sa.or_(deliveries.c.reason.is_(None), deliveries.c.reason != live.HOLDOUT),
            follower_tags.c.added_at >= first.due_at,
        )
        .group_by(tags.c.name)
    )
    counted = {row[0]: row[1] for row in rows}
    return [(name, counted[name]) for name in names if counted.get(name)]


def _share(part: float | None, whole: float | None) -> float | None:
    return part / whole if part is not None and whole else None
