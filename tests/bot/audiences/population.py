"""A small planted population, and a plain-Python evaluator of segment trees to compare the SQL with."""

import fnmatch
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from bot.clock import parse_moment
from bot.db import Session
from bot.tables.campaigns import campaign_runs, campaigns, deliveries
from bot.tables.events import events
from bot.tables.followers import follower_tags
from tests import factories

NOW = factories.at("2025-03-03 09:00")
TAGS = ("红", "蓝", "绿")
SCENES = ("wb_bio", "wb_post", "WB_BIO", "shop")
CAMPAIGNS = ("春", "夏")


@dataclass
class Person:
    """One follower as the reference sees it. Times are days before NOW."""

    tags: dict[str, int | None] = field(default_factory=dict)  # tag -> expires in days
    fields: dict[str, Any] = field(default_factory=dict)
    subscribed: bool = True
    since: float = 10
    active: float | None = None
    events: Sequence[tuple[str, str | None, float]] = ()
    first: str | None = None
    last: str | None = None
    campaigns: dict[str, str] = field(default_factory=dict)  # campaign -> status
    id: int = 0


def people() -> list[Person]:
    """Everyone of note: each line is there for a trap."""
    return [
        Person(),
        Person(tags={"红": None}, fields={"城市": "上海", "单数": 3}, active=1),
        Person(tags={"红": 5, "蓝": None}, fields={"城市": "北京", "单数": "3"}, active=7),
        Person(tags={"红": -1}, fields={"城市": None, "单数": 3.5}, active=7.01),
        Person(tags={"红": 0}, fields={"单数": True}, since=0),
        Person(tags={"蓝": None, "绿": None}, fields={"单数": 10, "vip": False}, since=400),
        Person(fields={"单数": "10", "vip": True, "生日": "2024-12-31"}, since=40),
        Person(fields={"单数": -2, "生日": "2025-01-01"}, active=29),
        Person(fields={"单数": [1], "生日": {"a": 1}}, active=60),
        Person(events=[("click", None, 1)], last="shop"),
        Person(events=[("click", None, 7), ("click", None, 1)], first="wb_bio", last="shop"),
        Person(events=[("click", None, 7.001)], first="WB_BIO"),
        Person(events=[("click", None, 1)] * 3 + [("message", None, 2)]),
        Person(events=[("subscribe", "wb_post", 3)], first="shop"),
        Person(events=[("scan", "wb_bio", 100)]),
        Person(events=[("menu_click", "wb_bio", 1), ("click", None, -1)]),
        Person(events=[("购买", None, 20), ("购买", None, 5)], campaigns={"春": "sent"}),
        Person(campaigns={"春": "unknown", "夏": "skipped"}),
        Person(campaigns={"夏": "failed"}),
        Person(campaigns={"夏": "planned"}, tags={"红": None, "蓝": None, "绿": None}),
        Person(tags={"红": None}, fields={"城市": "上海"}, active=1, subscribed=False),
        Person(events=[("click", None, 1)], campaigns={"春": "sent"}, subscribed=False),
    ]


def plant(session: Session, account_id: int, everyone: list[Person], first_number: int = 1) -> None:
    """Store the population; sets each person's id. Another account's may be planted beside it."""
    tag_ids = {name: factories.make_tag(session, account_id, name) for name in TAGS}
    run_ids = {name: _run(session, account_id, name) for name in CAMPAIGNS}
    for number, person in enumerate(everyone, first_number):
        person.id = factories.make_follower(
            session,
            account_id,
            number,
            now=NOW,
            subscribed=person.subscribed,
            subscribed_at=_ago(person.since),
            last_active_at=None if person.active is None else _ago(person.active),
            fields=person.fields,
            first_scene=person.first,
            last_scene=person.last,
        )
        for name, expires in person.tags.items():
            session.execute(
                sa.insert(follower_tags).values(
                    account_id=account_id,
                    follower_id=person.id,
                    tag_id=tag_ids[name],
                    origin="test",
                    added_at=_ago(30),
                    expires_at=None if expires is None else NOW + timedelta(days=expires),
                )
            )
        for kind, key, days in person.events:
            session.execute(
                sa.insert(events).values(
                    account_id=account_id, follower_id=person.id, kind=kind, key=key, at=_ago(days)
                )
            )
        for name, status in person.campaigns.items():
            session.execute(
                sa.insert(deliveries).values(
                    account_id=account_id,
                    run_id=run_ids[name],
                    follower_id=person.id,
                    status=status,
                    wave=1,
                )
            )


def _run(session: Session, account_id: int, name: str) -> int:
    campaign_id = session.execute(
        sa.insert(campaigns)
        .values(
            account_id=account_id,
            name=name,
            segment="x",
            schedule={},
            channels=[],
            content={},
            links={},
            status="finished",
            created_at=NOW,
            created_by="Ann",
        )
        .returning(campaigns.c.id)
    ).scalar_one()
    return int(
        session.execute(
            sa.insert(campaign_runs)
            .values(
                account_id=account_id,
                campaign_id=campaign_id,
                due_at=NOW,
                status="finished",
                content={},
                planned_to=0,
                created_at=NOW,
            )
            .returning(campaign_runs.c.id)
        ).scalar_one()
    )


def _ago(days: float) -> datetime:
    return NOW - timedelta(days=days)


def selected(
    everyone: list[Person], where: Mapping[str, Any], named: Mapping[str, Any]
) -> set[int]:
    """Whom a tree selects, worked out without a database."""
    return {person.id for person in everyone if person.subscribed and holds(person, where, named)}


def holds(person: Person, where: Mapping[str, Any], named: Mapping[str, Any]) -> bool:
    key, value = next(iter(where.items()))
    if key == "all":
        return all(holds(person, part, named) for part in value)
    if key == "any":
        return any(holds(person, part, named) for part in value)
    if key == "not":
        return not holds(person, value, named)
    if key == "in_segment":
        return holds(person, named[value["name"]], named)
    return bool(TESTS[key](person, value))


def _has_tag(person: Person, value: Any) -> bool:
    held = {name for name, days in person.tags.items() if days is None or days > 0}
    if "lacks" in value:
        return not held & set(value["lacks"])
    return bool(held & set([value["has"]] if "has" in value else value["any"]))


def _same(stored: Any, wanted: Any) -> bool:
    if isinstance(stored, bool) or isinstance(wanted, bool):
        return stored is wanted
    return isinstance(stored, int | float | str) and bool(stored == wanted)


def _has_field(person: Person, value: Any) -> bool:
    stored = person.fields.get(value["name"])
    if "missing" in value:
        return bool((stored is None) == value["missing"])
    if "is" in value:
        return _same(stored, value["is"])
    if "in" in value:
        return any(_same(stored, wanted) for wanted in value["in"])
    bounds = [value[key] for key in ("gte", "lte") if key in value]
    if isinstance(stored, bool) or stored is None:
        return False
    kind = str if isinstance(bounds[0], str) else (int, float)
    if not isinstance(stored, kind):
        return False
    return bool(
        ("gte" not in value or stored >= value["gte"])
        and ("lte" not in value or stored <= value["lte"])
    )


def _subscribed(person: Person, value: Any) -> bool:
    at = _ago(person.since)
    return ("from" not in value or at >= parse_moment(value["from"])) and (
        "until" not in value or at < parse_moment(value["until"])
    )


def _active(person: Person, value: Any) -> bool:
    days = value.get("within_days") or value.get("not_within_days")
    active = person.active is not None and person.active <= days
    return bool(active == ("within_days" in value))


def _did(person: Person, value: Any) -> bool:
    days = value.get("within_days") or 10**6
    times = sum(kind == value["event"] and 0 <= ago <= days for kind, _, ago in person.events)
    return bool(times >= value.get("times", 1))


def _scene(person: Person, value: Any) -> bool:
    which, wanted = next(iter(value.items()))
    seen = {
        "first": [person.first],
        "last": [person.last],
        "ever": [person.first, person.last]
        + [key for kind, key, ago in person.events if kind in ("subscribe", "scan") and ago >= 0],
    }[which]
    return any(key is not None and fnmatch.fnmatchcase(key, wanted) for key in seen)


TESTS: dict[str, Callable[[Person, Any], bool]] = {
    "tag": _has_tag,
    "field": _has_field,
    "subscribed_between": _subscribed,
    "last_active": _active,
    "did": _did,
    "did_not": lambda person, value: not _did(person, value),
    "scene": _scene,
    "got_campaign": lambda person, value: (
        person.campaigns.get(value["name"]) in ("sent", "unknown")
    ),
}
