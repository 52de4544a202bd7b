"""One of everything that an account can have, so that walks over all pages find them with content."""

from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from pyroaring import BitMap

from bot import articles, db
from bot.audiences import segments
from bot.campaigns import definitions, plans, playbooks
from bot.campaigns.definitions import Campaign
from bot.clock import day_of, local, month_of
from bot.tables.accounts import api_calls, api_quotas, media, outgoing, templates
from bot.tables.audiences import segment_sizes
from bot.tables.campaigns import (
    allocation_places,
    allocations,
    campaigns,
    external_mass_sends,
    mass_batches,
    mass_ledger,
    past_activities,
)
from bot.tables.followers import consent_entries, consents
from bot.tables.inbox import canned_answers, inbound
from bot.tables.jobs import jobs
from bot.tables.operators import webhooks
from bot.tables.tracking import clicks, links
from tests import factories
from tests.bot.campaigns import makers

Json = dict[str, Any]


def one_of_everything(session: db.Session, account_id: int, now: datetime) -> None:
    """Rows of an account, each the first of its table, so that their id is 1."""
    follower_id = factories.make_follower(session, account_id, now=now)
    tag_id = factories.make_tag(session, account_id, "B")
    assert (follower_id, tag_id) == (1, 1)
    factories.give_tag(session, account_id, follower_id, tag_id, now=now)
    for table, values in (
        (
            inbound,
            {"dedupe_key": "1", "kind": "image", "message": {}, "sent_at": now,
             "received_at": now, "status": "done", "follower_id": 1},
        ),
        (canned_answers, {"title": "B", "text": "B", "position": 1}),
        (
            jobs,
            {"name": "plan", "arguments": {}, "run_at": now, "state": "dead", "tries": 1,
             "created_at": now, "finished_at": now},
        ),
        (
            webhooks,
            {"url": "https://b.example", "secret": "x", "events": {"kinds": ["message"]}, "active": True,
             "position": 0, "created_by": "B", "created_at": now},
        ),
        (
            api_quotas,
            {"api": "/cgi-bin/message/custom/send", "daily_limit": 500_000, "used": 3, "counted": 3, "said_at": now},
        ),
        (
            api_calls,
            {"day": day_of(now), "api": "/cgi-bin/message/custom/send", "priority": "campaign", "calls": 3,
             "refused": 1, "held": 1},
        ),
    ):  # fmt: skip
        session.execute(sa.insert(table).values(account_id=account_id, **values))
    reach(session, account_id, [follower_id], now, tag="B")


def document(now: datetime, **more: Any) -> Json:
    """A campaign that uses everything a campaign can say."""
    return {
        "name": "B",
        "groups": [{"name": "常来", "segment": "B", "rate": 0.2}, {"name": "其余", "segment": "everyone"}],
        "at": local(now + timedelta(days=3)).isoformat(),
        "channels": ["customer_service", "mass"],
        "content": {"text": "请你喝奶茶：{link:go}"},
        "contents": {"mass": {"text": "群发：请你喝奶茶"}},
        "links": {"go": "https://b.example/go"},
        "goal": {"metric": "guided", "target": 10},
        "experiment": {
            "of": "content",
            "variants": [{"name": "A", "content": {"text": "甲"}}, {"name": "B", "content": {"text": "乙"}}],
        },
        "holdout": 0.1,
        "pace": {"batches": 2, "every": "30m"},
        "follow_ups": [
            {"after": "48h", "to": "not_clicked", "channels": ["mass"], "content": {"text": "最后一天"}}
        ],
        "after": {"wait": "72h", "clicked": "B"},
        "brief": {
            "participation": "留言", "benefit": "8 元券", "strength": "人人有", "time": "三天",
            "path": "点链接", "owner": "B",
        },
        "worth": {"click": 1.0, "protect": True},
        **more,
    }  # fmt: skip


def reach(
    session: db.Session, account_id: int, people: list[int], now: datetime, *, tag: str
) -> None:
    """Campaigns and all around them, each the first of its table. ``people`` got the first run, the first clicked."""
    month, first = month_of(now), people[0]
    segment_id = segments.save(session, account_id, "B", {"tag": {"has": tag}}, now)
    segments.save(session, account_id, "everyone", {"all": []}, now)
    told = document(now, after={"wait": "72h", "clicked": tag})
    given = {key: told[key] for key in _columns() if key in told}
    campaign_id = makers.make_campaign(
        session, account_id, now=now, segment="B", status="scheduled",
        schedule={"at": told["at"]}, next_due_at=now + timedelta(days=3),
        **{key: value for key, value in given.items() if key not in ("segment", "schedule", "status")},
    )  # fmt: skip
    campaign = definitions.by_id(session, campaign_id)
    _run(session, account_id, campaign_id, people, now - timedelta(days=1))
    link_id = session.execute(
        sa.insert(links)
        .values(
            account_id=account_id, campaign_id=campaign_id, name="go",
            target="https://b.example/go", created_at=now,
        )
        .returning(links.c.id)
    ).scalar_one()  # fmt: skip
    session.execute(
        sa.insert(clicks).values(
            account_id=account_id, link_id=link_id, follower_id=first, at=now, clean=True
        )
    )
    plan_id = plans.create(session, account_id, told | {"name": "B 的方案"}, now, by="B")
    playbook = playbooks.save(session, account_id, "B", told, now, by="B", note="好用")
    article_id = articles.create(
        session,
        account_id,
        {"title": "B", "html": "<p>好</p>", "cover": {"file": "b.png"}},
        now,
        by="B",
    )
    division = _division(session, account_id, campaign, people, now)
    assert {segment_id, campaign_id, link_id, plan_id, playbook.id, article_id, division} == {1}
    day = day_of(now)
    for table, values in (
        (segment_sizes, {"segment_id": segment_id, "day": day, "size": len(people)}),
        (
            past_activities,
            {"name": "去年", "kind": "券", "delivered": 6000, "guided": 1410, "day": day,
             "created_by": "B", "created_at": now},
        ),
        (
            external_mass_sends,
            {"source": "event", "msg_id": "1", "audience": "unknown", "times": 1, "month": month, "at": now,
             "total": 10, "sent": 9},
        ),
        (
            media,
            {"kind": "image", "name": "b.png", "sha256": "0" * 64, "data": b"\x89PNG\r\n\x1a\n", "size": 8,
             "created_at": now, "created_by": "B"},
        ),
        (
            templates,
            {"kind": "template", "template_id": "B" * 43, "title": "到账提醒", "content": "{{thing1.DATA}}",
             "example": "券", "read_at": now},
        ),
        (consents, {"follower_id": first, "template_id": "B" * 43, "accepted": 1, "changed_at": now}),
        (
            consent_entries,
            {"follower_id": first, "template_id": "B" * 43, "change": 1, "cause": "accept", "at": now},
        ),
        (
            outgoing,
            {"url": "https://b.example/sms", "secret": "x", "together": 1, "open_id": False, "fields": [],
             "changed_by": "B", "changed_at": now},
        ),
    ):  # fmt: skip
        session.execute(sa.insert(table).values(account_id=account_id, **values))
    for who in people:
        session.execute(
            sa.insert(mass_ledger).values(
                account_id=account_id, follower_id=who, month=month, reserved=0, spent=2, external=1
            )
        )


def _columns() -> set[str]:
    return {column.name for column in campaigns.columns} - {"id", "account_id"}


def _run(
    session: db.Session, account_id: int, campaign_id: int, people: list[int], at: datetime
) -> None:
    """A run that is over, with a decided experiment and a batch, and its second wave that was paused."""
    month = month_of(at)
    run_id = makers.make_run(
        session, account_id, campaign_id, now=at, status="finished", planned_at=at, finished_at=at,
        winner="A", decided_at=at,
        decision={"arms": [{"name": "A", "delivered": 2, "hits": 1}, {"name": "B", "delivered": 2, "hits": 0}],
                  "reason": "by_hand"},
    )  # fmt: skip
    batch_id = session.execute(
        sa.insert(mass_batches)
        .values(
            account_id=account_id, run_id=run_id, wave=1, number=1, group="常来", variant="A", target="open_ids",
            client_msg_id=f"b{account_id}", size=len(people), month=month, status="finished", msg_id="9",
            submitted_at=at, finished_at=at, result="send success", total=len(people), sent=len(people), errors=0,
        )
        .returning(mass_batches.c.id)
    ).scalar_one()  # fmt: skip
    second = makers.make_run(
        session, account_id, campaign_id, now=at, due_at=at + timedelta(hours=48, seconds=2), parent_id=run_id,
        round=2, status="paused", reason="guard", planned_at=at,
    )  # fmt: skip
    for number, who in enumerate(people):
        makers.make_delivery(
            session, account_id, run_id, who, status="sent", batch_id=batch_id, group="常来",
            variant="AB"[number % 2], slot="spent", month=month, queued_at=at, at=at,
        )  # fmt: skip
        makers.make_delivery(
            session,
            account_id,
            second,
            who,
            status="skipped",
            reason="holdout",
            channel=None,
            at=at,
        )


def _division(
    session: db.Session, account_id: int, campaign: Campaign, people: list[int], now: datetime
) -> int:
    month = month_of(now)
    line = {
        "campaign_id": campaign.id, "name": campaign.name, "at": now.isoformat(), "wanted": 1, "people": len(people),
        "clicks": 0.5, "rate": 0.2, "click": 1.0, "protected": True, "short": False,
    }  # fmt: skip
    choice = {
        "campaign_id": campaign.id, "rate": None, "click": 1.0, "least": 0, "most": None, "kind": "",
    }  # fmt: skip
    figures = {
        "settings": {"month": month, "choices": [choice], "follower_worth": 2.0, "risk": None, "gap_days": 0,
                     "per_kind": 0},
        "risk": 0.001, "campaigns": [line], "total": 0.5, "bound": 0.5, "exact": True, "clicks": 0.5,
        "slots": len(people), "everybody": len(people),
        "habit": {"total": 0.4, "clicks": 0.4, "slots": 1, "campaigns": [line]},
    }  # fmt: skip
    allocation_id = int(
        session.execute(
            sa.insert(allocations)
            .values(
                account_id=account_id, month=month, status="proposed", figures=figures, made_by="B", made_at=now
            )
            .returning(allocations.c.id)
        ).scalar_one()
    )  # fmt: skip
    session.execute(
        sa.insert(allocation_places).values(
            allocation_id=allocation_id, campaign_id=campaign.id, account_id=account_id,
            people=BitMap(people).serialize(), size=len(people),
        )
    )  # fmt: skip
    return allocation_id
