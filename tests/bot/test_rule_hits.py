"""How often rules answered, by Shanghai day."""

from datetime import date, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from bot import db, rule_hits, scheduler
from bot.accounts import Account
from bot.rule_hits import Hits
from bot.runtime import Runtime
from bot.tables.inbox import inbound
from bot.tables.rulebooks import rule_hits as table
from tests import factories

TODAY = date(2025, 3, 3)


def push(engine: sa.Engine, account_id: int, at: datetime, *rules: str, **values: Any) -> None:
    with db.writing(engine) as session:
        number = session.execute(sa.select(sa.func.count()).select_from(inbound)).scalar_one()
        given = {
            "account_id": account_id,
            "dedupe_key": f"{account_id}:{number}",
            "kind": "text",
            "message": {},
            "sent_at": at,
            "received_at": at,
            "status": "done",
            "rules": list(rules),
        } | values
        session.execute(sa.insert(inbound).values(**given))


def hits(engine: sa.Engine, account_id: int) -> Any:
    with db.reading(engine) as session:
        return dict(rule_hits.of(session, account_id, TODAY))


def test_hits_are_counted_once_by_day(
    engine: sa.Engine, account: Account, rt: Runtime, now: datetime
) -> None:
    for days in (0, 0, 6, 7, 29, 30):
        push(engine, account.id, now - timedelta(days=days, minutes=1), "券")
    push(engine, account.id, now - timedelta(minutes=1), "券", "打标签")
    push(engine, account.id, now - timedelta(minutes=1))
    for _ in range(2):
        scheduler.tick(rt, "rule_hits", now)
    assert hits(engine, account.id) == {"券": Hits(4, 6, TODAY), "打标签": Hits(1, 1, TODAY)}


def test_a_day_is_a_day_in_shanghai(engine: sa.Engine, account: Account, rt: Runtime) -> None:
    for text in ("2025-03-02 23:59", "2025-03-03 00:01"):
        push(engine, account.id, factories.at(text), "券")
    scheduler.tick(rt, "rule_hits", factories.at("2025-03-03 09:00"))
    with db.reading(engine) as session:
        days = session.execute(sa.select(table.c.day, table.c.times).order_by(table.c.day)).all()
    assert [tuple(row) for row in days] == [(date(2025, 3, 2), 1), (TODAY, 1)]


def test_accounts_are_counted_apart(
    engine: sa.Engine, account: Account, rt: Runtime, now: datetime
) -> None:
    with db.writing(engine) as session:
        other = factories.make_account(session, "shop", now=now)
    for account_id in (account.id, other, other):
        push(engine, account_id, now - timedelta(minutes=1), "券")
    scheduler.tick(rt, "rule_hits", now)
    assert hits(engine, account.id)["券"].month == 1
    assert hits(engine, other)["券"].month == 2


def test_what_is_too_young_waits_with_all_behind_it(
    engine: sa.Engine, account: Account, rt: Runtime, now: datetime
) -> None:
    """A push with a smaller id may still be on its way to its commit."""
    push(engine, account.id, now - timedelta(minutes=1), "一")
    push(engine, account.id, now, "二")
    push(engine, account.id, now - timedelta(minutes=1), "三")
    scheduler.tick(rt, "rule_hits", now)
    assert hits(engine, account.id).keys() == {"一"}
    scheduler.tick(rt, "rule_hits", now + timedelta(minutes=1))
    assert hits(engine, account.id).keys() == {"一", "二", "三"}


def test_many_pushes_are_counted_in_steps(
    engine: sa.Engine,
    account: Account,
    rt: Runtime,
    now: datetime,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rule_hits, "PUSHES", 3)  # smaller than the seven pushes below
    for _ in range(7):
        push(engine, account.id, now - timedelta(minutes=1), "券")
    assert rule_hits.count(engine, now) is True
    assert hits(engine, account.id)["券"].month == 3
    scheduler.tick(rt, "rule_hits", now)
    assert hits(engine, account.id)["券"].month == 7


def test_two_that_count_at_once_count_once(
    engine: sa.Engine, account: Account, now: datetime
) -> None:
    push(engine, account.id, now - timedelta(minutes=1), "券")
    with db.writing(engine) as session:
        assert rule_hits._moved(session, account.id, 0, 1) is True
        assert rule_hits._moved(session, account.id, 0, 1) is False
