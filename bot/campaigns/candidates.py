"""The audience of a run, page by page, with all that deciding about each follower needs. Only reads.

``read_plan`` reads once what is the same for everybody; ``next_page`` reads the next few thousand followers.
A follow-up (a run with a parent) takes its audience from whom the run before it reached.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property
from typing import Any

import sqlalchemy as sa

from bot import consents as consent_rows
from bot import content as contents
from bot import registry
from bot.accounts import Account
from bot.audiences import segments
from bot.audiences.index import Look
from bot.campaigns import budget, caps, definitions, experiment, holds
from bot.campaigns.caps import Caps
from bot.campaigns.definitions import Campaign
from bot.campaigns.reach import Candidate, Choice, Policy, choose
from bot.clock import month_of
from bot.db import Session
from bot.followers import LONG_WINDOWS
from bot.sql import unindexed
from bot.tables.campaigns import campaign_runs, deliveries, mass_ledger
from bot.tables.events import events
from bot.tables.followers import followers, reply_windows
from bot.tables.tracking import clicks, links

PAGE = 5000  # followers read and decided at once
MASS = "mass"
REST_WAVE = 1


@dataclass(frozen=True, slots=True)
class Split:
    """How people are divided: always the same for a person (``experiment.py``)."""

    person: str  # seed of the account-wide holdout
    holdout: str
    variant: str
    pace: str


@dataclass(frozen=True)
class Plan:
    """Everything deciding needs, read once for many pages."""

    account: Account
    campaign: Campaign
    content: Mapping[str, Any]
    audience: sa.ColumnElement[bool]
    channels: Sequence[Any]
    now: datetime
    month: str
    groups: Sequence[tuple[str | None, sa.ColumnElement[bool]]] = ()
    place: sa.ColumnElement[Any] = field(default_factory=sa.null)  # which of the groups
    number: int = 1  # the round
    chain: Sequence[int] = ()  # runs before a follow-up, the first one first
    contents: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    templates: Sequence[str] = ()
    caps: Caps = field(default_factory=lambda: Caps(0))
    policy: Policy = field(default_factory=Policy)
    held: Callable[[int], int] | None = None
    sets: Look | None = None  # what ``held`` was counted from
    split: Split = Split("", "", "", "")
    # the one call goes to a tag made for it, which only those wear who are to get it
    temporary_tag: bool = False

    @property
    def by_slots(self) -> bool:
        """Whether mass takes a slot of each follower: on service accounts."""
        allowed = budget.allowance(self.account.kind, self.account.verified)
        return allowed is not None and allowed.per_follower_and_month is not None

    @property
    def one_call(self) -> bool:
        """A subscription account's mass: one call a day, so nothing is sent in parts."""
        allowed = budget.allowance(self.account.kind, self.account.verified)
        names = [channel.NAME for channel in self.channels]
        return MASS in names and allowed is not None and not allowed.by_open_id

    @cached_property
    def to_all_at_once(self) -> bool:
        """One call to everybody or to a tag that is there already, which nobody can be left out of."""
        return self.one_call and not self.temporary_tag

    @property
    def holdout(self) -> tuple[float, float]:
        """Shares left out: account-wide and of this campaign. None in a follow-up: they got nothing before it."""
        if self.number > 1 or self.to_all_at_once:
            return 0.0, 0.0
        # what people asked for is not withheld from them for the sake of a measurement
        marketing = self.campaign.message_class == "marketing"
        return self.account.limits.holdout if marketing else 0.0, self.campaign.holdout or 0.0


def read_plan(
    session: Session,
    account: Account,
    campaign: Campaign,
    content: Mapping[str, Any],
    now: datetime,
    run: Any | None = None,
) -> Plan:
    """What is the same for the whole audience. ``run``: the run that is planned; None: a forecast of the first round.

    Raises:
        Refused: a segment does not exist.
    """
    known = registry.members("bot.channels")
    number = run.round if run is not None else 1
    names = campaign.channels_of(number)
    said = {name: campaign.content_for(name, None, number) for name in names}
    month = run.month if run is not None and run.month else month_of(now)
    seed = f"{account.slug}:{campaign.name}"
    bound = caps.read(session, account, campaign.message_class, names)
    plan = Plan(
        account=account,
        campaign=campaign,
        content=content,
        audience=sa.true(),
        channels=[known[name] for name in names],
        now=now,
        month=month,
        number=number,
        contents=said,
        temporary_tag=definitions.needs_temporary_tag(session, account, campaign),
        templates=_templates(campaign, said),
        caps=bound,
        policy=Policy(bound.limits),
        split=Split(
            f"holdout:{account.slug}", f"holdout:{seed}", f"variant:{seed}", f"pace:{seed}"
        ),
    )
    if run is not None and run.parent_id is not None:
        chain = chain_of(session, run)
        audience = follow_up_audience(account.id, campaign, chain, number)
        plan = replace(plan, audience=audience, chain=[one.id for one in chain])
    else:
        groups = [
            (name, segments.clause(session, account.id, _where(session, account.id, segment), now))
            for name, segment in campaign.group_segments()
        ]
        audience, place = _one_of(groups)
        plan = replace(plan, audience=audience, groups=groups, place=place)
    if MASS in names and plan.by_slots:
        look = Look(session, account.id, now, at_most=holds.AT_MOST)
        found = holds.holds(session, account.id, month, now, excluding=campaign.id, firm_look=look)
        if any(hold.protected and hold.people for hold in found):
            plan = replace(plan, held=holds.protected_counts(found), sets=look)
    return plan


def next_page(session: Session, plan: Plan, after: int, last: int) -> list[Candidate]:
    """The next page of the audience, by follower id: an OFFSET would read everything before it again."""
    rows = session.execute(_page(plan), {"after": after, "last": last, "page": PAGE}).all()
    if not rows:
        return []
    first, end = rows[0][0], rows[-1][0]
    windows = _windows(session, plan, first, end)
    slots_left = _slots_left(session, plan, first, end)
    recent = caps.recent(session, plan.caps, first, end, plan.now)
    permitted = _permitted(session, plan, first, end)
    groups = _groups_before(session, plan, first, end) if plan.chain else {}
    names = [name for name, _clause in plan.groups]
    in_holdout = _holdout(plan)
    held = plan.held
    all_slots = budget.left(0, 0)
    nothing: dict[str, int] = {}
    return [
        Candidate(
            follower_id,
            True,
            opted_out,
            windows.get(follower_id, ()),
            slots_left.get(follower_id, all_slots),
            in_holdout is not None and in_holdout(person),
            permitted.get(follower_id, nothing),
            held(follower_id) if held is not None else 0,
            recent.get(follower_id, nothing),
            names[place] if place is not None else groups.get(follower_id),
            person,
        )
        for follower_id, opted_out, person, place in rows
    ]


def _holdout(plan: Plan) -> Callable[[str], bool] | None:
    """Whether a person is left out for comparison, by the account's or the campaign's share; None: nobody is."""
    whole, own = plan.holdout
    if whole <= 0 and own <= 0:
        return None
    by_account = experiment.fractions(plan.split.person)
    by_campaign = experiment.fractions(plan.split.holdout)
    return lambda person: (
        (whole > 0 and by_account(person) < whole) or (own > 0 and by_campaign(person) < own)
    )


def decide(plan: Plan, candidate: Candidate) -> Choice:
    """The channel or the reason of one follower."""
    if plan.to_all_at_once:
        # Nobody can be left out of such a call, so the truth is that all of them get it.
        return Choice(channel=MASS)
    return choose(candidate, plan.channels, plan.policy, plan.content, plan.now, plan.contents)


def chain_of(session: Session, run: Any) -> list[Any]:
    """The runs before a follow-up, the first one first."""
    found: list[Any] = []
    parent_id = run.parent_id
    while parent_id is not None and len(found) < 100:
        row = session.execute(
            sa.select(
                campaign_runs.c.id, campaign_runs.c.parent_id, campaign_runs.c.created_at
            ).where(campaign_runs.c.id == parent_id)
        ).one()
        found.insert(0, row)
        parent_id = row.parent_id
    return found


def follow_up_audience(
    account_id: int, campaign: Campaign, chain: Sequence[Any], number: int
) -> sa.ColumnElement[bool]:
    """Whom the last run of the chain reached and the chain did not move, as a condition on followers.

    Whom that run left out for a cap, for want of a slot or for any other reason is left out from then on.
    ``not_clicked``: no clean click on a link of the campaign since the first of them began; ``not_converted``:
    the goal was not reached since then, which for a goal of clicks is the same.
    """
    began = chain[0].created_at
    reached = sa.exists().where(
        deliveries.c.run_id == chain[-1].id,
        deliveries.c.follower_id == followers.c.id,
        deliveries.c.status == "sent",
    )
    step = (campaign.follow_ups or ())[number - 2]
    goal = campaign.goal or {}
    if step.get("to") == "not_converted" and goal.get("metric") == "event":
        moved: sa.ColumnElement[bool] = sa.exists().where(
            events.c.follower_id == followers.c.id,
            events.c.account_id == account_id,
            events.c.kind == goal["event"],
            events.c.at >= began,
        )
    else:
        of_campaign = sa.select(links.c.id).where(links.c.campaign_id == campaign.id)
        moved = followers.c.id.in_(
            sa.select(clicks.c.follower_id).where(
                clicks.c.link_id.in_(of_campaign),
                clicks.c.clean,
                clicks.c.follower_id.is_not(None),
                clicks.c.at >= began,
            )
        )
    return sa.and_(
        followers.c.account_id == account_id,
        followers.c.subscribed.is_(sa.true()),
        reached,
        sa.not_(moved),
    )


def _one_of(
    groups: Sequence[tuple[str | None, sa.ColumnElement[bool]]],
) -> tuple[sa.ColumnElement[bool], sa.ColumnElement[Any]]:
    """(who is in any of the groups, the number of the first one).

    Of several groups a CASE rather than an OR: SQLite would answer each part of an OR by an index of its own, for
    all followers at once, and sort them.
    """
    clauses = [(clause, number) for number, (_name, clause) in enumerate(groups)]
    if len(clauses) == 1:
        return clauses[0][0], sa.literal(0)
    # which group asks about the last one no more: who is in none was not selected
    return (
        sa.case(*clauses).is_not(None),
        sa.case(*clauses[:-1], else_=clauses[-1][1]),
    )


def _where(session: Session, account_id: int, segment: str) -> Mapping[str, Any]:
    return segments.get(session, account_id, segment).where


def _templates(campaign: Campaign, said: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Templates of the notices a run sends where an accept is needed: the campaign's and its variants'."""
    found = [contents.template_of(said[name]) for name in said if name == contents.SUBSCRIPTION]
    return list(dict.fromkeys(found))


def _page(plan: Plan) -> sa.Select[Any]:
    splits = any(plan.holdout) or plan.campaign.experiment or plan.campaign.pace
    person = (
        sa.func.coalesce(followers.c.union_id, followers.c.open_id) if splits else sa.literal("")
    )
    return (
        sa.select(
            followers.c.id,
            followers.c.opted_out_at.is_not(None),
            person.label("person"),
            plan.place,
        )
        .where(
            followers.c.account_id == plan.account.id,
            followers.c.subscribed.is_(sa.true()),
            followers.c.id > sa.bindparam("after"),
            followers.c.id <= sa.bindparam("last"),
            plan.audience,
        )
        .order_by(followers.c.id)
        .limit(sa.bindparam("page"))
    )


def _windows(
    session: Session, plan: Plan, first: int, last: int
) -> dict[int, tuple[tuple[str, datetime, int], ...]]:
    if not any(channel.NAME == contents.CUSTOMER_SERVICE for channel in plan.channels):
        return {}
    rows = session.execute(
        sa.select(
            reply_windows.c.follower_id,
            reply_windows.c.opened_by,
            reply_windows.c.expires_at,
            reply_windows.c.left,
        ).where(
            reply_windows.c.follower_id.between(first, last),
            # by the followers of the page: an index of the account would read all windows at each page
            unindexed(reply_windows.c.account_id) == plan.account.id,
            reply_windows.c.opened_by.in_(LONG_WINDOWS),
            reply_windows.c.expires_at > plan.now,
            reply_windows.c.left > 0,
        )
    )
    found: dict[int, tuple[tuple[str, datetime, int], ...]] = {}
    for follower_id, *window in rows.all():
        found[follower_id] = (*found.get(follower_id, ()), tuple(window))
    return found


def _slots_left(session: Session, plan: Plan, first: int, last: int) -> dict[int, int]:
    """Of who has a row in the ledger."""
    if not plan.by_slots or not any(channel.NAME == MASS for channel in plan.channels):
        return {}
    rows = session.execute(
        sa.select(mass_ledger.c.follower_id, mass_ledger.c.reserved, mass_ledger.c.spent).where(
            mass_ledger.c.follower_id.between(first, last),
            mass_ledger.c.month == plan.month,
            unindexed(mass_ledger.c.account_id) == plan.account.id,
        )
    )
    return {row[0]: budget.left(row[1], row[2]) for row in rows.all()}


def _permitted(session: Session, plan: Plan, first: int, last: int) -> dict[int, dict[str, int]]:
    found: dict[int, dict[str, int]] = {}
    for template in plan.templates:
        for follower_id, left in consent_rows.left(
            session, plan.account.id, template, first, last
        ).items():
            found.setdefault(follower_id, {})[template] = left
    return found


def _groups_before(session: Session, plan: Plan, first: int, last: int) -> dict[int, str | None]:
    """The group each follower had in the runs before a follow-up: it is counted there again."""
    rows = session.execute(
        sa.select(deliveries.c.follower_id, sa.func.max(deliveries.c.group))
        .where(
            deliveries.c.run_id.in_(list(plan.chain)),
            deliveries.c.follower_id.between(first, last),
        )
        .group_by(deliveries.c.follower_id)
    )
    return {row[0]: row[1] for row in rows}
