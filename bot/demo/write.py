"""Writes what the demo brand did before it opens: past campaigns, the ledger of slots, consents, who left."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from bot import operators
from bot.accounts import Account
from bot.campaigns import definitions, funnel
from bot.campaigns.waves import CANARY_WAVE, REST_WAVE
from bot.clock import month_of
from bot.db import Session
from bot.demo.history import Leaver, Past, Stop
from bot.demo.population import Person
from bot.tables.accounts import templates
from bot.tables.campaigns import (
    campaign_runs,
    campaigns,
    deliveries,
    mass_batches,
    mass_ledger,
)
from bot.tables.events import events
from bot.tables.followers import consent_entries, consents, followers, reply_windows
from bot.tables.tracking import clicks, links

TEMPLATE = "demo_activity_begins"  # 活动开始提醒
TEMPLATE_CONTENT = "活动名称：{{thing1.DATA}}\n开始时间：{{time2.DATA}}\n温馨提示：{{thing3.DATA}}"
REPLY_WINDOW = timedelta(hours=48)  # Source: docs/wechat-limits.md 9 (read 2026-11)
MESSAGES = 5
FINISHES = timedelta(minutes=12)  # a mass message is out so long after it was submitted


def leavers(session: Session, account_id: int, left: Sequence[Leaver]) -> dict[str, int]:
    """Followers who left, with the two events of their stay; their ids by OpenID."""
    if not left:
        return {}
    session.execute(
        sa.insert(followers),
        [
            {
                "account_id": account_id,
                "open_id": one.open_id,
                "subscribed": False,
                "subscribed_at": one.followed_at,
                "unsubscribed_at": one.left_at,
                "first_seen_at": one.followed_at,
                "last_active_at": one.left_at,
                "first_source": one.scene or "ADD_SCENE_SEARCH",
                "first_scene": one.scene or None,
                "last_scene": one.scene or None,
                "fields": {},
                "messages": 0,
                "tester": False,
            }
            for one in left
        ],
    )
    ids = _ids(session, account_id, [one.open_id for one in left])
    rows = []
    for one in left:
        for kind, key, at in (
            ("subscribe", one.scene or None, one.followed_at),
            ("unsubscribe", None, one.left_at),
        ):
            rows.append(
                {
                    "account_id": account_id,
                    "follower_id": ids[one.open_id],
                    "kind": kind,
                    "key": key,
                    "at": at,
                }
            )
    session.execute(sa.insert(events), rows)
    return ids


def windows(
    session: Session, account_id: int, everybody: Iterable[Person], ids: Mapping[str, int]
) -> None:
    """Who wrote within the last day may be written to for the rest of 48 hours."""
    rows = [
        {
            "follower_id": ids[person.open_id],
            "opened_by": "message",
            "account_id": account_id,
            "opened_at": person.wrote_at,
            "expires_at": person.wrote_at + REPLY_WINDOW,
            "left": MESSAGES,
        }
        for person in everybody
        if person.open and person.wrote_at
    ]
    session.execute(sa.insert(reply_windows), rows)


def notices(
    session: Session,
    account_id: int,
    everybody: Iterable[Person],
    ids: Mapping[str, int],
    now: datetime,
) -> None:
    """The notice 活动开始提醒 and who asked for it, once each."""
    session.execute(
        sa.insert(templates).values(
            account_id=account_id,
            kind="subscription",
            template_id=TEMPLATE,
            title="活动开始提醒",
            content=TEMPLATE_CONTENT,
            example="",
            long_term=False,
            read_at=now,
        )
    )
    asked = [ids[person.open_id] for person in everybody if person.role.way == "consent"]
    if not asked:
        return
    at = now - timedelta(days=1)
    session.execute(
        sa.insert(consents),
        [
            {
                "follower_id": follower_id,
                "template_id": TEMPLATE,
                "account_id": account_id,
                "accepted": 1,
                "changed_at": at,
            }
            for follower_id in asked
        ],
    )
    session.execute(
        sa.insert(consent_entries),
        [
            {
                "account_id": account_id,
                "follower_id": follower_id,
                "template_id": TEMPLATE,
                "change": 1,
                "cause": "popup",
                "at": at,
            }
            for follower_id in asked
        ],
    )


def past(
    session: Session, account: Account, told: Sequence[Past], ids: Mapping[str, int], now: datetime
) -> None:
    """Past campaigns as if they had been sent by us, and the slots they cost."""
    charged: dict[str, Counter[int]] = defaultdict(Counter)
    for one in told:
        month = month_of(one.at)
        charged[month].update(ids[open_id] for open_id in one.people)
        _one(session, account, one, ids, now)
    for month, counts in charged.items():
        session.execute(
            sa.insert(mass_ledger),
            [
                {
                    "follower_id": follower_id,
                    "month": month,
                    "account_id": account.id,
                    "reserved": 0,
                    "spent": spent,
                    "external": 0,
                }
                for follower_id, spent in sorted(counts.items())
            ],
        )


def _one(
    session: Session, account: Account, one: Past, ids: Mapping[str, int], now: datetime
) -> None:
    planned = len(one.people) + len(one.stop.spared if one.stop else ())
    campaign = definitions.save(session, account, one.document, one.at, by="demo")
    session.execute(
        sa.update(campaigns)
        .where(campaigns.c.id == campaign.id)
        .values(
            status="archived" if one.stop else "finished",
            approved_people=planned,
            approved_slots=planned,
            approved_hash=definitions.content_hash(campaign),
            approved_by=["小林", "周姐"],
            approved_at=one.at - timedelta(hours=3),
        )
    )
    ended = {"status": "finished", "finished_at": one.at + FINISHES}
    if one.stop:
        ended = {
            "status": "cancelled",
            "reason": "by_operator",
            "finished_at": one.stop.cancelled_at,
            "guard": one.stop.state,
        }
    run_id = session.execute(
        sa.insert(campaign_runs)
        .values(
            account_id=account.id,
            campaign_id=campaign.id,
            due_at=one.at,
            content=dict(campaign.content),
            month=month_of(one.at),
            planned_to=max(ids.values()),
            last_follower_id=max(ids.values()),
            created_at=one.at,
            planned_at=one.at,
            **ended,
        )
        .returning(campaign_runs.c.id)
    ).scalar_one()
    follower_ids = sorted(ids[open_id] for open_id in one.people)
    batches = [
        _batch(session, account.id, run_id, one, number, len(piece))
        for number, piece in enumerate(_pieces(follower_ids), 1)
    ]
    session.execute(
        sa.insert(deliveries),
        [
            {
                "account_id": account.id,
                "run_id": run_id,
                "follower_id": follower_id,
                "status": "sent",
                "channel": "mass",
                "wave": CANARY_WAVE if one.stop else REST_WAVE,
                "batch_id": batch_id,
                "queued_at": one.at,
                "slot": "spent",
                "month": month_of(one.at),
                "at": one.at,
            }
            for batch_id, piece in zip(batches, _pieces(follower_ids), strict=True)
            for follower_id in piece
        ],
    )
    if one.stop:
        _stopped(session, account.id, campaign.name, run_id, one.stop, ids)
    _results(session, account.id, campaign.id, run_id, one, ids, now)


def _stopped(
    session: Session,
    account_id: int,
    name: str,
    run_id: int,
    stop: Stop,
    ids: Mapping[str, int],
) -> None:
    """Who was spared, and what the log says of it."""
    session.execute(
        sa.insert(deliveries),
        [
            {
                "account_id": account_id,
                "run_id": run_id,
                "follower_id": follower_id,
                "status": "skipped",
                "reason": "cancelled",
                "channel": "mass",
                "wave": REST_WAVE,
                "at": stop.cancelled_at,
            }
            for follower_id in sorted(ids[open_id] for open_id in stop.spared)
        ],
    )
    for action, at in (
        ("campaign.cancel", stop.cancelled_at),
        ("campaign.archive", stop.cancelled_at + timedelta(minutes=5)),
    ):
        operators.audit(
            session, action, f"campaign:{name}", operator="周姐", now=at, account_id=account_id
        )


def _pieces(follower_ids: Sequence[int]) -> list[Sequence[int]]:
    """At most 10,000 a call. Source: docs/wechat-limits.md 8 (read 2026-11)."""
    return [follower_ids[start : start + 10_000] for start in range(0, len(follower_ids), 10_000)]


def _batch(
    session: Session, account_id: int, run_id: int, one: Past, number: int, size: int
) -> int:
    missing = len(one.people) - one.delivered if number == 1 else 0
    return int(
        session.execute(
            sa.insert(mass_batches)
            .values(
                account_id=account_id,
                run_id=run_id,
                wave=CANARY_WAVE if one.stop else REST_WAVE,
                number=number,
                target="open_ids",
                client_msg_id=f"demo-{run_id}-{number}",
                size=size,
                month=month_of(one.at),
                status="finished",
                msg_id=str(3_000_000_000 + run_id * 10 + number),
                submitted_at=one.at,
                finished_at=one.at + FINISHES,
                result="send success",
                total=size,
                filtered=size - missing,
                sent=size - missing,
                errors=0,
                shortfall=missing,
            )
            .returning(mass_batches.c.id)
        ).scalar_one()
    )


def _results(
    session: Session,
    account_id: int,
    campaign_id: int,
    run_id: int,
    one: Past,
    ids: Mapping[str, int],
    now: datetime,
) -> None:
    link_id = session.execute(
        sa.select(links.c.id).where(links.c.campaign_id == campaign_id)
    ).scalar_one()
    name = one.document["name"]
    rows: list[dict[str, Any]] = []
    clicked = []
    for number, open_id in enumerate(one.guided):
        at = one.at + timedelta(minutes=20 + number % 1200)
        clicked.append(
            {
                "account_id": account_id,
                "link_id": link_id,
                "follower_id": ids[open_id],
                "at": at,
                "clean": True,
            }
        )
        rows.append(_event(account_id, ids[open_id], "click", "go", at, {"link": link_id}))
        goal = f"goal:{campaign_id}:{ids[open_id]}"
        rows.append(_event(account_id, ids[open_id], "goal", name, at, None, goal))
    for kind, who in one.deeds:
        at = one.at + timedelta(hours=22)
        rows += [_event(account_id, ids[open_id], kind, name, at) for open_id in who]
    session.execute(sa.insert(clicks), clicked)
    session.execute(sa.insert(events), rows)
    # what the sender records for each message it put out
    sent = sa.select(
        sa.literal(account_id),
        deliveries.c.follower_id,
        sa.literal("campaign_sent"),
        sa.literal(name),
        deliveries.c.at,
        sa.literal("campaign_sent:") + sa.cast(deliveries.c.id, sa.Text),
    ).where(deliveries.c.run_id == run_id)
    session.execute(
        sa.insert(events).from_select(
            ["account_id", "follower_id", "kind", "key", "at", "source_key"], sent
        )
    )
    campaign = definitions.by_id(session, campaign_id)
    funnel.enter_readers(session, campaign, one.reads, now)


def _event(
    account_id: int,
    follower_id: int,
    kind: str,
    key: str | None,
    at: datetime,
    data: Mapping[str, Any] | None = None,
    source_key: str | None = None,
) -> dict[str, Any]:
    return {
        "account_id": account_id,
        "follower_id": follower_id,
        "kind": kind,
        "key": key,
        "data": data,
        "at": at,
        "source_key": source_key,
    }


def _ids(session: Session, account_id: int, open_ids: Sequence[str]) -> dict[str, int]:
    rows = session.execute(
        sa.select(followers.c.open_id, followers.c.id).where(
            followers.c.account_id == account_id, followers.c.open_id.in_(open_ids)
        )
    )
    return {row.open_id: row.id for row in rows}
