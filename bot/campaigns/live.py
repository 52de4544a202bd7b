"""How a campaign stands (进度): counts by channel, wave, group and variant, what comes next, and what the guard saw.

Only reads. What a page polls and the API answers is this one picture of a chain of runs: the run and its
follow-ups. Every follower of the audience is in exactly one line of ``reasons``, so its lines add up.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from bot import accounts
from bot.accounts import Account
from bot.campaigns import guarding, outcome, rounds
from bot.campaigns.candidates import MASS
from bot.campaigns.definitions import Campaign
from bot.campaigns.status import OPEN_RUNS
from bot.clock import parse_moment
from bot.db import Session
from bot.tables.campaigns import campaign_runs, deliveries, mass_batches

HANDED_OVER = ("sent", "failed", "unknown")
HOLDOUT = "holdout"
RECENT = timedelta(minutes=5)  # over which the speed of sending is measured
OPEN_BATCHES = ("planned", "sending", "submitted")


@dataclass(slots=True)
class Line:
    """One part of a run, such as a channel: people, of whom so many ended how.

    ``delivered``: personal messages that were accepted, and what the platform said of batches.
    ``guided``: people whose first click came after this message and before the next one.
    """

    name: str
    people: int = 0
    waiting: int = 0
    sent: int = 0
    failed: int = 0
    skipped: int = 0
    delivered: int = 0
    guided: int = 0
    slots: int = 0

    @property
    def handed_over(self) -> int:
        """Whom the platform was asked to send it to, whatever came of it."""
        return self.sent + self.failed

    @property
    def rate(self) -> float | None:
        """导量率: guided of the delivered."""
        return self.guided / self.delivered if self.delivered else None


@dataclass(frozen=True, slots=True)
class RunPicture:
    """One run of the chain. ``reasons``: (status, reason) -> people, adds up to ``audience``."""

    id: int
    number: int
    status: str
    reason: str | None
    due_at: datetime
    planned_at: datetime | None
    finished_at: datetime | None
    audience: int
    total: Line
    reasons: Mapping[tuple[str, str], int]
    channels: Sequence[Line]
    waves: Sequence[Line]
    groups: Sequence[Line]
    variants: Sequence[Line]
    open_batches: int
    winner: str | None
    decided_at: datetime | None
    decision: Mapping[str, Any] | None
    guard: Mapping[str, Any] | None
    next_at: datetime | None
    a_minute: float | None
    ends_at: datetime | None

    @property
    def holdout(self) -> int:
        return self.reasons.get(("skipped", HOLDOUT), 0)

    @property
    def planned(self) -> int:
        """The audience without those who are left in peace for comparison."""
        return self.audience - self.holdout

    @property
    def done(self) -> float:
        """Share of those to be sent to who have an outcome, 0 to 1."""
        to_send = self.total.handed_over + self.total.waiting
        return self.total.handed_over / to_send if to_send else 1.0

    @property
    def open(self) -> bool:
        return self.status in OPEN_RUNS


@dataclass(frozen=True, slots=True)
class Picture:
    """A campaign as it stands. ``runs``: the newest chain, first round to last; empty before the first run.

    ``guided``, ``reached_at``: since that chain began.
    """

    campaign: Campaign
    runs: Sequence[RunPicture]
    guided: int
    reached_at: datetime | None
    next_round: rounds.Round | None
    counted_at: datetime
    groups: Sequence[Line] = field(default_factory=tuple)

    @property
    def first(self) -> RunPicture | None:
        return self.runs[0] if self.runs else None

    @property
    def current(self) -> RunPicture | None:
        """The run that is at work, else the last one."""
        return next((run for run in self.runs if run.open), self.runs[-1] if self.runs else None)

    @property
    def delivered(self) -> int:
        """People: a follow-up reaches nobody whom the first round did not."""
        return self.runs[0].total.delivered if self.runs else 0

    @property
    def slots(self) -> int:
        return sum(run.total.slots for run in self.runs)

    @property
    def target(self) -> int | None:
        return (self.campaign.goal or {}).get("target")

    @property
    def open(self) -> bool:
        """Whether the page has something to wait for."""
        return any(run.open for run in self.runs) or self.next_round is not None


def picture(session: Session, campaign: Campaign, now: datetime) -> Picture:
    """How a campaign stands now."""
    account = accounts.by_id(session, campaign.account_id)
    root = _newest_root(session, campaign)
    chain = rounds.chain(session, root.id) if root is not None else []
    first_clicks = _first_reactions(session, campaign, [run.id for run in chain])
    runs = [_run(session, account, campaign, run, first_clicks, now) for run in chain]
    following = rounds.coming(session, chain[-1]) if chain else None
    return Picture(
        campaign=campaign,
        runs=runs,
        guided=_people(session, campaign, root),
        reached_at=_reached_at(session, campaign, root),
        next_round=following,
        counted_at=now,
        groups=_together(campaign, runs),
    )


def newest_run(session: Session, campaign: Campaign) -> Any | None:
    """The run an operator means: the newest that is at work, else the newest."""
    rows = session.execute(
        sa.select(campaign_runs)
        .where(campaign_runs.c.campaign_id == campaign.id)
        .order_by(campaign_runs.c.due_at.desc())
        .limit(50)
    ).all()
    return next((row for row in rows if row.status in OPEN_RUNS), rows[0] if rows else None)


def _newest_root(session: Session, campaign: Campaign) -> Any | None:
    return session.execute(
        sa.select(campaign_runs)
        .where(
            campaign_runs.c.campaign_id == campaign.id,
            campaign_runs.c.account_id == campaign.account_id,
            campaign_runs.c.parent_id.is_(None),
        )
        .order_by(campaign_runs.c.due_at.desc())
        .limit(1)
    ).one_or_none()


def _run(
    session: Session,
    account: Account,
    campaign: Campaign,
    run: Any,
    guided: Mapping[tuple[int, Any, Any, Any, Any], int],
    now: datetime,
) -> RunPicture:
    counted = session.execute(
        sa.select(
            deliveries.c.status,
            deliveries.c.reason,
            deliveries.c.channel,
            deliveries.c.wave,
            deliveries.c.group,
            deliveries.c.variant,
            sa.func.count().label("people"),
            sa.func.count(deliveries.c.slot).label("slots"),
        )
        .where(deliveries.c.run_id == run.id, deliveries.c.account_id == campaign.account_id)
        .group_by(
            deliveries.c.status,
            deliveries.c.reason,
            deliveries.c.channel,
            deliveries.c.wave,
            deliveries.c.group,
            deliveries.c.variant,
        )
    ).all()
    batches = session.execute(sa.select(mass_batches).where(mass_batches.c.run_id == run.id)).all()
    mine = {key[1:]: people for key, people in guided.items() if key[0] == run.id}
    total, parts = _lines(counted, batches, mine)
    reasons: Counter[tuple[str, str]] = Counter()
    for row in counted:
        reasons[row.status, (row.reason or "") if row.status == "skipped" else ""] += row.people
    speed = _speed(session, run, now) if run.status == "running" else None
    return RunPicture(
        id=run.id,
        number=run.round,
        status=run.status,
        reason=run.reason,
        due_at=run.due_at,
        planned_at=run.planned_at,
        finished_at=run.finished_at,
        audience=sum(reasons.values()),
        total=total,
        reasons=dict(sorted(reasons.items())),
        channels=_in_order(parts["channel"], rounds.channels(campaign, run.round)),
        waves=_in_order(parts["wave"]),
        groups=_in_order(parts["group"], [group["name"] for group in campaign.groups or ()]),
        variants=_in_order(parts["variant"], _variants(campaign)),
        open_batches=sum(batch.status in OPEN_BATCHES for batch in batches),
        winner=run.winner,
        decided_at=run.decided_at,
        decision=run.decision,
        guard=run.guard,
        next_at=_next_at(session, account, run, now),
        a_minute=speed,
        ends_at=now + timedelta(minutes=total.waiting / speed) if speed else None,
    )


def _lines(
    counted: Iterable[Any], batches: Iterable[Any], guided: Mapping[tuple[Any, ...], int]
) -> tuple[Line, Mapping[str, dict[str, Line]]]:
    """The whole, and its parts by channel, wave, group and variant."""
    total = Line("")
    parts: dict[str, dict[str, Line]] = {
        name: {} for name in ("channel", "wave", "group", "variant")
    }

    def places(channel: Any, wave: Any, group: Any, variant: Any) -> list[Line]:
        named = {"channel": channel, "wave": wave, "group": group, "variant": variant}
        return [total] + [
            parts[part].setdefault(str(value), Line(str(value)))
            for part, value in named.items()
            if value is not None
        ]

    for row in counted:
        # whoever was skipped belongs to a group, but was reached by no channel in no wave
        skipped = row.status == "skipped"
        channel, wave = (None, None) if skipped and not row.channel else (row.channel, row.wave)
        for line in places(channel, wave, row.group, None if skipped else row.variant):
            line.people += row.people
            line.slots += row.slots
            line.waiting += row.people if row.status == "planned" else 0
            line.sent += row.people if row.status == "sent" else 0
            line.failed += row.people if row.status in ("failed", "unknown") else 0
            line.skipped += row.people if skipped else 0
            line.delivered += row.people if row.status == "sent" and row.channel != MASS else 0
    for batch in batches:
        for line in places(MASS, batch.wave, batch.group, batch.variant):
            line.delivered += batch.sent or 0
    for key, people in guided.items():
        for line in places(*key):
            line.guided += people
    return total, parts


def _first_reactions(
    session: Session, campaign: Campaign, run_ids: Sequence[int]
) -> dict[tuple[int, Any, Any, Any, Any], int]:
    """(run, channel, wave, group, variant) -> people whose first reaction came after that message, their last one."""
    if not run_ids:
        return {}
    reaction = outcome.reactions(campaign).subquery()
    first = (
        sa.select(reaction.c.follower_id, sa.func.min(reaction.c.at).label("at"))
        .group_by(reaction.c.follower_id)
        .subquery()
    )
    rows = session.execute(
        sa.select(
            first.c.follower_id,
            deliveries.c.run_id,
            deliveries.c.channel,
            deliveries.c.wave,
            deliveries.c.group,
            deliveries.c.variant,
            deliveries.c.at,
        )
        .select_from(first.join(deliveries, deliveries.c.follower_id == first.c.follower_id))
        .where(
            deliveries.c.run_id.in_(run_ids),
            deliveries.c.status.in_(HANDED_OVER),
            # a batch is noted as sent a moment after the platform took it
            deliveries.c.at <= first.c.at,
        )
    )
    last: dict[int, Any] = {}
    for row in rows:
        known = last.get(row.follower_id)
        if known is None or known.at < row.at:
            last[row.follower_id] = row
    return dict(
        Counter(
            (row.run_id, row.channel, row.wave, row.group, row.variant) for row in last.values()
        )
    )


def _people(session: Session, campaign: Campaign, root: Any | None) -> int:
    reaction = _since(campaign, root)
    return int(
        session.execute(sa.select(sa.func.count(sa.distinct(reaction.c.follower_id)))).scalar_one()
    )


def _reached_at(session: Session, campaign: Campaign, root: Any | None) -> datetime | None:
    """When the goal was reached: the moment of the person who made it full."""
    target = (campaign.goal or {}).get("target")
    if not target:
        return None
    reaction = _since(campaign, root)
    first = sa.func.min(reaction.c.at).label("at")
    moments = sa.select(first).group_by(reaction.c.follower_id).order_by(first)
    return session.execute(moments.offset(target - 1).limit(1)).scalar()


def _since(campaign: Campaign, root: Any | None) -> sa.Subquery:
    """What counts towards the goal since the chain began: of one that repeats, not what came of earlier times."""
    reaction = outcome.reactions(campaign).subquery()
    if root is None:
        return reaction
    return sa.select(reaction).where(reaction.c.at >= root.due_at).subquery()


def _together(campaign: Campaign, runs: Sequence[RunPicture]) -> list[Line]:
    """Groups over all rounds: people and messages of the first, guided of all."""
    if not runs:
        return []
    found = {line.name: Line(**_values(line)) for line in runs[0].groups}
    for run in runs[1:]:
        for line in run.groups:
            if line.name in found:
                found[line.name].guided += line.guided
                found[line.name].slots += line.slots
    return list(found.values())


def _values(line: Line) -> dict[str, Any]:
    return {name: getattr(line, name) for name in Line.__slots__}


def _in_order(parts: Mapping[str, Line], names: Sequence[str] = ()) -> list[Line]:
    known = [parts[name] for name in names if name in parts]
    rest = [line for name, line in sorted(parts.items()) if name not in names]
    return known + rest


def _variants(campaign: Campaign) -> list[str]:
    return [arm["name"] for arm in (campaign.experiment or {}).get("variants", ())]


def _next_at(session: Session, account: Account, run: Any, now: datetime) -> datetime | None:
    """When something happens by itself next: the guard's look, or the next wave."""
    if run.status not in ("running", "waiting"):
        return None
    looks = guarding.next_look(session, run.id, account)
    coming = [at for at in (looks, *guarding.future_waves(run, now).values()) if at is not None]
    if run.next_wave_at is not None and run.next_wave_at > now:
        coming.append(run.next_wave_at)
    return min(coming) if coming else None


def _speed(session: Session, run: Any, now: datetime) -> float | None:
    """People a minute over the last five minutes; None where nobody was sent to in them."""
    since = now - RECENT
    people, first = session.execute(
        sa.select(sa.func.count(), sa.func.min(deliveries.c.at)).where(
            deliveries.c.run_id == run.id,
            deliveries.c.status.in_(HANDED_OVER),
            deliveries.c.at >= since,
        )
    ).one()
    if not people:
        return None
    minutes = max((now - first) / timedelta(minutes=1), 1 / 6)
    return float(people / minutes)


def guard_looks(run: RunPicture) -> list[Mapping[str, Any]]:
    """What the guard saw, newest first, each with its moment."""
    looks = list((run.guard or {}).get("looks", ()))
    return [{**look, "at": parse_moment(look["at"])} for look in reversed(looks)]
