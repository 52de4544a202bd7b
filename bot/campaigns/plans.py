"""Plans (推广方案) that are still being written: the campaign's document, possibly incomplete, with a version.

The wizard saves every step here; ``submit`` makes a campaign of it that waits for approval. What a finished
document may say is ``document.py``; files of it are ``plan_files.py``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from bot.accounts import Account
from bot.campaigns import definitions, document
from bot.campaigns.definitions import Campaign
from bot.db import Session
from bot.errors import Invalid, Refused
from bot.tables.campaigns import campaigns, plans

Json = dict[str, Any]
FACTORS = ("participation", "benefit", "strength", "time", "path")  # S0-07
STEPS = 5
LONGEST_NAME = 60
# Words of the five factors that point to a burst: it asks for little, gives something at once, and ends soon.
# Source: our reading of article 000; the page says which of them were found.
QUICK_WORDS = ("留言", "评论", "转发", "点赞", "点击", "扫码", "回复", "投票", "签到", "抢", "一键")
STRONG_WORDS = ("免费", "券", "立减", "半价", "秒杀", "礼", "元", "折", "抽", "送", "红包")
SHORT_DAYS, BURST_DAYS = 7, (3, 5)


class SavedBetween(Refused):
    """Somebody else saved the plan since it was opened."""

    def __init__(self, theirs: "Plan") -> None:
        super().__init__("somebody else changed this plan while you were editing it")
        self.theirs = theirs


@dataclass(frozen=True, slots=True)
class Plan:
    """One plan as stored. ``step``: how far it came, 1 to 5; ``campaign_id``: what became of it."""

    id: int
    document: Json
    step: int
    version: int
    campaign_id: int | None
    created_by: str
    created_at: datetime
    changed_by: str
    changed_at: datetime
    archived_at: datetime | None

    @property
    def name(self) -> str:
        return str(self.document.get("name") or "")

    @property
    def brief(self) -> Json:
        found = self.document.get("brief")
        return found if isinstance(found, dict) else {}


@dataclass(frozen=True, slots=True)
class Burst:
    """Whether an activity bursts: much of its result within days. ``None``: the factors do not say yet."""

    verdict: bool | None
    days: int | None
    quick: tuple[str, ...]  # words of the way to take part that make it easy
    strong: tuple[str, ...]  # words of the benefit that pull


def create(
    session: Session, account_id: int, given: Mapping[str, Any], now: datetime, *, by: str
) -> int:
    """A new plan; its id.

    Raises:
        Invalid: a part of it is not of its kind, such as a number where a list belongs.
    """
    document.check_shape(given)
    return int(
        session.execute(
            sa.insert(plans)
            .values(
                account_id=account_id,
                document=dict(given),
                step=1,
                version=1,
                created_by=by,
                created_at=now,
                changed_by=by,
                changed_at=now,
            )
            .returning(plans.c.id)
        ).scalar_one()
    )


def find(session: Session, account_id: int, plan_id: int) -> Plan | None:
    """One of the account's plans, also when it was put away."""
    row = session.execute(
        sa.select(plans).where(plans.c.account_id == account_id, plans.c.id == plan_id)
    ).one_or_none()
    return _plan(row) if row is not None else None


def of_campaign(session: Session, account_id: int, campaign_id: int) -> Plan | None:
    """The plan a campaign came from; None for one that was written otherwise."""
    row = session.execute(
        sa.select(plans)
        .where(plans.c.account_id == account_id, plans.c.campaign_id == campaign_id)
        .order_by(plans.c.id.desc())
        .limit(1)
    ).one_or_none()
    return _plan(row) if row is not None else None


def every(session: Session, account_id: int, *, archived: bool = False) -> list[Plan]:
    """The plans in use, or those put away, the last changed first."""
    away = plans.c.archived_at.is_not(None) if archived else plans.c.archived_at.is_(None)
    rows = session.execute(
        sa.select(plans)
        .where(plans.c.account_id == account_id, away)
        .order_by(plans.c.changed_at.desc(), plans.c.id.desc())
    )
    return [_plan(row) for row in rows]


def save(
    session: Session,
    account_id: int,
    plan_id: int,
    given: Mapping[str, Any],
    now: datetime,
    *,
    version: int,
    step: int,
    by: str,
    unasked: bool = False,
) -> Plan:
    """Store what was written; the same again changes nothing. ``step``: as far as the writer came.

    ``unasked``: the page saved by itself while somebody types. That makes no new version of what they saved
    last themselves, so that the button they press meanwhile is not refused; over somebody else's it does.

    Raises:
        SavedBetween: somebody else saved since ``version``.
        Refused: there is no such plan.
        Invalid: as ``create``.
    """
    document.check_shape(given)
    before = find(session, account_id, plan_id)
    if before is None:
        raise Refused(f"there is no plan {plan_id}")
    furthest = max(before.step, min(STEPS, max(1, step)))
    if dict(given) == before.document and furthest == before.step:
        return before
    changed = session.execute(
        sa.update(plans)
        .where(plans.c.account_id == account_id, plans.c.id == plan_id, plans.c.version == version)
        .values(
            document=dict(given),
            step=furthest,
            version=version + (not unasked or before.changed_by != by),
            changed_by=by,
            changed_at=now,
        )
    ).rowcount
    after = find(session, account_id, plan_id)
    assert after is not None
    if not changed:
        raise SavedBetween(after)
    return after


def check_moves(plan: Plan) -> None:
    """Raises:
    Refused: the plan was made to repeat since it was handed in, so it has no one day to move.
    """
    if plan.document.get("repeat"):
        raise Refused(
            f"the plan '{plan.name}' was changed to repeat since: change its time in the plan and hand it in"
        )


def move(
    session: Session, account_id: int, plan: Plan, at: datetime, now: datetime, *, by: str
) -> Plan:
    """Give a plan the time its campaign was moved to, so that handing it in again does not move it back.

    Raises:
        Refused: it repeats.
        SavedBetween: somebody else saved it meanwhile.
    """
    check_moves(plan)
    given = sent_at(plan.document, at)
    return save(
        session, account_id, plan.id, given, now, version=plan.version, step=plan.step, by=by
    )


def sent_at(given: Mapping[str, Any], at: datetime) -> Json:
    """A document that is sent once, at a moment: no longer as soon as possible."""
    found = {**given, "at": at.isoformat()}
    if (given.get("brief") or {}).get("when"):
        found["brief"] = {**given["brief"], "when": ""}
    return found


def archive(session: Session, account_id: int, plan_id: int, now: datetime | None) -> None:
    """Put a plan away; ``now`` None takes it back."""
    session.execute(
        sa.update(plans)
        .where(plans.c.account_id == account_id, plans.c.id == plan_id)
        .values(archived_at=now)
    )


def submit(
    session: Session, account: Account, plan_id: int, now: datetime, *, by: str, version: int
) -> Campaign:
    """Make the campaign of a plan, or bring it up to date, and let it wait for approval.

    Raises:
        Invalid: the document is not finished, or names what is not there.
        SavedBetween: somebody else saved since ``version``.
        Refused: a campaign of this name exists that is not this plan's, or a run of it is under way.
    """
    plan = find(session, account.id, plan_id)
    if plan is None:
        raise Refused(f"there is no plan {plan_id}")
    if plan.version != version:
        raise SavedBetween(plan)
    wrong = problems(plan.document)
    if wrong:
        raise Invalid(*wrong[0])
    wanted = document.parse({**plan.document, "status": "draft"})
    _rename(session, account.id, plan, wanted["name"])
    campaign = definitions.save(session, account, wanted, now, by=by)
    definitions.check_sendable(session, account, campaign)
    session.execute(
        sa.update(campaigns)
        .where(campaigns.c.id == campaign.id)
        .values(submitted_at=now, submitted_by=by)
    )
    session.execute(
        sa.update(plans).where(plans.c.id == plan.id).values(campaign_id=campaign.id, step=STEPS)
    )
    return definitions.by_id(session, campaign.id)


def _rename(session: Session, account_id: int, plan: Plan, name: str) -> None:
    """The plan's own campaign takes the new name; another one of that name is not written over."""
    taken = session.execute(
        sa.select(campaigns.c.id).where(
            campaigns.c.account_id == account_id, campaigns.c.name == name
        )
    ).scalar()
    if taken is not None and taken != plan.campaign_id:
        raise Refused(f"a campaign named '{name}' exists already")
    if plan.campaign_id is not None and taken is None:
        old = definitions.by_id(session, plan.campaign_id).name
        definitions.rename(session, account_id, old, name)


def problems(given: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What keeps a plan from becoming a campaign, as (dotted place, sentence)."""
    missing = [(f"brief.{name}", "Field required") for name in missing_factors(given)]
    return [*missing, *document.problems({**given, "status": "draft"})]


def missing_factors(given: Mapping[str, Any]) -> list[str]:
    """Those of the five factors that are not filled in: nothing else goes on without them."""
    brief = given.get("brief") or {}
    return [name for name in FACTORS if not str(brief.get(name) or "").strip()]


def burst(brief: Mapping[str, Any], begins: datetime | None, ends: datetime | None) -> Burst:
    """Whether the activity bursts, from its factors: easy to take part in, a benefit at once, a short time.

    Two of the three make a burst. The time is from its dates, else it is not known.
    """
    way = f"{brief.get('participation') or ''} {brief.get('path') or ''}"
    gain = f"{brief.get('benefit') or ''} {brief.get('strength') or ''}"
    quick = tuple(word for word in QUICK_WORDS if word in way)
    strong = tuple(word for word in STRONG_WORDS if word in gain)
    days = max(1, (ends - begins).days + 1) if begins and ends and ends >= begins else None
    if not way.strip() or not gain.strip():
        return Burst(None, days, quick, strong)
    signs = [bool(quick), bool(strong), days is not None and days <= SHORT_DAYS]
    return Burst(sum(signs) >= 2, days, quick, strong)


def without_empty(given: Mapping[str, Any]) -> Json:
    """A document without what says nothing: empty texts, lists and mappings."""
    found: Json = {}
    for key, value in given.items():
        kept = without_empty(value) if isinstance(value, Mapping) else value
        if kept not in (None, "", [], {}):
            found[key] = kept
    return found


def names(listed: Sequence[Plan]) -> set[str]:
    """Names that are taken by plans."""
    return {plan.name for plan in listed if plan.name}


def free_name(session: Session, account_id: int, wanted: str) -> str:
    """``wanted``, or with a number behind it where a campaign or plan has that name."""
    of_campaigns = sa.select(campaigns.c.name).where(campaigns.c.account_id == account_id)
    taken = names(every(session, account_id)) | set(session.execute(of_campaigns).scalars())
    name, number = wanted[:LONGEST_NAME], 2
    while name in taken:
        name = f"{wanted[: LONGEST_NAME - 4]} {number}"
        number += 1
    return name


def _plan(row: Any) -> Plan:
    return Plan(
        row.id,
        dict(row.document),
        row.step,
        row.version,
        row.campaign_id,
        row.created_by,
        row.created_at,
        row.changed_by,
        row.changed_at,
        row.archived_at,
    )


def check_name(name: str) -> None:
    """Raises:
    Invalid: a plan needs a name of 1 to 60 characters before anything else is saved.
    """
    if not name.strip():
        raise Invalid("name", "String should have at least 1 character")
    if len(name) > LONGEST_NAME:
        raise Invalid("name", f"String should have at most {LONGEST_NAME} characters")
