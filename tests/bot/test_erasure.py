"""After an erasure nobody can say who it was; the counts stay, and coming back gives no fifth message."""

from datetime import datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from flask.testing import FlaskClient

from bot import db, erasure, events, outbox, rulebook
from bot import followers as followers_module
from bot.accounts import Account
from bot.campaigns import ledger
from bot.clock import month_of
from bot.runtime import Runtime
from bot.tables import metadata
from bot.tables.campaigns import mass_ledger
from bot.tables.events import events as events_table
from bot.tables.followers import followers
from tests import factories, pushes

WHO = factories.open_id(1)
WORDS = "我叫小林，电话 13800000000"


def everything(engine: sa.Engine) -> str:
    """Every value of every row of every table, as one text."""
    with db.reading(engine) as session:
        return "\n".join(
            str(tuple(row))
            for table in metadata.sorted_tables
            for row in session.execute(sa.select(table))
        )


@pytest.fixture
def lived(client: FlaskClient, engine: sa.Engine, account: Account, now: datetime) -> int:
    """A follower who came by a code, wrote, was tagged and answered, owes nothing and left."""
    with db.writing(engine) as session:
        rule = {
            "name": "记住",
            "when": [{"text_contains": {"any": "小林"}}, {"cooldown": {"hours": 1}}],
            "then": [
                {"set_field": {"name": "称呼", "value": "小林"}},
                {"add_tag": {"tags": ["会员"]}},
                {"reply": {"text": "你好 {称呼|}"}},
            ],
        }
        body: dict[str, Any] = {"rules": [rule], "fallback": None}
        rulebook.publish(session, account.id, body, by="Ann", note="", now=now)
    follow = pushes.event("subscribe", at=now, EventKey="qrscene_store_03", Ticket="T")
    pushes.post(client, follow, at=now)
    assert "小林" in pushes.said(pushes.post(client, pushes.text(WORDS, at=now), at=now))
    with db.writing(engine) as session:
        follower_id = int(session.execute(sa.select(followers.c.id)).scalar_one())
        session.execute(sa.update(followers).values(union_id="uUNION", remark="小林备注"))
        events.record(session, account.id, follower_id, "order", now, data={"phone": "13800000000"})
        outbox.put(
            session,
            account_id=account.id,
            channel="customer_service",
            purpose="reply",
            purpose_id=1,
            payload={"content": {"text": "小林你好"}},
            now=now,
            follower_id=follower_id,
        )
        ledger.reserve(session, account.id, [follower_id], month_of(now))
        pushes_at = now + timedelta(seconds=5)
    pushes.post(client, pushes.event("unsubscribe", at=pushes_at, EventKey=""), at=now)
    return follower_id


def forget(engine: sa.Engine, account: Account, follower_id: int, now: datetime) -> None:
    with db.writing(engine) as session:
        erasure.forget(session, account.id, follower_id, factories.SECRET_KEY, now)


def test_no_table_keeps_the_person_and_the_counts_stay(
    lived: int, engine: sa.Engine, account: Account, now: datetime
) -> None:
    before = everything(engine)
    for private in (WHO, "小林", "13800000000", "uUNION"):
        assert private in before, "the test must plant what it looks for"
    with db.reading(engine) as session:
        count = session.execute(sa.select(sa.func.count()).select_from(events_table)).scalar_one()
    forget(engine, account, lived, now)
    after = everything(engine)
    for private in (WHO, "13800000000", "uUNION", "小林备注", "小林你好"):
        assert private not in after
    with db.reading(engine) as session:
        assert (
            session.execute(sa.select(sa.func.count()).select_from(events_table)).scalar_one()
            == count
        )


def test_coming_back_within_the_month_keeps_the_charged_slots(
    lived: int, client: FlaskClient, rt: Runtime, engine: sa.Engine, account: Account, now: datetime
) -> None:
    forget(engine, account, lived, now)
    back = now + timedelta(seconds=60)
    pushes.post(client, pushes.event("subscribe", at=back, EventKey=""), at=now)
    with db.reading(engine) as session:
        new = session.execute(
            sa.select(followers.c.id).where(followers.c.open_id == WHO)
        ).scalar_one()
        charged = session.execute(
            sa.select(mass_ledger.c.reserved + mass_ledger.c.spent).where(
                mass_ledger.c.follower_id == new
            )
        ).scalar_one()
        assert new != lived
        assert charged == 1
        differing = {one.follower_id for one in ledger.check(session, account.id, month_of(now))}
    assert new not in differing


def test_only_followers_who_left_long_enough_ago_are_due(
    lived: int, engine: sa.Engine, now: datetime
) -> None:
    with db.reading(engine) as session:
        assert erasure.due(session, now, 10) == []
        assert [pair[1] for pair in erasure.due(session, now + timedelta(minutes=1), 10)] == [lived]


def test_an_opt_out_survives_an_erasure(
    client: FlaskClient, engine: sa.Engine, account: Account, now: datetime
) -> None:
    pushes.post(client, pushes.text("退订", at=now), at=now)
    gone = now + timedelta(seconds=5)
    pushes.post(client, pushes.event("unsubscribe", at=gone, EventKey=""), at=now)
    with db.reading(engine) as session:
        follower_id = session.execute(sa.select(followers.c.id)).scalar_one()
    forget(engine, account, follower_id, now)
    back = now + timedelta(seconds=60)
    pushes.post(client, pushes.event("subscribe", at=back, EventKey=""), at=now)
    with db.reading(engine) as session:
        opted = session.execute(
            sa.select(followers.c.opted_out_at).where(followers.c.open_id == WHO)
        ).scalar_one()
    assert opted is not None


def test_a_sync_that_finds_somebody_again_recalls_slots_and_opt_out_once(
    lived: int, engine: sa.Engine, account: Account, now: datetime
) -> None:
    with db.writing(engine) as session:
        followers_module.opt_out(session, lived, now)
    forget(engine, account, lived, now)
    with db.writing(engine) as session:
        new = factories.make_follower(session, account.id, 1, now=now)
        factories.make_follower(session, account.id, 2, now=now)
        assert erasure.recall_new(session, account.id, factories.SECRET_KEY, now) == 1
    with db.writing(engine) as session:
        found = followers_module.by_id(session, account.id, new)
        assert found is not None
        assert found.opted_out
        spent = session.execute(
            sa.select(mass_ledger.c.spent).where(mass_ledger.c.follower_id == new)
        ).scalar_one()
        assert spent == 1
        followers_module.opt_in(session, new)
        erasure.recall_new(session, account.id, factories.SECRET_KEY, now)
        again = followers_module.by_id(session, account.id, new)
        assert again is not None
        assert not again.opted_out, "an old opt-out must not outlive a new subscription"
