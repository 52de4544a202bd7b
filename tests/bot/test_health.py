"""What watches the process from outside: /healthz, /readyz, /metrics."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import fakeredis
import pytest
import sqlalchemy as sa
from flask.testing import FlaskClient

from bot import db, jobs, rulebook
from bot.accounts import Account
from bot.app import create_app
from bot.health import LAST_TICK, TICK_SECONDS
from bot.kept import QUEUE, DatabaseStore, RedisStore
from bot.runtime import Runtime
from bot.tables.rulebooks import rulebooks
from tests import pushes


def ready(client: FlaskClient) -> tuple[int, dict[str, Any]]:
    answer = client.get("/readyz")
    assert answer.is_json
    return answer.status_code, answer.get_json()


def tick(rt: Runtime, at: datetime) -> None:
    rt.store.put(LAST_TICK, str(at.timestamp()), 3600)


@pytest.fixture
def no_database(engine: sa.Engine) -> None:
    with db.writing(engine) as session:
        for table in ("kept", "outbox"):
            session.execute(sa.text(f"ALTER TABLE {table} RENAME TO {table}_gone"))


def test_ready_when_the_last_tick_is_fresh(client: FlaskClient, rt: Runtime, now: datetime) -> None:
    tick(rt, now - timedelta(seconds=30))
    status, told = ready(client)
    assert (status, told["ready"]) == (200, True)
    assert told["checks"]["scheduler"] == {"ok": True, "seconds_since_tick": 30.0}


@pytest.mark.parametrize("age", [None, TICK_SECONDS + 1])
def test_not_ready_while_the_scheduler_is_silent(
    client: FlaskClient, rt: Runtime, now: datetime, age: int | None
) -> None:
    if age is not None:
        tick(rt, now - timedelta(seconds=age))
    status, told = ready(client)
    assert (status, told["ready"]) == (503, False)
    assert not told["checks"]["scheduler"]["ok"]
    assert "qunfen scheduler" in told["checks"]["scheduler"]["detail"]
    assert told["checks"]["database"]["ok"]


def test_not_ready_while_nobody_runs_jobs(
    client: FlaskClient, rt: Runtime, engine: sa.Engine, now: datetime
) -> None:
    tick(rt, now)
    with db.writing(engine) as session:
        fresh, old = (now - timedelta(seconds=TICK_SECONDS + more) for more in (-1, 30))
        jobs.enqueue(session, "start", {}, now=now, run_at=fresh)
    assert ready(client)[0] == 200
    with db.writing(engine) as session:
        jobs.enqueue(session, "start", {}, now=now, run_at=old)
    status, told = ready(client)
    assert status == 503
    assert told["checks"]["workers"]["detail"] == "a job is 150 s late: is `qunfen worker` running?"


def test_a_rulebook_that_does_not_load_is_told_until_one_does(
    client: FlaskClient, rt: Runtime, engine: sa.Engine, account: Account, now: datetime
) -> None:
    tick(rt, now)

    def publish(word: str) -> None:
        rule = {
            "name": word,
            "when": [{"text_is": {"any": [word]}}],
            "then": [{"reply": {"text": "好"}}],
        }
        with db.writing(engine) as session:
            rulebook.publish(session, account.id, {"rules": [rule]}, by="A", note="", now=now)

    publish("一")
    with db.writing(engine) as session:
        body = {"rules": [{"name": "坏", "when": [{"no_such": {}}], "then": []}]}
        session.execute(sa.update(rulebooks).values(body=body))
    pushes.post(client, pushes.text("一", number=1, at=now), at=now)
    status, told = ready(client)
    assert status == 503
    assert "rulebook 1 does not load" in told["checks"]["rulebooks"]["detail"]
    assert "qunfen_rulebooks_broken 1\n" in client.get("/metrics").get_data(as_text=True)
    publish("二")
    pushes.post(client, pushes.text("二", number=2, at=now), at=now)
    assert ready(client)[0] == 200


@pytest.mark.usefixtures("no_database")
@pytest.mark.sqlite
def test_without_the_database_alive_but_not_ready(client: FlaskClient) -> None:
    status, told = ready(client)
    assert status == 503
    assert told["checks"]["database"] == {"ok": False, "detail": "OperationalError"}
    answer = client.get("/healthz")
    assert (answer.status_code, answer.get_data(as_text=True)) == (200, "ok\n")


def test_metrics_count_pushes_and_what_waits(
    client: FlaskClient, account: Account, now: datetime
) -> None:
    pushes.post(client, pushes.text("在吗", at=now), at=now)
    answer = client.get("/metrics")
    assert answer.status_code == 200
    assert answer.content_type.startswith("text/plain")
    told = answer.get_data(as_text=True)
    assert 'qunfen_pushes_total{kind="text",outcome="new"}' in told
    assert 'qunfen_inbox{state="done"} 1\n' in told
    assert "qunfen_database_up 1\n" in told
    assert "qunfen_rulebooks_broken 0\n" in told
    assert "o_test_" not in told


def test_a_lost_redis_is_told_and_pushes_are_taken_all_the_same(
    rt: Runtime, account: Account, now: datetime
) -> None:
    server = fakeredis.FakeServer()
    client = fakeredis.FakeRedis(server=server, decode_responses=True)
    rows = DatabaseStore(rt.engine, rt.clock)
    shared = replace(rt, store=RedisStore("", client, otherwise=rows))
    door = create_app(shared.config, shared).test_client()
    tick(rt, now)
    client.rpush(QUEUE, "a message")
    status, told = ready(door)
    assert (status, told["checks"]["redis"]) == (200, {"ok": True, "queued": 1})
    assert "qunfen_redis_up 1\n" in door.get("/metrics").get_data(as_text=True)
    assert "qunfen_broker_queued 1\n" in door.get("/metrics").get_data(as_text=True)

    server.connected = False
    status, told = ready(door)
    assert (status, told["ready"]) == (503, False)
    assert told["checks"]["redis"] == {"ok": False, "detail": "ConnectionError"}
    assert "qunfen_redis_up 0\n" in door.get("/metrics").get_data(as_text=True)
    assert pushes.post(door, pushes.text("在吗", at=now), at=now).status_code == 200


@pytest.mark.usefixtures("no_database")
@pytest.mark.sqlite
def test_metrics_of_the_process_stay_without_the_database(client: FlaskClient) -> None:
    answer = client.get("/metrics")
    assert answer.status_code == 200
    assert "qunfen_database_up 0\n" in answer.get_data(as_text=True)
    assert "qunfen_pushes_not_stored_total" in answer.get_data(as_text=True)
